"""What Mistral's APIs have in common: errors, headers, times, content in parts.

Source: https://docs.mistral.ai/api, the types of the SDK, recorded answers, and for the errors what users report of the
API: `{"object":"error",...}` with a number as the code, `{"detail":"Unauthorized"}`, and with the status 422 a list of
what is wrong, as pydantic words it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from fakellm.script.events import Event, Native, Reasoning, Text, http_error
from fakellm.wire.codec import CREATED, Codec, Headers
from fakellm.wire.objects import dump, json_text, objects, retrying, text_field

_ERRORS: dict[int, tuple[str, str | None]] = {
    400: ("invalid_request_error", "3000"),
    401: ("unauthorized", None),
    403: ("tier_not_allowed", "1910"),
    404: ("not_found", None),
    429: ("rate_limited", "1300"),
    500: ("internal_server_error", "1000"),
    502: ("unreachable_backend", "1100"),
    503: ("internal_server_error", "3800"),
}
"""Status -> type and code of an error; other statuses are as 400 or 500."""

INVALID, UNAUTHORIZED, SERVER = 422, 401, 500


def error_object(status: int, message: str, kind: str | None = None, code: str | None = None) -> dict[str, Any]:
    """Return an error as Mistral's APIs word that status."""
    usual, number = _ERRORS.get(status, _ERRORS[500 if status >= SERVER else 400])
    code = code or (None if kind else number)
    return {
        "object": "error", "message": message, "type": kind or usual, "param": None, "code": code,
        "raw_status_code": status,
    }  # fmt: skip


def detail(kind: str, loc: Iterable[str | int], msg: str, value: Any) -> dict[str, Any]:
    """Return one thing that is wrong with the form of a request."""
    return {"type": kind, "loc": ["body", *loc], "msg": msg, "input": value}


class MistralCodec(Codec):
    """A codec of one of the APIs: what all of them send around an answer, and instead of one."""

    def error(self, fault: http_error, number: int) -> tuple[Headers, bytes]:
        """Return headers and document of an HTTP error."""
        return _error(fault, self.headers(number))

    def headers(self, number: int) -> Headers:
        """Return the headers of any answer."""
        return (("mistral-correlation-id", f"00000000-0000-7000-8000-{number:012x}"),)


def _error(fault: http_error, headers: Headers) -> tuple[Headers, bytes]:
    extra: list[tuple[str, str]] = [("content-type", "application/json"), *retrying(fault.retry_after)]
    document: dict[str, Any]
    if fault.status == INVALID and not fault.code:
        document = {"detail": [detail(fault.kind or "value_error", (), fault.message, None)]}
    elif fault.status == UNAUTHORIZED and not (fault.kind or fault.code):
        document = {"detail": "Unauthorized" if fault.message == http_error(UNAUTHORIZED).message else fault.message}
    else:
        document = error_object(fault.status, fault.message, fault.kind, fault.code)
    return (*headers, *extra), dump(document) if fault.body is None else fault.body.encode()


def time_of(number: int) -> str:
    """Return when the answer of a call was made."""
    return datetime.fromtimestamp(CREATED + number, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# Content. An answer is a text, or, where it has more than that, a list of parts: texts, thinking, which is parts again,
# and references, images and files, which no neutral event says.


def thinking(text: str, signature: str | None = None) -> dict[str, Any]:
    """Return a part that is a piece of thinking; an empty one ends it."""
    part: dict[str, Any] = {"type": "thinking", "thinking": [{"type": "text", "text": text}] if text else []}
    return part if signature is None else {**part, "signature": signature}


def read_part(part: dict[str, Any], choice: int = 0) -> list[Event]:
    """Return what a part says; nothing for what only ends it, and for what only Mistral has."""
    kind = text_field(part, "type")
    if kind == "thinking" and all(text_field(thought, "type") == "text" for thought in objects(part, "thinking")):
        texts = [text_field(thought, "text") for thought in objects(part, "thinking")]
        signature = text_field(part, "signature") or None
        last = [""] if signature and not texts else []
        thoughts = [Reasoning(text, choice=choice) for text in [*texts, *last]]
        if signature:
            thoughts[-1] = Reasoning(thoughts[-1].text, signature=signature, choice=choice)
        return list(thoughts)
    if kind in ("text", "") and "text" in part:
        return [Text(text_field(part, "text"), choice=choice)]
    return []


def is_neutral(part: Mapping[str, Any]) -> bool:
    """Tell whether neutral events say all that a part does."""
    if part.get("type") == "thinking":
        thoughts = part.get("thinking")
        rest = part.keys() - {"type", "thinking", "signature"}
        return not rest and isinstance(thoughts, list) and all(map(_is_text, thoughts))
    return _is_text(part)


def _is_text(part: object) -> bool:
    return isinstance(part, dict) and part.keys() <= {"type", "text"} and "text" in part


def native(api: str, fields: Mapping[str, Any], choice: int = 0) -> Native:
    """Return the event for what only Mistral has."""
    return Native(api, json_text(fields), choice)


def joined(parts: Iterable[str | dict[str, Any]]) -> Any:
    """Return the content that pieces add up to: a text where all are, else parts, of which neighbours are joined."""
    whole: list[dict[str, Any]] = []
    for piece in parts:
        part = {"type": "text", "text": piece} if isinstance(piece, str) else piece
        last = whole[-1] if whole else {}
        if part.get("type") == last.get("type") == "text" and _is_text(part) and _is_text(last):
            whole[-1] = {**last, "text": last["text"] + part["text"]}
        elif part.get("type") == last.get("type") == "thinking" and is_neutral(part) and "signature" not in last:
            thoughts = "".join(thought["text"] for thought in [*last["thinking"], *part["thinking"]])
            whole[-1] = {**last, **part, "thinking": [{"type": "text", "text": thoughts}] if thoughts else []}
        else:
            whole.append(part)
    if all(_is_text(part) for part in whole):
        return "".join(part["text"] for part in whole)
    return whole
