"""The order table, held against the theory: which event may follow what, and how the others are refused."""

from __future__ import annotations

from copy import copy
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import fewer, legal_events
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
from fakellm.errors import ScriptError
from fakellm.script.events import EVENT_TYPES, Fault, Native, Raw
from fakellm.script.order import ORDER, OrderChecker, check_order

# The theory, written down by hand: after a stream in this state, the event leads to that state, or
# is refused for the reason that a letter stands for.
MATRIX = """
                not_begun   open       finished   failed
text            open        open       ANSWERED   DEAD
reasoning       open        open       ANSWERED   DEAD
refusal         open        open       ANSWERED   DEAD
tool_call       open        open       ANSWERED   DEAD
native          open        open       ANSWERED   DEAD
usage           open        open       finished   DEAD
finish          finished    finished   TWICE      DEAD
pause           not_begun   open       finished   DEAD
raw             open        open       finished   DEAD
http_error      failed      STATUS     STATUS     DEAD
provider_error  failed      failed     failed     DEAD
disconnect      failed      failed     failed     DEAD
stall           failed      failed     failed     DEAD
"""
REASONS = {
    "ANSWERED": ("nothing of the answer comes after its finish reason", "put it before the Finish event"),
    "TWICE": ("an answer finishes once", "leave the second Finish out"),
    "STATUS": ("an HTTP status comes before the first byte of a stream", "use provider_error()"),
    "DEAD": ("nothing comes after a fault", "put it before the fault"),
}
SAMPLES = {
    "text": Text("a"),
    "reasoning": Reasoning("a"),
    "refusal": Refusal("a"),
    "tool_call": ToolCall("f", index=0),
    "native": Native("gemini", {"inlineData": {}}),
    "usage": Usage(1, 1),
    "finish": Finish(),
    "pause": Pause(1),
    "raw": Raw(": keep-alive\n\n"),
    "http_error": http_error(500),
    "provider_error": provider_error(),
    "disconnect": disconnect(),
    "stall": stall(),
}
WAYS = {
    "not_begun": [(), (Pause(1),), (Pause(0), Pause(2))],
    "open": [(Text(""),), (Pause(1), Reasoning("a")), (Refusal("a"), Pause(1)), (Usage(1),), (Text("a"), Usage(1))],
    "finished": [(Finish(),), (Text("a"), Finish("length"), Usage(1), Pause(1))],
    "failed": [(disconnect(),), (stall(),), (http_error(500),), (Text("a"), Finish(), provider_error())],
}
_, *_ROWS = (line.split() for line in MATRIX.strip().splitlines())
_STATES = MATRIX.split()[:4]
CELLS = [(state, row[0], row[1 + _STATES.index(state)]) for state in _STATES for row in _ROWS]


def test_the_matrix_has_every_state_and_every_event():
    assert [state.replace("_", " ") for state in _STATES] == list(ORDER)
    assert [row[0] for row in _ROWS] == list(EVENT_TYPES)
    assert all(set(row) == set(EVENT_TYPES.values()) for row in ORDER.values())


@each(("state", "name", "verdict"), CELLS, ids=lambda part: part)
def test_each_event_in_each_state_does_what_the_theory_says(state, name, verdict):
    for way in WAYS[state]:
        checker = OrderChecker()
        for event in way:
            checker.step(event)
        assert checker.state == state.replace("_", " ")
        if verdict in REASONS:
            with pytest.raises(ScriptError) as error:
                checker.step(SAMPLES[name])
            why, remedy = REASONS[verdict]
            first, second = str(error.value).split("\n")
            assert first.startswith(f"event {len(way)}, {SAMPLES[name]!r}, cannot come here: {why}")
            assert second.startswith(f"  to do:     {remedy}")
            assert second.endswith("or give allow_illegal=True to imitate a provider that misbehaves")
        else:
            checker.step(SAMPLES[name])
            assert checker.state == verdict.replace("_", " ")


def test_a_refused_event_leaves_the_checker_where_it_was():
    checker = OrderChecker()
    checker.step(Text("a"))
    with pytest.raises(ScriptError):
        checker.step(http_error(500))
    assert (checker.state, checker.count) == ("open", 1)
    checker.step(Finish())
    assert (checker.state, checker.count) == ("finished", 2)


# -- tool calls ---------------------------------------------------------------------------------------

F, G, H = ToolCall("f", index=0), ToolCall("g", index=1), ToolCall("h", index=2)
MORE_F, MORE_G = ToolCall(arguments="1", index=0), ToolCall(arguments="1", index=1)


@each(
    "events",
    [
        [F, MORE_F, MORE_F, G, MORE_G, H],
        [F, Pause(1), MORE_F, Usage(1), MORE_F],
        [Text("a"), F, Text("b"), G, Reasoning("c"), H, Text("d")],
        [F, G, H, Finish("tool_calls")],
        [Pause(1), F],
    ],
)
def test_calls_numbered_from_zero_with_their_pieces_side_by_side_are_legal(events):
    check_order(events)


@each(
    ("events", "position", "why", "remedy"),
    [
        ([G], 0, "tool calls are numbered 0, 1, 2 and never go back; 0 is next", "give it index=0"),
        ([F, H], 1, "tool calls are numbered 0, 1, 2 and never go back; 1 is next", "give it index=1"),
        ([F, G, MORE_F], 2, "never go back; 2 is next", "give it index=2"),
        ([F, F], 1, "only the first piece of call 0 has a name", "give the next call index=1, or leave the name out"),
        ([F, G, MORE_G, G], 3, "only the first piece of call 1 has a name", "give the next call index=2"),
        ([MORE_F], 0, "the first piece of call 0 needs a name", "give the tool's name"),
        ([Pause(1), F, MORE_G], 2, "the first piece of call 1 needs a name", "give the tool's name"),
        ([F, Text(""), MORE_F], 2, "stand together, and call 0 was left already", "move the pieces side by side"),
        ([F, Reasoning("a"), MORE_F], 2, "stand together, and call 0 was left already", "side by side"),
        ([F, Refusal("a"), MORE_F], 2, "stand together, and call 0 was left already", "side by side"),
        ([F, Text("a"), F], 2, "stand together, and call 0 was left already", "side by side"),
        ([F, Finish(), MORE_F], 2, "nothing of the answer comes after its finish reason", "before the Finish event"),
        ([F, stall(), MORE_F], 2, "nothing comes after a fault", "put it before the fault"),
    ],
)
def test_a_tool_call_out_of_place_is_refused_with_position_reason_and_remedy(events, position, why, remedy):
    with pytest.raises(ScriptError) as error:
        check_order(events)
    first, second = str(error.value).split("\n")
    assert first.startswith(f"event {position}, {events[position]!r}, cannot come here: ")
    assert why in first
    assert remedy in second
    assert "allow_illegal=True" in second


def test_a_refused_piece_does_not_open_its_call():
    checker = OrderChecker()
    with pytest.raises(ScriptError, match="needs a name"):
        checker.step(MORE_F)
    checker.step(F)
    checker.step(MORE_F)
    assert checker.count == 2


# -- scripts ------------------------------------------------------------------------------------------


def test_the_position_counts_events_not_the_parts_they_came_in():
    with pytest.raises(ScriptError, match=r"^event 3, Text\('late'\), cannot come here"):
        Script(Script("a", "b", Finish()), "late")


def test_allow_illegal_lets_the_order_be_anything():
    script = Script(Finish(), "late", stall(), http_error(500), ToolCall(arguments="x", index=9), allow_illegal=True)
    assert len(script) == 5
    assert script.allow_illegal
    with pytest.raises(ScriptError, match="event 1"):
        Script(*script)


def test_allow_illegal_does_not_let_an_event_be_anything():
    with pytest.raises(TypeError, match="decode the bytes first"):
        Script(b"a", allow_illegal=True)


_FEW = [
    Text("a"), Text(""), Reasoning("a"), Refusal("a"), Usage(1), Finish(), Pause(1),
    http_error(500), provider_error(), disconnect(), stall(),
    ToolCall("f"), ToolCall("g"), ToolCall(arguments="1"), F, G, MORE_F, MORE_G,
]  # fmt: skip
_LIVE = [event for event in _FEW if not isinstance(event, Fault)]
any_order = (
    st.lists(st.sampled_from(_FEW), max_size=7)
    | st.lists(st.sampled_from(_LIVE), max_size=7)
    | st.lists(st.sampled_from([e for e in _LIVE if isinstance(e, (ToolCall, Pause, Text))]), max_size=7)
)


thorough = settings(max_examples=max(30, settings.default.max_examples))


def _numbers(events):
    """Yield the index of each piece: a name opens the next call, no name continues the last."""
    last = -1
    for event in events:
        if isinstance(event, ToolCall):
            index = event.index
            if index is None:
                index = last + 1 if event.name else max(last, 0)
            last = max(last, index)
            yield index


def _is_legal(events):
    """Tell from the whole sequence at once what the checker tells step by step."""
    content = (Text, Reasoning, Refusal, ToolCall)
    faults = [at for at, event in enumerate(events) if isinstance(event, Fault)]
    finishes = [at for at, event in enumerate(events) if isinstance(event, Finish)]
    answer = [at for at, event in enumerate(events) if isinstance(event, content)]
    statuses = [at for at, event in enumerate(events) if isinstance(event, http_error)]
    if faults[:1] not in ([], [len(events) - 1]) or len(finishes) > 1:
        return False
    if finishes and answer and answer[-1] > finishes[0]:
        return False
    if statuses and not all(isinstance(event, Pause) for event in events[: statuses[0]]):
        return False
    numbers = _numbers(events)
    keyed = [
        ((next(numbers), event.name is not None) if isinstance(event, ToolCall) else None)
        for event in events
        if isinstance(event, content)
    ]
    calls = [list(run) for index, run in groupby(keyed, key=lambda key: key and key[0]) if index is not None]
    return all(run == [(at, True)] + [(at, False)] * (len(run) - 1) for at, run in enumerate(calls))


@each(
    ("events", "legal"),
    [
        ([], True),
        ([ToolCall("f"), ToolCall(arguments="1"), ToolCall("g")], True),
        ([F, Text(""), MORE_F], False),
        ([ToolCall(arguments="1")], False),
        ([Usage(1), http_error(500)], False),
        ([Finish(), Usage(1), stall()], True),
    ],
)
def test_the_oracle_itself_knows_a_legal_script_from_an_illegal_one(events, legal):
    assert _is_legal(events) is legal


def _accepts(events):
    try:
        Script(*events)
    except ScriptError:
        return False
    return True


@given(any_order)
@thorough
def test_a_script_is_accepted_if_and_only_if_the_theory_allows_it(events):
    assert _accepts(events) is _is_legal(events)


@given(any_order)
@thorough
def test_the_position_in_a_refusal_is_that_of_the_first_event_too_many(events):
    for length in range(len(events) + 1):
        if not _is_legal(events[:length]):
            with pytest.raises(ScriptError, match=rf"^event {length - 1}, "):
                Script(*events)
            return
    assert _accepts(events)


@fewer(3)
@given(legal_events())
def test_every_prefix_of_a_legal_script_is_legal(events):
    script = Script(*events)
    for length in range(len(script) + 1):
        check_order(script[:length])
    assert _is_legal(events)


@given(any_order)
@thorough
def test_with_allow_illegal_every_sequence_is_accepted_and_kept(events):
    script = Script(*events, allow_illegal=True)
    assert [type(event) for event in script] == [type(event) for event in events]


# -- several answers to one request -----------------------------------------------------------------------


def test_each_answer_goes_through_the_states_by_itself():
    check_order([Text("a"), Text("b", choice=1), Finish(), Text("c", choice=1), Finish(choice=1), Usage(1, 2)])
    check_order([ToolCall("f", index=0), ToolCall("g", index=0, choice=1), ToolCall(arguments="{}", index=0)])
    with pytest.raises(ScriptError, match="nothing of the answer comes after its finish reason"):
        check_order([Text("a"), Text("b", choice=1), Finish(choice=1), Text("c", choice=1)])
    with pytest.raises(ScriptError, match="the first piece of call 0 needs a name"):
        check_order([ToolCall("f", index=0), ToolCall(arguments="{}", index=0, choice=1)])


def test_the_stream_is_finished_once_all_answers_are():
    checker = OrderChecker()
    seen = []
    for event in (Text("a"), Text("b", choice=1), Finish(), Usage(1), Finish(choice=1), Usage(1), disconnect()):
        checker.step(event)
        seen.append(checker.state)
    assert seen == ["open", "open", "open", "open", "finished", "finished", "failed"]


def test_a_copy_of_a_checker_goes_on_by_itself():
    checker = OrderChecker()
    checker.step(Text("a"))
    other = copy(checker)
    other.step(Finish())
    assert (checker.state, other.state, checker.count, other.count) == ("open", "finished", 1, 2)


@each("fault", [disconnect("refused"), disconnect("no_response"), stall("headers"), stall("connect")])
def test_what_keeps_an_answer_from_beginning_comes_first(fault):
    check_order([Pause(1), fault])
    for before in ([Text("a")], [Usage(1)], [Finish()], [Raw(":\n\n")]):
        with pytest.raises(ScriptError, match="it keeps the answer from beginning, and the answer has begun"):
            check_order([*before, fault])
