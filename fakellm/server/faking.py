"""`FakeServer`: a server in a test, with what a test asks of a fake."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import chain

from fakellm.clock.clock import Clock, InstantClock
from fakellm.errors import UnexpectedRequestError
from fakellm.provider.exchange import ProviderCall
from fakellm.provider.provider import FakeProvider
from fakellm.provider.reports import shown_calls
from fakellm.server.server import Server, environment
from fakellm.server.sessions import Session
from fakellm.wire.providers import provider_names

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


class FakeServer(Server):
    """A server of all providers, that a test scripts and asks as it does a fake: what the fixture `fake_server` is.

        fake_server.openai.reply("Hel", "lo")
        subprocess.run(["node", "app.js"], env={**os.environ, **fake_server.environ}, check=True)
        assert fake_server.openai.calls[0].request.text == "Hello?"

    `fake_server.openai`, or `fake_server["openai"]`, is the `FakeProvider`, and so on for each provider. Pauses pass at
    once, as in other fakes, unless it is given a `clock`, or a provider one of its own.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        super().__init__(map(FakeProvider, provider_names()), clock=clock or InstantClock(), keep=None)

    def __getitem__(self, name: str) -> FakeProvider:
        """Return a provider by its name. Raises `KeyError` that names those that there are."""
        return self.sessions.own[name]

    def __getattr__(self, name: str) -> FakeProvider:
        """Return a provider by its name, as an attribute."""
        if not name.startswith("_") and name != "sessions":
            for provider in self.sessions.own.providers:
                if provider.name == name:
                    return provider
        msg = f"{type(self).__name__} has neither an attribute nor a provider {name!r}"
        raise AttributeError(msg)

    @property
    def environ(self) -> Mapping[str, str]:
        """The variables that point the SDKs to it, base URLs and keys, for the environment of a subprocess.

        Where this environment names a proxy, the server is not to be asked through that.
        """
        around = {}
        if any(name.lower() in _PROXIES for name in os.environ):
            for name in ("no_proxy", "NO_PROXY"):
                around[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1"]))
        return {**environment(self), **around}

    def session(self, name: str) -> Session:
        """Return the session of requests that bear `X-Fakellm-Session: name`; its providers are its own."""
        return self.sessions.named(name)

    @property
    def calls(self) -> list[ProviderCall]:
        """The requests to all providers in all sessions, in each in the order in which they came."""
        return list(chain.from_iterable(session.calls for session in self.sessions))

    @property
    def misses(self) -> list[UnexpectedRequestError]:
        """The errors of requests that no reply was for, in all sessions."""
        return [*self.sessions.gone.misses, *chain.from_iterable(session.misses for session in self.sessions)]

    def report(self, calls: Sequence[ProviderCall] | None = None) -> str:
        """Word requests with their answers, by default all, session by session."""
        if calls is not None:
            return "\n".join(shown_calls(calls)) or "the fake server was not asked anything"
        own, *others = self.sessions
        words = [f"the session {session.name!r}:\n{session.report()}" for session in others]
        return "\n".join([own.report(), *words] if own.log or not words else words)

    def verify(self, *, allow_unused: bool = False, allow_misses: bool = False) -> None:
        """Raise `SwallowedCallError` if a request found no reply, else `UnusedRepliesError` if a reply is left."""
        self.sessions.verify(allow_unused=allow_unused, allow_misses=allow_misses)
