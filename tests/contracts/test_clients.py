"""`check_client` on a client that is right, on the same wrong in one way each, and on the official SDKs."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from itertools import count

import httpx
import openai
import pytest

from fakellm.contracts import CATALOGUE, ClientContract, check_client
from fakellm.contracts.catalogue import chosen
from fakellm.contracts.clients import classform
from fakellm.contracts.clients.cases import cases
from fakellm.contracts.clients.check import reasons_of
from fakellm.contracts.clients.lab import Lab
from fakellm.contracts.clients.seen import difference, seen_of
from fakellm.contracts.streams.projections import text_of
from fakellm.contracts.verdicts import Skip
from fakellm.errors import BrokenContractError, ContractUsageError
from fakellm.wire import FORMS, SSEDecoder

NAMES = [contract.name for contract in chosen(None, "client")]
HI = [{"role": "user", "content": "hi"}]
URL = "https://api.openai.com/v1/chat/completions"
ASKED = {"model": "m", "stream": True, "messages": HI}
HTTP = httpx.Client(verify=False)
ERROR = "the answer is not whole"


class Lost(Exception):
    pass


@dataclass
class Reader:
    """A client of chat completions; each wrong is a way in which it is not right."""

    wrong: str = ""

    def events(self, pieces):
        """Yield the data of the events."""
        decoder = SSEDecoder()
        for piece in pieces:
            for event in decoder.feed(self.spoilt(piece)):
                yield event.data
        if self.wrong == "flushes":
            yield from [event.data for event in decoder.close()]

    def spoilt(self, piece):
        if self.wrong == "bom" and piece.startswith(b"\xef\xbb\xbf"):
            return b"\0" + piece
        if self.wrong == "cr":
            return piece.replace(b"\r", b"")
        if self.wrong == "comments" and b": keep-alive" in piece:
            raise Lost(piece)
        if self.wrong == "space":
            return b"\n".join(line for line in piece.split(b"\n") if not line.startswith(b"data:{"))
        if self.wrong == "reads":
            return piece if piece.startswith((b"data", b"\n")) else b""
        if self.wrong == "limit" and len(piece) > 2**16:
            raise Lost(len(piece))
        return piece

    def texts(self, pieces):
        is_whole = False
        for data in self.events(pieces):
            if data == "[DONE]":
                is_whole = True
                if self.wrong != "goes on":
                    break
                continue
            if self.wrong == "pretty" and "\n" in data:
                raise Lost(data)
            yield from self.said(json.loads(data))
        if not is_whole and self.wrong != "ends":
            raise Lost(ERROR)

    def said(self, chunk):
        if "error" in chunk and self.wrong != "errors":
            raise Lost(chunk)
        if self.wrong == "fields" and set(chunk) - {"x"} > {"choices", "x_fakellm"}:
            raise Lost(chunk)
        choices = chunk.get("choices") or ()
        for choice in [chunk["choices"][0]] if self.wrong == "first" and "error" not in chunk else choices[:1]:
            delta = choice["delta"] if self.wrong == "deltas" else choice.get("delta") or {}
            yield delta["content"] + "" if self.wrong == "deltas" and delta else delta.get("content") or ""

    def __call__(self, prompt="?"):
        with HTTP.stream("POST", URL, json=ASKED) as response:
            pieces = response.iter_raw() if self.wrong == "raw" else response.iter_bytes()
            yield from self.texts(pieces)


def check(wrong="", **options):
    return check_client(lambda: Reader(wrong), api="openai", **options)


def test_a_client_that_is_right_keeps_them_all():
    report = check()
    assert [row.name for row in report.rows if row.status == "failed"] == []
    assert [verdict.contract.name for verdict in report.passed] == NAMES
    assert {row.name for row in report.rows} == {case.name for case in cases((True, False))} >= {*FORMS}
    assert report.row("clean_end").outcome == "raises Lost"
    assert report.endpoint == "openai.chat"
    report.verify()


WRONG = {
    "bom": ("control_blocks", {"bom"}),
    "cr": ("line_ends", {"cr"}),
    "comments": ("control_blocks", {"comments", "comment_first", "comment_inside", "comment_after_id", "all", "keep_alive"}),
    "space": ("event_fields", {"no_space"}),
    "pretty": ("event_fields", {"pretty", "pretty_crlf"}),
    "raw": ("content_coding", {"gzip", "deflate", "gzip_bytes"}),
    "reads": ("framing", {"bytes", "odd_pieces"}),
    "limit": ("long_event", {"long_event"}),
    "first": ("no_choices", {"no_choices"}),
    "deltas": ("empty_delta", {"null_content", "null_delta"}),
    "fields": ("unknown_fields", {"unknown_field"}),
    "goes on": ("finish", {"late"}),
    "ends": ("truncation", {"clean_end", "cut"}),
    "errors": ("in_band_error", {"error_named", "error_unnamed"}),
}  # fmt: skip

BRIEF = ("cr", "deltas", "ends")


@pytest.mark.parametrize(
    "wrong", [pytest.param(wrong, marks=() if wrong in BRIEF else pytest.mark.exhaustive) for wrong in WRONG]
)
def test_a_client_that_is_wrong_breaks_what_it_is_wrong_in(wrong):
    contract, rows = WRONG[wrong]
    report = check(wrong, contracts=[contract])
    assert {row.name for row in report.rows if row.status == "failed"} >= rows
    assert [verdict.contract.name for verdict in report.failed] == [contract]
    with pytest.raises(BrokenContractError, match=f"{contract}: "):
        report.verify()


def test_a_form_is_told_in_its_smallest_form():
    report = check("bom", contracts=["control_blocks"])
    text = str(report["control_blocks"])
    assert "the plain answer in the form WireForm(bom=True) reads otherwise" in text
    assert "sent:      b'\\xef\\xbb\\xbfdata: {" in text
    assert "expected:  'One two three four.'" in text
    assert ".otherwise('One ', 'two ', 'three ', 'four.').speak(WireForm(bom=True))" in text


@pytest.mark.exhaustive
def test_all_at_once_is_told_by_the_one_field_that_fails():
    report = check_client(by_openai(), api="openai", contracts=["control_blocks"])
    assert "also:      comment_after_id, retry_alone, all" in str(report["control_blocks"])
    assert report.row("all").outcome == "reads otherwise: bom"
    report = check("pretty", contracts=["control_blocks"])
    assert (report.row("all").outcome, report.row("all").contract) == ("raises Lost: data_lines=pretty", "event_fields")
    assert report["control_blocks"].status == "passed"


def test_the_report_is_a_table():
    lines = str(check("cr", contracts=["line_ends", "finish"], skip={"lf": "not asked"})).splitlines()
    assert lines[0].endswith("1 failed, 1 passed, 0 skipped")
    table = [line.split() for line in lines[1:8]]
    assert table[0] == ["openai.chat", "contract", "outcome"]
    assert table[1] == ["form", "lf", "line_ends", "-", "not", "asked"]
    assert table[3][:4] == ["form", "cr", "line_ends", "BROKEN"]
    assert table[5] == ["oddity", "late", "finish", "reads"]
    assert table[6][:2] == ["oddity", "separators"]
    assert lines[8].startswith("BROKEN   line_ends: ")


def test_the_same_client_gets_the_same_verdicts():
    assert str(check("cr", contracts=["line_ends"])) == str(check("cr", contracts=["line_ends"]))


def test_raises_and_incomplete_say_how_faults_end():
    only = {"contracts": ["truncation"]}
    assert check(raises=(Lost, ValueError, httpx.HTTPError), **only).passed
    assert check(raises=(ValueError, httpx.HTTPError), **only).failed
    whole = {"incomplete": lambda text: not text.endswith("four.")}
    assert check("ends", **only, skip={"cut": "is taken for an end", "broken_json": "the same"}, **whole).passed


def by_openai(is_async=False, take=None):
    def make():
        client = (openai.AsyncOpenAI if is_async else openai.OpenAI)(api_key="none needed", max_retries=0)

        async def astream():
            async for chunk in await client.chat.completions.create(**ASKED):
                if chunk.choices and chunk.choices[0].delta:
                    yield chunk.choices[0].delta.content or ""

        async def whole():
            return "".join([text async for text in astream()])

        if is_async:
            return whole if take == "whole" else astream
        return lambda: client.chat.completions.create(**ASKED)

    return make


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(by_openai(), id="sync", marks=pytest.mark.exhaustive),
        pytest.param(by_openai(True), id="async", marks=pytest.mark.exhaustive),
        pytest.param(by_openai(True, "whole"), id="whole", marks=pytest.mark.exhaustive),
    ],
)
def test_an_sdk_is_read_in_each_flavour(make):
    report = check_client(make, api="openai", contracts=["control_blocks", "finish"])
    assert report["finish"].status == "passed"
    broken = {row.name: row.outcome for row in report.rows if row.status == "failed"}
    assert broken["comment_after_id"] == "raises JSONDecodeError: comments=between,ids"
    assert report.row("comments").outcome == "reads"


def test_objects_show_a_missing_end_that_texts_do_not():
    shown = check_client(by_openai(), api="openai", contracts=["truncation"])
    assert (shown["truncation"].status, shown.row("clean_end").outcome) == ("passed", "is seen")
    texts = check_client(by_openai(True), api="openai", contracts=["truncation"])
    assert texts.row("clean_end").outcome == "as if whole"


def test_an_app_may_ask_for_something_else_before():
    def make():
        def ask():
            HTTP.get("https://api.openai.com/v1/models")
            yield from Reader()()

        return ask

    assert check_client(make, api="openai", contracts=["finish"]).endpoint == "openai.chat"


def test_what_an_api_cannot_say_is_no_fault_of_the_client():
    def broken(request):
        raise ValueError(request)

    lab = Lab(lambda: Reader(), "openai")
    case = next(case for case in lab.cases if case.name == "unknown_finish")
    lab.cases = [replace(case, script=broken)]
    with pytest.raises(Skip, match="openai.chat cannot say that"):
        CATALOGUE["unknown_fields"].checks["client"](lab)


def test_a_client_may_ask_this_machine():
    def make():
        return lambda: HTTP.post("http://127.0.0.1:9/v1/chat/completions", json=ASKED).text.count("content")

    report = check_client(make, api="openai", hosts=["127.0.0.1:9"], contracts=["framing"])
    assert report["framing"].status == "passed"
    with pytest.raises(ContractUsageError, match=r"the client fails before it asks openai anything"):
        check_client(make, api="openai")


def test_what_differs_by_itself_is_not_compared():
    numbers = count()

    def make():
        return lambda: [{"id": next(numbers), "text": text} for text in Reader()()]

    report = check_client(make, api="openai", contracts=["line_ends", "truncation"])
    assert not report.failed
    with pytest.raises(ContractUsageError, match="the same answer gives two results, and nothing can be compared"):
        check_client(lambda: lambda: [*Reader()(), *[next(numbers)] * next(numbers)], api="openai")


def test_objects_are_compared_whatever_made_them():
    @dataclass
    class Data:
        x: int
        headers: str = ""

    class Plain:
        def __init__(self, x):
            self.x, self._own = x, object()

    for kind in (Data, Plain):
        assert seen_of(kind(1), text_of).value == seen_of(kind(1), text_of).value != seen_of(kind(2), text_of).value
    assert seen_of(Data(1, "a"), text_of) == seen_of(Data(1, "b"), text_of)
    assert seen_of(["a", "b"], text_of).value == "ab"
    assert difference([1, 2, 3], [1, 3]) == ("3 chunks, of which chunk 1 is 2", "2 chunks, of which chunk 1 is 3")
    assert difference([1], []) == ("1 chunk, of which chunk 0 is 1", "0 chunks, of which chunk 0 is none")


def test_what_an_api_does_not_have_is_left_out_with_the_reason():
    def make():
        def ask():
            with HTTP.stream("POST", "http://127.0.0.1:11434/api/chat", json=ASKED) as response:
                return "".join(json.loads(line)["message"]["content"] for line in response.iter_lines())

        return ask

    report = check_client(make, api="ollama", contracts=["line_ends", "control_blocks", "content_coding", "no_choices"])
    assert report.row("crlf").outcome == "reads"
    assert report.row("separators").outcome == "raises JSONDecodeError"  # httpx splits at U+2028 too
    assert report.row("cr").outcome == "ollama.chat sends lines of JSON, which have no such form"
    assert [verdict.contract.name for verdict in report.skipped] == ["control_blocks", "no_choices"]
    assert report.row("no_choices").outcome == "ollama.chat has no such event"


def test_a_coding_that_a_client_does_not_ask_for_is_not_sent():
    def make():
        return lambda: HTTP.post(URL, json=ASKED, headers={"accept-encoding": "identity"}).text

    report = check_client(make, api="openai", contracts=["content_coding", "finish"])
    assert report["content_coding"].detail == "the client does not ask for gzip; the client does not ask for deflate"


MISUSES = [
    ({"api": "opanai"}, "api is the provider that the client asks: 'openai', "),
    ({"make": "x"}, "a maker is a function that returns a function which asks, not 'x'"),
    ({"make": lambda: "text"}, "the maker returned 'text'; return a function that asks"),
    ({"make": lambda: lambda: "One two"}, "the client asked no openai; say which provider it asks"),
    ({"make": lambda: lambda: HTTP.get(URL[:-17]) and ""}, "the client fails on the plain answer"),
    ({"make": lambda: {}["client"]}, r"the client fails before it asks openai anything(?s:.*)KeyError"),
    ({"make": lambda: lambda: HTTP.post(URL, json={**ASKED, "stream": False}).text}, "for no stream"),
    ({"make": lambda: lambda: len(HTTP.post(URL, json=ASKED).text) > 9}, "accepts everything"),
    ({"contracts": []}, "no contract was named"),
    ({"contracts": ["line_end"]}, "did you mean line_ends"),
    ({"skip": {"bom": ""}}, "say why 'bom' is skipped"),
    ({"skip": {"bomb": "x"}}, "no contract 'bomb'"),
    ({"skip": {"crfl": "x"}}, "no contract 'crfl'; did you mean crlf"),
    ({"raises": "ValueError"}, "raises is a class of exceptions, or a tuple of some, .* not 'ValueError'"),
    ({"raises": (ValueError, 3)}, "raises is a class of exceptions"),
    ({"raises": ()}, "raises is a class of exceptions"),
    ({"incomplete": True}, "incomplete is a function, such as incomplete=lambda result: result.failed, not True"),
    ({"text": "content"}, "text is a function, such as text=lambda chunk: chunk.text, not 'content'"),
    ({"skip": ["bom"]}, "skip maps the name of a contract to the reason"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "message"), MISUSES, ids=[message for _, message in MISUSES])
def test_a_use_that_proves_nothing_is_refused(options, message):
    options = {"make": Reader, "api": "openai", **options}
    make = options.pop("make")
    with pytest.raises(ContractUsageError, match=message):
        check_client(
            make if make is not Reader else lambda: Reader(), contracts=options.pop("contracts", ["finish"]), **options
        )


def test_what_a_report_does_not_have_is_told():
    report = check_client(lambda: Reader(), api="openai", contracts=["line_ends"])
    with pytest.raises(KeyError, match="there is no row 'crfl'; did you mean 'crlf'. there are lf, crlf, cr,"):
        report.row("crfl")
    with pytest.raises(KeyError, match="there is no verdict on a contract 'finish'; there are line_ends"):
        report["finish"]


def test_an_event_loop_is_refused():
    async def main():
        with pytest.raises(ContractUsageError, match=r"asyncio.to_thread\(check_client"):
            check()

    asyncio.run(main())


def test_every_preset_is_a_case_and_every_case_has_its_contract():
    found = cases((None, True, False))
    assert {*FORMS} <= {case.name for case in found}
    assert {case.contract for case in found} == {*NAMES}
    assert reasons_of({"bom": "x", "finish": "y"}) == ({"finish": "y"}, {"bom": "x"})
    for name in NAMES:
        assert len(CATALOGUE[name].checks["client"].__doc__) > 150


QUIET = ("-p", "no:cacheprovider", "-p", "no:langsmith_plugin", "-p", "no:hypothesispytest")
PROJECT = """
import httpx, json, pytest
from fakellm.contracts import ClientContract
from fakellm.wire import SSEDecoder

HTTP = httpx.Client(verify=False)

def make():
    def ask():
        body = HTTP.post({url!r}, json={asked!r}).content
        return [json.loads(event.data) for event in SSEDecoder().feed(body) if event.data != "[DONE]"]
    return ask

class TestMine(ClientContract):
    api = "openai"
    skip = {{"truncation": "its caller looks for the end", "in_band_error": "the same", "empty_delta": "not its own",
            "no_choices": "not its own", "unknown_fields": "not its own", "finish": "not its own", "retry": "no", "framing": "no"}}

    @pytest.fixture
    def make_client(self):
        return make

def test_it(client_contract):
    assert client_contract(make, api="openai", contracts=["line_ends"]).row("cr").outcome == "reads"

@pytest.mark.xfail(strict=True)
def test_that(client_contract):
    client_contract(lambda: lambda: HTTP.post({url!r}, json={asked!r}).text, api="openai", contracts=["line_ends"])
"""


@pytest.mark.exhaustive
def test_a_class_and_a_fixture_check_it_too(pytester):
    pytester.makepyfile(PROJECT.format(url=URL, asked=ASKED))
    result = pytester.runpytest_inprocess(*QUIET, "-rs")
    result.assert_outcomes(passed=7, skipped=6, xfailed=1)
    result.stdout.fnmatch_lines(["*its caller looks for the end"])


def test_a_class_says_what_it_lacks():
    with pytest.raises(ContractUsageError, match="did you mean 'raises'"):
        type("TestIt", (ClientContract,), {"raise_": 1})
    with pytest.raises(ContractUsageError, match="ClientContract has no fixture make_client"):
        classform._missing(ClientContract())
