"""The fixtures of fake providers, as their users meet them: small projects, run for real."""

from __future__ import annotations

import gc
import importlib.util
import textwrap

import preloaded  # noqa: F401
import pytest
from runs import LEAN
from vectors import first_of

APP = textwrap.dedent(
    """
    import openai, anthropic

    def ask(text="?", **options):
        client = openai.OpenAI(max_retries=0)
        messages = [{"role": "user", "content": text}]
        return client.chat.completions.create(model="m", messages=messages, **options).choices[0].message.content

    def stream(text="?"):
        messages = [{"role": "user", "content": text}]
        return openai.OpenAI().chat.completions.create(model="m", messages=messages, stream=True)

    def claude(text="?"):
        messages = [{"role": "user", "content": text}]
        return anthropic.Anthropic(max_retries=0).messages.create(model="m", max_tokens=9, messages=messages).content[0].text
    """
)
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY")
URLS = ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL")


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in (*KEYS, *URLS):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(pytester):
    def run(test, *options, quiet=LEAN, **files):
        pytester.makepyfile(app=APP, test_app="from app import ask, stream, claude\n" + textwrap.dedent(test), **files)
        result = pytester.runpytest(*quiet, *options)
        gc.collect()  # what anyio's runner leaves of a failed task; CPython 3.11 may trip over its traceback later
        return result

    return run


# -- answers ------------------------------------------------------------------------------------------


def test_a_fixture_answers_the_app_without_a_key(run):
    result = run(
        """
        def test_openai(fake_openai):
            fake_openai.reply("Hel", "lo")
            assert ask() == "Hello"
            assert fake_openai.calls[0].json["messages"][0]["content"] == "?"

        def test_anthropic(fake_anthropic):
            fake_anthropic.reply("Hi")
            assert claude() == "Hi"
        """
    )

    result.assert_outcomes(passed=2)


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")  # of google-genai's own
@pytest.mark.skipif(
    not importlib.util.find_spec("fakellm.wire.gemini.generate"), reason="there is no codec of Gemini yet"
)
def test_gemini_is_answered_without_a_key_by_either_of_its_http_libraries(run):
    result = run(
        """
        import asyncio, sys
        from google import genai

        async def main():
            async with genai.Client().aio as client:
                return (await client.models.generate_content(model="m", contents="?")).text

        def test_sync(fake_gemini):
            fake_gemini.reply("Hel", "lo")
            assert genai.Client().models.generate_content(model="m", contents="?").text == "Hello"

        def test_async(fake_gemini):
            fake_gemini.reply("Hel", "lo")
            assert asyncio.run(main()) == "Hello"
        """
    )

    result.assert_outcomes(passed=2)


def test_two_fixtures_answer_in_one_test(run):
    result = run(
        """
        def test_app(fake_openai, fake_anthropic, fake_llm):
            fake_openai.reply("gpt")
            fake_anthropic.reply("claude")
            fake_llm.reply("llm")
            assert [ask(), claude(), fake_llm.invoke("?")] == ["gpt", "claude", "llm"]
        """
    )

    result.assert_outcomes(passed=1)


@pytest.mark.exhaustive
def test_a_fixture_is_used_by_a_fixture_of_the_user(run):
    result = run(
        """
        import openai, pytest

        @pytest.fixture
        def client(fake_openai):
            fake_openai.otherwise("Hello")
            with openai.OpenAI() as client:
                yield client

        @pytest.fixture(autouse=True)
        def early(client):
            assert ask() == "Hello"

        def test_app(client, fake_openai):
            assert ask() == "Hello"
            assert len(fake_openai.calls) == 2
        """
    )

    result.assert_outcomes(passed=1)


@pytest.mark.exhaustive
def test_clients_that_the_app_made_at_its_import_are_answered(run):
    result = run(
        """
        import openai

        client = openai.OpenAI(api_key="k")

        def test_one(fake_openai):
            fake_openai.reply("one")
            assert client.models.list() and client.embeddings.create(model="m", input="x")
            assert client.chat.completions.create(model="m", messages=[]).choices[0].message.content == "one"

        def test_two(fake_openai):
            fake_openai.reply("two")
            assert client.chat.completions.create(model="m", messages=[]).choices[0].message.content == "two"
            assert len(fake_openai.calls) == 1
        """
    )

    result.assert_outcomes(passed=2)


@pytest.mark.exhaustive
def test_classes_parameters_and_unittest_are_served(run):
    result = run(
        """
        import unittest, pytest

        class TestApp:
            @pytest.mark.parametrize("word", ["a", "b"])
            def test_app(self, fake_openai, word):
                assert fake_openai.reply(word) and ask() == word

        @pytest.mark.usefixtures("fake_anthropic")
        class TestMarked:
            def test_app(self, fake_anthropic):
                assert fake_anthropic.reply("a") and claude() == "a"

        class TestOld(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def provide(self, fake_openai):
                self.fake = fake_openai

            def test_app(self):
                assert self.fake.reply("a") and ask() == "a"
        """
    )

    result.assert_outcomes(passed=4)


@pytest.mark.exhaustive
def test_a_wider_fixture_may_not_use_it(run):
    result = run(
        """
        import pytest

        @pytest.fixture(scope="module")
        def client(fake_openai): ...

        def test_app(client): ...
        """
    )

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*ScopeMismatch*"])


@pytest.mark.exhaustive
@pytest.mark.parametrize("backend", first_of(["asyncio", "trio"]))
def test_asynchronous_tests_of_anyio_are_answered(run, backend):
    result = run(
        f"""
        import openai, pytest

        pytestmark = pytest.mark.anyio

        @pytest.fixture
        def anyio_backend():
            return {backend!r}

        @pytest.fixture
        async def client(fake_openai):
            async with openai.AsyncOpenAI() as client:
                yield client

        async def test_app(client, fake_openai):
            fake_openai.reply("Hel", "lo")
            request = client.chat.completions.create(model="m", messages=[])
            assert (await request).choices[0].message.content == "Hello"

        async def test_miss(client, fake_openai):
            await client.chat.completions.create(model="m", messages=[])
        """
    )

    outcomes = (
        result.parseoutcomes()
    )  # anyio's runner ends with an error that is no Exception, so its fixture fails too
    assert (outcomes["passed"], outcomes["failed"]) == (1, 1)
    result.stdout.fnmatch_lines(
        ["*UnexpectedRequestError: request 1 to the fake openai has no reply: nothing was scripted"]
    )


# -- strictness ---------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_an_unused_reply_fails_the_test_at_teardown(run):
    result = run(
        """
        def test_app(fake_openai):
            fake_openai.reply("used").reply("for", "gotten").error(429).when("never", "x").otherwise("fine")
            ask()
        """
    )

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*the fake openai was never asked for 3 of its replies",
            "*sent: *ProviderCall 1: POST https://api.openai.com/v1/chat/completions complete, 200*",
            "*reply: Script('for', 'gotten')*unused*",
            "*allow_unused=True*",
        ]
    )


@pytest.mark.exhaustive
@pytest.mark.parametrize("catch", ["except BaseException: pass", "except BaseException as e: raise SystemExit from e"])
def test_a_swallowed_miss_fails_the_test_at_teardown(run, catch):
    result = run(
        f"""
        import pytest

        def test_app(fake_openai):
            def app():
                try:
                    ask("hello")
                {catch}
            try:
                app()
            except SystemExit:
                pass
        """
    )

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*a call in ask, *app.py, found no reply of the fake openai, and its * was caught*",
            "*sent: *POST https://api.openai.com/v1/chat/completions",
            "*user: 'hello'",
            "*allow_misses=True*",
        ]
    )


@pytest.mark.exhaustive
def test_a_miss_passes_through_retries_and_except_exception(run):
    result = run(
        """
        import openai

        def test_app(fake_openai):
            try:
                openai.OpenAI(max_retries=5).chat.completions.create(model="m", messages=[])
            except Exception:
                pass

        def test_stream(fake_openai):
            try:
                list(stream())
            except Exception:
                pass
        """
    )

    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*UnexpectedRequestError: request 1 to the fake openai has no reply: nothing was *"])
    result.stdout.no_fnmatch_line("*request 2 to*")


@pytest.mark.exhaustive
def test_a_mistake_in_a_reply_fails_the_test_whatever_the_app_catches(run):
    result = run(
        """
        import pytest

        def misspelt(request):
            return request.jsn

        @pytest.mark.fake_llm(allow_unused=True, allow_misses=True)
        @pytest.mark.parametrize("kind", [Exception, BaseException])
        def test_app(fake_openai, kind):
            fake_openai.reply(misspelt)
            try:
                list(stream())
            except kind:
                pass
        """
    )

    result.assert_outcomes(passed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(["*raised at: *test_app.py:* in misspelt: return request.jsn"] * 2)


@pytest.mark.exhaustive
def test_a_marker_allows_both(run):
    result = run(
        """
        import pytest

        pytestmark = pytest.mark.fake_llm(allow_unused=True)

        def test_unused(fake_openai, fake_anthropic):
            fake_openai.reply("unused")
            fake_anthropic.reply("unused")

        @pytest.mark.fake_llm(allow_misses=True)
        def test_both(fake_openai):
            with pytest.raises(BaseException, match="has no reply"):
                ask()

        @pytest.mark.fake_llm(allow_misses=True)
        def test_network(fake_openai, monkeypatch):
            monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
            with pytest.raises(BaseException, match="would have left this machine"):
                claude()

        @pytest.mark.fake_llm(allow_unused=False)
        def test_nearest_marker_wins(fake_openai):
            fake_openai.reply("unused")
        """
    )

    result.assert_outcomes(passed=4, errors=1)


@pytest.mark.exhaustive
def test_a_failure_shows_the_calls(run):
    result = run(
        """
        def test_app(fake_openai, fake_anthropic):
            fake_openai.reply("Hel", "lo").error(503)
            for chunk in stream("greet"):
                if chunk.choices[0].delta.content:
                    break
            del chunk
            ask("again")
        """
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*fake_openai: calls and chunks*",
            "ProviderCall 1: POST https://api.openai.com/v1/chat/completions *, 200, * bytes in 2 pieces*",
            "  model='m' stream=True",
            "  user: 'greet'",
            "  reply: Script('Hel', 'lo')*",
            "  chunks: 'Hel'",
            "ProviderCall 2: POST https://api.openai.com/v1/chat/completions complete, 503, * bytes in 1 pieces*",
            "*fake_anthropic: calls and chunks*",
            "the fake anthropic was not asked anything",
        ]
    )
    result.stdout.no_fnmatch_line("*was never asked for*")


@pytest.mark.exhaustive
def test_a_failure_hides_no_second_one(run):
    result = run(
        """
        def test_app(fake_openai):
            fake_openai.reply("unused")
            assert 1 == 2
        """
    )

    result.assert_outcomes(failed=1)


@pytest.mark.exhaustive
def test_a_skipped_and_an_expected_failure_are_not_checked(run):
    result = run(
        """
        import pytest

        def test_skip(fake_openai):
            fake_openai.reply("a")
            pytest.skip("not today")

        @pytest.mark.xfail(strict=True)
        def test_xfail(fake_openai):
            fake_openai.reply("a")
            assert False
        """
    )

    result.assert_outcomes(skipped=1, xfailed=1)


# -- the environment ----------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_a_key_is_set_only_where_none_is_and_taken_back(run, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "mine")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "")

    result = run(
        """
        import os

        def test_inside(fake_openai, fake_anthropic, fake_gemini):
            assert os.environ["OPENAI_API_KEY"] == "mine"
            assert os.environ["ANTHROPIC_API_KEY"] == os.environ["GEMINI_API_KEY"] == "fake-key-of-fakellm"
            assert "GOOGLE_API_KEY" not in os.environ

        def test_afterwards():
            assert os.environ["OPENAI_API_KEY"] == "mine"
            assert os.environ["ANTHROPIC_API_KEY"] == ""
            assert "GEMINI_API_KEY" not in os.environ
        """
    )

    result.assert_outcomes(passed=2)


EARLY = """
    import openai, pytest
    from fakellm import FakeProvider
    from fakellm.http import intercept

    client = openai.OpenAI()

    @pytest.fixture(scope="class")
    def of_the_class():
        return openai.OpenAI()

    class TestApp:
        def test_app(self, of_the_class, fake_openai):
            fake_openai.otherwise("Hello")
            for made in (client, of_the_class):
                answer = made.chat.completions.create(model="m", messages=[])
                assert answer.choices[0].message.content == "Hello"
"""


@pytest.mark.exhaustive
def test_an_ini_option_gives_keys_to_clients_that_are_made_before_a_test(run, pytester):
    import os

    pytester.makeini("[pytest]\nllm_dummy_keys = true")
    pytester.makeconftest("import openai; made_in_the_conftest = openai.OpenAI()")

    run(EARLY).assert_outcomes(passed=1)
    assert "OPENAI_API_KEY" not in os.environ


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "make",
    first_of(["openai.OpenAI()", "os.environ['ANTHROPIC_API_KEY']", "__import__('google.genai').genai.Client()"]),
)
@pytest.mark.parametrize("where", ["module", "fixture"])
def test_without_it_the_failure_names_it(run, make, where):
    test = f"""
        import openai, os, pytest

        def make():
            return {make}

        {"make()" if where == "module" else ""}

        @pytest.fixture(scope="class")
        def client(): return make()

        def test_app(client, fake_openai): pass
        """

    result = run(test)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fakellm: keys*", "*to do: *llm_dummy_keys = true*"])


@pytest.mark.exhaustive
def test_a_failure_of_another_kind_does_not(run):
    result = run("def test_app(): api_key = 'a'; assert api_key == 'b', 'wrong'")

    result.stdout.no_fnmatch_line("*llm_dummy_keys*")


@pytest.mark.exhaustive
def test_a_test_may_set_its_own_key(run):
    result = run(
        """
        import os

        def test_inside(fake_openai, monkeypatch):
            monkeypatch.setenv("OPENAI_API_KEY", "mine")
            fake_openai.reply("a")
            ask()
            assert fake_openai.calls[0].headers["authorization"] == "Bearer mine"

        def test_afterwards():
            assert "OPENAI_API_KEY" not in os.environ
        """
    )

    result.assert_outcomes(passed=2)


@pytest.mark.exhaustive
def test_a_base_url_in_the_environment_is_answered_also_on_this_machine(run, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:4000/v1")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:4001")

    result = run(
        """
        def test_app(fake_openai, fake_anthropic):
            fake_openai.reply("gpt")
            fake_anthropic.reply("claude")
            assert [ask(), claude()] == ["gpt", "claude"]
        """
    )

    result.assert_outcomes(passed=1)


# -- the network --------------------------------------------------------------------------------------

REFUSED = "*would have left this machine: * is a provider of models*"


@pytest.mark.exhaustive
def test_another_provider_is_not_reached_by_accident(run, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")

    result = run("def test_app(fake_openai): claude()")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*UnexpectedRequestError: POST https://api.anthropic.com/v1/messages would have left this machine: api.anthr*",
            "*sent: *POST https://api.anthropic.com/v1/messages",
            "*to do: *add the fixture fake_anthropic to the test*",
        ]
    )


@pytest.mark.exhaustive
def test_a_refusal_that_the_app_catches_fails_the_test_at_teardown(run, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")

    result = run(
        """
        def test_app(fake_openai):
            try:
                claude()
            except BaseException:
                pass
        """
    )

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*would have reached the network, and the error was caught:", REFUSED])


SOCKET = """
    import socket

    def test_app():
        try:
            socket.create_connection(("192.0.2.1", 9), 0.01)
        except OSError:
            pass

    def test_local():
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname()).close()
"""


@pytest.mark.exhaustive
@pytest.mark.parametrize("how", ["option", "ini"])
def test_blocking_the_network_holds_for_every_test(run, pytester, how):
    if how == "ini":
        pytester.makeini("[pytest]\nllm_block_network = true")

    result = run(SOCKET, *(["--llm-block-network"] if how == "option" else []))

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*: a connection to 192.0.2.1 would have left this machine: 192.0.2.1 is not on this machine, and *is blocked",
            "*to do: *add the fixture*",
            "*run it without --llm-block-network*",
        ]
    )


@pytest.mark.exhaustive
def test_without_the_option_other_hosts_are_left_alone(run):
    run(SOCKET).assert_outcomes(passed=2)


@pytest.mark.exhaustive
def test_a_refusal_is_caught_in_a_test_without_fixtures_and_fails_it(run):
    result = run(
        """
        import socket

        def test_app():
            try:
                socket.create_connection(("example.com", 80))
            except BaseException:
                pass
        """,
        "--llm-block-network",
    )

    result.assert_outcomes(passed=1, errors=1)


@pytest.mark.exhaustive
def test_a_blocked_run_answers_the_fixtures_too(run):
    run(
        "def test_app(fake_openai): assert fake_openai.reply('a') and ask() == 'a'", "--llm-block-network"
    ).assert_outcomes(passed=1)


@pytest.mark.exhaustive
def test_a_second_fake_of_the_users_own_answers_beside_the_fixture(run):
    result = run(
        """
        from fakellm import FakeProvider
        from fakellm.http.interception import intercept
        import openai

        def test_app(fake_openai):
            fake_openai.reply("first")
            with intercept(FakeProvider("openai").reply("second")):
                assert ask() == "second"
            assert ask() == "first"
        """
    )

    result.assert_outcomes(passed=1)
