"""Streaming contracts: sentences that a machine can break, on models, consumers, providers' bytes.

`check_stream` and `StreamContract` check a model, a chain or a stream; `any_chunking` and `check_consumer` what reads
one; `every_fault` and `check_faults` what happens when it breaks; `every_interleaving` several at once; `check_retries`
and `assert_resilient` an app whose provider refuses or falls silent; `check_wire` the bytes of a provider. `CATALOGUE`
has every contract by its name. Names load when they are first used.
"""

from __future__ import annotations

from fakellm.rooms import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fakellm.contracts import strategies as strategies
    from fakellm.contracts.catalogue import CATALOGUE as CATALOGUE
    from fakellm.contracts.catalogue import Contract as Contract
    from fakellm.contracts.clients.check import check_client as check_client
    from fakellm.contracts.clients.classform import ClientContract as ClientContract
    from fakellm.contracts.clients.report import ClientReport as ClientReport
    from fakellm.contracts.consumers.check import check_consumer as check_consumer
    from fakellm.contracts.consumers.chunking import any_chunking as any_chunking
    from fakellm.contracts.faults.checks import check_faults as check_faults
    from fakellm.contracts.faults.sweep import every_fault as every_fault
    from fakellm.contracts.grammar.check import WireReport as WireReport
    from fakellm.contracts.grammar.check import check_wire as check_wire
    from fakellm.contracts.interleavings import every_interleaving as every_interleaving
    from fakellm.contracts.retries.check import RetryReport as RetryReport
    from fakellm.contracts.retries.check import assert_resilient as assert_resilient
    from fakellm.contracts.retries.check import check_retries as check_retries
    from fakellm.contracts.streams.check import check_stream as check_stream
    from fakellm.contracts.streams.classform import StreamContract as StreamContract
    from fakellm.contracts.verdicts import Report as Report
    from fakellm.contracts.verdicts import Verdict as Verdict

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "clients.check": ("check_client",),
        "clients.classform": ("ClientContract",),
        "clients.report": ("ClientReport",),
        "streams.check": ("check_stream",),
        "streams.classform": ("StreamContract",),
        "consumers.chunking": ("any_chunking",),
        "consumers.check": ("check_consumer",),
        "faults.sweep": ("every_fault",),
        "faults.checks": ("check_faults",),
        "interleavings": ("every_interleaving",),
        "retries.check": ("RetryReport", "assert_resilient", "check_retries"),
        "grammar.check": ("WireReport", "check_wire"),
        "verdicts": ("Report", "Verdict"),
        "catalogue": ("CATALOGUE", "Contract"),
    },
    also=("strategies",),
)


def load_all() -> None:
    """Import every room that checks something, so that each contract in the catalogue has its checks."""
    for name in __all__:
        __getattr__(name)
