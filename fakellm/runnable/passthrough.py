"""What hands its input on: as it is, with more keys, or with fewer.

How `RunnableAssign` streams. The passthrough is the first of two readers of the input and comes first, chunk by chunk;
the other is the mapper, which begins at once, beside it, and is held at its first chunk until the passthrough has
ended. Synchronously the mapper has a thread for that first chunk, asynchronously a task of its own; the rest is as in a
parallel, of which `parallel.py` says in what order it closes.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from contextvars import copy_context
from functools import partial
from typing import Any

from fakellm.concurrency import close, closing
from fakellm.errors import clip
from fakellm.runnable import runs
from fakellm.runnable.addable import AddableDict
from fakellm.runnable.base import Input, Runnable
from fakellm.runnable.batch import thread_pool
from fakellm.runnable.config import RunnableConfig, ensure_config
from fakellm.runnable.crew import Crew
from fakellm.runnable.functions import only, prepared
from fakellm.runnable.parallel import RunnableParallel, given
from fakellm.runnable.runs import MISSING, add
from fakellm.runnable.shown import call, named, shown, unusual
from fakellm.runnable.tees import Fan, Tee

_MAPPER = "mapper"


class RunnablePassthrough(Runnable[Input, Input]):
    """Hands its input on as it is, a stream chunk by chunk.

    `func` is called with each input: before it is returned, or, of a stream, with what the chunks add up to, after
    the last of them was taken; not for a stream that is empty or is closed early. It gets the config if its signature
    has one, and the keyword arguments of the call. An asynchronous `func`, or `afunc`, is awaited by the asynchronous
    methods and not called by the others. `RunnablePassthrough.assign(key=step)` adds keys: see `RunnableAssign`.

    Unlike LangChain, an empty stream of a plain generator function is handed on without a call too.
    """

    def __init__(
        self,
        func: Callable[..., Any] | None = None,
        afunc: Callable[..., Awaitable[Any]] | None = None,
        *,
        input_type: type | None = None,  # noqa: ARG002 - LangChain's, for its schemas
        name: str | None = None,
    ) -> None:
        for function in (func, afunc):
            if function is not None and not callable(function):
                msg = f"a passthrough calls a function with what it hands on, not {function!r}"
                raise TypeError(msg)
        if inspect.iscoroutinefunction(func):
            func, afunc = None, func
        self.func = func
        self.afunc = afunc
        self.name = name

    def __repr__(self) -> str:
        functions = named(unusual({"afunc": self.afunc})) if self.func else [shown(self.afunc)] if self.afunc else []
        first = [shown(self.func)] if self.func else []
        return call(type(self).__name__, [*first, *functions, *named(unusual({"name": self.name}))])

    @classmethod
    def assign(cls, **steps: Any) -> RunnableAssign:  # type: ignore[override] # of the class, as LangChain's is
        """Return what adds keys to a dict: for each step one, with what it makes of the dict."""
        return RunnableAssign(RunnableParallel(steps))

    def _call(self, value: Any, config: RunnableConfig | None, kwargs: dict[str, Any]) -> None:
        if self.func is not None:
            prepared(self.func, ensure_config(config), kwargs)(value)

    async def _acall(self, value: Any, config: RunnableConfig | None, kwargs: dict[str, Any]) -> None:
        if self.afunc is None:
            self._call(value, config, kwargs)
        else:
            await prepared(self.afunc, ensure_config(config), kwargs)(value)

    def invoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Input:
        """Return the input."""
        self._call(input, config, kwargs)
        return runs.call(self.get_name(), lambda _: input, input, config)

    async def ainvoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Input:
        """Return the input."""
        await self._acall(input, config, kwargs)

        async def run(_: RunnableConfig) -> Input:
            return input

        return await runs.acall(self.get_name(), run, input, config)

    def _pass(
        self, source: Iterator[Input], value: Any, config: RunnableConfig | None, kwargs: dict[str, Any]
    ) -> Iterator[Input]:
        total = MISSING
        chunks = runs.stream(self.get_name(), lambda _: source, value, config)
        with closing(chunks):
            for chunk in chunks:
                yield chunk
                if self.func is not None:
                    total = add(total, chunk)
        if total is not MISSING:
            self._call(total, config, kwargs)

    async def _apass(
        self, source: AsyncIterator[Input], value: Any, config: RunnableConfig | None, kwargs: dict[str, Any]
    ) -> AsyncIterator[Input]:
        total = MISSING
        chunks = runs.astream(self.get_name(), lambda _: source, value, config)
        async with closing(chunks):
            async for chunk in chunks:
                yield chunk
                if self.func is not None or self.afunc is not None:
                    total = add(total, chunk)
        if total is not MISSING:
            await self._acall(total, config, kwargs)

    def stream(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Input]:
        """Yield the input."""
        return self._pass(iter((input,)), input, config, kwargs)

    def astream(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Input]:
        """Yield the input."""
        return self._apass(only(input), input, config, kwargs)

    def transform(self, input: Iterator[Input], config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Input]:
        """Yield the input, chunk by chunk."""
        return self._pass(input, None, config, kwargs)

    def atransform(
        self, input: AsyncIterator[Input], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Input]:
        """Yield the input, chunk by chunk."""
        return self._apass(input, None, config, kwargs)


class RunnableAssign(Runnable[dict[str, Any], dict[str, Any]]):
    """Adds keys to a dict: those of `mapper`, a `RunnableParallel` (or a dict of its steps), which gets the dict.

    Streaming yields the input's chunks first, without the keys that are assigned, and then the mapper's; its steps run
    meanwhile. An input that is no dict raises `ValueError`; its steps are called all the same where they have threads.
    """

    def __init__(self, mapper: RunnableParallel[Any] | Mapping[str, Any], *, name: str | None = None) -> None:
        if not isinstance(mapper, (RunnableParallel, Mapping)):
            msg = f"what assigns keys is a RunnableParallel or a dict of steps, not {mapper!r}"
            raise TypeError(msg)
        self.mapper: RunnableParallel[Any] = (
            mapper if isinstance(mapper, RunnableParallel) else RunnableParallel(mapper)
        )
        self.name = name

    def __repr__(self) -> str:
        return call(type(self).__name__, [shown(given(self.mapper)), *named(unusual({"name": self.name}))])

    def _own_name(self) -> str:
        return f"RunnableAssign<{','.join(self.mapper.steps)}>"

    def invoke(self, input: dict[str, Any], config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any]:
        """Return the dict with the mapper's keys."""

        def run(child: RunnableConfig) -> dict[str, Any]:
            return {**_checked(input), **self.mapper.invoke(input, child, **kwargs)}

        return runs.call(self.get_name(), run, input, config)

    async def ainvoke(
        self, input: dict[str, Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Return the dict with the mapper's keys."""

        async def run(child: RunnableConfig) -> dict[str, Any]:
            return {**_checked(input), **await self.mapper.ainvoke(input, child, **kwargs)}

        return await runs.acall(self.get_name(), run, input, config)

    def _passed(self, chunk: Any) -> AddableDict:
        return AddableDict({key: value for key, value in _checked(chunk).items() if key not in self.mapper.steps})

    def _assign(
        self, source: Iterator[Any], config: RunnableConfig, kwargs: dict[str, Any]
    ) -> Iterator[dict[str, Any]]:
        with ExitStack() as stack:
            tee = Tee(source, 2)
            stack.callback(tee.close_source)
            mapped = self.mapper.transform(tee.reader(1), config, **kwargs)
            context = copy_context()
            stack.callback(context.run, close, mapped)
            pool = thread_pool(1)
            stack.callback(pool.shutdown)
            stack.push(partial(_settle, tee))
            first = pool.submit(context.run, partial(next, mapped, MISSING))
            for chunk in tee.reader(0):
                if passed := self._passed(chunk):
                    yield passed
            tee.drop(0)
            chunk = first.result()
            while chunk is not MISSING:
                yield chunk
                chunk = context.run(next, mapped, MISSING)

    async def _aassign(
        self, source: AsyncIterator[Any], config: RunnableConfig, kwargs: dict[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        async with closing(source), Crew() as crew:
            fan = Fan(crew, source, 2, branches=1, bound=None)
            crew.start(fan.pump)
            crew.start(partial(fan.run, _MAPPER, 1, self.mapper.atransform(fan.reader(1), config, **kwargs)))
            chunks = fan.reader(0)
            async with closing(chunks):
                async for chunk in chunks:
                    if passed := self._passed(chunk):
                        yield passed
            while (taken := await fan.take()) is not None:
                yield taken[1]

    def stream(
        self, input: dict[str, Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[dict[str, Any]]:
        """Yield the dict, then `{key: chunk}` of each step of the mapper as it comes."""
        return runs.stream(self.get_name(), lambda child: self._assign(iter((input,)), child, kwargs), input, config)

    def astream(
        self, input: dict[str, Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield the dict, then `{key: chunk}` of each step of the mapper as it comes."""
        return runs.astream(self.get_name(), lambda child: self._aassign(only(input), child, kwargs), input, config)

    def transform(
        self, input: Iterator[dict[str, Any]], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[dict[str, Any]]:
        """Yield the dict's chunks as they arrive, then those of the mapper."""
        return runs.stream(self.get_name(), lambda child: self._assign(input, child, kwargs), None, config)

    def atransform(
        self, input: AsyncIterator[dict[str, Any]], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield the dict's chunks as they arrive, then those of the mapper."""
        return runs.astream(self.get_name(), lambda child: self._aassign(input, child, kwargs), None, config)


def _settle(tee: Tee, kind: type[BaseException] | None, *_: object) -> None:
    """Say to the mapper's thread what it still reads: of a stream that failed all, of one that is closed nothing."""
    if kind is not None and issubclass(kind, Exception):
        tee.finish()
    else:
        tee.close()


class RunnablePick(Runnable[dict[str, Any], Any]):
    """Picks from a dict: of one key its value (None without it), of a list of keys a dict of those that there are.

    A dict of which nothing is picked gives None, and in a stream no chunk. What is no dict raises `ValueError`.
    """

    def __init__(self, keys: str | Sequence[str], *, name: str | None = None) -> None:
        if not isinstance(keys, (str, list, tuple)) or not all(isinstance(key, str) for key in keys):
            msg = f"what is picked is a key or a list of keys, not {keys!r}"
            raise TypeError(msg)
        self.keys: str | list[str] = keys if isinstance(keys, str) else list(keys)
        self.name = name

    def __repr__(self) -> str:
        return call(type(self).__name__, [shown(self.keys), *named(unusual({"name": self.name}))])

    def _own_name(self) -> str:
        return f"RunnablePick<{self.keys if isinstance(self.keys, str) else ','.join(self.keys)}>"

    def _pick(self, value: Any) -> Any:
        found = _checked(value)
        if isinstance(self.keys, str):
            return found.get(self.keys)
        return AddableDict({key: found[key] for key in self.keys if key in found}) or None

    def invoke(self, input: dict[str, Any], config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Return what is picked."""
        _without(kwargs)
        return runs.call(self.get_name(), lambda _: self._pick(input), input, config)

    async def ainvoke(self, input: dict[str, Any], config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Return what is picked."""
        _without(kwargs)

        async def run(_: RunnableConfig) -> Any:
            return self._pick(input)

        return await runs.acall(self.get_name(), run, input, config)

    def _picks(self, source: Iterator[Any], kwargs: dict[str, Any]) -> Iterator[Any]:
        with closing(source):
            _without(kwargs)
            for chunk in source:
                if (picked := self._pick(chunk)) is not None:
                    yield picked

    async def _apicks(self, source: AsyncIterator[Any], kwargs: dict[str, Any]) -> AsyncIterator[Any]:
        async with closing(source):
            _without(kwargs)
            async for chunk in source:
                if (picked := self._pick(chunk)) is not None:
                    yield picked

    def stream(self, input: dict[str, Any], config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        """Yield what is picked, if that is not None."""
        return runs.stream(self.get_name(), lambda _: self._picks(iter((input,)), kwargs), input, config)

    def astream(self, input: dict[str, Any], config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        """Yield what is picked, if that is not None."""
        return runs.astream(self.get_name(), lambda _: self._apicks(only(input), kwargs), input, config)

    def transform(
        self, input: Iterator[dict[str, Any]], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[Any]:
        """Yield what is picked from each chunk, if that is not None."""
        return runs.stream(self.get_name(), lambda _: self._picks(input, kwargs), None, config)

    def atransform(
        self, input: AsyncIterator[dict[str, Any]], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """Yield what is picked from each chunk, if that is not None."""
        return runs.astream(self.get_name(), lambda _: self._apicks(input, kwargs), None, config)


def _checked(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        msg = f"keys are assigned to a dict, and picked from one, not from {clip(shown(value), 80)}"
        raise ValueError(msg)  # noqa: TRY004 - LangChain's type for it
    return value


def _without(kwargs: Mapping[str, Any]) -> None:
    if kwargs:
        msg = f"RunnablePick takes no {', '.join(kwargs)}"
        raise TypeError(msg)
