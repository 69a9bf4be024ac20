"""What is behind the fixture, the marker and the option of virtual time: which tests have it, and on which event loop.

Only a test that asks for `virtual_clock` gets a loop of ours: under pytest-asyncio through its hook for loop factories,
under anyio through the options of its backend. The loops of all other tests are not touched.
"""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import pytest

from _fakellm_pytest.discretion import note

if TYPE_CHECKING:
    from fakellm.clock import VirtualClock

_FIXTURE = "virtual_clock"
_OPTIONS = ("seed", "patch_time")
_HOOK = "pytest_asyncio_loop_factories"
_CLOCK = pytest.StashKey["VirtualClock"]()
_CURRENT = pytest.StashKey[pytest.Item]()


# -- the fixture --------------------------------------------------------------------------------------


def ticking(request: pytest.FixtureRequest) -> Iterator[VirtualClock]:
    """Yield the clock of a test."""
    from _fakellm_pytest import kind_of

    options = _options(request.node)
    clock = request.node.stash.get(_CLOCK, None)
    if clock is None:  # it was asked for by name, in a test that has begun
        clock = request.node.stash[_CLOCK] = kind_of("VirtualClock", "clock")()
    note(request.node, _FIXTURE, clock)
    is_async = _coroutine_function(request.node) is not None
    if is_async and (problem := _without_loop(request.node)):
        pytest.fail(problem, pytrace=False)
    wanted = options.get("patch_time")
    with ExitStack() as stack:
        if wanted if wanted is not None else not is_async:
            stack.enter_context(clock.patch_time())
        yield clock


def _options(node: pytest.Item) -> dict[str, Any]:
    """Return what the markers of the test say; the nearest marker wins."""
    options: dict[str, Any] = {}
    for marker in node.iter_markers(_FIXTURE):
        unknown = [repr(arg) for arg in marker.args] + [key for key in marker.kwargs if key not in _OPTIONS]
        if unknown:
            msg = f"the marker virtual_clock takes {' and '.join(_OPTIONS)}, not {', '.join(unknown)}"
            pytest.fail(msg, pytrace=False)
        options = {**marker.kwargs, **options}
    return options


def _coroutine_function(item: pytest.Item) -> Any:
    """Return the asynchronous function of a test, or None where the test is a plain one."""
    function = getattr(item, "obj", None)
    inner = getattr(getattr(function, "hypothesis", None), "inner_test", function)
    return inner if inspect.iscoroutinefunction(inner) else None


def _is_anyio(item: pytest.Item) -> bool:
    return item.get_closest_marker("anyio") is not None or "anyio_backend" in getattr(item, "fixturenames", ())


def _without_loop(item: pytest.Item) -> str | None:
    """Say why an asynchronous test has no loop in virtual time, if that is so."""
    if _is_anyio(item):
        return None
    plugin = sys.modules.get("pytest_asyncio")
    is_asyncio = item.get_closest_marker("asyncio") is not None and plugin is not None
    if is_asyncio and hasattr(item.config.hook, _HOOK):
        return None
    why = (
        f"pytest-asyncio {getattr(plugin, '__version__', '')} takes no loop from other plugins; 1.4 and newer do.\n"
        "  to do:     pip install 'pytest-asyncio>=1.4'"
        if is_asyncio
        else "no plugin that is known to virtual_clock runs this asynchronous test.\n"
        "  to do:     mark it asyncio (pytest-asyncio 1.4 or newer) or anyio"
    )
    own = "or make it a plain test that calls fakellm.clock.run(main(), clock=virtual_clock)"
    return f"{item.nodeid} asks for virtual_clock, but would run in real time: {why}\n             {own}"


# -- the loops ----------------------------------------------------------------------------------------


def begin(item: pytest.Item) -> None:
    """Give a test its clock, before all of its fixtures, and the loop under anyio."""
    from _fakellm_pytest import kind_of

    item.stash[_CLOCK] = kind_of("VirtualClock", "clock")()
    item.config.stash[_CURRENT] = item
    if _coroutine_function(item) is not None and _is_anyio(item):
        _refuse_shared_runner(item)
        _override_backend(item)


def _loop_factory(config: pytest.Config) -> Callable[[], Any]:
    """Return what makes the loop of the test that runs."""

    def virtual_loop() -> Any:
        from fakellm.clock import VirtualLoop

        item = config.stash[_CURRENT]
        return VirtualLoop(item.stash[_CLOCK], seed=_options(item).get("seed"))

    return virtual_loop


class _LoopFactories:
    """Is a plugin while pytest-asyncio asks which loops a test that wants virtual time runs in."""

    def __init__(self, factory: Callable[[], Any]) -> None:
        self._factory = factory

    @pytest.hookimpl(tryfirst=True)
    def pytest_asyncio_loop_factories(self) -> dict[str, Callable[[], Any]]:
        """Return our loop, and no other."""
        return {"virtual": self._factory}


@contextmanager
def loop_factories(metafunc: pytest.Metafunc) -> Iterator[None]:
    """Answer pytest-asyncio for a test that asks for virtual time."""
    config = metafunc.config
    if not hasattr(config.hook, _HOOK):
        yield
        return
    plugin = config.pluginmanager.register(_LoopFactories(_loop_factory(config)), "_fakellm_pytest_loops")
    try:
        yield
    finally:
        config.pluginmanager.unregister(name="_fakellm_pytest_loops")
        del plugin


def _refuse_shared_runner(item: Any) -> None:
    """Fail a test whose asynchronous fixtures of a wider scope would keep its loop alive for tests that want none."""
    for name in item.fixturenames:
        for definition in item._fixtureinfo.name2fixturedefs.get(name, ()):  # noqa: SLF001 - as _override_backend
            function = definition.func
            is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
            if is_async and definition.scope != "function":
                msg = (
                    f"{item.nodeid} asks for virtual_clock, and shares its event loop with other tests by the "
                    f"asynchronous fixture {name!r}, whose scope is {definition.scope}.\n"
                    "  to do:     give the fixture the scope of a function, or let the test do without it"
                )
                pytest.fail(msg, pytrace=False)


def _override_backend(item: Any) -> None:
    """Let anyio's backend, whichever the test's own fixture says, run in virtual time: for this test only."""
    definitions = item._fixtureinfo.name2fixturedefs  # noqa: SLF001 - no hook of anyio's asks for a loop
    own = definitions.get("anyio_backend") or item.session._fixturemanager.getfixturedefs("anyio_backend", item)  # noqa: SLF001
    if not own or hasattr(own[-1].func, "_is_virtual"):
        return
    ours = copy.copy(own[-1])
    vars(ours).update(func=_virtual_backend(own[-1].func, item.config), cached_result=None, _finalizers=[])
    definitions["anyio_backend"] = [*own[:-1], ours]


def _virtual_backend(function: Callable[..., Any], config: pytest.Config) -> Callable[..., Any]:
    def virtual(backend: Any) -> Any:
        name, options = (backend, {}) if isinstance(backend, str) else backend
        if name == "trio":
            from fakellm.clock import trio_options

            return name, {**options, **trio_options(lambda: config.stash[_CURRENT].stash[_CLOCK])}
        return name, {**options, "use_uvloop": False, "loop_factory": _loop_factory(config)}

    @wraps(function)
    def backend(*args: Any, **kwargs: Any) -> Any:
        return virtual(function(*args, **kwargs))

    @wraps(function)
    def backends(*args: Any, **kwargs: Any) -> Iterator[Any]:
        for each in function(*args, **kwargs):
            yield virtual(each)

    made: Any = backends if inspect.isgeneratorfunction(function) else backend
    made._is_virtual = True  # noqa: SLF001
    return made  # type: ignore[no-any-return]


@contextmanager
def on_its_loop(item: Any) -> Iterator[None]:
    """Check, when an asynchronous test begins, that its loop's time is virtual."""
    function = getattr(item, "obj", None)
    clock = item.stash.get(_CLOCK, None)
    if clock is None or not inspect.iscoroutinefunction(function):
        yield
        return

    @wraps(function)
    async def checked(*args: Any, **kwargs: Any) -> Any:
        from fakellm.concurrency import clock_of_loop

        if clock_of_loop() is not clock:
            pytest.fail(_ON_ANOTHER, pytrace=False)
        trio = sys.modules.get("trio")
        if trio is not None and trio.lowlevel.in_trio_run():
            from fakellm.clock import trio_guarded

            await trio_guarded(partial(function, *args, **kwargs))
        else:
            await function(*args, **kwargs)

    item.obj = checked
    try:
        yield
    finally:
        item.obj = function


_ON_ANOTHER = (
    "the test asks for virtual_clock, but its event loop was made before it, or by something else.\n"
    "  to do:     let the test have a loop of its own: loop_scope='function' under pytest-asyncio; no asynchronous "
    "fixture of a wider scope; no event_loop_policy or loop factory of the project for this test"
)


# -- twice --------------------------------------------------------------------------------------------


def run_twice(item: Any, nextitem: pytest.Item | None) -> bool:
    """Run a test in virtual time twice, and report the second run, and where they part."""
    from _pytest.runner import runtestprotocol

    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    if all(report.passed for report in reports):
        first = item.stash[_CLOCK].timeline.closed
        item._initrequest()  # noqa: SLF001 - as plugins that run a test again do
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        _compare(first, item.stash[_CLOCK].timeline.closed, reports)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _compare(first: Any, second: Any, reports: list[pytest.TestReport]) -> None:
    from fakellm.clock import TwoRunsDifferError, compare

    call = next((report for report in reports if report.when == "call"), None)
    if call is None or not call.passed:
        return
    try:
        compare(first, second)
    except TwoRunsDifferError as error:
        call.outcome, call.longrepr = "failed", str(error)
