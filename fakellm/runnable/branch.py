"""A choice between Runnables, and a Runnable for each of many inputs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from fakellm.concurrency import closing
from fakellm.runnable import plans, runs
from fakellm.runnable.base import Input, Output, Runnable
from fakellm.runnable.config import RunnableConfig
from fakellm.runnable.parallel import coerce, given
from fakellm.runnable.plans import Plan, Step
from fakellm.runnable.shown import call, shown
from fakellm.runnable.wrappers import operand


class RunnableBranch(Runnable[Input, Output]):
    """The first of its branches whose condition holds for the input, else the last one, which has none.

    `RunnableBranch((condition, step), ..., default)`: conditions and steps are what `|` takes. A condition is invoked
    with the whole input, so a stream is added up first; the chosen step then streams. Keyword arguments go to it alone.
    Raises `ValueError` for fewer than two branches and for a branch of another length than two, `TypeError` for what is
    no branch or no step.
    """

    def __init__(self, *branches: Any) -> None:
        if len(branches) < 2:  # noqa: PLR2004 - a condition and a default
            msg = "a branch is RunnableBranch((condition, step), ..., default), with one condition or more"
            raise ValueError(msg)
        *pairs, default = branches
        if not (isinstance(default, (Runnable, Mapping)) or callable(default)):
            msg = f"the last of the branches is the default, a step without a condition, not {default!r}"
            raise TypeError(msg)
        for pair in pairs:
            if not isinstance(pair, (tuple, list)):
                msg = f"a branch is a pair (condition, step), not {pair!r}"
                raise TypeError(msg)
            if len(pair) != 2:  # noqa: PLR2004
                msg = f"a branch is a pair (condition, step), not {len(pair)} of them: {pair!r}"
                raise ValueError(msg)
        self.branches = [(coerce(condition), coerce(step)) for condition, step in pairs]
        self.default = coerce(default)

    def __repr__(self) -> str:
        pairs = [shown((given(condition), given(step))) for condition, step in self.branches]
        return call(type(self).__name__, [*pairs, shown(given(self.default))])

    def _chosen(self, value: Any, config: RunnableConfig) -> Plan[Runnable[Any, Any]]:
        for condition, step in self.branches:
            if (yield Step(partial(condition.invoke, value, config), partial(condition.ainvoke, value, config))):
                return step
        return self.default

    def invoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Return the output of the branch that is chosen."""

        def run(child: RunnableConfig) -> Any:
            return plans.run(self._chosen(input, child)).invoke(input, child, **kwargs)

        output: Output = runs.call(self.get_name(), run, input, config)
        return output

    async def ainvoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Return the output of the branch that is chosen."""

        async def run(child: RunnableConfig) -> Any:
            step = await plans.arun(self._chosen(input, child))
            return await step.ainvoke(input, child, **kwargs)

        output: Output = await runs.acall(self.get_name(), run, input, config)
        return output

    def _stream(self, value: Any, config: RunnableConfig, kwargs: dict[str, Any]) -> Iterator[Any]:
        chunks = plans.run(self._chosen(value, config)).stream(value, config, **kwargs)
        with closing(chunks):
            yield from chunks

    async def _astream(self, value: Any, config: RunnableConfig, kwargs: dict[str, Any]) -> AsyncIterator[Any]:
        step = await plans.arun(self._chosen(value, config))
        chunks = step.astream(value, config, **kwargs)
        async with closing(chunks):
            async for chunk in chunks:
                yield chunk

    def stream(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Output]:
        """Yield the chunks of the branch that is chosen."""
        return runs.stream(self.get_name(), lambda child: self._stream(input, child, kwargs), input, config)

    def astream(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Output]:
        """Yield the chunks of the branch that is chosen."""
        return runs.astream(self.get_name(), lambda child: self._astream(input, child, kwargs), input, config)


class RunnableEach(Runnable[Iterable[Input], list[Output]]):
    """A Runnable for each of many inputs: a list in, the list of its outputs out, made by its `batch`.

    Its stream is one value. Keyword arguments go to each call, `return_exceptions` to the batch.
    """

    def __init__(self, bound: Runnable[Input, Output]) -> None:
        self.bound = bound

    def __repr__(self) -> str:
        return operand(self.bound) + ".map()"

    def _own_name(self) -> str:
        return f"RunnableEach<{self.bound.get_name()}>"

    def invoke(self, input: Iterable[Input], config: RunnableConfig | None = None, **kwargs: Any) -> list[Output]:
        """Return the outputs, in the order of the inputs."""

        def run(child: RunnableConfig) -> list[Output]:
            return self.bound.batch(list(input), child, **kwargs)

        return runs.call(self.get_name(), run, input, config)

    async def ainvoke(
        self, input: Iterable[Input], config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Output]:
        """Return the outputs, in the order of the inputs."""

        async def run(child: RunnableConfig) -> list[Output]:
            outputs: list[Output] = await self.bound.abatch(list(input), child, **kwargs)
            return outputs

        return await runs.acall(self.get_name(), run, input, config)

    def bind(self, **kwargs: Any) -> RunnableEach[Input, Output]:
        """Return this with keyword arguments for every call."""
        return RunnableEach(self.bound.bind(**kwargs))

    def with_config(self, config: RunnableConfig | None = None, **kwargs: Any) -> RunnableEach[Input, Output]:
        """Return this with a config for every call of the Runnable inside."""
        return RunnableEach(self.bound.with_config(config, **kwargs))
