"""What the scenarios share that are run on LangChain and on ours."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from fakellm.runnable.base import Runnable
from fakellm.runnable.compose import RunnableSequence
from fakellm.runnable.functions import RunnableGenerator, RunnableLambda
from fakellm.runnable.parallel import RunnableParallel

core = pytest.importorskip("langchain_core.runnables", reason="compares with langchain-core, which is not installed")


LIBRARIES = {
    "langchain": SimpleNamespace(
        Runnable=core.Runnable,
        Lambda=core.RunnableLambda,
        Generator=core.RunnableGenerator,
        Parallel=core.RunnableParallel,
        Sequence=core.RunnableSequence,
    ),
    "fakellm": SimpleNamespace(
        Runnable=Runnable,
        Lambda=RunnableLambda,
        Generator=RunnableGenerator,
        Parallel=RunnableParallel,
        Sequence=RunnableSequence,
    ),
}


SAFETY = 20


class Table(list):
    """Scenarios as parameters of a test: each a function of one library, with what it has to observe."""

    def ours(self, *, langchain, fakellm):
        """Add a scenario with what is observed of each library."""

        def add(scenario):
            for library, expected in (("langchain", langchain), ("fakellm", fakellm)):
                self.append(pytest.param(scenario, library, expected, id=f"{scenario.__name__}-{library}"))
            return scenario

        return add

    def both(self, expected):
        """Add a scenario that is observed alike."""
        return self.ours(langchain=expected, fakellm=expected)


def outcome(call, *args, **kwargs):
    """Return what a call returned, or the type of what it raised."""
    try:
        return call(*args, **kwargs)
    except BaseException as error:
        return type(error)


def kinds(values):
    """Return the values with exceptions as their types."""
    return [type(value) if isinstance(value, BaseException) else value for value in values]


def seen(config):
    """Return what a config says, without empty parts, the defaults and what is a library's own."""
    keys = ("tags", "metadata", "configurable", "run_name", "max_concurrency", "recursion_limit")
    found = {key: (config or {}).get(key) for key in keys}
    return {key: value for key, value in found.items() if value and (key, value) != ("recursion_limit", 25)}


def plain(lib, function):
    """Return an instance of a subclass that supplies only `invoke`."""

    class Plain(lib.Runnable):
        def invoke(self, input, config=None, **kwargs):
            return function(input, config, **kwargs)

    return Plain()


def raising(kind):
    """Return a function that raises."""

    def fail(value):
        raise kind(value)

    return fail


def echo(value):
    return value


class Fatal(BaseException):
    """No `Exception`."""


async def aecho(value):
    return value


def copied(chunks):
    yield from chunks


def counting(value):
    yield from (value, value + 1)


def unlike(value):
    yield from (1, "a")


def silent(value):
    yield from ()


def failing(times, kind=ValueError):
    """Return a function that raises for each value as often as said, its log beside it."""
    log = []

    def call(value):
        log.append(value)
        if log.count(value) <= times:
            raise kind(f"{value} {log.count(value)}")
        return value

    return call, log


def retried(lib, function, **options):
    return lib.Lambda(function).with_retry(wait_exponential_jitter=False, **options)


@contextmanager
def no_garbage_collection():
    """Let nothing but the code itself close a generator that is part of a reference cycle."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
