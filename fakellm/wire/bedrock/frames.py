"""What Bedrock's streams are made of: events and exceptions as frames of JSON; and how AWS words its errors.

Source: botocore's service model of bedrock-runtime (the members of `ConverseStreamOutput` and `ResponseStream`, the
exceptions with their statuses), the Smithy specification of event streams (`:message-type` is `event`, `exception` or
`error`), and recorded streams.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fakellm.errors import WireError
from fakellm.script.events import http_error, provider_error
from fakellm.wire.codec import Headers
from fakellm.wire.eventstream import Frame, encode_frame
from fakellm.wire.objects import dump, get, parse_object, retrying, sound

CONTENT_TYPE = "application/vnd.amazon.eventstream"

_STATUSES = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    402: "ServiceQuotaExceededException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    409: "ConflictException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
    504: "ModelTimeoutException",
    529: "ServiceUnavailableException",
}
"""Status -> exception; other statuses are `ValidationException`, or from 500 on `InternalServerException`."""

_KINDS = {
    "server_error": "internalServerException",
    "rate_limit": "throttlingException",
    "overloaded": "serviceUnavailableException",
    "unavailable": "serviceUnavailableException",
    "invalid_request": "validationException",
    "timeout": "modelTimeoutException",
}
"""A word in the neutral kind of an error -> the exception of a stream that reports it."""
_MODEL_ERROR = "modelStreamErrorException"

_ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def padding(number: int) -> str:
    """Return the field `p` of an event: so many letters that its length does not tell what it says."""
    return _ALPHABET[: 2 + number * 11 % (len(_ALPHABET) - 1)]


def event_frame(kind: str, document: Mapping[str, Any]) -> bytes:
    """Return an event of a stream. Its fields are in the order of the alphabet, as Bedrock has them."""
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return encode_frame(headers, dump(dict(sorted(document.items()))))


def error_frame(fault: provider_error) -> bytes:
    """Return an error that ends a stream: an exception of the service, or with `named=True` an error of the protocol.

    The kind of the error names the exception, in Bedrock's words or in those that all APIs share; the `code` of a
    `modelStreamErrorException` is the status that the model's own server answered with.
    """
    if fault.named:
        kind = next((name for word, name in _KINDS.items() if word in fault.kind), fault.kind)
        headers = {":message-type": "error", ":error-code": kind, ":error-message": _cut(fault.message)}
        return encode_frame(headers)
    kind = _exception_of(fault.kind)
    document: dict[str, Any] = {"message": fault.message}
    if fault.code is not None and kind == _MODEL_ERROR and fault.code.isascii() and fault.code.isdigit():
        document |= {"originalStatusCode": int(fault.code), "originalMessage": fault.message}
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return encode_frame(headers, dump(document))


def _cut(text: str) -> str:
    """Return as much of a text as a header can hold."""
    return text.encode("utf-8", "replace")[: 2**15 - 1].decode("utf-8", "ignore")


def _exception_of(kind: str) -> str:
    """Return what an error inside a stream is called there."""
    if kind.endswith(("Exception", "Error")):
        return kind[:1].lower() + kind[1:]
    return next((name for word, name in _KINDS.items() if word in kind), _MODEL_ERROR)


def failure_of(frame: Frame) -> provider_error | None:
    """Read the error that a frame reports; None for one that is an event."""
    kind = frame.text(":message-type")
    if kind == "error":
        code = frame.text(":error-code")
        return provider_error(sound(frame.text(":error-message")), _neutral(code), named=True)
    if kind != "exception":
        return None
    document = _said(frame)
    message, status = document.get("message", document.get("Message")), document.get("originalStatusCode")
    return provider_error(
        sound(message if isinstance(message, str) else ""),
        _neutral(frame.text(":exception-type")),
        None if status is None else str(status),
    )


def _neutral(name: str) -> str:
    return "server_error" if name in ("", _KINDS["server_error"]) else name


def _said(frame: Frame) -> dict[str, Any]:
    """Return the JSON of an exception, which may have none."""
    try:
        value = json.loads(frame.payload or b"{}")
    except (ValueError, RecursionError):
        return {"message": frame.payload.decode("utf-8", "replace")}
    return value if isinstance(value, dict) else {"message": str(value)}


def document_of(frame: Frame, what: str) -> tuple[str, dict[str, Any]]:
    """Return the type of an event and the object that it holds. Raises `WireError` for a frame that is none."""
    kind = frame.text(":event-type")
    if not kind:
        msg = f"{what} has no :event-type, but the headers {', '.join(frame.headers) or 'of none'}"
        raise WireError(msg)
    return kind, parse_object(frame.payload, what) if frame.payload else {}


# -- errors over HTTP -----------------------------------------------------------------------------------


def http_error_of(fault: http_error, number: int) -> tuple[Headers, bytes]:
    """Return the headers and the document of an HTTP error: a header names the exception, the document has a message.

    `kind` or `code` names another exception than the status does: `ModelNotReadyException` and others.
    """
    usual = "InternalServerException" if fault.status >= 500 else "ValidationException"  # noqa: PLR2004
    kind = fault.kind or fault.code
    name = _exception_over_http(kind) if kind else _STATUSES.get(fault.status, usual)
    headers = [
        *headers_of(number),
        ("content-type", "application/json"),
        ("x-amzn-ErrorType", f"{name}:{_NAMESPACE}"),
        *retrying(fault.retry_after),
    ]
    return tuple(headers), dump({"message": fault.message}) if fault.body is None else fault.body.encode()


def _exception_over_http(kind: str) -> str:
    """Return what an error is called over HTTP: with a capital; kinds that all APIs share have a word of AWS's."""
    is_ours = kind.endswith("Exception") or not any(word in kind for word in _KINDS)
    name = kind if is_ours else _exception_of(kind)
    return name[:1].upper() + name[1:]


_NAMESPACE = "http://internal.amazon.com/coral/com.amazon.bedrock/"


def headers_of(number: int) -> Headers:
    """Return the headers that every answer has."""
    return (("x-amzn-RequestId", f"00000000-0000-4000-8000-{number:012d}"),)


def latency(tokens: int) -> int:
    """Return how many milliseconds an answer of so many tokens took, since a fake takes no time."""
    return 100 + 10 * tokens


def invocation_metrics(read: int, written: int) -> dict[str, int]:
    """Return what Bedrock adds to the last chunk of a model's own stream."""
    return {
        "inputTokenCount": read,
        "outputTokenCount": written,
        "invocationLatency": latency(written),
        "firstByteLatency": latency(0),
    }


METRICS = "amazon-bedrock-invocationMetrics"
"""The field of a chunk that has those."""


def text_of_blocks(mapping: Mapping[str, Any], name: str) -> str:
    """Return the text of a list of blocks, such as `system`."""
    return "".join(str(block.get("text") or "") for block in get(mapping, name, list) if isinstance(block, dict))
