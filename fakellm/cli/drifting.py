"""What `fakellm drift` does: asks again what is on tapes, and tells, reports, or records anew what has drifted."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from fakellm.cassette.document import CassetteError
from fakellm.cassette.drift import GRADES
from fakellm.cassette.files import Files
from fakellm.cassette.place import check_place
from fakellm.cli.progress import Progress
from fakellm.cli.recording import urls_of
from fakellm.cli.tapes import tapes_in
from fakellm.cli.wording import UsageError, counted
from fakellm.proxy.again import Asking, Compared, record_anew
from fakellm.script.disk import write_atomically
from fakellm.server.recorded import load


def run(
    tapes: Sequence[str], *, upstream: Sequence[str], update: bool, patience: float, junit: str | None, json: bool
) -> int:
    """Ask and compare; return the exit code."""
    try:
        asking = Asking(urls_of(upstream), os.environ, patience=patience)
        paths = tapes_in(tapes)
        interactions = load(paths)
        for path in paths if update else ():
            check_place(path, str(path))
            Files().check(path)
        with Progress("interactions", len(interactions)) as progress:
            found: list[Compared] = []
            for one in interactions:
                found.append(asking.compared(one))
                progress.seen()
        kept = _updated(found) if update else {}
        _tell(found, len(paths), kept if update else None, is_json=json)
        if junit is not None:
            _write_junit(Path(junit), found)
    except (UsageError, CassetteError, ValueError, OSError) as error:
        print(f"fakellm: {error}", file=sys.stderr)
        return 2
    if any(one.problem for one in found):
        return 2
    left = [one for one in found if one.has_drifted and (not update or one.tape in kept)]
    return 1 if left else 0


def _updated(found: Iterable[Compared]) -> dict[Path, str]:
    """Record anew what has drifted; return the tapes that stay as they were, each with why."""
    kept: dict[Path, str] = {}
    for path, group in groupby(found, lambda one: one.tape):
        tape = list(group)
        if not any(one.has_drifted for one in tape):
            continue
        try:
            kept[path] = record_anew(path, tape)
        except CassetteError as error:
            kept[path] = str(error)
    return {path: why for path, why in kept.items() if why}


# -- what is told -------------------------------------------------------------------------------------


def _tell(found: Sequence[Compared], tapes: int, kept: dict[Path, str] | None, *, is_json: bool) -> None:
    """Say what was found; `kept` are tapes that were not recorded anew, None where none was to be."""
    drifted = [one for one in found if one.has_drifted]
    updated = [] if kept is None else list(dict.fromkeys(one.tape for one in drifted if one.tape not in kept))
    if is_json:
        print(json.dumps(_plain(found, tapes, updated, kept or {})))
        return
    for one in found:
        for line in one.lines():
            print(line)
        if one.other:
            print(f"not asked: {one.place}: {one.other}")
    print(_summary(found, drifted, tapes))
    for path in updated:
        print(f"{path} is recorded anew")
    sys.stdout.flush()
    for path, why in (kept or {}).items():
        print(f"fakellm: {path} stays as it was: {why}", file=sys.stderr)
    for one in found:
        if one.problem:
            print(f"fakellm: {one.place} was not asked: {one.problem}", file=sys.stderr)


def _plain(found: Sequence[Compared], tapes: int, updated: list[Path], kept: dict[Path, str]) -> dict[str, Any]:
    def place(one: Compared) -> dict[str, Any]:
        return {"tape": str(one.tape), "interaction": one.interaction, "request": one.address}

    return {
        "tapes": tapes,
        "interactions": len(found),
        "drifts": [{**place(one), "grade": drift.grade, **asdict(drift)} for one in found for drift in one.drifts],
        "not_asked": [{**place(one), "why": one.problem} for one in found if one.problem],
        "left_out": [{**place(one), "why": one.other} for one in found if one.other],
        "updated": [str(path) for path in updated],
        "kept": [{"tape": str(path), "why": why} for path, why in kept.items()],
    }


def _summary(found: Sequence[Compared], drifted: Sequence[Compared], tapes: int) -> str:
    asked = sum(one.answered is not None for one in found)
    on = f"{counted(asked, 'interaction')} asked on {counted(tapes, 'tape')}"
    if not drifted:
        return f"nothing has drifted: {on}"
    grades = Counter(drift.grade for one in found for drift in one.drifts)
    told = ", ".join(f"{grades[grade]} {grade}" for grade in GRADES if grades[grade])
    return f"{len(drifted)} of {on} {'has' if len(drifted) == 1 else 'have'} drifted: {told}"


def _write_junit(path: Path, found: Sequence[Compared]) -> None:
    """Write a report that CI servers read: a suite for each tape, a case for each interaction."""
    root = ET.Element("testsuites", name="fakellm drift")
    for tape, group in groupby(found, lambda one: one.tape):
        cases = list(group)
        failed, errors = sum(one.has_drifted for one in cases), sum(bool(one.problem) for one in cases)
        told = {"name": str(tape), "tests": str(len(cases)), "failures": str(failed), "errors": str(errors)}
        suite = ET.SubElement(root, "testsuite", told)
        for one in cases:
            name = f"interaction {one.interaction}: {one.address}"
            case = ET.SubElement(suite, "testcase", classname=str(tape), name=name)
            if one.problem:
                ET.SubElement(case, "error", message=one.problem.partition("\n")[0]).text = one.problem
            elif one.other:
                ET.SubElement(case, "skipped", message=one.other)
            elif one.has_drifted:
                worst = one.drifts[0]
                message = ": ".join(filter(None, (worst.grade, worst.where, worst.reason)))
                ET.SubElement(case, "failure", message=message, type=worst.grade).text = "\n".join(one.lines())
            elif one.drifts:
                ET.SubElement(case, "system-out").text = "\n".join(one.lines())
    write_atomically(path, ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n")
