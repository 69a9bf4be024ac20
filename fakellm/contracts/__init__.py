"""Streaming contracts: sentences that a machine can break, on models, consumers, providers' bytes.

`check_stream` and `StreamContract` check a model, a chain or a stream; `any_chunking` and `check_consumer` what reads
one; `every_fault` and `check_faults` what happens when it breaks; `every_interleaving` several at once;
`check_wire` the bytes of a provider. `CATALOGUE` has every contract by its name. Names load when they are first used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fakellm.contracts import strategies
    from fakellm.contracts.catalogue import CATALOGUE, Contract
    from fakellm.contracts.consumers.check import check_consumer
    from fakellm.contracts.consumers.chunking import any_chunking
    from fakellm.contracts.faults.checks import check_faults
    from fakellm.contracts.faults.sweep import every_fault
    from fakellm.contracts.grammar.check import WireReport, check_wire
    from fakellm.contracts.interleavings import every_interleaving
    from fakellm.contracts.streams.check import check_stream
    from fakellm.contracts.streams.classform import StreamContract
    from fakellm.contracts.verdicts import Report, Verdict

_HOMES = {
    "catalogue": ("CATALOGUE", "Contract"),
    "consumers.chunking": ("any_chunking",),
    "streams.classform": ("StreamContract",),
    "consumers.check": ("check_consumer",),
    "faults.checks": ("check_faults",),
    "faults.sweep": ("every_fault",),
    "interleavings": ("every_interleaving",),
    "streams.check": ("check_stream",),
    "verdicts": ("Report", "Verdict"),
    "grammar.check": ("WireReport", "check_wire"),
}

__all__ = [  # noqa: RUF022 - as a user meets them
    "check_stream",
    "StreamContract",
    "any_chunking",
    "check_consumer",
    "every_fault",
    "check_faults",
    "every_interleaving",
    "check_wire",
    "strategies",
    "Report",
    "WireReport",
    "Verdict",
    "Contract",
    "CATALOGUE",
]


def load_all() -> None:
    """Import every room that checks something, so that each contract in the catalogue has its checks."""
    for name in __all__:
        __getattr__(name)


def __getattr__(name: str) -> Any:
    from importlib import import_module

    for home, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f"fakellm.contracts.{home}"), name)
            globals()[name] = value
            return value
    if name == "strategies":
        return import_module("fakellm.contracts.strategies")
    msg = f"module 'fakellm.contracts' has no attribute {name!r}; it has {', '.join(__all__)}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
