"""`any_chunking` and `check_consumer`: each usual mistake is caught by its smallest chunking, and no right consumer is."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise

import consumers
import pytest
from consumers import BROKEN, RIGHT
from hypothesis import given, settings
from hypothesis import strategies as st

from fakellm import Script
from fakellm.contracts.catalogue import CATALOGUE
from fakellm.contracts.consumers.check import check_consumer
from fakellm.contracts.consumers.chunking import any_chunking, document_of
from fakellm.contracts.consumers.cuts import Cuts, limit_for
from fakellm.contracts.consumers.drawing import drawn
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


@pytest.mark.parametrize(("contract", "consume"), BROKEN, ids=lambda value: getattr(value, "__name__", value))
def test_each_mistake_breaks_its_contract(contract, consume):
    report = check_consumer(consume, contracts=contract, stop="END")

    assert report[contract].status == "failed"
    assert str(report) == str(check_consumer(consume, contracts=contract, stop="END"))  # and says so again


@pytest.mark.parametrize("contract", RIGHT)
def test_the_right_consumer_keeps_its_contract(contract):
    report = check_consumer(RIGHT[contract], contracts=contract, stop="END")

    assert report[contract].status == "passed", report


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


@pytest.mark.parametrize(("contract", "consume", "document", "options"), CLASSICS)
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


@pytest.mark.parametrize(
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


def test_a_consumer_may_be_a_function_a_generator_asynchronous_or_both():
    async def awaited(chunks):
        return "".join([chunk async for chunk in chunks])

    async def yielded(chunks):
        async for chunk in chunks:
            yield chunk

    def iterated(chunks):
        yield from chunks

    for consume in (awaited, yielded, iterated, "".join):
        assert {v.contract.name for v in check_consumer(consume).passed} >= {"tags", "grapheme", "whitespace_tail"}


def test_a_consumer_reads_a_stream_once():
    def twice(chunks):
        return ["".join(chunks), "".join(chunks)]

    assert "passed" in check_consumer(twice, THINK)["tags"].status
    assert next(iter(check_consumer(lambda chunks: next(chunks)[:0] + "".join(chunks), THINK).failed))


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


# -- documents --------------------------------------------------------------------------------------------------------

TEXTS = ["", "a", "ab", THINK, "a\u0301b", RUSSIAN_DOLL, "x" * 50, "END EN E", '{"a": [1, "\\n"]}', " \n "]


@pytest.mark.parametrize("whole", [*TEXTS[1:], *(text.encode() for text in TEXTS[1:]), b"\xff\x80a"])
def test_every_set_of_cuts_gives_the_document(whole):
    document = Cuts(whole, stop=("END",))

    for moves in (*document.sweep(), *drawn(document.strategy(), 100, 0)):
        assert whole[:0].join(document.apply(moves)) == whole
        assert moves == tuple(sorted(moves))
        assert document.contract(moves) in CATALOGUE
        assert document.shown(moves)


@pytest.mark.parametrize(
    "sse_body", [BODY, b"data: a\r\n\r\n: x\r\n\r\ndata: b", b"data:a\r\rdata:b\r\r", b"\xef\xbb\xbf" + BODY]
)
def test_every_move_of_an_event_stream_keeps_its_events(sse_body):
    document = SSEBody(sse_body)
    events = read(document.apply(()))

    assert events
    for moves in (*document.sweep(), *drawn(document.strategy(), 300, 0)):
        assert read(document.apply(moves)) == events, moves
        assert moves == tuple(sorted(moves))
        assert document.contract(moves) in ("framing", "line_ends", "control_blocks", "utf8_split")
        assert document.shown(moves)


def read(chunks):
    decoder = SSEDecoder(flush=True)
    return [event for chunk in chunks for event in decoder.feed(chunk)] + decoder.close()


@pytest.mark.parametrize(
    "contract", ["tags", "whitespace_tail", "grapheme", "stop_sequence", "utf8_split", "partial_json"]
)
def test_a_focus_moves_nothing_else(contract):
    document = Cuts("a <b> c\u0301 END \U0001f600".encode(), stop=("END",), focus=contract)

    for moves in (*document.sweep(), *drawn(document.strategy(), 50, 0)):
        cuts = {cut for cut in moves if 0 < cut < len(document.whole)}
        assert {document.names[cut] for cut in cuts} <= {contract}


def test_the_names_of_places():
    names = places_of("ab <b> E\u0301 ENx", ["END"])

    assert names == (
        *("whitespace_tail",) * 4, *("tags",) * 2, "whitespace_tail", "whitespace_tail",
        "grapheme", "whitespace_tail", "whitespace_tail", "stop_sequence", "stop_sequence", "whitespace_tail",
    )  # fmt: skip
    assert places_of("\u00e9".encode())[1] == "utf8_split"


@pytest.mark.parametrize(("body", "is_stream"), [
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
