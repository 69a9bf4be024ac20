"""Streaming contracts: sentences that a machine can break, on models, consumers, providers' bytes.

Names load when they are first used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fakellm.contracts.catalogue import CATALOGUE, Contract
    from fakellm.contracts.classform import StreamContract
    from fakellm.contracts.streams import check_stream
    from fakellm.contracts.verdicts import Report, Verdict

_HOMES = {
    "catalogue": ("CATALOGUE", "Contract"),
    "classform": ("StreamContract",),
    "streams": ("check_stream",),
    "verdicts": ("Report", "Verdict"),
}  # fmt: skip

__all__ = ["CATALOGUE", "Contract", "Report", "StreamContract", "Verdict", "check_stream"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    for home, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f"fakellm.contracts.{home}"), name)
            globals()[name] = value
            return value
    msg = f"module 'fakellm.contracts' has no attribute {name!r}; it has {', '.join(__all__)}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
