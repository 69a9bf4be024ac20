"""Readers of event streams and of JSON that is not complete yet."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from finding import finding

from fakellm.contracts import Report, check_consumer

READING = ["framing", "line_ends", "control_blocks", "utf8_split"]

# -- server-sent events ---------------------------------------------------------------------------------------


def with_httpx_sse(reads: Iterable[bytes]) -> list[Any]:
    import httpx
    from httpx_sse import EventSource

    response = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=iter(reads))
    return [(event.event, event.json()) for event in EventSource(response).iter_sse()]


def with_httpx_sse_and_care(reads: Iterable[bytes]) -> list[Any]:
    """Leave out what has no data, which is how httpx-sse hands on a new time to wait before the next attempt."""
    import httpx
    from httpx_sse import EventSource

    response = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=iter(without_bom(reads)))
    return [(event.event, event.json()) for event in EventSource(response).iter_sse() if event.data]


def with_sseclient(reads: Iterable[bytes]) -> list[Any]:
    from sseclient import SSEClient

    class Source:
        def __iter__(self) -> Iterator[bytes]:
            return iter(reads)

        def close(self) -> None:
            pass

    return [(event.event, event.data) for event in SSEClient(Source()).events()]


def without_bom(reads: Iterable[bytes]) -> Iterator[bytes]:
    """Take a byte order mark off the beginning of a stream, wherever its reads end."""
    begin: bytes | None = b""
    for data in reads:
        if begin is None:
            yield data
        elif len(begin + data) < len(BOM_UTF8):
            begin += data
        else:
            yield (begin + data).removeprefix(BOM_UTF8)
            begin = None
    if begin:
        yield begin


@finding("control_blocks", "httpx-sse", "0.4.3")
def httpx_sse_bom() -> Report:
    return check_consumer(with_httpx_sse, contracts=READING)


@httpx_sse_bom.kept
def _() -> Report:
    return check_consumer(with_httpx_sse_and_care, contracts=READING)


@finding("control_blocks", "sseclient-py", "1.9.0")
def sseclient_bom() -> Report:
    return check_consumer(with_sseclient, contracts=READING)


@sseclient_bom.kept
def _() -> Report:
    return check_consumer(lambda reads: with_sseclient(without_bom(reads)), contracts=READING)


# -- JSON as it comes -----------------------------------------------------------------------------------------

EMOJI = '{"answer": "\\ud83d\\ude00!"}'
ACCENT = '{"answer": "K\\u00f6ln"}'


def typewriter(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Return an app that shows the answer's text while it comes: of each value, what is new in it."""

    def typed(chunks: Iterable[str]) -> Iterator[str]:
        text = shown = ""
        for chunk in chunks:
            text += chunk
            value = parse(text) if text else {}
            answer = value.get("answer") if isinstance(value, dict) else None
            if isinstance(answer, str):
                yield answer[len(shown) :]
                shown = answer

    return typed


def with_jiter(text: str) -> Any:
    """Parse with the parser that pydantic has: it holds an escape back until it is whole."""
    from pydantic_core import from_json

    return from_json(text, allow_partial="trailing-strings")


def kept_by_jiter() -> Report:
    return check_consumer(typewriter(with_jiter), EMOJI, ACCENT, contracts=["partial_json"])


def parsed_by_langchain(chunks: Iterable[str]) -> list[bytes]:
    """Return each value that the parser of a chain hands on, as the bytes that a server sends."""
    import json

    from langchain_core.messages import AIMessageChunk
    from langchain_core.output_parsers import JsonOutputParser

    texts = (AIMessageChunk(content=chunk) for chunk in chunks)
    values = JsonOutputParser().transform(texts)
    return [json.dumps(value, ensure_ascii=False).encode() for value in values][-1:]


@finding("partial_json", "langchain-core", "1.8.3")
def langchain_json_surrogate() -> Report:
    return check_consumer(parsed_by_langchain, EMOJI, contracts=["partial_json"])


langchain_json_surrogate.keeps = kept_by_jiter


@finding("partial_json", "partial-json-parser", "0.2.1.1.post7")
def partial_json_parser_surrogate() -> Report:
    import partial_json_parser

    return check_consumer(typewriter(partial_json_parser.loads), EMOJI, contracts=["partial_json"])


partial_json_parser_surrogate.keeps = kept_by_jiter


@finding("partial_json", "json_repair", "0.64.6")
def json_repair_escape() -> Report:
    from json_repair import loads

    return check_consumer(typewriter(lambda text: loads(text, stream_stable=True)), ACCENT, contracts=["partial_json"])


json_repair_escape.keeps = kept_by_jiter
