"""Tapes in tests: recorded from loopback, played through the HTTP libraries."""

from __future__ import annotations

import importlib
import zlib

import pytest
import sdks
import yaml

from fakellm.cassette.redaction import Redactor
from fakellm.cassette.tape import Tape
from fakellm.http.interception import playing

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Reads YAML ten times as fast, where PyYAML was built with it."""

TEXT = "data: \u00e9\U0001f600 \u4e2d\n\n".encode()


CUTS = [TEXT[at : at + 1] for at in range(len(TEXT))]  # inside every character


CHUNKED = [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")]


# What is about tapes and not about one of the libraries needs the other only in CI.
libraries = pytest.mark.parametrize("library", [pytest.param("httpx", marks=pytest.mark.exhaustive), "httpx2"])


flavours = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


def tape(path, **options):
    options.setdefault("mode", "once")
    return Tape(path, redactor=Redactor(environ={}), **options)


On = playing


def fetch(library, asynchronous, url, *, between=lambda: None, take=None, body=None):
    """Return the chunks that a client gets, and the class of the error that ends them."""
    module = importlib.import_module(library)
    chunks, error = [], None
    asked = {"json": body if body is not None else {"ask": 1}}

    def more(chunk):
        chunks.append(chunk)
        between()
        return take is not None and len(chunks) >= take

    if not asynchronous:
        with module.Client(timeout=5) as client, client.stream("POST", url, **asked) as response:
            try:
                for chunk in response.iter_bytes():
                    if more(chunk):
                        break
            except Exception as raised:
                error = type(raised)
        return chunks, error

    async def main():
        nonlocal error
        async with module.AsyncClient(timeout=5) as client, client.stream("POST", url, **asked) as response:
            try:
                async for chunk in response.aiter_bytes():
                    if more(chunk):
                        break
            except Exception as raised:
                error = type(raised)

    sdks.run(main())
    return chunks, error


def stored(path):
    return yaml.load(path.read_text(), Loader=LOADER)["interactions"]


def compressed(encoding, texts):
    """Return the texts compressed, each flushed, as a server that streams sends them."""
    if encoding in ("gzip", "deflate"):
        packer = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
        pieces = [packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH) for text in texts]
        return [*pieces, packer.flush()]
    if encoding == "br":
        brotli = pytest.importorskip("brotli", reason="the library for br is not installed")
        packer = brotli.Compressor()
        return [*(packer.process(text) + packer.flush() for text in texts), packer.finish()]
    zstandard = pytest.importorskip("zstandard", reason="the library for zstd is not installed")
    packer = zstandard.ZstdCompressor().compressobj()
    block = zstandard.COMPRESSOBJ_FLUSH_BLOCK
    return [*(packer.compress(text) + packer.flush(block) for text in texts), packer.flush()]
