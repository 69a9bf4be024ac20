"""What is sent: forms of the wire that are legal, oddities that a client should bear, and answers that are broken.

Each cell is the plain answer, written in another way or with one thing changed. `sent` says it to people, `parts` to
the fake. What is expected of a client is that it reads a legal form and an oddity as the plain answer, and that it
tells the app of what is broken.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from families import PLAIN, WORDS, Family, changed, plain_blocks

from fakellm import Raw, Script, disconnect
from fakellm.wire import FORMS, WireForm

Kind = Literal["form", "oddity", "broken"]
Parts = Sequence[Any]
SIZE = 1_048_576


@dataclass(frozen=True)
class Cell:
    """One thing that is sent. `parts` of an API is None where it has no such thing; `text` is what the app then reads.

    `differs` names what of the plain answer is not to be compared.
    """

    name: str
    kind: Kind
    sent: str
    parts: Callable[[Family], Parts | None]
    form: WireForm | None = None
    text: str = "".join(WORDS)
    differs: tuple[str, ...] = ()


CELLS: dict[str, Cell] = {}


def plain(family: Family) -> Parts:
    """Return the script of the plain answer; a prediction of Replicate's has text alone."""
    return PLAIN if family.api != "replicate" else (*WORDS, PLAIN[-1])


def script(blocks: Sequence[str], fault: Any = None) -> Parts:
    """Return what sends these events, each as a piece of its own, and then ends in order or with a fault."""
    return Script(*map(Raw, blocks), fault or disconnect("end"), allow_illegal=True)


def texts_of(family: Family) -> list[int]:
    """Return which events have the three pieces of text."""
    blocks = plain_blocks(family.api)
    return [next(n for n, block in enumerate(blocks) if word in block) for word in WORDS]


# -- legal forms ---------------------------------------------------------------------------------------------

_SENT = {
    "lf": "every line ends with LF, whatever the provider has",
    "crlf": "every line ends with CRLF",
    "cr": "every line ends with CR alone",
    "bom": "a byte order mark (EF BB BF) before the first line",
    "comments": "a block `: keep-alive` between any two events",
    "comment_first": "one block `: keep-alive` before the first event",
    "comment_inside": "a comment line inside of each event, between its fields",
    "ids": "each event has a field `id:` with a number",
    "comment_after_id": "the two: events with ids, and a block `: keep-alive` behind each",
    "retry": "the first event has a field `retry: 3000`",
    "retry_alone": "a block with `retry: 3000` alone before the first event",
    "event_names": "each event is named `event: message`, where it has no name",
    "pretty": "the JSON of each event is indented, and stands in several `data:` lines",
    "no_space": "no space behind the colon of `data:` and other fields",
    "gzip": "`content-encoding: gzip`, each piece compressed to its end",
    "deflate": "`content-encoding: deflate`, the same",
    "bytes": "one byte a chunk; the text has characters of two bytes",
    "odd_pieces": "chunks of 7 bytes",
    "whole": "the whole body in one chunk",
    "events": "each event a chunk of its own",
    "crlf_bytes": "CRLF, and one byte a chunk, so that CR and LF are cut apart",
    "pretty_crlf": "several `data:` lines and CRLF together",
    "gzip_bytes": "gzip, and one byte of it a chunk",
    "all": "all together: CRLF, BOM, comments, retry, ids, names, several lines, no space, gzip, 7 bytes a chunk",
}
for _name, _form in FORMS.items():
    CELLS[_name] = Cell(_name, "form", _SENT[_name], plain, _form)


def cell(name: str, kind: Kind, **more: Any) -> Callable[[Any], Any]:
    """Put a function, which returns what sends the cell, into the table; its docstring says what is sent."""

    def known(parts: Callable[[Family], Parts | None]) -> Any:
        sent = " ".join((parts.__doc__ or "").split()).rstrip(".")
        CELLS[name] = Cell(name, kind, sent[0].lower() + sent[1:], parts, **more)
        return parts

    return known


@cell("blank_lines", "form")
def _(family):
    """Two blank lines more behind each event."""
    return None if family.lines else script([block + "\n\n" for block in plain_blocks(family.api)])


@cell("other_fields", "form")
def _(family):
    """Each event has a field `x-note: 1`, which a reader has to ignore."""
    return None if family.lines else script([f"x-note: 1\n{block}" for block in plain_blocks(family.api)])


@cell("name_alone", "form")
def _(family):
    """A block `event: keep-alive` without data before the first event and between the pieces of text."""
    if family.lines:
        return None
    blocks = list(plain_blocks(family.api))
    blocks.insert(texts_of(family)[1], "event: keep-alive\n\n")
    return script(["event: keep-alive\n\n", *blocks])


@cell("no_last_blank", "form")
def _(family):
    """The last event lacks the blank line behind it, where another event has the finish reason."""
    *blocks, last = plain_blocks(family.api)
    return script([*blocks, last.rstrip("\r\n") + "\n"]) if family.marker == "[DONE]" else None


@cell("separators", "form", text="Grüße, W\u2028e\u2029l\u0085t.")
def _(family):
    """The text has U+2028, U+2029 and U+0085 in it, as they are: no line ends to the standard."""
    blocks = list(plain_blocks(family.api))
    at = texts_of(family)[2]
    if not family.text:
        blocks[at] = blocks[at].replace("Welt.", "W\u2028e\u2029l\u0085t.")
    else:
        blocks[at] = changed(blocks[at], family.text, "W\u2028e\u2029l\u0085t.")
    return script(blocks)


# -- oddities that a client should bear ----------------------------------------------------------------------


def inserted(family: Family, change: Callable[[str], str]) -> Parts:
    """Return the plain answer with the second piece of text once more behind it, changed."""
    blocks = list(plain_blocks(family.api))
    at = texts_of(family)[1]
    blocks.insert(at + 1, change(blocks[at]))
    return script(blocks)


@cell("after_end", "oddity")
def _(family):
    """Two events of text, `!` and `!`, behind the end marker; `[DONE]` once more where there is one."""
    if not family.marker:
        return None
    blocks = plain_blocks(family.api)
    word = blocks[texts_of(family)[1]]
    more = changed(word, family.text, "!") if family.text else word.replace("ße, ", "!")
    return script([*blocks, more, more, *([blocks[-1]] if family.marker == "[DONE]" else [])])


@cell("no_marker", "oddity")
def _(family):
    """The answer is whole, with its finish reason, and then the body ends without the end marker."""
    if family.marker not in ("[DONE]", "message_stop"):
        return None
    return script([block for block in plain_blocks(family.api) if family.marker not in block])


@cell("no_choices", "oddity")
def _(family):
    """Between two pieces of text an event whose list of choices is empty."""
    return inserted(family, lambda block: changed(block, family.choices, [])) if family.choices else None


@cell("choices_missing", "oddity")
def _(family):
    """The same event without the field for choices."""
    if not family.choices:
        return None
    return inserted(family, lambda block: changed(block, family.choices, None, missing=True))


@cell("null_delta", "oddity")
def _(family):
    """Between two pieces of text an event in which null stands for what holds the text."""
    return inserted(family, lambda block: changed(block, family.delta, None)) if family.delta else None


@cell("null_text", "oddity")
def _(family):
    """Between two pieces of text an event whose text is null."""
    return inserted(family, lambda block: changed(block, family.text, None)) if family.text else None


@cell("unknown_field", "oddity")
def _(family):
    """Each piece of text has a field `x_new: {"a": [1, null]}`, at the top and beside the text."""
    if not family.text:
        return None
    blocks = list(plain_blocks(family.api))
    for at in texts_of(family):
        for path in {("x_new",), (*family.text[:-1], "x_new")}:
            blocks[at] = changed(blocks[at], path, {"a": [1, None]})
    return script(blocks)


@cell("unknown_event", "oddity")
def _(family):
    """Between two pieces of text an event `event: x-new` with the data `{"type": "x-new"}`."""
    event = '{"type": "x-new"}\n' if family.lines else 'event: x-new\ndata: {"type": "x-new"}\n\n'
    return inserted(family, lambda _: event)


@cell("empty_data", "oddity")
def _(family):
    """Between two pieces of text an event `data:` that is empty."""
    return inserted(family, lambda _: "\n" if family.lines else "data:\n\n")


@cell("unknown_finish", "oddity", differs=("finish",))
def _(family):
    """The finish reason is `x_new`, which the API does not have."""
    return finished(family, "x_new")


def finished(family: Family, reason: str | None) -> Parts | None:
    """Return the plain answer with another finish reason."""
    if not family.finish:
        return None
    blocks = list(plain_blocks(family.api))
    at = finish_of(family, blocks)
    blocks[at] = changed(blocks[at], family.finish, reason)
    return script(blocks)


def finish_of(family: Family, blocks: Sequence[str]) -> int:
    """Return which event has the finish reason."""
    name = f'"{family.finish[-1]}":'
    has = [n for n, block in enumerate(blocks) if name in block]
    if family.api == "responses":
        return next(n for n, block in enumerate(blocks) if family.marker in block)
    return (
        has[-1] if family.api not in ("chat", "openrouter") else next(n for n in has if f"{name}null" not in blocks[n])
    )


@cell("big", "oddity", text=f"Grüße, {'x' * SIZE}Welt.")
def _(family):
    """Between two pieces of text one of 1 MiB, in one event."""
    if not family.text:
        return inserted(family, lambda block: block.replace("ße, ", "x" * SIZE))
    return inserted(family, lambda block: changed(block, family.text, "x" * SIZE))


# -- answers that are broken ---------------------------------------------------------------------------------


def begun(family: Family) -> list[str]:
    """Return the plain answer until behind its second piece of text."""
    return list(plain_blocks(family.api)[: texts_of(family)[1] + 1])


@cell("end", "broken")
def _(family):
    """Behind the second piece of text the body ends in order: the last HTTP chunk is there, no finish reason,
    no end marker."""
    return script(begun(family))


@cell("cut", "broken")
def _(family):
    """At the same place the connection is closed, without the last HTTP chunk."""
    return script(begun(family), disconnect("close"))


@cell("torn", "broken")
def _(family):
    """At the same place comes the first half of the next event, and the body ends in order."""
    block = plain_blocks(family.api)[texts_of(family)[2]]
    return script([*begun(family), block[: len(block) // 2]])


@cell("no_finish", "broken")
def _(family):
    """All of the answer and the end marker, but the finish reason is null."""
    return finished(family, None)


@cell("broken_json", "broken")
def _(family):
    """The third piece of text has half of its JSON, in a complete event; the rest follows."""
    if not family.text:
        return None
    blocks = list(plain_blocks(family.api))
    at = texts_of(family)[2]
    blocks[at] = blocks[at].rstrip()[: blocks[at].index("Welt.") + 2] + ("\n" if family.lines else "\n\n")
    return script(blocks)


def failed(family: Family, *, name: str = "", marked: bool = False) -> Parts:
    """Return the plain answer until behind its second piece of text, then an error."""
    data = dumped(family.error)
    named = f"event: {name}\n" if name else ""
    event = f"{data}\n" if family.lines else f"{named}data: {data}\n\n"
    last = [plain_blocks(family.api)[-1]] if marked else []
    return script([*begun(family), event, *last])


def dumped(data: Any) -> str:
    return json.dumps(data, separators=(",", ":"))


@cell("error", "broken")
def _(family):
    """Behind the second piece of text an event without a name whose data is the API's error; then the body
    ends."""
    return failed(family)


@cell("error_named", "broken")
def _(family):
    """The same event, named `event: error`."""
    return None if family.lines else failed(family, name="error")


@cell("error_done", "broken")
def _(family):
    """The error without a name, and then the end marker."""
    return failed(family, marked=True) if family.marker == "[DONE]" else None


@cell("empty", "broken")
def _(_):
    """Status 200, the headers of a stream, and not a byte of a body."""
    return script([])


@cell("comments_only", "broken")
def _(family):
    """A body of three blocks `: keep-alive` and nothing else."""
    return None if family.lines else script([": keep-alive\n\n"] * 3)
