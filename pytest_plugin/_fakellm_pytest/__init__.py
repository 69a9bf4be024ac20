"""The pytest plugin of fakellm: fixtures of fake models and of fake providers.

`fake_llm` and `fake_chat_model` are models; `fake_openai`, `fake_anthropic`, `fake_gemini`, `fake_ollama`,
`fake_cohere`, `fake_bedrock`, `fake_mistral`, `fake_dashscope` and `fake_replicate` answer the app's own clients,
`fake_server` and `fake_server_session` other processes on a port.

`cassette` plays tapes, `virtual_clock` is time, `stream_contract` and `client_contract` check. fakellm itself is
imported by the first test that asks for one of them.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from _fakellm_pytest.hooks import NETWORK, PASSED, is_blocked, is_virtual
from _fakellm_pytest.hooks import pytest_addoption as pytest_addoption
from _fakellm_pytest.hooks import pytest_configure as pytest_configure
from _fakellm_pytest.hooks import pytest_configure_node as pytest_configure_node
from _fakellm_pytest.hooks import pytest_fixture_setup as pytest_fixture_setup
from _fakellm_pytest.hooks import pytest_generate_tests as pytest_generate_tests
from _fakellm_pytest.hooks import pytest_itemcollected as pytest_itemcollected
from _fakellm_pytest.hooks import pytest_load_initial_conftests as pytest_load_initial_conftests
from _fakellm_pytest.hooks import pytest_make_collect_report as pytest_make_collect_report
from _fakellm_pytest.hooks import pytest_report_teststatus as pytest_report_teststatus
from _fakellm_pytest.hooks import pytest_runtest_call as pytest_runtest_call
from _fakellm_pytest.hooks import pytest_runtest_makereport as pytest_runtest_makereport
from _fakellm_pytest.hooks import pytest_runtest_protocol as pytest_runtest_protocol
from _fakellm_pytest.hooks import pytest_runtest_setup as pytest_runtest_setup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fakellm import FakeChatModel, FakeLLM, FakeProvider
    from fakellm.cassette import Tape
    from fakellm.clock import VirtualClock
    from fakellm.contracts import ClientReport, Report
    from fakellm.http import Interception
    from fakellm.server import FakeServer

_OPTIONS = ("allow_unused", "allow_misses")
_OTHERS = ("scenario", "strict_requests")


@pytest.fixture
def fake_llm(request: pytest.FixtureRequest) -> Iterator[FakeLLM]:
    """A text model without replies yet: `fake_llm.reply("Hel", "lo")`, `.when(...)`, `.otherwise(...)`.

    Strict: at teardown the test fails if a reply was never asked for, or if the app caught the error of a
    call that had no reply. `@pytest.mark.fake_llm(allow_unused=True, allow_misses=True)` allows that.
    """
    yield from strict(request, "fake_llm", kind_of("FakeLLM")(clock=clock_of(request)))


@pytest.fixture
def fake_chat_model(request: pytest.FixtureRequest) -> Iterator[FakeChatModel]:
    """A chat model without replies yet; everything else is as in `fake_llm`."""
    yield from strict(request, "fake_chat_model", kind_of("FakeChatModel")(clock=clock_of(request)))


@pytest.fixture
def fake_openai(request: pytest.FixtureRequest, _llm_network: Interception) -> Iterator[FakeProvider]:
    """OpenAI, answered by a script: `fake_openai.reply("Hel", "lo")`, `.error(429)`, `.when(...)`, `.otherwise(...)`.

    Every client of the app is answered, `openai.OpenAI()` as it is, without a key and without a network: chat
    completions, Responses, legacy completions, and by itself embeddings and model lists. So are clients of other
    services that speak OpenAI's API, but for those on this machine: `fake_openai.hosts = ["localhost:11434"]`, or the
    SDK's own environment variable, `OPENAI_BASE_URL`, names it before the test.
    `@pytest.mark.fake_llm(scenario="weather.yaml")` scripts it, and the fakes of other providers, by a file.
    Strict as `fake_llm` is, and what would reach a provider that is not faked fails the test.
    """
    yield from _provider(request, _llm_network, "openai")


@pytest.fixture
def fake_anthropic(request: pytest.FixtureRequest, _llm_network: Interception) -> Iterator[FakeProvider]:
    """Anthropic, answered by a script: Messages, token counts, model lists; all else is as in `fake_openai`."""
    yield from _provider(request, _llm_network, "anthropic")


@pytest.fixture
def fake_gemini(request: pytest.FixtureRequest, _llm_network: Interception) -> Iterator[FakeProvider]:
    """Gemini, answered by a script: generateContent, embeddings, token counts; all else is as in `fake_openai`."""
    yield from _provider(request, _llm_network, "gemini")


@pytest.fixture
def fake_ollama(request: pytest.FixtureRequest, _llm_network: Interception) -> Iterator[FakeProvider]:
    """Ollama, answered by a script: chat, generate, and by itself embeddings, models; all else is as in `fake_openai`.

    It answers on port 11434 of this machine and of others, at the environment's `OLLAMA_HOST`, and for ollama.com, so
    a server that runs here is not asked.
    """
    yield from _provider(request, _llm_network, "ollama")


@pytest.fixture
def fake_cohere(request: pytest.FixtureRequest, _llm_network: Interception) -> Iterator[FakeProvider]:
    """Cohere, answered by a script: Chat, embeddings, rankings, models; all else is as in `fake_openai`."""
    yield from _provider(request, _llm_network, "cohere")


@pytest.fixture
def fake_bedrock(request: pytest.FixtureRequest, _llm_network: Interception) -> Iterator[FakeProvider]:
    """Amazon Bedrock, answered by a script: Converse, InvokeModel, model lists; all else is as in `fake_openai`.

    The environment has keys and a region of AWS, where it had none, and nobody else is asked for credentials.
    """
    yield from _provider(request, _llm_network, "bedrock")


@pytest.fixture
def fake_mistral(request: pytest.FixtureRequest, _llm_network: Interception) -> Iterator[FakeProvider]:
    """Mistral, answered by a script: chat, FIM, agents, conversations, embeddings; all else is as in `fake_openai`."""
    yield from _provider(request, _llm_network, "mistral")


@pytest.fixture
def fake_dashscope(request: pytest.FixtureRequest, _llm_network: Interception) -> Iterator[FakeProvider]:
    """DashScope in its own API, answered by a script: text generation, embeddings; all else is as in `fake_openai`."""
    yield from _provider(request, _llm_network, "dashscope")


@pytest.fixture
def fake_replicate(request: pytest.FixtureRequest, _llm_network: Interception) -> Iterator[FakeProvider]:
    """Replicate, answered by a script: predictions, streamed and fetched, models; all else is as in `fake_openai`."""
    yield from _provider(request, _llm_network, "replicate")


@pytest.fixture
def fake_server(request: pytest.FixtureRequest) -> Iterator[FakeServer]:
    """All providers behind a port of this machine, for what is not this process: other languages, browsers.

    `fake_server.openai.reply("Hel", "lo")`, and so on for each provider, as in its own fixture; the environment of a
    subprocess gets `fake_server.environ`, a client `fake_server.base_url("openai")`. Pauses pass at once.
    Strict as `fake_llm` is. It needs the extra `server`.
    """
    from _fakellm_pytest.servers import serving

    yield from serving(request)


@pytest.fixture(scope="session")
def fake_server_session(request: pytest.FixtureRequest) -> Iterator[FakeServer]:
    """One such server for all tests of this process, such as one that an app is started with once.

    Each test is to ask for what it scripts itself; what fixtures script is for all of them. A test whose requests find
    no reply fails. `X-Fakellm-Session` keeps tests apart that run at the same time.
    """
    from _fakellm_pytest.servers import serving_all

    yield from serving_all(request)


@pytest.fixture
def cassette(request: pytest.FixtureRequest, _llm_network: Interception) -> Iterator[Tape]:
    """The tape of this test: requests are played from it, or recorded by the mode of `--llm-record`.

    The file is `cassettes/MODULE/TEST.yaml` beside the test, or what `@pytest.mark.cassette("path.yaml")` names. A
    test in which no request touched the tape fails; with `strict=True` so does one that leaves a part of it unplayed.
    """
    from _fakellm_pytest.cassettes import played

    yield from played(request, _llm_network)


@pytest.fixture
def virtual_clock(request: pytest.FixtureRequest) -> Iterator[VirtualClock]:
    """Time that passes only when everybody waits: an hour of silence takes a millisecond.

    An `async def` test runs in an event loop of this clock, under pytest-asyncio (1.4 or newer) and under anyio. In a
    plain test fakes wait on it, and `time.sleep`, `monotonic`, `perf_counter` and `time` are its own in the test's
    thread. The fixtures of fakes and tapes use it by themselves. `virtual_clock.now` is the time in seconds,
    `virtual_clock.report()` what happened when, which a failing test prints.
    """
    from _fakellm_pytest.virtual import ticking

    yield from ticking(request)


@pytest.fixture
def stream_contract() -> Callable[..., Report]:
    """Check the contracts of a stream: `stream_contract(make)` takes what `fakellm.contracts.check_stream` takes.

    Fails with the report if a contract is broken, or one that was named could not be checked, and returns it otherwise.
    """
    return _proving("check_stream")


@pytest.fixture
def client_contract() -> Callable[..., ClientReport]:
    """Check the contracts of a client: `client_contract(make, api="openai")` takes what `check_client` takes.

    Fails with the report if a contract is broken, or one that was named could not be checked, and returns it otherwise.
    """
    return _proving("check_client")


def _proving(name: str) -> Callable[..., Any]:
    check = kind_of(name, "contracts")

    def checked(make: Callable[..., Any], **options: Any) -> Report:
        report: Report = check(make, **options)
        are_named = options.get("contracts") is not None
        reasons = options.get("skip") or {}
        unproven = are_named and any(verdict.contract.name not in reasons for verdict in report.skipped)
        if report.failed or unproven or not report.passed:
            pytest.fail(str(report), pytrace=False)
        return report

    return checked


@pytest.fixture
def _llm_network(request: pytest.FixtureRequest) -> Iterator[Interception]:
    """Stand between the test's HTTP clients and the network."""
    kind = kind_of("Interception", "http")
    allowed = allowed_by(request.node)
    with kind(block_network=is_blocked(request.config)).on() as interception:
        request.config.stash[NETWORK] = interception
        yield interception
        del request.config.stash[NETWORK]
    misses = interception.guard.misses
    if misses and request.node.stash.get(PASSED, False) and not allowed.get("allow_misses"):
        msg = f"the test would have reached the network, and the error was caught:\n{misses[0]}"
        pytest.fail(msg, pytrace=False)


def clock_of(request: pytest.FixtureRequest) -> VirtualClock | None:
    """Return the clock that a fake of this test waits on, if the test asks for one."""
    return request.getfixturevalue("virtual_clock") if is_virtual(request.node) else None


def _provider(request: pytest.FixtureRequest, network: Interception, name: str) -> Iterator[FakeProvider]:
    """Yield a provider that answers on the network, with a key for its SDK in the environment.

    Where the environment points its SDK, be it to this machine, is answered too.
    """
    provider = kind_of("FakeProvider")(name, clock=clock_of(request))
    service = provider.service
    host = service.place_of(os.environ.get(service.base_url, ""))
    provider.hosts = (host,) if host else ()
    network.providers.append(provider)
    with kind_of("dummy_keys", "http")(name):
        yield from strict(request, f"fake_{name}", provider)


def strict(request: pytest.FixtureRequest, name: str, fake: Any) -> Iterator[Any]:
    """Yield a fake, and check after the test, if that passed, that everything went as scripted."""
    allowed = allowed_by(request.node)
    if request.config.getini("llm_strict_requests"):
        hold(fake, is_on=True)
    if named := said_by(request.node, "scenario"):
        from _fakellm_pytest.scenarios import tell

        tell(request.node, named[0], fake)
    if held := said_by(request.node, "strict_requests"):
        hold(fake, is_on=held[0])
    from _fakellm_pytest.discretion import note

    note(request.node, name, fake)
    yield fake
    if request.node.stash.get(PASSED, False) and (problem := _problem(fake, allowed)):
        pytest.fail(problem, pytrace=False)


def hold(fake: Any, *, is_on: Any) -> None:
    """Let a fake of a provider, or all of a server, hold requests to the rules of the real API, or to none."""
    if not isinstance(is_on, bool):
        pytest.fail(f"strict_requests is True or False, not {is_on!r}", pytrace=False)
    for provider in getattr(fake, "providers", [fake]):
        if hasattr(provider, "strict_requests"):  # models have no requests
            provider.strict_requests(on=is_on)


def said_by(node: pytest.Item, name: str) -> list[Any]:
    """Return what the markers of a test say of one thing, the nearest first."""
    return [marker.kwargs[name] for marker in node.iter_markers("fake_llm") if name in marker.kwargs]


def _problem(fake: Any, allowed: dict[str, bool]) -> str | None:
    try:
        fake.verify(**allowed)
    except AssertionError as error:
        return str(error)
    return None


def allowed_by(node: pytest.Item) -> dict[str, bool]:
    """Return what the markers of the test allow; the nearest marker wins."""
    allowed: dict[str, bool] = {}
    for marker in node.iter_markers("fake_llm"):
        options = {key: value for key, value in marker.kwargs.items() if key not in _OTHERS}
        unknown = [repr(arg) for arg in marker.args] + [key for key in options if key not in _OPTIONS]
        if unknown:
            takes = " and ".join(f"{option}=True" for option in _OPTIONS)
            msg = f"the marker fake_llm takes {takes}, not {', '.join(unknown)}; and scenario='weather.yaml'"
            pytest.fail(msg, pytrace=False)
        allowed = {**options, **allowed}
    return allowed


def kind_of(name: str, room: str = "") -> Any:
    """Return a class of fakellm, or say that another package has its name."""
    try:
        import fakellm

        return getattr(getattr(fakellm, room) if room else fakellm, name)
    except (ImportError, AttributeError) as error:
        where = getattr(sys.modules.get("fakellm"), "__file__", None)
        msg = (
            f"the package fakellm ({where or 'not importable'}) is not that of fakellm-stream: {error}\n"
            "  to do: pip uninstall -y fakellm fakellm-stream, then pip install fakellm-stream; a file or folder "
            "of your own that is called fakellm needs another name"
        )
        raise pytest.UsageError(msg) from error
