"""Providers that say what is on tapes and nothing else: what a proxy recorded answers without it.

A server is asked at its own URL, and a tape has the provider's, which may have stood anywhere: `/v1/chat/completions`
here is `/openai/v1/chat/completions` of one service and `/chat/completions` of another. What the SDK adds to the URL
that it is given is the same wherever it points. So a request is the recorded one if that path ends with this, and
query and body are the same; a recording at the host of another provider is not meant.

Each interaction answers once, as a tape in a test does: an app that asks more often than it did is another one.

An app that was recorded may have stopped reading. In process nothing plays that nobody asks for; here what was
recorded is sent, and then the app has some time to stop again, before it counts as one that reads on. One that sends no
more has stopped, as it had for the proxy.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

from vcr.request import Request

from fakellm.cassette.matching import bytes_of, differences, weight
from fakellm.cassette.misses import address_of
from fakellm.cassette.redaction import Redactor
from fakellm.cassette.replay import TapeEndedError
from fakellm.errors import UnexpectedRequestError, clip, explain
from fakellm.provider.exchange import Exchange, ProviderCall
from fakellm.provider.hosts import host_of, parts_of
from fakellm.provider.provider import FakeProvider
from fakellm.script.events import Pause
from fakellm.secrets.knowing import knowing
from fakellm.server.connection import Answer, Connection, Playable
from fakellm.server.parsing import HttpRequest
from fakellm.server.playing import Playing
from fakellm.server.recorded import Interaction, Recorded
from fakellm.server.server import Server
from fakellm.wire.providers import services
from fakellm.wire.service import Endpoint, Service

_PATIENCE = 10.0
"""Seconds for an app to stop reading where the one that was recorded did."""


class Replayed(Recorded):
    """What is on tapes, for one provider. `repeats` lets the last of those that are alike answer again and again.

    `played` are the interactions that answered, each by its tape and its place on it.
    """

    def __init__(
        self, service: Service, interactions: Sequence[Interaction], factor: float = 0.0, *, repeats: bool = False
    ) -> None:
        super().__init__((), factor)
        self._service = service
        self._all = [one for one in interactions if not _is_elsewhere(service, one[2].uri)]
        self._repeats = repeats

    def __copy__(self) -> Self:
        return type(self)(self._service, self._all, self._factor, repeats=self._repeats)

    @property
    def played(self) -> set[tuple[Path, int]]:
        """Which interactions answered."""
        return {place for place, count in self._played.items() if count}

    def __call__(self, call: ProviderCall) -> Exchange | None:
        """Return the answer to a request, if there is one that was not played yet."""
        alike = [one for one in self._all if self._is_alike(call, one[2])]
        left = [one for one in alike if not self._played[one[:2]]]
        found = left[0] if left else alike[-1] if alike and self._repeats else None
        if found is None:
            return None
        path, at, _, response = found
        self._played[path, at] += 1
        return self._exchange(call, path, at, response)

    def _steps(self, path: Path, at: int, response: Any) -> list[Any]:
        steps = super()._steps(path, at, response)
        if (response.get("stream") or {}).get("end") == "cancelled":
            steps.insert(len(steps) - 1, Pause(_PATIENCE))
        return steps

    def _is_alike(self, call: ProviderCall, recorded: Any) -> bool:
        is_there = recorded.method == call.method and self._path_there(call, recorded) is not None
        return is_there and not self._differences(call, recorded)

    def _path_there(self, call: ProviderCall, recorded: Any) -> str | None:
        """Return the path of one that was recorded, if that of a request is the same behind the base URL."""
        there, here, base = parts_of(recorded.uri).path, parts_of(call.url).path, self._service.base_path
        rest = here.removeprefix(base) if here.startswith(f"{base}/") else here
        if there == here:
            return there
        endpoints = [self._service.endpoint(call.method, path) for path in (there, here)]
        is_same = len(rest) > 1 and there.endswith(rest) and endpoints[0] is endpoints[1]  # not `/chat/completions`
        return there if is_same else None

    def _differences(self, call: ProviderCall, recorded: Any) -> list[str]:
        """Word what differs between a request and one that was recorded, but for where the provider is."""
        there, here = urlsplit(recorded.uri), parts_of(call.url)
        path = self._path_there(call, recorded)
        url = urlunsplit((there.scheme, there.netloc, here.path if path is None else path, here.query, ""))
        return differences(recorded, Request(call.method, url, call.body, call.headers))

    def nearest(self, call: ProviderCall) -> tuple[Interaction, list[str]] | None:
        """Return the interaction whose request differs least from a request, and how it differs."""
        compared = [(self._differences(call, one[2]), one) for one in self._all]
        if not compared:
            return None
        found, one = min(compared, key=lambda pair: weight(pair[0]))
        return one, found


def _is_elsewhere(service: Service, url: str) -> bool:
    """Tell whether a recording was made at the own host of another provider."""
    host = host_of(url)
    if service.hosts.match(host) or (service.guest is not None and service.guest.search(url.partition("://")[2])):
        return False
    is_alike = service.alike is not None and service.alike.match(host) is not None
    return not is_alike and any(one.hosts.match(host) for one in services())


class _Attentive(Playing):
    """Plays to a client that is gone once it sends no more."""

    __slots__ = ()

    def listen_alone(self) -> None:
        self.leave()
        self._transport.abort()


class ReplayServer(Server):
    """Serves providers that answer by tapes, to clients that are gone once they send no more."""

    def _answer(self, request: HttpRequest, connection: Connection) -> Playable:
        answer = super()._answer(request, connection)
        return answer._replace(kind=_Attentive) if isinstance(answer, Answer) else answer


class ReplayedProvider(FakeProvider):
    """A provider that answers by tapes alone; `tapes` is where they are, as a miss names it."""

    def __init__(
        self, name: str, interactions: Sequence[Interaction], tapes: str, factor: float = 0.0, *, repeats: bool = False
    ) -> None:
        super().__init__(name)
        self.tapes = tapes
        self.recorded = Replayed(self.service, interactions, factor, repeats=repeats)

    def _answer_known(self, call: ProviderCall, path: str, query: str, endpoint: Endpoint | None) -> Exchange:
        played = super()._answer_known(call, path, query, endpoint)
        if played is None:
            raise self._not_there(call)
        return played

    def _told(self, call: ProviderCall, error: BaseException) -> BaseException:
        if isinstance(error, TapeEndedError):
            self.misses.append(UnexpectedRequestError(str(error)))
        return super()._told(call, error)

    def _not_there(self, call: ProviderCall) -> UnexpectedRequestError:
        """Return the error for a request that is on no tape, with the recording that is nearest, field by field."""
        sent = Redactor().request(Request(call.method, call.url, call.body, call.headers))
        with knowing(call.credentials):
            text = explain(
                f"request {call.number} to {self.name} is not on the tapes of {self.tapes}",
                sent=[f"{call.method} {parts_of(call.url).path}\n{clip(body_of(sent), 300)}"],
                difference=self._nearest(call),
                remedy=["record it: fakellm record -- CMD"],
            )
        miss = UnexpectedRequestError(text)
        miss.credentials = call.credentials
        self.misses.append(miss)
        return miss

    def _nearest(self, call: ProviderCall) -> list[str]:
        found = self.recorded.nearest(call) if isinstance(self.recorded, Replayed) else None
        if found is None:
            return ["no request to this provider was recorded"]
        (path, at, request, _), lines = found
        if not lines:
            lines = ["nothing differs: it was played already; the app asks once more than it did when recorded"]
        return ["\n".join([f"{path}, interaction {at}: {address_of(request)}", *lines])]


def body_of(request: Any) -> str:
    """Return the body of a request as a text."""
    return bytes_of(request).decode("utf-8", "replace")
