"""`--llm-report` and `--llm-html`: what the tests of a run asked."""

from __future__ import annotations

import re

import preloaded  # noqa: F401
import pytest
from runs import LEAN

from fakellm import Pause, Script
from fakellm.cassette import interaction_of, write

URL = "https://api.openai.com/v1/chat/completions"
KEY = "sk-proj-" + "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4z"
TEST = f"""
import httpx, pytest
from fakellm import Pause

def ask(text, stream=True):
    asked = {{"model": "m", "stream": stream, "messages": [{{"role": "user", "content": text}}]}}
    headers = {{"authorization": "Bearer {KEY}"}}
    return httpx.post("{URL}", json=asked, headers=headers).text

def test_streams(fake_openai):
    fake_openai.reply("It ", Pause(2), "rains.")
    ask("How is the weather?")

def test_misses(fake_openai):
    fake_openai.when("weather in Paris", "sunny")
    with pytest.raises(BaseException):
        ask("weather in Rome {KEY}")

@pytest.mark.cassette("told.yaml")
def test_plays():
    ask("Tell me")

def test_model(fake_llm):
    fake_llm.reply("Hel", "lo")
    assert "".join(fake_llm.stream("Hi")) == "Hello"

def test_nothing():
    pass
"""


@pytest.fixture
def project(pytester, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    (pytester.path / "cassettes").mkdir()
    asked = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Tell me"}]}
    write(pytester.path / "cassettes" / "told.yaml", interaction_of(Script("Once", Pause(1), " upon"), URL, asked))
    pytester.makepyfile(test_app=TEST)
    return pytester


def test_the_report_has_a_line_for_each_test_that_asked(project):
    result = project.runpytest(*LEAN, "--llm-report")

    lines = result.stdout.str().partition("language models")[2].splitlines()[1:7]
    assert [re.split(r" {2,}| (?=\d)", line) for line in lines] == [
        ["test", "calls", "chunks", "bytes misses", "tape"],
        ["test_app.py::test_streams", "1", "5", re.split(" +", lines[1])[3], "0"],
        ["test_app.py::test_misses", "1", "0", "0", "1"],
        ["test_app.py::test_plays", "1", "5", re.split(" +", lines[3])[3], "0", "cassettes/told.yaml"],
        ["test_app.py::test_model", "1", "2", "0", "0"],
        ["4 tests", "4", "12", re.split(" +", lines[5])[4], "1"],
    ]


def test_the_page_has_each_stream_in_its_time_each_miss_and_each_tape(project):
    result = project.runpytest(*LEAN, "--llm-html=report.html")
    page = (project.path / "report.html").read_text()

    result.stdout.fnmatch_lines(["wrote report.html"])
    assert "test_app.py::test_streams" in page
    assert 'data-last="2.0"' in page
    assert "A request found no reply" in page
    assert "wants &#x27;weather in Paris&#x27;, and has &#x27;weather in Rome" in page
    assert (
        page.index('<h2 id="name-')
        < page.index("weather in Rome")
        < page.index("test_nothing" if "test_nothing" in page else "</main>")
    )
    (tape,) = set(re.findall(r'href="(#interaction-\w+-0)">interaction 0', page))
    assert f'id="{tape[1:]}"' in page
    assert 'data-last="1.0"' in page
    assert KEY[8:20] not in page
    assert all(f'id="{place}"' in page for place in re.findall(r'href="#([^"]+)"', page))


def test_a_page_that_cannot_be_written_is_told(project):
    project.makepyfile(test_app="def test(): pass")

    result = project.runpytest(*LEAN, "--llm-html=nowhere/report.html")

    result.stdout.fnmatch_lines(["--llm-html: nowhere/report.html cannot be written: *", "*1 passed*"])
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_of_a_server_that_tests_share_each_is_told_its_own_part(project):
    project.makepyfile(
        test_app="""
        import httpx, pytest

        def ask(server, **more):
            httpx.post(server.url + "/openai/v1/chat/completions", json={"model": "m", "messages": [], **more})

        def test_asks(fake_server_session):
            fake_server_session.openai.reply("a")
            ask(fake_server_session)

        def test_misses(fake_server_session):
            ask(fake_server_session)
        """
    )

    result = project.runpytest(*LEAN, "--llm-report", "--llm-html=report.html")

    result.assert_outcomes(passed=2, errors=1)
    told = result.stdout.str().partition("= language models =")[2].splitlines()[2:5]
    assert [[line.split()[-4], line.split()[-1]] for line in told] == [["1", "0"], ["1", "1"], ["2", "1"]]
    assert "has no reply" in (project.path / "report.html").read_text()
