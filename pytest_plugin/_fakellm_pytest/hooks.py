"""The hooks of the plugin: which test is whose business, and which of our files it takes.

Every run of pytest pays for this file and for the fixtures' beside it, be there a fake in it or not. So they import
pytest and the standard library only, and the other files here are imported by the first test that needs them: tapes by
one that asks for `cassette`, virtual time by one that asks for `virtual_clock`, what a report shows by one that fails.
What is noted of every test is what those would come too late for: the tests that there are, and whether one passed.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from _fakellm_pytest.recordings import Recordings
    from fakellm.http import Interception

MODES = ("none", "once", "new_episodes", "all", "rewrite", "verify")
"""Record modes of cassettes; `verify` is `none`, and asks the providers afterwards whether they answer the same."""
_MARKERS = (
    "fake_llm(allow_unused=False, allow_misses=False): let replies stay unused, or misses be caught by the app",
    "fake_llm(scenario=None): script the fakes of providers by a file, whose path begins in the folder of the test",
    "fake_llm(strict_requests=True): refuse requests to fakes of providers that the real API would refuse",
    (
        "cassette(path=None, mode=None, match_on=..., ignore=(), timing='instant', form=None, behind=(), strict=False, "
        "keep_headers=(), record_on_exception=False): play the HTTP requests of the test from a tape, or record them; "
        "the path is relative to the folder cassettes/ beside the test"
    ),
    (
        "virtual_clock(seed=None, patch_time=None): the order of timers that are due at the same second, and whether "
        "time.sleep, time.monotonic and the like are the clock's in the test's thread (by default in plain functions)"
    ),
)

FAKES = pytest.StashKey[dict[str, Any]]()
"""The fakes, the tape and the clock of a test, by the names of their fixtures."""
PASSED = pytest.StashKey[bool]()
"""Whether the test itself passed; what came before its teardown."""
OUTCOME = pytest.StashKey[str]()
"""How a test ended so far."""
NETWORK: pytest.StashKey[Interception] = pytest.StashKey()
"""What stands between the test that runs and the network, while something does."""
VERIFIED = pytest.StashKey[dict[str, Any]]()
"""What came of asking again what is on the tape of a test."""
COLLECTED = pytest.StashKey[list[pytest.CollectReport]]()
"""What this process has collected."""
RECORDINGS: pytest.StashKey[Recordings] = pytest.StashKey()
"""What this process knows of the tapes of the run, once there is one."""


def is_virtual(item: Any) -> bool:
    """Tell whether a test asks for virtual time."""
    return "virtual_clock" in getattr(item, "fixturenames", ())


def may_use_tape(item: pytest.Item) -> bool:
    """Tell whether a test asks for a tape, by name, by the marker, or by `getfixturevalue` when it had begun."""
    is_named = "cassette" in getattr(item, "fixturenames", ()) or "cassette" in item.stash.get(FAKES, {})
    return is_named or item.get_closest_marker("cassette") is not None


def is_blocked(config: pytest.Config) -> bool:
    """Tell whether the network is blocked, by the command line or the configuration; also before either is complete."""
    options = (getattr(config, "known_args_namespace", None), config.option)
    named = any(getattr(found, "llm_block_network", None) for found in options)
    return bool(named or config.getini("llm_block_network"))


def recordings_of(config: pytest.Config) -> Recordings:
    """Return what this process knows of the tapes of the run."""
    if (known := config.stash.get(RECORDINGS, None)) is not None:
        return known
    from _fakellm_pytest.recordings import Recordings

    return Recordings.register(config)


# -- a run --------------------------------------------------------------------------------------------


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
    parser.addini("llm_strict_requests", "fakes refuse what the real API would refuse", type="bool", default=False)
    group.addoption(
        "--llm-record",
        choices=MODES,
        default=None,
        help="record mode of cassettes, with vcrpy's meaning; or rewrite, which is all without what is not asked for "
        "any more, or verify, which plays tapes and asks again what is on them (default: none where CI is set, else "
        "once)",
    )
    parser.addini("llm_record", "as --llm-record", default="")
    parser.addini(
        "llm_cassette_strict", "an interaction that no request asked for fails the test", type="bool", default=False
    )
    parser.addini(
        "llm_record_on_exception", "what a test that did not pass recorded is kept", type="bool", default=False
    )
    group.addoption(
        "--llm-usage",
        metavar="FILE",
        default=None,
        help="write into FILE, as JSON, which tapes and interactions the tests asked for: fakellm check reads it",
    )
    group.addoption(
        "--llm-report",
        action="store_true",
        default=False,
        help="say at the end what each test asked: calls, chunks, bytes, misses, tapes",
    )
    group.addoption(
        "--llm-html",
        metavar="FILE",
        default=None,
        help="write one page of the run into FILE: calls with their chunks over time, misses, tapes used and unused",
    )
    group.addoption(
        "--llm-virtual-twice",
        action="store_true",
        default=False,
        help="run each test that asks for virtual_clock twice, and fail it where the two runs part",
    )


def _begin(config: pytest.Config) -> None:
    """Guard the session, and give its clients keys, if that is wanted."""
    if is_blocked(config):
        from _fakellm_pytest.guard import guard_session

        guard_session(config)
    if config.getini("llm_dummy_keys"):
        from _fakellm_pytest.keys import give_keys

        give_keys(config)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    """Begin to guard the session, and let clients be made in it, before the first conftest is imported."""
    _begin(early_config)
    try:
        yield
    except pytest.fail.Exception as error:  # pytest shows a report of it where a test or a module raises it
        raise pytest.UsageError(str(error)) from error


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers, and refuse to run beside a plugin that would be mistaken for this one."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    config.stash[COLLECTED] = []
    _begin(config)
    if config.getoption("--llm-usage"):
        recordings_of(config)  # which writes it, also where no test has a tape
    if config.getoption("--llm-report") or config.getoption("--llm-html"):
        from _fakellm_pytest.telling import Telling

        Telling.register(config)
    me = sys.modules["_fakellm_pytest"]
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
                f"the plugin _fakellm_pytest is loaded twice: {me.__file__} and, as {name!r}, {where}.\n"
                "  to do: pytest finds it by itself; remove the -p option or the pytest_plugins entry that loads it "
                "again, or the second copy"
            )
            raise pytest.UsageError(msg)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist which run it is part of."""
    recordings_of(node.config).invite(node)


# -- collection ---------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Note what was collected; say how a client gets a key where an import failed for want of one, and no secrets."""
    report = yield
    collector.config.stash[COLLECTED].append(report)
    _advise(report, collector.config)
    call: pytest.CallInfo[Any] | None = vars(report).get("call")
    if report.failed and call is not None and call.excinfo:
        from _fakellm_pytest.discretion import redact

        redact(report, (), call.excinfo.value)
    return report


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give a test with the marker cassette its fixture."""
    if item.get_closest_marker("cassette"):
        from _fakellm_pytest.cassettes import use_fixture

        use_fixture(item)


@pytest.hookimpl(wrapper=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> Generator[None, None, None]:
    """Let pytest-asyncio run a test that asks for virtual time in a loop of ours."""
    if not is_virtual(metafunc):
        return (yield)
    from _fakellm_pytest.virtual import loop_factories

    with loop_factories(metafunc):
        return (yield)


# -- a test -------------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test in virtual time twice, if the option says so."""
    if not (is_virtual(item) and item.config.getoption("--llm-virtual-twice")):
        return None
    from _fakellm_pytest.virtual import run_twice

    return run_twice(item, nextitem)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give a test that asks for virtual time its clock."""
    if is_virtual(item):
        from _fakellm_pytest.virtual import begin

        begin(item)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    """Keep what a fixture of a wider scope sends off the tape of one test."""
    network = request.config.stash.get(NETWORK, None)
    if network is None or fixturedef.scope == "function":
        return (yield)
    from _fakellm_pytest.guard import named_outsider

    with named_outsider(fixturedef, network):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """See that it runs on that, and how far it is, if it is a sweep."""
    __tracebackhide__ = True
    with ExitStack() as stack:
        if is_virtual(item):
            from _fakellm_pytest.virtual import on_its_loop

            stack.enter_context(on_its_loop(item))
        if hasattr(getattr(item, "obj", None), "sweep_progress"):
            from _fakellm_pytest.sweeps import watched

            stack.enter_context(watched(item))
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the calls and the chunks of the fakes in the report of a test that failed, and no secrets."""
    report = yield
    _advise(report, item.config)
    _note(item, report)
    fakes = item.stash.get(FAKES, {})
    if report.failed and report.when != "teardown":
        for name, fake in fakes.items():
            what = "what happened when" if name == "virtual_clock" else "calls and chunks"
            report.sections.append((f"{name}: {what}", fake.report()))
    if (report.longrepr or report.sections or hasattr(report, "wasxfail")) and (fakes or call.excinfo):
        from _fakellm_pytest.discretion import redact

        redact(report, fakes.values(), call.excinfo.value if call.excinfo else None)
    return report


def pytest_report_teststatus(report: pytest.CollectReport | pytest.TestReport) -> tuple[str, str, str] | None:
    """Say under `-v` how many cases of a sweep ran."""
    if not isinstance(report, pytest.TestReport) or report.when != "call" or not report.user_properties:
        return None
    from _fakellm_pytest.sweeps import word_of

    return word_of(report)


def _note(item: pytest.Item, report: pytest.TestReport) -> None:
    """Note how a test ended so far; with its last report its tape is kept or dropped."""
    stash = item.stash
    if report.when == "setup":
        stash[OUTCOME] = "passed"
    if not report.passed and stash.get(OUTCOME, "") != "failed":
        stash[OUTCOME] = report.outcome
    if report.when != "teardown":
        stash[PASSED] = report.when == "call" and stash.get(OUTCOME, "passed") == "passed"
    elif may_use_tape(item):
        recordings_of(item.config).hear(item, report)


def _advise(report: pytest.CollectReport | pytest.TestReport, config: pytest.Config) -> None:
    if report.failed and not config.getini("llm_dummy_keys"):
        from _fakellm_pytest.keys import advise

        advise(report)
