"""The contracts that a sweep is asked for by name, on one stream: by moves, by checks of their own, by a grammar."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from importlib import import_module
from typing import Any

from fakellm.contracts.catalogue import CATALOGUE
from fakellm.contracts.documents import focused
from fakellm.contracts.grammar.check import ANY, GRAMMARS, check_wire, habits_at
from fakellm.contracts.sweeps import causes
from fakellm.contracts.sweeps.causes import Cause
from fakellm.contracts.sweeps.streams import Recording
from fakellm.contracts.sweeps.trying import Failure, Sweeping, Trial
from fakellm.contracts.sweeps.variants import Family, Variant, sets_for
from fakellm.contracts.verdicts import Skip
from fakellm.errors import BrokenContractError, ContractUsageError, UnexpectedCallError
from fakellm.wire.providers import scripted_endpoint

GRAMMAR = "grammar"
"""All grammars under one name: a stream is held to that of its API."""


def check_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of contracts. Raises `ContractUsageError` for one that a sweep cannot check."""
    import_module("fakellm.contracts").load_all()
    wanted = [names] if isinstance(names, str) else list(names)
    able = [name for name, one in CATALOGUE.items() if "consumer" in one.checks or "wire" in one.checks]
    for name in wanted:
        if name not in (*able, GRAMMAR):
            msg = f"a sweep checks no contract {name!r}; it checks {GRAMMAR}, {', '.join(able)}"
            raise ContractUsageError(msg)
    return tuple(dict.fromkeys(wanted))


def by_contracts(trial: Trial, sweeping: Sweeping) -> list[Failure]:
    """Return how the consumer, or the stream itself, breaks the contracts that are asked for."""
    failures: list[Failure] = []
    is_fed: bool | None = None
    for name in sweeping.contracts:
        if trial.is_over:
            break
        if name == GRAMMAR or name.endswith("_grammar"):
            failures += _of_wire(trial, name)
        elif focused(trial.document, name) is not None:
            is_fed = trial.begin() if is_fed is None else is_fed
            for moves in sets_for(trial.document, name) if is_fed else ():
                family: Family = "few" if len(moves) > 1 else "cut"
                if not trial.attempt(Variant(family, trial.document.apply(moves), partial(tuple, moves)), name):
                    break
        else:
            failures += trial.checked(partial(_checked, trial, name))
    return [*trial.found, *failures]


def _checked(trial: Trial, name: str) -> list[Failure]:
    """Return how a contract is broken that has a check of its own on what was recorded."""
    check = CATALOGUE[name].checks.get("consumer")
    try:
        if check is not None:
            check(trial.counted, trial.document)
    except (Skip, ContractUsageError):
        return []
    except (BrokenContractError, UnexpectedCallError) as error:
        rows = str(error).split("\n")
        told = next((row.partition(":")[2].strip() for row in rows if row.startswith("  broken:")), rows[0])
        return [Failure(Cause(causes.BREAKS, name), trial.recording, trial.document, (), "", told)]
    return []


def _profile(recording: Recording, api: str) -> Any:
    """Return the habits that a stream may have: at its own host a provider's, elsewhere what any service does."""
    found = scripted_endpoint("POST", recording.url) if recording.url else None
    return ANY if found is None else habits_at(recording.url, found[0], api)


def _of_wire(trial: Trial, name: str) -> list[Failure]:
    recording = trial.recording
    codec = recording.codec
    api = codec.api.replace(".", "_") if codec is not None else ""
    if api not in GRAMMARS or name not in (GRAMMAR, f"{api}_grammar"):
        return []
    trial.runs += 1
    is_whole = recording.end == "complete"
    found = check_wire(recording.chunks, api=api, profile=_profile(recording, api)).problems
    problems = [one for one in found if is_whole or one.event is not None]
    rules = {problem.rule.id: problem for problem in reversed(problems)}
    return [
        Failure(
            Cause(causes.GRAMMAR, f"{api}_grammar", raised=f"{rule}: {problem.rule.sentence}"),
            recording, None, (), str(problem.expected), str(problem.found),
        )
        for rule, problem in sorted(rules.items())
    ]  # fmt: skip
