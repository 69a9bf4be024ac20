"""Whose request it is: what a fake provider takes for its own, by the host, the place or the path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fakellm.provider.documents import OwnDocument
from fakellm.provider.hosts import LOOPBACK, checked_hosts, parts_of
from fakellm.secrets.knowing import discreet
from fakellm.wire.providers import services_at
from fakellm.wire.service import Service

_PASSED = 10
"""How many requests that went past a fake it can name."""


class Claiming:
    """The requests of a provider, among those that clients make."""

    name: str
    service: Service
    _documents: tuple[OwnDocument, ...]
    _passed: dict[str, None]

    @property
    def hosts(self) -> Sequence[str]:
        """Hosts that are its own beside the provider's, each with its port or without: `["localhost:11434"]`."""
        return self._hosts

    @hosts.setter
    def hosts(self, hosts: Sequence[str]) -> None:
        self._hosts = checked_hosts(hosts)

    def claims(self, method: str, url: str) -> bool:
        """Tell whether a request is for this provider.

        It is if the host is the provider's, or one of `hosts`; also if the path is that of an endpoint that a script
        or a document of the test answers, for clients that were pointed to a gateway, unless the host is this machine
        or that of another provider with the same path.
        """
        if self.owns(url):
            return True
        parts = parts_of(url)
        host = parts.hostname or ""
        if LOOPBACK.match(host):
            return False
        if self._own(method, parts.path):
            return True
        endpoint, alike = self.service.endpoint(method, parts.path), self.service.alike
        if endpoint is None:
            return False
        is_alike = alike is not None and alike.match(host) is not None
        return is_alike or (endpoint.is_codec and self.service in services_at(method, host, parts.path))

    def owns(self, url: str) -> bool:
        """Tell whether host or port is the provider's, or one of `hosts`, or the place its own on another's host."""
        parts = parts_of(url)
        host = parts.hostname or ""
        place = parts.netloc.rpartition("@")[2].lower()
        is_its_own = bool(self.service.hosts.match(host)) or host in self.hosts or place in self.hosts
        return is_its_own or self.service.has(place) or self._is_guest(url)

    def note_passed(self, method: str, url: str) -> None:
        """Note that a request which nobody claims goes on, if only its host, this machine, keeps it from the fake."""
        parts = parts_of(url)
        endpoint = self.service.endpoint(method, parts.path)
        is_for_it = (endpoint is not None and endpoint.is_codec) or self._own(method, parts.path) is not None
        if is_for_it and len(self._passed) < _PASSED:
            place = parts.netloc.rpartition("@")[2]
            self._passed[f"{method} {parts.scheme}://{place}{parts.path}"] = None

    def _is_guest(self, url: str) -> bool:
        parts, guest = parts_of(url), self.service.guest
        return guest is not None and guest.search(f"{parts.hostname}{parts.path}") is not None

    def knows(self, method: str, url: str) -> bool:
        """Tell whether it has an answer to requests of that kind: a script, or a document."""
        path = parts_of(url).path
        return self._own(method, path) is not None or self.service.endpoint(method, path) is not None

    def nearness(self, method: str, url: str) -> tuple[bool, bool, bool, bool]:
        """Return how near a request that it claims is to it; of several providers the greatest answers."""
        parts = parts_of(url)
        first = next(iter(services_at(method, parts.hostname or "", parts.path)), None)
        return self.knows(method, url), self._is_guest(url), self.owns(url), first is self.service

    def _own(self, method: str, path: str) -> OwnDocument | None:
        """Return the document of the test that answers a request."""
        return next((own for own in reversed(self._documents) if own.fits(method, path)), None)

    def _astray(self) -> Iterator[str]:
        """Word the requests that went past this fake to this machine."""
        for asked in self._passed:
            host = parts_of(asked.partition(" ")[2]).netloc
            yield discreet(
                f"{asked} went past the fake {self.name}, to this machine\n"
                f"  to do:     if it is meant for the fake: fake.hosts = [{host!r}], or hosts= where it is made"
            )
