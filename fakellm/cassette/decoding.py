"""Decodes a compressed body as its pieces come, so that a tape holds what the app's client made of it.

The codings are those of RFC 9110, 8.4.1, and of RFC 7932 (`br`) and RFC 8878 (`zstd`). A client asks for the last two
only where the library for it is installed, and the same library is used here.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

_GZIP = zlib.MAX_WBITS | 16
_LENGTH = "content-length"


class Decompressor:
    """Undoes the codings that a `content-encoding` header names; pieces go in, decoded pieces come out.

    A coding that is not known, or whose library is missing, leaves the body as it is, and `known` is false then.
    """

    def __init__(self, encoding: str) -> None:
        names = [name.strip().lower() for name in encoding.split(",") if name.strip().lower() not in ("", "identity")]
        makers = [_MAKERS.get(name) for name in reversed(names)]
        made = [maker() if maker else None for maker in makers]
        self.known = None not in made
        self._steps = [step for step in made if step] if self.known else []

    def feed(self, data: bytes) -> bytes:
        """Return what the piece decodes to, which may be nothing yet."""
        for step in self._steps:
            data = step.decompress(data) if data else data
        return data

    def flush(self) -> bytes:
        """Return what the end of the body still gives."""
        rest = b""
        for step in self._steps:
            rest = (step.decompress(rest) if rest else b"") + step.flush()
        return rest


def is_coding(encoding: str) -> bool:
    """Tell whether a `content-encoding` header names only codings that clients know."""
    return {name.strip().lower() for name in encoding.split(",")} <= {*_MAKERS, "", "identity"}


def readable(headers: Mapping[str, list[str]], body: bytes) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return the headers that fit to a body which was decoded, and those of the server that do not, as they were."""
    changed = {name: values for name, values in headers.items() if name.lower() in ("content-encoding", _LENGTH)}
    kept = {
        name: [str(len(body))] if name.lower() == _LENGTH else values
        for name, values in headers.items()
        if name.lower() != "content-encoding"
    }
    return kept, changed


class _Deflate:
    """`deflate` is the zlib format, and some servers send it without its wrapper."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj()
        self._is_first = True

    def decompress(self, data: bytes) -> bytes:
        was_first, self._is_first = self._is_first, False
        try:
            return self._inner.decompress(data)
        except zlib.error:
            if not was_first:
                raise
            self._inner = zlib.decompressobj(-zlib.MAX_WBITS)
            return self._inner.decompress(data)

    def flush(self) -> bytes:
        return self._inner.flush()


class _Brotli:
    def __init__(self, module: Any) -> None:
        self._inner = module.Decompressor()
        self._decompress = getattr(self._inner, "decompress", None) or self._inner.process

    def decompress(self, data: bytes) -> bytes:
        decoded: bytes = self._decompress(data)
        return decoded

    def flush(self) -> bytes:
        return b""


class _Zstandard:
    """One frame after the other."""

    def __init__(self, new: Callable[[], Any]) -> None:
        self._new = new
        self._inner = new()

    def decompress(self, data: bytes) -> bytes:
        decoded: bytes = b""
        while data:
            if self._inner.eof:
                self._inner = self._new()
            decoded += self._inner.decompress(data)
            data = self._inner.unused_data
        return decoded

    def flush(self) -> bytes:
        return b""


def _brotli() -> _Brotli | None:
    module = _first("brotli", "brotlicffi")
    return _Brotli(module) if module else None


def _zstandard() -> _Zstandard | None:
    if module := _first("compression.zstd", "backports.zstd"):
        return _Zstandard(module.ZstdDecompressor)
    module = _first("zstandard")
    return _Zstandard(lambda: module.ZstdDecompressor().decompressobj()) if module else None


def _first(*names: str) -> Any:
    """Return the first of the modules that is installed."""
    for name in names:
        try:
            return import_module(name)
        except ImportError:
            continue
    return None


_MAKERS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(_GZIP),
    "x-gzip": lambda: zlib.decompressobj(_GZIP),
    "deflate": _Deflate,
    "br": _brotli,
    "zstd": _zstandard,
}
