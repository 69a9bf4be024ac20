"""What a provider that answers alike remembers: requests that it has read, and answers that it has written.

A server under load is asked the same again and again, and what it says depends on the request alone: the ids too,
which are made of the request there and not of how many came before (`FakeProvider.answers_alike`). So an answer that
was written once is the same bytes the next time, and reading the request and writing the answer, which is most of what
a short stream costs, need not be done again.

It is bounded by bytes, the oldest goes first; bodies that are large are not kept. What a function makes is never kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from hashlib import sha256
from threading import Lock
from typing import Any

from fakellm.provider.exchange import ProviderCall
from fakellm.provider.hosts import parts_of
from fakellm.wire.codec import Codec, Request
from fakellm.wire.objects import parse

_LARGE = 64 * 1024
_MOST = 16 * 1024 * 1024
_NUMBERS = 10**7
_OVERHEAD = 400
"""Bytes that a thing takes beside its own."""


def number_of(method: str, path: str, body: bytes) -> int:
    """Return the number that the ids of the answer to a request are made of: the same everywhere.

    It is small enough that seconds counted from the beginning of a year, as in `created`, stay in that year.
    """
    digest = sha256(b"\0".join((method.encode(), path.encode("utf-8", "surrogateescape"), body))).digest()
    return int.from_bytes(digest[:8], "big") % _NUMBERS


class Memo:
    """Things by what they were made of."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._size = 0
        self._lock = Lock()

    def __reduce__(self) -> tuple[type[Memo], tuple[int]]:
        """Pickle and copy it as one that knows nothing yet."""
        return Memo, (self._most,)

    def get(self, key: Hashable) -> Any:
        """Return what was made of the key, if it is kept."""
        found = self._kept.get(key)
        return None if found is None else found[0]

    def once(self, key: Hashable, make: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        """Return what was made of the key, or make it; what it raises is raised. `size` tells its bytes."""
        if (found := self._kept.get(key)) is not None:
            return found[0]
        made = make()
        weight = size(made) + _OVERHEAD
        if weight <= _LARGE * 4:
            self._keep(key, made, weight)
        return made

    def _keep(self, key: Hashable, made: Any, weight: int) -> None:
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made, weight
                self._size += weight
            while self._size > self._most:
                _, (_, freed) = self._kept.popitem(last=False)
                self._size -= freed


class Alike:
    """A provider that may answer alike, whoever is asked and whenever."""

    _memo: Memo | None = None

    @property
    def answers_alike(self) -> bool:
        """Whether ids are made of the request alone, so that several of the same providers answer the same bytes.

        By default they are made of the call's number. A server sets this.
        """
        return self._memo is not None

    @answers_alike.setter
    def answers_alike(self, alike: bool) -> None:
        self._memo = Memo() if alike else None

    def remember_with(self, other: Alike) -> None:
        """Have one memory with another, so that many copies of it remember no more than one: answers are their own."""
        self._memo = other._memo

    def _mark(self, call: ProviderCall) -> None:
        """Say what ids in the answer to a call are made of."""
        if self._memo is None:
            return
        parts = parts_of(call.url)
        asked = call.method, f"{parts.path}?{parts.query}", call.body
        if len(call.body) > _LARGE:
            call.made_of = number_of(*asked)
        else:
            call.made_of = self._memo.once(asked, lambda: number_of(*asked), lambda _: 2 * len(call.body))

    def _read(self, call: ProviderCall, codec: Codec, path: str) -> tuple[Any, Request]:
        """Return the JSON of a request, and what it asks; raise `WireError` for what is no request."""
        marks = codec.marked(call.headers)

        def read() -> tuple[Any, Request]:
            call.json = parse(call.body, "the body of the request")
            return call.json, codec.read(call.json, marks, path=path)

        if self._memo is None or len(call.body) > _LARGE:
            return read()
        found: tuple[Any, Request] = self._memo.once(
            (codec, path, call.body, marks), read, lambda _: 4 * len(call.body)
        )
        return found
