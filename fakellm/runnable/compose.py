"""Composition by `|`: the sequence.

Why each link is closed by hand. Closing a generator closes that one alone: the iterator that it reads from is left to
the garbage collector, which for an asynchronous one means some other task, later, or never. A model behind two steps
would go on generating after its consumer broke off. So the chain keeps every iterator that it made and closes them
from the consumer's end: a step may still read from its source, or say goodbye to it, while it is being closed, so
that has to be open then.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from typing import Any

from fakellm.concurrency import aclose, close
from fakellm.runnable import runs
from fakellm.runnable.base import Configured, Input, Output, Runnable
from fakellm.runnable.config import RunnableConfig
from fakellm.runnable.functions import only
from fakellm.runnable.parallel import coerce, given
from fakellm.runnable.plans import Plan, Step
from fakellm.runnable.shown import call, named, shown, unusual


class RunnableSequence(Runnable[Input, Output]):
    """Steps that take each other's output: `first | second | third`.

    Keyword arguments go to the first step. Streaming chains `transform`, so a chunk flows from end to
    end before the next is pulled; a step that cannot work on a stream buffers its input. Closing closes
    every step, the last first.

    Unlike LangChain's, the chain never drains the model when its consumer breaks or a step ends early, a
    generator function begins before its input is pulled, and in a batch without `return_exceptions` an
    exception that a step returns is a value.
    """

    steps: tuple[Runnable[Any, Any], ...]

    def __init__(self, *steps: Any, name: str | None = None) -> None:
        flat: list[Runnable[Any, Any]] = []
        for step in map(coerce, steps):
            flat += step.steps if isinstance(step, RunnableSequence) else [step]
        if len(flat) < 2:  # noqa: PLR2004 - two make a sequence
            msg = f"a sequence has two steps or more, not {len(flat)}"
            raise ValueError(msg)
        self.steps = tuple(flat)
        self.name = name

    def __or__(self, other: Any) -> RunnableSequence[Input, Any]:
        """Return the sequence with another step; it keeps the name."""
        return RunnableSequence(self, other, name=self.name or _name_of_sequence(other))

    def __ror__(self, other: Any) -> RunnableSequence[Any, Output]:
        """Return the sequence with another first step; it keeps the name."""
        return RunnableSequence(other, self, name=_name_of_sequence(other) or self.name)

    @property
    def is_bars(self) -> bool:
        """Whether it is written as `first | second`: it has no name, and no class of its own."""
        return type(self) is RunnableSequence and self.name is None

    def __repr__(self) -> str:
        steps = [given(step) for step in self.steps]
        if not self.is_bars:
            return call(type(self).__name__, [*map(shown, steps), *named(unusual({"name": self.name}))])
        if not isinstance(steps[1], Runnable):  # of two functions or dicts `|` makes no sequence
            steps[0] = self.steps[0]
        return " | ".join(map(shown, steps))

    def _through(self, value: Any, config: RunnableConfig, kwargs: dict[str, Any]) -> Any:
        for place, step in enumerate(self.steps):
            value = step.invoke(value, config, **(kwargs if place == 0 else {}))
        return value

    async def _athrough(self, value: Any, config: RunnableConfig, kwargs: dict[str, Any]) -> Any:
        for place, step in enumerate(self.steps):
            value = await step.ainvoke(value, config, **(kwargs if place == 0 else {}))
        return value

    def invoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Return what the last step makes of what the steps before it made of the input."""
        output: Output = runs.call(self.get_name(), lambda child: self._through(input, child, kwargs), input, config)
        return output

    async def ainvoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Return what the last step makes of what the steps before it made of the input."""
        name = self.get_name()
        output: Output = await runs.acall(name, lambda child: self._athrough(input, child, kwargs), input, config)
        return output

    def _chain(self, source: Iterator[Any], config: RunnableConfig, kwargs: dict[str, Any]) -> Iterator[Output]:
        with ExitStack() as stack:
            stack.callback(close, source)
            for place, step in enumerate(self.steps):
                source = step.transform(source, config, **(kwargs if place == 0 else {}))
                stack.callback(close, source)
            yield from source

    async def _achain(
        self, source: AsyncIterator[Any], config: RunnableConfig, kwargs: dict[str, Any]
    ) -> AsyncIterator[Output]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(aclose, source)
            for place, step in enumerate(self.steps):
                source = step.atransform(source, config, **(kwargs if place == 0 else {}))
                stack.push_async_callback(aclose, source)
            async for chunk in source:
                yield chunk

    def stream(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Output]:
        """Yield the last step's chunks, each as soon as the steps before it let it be made."""
        return runs.stream(self.get_name(), lambda child: self._chain(iter((input,)), child, kwargs), input, config)

    def astream(
        self,
        input: Input,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Output]:
        """Yield the last step's chunks, each as soon as the steps before it let it be made."""
        return runs.astream(self.get_name(), lambda child: self._achain(only(input), child, kwargs), input, config)

    def transform(
        self,
        input: Iterator[Input],
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[Output]:
        """Yield the last step's chunks while input arrives."""
        return runs.stream(self.get_name(), lambda child: self._chain(input, child, kwargs), None, config)

    def atransform(
        self,
        input: AsyncIterator[Input],
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Output]:
        """Yield the last step's chunks while input arrives."""
        return runs.astream(self.get_name(), lambda child: self._achain(input, child, kwargs), None, config)

    def _batch(
        self, items: list[Input], configs: Configured, kwargs: dict[str, Any], *, return_exceptions: bool
    ) -> Plan[list[Any]]:
        """Run each step over all inputs before the next step; what failed takes no further step."""
        values: dict[int, Any] = dict(enumerate(items))
        with runs.tracked_all(self.get_name(), items, configs) as rows:
            for place, step in enumerate(self.steps):
                inputs, children = list(values.values()), [rows[index].config for index in values]
                options = {"return_exceptions": return_exceptions, **(kwargs if place == 0 else {})}
                outputs = yield Step(
                    partial(step.batch, inputs, children, **options),
                    partial(step.abatch, inputs, children, **options),
                )
                values = dict(zip(values, outputs, strict=True))
                for index, output in tuple(values.items()):
                    if return_exceptions and isinstance(output, Exception):
                        runs.settle(rows[index], values.pop(index))
            for index, output in values.items():
                rows[index].output = output
            return runs.results(rows, return_exceptions=return_exceptions)


def _name_of_sequence(step: Any) -> str | None:
    return step.name if isinstance(step, RunnableSequence) else None
