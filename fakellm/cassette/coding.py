"""Compresses a body again as it plays, so that the client gets the headers that the server sent, and a body that fits.

A tape holds bodies decoded, for people to read and for secrets to be found. A client that asks again for what it can
decode gets the same coding: each chunk is flushed, so that it decodes to the chunk that was recorded. The bytes
between are valid, and not those of the server, whose compressor nobody knows. See `decoding` for the codings.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any, Protocol, TypeVar

from fakellm.cassette.decoding import is_coding
from fakellm.wire.codec import Ending

_GZIP = zlib.MAX_WBITS | 16
_Step = TypeVar("_Step")


class _Maker(Protocol):
    """Compresses for one coding: what it has taken is out after each `feed`."""

    def feed(self, data: bytes) -> bytes:
        """Return the piece compressed."""
        raise NotImplementedError

    def finish(self, data: bytes) -> bytes:
        """Return the last piece compressed, and the end."""
        raise NotImplementedError


class Compressor:
    """Applies the codings that a `content-encoding` header names; `known` is false if one cannot be applied here."""

    def __init__(self, encoding: str) -> None:
        made = [_MAKERS.get(name, lambda: None)() for name in codings_of(encoding)]
        self.known = None not in made
        self._steps = [step for step in made if step]

    def feed(self, data: bytes) -> bytes:
        """Return what decodes to the piece."""
        for step in self._steps:
            data = step.feed(data)
        return data

    def finish(self, data: bytes = b"") -> bytes:
        """Return what decodes to the last piece, with the end of the body, as short as can be."""
        for step in self._steps:
            data = step.finish(data)
        return data


def codings_of(encoding: str) -> list[str]:
    """Return the codings that a `content-encoding` header names, in the order in which they were applied."""
    names = [name.strip().lower() for name in encoding.split(",")]
    return [name for name in names if name not in ("", "identity")]


def compressed(steps: Iterable[_Step], compressor: Compressor) -> Iterator[_Step]:
    """Yield steps of a body with their runs compressed, piece by piece."""
    for step in steps:
        if type(step) not in (list, Ending):
            yield step
            continue
        run: list[bytes] = list(step)  # type: ignore[call-overload]
        last = run[-1:] if isinstance(step, Ending) else []
        pieces = [compressor.feed(piece) for piece in run[: len(run) - len(last)]]
        if isinstance(step, Ending):
            pieces.append(compressor.finish(b"".join(last)))
        yield type(step)(pieces)  # type: ignore[call-arg]


def sent(response: Mapping[str, Any], accepts: str) -> tuple[dict[str, Any], Compressor | None]:
    """Return the headers of a recorded response as the server sent them, and what makes its body fit to them.

    Those that are on the tape, which fit to the decoded body, where the client does not accept the coding by now.
    """
    headers, more = dict(response["headers"]), (response.get("wire") or {}).get("headers") or {}
    named = {name.lower(): values for name, values in more.items()}
    encoding = ", ".join(_listed(named.get("content-encoding", [])))
    if not is_coding(encoding):  # then the body is as it came
        return {**headers, "content-encoding": [encoding]}, None
    compressor = Compressor(encoding)
    if not more or not compressor.known or not all(name in accepts.lower() for name in codings_of(encoding)):
        return headers, None
    kept = {name: values for name, values in headers.items() if name.lower() not in named}
    return {**kept, **more}, compressor


def _listed(values: Any) -> list[str]:
    return [values] if isinstance(values, str) else values


class _Zlib:
    def __init__(self, bits: int) -> None:
        self._inner = zlib.compressobj(wbits=bits)

    def feed(self, data: bytes) -> bytes:
        return self._inner.compress(data) + self._inner.flush(zlib.Z_SYNC_FLUSH)

    def finish(self, data: bytes) -> bytes:
        return self._inner.compress(data) + self._inner.flush()


class _Brotli:
    def __init__(self, module: Any) -> None:
        self._inner = module.Compressor()
        self._compress = getattr(self._inner, "compress", None) or self._inner.process

    def feed(self, data: bytes) -> bytes:
        fed: bytes = self._compress(data) + self._inner.flush()
        return fed

    def finish(self, data: bytes) -> bytes:
        end: bytes = self._compress(data) + self._inner.finish()
        return end


class _Zstandard:
    """Of the standard library, or its backport."""

    def __init__(self, module: Any) -> None:
        self._inner = module.ZstdCompressor()

    def feed(self, data: bytes) -> bytes:
        fed: bytes = self._inner.compress(data, self._inner.FLUSH_BLOCK)
        return fed

    def finish(self, data: bytes) -> bytes:
        end: bytes = self._inner.compress(data) + self._inner.flush()
        return end


class _OldZstandard:
    """Of the package zstandard."""

    def __init__(self, module: Any) -> None:
        self._inner = module.ZstdCompressor().compressobj()
        self._block = module.COMPRESSOBJ_FLUSH_BLOCK

    def feed(self, data: bytes) -> bytes:
        fed: bytes = self._inner.compress(data) + self._inner.flush(self._block)
        return fed

    def finish(self, data: bytes) -> bytes:
        end: bytes = self._inner.compress(data) + self._inner.flush()
        return end


def _first(*makers: tuple[str, Callable[[Any], _Maker]]) -> Callable[[], _Maker | None]:
    """Return what compresses with the first of the modules that is installed."""

    def make() -> _Maker | None:
        for name, maker in makers:
            try:
                return maker(import_module(name))
            except ImportError:
                continue
        return None

    return make


_MAKERS: dict[str, Callable[[], _Maker | None]] = {
    "gzip": lambda: _Zlib(_GZIP),
    "deflate": lambda: _Zlib(zlib.MAX_WBITS),
    "br": _first(("brotli", _Brotli), ("brotlicffi", _Brotli)),
    "zstd": _first(("compression.zstd", _Zstandard), ("backports.zstd", _Zstandard), ("zstandard", _OldZstandard)),
}
