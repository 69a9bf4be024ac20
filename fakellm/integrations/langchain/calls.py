"""What the adapters for LangChain share: asking the fake, batches, closing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from langchain_core.runnables import Runnable

from fakellm.concurrency import aclose, closing
from fakellm.errors import UnexpectedCallError
from fakellm.integrations.langchain.turns import Gate, InTurn, claimed_turn, in_turns
from fakellm.script.splitting import SPLITS

if TYPE_CHECKING:
    from langchain_core.language_models.base import BaseLanguageModel

    class Base(BaseLanguageModel[Any]):
        """What LangChain's two kinds of model have in common."""

        def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
            """Return the whole answer."""

        async def agenerate(self, *args: Any, **kwargs: Any) -> Any:
            """Return the answers to several prompts."""
else:
    Base = object

_END: Any = object()


_opened: ContextVar[list[AsyncIterator[Any]] | None] = ContextVar("fakellm_langchain_opened", default=None)
_misses: ContextVar[list[UnexpectedCallError] | None] = ContextVar("fakellm_langchain_misses", default=None)


@contextmanager
def _noting_misses() -> Iterator[None]:
    """Note a call without a reply, for `agenerate`."""
    try:
        yield
    except UnexpectedCallError as miss:
        if (misses := _misses.get()) is not None:
            misses.append(miss)
        raise


_numbers: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
_counted = count(1)


def number_of(fake: Any) -> int:
    """Return a number that only this fake has: a cache of LangChain's tells models apart by what identifies them."""
    if fake not in _numbers:
        _numbers[fake] = next(_counted)
    return _numbers[fake]


class Adapter(Base):
    """What both adapters add to LangChain's models.

    The calls of a batch get their replies in the order of its inputs, and each fails for itself. Closing an
    asynchronous stream closes the fake's before it returns. Shallow copies share the fake and its log; a deep copy and
    a pickle have a fake of their own.
    """

    if TYPE_CHECKING:
        fake: Any
        stop: list[str] | None

    def asked(self, stop: list[str] | None, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of a call as the fake's log shows them."""
        stop = self.stop if stop is None else stop
        return kwargs if stop is None else {"stop": stop, **kwargs}

    def answer(self, prompt: Any, stop: list[str] | None, kwargs: dict[str, Any]) -> Any:
        """Return the fake's whole answer, which a call of a batch asks for when it is its turn."""
        turn = claimed_turn()
        if turn is None:
            return self.fake.invoke(prompt, None, **self.asked(stop, kwargs))
        turn.wait()
        job = self.fake._job(prompt, None, self.asked(stop, kwargs))  # noqa: SLF001 - as the fake's own batch does
        turn.end()
        return job()

    async def aanswer(self, prompt: Any, stop: list[str] | None, kwargs: dict[str, Any]) -> Any:
        """Return the fake's whole answer, which a call of a batch asks for when it is its turn."""
        turn = claimed_turn()
        with _noting_misses():
            if turn is None:
                return await self.fake.ainvoke(prompt, None, **self.asked(stop, kwargs))
            await turn.await_()
            job = self.fake._ajob(prompt, None, self.asked(stop, kwargs))  # noqa: SLF001 - as the fake's own batch does
            turn.end()
            return await job()

    def pieces(self, prompt: Any, stop: list[str] | None, kwargs: dict[str, Any]) -> Iterator[Any]:
        """Yield the fake's chunks."""
        turn = claimed_turn()
        if turn is not None:
            turn.wait()
        source = self.fake.stream(prompt, None, **self.asked(stop, kwargs))
        with closing(source):
            for piece in source:
                if turn is not None:
                    turn.end()
                yield piece

    async def apieces(self, prompt: Any, stop: list[str] | None, kwargs: dict[str, Any]) -> AsyncIterator[Any]:
        """Yield the fake's chunks."""
        turn = claimed_turn()
        if turn is not None:
            await turn.await_()
        source = self.fake.astream(prompt, None, **self.asked(stop, kwargs))
        async with closing(source):
            with _noting_misses():
                async for piece in source:
                    if turn is not None:
                        turn.end()
                    yield piece

    # -- calls ------------------------------------------------------------------------------------

    def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        """Return the whole answer."""
        if not isinstance(input, InTurn):
            return super().invoke(input, config, **kwargs)
        with input.turn.running():
            return super().invoke(input.input, config, **kwargs)

    async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        """Return the whole answer."""
        if not isinstance(input, InTurn):
            return await super().ainvoke(input, config, **kwargs)
        with input.turn.running():
            return await super().ainvoke(input.input, config, **kwargs)

    async def agenerate(self, *args: Any, **kwargs: Any) -> Any:
        """Return the answers to several prompts. A call without a reply is raised as it is.

        LangChain's own would take what is no `Exception` for an answer, and raise an `AttributeError` that an app
        handles.
        """
        misses: list[UnexpectedCallError] = []
        token = _misses.set(misses)
        try:
            return await super().agenerate(*args, **kwargs)
        except Exception:
            if misses:
                raise misses[0] from None
            raise
        finally:
            _misses.reset(token)

    async def astream(self, input: Any, config: Any = None, **kwargs: Any) -> AsyncIterator[Any]:
        """Yield the answer in chunks. Closing it closes the fake's stream, which LangChain leaves to the collector."""
        opened: list[AsyncIterator[Any]] = []
        stream = super().astream(input, config, **kwargs)
        try:
            token = _opened.set(opened)
            try:
                chunk = await anext(stream, _END)
            finally:
                _opened.reset(token)
            while chunk is not _END:
                yield chunk
                chunk = await anext(stream, _END)
        finally:
            for iterator in (stream, *opened):
                await aclose(iterator)

    # -- batches ----------------------------------------------------------------------------------

    def batch(self, inputs: list[Any], config: Any = None, *, return_exceptions: bool = False, **kwargs: Any) -> Any:
        """Return the answers in the order of the inputs, which is also the order of their replies."""
        return Runnable.batch(self, in_turns(inputs, Gate), config, return_exceptions=return_exceptions, **kwargs)

    async def abatch(
        self, inputs: list[Any], config: Any = None, *, return_exceptions: bool = False, **kwargs: Any
    ) -> Any:
        """Return the answers in the order of the inputs, which is also the order of their replies."""
        return await Runnable.abatch(
            self, in_turns(inputs, asyncio.Event), config, return_exceptions=return_exceptions, **kwargs
        )

    def batch_as_completed(self, inputs: Any, config: Any = None, **kwargs: Any) -> Any:
        """Yield `(index, answer)` as they come; the replies are given out in the order of the inputs."""
        return Runnable.batch_as_completed(self, in_turns(inputs, Gate), config, **kwargs)

    def abatch_as_completed(self, inputs: Any, config: Any = None, **kwargs: Any) -> Any:
        """Yield `(index, answer)` as they come; the replies are given out in the order of the inputs."""
        return Runnable.abatch_as_completed(self, in_turns(inputs, asyncio.Event), config, **kwargs)

    # -- tokens -----------------------------------------------------------------------------------

    def get_token_ids(self, text: str) -> list[int]:
        """Return a number for each token, where a token is what `Script.of(text, "tokens")` makes a chunk."""
        if self.custom_get_token_ids is not None:
            return self.custom_get_token_ids(text)
        return list(range(len(SPLITS["tokens"](text))))


def opened(iterator: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Note a stream that `astream` has to close, and return it."""
    noted = _opened.get()
    if noted is not None:
        noted.append(iterator)
    return iterator
