"""Fake providers and tapes behind a real port, for what is not this process: other languages, browsers, machines.

`Server` serves `FakeProvider`s over HTTP; each piece of an answer is an HTTP chunk of its own, in its time, and each
fault happens on the socket.
"""

from __future__ import annotations

from fakellm.rooms import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fakellm.server.faking import FakeServer as FakeServer
    from fakellm.server.scenario import Scenario as Scenario
    from fakellm.server.server import Server as Server
    from fakellm.server.sessions import Session as Session
    from fakellm.server.watched import Watched as Watched

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "faking": ("FakeServer",),
        "scenario": ("Scenario",),
        "server": ("Server",),
        "sessions": ("Session",),
        "watched": ("Watched",),
    },
)
