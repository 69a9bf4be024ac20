"""Chat completions: the codec against recordings and against the official SDK."""

from __future__ import annotations

import corpus
import pytest
import sdks

from fakellm.wire.codec import pieces
from fakellm.wire.openai_chat import ChatCodec

CODEC = ChatCodec()


def request(**fields):
    return CODEC.request({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], "stream": True, **fields})


def encoded(script, codec=CODEC, **fields):
    asked = {"stream_options": {"include_usage": script.usage is not None}, **fields}
    return b"".join(pieces(codec.encoder(request(**asked), 1, script.usage), script))


def text_of(content):
    """Return the text of a delta's content, which Mistral's reasoning models send as a list of parts."""
    parts = content if isinstance(content, list) else [{"text": content}]
    return "".join(part.get("text") or "" for part in parts)


def summary(chunks):
    """Return what chunks say, per choice: text, refusal, tool calls, finish reason; and the usage."""
    answers, usage = {}, None
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        for choice in chunk.get("choices") or ():
            answer = answers.setdefault(choice["index"], {"text": "", "refusal": "", "calls": [], "finish": None, "more": {}})
            delta = choice.get("delta") or {}
            answer["text"] += text_of(delta.get("content"))
            answer["refusal"] += delta.get("refusal") or ""
            answer["finish"] = choice.get("finish_reason") or answer["finish"]
            for call in delta.get("tool_calls") or ():
                function = call.get("function") or {}
                if call.get("id") and function.get("name"):
                    answer["calls"].append([call["id"], function["name"], ""])
                answer["calls"][-1][2] += function.get("arguments") or ""
            function_call = delta.get("function_call") or {}
            for key, value in function_call.items():
                answer["more"][key] = answer["more"].get(key, "") + (value or "")
    return answers, sdks.without_nulls(usage)


def streamed(body):
    chunks = []
    try:
        with sdks.openai_client(body).chat.completions.create(model="m", messages=[], stream=True) as stream:
            for chunk in stream:
                chunks.append(chunk)
    except Exception as error:
        return sdks.dumped(chunks), f"{type(error).__module__.partition('.')[0]}.{type(error).__name__}: {error}"
    return sdks.dumped(chunks), "ok"


@corpus.needs_corpus
@pytest.mark.parametrize("row", corpus.expected_of("openai.chat"))
def test_a_recorded_stream_written_again_says_the_same(row):
    script = CODEC.decode(corpus.body(row["file"], row["idx"]))
    written, end = streamed(encoded(script))

    assert summary(written) == summary(corpus.chunks(row))
    assert end.startswith(row["end"])
