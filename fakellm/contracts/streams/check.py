"""`check_stream`: every contract of a stream, on a fresh subject each, and what came of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from fakellm.concurrency import is_cancellation
from fakellm.contracts.catalogue import Contract, checked_reasons, chosen
from fakellm.contracts.streams import on_answers, on_failure, on_flow, on_many  # noqa: F401 - they bind the checks
from fakellm.contracts.streams.lab import Lab, no_error
from fakellm.contracts.streams.projections import text_of
from fakellm.contracts.streams.sources import Api, RunawayError, without_key
from fakellm.contracts.streams.subject import Flavour
from fakellm.contracts.verdicts import OtherFlavour, Report, Skip, Verdict, broken, name_of, verdict_of
from fakellm.errors import BrokenContractError, ContractUsageError, UnexpectedCallError, clip


def check_stream(
    make: Callable[..., Any],
    *,
    input: Any = "?",
    contracts: Iterable[str] | None = None,
    skip: Mapping[str, str] | None = None,
    api: Api | None = None,
    chat: bool = False,
    text: Callable[[Any], Any] = text_of,
    idle_timeout: float | None = None,
    is_error: Callable[[Any], bool] = no_error,
) -> Report:
    """Check the contracts of a stream on what `make` makes, and return the report. Needs no pytest.

    `make` returns something fresh for each check: an object with `stream`, `astream`, `invoke` and their like (what it
    does not have is skipped), or a function of the input that returns a stream: an iterator or iterable, an
    asynchronous one, a context manager around either, or an awaitable of them. If `make` has to be given an argument,
    or has one that is called `source` or `llm`, that is the source to read from: a `FakeLLM` (with `chat`, a
    `FakeChatModel`), scripted by each check; `source.script` is what it says. With `api="openai"` or the name of
    another provider the source is that provider, and what `make` makes asks it through its own client. Without a source
    only what can be seen from outside is checked.

    `input` is what it is asked, `text` reads the text of a chunk or answer of a kind that we do not know; `is_error`
    tells whether a chunk says that the stream failed, for endpoints that cannot raise. `contracts` are the names of
    those to check, `skip` maps names to the reasons why not. `idle_timeout` says after how many seconds of silence it
    gives up. Raises `ContractUsageError` for a use that proves nothing.
    """
    check_loop("check_stream")
    lab = Lab(make, input, api, chat, text, idle_timeout, is_error)
    reasons = checked_reasons(skip, "stream")
    wanted = chosen(contracts, "stream")
    if not wanted:
        msg = "no contract was named, so nothing would be checked; leave contracts= out for all of them"
        raise ContractUsageError(msg)
    flavours = smoke(lab)
    verdicts = [
        Verdict(contract, "skipped", reasons[contract.name])
        if contract.name in reasons
        else verdict_of(contract, partial(run_check, contract, lab, flavours))
        for contract in wanted
    ]
    return Report(name_of(make), tuple(verdicts))


def check_loop(name: str) -> None:
    """Raise `ContractUsageError` where an event loop runs, since checks run loops of their own."""
    import asyncio

    with suppress(RuntimeError):
        asyncio.get_running_loop()
        msg = (
            f"an event loop runs here, and the checks run loops of their own; call {name} from synchronous code, "
            f"or write await asyncio.to_thread({name}, ...)"
        )
        raise ContractUsageError(msg)


def flavours_of(lab: Lab) -> list[Flavour]:
    """Return in which flavours the maker's products stream, after a look at two of them: are they fresh."""
    with lab.bench() as one, lab.bench() as other:
        thing = one.subject.thing
        if thing is other.subject.thing and not inspect.isroutine(thing):
            msg = (
                f"the maker returned the same {type(thing).__name__} twice; a check must not see what another left "
                "behind, so return a new one each time: lambda: MyModel()"
            )
            raise ContractUsageError(msg)
        flavours = one.subject.flavours(lab.input)
    if not flavours:
        msg = f"{type(thing).__name__} has neither stream nor astream"
        raise ContractUsageError(msg)
    return flavours


def smoke(lab: Lab) -> list[Flavour]:
    """Read one plain stream in each flavour: what fails here is no contract, but how the check was asked for."""
    flavours = flavours_of(lab)
    for flavour in tuple(flavours):
        try:
            chunks = lab.run(flavour, partial(_read, lab, flavour), "producer_dies")
        except (BrokenContractError, ContractUsageError):
            raise
        except NotImplementedError:
            flavours.remove(flavour)
            if flavours:
                continue
            raise
        except (UnexpectedCallError, Exception) as error:
            usual = "say what it takes with input=..., what it reads from with api=..., or chat=True"
            remedy = f"{usual}\n" + without_key(error) if without_key(error) else usual
            msg = (
                f"a plain stream ({flavour}) of what the maker made failed, so no contract can be checked:\n"
                f"  raised:    {clip(repr(error), 300)}\n"
                f"  to do:     {remedy}"
            )
            raise ContractUsageError(msg) from error
        if not chunks:
            msg = f"a plain stream ({flavour}) of what the maker made has no chunks, so no contract can be checked"
            raise ContractUsageError(msg)
    return flavours


async def _read(lab: Lab, flavour: Flavour) -> list[Any]:
    with lab.bench() as bench:
        return await bench.subject.open(flavour, lab.input).rest()


def run_check(contract: Contract, lab: Lab, flavours: Iterable[Flavour]) -> None:
    """Run one check in each flavour. Raises what breaks the contract; `Skip` if no flavour could be checked."""
    __tracebackhide__ = True
    check = contract.checks["stream"]
    lab.flavours = list(flavours)
    if not inspect.iscoroutinefunction(check):
        check(lab)
        return
    reasons: list[Skip] = []
    ran = False
    for flavour in lab.flavours:
        try:
            lab.run(flavour, partial(_guarded, check, contract, lab, flavour), contract.name)
            ran = True
        except Skip as skip:
            reasons.append(skip)
        except BrokenContractError as error:
            error.args = (f"{error.args[0]}\n  flavour:   {flavour}",)
            raise
    if not ran:
        own = [skip for skip in reasons if not isinstance(skip, OtherFlavour)] or reasons
        raise Skip("; ".join(dict.fromkeys(map(str, own))))


async def _guarded(check: Callable[..., Any], contract: Contract, lab: Lab, flavour: Flavour) -> None:
    """Run a check; an error that it did not provoke breaks the contract too, be it an `Exception` or not."""
    try:
        await check(lab, flavour)
    except (BrokenContractError, Skip, ContractUsageError):
        raise
    except RunawayError as error:
        raise broken(contract.name, f"the {flavour} stream never ends: {error}") from None
    except BaseException as error:
        if is_cancellation(error) or isinstance(error, KeyboardInterrupt):
            raise
        raise broken(contract.name, f"the {flavour} stream raised {clip(repr(error), 300)}") from error
