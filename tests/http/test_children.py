"""Children of this process: what they are started with, and that this process does not see it."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from vectors import each

from fakellm import FakeProvider
from fakellm.cassette import Tape
from fakellm.http import intercept, playing
from fakellm.http.children import refusals
from fakellm.http.network import Guard

CLOSED = "http://127.0.0.1:9"
REFUSED = f"{CLOSED}/refused-by-fakellm"
ECHO = ["/bin/sh", "-c", "echo $OPENAI_BASE_URL $HTTPS_PROXY; exit ${OPENAI_BASE_URL:+7}"]

pytestmark = pytest.mark.skipif(not Path("/bin/sh").exists(), reason="there is no /bin/sh")


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in [*os.environ]:
        if name.endswith(("_BASE_URL", "_ENDPOINT", "_API_BASE")) or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)


def run(**options):
    return subprocess.run(ECHO, check=False, capture_output=True, text=True, **options).stdout.split()


def by_popen():
    with os.popen("echo $OPENAI_BASE_URL $HTTPS_PROXY") as out:
        return out.read().split()


def by_asyncio():
    async def main():
        child = await asyncio.create_subprocess_exec(*ECHO, stdout=subprocess.PIPE)
        return (await child.communicate())[0].decode().split()

    return asyncio.run(main())


@each(
    "start",
    [
        run,
        lambda: run(env={**os.environ}),
        lambda: run(env={b"A": b"b"}),
        lambda: (
            subprocess.Popen(ECHO, -1, None, None, -1, None, None, True, False, None, {})
            .communicate()[0]
            .decode()
            .split()
        ),
        lambda: subprocess.check_output("echo $OPENAI_BASE_URL $HTTPS_PROXY", shell=True, text=True).split(),
        by_popen,
        by_asyncio,
    ],
)
def test_a_child_finds_a_base_url_and_a_proxy_that_lead_nowhere(start):
    with intercept(FakeProvider("openai")):
        assert start() == [REFUSED]
    with intercept(block_network=True):
        assert start() == [REFUSED, CLOSED]
    assert start() == []


def waited(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def forked(execute):
    pid = os.fork()
    if pid == 0:
        try:
            execute()
        finally:
            os._exit(99)
    return waited(pid)


QUIET = [*ECHO[:2], ECHO[2].replace("$HTTPS_PROXY;", ">/dev/null;")]
STARTS = [
    lambda: os.waitstatus_to_exitcode(os.system(QUIET[2])),
    lambda: waited(os.posix_spawn("/bin/sh", QUIET, dict(os.environ))),
    lambda: waited(os.posix_spawnp("sh", QUIET, dict(os.environ))),
    lambda: os.spawnv(os.P_WAIT, "/bin/sh", QUIET),
    lambda: os.spawnve(os.P_WAIT, "/bin/sh", QUIET, dict(os.environ)),
    lambda: forked(lambda: os.execv("/bin/sh", QUIET)),
    lambda: forked(lambda: os.execvp("sh", QUIET)),
    lambda: forked(lambda: os.execvpe("sh", QUIET, dict(os.environ))),
]


@each("start", STARTS)
def test_nor_does_one_that_is_started_in_another_way(start):
    with intercept(FakeProvider("openai")):
        with intercept(FakeProvider("anthropic")):
            pass
        assert start() == 7
        assert "OPENAI_BASE_URL" not in os.environ
    assert start() == 0


def test_a_child_of_multiprocessing_does_not_either(monkeypatch):
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None, raising=False)
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)  # the child would import it: pytest itself
    context = multiprocessing.get_context("spawn")
    code = f"import os, sys; sys.exit(os.environ.get('OPENAI_BASE_URL') != {REFUSED!r})"
    with intercept(FakeProvider("openai")):
        child = context.Process(target=exec, args=(code,))  # of no module that the child would have to find
        child.start()
        child.join()

    assert child.exitcode == 0


def test_a_forked_child_is_answered_and_its_log_stays_there():
    def ask():
        os._exit(httpx.get("https://api.openai.com/v1/models").status_code - 200)

    with intercept(provider := FakeProvider("openai")):
        assert forked(ask) == 0
        assert provider.calls == []


def test_a_server_of_the_tests_own_stays_reachable_and_what_leads_elsewhere_does_not():
    environment = {
        "OPENAI_BASE_URL": "http://localhost:4000/v1",
        "ANTHROPIC_BASE_URL": "https://gateway.example/v1",
        "AZURE_OPENAI_ENDPOINT": "https://mine.openai.azure.com",
        "SEARCH_ENDPOINT": "https://search.example",
        "GROQ_BASE_URL": "https://api.groq.com",
        "BROKEN_ENDPOINT": "http://[",
        "HTTPS_PROXY": "http://127.0.0.1:3128",
    }

    added = refusals(Guard(), environment)
    assert "OPENAI_BASE_URL" not in added
    assert {added[name] for name in ("ANTHROPIC_BASE_URL", "AZURE_OPENAI_ENDPOINT", "GROQ_BASE_URL")} == {REFUSED}
    assert not {"SEARCH_ENDPOINT", "BROKEN_ENDPOINT", "HTTPS_PROXY"} & added.keys()

    blocked = refusals(Guard(block_network=True), environment)
    assert "OPENAI_BASE_URL" not in blocked
    assert (blocked["SEARCH_ENDPOINT"], blocked["HTTPS_PROXY"], blocked["https_proxy"]) == (REFUSED, CLOSED, CLOSED)
    assert "127.0.0.1" in blocked["NO_PROXY"].split(",")


def test_while_a_tape_records_a_child_may_ask(tmp_path):
    with playing(Tape(tmp_path / "a.yaml", mode="once")):
        assert run() == []
    with pytest.raises(Exception, match="a.yaml"), playing(Tape(tmp_path / "a.yaml", mode="none")):
        assert run() == [REFUSED]
        raise ValueError("a.yaml")


@each(
    ("faked", "host", "refused"),
    [
        (["openai"], None, False),  # a server of one's own, which is no provider that is reached by accident
        (["openai"], "localhost:11434", False),
        (["openai"], "https://ollama.com", True),
        (["ollama"], None, True),  # the real one, which may run here, is not asked instead of the fake
        (["ollama"], "127.0.0.1", True),
    ],
)
def test_a_child_does_not_ask_the_server_of_ollama_that_is_faked(faked, host, refused):
    guard = Guard()
    guard.faked = list(map(FakeProvider, faked))
    added = refusals(guard, {} if host is None else {"OLLAMA_HOST": host})
    assert added.get("OLLAMA_HOST") == (REFUSED if refused else None)
