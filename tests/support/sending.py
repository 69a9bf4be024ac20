"""What a codec's steps send, and what server-sent events are in it."""

from __future__ import annotations

from fakellm.wire.sse import SSEDecoder


def sent(steps):
    """Return the bytes of a stream, up to the fault that ends it."""
    return b"".join(step for step in steps if isinstance(step, bytes))


def sse_of(body):
    """Return the server-sent events of a body."""
    decoder = SSEDecoder(flush=True)
    return [*decoder.feed(body), *decoder.close()]
