"""Fallbacks: other Runnables to try when one raises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from fakellm.concurrency import closing
from fakellm.runnable import plans, runs
from fakellm.runnable.base import Configured, Input, Output, Runnable
from fakellm.runnable.config import RunnableConfig
from fakellm.runnable.plans import Plan, Step
from fakellm.runnable.runs import MISSING
from fakellm.runnable.shown import call, named, shown, unusual
from fakellm.runnable.wrappers import exception_types, is_ending, operand


class RunnableWithFallbacks(Runnable[Input, Output]):
    """A Runnable with others to try, in order, when it raises one of `exceptions_to_handle`.

    Other exceptions are raised at once. With `exception_key` the others get the input with the last
    error under that key; the input must then be a dict (else `ValueError`). A stream falls back only
    before its first chunk. A batch handles `Exception`s only; nobody handles cancellation and closing.

    Unlike LangChain, the first error is raised in every method when all fail, a stream that ends without a
    chunk is a result, the caller's dict is not changed, `stream` hands its config on, and the `run_name` is
    never inherited.
    """

    def __init__(
        self,
        runnable: Runnable[Input, Output],
        fallbacks: Sequence[Runnable[Input, Output]],
        *,
        exceptions_to_handle: tuple[type[BaseException], ...] = (Exception,),
        exception_key: str | None = None,
    ) -> None:
        if isinstance(fallbacks, Runnable) or not isinstance(fallbacks, Iterable):
            msg = f"fallbacks are a list of Runnables, not {fallbacks!r}; write with_fallbacks([...])"
            raise TypeError(msg)
        self.runnables = (runnable, *fallbacks)
        for other in self.runnables:
            if not hasattr(other, "invoke"):
                msg = f"a fallback is a Runnable, not {other!r}; wrap a function in RunnableLambda"
                raise TypeError(msg)
        self.handled = exception_types("exceptions_to_handle", exceptions_to_handle)
        self.exception_key = exception_key

    def __repr__(self) -> str:
        options = {"exceptions_to_handle": self.handled, "exception_key": self.exception_key}
        given = named(unusual(options, exceptions_to_handle=(Exception,)))
        first, *others = self.runnables
        return operand(first) + call(".with_fallbacks", [shown(others), *given])

    def _own_name(self) -> str:
        return f"RunnableWithFallbacks<{self.runnables[0].get_name()}>"

    def _input(self, value: Any, error: BaseException | None) -> Any:
        """Return what a Runnable gets after this error."""
        if self.exception_key is None:
            return value
        if not isinstance(value, Mapping):
            msg = f"exception_key={self.exception_key!r} puts the error into the input, which is no dict but {value!r}"
            raise ValueError(msg)  # noqa: TRY004 - LangChain's type for it
        return value if error is None else {**value, self.exception_key: error}

    def _tries(self, value: Input, kwargs: dict[str, Any], config: RunnableConfig) -> Plan[Output]:
        errors: list[BaseException] = []
        for runnable in self.runnables:
            given = self._input(value, errors[-1] if errors else None)
            try:
                output: Output = yield Step(
                    partial(runnable.invoke, given, config, **kwargs),
                    partial(runnable.ainvoke, given, config, **kwargs),
                )
            except self.handled as error:
                if is_ending(error):
                    raise
                errors.append(error)
            else:
                return output
        raise errors[0]

    def invoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Return the output of the first that gives one."""
        return runs.call(self.get_name(), lambda child: plans.run(self._tries(input, kwargs, child)), input, config)

    async def ainvoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Return the output of the first that gives one."""
        return await runs.acall(
            self.get_name(), lambda child: plans.arun(self._tries(input, kwargs, child)), input, config
        )

    def _batch(
        self, items: list[Input], configs: Configured, kwargs: dict[str, Any], *, return_exceptions: bool
    ) -> Plan[list[Any]]:
        with runs.tracked_all(self.get_name(), items, configs) as rows:
            pending = list(range(len(items)))
            last: dict[int, Exception] = {}
            first: dict[int, Exception] = {}
            for runnable in self.runnables:
                given = [self._input(items[i], last.get(i)) for i in pending]
                children = [rows[i].config for i in pending]
                options = {**kwargs, "return_exceptions": True}
                outputs = yield Step(
                    partial(runnable.batch, given, children, **options),
                    partial(runnable.abatch, given, children, **options),
                )
                for index, output in zip(pending, outputs, strict=True):
                    if isinstance(output, self.handled) and isinstance(output, Exception):
                        first.setdefault(index, output)
                        last[index] = output
                        runs.settle(rows[index], first[index])
                    else:
                        runs.settle(rows[index], output)
                failed = [i for i in pending if rows[i].failure is not None]
                pending = [i for i in failed if isinstance(rows[i].failure, self.handled)]
                if not return_exceptions:
                    runs.results([rows[i] for i in failed if i not in pending], return_exceptions=False)
                if not pending:
                    break
            return runs.results(rows, return_exceptions=return_exceptions)

    def _stream(self, value: Input, config: RunnableConfig, kwargs: dict[str, Any]) -> Iterator[Output]:
        errors: list[BaseException] = []
        for runnable in self.runnables:
            given = self._input(value, errors[-1] if errors else None)
            try:
                source = runnable.stream(given, config, **kwargs)
                first = next(source, MISSING)
            except self.handled as error:
                if is_ending(error):
                    raise
                errors.append(error)
                continue
            if first is not MISSING:
                with closing(source):
                    yield first
                    yield from source
            return
        raise errors[0]

    async def _astream(self, value: Input, config: RunnableConfig, kwargs: dict[str, Any]) -> AsyncIterator[Output]:
        errors: list[BaseException] = []
        for runnable in self.runnables:
            given = self._input(value, errors[-1] if errors else None)
            try:
                source = runnable.astream(given, config, **kwargs)
                first = await anext(source, MISSING)
            except self.handled as error:
                if is_ending(error):
                    raise
                errors.append(error)
                continue
            if first is not MISSING:
                async with closing(source):
                    yield first
                    async for chunk in source:
                        yield chunk
            return
        raise errors[0]

    def stream(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Output]:
        """Yield the chunks of the first that delivers one, or ends without one."""
        return runs.stream(self.get_name(), lambda child: self._stream(input, child, kwargs), input, config)

    def astream(
        self,
        input: Input,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Output]:
        """Yield the chunks of the first that delivers one, or ends without one."""
        return runs.astream(self.get_name(), lambda child: self._astream(input, child, kwargs), input, config)
