"""What OpenAI's APIs have in common: headers, errors, usage, ids.

Source: OpenAI's API reference, https://platform.openai.com/docs/api-reference (error codes: guides/error-codes), and
recorded errors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from fakellm.errors import WireError
from fakellm.script.events import Finish, Text, ToolCall, Usage, http_error, provider_error
from fakellm.wire.codec import Headers
from fakellm.wire.objects import beyond, counted, dump, get, merged, retrying, sound
from fakellm.wire.openai import azure
from fakellm.wire.openai.profiles import Profile

FINGERPRINT = "fp_fakellm"
CHOICES, TOP = 128, 20
"""How many answers may be wanted at most, and how many alternatives of each token."""

_ERRORS: dict[int, tuple[str, str | None]] = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("request_forbidden", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    408: ("timeout", None),
    409: ("invalid_request_error", "resource_conflict"),
    413: ("invalid_request_error", "request_too_large"),
    422: ("invalid_request_error", None),
    429: ("requests", "rate_limit_exceeded"),
}
"""Status -> type and code of OpenAI's error object; other statuses are `server_error`."""


_ABOUT_PARAMETERS = ("integer_above_max_value", "integer_below_min_value", "invalid_type")
_NAMED = re.compile(r"Invalid (?:type for )?'([^']+)':")
_TYPES = {dict: "an object", list: "an array", bool: "a boolean", int: "an integer", float: "a decimal"}


def headers(number: int) -> Headers:
    """Return the headers of any answer."""
    return (
        ("x-request-id", f"req_fakellm{number:06d}"),
        ("openai-version", "2020-10-01"),
        ("openai-processing-ms", "1"),
    )


def error_as(profile: Profile, fault: http_error, number: int) -> tuple[Headers, bytes]:
    """Return headers and document of an HTTP error, as OpenAI words it, or Azure."""
    kind, code = _ERRORS.get(fault.status, ("server_error", None))
    extra: list[tuple[str, str]] = [("content-type", "application/json"), *retrying(fault.retry_after)]
    document = _error_object(fault.message, fault.kind or kind, fault.code or (None if fault.kind else code))
    if fault.code in _ABOUT_PARAMETERS and (named := _NAMED.match(fault.message)):
        document["param"] = named[1]
    worded = azure.error_document(fault) if profile.filters else None
    body = dump(worded or {"error": document}) if fault.body is None else fault.body.encode()
    return (*headers(number), *extra), body


# What OpenAI says of a parameter that is none, in public reports of its errors. The message names the parameter, which
# is also `param` in the error object.


def _wrong(message: str, code: str) -> WireError:
    error = WireError(message)
    error.code = code
    return error


def whole(body: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    """Return a parameter that is a whole number within bounds. Raises `WireError` for another."""
    found = get(body, name, int, default)
    if body.get(name) is None or least <= found <= most:
        return found
    if found > most:
        bound, code = f"above maximum value. Expected a value <= {most}", "integer_above_max_value"
    else:
        bound, code = f"below minimum value. Expected a value >= {least}", "integer_below_min_value"
    raise _wrong(f"Invalid '{name}': integer {bound}, but got {found} instead.", code)


def string(found: Mapping[str, Any], name: str, place: str) -> str:
    """Return a parameter that is text, empty where it is absent or null. Raises `WireError` that names its place."""
    value = found.get(name)
    if value is None or isinstance(value, str):
        return sound(value or "")
    kind = next((word for kind, word in _TYPES.items() if isinstance(value, kind)), "null")
    raise _wrong(f"Invalid type for '{place}.{name}': expected a string, but got {kind} instead.", "invalid_type")


def said_with(finish: Finish, around: Sequence[str] = ()) -> tuple[bytes | None, bytes | None]:
    """Return what a finish reason says beside itself, and beside the choices, each as JSON or None.

    `around` are fields that the service has beside the choices only, so that they may be given as `extra` too.
    """
    extra = json.loads(cast("str", finish.extra)) if finish.extra else {}
    top = {name: extra.pop(name) for name in around if name in extra}
    top |= json.loads(cast("str", finish.beside)) if finish.beside else {}
    return dump(extra) if extra else None, dump(top) if top else None


def with_fields(chunk: bytes, top: bytes | None) -> bytes:
    """Return a chunk with fields beside its choices."""
    if top is None:
        return chunk
    return b"data: " + dump(merged(json.loads(chunk.removeprefix(b"data: ")), top)) + b"\n\n"


def stream_error(fault: provider_error, *, named: bool = False) -> bytes:
    """Return the event by which an error is reported inside a stream."""
    data = b"data: " + dump({"error": _error_object(fault.message, fault.kind, fault.code)}) + b"\n\n"
    return b"event: error\n" + data if named else data


def _error_object(message: str, kind: str, code: str | None) -> dict[str, Any]:
    return {"message": message, "type": kind, "param": None, "code": code}


def read_error(document: dict[str, Any], *, named: bool | None = None) -> provider_error:
    """Read the error that an event holds."""
    found = document.get("error")
    if not isinstance(found, dict):
        return provider_error(sound(str(found)), named=named)
    code = found.get("code")
    return provider_error(
        sound(str(found.get("message") or "")),
        sound(str(found.get("type") or "server_error")),
        None if code is None else sound(str(code)),
        named,
    )


def says_none(piece: ToolCall) -> bool:
    """Tell whether a piece of a call says that there are no arguments: it has the call's id, and nothing else.

    A recorded call can have none, `""`, which no client parses; one of a script without any has an empty object.
    """
    return piece.name is None and piece.id is not None and not piece.arguments


def logprobs_of(event: Text, top: int | None) -> list[dict[str, Any]] | None:
    """Return the log probabilities of a piece of text, as chat completions and Responses have them.

    They are those of the script; else, with `top`, made up: one token for the piece, with so many alternatives.
    """
    if event.logprobs is not None:
        return cast("list[dict[str, Any]]", json.loads(cast("str", event.logprobs)))
    if top is None or not event.text:
        return None
    token = {"token": event.text, "logprob": -0.25, "bytes": list(event.text.encode())}
    return [{**token, "top_logprobs": [{**token, "logprob": -0.25 - rank} for rank in range(top)]}]


def usage_object(usage: Usage, *, counts_reasoning: bool = False) -> dict[str, Any]:
    """Return the usage object of chat completions and of legacy completions."""
    reasoning = usage.reasoning_tokens or 0
    return merged(
        {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.total_tokens + (reasoning if counts_reasoning else 0),
            "prompt_tokens_details": {"cached_tokens": usage.cached_tokens or 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": reasoning,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        usage.extra,
    )


def read_usage(found: dict[str, Any]) -> Usage:
    """Read the usage object of chat completions and of legacy completions."""
    prompt, completion = get(found, "prompt_tokens_details", dict), get(found, "completion_tokens_details", dict)
    usage = Usage(
        counted(found, "prompt_tokens"),
        counted(found, "completion_tokens"),
        counted(prompt, "cached_tokens") if prompt.get("cached_tokens") is not None else None,
        counted(completion, "reasoning_tokens") if completion.get("reasoning_tokens") is not None else None,
    )
    return with_rest(usage, found, usage_object(usage))


def with_rest(usage: Usage, found: dict[str, Any], known: dict[str, Any]) -> Usage:
    """Return the usage with what the provider's object says beyond what a codec would write."""
    counts = (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens)
    return Usage(*counts, extra=beyond(found, known))
