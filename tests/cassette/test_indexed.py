"""Large tapes: their answers are read when they are asked for, and are what they are on a tape that is read whole."""

from __future__ import annotations

import copy
import os
import urllib.request
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import AWKWARD, texts
from taping import tape
from vcr.request import Request

from fakellm import Script
from fakellm.cassette import CassetteError, Files, indexed, interaction_of, saving
from fakellm.cassette.indexed import Later, Played
from fakellm.cassette.replay import chunks_of
from fakellm.errors import UnexpectedRequestError
from fakellm.http import playing
from fakellm.script.events import disconnect

URL = "https://api.openai.com/v1/chat/completions"

bodies = (
    st.binary(max_size=40)
    | texts.map(str.encode)
    | st.lists(st.sampled_from([*AWKWARD, "\n", " ", "a", "- request:\n", "  response:\n", "...", "\u00e9"]))
    .map("".join)
    .map(lambda text: text.encode("utf-8", "surrogatepass"))
)
headers = st.dictionaries(st.sampled_from(["a", "content-type", "body"]), st.lists(texts, min_size=1, max_size=2))


@st.composite
def interactions(draw):
    body = draw(bodies)
    response = {"status": {"code": 200, "message": draw(texts)}, "headers": draw(headers), "body": {"string": body}}
    if draw(st.booleans()):
        cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=4)))
        sizes = [end - start for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
        response["stream"] = {"sizes": sizes, "delays": [1.0] * len(sizes), "end": "complete", "error": None}
    if draw(st.booleans()):
        response["wire"] = {"http_version": "HTTP/2"}
    return Request("POST", draw(st.sampled_from([URL, "https://a.example/b"])), draw(bodies), {"a": "b"}), response


def save(path, *pairs, metadata=None):
    path.unlink(missing_ok=True)
    requests, responses = [list(column) for column in zip(*pairs, strict=True)]
    Files().save_cassette(path, {"requests": requests, "responses": responses, "metadata": metadata})


def load(path, *, large=None):
    requests, responses, *more = Files(large=large, name="t.yaml").load_cassette(path)
    return [request._to_dict() for request in requests], responses, more


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("large")


@settings(max_examples=max(10, settings.default.max_examples // 2))
@given(
    st.lists(interactions(), min_size=1, max_size=4),
    st.none() | st.just({"key": ["value"]}),
    st.sampled_from([16, 64, 2**16]),
)
def test_a_tape_is_read_the_same_whole_and_bit_by_bit(folder, pairs, metadata, block):
    path = folder / "t.yaml"
    save(path, *pairs, metadata=metadata)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(indexed, "_BLOCK", block)
        requests, responses, more = load(path, large=1)
        whole = load(path)
        assert all(isinstance(response, Later) for response in responses)
        assert (requests, [dict(response) for response in responses], more) == whole
        assert [chunks_of(response) for response in responses] == [chunks_of(response) for response in whole[1]]


def hello(number, text="Hello\n\n there"):
    return interaction_of(Script(*text), URL, {"model": "m", "messages": [], "stream": True, "seed": number})


def test_bodies_of_streams_are_never_in_memory_whole(tmp_path):
    save(path := tmp_path / "t.yaml", hello(0))
    [response] = load(path, large=1)[1]
    assert isinstance(response.played(), Played)
    assert copy.deepcopy(response) is response


@pytest.mark.parametrize("block", [1, 7, 9, 64])
def test_blocks_may_end_anywhere_in_a_body(tmp_path, monkeypatch, block):
    save(path := tmp_path / "t.yaml", hello(0, "Hello\n\n  th\u00e9re"), hello(1))
    whole = load(path)[1]
    monkeypatch.setattr(indexed, "_BLOCK", block)
    monkeypatch.delattr(Later, "_as_yaml")
    responses = load(path, large=1)[1]
    assert [response.played().chunks for response in responses] == [chunks_of(response) for response in whole]
    assert [dict(response) for response in responses] == whole


BROKEN = [
    ("code: 200", "code: [200]"),
    ("code: 200", "cod: 200"),
    ("status:", "statsu:"),
    ("end: complete", "end: completed"),
    ("error: null", "error: 5"),
    ("    stream:\n", "    stream:\n      x: 1\n"),
    ("    stream:\n", "    stream: {\n"),
    ("      sizes: ", "      sizes: 7 "),
    ("      sizes: ", "      sizes: x "),
    ("    body:\n", "    body: 5\n    bodies:\n"),
    ("    body:\n", "    body:\n      strin: x\n"),
    ("    stream:\n", "    status: null\n    stream:\n"),
    ("    headers:\n", "    \theaders:\n"),
    ("        data: [DONE]", "     data: [DONE]"),
    ("        data: [DONE]", "        data: \x07[DONE]"),
    ("string: |", "string: !!binary |"),
    ("string: |", "string: >"),
    ("string: |", "string: |3"),
]


@pytest.mark.parametrize(("right", "wrong"), BROKEN)
def test_an_answer_that_is_broken_is_told_when_it_is_asked_for_with_its_line(tmp_path, right, wrong):
    save(path := tmp_path / "t.yaml", hello(0), hello(1), hello(2))
    text = path.read_text()
    at = text.index("  response:", text.index("  response:") + 1)
    path.write_text(text[:at] + text[at:].replace(right, wrong, 1))
    with pytest.raises(CassetteError) as eager:
        load(path)
    _, [first, broken, last], _ = load(path, large=1)
    for look in (dict, Later.played):
        with pytest.raises(CassetteError) as error:
            look(broken)
        assert str(error.value) == str(eager.value)
        assert look(first)
        assert look(last)


OTHER_LAYOUTS = [
    ("# A", "# a"),
    ("version: 1", "version: 2"),
    ("- request:", "- id: 1\n  request:"),
    ("- request:", "- request: "),
    ("  response:", "   response:"),
    ("\n  response:", "\n  # said\n  response:"),
    ("- request:", "<<<<<<< HEAD\n- request:"),
    ("- request:", "- request:\n    note: 1"),
    ("\n...\n", "\n"),
    ("\n...\n", "\nmore: 1\n...\n"),
    ("\n...\n", "\n...\n---\na: 1\n...\n"),
    ("    headers:\n", "\theaders:\n"),
    ("\n", "\r\n"),
]


@pytest.mark.parametrize(("right", "wrong"), OTHER_LAYOUTS)
def test_what_is_not_laid_out_as_we_write_is_read_whole(tmp_path, right, wrong):
    save(path := tmp_path / "t.yaml", hello(0), hello(1))
    path.write_bytes(path.read_bytes().replace(right.encode(), wrong.encode()))
    found = []
    for large in (1, None):
        try:
            found.append(load(path, large=large))
        except CassetteError as error:
            found.append(str(error))
    assert found[0] == found[1]
    assert isinstance(found[0], str) or not any(isinstance(response, Later) for response in found[0][1])


def test_small_json_and_compressed_tapes_are_read_whole(tmp_path):
    for name in ("t.yaml", "t.json", "t.yaml.gz"):
        save(path := tmp_path / name, hello(0))
        least = path.stat().st_size + 1 if name == "t.yaml" else 1
        assert not isinstance(load(path, large=least)[1][0], Later)


@pytest.fixture
def all_large(monkeypatch):
    monkeypatch.setattr(saving, "LARGE", 1)


def ask(number, client=httpx):
    return client.post(URL, json={"model": "m", "messages": [], "stream": True, "seed": number}).text


@pytest.mark.usefixtures("all_large")
@pytest.mark.parametrize("mode", ["none", "once"])
def test_a_large_tape_plays_as_any_other(tmp_path, mode):
    save(path := tmp_path / "t.yaml", hello(0), hello(1, "Bye"), hello(2))
    opened = tape(path, mode=mode)
    with playing(opened):
        assert all(isinstance(response, Later) for _, response in opened.pairs())
        assert '"content":"B"' in ask(1)
        assert len(opened.unplayed) == 2
        assert opened.script(1).text == "Bye"
        with pytest.raises(UnexpectedRequestError, match=r"(?s)interaction 0.*seed"):
            ask(7)
    assert opened.pairs()[1][1]["stream"]["end"] == "complete"
    with tape(path, mode=mode).open():  # vcrpy's own patches
        request = urllib.request.Request(URL, hello(2)[0].body, {"content-type": "application/json"})
        assert b'"content":"H"' in urllib.request.urlopen(request).read()


@pytest.mark.usefixtures("all_large")
@pytest.mark.parametrize("mode", ["new_episodes", "all", "rewrite"])
def test_a_tape_that_may_be_recorded_on_is_read_whole(tmp_path, mode):
    save(path := tmp_path / "t.yaml", hello(0))
    opened = tape(path, mode=mode)
    with opened.open():
        assert not isinstance(opened.pairs()[0][1], Later)


@pytest.mark.usefixtures("all_large")
def test_hooks_of_vcrpy_get_responses_that_they_may_change(tmp_path):
    save(path := tmp_path / "t.yaml", hello(0))

    def hook(response):
        response["status"]["code"] = 418
        return response

    with playing(tape(path, mode="none", before_record_response=hook)):
        assert httpx.post(URL, content=hello(0)[0].body).status_code == 418


@pytest.mark.usefixtures("all_large")
def test_overlays_count_the_chunks_of_what_they_are_on(tmp_path):
    save(path := tmp_path / "t.yaml", hello(0), hello(1, "Hello there, Bob"))
    longest = len(chunks_of(load(path)[1][1]))
    with playing(tape(path, mode="none").fail(disconnect(), after=longest)), pytest.raises(httpx.HTTPError):
        ask(1)
    for at, most in ((None, longest), (1, longest)):
        with pytest.raises(ValueError, match=f"has {most} chunks: nothing would fail after {most + 1}"):
            playing(tape(path, mode="none").fail(disconnect(), after=most + 1, at=at)).__enter__()
    with pytest.raises(ValueError, match="no interaction 2"):
        playing(tape(path, mode="none").rechunk(3, at=2)).__enter__()


@pytest.mark.usefixtures("all_large")
def test_what_is_broken_is_no_error_of_the_network(tmp_path):
    save(path := tmp_path / "t.yaml", hello(0), hello(1), hello(2))
    first, second, third = path.read_text().split("- request:")[1:]
    wrong = second.replace("error: null", "error: NoError").replace("end: complete", "end: dropped")
    path.write_text(
        "- request:".join(
            [path.read_text().split("- request:")[0], first, wrong, third.replace("sizes: ", "sizes: 9 ")]
        )
    )
    opened = tape(path, mode="none")
    with playing(opened):
        ask(0)
        with pytest.raises(
            UnexpectedRequestError, match=r"interactions\.1\.response\.stream\.error: httpx has no exception"
        ):
            ask(1)
        with pytest.raises(
            UnexpectedRequestError, match=r"line \d+, interactions\.2\.response\.stream\.sizes: they add up"
        ):
            ask(2)
    assert "interactions.1" in opened.problem()


def test_a_file_that_is_replaced_stays_what_it_was_and_one_that_is_changed_is_told(tmp_path):
    save(path := tmp_path / "t.yaml", hello(0))
    [response] = load(path, large=1)[1]
    before = path.read_bytes()
    if os.name == "posix":
        save(tmp_path / "other.yaml", hello(0, "Another"))
        Path(tmp_path / "other.yaml").replace(path)
        assert b'"content":"H"' in response["body"]["string"]
    path.write_bytes(before)
    [response] = load(path, large=1)[1]
    path.write_bytes(before + b"\n")
    with pytest.raises(CassetteError, match="t.yaml: the tape was changed while it was in use"):
        response.whole()
