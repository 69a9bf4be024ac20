"""What was recorded, worded for a terminal or a file: lines of text, with colours where somebody looks.

What a tape says is printed as text only: a control character in it, be it the begin of an escape sequence that would
move the cursor or name a window, is shown by its number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fakellm.cli.differing import Difference, Row
from fakellm.cli.pace import Pace, line_of, pace_of, seconds
from fakellm.cli.recorded import Asked, Chunk, Recorded
from fakellm.cli.wording import counted
from fakellm.script.events import Fault
from fakellm.script.script import Script

Paint = Callable[..., str]
"""Gives a text colours: `click.style`, or what leaves it as it is."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_LONGEST = 2000
"""Characters of a message of the prompt that are shown."""
_MARKS = {"=": {}, "-": {"fg": "red"}, "+": {"fg": "green"}, "~": {"fg": "yellow"}}


def safe(text: str) -> str:
    """Return a text without characters that do anything but to be read."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def unpainted(text: str, **_: object) -> str:
    """Return a text as it is."""
    return text


class Words:
    """Words recordings: `paint` gives colours, `width` is that of the terminal, `is_plain` keeps to ASCII's letters."""

    def __init__(self, paint: Paint = unpainted, *, width: int = 80, is_plain: bool = False) -> None:
        self._paint = paint
        self._width = max(width, 40)
        self._is_plain = is_plain

    def whole(self, recorded: Recorded, count: int = 1) -> Iterator[str]:
        """Yield the lines about an interaction."""
        yield self._paint(safe(_title(recorded, count)), bold=True)
        if recorded.asked is not None:
            yield from self._asked(recorded.asked)
        yield from self._answer(recorded)
        yield from self._end(recorded)
        if (pace := pace_of(recorded)) is not None:
            yield from self._pace(recorded, pace)

    def _row(self, name: str, text: str, **style: object) -> Iterator[str]:
        first, *rest = (self._paint(line, **style) if style else line for line in safe(text).split("\n"))
        yield f"{self._paint(f'{name:<10}', fg='cyan')}{first}"
        yield from (f"{'':10}{line}" for line in rest)

    def _asked(self, asked: Asked) -> Iterator[str]:
        how = ", streamed" if asked.is_stream else ""
        yield from self._row("request", f"{asked.api or 'of no API that is known'}, {asked.model or 'no model'}{how}")
        for message in asked.messages:
            yield from self._row(f"  {message.role}", _short(message.content))
        if not asked.messages and asked.body:
            yield from self._row("  body", _short(asked.body))
        if asked.tools:
            yield from self._row("  tools", ", ".join(asked.tools))

    def _answer(self, recorded: Recorded) -> Iterator[str]:
        script = recorded.script
        for number in script.choices if script else ():
            name = "answer" if len(script.choices) == 1 else f"answer {number}"
            yield from self._choice(name, script.choice(number))
        if not script and recorded.size:
            yield from self._row("body", _short("".join(chunk.text for chunk in recorded.chunks)))

    def _choice(self, name: str, script: Script) -> Iterator[str]:
        if script.reasoning:
            yield from self._row("reasoning", script.reasoning, dim=True)
        if script.text or not (script.tool_calls or script.refusal):
            yield from self._row(name, script.text or "(no text)")
        if script.refusal:
            yield from self._row("refusal", script.refusal)
        for call in script.tool_calls:
            yield from self._row("tool call", f"{call.name}({call.arguments})")

    def _end(self, recorded: Recorded) -> Iterator[str]:
        usage = recorded.script.usage
        if usage is not None:
            yield from self._row("usage", used(recorded.script))
        bad = recorded.end != "complete" or recorded.status != 200  # noqa: PLR2004
        yield from self._row("ending", ending(recorded), fg="red" if bad else "green")
        for fault in faults(recorded):
            yield from self._row("error", fault, fg="red")
        if recorded.problem:
            yield from self._row("unread", recorded.problem, fg="red")
        if recorded.redacted:
            yield from self._row(
                "secrets", f"{recorded.redacted} on the tape, not shown; fakellm check tells where", fg="red"
            )

    def _pace(self, recorded: Recorded, pace: Pace) -> Iterator[str]:
        yield from self._row("pace", paced(recorded, pace))
        width = self._width - 32
        line = line_of(pace.times, [len(chunk.data) for chunk in recorded.chunks], max(width, 20), plain=self._is_plain)
        yield f"{'':10}{seconds(0):>7} |{self._paint(line, fg='blue')}| {seconds(pace.last)}"

    def events(self, recorded: Recorded) -> Iterator[str]:
        """Yield a line for each chunk: when it came, after which silence, how large it is, what it says."""
        yield self._paint(f"{'chunk':>5} {'at s':>9} {'gap':>8} {'bytes':>6}  says", fg="cyan")
        before = None
        for number, chunk in enumerate(recorded.chunks):
            at, gap = _when(chunk, before)
            before = chunk.at
            text = " ".join(chunk.said) or repr(chunk.text.strip())
            room = max(self._width - 33, 30)
            yield f"{number:>5} {at:>9} {gap:>8} {len(chunk.data):>6}  {_cut(safe(text), room)}"

    def raw(self, recorded: Recorded) -> Iterator[str]:
        """Yield the bytes, with the boundaries of the chunks marked."""
        before = None
        for number, chunk in enumerate(recorded.chunks):
            at, gap = _when(chunk, before)
            before = chunk.at
            when = f" at {at} s, after {gap}" if at else ""
            yield self._paint(f"--- chunk {number}: {len(chunk.data)} bytes{when}", fg="cyan")
            if text := chunk.text:
                yield safe(text.removesuffix("\n")) if text.endswith("\n") else f"{safe(text)}\\"
        yield self._paint(f"--- {ending(recorded)}", fg="cyan")

    def brief(self, path: Path, recorded: Sequence[Recorded]) -> Iterator[str]:
        """Yield a line for each interaction of a tape."""
        for one in recorded:
            pace = pace_of(one)
            model = one.asked.model if one.asked is not None else "script"
            times = f"{seconds(pace.first):>9} {seconds(pace.last):>9}" if pace is not None else " " * 19
            name = f"{path}#{one.number}" if len(recorded) > 1 else str(path)
            facts = f"{one.status} {one.end:<9} {len(one.chunks):>6} {one.size:>8} {times}"
            yield f"{facts}  {safe(name)}  {self._paint(safe(model), dim=True)}"

    @property
    def heading(self) -> str:
        """The names of the columns of `brief`."""
        text = f"{'status':<13} {'chunks':>6} {'bytes':>8} {'first':>9} {'last':>9}  tape"
        return self._paint(text, fg="cyan")

    def difference(self, difference: Difference) -> Iterator[str]:
        """Yield the lines about what differs; runs of equal events are counted."""
        shown = [one for one in (difference.one, difference.other) if one is not None]
        names = " and ".join(f"{one.file}, interaction {one.number}" for one in shown)
        same = ": no difference but in times" if difference.is_same else ""
        yield self._paint(safe(names) + same, bold=True)
        yield from (f"  {safe(text)}" for text in difference.heads)
        if difference.is_same:
            return
        equal: list[Row] = []
        for row in difference.rows:
            if row.mark == "=":
                equal.append(row)
                continue
            yield from self._equal(equal)
            equal = []
            yield from self._differing(row)
        yield from self._equal(equal)

    def _equal(self, rows: Sequence[Row]) -> Iterator[str]:
        if len(rows) > 2:  # noqa: PLR2004
            yield self._paint(
                f"  = {len(rows)} events the same, {_cut(safe(rows[0].one), 40)} to {_cut(safe(rows[-1].one), 40)}",
                dim=True,
            )
        else:
            yield from (f"  = {_cut(safe(row.one), self._width - 4)}" for row in rows)

    def _differing(self, row: Row) -> Iterator[str]:
        for mark, text, at in (("-", row.one, row.one_at), ("+", row.other, row.other_at)):
            if row.mark in (mark, "~"):
                when = "" if at is None else f" at {at:.3f} s"
                yield self._paint(f"  {mark}{when} {_cut(safe(text), 4 * self._width)}", **_MARKS[mark])


def _title(recorded: Recorded, count: int) -> str:
    which = f", interaction {recorded.number} of {count}" if count > 1 else ""
    asked = recorded.asked
    if asked is None:
        return f"{recorded.file}: a script" if recorded.is_script else recorded.file
    return f"{recorded.file}{which}: {asked.method} {asked.url}"


def ending(recorded: Recorded) -> str:
    """Word how an answer ended."""
    status = f"HTTP {recorded.status} {recorded.reason}".rstrip() if recorded.status else "no HTTP status"
    reasons = [status] if recorded.asked is not None else []
    reasons.append(recorded.end + (f" ({recorded.error})" if recorded.error else ""))
    if recorded.script.finish_reason:
        reasons.append(f"finish reason {recorded.script.finish_reason}")
    return ", ".join(reasons)


def faults(recorded: Recorded) -> Iterator[str]:
    """Word the errors that a provider reported inside of the stream."""
    for chunk in recorded.chunks:
        yield from (repr(event) for event in chunk.events if isinstance(event, Fault))


def used(script: Script) -> str:
    """Word the tokens of an answer."""
    usage = script.usage
    if usage is None:
        return ""
    more = [
        f"{count} {word}"
        for count, word in ((usage.cached_tokens, "cached"), (usage.reasoning_tokens, "for reasoning"))
        if count
    ]
    return ", ".join([f"{usage.input_tokens} tokens in", f"{usage.output_tokens} out", *more])


def paced(recorded: Recorded, pace: Pace) -> str:
    """Word how fast an answer came."""
    count = len(recorded.chunks)
    facts = [f"{counted(count, 'chunk')} of {recorded.size:,} bytes, the first after {seconds(pace.first)}"]
    if pace.gaps:
        longest, before = pace.longest
        slowest = f", the longest {seconds(longest)} before chunk {before}" if longest else ""
        facts.append(f"gaps of {seconds(pace.median)} in the median{slowest}")
    if pace.rate is not None:
        facts.append(f"{pace.rate:,.0f} tokens a second")
    return "\n".join(facts)


def _when(chunk: Chunk, before: float | None) -> tuple[str, str]:
    """Return when a chunk came and after which silence; nothing where nobody noted that."""
    if chunk.at is None:
        return "", ""
    return f"{chunk.at:.4f}", seconds(round(chunk.at - (before or 0.0), 4))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\n... and {len(text) - _LONGEST:,} characters more"


def _cut(text: str, room: int) -> str:
    line = text.replace("\n", "\\n")
    return line if len(line) <= room else f"{line[: room - 3]}..."
