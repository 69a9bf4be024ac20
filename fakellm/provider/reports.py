"""The requests to a fake, worded for a test that failed: what was asked, what was scripted, what the client took."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from fakellm.errors import WireError, clip
from fakellm.provider.exchange import ProviderCall
from fakellm.script.written import without_secrets, written
from fakellm.secrets.knowing import discreet, knowing
from fakellm.wire.codec import Codec
from fakellm.wire.providers import scripted_endpoint
from fakellm.wire.service import codec_of

_ENDS = 10
"""Of many requests so many at the beginning and at the end are shown."""


def usual_codec(call: ProviderCall) -> Codec | None:
    """Return the codec of what a request asks for, whoever answered it."""
    found = scripted_endpoint(call.method, call.url)
    return codec_of(found[1]) if found is not None else None


def shown_calls(
    calls: Sequence[ProviderCall], codec: Callable[[ProviderCall], Codec | None] = usual_codec
) -> list[str]:
    """Word requests, of many the first and the last, without the credentials of any of them."""
    with knowing_all(calls):
        lines = [shown_call(call, codec(call)) for call in _ends(calls)]
    if len(lines) < len(calls):
        lines.insert(_ENDS, f"... {len(calls) - 2 * _ENDS} requests ...")
    return lines


def knowing_all(calls: Sequence[ProviderCall]) -> AbstractContextManager[None]:
    """Let what is worded inside of the block be without the credentials of the requests that are shown."""
    return knowing(secret for call in _ends(calls) for secret in call.credentials)


def _ends(calls: Sequence[ProviderCall]) -> Sequence[ProviderCall]:
    return calls if len(calls) <= 2 * _ENDS else [*calls[:_ENDS], *calls[-_ENDS:]]


def shown_call(call: ProviderCall, codec: Codec | None) -> str:
    """Word a request: how far it came, the prompt, the reply that was chosen, and what of it the client took."""
    request = call.request  # if nobody has read it yet, it is read now
    lines = [repr(call)[1:-1], *call.asked().split("\n")[1:]]
    with knowing(call.credentials):
        if call.refusal is not None:
            lines += str(call.refusal).split("\n")
        if call.reply is not None:
            lines.append(str(call.reply))
        if call.taken:
            lines.append(_taken(call, codec, stream=request.stream))
        return discreet("\n  ".join(lines))


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
            return f"chunks: {clip(' '.join(written(without_secrets(events))), 600)}{more}"
    return f"body: {clip(b''.join(call.taken).decode('utf-8', 'replace').strip(), 600)}{more}"
