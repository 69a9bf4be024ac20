"""What `fakellm convert` does: answers of one form are written in another, file by file, and what is lost is told."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from json import dumps, loads
from pathlib import Path
from typing import Any

from fakellm.cassette.answers import Answer, NotConvertedError, Wanted
from fakellm.cassette.bodies import kind_of
from fakellm.cassette.converting import HOLD_MANY, Converted, as_body, as_script, as_tape, redacted
from fakellm.cassette.document import CassetteError
from fakellm.cassette.redaction import Redactor
from fakellm.cassette.scrubbing import redacted_data
from fakellm.cassette.sources import Source, form_of, read
from fakellm.cli.progress import Progress
from fakellm.cli.tapes import SUFFIXES
from fakellm.cli.wording import UsageError, reason_of
from fakellm.errors import ScriptError, WireError, explain
from fakellm.script.disk import what_stands_at, write_atomically

_STREAMS = {"sse": (".sse",), "jsonl": (".jsonl", ".ndjson")}
_PLAIN = (".yaml", ".yml", ".json")
_ENDINGS = {**_STREAMS, "script": _PLAIN, "tape": SUFFIXES, "vcrpy": _PLAIN}
_HEAD = 20_000
_READ = (*SUFFIXES, ".sse", ".jsonl", ".ndjson", ".txt")
_SHOWN = {
    "tape": "a tape",
    "vcrpy": "a tape of vcrpy",
    "script": "a script",
    "sse": "an event stream",
    "jsonl": "lines of JSON",
}


@dataclass(frozen=True, slots=True)
class Converting:
    """What was asked for: the forms, where the names do not tell them, and what a source does not say."""

    source_form: str = ""
    form: str = ""
    wanted: Wanted = field(default_factory=Wanted)
    interaction: int | None = None
    force: bool = False


def _asked(*, source_form: str | None, form: str | None, request: str, api: str, url: str, **more: Any) -> Converting:
    """Return what was asked for in options. Raises `UsageError` for a request that is no JSON object."""
    sent: Any = None
    if request:
        try:
            sent = loads(request)
        except ValueError:
            sent = None
        if not isinstance(sent, dict):
            msg = f"--request is the JSON object that was asked, not {request}"
            raise UsageError(msg)
    return Converting(source_form or "", form or "", Wanted(api, url, sent), **more)


@dataclass
class Report:
    """What became of a file: the files that were written, what they do not have, and what could not be converted."""

    source: str
    form: str = ""
    to: str = ""
    written: list[dict[str, Any]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    made_up: list[str] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)

    def fail(self, why: str, at: int | None = None) -> None:
        """Note what could not be converted."""
        self.failed.append({"answer": at, "why": why})

    def keep(self, path: Path, converted: Converted) -> None:
        """Note what was written."""
        self.written.append({"path": str(path), "answers": list(converted.answers)})
        self.lost += [what for what in converted.lost if what not in self.lost]
        self.made_up += [what for what in converted.made_up if what not in self.made_up]

    def lines(self) -> Iterator[str]:
        """Yield what people are told."""
        for one in self.written:
            count = len(one["answers"])
            many = f", {count} answers" if count != 1 else ""
            yield f"{self.source} ({self.form}) -> {one['path']} ({self.to}{many})"
        if not self.written:
            yield f"{self.source}{f' ({self.form})' if self.form else ''}: nothing was written"
        if self.lost:
            yield f"  not kept: {'; '.join(self.lost)}"
        for what in self.made_up:
            yield f"  made up: {what}"
        for one in self.failed:
            place = "" if one["answer"] is None else f"answer {one['answer']}: "
            yield f"  not converted: {place}{one['why']}".replace("\n", "\n  ")


def run(source: str, target: str, *, json: bool, **options: Any) -> int:
    """Convert; return the exit code."""
    redactor = Redactor()
    try:
        asked = _asked(**options)
        pairs, is_folder = _named(Path(source), Path(target), target, asked)
        passed_over = _passed_over(Path(source), pairs) if is_folder else []
        reports: list[Report] = []
        with Progress("files", len(pairs)) as progress:
            for one, to in pairs:
                done = {written["path"]: report.source for report in reports for written in report.written}
                reports.append(_convert(one, to, asked, redactor, done=done if is_folder else None))
                progress.seen()
    except (UsageError, CassetteError, ScriptError, OSError, ValueError) as error:
        print(f"fakellm: {reason_of(error)}", file=sys.stderr)
        return 2
    secrets = sum(redactor.counts.values())
    if json:
        told = {"files": [asdict(report) for report in reports], "passed_over": passed_over, "redacted": secrets}
        print(dumps(told, ensure_ascii=False))
    else:
        for line in (line for report in reports for line in report.lines()):
            print(line)
        if passed_over:
            print(f"passed over, as their names are of no form: {', '.join(passed_over)}")
        if secrets:
            print(f"{secrets} {'secret was' if secrets == 1 else 'secrets were'} replaced")
    return 1 if any(report.failed for report in reports) else 0


def _named(source: Path, target: Path, written: str, asked: Converting) -> tuple[list[tuple[Path, Path]], bool]:
    """Return the files to read, each with the file or the name of the files to write; and whether that is a folder."""
    if not source.exists():
        msg = f"there is no file and no folder {source}"
        raise UsageError(msg)
    into_folder = source.is_dir() or target.is_dir() or written.endswith(("/", os.sep))
    if not into_folder:
        return [(source, target)], False
    if not asked.form:
        msg = f"{written} is a folder, whose name tells no form; name it: --to {', '.join(_ENDINGS)}"
        raise UsageError(msg)
    if target.exists() and not target.is_dir():
        msg = f"{target} is a file, and {source} a folder; name a folder to write into"
        raise UsageError(msg)
    ending = _ENDINGS[asked.form][0]
    if not source.is_dir():
        return [(source, target / f"{_stem(source)}{ending}")], True
    files = [path for path in _inside(source) if _is_read(path)]
    if not files:
        msg = f"there is nothing to convert in {source}; files that end with {', '.join(_READ)} are read"
        raise UsageError(msg)
    return [(path, target / path.relative_to(source).with_name(f"{_stem(path)}{ending}")) for path in files], True


def _inside(folder: Path) -> list[Path]:
    """Return the files of a folder, but for hidden ones."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def _is_read(path: Path) -> bool:
    """Tell whether a file of a folder has a form; a text is one where it is a stream."""
    if path.suffix != ".txt":
        return path.name.endswith(_READ)
    with path.open("rb") as file:
        return bool(kind_of(file.read(_HEAD)))


def _passed_over(source: Path, pairs: Sequence[tuple[Path, Path]]) -> list[str]:
    read = {path for path, _ in pairs}
    return [str(path) for path in _inside(source) if path not in read] if source.is_dir() else []


def _stem(path: Path) -> str:
    ending = max((end for end in _READ if path.name.endswith(end)), key=len, default=path.suffix)
    return path.name.removesuffix(ending)


def _convert(
    source: Path, target: Path, asked: Converting, redactor: Redactor, *, done: Mapping[str, str] | None
) -> Report:
    """Convert a file. Of one in a folder everything that is wrong is noted; of one alone it is raised.

    `done` has the files that others of the folder became, each with its source; None for a file alone.
    """
    report = Report(str(source))
    try:
        found, form = _read(source, target, asked)
        report.form, report.to = found.shown, _SHOWN[form]
        for at, why in found.refused:
            report.fail(why, at)
        _write(found, form, target, asked, redactor, report, done=done)
    except (UsageError, CassetteError, ScriptError, OSError, ValueError) as error:
        if done is None:
            raise
        report.fail(reason_of(error))
    return report


def _read(source: Path, target: Path, asked: Converting) -> tuple[Source, str]:
    """Return what is in a file, and the form that it gets."""
    if what := what_stands_at(source):
        msg = f"{source}: what is there is {what}, not a file"
        raise UsageError(msg)
    data = source.read_bytes()
    form = asked.source_form or form_of(data, source.name)
    _check_ending(target, asked.form)
    found = read(data, str(source), form, asked.wanted)
    if asked.interaction is not None:
        found = _only(found, asked.interaction, str(source))
    return found, asked.form or _form_for(target, found.form)


def _only(found: Source, at: int, name: str) -> Source:
    count = len(found.answers) + len(found.refused)
    if not 0 <= at < count:
        msg = f"{name} has no interaction {at}: it has {count}, counted from 0"
        raise UsageError(msg)
    answers = [answer for answer in found.answers if answer.at == at]
    return replace(found, answers=answers, refused=[one for one in found.refused if one[0] == at])


def _form_for(target: Path, source_form: str) -> str:
    """Return the form that a name means: where several have its ending, the one that is of use beside the source."""
    for form, endings in _STREAMS.items():
        if target.name.endswith(endings):
            return form
    if not target.name.endswith(SUFFIXES):
        known = ", ".join(dict.fromkeys(ending for all_of in _ENDINGS.values() for ending in all_of))
        msg = f"the name {target} tells no form: it ends with none of {known}; name another"
        raise UsageError(msg)
    return "tape" if source_form in ("script", "vcrpy") or target.name.endswith(".gz") else "script"


def _check_ending(target: Path, form: str) -> None:
    if form and not target.name.endswith(_ENDINGS[form]):
        msg = f"{target}: the name of {_SHOWN[form]} ends with {', '.join(_ENDINGS[form])}"
        raise UsageError(msg)


def _write(
    found: Source,
    form: str,
    target: Path,
    asked: Converting,
    redactor: Redactor,
    report: Report,
    *,
    done: Mapping[str, str] | None,
) -> None:
    """Write all that can be converted: the files are made before the first is written."""
    for answer in found.answers:
        if answer.pair is not None:
            redactor.learn(answer.pair[0])
    answers = [redacted(answer, redactor) for answer in found.answers]
    if form in HOLD_MANY:
        metadata = redacted_data(dict(found.metadata), redactor)
        made, refused = as_tape(answers, asked.wanted, target, metadata, is_plain=form == "vcrpy")
        for at, why in refused:
            report.fail(why, at)
        files = [(target, made)] if made.answers or not (refused or found.refused) else []
    else:
        report.lost += ["metadata"] if found.metadata else []
        files = _each(answers, form, target, asked, report, is_folder=done is not None)
    for path, _ in files:
        _check_free(path, done or {}, force=asked.force)
    for path, converted in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, converted.data)
        report.keep(path, converted)


def _each(
    answers: Sequence[Answer], form: str, target: Path, asked: Converting, report: Report, *, is_folder: bool
) -> list[tuple[Path, Converted]]:
    """Return a file for each answer; where only one is named, that of the first, and the others are noted."""
    made: list[Converted] = []
    for answer in answers:
        try:
            made.append(_one(answer, form, target, asked.wanted))
        except NotConvertedError as error:
            report.fail(str(error), answer.at)
    if not answers and not report.failed:
        report.fail("it holds no answer")
    if len(made) > 1 and is_folder:
        ending = next(end for end in _ENDINGS[form] if target.name.endswith(end))
        stem = target.name.removesuffix(ending)
        return [(target.with_name(f"{stem}.{one.answers[0]}{ending}"), one) for one in made]
    for one in made[1:]:
        why = f"{_SHOWN[form]} is one answer; name another, --interaction {one.answers[0]}, or a folder for all"
        report.fail(why, one.answers[0])
    return [(target, one) for one in made[:1]]


def _one(answer: Answer, form: str, target: Path, wanted: Wanted) -> Converted:
    try:
        if form == "script":
            return as_script(answer, wanted, is_json=target.name.endswith(".json"))
        return as_body(answer, wanted, lines=form == "jsonl")
    except WireError as error:
        raise NotConvertedError(str(error)) from None


def _check_free(path: Path, done: Mapping[str, str], *, force: bool) -> None:
    """Raise `UsageError` for a file that is there, and for what is no file."""
    if what := what_stands_at(path):
        msg = f"{path}: what is there is {what}, not a file"
        raise UsageError(msg)
    if other := done.get(str(path)):
        msg = f"{path} was written already, of {other}; convert one of them alone"
        raise UsageError(msg)
    if path.exists() and not force:
        raise UsageError(explain(f"{path} is there already", remedy=["write over it: --force", "or name another file"]))
