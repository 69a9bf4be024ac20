"""The requests to a fake, worded for a test that failed: what was asked, what was scripted, what the client took."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fakellm.errors import WireError, clip
from fakellm.provider.exchange import ProviderCall
from fakellm.script.written import written
from fakellm.wire.codec import Codec

_ENDS = 10
"""Of many requests so many at the beginning and at the end are shown."""


def shown_calls(calls: Sequence[ProviderCall], codec_of: Callable[[ProviderCall], Codec | None]) -> list[str]:
    """Word requests, of many the first and the last."""
    if len(calls) <= 2 * _ENDS:
        return [shown_call(call, codec_of(call)) for call in calls]
    ends = [shown_call(call, codec_of(call)) for call in (*calls[:_ENDS], *calls[-_ENDS:])]
    return [*ends[:_ENDS], f"... {len(calls) - 2 * _ENDS} requests ...", *ends[_ENDS:]]


def shown_call(call: ProviderCall, codec: Codec | None) -> str:
    """Word a request: how far it came, the prompt, the reply that was chosen, and what of it the client took."""
    lines = [repr(call)[1:-1], *call.asked().split("\n")[1:]]
    if call.reply is not None:
        lines.append(str(call.reply))
    if call.taken:
        lines.append(_taken(call, codec))
    return "\n  ".join(lines)


def _taken(call: ProviderCall, codec: Codec | None) -> str:
    """Word the beginning of the body that the client took, as events where it is a stream."""
    more = f" ... and {call.pieces - len(call.taken)} pieces more" if call.pieces > len(call.taken) else ""
    if codec is not None and call.request.stream and call.status == 200:  # noqa: PLR2004
        decoder = codec.decoder()
        try:
            events = [event for piece in call.taken for event in decoder.feed(piece)]
        except WireError:
            events = []
        if events:
            return f"chunks: {clip(' '.join(written(events)), 600)}{more}"
    return f"body: {clip(b''.join(call.taken).decode('utf-8', 'replace').strip(), 600)}{more}"
