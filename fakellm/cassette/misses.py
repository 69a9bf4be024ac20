"""Words what is wrong where a request finds nothing on a tape: what was asked, what is there, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fakellm.cassette.matching import bytes_of, nearest
from fakellm.errors import BrokenReplyError, clip, explain
from fakellm.provider.exchange import ProviderCall
from fakellm.secrets.knowing import discreet_url

CHOSEN_BY_CI = ", which is the default where the environment has CI"


def address_of(request: Any) -> str:
    """Return the method and the URL of a request of vcrpy's, as they may be shown."""
    return f"{request.method} {discreet_url(request.uri)}"


def state_of(path: Path, count: int) -> str:
    """Return what is the matter with a tape that holds nothing: `missing`, `empty`, or nothing at all."""
    if count:
        return ""
    return "empty" if path.exists() else "missing"


def headline(path: Path, state: str, mode: str, why: str) -> str:
    """Say that a request is not on the tape, and why nothing could be recorded."""
    what = {
        "missing": f"there is no tape {path}: the file does not exist",
        "empty": f"the tape {path} is empty: the file holds no interactions",
    }.get(state, f"the request is not on the tape {path}")
    return f"{what}, and nothing is recorded in mode {mode!r}{why}"


def miss(told: str, sent: Any, stored: Sequence[Any], ignore: Sequence[str], command: str) -> str:
    """Word a miss under its headline; `sent` is the request without its secrets."""
    near = []
    if (found := nearest(stored, sent, ignore)) is not None:
        place, lines = found
        if not lines:
            lines = ["nothing differs: it was played already; the app asks once more than it did when recorded"]
        near = ["\n".join([f"interaction {place}: {address_of(stored[place])}", *lines])]
    remedy = [f"record it: {command}"]
    if CHOSEN_BY_CI in told:
        remedy.append("then commit the file, since nothing is recorded where CI is set unless a mode is named")
    if stored:
        remedy.append("or name what may differ: ignore=[...], match_on=[...]")
    return explain(
        told,
        sent=[f"{address_of(sent)}\n{clip(bytes_of(sent).decode('utf-8', 'replace'), 300)}"],
        expected=[address_of(recorded) for recorded in stored] or ["nothing"],
        difference=near,
        remedy=remedy,
    )


def ended(path: Path, place: int, count: int) -> str:
    """Word that an app reads past the end of what was recorded."""
    return explain(
        f"the tape ends here: {path}, interaction {place}, holds {count} chunks, and the app that was recorded stopped "
        "reading then; this one reads on",
        remedy=["record it again, with an app that reads to the end", "or let this app stop where that one did"],
    )


def unsent(path: Path, call: ProviderCall, why: Exception) -> BrokenReplyError:
    """Return the error for an answer that is on a tape, and cannot arrive as the tape was told: no error of the app."""
    told = f"request {call.number} to the tape {path} could not be answered: {why}"
    broken = BrokenReplyError(explain(told, sent=[call.asked()]))
    broken.credentials = call.credentials
    return broken


def caught(miss: BaseException) -> str:
    """Word that an app caught what tells the author of a test about a mistake."""
    what = (
        "could not get its answer from the tape"
        if isinstance(miss, BrokenReplyError)
        else "asked for what is not on the tape"
    )
    return f"the app {what}, and the error was caught:\n{miss}"


def unanswered(path: Path, asked: Sequence[str]) -> str:
    """Word that nothing was recorded, since no request got an answer."""
    return explain(
        f"nothing was recorded on the tape {path}: no request got an answer",
        sent=asked,
        remedy=[
            "look whether the server can be reached",
            "or fake the fault: fake_openai.reply(disconnect('refused'))",
        ],
    )


def untouched(path: Path, unplayed: Sequence[str]) -> str:
    """Word that no request came by; `unplayed` are those that the tape has an answer for."""
    return explain(
        f"no request touched the tape {path}: your app did not come this way",
        expected=unplayed or ["an empty tape"],
        remedy=["look whether the app calls its client at all", "or take the marker cassette away"],
    )


def as_recorded(path: Path, unused: Sequence[int | None]) -> str:
    """Word that of the interactions that were to play otherwise than recorded, or of any (None), none was played."""
    which = "an answer" if None in unused else f"interaction {unused[0]}"
    text = f"{which} of the tape {path} was to play otherwise than it was recorded, and none was played so"
    return explain(text, remedy=["let the app ask for it", "or take fail() and rechunk() away"])


def left(path: Path, unplayed: Sequence[str]) -> str:
    """Word that a strict test left a rest."""
    remedy = ["record it anew: --llm-record=all, or let strict=False"]
    return explain(f"{len(unplayed)} of the tape {path} was never asked for", expected=unplayed, remedy=remedy)
