"""`--llm-record=verify`: a tape is played, and then the providers are asked whether they would answer the same.

A tape is asked once in a run, by whichever of its tests comes first, in whichever process; all of its tests hear of it.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from _fakellm_pytest.hooks import VERIFIED, recordings_of

if TYPE_CHECKING:
    from fakellm.cassette import Tape


def verify(item: pytest.Item, tape: Tape) -> None:
    """Ask again what is on a tape. Raises `pytest.fail.Exception` for what is breaking, and for what gets no answer."""
    found = _found(item.config, os.path.realpath(tape.path))
    item.stash[VERIFIED] = {name: found[name] for name in ("asked", "drifted", "notable")}
    told: list[str] = []
    if found["broken"]:
        told += [f"the provider answers otherwise than on the tape {tape.path}:", *_indented(found["broken"])]
        told += [f"  to do:     look at the app; then record it anew: pytest --llm-record=all '{item.nodeid}'"]
    if found["unasked"]:
        told += [f"what is on the tape {tape.path} could not be asked again:", *_indented(found["unasked"])]
    if told:
        pytest.fail("\n".join(told), pytrace=False)


def _found(config: pytest.Config, path: str) -> dict[str, Any]:
    """Return what came of asking again, worded, since it goes from process to process."""
    from fakellm.cassette import CassetteError

    try:
        return recordings_of(config).run.once(Path(path), partial(_asked, path))
    except CassetteError as error:
        pytest.fail(str(error), pytrace=False)


def _asked(path: str) -> dict[str, Any]:
    from fakellm.proxy import Asking

    found = Asking({}, os.environ).tape(path)
    return {
        "asked": sum(one.answered is not None for one in found),
        "drifted": sum(one.has_drifted for one in found),
        "notable": [f"  {line}" for one in found for line in one.lines("notable")],
        "broken": [line for one in found for line in one.lines("breaking")],
        "unasked": [f"interaction {one.interaction}, {one.address}: {one.problem}" for one in found if one.problem],
    }


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}".replace("\n", "\n  ") for line in lines]
