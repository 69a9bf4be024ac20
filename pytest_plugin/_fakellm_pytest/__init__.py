"""The pytest plugin of fakellm: the fixtures `fake_llm` and `fake_chat_model`.

Every pytest run pays for importing this module, so it imports pytest and the standard library only;
fakellm itself is imported by the first test that asks for a fixture.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from fakellm import FakeChatModel, FakeLLM

_MARKER = "fake_llm(allow_unused=False, allow_misses=False): let replies stay unused, or misses be caught by the app"
_OPTIONS = ("allow_unused", "allow_misses")

_fakes = pytest.StashKey[dict[str, Any]]()
_passed = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, and refuse to run beside a plugin that would be mistaken for this one."""
    config.addinivalue_line("markers", _MARKER)
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
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the calls and the chunks of the fakes in the report of a test that failed."""
    report = yield
    if report.when == "call":
        item.stash[_passed] = report.passed
    if report.failed and report.when != "teardown":
        for name, fake in item.stash.get(_fakes, {}).items():
            report.sections.append((f"{name}: calls and chunks", fake.report()))
    return report


@pytest.fixture
def fake_llm(request: pytest.FixtureRequest) -> Iterator[FakeLLM]:
    """A text model without replies yet: `fake_llm.reply("Hel", "lo")`, `.when(...)`, `.otherwise(...)`.

    Strict: at teardown the test fails if a reply was never asked for, or if the app caught the error of a
    call that had no reply. `@pytest.mark.fake_llm(allow_unused=True, allow_misses=True)` allows that.
    """
    yield from _strict(request, "fake_llm", "FakeLLM")


@pytest.fixture
def fake_chat_model(request: pytest.FixtureRequest) -> Iterator[FakeChatModel]:
    """A chat model without replies yet; everything else is as in `fake_llm`."""
    yield from _strict(request, "fake_chat_model", "FakeChatModel")


def _strict(request: pytest.FixtureRequest, name: str, kind: str) -> Iterator[Any]:
    """Yield a fake, and check after the test, if that passed, that everything went as scripted."""
    allowed = _allowed(request.node)
    fake = _kind(kind)()
    request.node.stash.setdefault(_fakes, {})[name] = fake
    yield fake
    if request.node.stash.get(_passed, False) and (problem := _problem(fake, allowed)):
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


def _kind(name: str) -> Any:
    """Return a class of fakellm, or say that another package has its name."""
    try:
        import fakellm

        return getattr(fakellm, name)
    except (ImportError, AttributeError) as error:
        where = getattr(sys.modules.get("fakellm"), "__file__", None)
        msg = (
            f"the package fakellm ({where or 'not importable'}) is not that of fakellm-stream: {error}\n"
            "  to do: pip uninstall -y fakellm fakellm-stream, then pip install fakellm-stream; a file or folder "
            "of your own that is called fakellm needs another name"
        )
        raise pytest.UsageError(msg) from error
