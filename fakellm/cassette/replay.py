"""A recorded interaction plays: the same chunks, the same silences if wanted, the same ending."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal, cast

from fakellm.cassette.coding import compressed, sent
from fakellm.cassette.document import CassetteError
from fakellm.cassette.indexed import Later, Played
from fakellm.cassette.recorder import ERRORS
from fakellm.clock.clock import Clock, InstantClock, RealClock, ScaledClock
from fakellm.errors import UnexpectedCallError, UnexpectedRequestError, explain
from fakellm.provider.actions import Failure, Kind
from fakellm.provider.exchange import Exchange, ProviderCall
from fakellm.script.events import Fault, Pause
from fakellm.script.script import Script
from fakellm.wire.codec import Codec, Ending, Run, legal_or_not

Steps = list[Run | Failure]
Overlay = Callable[[Steps], Steps]
"""What replays instead of the steps that were recorded; `after` is how many chunks it needs, if it needs some."""
Overlays = dict[int | None, Overlay]
"""By the number of an interaction, or None for all that have none of their own."""


class TapeEndedError(UnexpectedCallError):
    """The app reads past the place where the app that was recorded stopped reading: nobody knows what came then."""


def check_errors(responses: Sequence[Mapping[str, Any]], name: str) -> None:
    """Raise `CassetteError` for a stream that ends with an exception which no HTTP library has.

    A response that is not read yet is looked at when it is played.
    """
    for place, response in enumerate(responses):
        if not isinstance(response, Later):
            _check_error(response, place, name)


def _check_error(response: Mapping[str, Any], place: int, name: str) -> None:
    error = (response.get("stream") or {}).get("error")
    if error is not None and error not in ERRORS:
        headline = f"{name}, interactions.{place}.response.stream.error: httpx has no exception {error!r}"
        remedy = [f"write one that it has, such as {', '.join(ERRORS[-3:])}, or null"]
        raise CassetteError(explain(headline, remedy=remedy))


def opened(response: Any, place: int, name: str, misses: list[Any], *, whole: bool = False) -> Any:
    """Return a response that is to be played, read from the tape if it was not yet; `whole` without its chunks.

    Raises `UnexpectedRequestError` for one that is broken, which no client takes for an error of the network.
    """
    if not isinstance(response, Later):
        return response
    try:
        found = response.whole() if whole else response.played()
        _check_error(found, place, name)
    except CassetteError as error:
        misses.append(miss := UnexpectedRequestError(str(error)))
        raise miss from None
    return found


def read_when_played(cassette: Any, name: str, misses: list[Any]) -> None:
    """Let vcrpy give the clients that it serves responses that are read."""
    play = cassette.play_response

    def play_response(request: Any) -> Any:
        response = play(request)
        place = next(at for at, (_, stored) in enumerate(cassette.data) if stored is response)
        del request  # pytest shows what a function that raises was called with
        return opened(response, place, name, misses, whole=True)

    cassette.play_response = play_response


def chunks_of(response: Mapping[str, Any]) -> list[bytes]:
    """Return the chunks of a recorded response as its client received them; a whole body is one."""
    if isinstance(response, Later):
        response = response.played()
    if isinstance(response, Played):
        return response.chunks
    body: bytes = response["body"]["string"] or b""
    stream = response.get("stream")
    if stream is None:
        return [body] if body else []
    ends = list(accumulate(stream["sizes"]))
    return [body[end - size : end] for end, size in zip(ends, stream["sizes"], strict=True)]


def steps_of(response: Mapping[str, Any], *, timed: bool, ended: Callable[[int], BaseException]) -> Steps:
    """Return what a recorded response does, step by step; with its silences if `timed`.

    `ended` makes the error for reading past a recording that its app had cancelled.
    """
    chunks, stream = chunks_of(response), response.get("stream")
    if stream is None:
        return [Ending(chunks)]
    steps: Steps = []
    run: list[bytes] = []
    for chunk, delay in zip(chunks, stream["delays"], strict=True) if timed else ():
        if delay:
            steps += [run, Pause(delay / 1000)] if run else [Pause(delay / 1000)]
            run = []
        run.append(chunk)
    run = run if timed else chunks
    if stream["end"] == "complete":
        return [*steps, Ending(run)]
    steps.append(run)
    if stream["end"] == "cancelled":
        return [*steps, _End(ended, len(chunks))]
    kind = stream["error"] or ("ReadTimeout" if stream["end"] == "timeout" else "ReadError")
    return [*steps, Failure(cast("Kind", kind))]


class _End(list[bytes]):
    """A run that cannot be read: whoever wants its first piece reads past the end of the tape."""

    def __init__(self, error: Callable[[int], BaseException], count: int) -> None:
        super().__init__()
        self._error = error
        self._count = count

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[bytes]:
        raise self._error(self._count)


def exchange_of(call: ProviderCall, response: Mapping[str, Any], steps: Iterable[Run | Failure]) -> Exchange:
    """Return the exchange that plays a recorded response by the steps, compressed again if the client accepts that."""
    accepts = next((value for name, value in call.headers.items() if name.lower() == "accept-encoding"), "")
    named, compressor = sent(response, accepts)
    headers = _pairs(named)
    plain = list(steps)
    sent_steps = plain if compressor is None else list(compressed(plain, compressor))
    status, version = response["status"], (response.get("wire") or {}).get("http_version") or "HTTP/1.1"
    exchange = Exchange(call, status["code"], headers, sent_steps, version=version, reason=status.get("message"))
    exchange.size = _size_of(sent_steps)
    if compressor is not None:
        exchange.uncoded = _pairs(sent(response, "")[0]), plain
    return exchange


def _pairs(headers: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, value) for name, told in headers.items() for value in ([told] if isinstance(told, str) else told)]


def _size_of(steps: Steps) -> tuple[int, bool]:
    """Return how many bytes a body has, and whether those are all: one that was redacted has not its old length."""
    size = sum(sum(map(len, step)) for step in steps if isinstance(step, list) and not isinstance(step, _End))
    return size, bool(steps) and isinstance(steps[-1], Ending)


# -- the same tape, but -----------------------------------------------------------------------------------


def put(overlays: Overlays, overlay: Overlay, at: int | None) -> None:
    """Let an overlay have the place of an earlier one. Raises `ValueError` for a place that is none."""
    if at is not None and (type(at) is not int or at < 0):
        msg = f"at is the number of an interaction, from 0 up, not {at!r}"
        raise ValueError(msg)
    overlays[at] = overlay


def check_overlays(overlays: Overlays, responses: Sequence[Mapping[str, Any]]) -> None:
    """Raise `ValueError` for what would do nothing: on an interaction that is not there, or after its end.

    Of a tape with nothing on it the miss will tell.
    """
    for at, overlay in overlays.items() if responses else ():
        if at is not None and at >= len(responses):
            msg = f"there is no interaction {at} on the tape, which has {len(responses)}, counted from 0"
            raise ValueError(msg)
        after, longest = getattr(overlay, "after", 0), 0
        for response in responses if at is None else responses[at : at + 1]:
            if longest >= after:
                break
            longest = max(longest, len(chunks_of(response)))
        if after > longest:
            which = "the longest stream of the tape" if at is None else f"interaction {at}"
            msg = f"{which} has {longest} chunks: nothing would fail after {after}"
            raise ValueError(msg)


def overlay_at(overlays: Overlays, place: int, response: Mapping[str, Any]) -> int | Literal[False] | None:
    """Return the key of an interaction's overlay; false if it has none, or none that its stream is long enough for."""
    at = place if place in overlays else None
    if at not in overlays or getattr(overlays[at], "after", 0) > len(chunks_of(response)):
        return False
    return at


def failing(fault: Fault, after: int) -> Overlay:
    """Return an overlay that breaks the stream after so many chunks."""
    if type(after) is not int or after < 0:
        msg = f"after is a number of chunks from 0 up, not {after!r}"
        raise ValueError(msg)

    def overlay(steps: Steps) -> Steps:
        kept: Steps = []
        left = after
        for step in steps:
            if isinstance(step, list) and not isinstance(step, _End):
                if left < len(step) or (left == len(step) and isinstance(step, Ending)):
                    return [*kept, step[:left], fault]
                left -= len(step)
            elif not isinstance(step, Pause):
                break
            kept.append(step)
        return [*kept, fault]

    overlay.after = after  # type: ignore[attr-defined]
    return overlay


def rechunked(cut: Callable[[bytes], Sequence[bytes]]) -> Overlay:
    """Return an overlay that gives the same bytes in other chunks, without the silences between them."""

    def overlay(steps: Steps) -> Steps:
        body = b"".join(b"".join(step) for step in steps if isinstance(step, list) and not isinstance(step, _End))
        last = steps[-1] if steps else Ending()
        pieces = list(cut(body))
        if b"".join(pieces) != body:
            msg = "the pieces of a re-chunked body do not add up to it"
            raise ValueError(msg)
        return [Ending(pieces)] if isinstance(last, Ending) else [pieces, last]

    return overlay


def every(size: int) -> Callable[[bytes], list[bytes]]:
    """Return a cut into pieces of so many bytes."""
    if type(size) is not int or size < 1:
        msg = f"every is a number of bytes from 1 up, not {size!r}"
        raise ValueError(msg)
    return lambda body: [body[at : at + size] for at in range(0, len(body), size)]


def clock_of(timing: str | float | Clock) -> tuple[bool, Clock]:
    """Return whether silences are played, and the clock that they are waited for on."""
    if timing == "instant":
        return False, InstantClock()
    if timing == "recorded":
        return True, RealClock()
    if isinstance(timing, (int, float)) and not isinstance(timing, bool):
        return True, ScaledClock(timing)
    if isinstance(timing, Clock) and not isinstance(timing, type):
        return True, timing
    msg = f"timing is 'instant', 'recorded', a factor or a clock, not {timing!r}"
    raise ValueError(msg)


def script_of(response: Mapping[str, Any], codec: Codec, *, timed: bool = False) -> Script:
    """Return what a recorded stream says as a script; with its silences if `timed`."""
    response = response.played() if isinstance(response, Later) else response
    decoder = codec.decoder()
    events: list[Any] = []
    stream = response.get("stream")
    delays = stream["delays"] if stream and timed else None
    silence = 0.0
    for place, chunk in enumerate(chunks_of(response)):
        found = decoder.feed(chunk)
        silence += delays[place] if delays else 0
        if silence and found:  # a chunk that completes no event is silence, too
            events.append(Pause(round(silence, 1) / 1000))
            silence = 0.0
        events += found
    last = decoder.close()
    return legal_or_not([*events, *([Pause(round(silence, 1) / 1000)] if silence and last else []), *last])
