"""`--llm-record=verify`: a tape is played, and then the providers are asked whether they would answer the same.

A tape is asked once in each process, whichever of its tests comes first, and all of its tests hear of it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from _fakellm_pytest.hooks import VERIFIED, recordings_of

if TYPE_CHECKING:
    from fakellm.cassette import Tape
    from fakellm.proxy import Compared


def verify(item: pytest.Item, tape: Tape) -> None:
    """Ask again what is on a tape. Raises `pytest.fail.Exception` for what is breaking, and for what gets no answer."""
    found = _compared(item.config, os.path.realpath(tape.path))
    item.stash[VERIFIED] = {
        "asked": sum(one.answered is not None for one in found),
        "drifted": sum(one.has_drifted for one in found),
        "notable": [f"  {line}" for one in found for line in one.lines("notable")],
    }
    broken = [line for one in found for line in one.lines("breaking")]
    unasked = [f"interaction {one.interaction}, {one.address}: {one.problem}" for one in found if one.problem]
    told: list[str] = []
    if broken:
        told += [f"the provider answers otherwise than on the tape {tape.path}:", *_indented(broken)]
        told += [f"  to do:     look at the app; then record it anew: pytest --llm-record=all '{item.nodeid}'"]
    if unasked:
        told += [f"what is on the tape {tape.path} could not be asked again:", *_indented(unasked)]
    if told:
        pytest.fail("\n".join(told), pytrace=False)


def _compared(config: pytest.Config, path: str) -> list[Compared]:
    known = recordings_of(config).compared
    if path not in known:
        from fakellm.cassette import CassetteError
        from fakellm.proxy import Asking

        try:
            known[path] = Asking({}, os.environ).tape(path)
        except CassetteError as error:
            pytest.fail(str(error), pytrace=False)
    return known[path]


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}".replace("\n", "\n  ") for line in lines]
