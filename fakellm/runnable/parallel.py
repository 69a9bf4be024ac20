"""Parallel steps, a dict of outputs; and what counts as a step."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from fakellm.concurrency import close, closing
from fakellm.errors import clip
from fakellm.runnable import runs
from fakellm.runnable.addable import AddableDict
from fakellm.runnable.base import Input, Runnable
from fakellm.runnable.batch import arun_all, run_all, thread_pool
from fakellm.runnable.config import RunnableConfig
from fakellm.runnable.crew import Crew
from fakellm.runnable.functions import (
    RunnableGenerator,
    RunnableLambda,
    is_async_generator_function,
    is_generator_function,
    only,
)
from fakellm.runnable.runs import MISSING
from fakellm.runnable.shown import call, shown
from fakellm.runnable.tees import Fan, Tee

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor


def coerce(step: Any) -> Runnable[Any, Any]:
    """Make a step out of a Runnable, a function, a generator function, or a mapping of those."""
    if isinstance(step, Runnable):
        return step
    _refuse_langchain(step)
    if is_generator_function(step) or is_async_generator_function(step):
        return RunnableGenerator(step)
    if callable(step):
        return RunnableLambda(step)
    if isinstance(step, Mapping):
        return RunnableParallel(step)
    msg = f"a step is a Runnable, a function, a generator function or a dict of those, not {step!r}"
    raise TypeError(msg)


def _refuse_langchain(step: object) -> None:
    """Raise `TypeError` for what is LangChain's: some of that can be called, and would be taken for a function."""
    if any(str(kind.__module__).startswith("langchain_core.") for kind in type(step).__mro__):
        msg = (
            f"LangChain's {clip(shown(step), 80)} is no step of a chain of fakellm's; make the fake a model of "
            "LangChain's and the chain with that: as_langchain_llm(FakeLLM(...)), or "
            "as_langchain_chat_model(FakeChatModel(...)), of fakellm.integrations.langchain"
        )
        raise TypeError(msg)


def given(step: Runnable[Any, Any]) -> Any:
    """Return what one writes for a step: the function or the dict that `coerce` makes the same of, else the step."""
    if type(step) is RunnableParallel:
        return {key: given(one) for key, one in step.steps.items()}
    if isinstance(step, (RunnableLambda, RunnableGenerator)):
        function = step.functions[0]
        made = coerce(function)
        if type(made) is type(step) and vars(made) == vars(step):
            return function
    return step


class RunnableParallel(Runnable[Input, dict[str, Any]]):
    """Steps that all get the same input; the output is a dict of theirs, keys in declaration order.

    Synchronously the steps run in threads, asynchronously in tasks, at most `max_concurrency` at a time;
    keyword arguments go to each. Streaming yields one-key dicts that add up, as they come, and runs
    each step one chunk ahead of the consumer; what one step has read and another not yet waits in memory.
    If a step fails, its siblings are called all the same, and awaited (threads, which read their input to its end, of
    an endless one 10,000 chunks) or cancelled and awaited (tasks) before its error is raised. Where the stream is
    closed those that have a thread and all their input are called; the others read no more.

    Unlike LangChain, the asynchronous methods keep `max_concurrency` and await what they cancel, keyword
    arguments are passed on, each asynchronous step (and the input) is stepped and closed by one task of
    its own, and an error of the input reaches every step.
    """

    def __init__(self, steps: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        self.steps = {key: coerce(step) for key, step in {**(steps or {}), **more}.items()}

    def __repr__(self) -> str:
        return call(type(self).__name__, [shown({key: given(step) for key, step in self.steps.items()})])

    def _own_name(self) -> str:
        return f"RunnableParallel<{','.join(self.steps)}>"

    def invoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any]:
        """Return the outputs of all steps."""

        def run(child: RunnableConfig) -> dict[str, Any]:
            jobs = [partial(step.invoke, input, child, **kwargs) for step in self.steps.values()]
            return dict(zip(self.steps, run_all(jobs, child.get("max_concurrency"), every=True), strict=True))

        return runs.call(self.get_name(), run, input, config)

    async def ainvoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any]:
        """Return the outputs of all steps."""

        async def run(child: RunnableConfig) -> dict[str, Any]:
            jobs = [partial(step.ainvoke, input, child, **kwargs) for step in self.steps.values()]
            return dict(zip(self.steps, await arun_all(jobs, child.get("max_concurrency")), strict=True))

        return await runs.acall(self.get_name(), run, input, config)

    def stream(
        self,
        input: Input,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[dict[str, Any]]:
        """Yield `{key: chunk}` of each step as it comes."""
        return runs.stream(
            self.get_name(), lambda child: _merge(self.steps, iter((input,)), child, kwargs), input, config
        )

    def transform(
        self,
        input: Iterator[Input],
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[dict[str, Any]]:
        """Yield `{key: chunk}` of each step as it comes, while input arrives."""
        return runs.stream(self.get_name(), lambda child: _merge(self.steps, input, child, kwargs), None, config)

    def astream(
        self,
        input: Input,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield `{key: chunk}` of each step as it comes."""
        return runs.astream(
            self.get_name(), lambda child: _amerge(self.steps, only(input), child, kwargs), input, config
        )

    def atransform(
        self,
        input: AsyncIterator[Input],
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield `{key: chunk}` of each step as it comes, while input arrives."""
        return runs.astream(self.get_name(), lambda child: _amerge(self.steps, input, child, kwargs), None, config)


# In what order it closes, last entry first. The tee says that there is no more input, so that a step which waits for
# some in its thread comes to an end. Then the threads are waited for: a generator that another thread is in the
# middle of cannot be closed ("generator already executing"). Then each branch is closed in its own context, and the
# source last, when nobody reads from it any more. In the asynchronous form tasks take the place of threads, each
# steps and closes what is its own (an asynchronous generator that another task closes loses its cancel scopes and
# context variables), and the crew is what waits for them.
#
# Who is called although the stream fails or is closed. That a thread was quicker or slower must not decide it. So where
# a step fails its siblings take the step that they were told to; and where the stream is closed, those that have a
# thread and all their input at hand do. What waits for a thread, or for input, is not begun behind a closed stream.


def _merge(
    steps: Mapping[str, Runnable[Any, Any]], source: Iterator[Any], config: RunnableConfig, kwargs: dict[str, Any]
) -> Iterator[AddableDict]:
    """Run one `next` of each step at a time in a pool; yield what comes as it comes."""
    from queue import SimpleQueue

    with ExitStack() as stack:
        tee = Tee(source, len(steps))
        stack.callback(tee.close_source)
        if not steps:
            return
        branches = {
            key: _Branch(number, copy_context(), step.transform(tee.reader(number), config, **kwargs))
            for number, (key, step) in enumerate(steps.items())
        }
        for branch in branches.values():
            stack.callback(branch.context.run, close, branch.chunks)
        workers = min(config.get("max_concurrency") or len(steps), len(steps))
        pool = thread_pool(workers)
        stack.callback(partial(pool.shutdown, wait=True, cancel_futures=False))
        unsure: list[Future[Any]] = []
        stack.callback(lambda: [future.cancel() for future in unsure])
        stack.callback(tee.close)
        done: SimpleQueue[tuple[str, Future[Any]]] = SimpleQueue()

        def pull(key: str) -> None:
            branch = branches[key]
            future = pool.submit(branch.context.run, partial(next, branch.chunks, MISSING))
            if branch.number >= workers:
                unsure.append(future)
            future.add_done_callback(lambda future: done.put((key, future)))

        for key in branches:
            pull(key)
        running = len(branches)
        while running:
            key, future = done.get()
            chunk = _result(future, tee, pool)
            if chunk is MISSING:
                running -= 1
                tee.drop(branches[key].number)
                continue
            yield AddableDict({key: chunk})
            pull(key)


def _result(future: Future[Any], tee: Tee, pool: ThreadPoolExecutor) -> Any:
    """Return the chunk of a step, or raise its error, once its siblings have taken the step that they were told to.

    Else the quicker thread would decide whether a sibling is called.
    """
    try:
        return future.result()
    except BaseException:
        tee.finish()
        pool.shutdown(wait=True, cancel_futures=False)
        raise


class _Branch(NamedTuple):
    """One step of a parallel stream: its chunks, and the context variables that all its steps see."""

    number: int
    context: Context
    chunks: Iterator[Any]


async def _amerge(
    steps: Mapping[str, Runnable[Any, Any]], source: AsyncIterator[Any], config: RunnableConfig, kwargs: dict[str, Any]
) -> AsyncIterator[AddableDict]:
    """Run each step in a task of its own; yield what comes as it comes."""
    async with closing(source), Crew() as crew:
        if not steps:
            return
        fan = Fan(crew, source, len(steps), branches=len(steps), bound=config.get("max_concurrency"))
        crew.start(fan.pump)
        for number, (key, step) in enumerate(steps.items()):
            branch = step.atransform(fan.reader(number), config, **kwargs)
            crew.start(partial(fan.run, key, number, branch))
        while (taken := await fan.take()) is not None:
            key, chunk = taken
            yield AddableDict({key: chunk})
