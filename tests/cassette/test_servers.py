"""The tapes of self-hosted servers, each played through the official SDK of its API."""

from __future__ import annotations

import anthropic
import openai
import pytest
import sdks
from servers import FOLDER, NAMES, recording

from fakellm.cassette.checking import check
from fakellm.cassette.redaction import Redactor
from fakellm.cassette.tape import Tape
from fakellm.clock.clock import InstantClock
from fakellm.http.interception import playing

# What the SDK reads: how many chunks or events, the text and reasoning, the arguments of the calls, how it ends.
READ = {
    "lcp-error-long": (0, "", [], None),
    "lcp-interrupted": (63, "<tool_call>\n{", [], None),  # the SDK reads no further than `[DONE]`
    "lcp-tools-named": (12, "", ['{"city": "get_weather "}'], None),
    "llama-completions-prompts": (11, "oneHello,! two ¡,Hola", [], None),
    "llama-messages-overflow-1": (4, "<tool_call>\n", [], "APIStatusError"),
    "llama-messages-reasoning-tool": (25, "I cannot see Oslo, so I ask.\n", ['{"city": "Oslo"}'], None),
    "llama-overflow-1": (63, '{"name', [], "APIError"),
    "llama-progress-ping": (6, "Two", [], None),
    "llama-responses-overflow": (51, "<think>\n", [], "APIError"),
    "llama-responses-text-tool": (17, "I will look.\n", ["{}"], None),
    "llama-tools-n2": (34, "", [one for one in ('{"city": "Paris"}', '{"city": "Rome"}') for _ in "12"], None),
    "mlx-chat-usage": (10, "one, two, three, four,", [], None),
    "mlx-tools-parallel": (4, "\n", ['{"city": "Paris"}', '{"city": "Rome"}'], None),
    "vllm-chat-n2": (14, "one", [], None),
    "vllm-error-schema": (0, "", [], "APIError"),
    "vllm-forced-usage-reasoning-tools": (23, "\n", ['{"city": "Oslo"}'], None),
    "vllm-keepalive-start": (14, "one has", [], None),
    "vllm-killed-engine": (23, "one has", [], "APIError"),
    "vllm-messages-killed-engine": (8, "Paris", [], "APIStatusError"),
    "vllm-responses-cut": (12, "one, two,", [], None),
    "vllm-responses-killed-engine": (13, "Paris", [], "RemoteProtocolError"),
    "vllm-tools-parallel": (16, "", ['{"city": "Paris"}', '{"city": "Rome"}'], None),
}


def stream_of(tape):
    """Return the stream that the SDK makes of the request that was recorded."""
    asked = dict(tape.asked)
    options = {"api_key": "none", "base_url": tape.base_url, "max_retries": 0}
    if tape.path.endswith("/messages"):
        names = ("model", "max_tokens", "messages", "stream")
        create = anthropic.Anthropic(**options).messages.create
    elif tape.path.endswith("/responses"):
        names, create = ("model", "input", "stream"), openai.OpenAI(**options).responses.create
    elif tape.path.endswith("/chat/completions"):
        names, create = ("model", "messages", "stream"), openai.OpenAI(**options).chat.completions.create
    else:
        names, create = ("model", "prompt", "stream"), openai.OpenAI(**options).completions.create
    return create(**{name: asked.pop(name) for name in names}, extra_body=asked)


def played(name):
    """Return what the SDK reads from a tape, dumped, and the name of the error that ends it."""
    read = []
    errors = (openai.OpenAIError, anthropic.AnthropicError, sdks.http_of("openai").HTTPError)
    try:
        read.extend(None if one is None else one.model_dump(exclude_unset=True) for one in _kept(name))
    except errors as error:
        cause = error.__cause__ if type(error) is openai.APIConnectionError else None
        return read, type(cause or error).__name__
    return read, None


def _kept(name):
    with stream_of(recording(name)) as stream:
        yield from stream


def said(read):
    """Return the text of what was read, with reasoning, and the arguments of each call."""
    texts, calls = [], {}
    for one in filter(None, read):
        for choice in one.get("choices", ()):
            delta = choice.get("delta", choice)
            texts += [delta.get(name) or "" for name in ("reasoning_content", "reasoning", "content", "text")]
            for call in delta.get("tool_calls") or ():
                key = choice["index"], call["index"]
                calls[key] = calls.get(key, "") + (call["function"].get("arguments") or "")
        delta = one.get("delta")
        if isinstance(delta, dict) and "partial_json" in delta:
            calls[one["index"]] = calls.get(one["index"], "") + delta["partial_json"]
        elif isinstance(delta, dict):
            texts += [delta.get("text", ""), delta.get("thinking", "")]
        elif one.get("type") == "response.function_call_arguments.delta":
            calls[one["item_id"]] = calls.get(one["item_id"], "") + delta
        elif isinstance(delta, str):
            texts.append(delta)
    return "".join(texts), list(calls.values())


@pytest.fixture
def play():
    """Return a function that plays a tape on an instant clock; it returns the tape, what was read, and the error."""

    def play(name):
        clock = InstantClock()
        tape = Tape(FOLDER / f"{name}.yaml", mode="none", redactor=Redactor(environ={}), timing=clock)
        with tape.open(), playing(tape):
            return clock, tape, *played(name)

    return play


@pytest.mark.parametrize("name", NAMES)
def test_the_sdk_reads_what_the_server_sent(play, name):
    clock, tape, read, error = play(name)
    text, calls = said(read)
    count, begin, arguments, expected = READ[name]

    assert (len(read), calls, error) == (count, arguments, expected)
    assert text.startswith(begin)
    unread = error == "APIError" and recording(name).body.endswith(b"[DONE]\n\n")
    assert (tape.calls[0].pieces, tape.calls[0].status) == (len(recording(name).pieces) - unread, 200)
    assert clock.now == pytest.approx(sum(recording(name).delays) / 1000)


def test_the_tapes_are_all_there_small_and_without_secrets():
    assert READ.keys() == set(NAMES)
    paths = [FOLDER / f"{name}.yaml" for name in NAMES]
    assert max(path.stat().st_size for path in paths) < 20_000
    assert check(paths, environ={}) == []
