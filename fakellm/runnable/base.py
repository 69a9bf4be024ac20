"""`Runnable`: one call, and everything else that follows from it by default.

The semantics are LangChain's, measured on langchain-core 0.3 to 1.8 by running it; where ours differ on
purpose, the docstring of the method says "Unlike LangChain".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from fakellm.concurrency import closing, run_in_thread
from fakellm.runnable import batch as batches
from fakellm.runnable import plans
from fakellm.runnable.config import RunnableConfig, config_list, ensure_config
from fakellm.runnable.plans import Plan, Step
from fakellm.runnable.runs import MISSING, afold, fold

if TYPE_CHECKING:
    from fakellm.clock.clock import Clock

Input = TypeVar("Input")
Output = TypeVar("Output")
Other = TypeVar("Other")
Configs = RunnableConfig | Sequence[RunnableConfig] | None
"""The config of a batch: one for all, or one for each input."""
Configured = Sequence[RunnableConfig]
"""One config for each input."""


class Runnable(ABC, Generic[Input, Output]):
    """Something that can be invoked, streamed and batched, synchronously and asynchronously.

    A subclass supplies `invoke`; a model without native streaming still streams, one value: the final
    result. A subclass that can stream overrides `stream` or `astream`, one that can stream while its
    input streams overrides `transform` or `atransform`. `|` makes a sequence.
    """

    name: str | None = None

    @abstractmethod
    def invoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Return the output for one input."""

    if not TYPE_CHECKING:  # pragma: no branch

        def __getattr__(self, name: str) -> Any:
            """Say what to write instead of a method that LangChain's Runnables have and ours do not."""
            from fakellm.ported import METHODS

            if name in METHODS:
                msg = f"{type(self).__name__} has no {name!r}; {METHODS[name]}"
                raise AttributeError(msg, name=name, obj=self)
            return object.__getattribute__(self, name)  # raises, with what a property said of itself

    def __repr__(self) -> str:
        """Return the expression that makes it, as far as there is one; of a subclass its name."""
        return f"{type(self).__name__}()"

    def get_name(self, suffix: str | None = None, *, name: str | None = None) -> str:
        """Return the name under which runs of this Runnable are reported, or one made of `name`, with the suffix."""
        own = name or self.name or self._own_name()
        if not suffix:
            return own
        return own + suffix.title() if own[0].isupper() else f"{own}_{suffix.lower()}"

    def _own_name(self) -> str:
        """Return the name of what was given none."""
        return type(self).__name__

    async def ainvoke(
        self,
        input: Input,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Output:
        """Return the output for one input; by default `invoke` in a worker thread.

        The thread sees a copy of the context variables. Cancelling does not stop the thread.
        """
        return await run_in_thread(partial(self.invoke, input, config, **kwargs))

    # -- streaming --------------------------------------------------------------------------------

    def stream(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Output]:
        """Yield the output in chunks that add up to it; by default one: what `invoke` returns.

        Lazy: nothing is called before the first `next`, and errors surface there.
        """
        yield self.invoke(input, config, **kwargs)

    async def astream(
        self,
        input: Input,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Output]:
        """Yield the output in chunks that add up to it; by default one: what `ainvoke` returns. Lazy."""
        yield await self.ainvoke(input, config, **kwargs)

    def transform(
        self,
        input: Iterator[Input],
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[Output]:
        """Yield output while input arrives; by default take all the input, add it up, and stream that.

        Of input chunks that do not add up the newer one wins. No input: no call and no output. Lazy.
        """
        whole = fold(input)
        if whole is not MISSING:
            yield from self.stream(whole, config, **kwargs)

    async def atransform(
        self,
        input: AsyncIterator[Input],
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Output]:
        """Yield output while input arrives; by default as `transform` does, with `astream`."""
        whole = await afold(input)
        if whole is not MISSING:
            source = self.astream(whole, config, **kwargs)
            async with closing(source):
                async for chunk in source:
                    yield chunk

    # -- batches ----------------------------------------------------------------------------------

    def _configs(self, config: Configs, length: int) -> list[RunnableConfig]:
        """Return one complete config for each input of a batch."""
        given = config_list(config, length)
        return [ensure_config(one) for one in given]

    def _job(self, input: Input, config: RunnableConfig | None, kwargs: dict[str, Any]) -> Callable[[], Output]:
        """Return one call of a batch; made for each input in order, before any of them is called."""
        return partial(self.invoke, input, config, **kwargs)

    def _ajob(
        self,
        input: Input,
        config: RunnableConfig | None,
        kwargs: dict[str, Any],
    ) -> Callable[[], Awaitable[Output]]:
        """Return one call of an asynchronous batch; see `_job`."""
        return partial(self.ainvoke, input, config, **kwargs)

    def _jobs(
        self, job: Callable[..., Callable[[], Any]], items: list[Input], configs: Configured, kwargs: dict[str, Any]
    ) -> list[Callable[[], Any]]:
        return [job(item, config, kwargs) for item, config in zip(items, configs, strict=True)]

    def _batch(
        self, items: list[Input], configs: Configured, kwargs: dict[str, Any], *, return_exceptions: bool
    ) -> Plan[list[Any]]:
        """Return the plan of a batch: items are there, configs are one for each."""
        bound = configs[0].get("max_concurrency")

        def run() -> list[Any]:
            jobs = self._jobs(self._job, items, configs, kwargs)
            if len(jobs) == 1:
                return [batches.caught(jobs[0], return_exceptions=return_exceptions)]
            return batches.run_all(jobs, bound, return_exceptions=return_exceptions)

        async def arun() -> list[Any]:
            jobs = self._jobs(self._ajob, items, configs, kwargs)
            return await batches.arun_all(jobs, bound, return_exceptions=return_exceptions)

        results: list[Any] = yield Step(run, arun)
        return results

    @overload
    def batch(
        self,
        inputs: Iterable[Input],
        config: Configs = None,
        *,
        return_exceptions: Literal[False] = False,
        **kwargs: Any,
    ) -> list[Output]: ...
    @overload
    def batch(
        self, inputs: Iterable[Input], config: Configs = None, *, return_exceptions: bool, **kwargs: Any
    ) -> list[Output | Exception]: ...
    def batch(
        self, inputs: Iterable[Input], config: Configs = None, *, return_exceptions: bool = False, **kwargs: Any
    ) -> Any:
        """Return the outputs for several inputs, in their order.

        One input is called in the caller's thread, more in threads of their own: at most as many at a
        time as the (first) config's `max_concurrency`. The failure with the lowest index is raised,
        after what was running has ended; what had not started never does. With `return_exceptions` an
        `Exception` takes the place of its output. Raises `ValueError` where configs and inputs differ in
        number. Unlike LangChain, takes any iterable and refuses `max_concurrency` below 1.
        """
        items = list(inputs)
        if not items:
            return []
        configs = self._configs(config, len(items))
        return plans.run(self._batch(items, configs, kwargs, return_exceptions=return_exceptions))

    @overload
    async def abatch(
        self,
        inputs: Iterable[Input],
        config: Configs = None,
        *,
        return_exceptions: Literal[False] = False,
        **kwargs: Any,
    ) -> list[Output]: ...
    @overload
    async def abatch(
        self, inputs: Iterable[Input], config: Configs = None, *, return_exceptions: bool, **kwargs: Any
    ) -> list[Output | Exception]: ...
    async def abatch(
        self, inputs: Iterable[Input], config: Configs = None, *, return_exceptions: bool = False, **kwargs: Any
    ) -> Any:
        """Return the outputs for several inputs, in their order, called concurrently.

        Like `batch`, but without a bound all run at once, and the failure that comes first in time is
        raised. Unlike LangChain, the others are then cancelled and awaited: nothing outlives the call.
        """
        items = list(inputs)
        if not items:
            return []
        configs = self._configs(config, len(items))
        return await plans.arun(self._batch(items, configs, kwargs, return_exceptions=return_exceptions))

    def batch_as_completed(
        self, inputs: Iterable[Input], config: Configs = None, *, return_exceptions: bool = False, **kwargs: Any
    ) -> Iterator[tuple[int, Output | Exception]]:
        """Yield `(index, output)` in the order in which the calls complete.

        Lazy, its checks too. Closing it cancels what has not started and waits for what runs.
        """
        items = list(inputs)
        if not items:
            return
        configs = self._configs(config, len(items))
        bound = configs[0].get("max_concurrency")
        jobs = self._jobs(self._job, items, configs, kwargs)
        yield from batches.run_as_completed(jobs, bound, return_exceptions=return_exceptions)

    async def abatch_as_completed(
        self, inputs: Iterable[Input], config: Configs = None, *, return_exceptions: bool = False, **kwargs: Any
    ) -> AsyncIterator[tuple[int, Output | Exception]]:
        """Yield `(index, output)` in the order in which the calls complete.

        Lazy, its checks too. Closing it cancels what runs and waits for its end. (LangChain's goes on.)
        """
        items = list(inputs)
        if not items:
            return
        configs = self._configs(config, len(items))
        bound = configs[0].get("max_concurrency")
        jobs = self._jobs(self._ajob, items, configs, kwargs)
        completed = batches.arun_as_completed(jobs, bound, return_exceptions=return_exceptions)
        async with closing(completed):
            async for pair in completed:
                yield pair

    # -- composition ------------------------------------------------------------------------------

    def __or__(self, other: RunnableLike[Any, Other]) -> Runnable[Input, Other]:
        """Return the sequence of this and another step."""
        from fakellm.runnable.compose import RunnableSequence

        return RunnableSequence(self, other)

    def __ror__(self, other: RunnableLike[Other, Any]) -> Runnable[Other, Output]:
        """Return the sequence of another step and this."""
        from fakellm.runnable.compose import RunnableSequence

        return RunnableSequence(other, self)

    def pipe(self, *others: RunnableLike[Any, Any], name: str | None = None) -> Runnable[Input, Any]:
        """Return the sequence of this and other steps, as `|` makes it, with a name. Raises `ValueError` for none."""
        from fakellm.runnable.compose import RunnableSequence

        return RunnableSequence(self, *others, name=name)

    def pick(self, keys: str | Sequence[str]) -> Runnable[Input, Any]:
        """Return the sequence of this and what picks a key, or a dict of several, from its output: `RunnablePick`."""
        from fakellm.runnable.passthrough import RunnablePick

        return self | RunnablePick(keys)

    def assign(self, **steps: RunnableLike[Any, Any]) -> Runnable[Input, Any]:
        """Return the sequence of this and what adds keys to its output, a dict: see `RunnableAssign`."""
        from fakellm.runnable.passthrough import RunnableAssign

        return self | RunnableAssign(steps)

    def map(self) -> Runnable[Iterable[Input], list[Output]]:
        """Return what calls this for each of many inputs: see `RunnableEach`."""
        from fakellm.runnable.branch import RunnableEach

        return RunnableEach(self)

    def bind(self, **kwargs: Any) -> Runnable[Input, Output]:
        """Return this Runnable with keyword arguments for every call; those of the call itself win."""
        from fakellm.runnable.wrappers import RunnableBinding

        return RunnableBinding(self, kwargs=kwargs)

    def with_config(self, config: RunnableConfig | None = None, **kwargs: Any) -> Runnable[Input, Output]:
        """Return this Runnable with a config for every call; that of the call itself is merged into it."""
        from fakellm.runnable.wrappers import RunnableBinding

        return RunnableBinding(self, config={**(config or {}), **kwargs})

    def with_retry(
        self,
        *,
        retry_if_exception_type: tuple[type[BaseException], ...] | Callable[[BaseException], bool] = (Exception,),
        wait_exponential_jitter: bool = True,
        exponential_jitter_params: Mapping[str, float] | None = None,
        stop_after_attempt: int = 3,
        clock: Clock | None = None,
    ) -> Runnable[Input, Output]:
        """Return this Runnable, called again when it raises; see `RunnableRetry`."""
        from fakellm.runnable.wrappers import RunnableRetry

        return RunnableRetry(
            self,
            retry_if_exception_type=retry_if_exception_type,
            wait_exponential_jitter=wait_exponential_jitter,
            exponential_jitter_params=exponential_jitter_params,
            stop_after_attempt=stop_after_attempt,
            clock=clock,
        )

    def with_fallbacks(
        self,
        fallbacks: Sequence[Runnable[Input, Output]],
        *,
        exceptions_to_handle: tuple[type[BaseException], ...] = (Exception,),
        exception_key: str | None = None,
    ) -> Runnable[Input, Output]:
        """Return this Runnable with others that are tried when it raises; see `RunnableWithFallbacks`."""
        from fakellm.runnable.fallbacks import RunnableWithFallbacks

        return RunnableWithFallbacks(
            self, fallbacks, exceptions_to_handle=exceptions_to_handle, exception_key=exception_key
        )


RunnableLike = (
    Runnable[Input, Output]
    | Callable[[Input], Output]
    | Callable[[Input], Awaitable[Output]]
    | Callable[[Iterator[Input]], Iterator[Output]]
    | Callable[[AsyncIterator[Input]], AsyncIterator[Output]]
    | Mapping[str, Any]
)
"""What `|` takes: a Runnable, a function, a generator function, or a mapping of those."""
