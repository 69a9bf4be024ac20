"""Events are frozen values that refuse, clearly, what no stream could hold."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import pickle
from types import MappingProxyType

import pytest
from hypothesis import given
from strategies import events, pieces, texts
from vectors import each

import fakellm
from fakellm import (
    Finish,
    Pause,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Usage,
    disconnect,
    http_error,
    provider_error,
    stall,
)
from fakellm.errors import ScriptError
from fakellm.script.events import EVENT_TYPES, Event, Fault, Native, Raw

PUBLIC = {name: getattr(fakellm, name) for name in fakellm.__all__}

ONE_OF_EACH = (
    Text("a"),
    Reasoning("a"),
    Refusal("a"),
    ToolCall("a", "{}", id="x", index=0),
    Native("gemini", "{}"),
    Usage(1, 2),
    Finish("length"),
    Pause(1.5),
    Raw(": ping"),
    http_error(503),
    provider_error("overloaded"),
    disconnect("close"),
    stall(),
)


def test_the_samples_below_have_one_event_of_each_kind():
    assert [type(event) for event in ONE_OF_EACH] == list(EVENT_TYPES.values())


# -- values -------------------------------------------------------------------------------------------


@each("event", ONE_OF_EACH, ids=lambda e: e.type)
def test_no_field_of_an_event_can_be_set_or_deleted(event):
    for field in dataclasses.fields(event):
        with pytest.raises(dataclasses.FrozenInstanceError, match=field.name):
            setattr(event, field.name, "other")
        with pytest.raises(dataclasses.FrozenInstanceError, match=field.name):
            delattr(event, field.name)


@each("event", ONE_OF_EACH, ids=lambda e: e.type)
def test_an_event_takes_no_other_attribute(event):
    with pytest.raises(AttributeError, match="note"):
        event.note = "other"


@given(events)
def test_an_event_equals_what_its_repr_evaluates_to_with_the_public_names(event):
    assert eval(repr(event), dict(PUBLIC)) == event


@each(
    ("event", "shown"),
    [
        (Text("it's"), 'Text("it\'s")'),
        (Reasoning(""), "Reasoning('')"),
        (Refusal("no"), "Refusal('no')"),
        (ToolCall("f", {"x": 1}), "ToolCall(name='f', arguments='{\"x\": 1}')"),
        (ToolCall(), "ToolCall()"),
        (Usage(), "Usage()"),
        (Usage(0, 3, cached_tokens=0), "Usage(output_tokens=3, cached_tokens=0)"),
        (Finish(), "Finish()"),
        (Finish("length"), "Finish(reason='length')"),
        (Pause(2), "Pause(2)"),
        (http_error(429, retry_after=0), "http_error(status=429, retry_after=0)"),
        (provider_error(kind="overloaded_error"), "provider_error(kind='overloaded_error')"),
        (disconnect(), "disconnect()"),
        (disconnect("close"), "disconnect(how='close')"),
        (stall(), "stall()"),
    ],
)
def test_a_repr_is_what_one_would_write(event, shown):
    assert repr(event) == shown


@given(events, events)
def test_two_events_are_equal_if_and_only_if_kind_and_fields_are(one, other):
    same = type(one) is type(other) and dataclasses.astuple(one) == dataclasses.astuple(other)
    assert (one == other) is same
    assert one == dataclasses.replace(one)
    assert hash(one) == hash(dataclasses.replace(one))


def test_events_of_two_kinds_with_the_same_text_differ():
    assert len({Text("a"), Reasoning("a"), Refusal("a"), Text("a")}) == 3
    assert Text("a") != "a"


@given(events)
def test_events_survive_pickle_and_copy(event):
    assert pickle.loads(pickle.dumps(event)) == event
    assert copy.deepcopy(event) == copy.copy(event) == event


def test_events_have_no_dict_to_put_things_into():
    assert not [event for event in ONE_OF_EACH if hasattr(event, "__dict__")]


def test_every_fault_is_one_and_nothing_else_is():
    assert [e.type for e in ONE_OF_EACH if isinstance(e, Fault)] == [
        "http_error",
        "provider_error",
        "disconnect",
        "stall",
    ]
    assert all(isinstance(event, Event) for event in ONE_OF_EACH)


# -- what they refuse ---------------------------------------------------------------------------------


@each("kind", [Text, Reasoning, Refusal])
@each("value", [None, 3, ["a"], True])
def test_a_text_is_a_str(kind, value):
    with pytest.raises(TypeError) as error:
        kind(value)
    assert str(error.value) == f"{kind.__name__}.text is str, not {type(value).__name__} ({value!r})"


@each(
    "make",
    [
        lambda: Text(b"abc"),
        lambda: ToolCall("f", b"abc"),
        lambda: ToolCall(b"abc"),
        lambda: ToolCall("f", id=b"abc"),
        lambda: Finish(b"abc"),
        lambda: http_error(500, b"abc"),
        lambda: http_error(500, body=b"abc"),
        lambda: provider_error(b"abc"),
        lambda: provider_error(kind=b"abc"),
        lambda: provider_error(code=b"abc"),
    ],
)
def test_bytes_are_refused_with_the_advice_to_decode_them(make):
    with pytest.raises(TypeError, match=r"not bytes \(b'abc'\); decode the bytes first, a script holds text"):
        make()


@each(
    ("make", "field"),
    [
        (lambda half: Text(half), "Text.text"),
        (lambda half: Reasoning(half), "Reasoning.text"),
        (lambda half: Refusal(half), "Refusal.text"),
        (lambda half: ToolCall("f", half), "ToolCall.arguments"),
        (lambda half: ToolCall("f", {"x": half[2:]}), "ToolCall.arguments"),
        (lambda half: Finish(half), "Finish.reason"),
        (lambda half: http_error(500, half), "http_error.message"),
        (lambda half: http_error(500, body=half), "http_error.body"),
        (lambda half: provider_error(half), "provider_error.message"),
        (lambda half: provider_error(kind=half), "provider_error.kind"),
    ],
)
def test_half_a_surrogate_pair_is_refused_with_its_field(make, field):
    with pytest.raises(ScriptError, match=rf"^{field} holds half of a surrogate pair at character \d") as error:
        make("ab\ud83d")
    assert "UTF-8" in str(error.value)
    assert "between code points" in str(error.value)


@each(
    ("make", "field"),
    [
        (lambda half: ToolCall(half), "ToolCall.name"),
        (lambda half: ToolCall("f", id=half), "ToolCall.id"),
        (lambda half: provider_error(code=half), "provider_error.code"),
    ],
)
def test_half_a_surrogate_pair_is_refused_in_names_ids_and_codes_too(make, field):
    with pytest.raises(ScriptError, match=rf"^{field} holds half of a surrogate pair at character 2"):
        make("ab\ud83d")


def test_the_place_of_the_surrogate_is_counted_in_characters():
    with pytest.raises(ScriptError, match="at character 3;"):
        Text("\U0001f600é\n\udc00")


@given(texts)
def test_every_text_that_utf_8_can_hold_is_legal(text):
    assert Text(text).text == ToolCall(arguments=text).arguments == text


@each("value", [-1, -0.001, math.nan, math.inf, -math.inf])
def test_seconds_are_finite_and_not_negative(value):
    for make, field in ((Pause, "Pause.seconds"), (lambda s: http_error(429, retry_after=s), "http_error.retry_after")):
        with pytest.raises(ScriptError) as error:
            make(value)
        hint = "; for silence without end use stall()" if value == math.inf else ""
        assert str(error.value) == f"{field} is a number of seconds from 0 up, not {value!r}{hint}"


@each("value", [True, False, "1", [1]])
def test_seconds_are_a_number_and_a_bool_is_none(value):
    message = rf"seconds is int or float, not {type(value).__name__} \("
    with pytest.raises(TypeError, match=f"^Pause.{message}"):
        Pause(value)
    with pytest.raises(TypeError, match=r"^http_error.retry_after is int or float, not"):
        http_error(429, retry_after=value)


def test_a_pause_has_a_number_of_seconds():
    with pytest.raises(TypeError, match=r"Pause.seconds is int or float, not NoneType \(None\)"):
        Pause(None)


def test_a_pause_too_long_for_a_float_is_refused():
    with pytest.raises(ScriptError, match=r"Pause.seconds"):
        Pause(10**400)


@each("value", [0, 0.0, 5e-324, 1, 1e300])
def test_seconds_from_zero_up_are_legal(value):
    assert Pause(value).seconds == http_error(429, retry_after=value).retry_after == value


@each("field", ["input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens"])
def test_tokens_are_counted_in_integers_from_zero_up(field):
    with pytest.raises(ScriptError, match=f"^Usage.{field} counts tokens; -1 is negative$"):
        Usage(**{field: -1})
    for wrong in (1.0, "1", True):
        with pytest.raises(TypeError, match=rf"^Usage.{field} is int( or None)?, not {type(wrong).__name__} \("):
            Usage(**{field: wrong})
    assert getattr(Usage(**{field: 0}), field) == 0


def test_only_the_optional_counts_may_be_none():
    assert Usage(cached_tokens=None, reasoning_tokens=None) == Usage()
    with pytest.raises(TypeError, match=r"Usage.output_tokens is int, not NoneType"):
        Usage(1, None)


def test_total_tokens_are_input_and_output():
    assert Usage(3, 4, cached_tokens=2, reasoning_tokens=1).total_tokens == 7


def test_a_finish_reason_is_not_empty():
    with pytest.raises(ScriptError, match=r"Finish.reason is empty; leave the event out"):
        Finish("")
    with pytest.raises(TypeError, match=r"Finish.reason is str, not NoneType \(None\)"):
        Finish(None)


@each("status", [399, 600, 200, 0, -1])
def test_an_error_status_lies_between_400_and_599(status):
    with pytest.raises(ScriptError, match=rf"^http_error.status is an error status from 400 to 599, not {status}$"):
        http_error(status)


@each("status", [500.0, "500", None, True])
def test_an_error_status_is_an_int(status):
    with pytest.raises(TypeError, match=rf"^http_error.status is int, not {type(status).__name__} \("):
        http_error(status)


@each("status", [400, 599])
def test_the_first_and_the_last_error_status_are_legal(status):
    assert http_error(status).status == status


def test_the_texts_of_errors_are_texts():
    with pytest.raises(TypeError, match=r"http_error.message is str, not NoneType"):
        http_error(500, None)
    with pytest.raises(TypeError, match=r"http_error.body is str or None, not dict"):
        http_error(500, body={"error": 1})
    with pytest.raises(TypeError, match=r"provider_error.message is str, not int"):
        provider_error(500)
    with pytest.raises(TypeError, match=r"provider_error.kind is str, not NoneType"):
        provider_error(kind=None)
    with pytest.raises(TypeError, match=r"provider_error.code is str or None, not int"):
        provider_error(code=429)


@each("how", ["", "RESET", "abort", None, 1, ["reset"]])
def test_a_connection_ends_in_one_of_six_ways_and_a_stall_is_in_one_of_three_places(how):
    with pytest.raises(ScriptError) as error:
        disconnect(how)
    hows = "'reset', 'close', 'end', 'cut', 'refused', 'no_response'"
    assert str(error.value) == f"disconnect.how is one of {hows}, not {how!r}"
    with pytest.raises(ScriptError) as error:
        stall(how)
    assert str(error.value) == f"stall.where is one of 'body', 'headers', 'connect', not {how!r}"


# -- tool calls ---------------------------------------------------------------------------------------


def test_arguments_given_as_a_mapping_are_written_as_json():
    call = ToolCall("weather", {"city": "Zürich", "days": [1, 2]})
    assert call.arguments == '{"city": "Zürich", "days": [1, 2]}'
    assert call == ToolCall("weather", '{"city": "Zürich", "days": [1, 2]}')
    assert ToolCall("weather", {}).arguments == "{}"


def test_any_mapping_will_do_for_the_arguments():
    assert ToolCall("f", MappingProxyType({"x": 1})).args == {"x": 1}


def test_arguments_that_are_no_json_are_refused_with_their_field():
    with pytest.raises(TypeError, match=r"ToolCall.arguments"):
        ToolCall("f", {"x": {1, 2}})


def test_a_number_that_json_does_not_have_is_refused_in_arguments():
    with pytest.raises(ValueError, match=r"ToolCall.arguments"):
        ToolCall("f", {"x": math.nan})


@each("arguments", [None, 3, [1], [("x", 1)]])
def test_arguments_of_another_type_are_refused(arguments):
    with pytest.raises(TypeError, match=rf"^ToolCall.arguments is str.*, not {type(arguments).__name__} \("):
        ToolCall("f", arguments)


def test_the_refusal_of_arguments_tells_that_a_mapping_will_do():
    with pytest.raises(TypeError, match=r"(?i)mapping|dict"):
        ToolCall("f", [1])


def test_the_parts_of_a_tool_call_are_checked():
    with pytest.raises(ScriptError, match=r"ToolCall.name is empty; leave it out in the later pieces of a call"):
        ToolCall("")
    with pytest.raises(TypeError, match=r"ToolCall.name is str or None, not int \(3\)"):
        ToolCall(3)
    with pytest.raises(TypeError, match=r"ToolCall.id is str or None, not int \(3\)"):
        ToolCall("f", id=3)
    with pytest.raises(ScriptError, match=r"ToolCall.index counts from 0; -1 is negative"):
        ToolCall("f", index=-1)
    for wrong in ("0", 0.0, True):
        with pytest.raises(TypeError, match=rf"ToolCall.index is int or None, not {type(wrong).__name__} \("):
            ToolCall("f", index=wrong)


def test_id_and_index_are_given_by_name():
    with pytest.raises(TypeError, match="positional"):
        ToolCall("f", "{}", "call_0")


def test_args_are_the_arguments_parsed():
    assert ToolCall("f", '{"x": [1, null]}').args == {"x": [1, None]}
    assert ToolCall("f", "3").args == 3


def test_args_of_no_arguments_are_an_empty_mapping():
    assert ToolCall("f").args == {}


def test_args_that_are_cut_short_raise_value_error():
    with pytest.raises(ValueError, match="Unterminated|Expecting"):
        _ = ToolCall("f", '{"x": "').args


@each(
    ("piece", "current", "index", "id"),
    [
        (ToolCall("f"), -1, 0, "call_0"),
        (ToolCall("f"), 0, 1, "call_1"),
        (ToolCall("f", id="x"), 4, 5, "x"),
        (ToolCall("f", index=7), 0, 7, "call_7"),
        (ToolCall(arguments="a"), 0, 0, None),
        (ToolCall(arguments="a"), 3, 3, None),
        (ToolCall(arguments="a"), -1, 0, None),
        (ToolCall(arguments="a", index=2), 5, 2, None),
        (ToolCall(arguments="a", id="x"), 0, 0, "x"),
    ],
)
def test_a_piece_is_numbered_after_the_call_before_it(piece, current, index, id):
    numbered = piece.numbered(current, current)
    assert (numbered.index, numbered.id) == (index, id)
    assert (numbered.name, numbered.arguments) == (piece.name, piece.arguments)
    assert numbered.numbered(index, index) == numbered


def test_pieces_of_one_call_add_up():
    whole = ToolCall("f", '{"x"', id="call_1", index=1) + ToolCall(arguments=": 1}", index=1)
    assert whole == ToolCall("f", '{"x": 1}', id="call_1", index=1)


def test_the_first_name_and_the_first_id_stay():
    assert ToolCall(None, "a") + ToolCall("f", "b", id="x") == ToolCall("f", "ab", id="x")
    assert ToolCall("f", "a", id="x") + ToolCall("g", "b", id="y") == ToolCall("f", "ab", id="x")


@given(pieces, pieces, pieces)
def test_adding_pieces_up_is_associative(one, two, three):
    two, three = (dataclasses.replace(piece, index=one.index) for piece in (two, three))
    assert (one + two) + three == one + (two + three)


def test_pieces_of_two_calls_do_not_add_up():
    with pytest.raises(ScriptError, match="pieces of the tool calls 0 and 1 do not add up"):
        ToolCall("f", index=0) + ToolCall("g", index=1)


def test_a_piece_and_something_else_do_not_add_up():
    with pytest.raises(TypeError, match="unsupported operand"):
        ToolCall("f") + "{}"


@given(texts)
def test_a_mapping_comes_back_from_the_arguments_as_it_went_in(text):
    call = ToolCall("f", {text: [text, None, 1.5]})
    assert call.args == json.loads(call.arguments) == {text: [text, None, 1.5]}


# -- JSON in fields, several answers -------------------------------------------------------------------------


def test_json_is_kept_as_text_and_may_be_given_as_values():
    assert Usage(1, 2, extra={"service_tier": "standard"}).extra == '{"service_tier": "standard"}'
    assert Text("a", logprobs=[{"token": "a", "logprob": -0.5}]).logprobs == '[{"token": "a", "logprob": -0.5}]'
    assert Finish(extra={"stop_sequence": "\n"}) == Finish(extra='{"stop_sequence": "\\n"}')
    assert repr(Native("gemini", {"a": 1})) == """Native(api='gemini', data='{"a": 1}')"""
    with pytest.raises(ScriptError, match=r"Native.data is no JSON: .*: '{'"):
        Native("gemini", "{")
    with pytest.raises(TypeError, match=r"Usage.extra cannot be written as JSON: a set .* has no JSON form$"):
        Usage(extra={"a": {1}})
    with pytest.raises(ScriptError, match=r"Usage.extra is to hold an object, not '\[\]'"):
        Usage(extra=[])
    with pytest.raises(ScriptError, match=r"Text.logprobs is to hold a list, not '\{\}'"):
        Text("a", logprobs={})
    with pytest.raises(TypeError, match="Native.data is str, not int"):
        Native("gemini", 1)


def test_a_choice_counts_from_0():
    assert repr(Text("a", choice=1)) == "Text('a', choice=1)"
    for make in (Text, Reasoning, Refusal, ToolCall, lambda text, choice: Finish(text, choice=choice)):
        with pytest.raises(ScriptError, match=r"\.choice counts from 0; -1 is negative"):
            make("a", choice=-1)
        with pytest.raises(TypeError, match=r"\.choice is int, not bool"):
            make("a", choice=True)


def test_pieces_of_tool_calls_of_different_answers_do_not_add_up():
    with pytest.raises(ScriptError, match="tool calls of the choices 0 and 1 do not add up"):
        ToolCall("f", index=0) + ToolCall("f", index=0, choice=1)
