"""A tape whose streams die at every chunk, in every way that bytes can.

A tape is bytes, and what it answers with is on it: there is no connection to refuse and no status to replace. What is
left are the faults of a stream that has begun. They strike up to the chunk that holds the finish reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any
from urllib.parse import urlsplit

from fakellm.cassette.replay import Overlay, Steps, chunks_of
from fakellm.cassette.tape import Tape
from fakellm.contracts.faults.ways import ANYWHERE, INCOMPLETE, Break, Only
from fakellm.errors import ContractUsageError
from fakellm.http.interception import playing
from fakellm.script.events import Event, Fault, Finish, Pause, Raw, disconnect, provider_error
from fakellm.wire.codec import Codec, Ending
from fakellm.wire.gateways.gateway import Gateway
from fakellm.wire.objects import parse
from fakellm.wire.providers import scripted_endpoint
from fakellm.wire.service import codec_of

_NONE = Break("none", "", ())
_KINDS = tuple(dict.fromkeys(way.kind for way in ANYWHERE))


class FaultyTape(Tape):
    """A tape that dies once. `with faulty.playing():` puts it between the clients and the network.

    `after` counts chunks of bytes; all else is as in `Faulty`.
    """

    after: int
    contract: str
    kind: str
    label: str
    tail: tuple[Event, ...]

    @classmethod
    def of_break(cls, tape: Tape, after: int, way: Break, overlay: Overlay | None) -> FaultyTape:
        """Return the tape broken in this way after so many chunks, by an overlay of its streams."""
        faulty: FaultyTape = cls.__new__(cls)
        faulty.__dict__.update(copy(tape).__dict__)
        label = f"{way.name} {'before the first chunk' if not after else f'after chunk {after}'} of {tape.path.name}"
        faulty.after, faulty.contract, faulty.kind = after, way.contract, way.kind
        faulty.label, faulty.tail = label if way.name else "no fault", way.tail
        faulty._overlays = {**tape._overlays, **({None: overlay} if overlay else {})}  # noqa: SLF001
        return faulty

    @contextmanager
    def playing(self) -> Iterator[FaultyTape]:
        """Answer the clients of httpx, httpx2 and aiohttp from this tape inside the block."""
        with playing(self):
            yield self

    @property
    def fault(self) -> Fault | None:
        """What strikes; None for the tape as it is."""
        return next((event for event in self.tail if isinstance(event, Fault)), None)

    @property
    def only(self) -> str:
        """What to write to get this fault alone: `only=(3, disconnect())`."""
        return f"only=({', '.join(map(repr, (self.after, *self.tail)))})"

    def __repr__(self) -> str:
        return f"<{self.label}>"


def _dying(fault: Event, after: int, ending: bytes | None) -> Overlay:
    """Return the overlay by which a stream dies after so many chunks; `ending` are the bytes that the fault is."""
    return lambda steps: _died(steps, after, fault, ending)


def _died(steps: Steps, after: int, fault: Event, ending: bytes | None) -> Steps:
    kept: Steps = []
    left = after
    for step in steps:
        if isinstance(step, list):
            if left < len(step):
                return [*kept, step[:left], *_end(fault, ending, step[left])]
            left -= len(step)
        elif not isinstance(step, Pause):
            break
        kept.append(list(step) if isinstance(step, list) else step)
    return [*kept, *_end(fault, ending, b"")]


def _end(fault: Event, ending: bytes | None, following: bytes) -> Steps:
    if ending is not None:
        return [Ending([ending] if ending else [])]
    if fault == disconnect("cut"):
        return [Ending([following[: len(following) // 2]])]
    return [fault] if isinstance(fault, Fault) else []


def plan(
    tape: Tape, kinds: Iterable[str] | None, only: Only | None, gateways: tuple[Gateway, ...] = ()
) -> tuple[FaultyTape, FaultyTape | None, list[Any]]:
    """Return the tape as it is, half of it that ends like a whole one, and all its faults, behind gateways."""
    if gateways:
        tape = copy(tape)
        tape.gateways = gateways
    codec, chunks, request = _first_stream(tape)
    end = _finish_of(codec, chunks)
    faults = [
        FaultyTape.of_break(tape, after, way, _dying(way.tail[-1], after, _ending(way, codec, request)))
        for after in range(end + 1)
        for way in ANYWHERE
    ]
    wanted = _wanted(kinds)
    chosen = [f for f in faults if (f.kind in wanted if only is None else (f.after, *f.tail) == only)]
    if not chosen:
        msg = f"only={only!r} is no fault of this tape, which can die after 0 to {end} chunks"
        raise ContractUsageError(msg)
    return FaultyTape.of_break(tape, 0, _NONE, None), _half(tape, chunks, end), chosen


def _wanted(kinds: Iterable[str] | None) -> Sequence[str]:
    wanted = INCOMPLETE if kinds is None else [kinds] if isinstance(kinds, str) else list(kinds)
    if not set(wanted) & set(_KINDS):
        msg = f"a tape has the faults {', '.join(_KINDS)}, and kinds names {', '.join(map(str, wanted)) or 'none'}"
        raise ContractUsageError(msg)
    return wanted


def _first_stream(tape: Tape) -> tuple[Codec, list[bytes], Any]:
    """Return codec, chunks and request of the first stream on the tape. Raises `ContractUsageError` if none is."""
    with tape.open():
        for request, response in tape._cassette.data:  # noqa: SLF001
            found = scripted_endpoint(request.method, request.uri)
            if found is not None and response.get("stream"):
                codec = codec_of(found[1])
                body, path = parse(request.body or b"{}", "the request"), urlsplit(request.uri).path
                asked = codec.read(body, codec.marked(request.headers), path=path)
                return codec, chunks_of(response), asked
    msg = f"there is no stream of a provider's API on the tape {tape.path}, so nothing of it can die"
    raise ContractUsageError(msg)


def _finish_of(codec: Codec, chunks: Sequence[bytes]) -> int:
    """Return how many chunks come before the one with the finish reason."""
    decoder = codec.decoder()
    for place, chunk in enumerate(chunks):
        if any(isinstance(event, Finish) for event in decoder.feed(chunk)):
            return place
    return len(chunks) - 1


def _ending(way: Break, codec: Codec, request: Any) -> bytes | None:
    """Return the bytes that a fault is, if it is bytes."""
    first = way.tail[0]
    if isinstance(first, provider_error):
        return b"".join(codec.encoder(request, 1).error(first))
    if isinstance(first, Raw):
        return first.text.encode()
    return b"" if first == disconnect("end") else None


def _half(tape: Tape, chunks: Sequence[bytes], end: int) -> FaultyTape | None:
    """Return the tape without the second half of what comes before its finish."""
    middle = end // 2 + 1
    if middle >= end:
        return None
    kept = [*chunks[:middle], *chunks[end:]]
    return FaultyTape.of_break(tape, 0, _NONE, lambda _: [Ending(kept)])
