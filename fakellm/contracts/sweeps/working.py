"""A part of an archive is swept in this process: its streams one by one, and the consumer on each of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from fakellm.contracts.consumers.attempt import Consume
from fakellm.contracts.documents import Document
from fakellm.contracts.sweeps.causes import Cause
from fakellm.contracts.sweeps.documents import document_from
from fakellm.contracts.sweeps.sources import Unit, streams_of
from fakellm.contracts.sweeps.streams import Place, Recording, Unread
from fakellm.contracts.sweeps.tally import Tally
from fakellm.contracts.sweeps.trying import Failure, Sweeping, Trial
from fakellm.contracts.sweeps.watching import Watch
from fakellm.errors import ContractUsageError

_END: Any = object()


class Spot(NamedTuple):
    """Where a process is: in which part, at which stream of it, and whether it reads that or has a consumer read it."""

    part: int
    item: int
    is_reading: bool


Fates = Mapping[Spot, str]
"""What became of a process at a spot, such as `hangs`: this one is not to go there."""


class Work(NamedTuple):
    """What is done to each stream: by which consumer, beside which other one, and how."""

    consume: Consume
    against: Consume | None
    sweeping: Sweeping


@contextmanager
def staying() -> Iterator[None]:
    """Come back to where this process is: a consumer may go to another folder, and paths lead from this one."""
    try:
        home = Path.cwd()
    except OSError:  # it is gone
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):
            os.chdir(home)


def swept(
    unit: Unit,
    work: Work,
    watch: Watch,
    fates: Fates | None = None,
    told: Callable[[Spot], object] = lambda _: None,
) -> Tally:
    """Sweep a part; return what was found. `told` is called with each spot before it is gone to."""
    tally, known = Tally(files=unit.files), fates or {}
    for number, part in enumerate(unit.parts):
        found = streams_of(unit, part)
        for item in count():
            told(spot := Spot(number, item, is_reading=True))
            if fate := known.get(spot):
                tally.unread(Unread(Place(part.path), f"a file whose reading {fate}"))
                break
            one = next(found, _END)
            if one is _END:
                break
            tally.lines += 1
            if isinstance(one, Unread):
                tally.unread(one)
            elif one is not None and work.sweeping.at in (None, one.place.shown):
                told(spot := Spot(number, item, is_reading=False))
                with staying():
                    _try(one, work, watch, tally, known.get(spot, ""))
    return tally


def _try(recording: Recording, work: Work, watch: Watch, tally: Tally, fate: str) -> None:
    """Try a consumer on a stream, and add what came of it."""
    if fate:
        what, _, raised = fate.partition(": ")
        tally.tried([Failure(Cause(what, raised=raised), recording)], 1)
        return
    document = _document(recording, work.sweeping)
    if isinstance(document, Unread):
        tally.unread(document)
        return
    trial = Trial(recording, document, work.consume, work.against, watch)
    failures = _failures(trial, work.sweeping)
    tally.tried(failures, trial.runs)


def _document(recording: Recording, sweeping: Sweeping) -> Document | Unread:
    """Return what the consumer is fed, or why there is nothing."""
    try:
        document = document_from(recording, sweeping.reads)
    except Exception as error:  # noqa: BLE001 - a decoder that fails on what nobody thought of
        return Unread(recording.place, f"a stream that cannot be decoded\n{type(error).__name__}: {error}")
    try:
        if sweeping.only is not None and not isinstance(document, Unread):
            document.apply(sweeping.only)
    except (ContractUsageError, TypeError) as error:
        return Unread(recording.place, f"a stream that has no such moves\n{error}")
    return document


def _failures(trial: Trial, sweeping: Sweeping) -> list[Failure]:
    if not sweeping.contracts:
        return trial.failures(sweeping)
    from fakellm.contracts.sweeps.contracts import by_contracts  # and the grammars of all APIs with it

    return by_contracts(trial, sweeping)
