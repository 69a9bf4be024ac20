"""Sweeps of faults: broken apps are caught with the smallest fault, correct ones pass, bad oracles are refused."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import queue
import re
import threading

import pytest
from vectors import each

from fakellm import FakeChatModel, FakeLLM, Finish, Script, Text, ToolCall, disconnect, provider_error, stall
from fakellm.contracts.catalogue import CATALOGUE
from fakellm.contracts.faults.checks import check_faults
from fakellm.contracts.faults.sweep import every_fault
from fakellm.contracts.faults.ways import KINDS, half, variants
from fakellm.contracts.verdicts import Skip
from fakellm.errors import BrokenContractError, ContractUsageError, LLMError, LLMStreamError

ANSWER = Script.of("A long answer")


class IncompleteAnswer(Exception):
    pass


# -- apps -------------------------------------------------------------------------------------------------


def careful(llm):
    try:
        return "".join(llm.stream("?"))
    except LLMError as error:
        raise IncompleteAnswer from error


async def acareful(llm):
    try:
        return "".join([chunk async for chunk in llm.astream("?")])
    except LLMError as error:
        raise IncompleteAnswer from error


def swallowing(llm, kind=LLMError):
    """Ends the answer where an error comes."""
    seen = []
    try:
        for chunk in llm.stream("?"):
            seen.append(chunk)
    except kind:
        pass
    return "".join(seen)


def swallowing_errors_in_the_stream(llm):
    try:
        return swallowing(llm, LLMStreamError)
    except LLMError as error:
        raise IncompleteAnswer from error


def marking(llm):
    seen = []
    try:
        for chunk in llm.stream("?"):
            seen.append(chunk)
    except LLMError:
        return "".join(seen), "incomplete"
    return "".join(seen), "complete"


async def queueing(llm, *, ends=True):
    """Reads the source in a background task; a source that dies leaves the queue without an end."""
    chunks = asyncio.Queue()

    async def produce():
        try:
            async for chunk in llm.astream("?"):
                await chunks.put(chunk)
        except LLMError as error:
            if ends:
                await chunks.put(error)
            return
        await chunks.put(None)

    producer = asyncio.create_task(produce())
    seen = []
    while (chunk := await chunks.get()) is not None:
        if isinstance(chunk, LLMError):
            raise IncompleteAnswer from chunk
        seen.append(chunk)
    await producer
    return "".join(seen)


def threading_queue(llm):
    chunks = queue.Queue()

    def produce():
        try:
            for chunk in llm.stream("?"):
                chunks.put(chunk)
        except LLMError:
            return
        chunks.put(None)

    threading.Thread(target=produce, daemon=True).start()
    seen = []
    while (chunk := chunks.get()) is not None:
        seen.append(chunk)
    return "".join(seen)


def swept(app, **options):
    """Return a swept test of the app, that wants an error."""
    if asyncio.iscoroutinefunction(app):

        @every_fault(ANSWER, **options)
        async def test_app(faulty):
            with pytest.raises(IncompleteAnswer):
                await app(FakeLLM(faulty))

        return test_app

    @every_fault(ANSWER, **options)
    def test_app(faulty):
        with pytest.raises(IncompleteAnswer):
            app(FakeLLM(faulty))

    return test_app


def failure(test, *args, **kwargs):
    with pytest.raises(BrokenContractError) as caught:
        test(*args, **kwargs)
    return caught.value


# -- the variants -----------------------------------------------------------------------------------------


def test_every_position_in_every_way():
    found = variants(ANSWER)

    assert len(found) == 4 * 8 + 14
    assert {faulty.after for faulty in found} == {0, 1, 2, 3}
    assert found[0].label == "clean end before the first chunk"
    assert [f.label for f in found if f.fault == disconnect("reset")] == [
        "reset before the first chunk",
        "reset after 'A '",
        "reset after 'A long '",
        "reset after 'A long answer'",
    ]
    assert [f for f in found if f.fault == stall()][2] == Script("A ", "long ", stall())
    assert [f.fault.status for f in found if f.kind == "http_error"] == [
        400,
        401,
        404,
        408,
        409,
        429,
        500,
        529,
        429,
        502,
    ]
    assert all(f.whole == ANSWER and f.contract in CATALOGUE for f in found)


def test_faults_come_before_the_finish_unless_oddities_are_asked_for():
    script = Script("a", ToolCall("f", {"x": 1}), Finish("tool_calls"))

    assert {faulty.after for faulty in variants(script)} == {0, 1, 2}
    odd = variants(script, kinds="oddities")
    assert {faulty.after for faulty in odd} == {3}
    assert Script("a", ToolCall("f", {"x": 1}), Finish("tool_calls"), Text("LATE"), allow_illegal=True) in odd
    assert odd[0].label == "clean end after the finish, chunk 3"


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_are_groups(kind):
    assert {faulty.kind for faulty in variants(ANSWER, kind)} == {kind}


@pytest.mark.exhaustive
def test_labels_of_long_answers_stay_short():
    label = variants(Script.of("word " * 50), kinds=["stall"])[-1].label

    assert label == "stall after …'word word word word word word ', chunk 50"


@pytest.mark.parametrize(
    ("script", "shorter"),
    [
        (ANSWER, Script("A ")),
        (Script("one"), Script("o")),
        (Script("a", "b", Finish("length")), Script("a", Finish("length"))),
        (Script(ToolCall("f", '{"x": 1}')), Script(ToolCall("f", '{"x"'))),
    ],
    ids=str,
)
def test_half_of_an_answer_ends_like_a_whole_one(script, shorter):
    assert half(script) == shorter


# -- the decorator ----------------------------------------------------------------------------------------


@every_fault(ANSWER)
def test_a_careful_app_passes(faulty):
    with pytest.raises(IncompleteAnswer):
        careful(FakeLLM(faulty))


@every_fault(ANSWER)
async def test_a_careful_asynchronous_app_passes(faulty):
    with pytest.raises(IncompleteAnswer):
        await acareful(FakeLLM(faulty))


@every_fault(ANSWER, kinds="stall")
async def test_silence_ends_at_its_second_in_virtual_time(faulty, virtual_clock, fake_llm):
    fake_llm.reply(faulty)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(20):
            await acareful(fake_llm)
    assert virtual_clock.now == 20


@every_fault(ANSWER)
async def test_a_queue_that_hands_errors_on_passes(faulty):
    with pytest.raises(IncompleteAnswer):
        await queueing(FakeLLM(faulty))


class TestMethods:
    @pytest.mark.parametrize("app", [careful])
    @every_fault(ANSWER, kinds="disconnect")
    def test_parameters_and_fixtures_stay(self, app, faulty, tmp_path):
        (tmp_path / "seen").write_text(faulty.label)
        with pytest.raises(IncompleteAnswer):
            app(FakeLLM(faulty))


@every_fault(ANSWER)
def test_a_fixture_is_told_anew_for_each_fault(fake_llm, faulty):
    fake_llm.reply(faulty)
    with pytest.raises(IncompleteAnswer):
        careful(fake_llm)
    (call,) = fake_llm.calls
    assert call.delivered == faulty.after


@pytest.fixture
def told(fake_llm):
    return fake_llm.when("other", "something").reply("never asked for")


@every_fault(ANSWER)
def test_what_a_run_left_over_does_not_answer_the_next(told, faulty):
    told.when("?", faulty).reply("left over")
    with pytest.raises(IncompleteAnswer):
        careful(told)
    if faulty.after == 1:
        assert told.invoke("any") == "never asked for"
        assert told.invoke("other") == "something"


@every_fault(ANSWER, only=(2, disconnect()))
def test_what_the_last_run_used_counts_as_used(told, faulty):
    told.when("?", faulty)
    with pytest.raises(IncompleteAnswer):
        careful(told)
    assert [told.invoke(text) for text in ("any", "other")] == ["never asked for", "something"]


def test_an_app_that_swallows_errors_is_caught_with_the_smallest_fault():
    error = failure(swept(swallowing))

    assert error.contract == "truncation"
    lines = str(error).splitlines()
    assert "DID NOT RAISE" in lines[4]
    assert lines[0] == str(CATALOGUE["truncation"])
    assert lines[1:6] == [
        "  broken:    test_app fails on 46 of 46 faults; the smallest of them:",
        "  fault:     clean end before the first chunk",
        "  answer:    Script(disconnect(how='end'))",
        lines[4],
        "  others:    disconnect() after 0, 1, 2, 3 chunks",
    ]
    assert lines[-1] == "  replay:    @every_fault(..., only=(0, disconnect(how='end')))"


def test_the_replay_line_works():
    names = {"disconnect": disconnect, "provider_error": provider_error}
    error = failure(swept(swallowing_errors_in_the_stream))

    assert error.contract == "in_band_error"
    (line,) = re.findall(r"only=(\(.*\))\)$", str(error))
    again = failure(swept(swallowing_errors_in_the_stream, only=eval(line, names)))
    assert "1 of 1 faults" in str(again)
    assert str(again).splitlines()[2:5] == str(error).splitlines()[2:5]
    swept(swallowing_errors_in_the_stream, only=(0, disconnect()))()


def test_a_deadlock_names_the_tasks():
    async def hanging(llm):
        return await queueing(llm, ends=False)

    error = failure(swept(hanging))

    assert error.contract == "producer_dies"
    assert "DeadlockError: deadlock" in str(error)
    assert "in queueing" in str(error)


def test_synchronous_code_that_hangs_is_interrupted():
    error = failure(swept(threading_queue, only=(1, disconnect()), patience=0.1))

    assert error.contract == "producer_dies"
    assert "no result after 0.1 s of real time" in str(error)
    assert "threading_queue" in str(error)


def test_verdicts_are_the_same_twice():
    assert str(failure(swept(swallowing))) == str(failure(swept(swallowing)))


# -- the oracle -------------------------------------------------------------------------------------------


def test_an_oracle_that_accepts_everything_is_refused():
    @every_fault(ANSWER)
    def test_app(faulty):
        swallowing(FakeLLM(faulty))

    with pytest.raises(ContractUsageError, match="accepts everything: it also passes on Script.'A '"):
        test_app()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"raises": "IncompleteAnswer"}, "raises is a class of exceptions, .* not 'IncompleteAnswer'"),
        ({"incomplete": "failed"}, "incomplete is a function, .* not 'failed'"),
        ({"delivered": ["a"]}, "delivered is a function, such as delivered=lambda: list.shown."),
        ({"calls": []}, "calls is a function, such as calls=lambda: fake.calls, not .."),
    ],
)
def test_an_option_that_is_of_another_kind_is_refused(options, message):
    with pytest.raises(ContractUsageError, match=message):
        check_faults(lambda faulty: FakeLLM(faulty).invoke("?"), ANSWER, **options)


def test_an_app_that_always_raises_is_refused():
    def raising(llm):
        raise IncompleteAnswer

    with pytest.raises(ContractUsageError, match="accepts everything"):
        swept(raising)()


def test_a_test_that_cannot_deal_with_the_whole_answer_is_refused():
    def misspelt(llm):
        return llm.strem("?")

    with pytest.raises(ContractUsageError, match="complete answer either\n.*AttributeError"):
        swept(misspelt)()


def test_an_app_that_asks_twice_for_one_reply_is_refused():
    @every_fault(ANSWER)
    def test_app(faulty):
        with pytest.raises(IncompleteAnswer):
            llm = FakeLLM.replies(faulty)
            llm.invoke("?")
            careful(llm)

    with pytest.raises(ContractUsageError, match="call 2 of the fake model has no reply"):
        test_app()


def test_half_of_an_answer_knows_the_whole():
    """What the refusal of a test that accepts everything tells to write is accepted."""

    @every_fault(ANSWER)
    def test_app(faulty):
        with contextlib.suppress(LLMError):
            assert "".join(FakeLLM(faulty).stream("?")) == faulty.whole.text

    test_app()


def test_a_result_that_is_compared_with_the_whole_is_an_oracle():
    @every_fault(ANSWER)
    def test_app(faulty):
        with contextlib.suppress(IncompleteAnswer):
            assert careful(FakeLLM(faulty)) == faulty.whole.text or faulty.fault is None

    with pytest.raises(ContractUsageError, match="accepts everything"):
        test_app()

    @every_fault(ANSWER)
    def test_strict(faulty):
        with contextlib.suppress(IncompleteAnswer):
            assert careful(FakeLLM(faulty)) == "A long answer"

    test_strict()


def test_a_reason_lets_a_test_accept_half_an_answer():
    @every_fault(ANSWER, unchecked="what is shown is a beginning of the answer, whatever happens")
    def test_app(faulty):
        assert "A long answer".startswith(swallowing(FakeLLM(faulty)))

    test_app()


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("A text", {}, "breaks a Script or a Tape, not 'A text'; write Script.of"),
        (Script("a", disconnect()), {}, "breaks already, by disconnect"),
        (Script(Finish()), {}, "has no chunk"),
        (ANSWER, {"kinds": "disconect"}, "did you mean 'disconnect'"),
        (ANSWER, {"kinds": []}, "kinds is empty"),
        (ANSWER, {"only": (9, disconnect())}, "comes after 9 chunks, and the script has 3|has 4"),
        (ANSWER, {"only": disconnect()}, "write only=.3, disconnect"),
        (ANSWER, {"only": (1, "text", 3)}, "cannot be: part 2 is 3"),
    ],
)
def test_bad_use_is_told_where_it_is_written(source, options, message):
    with pytest.raises(ContractUsageError, match=message):
        every_fault(source, **options)


def test_what_cannot_be_swept_is_refused():
    with pytest.raises(ContractUsageError, match="test_app takes no parameter 'faulty'"):

        @every_fault(ANSWER)
        def test_app(script):
            pass

    with pytest.raises(ContractUsageError, match="yields"):

        @every_fault(ANSWER)
        def test_generator(faulty):
            yield

    with pytest.raises(ContractUsageError, match="above a test function"):
        every_fault(ANSWER)(TestMethods)

    with pytest.raises(ContractUsageError, match="a reason, in words"):
        swept(careful, unchecked=True)()


def test_a_skip_inside_skips_the_test():
    @every_fault(ANSWER)
    def test_app(faulty):
        pytest.skip("not here")

    with pytest.raises(pytest.skip.Exception):
        test_app()


# -- the function -----------------------------------------------------------------------------------------


def judged(app, **options):
    return check_faults(lambda faulty: app(FakeLLM(faulty)), ANSWER, **options)


CHECKED = ("truncation", "in_band_error", "producer_dies")


@pytest.mark.parametrize("app", [careful, acareful, queueing, marking])
def test_correct_apps_keep_the_contracts(app):
    report = judged(app)

    assert [v.contract.name for v in report.passed] == list(CHECKED)
    assert [v.contract.name for v in report.skipped] == ["retry_midstream", "close"]
    report.verify()


def test_a_marked_result_needs_no_oracle_and_may_have_one():
    assert not judged(marking, incomplete=lambda result: result[1] == "incomplete").failed
    assert judged(marking, incomplete=lambda result: False).failed


def test_swallowed_errors_break_them():
    report = judged(swallowing)

    assert [v.contract.name for v in report.failed] == list(CHECKED)
    assert "returned '', as if that were the whole answer" in report["truncation"].detail
    assert "only=(0, disconnect(how='end'))" in report["truncation"].detail


def test_swallowed_errors_in_the_stream_break_one():
    report = judged(swallowing_errors_in_the_stream)

    assert [v.contract.name for v in report.failed] == ["in_band_error"]


def test_a_hang_breaks_producer_dies():
    async def hanging(llm):
        return await queueing(llm, ends=False)

    assert [v.contract.name for v in judged(hanging).failed] == ["producer_dies"]


def test_an_error_of_another_class_is_not_the_one_that_was_promised():
    report = judged(careful, raises=KeyError)

    assert "IncompleteAnswer\n" in report["truncation"].detail
    assert "none of raises=<class 'KeyError'>" in report["truncation"].detail


def shown_once(llm):
    yield from llm.stream("?")


def shown_again(llm):
    """Tries again after an error, from the beginning."""
    try:
        yield from llm.stream("?")
    except LLMError:
        yield from FakeLLM(ANSWER).stream("?")


async def ashown_once(llm):
    async for chunk in llm.astream("?"):
        yield chunk


def test_chunks_that_were_shown_are_not_shown_again():
    report = judged(shown_again)

    assert [v.contract.name for v in report.failed] == ["retry_midstream"]
    assert "it showed 'A A long answer'" in report["retry_midstream"].detail
    assert "only=(1, disconnect(how='end'))" in report["retry_midstream"].detail
    for app in (shown_once, ashown_once):
        assert judged(app)["retry_midstream"].status == "passed"


def test_what_a_callback_got_counts_as_delivered():
    sink = []

    def app(llm):
        sink.clear()
        for attempt in (llm, FakeLLM(ANSWER)):
            try:
                for chunk in attempt.stream("?"):
                    sink.append(chunk)
            except LLMError:
                continue
            return "".join(sink)

    report = judged(app, delivered=lambda: sink)

    assert "retry_midstream" in [v.contract.name for v in report.failed]


def test_an_app_that_asks_again_and_gets_the_whole_answer_passes():
    def asking_again(llm):
        try:
            return "".join(llm.stream("?"))
        except LLMError:
            return FakeLLM(ANSWER).invoke("?")

    assert not judged(asking_again).failed


def test_calls_that_are_left_open_break_close():
    fakes, streams = [], []

    def leaving(faulty):
        fakes[:] = [FakeLLM(faulty)]
        streams.append(stream := fakes[0].stream("?"))
        next(stream)
        raise IncompleteAnswer if faulty.fault else AssertionError

    def tidy(faulty):
        fakes[:] = [FakeLLM(faulty)]
        return careful(fakes[0])

    def calls():
        return fakes[0].calls

    assert check_faults(tidy, ANSWER, calls=calls)["close"].status == "passed"

    def whole_then_leaving(faulty):
        return leaving(faulty) if faulty.fault and faulty.after else tidy(faulty)

    assert check_faults(whole_then_leaving, ANSWER, calls=calls)["close"].status == "failed"


def test_oddities_must_not_change_the_answer():
    def first_finish(faulty):
        text = ""
        for chunk in FakeChatModel(faulty).stream("?"):
            text += chunk.content
            if chunk.finish_reason:
                return text, chunk.finish_reason
        raise IncompleteAnswer

    def last_finish(faulty):
        text = reason = ""
        for chunk in FakeChatModel(faulty).stream("?"):
            text, reason = text + chunk.content, chunk.finish_reason or reason
        return text, reason

    script = ANSWER + Finish()
    report = check_faults(last_finish, script, kinds="oddities")
    assert report["finish"].status == "failed"
    assert "LATE" in report["finish"].detail or "another finish" in report["finish"].detail
    assert check_faults(first_finish, script, kinds="oddities")["finish"].status == "passed"


@pytest.mark.parametrize(
    ("run", "options", "message"),
    [
        (lambda faulty: None, {}, "accepts everything: <lambda> comes to the same for half"),
        (lambda faulty: 1 / 0, {}, "fails on the complete answer"),
        (lambda faulty: careful(FakeLLM(faulty)), {"incomplete": lambda _: True}, "true of the complete answer too"),
        (None, {}, "run is a function of the broken script"),
    ],
)
def test_an_oracle_of_the_function_is_tried_too(run, options, message):
    with pytest.raises(ContractUsageError, match=message):
        check_faults(run, ANSWER, **options)


# -- consumers of chunks ----------------------------------------------------------------------------------


def joined(chunks):
    return "".join(chunks)


async def ajoined(chunks):
    return "".join([chunk async for chunk in chunks])


def guarded(kind):
    def consume(chunks):
        seen = []
        try:
            for chunk in chunks:
                seen.append(chunk)
        except kind:
            pass
        return seen

    return consume


async def ahanging(chunks):
    seen = asyncio.Queue()

    async def produce():
        async for chunk in chunks:
            await seen.put(chunk)
        await seen.put(None)

    task = asyncio.create_task(produce())
    found = []
    while (chunk := await seen.get()) is not None:
        found.append(chunk)
    await task
    return found


@each("name", CHECKED)
@each("document", [None, "some words", b"some bytes", Script("a", "b"), ["x", "y"]], ids=repr)
def test_consumers_that_hand_errors_on_keep_the_contract(name, document):
    check = CATALOGUE[name].checks["consumer"]

    check(list, document)
    if not isinstance(document, bytes):
        check(joined, document)
        check(ajoined, document)


@pytest.mark.parametrize(
    ("name", "consume"),
    [
        ("truncation", guarded(ConnectionError)),
        ("in_band_error", guarded(LLMStreamError)),
        ("producer_dies", guarded(RuntimeError)),
        ("producer_dies", guarded(Exception)),
    ],
)
def test_consumers_that_swallow_break_it(name, consume):
    with pytest.raises(BrokenContractError, match="fails after 0 chunks, and the consumer returns the same") as caught:
        CATALOGUE[name].checks["consumer"](consume)

    assert caught.value.contract == name


def test_consumers_that_hang_break_it(caplog):
    with pytest.raises(BrokenContractError, match="the consumer hangs"):
        CATALOGUE["producer_dies"].checks["consumer"](ahanging)
    gc.collect()
    assert caplog.messages == []  # of the task that died asyncio says nothing more


def reading_again(chunks):
    """Begins anew after an error, and forgets what it had."""
    for _ in range(2):
        with contextlib.suppress(ConnectionError):
            return "".join(chunks)
    raise IncompleteAnswer


async def saying_again(chunks):
    for _ in range(2):
        try:
            async for chunk in chunks:
                yield chunk
        except ConnectionError:
            continue
        return


def test_consumers_that_read_again_must_not_say_it_twice():
    check = CATALOGUE["retry_midstream"].checks["consumer"]

    check(reading_again)
    check(reading_again, "some words")
    with pytest.raises(BrokenContractError, match="fails after 1 chunks and is read again") as caught:
        check(saying_again)
    assert "returned ['One ', 'One ', 'two ', 'three ', 'four.']" in str(caught.value)
    with pytest.raises(Skip, match="does not read its source again"):
        check(joined)


def test_strict_fixtures_stay_strict(pytester):
    pytester.makepyfile(
        """
        import pytest
        from fakellm import Script
        from fakellm.errors import LLMError
        from fakellm.contracts.faults.sweep import every_fault

        ANSWER = Script("Hi")

        @pytest.fixture
        def told(fake_llm):
            return fake_llm.reply("for nobody")

        @every_fault(ANSWER)
        def test_a_reply_that_is_never_used(told, faulty):
            told.when("?", faulty)
            with pytest.raises(LLMError):
                "".join(told.stream("?"))

        @every_fault(ANSWER)
        def test_a_miss_that_is_swallowed(fake_llm, faulty):
            fake_llm.reply(faulty)
            with pytest.raises(LLMError):
                "".join(fake_llm.stream("?"))
            try:
                fake_llm.invoke("again")
            except BaseException:
                pass

        @every_fault(ANSWER)
        def test_what_is_left_over_by_a_run(fake_llm, faulty):
            fake_llm.reply(faulty).reply("left over")
            with pytest.raises(LLMError):
                "".join(fake_llm.stream("?"))

        class TestFails:
            @every_fault(ANSWER)
            def test_in_a_class(self, fake_llm, faulty):
                fake_llm.reply(faulty)
                text = "".join(fake_llm.stream("?"))
                assert text == "Hi"
        """
    )

    result = pytester.runpytest("-p", "no:cacheprovider", "--tb=short")

    result.assert_outcomes(passed=4 - 1, failed=1, errors=2)
    result.stdout.fnmatch_lines(
        ["*was never asked for 1 of its replies*", "*reply: Script('for nobody')  [[]unused[]]*"]
    )
    result.stdout.fnmatch_lines(["*its UnexpectedCallError was caught*"])
    result.stdout.fnmatch_lines(["*test_in_a_class fails on 30 of 30 faults*", "*only=(0, disconnect(how='end'))*"])


@pytest.mark.parametrize("name", [*CHECKED, "retry_midstream"])
def test_each_check_says_why(name):
    assert len(CATALOGUE[name].why) > 150


# -- what is promised, and what cannot be told --------------------------------------------------------------


def in_a_tuple(llm):
    """Catches the error, and returns what came of the answer beside its length."""
    said = ""
    try:
        for chunk in llm.stream("?"):
            said += chunk
    except LLMError:
        return said, len(said), "?"
    return said, len(said)


def test_what_returns_where_an_exception_was_promised_breaks_the_contract():
    report = judged(in_a_tuple, raises=LLMError)

    assert [v.contract.name for v in report.failed] == list(CHECKED)
    assert (
        "returned ('', 0, '?'), where raises=<class 'fakellm.errors.LLMError'> was promised"
        in report["truncation"].detail
    )
    assert not judged(in_a_tuple).failed
    assert not judged(in_a_tuple, raises=LLMError, incomplete=lambda result: result[-1] == "?").failed
    assert not judged(careful, raises=IncompleteAnswer).failed


def test_what_cannot_be_told_from_results_is_skipped_and_the_rest_is_judged():
    """A consumer that stops after the first word comes to the same for half of the answer."""
    seen = []

    def first_word(llm, *, closes=True):
        stream = llm.stream("?")
        seen[:] = [llm, stream]  # which somebody still refers to
        first = next(stream)
        if closes:
            stream.close()
        return first

    def report(*, closes):
        return judged(lambda llm: first_word(llm, closes=closes), kinds="disconnect", calls=lambda: seen[0].calls)

    kept = report(closes=True)
    assert [v.contract.name for v in kept.passed] == ["close"]
    assert "this oracle accepts everything" in kept["truncation"].detail
    assert [v.contract.name for v in report(closes=False).failed] == ["close"]
    with pytest.raises(ContractUsageError, match="this oracle accepts everything"):
        judged(first_word)
    with pytest.raises(ContractUsageError, match="true of the complete answer too"):
        judged(careful, incomplete=lambda result: True)
    refused = judged(careful, incomplete=lambda result: True, calls=list)
    assert refused["close"].status == "passed"
    assert refused["truncation"].status == "skipped"
