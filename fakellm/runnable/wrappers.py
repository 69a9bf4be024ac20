"""Wrappers around one Runnable: bound arguments and config, and retries."""

from __future__ import annotations

import math
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from fakellm.clock.clock import Clock, InstantClock, unless_instant
from fakellm.concurrency import is_cancellation
from fakellm.errors import clip
from fakellm.runnable import plans, runs
from fakellm.runnable.base import Configs, Configured, Input, Output, Runnable
from fakellm.runnable.config import RunnableConfig, config_list, ensure_config, merge_configs
from fakellm.runnable.plans import Plan, Step
from fakellm.runnable.shown import LONG, call, named, shown, unusual


def operand(runnable: Any) -> str:
    """Write what a method is called on: `first | second` stands in parentheses there."""
    from fakellm.runnable.compose import RunnableSequence

    is_bars = isinstance(runnable, RunnableSequence) and runnable.is_bars
    return f"({runnable!r})" if is_bars else shown(runnable)


class RunnableBinding(Runnable[Input, Output]):
    """A Runnable with keyword arguments and a config for every call.

    Arguments of the call win over bound ones; the call's config is merged into the bound one (see
    `merge_configs`). Wrapping a binding again makes one binding, whose newer keys replace the older.

    Unlike LangChain, a batch takes its configs as any sequence and gives a shared `run_id` to its first
    input only.
    """

    def __init__(
        self,
        bound: Runnable[Input, Output],
        *,
        kwargs: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        # A binding of a binding is one binding; a retry of one keeps it, whole, inside.
        is_flat = type(self) is type(bound) is RunnableBinding
        inner = bound if is_flat and isinstance(bound, RunnableBinding) else None
        self.bound: Runnable[Input, Output] = inner.bound if inner else bound
        self.kwargs: dict[str, Any] = {**(inner.kwargs if inner else {}), **(kwargs or {})}
        self.config: dict[str, Any] = {**(inner.config if inner else {}), **(config or {})}

    def __repr__(self) -> str:
        methods = [call(".bind", named(self.kwargs))] if self.kwargs or not self.config else []
        if self.config:
            methods.append(call(".with_config", [clip(shown(self.config), LONG)]))
        return operand(self.bound) + "".join(methods)

    if not TYPE_CHECKING:  # pragma: no branch

        def __getattr__(self, name: str) -> Any:
            """Say where what the Runnable inside has is."""
            inner = None if name.startswith("_") else vars(self).get("bound")
            if inner is not None and hasattr(inner, name):
                msg = f"{type(self).__name__} has no {name!r}; the Runnable inside has: write .bound.{name}"
                raise AttributeError(msg, name=name, obj=self)
            return super().__getattr__(name)

    def _own_name(self) -> str:
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

    def _configs(self, config: Configs, length: int) -> list[RunnableConfig]:
        given = config_list(config, length)
        return [self._merged(one) for one in given]

    def _job(self, input: Input, config: RunnableConfig | None, kwargs: dict[str, Any]) -> Callable[[], Output]:
        inner = self.bound
        (full,) = inner._configs(config, 1)  # noqa: SLF001 - another Runnable's
        return inner._job(input, full, {**self.kwargs, **kwargs})  # noqa: SLF001

    def _ajob(
        self,
        input: Input,
        config: RunnableConfig | None,
        kwargs: dict[str, Any],
    ) -> Callable[[], Awaitable[Output]]:
        inner = self.bound
        (full,) = inner._configs(config, 1)  # noqa: SLF001 - another Runnable's
        return inner._ajob(input, full, {**self.kwargs, **kwargs})  # noqa: SLF001

    def _batch(
        self, items: list[Input], configs: Configured, kwargs: dict[str, Any], *, return_exceptions: bool
    ) -> Plan[list[Any]]:
        options = {"return_exceptions": return_exceptions, **self.kwargs, **kwargs}
        results: list[Any] = yield Step(
            partial(self.bound.batch, items, configs, **options),
            partial(self.bound.abatch, items, configs, **options),
        )
        return results


_WAITS = {"initial": 1.0, "max": sys.float_info.max, "exp_base": 2.0, "jitter": 0.0}


def exception_types(name: str, given: Any) -> tuple[type[BaseException], ...]:
    """Return the exception types that an argument names; one type counts as a tuple of it."""
    types = (given,) if isinstance(given, type) else given
    if isinstance(types, (tuple, list)) and all(isinstance(t, type) and issubclass(t, BaseException) for t in types):
        return tuple(types)
    msg = f"{name} is a tuple of exception types, not {given!r}"
    raise TypeError(msg)


def is_ending(error: BaseException) -> bool:
    """Tell whether the error ends the caller itself, a cancellation or a closing: nobody may handle that."""
    return isinstance(error, GeneratorExit) or is_cancellation(error)


class RunnableRetry(RunnableBinding[Input, Output]):
    """A Runnable that is called again when it raises.

    Up to `stop_after_attempt` calls for one output; then the last error is raised. `retry_if_exception_type`
    are exception types, or a predicate. It covers `invoke`, `batch` and their asynchronous forms; streams
    pass through, since what was delivered cannot be taken back, and so do the `as_completed` methods.
    A batch calls again only what failed, and each input keeps its own result or error; there, only
    `Exception`s are handled.

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
        is_predicate = callable(retry_if_exception_type) and not isinstance(retry_if_exception_type, type)
        self._retried = (
            retry_if_exception_type
            if is_predicate
            else exception_types("retry_if_exception_type", retry_if_exception_type)
        )
        self._waits = wait_exponential_jitter
        self._params = {**_WAITS, **(exponential_jitter_params or {})}
        if unknown := set(self._params) - set(_WAITS):
            msg = f"exponential_jitter_params has {', '.join(sorted(unknown))}; it takes {', '.join(_WAITS)}"
            raise ValueError(msg)

    def __repr__(self) -> str:
        options = unusual(
            {
                "retry_if_exception_type": self._retried,
                "wait_exponential_jitter": self._waits,
                "exponential_jitter_params": unusual(self._params, **_WAITS) or None,
                "stop_after_attempt": self.attempts,
                "clock": unless_instant(self.clock),
            },
            retry_if_exception_type=(Exception,),
            wait_exponential_jitter=True,
            stop_after_attempt=3,
        )
        return operand(self.bound) + call(".with_retry", named(options))

    def _own_name(self) -> str:
        return f"RunnableRetry<{self.bound.get_name()}>"

    def _is_retried(self, error: BaseException) -> bool:
        if is_ending(error):
            return False
        return isinstance(error, self._retried) if isinstance(self._retried, tuple) else self._retried(error)

    def _wait(self, attempt: int) -> Step:
        seconds = 0.0
        if self._waits:
            try:
                seconds = self._params["initial"] * self._params["exp_base"] ** (attempt - 1)
            except OverflowError:
                seconds = math.inf
            seconds = min(seconds, self._params["max"])
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
