"""What is under test, whatever its kind: a Runnable, a class with `stream`, a function, a stream factory of an SDK.

A `Subject` says which of the six methods the thing has, and calls them; a `Reading` is one stream of it, read by hand.
A reading is asynchronous code in both flavours: of a synchronous stream no step ever waits.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal

from fakellm.contracts.streams.projections import UNKNOWN, joined
from fakellm.contracts.verdicts import Skip
from fakellm.errors import ContractUsageError, clip
from fakellm.runnable.functions import is_async_function, is_async_generator_function, is_generator_function
from fakellm.runnable.runs import fold

Flavour = Literal["sync", "async"]
FLAVOURS: tuple[Flavour, ...] = ("sync", "async")
END: Any = object()
"""What `Reading.next` returns at the end of a stream."""


class Subject:
    """One fresh thing under test. `text` reads the text of its chunks and answers."""

    def __init__(self, thing: Any, text: Callable[[Any], Any], is_error: Callable[[Any], bool]) -> None:
        self.thing = thing
        self._text = text
        self.is_error = is_error
        if not hasattr(thing, "stream") and not hasattr(thing, "astream") and not callable(thing):
            msg = (
                f"the maker returned {clip(repr(thing), 80)}, which has no stream or astream and is no function; "
                "return a model, a chain, or a function of the prompt that returns a stream"
            )
            raise ContractUsageError(msg)

    @property
    def is_function(self) -> bool:
        """Whether it is a plain function rather than something with `stream`."""
        return not hasattr(self.thing, "stream") and not hasattr(self.thing, "astream")

    @property
    def is_lazy(self) -> bool:
        """Whether its streams are promised to be lazy: a factory function may send its request when it is called."""
        thing = self.thing
        return not self.is_function or is_generator_function(thing) or is_async_generator_function(thing)

    def flavours(self, prompt: Any) -> list[Flavour]:
        """Return in which flavours it streams. What cannot be told from its kind is called, to see what comes back."""
        if self.has("stream", "async"):
            return [flavour for flavour in FLAVOURS if self.has("stream", flavour)]
        call = self.thing if self.is_function else getattr(self.thing, "stream", None)
        if not callable(call):
            return []
        if is_async_function(call) or is_async_generator_function(call):
            return ["async"]
        if is_generator_function(call):
            return ["sync"]
        return ["async"] if _is_async(call, prompt) else ["sync"]

    def has(self, method: str, flavour: Flavour = "sync") -> bool:
        """Tell whether it has a method, in this flavour."""
        return callable(getattr(self.thing, ("a" if flavour == "async" else "") + method, None))

    def method(self, name: str, flavour: Flavour) -> Callable[..., Any]:
        """Return a method by its synchronous name. Raises `Skip` where the thing does not have it."""
        full = ("a" if flavour == "async" else "") + name
        found = getattr(self.thing, full, None)
        if not callable(found):
            raise Skip(f"it has no {full}")
        return found  # type: ignore[no-any-return]

    def open(self, flavour: Flavour, prompt: Any, **kwargs: Any) -> Reading:
        """Return a stream that nobody has read from."""
        call = self.thing
        if not self.is_function:
            is_only = flavour == "async" and not self.has("stream", "async")  # a `stream` that is asynchronous
            call = self.method("stream", "sync" if is_only else flavour)
        return Reading(call(prompt, **kwargs), flavour)

    async def call(self, method: str, flavour: Flavour, *args: Any, **kwargs: Any) -> Any:
        """Call `invoke`, `batch` or another method that returns its result."""
        result = self.method(method, flavour)(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    def text(self, chunk: Any) -> Any:
        """Return the text of a chunk. Raises `ContractUsageError` if the user's own `text` fails."""
        try:
            return self._text(chunk)
        except Exception as error:
            msg = f"text= failed on {clip(repr(chunk), 100)}: {error!r}"
            raise ContractUsageError(msg) from error

    def sum(self, chunks: list[Any]) -> Any:
        """Return what the chunks add up to: their text where it can be read, else their sum."""
        text = joined(chunks, self.text)
        return fold(list(chunks)) if text is UNKNOWN else text

    def said(self, answer: Any) -> Any:
        """Return what an answer says: its text where it can be read, else itself."""
        text = self.text(answer)
        return answer if text is UNKNOWN else text

    def texts(self, chunks: list[Any]) -> list[Any]:
        """Return the chunks that show text, as that text; chunks that cannot be read stay as they are."""
        shown = [self.said(chunk) for chunk in chunks if not self.is_error(chunk)]
        return [one for one in shown if one != ""]


class Reading:
    """One stream, read by hand; `opened` is an iterator, an iterable, or an awaitable of either."""

    def __init__(self, opened: Any, flavour: Flavour) -> None:
        self.opened = opened
        self.flavour: Flavour = flavour
        self._manager: Any = None
        self._steps: Any = None

    async def start(self) -> Any:
        """Make the iterator, without reading from it; return what is iterated over."""
        if self._steps is None:
            if inspect.isawaitable(self.opened) and not hasattr(self.opened, "__aiter__"):
                self.opened = await self.opened
            await self._enter()
            self._steps = _iterator(self.opened, self.flavour)
        return self._steps

    async def _enter(self) -> None:
        """Enter a stream that is a context manager and nothing else, as `with client.stream() as stream` does."""
        manager: Any = self.opened
        if hasattr(manager, "__aiter__") or hasattr(manager, "__iter__"):
            return
        if hasattr(manager, "__aenter__") and self.flavour == "async":
            self._manager, self.opened = manager, await manager.__aenter__()
        elif hasattr(manager, "__enter__"):
            self._manager, self.opened = manager, manager.__enter__()

    async def next(self) -> Any:
        """Return the next chunk, or `END`."""
        steps = await self.start()
        is_async = hasattr(steps, "__anext__") and not (self.flavour == "sync" and hasattr(steps, "__next__"))
        return await anext(steps, END) if is_async else next(steps, END)

    async def take(self, count: int) -> list[Any]:
        """Return at most the next `count` chunks."""
        taken: list[Any] = []
        while len(taken) < count and (chunk := await self.next()) is not END:
            taken.append(chunk)
        return taken

    async def rest(self) -> list[Any]:
        """Return all the chunks that are left."""
        return await self.read([])

    async def read(self, seen: list[Any]) -> list[Any]:
        """Read to the end, adding each chunk to `seen` as it comes; what ends the stream early is raised."""
        while (chunk := await self.next()) is not END:
            seen.append(chunk)
        return seen

    async def close(self) -> None:
        """Close the stream as its kind is closed, and let go of it."""
        steps, self._steps = self._steps, None
        opened, self.opened = self.opened, None
        manager, self._manager = self._manager, None
        for thing in (steps, opened):
            for name in ("aclose", "close") if self.flavour == "async" else ("close", "aclose"):
                closer = getattr(thing, name, None)
                if callable(closer):
                    result = closer()
                    if inspect.isawaitable(result):
                        await result
                    break
        if manager is not None:
            left = manager.__aexit__ if hasattr(manager, "__aexit__") and self.flavour == "async" else manager.__exit__
            result = left(None, None, None)
            if inspect.isawaitable(result):
                await result


def _is_async(call: Callable[..., Any], prompt: Any) -> bool:
    """Call a function that returns a stream, and tell whether that has to be awaited or read with `async for`."""
    try:
        opened = call(prompt)
    except RuntimeError as error:
        return "no running event loop" in str(error)
    if inspect.iscoroutine(opened):
        opened.close()
        return True
    if hasattr(opened, "__aenter__") and not hasattr(opened, "__enter__"):
        return True
    is_async = inspect.isawaitable(opened) or (hasattr(opened, "__aiter__") and not hasattr(opened, "__iter__"))
    closer = getattr(opened, "close", None)
    if callable(closer) and not is_async:
        closer()
    return is_async


def _iterator(opened: Any, flavour: Flavour) -> Any:
    """Return what is iterated over; of an object that can be read in both flavours, that of this flavour."""
    ways = ("__aiter__", "__iter__") if flavour == "async" else ("__iter__", "__aiter__")
    for way in ways if not isinstance(opened, (str, bytes, dict)) else ():
        if hasattr(opened, way):
            return getattr(opened, way)()
    msg = f"the function returned {clip(repr(opened), 80)}, which is no stream; return an iterator of chunks"
    raise ContractUsageError(msg)
