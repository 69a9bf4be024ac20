"""The contracts of how an app ends that gets no answer, or a part of one."""

from __future__ import annotations

from typing import Any

from fakellm.contracts.catalogue import checks
from fakellm.contracts.faults.checks import begins_again
from fakellm.contracts.retries import reasons
from fakellm.contracts.retries.judging import EXACT, judge, need
from fakellm.contracts.retries.lab import Lab
from fakellm.contracts.retries.runs import Run, seconds
from fakellm.contracts.retries.troubles import Trouble
from fakellm.contracts.verdicts import Skip
from fakellm.errors import clip

_BEGUN = ("once", "cut", "silent")
"""Kinds of troubles in which an answer has begun, so that whatever is raised says enough."""


@checks("gives_up", on="app")
def gives_up(lab: Lab) -> None:
    """Come to an end when the provider does not come back.

    A loop without a bound holds its user, its worker and its place in the queue for ever; it is found by the bill, or
    by who restarts the process.
    """
    promises = lab.promises

    def wrong(run: Run) -> str:
        if run.ran_away:
            return f"it asked {len(run.asks)} times in {seconds(run.ended)} s, and went on"
        if promises.attempts is not None and len(run.asks) > promises.attempts:
            return f"it asked {len(run.asks)} times, where attempts={promises.attempts} was promised"
        if promises.gives_up is not None and run.ended > promises.gives_up + EXACT:
            return f"it gave up after {seconds(run.ended)} s, where gives_up={promises.gives_up:g} was promised"
        return ""

    runs = [*lab.runs("refused", "final"), *lab.cut(), *lab.runs("silent")]
    need(runs, "no trouble of these was met")
    judge("gives_up", lab, sorted(runs, key=lambda run: -len(run.asks)), wrong)


@checks("says_why", on="app")
def says_why(lab: Lab) -> None:
    """Tell whoever waits for the answer what stood in its way.

    An empty answer, an apology and an error that says "failed" look alike to who has to act: whether to wait, to pay or
    to fix the key. What refused the last ask is to be found in what is raised, be it as a cause.
    """
    met = [*lab.runs("refused", "final"), *lab.cut(), *lab.runs("silent")]
    runs = [run for run in met if not run.ran_away and not run.hangs]
    need(runs, "it never gives up")
    judge("says_why", lab, runs, lambda run: _silent(lab, run))


def _silent(lab: Lab, run: Run) -> str:
    """Say what is wrong with how an app gave up; of a part of an answer `truncation` does."""
    trouble: Any = run.trouble
    error = run.found.error
    if trouble.kind in _BEGUN and (error is not None or _begins_with_first(lab, run)):
        return ""
    if error is not None:
        is_why = reasons.says_why(error, trouble)
        return "" if is_why else f"it raised {clip(repr(error), 160)}, which does not say what was wrong"
    _need_results(lab)
    return "" if run.text == lab.whole.text else _returned(lab, run, trouble)


def _need_results(lab: Lab) -> None:
    """Raise `Skip` where an app returns the same of a part of the answer as of all of it: nobody tells them apart."""
    if lab.promises.incomplete is None and lab.whole.text == lab.ends_early.text:
        msg = (
            f"its results tell nothing: it comes to {clip(repr(lab.whole.text), 60)} for the first chunk of the answer "
            "as for all of it; let it return what it made of the answer, or give delivered="
        )
        raise Skip(msg)


def _returned(lab: Lab, run: Run, trouble: Trouble) -> str:
    """Say what is wrong with what an app returned in place of an answer."""
    value = run.found.value
    if lab.promises.incomplete is not None:
        return "" if lab.promises.incomplete(value) else f"it {run.found}, of which incomplete(result) is not true"
    is_answer = value is None or isinstance(value, (str, bytes, list))
    is_why = trouble.kind in _BEGUN or isinstance(value, BaseException) or reasons.mentions(repr(value), trouble.status)
    return "" if is_why and not is_answer else f"it {run.found}, as if that were an answer"


@checks("read_deadline", on="app")
def read_deadline(lab: Lab) -> None:
    """Do not wait for ever for a provider that says nothing.

    A connection whose other end is gone looks like a model that thinks. Without a deadline for the next bytes the app
    hangs for good: no error, no retry, no log.
    """

    def wrong(run: Run) -> str:
        if run.hangs:
            return "it waits for ever for the next bytes"
        longest = max((ask.ended - ask.at for ask in run.asks), default=0.0)
        if (promised := lab.promises.deadline) is not None and longest > promised + EXACT:
            return f"it waited {seconds(longest)} s in silence, where deadline={promised:g} was promised"
        return ""

    runs = lab.runs("silent")
    need(runs, "no trouble of these was met")
    judge("read_deadline", lab, runs, wrong)


@checks("retry_midstream", on="app")
def retry_midstream(lab: Lab) -> None:
    """Do not say again what was delivered, where the answer is asked for again after it broke.

    A retry around a loop begins the answer anew, and what came before the error was shown or collected already: the
    user reads the beginning twice, and a tool gets arguments that are no JSON.
    """
    if not lab.whole.streams:
        msg = "it does not ask for a stream, so nothing is delivered before the answer is whole"
        raise Skip(msg)
    runs = [run for run in lab.runs("once") if len(run.asks) > 1]
    need(runs, "it does not ask again once an answer has begun, so it says nothing twice")
    whole = lab.whole.text

    def wrong(run: Run) -> str:
        if not isinstance(whole, type(run.text)) or not begins_again(run.text, whole):
            return ""
        return f"it delivered {clip(repr(run.text), 160)}, which says the beginning again"

    judge("retry_midstream", lab, runs, wrong)


@checks("truncation", on="app")
def truncation(lab: Lab) -> None:
    """Do not take the part of an answer that came before it broke for all of it.

    To raise is right, and so is to ask again for the whole; to return what came, as if it were an answer, is not. Of a
    stream whose HTTP message ends in good order only its own end tells that it is whole: a finish reason, `[DONE]`.
    """
    runs = [run for run in [*lab.cut(), *lab.runs("silent")] if not run.ran_away and not run.hangs]
    runs = [run for run in runs if not _is_before_all(run)]
    need(runs, "it never gives up")
    judge("truncation", lab, runs, lambda run: _taken(lab, run))


def _is_before_all(run: Run) -> bool:
    return run.trouble is not None and len(run.trouble.answers[0].events) == 1


def _begins_with_first(lab: Lab, run: Run) -> bool:
    """Tell whether what was delivered is what came of the answer, or begins with it."""
    early, text = lab.ends_early.text, run.text
    if isinstance(early, str) and isinstance(text, str):
        return bool(early) and text.startswith(early)
    return bool(early == text)


def _taken(lab: Lab, run: Run) -> str:
    """Say what is wrong with what came of an answer that broke."""
    if run.found.error is not None:
        return ""
    _need_results(lab)
    if run.text == lab.whole.text:
        return ""
    if lab.promises.incomplete is not None:
        is_told = lab.promises.incomplete(run.found.value)
        return "" if is_told else f"it {run.found}, of which incomplete(result) is not true"
    if lab.ends_early.text == run.text:
        return f"it returned {clip(repr(run.text), 160)}, as if that were the whole answer"
    return ""  # with a mark behind what came, or nothing of it at all: then it has to say why
