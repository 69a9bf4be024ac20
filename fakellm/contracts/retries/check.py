"""`check_retries` and `assert_resilient`: what an app does when its provider refuses, breaks off or falls silent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from fakellm.clock.machine_time import patched
from fakellm.clock.taken import NamesReached, loops_made_in
from fakellm.contracts.attempts import PATIENCE
from fakellm.contracts.catalogue import Contract, checked_reasons, chosen
from fakellm.contracts.faults.ways import ended, half, positions
from fakellm.contracts.retries import dice, on_asking, on_ending  # noqa: F401 - they bind the checks
from fakellm.contracts.retries.lab import Lab, Promises
from fakellm.contracts.retries.runs import Run
from fakellm.contracts.retries.trial import Bench, TrialClock
from fakellm.contracts.retries.troubled import LONGEST, MOST_ASKS, Troubled
from fakellm.contracts.retries.troubles import Trouble
from fakellm.contracts.retries.troubles import chosen as chosen_troubles
from fakellm.contracts.streams.check import check_loop
from fakellm.contracts.streams.projections import text_of
from fakellm.contracts.verdicts import Report, Verdict, check_functions, verdict_of
from fakellm.errors import ContractUsageError, clip
from fakellm.script.script import Script
from fakellm.wire.providers import provider_names

WHOLE = Script("One ", "two ", "three ", "four.")


@dataclass(frozen=True)
class RetryReport(Report):
    """The verdicts on an app, and its runs: when it asked in each trouble, and how it ended."""

    runs: tuple[Run, ...] = ()

    @property
    def time_line(self) -> str:
        """When it asked, in seconds since it began, and how it ended: a line for each trouble."""
        named = [(run.trouble.name, run) for run in self.runs if run.trouble is not None]
        width = max((len(name) for name, _ in named), default=0)
        return "\n".join(f"  {name:<{width}}  asked at {run.asked}, {run.end}" for name, run in named)

    def __str__(self) -> str:
        line = self.time_line
        return super().__str__() + (f"\nwhat it did:\n{line}" if line else "")


def check_retries(
    app: Callable[[], Any],
    *,
    api: str | None = None,
    hosts: Sequence[str] = (),
    script: Script = WHOLE,
    contracts: Iterable[str] | None = None,
    skip: Mapping[str, str] | None = None,
    attempts: int | None = None,
    gives_up: float | None = None,
    deadline: float | None = None,
    longest_wait: float = 120.0,
    incomplete: Callable[[Any], object] | None = None,
    delivered: Callable[[], Any] | None = None,
    text: Callable[[Any], Any] = text_of,
    clients: int = 8,
    backend: Literal["asyncio", "trio"] = "asyncio",
    only: str | None = None,
    patience: float = PATIENCE,
) -> RetryReport:
    """Run an app on a provider that refuses, breaks off or falls silent, in virtual time; return the verdicts.

    `app()` asks its provider through its own client, whatever that is, and returns what it made of the answer: a
    function, an `async def`, or a generator of either kind, whose items are what it shows its user. It meets 429 and
    503 with `Retry-After`, in seconds and as a date, and `retry-after-ms`; 429, 500, 503, 529 and 408 for ever; 400 and
    401; a refused connection, drops before and after the first chunk, silence. No wait takes real time: `time.sleep`,
    `asyncio.sleep`, timeouts, and the dates that it reads, are on a clock of the run's own; with `backend="trio"`
    asynchronous code runs on trio. The numbers of the module `random` are the same in each check.

    `api` is the provider, such as `"openai"`; without it all that can be faked are, and the one that the app asks makes
    the trouble. `hosts` are hosts beside the provider's own (`"localhost:8000"`), `script` is the answer, where the app
    needs one of a certain form. What the app says of itself: it asks `attempts` times at most, gives up by `gives_up`
    seconds, waits `deadline` seconds in silence, and `longest_wait` before it asks again where nobody tells it how
    long. `incomplete(result)` is true of a result by which its callers see that there was no whole answer; by default
    it has to raise, since to whoever gets it a text is an answer. `delivered()` returns what it has shown so far, where
    it does not yield it; `text` reads the text of what it yields or returns.

    `contracts` are the names of those to check, `skip` maps names to the reasons why not. `clients` is how many fail at
    once. `only` is the one trouble that a failure names. Synchronous code is taken to hang after `patience` real
    seconds. What could not be seen, since the app does not ask again, is skipped with the reason. Raises
    `ContractUsageError` if the app fails where nothing is wrong, or asks no provider.
    """
    _check_use(app, api, script, backend, clients)
    check_functions(incomplete=incomplete, delivered=delivered, text=text)
    _check_promises(
        attempts=attempts, gives_up=gives_up, deadline=deadline, longest_wait=longest_wait, patience=patience
    )
    reasons = checked_reasons(skip, "app")
    promises = Promises(attempts, gives_up, deadline, longest_wait, incomplete, clients)
    wanted = chosen(contracts, "app")
    names = chosen_troubles(only)
    with _bench(app, api, hosts, script, text, delivered, backend, patience, promises) as bench:
        return _report(_name_of(app), bench, api, promises, names, wanted, reasons)


def assert_resilient(app: Callable[[], Any], **options: Any) -> None:
    """Raise `BrokenContractError` unless an app keeps the contracts of `check_retries`, whose options it takes.

    The error has the whole report, with when the app asked in each trouble. Raises `ContractUsageError` as well.
    """
    __tracebackhide__ = True
    check_retries(app, **options).verify()


def _report(
    name: str,
    bench: Bench,
    api: str | None,
    promises: Promises,
    names: frozenset[str],
    wanted: Iterable[Contract],
    reasons: Mapping[str, str],
) -> RetryReport:
    """Judge the contracts, each on the runs that it needs."""
    whole = _smoke(bench, api)
    asked = next(provider for provider in bench.providers if provider.was_asked)
    lab = Lab(replace(bench, asked=asked), promises, whole, names, asked.name, partial(_replay, name, asked.name))
    verdicts = [
        Verdict(contract, "skipped", reasons[contract.name])
        if contract.name in reasons
        else verdict_of(contract, partial(contract.checks["app"], lab))
        for contract in wanted
    ]
    return RetryReport(name, tuple(verdicts), tuple(lab.made))


@contextmanager
def _bench(
    app: Callable[[], Any],
    api: str | None,
    hosts: Sequence[str],
    script: Script,
    text: Callable[[Any], Any],
    delivered: Callable[[], Any] | None,
    backend: str,
    patience: float,
    promises: Promises,
) -> Iterator[Bench]:
    """Put the providers in place of the network, and clocks in place of the machine's time."""
    from fakellm.http.interception import intercept

    providers = [Troubled(name, hosts=hosts) for name in ([api] if api else provider_names())]
    for provider in providers:
        provider.most = max(promises.attempts or 0, MOST_ASKS)
        provider.longest = max(promises.gives_up or 0, LONGEST)
    clock = TrialClock()
    there = frozenset(threading.enumerate()) - {threading.current_thread()}
    with ExitStack() as stack:
        stack.enter_context(dice.put_back())
        stack.enter_context(intercept(*providers))
        stack.enter_context(patched(clock, began=int(time.time()), others=there))
        stack.enter_context(loops_made_in(clock, there))
        names = stack.enter_context(NamesReached())
        yield Bench(app, providers, script, _early_of(script), text, delivered, backend, patience, clock, names.look)


def _early_of(script: Script) -> Script:
    """Return the first chunk of an answer as if it were all of it; of an only chunk, half."""
    early = ended(script, 1) if len(positions(script)) > 2 else half(script)  # noqa: PLR2004 - two chunks, and their end
    if early is None:
        msg = f"{script!r} has no part that could come before the rest; give an answer with a text of some words"
        raise ContractUsageError(msg)
    return early


def _check_promises(**promises: float | None) -> None:
    """Raise `ContractUsageError` for what is no number of asks or seconds."""
    for name, value in promises.items():
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value is not None and not (is_number and value > 0):
            msg = f"{name} is a number above 0, of {'asks' if name == 'attempts' else 'seconds'}, not {value!r}"
            raise ContractUsageError(msg)


def _smoke(bench: Bench, api: str | None) -> Run:
    """Run the app where nothing is wrong: what fails here is no contract, but how the check was asked for."""
    whole = bench.run(None, dice.HIGH)
    error = whole.found.error
    if error is not None and not any(provider.calls for provider in bench.providers):
        msg = f"the app fails before it asks a provider\n  raised:    {clip(repr(error), 400)}"
        raise ContractUsageError(msg) from error
    if error is not None:
        usual = "give the answer that it needs, such as script=Script('{}')"
        msg = (
            "the app fails where nothing is wrong, so nothing can be told from how it fails otherwise\n"
            f"  raised:    {clip(repr(error), 400)}\n  to do:     {usual}"
        )
        raise ContractUsageError(msg) from error
    if not whole.asks:
        who = f"of {api}" if api else "that can be faked"
        msg = (
            f"the app asked no model {who}\n"
            "  to do:     say which provider it asks, api='anthropic'; where its client has a base_url of its own, "
            "its host too: hosts=['localhost:8000']; it is a function that asks, so give ask, not ask()"
        )
        raise ContractUsageError(msg)
    return whole


def _check_use(app: object, api: str | None, script: object, backend: str, clients: int) -> None:
    if not callable(app):
        msg = f"an app is a function that asks its provider, such as lambda: ask('Hi'), not {clip(repr(app), 80)}"
        raise ContractUsageError(msg)
    if api is not None and api not in provider_names():
        msg = f"there is no api {api!r}; there are {', '.join(map(repr, provider_names()))}"
        raise ContractUsageError(msg)
    if backend not in ("asyncio", "trio"):
        msg = f"asynchronous code runs on backend='asyncio' or 'trio', not {backend!r}"
        raise ContractUsageError(msg)
    if not isinstance(script, Script):
        msg = f"script is the whole answer, such as Script('{{\"a\": ', '1}}'), not {clip(repr(script), 80)}"
        raise ContractUsageError(msg)
    if clients < 2:  # noqa: PLR2004 - one does not storm
        msg = f"clients is how many fail at once, from 2 up, not {clients!r}"
        raise ContractUsageError(msg)
    check_loop("check_retries")


def _name_of(app: Any) -> str:
    named = app if hasattr(app, "__qualname__") else getattr(app, "func", app)
    name: str = getattr(named, "__qualname__", type(app).__name__)
    return name.replace("<locals>.", "")


def _replay(name: str, api: str, trouble: Trouble) -> str:
    app = name.rpartition(".")[2]
    return f"check_retries({app if app.isidentifier() else 'app'}, api={api!r}, only={trouble.name!r})"
