"""One run of tests as a page: what each asked, the streams that it read, the tapes that it used, what is unused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from fakellm.cassette.document import CassetteError
from fakellm.cli.calls import Timed, knowing_all, recorded_of
from fakellm.cli.html import article_of, as_text, document
from fakellm.cli.recorded import Recorded, read
from fakellm.provider.exchange import ProviderCall

Told = Mapping[str, Any]
"""What is told of a test: `test`, `outcome`, `calls`, `chunks`, `bytes`, `tapes`, `misses`, `articles`, `reports`."""
_GOOD = ("passed", "skipped")
_MOST = 20
"""Requests of a test to one fake that are drawn; the rest is counted."""


def articles_of(test: str, name: str, calls: Sequence[ProviderCall]) -> list[str]:
    """Return what a test asked a fake provider, each request as a part of the page of a run, without secrets.

    `name` is that of the fake. Chunks have times if `calls` are a `Timed` log.
    """
    moments = calls.moments if isinstance(calls, Timed) else [[] for _ in calls]
    place = digest(f"{test} {name}")
    rows = list(zip(calls, moments, strict=True))
    redactor = knowing_all(calls)
    articles = [article_of(recorded_of(name, *row, redactor), f"{place}-{at}") for at, row in enumerate(rows[:_MOST])]
    return articles if len(rows) <= _MOST else [*articles, f"<p>and {len(rows) - _MOST} requests more</p>"]


def page_of_run(tests: Sequence[Told], unused: Sequence[str]) -> str:
    """Return the page of a run as HTML: its tests, the tapes that they name, and what is not used.

    Each test is a mapping with its name as `test`, its `outcome`, the numbers `calls`, `chunks` and `bytes`, the paths
    of its `tapes`, its `misses` and `reports` (pairs of a name and a text) as texts without secrets, and the `articles`
    that `articles_of` returned. A tape that cannot be read is named only.
    """
    tapes = {name: _read(name) for test in tests for name in test["tapes"]}
    failed = [test for test in tests if test["outcome"] not in _GOOD]
    header = ["<h1>Tests that asked language models</h1>", f"<p>{len(tests)} tests, {len(failed)} failed.</p>"]
    main = ["<h2>Tests</h2>", *_table(tests), *_tapes(tapes), *_unused(unused)]
    for test in [*failed, *(test for test in tests if test["outcome"] in _GOOD)]:
        main += _test(test, tapes)
    for name, recorded in tapes.items():
        main += [article_of(one, f"{digest(name)}-{one.number}") for one in recorded]
    return document("Run of tests", header, main)


def _read(name: str) -> list[Recorded]:
    """Return what a tape holds; nothing of one that is not there, or is broken: its test has told that."""
    try:
        return read(Path(name))
    except (CassetteError, OSError):
        return []


def digest(name: str) -> str:
    """Return what the place of a test or a tape on the page is called."""
    return sha256(name.encode()).hexdigest()[:10]


def _table(tests: Sequence[Told]) -> Iterator[str]:
    yield '<div class="scroll" tabindex="0" role="region" aria-label="Tests"><table><thead><tr>'
    yield "<th scope=col>test</th><th scope=col>outcome</th>"
    names = ("calls", "chunks", "bytes", "misses")
    yield f"{''.join(f'<th scope=col class=number>{name}</th>' for name in names)}</tr></thead><tbody>"
    for test in tests:
        kind = "good" if test["outcome"] in _GOOD else "bad"
        counts = (test["calls"], test["chunks"], f"{test['bytes']:,}", len(test["misses"]))
        yield (
            f'<tr><td><a href="#test-{digest(test["test"])}">{as_text(test["test"])}</a></td>'
            f'<td class="{kind}">{as_text(test["outcome"])}</td>'
            f"{''.join(f'<td class=number>{count}</td>' for count in counts)}</tr>"
        )
    yield "</tbody></table></div>"


def _tapes(tapes: Mapping[str, Sequence[Recorded]]) -> Iterator[str]:
    if tapes:
        yield "<section><h2>Tapes that were used</h2><ul>"
        yield from (f"<li>{_tape(name, recorded)}</li>" for name, recorded in tapes.items())
        yield "</ul></section>"


def _tape(name: str, recorded: Sequence[Recorded]) -> str:
    links = ", ".join(
        f'<a href="#interaction-{digest(name)}-{one.number}">interaction {one.number}</a>' for one in recorded
    )
    return f"{as_text(name)}: {links or 'nothing that could be read'}"


def _unused(unused: Sequence[str]) -> Iterator[str]:
    if unused:
        yield '<section><h2 class="bad">Not used</h2><ul>'
        yield from (f"<li>{as_text(line)}</li>" for line in unused)
        yield "</ul></section>"


def _test(test: Told, tapes: Mapping[str, Sequence[Recorded]]) -> Iterator[str]:
    """Yield what a test asked, and what it missed, with the difference."""
    place, kind = digest(test["test"]), "good" if test["outcome"] in _GOOD else "bad"
    yield f'<section id="test-{place}" aria-labelledby="name-{place}">'
    yield f'<h2 id="name-{place}">{as_text(test["test"])}: <span class="{kind}">{as_text(test["outcome"])}</span></h2>'
    for miss in test["misses"]:
        yield f'<div class="card"><h3 class="bad">A request found no reply</h3>{_shown(miss)}</div>'
    for name in test["tapes"]:
        yield f"<p>Tape {_tape(name, tapes.get(name, ()))}</p>"
    for name, text in test["reports"]:
        yield f'<details class="card"><summary>{as_text(name)}</summary>{_shown(text)}</details>'
    yield from test["articles"]
    yield "</section>"


def _shown(text: str) -> str:
    return f'<pre tabindex="0">{as_text(text)}</pre>'
