"""Fake providers, sans-IO: a request comes in, an `Exchange` that a shell can play goes out."""

from __future__ import annotations

from fakellm.rooms import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fakellm.provider.actions import Failure as Failure
    from fakellm.provider.actions import Timeouts as Timeouts
    from fakellm.provider.exchange import Exchange as Exchange
    from fakellm.provider.exchange import ProviderCall as ProviderCall
    from fakellm.provider.itself import by_itself as by_itself
    from fakellm.provider.provider import FakeProvider as FakeProvider

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "actions": ("Failure", "Timeouts"),
        "exchange": ("Exchange", "ProviderCall"),
        "itself": ("by_itself",),
        "provider": ("FakeProvider",),
    },
)
