"""Messages: chunks add up to the message, and prompts come in every shape that the field has."""

from __future__ import annotations

from functools import reduce
from operator import add
from types import SimpleNamespace

import pytest
from hypothesis import given
from strategies import fewer, scripts, small_scripts, small_wild_scripts
from vectors import each

from fakellm import (
    Finish,
    Pause,
    Reasoning,
    Refusal,
    Script,
    Text,
    ToolCall,
    Usage,
    disconnect,
    http_error,
    provider_error,
    stall,
)
from fakellm.script.messages import Message, as_messages, as_text, chunk_of

# -- chunks -------------------------------------------------------------------------------------------


@each(
    ("event", "chunk"),
    [
        (Text("a"), Message(content="a")),
        (Text(""), Message()),
        (Reasoning("a"), Message(reasoning="a")),
        (Refusal("a"), Message(refusal="a")),
        (ToolCall("f", index=0), Message(tool_calls=(ToolCall("f", index=0),))),
        (Usage(1, 2), Message(usage=Usage(1, 2))),
        (Finish("length"), Message(finish_reason="length")),
    ],
)
def test_a_chunk_shows_one_event(event, chunk):
    assert chunk_of(event) == chunk


@each("event", [Pause(1), http_error(500), provider_error(), disconnect(), stall()])
def test_no_chunk_shows_a_pause_or_a_fault(event):
    with pytest.raises(TypeError) as error:
        chunk_of(event)
    assert str(error.value) == f"{event!r} is not shown to a consumer, so no chunk holds it"


@fewer(3)
@given(scripts | small_scripts)
def test_the_chunks_of_a_script_add_up_to_its_message(script):
    assert reduce(add, map(chunk_of, script.chunks), Message()) == Message.of(script)


@given(small_scripts)
def test_it_does_not_matter_which_chunks_are_added_first(script):
    chunks = [chunk_of(event) for event in script.chunks]
    for cut in range(1, len(chunks)):
        assert reduce(add, chunks[:cut]) + reduce(add, chunks[cut:]) == Message.of(script)


@given(small_wild_scripts)
def test_texts_tools_and_usage_add_up_in_any_order_of_events(script):
    whole = reduce(add, map(chunk_of, script.chunks), Message())
    shown = (whole.content, whole.reasoning, whole.refusal, whole.tool_calls, whole.usage)
    assert shown == (script.text, script.reasoning, script.refusal, script.tool_calls, script.usage)


def test_two_finish_reasons_add_up_as_the_script_says():
    script = Script(Finish("stop"), Finish("length"), allow_illegal=True)
    assert reduce(add, map(chunk_of, script.chunks)) == Message.of(script)


def test_a_message_of_a_script_is_what_the_script_adds_up_to():
    script = Script(Reasoning("hm"), "a", "b", ToolCall("f", "{"), ToolCall(arguments="}"), Finish(), Usage(1, 2))
    assert Message.of(script) == Message(
        content="ab",
        reasoning="hm",
        tool_calls=(ToolCall("f", "{}", id="call_0", index=0),),
        usage=Usage(1, 2),
        finish_reason="stop",
    )
    assert Message.of(Script()) == Message()
    assert Message.of(Script(Refusal("no"))) == Message(refusal="no")


def test_the_later_usage_reason_and_call_id_stay_and_nothing_forgets_them():
    first = Message(usage=Usage(1, 1), finish_reason="stop", tool_call_id="a")
    second = Message(usage=Usage(1, 9), finish_reason="length", tool_call_id="b")
    assert first + second == second
    assert first + Message() == Message() + first == first


def test_tool_calls_of_two_chunks_are_joined_by_index():
    chunks = [
        Message(tool_calls=(ToolCall("f", "{", index=0), ToolCall("g", "[", index=1))),
        Message(content="-"),
        Message(tool_calls=(ToolCall(arguments="}", index=0), ToolCall(arguments="]", index=1))),
    ]
    assert reduce(add, chunks).tool_calls == (ToolCall("f", "{}", index=0), ToolCall("g", "[]", index=1))


def test_messages_of_two_roles_do_not_add_up():
    with pytest.raises(TypeError) as error:
        Message("user", "a") + Message("assistant", "b")
    assert str(error.value) == "a message of the role 'user' and one of the role 'assistant' do not add up"


def test_a_message_and_something_else_do_not_add_up():
    with pytest.raises(TypeError, match="unsupported operand"):
        Message() + "a"


def test_the_roles_stay_when_messages_add_up():
    assert Message("tool", "a", tool_call_id="x") + Message("tool", "b") == Message("tool", "ab", tool_call_id="x")


def test_a_repr_shows_what_the_message_has():
    assert repr(Message()) == "Message()"
    assert repr(Message("user", "hi")) == "Message(role='user', content='hi')"
    assert repr(Message(usage=Usage(1))) == "Message(usage=Usage(input_tokens=1))"
    assert eval(repr(Message("tool", "1", tool_call_id="x"))) == Message("tool", "1", tool_call_id="x")


def test_a_message_is_frozen_and_hashable():
    with pytest.raises(AttributeError, match="content"):
        Message().content = "a"
    assert len({Message(), Message(), Message("user")}) == 2


# -- prompts ------------------------------------------------------------------------------------------

HI = Message("user", "hi")


class Prompt:
    """A prompt value, as LangChain has them."""

    def to_messages(self):
        return [("system", "Be brief."), HI]

    def to_string(self):
        return "System: Be brief.\nHuman: hi"


@each(
    ("prompt", "messages"),
    [
        ("hi", [HI]),
        ("", [Message("user", "")]),
        ([], []),
        (["hi"], [HI]),
        ([HI, Message("tool", "1", tool_call_id="x")], [HI, Message("tool", "1", tool_call_id="x")]),
        ((HI, HI), [HI, HI]),
        ([("user", "hi")], [HI]),
        ([("human", "hi"), ("ai", "hello"), ("system", "x")], [HI, Message(content="hello"), Message("system", "x")]),
        ([("developer", "x")], [Message("developer", "x")]),
        ([{"role": "user", "content": "hi"}], [HI]),
        ([{"role": "assistant", "content": None}], [Message()]),
        ([{"role": "assistant", "tool_calls": []}], [Message()]),
        ([{"role": "tool", "content": "1", "tool_call_id": "x"}], [Message("tool", "1", tool_call_id="x")]),
        ([SimpleNamespace(role="user", content="hi")], [HI]),
        ([SimpleNamespace(type="human", content="hi")], [HI]),
        ([SimpleNamespace(role=None, type="ai", content="hi")], [Message(content="hi")]),
        ([SimpleNamespace(type="AIMessageChunk", content="hi")], [Message(content="hi")]),
        ([SimpleNamespace(type="tool", content="1", tool_call_id="x")], [Message("tool", "1", tool_call_id="x")]),
        ([SimpleNamespace(role="assistant")], [Message()]),
        (Prompt(), [Message("system", "Be brief."), HI]),
    ],
)
def test_messages_are_read_from_every_shape(prompt, messages):
    assert as_messages(prompt) == messages


@each(
    ("content", "text"),
    [
        ([], ""),
        (["a", "b"], "ab"),
        ([{"type": "text", "text": "a"}, "b"], "ab"),
        ([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}], "a"),
        ([{"type": "text", "text": None}, {"type": "text", "text": 3}], ""),
        ((part for part in ("a", {"text": "b"})), "ab"),
    ],
)
def test_content_in_parts_is_joined_to_its_text(content, text):
    assert as_messages([("user", content)]) == [Message("user", text)]


@each("content", [b"hi", bytearray(b"hi"), {"type": "text", "text": "hi"}])
def test_content_that_only_happens_to_be_iterable_is_not_misread(content):
    try:
        [message] = as_messages([("user", content)])
    except ValueError:
        return
    assert message.content == "hi"


@each(
    ("prompt", "message"),
    [
        (None, "not NoneType (None)"),
        (3, "not int (3)"),
        (b"hi", "not bytes (b'hi'); decode the bytes first"),
        (bytearray(b"hi"), "not bytearray (bytearray(b'hi')); decode the bytes first"),
        ({"role": "user", "content": "hi"}, "; put a message into a list, and take a prompt out of the dict"),
        (HI, "not Message (Message(role='user', content='hi'))"),
        ({"hi"}, "not set ({'hi'})"),
        (iter(["hi"]), "not list_iterator"),
        (SimpleNamespace(role="user", content="hi"), "not SimpleNamespace"),
        (SimpleNamespace(to_messages=lambda: None), "not NoneType (None)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_prompt_of_another_shape_is_refused(prompt, message):
    for read in (as_messages, as_text):
        with pytest.raises(ValueError) as error:
            read(prompt)
        assert str(error.value).startswith("a model's input is a str, a prompt value or a list of messages, not ")
        assert message in str(error.value)


@each(
    "message",
    [
        None,
        3,
        b"hi",
        ("user",),
        ("user", "hi", "more"),
        (None, "hi"),
        (3, "hi"),
        ["user", "hi"],
        {"content": "hi"},
        {"role": 3, "content": "hi"},
        SimpleNamespace(content="hi"),
        SimpleNamespace(role=3, content="hi"),
    ],
    ids=repr,
)
def test_a_message_without_a_role_is_refused_with_its_place(message):
    with pytest.raises(ValueError) as error:
        as_messages([HI, message])
    assert str(error.value) == (
        f"message 1 is {message!r}; a message is a Message, a (role, content) pair, or has a role and a content"
    )


@each("content", [3, True, 1.5, object])
def test_content_of_another_kind_is_refused(content):
    with pytest.raises(ValueError) as error:
        as_messages([("user", content)])
    assert str(error.value) == f"a message's content is text or a list of parts, not {content!r}"


def test_what_is_long_is_clipped_in_a_refusal():
    for prompt in ([{"content": "word " * 1000}], {"prompt": "word " * 1000}, [("user", range)] * 2):
        with pytest.raises(ValueError) as error:
            as_messages(prompt)
        assert len(str(error.value)) < 300


@each(
    ("prompt", "text"),
    [
        ("hi", "hi"),
        ("", ""),
        (Prompt(), "System: Be brief.\nHuman: hi"),
        ([("system", "Be brief."), HI], "system: Be brief.\nuser: hi"),
        (["hi"], "user: hi"),
        ([], ""),
        (SimpleNamespace(to_messages=lambda: ["hi"]), "user: hi"),
    ],
)
def test_a_text_is_read_from_every_shape(prompt, text):
    assert as_text(prompt) == text


def test_a_chunk_of_another_answer_than_the_first_is_refused():
    with pytest.raises(TypeError, match=r"belongs to another answer than the first; give a model one answer"):
        chunk_of(Text("a", choice=1))
