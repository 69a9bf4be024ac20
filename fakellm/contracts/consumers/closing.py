"""Whether a consumer that stops early stops its source.

A consumer stops early when it has what it wants (a stop sequence, the first line), or when the reader of what it yields
goes away. What it was reading from then has to be closed before it returns, or before its `close` does.

What counts as closed. A synchronous stream that nobody refers to any more is closed by Python at once, as a generator
is; an asynchronous one is not, for closing it takes an event loop: that happens at some later time, or never. So a
consumer that reads with `async for` has to close. Whoever takes all the chunks has not stopped early.
"""

from __future__ import annotations

import gc
import inspect
import weakref
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import islice
from typing import Any

from fakellm.contracts.catalogue import checks
from fakellm.contracts.consumers.attempt import Consume, Stream, failures, run_async
from fakellm.contracts.consumers.cuts import Cuts, show
from fakellm.contracts.consumers.samples import BODIES, Sample, stopped, usable
from fakellm.contracts.documents import Document
from fakellm.contracts.verdicts import Skip, broken, counted

_PIECES = 24
_MOST = 3
_END: Any = object()
_TEXT = "The answer is here. It has\ntwo lines.\n\nAnd <b>two</b> paragraphs; {} the last.\n\nThis one. END And more."


class _Source:
    """What became of a stream: how many chunks were taken, and whether it was closed."""

    def __init__(self, chunks: Sequence[Any]) -> None:
        self._left = len(chunks)
        self._chunks = chunks
        self._is_async = False
        self._is_closed = False

    def stream(self) -> Stream:
        """Return the stream, which nobody else refers to."""
        stream = _Watched(self._taken(), self)
        weakref.finalize(stream, self._dropped)
        return stream

    def _taken(self) -> Iterator[Any]:
        for chunk in self._chunks:
            self._left -= 1
            yield chunk

    def _dropped(self) -> None:
        self._is_closed = self._is_closed or not self._is_async

    def note(self, *, closed: bool = False, by_async: bool = False) -> None:
        """Take what is done to the stream."""
        self._is_closed = self._is_closed or closed
        self._is_async = self._is_async or by_async

    @property
    def stopped_early(self) -> int:
        """How many chunks were taken of a stream that has more; 0 where none was, or all."""
        return len(self._chunks) - self._left if self._left else 0

    @property
    def is_open(self) -> bool:
        """Whether it was neither closed nor, if it is synchronous, let go of."""
        if not self._is_closed:
            gc.collect()
        return not self._is_closed


class _Watched(Stream):
    def __init__(self, chunks: Iterator[Any], source: _Source) -> None:
        super().__init__(chunks)
        self._source = source

    def __aiter__(self) -> AsyncIterator[Any]:
        self._source.note(by_async=True)
        return super().__aiter__()

    def _close(self) -> None:
        self._source.note(closed=True)
        super()._close()


def _tried(consume: Consume, chunks: Sequence[Any], pieces: int) -> _Source:
    """Let a consumer read, and take so many pieces of what it yields; return what became of its source.

    Nothing here refers to the stream when it is looked at, nor to what the consumer returned. An error is not ours.
    """
    source = _Source(chunks)
    try:
        result = consume(source.stream())
        if inspect.isawaitable(result) or isinstance(result, AsyncIterator):
            run_async(_read, result, pieces)
        elif isinstance(result, Iterator):
            _ = [*islice(result, pieces)]
            getattr(result, "close", int)()
    except failures():
        source.note(closed=True)
    return source


async def _read(result: Any, pieces: int) -> None:
    """Await a result; of a stream take so many pieces, and close it."""
    if inspect.isawaitable(result):
        result = await result
    if not isinstance(result, AsyncIterator):
        return
    for _ in range(pieces):
        if await anext(result, _END) is _END:
            return
    closer = getattr(result, "aclose", None) or getattr(result, "close", None)
    closed = closer() if callable(closer) else None
    if inspect.isawaitable(closed):
        await closed


def _samples(consume: Consume, stop: tuple[str, ...]) -> list[Sample]:
    """Return documents of ours that the consumer can read, and stop in. Raises `Skip` where there is none."""
    text = _TEXT.format(stop[0] if stop else "END")
    return usable(consume, ((Sample(Cuts(text)), Sample(Cuts(text.encode()))), *stopped(stop), *BODIES))


def _chunks_of(document: Document) -> Sequence[Any]:
    """Return the chunks of a document; of text that comes as one, short pieces."""
    chunks = list(document.apply(()))
    if len(chunks) > 1 or not isinstance(chunks[0], (str, bytes)):
        return chunks
    whole = chunks[0]
    size = max(len(whole) // _PIECES, 1)
    return [whole[at : at + size] for at in range(0, len(whole), size)]


@checks("close", on="consumer")
def close(consume: Consume, document: Document | None = None, *, stop: tuple[str, ...] = ()) -> None:
    """Close what was read from, where the rest of it is not wanted.

    A function that returns at the first line, and a generator whose reader goes away, leave `async for` in the middle.
    That does not close an asynchronous stream: its connection stays open, and the provider goes on, and bills, until
    somebody collects the garbage.
    """
    documents = [sample.document for sample in _samples(consume, stop)] if document is None else [document]
    has_stopped = False
    for chunks in map(_chunks_of, documents):
        for pieces in range(1, _MOST + 1):
            source = _tried(consume, chunks, pieces)
            early, is_open = source.stopped_early, source.is_open
            has_stopped = has_stopped or early > 0
            if early and is_open:
                what = f"it stopped after {counted(early)} of {len(chunks)}, and its source was still open"
                remedy = "async with contextlib.aclosing(chunks): around the loop; or chunks.close(), where it ends"
                raise broken("close", what, ("chunks", show(chunks[:early])), ("to do", remedy))
    if not has_stopped:
        raise Skip("it reads its source to the end")
