"""Wrappers around one Runnable: bound arguments and config, retries, fallbacks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from fakellm import plans, runs
from fakellm.clock import Clock, InstantClock
from fakellm.concurrency import closing, is_cancellation
from fakellm.config import RunnableConfig, ensure_config, merge_configs
from fakellm.plans import Plan, Step
from fakellm.runnable import Configured, Input, Output, Runnable
from fakellm.runs import MISSING


class RunnableBinding(Runnable[Input, Output]):
    """A Runnable with keyword arguments and a config for every call.

    Arguments of the call win over bound ones; the call's config is merged into the bound one (see
    `merge_configs`). Wrapping a binding again makes one binding, whose newer keys replace the older.

    Unlike LangChain, a key of the call's config overrides also where it has its default value, and a batch
    takes its configs as any sequence and gives a shared `run_id` to its first input only.
    """

    def __init__(
        self,
        bound: Runnable[Input, Output],
        *,
        kwargs: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        inner = bound if type(bound) is RunnableBinding else None
        self.bound: Runnable[Input, Output] = inner.bound if inner else bound
        self.kwargs: dict[str, Any] = {**(inner.kwargs if inner else {}), **(kwargs or {})}
        self.config: dict[str, Any] = {**(inner.config if inner else {}), **(config or {})}

    def get_name(self) -> str:
        """Return the name of the Runnable inside."""
        return self.bound.get_name()

    def _merged(self, config: RunnableConfig | None) -> RunnableConfig:
        return ensure_config(merge_configs(self.config, config))

    def invoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Return the output of the Runnable inside."""
        return self.bound.invoke(input, self._merged(config), **{**self.kwargs, **kwargs})

    async def ainvoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Return the output of the Runnable inside."""
        return await self.bound.ainvoke(input, self._merged(config), **{**self.kwargs, **kwargs})

    def stream(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Output]:
        """Return the stream of the Runnable inside."""
        return self.bound.stream(input, self._merged(config), **{**self.kwargs, **kwargs})

    def astream(
        self,
        input: Input,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Output]:
        """Return the stream of the Runnable inside."""
        return self.bound.astream(input, self._merged(config), **{**self.kwargs, **kwargs})

    def transform(
        self,
        input: Iterator[Input],
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[Output]:
        """Return the stream of the Runnable inside."""
        return self.bound.transform(input, self._merged(config), **{**self.kwargs, **kwargs})

    def atransform(
        self,
        input: AsyncIterator[Input],
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Output]:
        """Return the stream of the Runnable inside."""
        return self.bound.atransform(input, self._merged(config), **{**self.kwargs, **kwargs})

    def _job(self, input: Input, config: RunnableConfig | None, kwargs: dict[str, Any]) -> Callable[[], Output]:
        return self.bound._job(  # noqa: SLF001 - another Runnable's
            input, self._merged(config), {**self.kwargs, **kwargs}
        )

    def _ajob(
        self,
        input: Input,
        config: RunnableConfig | None,
        kwargs: dict[str, Any],
    ) -> Callable[[], Awaitable[Output]]:
        return self.bound._ajob(  # noqa: SLF001 - another Runnable's
            input, self._merged(config), {**self.kwargs, **kwargs}
        )

    def _batch(
        self, items: list[Input], configs: Configured, kwargs: dict[str, Any], *, return_exceptions: bool
    ) -> Plan[list[Any]]:
        merged = [self._merged(config) for config in configs]
        options = {"return_exceptions": return_exceptions, **self.kwargs, **kwargs}
        results: list[Any] = yield Step(
            partial(self.bound.batch, items, merged, **options),
            partial(self.bound.abatch, items, merged, **options),
        )
        return results


class RunnableRetry(RunnableBinding[Input, Output]):
    """A Runnable that is called again when it raises.

    Up to `stop_after_attempt` calls for one output; then the last error is raised. `retry_if_exception_type`
    are exception types, or a predicate. It covers `invoke`, `batch` and their asynchronous forms; streams
    pass through, since what was delivered cannot be taken back, and so do the `as_completed` methods.
    A batch calls again only what failed, and each input keeps its own result or error.

    Waits are `initial * exp_base ** (attempt - 1)` seconds, at most `max` (`exponential_jitter_params`; 1, 2
    and no bound by default), on the `clock`, which is an `InstantClock` unless another is given. There is
    no random jitter: runs repeat. `wait_exponential_jitter=False` waits not at all.
    """

    def __init__(
        self,
        bound: Runnable[Input, Output],
        *,
        retry_if_exception_type: tuple[type[BaseException], ...] | Callable[[BaseException], bool] = (Exception,),
        wait_exponential_jitter: bool = True,
        exponential_jitter_params: Mapping[str, float] | None = None,
        stop_after_attempt: int = 3,
        clock: Clock | None = None,
    ) -> None:
        if isinstance(stop_after_attempt, bool) or not isinstance(stop_after_attempt, int) or stop_after_attempt < 1:
            msg = f"stop_after_attempt is a number of attempts from 1 up, not {stop_after_attempt!r}"
            raise ValueError(msg)
        super().__init__(bound)
        self.attempts = stop_after_attempt
        self.clock = clock or InstantClock()
        self._retried = retry_if_exception_type
        self._waits = wait_exponential_jitter
        self._params = {"initial": 1.0, "max": float("inf"), "exp_base": 2.0, **(exponential_jitter_params or {})}

    def get_name(self) -> str:
        """Return a name made of that of the Runnable inside."""
        return self.name or f"RunnableRetry<{self.bound.get_name()}>"

    def _is_retried(self, error: BaseException) -> bool:
        if is_cancellation(error) or isinstance(error, GeneratorExit):
            return False
        if isinstance(self._retried, (tuple, type)):
            return isinstance(error, self._retried)
        return self._retried(error)

    def _wait(self, attempt: int) -> Step:
        seconds = min(self._params["initial"] * self._params["exp_base"] ** (attempt - 1), self._params["max"])
        seconds = seconds if self._waits else 0
        return Step(partial(self.clock.sleep, seconds), partial(self.clock.asleep, seconds))

    def _attempts(self, step: Step) -> Plan[Output]:
        for attempt in range(1, self.attempts):
            try:
                output: Output = yield step
            except BaseException as error:
                if not self._is_retried(error):
                    raise
            else:
                return output
            yield self._wait(attempt)
        output = yield step
        return output

    def _step(self, value: Input, kwargs: dict[str, Any], config: RunnableConfig) -> Step:
        return Step(
            partial(self.bound.invoke, value, config, **kwargs), partial(self.bound.ainvoke, value, config, **kwargs)
        )

    def invoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Return the output of the first call that gives one."""
        return runs.call(
            self.get_name(),
            lambda child: plans.run(self._attempts(self._step(input, kwargs, child))),
            input,
            config,
        )

    async def ainvoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Return the output of the first call that gives one."""
        return await runs.acall(
            self.get_name(),
            lambda child: plans.arun(self._attempts(self._step(input, kwargs, child))),
            input,
            config,
        )

    def _batch(
        self, items: list[Input], configs: Configured, kwargs: dict[str, Any], *, return_exceptions: bool
    ) -> Plan[list[Any]]:
        with runs.tracked_all(self.get_name(), items, configs) as rows:
            pending = list(range(len(items)))
            attempt = 0
            while True:
                attempt += 1
                arguments = ([items[i] for i in pending], [rows[i].config for i in pending])
                options = {**kwargs, "return_exceptions": True}
                outputs = yield Step(
                    partial(self.bound.batch, *arguments, **options),
                    partial(self.bound.abatch, *arguments, **options),
                )
                for index, output in zip(pending, outputs, strict=True):
                    runs.settle(rows[index], output)
                failures = [(i, error) for i in pending if (error := rows[i].failure) is not None]
                pending = [i for i, error in failures if self._is_retried(error)]
                is_settled = not return_exceptions and failures and failures[0][0] not in pending
                if not pending or is_settled or attempt == self.attempts:
                    return runs.results(rows, return_exceptions=return_exceptions)
                yield self._wait(attempt)


class RunnableWithFallbacks(Runnable[Input, Output]):
    """A Runnable with others to try, in order, when it raises one of `exceptions_to_handle`.

    Other exceptions are raised at once. With `exception_key` the others get the input with the last
    error under that key; the input must then be a dict (else `ValueError`). A stream falls back only
    before its first chunk.

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
        self.runnables = (runnable, *fallbacks)
        self.handled = exceptions_to_handle
        self.exception_key = exception_key

    def get_name(self) -> str:
        """Return a name made of that of the first Runnable."""
        return self.name or f"RunnableWithFallbacks<{self.runnables[0].get_name()}>"

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
