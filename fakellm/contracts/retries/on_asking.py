"""The contracts of when an app asks again.

A check looks at what the app did in the troubles that are its own, and raises the first run that breaks it. What it
could not see, since the app did not ask again, it skips.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from fakellm.contracts.catalogue import checks
from fakellm.contracts.retries import dice
from fakellm.contracts.retries.judging import EXACT, broken_by, judge, need
from fakellm.contracts.retries.lab import Lab
from fakellm.contracts.retries.runs import Run, moments, seconds
from fakellm.contracts.verdicts import Skip

_SPREAD = 0.05
"""How far clients have to lie apart, of the wait before the first retry."""


def _too_early(run: Run) -> str:
    for ask, later in pairwise(run.asks):
        if ask.told is not None and later.at - ask.at < ask.told - ask.slack - EXACT:
            return f"it was told to wait {seconds(ask.told)} s, and asked again after {seconds(later.at - ask.at)} s"
    return ""


def _obeys(name: str, lab: Lab, kind: str) -> None:
    __tracebackhide__ = True
    runs = [run for die in (dice.LOW, dice.HIGH) for run in lab.runs(kind, die=die)]
    need([run for run in runs if len(run.asks) > 1], "it does not ask again when it is told to come later")
    judge(name, lab, runs, _too_early)


@checks("retry_after", on="app")
def retry_after(lab: Lab) -> None:
    """Wait as long as the provider says, or do not ask again.

    A provider that refuses says in `Retry-After` when there will be room, in seconds or as a date. Who asks sooner is
    refused again, which counts against most quotas and lets the wait grow; who caps what it is told at a minute asks
    for nothing all the while. A wait that is too long to be waited for is a reason to give up.
    """
    _obeys("retry_after", lab, "told")


@checks("retry_after_ms", on="app")
def retry_after_ms(lab: Lab) -> None:
    """Wait the milliseconds that the provider says, where it says those.

    `retry-after-ms` is no standard; Azure sends it, and the SDKs of OpenAI, Anthropic and those made like them obey.
    """
    if lab.api == "gemini":
        msg = "Gemini does not send retry-after-ms"
        raise Skip(msg)
    _obeys("retry_after_ms", lab, "told_ms")


def _left_alone(lab: Lab, die: float) -> list[Run]:
    """Return the runs in which it is refused for ever, and nobody says how long to wait."""
    return [run for run in lab.runs("refused", die=die) if run.trouble is not None and not run.trouble.is_told]


def _grows(waits: list[float]) -> bool:
    """Tell whether waits grow; the last one may be what was left of the time that the app gives itself."""

    def grow(waits: list[float]) -> bool:
        return waits[-1] > waits[0] + EXACT and all(later >= wait - EXACT for wait, later in pairwise(waits))

    return grow(waits) or (len(waits) > 2 and grow(waits[:-1]))  # noqa: PLR2004 - two, and the last


@checks("backoff", on="app")
def backoff(lab: Lab) -> None:
    """Wait longer each time that the provider refuses again.

    A provider that is overloaded gets no air from clients that ask at an even pace, and each refused ask costs it
    something. A random part may hide the growth in one run, so the rule is looked at with dice that always fall the
    same: it has to grow with low ones or with high ones.
    """
    runs = [run for run in _left_alone(lab, dice.HIGH) if len(run.waits) > 1]
    need(runs, "it asks again once at most, so no wait could be longer than another")
    for run in runs:
        trouble: Any = run.trouble
        if _grows(run.waits):
            continue
        other = lab.run(trouble, dice.LOW)
        if len(other.waits) > 1 and _grows(other.waits):
            continue
        again = lab.again(trouble, dice.HIGH)
        if again.waits != run.waits:
            both = f"{moments(run.waits)}, and in the same trouble {moments(again.waits)}"
            msg = f"its waits are random in a way that `random` does not decide: {both}"
            raise Skip(msg)
        what = "it waits no longer from one retry to the next" if any(run.waits) else "it does not wait between retries"
        raise broken_by("backoff", lab, run, what, ("waits", moments(run.waits)))


@checks("backoff_bound", on="app")
def backoff_bound(lab: Lab) -> None:
    """Do not let the waits grow without a bound.

    What doubles each time is an hour after twelve retries, and nobody is there any more to read the answer.
    """
    runs = [run for run in _left_alone(lab, dice.HIGH) if run.waits]
    need(runs, "it does not ask again, so it waits for nothing")
    most = lab.promises.longest_wait
    for run in runs:
        if (longest := max(run.waits)) > most + EXACT:
            what = f"it waits {seconds(longest)} s before it asks again, and no more than {most:g} s is allowed"
            raise broken_by("backoff_bound", lab, run, what, ("waits", moments(run.waits)))


@checks("no_retry", on="app")
def no_retry(lab: Lab) -> None:
    """Do not ask again what is refused for what it is.

    A request that is malformed stays so, and a key that is wrong is not right the second time: RFC 9110 lets a client
    repeat after 401 with other credentials, and after 400 with another request. Retries here hide the mistake for a
    minute, and lock accounts.
    """

    def wrong(run: Run) -> str:
        if len({ask.credentials for ask in run.asks}) == len(run.asks):
            return ""
        status = run.trouble.status if run.trouble else None
        return f"it asked {len(run.asks)} times, and was answered {status} each time"

    runs = lab.runs("final")
    need(runs, "no trouble of these was met")
    judge("no_retry", lab, runs, wrong)


@checks("storm", on="app")
def storm(lab: Lab) -> None:
    """Spread out what many clients do after they failed together.

    When a provider comes back, everybody who waited the same number of seconds asks in the same moment, and it goes
    down again. A random part of the wait spreads them. Clients do not know of each other, so each is run by itself,
    from the same moment, with dice that fall otherwise.
    """
    retried = [run for run in _left_alone(lab, dice.HIGH) if len(run.asks) > 1]
    need(retried, "it does not ask again, so many of it do not either")
    for is_refused in (True, False):  # by the provider, or its connection
        for run in [run for run in retried if (run.trouble and run.trouble.status is not None) is is_refused][:1]:
            _judge_storm(lab, run)


def _judge_storm(lab: Lab, run: Run) -> None:
    """Let many clients fail together in the trouble of a run; raise what breaks the contract."""
    __tracebackhide__ = True
    trouble: Any = run.trouble
    clients = [lab.run(trouble, die) for die in dice.evenly(lab.promises.clients)]
    back = sorted(run.asks[1].at for run in clients if len(run.asks) > 1)
    if back and back[-1] - back[0] < max(_SPREAD * back[-1], EXACT):
        together = "in the same moment" if back[-1] - back[0] < EXACT else f"within {seconds(back[-1] - back[0])} s"
        what = f"{len(back)} clients that failed together asked again {together}"
        raise broken_by("storm", lab, run, what, ("clients", f"asked again at {moments(back)}"))
