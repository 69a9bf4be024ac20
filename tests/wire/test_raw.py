"""Bytes of the script's own keep their place, whatever a codec or a profile holds back."""

from __future__ import annotations

from vectors import each

from fakellm import FakeProvider, Finish, Pause, Reasoning, Script, ToolCall, Usage, disconnect
from fakellm.provider.actions import Timeouts
from fakellm.script import Raw
from fakellm.wire import pieces
from fakellm.wire.anthropic import MessagesCodec
from fakellm.wire.gemini import GeminiCodec
from fakellm.wire.openai import PROFILES, ChatCodec, CompletionsCodec, ResponsesCodec

HI = [{"role": "user", "content": "hi"}]
MARK = Raw(": MARK\n\n")
COUNTED = {"model": "m", "stream": True, "stream_options": {"include_usage": True}}
GEMINI = {"contents": [{"parts": [{"text": "hi"}]}]}

APIS = {f"chat {name}": (ChatCodec(profile), {**COUNTED, "messages": HI}, "") for name, profile in PROFILES.items()}
APIS |= {
    "completions": (CompletionsCodec(), {**COUNTED, "prompt": "hi"}, ""),
    "responses": (ResponsesCodec(), {"model": "m", "stream": True, "input": "hi"}, ""),
    "anthropic": (MessagesCodec(), {"model": "m", "stream": True, "max_tokens": 9, "messages": HI}, ""),
    "gemini": (GeminiCodec(), GEMINI, "/models/m:streamGenerateContent?alt=sse"),
    "gemini array": (GeminiCodec(), GEMINI, "/models/m:streamGenerateContent"),
}
with_calls = each("api", [api for api in APIS if api != "completions"])
with_an_end = each("api", [api for api in APIS if api != "responses"])  # which says all at its end


def stream(api, *parts, known=False):
    """Return what a stream of the parts says, in which `||` stands for a silence."""
    codec, body, path = APIS[api]
    script = Script(*parts)
    encoder = codec.encoder(codec.request(body, path=path), 1, script.usage if known else None)
    steps = pieces(encoder, script)
    return "".join(step.decode() if isinstance(step, bytes) else "||" for step in steps)


def in_order(said, *texts):
    """Assert that each of the texts is there once, in this order."""
    assert [said.count(text) for text in texts] == [1] * len(texts), said
    assert sorted(texts, key=said.index) == list(texts), said


@each("api", APIS)
def test_between_two_texts(api):
    said = stream(api, "one", MARK, "two")
    assert said.index('"one"') < said.index("MARK") < said.index('"two"')


@with_an_end
def test_after_a_finish_reason_and_before_a_silence(api):
    reason = {"anthropic": "max_tokens", "gemini": "MAX_TOKENS", "gemini array": "MAX_TOKENS"}.get(api, '"length"')
    in_order(stream(api, "one", Finish("length"), MARK, Pause(1)), '"one"', reason, "MARK", "||")


@with_an_end
@each("known", [False, True])
def test_after_a_usage(api, known):
    """Those that say it in the chunk with the finish reason, or in each, have it there if it is known by then."""
    said = stream(api, "one", Finish(), Usage(77, 8888), MARK, known=known)
    if "8888" in said:
        assert said.rindex("8888") < said.index("MARK")
    else:
        usage = APIS[api][0].profile.usage
        assert usage == "never" or (usage != "asked" and not known)


@each("api", ["chat openai", "completions", "gemini"])
def test_before_a_usage_that_comes_after_it(api):
    in_order(stream(api, "one", Finish("length"), MARK, Usage(77, 8888), known=True), "MARK", "8888,")


@each("api", ["chat openai", "completions"])
def test_a_usage_is_not_said_twice_unless_it_changes(api):
    assert stream(api, "one", Finish(), Usage(77, 8888), MARK, MARK).count("8888,") == 1
    assert stream(api, "one", Finish(), Usage(77, 1), MARK, Usage(77, 8888)).count("8888,") == 1
    assert "8888" not in stream(api, "one", Usage(77, 8888), MARK, disconnect()).partition("MARK")[0]  # no end yet


@with_calls
@each("arguments", ["", '{"x":1}'])
@each("last", [ToolCall("fn_b"), "fn_b", Reasoning("fn_b"), Finish("fn_b")])
def test_after_a_call(api, arguments, last):
    said = stream(api, ToolCall("fn_a", arguments), MARK, last) + "fn_b" * (api == "responses")
    assert said.count("MARK") == 1
    assert said.index("fn_a") < said.index("MARK") < said.rindex("fn_b")


@with_calls
def test_between_the_pieces_of_a_call(api):
    """A call that is sent whole comes with its last piece, so after them; others have it between their pieces."""
    said = stream(api, ToolCall("fn_a", '{"one"'), MARK, Pause(1), ToolCall(None, ":2}", index=0), MARK, "after")
    assert said.count("MARK") == 2
    assert said.index("MARK") < said.index("||")  # nothing waits that could be sent
    assert said.index("2}") < said.rindex("MARK") < said.index("after")


@with_calls
def test_a_stream_that_breaks_has_said_them(api):
    for parts in (["a", MARK], [ToolCall("f"), MARK], [ToolCall("f", '{"x"'), MARK, MARK]):
        for how in ("reset", "end", "cut"):
            assert stream(api, *parts, disconnect(how)).count("MARK") == parts.count(MARK)


def test_what_a_function_yields_keeps_its_place_too():
    def reply(_):
        yield from ("one", MARK, ToolCall("fn_a"), MARK, ToolCall("fn_b"), MARK, Finish(), MARK)

    provider = FakeProvider(profile="groq").reply(reply)
    body = b'{"model": "m", "stream": true, "messages": []}'
    exchange = provider.handle("POST", "https://api.groq.com/openai/v1/chat/completions", {}, body)
    said = b"".join(piece for run in exchange.body(Timeouts()) for piece in run).decode()
    one, two, three, four = said.split("MARK")[:4]
    assert ('"one"' in one, "fn_a" in two, "fn_b" in three, '"finish_reason":"stop"' in four) == (True,) * 4
