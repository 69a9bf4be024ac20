"""Compresses a body as it is sent, piece by piece: each is flushed, so that nothing is late.

The codings are those of RFC 9110, 8.4.1, and of RFC 7932 (`br`) and RFC 8878 (`zstd`), where a library for them is
installed.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

_GZIP = zlib.MAX_WBITS | 16


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
"""By their names in `content-encoding`; what is made is None where the library for it is missing."""
CODINGS = (*_MAKERS,)
"""The names of the codings, whether their libraries are there or not."""
