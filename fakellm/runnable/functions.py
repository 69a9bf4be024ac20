"""Functions as Runnables: the lambda, of one value, and the generator, of a stream."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from fakellm.concurrency import aclose, closing, iterate_in_thread, run_in_thread
from fakellm.runnable import runs
from fakellm.runnable.base import Input, Output, Runnable
from fakellm.runnable.config import RECURSION_LIMIT, RunnableConfig
from fakellm.runnable.runs import MISSING, afold, fold, none_for_missing
from fakellm.runnable.shown import call, named, shown, unusual


def is_generator_function(function: object) -> bool:
    """Tell whether calling it makes a generator; looks at an object's `__call__` too."""
    return _is(inspect.isgeneratorfunction, function)


def is_async_generator_function(function: object) -> bool:
    """Tell whether calling it makes an asynchronous generator; looks at an object's `__call__` too."""
    return _is(inspect.isasyncgenfunction, function)


def is_async_function(function: object) -> bool:
    """Tell whether its result is awaited or iterated asynchronously."""
    return _is(inspect.iscoroutinefunction, function) or is_async_generator_function(function)


def _is(kind: Callable[[Any], bool], function: object) -> bool:
    return kind(function) or kind(getattr(function, "__call__", None))  # noqa: B004 - the method is wanted


def name_of(function: object, otherwise: str) -> str:
    """Return the function's name, or `otherwise` where it has none worth showing."""
    name = getattr(function, "__name__", "<lambda>")
    return otherwise if name == "<lambda>" else str(name)


def _shown(step: Runnable[Any, Any], functions: list[Callable[..., Any]], otherwise: str) -> str:
    """Write a Runnable made of functions, with its name where that is not the function's."""
    name = unusual({"name": step.name}, name=name_of(functions[0], otherwise))
    return call(type(step).__name__, [*map(shown, functions), *named(name)])


def prepared(function: Callable[..., Any], config: RunnableConfig, kwargs: dict[str, Any]) -> Callable[[Any], Any]:
    """Return the user's function of one argument; it gets the config if its signature has one."""
    try:
        wanted = "config" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # some built-in functions have no signature
        wanted = False
    return partial(function, **kwargs, **({"config": config} if wanted else {}))


def _deeper(config: RunnableConfig) -> RunnableConfig:
    """Return the config for a Runnable that a lambda returned. Raises `RecursionError` at the limit."""
    left = config.get("recursion_limit", RECURSION_LIMIT) - 1
    if left < 0:
        msg = (
            "lambdas returned Runnables that returned Runnables until recursion_limit was used up; "
            "end the recursion, or give a config with a higher recursion_limit"
        )
        raise RecursionError(msg)
    deeper = config.copy()
    deeper["recursion_limit"] = left
    return deeper


class RunnableLambda(Runnable[Input, Output]):
    """A function of one value as a Runnable.

    `func` may be plain or asynchronous; `afunc` beside a plain one serves the asynchronous methods. If the
    signature has `config`, the function gets it; calls made inside inherit it in any case. A generator
    function streams, and `invoke` adds up what it yields (the last wins where it does not add up). A
    Runnable that the function returns is run with the same input, at most `recursion_limit` deep.

    A plain function is run in a worker thread by the asynchronous methods. An asynchronous one raises
    `TypeError` in the synchronous methods. Unlike LangChain, a plain generator function also streams in
    `astream`, and an empty input stream means no call and no output.
    """

    def __init__(
        self, func: Callable[..., Any], afunc: Callable[..., Any] | None = None, *, name: str | None = None
    ) -> None:
        for function in (func,) if afunc is None else (func, afunc):
            if not callable(function):
                msg = f"a lambda is made of a function, not of {function!r}"
                raise TypeError(msg)
        if afunc is not None and is_async_function(func):
            msg = f"a lambda has one asynchronous function, not {func!r} and {afunc!r}; give the plain one first"
            raise TypeError(msg)
        self.func = None if is_async_function(func) else func
        self.afunc = func if self.func is None else afunc
        self.name = name or name_of(func, "RunnableLambda")

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """The functions that it was made of: one, or a plain and an asynchronous one."""
        return [function for function in (self.func, self.afunc) if function is not None]

    def __repr__(self) -> str:
        return _shown(self, self.functions, "RunnableLambda")

    def _sync(self, config: RunnableConfig, kwargs: dict[str, Any]) -> Callable[[Any], Any]:
        if self.func is None:
            msg = f"{self.get_name()} is an asynchronous function; call ainvoke, astream or abatch"
            raise TypeError(msg)
        return prepared(self.func, config, kwargs)

    def _call(self, value: Any, config: RunnableConfig, kwargs: dict[str, Any]) -> Any:
        """Call the plain function; what a generator function yields is added up."""
        result = self._sync(config, kwargs)(value)
        if not is_generator_function(self.func):
            return result
        return none_for_missing(fold(result))

    async def _acall(self, value: Any, config: RunnableConfig, kwargs: dict[str, Any]) -> Any:
        if self.afunc is None:
            return await run_in_thread(partial(self._call, value, config, kwargs))
        function = prepared(self.afunc, config, kwargs)
        if not is_async_generator_function(self.afunc):
            return await function(value)
        return none_for_missing(await afold(function(value)))

    def invoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Return the function's result."""

        def run(child: RunnableConfig) -> Any:
            result = self._call(input, child, kwargs)
            return result.invoke(input, _deeper(child)) if isinstance(result, Runnable) else result

        output: Output = runs.call(self.get_name(), run, input, config)
        return output

    async def ainvoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Return the function's result."""

        async def run(child: RunnableConfig) -> Any:
            result = await self._acall(input, child, kwargs)
            return await result.ainvoke(input, _deeper(child)) if isinstance(result, Runnable) else result

        output: Output = await runs.acall(self.get_name(), run, input, config)
        return output

    def _stream(self, value: Any, config: RunnableConfig, kwargs: dict[str, Any]) -> Iterator[Any]:
        if is_generator_function(self.func):
            yield from self._sync(config, kwargs)(value)
            return
        result = self._call(value, config, kwargs)
        if isinstance(result, Runnable):
            yield from result.stream(value, _deeper(config))
        else:
            yield result

    async def _astream(self, value: Any, config: RunnableConfig, kwargs: dict[str, Any]) -> AsyncIterator[Any]:
        if is_async_generator_function(self.afunc):
            source = prepared(self.afunc, config, kwargs)(value)  # type: ignore[arg-type]
        elif self.afunc is None and is_generator_function(self.func):
            source = iterate_in_thread(self._sync(config, kwargs)(value))
        else:
            result = await self._acall(value, config, kwargs)
            if not isinstance(result, Runnable):
                yield result
                return
            source = result.astream(value, _deeper(config))
        async with closing(source):
            async for item in source:
                yield item

    def _transform(self, source: Iterator[Any], config: RunnableConfig, kwargs: dict[str, Any]) -> Iterator[Any]:
        with closing(source):
            self._sync(config, kwargs)  # raises before any input is pulled
            value = fold(source)
        if value is not MISSING:
            yield from self._stream(value, config, kwargs)

    async def _atransform(
        self, source: AsyncIterator[Any], config: RunnableConfig, kwargs: dict[str, Any]
    ) -> AsyncIterator[Any]:
        value = await afold(source)
        if value is not MISSING:
            output = self._astream(value, config, kwargs)
            async with closing(output):
                async for item in output:
                    yield item

    def stream(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Output]:
        """Yield what a generator function yields, what a returned Runnable streams, or the one result."""
        return runs.stream(self.get_name(), lambda child: self._stream(input, child, kwargs), input, config)

    def astream(
        self,
        input: Input,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Output]:
        """Yield what a generator function yields, what a returned Runnable streams, or the one result."""
        return runs.astream(self.get_name(), lambda child: self._astream(input, child, kwargs), input, config)

    def transform(
        self,
        input: Iterator[Input],
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[Output]:
        """Take all the input, add it up, and stream the function's result for that."""
        return runs.stream(self.get_name(), lambda child: self._transform(input, child, kwargs), None, config)

    def atransform(
        self,
        input: AsyncIterator[Input],
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Output]:
        """Take all the input, add it up, and stream the function's result for that."""
        return runs.astream(self.get_name(), lambda child: self._atransform(input, child, kwargs), None, config)


class RunnableGenerator(Runnable[Input, Output]):
    """A generator function of a stream as a Runnable: it gets an iterator and yields chunks.

    Give a plain generator function, an asynchronous one, or one of each. The methods of the flavour that
    was not given raise `NotImplementedError` at the call. `invoke` adds up what it yields, None for
    nothing. Unlike LangChain, where chunks do not add up the last wins, as in a lambda, and an object whose
    `__call__` is a plain generator function is one too.
    """

    def __init__(
        self,
        transform: Callable[..., Any],
        atransform: Callable[..., Any] | None = None,
        *,
        name: str | None = None,
    ) -> None:
        self._gen = transform if is_generator_function(transform) else None
        self._agen = transform if is_async_generator_function(transform) else atransform
        if self._gen is None and self._agen is not transform:
            msg = (
                f"a generator is made of a generator function, not of {transform!r}; for a function use RunnableLambda"
            )
            raise TypeError(msg)
        self.name = name or name_of(transform, "RunnableGenerator")

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """The functions that it was made of: one, or a plain and an asynchronous one."""
        return [function for function in (self._gen, self._agen) if function is not None]

    def __repr__(self) -> str:
        return _shown(self, self.functions, "RunnableGenerator")

    def _missing(self, flavour: str) -> NotImplementedError:
        return NotImplementedError(f"{self.get_name()} has no {flavour} generator function")

    def transform(
        self,
        input: Iterator[Input],
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[Output]:
        """Yield what the generator function makes of the input; closing closes it, then the input."""
        return self._run(input, None, config, kwargs)

    def stream(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Output]:
        """Yield what the generator function makes of a stream of this one input."""
        return self._run(iter((input,)), input, config, kwargs)

    def _run(
        self, source: Iterator[Input], value: Any, config: RunnableConfig | None, kwargs: dict[str, Any]
    ) -> Iterator[Output]:
        function = self._gen
        if function is None:
            raise self._missing("synchronous")

        def chunks(child: RunnableConfig) -> Iterator[Output]:
            with closing(source):
                yield from prepared(function, child, kwargs)(source)

        return runs.stream(self.get_name(), chunks, value, config)

    def atransform(
        self,
        input: AsyncIterator[Input],
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Output]:
        """Yield what the generator function makes of the input; closing closes it, then the input."""
        return self._arun(input, None, config, kwargs)

    def astream(
        self,
        input: Input,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Output]:
        """Yield what the generator function makes of a stream of this one input."""
        return self._arun(only(input), input, config, kwargs)

    def _arun(
        self, source: AsyncIterator[Input], value: Any, config: RunnableConfig | None, kwargs: dict[str, Any]
    ) -> AsyncIterator[Output]:
        function = self._agen
        if function is None:
            raise self._missing("asynchronous")

        async def chunks(child: RunnableConfig) -> AsyncIterator[Output]:
            async with AsyncExitStack() as stack:
                stack.push_async_callback(aclose, source)
                output = prepared(function, child, kwargs)(source)
                stack.push_async_callback(aclose, output)
                async for chunk in output:
                    yield chunk

        return runs.astream(self.get_name(), chunks, value, config)

    def invoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Return what the chunks add up to; None for no chunks."""
        whole: Output = none_for_missing(fold(self.stream(input, config, **kwargs)))
        return whole

    async def ainvoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Return what the chunks add up to; None for no chunks."""
        whole: Output = none_for_missing(await afold(self.astream(input, config, **kwargs)))
        return whole


async def only(value: Any) -> AsyncIterator[Any]:
    """Yield one value."""
    yield value
