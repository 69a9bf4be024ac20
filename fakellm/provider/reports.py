"""The requests to a fake, worded for a test that failed: what was asked, what was scripted, what the client took."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from fakellm.errors import WireError, clip
from fakellm.provider.exchange import ProviderCall
from fakellm.script.written import written
from fakellm.wire.codec import Codec
from fakellm.wire.providers import scripted_endpoint
from fakellm.wire.service import codec_of

_ENDS = 10
"""Of many requests so many at the beginning and at the end are shown."""


def usual_codec(call: ProviderCall) -> Codec | None:
    """Return the codec of what a request asks for, whoever answered it."""
    found = scripted_endpoint(call.method, urlsplit(call.url).path)
    return codec_of(found[1]) if found is not None else None


def shown_calls(
    calls: Sequence[ProviderCall], codec: Callable[[ProviderCall], Codec | None] = usual_codec
) -> list[str]:
    """Word requests, of many the first and the last."""
    if len(calls) <= 2 * _ENDS:
        return [shown_call(call, codec(call)) for call in calls]
    ends = [shown_call(call, codec(call)) for call in (*calls[:_ENDS], *calls[-_ENDS:])]
    return [*ends[:_ENDS], f"... {len(calls) - 2 * _ENDS} requests ...", *ends[_ENDS:]]


def shown_call(call: ProviderCall, codec: Codec | None) -> str:
    """Word a request: how far it came, the prompt, the reply that was chosen, and what of it the client took."""
    request = call.request  # if nobody has read it yet, it is read now
    lines = [repr(call)[1:-1], *call.asked().split("\n")[1:]]
    if call.reply is not None:
        lines.append(str(call.reply))
    if call.taken:
        lines.append(_taken(call, codec, stream=request.stream))
    return "\n  ".join(lines)


def _taken(call: ProviderCall, codec: Codec | None, *, stream: bool) -> str:
    """Word the beginning of the body that the client took, as events where it is a stream."""
    more = f" ... and {call.pieces - len(call.taken)} pieces more" if call.pieces > len(call.taken) else ""
    if codec is not None and stream and call.status == 200:  # noqa: PLR2004
        decoder = codec.decoder()
        try:
            events = [event for piece in call.taken for event in decoder.feed(piece)]
        except WireError:
            events = []
        if events:
            return f"chunks: {clip(' '.join(written(events)), 600)}{more}"
    return f"body: {clip(b''.join(call.taken).decode('utf-8', 'replace').strip(), 600)}{more}"
