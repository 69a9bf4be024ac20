"""SDKs above requests, and one above httpx: their streams come chunk by chunk, faked and from a tape."""

from __future__ import annotations

import json

import loopback
import pytest
import requests
from taping import CHUNKED, On, stored, tape

from fakellm import FakeProvider, disconnect
from fakellm.http import intercept

MESSAGES = [{"role": "user", "content": "?"}]
CHAT = "https://api.openai.com/v1/chat/completions"


def events_of(answer):
    """Read an event stream as people do who have requests and no SDK."""
    for line in answer.iter_lines(chunk_size=None, decode_unicode=True):
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line.removeprefix("data: "))


def test_an_event_stream_is_read_with_requests_alone():
    fake = FakeProvider("openai").otherwise("Hel", "lo ", "you", disconnect())
    said, seen = [], []
    with (
        intercept(fake),
        requests.post(
            CHAT, json={"model": "m", "messages": MESSAGES, "stream": True}, stream=True, timeout=5
        ) as answer,
    ):
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            for event in events_of(answer):
                said.append(event["choices"][0]["delta"].get("content") or "")
                seen.append(fake.calls[0].pieces)
    assert "".join(said) == "Hello you"
    assert seen == sorted(set(seen))  # each event came with a piece of its own


def test_dashscopes_chat_is_answered_at_its_own_host():
    """As a document: `stream=True` of this client, in dashscope 2.0.2, is not sent, and a stream's `[DONE]` not read."""
    pytest.importorskip("dashscope", reason="dashscope is not installed")
    from dashscope.aigc.chat_completion import Completions

    with intercept(fake := FakeProvider("openai").otherwise("Hel", "lo ", "you")):
        whole = Completions.create(model="qwen-plus", messages=MESSAGES, api_key="k")
    assert whole.choices[0].message.content == "Hello you"
    assert fake.calls[0].url == "https://dashscope.aliyuncs.com/compatible-mode/v1/chat/completions"


def dashscope_events(texts):
    for number, text in enumerate(texts, 1):
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "null"}
        data = {"output": {"choices": [choice]}, "usage": {"output_tokens": number}, "request_id": "r"}
        yield f"id:{number}\nevent:result\n:HTTP_STATUS/200\ndata:{json.dumps(data)}\n\n".encode()


def test_dashscopes_own_api_is_on_a_tape_event_by_event(tmp_path):
    dashscope = pytest.importorskip("dashscope", reason="dashscope is not installed")
    texts = ["Hel", "lo ", "you"]

    def ask(url):
        answers = dashscope.Generation.call(
            "qwen-plus", messages=MESSAGES, stream=True, incremental_output=True, result_format="message",
            api_key="k", base_address=url,
        )  # fmt: skip
        return [answer.output.choices[0].message.content for answer in answers]

    with loopback.Pieces(dashscope_events(texts), headers=CHUNKED) as server, On(tape(tmp_path / "tape.yaml")):
        assert ask(url := server.url) == texts
    assert len(stored(tmp_path / "tape.yaml")[0]["response"]["stream"]["sizes"].split()) == 3
    with On(tape(tmp_path / "tape.yaml", mode="none")):
        assert ask(url) == texts


def test_replicates_output_is_on_a_tape_event_by_event(tmp_path):
    replicate = pytest.importorskip("replicate", reason="replicate is not installed")
    from replicate.stream import EventSource

    texts = ["Hel", "lo ", "you"]
    events = [f"event: output\nid: {n}\ndata: {text}\n\n".encode() for n, text in enumerate(texts)]
    events.append(b"event: done\nid: 9\ndata: {}\n\n")

    def ask(url):
        client = replicate.Client(api_token="t", base_url=url)
        with client._client.stream("GET", f"{url}/stream") as answer:
            return [event.data for event in EventSource(client, answer)]

    with loopback.Pieces(events, headers=CHUNKED) as server, On(tape(tmp_path / "tape.yaml")):
        real = ask(url := server.url)
    with On(tape(tmp_path / "tape.yaml", mode="none")):
        assert ask(url) == real
