"""What is wrong with one file of recordings: secrets, what cannot be read, streams that break their grammar, age.

A file is looked at by itself, in whichever process, so what is given and returned are plain values.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal

from fakellm.cassette.bodies import kind_of, kind_of_chunks
from fakellm.cassette.checking import check
from fakellm.cassette.dialects import means_to_be_tape
from fakellm.cassette.document import CassetteError
from fakellm.cassette.files import Files
from fakellm.cassette.matching import wants_stream
from fakellm.cli.recorded import SUFFIXES
from fakellm.contracts.grammar.check import ANY, GRAMMARS, WireReport, check_wire, habits_at
from fakellm.errors import ScriptError, WireError
from fakellm.script.script import Script
from fakellm.secrets.knowing import discreet
from fakellm.wire.providers import scripted_endpoint
from fakellm.wire.sse import SSEDecoder

Kind = Literal["secret", "broken", "grammar", "old", "unused"]
KINDS: tuple[Kind, ...] = ("secret", "broken", "grammar", "old", "unused")
OK = 200
_SHOWN = 5
"""Broken rules of a stream that are worded; the rest is counted."""


@dataclass(frozen=True, order=True, slots=True)
class Problem:
    """Something that is wrong with a file; `line` is 0 where it is about the whole."""

    file: str
    line: int
    kind: Kind
    text: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        text = self.text.removeprefix(f"{self.file}, ").removeprefix(f"{self.file}: ")
        return f"{place}: {self.kind}: {text}"


@dataclass(frozen=True, slots=True)
class Examining:
    """What to look for: the `kinds`, days that a tape may be old, the time it is, and rules that are not judged."""

    kinds: frozenset[Kind] = frozenset(KINDS)
    max_age: float | None = None
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found in a file; `is_tape` says whether it is one, `is_dated` whether it says when it was recorded."""

    file: str
    problems: tuple[Problem, ...] = ()
    interactions: int = 0
    is_tape: bool = False
    is_dated: bool = True


def examine(path: str, asked: Examining) -> Examined:
    """Look at a file."""
    try:
        data = Path(path).read_bytes()
        secrets = [*_secrets(path)] if "secret" in asked.kinds else []
    except OSError as error:
        return Examined(path, (Problem(path, 0, "broken", f"the file cannot be read: {error.strerror}"),))
    pairs, problem = _read(path, data)
    broken = [problem] if problem is not None and "broken" in asked.kinds else []
    if pairs is None:
        grammar = list(_body(path, data)) if "grammar" in asked.kinds else []
        is_tape = problem is not None and path.endswith(SUFFIXES)
        return Examined(path, tuple(sorted([*secrets, *broken, *grammar])), is_tape=is_tape)
    grammar = list(_grammar(path, pairs, asked.ignore)) if "grammar" in asked.kinds else []
    dates = [date for _, response in pairs if (date := _date(response)) is not None]
    old = list(_old(path, dates, asked)) if "old" in asked.kinds else []
    return Examined(
        path, tuple(sorted([*secrets, *broken, *grammar, *old])), len(pairs), is_tape=True, is_dated=bool(dates)
    )


def _secrets(path: str) -> Iterator[Problem]:
    for found in check([path]):
        yield Problem(path, found.line, "secret", f"{found.kind} in {found.where}: {found.shown}")


_Pairs = list[tuple[Any, dict[str, Any]]]


def _read(path: str, data: bytes) -> tuple[_Pairs | None, Problem | None]:
    """Return the interactions of a tape; None of another file; and what is wrong with one that cannot be read."""
    from vcr.persisters.filesystem import CassetteNotFoundError

    if not path.endswith(SUFFIXES):
        return None, None
    if b"fakellm_script" in data[:4096]:
        return None, _of_script(path)
    is_meant = means_to_be_tape(data, path)
    if not is_meant and data.lstrip()[:1] != b"[":
        return None, Problem(path, 0, "broken", "the file is empty") if not data.strip() else None
    try:
        requests, responses, *_ = Files().load_cassette(path)
    except CassetteError as error:
        return None, Problem(path, 0, "broken", discreet(str(error))) if is_meant else None
    except CassetteNotFoundError:
        return None, Problem(path, 0, "broken", "the file is empty")
    return list(zip(requests, responses, strict=True)), None


def _of_script(path: str) -> Problem | None:
    try:
        Script.load(path)
    except ScriptError as error:
        return Problem(path, 0, "broken", discreet(str(error)))
    return None


# -- grammar ------------------------------------------------------------------------------------------


def _grammar(path: str, pairs: _Pairs, ignore: Sequence[str]) -> Iterator[Problem]:
    for at, (request, response) in enumerate(pairs):
        for text in _broken_rules(request, response, ignore):
            yield Problem(path, 0, "grammar", f"interaction {at}, {text}")


def _broken_rules(request: Any, response: dict[str, Any], ignore: Sequence[str]) -> Iterator[str]:
    """Yield what of a recorded stream is not as its API has it; of one that broke off, nothing about its end."""
    found = scripted_endpoint(request.method, request.uri)
    body: bytes = response["body"]["string"] or b""
    if found is None or response["status"]["code"] != OK or not body or not wants_stream(request, response):
        return
    service, endpoint = found
    api = endpoint.api.replace(".", "_")
    if api not in GRAMMARS and not endpoint.grammar:
        return
    report = check_wire(body, api=api, profile=habits_at(request.uri, service, api))
    is_whole = (response.get("stream") or {}).get("end", "complete") == "complete"
    yield from _worded(report, ignore, is_whole=is_whole)


def _worded(report: WireReport, ignore: Sequence[str], *, is_whole: bool) -> Iterator[str]:
    problems = [
        problem
        for problem in report.problems
        if problem.rule.id not in ignore and (is_whole or problem.event is not None)
    ]
    for problem in problems[:_SHOWN]:
        where = "the end" if problem.event is None else f"event {problem.event}"
        said = f"found {problem.found}, expected {problem.expected}"
        yield discreet(f"{where}: {problem.rule.id}: {problem.rule.sentence} ({said})")
    if len(problems) > _SHOWN:
        yield f"and {len(problems) - _SHOWN} broken rules more"


def _body(path: str, data: bytes) -> Iterator[Problem]:
    """Yield what is wrong with the body of one answer in a file of its own."""
    if not path.endswith(".sse") or not kind_of(data):
        return
    events = []
    with suppress(WireError):
        for event in SSEDecoder().feed(data):
            with suppress(ValueError):
                events.append(json.loads(event.data))
    api = kind_of_chunks(events).replace(".", "_")
    if api in GRAMMARS:
        report = check_wire(data, api=api, profile=ANY)
        yield from (Problem(path, 0, "grammar", text) for text in _worded(report, (), is_whole=True))


# -- age ----------------------------------------------------------------------------------------------


def _date(response: dict[str, Any]) -> datetime | None:
    """Return when an answer was made, as its header says; the time of the file is that of a checkout."""
    for name, values in response["headers"].items():
        if name.lower() == "date":
            try:
                found = parsedate_to_datetime(values if isinstance(values, str) else values[0])
            except (ValueError, IndexError, TypeError):
                return None
            return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return None


def _old(path: str, dates: Sequence[datetime], asked: Examining) -> Iterator[Problem]:
    if asked.max_age is None or not dates:
        return
    first = min(dates)
    days = (asked.now - first).total_seconds() / 86_400
    if days > asked.max_age:
        text = f"recorded {days:.0f} days ago, on {first:%Y-%m-%d}, and --max-age is {asked.max_age:g}"
        yield Problem(path, 0, "old", f"{text}; to do: record it again")
