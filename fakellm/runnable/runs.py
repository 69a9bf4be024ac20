"""Runs and their events: how a callback sees start, chunks, end and error.

A callback is a function of a `RunEvent`. It is called in the thread or task that makes the step, a chunk
before it is yielded. An exception that it raises is raised to the caller: nothing is swallowed.
Without callbacks no run is made, and streams pay nothing for them.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Self, TypeVar

from fakellm.concurrency import closing
from fakellm.runnable.config import RunnableConfig, child_config, ensure_config, inherited
from fakellm.runnable.events import Run

T = TypeVar("T")
MISSING: Any = object()


def begin(name: str, value: Any, config: RunnableConfig) -> Run | None:
    """Make a run and emit its start, if anybody watches."""
    given = config.get("callbacks")
    if not given:
        return None
    if callable(given):
        msg = f"callbacks are a list of functions, not {given!r}; write [...] around it"
        raise TypeError(msg)
    callbacks = tuple(given)
    for callback in callbacks:
        if not callable(callback) or inspect.iscoroutinefunction(callback):
            msg = f"a callback is a plain function of a RunEvent, not {callback!r}"
            raise TypeError(msg)
    run = Run(
        config.get("run_name") or name,
        value,
        config.get("parent"),
        config.get("run_id"),
        tuple(config.get("tags") or ()),
        dict(config.get("metadata") or {}),
        callbacks,
    )
    run.emit("start")
    return run


def add(left: Any, right: Any) -> Any:
    """Add two values; the newer one wins where they do not add up."""
    if left is MISSING:
        return right
    try:
        return left + right
    except TypeError:
        return right


def fold(items: Iterable[Any]) -> Any:
    """Add up the items from the left, and close their iterator; `MISSING` for none."""
    if isinstance(items, list) and items and all(type(item) is str for item in items):
        return "".join(items)
    total = MISSING
    with closing(items):
        for item in items:
            total = add(total, item)
    return total


async def afold(items: AsyncIterable[Any]) -> Any:
    """Add up the items from the left, and close their iterator; `MISSING` for none."""
    total = MISSING
    async with closing(items):
        async for item in items:
            total = add(total, item)
    return total


def none_for_missing(value: Any) -> Any:
    """Return the value, or None where there is none."""
    return None if value is MISSING else value


class Tracked:
    """One run as a block: emits its start, and its end or error when the block is left.

    `config` is what the steps inside get. Put the result into `output` or what went wrong, where it is
    not raised, into `failure`; or report what streams with `show` before a chunk is yielded and `took`
    when the consumer asks for the next.
    """

    __slots__ = ("_taken", "config", "failure", "output", "run")

    def __init__(self, name: str, value: Any, config: RunnableConfig | None) -> None:
        full = ensure_config(config)
        self.output: Any = MISSING
        self._taken: list[Any] = []
        self.failure: BaseException | None = None
        self.run = begin(name, value, full)
        self.config = child_config(full, self.run)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self.run is None:
            return
        output = none_for_missing(fold(self._taken) if self._taken else self.output)
        error = error or self.failure
        if error is None:
            self.run.emit("end", output=output)
        else:
            self.run.emit("error", error=error, output=output)

    def show(self, chunk: Any) -> None:
        """Tell the callbacks of a chunk that is about to be yielded."""
        if self.run is not None:
            self.run.emit("chunk", chunk=chunk)

    def took(self, chunk: Any) -> None:
        """Add a chunk that the consumer is done with to the output."""
        if self.run is not None:
            self._taken.append(chunk)


@contextmanager
def tracked_all(name: str, values: Sequence[Any], configs: Sequence[RunnableConfig | None]) -> Iterator[list[Tracked]]:
    """One run for each row of a batch, as a block. An error that leaves it is the error of each row."""
    rows = [Tracked(name, value, config) for value, config in zip(values, configs, strict=True)]
    with ExitStack() as stack:
        for row in reversed(rows):
            stack.push(row)
        yield rows


def settle(row: Tracked, result: Any) -> None:
    """Note a row's result, which is its failure if it is an `Exception`."""
    failed = isinstance(result, Exception)
    row.failure, row.output = (result, MISSING) if failed else (None, result)


def results(rows: Sequence[Tracked], *, return_exceptions: bool) -> list[Any]:
    """Return what each row came to; without `return_exceptions` raise the first failure instead."""
    for row in () if return_exceptions else rows:
        if row.failure is not None:
            raise row.failure
    return [row.output if row.failure is None else row.failure for row in rows]


def call(name: str, function: Callable[[RunnableConfig], T], value: Any, config: RunnableConfig | None) -> T:
    """Run `function` on the config for its steps, as one run."""
    with Tracked(name, value, config) as run, inherited(run.config):
        output = run.output = function(run.config)
        return output


async def acall(
    name: str, function: Callable[[RunnableConfig], Awaitable[T]], value: Any, config: RunnableConfig | None
) -> T:
    """Run `function` on the config for its steps, as one run."""
    with Tracked(name, value, config) as run, inherited(run.config):
        output = run.output = await function(run.config)
        return output


def stream(
    name: str, function: Callable[[RunnableConfig], Iterator[T]], value: Any, config: RunnableConfig | None
) -> Iterator[T]:
    """Stream `function(config for its steps)` as one run; closing closes that first. Lazy."""
    with Tracked(name, value, config) as run:
        steps = inherited(run.config)
        with steps:
            source = function(run.config)
        with closing(source):
            while True:
                with steps:
                    chunk: T = next(source, MISSING)
                if chunk is MISSING:
                    return
                run.show(chunk)
                yield chunk
                run.took(chunk)


async def astream(
    name: str, function: Callable[[RunnableConfig], AsyncIterator[T]], value: Any, config: RunnableConfig | None
) -> AsyncIterator[T]:
    """Stream `function(config for its steps)` as one run; closing closes that first. Lazy."""
    with Tracked(name, value, config) as run:
        steps = inherited(run.config)
        with steps:
            source = function(run.config)
        async with closing(source):
            while True:
                with steps:
                    chunk: T = await anext(source, MISSING)
                if chunk is MISSING:
                    return
                run.show(chunk)
                yield chunk
                run.took(chunk)
