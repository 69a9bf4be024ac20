"""Shells for HTTP clients in this process: fake providers and tapes in place of the network, which is guarded.

`intercept` answers every client, `transport` one that is handed it, `mount` one that respx answers; `playing` puts a
tape between the clients and the network. `dummy_keys` lets clients be made where nobody has a key.
"""

from __future__ import annotations

from fakellm.rooms import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fakellm.http.interception import Interception as Interception
    from fakellm.http.interception import intercept as intercept
    from fakellm.http.interception import playing as playing
    from fakellm.http.keys import dummy_keys as dummy_keys
    from fakellm.http.network import Guard as Guard
    from fakellm.http.router import mount as mount
    from fakellm.http.transports import transport as transport

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "interception": ("Interception", "intercept", "playing"),
        "keys": ("dummy_keys",),
        "network": ("Guard",),
        "router": ("mount",),
        "transports": ("transport",),
    },
)
