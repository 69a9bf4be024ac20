"""The contracts of what a stream says: that it is the answer, the whole answer, in order, and once."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

from fakellm.contracts.catalogue import checks
from fakellm.contracts.streams.lab import Bench, Lab
from fakellm.contracts.streams.projections import UNKNOWN, finish_of, usage_of
from fakellm.contracts.streams.sources import TEXTS
from fakellm.contracts.streams.subject import FLAVOURS, Flavour, Reading
from fakellm.contracts.verdicts import Skip, broken, shown
from fakellm.errors import clip
from fakellm.runnable.runs import fold
from fakellm.script.events import Finish, Usage
from fakellm.script.script import Script

_METHODS = {"sync": "stream", "async": "astream"}
_NONE_YET = "null"
"""What DashScope has for a finish reason until there is one."""


@checks("single_value_fallback", on="stream")
async def single_value_fallback(lab: Lab, flavour: Flavour) -> None:
    """Keep code that iterates over tokens working with a model that cannot stream.

    Its stream is one chunk, the final result. Wrappers have yielded nothing, yielded the result's characters, called
    the model twice, or raised `NotImplementedError`.
    """
    if lab.api:
        raise Skip("a source behind HTTP streams natively")
    with lab.bench(streaming=False) as bench:
        chunks = await bench.subject.open(flavour, lab.input).rest()
        is_seen = bool(bench.calls)
    if not is_seen and len(_saying(bench, chunks)) != 1:
        raise Skip("it streams natively" if not lab.takes_source else "it does not ask the source that it is given")
    await _one_value(lab, flavour, chunks, bench, streaming=False)
    if is_seen:
        await _without_stream(lab, flavour)


def _saying(bench: Bench, chunks: list[Any]) -> list[Any]:
    """Return the chunks that say something, all where none does."""
    return [chunk for chunk in chunks if bench.subject.said(chunk) != ""] or chunks


async def _one_value(lab: Lab, flavour: Flavour, chunks: list[Any], streamed: Bench, *, streaming: bool | None) -> None:
    """Compare the chunks of a stream whose source cannot stream with what invoke returns of such a source."""
    chunks, calls = _saying(streamed, chunks), len(streamed.calls)
    rows = (("chunks", shown(chunks)), ("expected", "one chunk, the whole answer"))
    if len(chunks) != 1:
        that = "that cannot stream" if streaming is False else "that has no stream"
        raise broken("single_value_fallback", f"{_METHODS[flavour]} of a source {that} gave {len(chunks)}", *rows)
    with lab.bench(streaming=streaming) as bench:
        if not bench.subject.has("invoke", flavour):
            return
        whole = await bench.subject.call("invoke", flavour, lab.input)
        if calls > len(bench.calls) > 0:
            what = f"one stream asked the source {calls} times, and invoke asks it {len(bench.calls)} times"
            raise broken("single_value_fallback", what, *rows)
        if bench.subject.said(whole) != bench.subject.said(chunks[0]):
            raise broken("single_value_fallback", "the one chunk is not what invoke returns", *rows, _got(whole))


async def _without_stream(lab: Lab, flavour: Flavour) -> None:
    """Try a source that has `invoke` and `ainvoke` alone, for code that asks `hasattr(model, "stream")`.

    Code that does not ask may fail on such a source, when it is made or when it streams, and may say so in a chunk: it
    was written for another kind. What asks the source, and fails then, or says nothing, has a fallback that is wrong.
    """
    calls: list[Any] = []
    try:
        with lab.bench(streaming=None) as bench:
            calls = bench.calls
            chunks = await bench.subject.open(flavour, lab.input).rest()
    except NotImplementedError:
        raise
    except Exception:
        if calls:
            raise
        return
    if calls or not chunks:
        await _one_value(lab, flavour, chunks, bench, streaming=None)


@checks("concatenation", on="stream")
async def concatenation(lab: Lab, flavour: Flavour) -> None:
    """Keep an app's answer the same whether it streams or not.

    Wrappers have lost the first or the last chunk, or stripped each.
    """
    with lab.bench() as bench:
        streamed = bench.subject.sum(await bench.subject.open(flavour, lab.input).rest())
    with lab.bench() as bench:
        whole = bench.subject.said(await bench.subject.call("invoke", flavour, lab.input))
    if streamed != whole:
        raise broken("concatenation", f"{_METHODS[flavour]} and invoke differ", ("stream", _one(streamed)), _got(whole))


@checks("ordering", on="stream")
async def ordering(lab: Lab, flavour: Flavour) -> None:
    """Keep the chunks in the order in which the source said them.

    Code that handles each chunk in a task or a thread of its own, or collects them in a set, has mixed them up.
    """
    lab.needs_source()
    with lab.bench() as bench:
        text = bench.subject.sum(await bench.subject.open(flavour, lab.input).rest())
    places = [text.find(word.strip()) if isinstance(text, str) else -1 for word in TEXTS]
    if min(places) < 0:
        raise Skip("what it says does not show what its source says, so the order cannot be seen")
    if places != sorted(places):
        raise broken("ordering", "the chunks changed places", ("source", shown(TEXTS)), ("stream", repr(text)))


_SPACED = (
    (" leading", " space"), ("trailing ", "space "), ("a", " ", "b"), ("line", "\n", "\n", "break"),
    ("\t", "tab", "\r\n"), ("", "empty", "", "chunks", ""), (" ", " "), ("ha ", "ha "), ("one",), ("o", "n", "e", "."),
    ("\u00a0nbsp", "\u200bzero"),
)  # fmt: skip


@checks("whitespace_tail", on="stream")
async def whitespace_tail(lab: Lab, flavour: Flavour) -> None:
    """Deliver every character.

    Code has stripped each chunk, skipped those that are only whitespace (`if chunk.strip()`), taken an empty chunk for
    the end, or held back the last characters for ever. Markdown, code and languages with spaces all break.
    """
    lab.needs_source()
    with lab.bench() as bench:
        plain = bench.subject.sum(await bench.subject.open(flavour, lab.input).rest())
    for texts in _SPACED:
        with lab.bench(Script(*texts)) as bench:
            has_invoke = bench.subject.has("invoke", flavour)
            if not has_invoke and plain != "".join(TEXTS):
                raise Skip("it has no invoke, and what it says is not what its source says")
            expected: Any = "".join(texts)
            if has_invoke:
                expected = bench.subject.said(await bench.subject.call("invoke", flavour, lab.input))
        with lab.bench(Script(*texts)) as bench:
            said = bench.subject.sum(await bench.subject.open(flavour, lab.input).rest())
        if said != expected:
            rows = (("source", shown(texts)), ("expected", _one(expected)), ("got", _one(said)))
            what = "characters were lost" if len(str(said)) < len(str(expected)) else "characters were added"
            raise broken("whitespace_tail", what, *rows)


@checks("sync_async", on="stream")
def sync_async(lab: Lab) -> None:
    """Keep the two flavours of every method the same.

    They are often written twice, and the fix of a bug lands in one of them.
    """
    said: dict[str, dict[Flavour, Any]] = {}
    for method in ("stream", "invoke", "batch"):
        for flavour in FLAVOURS:
            with lab.bench() as probe:
                if not probe.subject.has(method, flavour) or flavour not in lab.flavours:
                    continue
            asking = partial(_ask, lab, method, flavour)
            with suppress(NotImplementedError):
                said.setdefault(method, {})[flavour] = lab.run(flavour, asking, "sync_async")
    both = {method: results for method, results in said.items() if len(results) == len(FLAVOURS)}
    if not both:
        raise Skip("it has no method in both flavours")
    for method, results in both.items():
        if results["sync"] != results["async"]:
            rows = ((method, _one(results["sync"])), (f"a{method}", _one(results["async"])))
            raise broken("sync_async", f"{method} and a{method} differ", *rows)


async def _ask(lab: Lab, method: str, flavour: Flavour) -> Any:
    with lab.bench() as bench:
        if method == "stream":
            return bench.subject.texts(await bench.subject.open(flavour, lab.input).rest())
        argument = [lab.input, lab.input] if method == "batch" else lab.input
        answer = await bench.subject.call(method, flavour, argument)
        return [bench.subject.said(one) for one in answer] if method == "batch" else bench.subject.said(answer)


@checks("one_shot", on="stream")
async def one_shot(lab: Lab, flavour: Flavour) -> None:
    """Make a second iteration loud.

    A stream is read once. An object that looks like a collection and is silently empty the second time has made
    retries, logging and "first peek, then read" lose the whole answer. Python's own generators and iterators say by
    their protocol that they are used up, so they are not asked.
    """
    with lab.bench() as bench:
        reading = bench.subject.open(flavour, lab.input)
        steps = await reading.start()
        if steps is reading.opened:
            raise Skip("its streams are plain iterators, which end for good by Python's own rules")
        first = bench.subject.texts(await reading.rest())
        again = Reading(reading.opened, flavour)
        try:
            second = bench.subject.texts(await again.rest())
        except Exception:  # noqa: BLE001 - which kind is the library's own choice
            return
        if first and not second:
            kind = type(reading.opened).__name__
            rows = (("first", shown(first)), ("second", "nothing, and no error"))
            raise broken("one_shot", f"a second iteration over the same {kind} is silently empty", *rows)


@checks("usage", on="stream")
async def usage(lab: Lab, flavour: Flavour) -> None:
    """Count tokens once.

    Providers send the usage so far with several chunks, each replacing the one before. Code that adds them up has
    billed people for a multiple of what they used.
    """
    speaks = lab.chat or lab.api
    counted = Script("Hel", Usage(3, 1), "lo", Finish(), Usage(3, 2)) if speaks else Script(*TEXTS)
    with lab.bench(counted) as bench:
        chunks = await bench.subject.open(flavour, lab.input).rest()
        calls = bool(bench.calls)
    counts = [usage_of(chunk) for chunk in chunks]
    if all(count is UNKNOWN for count in counts):
        raise Skip("its chunks have no place for usage")
    total = usage_of(fold(list(chunks)))
    total = next((c for c in reversed(counts) if c not in (None, UNKNOWN)), None) if total in (None, UNKNOWN) else total
    rows = (("usage", " ".join(str(count) for count in counts if count is not UNKNOWN)), ("total", str(total)))
    if calls and lab.chat and total != (3, 2):
        raise broken("usage", "the usage of the chunks does not come to (3, 2), which the source said last", *rows)
    whole = await _usage_of_invoke(lab, flavour, counted)
    if whole is not None and whole != total:
        raise broken("usage", "the chunks' usage does not come to that of invoke", *rows, ("invoke", str(whole)))
    if total is None:
        raise Skip("it tells no usage")


async def _usage_of_invoke(lab: Lab, flavour: Flavour, script: Script) -> Any:
    with lab.bench(script) as bench:
        if not bench.subject.has("invoke", flavour):
            return None
        whole = usage_of(await bench.subject.call("invoke", flavour, lab.input))
    return None if whole is UNKNOWN else whole


@checks("finish", on="stream")
async def finish(lab: Lab, flavour: Flavour) -> None:
    """Say once why the answer ended, after the last of it.

    A UI takes the finish reason for the end, and what follows is lost or shown in a new bubble; two of them have run
    tools twice.
    """
    said = Script("Hel", "lo", Finish()) if lab.chat or lab.api else Script(*TEXTS)
    with lab.bench(said) as bench:
        chunks = await bench.subject.open(flavour, lab.input).rest()
        subject, calls = bench.subject, bool(bench.calls)
    reasons = [finish_of(chunk) for chunk in chunks]
    if all(reason is UNKNOWN for reason in reasons):
        raise Skip("its chunks have no place for a finish reason")
    ends = [at for at, reason in enumerate(reasons) if reason not in (None, UNKNOWN, "", _NONE_YET)]
    if not ends and not (calls and lab.chat):
        raise Skip("it gives no finish reason")
    parts = [
        f"{subject.said(c)!r}{f' ({r})' if at in ends else ''}"
        for at, (c, r) in enumerate(zip(chunks, reasons, strict=True))
    ]
    row = ("chunks", " | ".join(parts))
    if len(ends) != 1:
        raise broken("finish", f"the stream has {len(ends)} finish reasons", row)
    if late := subject.texts(chunks[ends[0] + 1 :]):
        raise broken("finish", "text comes after the finish reason", row, ("late", shown(late)))


def _one(value: Any) -> str:
    return clip(repr(value), 200)


def _got(whole: Any) -> tuple[str, str]:
    return "invoke", _one(whole)
