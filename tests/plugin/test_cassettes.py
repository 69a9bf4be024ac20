"""The fixture and the marker `cassette`, as their users meet them: small projects, run for real."""

from __future__ import annotations

import textwrap

import loopback
import preloaded  # noqa: F401
import pytest
import yaml
from runs import LEAN
from vectors import first_of

from fakellm import FakeProvider

APP = textwrap.dedent(
    """
    import openai, os

    def ask(text="?", client=None):
        client = client or openai.OpenAI(api_key="k", max_retries=0)
        messages = [{"role": "user", "content": text}]
        stream = client.chat.completions.create(model="m", messages=messages, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    """
)


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "CI"):
        monkeypatch.delenv(name, raising=False)


class Server:
    """A chat server that answers with what it is asked, and with how often it was asked so far."""

    def __init__(self):
        self.provider = FakeProvider("openai", hosts=["127.0.0.1"]).otherwise(self.answer)

    def answer(self, request):
        return [request.text, f" {len(self.provider.calls)}"]

    @property
    def asked(self):
        return len(self.provider.calls)


@pytest.fixture
def server(monkeypatch):
    """A chat server on this machine, which the app's clients go to."""
    server = Server()
    with loopback.Loopback(server.provider) as loop:
        server.url = f"{loop.url}/v1"
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        yield server


@pytest.fixture
def run(pytester):
    def run(test, *options, **files):
        pytester.makepyfile(app=APP, test_app="import pytest\nfrom app import ask\n" + textwrap.dedent(test), **files)
        return pytester.runpytest(*LEAN, *options)

    return run


def tapes(pytester):
    """Return the tapes of the project: their places, and how many interactions each has."""
    folder = pytester.path / "cassettes"
    return {
        file.relative_to(folder).as_posix(): len(yaml.safe_load(file.read_text())["interactions"])
        for file in sorted(folder.rglob("*.yaml"))
    }


def places(pytester, text):
    """Return what the tapes of the project were asked."""
    found = []
    for name in tapes(pytester):
        for interaction in yaml.safe_load((pytester.path / "cassettes" / name).read_text())["interactions"]:
            found.append(text(interaction))
    return found


# -- record, then replay -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    first_of(
        [
            "@pytest.mark.cassette\ndef test_it():",
            "def test_it(cassette):",
            "@pytest.mark.cassette\ndef test_it(cassette):",
            "@pytest.mark.usefixtures('cassette')\ndef test_it():",
        ],
    ),
)
def test_a_test_records_once_and_replays_for_ever(run, pytester, server, head):
    test = f"{head}\n    assert ask('hi') == 'hi 1'\n"

    run(test).assert_outcomes(passed=1)
    assert tapes(pytester) == {"test_app/test_it.yaml": 1}
    for _ in range(2):
        run(test).assert_outcomes(passed=1)
    assert server.asked == 1


@pytest.mark.exhaustive
def test_the_file_has_the_name_of_module_class_test_and_parameters(run, pytester, server):
    run(
        """
        @pytest.mark.cassette
        class TestApp:
            class TestInner:
                def test_deep(self):
                    ask()
            def test_in_class(self):
                ask()

        @pytest.mark.cassette
        @pytest.mark.parametrize("text", ["plain", "gpt-4.1", "a b", "a/b", "a::b", "x" * 300])
        def test_each(text):
            ask(text)

        @pytest.mark.cassette
        def test_each_plain():
            ask("another")
        """
    ).assert_outcomes(passed=9)

    names = [name.removeprefix("test_app/").removesuffix(".yaml") for name in tapes(pytester)]
    assert len(names) == 9
    assert {"TestApp-TestInner-test_deep", "TestApp-test_in_class", "test_each-plain", "test_each-gpt-4.1"} <= {*names}
    assert "test_each_plain" in names
    assert len([name for name in names if name.startswith("test_each-a_b-")]) == 3
    assert set(tapes(pytester).values()) == {1}


def test_the_marker_names_a_file_that_tests_may_share(run, pytester, server):
    test = """
        @pytest.mark.cassette("shared/one.yaml", mode="new_episodes")
        def test_a():
            assert ask("a") == "a 1"

        @pytest.mark.cassette(path="shared/one.yaml", mode="new_episodes")
        def test_b():
            assert ask("b") == "b 2"
        """
    run(test).assert_outcomes(passed=2)
    assert tapes(pytester) == {"shared/one.yaml": 2}
    run(test, "--llm-record=none").assert_outcomes(passed=2)
    assert server.asked == 2


def test_the_marker_of_a_class_holds_for_its_tests_and_a_nearer_one_wins(run, pytester, server):
    run(
        """
        @pytest.mark.cassette("class.yaml", mode="new_episodes")
        class TestApp:
            def test_a(self, cassette):
                ask("a")
                assert cassette.mode == "new_episodes"

            @pytest.mark.cassette("own.yaml")
            def test_b(self, cassette):
                ask("b")
                assert cassette.mode == "new_episodes"
        """
    ).assert_outcomes(passed=2)
    assert tapes(pytester) == {"class.yaml": 1, "own.yaml": 1}


def test_a_marker_on_one_set_of_parameters_leaves_the_others_alone(run, pytester, server):
    run(
        """
        @pytest.mark.parametrize("text", [pytest.param("a", marks=pytest.mark.cassette), "b"])
        def test_it(text):
            ask(text)
        """
    ).assert_outcomes(passed=2)
    assert tapes(pytester) == {"test_app/test_it-a.yaml": 1}


@pytest.mark.exhaustive
@pytest.mark.parametrize("arguments", ["warm", "warm, cassette"])
def test_the_requests_of_other_fixtures_are_on_the_tape_too(run, pytester, server, arguments):
    test = f"""
        @pytest.fixture
        def warm():
            return ask("warm")

        @pytest.mark.cassette
        def test_it({arguments}):
            assert warm == "warm 1"
        """
    run(test).assert_outcomes(passed=1)
    run(test).assert_outcomes(passed=1)
    assert (tapes(pytester), server.asked) == ({"test_app/test_it.yaml": 1}, 1)


@pytest.mark.exhaustive
def test_a_client_that_was_made_before_the_test_is_on_the_tape(run, pytester, server):
    test = """
        import openai
        client = openai.OpenAI(api_key="k", max_retries=0)

        @pytest.mark.cassette
        def test_it():
            assert ask("a", client) == "a 1"

        def test_without():
            pass
        """
    run(test).assert_outcomes(passed=2)
    run(test).assert_outcomes(passed=2)
    assert (tapes(pytester), server.asked) == ({"test_app/test_it.yaml": 1}, 1)


@pytest.mark.exhaustive
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_asynchronous_test_records_and_replays(run, pytester, server, backend):
    test = f"""
        import httpx2, os

        @pytest.fixture
        def anyio_backend():
            return {backend!r}

        @pytest.mark.anyio
        @pytest.mark.cassette
        async def test_it():
            url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
            body = {{"model": "m", "messages": [{{"role": "user", "content": "hi"}}]}}
            async with httpx2.AsyncClient() as client:
                answer = (await client.post(url, json=body)).json()
            assert answer["choices"][0]["message"]["content"] == "hi 1"
        """
    run(test).assert_outcomes(passed=1)
    run(test).assert_outcomes(passed=1)
    assert (tapes(pytester), server.asked) == ({"test_app/test_it.yaml": 1}, 1)


# -- record modes ------------------------------------------------------------------------------------------

ONE = """
    @pytest.mark.cassette
    def test_it(cassette):
        print("mode", cassette.mode)
        ask("a")
    """


@pytest.mark.exhaustive
def test_the_mode_is_that_of_the_command_line_else_of_the_marker_else_of_the_ini_file(run, pytester, server):
    marked = ONE.replace("cassette\n", "cassette(mode='new_episodes')\n")

    run(ONE, "-s").stdout.fnmatch_lines("*mode once*")
    run(ONE, "-s", "-o", "llm_record=all").stdout.fnmatch_lines("*mode all*")
    run(marked, "-s", "-o", "llm_record=all").stdout.fnmatch_lines("*mode new_episodes*")
    run(marked, "-s", "-o", "llm_record=all", "--llm-record=none").stdout.fnmatch_lines("*mode none*")
    assert tapes(pytester) == {"test_app/test_it.yaml": 1}


@pytest.mark.exhaustive
def test_nothing_is_recorded_where_ci_is_set_unless_a_mode_is_named(run, pytester, server, monkeypatch):
    monkeypatch.setenv("CI", "true")

    result = run(ONE)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines("*there is no tape *test_it.yaml: the file does not exist, *the environment has CI")
    assert server.asked == 0
    run(ONE, "--llm-record=once").assert_outcomes(passed=1)
    run(ONE).assert_outcomes(passed=1)
    assert server.asked == 1


@pytest.mark.exhaustive
def test_the_command_that_a_miss_tells_records_what_is_missing(run, pytester, server):
    run(ONE)
    other = ONE.replace('ask("a")', 'ask("b")')

    result = run(other)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            '*messages[[]0[]].content: recorded "a" / sent "b"',
            "*record it: pytest --llm-record=new_episodes 'test_app.py::test_it'",
        ]
    )
    run(other, "--llm-record=new_episodes", "test_app.py::test_it").assert_outcomes(passed=1)
    run(other).assert_outcomes(passed=1)
    assert tapes(pytester) == {"test_app/test_it.yaml": 2}


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("marker", "options", "message"),
    [
        (
            "mode='onse'",
            (),
            "mode of the marker cassette is one of none, once, new_episodes, all, rewrite, verify, not 'onse'",
        ),
        (
            "",
            ("-o", "llm_record=never"),
            "llm_record is one of none, once, new_episodes, all, rewrite, verify, not 'never'",
        ),
        (
            "speed=2",
            (),
            (
                "the marker cassette takes path, mode, match_on, ignore, timing, form, behind, strict, keep_headers, "
                "record_on_exception, not speed"
            ),
        ),
        ("'a.yaml', 'once'", (), "the marker cassette takes path, *, not 'once'"),
        ("timing='slow'", (), "*test_it: timing is 'instant', 'recorded', a factor or a clock, not 'slow'"),
    ],
)
def test_wrong_arguments_are_refused_in_a_line(run, server, marker, options, message):
    result = run(ONE.replace("cassette\n", f"cassette({marker})\n"), *options)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(message)
    result.stdout.no_fnmatch_line("*Traceback*")
    assert server.asked == 0


@pytest.mark.exhaustive
def test_a_broken_tape_is_an_error_with_its_line_and_stays_as_it_is(run, pytester, server):
    run(ONE)
    file = pytester.path / "cassettes" / "test_app" / "test_it.yaml"
    file.write_text(broken := file.read_text().replace("sizes: ", "sizes: 1 "))

    for mode in ("none", "once", "all"):
        result = run(ONE, f"--llm-record={mode}")
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines("*test_it.yaml, line *, *stream.sizes: they add up to *")
        result.stdout.no_fnmatch_line("*Traceback*")
    assert file.read_text() == broken


# -- tests that say less than they seem to ------------------------------------------------------------------


@pytest.mark.exhaustive
@pytest.mark.parametrize("mode", ["once", "none", "all", "new_episodes"])
def test_a_test_in_which_no_request_touched_the_tape_fails(run, server, mode):
    result = run("@pytest.mark.cassette\ndef test_it():\n    pass", f"--llm-record={mode}")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines("*no request touched the tape *: your app did not come this way")


def test_a_test_whose_requests_got_no_answer_is_not_said_to_have_sent_none(run, monkeypatch):
    with loopback.refusing() as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        result = run(
            """
            import openai

            @pytest.mark.cassette
            def test_it():
                with pytest.raises(openai.APIConnectionError):
                    ask()
            """
        )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*nothing was recorded on the tape *: no request got an answer", "*ConnectError*"])


@pytest.mark.exhaustive
def test_what_is_left_unplayed_fails_a_strict_test_only(run, pytester, server):
    both = "@pytest.mark.cassette\ndef test_it():\n    ask('a')\n    ask('b')"
    one = "@pytest.mark.cassette\ndef test_it():\n    ask('a')"
    run(both).assert_outcomes(passed=1)

    run(one).assert_outcomes(passed=1)
    for result in (
        run(one.replace("cassette\n", "cassette(strict=True)\n")),
        run(one, "-o", "llm_cassette_strict=true"),
    ):
        result.assert_outcomes(passed=1, errors=1)
        result.stdout.fnmatch_lines(
            ["1 of the tape *test_it.yaml was never asked for", "*POST http*/chat/completions*"]
        )
    run(one.replace("cassette\n", "cassette(strict=False)\n"), "-o", "llm_cassette_strict=true").assert_outcomes(
        passed=1
    )


CLIENTS = {
    "httpx": "import httpx; httpx.post(URL, json={'n': n}).json()",
    "requests": "import requests; requests.post(URL, json={'n': n}).json()",
    "urllib": "import urllib.request; urllib.request.urlopen(URL, b'{\"n\": %d}' % n).read()",
    "aiohttp": "import asyncio; asyncio.run(aio(n))",
}
PLAIN = """
    import json
    URL = "http://127.0.0.1:{port}/"

    async def aio(n):
        import aiohttp
        async with aiohttp.ClientSession() as session, session.post(URL, json={{"n": n}}) as response:
            assert await response.json(content_type=None) == {{"ok": 1}}

    def call(n):
        {call}

    @pytest.mark.cassette
    def test_it():
        call(1)
        try:
            call({second})
        except BaseException as error:
            print("caught", type(error).__name__)
    """


@pytest.fixture
def document():
    headers = [("content-type", "application/json"), ("content-length", "9")]
    with loopback.Pieces([b'{"ok": 1}'], headers=headers) as pieces:
        yield pieces


@pytest.mark.parametrize("client", first_of(CLIENTS, 2))
@pytest.mark.exhaustive
def test_any_client_is_on_the_tape_and_its_swallowed_miss_fails_the_test(run, pytester, document, client):
    if client == "requests":
        pytest.importorskip("requests")
    options = {"port": document.url.rpartition(":")[2], "call": CLIENTS[client]}

    run(PLAIN.format(second=2, **options)).assert_outcomes(passed=1)
    assert tapes(pytester) == {"test_app/test_it.yaml": 2}
    run(PLAIN.format(second=2, **options)).assert_outcomes(passed=1)
    assert len(document.seen) == 2

    result = run(PLAIN.format(second=3, **options))
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["*the app asked for what is not on the tape, and the error was caught:", "*n: recorded *sent 3"]
    )
    assert len(document.seen) == 2


def test_a_failing_test_shows_its_calls_and_leaves_no_tape(run, pytester, server):
    result = run("@pytest.mark.cassette\ndef test_it():\n    assert ask('a') == 'b'")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*cassette: calls*", "ProviderCall 1: POST http*/chat/completions complete, 200*"])
    assert tapes(pytester) == {}


def test_a_test_that_fails_is_not_told_besides_that_the_tape_was_not_touched(run, server):
    result = run("@pytest.mark.cassette\ndef test_it():\n    assert not 'so'")
    result.assert_outcomes(failed=1)


@pytest.mark.exhaustive
def test_a_stream_that_is_not_read_to_its_end_is_kept_as_far(run, pytester, server):
    test = """
        import openai
        kept = []

        @pytest.mark.cassette
        def test_it():
            client = openai.OpenAI(api_key="k")
            messages = [{"role": "user", "content": "a"}]
            stream = client.chat.completions.create(model="m", messages=messages, stream=True)
            kept.append(stream)
            next(stream)
        """
    run(test).assert_outcomes(passed=1)
    assert places(pytester, lambda interaction: interaction["response"]["stream"]["end"]) == ["cancelled"]
    run(test).assert_outcomes(passed=1)


# -- beside fakes, and the network ---------------------------------------------------------------------------


@pytest.mark.exhaustive
@pytest.mark.parametrize("arguments", first_of(["fake_openai", "fake_openai, cassette", "cassette, fake_openai"]))
def test_a_fake_provider_answers_for_its_hosts_and_the_rest_is_on_the_tape(
    run, pytester, document, arguments, monkeypatch
):
    test = f"""
        import asyncio, httpx2

        async def over_aiohttp():
            import aiohttp
            body = {{"model": "m", "messages": []}}
            async with aiohttp.ClientSession() as session:
                async with session.post("https://api.openai.com/v1/chat/completions", json=body) as response:
                    return (await response.json())["choices"][0]["message"]["content"]

        @pytest.mark.cassette
        def test_it({arguments}):
            fake_openai.reply("faked").reply("faked too")
            assert httpx2.get({document.url!r}).json() == {{"ok": 1}}
            assert ask() == "faked"
            assert asyncio.run(over_aiohttp()) == "faked too"
        """
    for _ in range(2):
        run(test).assert_outcomes(passed=1)
    assert tapes(pytester) == {"test_app/test_it.yaml": 1}
    assert len(document.seen) == 1


def test_a_fake_alone_is_not_the_tape(run):
    result = run(
        "@pytest.mark.cassette\ndef test_it(fake_openai):\n    fake_openai.reply('a')\n    assert ask() == 'a'"
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines("*your app did not come this way*")


@pytest.mark.exhaustive
def test_a_tape_plays_while_the_network_is_blocked(run, server):
    run(ONE).assert_outcomes(passed=1)
    run(ONE, "--llm-block-network", "--llm-record=none").assert_outcomes(passed=1)
    assert server.asked == 1


NAMED = """
    import openai, socket

    real = socket.getaddrinfo

    @pytest.fixture(autouse=True)
    def hosts(monkeypatch):
        "What a hosts file would do: the provider's name is that of this machine."
        def getaddrinfo(host, port, *args, **kwargs):
            known = host in ("api.openai.com", b"api.openai.com")
            return real("127.0.0.1" if known else host, PORT if known else port, *args, **kwargs)
        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    @pytest.mark.cassette
    def test_it():
        client = openai.OpenAI(api_key="k", base_url="http://api.openai.com/v1", max_retries=0)
        assert ask("a", client) == "a 1"

    @pytest.mark.cassette("test_app/test_it.yaml")
    def test_another_client():
        import urllib.request
        urllib.request.urlopen("http://api.openai.com/v1/models")
    """


@pytest.mark.exhaustive
def test_providers_are_reached_while_recording_and_at_no_other_time(run, pytester, server):
    named = NAMED.replace("PORT", server.url.rpartition(":")[2].partition("/")[0])

    run(named, "-k", "test_it", "--llm-record=none").assert_outcomes(failed=1, deselected=1)
    assert server.asked == 0
    run(named, "-k", "test_it").assert_outcomes(passed=1, deselected=1)
    assert server.asked == 1
    run(named, "-k", "test_it").assert_outcomes(passed=1, deselected=1)
    result = run(named, "-k", "test_another", "--llm-record=none")
    result.assert_outcomes(failed=1, deselected=1)
    result.stdout.fnmatch_lines("*the request is not on the tape*")
    assert server.asked == 1


def test_after_the_tape_requests_go_their_way_again(run, server):
    run(
        """
        @pytest.mark.cassette
        def test_it():
            assert ask("a") == "a 1"

        def test_next():
            assert ask("a") == "a 2"
        """
    ).assert_outcomes(passed=2)


@pytest.mark.exhaustive
def test_a_run_that_recorded_says_so_and_shows_error_statuses(pytester, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    headers = [("content-type", "application/json"), ("content-length", "2")]
    with loopback.Pieces([b"{}"], headers=headers, status=503) as server:
        pytester.makepyfile(
            f"""
            import httpx, pytest

            @pytest.mark.cassette("t.yaml")
            def test_it():
                url, key = "{server.url}", "q7" * 20
                assert httpx.post(url, headers={{"authorization": "Bearer " + key}}).status_code == 503
            """
        )
        first = pytester.runpytest(*LEAN, "--llm-record=once")
        second = pytester.runpytest(*LEAN)
    counted = "  1 x header authorization in the headers of a request: REDACTED"
    first.stdout.fnmatch_lines(["*= cassettes =*", "*t.yaml: 1 recorded, with HTTP 503", counted])
    second.stdout.no_fnmatch_line("*= cassettes =*")
