"""What all tests share: both event loops, all processors, examples that take the time they need."""

from __future__ import annotations

import gc
from contextlib import ExitStack

import pytest
from hypothesis import Phase, settings

from fakellm.http.certificates import wait_for_use

# No test depends on the wall clock, or on luck: a failure is the same at every run. What is found by looking further is
# found by `--hypothesis-profile=thorough`, which takes other examples each time, many, and says how to replay them.
FAST = (Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink)  # no time for Phase.explain
settings.register_profile("fakellm", deadline=None, derandomize=True, print_blob=True, max_examples=40, phases=FAST)
settings.register_profile("thorough", deadline=None, print_blob=True, max_examples=500, phases=FAST)
settings.load_profile("fakellm")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Run all tests on all processors, where pytest-xdist is installed; a few, or in a debugger, in this process."""
    if hasattr(config, "workerinput"):  # in a worker, which would start workers of its own, and those others
        return
    options = config.option
    everything = config.args_source is config.ArgsSource.TESTPATHS and not (options.usepdb or options.collectonly)
    if everything and getattr(options, "numprocesses", 0) is None and options.dist == "no":
        options.numprocesses, options.dist = "auto", "worksteal"


def pytest_collection_finish():
    """Keep what is there now, tens of thousands of tests and libraries, out of every later garbage collection."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)  # tests that are about garbage collect it themselves


def pytest_configure(config):
    """Let the clients that tests make wait with certificates, fake or no fake: none is used but on loopback."""
    stack = ExitStack()
    wait_for_use(stack)
    config.add_cleanup(stack.close)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param
