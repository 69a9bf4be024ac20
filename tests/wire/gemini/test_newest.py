"""Every field of a Part that the installed SDK has a type for: scripted, written, read by it, and read back."""

from __future__ import annotations

import json

import pytest
import sdks
from google import genai
from google.genai import types
from smallest import variants
from vectors import each, first_of

from fakellm import Finish, Reasoning, Script, ToolCall, Usage
from fakellm.contracts import check_wire
from fakellm.http import transport
from fakellm.provider.provider import FakeProvider
from fakellm.script.events import Native
from fakellm.wire.codec import pieces
from fakellm.wire.gemini import GeminiCodec

CODEC = GeminiCodec()
PATH = "/v1beta/models/m:streamGenerateContent"
ENDING = (Finish(), Usage(1, 1))
FIELDS = {field.alias: field for field in types.Part.model_fields.values()}
OURS = {"text": ["a"], "thought": [Reasoning("a")], "thoughtSignature": [Reasoning("", signature="eHg=")]}


def streamed(script, alt):
    request = CODEC.request({"contents": [{"parts": [{"text": "i"}]}]}, path=PATH + alt)
    encoder = CODEC.encoder(request, 1, script.usage)
    return b"".join(piece for piece in pieces(encoder, script) if isinstance(piece, bytes))


def parts_of(script, *, asynchronous=False, whole=False):
    """Return the parts that the SDK reads of a script, as plain data, from a fake that streams it."""
    http = sdks.http_of("google-genai")
    provider = FakeProvider("gemini").reply(script)
    options = {
        "httpx_client": http.Client(transport=transport(provider, http)),
        "httpx_async_client": http.AsyncClient(transport=transport(provider, http)),
    }
    models = genai.Client(api_key="none", vertexai=False, http_options=options)

    async def main():
        if whole:
            return [await models.aio.models.generate_content(model="m", contents="i")]
        return [chunk async for chunk in await models.aio.models.generate_content_stream(model="m", contents="i")]

    if asynchronous:
        chunks = sdks.run(main())
    elif whole:
        chunks = [models.models.generate_content(model="m", contents="i")]
    else:
        chunks = list(models.models.generate_content_stream(model="m", contents="i"))
    found = [part for chunk in chunks for part in chunk.candidates[0].content.parts or ()]
    return [json.loads(part.model_dump_json(by_alias=True, exclude_none=True)) for part in found]


def scripts_of(field):
    """Return a script for each alternative of a field of a part: events of ours, or the part by itself."""
    if field in OURS:
        return [Script(*OURS[field], *ENDING)]
    parts = [{field: value} for value in variants(FIELDS[field].annotation, deep=2)]
    finish = Finish("tool_calls") if field == "functionCall" else Finish()
    events = [_of_part(part) for part in parts]
    return [Script(event, finish, Usage(1, 1)) for event in events]


def _of_part(part):
    call = part.get("functionCall")
    if call and call.get("name") and call.keys() <= {"name", "args", "id"}:
        return ToolCall(call["name"])
    return Native(CODEC.api, part)


@pytest.mark.parametrize("field", first_of(FIELDS, 6))
def test_a_part(field):
    scripts = scripts_of(field)
    for script in scripts:
        for alt in ("?alt=sse", ""):
            body = streamed(script, alt)
            check_wire(body, api="gemini", ignore="gemini.call").verify()  # of values that the type allows
            assert CODEC.decode(body) == script
    for script in (scripts[0], scripts[-1]):  # of the SDK's reading, which costs more
        read = parts_of(script)
        assert parts_of(script, whole=True) == [part for part in read if part != {"text": ""}]
        assert any(field in part for part in read)
        event = next(iter(script))
        assert not isinstance(event, Native) or json.loads(event.data) in read


@each("asynchronous", [False, True], ids=["sync", "async"])
def test_the_sdk_reads_what_only_gemini_has(asynchronous):
    said = [{"executableCode": {"code": "1", "language": "PYTHON"}}, {"codeExecutionResult": {"outcome": "OUTCOME_OK"}}]
    script = Script(*(Native(CODEC.api, part) for part in said), "a")
    assert parts_of(script, asynchronous=asynchronous) == [*said, {"text": "a"}, {"text": ""}]


def test_a_call_in_pieces_as_vertex_streams_it():
    pieces_of_it = [
        {"name": "f", "willContinue": True},
        {"partialArgs": [{"jsonPath": "$.a", "stringValue": "x", "willContinue": True}], "willContinue": True},
        {"partialArgs": [{"jsonPath": "$.a", "stringValue": "y"}], "willContinue": True},
        {},
    ]
    script = Script(
        *(Native(CODEC.api, {"functionCall": piece}) for piece in pieces_of_it), Finish("tool_calls"), Usage(1, 1)
    )
    body = streamed(script, "?alt=sse")
    check_wire(body, api="gemini").verify()
    assert CODEC.decode(body) == script
    assert [part["functionCall"] for part in parts_of(script) if "functionCall" in part] == pieces_of_it
