"""The plugin in workers of pytest-xdist: one run of a project that has a bit of everything; tapes are in test_recordings.py."""

from __future__ import annotations

import preloaded  # noqa: F401
import pytest
from click.testing import CliRunner
from runs import parallel

from fakellm import Script
from fakellm.cassette import interaction_of, write
from fakellm.cli.commands import app

URL = "https://api.openai.com/v1/chat/completions"
ANSWERED = f"""
import asyncio, httpx, pytest
from fakellm import Pause

ASKED = {{"model": "m", "messages": [{{"role": "user", "content": "?"}}]}}

def ask(**more):  # each worker would import an SDK for itself
    return httpx.post("{URL}", json={{**ASKED, **more}})

async def aask():
    async with httpx.AsyncClient() as client:
        return (await client.post("{URL}", json=ASKED)).json()["choices"][0]["message"]["content"]

@pytest.mark.parametrize("word", ["a", "b", "c", "d"])
def test_own(fake_openai, word):
    fake_openai.reply(word).reply(word)
    assert ask().json()["choices"][0]["message"]["content"] == asyncio.run(aask()) == word

def test_unused(fake_openai):
    fake_openai.reply("a")

def test_streams(fake_openai):
    fake_openai.reply("It ", Pause(2), "rains.")
    ask(stream=True)

@pytest.mark.cassette("two.yaml")
def test_plays():
    assert "told" in ask().text

@pytest.mark.parametrize("number", range(3))
def test_port(fake_server, fake_server_session, number):
    assert fake_server.port != fake_server_session.port
"""
GUARDED = """
import os, pytest, socket

@pytest.fixture(scope="module")
def reach():
    socket.getaddrinfo("example.invalid", 80)

def test_guarded(reach): pass

def test_environment():
    assert not {"HTTPS_PROXY", "OPENAI_BASE_URL"} & os.environ.keys()  # a worker is no child that is refused
"""
SWEPT = """
import pytest
from fakellm import FakeLLM, Script, every_fault, every_interleaving
from fakellm.errors import LLMError

@every_fault(Script("one ", "two"), kinds="disconnect")
def test_faults(faulty):
    with pytest.raises(LLMError):
        "".join(FakeLLM(faulty).stream("?"))

@every_interleaving(Script("a", "b"), Script("c", "d"))
async def test_orders(first, second):
    import asyncio

    async def read(llm):
        return [chunk async for chunk in llm.astream("?")]

    return await asyncio.gather(read(first), read(second))
"""


@pytest.mark.exhaustive
def test_workers_answer_guard_and_sweep_and_the_run_tells_what_they_saw(pytester, monkeypatch):
    pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    for name in ("CI", "HTTPS_PROXY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    (pytester.path / "cassettes").mkdir()
    asked = [{"model": "m", "messages": [{"role": "user", "content": text}]} for text in "?!"]
    write(pytester.path / "cassettes" / "two.yaml", *(interaction_of(Script("told"), URL, one) for one in asked))
    pytester.makepyfile(test_answered=ANSWERED, test_guarded=GUARDED, test_swept=SWEPT)

    files = ("--llm-usage=usage.json", "--llm-html=report.html")
    result = parallel(pytester, "--llm-block-network", "--llm-report", *files, "-v")

    result.assert_outcomes(passed=13, errors=2)
    result.stdout.fnmatch_lines_random(
        [
            "*the fake openai was never asked for 1 of its replies",
            "*a connection to example.invalid would have left this machine: *the network is blocked*",
            "*PASSED (12 faults) *test_faults*",
            "*PASSED (6 orders) *test_orders*",
            "10 tests *",
        ]
    )
    assert 'data-last="2.0"' in (pytester.path / "report.html").read_text()
    check = ["check", "cassettes", "--usage", "usage.json"]
    told = CliRunner().invoke(app, check, standalone_mode=False, catch_exceptions=False).output
    assert "two.yaml: unused: 1 not used" in told
