"""What counts as a marked result and as a replay, how deadlocks and counts are told, and marks of other plugins."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from vectors import each

from fakellm import FakeLLM, Script
from fakellm.clock.blocked import VirtualDeadlockError
from fakellm.clock.virtual_loop import run
from fakellm.contracts.attempts import attempt
from fakellm.contracts.faults.checks import begins_again, check_faults
from fakellm.contracts.faults.sweep import every_fault
from fakellm.errors import ContractUsageError, LLMError

ANSWER = Script.of("A long answer")


def judged(app, script=ANSWER, **options):
    return check_faults(lambda faulty: app(FakeLLM(faulty)), script, **options)


def names(verdicts):
    return [verdict.contract.name for verdict in verdicts]


# -- results ----------------------------------------------------------------------------------------------


def text_of_the_error(llm):
    try:
        return "".join(llm.stream("?"))
    except Exception as error:
        return str(error)


def apology(llm):
    try:
        return "".join(llm.stream("?"))
    except LLMError:
        return "Sorry, please try again."


def with_a_mark(llm):
    seen = []
    try:
        for chunk in llm.stream("?"):
            seen.append(chunk)
    except LLMError:
        seen.append("\n[interrupted]")
    return "".join(seen)


def nothing(llm):
    try:
        return "".join(llm.stream("?"))
    except LLMError:
        return None


@pytest.mark.parametrize("app", [text_of_the_error, apology])
def test_a_text_in_place_of_the_answer_is_no_mark(app):
    report = judged(app)

    assert names(report.failed) == ["truncation", "in_band_error", "producer_dies"]
    detail = report["truncation"].detail
    assert "a text like that of an answer, so nobody can tell that it is none" in detail
    assert "to do:     raise an error; or say what is incomplete: check_faults(..., incomplete=" in detail
    assert "only=(1, disconnect(how='end'))" in detail


def test_what_is_incomplete_can_be_said():
    assert not judged(apology, incomplete=lambda result: result.startswith("Sorry")).failed
    detail = judged(apology, incomplete=lambda result: result is None)["truncation"].detail
    assert "returned 'Sorry, please try again.', of which incomplete(result) is not true" in detail


@pytest.mark.parametrize("app", [with_a_mark, nothing])
def test_a_mark_behind_the_text_and_a_result_of_another_kind_are_marks(app):
    assert not judged(app).failed


# -- what was shown ---------------------------------------------------------------------------------------


def showing_a_mark(llm):
    try:
        yield from llm.stream("?")
    except LLMError:
        yield "\n[interrupted]"


def showing_it_again(llm, between=()):
    try:
        yield from llm.stream("?")
    except LLMError:
        yield from between
        yield from FakeLLM(ANSWER).stream("?")


def showing_the_beginning_again(llm):
    for _ in range(3):
        try:
            yield from llm.stream("?")
        except LLMError:
            continue
        return
    raise LLMError("three times")


def test_a_mark_behind_what_was_shown_is_no_replay():
    report = judged(showing_a_mark)

    assert not report.failed
    assert report["retry_midstream"].status == "passed"
    assert not judged(showing_a_mark, incomplete=lambda items: "interrupted" in items[-1]).failed
    assert names(judged(showing_a_mark, incomplete=lambda _: False).failed) == [
        "truncation",
        "in_band_error",
        "producer_dies",
    ]


@pytest.mark.parametrize(
    "app",
    [showing_it_again, showing_the_beginning_again, lambda llm: showing_it_again(llm, ["\n[again]\n"])],
    ids=["whole", "beginnings", "after a mark"],
)
def test_what_is_said_again_is_a_replay(app):
    report = judged(app)

    assert names(report.failed) == ["retry_midstream"]
    assert "which says the beginning again" in report["retry_midstream"].detail


@each(
    ("shown", "whole", "again"),
    [
        ("A ", "A long answer", False),
        ("A A long answer", "A long answer", True),
        ("A A ", "A long answer", True),
        ("A A A ", "A long answer", True),
        ("A long A long \n[cut]", "A long answer", True),
        ("A long [cut]", "A long answer", False),
        ("aa[cut]", "aab", False),
        ("aaab", "aab", True),
        ("[[interrupted]", '["x"]', False),
        ("An Anyway: cut", "An answer", False),
        ("cut", "An answer", False),
        ("cutAn answer", "An answer", False),
        ("A A-A A-team", "A A-team", True),
        (b"One One two", b"One two", True),
        ([1, {"cut": True}], [1, 2, 3], False),
        ([1, 1, 2, 3], [1, 2, 3], True),
        ([1, 1, "cut"], [1, 2, 3], True),
        ("", "An answer", False),
    ],
)
def test_what_begins_again(shown, whole, again):
    assert begins_again(shown, whole) is again


# -- counts -----------------------------------------------------------------------------------------------


async def hanging(llm):
    try:
        return "".join([chunk async for chunk in llm.astream("?")])
    except LLMError:
        await asyncio.Event().wait()


def test_a_hang_is_counted_among_all_faults():
    report = judged(hanging)
    headline = report["producer_dies"].detail.split("\n")[1]
    total = report.subject.split()[-2]

    assert headline.endswith(f"fails on {total} of {total} faults; the smallest of them:")
    assert names(report.failed) == ["producer_dies"]


def test_what_breaks_by_its_own_faults_is_counted_among_these():
    detail = judged(with_a_mark, incomplete=lambda _: False)["in_band_error"].detail

    assert "fails on 8 of 8 faults" in detail


# -- deadlocks --------------------------------------------------------------------------------------------


async def waiting(source):
    yield await source.get()


async def around(source):
    async for item in waiting(source):
        yield item


class ByHand:
    def __init__(self, source):
        self._source = source

    def __aiter__(self):
        return self

    async def __anext__(self):
        return await self._source.get()


async def closing_for_ever(source):
    try:
        yield 1
    finally:
        await source.get()


async def close(stream):
    await anext(stream)
    await stream.aclose()


@pytest.mark.parametrize(
    ("read", "function"),
    [
        (lambda source: anext(waiting(source), None), "waiting"),
        (lambda source: anext(around(source)), "waiting"),
        (lambda source: ByHand(source).__anext__(), "__anext__"),
        (lambda source: close(closing_for_ever(source)), "closing_for_ever"),
    ],
    ids=["default", "nested", "class", "closing"],
)
def test_a_deadlock_names_the_line_inside_a_stream(read, function):
    async def main():
        await read(asyncio.Queue())

    with pytest.raises(VirtualDeadlockError, match=rf"main, test_faults_oracles.py:\d+ in {function}, in Que"):
        run(main())


def test_tasks_come_in_one_order_whatever_their_names():
    async def main():
        async def first():
            await asyncio.Event().wait()

        async def second():
            await asyncio.Event().wait()

        tasks = [
            asyncio.create_task(work(), name=name)
            for work, name in ((second, "same"), (second, "w 10"), (second, "w 9"), (first, "same"), (first, None))
        ]
        await asyncio.wait(tasks)

    texts = {str(attempt(main).error) for _ in range(5)}

    assert len(texts) == 1
    lines = [line[13:].partition(", ")[0].replace("test_tasks_come_in_one_order_whatever_their_names", "") for line in
             texts.pop().split("\n")[1:-1]]  # fmt: skip
    named = [line.replace(".<locals>.main.<locals>.", "") for line in lines]
    assert named == ["Task-1: the code under test", "Task-2: first", "same: first", "same: second",
                     "w 9: second", "w 10: second"]  # fmt: skip


# -- the decorator ----------------------------------------------------------------------------------------


def test_a_decorator_without_its_script_is_told():
    with pytest.raises(ContractUsageError, match=r"write @every_fault\(script\) above test_app$"):

        @every_fault
        def test_app(faulty):
            pass


def test_marks_that_give_a_test_a_loop_are_taken_off():
    async def test_app(faulty):
        with pytest.raises(LLMError):
            [chunk async for chunk in FakeLLM(faulty).astream("?")]

    test_app.pytestmark = [SimpleNamespace(name=name) for name in ("asyncio", "slow", "anyio")]
    swept = every_fault(ANSWER)(test_app)

    assert [mark.name for mark in swept.pytestmark] == ["slow"]
    swept()
