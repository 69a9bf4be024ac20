"""`any_chunking` and `check_consumer`: each usual mistake is caught by its smallest chunking, and no right consumer is."""

from __future__ import annotations

import asyncio
import codecs
import json
import random
import re
from contextlib import aclosing
from itertools import pairwise

import consumers
import pytest
import sweeping
from consumers import BROKEN, RIGHT
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import fewer
from vectors import each

from fakellm import Script
from fakellm.contracts.catalogue import CATALOGUE
from fakellm.contracts.consumers.check import check_consumer
from fakellm.contracts.consumers.chunking import any_chunking
from fakellm.contracts.consumers.cuts import Cuts, limit_for
from fakellm.contracts.consumers.given import document_of
from fakellm.contracts.consumers.moves import drawn
from fakellm.contracts.consumers.places import places_of
from fakellm.contracts.consumers.sse_moves import SSEBody, looks_like_sse
from fakellm.errors import BrokenContractError, ContractUsageError
from fakellm.wire.sse import SSEDecoder

THINK = "<think>plan</think>The answer"
BODY = b"event: delta\ndata: a\n\ndata: b\n\n"
RUSSIAN_DOLL = "\U0001f469\u200d\U0001f467"


def failure(test, *args, **kwargs):
    with pytest.raises(BrokenContractError) as caught:
        test(*args, **kwargs)
    return caught.value


def line(error, label):
    """Return what stands beside a label of an error, on its first line."""
    return next(row.partition(":")[2].strip() for row in str(error).split("\n") if row.strip().startswith(f"{label}:"))


# -- the mistakes -------------------------------------------------------------------------------------------


FIRST = [*{contract: (contract, consume) for contract, consume in reversed(BROKEN)}.values()]


@each(("contract", "consume"), FIRST)
def test_a_mistake_breaks_its_contract(contract, consume):
    breaks(contract, consume)


@pytest.mark.exhaustive
@each(("contract", "consume"), [mistake for mistake in BROKEN if mistake not in FIRST])
def test_each_other_mistake_breaks_its_contract(contract, consume):
    breaks(contract, consume)


def breaks(contract, consume):
    report = check_consumer(consume, contracts=contract, stop="END")

    assert report[contract].status == "failed"
    assert str(report) == str(check_consumer(consume, contracts=contract, stop="END"))  # and says so again


DEAR = ("framing", "line_ends", "control_blocks", "whitespace_tail")


@pytest.mark.parametrize("contract", [pytest.param(c, marks=[pytest.mark.exhaustive] * (c in DEAR)) for c in RIGHT])
def test_the_right_consumer_keeps_its_contract(contract):
    report = check_consumer(RIGHT[contract], contracts=contract, stop="END")

    assert report[contract].status == "passed", report


@pytest.mark.exhaustive
@pytest.mark.parametrize("consume", sorted(set(RIGHT.values()), key=lambda c: c.__name__), ids=lambda c: c.__name__)
def test_no_right_consumer_breaks_any_contract(consume):
    stop = "END" if consume is consumers.stop_right else ()

    check_consumer(consume, stop=stop).verify()


def test_every_contract_of_consumers_says_why_it_exists():
    for contract in CATALOGUE.values():
        if "consumer" in contract.checks:
            assert len(contract.why) > 80, contract.name


CLASSICS = [
    ("tags", consumers.tags_in_each_chunk, THINK, {}),
    ("stop_sequence", consumers.stop_shown_in_parts, "The answer.END and more", {"stop": "END"}),
    ("utf8_split", consumers.utf8_replaced, "Gr\u00fc\u00dfe \U0001f600".encode(), {}),
    ("partial_json", consumers.json_unescaped_by_chunk, '{"a": "\\u00e9\\n", "b": 12}', {}),
    ("partial_json", consumers.json_when_it_looks_complete, '{"a": {"b": {}}, "c": 1}', {}),
    ("grapheme", consumers.grapheme_loses_marks, f"caf\u0065\u0301, {RUSSIAN_DOLL}", {}),
    ("framing", consumers.sse_by_read, BODY, {}),
    ("line_ends", consumers.sse_line_feeds_only, BODY, {}),
    ("line_ends", consumers.sse_line_ends_by_read, b"event: a\r\ndata: b\r\n\r\n", {}),
    ("control_blocks", consumers.sse_every_block_is_an_event, b"data: 1\n\ndata: 2\n\n", {}),
    ("whitespace_tail", consumers.text_stripped, "one two\n\n  three", {}),
    ("empty_delta", consumers.text_until_an_empty_chunk, "one two", {}),
    ("whitespace_tail", consumers.text_without_the_last_chunk, "one two", {}),
]


@each(("contract", "consume", "document", "options"), CLASSICS)
def test_the_smallest_counter_example_names_the_contract(contract, consume, document, options):
    @any_chunking(document, **options)
    def test(chunks):
        result = consume(chunks)
        return result if isinstance(result, (str, tuple, list, dict)) else list(result)

    if consume is consumers.stop_shown_in_parts:
        test = any_chunking(document, **options)(lambda chunks: "".join(consume(chunks)))

    error = failure(test)

    assert error.contract == contract, error
    moves = eval(line(error, "replay").partition("only=")[2][:-1])
    assert len(moves) <= 2, error


EXPECTED = """\
tags: the result depends on the text alone, not on its cuts; nothing is held back for ever
  broken:    test_parser returns something else when the same document comes in other chunks
  chunks:    '<'|'think>plan</'…
  undivided: ('plan', 'The answer')
  divided:   ('', '<think>planThe answer')
  tried:     3 variants, then 8 to make the failing one small
  replay:    @any_chunking('<think>plan</think>The answer', only=(1,))"""


def test_the_error_is_this_text_on_every_python():
    @any_chunking(THINK)
    def test_parser(chunks):
        return consumers.tags_in_each_chunk(chunks)

    assert [str(failure(test_parser)) for _ in range(2)] == [EXPECTED] * 2


# -- what only some of the search finds -----------------------------------------------------------------------

DONE = "The model says [DONE] when it is done."


def test_examples_find_what_the_sweep_cannot():
    def read(chunks):
        return consumers.text_until_done(chunks)

    any_chunking(DONE, examples=0)(read)()
    error = failure(any_chunking(DONE)(read))

    assert line(error, "chunks") == "'The model says '|'[DONE]'|' when it is '…"
    assert line(error, "replay").endswith("only=(15, 21))")


def test_the_sweep_finds_what_every_character_by_itself_cannot():
    def read(chunks):
        """Lose one `<` of two that stand at the two ends of a chunk, so that it shows in few cuts only."""
        return "".join(chunk[:-1] if chunk.endswith("</") and len(chunk) > 2 else chunk for chunk in chunks)

    text = "x" * 100 + "</think>" + "y" * 100
    assert read(list(text)) == text
    error = failure(any_chunking(text, examples=0)(read))

    assert line(error, "chunks") == "…'xxxxxxxxxx</'|'think>yyyyyy'…"


def test_a_counter_example_is_made_of_fewest_cuts():
    """What fails for each character by itself is shown by the one cut that is enough."""
    error = failure(any_chunking("abcdefgh<think>ijkl")(consumers.tags_in_each_chunk))

    assert line(error, "chunks") == "'abcdefgh<'|'think>ijkl'"


def test_what_needs_three_cuts_is_shown_with_three():
    error = failure(any_chunking("abcd")(lambda chunks: len(chunks) < 4))

    assert line(error, "chunks") == "'a'|'b'|'c'|'d'"


@pytest.mark.exhaustive
def test_contracts_keep_the_moves_to_their_own():
    seen = []

    @any_chunking(BODY, contracts=["framing", "utf8_split"])
    def test(chunks):
        seen.append(b"".join(chunks))

    test()

    assert {*seen} == {BODY}
    any_chunking(BODY, contracts="framing")(lambda chunks: consumers.sse_line_feeds_only(chunks))()
    failure(any_chunking(BODY, contracts=["line_ends"])(lambda chunks: consumers.sse_line_feeds_only(chunks)))


def test_a_limit_spreads_the_sweep():
    seen = []

    @any_chunking("abc <d>" * 50, limit=40, examples=5)
    def test(chunks):
        seen.append(len(chunks))

    test()

    assert 30 <= len(seen) <= 2 + 40 + 5
    assert max(seen) == 350
    assert {1, 2, 3} < set(seen)


# -- the test that is decorated ---------------------------------------------------------------------------------


def test_a_test_that_passes_gets_many_chunkings_of_the_same_document():
    seen = []

    @any_chunking("ab cd", b"ab")
    def test(chunks):
        seen.append(tuple(chunks))

    assert test() is None
    texts = [chunks for chunks in seen if isinstance(chunks[0], str)]
    assert {"".join(chunks) for chunks in texts} == {"ab cd"}
    assert {b"".join(chunks) for chunks in seen if chunks not in texts} == {b"ab"}
    assert {("ab cd",), ("a", "b", " ", "c", "d"), ("ab", " ", "cd"), ("ab ", "", "cd"), ("", "ab cd")} < set(texts)


@pytest.mark.exhaustive
def test_without_empty_chunks_there_are_none():
    @any_chunking("ab cd", "d", BODY, empty=False)
    def test(chunks):
        assert all(chunks)

    test()


def test_a_failing_assert_is_shown_beside_that_it_passes_undivided():
    @any_chunking(THINK)
    def test_parser(chunks):
        assert consumers.tags_in_each_chunk(chunks) == ("plan", "The answer")

    error = failure(test_parser)

    assert line(error, "undivided") == "passes"
    assert line(error, "divided").startswith("AssertionError: assert ('', '<think>planThe answer') == ('plan'")
    assert isinstance(error.__cause__, AssertionError)


def test_an_asynchronous_test_runs_each_time_in_a_new_loop_in_virtual_time():
    loops = []

    @any_chunking("abc")
    async def test(chunks):
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(3600)
        return "".join([chunk.strip("b") async for chunk in chunks if len(chunk) < 3])

    error = failure(test)

    assert line(error, "undivided") == "''"
    assert all(one is not other for one, other in pairwise(loops))


def test_a_deadlock_is_a_failure():
    @any_chunking("abc")
    async def test(chunks):
        if len(chunks) == 2:
            await asyncio.Event().wait()

    assert "VirtualDeadlockError" in line(failure(test), "divided")


def test_a_method_and_other_arguments():
    class TestParser:
        @any_chunking("a b")
        def test(self, chunks, word, *, more):
            return [self, word, more, *(chunk.strip() for chunk in chunks)]

        @staticmethod
        @any_chunking("a b")
        def test_static(chunks):
            assert chunks

    assert "'w', 1" in line(failure(TestParser().test, "w", more=1), "undivided")
    TestParser.test_static()


@pytest.fixture
def word():
    return "b"


@pytest.mark.parametrize("number", [1, 2])
@any_chunking("abc")
def test_fixtures_and_parameters_are_pytests(chunks, word, number, request):
    assert word in "".join(chunks)
    assert request.node.name == f"test_fixtures_and_parameters_are_pytests[{number}]"


@any_chunking("ab", examples=3)
@given(number=st.integers())
@settings(max_examples=2, derandomize=True, database=None)
def test_given_below(chunks, number):
    assert "".join(chunks) + str(number)


@given(number=st.integers())
@settings(max_examples=2, derandomize=True, database=None)
@any_chunking("ab", examples=3)
def test_given_above(chunks, number):
    assert "".join(chunks) + str(number)


def test_a_skip_is_a_skip():
    with pytest.raises(pytest.skip.Exception):
        any_chunking("ab")(lambda chunks: pytest.skip("not here"))()


def test_pytest_fail_is_a_failure():
    def test(chunks):
        if len(chunks) > 1:
            pytest.fail("in parts")

    assert line(failure(any_chunking("ab")(test)), "divided") == "Failed: in parts"


@pytest.mark.exhaustive
def test_in_pytest_the_reader_sees_the_test_and_the_counter_example(pytester):
    pytester.makepyfile("""
        from fakellm.contracts.consumers.chunking import any_chunking

        @any_chunking("a b")
        def test_words(chunks):
            assert "".join(chunk.strip() for chunk in chunks) == "a b"

        @any_chunking("a b")
        def test_wrong(chunks):
            assert "".join(chunks) == "c"
    """)

    result = pytester.runpytest_inprocess("-p", "no:randomly")

    result.assert_outcomes(failed=2)
    text = result.stdout.str()
    assert "replay:    @any_chunking('a b', only=(1,))" in text
    assert "any_chunking: test_wrong fails on document 1 undivided, so it is not a matter of chunks" in text
    assert "search.py" not in text
    assert "chunking.py" not in text


# -- replaying ----------------------------------------------------------------------------------------------------


def structured():
    return [
        {"id": "c", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": end}]}
        for text, end in (("Hel", None), ("lo", None), (None, "stop"))
    ]


@pytest.mark.parametrize(
    ("document", "read"),
    [
        (THINK, consumers.tags_in_each_chunk),
        ("Gr\u00fc\u00dfe".encode(), consumers.utf8_replaced),
        (BODY, consumers.sse_line_feeds_only),
        (DONE, consumers.text_until_done),
    ],
)
def test_the_line_to_paste_works(document, read):
    def test(chunks):
        return read(chunks)

    error = failure(any_chunking(document)(test))
    pasted = eval(line(error, "replay")[1:], {"any_chunking": any_chunking})

    again = failure(pasted(test))
    rows = ("chunks", "undivided", "divided", "replay")
    assert [line(again, row) for row in rows] == [line(error, row) for row in rows]
    assert line(again, "tried").startswith("3 variants")


@pytest.mark.exhaustive
@pytest.mark.parametrize("document", [THINK, DONE])
def test_the_line_to_paste_of_a_report_works(document):
    def read(chunks):
        return consumers.text_until_done(chunks) if document == DONE else consumers.tags_in_each_chunk(chunks)

    report = check_consumer(read, document)
    again = eval(line(report.failed[0], "replay"), {"check_consumer": check_consumer, "read": read})

    assert len(again.failed) == 1
    assert line(again.failed[0], "chunks") == line(report.failed[0], "chunks")


def test_a_long_document_says_what_to_add():
    text = "x" * 2_000 + "<think>" + "y" * 100

    error = failure(any_chunking(text)(consumers.tags_in_each_chunk))

    assert line(error, "replay") == "add only=(2001,) to the arguments of @any_chunking, for this document"
    failure(any_chunking(text, only=(2001,))(consumers.tags_in_each_chunk))


# -- what proves nothing ------------------------------------------------------------------------------------------


def ok(chunks):
    assert chunks


def test_a_failure_that_is_no_matter_of_chunks_is_the_tests_own():
    with pytest.raises(ZeroDivisionError) as caught:
        any_chunking("ab")(lambda chunks: 1 / 0)()

    assert caught.value.__notes__ == [
        "any_chunking: <lambda> fails on document 1 undivided, so it is not a matter of chunks"
    ]


def test_state_that_is_kept_is_noticed_on_the_second_whole():
    seen = []

    def count(chunks):
        seen.extend(chunks)
        return len(seen)

    with pytest.raises(ContractUsageError, match="the same undivided document twice .*keeps state"):
        any_chunking("ab")(count)()


def test_state_that_only_some_chunks_leave_behind_is_noticed():
    held = []

    def read(chunks):
        text = "".join([*held, *chunks])
        held[:] = [chunk for chunk in chunks if chunk.endswith("<")]
        return text

    with pytest.raises(ContractUsageError, match="before and after another variant.*keeps state"):
        any_chunking("a<b")(read)()


def test_chance_is_noticed():
    dice = random.Random(0)

    def read(chunks):
        return "".join(chunks) if len(chunks) == 1 else dice.random()

    with pytest.raises(ContractUsageError, match="same chunks twice .* nondeterministic"):
        any_chunking("ab")(read)()


def test_results_that_have_no_equality_prove_nothing():
    with pytest.raises(ContractUsageError, match="its result has no =="):
        any_chunking("ab")(lambda chunks: object())()

    class Odd:
        def __eq__(self, other):
            raise TypeError("no")

        __hash__ = None

    with pytest.raises(ContractUsageError, match=r"cannot be compared \(TypeError: no\)"):
        any_chunking("ab")(lambda chunks: Odd())()


def _generator(chunks):
    yield from chunks


async def _agenerator(chunks):
    yield 1


@each(
    ("arguments", "options", "test", "match"),
    [
        ((), {}, ok, "give a document"),
        (("",), {}, ok, "the document '' is empty"),
        ((b"",), {}, ok, "the document b'' is empty"),
        ((ok,), {}, ok, r"write @any_chunking\(document\) above the test"),
        ((42,), {}, ok, "42"),
        (([],), {}, ok, "list"),
        (("a",), {"examples": -1}, ok, "examples is a whole number from 0 up, not -1"),
        (("a",), {"examples": True}, ok, "not True"),
        (("a",), {"seed": "x"}, ok, "seed is a whole number from 0 up, not 'x'"),
        (
            (THINK,),
            {"contracts": "framing"},
            ok,
            "no document has anything to say .*, but about whitespace_tail, .*tags",
        ),
        ((THINK,), {"contracts": ["tags", "tagz"]}, ok, "tagz"),
        (("a",), {"limit": 1.5}, ok, "limit is a whole number from 0 up, not 1.5"),
        (("a",), {"sse": True}, ok, "sse=True is about bytes, and the document is a str"),
        ((b"abc",), {"sse": True}, ok, "no server-sent event stream"),
        (("a",), {"stop": "END"}, ok, "the stop sequence 'END' is in no document"),
        (("a",), {"stop": ["a", ""]}, ok, "a stop sequence is a text that is not empty, not ''"),
        (("a",), {"stop": 3}, ok, "stop sequence"),
        (("ab", "cd"), {"only": (1,)}, ok, "only= is about one document, and 2 are given"),
        (("ab",), {"only": 1}, ok, "only= takes the moves of a failure"),
        (("ab",), {"only": (3,)}, ok, "a cut is a position from 0 to 2"),
        ((BODY,), {"only": (("cut", 99, 0),)}, ok, "no move of an event stream"),
        ((BODY,), {"only": (3,)}, ok, "no move of an event stream"),
        (("a",), {}, lambda other: None, "has no parameter named 'chunks'"),
        (("a",), {}, lambda *chunks: None, "has no parameter named 'chunks'"),
        (("a",), {}, _generator, "_generator is a generator"),
        (("a",), {}, _agenerator, "_agenerator is a generator"),
        (("a",), {}, int, "decorates a test function or method"),
        (("a",), {}, 3, "decorates a test function or method"),
        (("a",), {}, staticmethod(ok), "put @any_chunking below @staticmethod"),
    ],
)
def test_bad_use_is_refused_where_it_is_written(arguments, options, test, match):
    with pytest.raises(ContractUsageError, match=match):
        any_chunking(*arguments, **options)(test)


def test_nobody_else_fills_chunks():
    with pytest.raises(ContractUsageError, match="fills 'chunks' itself"):
        any_chunking("ab")(ok)(chunks=["a"])


def test_an_asynchronous_test_inside_a_running_loop_says_so():
    @any_chunking("ab")
    async def test(chunks):
        pass

    async def main():
        test()

    with pytest.raises(ContractUsageError, match="inside a running event loop"):
        asyncio.run(main())


# -- reports --------------------------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_a_consumer_may_be_a_function_a_generator_asynchronous_or_both():
    async def awaited(chunks):
        return "".join([chunk async for chunk in chunks])

    async def yielded(chunks):
        async for chunk in chunks:
            yield chunk

    def iterated(chunks):
        yield from chunks

    text = {"tags", "grapheme", "whitespace_tail"}
    for consume in (awaited, yielded, iterated, "".join):
        assert {v.contract.name for v in check_consumer(consume, contracts=text).passed} == text


@pytest.mark.exhaustive
def test_a_consumer_reads_a_stream_once():
    def twice(chunks):
        return ["".join(chunks), "".join(chunks)]

    assert "passed" in check_consumer(twice, THINK)["tags"].status
    assert next(iter(check_consumer(lambda chunks: next(chunks)[:0] + "".join(chunks), THINK).failed))


@pytest.mark.exhaustive
def test_only_what_a_document_is_about_is_checked():
    report = check_consumer(consumers.text_right, "plain words")

    assert {v.contract.name for v in report.passed} == {"tags", "whitespace_tail", "empty_delta"}
    assert report["utf8_split"].detail == "nothing in the document is about it"


def test_a_document_of_ones_own_and_what_is_expected():
    check_consumer(consumers.tags_right, THINK, expected=("plan", "The answer")).verify()

    with pytest.raises(ContractUsageError, match="not a matter of chunks"):
        check_consumer(consumers.tags_right, THINK, expected=("", ""))
    with pytest.raises(ContractUsageError, match="not a matter of chunks: ZeroDivisionError"):
        check_consumer(lambda chunks: 1 / 0, THINK, contracts="tags")


def test_a_mistake_is_reported_under_its_own_name_only():
    report = check_consumer(consumers.text_stripped, "<b>one</b> two, three", contracts=["tags", "whitespace_tail"])

    assert [verdict.contract.name for verdict in report.failed] == ["whitespace_tail"]


def test_a_cut_that_comes_with_other_line_ends_or_with_comments_says_nothing_about_these():
    """It falls into what is new; who fails for the cut alone has only shown how they frame."""
    names = ["framing", "line_ends", "control_blocks"]
    for body in (b"event: a\ndata: 1\n\nevent: b\ndata: 2\n\n", b"event: a\r\ndata: 1\r\n\r\n"):
        report = check_consumer(sweeping.data_lines, body, contracts=names)
        assert [verdict.contract.name for verdict in report.failed] == ["framing"], report


@fewer(2)
@given(st.data())
def test_places_of_a_body_that_was_written_anew_are_found_again(data):
    document = SSEBody(b"\ndata: a\r\ndata: b\n\ndata: c\n\n\rdata: d\n\n")
    edition = document._edition(data.draw(document.strategy()))
    inside = {at for start, end, _ in edition.edits for at in range(start + 1, end)}
    for place in {*range(len(document.body) + 1)} - inside:
        assert edition.before(edition.after(place, 0)) == place
    before = [edition.before(place) for place in range(len(edition.body) + 1)]
    assert before == sorted(before)
    assert before[-1] == len(document.body)


@pytest.mark.parametrize(
    ("consume", "documents", "options", "match"),
    [
        (3, (), {}, "a consumer is a function"),
        (consumers.text_right, (), {"contracts": "tagz"}, "did you mean tags"),
        (consumers.text_right, (), {"contracts": "batch"}, "not checked on a consumer"),
        (consumers.text_right, (), {"expected": ""}, "of one document, and 0 are given"),
        (consumers.text_right, ("ab",), {"stop": "END"}, "is in no document"),
        (consumers.text_right, (), {"only": (1,)}, "only= is about one document"),
        (len, (), {}, "nothing could be checked"),
        (consumers.text_right, (b"ab",), {"contracts": "grapheme"}, "nothing could be checked"),
    ],
)
def test_bad_use_of_a_report_is_refused(consume, documents, options, match):
    with pytest.raises(ContractUsageError, match=match):
        check_consumer(consume, *documents, **options)


# -- ordinary documents ------------------------------------------------------------------------------------------------

ORDINARY = [
    ("What is 2+2?", {}), ("na\u00efve caf\u00e9", {}), ("a" * 8, {}), ("ab", {"empty": False}),
    ("Hello STO STOP w", {"stop": "STOP"}), ("a", {}), ("a", {"empty": False}), ("<", {}), ("a\u0301", {}),
    (b"ab", {}), ("\u00e9".encode(), {"empty": False}), (b"data: x", {}), (b"data: x\n\n", {"empty": False}),
]  # fmt: skip


@pytest.mark.exhaustive
@pytest.mark.parametrize(("document", "options"), ORDINARY)
def test_ordinary_documents_are_cut_without_ado(document, options):
    def consume(chunks):
        if document[:5] == b"data:":
            return list(consumers.sse_right(chunks))
        whole = document[:0].join(chunks)
        return whole.partition(options["stop"])[0] if "stop" in options else whole

    try:
        check_consumer(consume, document, **options).verify()
    except ContractUsageError as error:
        assert len(document) == 1 or document[:5] == b"data:"
        assert "nothing could be checked" in str(error)  # noqa: PT017
    any_chunking(document, **options)(lambda chunks: consume(chunks))()


@fewer(3)
@given(
    text=st.text("ab<>1 {}\n\u00e9\u0301", min_size=1, max_size=8),
    focus=st.sampled_from([None, *(name for name in CATALOGUE if "consumer" in CATALOGUE[name].checks)]),
    stop=st.sampled_from([(), ("ab",), ("<b>", "a")]),
    is_bytes=st.booleans(),
    empty=st.booleans(),
)
def test_every_short_document_can_be_cut_in_every_way(text, focus, stop, is_bytes, empty):
    document = Cuts(text.encode() if is_bytes else text, stop=stop, empty=empty, focus=focus)

    found = drawn(document.strategy(), 20, 0)

    assert found
    for moves in (*found, *document.sweep()):
        chunks = document.apply(moves)
        assert document.whole[:0].join(chunks) == document.whole
        assert document.may_be_empty or all(chunks)


@pytest.mark.exhaustive
@fewer(4)
@given(data=st.text("ab \u2028\u00e9", max_size=3), empty=st.booleans(),
       focus=st.sampled_from([None, "framing", "line_ends", "control_blocks", "utf8_split"]))  # fmt: skip
def test_every_short_event_stream_can_be_moved_in_every_way(data, empty, focus):
    document = SSEBody(f"data:{data}".encode(), empty=empty, focus=focus)

    for moves in (*drawn(document.strategy(), 20, 0), *document.sweep()):
        assert read(document.apply(moves)) == read([document.body])


# -- one mistake, one name ---------------------------------------------------------------------------------------------


def ndjson_by_chunk(chunks):
    return [json.loads(line) for chunk in chunks for line in chunk.split("\n") if line.strip()]


def citations_by_chunk(chunks):
    return [found for chunk in chunks for found in re.findall(r"\[\d+\]", chunk)]


def fences_by_chunk(chunks):
    return sum(chunk.count("```") for chunk in chunks)


def words_by_chunk(chunks):
    return sum(len(chunk.split()) for chunk in chunks)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("consume", "document"),
    [
        (ndjson_by_chunk, '{"a": 1}\n{"b": 2}\n'),
        (citations_by_chunk, "As shown [1] and again [2]"),
        (fences_by_chunk, "```py\ncode\n```"),
        (words_by_chunk, "one two three"),
    ],
)
def test_what_depends_on_any_cut_is_reported_once_and_as_that(consume, document):
    report = check_consumer(consume, document)

    assert [verdict.contract.name for verdict in report.failed] == ["tags"]
    assert failure(any_chunking(document)(lambda chunks: consume(chunks))).contract == "tags"


@pytest.mark.exhaustive
def test_what_is_about_white_space_or_the_end_keeps_its_name():
    for consume in (consumers.text_stripped, consumers.text_without_the_last_chunk):
        report = check_consumer(consume, "one two three")

        assert [verdict.contract.name for verdict in report.failed] == ["whitespace_tail"]


def test_two_long_results_are_shown_around_their_first_difference():
    document = "".join(f'{{"number": {n}}}\n' for n in range(100))

    def read_values(chunks):
        values = [json.loads(line) for line in "".join(chunks).split("\n") if line]
        return json.dumps([v if v["number"] != 50 or len(chunks) == 1 else {"number": -1} for v in values])

    error = failure(any_chunking(document)(read_values))
    rows = [line(error, "undivided"), line(error, "divided")]

    assert all(len(row) < 200 and row[0] == row[-1] == "\u2026" for row in rows)
    assert '"number": 50' in rows[0]
    assert '"number": -1' in rows[1]
    assert rows[0].index("50") == rows[1].index("-1")


# -- mistakes that only one sample shows ---------------------------------------------------------------------------------


@pytest.mark.exhaustive
@pytest.mark.parametrize("split", [bytes.decode, str.encode], ids=["text", "bytes"])
def test_a_reader_that_splits_lines_as_python_does_is_caught(split):
    def consume(chunks):
        text = b"".join(chunks).decode("utf-8-sig")
        lines = text.splitlines() if split is bytes.decode else text.encode().splitlines()
        fields = [row if isinstance(row, str) else row.decode() for row in lines]
        return [json.loads(row[6:]) for row in fields if row.startswith("data: {")]

    report = check_consumer(consume, contracts=["framing", "line_ends"])

    assert [v.contract.name for v in report.failed] == (["line_ends"] if split is bytes.decode else [])
    if report.failed:
        assert line(report["line_ends"], "chunks").startswith("\u2026b'")


@pytest.mark.exhaustive
def test_lines_are_those_of_event_streams_for_a_reader_of_plain_data_too():
    def consume(chunks):
        text = b"".join(chunks).decode("utf-8-sig")
        return [row[6:] for row in text.splitlines() if row.startswith("data: ")]

    assert "U+2028" in line(check_consumer(consume)["line_ends"], "broken")


def held_until_the_tag_ends(chunks):
    held, shown = "", ""
    for chunk in chunks:
        held += chunk
        if "<" in held:
            continue
        shown, held = shown + held, ""
    return shown


def test_what_is_never_released_is_caught_where_not_even_the_sample_is_shown():
    report = check_consumer(held_until_the_tag_ends, contracts="tags")

    assert line(report["tags"], "broken").startswith("not all of 'The answer: 1 < 2 and 3 <' is delivered")


def without_the_last_flush(chunks):
    held, shown = "", ""
    for chunk in chunks:
        held += chunk
        keep = next((n for n in range(min(7, len(held)), 0, -1) if "<think>".startswith(held[-n:])), 0)
        shown, held = shown + held[: len(held) - keep], held[len(held) - keep :]
    return shown


@pytest.mark.exhaustive
@pytest.mark.parametrize("end", ["<", "<thi"])
@pytest.mark.parametrize("is_bytes", [False, True])
def test_a_document_that_ends_like_a_tag_is_delivered_whole(end, is_bytes):
    def consume(chunks):
        return without_the_last_flush(chunk.decode() if is_bytes else chunk for chunk in chunks)

    document = f"see \u00b9 1 {end}"
    report = check_consumer(consume, document.encode() if is_bytes else document)

    assert line(report["tags"], "broken").startswith(f"the end, '{end}', is never delivered")
    check_consumer(consumers.tags_right, document).verify()


@pytest.mark.exhaustive
def test_what_is_expected_of_the_whole_document_is_not_questioned():
    check_consumer(without_the_last_flush, "see 1 <", expected="see 1 ").verify()


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "consume",
    [
        lambda chunks: re.findall(r"\w+", "".join(chunks)),
        lambda chunks: len("".join(chunks).split("<b>")),
        lambda chunks: "".join(chunks).replace("<", ""),
        lambda chunks: {"text": "".join(chunks)},
    ],
)
def test_who_has_no_use_for_the_sign_is_not_accused(consume):
    assert check_consumer(consume, "see 1 <").failed == []


def test_a_decoder_that_is_not_flushed_is_caught():
    def unflushed(chunks):
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        return "".join(decoder.decode(chunk) for chunk in chunks)

    report = check_consumer(unflushed, contracts="utf8_split")

    assert "nothing shows it: the decoder is not flushed" in line(report["utf8_split"], "broken")


@pytest.mark.parametrize("errors", ["strict", "replace", "ignore"])
def test_a_decoder_that_is_flushed_or_ignores_all_that_is_no_text_is_right(errors):
    def consume(chunks):
        return b"".join(chunks).decode("utf-8", errors)

    check_consumer(consume, contracts="utf8_split").verify()


def repeats_dropped(chunks):
    text, last = "", None
    for chunk in chunks:
        if chunk == last and chunk.strip():
            continue
        text, last = text + chunk, chunk
    return text


def pieces_keyed_by_themselves(chunks):
    return "".join(dict.fromkeys(chunks))


@pytest.mark.exhaustive
@pytest.mark.parametrize("consume", [repeats_dropped, pieces_keyed_by_themselves])
def test_chunks_that_repeat_are_two(consume):
    assert check_consumer(consume)["whitespace_tail"].status == "failed"
    assert {v.contract.name for v in check_consumer(consume, "ha ha ha").failed} & {"whitespace_tail", "tags"}


@pytest.mark.exhaustive
def test_two_answers_are_asked_for_by_name():
    def consume(chunks):
        return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])

    report = check_consumer(consume)

    assert report["crossed_streams"].status == "skipped"
    assert "say contracts='crossed_streams'" in report["crossed_streams"].detail
    assert check_consumer(consume, contracts="crossed_streams")["crossed_streams"].status == "failed"


# -- how much is done --------------------------------------------------------------------------------------------------


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("document", "most_runs", "most_units"),
    [
        ("<think>plan</think>The answer", 250, 10_000),
        ("The quick <b>brown</b> fox. " * 30, 1_500, 1_500_000),
        ("The quick <b>brown</b> fox. " * 4_000, 250, 25_000_000),
        (b'data: {"text": "The quick brown fox"}\n\n' * 2_500, 350, 35_000_000),
        (Script.of("The quick brown fox. " * 250, split="words"), 100, 110_000),
    ],
    ids=["short", "1 kB", "100 kB", "100 kB of events", "1,000 chunks"],
)
def test_the_work_is_bounded_by_the_size(document, most_runs, most_units):
    runs, chunks_read, units = 0, 0, 0

    @any_chunking(document)
    def test(chunks):
        nonlocal runs, chunks_read, units
        runs += 1
        chunks_read += len(chunks)
        units += len(chunks) if isinstance(document, Script) else sum(map(len, chunks))

    test()

    assert runs <= most_runs
    assert units <= most_units
    assert chunks_read <= 500_000


@pytest.mark.exhaustive
def test_as_many_examples_as_are_asked_for():
    seen = []
    for examples in (None, 0, 50):
        count = []
        any_chunking("abc <d>" * 5_000, examples=examples)(lambda chunks, count=count: count.append(1))()
        seen.append(len(count))

    assert seen[1] < seen[0] <= seen[1] + 20
    assert seen[2] > seen[1] + 40


# -- documents --------------------------------------------------------------------------------------------------------

TEXTS = ["", "a", "ab", THINK, "a\u0301b", RUSSIAN_DOLL, "x" * 50, "END EN E", '{"a": [1, "\\n"]}', " \n "]


@pytest.mark.exhaustive
@each("whole", [*TEXTS[1:], *(text.encode() for text in TEXTS[1:]), b"\xff\x80a"])
def test_every_set_of_cuts_gives_the_document(whole):
    document = Cuts(whole, stop=("END",))

    for moves in (*document.sweep(), *drawn(document.strategy(), 30, 0)):
        assert whole[:0].join(document.apply(moves)) == whole
        assert moves == tuple(sorted(moves))
        assert document.contract(moves) in CATALOGUE
        assert document.shown(moves)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "sse_body", [BODY, b"data: a\r\n\r\n: x\r\n\r\ndata: b", b"data:a\r\rdata:b\r\r", b"\xef\xbb\xbf" + BODY]
)
def test_every_move_of_an_event_stream_keeps_its_events(sse_body):
    document = SSEBody(sse_body)
    events = read(document.apply(()))

    assert events
    for moves in (*document.sweep(), *drawn(document.strategy(), 100, 0)):
        assert read(document.apply(moves)) == events, moves
        assert moves == tuple(sorted(moves))
        assert document.contract(moves) in ("framing", "line_ends", "control_blocks", "utf8_split")
        assert document.shown(moves)


def read(chunks):
    decoder = SSEDecoder(flush=True)
    return [event for chunk in chunks for event in decoder.feed(chunk)] + decoder.close()


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "contract", ["tags", "whitespace_tail", "grapheme", "stop_sequence", "utf8_split", "partial_json"]
)
def test_a_focus_moves_nothing_else(contract):
    document = Cuts("a <b> c\u0301 END \U0001f600".encode(), stop=("END",), focus=contract)

    for moves in (*document.sweep(), *drawn(document.strategy(), 50, 0)):
        cuts = {cut for cut in moves if 0 < cut < len(document.whole)}
        assert {document.names[cut] for cut in cuts} <= {contract}


def test_the_names_of_places():
    names = places_of("ab <b> E\u0301 ENx", ("END",))

    assert names == (
        *("text",) * 2, *("whitespace_tail",) * 2, *("tags",) * 2, "whitespace_tail", "whitespace_tail",
        "grapheme", "whitespace_tail", "whitespace_tail", "stop_sequence", "stop_sequence", "whitespace_tail",
    )  # fmt: skip
    assert places_of("\u00e9".encode())[1] == "utf8_split"
    assert places_of("```py\nx\n```") == (*("text",) * 5, *("whitespace_tail",) * 4, *("text",) * 3)
    assert {*places_of("a fine end")[-3:]} == {"whitespace_tail"}


@each(("body", "is_stream"), [
    (BODY, True), (b"data: x", True), (b": hi\n\ndata:\n\n", True), (b"\xef\xbb\xbfdata: x\r\r", True),
    (b"data", False), (b"database: x", False), (b"hello\ndata: x\n\n", False), (b'{"data": 1}', False), (b": x\n\n", False),
])  # fmt: skip
def test_what_is_taken_for_an_event_stream(body, is_stream):
    assert looks_like_sse(body) is is_stream
    assert isinstance(document_of(body), SSEBody) is is_stream
    assert isinstance(document_of(body, sse=False), Cuts)


def test_the_sweep_has_every_single_cut_every_window_and_every_step():
    swept = set(Cuts("abcdef" * 4).sweep())

    assert {(cut,) for cut in range(1, 24)} <= swept
    assert {(start, start + width) for width in range(4) for start in range(1, 24 - width)} <= swept
    assert {(0,), (24,)} <= swept
    assert {tuple(range(step, 24, step)) for step in range(1, 17)} <= swept


@pytest.mark.parametrize("length", [1, 30, 300, 400, 1_000, 20_000])
def test_a_sweep_is_bounded(length):
    text = random.Random(length).choices("ab <>\n", k=length)
    document = Cuts("".join(text))

    assert len(list(document.sweep())) <= limit_for(length) + 20
    assert len(list(SSEBody(b"data: " + "".join(text).encode() + b"\n\n").sweep())) <= 2 * limit_for(length) + 60


@pytest.mark.exhaustive
def test_examples_depend_on_the_seed_alone():
    strategy = Cuts(THINK).strategy()

    first = drawn(strategy, 50, 1)

    assert len(first) == 50
    assert first == drawn(strategy, 50, 1) != drawn(strategy, 50, 2)


@given(text=st.just(THINK))
@settings(max_examples=1, database=None)
def test_a_report_can_be_made_inside_a_property(text):
    check_consumer(consumers.tags_right, text).verify()


def test_structured_chunks_are_documents_too():
    def read_content(chunks):
        return "".join(chunk["choices"][0]["delta"]["content"] or "" for chunk in chunks)

    error = failure(any_chunking(structured())(read_content))

    assert error.contract in CATALOGUE
    assert line(error, "replay").startswith("@any_chunking([{'id': 'c', 'choices': ")
    failure(eval(line(error, "replay")[1:], {"any_chunking": any_chunking})(read_content))


def test_a_script_is_a_document_and_an_sdks_objects_are():
    def read_content(chunks):
        return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)

    error = failure(any_chunking(Script.of("Hello there", split="words"))(read_content))

    assert error.contract == "no_choices"


def test_a_report_on_our_own_long_documents_can_be_replayed():
    def read_content(chunks):
        return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)

    for consume, contract in ((read_content, "no_choices"), (consumers.sse_by_read, "framing")):
        report = check_consumer(consume, contracts=contract)
        names = {"check_consumer": check_consumer, consume.__name__: consume}
        again = eval(line(report[contract], "replay"), names)

        assert [line(again[contract], row) for row in ("chunks", "divided", "replay")] == [
            line(report[contract], row) for row in ("chunks", "divided", "replay")
        ]
        assert line(again[contract], "tried").startswith("3 variants")


@each(("contract", "consume"), BROKEN, ids=lambda value: getattr(value, "__name__", value))
def test_each_failure_can_be_replayed_by_its_line_and_by_its_contract(contract, consume):
    stop = "END" if contract == "stop_sequence" else ()
    verdict = check_consumer(consume, contracts=contract, stop=stop)[contract]
    if "replay:" not in verdict.detail:  # not a matter of chunks
        return
    names = {"check_consumer": check_consumer, consume.__name__: consume}
    moves = eval(line(verdict, "replay"), {**names, "check_consumer": lambda *_, only, **__: only})

    by_line = eval(line(verdict, "replay"), names)
    by_contract = check_consumer(consume, contracts=contract, stop=stop, only=moves)

    for again in (by_line, by_contract):
        assert [v.contract.name for v in again.failed] == [contract]
        assert line(again[contract], "chunks") == line(verdict, "chunks")


def test_moves_that_none_of_our_documents_has_are_refused():
    with pytest.raises(ContractUsageError, match="no document of tags has these moves; give the document that failed"):
        check_consumer(consumers.text_right, contracts="tags", only=(99_999,))
    with pytest.raises(ContractUsageError, match="only= takes the moves of a failure"):
        check_consumer(consumers.text_right, contracts="tags", only=3)


def test_a_long_document_of_ones_own_is_not_replayed_on_ours():
    report = check_consumer(consumers.grapheme_loses_marks, "x" * 400 + "e\u0301", contracts="grapheme")

    assert line(report["grapheme"], "replay").startswith("add only=(401,) to the arguments of check_consumer")


def test_a_script_is_pasted_as_it_is_written():
    script = Script("Hello ", "there")

    def read_content(chunks):
        return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)

    error = failure(any_chunking(script)(read_content))

    assert line(error, "replay").startswith(f"@any_chunking({script!r}, only=")
    names = {"any_chunking": any_chunking, "Script": Script}
    failure(eval(line(error, "replay")[1:], names)(read_content))


# -- what stops early -------------------------------------------------------------------------------------------------


async def first_line(chunks):
    said = ""
    async for chunk in chunks:
        said += chunk
        if "\n" in said:
            break
    return said.partition("\n")[0]


async def first_line_closing(chunks):
    async with aclosing(chunks):
        return await first_line(chunks)


async def first_line_finally(chunks):
    try:
        return await first_line(chunks)
    finally:
        await chunks.close()


async def handed_on(chunks):
    async for chunk in chunks:
        yield chunk.upper() if isinstance(chunk, str) else chunk


async def handed_on_closing(chunks):
    async with chunks:
        async for chunk in chunks:
            yield chunk.upper() if isinstance(chunk, str) else chunk


def until_end(chunks):
    """Reads with `for`: what nobody refers to any more is closed."""
    said = ""
    for chunk in chunks:
        said += chunk
        if "END" in said:
            break
    return said.partition("END")[0]


class Keeping:
    """Keeps its source."""

    def __call__(self, chunks):
        self.chunks = chunks
        return until_end(self.chunks)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("consume", "document", "status"),
    [
        (first_line, None, "failed"), (first_line_closing, None, "passed"), (first_line_finally, None, "passed"),
        (handed_on, "ab cd ef", "failed"), (handed_on_closing, "ab cd ef", "passed"),
        (until_end, None, "passed"), (Keeping(), None, "failed"), (consumers.stop_right, "an END and more of it", "passed"),
        (first_line, "one line", "skipped"), ("".join, None, "skipped"), (list, b"ab", "skipped"),
    ],
)  # fmt: skip
def test_a_consumer_that_stops_early_closes_its_source(consume, document, status):
    documents = () if document is None else (document,)
    verdict = check_consumer(consume, *documents, contracts=("close", "whitespace_tail"))["close"]

    assert verdict.status == status
    if status == "failed":
        assert "and its source was still open" in verdict.detail


def test_a_stop_sequence_is_where_a_consumer_may_stop():
    async def stopping(chunks):
        said = ""
        async for chunk in chunks:
            said += chunk
            if "###" in said:
                break
        return said.partition("###")[0]

    assert check_consumer(stopping, contracts="close", stop="###")["close"].status == "failed"
