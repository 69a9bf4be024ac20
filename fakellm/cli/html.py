"""Recordings as one page for a browser: everything is in the file, and nothing is fetched.

What was recorded is written into the page as text, here, so that it can be read, searched, printed and heard without
a script; the script only hides what had not come yet while the answer is played. The page forbids itself the network
and all scripts but its own (Content-Security-Policy), whatever a tape may say.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from html import escape
from importlib.resources import files
from itertools import groupby

from fakellm.cli.pace import Pace, pace_of, seconds
from fakellm.cli.recorded import Asked, Chunk, Recorded
from fakellm.cli.worded import ending, faults, safe, used
from fakellm.script.events import Event, Finish, Native, Reasoning, Refusal, Text, ToolCall, Usage
from fakellm.script.messages import Message

_SPEEDS = (("0.1", "a tenth"), ("0.5", "half"), ("1", "as recorded"), ("2", "twice"), ("10", "ten times"))
_MOST = 5_000
"""Chunks of an answer that are shown in the table and the plot."""


def page_of(recorded: Sequence[Recorded], findings: Sequence[str] | None = None) -> str:
    """Return the page about recordings; `findings` is what a check for secrets found in their files, None without."""
    names = list(dict.fromkeys(one.file for one in recorded))
    title = names[0] if len(names) == 1 else f"{len(names)} recordings"
    parts = [f"<h1>{as_text(title)}</h1>", *_secrets(recorded, findings)]
    if len(recorded) > 1:
        parts.append(_contents(recorded))
    return document(title, parts, [article_of(one, number) for number, one in enumerate(recorded)])


def document(title: str, header: Iterable[str], main: Iterable[str]) -> str:
    """Return a page of parts that are HTML already."""
    style, script = (files("fakellm.cli").joinpath(f"page/page.{kind}").read_text("utf-8") for kind in ("css", "js"))
    policy = f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}"
    return "\n".join([
        "<!doctype html>", '<html lang="en">', "<head>", '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">', '<link rel="icon" href="data:,">',
        f"<title>{as_text(title)} - fakellm</title>", f"<style>{style}</style>", "</head>", "<body>",
        "<header>", *header, "</header>", "<main>", *main, "</main>", f"<script>{script}</script>",
        "</body>", "</html>", "",
    ])  # fmt: skip


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'"


def as_text(value: object) -> str:
    """Return what came from outside as text of a page; characters that steer nothing but a terminal are shown."""
    return escape(safe(str(value)))


def _secrets(recorded: Sequence[Recorded], findings: Sequence[str] | None) -> Iterator[str]:
    count = sum(one.redacted for one in recorded)
    if findings:
        yield f'<div class="card"><h2 class="bad">{len(findings)} secrets on the tapes</h2>'
        yield "<p>They are not in this page.</p>"
        yield f"<ul>{''.join(f'<li>{as_text(finding)}</li>' for finding in findings)}</ul></div>"
    elif count:
        yield f'<p class="bad">{count} values that look like secrets were replaced in this page.</p>'
    else:
        yield '<p class="good">No secret was found in what is shown.</p>'


def _contents(recorded: Sequence[Recorded]) -> str:
    items = [
        f'<li><a href="#interaction-{number}">{as_text(_name(one))}</a>: {as_text(ending(one))}</li>'
        for number, one in enumerate(recorded)
    ]
    return f'<nav aria-label="Interactions"><ol>{"".join(items)}</ol></nav>'


def _name(recorded: Recorded) -> str:
    asked = recorded.asked
    return (
        f"{recorded.file}: a script"
        if asked is None
        else f"{recorded.file}#{recorded.number}: {asked.model or asked.url}"
    )


def article_of(recorded: Recorded, number: int | str) -> str:
    """Return the part of a page that shows one interaction; `number` tells it from the others of the page."""
    pace = pace_of(recorded)
    last = f' data-last="{pace.last}"' if pace is not None else ""
    parts = [f'<article id="interaction-{number}" aria-labelledby="title-{number}"{last}>']
    parts += [f'<h2 id="title-{number}">{as_text(_name(recorded))}</h2>', *_facts(recorded, pace)]
    parts.append('<div class="sides">')
    if recorded.asked is not None:
        parts += _request(recorded.asked)
    parts += [
        "<section><h3>Answer</h3>",
        *(_player(pace) if recorded.chunks else ()),
        f'<div class="said">{_said(recorded)}</div>',
    ]
    parts += [f'<p class="bad">{as_text(fault)}</p>' for fault in (*faults(recorded), recorded.problem) if fault]
    parts += ["</section>", "</div>"]
    if pace is not None:
        parts += [*_line(recorded, pace), *_gaps(pace)]
    parts += [*(_events(recorded, number) if recorded.chunks else ()), "</article>"]
    return "\n".join(parts)


def _facts(recorded: Recorded, pace: Pace | None) -> Iterator[str]:
    is_good = recorded.end == "complete" and recorded.status == 200  # noqa: PLR2004
    rows = [("Ending", f'<span class="{"good" if is_good else "bad"}">{as_text(ending(recorded))}</span>')]
    if recorded.asked is not None:
        rows.insert(0, ("Request", as_text(f"{recorded.asked.method} {recorded.asked.url}")))
        rows.insert(1, ("API", as_text(recorded.asked.api or "of none that is known")))
    if recorded.script.usage is not None:
        rows.append(("Usage", as_text(used(recorded.script))))
    rows.append(("Chunks", as_text(f"{len(recorded.chunks)} of {recorded.size:,} bytes")))
    if pace is not None:
        rows += [("First chunk", seconds(pace.first)), ("Last chunk", seconds(pace.last))]
        if pace.gaps:
            rows.append(("Gaps", f"{seconds(pace.median)} in the median, {seconds(pace.longest[0])} the longest"))
        if pace.rate is not None:
            rows.append(("Rate", f"{pace.rate:,.0f} tokens a second"))
    yield f'<dl class="facts">{"".join(_fact(name, told) for name, told in rows)}</dl>'


def _fact(name: str, told: str) -> str:
    wide = ' class="wide"' if name == "Request" else ""
    return f"<div{wide}><dt>{name}</dt><dd>{told}</dd></div>"


def _request(asked: Asked) -> Iterator[str]:
    yield "<section><h3>Request</h3>"
    yield from map(_message, asked.messages)
    if asked.tools:
        yield f'<p class="soft">Tools: {as_text(", ".join(asked.tools))}</p>'
    headers = "\n".join(f"{name}: {value}" for name, value in asked.headers.items())
    for name, text in (("Headers", headers), ("Body", asked.body)):
        if text:
            yield f'<details><summary>{name}</summary><pre tabindex="0">{as_text(text)}</pre></details>'
    yield "</section>"


def _message(message: Message) -> str:
    return f'<p class="message"><b>{as_text(message.role)}</b><span>{as_text(message.content)}</span></p>'


def _player(pace: Pace | None) -> Iterator[str]:
    if pace is None:
        yield '<p class="soft">Nobody noted when its chunks came.</p>'
        return
    options = "".join(
        f'<option value="{value}"{" selected" if value == "1" else ""}>{name}</option>' for value, name in _SPEEDS
    )
    yield (
        '<div class="player needs-script"><button type="button">Play</button>'
        f'<input type="range" min="0" max="{pace.last}" step="any" value="{pace.last}" aria-label="Time">'
        f'<output aria-live="off"></output><label class="soft">Speed <select>{options}</select></label></div>'
    )


def _said(recorded: Recorded) -> str:
    """Return what an answer says, each piece with the time at which it came; the pieces of a tool call are together."""
    timed = [(chunk.at, event) for chunk in recorded.chunks for event in chunk.events if _kind(event)]
    if not timed:
        return "".join(f"{_timed(chunk.at)}{as_text(chunk.text)}</span>" for chunk in recorded.chunks)
    parts = []
    for (kind, _), group in groupby(timed, key=lambda pair: (_kind(pair[1]), getattr(pair[1], "index", None))):
        pieces = "".join(f"{_timed(at)}{as_text(_words(event))}</span>" for at, event in group)
        parts.append(f'<span class="{kind}">{pieces}</span>')
    return "".join(parts)


def _kind(event: Event) -> str:
    """Return how an event is shown; nothing for one that an app does not show."""
    if isinstance(event, ToolCall):
        return "call"
    return event.type if isinstance(event, (Text, Reasoning, Refusal)) else ""


def _words(event: Event) -> str:
    if isinstance(event, ToolCall):
        return f"{event.name}: {event.arguments}" if event.name else event.arguments
    return str(getattr(event, "text", ""))


def _timed(at: float | None) -> str:
    return "<span>" if at is None else f'<span data-at="{at}">'


def _line(recorded: Recorded, pace: Pace) -> Iterator[str]:
    """Draw when the chunks came, and how large they are: as high as the root of their size, so that small ones show."""
    sizes = [len(chunk.data) for chunk in recorded.chunks]
    most = max(sizes, default=0) or 1
    marks = []
    for at, size in list(zip(pace.times, sizes, strict=True))[:_MOST]:
        height = max(70 * (size / most) ** 0.5, 4)
        place = at / pace.last * 100 if pace.last else 100
        marks.append(f'<rect class="chunk" x="{place:.3f}%" y="{82 - height:.1f}" width="2" height="{height:.1f}"/>')
    label = f"{len(sizes)} chunks: the first after {seconds(pace.first)}, the last after {seconds(pace.last)}"
    yield "<section><h3>Chunks over time; the higher, the larger</h3>"
    yield f'<svg class="line" role="img" aria-label="{as_text(label)}">'
    yield '<rect class="axis" y="82" width="100%" height="2"/>'
    yield f'{"".join(marks)}<rect class="now" x="100%" width="2" height="88"/></svg>'
    yield f'<div class="scale" aria-hidden="true"><span>0 s</span><span>{seconds(pace.last)}</span></div></section>'


def _gaps(pace: Pace) -> Iterator[str]:
    classes = pace.histogram()
    if not classes:
        return
    most = max(count for _, count in classes)
    yield '<section><h3>How long the gaps between chunks were</h3><div class="gaps" role="list">'
    for name, count in classes:
        bar = f'<svg aria-hidden="true"><rect width="{count / most * 100:.1f}%" height="12"/></svg>'
        yield f'<span role="listitem">{as_text(name)}</span>{bar}<span>{count}</span>'
    yield "</div></section>"


def _events(recorded: Recorded, number: int | str) -> Iterator[str]:
    """Yield the table of chunks: when, how large, the bytes, and what they say."""
    yield f'<section class="events"><h3 id="events-{number}">Raw events, and what they say</h3>'
    yield f'<div class="scroll" tabindex="0" role="region" aria-labelledby="events-{number}"><table><thead><tr>'
    names = ("s", "gap", "bytes", "raw", "says")
    yield f"{''.join(f'<th scope=col>{name}</th>' for name in names)}</tr></thead><tbody>"
    before: float | None = None
    for chunk in recorded.chunks[:_MOST]:
        yield _row(chunk, before)
        before = chunk.at
    yield "</tbody></table></div>"
    if len(recorded.chunks) > _MOST:
        yield f"<p>and {len(recorded.chunks) - _MOST:,} chunks more</p>"
    yield "</section>"


def _row(chunk: Chunk, before: float | None) -> str:
    at, gap, row = "", "", ""
    if chunk.at is not None:
        at, gap, row = f"{chunk.at:.4f}", seconds(round(chunk.at - (before or 0.0), 4)), f' data-row="{chunk.at}"'
    numbers = "".join(
        f'<td class="number" data-name="{name}">{value}</td>'
        for name, value in (("s", at), ("gap", gap), ("bytes", len(chunk.data)))
    )
    briefs = (
        "".join(map(_brief, these)) for _, these in groupby(chunk.events, key=lambda event: _kind(event) or event)
    )
    said = "".join(f"<div>{as_text(brief)}</div>" for brief in briefs)
    return (
        f'<tr{row}>{numbers}<td class="text">{as_text(chunk.text.strip())}</td><td class="text says">{said}</td></tr>'
    )


def _brief(event: Event) -> str:
    """Return an event in a few words, as the text that it is where it is one."""
    if isinstance(event, Usage):
        return f"usage: {event.input_tokens} in, {event.output_tokens} out"
    if isinstance(event, Finish):
        return f"finish: {event.reason}"
    if isinstance(event, Native):
        return f"{event.api}: {event.data}"
    if isinstance(event, ToolCall):
        return f"call {_words(event)}" if event.name else _words(event)
    return _words(event) or repr(event)
