"""Streaming contracts: sentences that a machine can break, on models, consumers, providers' bytes.

`check_stream` and `StreamContract` check a model, a chain or a stream; `any_chunking` and `check_consumer` what reads
one; `every_fault` and `check_faults` what happens when it breaks; `every_interleaving` several at once; `check_wire` the
bytes of a provider. `CATALOGUE` has every contract by its name. Names load when they are first used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fakellm.contracts import strategies
    from fakellm.contracts.catalogue import CATALOGUE, Contract
    from fakellm.contracts.chunking import any_chunking
    from fakellm.contracts.classform import StreamContract
    from fakellm.contracts.consumers import check_consumer
    from fakellm.contracts.fault_checks import check_faults
    from fakellm.contracts.fault_sweep import every_fault
    from fakellm.contracts.interleavings import every_interleaving
    from fakellm.contracts.streams import check_stream
    from fakellm.contracts.verdicts import Report, Verdict
    from fakellm.contracts.wire import WireReport, check_wire

_HOMES = {
    "catalogue": ("CATALOGUE", "Contract"),
    "chunking": ("any_chunking",),
    "classform": ("StreamContract",),
    "consumers": ("check_consumer",),
    "fault_checks": ("check_faults",),
    "fault_sweep": ("every_fault",),
    "interleavings": ("every_interleaving",),
    "streams": ("check_stream",),
    "verdicts": ("Report", "Verdict"),
    "wire": ("WireReport", "check_wire"),
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
