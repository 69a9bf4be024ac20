"""A script is a value: built, added up, cut, read, broken and paced, and never changed."""

from __future__ import annotations

import copy
import pickle
from enum import StrEnum
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import events, small_scripts, small_wild_scripts, texts
from vectors import each

import fakellm
from fakellm import (
    FakeLLM,
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
from fakellm.errors import ScriptError
from fakellm.script.events import Fault, Raw
from fakellm.script.order import OrderChecker

PUBLIC = {name: getattr(fakellm, name) for name in fakellm.__all__}

any_scripts = small_scripts | small_wild_scripts
answers = st.lists(
    st.sampled_from(["a", "", "b c", Reasoning("hm"), Refusal("no"), Pause(1), Usage(1, 2)]), max_size=5
).map(lambda drawn: Script(*drawn))
"""Scripts without tool calls, finish and fault: any of them may follow any other."""


# -- built --------------------------------------------------------------------------------------------


def test_strings_stand_for_text_and_scripts_for_their_events():
    inner = Script("b", Pause(1))
    assert list(Script("a", inner, Script(), Text("c"))) == [Text("a"), Text("b"), Pause(1), Text("c")]


def test_an_empty_string_is_an_empty_piece_of_text():
    assert list(Script("")) == [Text("")]
    assert list(Script()) == []


def test_tool_calls_are_numbered_and_named_as_they_come():
    script = Script("a", ToolCall("f", "{"), ToolCall(arguments="}"), ToolCall("g", id="mine"), ToolCall("h", index=2))
    assert list(script)[1:] == [
        ToolCall("f", "{", id="call_0", index=0),
        ToolCall(arguments="}", index=0),
        ToolCall("g", id="mine", index=1),
        ToolCall("h", id="call_2", index=2),
    ]


def test_the_numbering_goes_on_over_the_parts_of_a_script():
    assert [e.index for e in Script(Script(ToolCall("f")), ToolCall("g"), ToolCall(arguments="1"))] == [0, 1, 1]
    assert [e.index for e in Script(ToolCall("f")) + ToolCall("g") + ToolCall("h")] == [0, 1, 2]


def test_a_piece_without_a_name_continues_the_call_before_it_though_the_indexes_go_back():
    script = Script(ToolCall("f", index=1), ToolCall("g", index=0), ToolCall(arguments="1"), allow_illegal=True)
    assert script[2].index == 0


def test_a_nameless_piece_before_every_call_is_refused_as_the_first_of_call_0():
    with pytest.raises(ScriptError, match="event 0.*the first piece of call 0 needs a name"):
        Script(ToolCall(arguments="1"))


@each(
    ("part", "message"),
    [
        (b"abc", "part 1 is b'abc', a bytes; a script is made of str, events and scripts; decode the bytes first"),
        (bytearray(b"a"), "a bytearray; a script is made of str, events and scripts; decode the bytes first"),
        (["b"], "part 1 is ['b'], a list; a script is made of str, events and scripts; write *list, one argument each"),
        (("b",), "a tuple; a script is made of str, events and scripts; write *tuple, one argument each"),
        (stall, "a type; a script is made of str, events and scripts; call it: stall()"),
        (None, "part 1 is None, a NoneType; a script is made of str, events and scripts"),
        (3, "part 1 is 3, a int; a script is made of str, events and scripts"),
        (Fault(), "part 1 is "),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_part_of_another_kind_is_refused_with_its_place_and_a_hint(part, message):
    with pytest.raises(TypeError) as error:
        Script("a", part)
    assert message in str(error.value)


def test_a_long_part_is_clipped_in_the_refusal():
    with pytest.raises(TypeError) as error:
        Script(["word"] * 1000)
    assert len(str(error.value)) < 300


def test_the_place_of_a_part_counts_parts_not_events():
    with pytest.raises(TypeError, match="part 2 is 3"):
        Script(Script("a", "b", "c"), "d", 3)


def test_half_a_surrogate_pair_is_refused_in_a_string_too():
    with pytest.raises(ScriptError, match=r"Text.text holds half of a surrogate pair"):
        Script("a", "\udc80")


# -- a sequence ---------------------------------------------------------------------------------------


def test_a_script_is_a_sequence_of_its_events():
    script = Script("a", Pause(1), "b", "a")
    assert len(script) == 4
    assert script[0] == script[-1] == Text("a")
    assert list(reversed(script)) == [Text("a"), Text("b"), Pause(1), Text("a")]
    assert Pause(1) in script
    assert "a" not in script
    assert script.index(Text("b")) == 2
    assert script.count(Text("a")) == 2
    with pytest.raises(IndexError):
        script[4]


def test_an_empty_script_is_falsy_and_any_other_truthy():
    assert not Script()
    assert Script("")


@given(any_scripts, st.integers(0, 6), st.integers(0, 6))
def test_a_slice_from_the_start_is_a_script_of_those_events(script, start, stop):
    assert isinstance(script[:stop], Script)
    assert list(script[:stop]) == list(script)[:stop]
    assert script[:stop].allow_illegal is script.allow_illegal
    if script.allow_illegal:
        assert list(script[start:stop]) == list(script)[start:stop]


def test_a_slice_keeps_events_with_their_numbers():
    script = Script("a", ToolCall("f", "{"), ToolCall(arguments="}"), Finish())
    assert script[1:] == Script(ToolCall("f", "{"), ToolCall(arguments="}"), Finish())
    assert script[::3] == Script("a", Finish())


def test_a_slice_that_begins_inside_a_tool_call_is_refused():
    with pytest.raises(ScriptError, match="the first piece of call 0 needs a name"):
        Script(ToolCall("f", "{"), ToolCall(arguments="}"))[1:]


@given(answers, answers, answers)
def test_concatenation_is_associative(one, two, three):
    assert (one + two) + three == one + (two + three) == Script(one, two, three)


@given(any_scripts)
def test_the_empty_script_is_neutral(script):
    assert script + Script() == Script() + script == script
    assert (script + Script()).allow_illegal is (Script() + script).allow_illegal is script.allow_illegal


@given(small_scripts, st.data())
def test_the_two_parts_of_a_cut_script_add_up_to_it(script, data):
    cut = data.draw(st.integers(0, len(script)))
    joined = script[:cut]
    for event in list(script)[cut:]:
        joined += event
    assert joined == script


def test_strings_and_events_are_added_at_either_end():
    assert "a" + Script("b") + "c" == Script("a", "b", "c")
    assert Pause(1) + Script("b") + Finish() == Script(Pause(1), "b", Finish())


@each("other", [b"a", 3, None, ["a"], stall])
def test_nothing_else_is_added(other):
    with pytest.raises(TypeError):
        Script("a") + other
    with pytest.raises(TypeError):
        other + Script("a")


def test_what_no_stream_could_be_cannot_be_added_up_either():
    with pytest.raises(ScriptError, match="event 2, Text"):
        Script("a", Finish()) + "b"
    with pytest.raises(ScriptError, match="event 1, http_error"):
        "a" + Script(http_error(500))


def test_what_is_added_to_an_illegal_script_may_be_illegal_from_either_side():
    wild = Script(Finish(), "late", allow_illegal=True)
    for joined in (wild + "more", "more" + wild, Script("more") + wild, wild + Script(Finish()), Script(wild)):
        assert joined.allow_illegal
    assert not Script("a", "b").allow_illegal


# -- a value ------------------------------------------------------------------------------------------


@each("name", ["_events", "allow_illegal", "text", "note"])
def test_a_script_cannot_be_changed(name):
    script = Script("a")
    with pytest.raises(AttributeError, match=f"a Script is immutable, so its {name} cannot be set"):
        setattr(script, name, ())
    with pytest.raises(TypeError):
        script[0] = Text("b")
    assert script == Script("a")


def test_nothing_can_be_deleted_from_a_script():
    with pytest.raises(AttributeError, match="immutable"):
        del Script("a").allow_illegal


@given(any_scripts, any_scripts)
def test_scripts_are_equal_if_and_only_if_their_events_are(one, other):
    assert (one == other) is (list(one) == list(other))
    assert one == Script(*one, allow_illegal=True)
    assert hash(one) == hash(Script(*one, allow_illegal=True))


def test_a_script_is_equal_to_no_list_and_no_string():
    assert Script("a") != [Text("a")]
    assert Script("a") != "a"
    assert len({Script("a"), Script("a"), Script("b")}) == 2


@given(any_scripts)
def test_a_script_survives_pickle_and_copy(script):
    for twin in (pickle.loads(pickle.dumps(script)), copy.copy(script), copy.deepcopy(script)):
        assert twin == script
        assert twin.allow_illegal is script.allow_illegal


def test_a_script_whose_text_was_read_survives_pickle_too():
    script = Script("a", ToolCall("f"))
    assert (script.text, len(script.tool_calls)) == ("a", 1)
    assert pickle.loads(pickle.dumps(script)).text == "a"


@given(any_scripts | st.lists(events, max_size=3).map(lambda drawn: Script(*drawn, allow_illegal=True)))
def test_a_script_equals_what_its_repr_evaluates_to_with_the_public_names(script):
    twin = eval(repr(script), dict(PUBLIC))
    assert twin == script
    assert twin.allow_illegal is script.allow_illegal


def test_a_repr_has_texts_as_plain_strings():
    assert repr(Script("a", Reasoning("b"), stall())) == "Script('a', Reasoning('b'), stall())"
    assert repr(Script(allow_illegal=True)) == "Script(allow_illegal=True)"
    assert repr(Script()) == "Script()"


# -- what it adds up to -------------------------------------------------------------------------------

WHOLE = Script(
    Pause(0.5), Reasoning("hm"), "The ", Usage(3, 1), Pause(2), "end", Reasoning("!"), Refusal("I "), Refusal("won't"),
    ToolCall("f", '{"x"'), ToolCall(arguments=": 1}"), ToolCall("g"), Finish("tool_calls"), Usage(3, 9), disconnect(),
)  # fmt: skip


def test_a_script_adds_up_to_an_answer():
    assert WHOLE.text == "The end"
    assert WHOLE.reasoning == "hm!"
    assert WHOLE.refusal == "I won't"
    assert WHOLE.tool_calls == (
        ToolCall("f", '{"x": 1}', id="call_0", index=0),
        ToolCall("g", id="call_1", index=1),
    )
    assert WHOLE.usage == Usage(3, 9)
    assert WHOLE.finish_reason == "tool_calls"
    assert WHOLE.fault == disconnect()
    assert WHOLE.duration == 2.5
    assert len(WHOLE.chunks) == len(WHOLE) - 3
    assert list(WHOLE.chunks) == [e for e in WHOLE if not isinstance(e, (Pause, Fault))]


def test_an_empty_script_adds_up_to_nothing():
    empty = Script()
    assert (empty.text, empty.reasoning, empty.refusal, empty.tool_calls, empty.chunks) == ("", "", "", (), ())
    assert (empty.usage, empty.finish_reason, empty.fault, empty.duration) == (None, None, None, 0)


@given(any_scripts)
def test_reading_twice_gives_the_same(script):
    for name in ("text", "reasoning", "refusal", "tool_calls", "usage", "finish_reason", "fault", "duration", "chunks"):
        assert getattr(script, name) == getattr(script, name) == getattr(Script(*script, allow_illegal=True), name)


def test_interleaved_pieces_of_tool_calls_add_up_by_index():
    script = Script(
        ToolCall("g", "[", index=1), ToolCall("f", "{", index=0), ToolCall(arguments="]", index=1),
        ToolCall("again", "}", index=0), allow_illegal=True,
    )  # fmt: skip
    assert [(call.name, call.arguments, call.id) for call in script.tool_calls] == [
        ("f", "{}", "call_0"),
        ("g", "[]", "call_1"),
    ]


# -- rechunk ------------------------------------------------------------------------------------------

KINDS = st.sampled_from([Text, Reasoning, Refusal])


def _joined(events, kind):
    return "".join(event.text for event in events if isinstance(event, kind))


def _others(script, kind):
    """Return the events of other kinds, each with its place in the text of this kind."""
    place, found = 0, []
    for event in script:
        if isinstance(event, kind):
            place += len(event.text)
        else:
            found.append((place, event))
    return found


def _boundaries(script, kind):
    lengths = [len(event.text) for event in script if isinstance(event, kind)]
    return list(accumulate(lengths, initial=0))


@st.composite
def cut_scripts(draw, any_script=small_scripts):
    """Draw a script, a kind of text that it has, and positions in that text."""
    script = draw(any_script)
    present = [kind for kind in (Text, Reasoning, Refusal) if any(isinstance(e, kind) for e in script)]
    if not present:
        script, present = Script("ab\u0301c", Reasoning("de"), Pause(1), Text("fg"), Text("")), [Text, Reasoning]
    kind = draw(st.sampled_from(present))
    length = len(_joined(script, kind))
    return script, kind, draw(st.lists(st.integers(0, length), max_size=4))


@given(cut_scripts() | cut_scripts(small_wild_scripts))
def test_rechunking_keeps_what_a_script_adds_up_to(drawn):
    script, kind, cuts = drawn
    recut = script.rechunk(cuts, of=kind)
    for name in ("text", "reasoning", "refusal", "tool_calls", "usage", "finish_reason", "fault", "duration"):
        assert getattr(recut, name) == getattr(script, name)
    assert recut.allow_illegal is script.allow_illegal


@given(cut_scripts())
def test_every_cut_becomes_a_boundary(drawn):
    script, kind, cuts = drawn
    recut = script.rechunk(cuts, of=kind)
    boundaries = _boundaries(recut, kind)
    places = {place for place, _ in _others(script, kind)}
    assert set(cuts) <= set(boundaries)
    assert set(boundaries) <= {0, *cuts, *places, len(_joined(script, kind))}


@given(cut_scripts())
def test_other_events_keep_their_order_and_their_place_in_the_text(drawn):
    script, kind, cuts = drawn
    assert _others(script.rechunk(cuts, of=kind), kind) == _others(script, kind)


@given(cut_scripts())
def test_the_same_cuts_a_second_time_change_nothing(drawn):
    script, kind, cuts = drawn
    once = script.rechunk(cuts, of=kind)
    assert list(once.rechunk(cuts, of=kind)) == list(once)


@given(cut_scripts(), st.integers(1, 4))
def test_every_n_gives_pieces_no_longer_than_n_and_a_second_time_nothing_new(drawn, n):
    script, kind, _ = drawn
    once = script.rechunk(every=n, of=kind)
    assert all(len(e.text) <= n for e in once if isinstance(e, kind))
    assert once.rechunk(every=n, of=kind) == once


@given(texts, st.sampled_from(["words", "characters", "graphemes", "tokens"]))
def test_a_bare_text_is_cut_as_script_of_cuts_it(text, name):
    assert Script(text).rechunk(name) == Script(*(text or [""])).rechunk(name) == Script.of(text, name)


@each(
    ("script", "cuts", "recut"),
    [
        (Script("Hello, ", "world"), [3, 7], Script("Hel", "lo, ", "world")),
        (Script("Hello, ", Pause(1), "world"), [3], Script("Hel", "lo, ", Pause(1), "world")),
        (Script("ab", Pause(1), "cd"), [], Script("ab", Pause(1), "cd")),
        (Script("ab", Pause(1), "cd"), [2], Script("ab", Pause(1), "cd")),
        (Script("ab", Pause(1), Usage(1), "cd"), [3], Script("ab", Pause(1), Usage(1), "c", "d")),
        (Script(Pause(1), "ab"), [1], Script(Pause(1), "a", "b")),
        (Script("ab", Finish(), Usage(1)), [1, 1], Script("a", "", "b", Finish(), Usage(1))),
        (Script("ab", disconnect()), [2], Script("ab", "", disconnect())),
        (Script("a", "", "b"), [], Script("ab")),
        (Script("a", ToolCall("f"), "b"), [1], Script("a", ToolCall("f"), "b")),
        (Script(Reasoning("xy"), "ab"), [1], Script(Reasoning("xy"), "a", "b")),
        (Script("", Finish()), [], Script("", Finish())),
        (Script("", Finish()), [0, 0], Script("", "", "", Finish())),
    ],
)
def test_rechunking_by_example(script, cuts, recut):
    assert script.rechunk(cuts) == recut


def test_reasoning_and_refusals_are_cut_when_asked_for():
    script = Script(Reasoning("ab"), Refusal("cd"), "ef")
    assert script.rechunk([1], of=Reasoning) == Script(Reasoning("a"), Reasoning("b"), Refusal("cd"), "ef")
    assert script.rechunk([1], of=Refusal) == Script(Reasoning("ab"), Refusal("c"), Refusal("d"), "ef")
    assert script.rechunk(every=1) == Script(Reasoning("ab"), Refusal("cd"), "e", "f")


def test_the_arguments_of_each_tool_call_are_cut_by_themselves():
    script = Script("hi", ToolCall("f", '{"x"'), Pause(1), ToolCall(arguments=":1}"), ToolCall("g", "{}"), Finish())
    assert script.rechunk(every=3, of=ToolCall) == Script(
        "hi",
        ToolCall("f", '{"x', id="call_0"),
        ToolCall(arguments='"'),
        Pause(1),
        ToolCall(arguments=":1"),
        ToolCall(arguments="}"),
        ToolCall("g", "{}"),
        Finish(),
    )


def test_a_tool_call_without_arguments_stays_one_piece():
    script = Script(ToolCall("f"), ToolCall("g", id="mine"), Finish())
    assert script.rechunk(every=1, of=ToolCall) == script
    assert script.rechunk([0], of=ToolCall) == Script(
        ToolCall("f"), ToolCall(), ToolCall("g", id="mine"), ToolCall(), Finish()
    )


@given(small_scripts, st.integers(1, 4))
def test_rechunking_tool_calls_keeps_the_answer_and_a_second_time_changes_nothing(script, n):
    recut = script.rechunk(every=n, of=ToolCall)
    for name in ("text", "reasoning", "refusal", "tool_calls", "usage", "finish_reason", "fault", "duration"):
        assert getattr(recut, name) == getattr(script, name)
    assert all(len(e.arguments) <= n for e in recut if isinstance(e, ToolCall))
    assert [e for e in recut if not isinstance(e, ToolCall)] == [e for e in script if not isinstance(e, ToolCall)]
    assert recut.rechunk(every=n, of=ToolCall) == recut


def test_rechunking_interleaved_tool_calls_leaves_each_its_arguments():
    script = Script(
        ToolCall("f", '{"x":'), ToolCall("g", '{"y":'),
        ToolCall(arguments="1}", index=0), ToolCall(arguments="2}", index=1), allow_illegal=True,
    )  # fmt: skip
    assert script.rechunk(every=3, of=ToolCall).tool_calls == script.tool_calls


def test_a_function_sees_the_whole_text_and_the_arguments_of_each_call():
    seen = []

    def split(text):
        seen.append(text)
        return [text]

    script = Script("a", ToolCall("f", "{"), ToolCall(arguments="}"), "b", ToolCall("g", "[]"))
    script.rechunk(split)
    script.rechunk(split, of=ToolCall)
    assert seen == ["ab", "{}", "[]"]


def test_a_script_without_that_kind_of_text_stays_as_it_is():
    script = Script(Pause(1), Reasoning("a"), Finish())
    assert script.rechunk(every=1) == script
    assert script.rechunk("words", of=ToolCall) == script
    assert Script().rechunk("words") == Script()


@each("arguments", [{"split": "nonsense"}, {"every": 0}, {}])
def test_bad_arguments_are_refused_even_where_there_is_nothing_to_cut(arguments):
    with pytest.raises(ScriptError):
        Script(Pause(1)).rechunk(**arguments)


@each(
    ("arguments", "message"),
    [
        ({}, "say how to split"),
        ({"split": "words", "every": 1}, "not both"),
        ({"split": "nonsense"}, "there is no split 'nonsense'; there are words"),
        ({"split": [6]}, "cut 6 lies outside the text, which has 5 characters"),
        ({"split": str.upper}, "the pieces of the split function join to 'HELLO', not to the text 'Hello'"),
        ({"every": 0}, "every is a number of characters from 1 up, not 0"),
    ],
)
def test_a_bad_split_is_refused(arguments, message):
    with pytest.raises(ScriptError, match=message):
        Script("Hel", "lo").rechunk(**arguments)


@each("kind", [Usage, Finish, Pause, str, None, "text", (Text, Reasoning)])
def test_only_what_has_text_can_be_cut(kind):
    with pytest.raises(TypeError, match="only Text, Reasoning, Refusal, ToolCall can be cut, not ") as error:
        Script("a").rechunk(every=1, of=kind)
    assert repr(kind) in str(error.value)


# -- fail, pause, paced -------------------------------------------------------------------------------

PAUSED = Script(Pause(1), "a", Pause(2), "b", Finish(), Pause(3))


@each(
    ("after", "kept"),
    [(0, 0), (1, 2), (2, 4), (3, 5), (None, 6)],
)
def test_a_script_fails_after_so_many_chunks(after, kept):
    fault = provider_error()
    assert PAUSED.fail(fault, after=after) == Script(*list(PAUSED)[:kept], fault)


@given(small_scripts, st.data())
def test_a_failing_script_has_delivered_just_so_many_chunks(script, data):
    after = data.draw(st.integers(0, len(script.chunks)))
    broken = script.fail(stall(), after=after)
    assert broken.fault == stall()
    assert broken[-1] == stall()
    assert broken.chunks == script.chunks[:after]


def test_a_status_can_only_fail_before_the_first_chunk():
    assert PAUSED.fail(http_error(503), after=0) == Script(http_error(503))
    with pytest.raises(ScriptError, match="an HTTP status comes before the first byte"):
        PAUSED.fail(http_error(503), after=1)


def test_a_script_that_has_failed_fails_again_only_earlier():
    broken = Script("a", "b", stall())
    assert broken.fail(disconnect(), after=1) == Script("a", disconnect())
    assert broken.fail(disconnect(), after=2) == Script("a", "b", disconnect())
    with pytest.raises(ScriptError, match="nothing comes after a fault"):
        broken.fail(disconnect())


@each("fault", [disconnect, "disconnect", None, Finish(), 500])
def test_only_a_fault_can_break_a_script(fault):
    with pytest.raises(TypeError) as error:
        Script("a").fail(fault)
    message = f"{fault!r} is no fault; there are http_error, provider_error, disconnect, stall"
    assert str(error.value) == message


@each(
    ("after", "place"),
    [(0, 0), (1, 2), (2, 4), (3, 5), (None, 6)],
)
def test_a_script_pauses_after_so_many_chunks(after, place):
    events = list(PAUSED)
    assert PAUSED.pause(9, after=after) == Script(*events[:place], Pause(9), *events[place:])


@given(small_scripts, st.sampled_from([0, 0.5, 7]), st.data())
def test_a_pause_changes_no_chunk_and_no_fault(script, silence, data):
    after = data.draw(st.integers(0, len(script.chunks)))
    paused = script.pause(silence, after=after)
    assert (paused.chunks, paused.fault, len(paused)) == (script.chunks, script.fault, len(script) + 1)


@each("after", [-1, 4, 1.5, True, False, "1", [1]])
@each("change", [lambda s, n: s.pause(1, after=n), lambda s, n: s.fail(stall(), after=n)])
def test_after_is_a_number_of_chunks_that_the_script_has(change, after):
    with pytest.raises(ScriptError) as error:
        change(PAUSED, after)
    assert str(error.value) == f"after={after!r} is no number of chunks: this script has 3"


def test_after_is_not_a_float():
    with pytest.raises((ScriptError, TypeError), match="after=1.0"):
        PAUSED.pause(1, after=1.0)


def test_a_pause_at_the_end_of_a_broken_script_is_refused():
    with pytest.raises(ScriptError, match="nothing comes after a fault"):
        Script("a", stall()).pause(1)
    assert Script("a", stall()).pause(1, after=1) == Script("a", Pause(1), stall())


def test_a_bad_silence_is_refused():
    for change in (lambda: Script("a").pause(-1), lambda: Script("a").paced(-1), lambda: Script().paced(-1)):
        with pytest.raises(ScriptError, match=r"Pause.seconds is a number of seconds from 0 up, not -1"):
            change()


def test_a_paced_script_is_silent_before_each_chunk():
    assert PAUSED.paced(0.5) == Script(
        Pause(1), Pause(0.5), "a", Pause(2), Pause(0.5), "b", Pause(0.5), Finish(), Pause(3)
    )
    assert Script("a", stall()).paced(1) == Script(Pause(1), "a", stall())
    assert Script().paced(1) == Script()


@given(any_scripts, st.integers(0, 1000))
def test_pacing_keeps_the_chunks_and_puts_one_pause_before_each(script, silence):
    paced = script.paced(silence)
    assert (paced.chunks, paced.fault, paced.allow_illegal) == (script.chunks, script.fault, script.allow_illegal)
    assert len(paced) == len(script) + len(script.chunks)
    for before, event in pairwise([None, *paced]):
        if not isinstance(event, (Pause, Fault)):
            assert before == Pause(silence)


def test_no_method_changes_the_script_it_is_called_on():
    script = Script("ab", Pause(1), "c")
    before = list(script)
    script.rechunk(every=1)
    script.fail(stall())
    script.pause(1)
    script.paced(1)
    script += "d"
    assert before == list(Script("ab", Pause(1), "c"))
    assert list(script)[:-1] == before


def test_adding_one_event_after_another_checks_each_once(monkeypatch):
    steps = []
    monkeypatch.setattr(OrderChecker, "step", lambda self, event: steps.append(event))
    script = Script()
    for n in range(100):
        script = script + str(n)

    assert len(script) == len(steps) == 100


# -- several answers -------------------------------------------------------------------------------------


TWO = Script(
    "a", Text("b", choice=1), ToolCall("f", "{}"), ToolCall("g", "[", choice=1), ToolCall(arguments="]", choice=1),
    Usage(1, 2), Finish(choice=1), Finish("tool_calls"), Raw(":\n\n"),
)  # fmt: skip


def test_what_a_script_adds_up_to_is_its_first_answer():
    assert (TWO.text, TWO.finish_reason, TWO.tool_calls) == (
        "a",
        "tool_calls",
        (ToolCall("f", "{}", id="call_0", index=0),),
    )
    assert TWO.choices == (0, 1)
    assert Script("a").choices == Script().choices == (0,)


def test_each_answer_is_a_script_of_its_own():
    second = TWO.choice(1)
    assert second == Script("b", ToolCall("g", "["), ToolCall(arguments="]"), Usage(1, 2), Finish(), Raw(":\n\n"))
    assert TWO.choice(0).choices == (0,)
    assert Script("a").choice(0) == Script("a")
    assert TWO.choice(2) == Script(Usage(1, 2), Raw(":\n\n"))


def test_raw_bytes_are_no_chunk_and_are_not_paced():
    assert Raw(":\n\n") not in TWO.chunks
    assert list(Script("a", Raw("b")).paced(1)) == [Pause(1), Text("a"), Raw("b")]


def test_answers_are_rechunked_each_by_itself():
    assert TWO.rechunk(every=1, of=ToolCall).choice(1).tool_calls == TWO.choice(1).tool_calls
    script = Script("ab", Text("cd", choice=1), "ef").rechunk(every=1)
    assert script.choice(0) == Script("a", "b", "e", "f")
    assert script.choice(1) == Script("c", "d")


def test_a_signature_stays_with_the_last_piece():
    script = Script(Reasoning("ab"), Reasoning("c", signature="s")).rechunk(every=2, of=Reasoning)
    assert script == Script(Reasoning("ab"), Reasoning("c", signature="s"))
    assert Script(ToolCall("f", "[1]", signature="s")).rechunk(every=1, of=ToolCall).tool_calls[0].signature == "s"


def test_a_sum_goes_on_in_each_answer():
    assert Script("a", ToolCall("f", choice=1)) + ToolCall(arguments="{}", choice=1) + ToolCall("g") == Script(
        "a", ToolCall("f", choice=1), ToolCall(arguments="{}", choice=1), ToolCall("g")
    )


@given(st.lists(texts, max_size=5))
def test_a_script_of_strings_is_that_of_their_events(said):
    script, events = Script(*said), Script(*map(Text, said))
    assert (script.text, len(script), script.choices) == (events.text, len(events), events.choices)
    assert pickle.loads(pickle.dumps(script)) == script == events == copy.copy(script)
    assert hash(script) == hash(events)
    assert repr(script) == repr(events)
    assert script + "!" == events + "!" == Script(*said, "!")
    assert [*FakeLLM(*said or [""]).stream("")] == [*FakeLLM(*map(Text, said or [""])).stream("")]


def test_events_that_nobody_looks_at_are_not_made(monkeypatch):
    made = []
    monkeypatch.setattr("fakellm.script.script.Text", lambda text: made.append(text) or Text(text))
    fake = FakeLLM("a", "b")
    assert ([*fake.stream("")], fake.invoke(""), fake.calls[0].chunks, made) == (["a", "b"], "ab", ["a", "b"], [])
    assert Script("a", "b")[1] == Text("b")
    assert made == ["a", "b"]


def test_a_string_of_a_kind_of_its_own_is_checked_as_any_other():
    assert Script(StrEnum("Word", {"ONE": "one"}).ONE).text == "one"
    with pytest.raises(ScriptError, match=r"Text\.text holds half of a surrogate pair at character 1"):
        Script("fine", "a\ud83d")
