"""The fixtures beside other plugins of the field, each in a small project that is run for real.

Each test needs the other plugin and says so if it is not installed; .ci/run and `pip install pytest-recording
pytest-httpx2 pytest-asyncio pytest-xdist syrupy` provide them.
"""

from __future__ import annotations

import gc
import sys
import textwrap
import warnings

import preloaded  # noqa: F401
import pytest
from vectors import first_of

QUIET = ("-p", "no:cacheprovider", "-p", "no:langsmith_plugin", "--assert=plain", "--tb=native")
APP = textwrap.dedent(
    """
    import openai

    MESSAGES = [{"role": "user", "content": "?"}]

    def ask():
        client = openai.OpenAI(api_key="k", max_retries=0)
        return client.chat.completions.create(model="m", messages=MESSAGES).choices[0].message.content

    async def aask():
        async with openai.AsyncOpenAI(api_key="k", max_retries=0) as client:
            answer = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
            return "".join([c.choices[0].delta.content or "" async for c in answer if c.choices])
    """
)


def needs(module, plugin):
    try:
        __import__(module)
        missing = False
    except ImportError:
        missing = True
    return pytest.mark.skipif(missing, reason=f"{plugin} is not installed")


recording = needs("pytest_recording", "pytest-recording")
asyncio_plugin = needs("pytest_asyncio", "pytest-asyncio")
httpx2_plugin = needs("pytest_httpx2", "pytest-httpx2")


@pytest.fixture
def run(pytester, monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)

    def run(test, *options):
        pytester.makepyfile(app=APP, test_app="from app import *\nimport pytest\n" + textwrap.dedent(test))
        if "pytest_asyncio" in sys.modules and "no:asyncio" not in options:
            options += ("-o", "asyncio_default_fixture_loop_scope=function")
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # the project's own, not those of this run
            result = pytester.runpytest(*QUIET, *options)
        gc.collect()  # what anyio's runner leaves of a task that failed; CPython 3.11 may trip over its traceback later
        return result

    return run


# -- pytest-recording ---------------------------------------------------------------------------------

CASSETTE = """
interactions:
- request:
    method: GET
    uri: https://example.com/weather
    body: null
    headers: {}
  response:
    status: {code: 200, message: OK}
    headers: {content-type: [text/plain]}
    body: {string: sunny}
- request:
    method: POST
    uri: https://api.anthropic.com/v1/messages
    body: null
    headers: {}
  response:
    status: {code: 200, message: OK}
    headers: {content-type: [text/plain]}
    body: {string: recorded}
version: 1
"""


@recording
@pytest.mark.parametrize("options", [[], ["--record-mode=none"], ["--block-network"], ["--llm-block-network"]], ids=str)
def test_a_cassette_of_pytest_recording_answers_what_is_not_faked(run, pytester, options):
    pytester.mkdir("cassettes").joinpath("test_app").mkdir()
    pytester.path.joinpath("cassettes/test_app/test_app.yaml").write_text(CASSETTE)
    result = run(
        """
        from urllib.request import urlopen
        import httpx, httpx2

        @pytest.mark.vcr(allow_playback_repeats=True)
        def test_app(fake_openai):
            fake_openai.reply("Hello")
            weather = "https://example.com/weather"
            assert httpx.get(weather).text == httpx2.get(weather).text == urlopen(weather).read().decode() == "sunny"
            assert ask() == "Hello"

        def test_without_a_cassette(fake_openai):
            fake_openai.reply("Hello")
            assert ask() == "Hello"
        """,
        *options,
    )

    result.assert_outcomes(passed=2)


@recording
@pytest.mark.parametrize("first", ["vcr, fake_openai", "fake_openai, vcr"])
def test_a_cassette_answers_for_a_provider_that_is_not_faked(run, pytester, first):
    pytester.mkdir("cassettes").joinpath("test_app").mkdir()
    pytester.path.joinpath("cassettes/test_app/test_app.yaml").write_text(CASSETTE)
    result = run(
        f"""
        import httpx, httpx2

        @pytest.mark.vcr(allow_playback_repeats=True)
        def test_app({first}):
            fake_openai.reply("Hello")
            for http in (httpx, httpx2):
                assert http.post("https://api.anthropic.com/v1/messages").text == "recorded"
            assert ask() == "Hello"
        """
    )

    result.assert_outcomes(passed=1)


@recording
def test_a_miss_is_not_taken_for_a_missing_recording(run, pytester):
    result = run(
        """
        import asyncio

        @pytest.mark.vcr
        def test_sync(fake_openai):
            ask()

        @pytest.mark.vcr
        def test_async(fake_openai):
            asyncio.run(aask())
        """,
        "--record-mode=once",
    )

    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*UnexpectedRequestError: request 1 to the fake openai has no reply: nothing was *"])
    assert not pytester.path.joinpath("cassettes").exists()


@recording
def test_blocks_of_both_plugins_end_with_the_test(run):
    result = run(
        """
        import socket

        original = socket.socket.connect

        @pytest.mark.block_network
        def test_blocked(fake_openai):
            with pytest.raises(RuntimeError, match="Network is disabled"):
                socket.create_connection(("192.0.2.1", 9), 0.01)
            fake_openai.reply("Hello")
            assert ask() == "Hello"

        def test_afterwards():
            assert socket.socket.connect is original
        """
    )

    result.assert_outcomes(passed=2)


# -- respx and pytest-httpx2 --------------------------------------------------------------------------


@needs("respx", "respx")
@pytest.mark.parametrize("first", ["respx_mock, fake_openai", "fake_openai, respx_mock"])
@pytest.mark.parametrize("using", ["httpcore", "httpx"])
@pytest.mark.exhaustive
def test_routes_of_respx_answer_what_is_not_faked(run, first, using):
    result = run(
        f"""
        import httpx

        @pytest.mark.respx(using={using!r})
        def test_app({first}):
            respx_mock.get("https://example.com/weather").respond(text="sunny")
            if {using!r} == "httpx":  # stands before transports, so the router has to let providers pass
                respx_mock.route(host="api.openai.com").pass_through()
            fake_openai.otherwise("Hello")
            assert httpx.get("https://example.com/weather").text == "sunny"
            assert ask() == "Hello"
            assert httpx.post("https://api.openai.com/v1/chat/completions", json={{"model": "m", "messages": []}}).json()
            assert len(fake_openai.calls) == 2
        """,
        "--llm-block-network",
    )

    result.assert_outcomes(passed=1)


@httpx2_plugin
@pytest.mark.parametrize("first", ["httpx2_mock, fake_openai", "fake_openai, httpx2_mock"])
def test_routes_of_pytest_httpx2_answer_what_is_not_faked(run, first):
    result = run(
        f"""
        import asyncio, httpx2

        def test_app({first}):
            httpx2_mock.get("https://example.com/weather").respond(text="sunny")
            httpx2_mock.post("https://api.anthropic.com/v1/messages").respond(text="mocked")
            fake_openai.otherwise("Hello")
            assert httpx2.get("https://example.com/weather").text == "sunny"
            assert httpx2.post("https://api.anthropic.com/v1/messages").text == "mocked"
            assert [ask(), asyncio.run(aask())] == ["Hello", "Hello"]
        """,
        "--llm-block-network",
    )

    result.assert_outcomes(passed=1)


@httpx2_plugin
def test_a_provider_is_mounted_on_the_router_of_pytest_httpx2(run):
    result = run(
        """
        import asyncio, httpx2
        from fakellm import FakeProvider
        from fakellm.http.router import mount

        def test_app(httpx2_mock):
            provider = FakeProvider("openai").otherwise("Hello")
            route = mount(provider, httpx2_mock, httpx2)
            httpx2_mock.get("https://example.com/weather").respond(text="sunny")
            assert httpx2.get("https://example.com/weather").text == "sunny"
            assert [ask(), asyncio.run(aask())] == ["Hello", "Hello"]
            assert route.call_count == len(provider.calls) == 2
        """
    )

    result.assert_outcomes(passed=1)


# -- event loops --------------------------------------------------------------------------------------

ASYNC = """
    @pytest.fixture
    def scripted(fake_openai):
        return fake_openai.reply("Hello")

    {mark}
    async def test_app(scripted):
        assert await aask() == "Hello"

    {mark}
    async def test_miss(fake_openai):
        await aask()

    {mark}
    async def test_after_the_miss(scripted):
        assert await aask() == "Hello"

    {mark}
    async def test_unused(scripted):
        pass
"""
MISS = "*UnexpectedRequestError: request 1 to the fake openai has no reply: nothing was scripted"


@asyncio_plugin
@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_pytest_asyncio_runs_tests_with_the_fixtures(run, mode):
    mark = "@pytest.mark.asyncio" if mode == "strict" else ""

    result = run(ASYNC.format(mark=mark), f"--asyncio-mode={mode}")

    result.assert_outcomes(passed=3, failed=1, errors=1)
    result.stdout.fnmatch_lines([MISS])


@asyncio_plugin
def test_asynchronous_fixtures_of_pytest_asyncio_use_them(run):
    result = run(
        """
        import pytest_asyncio

        @pytest_asyncio.fixture(loop_scope="module", scope="module")
        async def client():
            async with openai.AsyncOpenAI(api_key="k") as client:
                yield client

        @pytest.mark.asyncio(loop_scope="module")
        @pytest.mark.parametrize("word", ["a", "b"])
        async def test_app(client, fake_openai, word):
            fake_openai.reply(word)
            answer = await client.chat.completions.create(model="m", messages=[])
            assert answer.choices[0].message.content == word
        """,
        "--asyncio-mode=strict",
    )

    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("backend", first_of(["asyncio", "trio"]))
def test_anyio_runs_tests_with_the_fixtures(run, backend):
    fixture = f"""
    @pytest.fixture
    def anyio_backend():
        return {backend!r}
    """

    result = run(
        textwrap.dedent(fixture)
        + textwrap.dedent(ASYNC.format(mark="@pytest.mark.anyio")).replace("await aask()", "await whole()")
        + textwrap.dedent(
            """
            async def whole():  # openai leaves generators of a stream to the garbage collector, which trio warns of
                async with openai.AsyncOpenAI(api_key="k") as client:
                    return (await client.chat.completions.create(model="m", messages=MESSAGES)).choices[0].message.content
            """
        ),
        "-p",
        "no:asyncio",
    )

    result.assert_outcomes(passed=3, failed=1, errors=1)
    result.stdout.fnmatch_lines([MISS])


# -- others -------------------------------------------------------------------------------------------


@needs("syrupy", "syrupy")
def test_snapshots_of_syrupy_hold_answers_and_requests(run, pytester):
    test = """
        def test_app(fake_openai, snapshot):
            fake_openai.reply("Hello")
            assert ask() == snapshot
            assert fake_openai.calls[0].json == snapshot
    """

    run(test, "--snapshot-update").assert_outcomes(passed=1)
    run(test).assert_outcomes(passed=1)


@pytest.mark.exhaustive
def test_hypothesis_says_that_a_fixture_is_shared_by_all_examples(run):
    result = run(
        """
        from hypothesis import HealthCheck, given, settings, strategies as st

        @given(st.text())
        def test_unaware(fake_openai, word):
            pass

        @settings(max_examples=5, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
        @given(word=st.text(min_size=1))
        def test_aware(fake_openai, word):
            fake_openai.otherwise(word)
            assert ask() == word
            assert fake_openai.calls[-1].json["model"] == "m"
        """
    )

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*'test_app.py::test_unaware' uses a function-scoped fixture 'fake_openai'*"])


@pytest.mark.exhaustive
def test_a_block_of_ones_own_gives_hypothesis_a_fake_for_each_example(run):
    result = run(
        """
        from hypothesis import given, settings, strategies as st
        from fakellm import FakeProvider
        from fakellm.http.interception import intercept

        @settings(max_examples=5, database=None)
        @given(word=st.text(min_size=1))
        def test_app(word):
            fake = FakeProvider("openai").reply(word)
            with intercept(fake):
                assert ask() == word
            fake.verify()
        """
    )

    result.assert_outcomes(passed=1)
