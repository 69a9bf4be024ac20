"""What is under test, whatever its kind: a Runnable, a class with `stream`, a function, a stream factory of an SDK.

A `Subject` says which of the six methods the thing has, and calls them; a `Reading` is one stream of it, read by hand.
A reading is asynchronous code in both flavours: of a synchronous stream no step ever waits.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal

from fakellm.contracts.streams.projections import UNKNOWN, joined, text_of
from fakellm.contracts.verdicts import Skip
from fakellm.errors import ContractUsageError, clip
from fakellm.functions import is_async_function, is_async_generator_function, is_generator_function
from fakellm.runs import fold

Flavour = Literal["sync", "async"]
FLAVOURS: tuple[Flavour, ...] = ("sync", "async")
END: Any = object()
"""What `Reading.next` returns at the end of a stream."""


class Subject:
    """One fresh thing under test. `text` reads the text of its chunks and answers."""

    def __init__(self, thing: Any, text: Callable[[Any], Any] = text_of) -> None:
        self.thing = thing
        self.text = text
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

    def flavours(self) -> list[Flavour]:
        """Return in which flavours it streams, as far as that is known before it is called."""
        if self.is_function:
            return ["async"] if is_async_function(self.thing) or is_async_generator_function(self.thing) else ["sync"]
        return [flavour for flavour in FLAVOURS if self.has("stream", flavour)]

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
        call = self.thing if self.is_function else self.method("stream", flavour)
        return Reading(call(prompt, **kwargs), flavour)

    async def call(self, method: str, flavour: Flavour, *args: Any, **kwargs: Any) -> Any:
        """Call `invoke`, `batch` or another method that returns its result."""
        result = self.method(method, flavour)(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result

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
        shown = [self.said(chunk) for chunk in chunks]
        return [one for one in shown if one != ""]


class Reading:
    """One stream, read by hand; `opened` is an iterator, an iterable, or an awaitable of either."""

    def __init__(self, opened: Any, flavour: Flavour) -> None:
        self.opened = opened
        self.flavour = flavour
        self._steps: Any = None

    async def start(self) -> Any:
        """Make the iterator, without reading from it; return what is iterated over."""
        if self._steps is None:
            if inspect.isawaitable(self.opened) and not hasattr(self.opened, "__aiter__"):
                self.opened = await self.opened
            self._steps = _iterator(self.opened, self.flavour)
        return self._steps

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
        taken: list[Any] = []
        while (chunk := await self.next()) is not END:
            taken.append(chunk)
        return taken

    async def read(self, seen: list[Any]) -> list[Any]:
        """Read to the end, adding each chunk to `seen` as it comes; what ends the stream early is raised."""
        while (chunk := await self.next()) is not END:
            seen.append(chunk)
        return seen

    async def close(self) -> None:
        """Close the stream as its kind is closed, and let go of it."""
        steps, self._steps = self._steps, None
        opened, self.opened = self.opened, None
        for thing in (steps, opened):
            for name in ("aclose", "close") if self.flavour == "async" else ("close", "aclose"):
                closer = getattr(thing, name, None)
                if callable(closer):
                    result = closer()
                    if inspect.isawaitable(result):
                        await result
                    break


def _iterator(opened: Any, flavour: Flavour) -> Any:
    """Return what is iterated over; of an object that can be read in both flavours, that of this flavour."""
    ways = ("__aiter__", "__iter__") if flavour == "async" else ("__iter__", "__aiter__")
    for way in ways if not isinstance(opened, (str, bytes, dict)) else ():
        if hasattr(opened, way):
            return getattr(opened, way)()
    msg = f"the function returned {clip(repr(opened), 80)}, which is no stream; return an iterator of chunks"
    raise ContractUsageError(msg)
