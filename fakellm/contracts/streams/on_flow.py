"""The contracts of how a stream flows: when it starts, how far it runs ahead, who steps it, how it stops."""

from __future__ import annotations

import gc
from contextlib import suppress
from typing import Any

from fakellm import concurrency
from fakellm.contracts.catalogue import checks
from fakellm.contracts.streams.lab import Bench, Lab
from fakellm.contracts.streams.sources import PLAIN, TEXTS
from fakellm.contracts.streams.subject import END, Flavour, Reading
from fakellm.contracts.verdicts import OtherFlavour, Skip, broken, counted, shown
from fakellm.script.events import Finish, Pause, disconnect, stall
from fakellm.script.script import Script

_UNASKED = "it does not ask the source that it is given (does it play source.script by itself?)"
_MANY = 400
_LEAD = 128
"""How many chunks may wait between a source and a consumer that does not read."""
_SIZE = 40_000
"""How many characters a chunk has over HTTP: clients have buffers of up to 8 MB, and the answer has to exceed them."""


@checks("lazy", on="stream")
async def lazy(lab: Lab, flavour: Flavour) -> None:
    """Start nothing that nobody may ever read.

    A stream that calls its source when it is made costs tokens when the consumer never comes, and raises its errors
    where no guard stands.
    """
    lab.needs_source()
    with lab.bench() as bench:
        if not bench.subject.is_lazy:
            raise Skip("it is a function, which may send its request when it is called")
        reading = bench.subject.open(flavour, lab.input)
        early = len(bench.calls)
        await _take(bench, reading, 1)
        asked(bench)
        await reading.close()
    if early:
        raise broken(
            "lazy", "the source was asked before the first chunk was", ("step", "stream = model.stream(input)")
        )


@checks("progressive", on="stream")
async def progressive(lab: Lab, flavour: Flavour) -> None:
    """Hand on each chunk when it is there.

    A step that collects its input, a helper that looks one chunk ahead, a middleware that buffers the response: the
    user stares at nothing and then sees everything at once.
    """
    lab.needs_source()
    with lab.bench() as bench:
        await bench.subject.open(flavour, lab.input).rest()
        once(bench)
    for count in range(1, len(TEXTS)):
        with lab.bench(PLAIN.fail(disconnect(), after=count)) as bench:
            seen: list[Any] = []
            with suppress(Exception):  # the error of the source is how the stream stops here
                await bench.subject.open(flavour, lab.input).read(seen)
            texts = bench.subject.texts(seen)
        got = sum(map(len, texts)) if all(isinstance(one, str) for one in texts) else None
        if len(texts) < count and got != len("".join(TEXTS[:count])):
            rows = (("source", shown(TEXTS[:count])), ("stream", shown(texts)))
            raise broken(
                "progressive", f"after {counted(count)} of the source the stream had shown {len(texts)}", *rows
            )


@checks("backpressure", on="stream")
async def backpressure(lab: Lab, flavour: Flavour) -> None:
    """Let a slow reader slow the source.

    A task that reads the source as fast as it can into a queue without a bound has filled 187 GB of memory.
    """
    lab.needs_source()
    with lab.bench(Script(*(f"{n} ".ljust(_SIZE if lab.api else 0) for n in range(_MANY)))) as bench:
        reading = bench.subject.open(flavour, lab.input)
        await _take(bench, reading, 1)
        asked(bench)
        for _ in range(2 * _MANY if flavour == "async" else 0):
            await concurrency.checkpoint()
        lead = _taken(bench)
        bound = _MANY - 1 if lab.api else _LEAD
        rest = bench.subject.texts(await reading.rest()) if lead > bound else []
        await reading.close()
    if lead > bound and not rest:
        raise Skip("it gives its answer as one value")
    if lead > bound:
        what = f"while the consumer held its first chunk, the source was asked for {lead}; at most {bound} may wait"
        raise broken("backpressure", what)


def _taken(bench: Bench) -> int:
    """Return how many chunks, or pieces of a response, were taken from the source."""
    return sum(getattr(call, "pieces", None) or call.delivered for call in bench.calls)


@checks("blocking", on="stream")
async def blocking(lab: Lab, flavour: Flavour) -> None:
    """Keep the event loop running while the stream waits.

    An asynchronous generator that calls `next` on a synchronous stream freezes every other request of the server
    between two chunks, and no test with one request sees it.
    """
    if flavour == "sync":
        raise OtherFlavour("a synchronous stream blocks its thread by nature")
    lab.needs_source()
    with lab.bench(PLAIN.paced(1.0)) as bench:
        with bench.clock.noting_sleep():
            await bench.subject.open(flavour, lab.input).rest()
        asked(bench)
        if bench.clock.blocked:
            rows = (("remedy", "await an asynchronous source, or step the synchronous one in a thread"),)
            raise broken("blocking", "it waited in the event loop's own thread, without await", *rows)


@checks("task_affinity", on="stream")
async def task_affinity(lab: Lab, flavour: Flavour) -> None:
    """Step and close a source in one task.

    Cancel scopes, timeouts and context variables belong to a task. A stream whose steps run in a task each fails at
    its end with "Attempted to exit cancel scope in a different task than it was entered in".
    """
    if flavour == "sync":
        raise OtherFlavour("a synchronous stream has no task")
    lab.needs_source()
    for taken in (len(TEXTS) + 1, 2):
        with lab.bench(PLAIN.paced(1.0)) as bench:
            reading = bench.subject.open(flavour, lab.input)
            await _take(bench, reading, taken)
            await reading.close()
            asked(bench)
            if not bench.clock.tasks:
                raise Skip("its source is stepped in a thread")
            tasks = set(bench.clock.tasks) | {
                stepper.task for call in bench.calls for stepper in getattr(call, "stepped_by", ())
            }
            if len(tasks) > 1:
                raise broken("task_affinity", f"{len(tasks)} tasks stepped or closed the source of one stream")


@checks("close", on="stream")
async def close(lab: Lab, flavour: Flavour) -> None:
    """Stop the source when the consumer stops.

    A connection that stays open after `break` leaks sockets and goes on costing tokens; a source that is read to its
    end instead of being closed costs all of them.
    """
    lab.needs_source()
    for count in range(1, len(TEXTS)):
        with lab.bench(_LONG) as bench:
            reading = bench.subject.open(flavour, lab.input)
            await _take(bench, reading, count)
            asked(bench)
            once(bench)
            before = bench.running
            await reading.close()
            if bench.running:
                gc.collect()  # what has no close is closed when nobody refers to it
            if bench.running:
                raise broken("close", f"after {counted(count)}, close() returned and the source was still open")
            if before and any(call.state == "complete" for call in bench.calls):
                raise broken("close", f"after {counted(count)}, close() read the source to its end")
    with lab.bench() as bench:
        for _ in range(_CLOSED):
            reading = bench.subject.open(flavour, lab.input)
            await _take(bench, reading, 1)
            await reading.close()
        if not await bench.subject.open(flavour, lab.input).take(1):
            raise broken("close", f"after {_CLOSED} streams that were closed, the next one is empty")


_LONG = Script(*(f"{n} " for n in range(2 * _LEAD))).paced(1.0)
_CLOSED = 12
"""How many streams of one subject are closed in a row: what a stream takes and does not give back runs out."""


@checks("upstream_cancel", on="stream")
async def upstream_cancel(lab: Lab, flavour: Flavour) -> None:
    """Stop the generation when the client goes away, also while the model is still thinking.

    Servers that look for a disconnect only between two chunks have generated whole answers for nobody.
    """
    if flavour == "sync":
        raise OtherFlavour("nobody cancels synchronous code")
    lab.needs_source()
    import asyncio

    was_asked = False
    for moment in (0.0, 0.5, 1.5, 2.5):
        with lab.bench(PLAIN.paced(1.0)) as bench:
            task = asyncio.ensure_future(_read(bench, lab))
            await asyncio.sleep(moment)
            task.cancel()
            await asyncio.wait([task])
            was_asked = was_asked or bool(bench.calls)
            if bench.calls and not bench.clock.tasks and bench.clock.now:
                raise Skip("its source is read in a thread, which cannot be cancelled")
            if was_asked and not task.cancelled():
                what = f"a cancellation after {moment:g} s did not end the stream's task as cancelled"
                raise broken("upstream_cancel", what, ("ended", repr(task.exception()) if task.done() else "never"))
            if bench.running:
                raise broken("upstream_cancel", f"{moment:g} s in, the reader was cancelled and the source runs on")
    if not was_asked:
        raise Skip(_UNASKED)


async def _read(bench: Bench, lab: Lab) -> list[Any]:
    return await bench.subject.open("async", lab.input).rest()


@checks("stall", on="stream")
async def stall_(lab: Lab, flavour: Flavour) -> None:
    """Give up on silence, and only on silence.

    Without a deadline a stalled provider has held a request for 108 minutes; with one for the whole answer, long
    answers that flow well are cut off.
    """
    if lab.idle_timeout is None:
        raise Skip("its deadline is not known: say idle_timeout=seconds")
    if flavour == "sync":
        raise OtherFlavour("time is virtual in asynchronous code only")
    lab.needs_source()
    import asyncio

    limit = lab.idle_timeout
    time = asyncio.get_running_loop().time
    with lab.bench(PLAIN.fail(stall(), after=1)) as bench:
        start = time()
        try:
            await asyncio.wait_for(bench.subject.open(flavour, lab.input).rest(), limit * 20)
        except Exception as error:
            waited = time() - start
            if waited >= limit * 20 or waited < limit * 0.99:
                what = f"a source that fell silent was given up after {waited:g} s, not after {limit:g} s"
                raise broken("stall", what, ("raised", repr(error))) from error
        else:
            raise broken("stall", "a source that fell silent was taken for one that ended")
    gaps = Script(*(part for n in range(10) for part in (Pause(limit * 0.9), f"{n} ")), Finish())
    with lab.bench(gaps) as bench:
        try:
            await bench.subject.open(flavour, lab.input).rest()
        except Exception as error:
            what = f"ten gaps of {limit * 0.9:g} s, each within the deadline, ended the stream"
            raise broken("stall", what, ("raised", repr(error))) from error


async def _take(bench: Bench, reading: Reading, count: int) -> None:
    """Read until so many chunks have shown text, or the stream ends; those before may say only the role."""
    while count and (chunk := await reading.next()) is not END:
        count -= bool(bench.subject.texts([chunk]))


def once(bench: Bench) -> None:
    """Raise `Skip` if one stream asks its source several times, so that it cannot be told what belongs to which."""
    if len(bench.calls) > 1:
        raise Skip("it asks its source several times for one stream")


def asked(bench: Bench) -> None:
    """Raise `Skip` if the subject never asked the source that it was given."""
    if not bench.calls:
        raise Skip(_UNASKED)
