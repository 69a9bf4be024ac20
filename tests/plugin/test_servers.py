"""The fixtures of servers, as their users meet them: apps that are other processes, tests that share a server."""

from __future__ import annotations

import textwrap

import preloaded  # noqa: F401
import pytest
from runs import LEAN

APP = textwrap.dedent(
    """
    import json, urllib.request

    def ask(server, text="?", path="/openai/v1/chat/completions", headers={}, **more):
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}], **more}).encode()
        asked = urllib.request.Request(server.url + path, body, headers)
        try:
            with urllib.request.urlopen(asked, timeout=10) as answer:
                return json.load(answer)["choices"][0]["message"]["content"]
        except urllib.error.HTTPError as error:
            with error:
                return error.status, json.load(error)["error"]["message"]
    """
)


@pytest.fixture
def run(pytester):
    def run(test, *options, quiet=LEAN):
        pytester.makepyfile(app=APP, test_app="from app import ask\n" + textwrap.dedent(test))
        return pytester.runpytest(*quiet, *options)

    return run


def test_an_app_of_another_process_is_answered(run):
    """It finds the server by its environment, also where the network is blocked; pauses pass at once."""
    result = run(
        """
        import os, subprocess, sys
        from fakellm import Pause

        ASK = '''
        import json, os, urllib.request
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hello?"}]}).encode()
        url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
        sent = urllib.request.Request(url, body, {"authorization": "Bearer " + os.environ["OPENAI_API_KEY"]})
        print(json.load(urllib.request.urlopen(sent, timeout=10))["choices"][0]["message"]["content"])
        '''

        def test_app(fake_server):
            fake_server.openai.reply("Hel", Pause(3600), "lo")
            code = "\\n".join(line.strip() for line in ASK.splitlines())
            env = {**os.environ, **fake_server.environ}
            said = subprocess.run([sys.executable, "-Sc", code], env=env, capture_output=True, text=True, check=True)
            assert said.stdout == "Hello\\n"
            assert fake_server.openai.calls[0].request.text == "Hello?"
            assert [call.state for call in fake_server.calls] == ["complete"]
            assert fake_server["anthropic"].calls == []
            assert fake_server.url.startswith("http://127.0.0.1:")
        """,
        "--llm-block-network",
    )

    result.assert_outcomes(passed=1)


def test_it_is_strict_and_a_marker_allows(run):
    result = run(
        """
        import pytest

        def test_unused(fake_server):
            fake_server.gemini.reply("never")

        def test_missed(fake_server):
            assert "has no reply" in ask(fake_server, "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG")[1]

        def test_unknown(fake_server):
            assert ask(fake_server, path="/nowhere")[0] == 404

        @pytest.mark.fake_llm(allow_misses=True, allow_unused=True)
        def test_allowed(fake_server):
            fake_server.gemini.reply("never")
            ask(fake_server)
            ask(fake_server, path="/nowhere")

        @pytest.mark.fake_llm(allow_misses=True)
        def test_broken(fake_server):
            fake_server.openai.otherwise(lambda _: 1 / 0)
            ask(fake_server)
        """
    )

    result.assert_outcomes(passed=5, errors=4)
    result.stdout.fnmatch_lines(
        [
            "*the fake gemini was never asked for 1 of its replies*",
            "*a request to the fake server found no reply, and its client was told so:*",
            "*request 1 to the fake openai has no reply: nothing was scripted*",
            "*no provider of this server knows POST /nowhere*",
            "*a request to the fake server could not be answered, and its client was told so:*",
            "*ZeroDivisionError*",
        ]
    )
    result.stdout.no_fnmatch_line("*sk-proj-abc*")


def test_a_failure_shows_the_calls(run):
    result = run(
        """
        def test_app(fake_server):
            fake_server.openai.otherwise("Hello")
            ask(fake_server, "Who?")
            ask(fake_server, "What?", headers={"x-fakellm-session": "other"})
            assert 0
        """
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*fake_server: calls and chunks*", "*'Who?'*", "*the session 'other':*", "*'What?'*"])


def test_tests_that_share_a_server_are_told_apart(run):
    """What a fixture scripted is for all tests; what a test scripted, or asked without a reply, is its own fault."""
    result = run(
        """
        import pytest

        @pytest.fixture(scope="session")
        def server(fake_server_session):
            fake_server_session.openai.when("shared", "for all")
            return fake_server_session

        def test_first(server):
            server.openai.reply("one")
            assert ask(server, "first") == "one"

        def test_leaves_a_reply(server):
            server.openai.when("never", "never")

        def test_misses(server):
            ask(server, "missed")

        def test_fails(server):
            assert ask(server, "shared") == ""

        def test_a_session_of_its_own(server):
            own = server.session("mine")
            own["openai"].reply("mine")
            assert ask(server, "hi", headers={"X-Fakellm-Session": "mine"}) == "mine"
            assert ask(server, "shared", headers={"X-Fakellm-Session": "mine"}) == "for all"

        def test_another(server, request):
            assert request.config.stash and ask(server, "shared") == "for all"
        """
    )

    result.assert_outcomes(passed=5, failed=1, errors=2)
    text = result.stdout.str()
    assert "never asked for 1 of the replies of this test" in text
    assert "a request of this test to the fake server found no reply" in text
    section = text.partition("fake_server_session: calls and chunks")[2].partition("short test summary")[0]
    assert "'shared'" in section
    assert "'first'" not in section
    assert "ERROR test_app.py::test_leaves_a_reply" in text
    assert "ERROR test_app.py::test_misses" in text


def test_a_test_that_asks_for_no_server_has_no_part_in_it(run):
    """What an app asks meanwhile is nobody's: it is told at the end."""
    result = run(
        """
        import pytest

        @pytest.fixture(scope="session")
        def app(fake_server_session):
            return SERVERS.append(fake_server_session)

        SERVERS = []

        def test_first(app): pass

        @pytest.mark.xfail(strict=True)
        def test_that_fails(): assert 0

        def test_of_another_thing():
            ask(SERVERS[0], "astray")
        """,
    )

    result.assert_outcomes(passed=2, xfailed=1, errors=1)
    result.stdout.fnmatch_lines(["*found no reply, while no test ran that asks for it:*", "*'astray'*"])
    result.stdout.no_fnmatch_line("*calls and chunks*")


def test_what_is_left_on_a_shared_server_is_told_at_its_end(run):
    result = run(
        """
        import pytest

        @pytest.fixture(scope="session")
        def server(fake_server_session):
            fake_server_session.openai.when("shared", "for all")
            return fake_server_session

        def test_first(server): pass
        """
    )

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*no test asked the fake server for 1 of its replies:*", "*when 'shared'*"])


def test_a_test_in_virtual_time_is_answered(run):
    """The server is not of that time: it answers at once, and the timers of the test are virtual."""
    result = run(
        """
        import asyncio, json, pytest

        async def talk(server):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "?"}]}).encode()
            writer.write(b"POST /v1/chat/completions HTTP/1.0\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(body) + body)
            answer = await reader.read()
            writer.close()
            return answer

        @pytest.mark.anyio
        @pytest.mark.parametrize("anyio_backend", ["asyncio"])
        async def test_asynchronous(virtual_clock, fake_server, anyio_backend):
            fake_server.openai.reply("Hel", "lo")
            async with asyncio.timeout(5):
                assert b"Hello" in await talk(fake_server)
            await asyncio.sleep(3600)
            assert virtual_clock.now == 3600

        def test_plain(virtual_clock, fake_server):
            fake_server.openai.reply("Hello")
            assert ask(fake_server) == "Hello"
            assert virtual_clock.now == 0
        """
    )

    result.assert_outcomes(passed=2)


def test_without_the_library_it_says_what_to_install(run):
    result = run(
        """
        import sys

        import fakellm.server

        sys.modules["httptools"] = None
        vars(fakellm.server).pop("FakeServer", None)
        for name in [name for name in sys.modules if name.startswith("fakellm.server.")]:
            del sys.modules[name]

        def test_app(fake_server): pass
        """
    )

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*pip install 'fakellm-stream?server?'*"])
