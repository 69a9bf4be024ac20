"""The pytest plugin of fakellm: fixtures of fake models and of fake providers.

`fake_llm` and `fake_chat_model` are models; `fake_openai`, `fake_anthropic`, `fake_gemini`, `fake_ollama` and
`fake_cohere` answer the app's own clients.

Every pytest run pays for importing this module, so it imports pytest and the standard library only;
fakellm itself is imported by the first test that asks for a fixture.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from _fakellm_pytest.cassettes import MARKER as CASSETTE_MARKER
from _fakellm_pytest.cassettes import add_options, use_fixture
from _fakellm_pytest.cassettes import cassette as cassette
from _fakellm_pytest.discretion import redact
from _fakellm_pytest.guard import NETWORK, guard_session, is_blocked, named_outsider
from _fakellm_pytest.keys import advise, give_keys
from _fakellm_pytest.recordings import PASSED, Recordings, recordings_of
from _fakellm_pytest.sweeps import watched, word_of
from _fakellm_pytest.virtual import MARKER as VIRTUAL_MARKER
from _fakellm_pytest.virtual import add_options as add_virtual_options
from _fakellm_pytest.virtual import begin, clock_for, loop_factories, on_its_loop, run_twice
from _fakellm_pytest.virtual import virtual_clock as virtual_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from fakellm import FakeChatModel, FakeLLM, FakeProvider
    from fakellm.contracts import Report
    from fakellm.http import Interception

_MARKER = "fake_llm(allow_unused=False, allow_misses=False): let replies stay unused, or misses be caught by the app"
_OPTIONS = ("allow_unused", "allow_misses")

_fakes = pytest.StashKey[dict[str, Any]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("llm", "language models: fakes and the network")
    group.addoption(
        "--llm-block-network",
        action="store_true",
        default=None,
        help="refuse whatever would reach anything but this machine, in tests, fixtures and while they are collected",
    )
    parser.addini("llm_block_network", "as --llm-block-network", type="bool", default=False)
    parser.addini(
        "llm_dummy_keys",
        "keys for the SDKs of providers in the environment, where there are none, also while tests are collected",
        type="bool",
        default=False,
    )
    add_options(parser, group)
    add_virtual_options(group)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    """Begin to guard the session, and let clients be made in it, before the first conftest is imported."""
    guard_session(early_config)
    give_keys(early_config)
    try:
        yield
    except pytest.fail.Exception as error:  # pytest shows a report of it where a test or a module raises it
        raise pytest.UsageError(str(error)) from error


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give a test with the marker cassette its fixture."""
    use_fixture(item)


@pytest.hookimpl(wrapper=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> Generator[None, None, None]:
    """Let pytest-asyncio run a test that asks for virtual time in a loop of ours."""
    with loop_factories(metafunc):
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test in virtual time twice, if the option says so."""
    return run_twice(item, nextitem)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give a test that asks for virtual time its clock."""
    begin(item)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    """Keep what a fixture of a wider scope sends off the tape of one test."""
    with named_outsider(fixturedef, request.config):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """See that it runs on that, and how far it is, if it is a sweep."""
    __tracebackhide__ = True
    with on_its_loop(item), watched(item):
        yield


def pytest_report_teststatus(report: pytest.CollectReport | pytest.TestReport) -> tuple[str, str, str] | None:
    """Say under `-v` how many cases of a sweep ran."""
    return word_of(report)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, and refuse to run beside a plugin that would be mistaken for this one."""
    config.addinivalue_line("markers", _MARKER)
    config.addinivalue_line("markers", CASSETTE_MARKER)
    config.addinivalue_line("markers", VIRTUAL_MARKER)
    guard_session(config)
    give_keys(config)
    Recordings.register(config)
    me = sys.modules[__name__]
    for name, plugin in config.pluginmanager.list_name_plugin():
        if plugin is None or plugin is me:
            continue
        where = getattr(plugin, "__file__", None) or repr(plugin)
        if name == "fakellm":
            msg = (
                f"the plugin 'fakellm' ({where}) belongs to another distribution, which installs the same package "
                "fakellm/ as fakellm-stream.\n  to do: pip uninstall -y fakellm fakellm-stream, then "
                "pip install fakellm-stream"
            )
            raise pytest.UsageError(msg)
        if getattr(plugin, "__name__", "").rpartition(".")[2] == "_fakellm_pytest":
            msg = (
                f"the plugin _fakellm_pytest is loaded twice: {__file__} and, as {name!r}, {where}.\n"
                "  to do: pytest finds it by itself; remove the -p option or the pytest_plugins entry that loads it "
                "again, or the second copy"
            )
            raise pytest.UsageError(msg)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Say how a client gets a key where the import of a module failed for want of one."""
    report = yield
    advise(report, collector.config)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the calls and the chunks of the fakes in the report of a test that failed, and no secrets."""
    report = yield
    advise(report, item.config)
    recordings_of(item.config).hear(item, report)
    if report.failed and report.when != "teardown":
        for name, fake in item.stash.get(_fakes, {}).items():
            what = "what happened when" if name == "virtual_clock" else "calls and chunks"
            report.sections.append((f"{name}: {what}", fake.report()))
    redact(report, item.stash.get(_fakes, {}).values(), call.excinfo.value if call.excinfo else None)
    return report


@pytest.fixture
def fake_llm(request: pytest.FixtureRequest) -> Iterator[FakeLLM]:
    """A text model without replies yet: `fake_llm.reply("Hel", "lo")`, `.when(...)`, `.otherwise(...)`.

    Strict: at teardown the test fails if a reply was never asked for, or if the app caught the error of a
    call that had no reply. `@pytest.mark.fake_llm(allow_unused=True, allow_misses=True)` allows that.
    """
    yield from _strict(request, "fake_llm", _kind("FakeLLM")(clock=clock_for(request)))


@pytest.fixture
def fake_chat_model(request: pytest.FixtureRequest) -> Iterator[FakeChatModel]:
    """A chat model without replies yet; everything else is as in `fake_llm`."""
    yield from _strict(request, "fake_chat_model", _kind("FakeChatModel")(clock=clock_for(request)))


@pytest.fixture
def fake_openai(request: pytest.FixtureRequest, _llm_network: Interception) -> Iterator[FakeProvider]:
    """OpenAI, answered by a script: `fake_openai.reply("Hel", "lo")`, `.error(429)`, `.when(...)`, `.otherwise(...)`.

    Every client of the app is answered, `openai.OpenAI()` as it is, without a key and without a network: chat
    completions, Responses, legacy completions, and by itself embeddings and model lists. So are clients of other
    services that speak OpenAI's API, but for those on this machine: `fake_openai.hosts = ["localhost:11434"]`, or the
    SDK's own environment variable, `OPENAI_BASE_URL`, names it before the test.
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
def stream_contract() -> Callable[..., Report]:
    """Check the contracts of a stream: `stream_contract(make)` takes what `fakellm.contracts.check_stream` takes.

    Fails with the report if a contract is broken, or one that was named could not be checked, and returns it otherwise.
    """
    check = _kind("check_stream", "contracts")

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
    kind = _kind("Interception", "http")
    allowed = _allowed(request.node)
    with kind(block_network=is_blocked(request.config)).on() as interception:
        request.config.stash[NETWORK] = interception
        yield interception
        del request.config.stash[NETWORK]
    misses = interception.guard.misses
    if misses and request.node.stash.get(PASSED, False) and not allowed.get("allow_misses"):
        msg = f"the test would have reached the network, and the error was caught:\n{misses[0]}"
        pytest.fail(msg, pytrace=False)


def _provider(request: pytest.FixtureRequest, network: Interception, name: str) -> Iterator[FakeProvider]:
    """Yield a provider that answers on the network, with a key for its SDK in the environment.

    Where the environment points its SDK, be it to this machine, is answered too.
    """
    provider = _kind("FakeProvider")(name, clock=clock_for(request))
    service = provider.service
    host = service.place_of(os.environ.get(service.base_url, ""))
    provider.hosts = (host,) if host else ()
    network.providers.append(provider)
    with _kind("dummy_keys", "http")(name):
        yield from _strict(request, f"fake_{name}", provider)


def _strict(request: pytest.FixtureRequest, name: str, fake: Any) -> Iterator[Any]:
    """Yield a fake, and check after the test, if that passed, that everything went as scripted."""
    allowed = _allowed(request.node)
    request.node.stash.setdefault(_fakes, {})[name] = fake
    yield fake
    if request.node.stash.get(PASSED, False) and (problem := _problem(fake, allowed)):
        pytest.fail(problem, pytrace=False)


def _problem(fake: Any, allowed: dict[str, bool]) -> str | None:
    try:
        fake.verify(**allowed)
    except AssertionError as error:
        return str(error)
    return None


def _allowed(node: pytest.Item) -> dict[str, bool]:
    """Return what the markers of the test allow; the nearest marker wins."""
    allowed: dict[str, bool] = {}
    for marker in node.iter_markers("fake_llm"):
        unknown = [repr(arg) for arg in marker.args] + [key for key in marker.kwargs if key not in _OPTIONS]
        if unknown:
            msg = f"the marker fake_llm takes {' and '.join(f'{o}=True' for o in _OPTIONS)}, not {', '.join(unknown)}"
            pytest.fail(msg, pytrace=False)
        allowed = {**marker.kwargs, **allowed}
    return allowed


def _kind(name: str, room: str = "") -> Any:
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
