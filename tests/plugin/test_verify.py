"""`--llm-record=verify`: tapes are played, and what is on them is asked again: small projects, run for real."""

from __future__ import annotations

import json

import preloaded  # noqa: F401
import pytest
from runs import LEAN
from upstreams import Upstream
from vcr.request import Request

from fakellm.cassette.scripted import write

TEST = """
import httpx, pytest

def ask(text):
    answer = httpx.post("URL/v1/chat/completions", json={"text": text}, headers={"authorization": "Bearer sk-1"})
    return answer.json()["said"]

@pytest.mark.cassette("a.yaml")
def test_one():
    assert ask("one") == "uno"

@pytest.mark.cassette("a.yaml")
def test_two():
    assert ask("two") == "due"
"""


def document(said, **more):
    return {"id": "x", "said": said, **more}


def answer(value, status="200 OK"):
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return [head.encode() + body]


@pytest.fixture
def project(pytester, monkeypatch):
    """Return what makes a project with a tape of two interactions at an upstream."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine-1234567890")

    def make(url, test=TEST):
        pytester.makepyfile(test_app=test.replace("URL", url))
        (pytester.path / "cassettes").mkdir()
        pairs = []
        for text, said in (("one", "uno"), ("two", "due")):
            body = json.dumps({"text": text}, separators=(",", ":")).encode()
            request = Request("POST", f"{url}/v1/chat/completions", body, {"authorization": "Bearer REDACTED"})
            told = {"string": json.dumps(document(said)).encode()}
            status = {"code": 200, "message": "OK"}
            pairs.append((request, {"status": status, "headers": {"content-type": ["application/json"]}, "body": told}))
        write(pytester.path / "cassettes" / "a.yaml", *pairs)
        return pytester

    return make


def tape(pytester):
    return (pytester.path / "cassettes" / "a.yaml").read_bytes()


def test_a_tape_that_holds_passes_and_is_asked_once(project):
    with Upstream(answer(document("other words"))) as upstream:
        pytester = project(upstream.url)
        before = tape(pytester)
        result = pytester.runpytest(*LEAN, "--llm-record=verify")
        result.assert_outcomes(passed=2)

    result.stdout.fnmatch_lines(["*cassettes*", "*a.yaml: 2 asked again, 0 drifted"])
    assert [json.loads(sent.partition(b"\r\n\r\n")[2])["text"] for _, sent in upstream.requests] == ["one", "two"]
    assert b"sk-mine-1234567890" in upstream.requests[0][1]
    assert tape(pytester) == before


def test_what_is_breaking_fails_and_what_is_notable_is_told_at_the_end(project):
    with Upstream(answer({"id": 5, "said": "x"}), answer(document("x", more=1))) as upstream:
        pytester = project(upstream.url)
        before = tape(pytester)
        result = pytester.runpytest(*LEAN, "--llm-record=verify")
        result.assert_outcomes(passed=2, errors=2)

    result.stdout.fnmatch_lines(
        [
            "the provider answers otherwise than on the tape *a.yaml:",
            "  breaking: *a.yaml, interaction 0, document, id: string became number",
            "  to do: * pytest --llm-record=all 'test_app.py::test_one'",
            "*a.yaml: 2 asked again, 2 drifted",
            "  notable: *a.yaml, interaction 1, document, more: the field is new",
        ]
    )
    result.stdout.no_fnmatch_line("*sk-mine*")
    assert len(upstream.requests) == 2
    assert tape(pytester) == before


def test_a_test_that_failed_asks_nobody(project):
    with Upstream(answer(document("x"))) as upstream:
        pytester = project(upstream.url, TEST.replace('"uno"', '"one"'))
        pytester.runpytest(*LEAN, "--llm-record=verify", "-k", "one").assert_outcomes(failed=1)
        assert upstream.requests == []
        pytester.runpytest(*LEAN, "-k", "two").assert_outcomes(passed=1)  # nor a run in another mode
        assert upstream.requests == []


def test_what_gets_no_answer_fails(project):
    with Upstream(["close"]) as upstream:
        result = project(upstream.url).runpytest(*LEAN, "--llm-record=verify", "-k", "one")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "what is on the tape *a.yaml could not be asked again:",
            "  interaction 0, POST http://127.0.0.1:*: it closed the connection without an answer",
        ]
    )


@pytest.mark.exhaustive
def test_a_tape_that_workers_share_is_asked_once_by_one_of_them(project):
    with Upstream(answer({"id": 5, "said": "x"})) as upstream:
        result = project(upstream.url).runpytest(*LEAN, "--llm-record=verify", "-p", "xdist", "-n2", "--dist=each")
        result.assert_outcomes(passed=4, errors=4)
    assert len(upstream.requests) == 2
    result.stdout.fnmatch_lines(["*a.yaml: 2 asked again, 2 drifted"])


@pytest.mark.exhaustive
def test_it_is_a_mode_of_the_marker_and_of_the_configuration(project):
    with Upstream(answer({"id": 5, "said": "x"})) as upstream:
        pytester = project(upstream.url, TEST.replace('"a.yaml")', '"a.yaml", mode="verify")', 1))
        pytester.runpytest(*LEAN).assert_outcomes(passed=2, errors=1)
        pytester.runpytest(*LEAN, "--llm-record=none").assert_outcomes(passed=2)
        pytester.runpytest(*LEAN, "-o", "llm_record=verify", "-k", "two").assert_outcomes(passed=1, errors=1)


@pytest.mark.exhaustive
def test_what_is_not_on_the_tape_is_a_miss(project):
    with Upstream(answer(document("x"))) as upstream:
        pytester = project(upstream.url, TEST.replace('"one") ==', '"three") =='))
        result = pytester.runpytest(*LEAN, "--llm-record=verify", "-k", "one")
        result.assert_outcomes(failed=1)
    assert upstream.requests == []
