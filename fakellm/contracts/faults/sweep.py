"""Sweeps of faults: run the code under test on an answer that dies at every position, in every way.

Whatever happens then, half an answer must not be taken for a whole one. What tells them apart is the oracle: the
asserts of a test (`every_fault`), or the functions that `check_faults` is given. An oracle that would accept anything
proves nothing, so it is tried first, on the complete answer and on half of an answer that ends like a whole one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, TypeVar

from fakellm.contracts.attempts import PATIENCE, Attempt, attempt
from fakellm.contracts.bodies import Shared, as_test, without
from fakellm.contracts.faults.arriving import is_hidden, named, through
from fakellm.contracts.faults.ways import Only, half, unbroken, variants
from fakellm.contracts.progress import Progress
from fakellm.contracts.verdicts import broken
from fakellm.errors import BrokenContractError, ContractUsageError, UnexpectedCallError
from fakellm.script.script import Script
from fakellm.wire.gateways.gateway import Gateway
from fakellm.wire.gateways.presets import gateways_of

if TYPE_CHECKING:
    from fakellm.cassette.tape import Tape

Test = TypeVar("Test", bound=Callable[..., Any])
Failure = tuple[Any, str]
"""A variant, and what was wrong with what came of it."""


def every_fault(
    source: Script | Tape,
    *,
    kinds: str | Iterable[str] | None = None,
    only: Only | None = None,
    behind: str | Gateway | Sequence[str | Gateway] = (),
    unchecked: str = "",
    patience: float = PATIENCE,
) -> Callable[[Test], Test]:
    """Run a test on the answer that dies at every position, in every way; `faulty` is the broken `Script`.

        @every_fault(Script.of("A long answer"))
        def test_never_accepts_half_an_answer(faulty):
            with pytest.raises(IncompleteAnswer):
                my_app.run(FakeLLM(faulty))

    The test gives `faulty` to a fake, `FakeLLM(faulty)` or `fake_openai.otherwise(faulty)`, and asserts that the app
    notices. Of a `Tape`, `faulty` is that tape with its streams broken: `with faulty.playing():`. Other parameters stay
    fixtures; fakes among them are told anew for each fault. An `async def` runs in virtual time, on a loop of its own:
    pytest sees a test that is not asynchronous, which needs no mark such as `pytest.mark.asyncio`. SDKs retry error
    statuses by themselves, and wait really: give their clients `max_retries=0`.

    `kinds` names groups of faults: `disconnect`, `provider_error`, `malformed`, `stall`, `connect`, `http_error`, and
    `oddities`, which come after the finish and are not swept by default. `only=(3, disconnect())` is one of them, as a
    failure prints it. Told to the fake of a provider, each arrives as it does `behind` gateways, `"nginx"` or
    `["litellm", "nginx"]`; those that a gateway makes a whole answer of, so that nobody can tell, are left out. A test
    that passes on half of an answer that ends like a whole one accepts everything, and raises `ContractUsageError`;
    `unchecked` is the reason why that is right for this test. Synchronous code is taken to hang after `patience` real
    seconds. What fails raises `BrokenContractError`.
    """
    plan = plan_of(source, kinds, only, behind)

    def decorate(test: Test) -> Test:
        signature = without(test, ["faulty"], "every_fault")
        progress = Progress("faults")

        @wraps(test)
        def wrapper(*args: Any, **kwargs: Any) -> None:
            __tracebackhide__ = True
            shared = Shared([*args, *kwargs.values()])

            def run(faulty: Any) -> Attempt:
                shared.renew()
                call = partial(test, *args, **kwargs, faulty=faulty)
                return attempt(call, patience=patience, clock=shared.clock)

            try:
                sweep(run, plan(), test.__name__, unchecked=unchecked, progress=progress, keep=shared.keep)
            finally:
                shared.settle()

        return as_test(wrapper, signature, progress)  # type: ignore[no-any-return]

    return decorate


Plan = tuple[Any, Any, list[Any]]
"""The complete answer, half of one if there is a half, and the variants."""


def plan_of(
    source: Any,
    kinds: str | Iterable[str] | None,
    only: Only | None,
    behind: str | Gateway | Sequence[str | Gateway] = (),
) -> Callable[[], Plan]:
    """Return what makes the plan; of a script it is made at once, so that bad use is told where it is written."""
    gateways = gateways_of(behind)
    kinds = kinds if kinds is None or isinstance(kinds, str) else list(kinds)
    tape = sys.modules.get("fakellm.cassette.tape")
    if tape is not None and isinstance(source, tape.Tape):
        from fakellm.contracts.faults import tapes as fault_tapes

        return lambda: fault_tapes.plan(source, kinds, only, gateways)
    faults = [through(faulty, gateways) for faulty in variants(source, kinds, only)]
    shorter = half(source)
    told = [faulty for faulty in faults if only is not None or not is_hidden(faulty, gateways)]
    if not told:
        msg = f"behind {named(gateways)} each of these faults arrives as a whole answer, so there is nothing to tell"
        raise ContractUsageError(msg)
    plan: Plan = (through(unbroken(source), gateways), shorter and through(shorter, gateways), told)
    return lambda: plan


def sweep(
    run: Callable[[Any], Attempt],
    plan: Plan,
    name: str,
    *,
    unchecked: str,
    progress: Progress,
    keep: Callable[[], None],
) -> None:
    """Try the oracle, then all variants. Raises `BrokenContractError` for those that fail.

    `keep` is called after the first that fails, which is the one that is shown.
    """
    __tracebackhide__ = True
    whole, shorter, faults = plan
    progress.begin(len(faults))
    try_oracle(run, whole, shorter, unchecked)
    failed: list[tuple[Any, Attempt]] = []
    for faulty in faults:
        found = run(faulty)
        progress.step()
        if found.error is not None:
            if not failed:
                keep()
            failed.append((faulty, found))
    if failed:
        first = failed[0][1].error
        shown = [(faulty, str(found)) for faulty, found in failed]
        raise report(name, shown, len(faults), contract_of(failed[0][0], failed[0][1])) from first


def try_oracle(run: Callable[[Any], Attempt], whole: Any, shorter: Any, unchecked: str) -> None:
    """Raise `ContractUsageError` unless the test tells half an answer from a whole one."""
    __tracebackhide__ = True
    if not isinstance(unchecked, str):
        msg = "unchecked is a reason, in words, why this test may accept half of an answer that ends like a whole one"
        raise ContractUsageError(msg)
    found = run(whole)
    if found.error is not None and not _is_verdict(found.error):
        msg = f"nothing is broken yet, and the test cannot deal with the complete answer either\n  error:     {found}"
        raise ContractUsageError(msg) from found.error
    if unchecked or shorter is None:
        return
    if run(shorter).error is None:
        also = " and on the complete answer" if found.error is None else ""
        msg = (
            f"this test accepts everything: it also passes on {shorter!r}, half of the answer that ends like a whole "
            f"one{also}. A fault that the app swallows would pass too\n"
            "  to do:     assert that the app raises: with pytest.raises(...)\n"
            "  or:        assert that the result is the whole answer: assert result == faulty.whole.text\n"
            "  or:        say why it is right that it passes: every_fault(..., unchecked='...')"
        )
        raise ContractUsageError(msg)


def _is_verdict(error: BaseException) -> bool:
    """Tell whether a test says no, rather than that something is wrong with the test or the app."""
    if isinstance(error, UnexpectedCallError):
        return False
    return isinstance(error, AssertionError) or not isinstance(error, Exception)


def contract_of(faulty: Any, found: Attempt) -> str:
    """Return the contract that is broken: a hang is one of its own."""
    return "producer_dies" if found.hangs else faulty.contract


# -- what a failure looks like ----------------------------------------------------------------------------


def report(
    name: str, failed: list[Failure], count: int, contract: str, form: str = "@every_fault(..., {})"
) -> BrokenContractError:
    """Return the error: the earliest and simplest fault in full, the others in short; `form` is the line to paste."""
    first, what = failed[0]
    rows = [("fault", first.label), ("answer", repr(first)), ("got", what)]
    if len(failed) > 1:
        rows.append(("others", others(failed[1:])))
    rows.append(("replay", form.format(first.only)))
    return broken(contract, f"{name} fails on {len(failed)} of {count} faults; the smallest of them:", *rows)


def others(failed: list[Failure]) -> str:
    """List the faults that failed too, those of one way in one line."""
    places: dict[tuple[Any, ...], list[int]] = {}
    for faulty, _ in failed:
        places.setdefault(faulty.tail, []).append(faulty.after)
    lines = [f"{', '.join(map(repr, tail))} after {_numbers(at)}" for tail, at in places.items()]
    longest = 12
    more = [f"... and {len(lines) - longest} more ways"] if len(lines) > longest else []
    return "\n".join([*lines[:longest], *more])


def _numbers(places: list[int]) -> str:
    """Word numbers of chunks, of many the first and the last."""
    few = 12
    if len(places) > few:
        return f"{', '.join(map(str, places[:3]))}, ... {places[-1]} chunks ({len(places)} places)"
    return f"{', '.join(map(str, places))} {'chunk' if places == [1] else 'chunks'}"
