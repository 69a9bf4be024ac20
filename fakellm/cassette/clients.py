"""The engine of tapes, vcrpy; and what its patches for other HTTP clients lose of headers, put right.

In memory a header's value is text that stands for its bytes (`document.sent_as`), as aiohttp reads it. http.client,
under requests and urllib3, reads bytes as ISO 8859-1, and vcrpy writes what it read as UTF-8. And aiohttp
decodes a body and keeps the header that says how, which a tape has beside its readable body.
"""

from __future__ import annotations

from importlib.metadata import version
from inspect import signature
from io import BytesIO
from typing import Any

from fakellm.cassette.document import CassetteError
from fakellm.errors import explain

FLOOR = "9.4"
"""The oldest vcrpy that leaves httpx to others and tells its hooks of each answer. What needs no tape needs less."""


def engine() -> Any:
    """Return vcrpy's `VCR`. Raises `CassetteError` for a vcrpy that is too old for tapes.

    Asked here and not at installation: LangChain's standard suites, `langchain-tests`, ask for one that is older.
    """
    from vcr import VCR

    if "skip_patchers" in signature(VCR).parameters:
        return VCR
    found = version("vcrpy")
    remedy = [f"pip install 'vcrpy>={FLOOR}'", "where langchain-tests asks for an older one: install it after that"]
    raise CassetteError(explain(f"tapes need vcrpy {FLOOR} or newer, and vcrpy {found} is installed", remedy=remedy))


def patches() -> tuple[tuple[Any, str, Any], ...]:
    """Return owner, name and replacement of each function of vcrpy's that is put right."""
    from vcr import stubs

    found: list[tuple[Any, str, Any]] = [
        (stubs, "serialize_headers", _as_sent(stubs.serialize_headers)),
        (stubs, "parse_headers", _parsed),
    ]
    try:
        from vcr.stubs import aiohttp_stubs
    except ImportError:
        return tuple(found)
    return (*found, (aiohttp_stubs, "build_response", _with_coding(aiohttp_stubs.build_response)))


def _as_sent(original: Any) -> Any:
    def serialize_headers(response: Any) -> dict[str, list[str]]:
        return {name: [_sent(value) for value in values] for name, values in original(response).items()}

    return serialize_headers


def _sent(value: str) -> str:
    try:
        return value.encode("latin-1").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return value


def _parsed(headers: dict[str, list[str]]) -> Any:
    import http.client

    lines = [f"{name}:{value}\r\n" for name, values in headers.items() for value in values]
    return http.client.parse_headers(BytesIO("".join([*lines, "\r\n"]).encode("utf-8", "surrogateescape")))


def _with_coding(original: Any) -> Any:
    def build_response(request: Any, response: dict[str, Any], history: Any) -> Any:
        more = (response.get("wire") or {}).get("headers") or {}
        names = {name.lower() for name in more}
        headers = {name: values for name, values in response["headers"].items() if name.lower() not in names}
        return original(request, {**response, "headers": {**headers, **more}}, history)

    return build_response
