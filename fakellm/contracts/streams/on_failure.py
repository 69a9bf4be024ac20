"""The contracts of what a stream does when its source fails: the failure is seen, and nothing is said twice."""

from __future__ import annotations

from typing import Any

from fakellm.contracts.catalogue import checks
from fakellm.contracts.streams.lab import Bench, Lab
from fakellm.contracts.streams.on_flow import asked
from fakellm.contracts.streams.sources import PLAIN, TEXTS, without_key
from fakellm.contracts.streams.subject import Flavour
from fakellm.contracts.verdicts import Skip, broken, counted, shown
from fakellm.errors import LLMConnectionError, clip
from fakellm.script.events import Fault, Finish, disconnect, http_error, provider_error
from fakellm.script.script import Script
from fakellm.wire.providers import service_of


async def _outcome(bench: Bench, lab: Lab, flavour: Flavour) -> tuple[list[Any], Exception | None]:
    """Read a stream to whatever end; return the texts that it showed, and the error that ended it."""
    seen: list[Any] = []
    error: Exception | None = None
    try:
        await bench.subject.open(flavour, lab.input).read(seen)
    except Exception as raised:  # noqa: BLE001 - which kind is up to the subject
        error = raised
    told = next((chunk for chunk in seen if bench.subject.is_error(chunk)), None)
    if error is None and told is not None:  # an endpoint has no other way to raise, once its stream has begun
        seen, error = seen[: seen.index(told)], InBandError(repr(told))
    return bench.subject.texts(seen), error


class InBandError(Exception):
    """Stands for an error that the stream of the subject says in a chunk."""


async def _whole(lab: Lab, flavour: Flavour) -> list[Any]:
    """Return the texts of a stream whose source does not fail."""
    with lab.bench() as bench:
        return (await _outcome(bench, lab, flavour))[0]


async def _must_raise(name: str, lab: Lab, flavour: Flavour, *faults: Fault) -> None:
    """Break the source at each position; a stream that then ends in order breaks the contract.

    One that asked its source again, or went on with another, has dealt with it.
    """
    script = PLAIN + Finish() if lab.api else PLAIN
    whole = _joined(await _whole(lab, flavour))
    for fault in faults:
        for count in (*range(1, len(TEXTS) + 1), 0):  # half an answer says more than none
            with lab.bench(script.fail(fault, after=count)) as bench:
                texts, error = await _outcome(bench, lab, flavour)
                dealt_with = len(bench.calls) > 1 or (_joined(texts) == whole if count else bool(texts))
                dealt_with = dealt_with and (count < len(TEXTS) or len(bench.calls) > 1)
            if error is None and not dealt_with:
                rows = (
                    ("source", shown(TEXTS[:count]) + f" then {fault!r}"),
                    ("stream", shown(texts) + ", then its end"),
                )
                raise broken(name, f"the source failed after {counted(count)}, and the stream ended in order", *rows)


def _joined(texts: list[Any]) -> Any:
    """Return what the texts add up to; chunks of kinds that cannot be read stay a list."""
    return "".join(texts) if all(isinstance(text, str) for text in texts) else texts


@checks("producer_dies", on="stream")
async def producer_dies(lab: Lab, flavour: Flavour) -> None:
    """Tell the consumer that the source failed.

    A background task that reads the source and dies has left its queue without an end, so that the consumer hangs for
    ever, or has ended the queue in order, so that half an answer is taken for all of it.
    """
    lab.needs_source()
    await _must_raise("producer_dies", lab, flavour, disconnect("reset"))


@checks("truncation", on="stream")
async def truncation(lab: Lab, flavour: Flavour) -> None:
    """Take an answer for whole only if the provider said that it is.

    A proxy that restarts ends its responses in good order, in the middle of an answer. Whoever does not look for the
    terminal marker has stored, shown and billed half an answer.
    """
    if not lab.api:
        raise Skip("only a source behind HTTP has a terminal marker: say api='openai'")
    await _must_raise("truncation", lab, flavour, disconnect("close"), disconnect("end"), disconnect("cut"))


@checks("in_band_error", on="stream")
async def in_band_error(lab: Lab, flavour: Flavour) -> None:
    """Raise the error that a provider reports inside a stream.

    The status is 200 by then, so the error is an event like any other: parsers have skipped it as unknown, or handed
    it on as a chunk without text.
    """
    lab.needs_source()
    forms = service_of(lab.api).error_events if lab.api else (None,)
    await _must_raise("in_band_error", lab, flavour, *(provider_error(named=form) for form in forms))


@checks("lazy_error", on="stream")
async def lazy_error(lab: Lab, flavour: Flavour) -> None:
    """Guard the first chunk too.

    A stream is lazy: its call succeeds, and its first chunk raises. A retry or a fallback that guards the call alone
    never sees the commonest errors. One that does not guard at all is not asked.
    """
    lab.needs_source()
    at_call = await _unrecovered(lab, flavour, at_call=True)
    if at_call is not None:
        raise Skip(f"it has no retry or fallback that deals with an error of the call: it raised {_named(at_call)}")
    error = await _unrecovered(lab, flavour, at_call=False)
    if error is not None:
        rows = [("call fails", "the stream goes on"), ("first chunk", f"it raised {_named(error)}")]
        rows += [("to do", remedy)] if (remedy := without_key(error)) else []
        raise broken("lazy_error", "its retry or fallback covers the call of the source, not the first chunk", *rows)


def _named(error: Exception) -> str:
    return clip(repr(error), 300)


async def _unrecovered(lab: Lab, flavour: Flavour, *, at_call: bool) -> Exception | None:
    """Return the error of a stream whose source fails once before the first chunk; None where it deals with that."""
    fault: Fault = http_error(500, retry_after=0.001) if at_call and lab.api else disconnect("reset")
    with lab.bench(PLAIN, Script(fault)) as bench:
        if at_call and not lab.api:
            _fail_at_call(bench.source)
        _, error = await _outcome(bench, lab, flavour)
        asked(bench)
        return error


def _fail_at_call(source: Any) -> None:
    """Let the source's next stream raise when it is called, not when it is read."""

    def failing(method: str) -> None:
        def call(*args: Any, **kwargs: Any) -> Any:
            source.__dict__.pop("stream", None)
            source.__dict__.pop("astream", None)
            try:
                next(source.stream(*args, **kwargs))
            except LLMConnectionError as error:
                raise error from None

        source.__dict__[method] = call

    failing("stream")
    failing("astream")


@checks("retry_midstream", on="stream")
async def retry_midstream(lab: Lab, flavour: Flavour) -> None:
    """Say nothing twice.

    A retry in the middle of a stream starts the answer anew. Chunks that the consumer has are not taken back, so it
    reads the beginning twice, and tools run twice.
    """
    lab.needs_source()
    for count in range(1, len(TEXTS)):
        with lab.bench(PLAIN, PLAIN.fail(disconnect("reset"), after=count)) as bench:
            texts, error = await _outcome(bench, lab, flavour)
            asked(bench)
        if error is None and _again(texts, count):
            rows = (("source", shown(TEXTS[:count]) + " then an error"), ("stream", shown(texts)))
            raise broken(
                "retry_midstream", f"after {counted(count)} the source failed, and they were said again", *rows
            )


def _again(texts: list[Any], count: int) -> bool:
    """Tell whether the first chunks are said a second time."""
    if all(isinstance(text, str) for text in texts):
        return "".join(texts).count("".join(texts[:count])) > 1
    return any(texts[at : at + count] == texts[:count] for at in range(1, len(texts)))
