"""What a test says of a tape and that does nothing, or finds nothing, is told; it does not pass in silence."""

from __future__ import annotations

import httpx
import httpx2
import loopback
import pytest
from taping import CHUNKED, CUTS, fetch, flavours, libraries, tape
from vcr.request import Request

from fakellm import disconnect
from fakellm.cassette.matching import json_matcher, key_of
from fakellm.cassette.tape import Tape
from fakellm.errors import UnexpectedRequestError
from fakellm.http.interception import playing

# -- a body with what is no JSON, and is written so all the same ---------------------------------------


@pytest.mark.parametrize("body", ["NaN", '{"a": [NaN, 1]}', '{"a": {"b": -Infinity, "c": NaN}}', '{"a": Infinity}'])
def test_a_body_with_nan_is_the_same_as_its_recording(tmp_path, body):
    with loopback.Pieces([b"{}"]) as server, playing(tape(tmp_path / "tape.yaml")):
        httpx.post(url := server.url, content=body)
    with playing(tape(tmp_path / "tape.yaml", mode="none")):
        assert httpx2.post(url, content=body).content == b"{}"
        with pytest.raises(UnexpectedRequestError):
            httpx2.post(url, content=body.replace("NaN", "0").replace("Infinity", "1"))


def test_nan_is_one_key_and_no_text():
    asked = [Request("POST", "http://x.test/", body, {}) for body in (b'{"a":NaN}', b'{"a": NaN}', b'{"a": "NaN"}')]
    key = key_of(("json",))
    assert key(asked[0]) == key(asked[1]) != key(asked[2])
    assert json_matcher()(asked[0], asked[1]) is None
    with pytest.raises(AssertionError, match=r"a: recorded \"NaN\" / sent NaN"):
        json_matcher()(asked[0], asked[2])


# -- a tape that is not there --------------------------------------------------------------------------


def missed(path, **options):
    with pytest.raises(UnexpectedRequestError) as miss, playing(Tape(path, **options)):
        httpx.get("http://x.test/")
    return str(miss.value)


def test_a_missing_tape_an_empty_one_and_ci_are_named(tmp_path, monkeypatch):
    path = tmp_path / "tape.yaml"
    monkeypatch.delenv("CI", raising=False)
    found = missed(path, mode="none")
    assert f"there is no tape {path}: the file does not exist, and nothing is recorded in mode 'none'\n" in found
    assert "ignore=" not in found

    monkeypatch.setenv("CI", "true")
    found = missed(path)
    assert "in mode 'none', which is the default where the environment has CI\n" in found
    assert "then commit the file" in found
    assert "the environment has CI" not in missed(path, mode="none")

    for empty in ("", "\n", "interactions: []\nversion: 1\n"):
        path.write_text(empty)
        assert f"the tape {path} is empty: the file holds no interactions, and nothing is recorded" in missed(path)


# -- a fault that strikes nothing ----------------------------------------------------------------------


@pytest.fixture
def hello(tmp_path):
    path = tmp_path / "tape.yaml"
    with loopback.Pieces(CUTS, headers=CHUNKED) as server, playing(tape(path)):
        fetch("httpx", False, url := server.url)
    with loopback.Pieces([b"{}"], headers=[("content-length", "2")]) as server:
        with playing(tape(path, mode="new_episodes")):
            fetch("httpx", False, document := server.url)
    return path, url, document


@libraries
@flavours
@pytest.mark.parametrize("after", [0, 1, pytest.param(len(CUTS) - 1, marks=pytest.mark.exhaustive), len(CUTS)])
def test_a_stream_breaks_after_any_of_its_chunks_the_last_among_them(hello, library, asynchronous, after):
    path, url, document = hello
    with playing(tape(path, mode="none").fail(disconnect("reset"), after=after)):
        chunks, error = fetch(library, asynchronous, url)
        assert (chunks, error.__name__) == (CUTS[:after], "ReadError")
        if after > 1:
            assert fetch(library, asynchronous, document) == ([b"{}"], None)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("fail", "message"),
    [
        ({"after": 999}, f"the longest stream of the tape has {len(CUTS)} chunks: nothing would fail after 999"),
        ({"after": len(CUTS) + 1, "at": 0}, f"interaction 0 has {len(CUTS)} chunks: nothing would fail"),
        ({"after": 2, "at": 1}, "interaction 1 has 1 chunks: nothing would fail after 2"),
        ({"at": 2}, "there is no interaction 2 on the tape, which has 2, counted from 0"),
        ({"at": -1}, "at is the number of an interaction, from 0 up, not -1"),
    ],
)
def test_a_fault_behind_the_end_is_refused_before_and_while_it_plays(hello, fail, message):
    path, _, _ = hello
    with pytest.raises(ValueError, match=message), playing(tape(path, mode="none").fail(disconnect(), **fail)):
        pass
    with playing(tape(path, mode="none")) as played, pytest.raises(ValueError, match=message):
        played.fail(disconnect(), **fail)


def test_other_chunks_of_an_interaction_that_is_not_there_are_refused(hello):
    with pytest.raises(ValueError, match="there is no interaction 7"), playing(tape(hello[0]).rechunk(1, at=7)):
        pass


def test_a_fault_that_nothing_played_with_is_a_problem_of_the_test(hello):
    path, _, document = hello
    with playing(tape(path, mode="none").fail(disconnect(), after=5)) as played:
        fetch("httpx", False, document)
    assert "an answer of the tape" in played.problem()
    with playing(tape(path, mode="none").fail(disconnect(), at=0)) as played:
        fetch("httpx", False, document)
    assert "interaction 0 of the tape" in played.problem()
    with playing(tape(path, mode="none").fail(disconnect(), at=1)) as played:
        fetch("httpx", False, document)
    assert played.problem() is None


def test_a_tape_that_broke_off_breaks_no_later(tmp_path):
    path = tmp_path / "tape.yaml"
    with loopback.Pieces(CUTS[:3], headers=CHUNKED, end="reset") as server, playing(tape(path)):
        fetch("httpx", False, url := server.url)
    with playing(tape(path, mode="none").fail(disconnect("close"), after=3)):
        chunks, error = fetch("httpx", False, url)
    assert (chunks, error) == (CUTS[:3], httpx.RemoteProtocolError)
    with pytest.raises(ValueError, match="has 3 chunks"), playing(tape(path, mode="none").fail(disconnect(), after=4)):
        pass
