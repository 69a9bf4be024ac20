"""What all tests share: both event loops, all processors, examples that take the time they need."""

from __future__ import annotations

import gc
from contextlib import ExitStack

import pytest
from hypothesis import Phase, settings

from fakellm.http.certificates import wait_for_use

# Collecting imports a dozen SDKs, whose classes all stay: looking for garbage among them takes a fifth of the time.
gc.disable()

# No test depends on the wall clock, or on luck: a failure is the same at every run. What is found by looking further is
# found by `--hypothesis-profile=thorough`, which takes other examples each time, many, and says how to replay them.
FAST = (Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink)  # no time for Phase.explain
for name, examples, same in (("fakellm", 10, True), ("exhaustive", 100, True), ("thorough", 1000, False)):
    settings.register_profile(
        name, max_examples=examples, derandomize=same, deadline=None, print_blob=True, phases=FAST
    )
settings.load_profile("fakellm")


def pytest_addoption(parser):
    """Let a run of everything be one of everything."""
    text = "with the tests of every cut, of the whole corpus and of many processes, which take as long as the others"
    parser.addoption("--exhaustive", action="store_true", help=text)
    parser.addoption("--brief", action="store_true", help="without them, also where tests are named")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Run all tests on all processors, where pytest-xdist is installed; a few, or in a debugger, in this process.

    Of all tests the exhaustive ones are left out, unless they are asked for. What is named is run, but with `--brief`.
    """
    options = config.option
    everything = config.args_source is config.ArgsSource.TESTPATHS
    options.exhaustive = options.exhaustive or not (everything or options.brief)
    is_worker = hasattr(config, "workerinput")  # it would start workers of its own, and those others
    if is_worker or not everything or options.usepdb or options.collectonly:
        return
    if getattr(options, "numprocesses", 0) is None and options.dist == "no":
        options.numprocesses, options.dist = "auto", "worksteal"


def pytest_configure(config):
    """Let the clients that tests make wait with certificates, fake or no fake: none is used but on loopback."""
    config.addinivalue_line("markers", "exhaustive: left out where all tests are run, but with --exhaustive (CI does)")
    if config.option.exhaustive and not config.getoption("--hypothesis-profile", None):
        settings.load_profile("exhaustive")
    stack = ExitStack()
    wait_for_use(stack)
    config.add_cleanup(stack.close)


def pytest_collection_modifyitems(config, items):
    """Leave out what is exhaustive, but with --exhaustive or by its name."""
    if config.option.exhaustive:
        return
    left_out = [item for item in items if item.get_closest_marker("exhaustive")]
    config.hook.pytest_deselected(items=left_out)
    gone = set(left_out)
    items[:] = [item for item in items if item not in gone]


def pytest_collection_finish():
    """Keep what is there now, tens of thousands of tests and libraries, out of every later garbage collection."""
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(20_000, 20, 20)  # tests that are about garbage collect it themselves


@pytest.fixture(scope="module")
def frozen():
    """Keep what was loaded since out of what the tests of a module collect: it costs each a fifth of a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param
