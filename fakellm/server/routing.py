"""Which provider a request to the server is for: by a prefix of its own, by the host, by the path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fakellm.provider.hosts import parts_of, target_of
from fakellm.provider.provider import FakeProvider


class Router:
    """The providers behind one port.

    Each has a prefix, `/openai/v1/...`, that is its name. Without one a request is for the provider that knows the
    path; of several (`GET /v1/models`) for the one whose host the client believes to ask, then for the one whose SDK
    sends a header that is there, then for the first.
    """

    def __init__(self, providers: Iterable[FakeProvider]) -> None:
        self.providers = list(providers)
        self._by_name = {provider.name: provider for provider in self.providers}

    def named(self, name: str) -> FakeProvider | None:
        """Return a provider by its name, if there is one."""
        return self._by_name.get(name)

    def find(self, method: str, target: str, headers: Mapping[str, str]) -> tuple[FakeProvider | None, str]:
        """Return the provider of a request, or None, and the URL that it is asked at."""
        if not target.startswith("/"):  # a proxy's form, or that of `OPTIONS *`
            parts = parts_of(target)
            target = target_of(parts._replace(path=parts.path or "/"))
        origin = f"http://{headers.get('host', '')}"
        name, slash, rest = target[1:].partition("/")
        if (provider := self._by_name.get(name)) is not None and slash:
            return provider, f"{origin}/{rest}"
        url = f"{origin}{target}"
        knowing = [provider for provider in self.providers if provider.knows(method, url)]
        if len(knowing) > 1:
            knowing.sort(key=lambda provider: (not provider.owns(url), not _is_signed(provider, headers)))
        return (knowing[0] if knowing else None), url

    def base_url(self, origin: str, name: str) -> str:
        """Return what the SDK of a provider is given as its base URL."""
        return f"{origin}/{name}{self._by_name[name].service.base_path}"

    def nearest(self, url: str) -> FakeProvider:
        """Return the provider in whose words a request that nobody knows is refused."""
        owning = [provider for provider in self.providers if provider.owns(url)]
        return next(iter(owning or self.providers), None) or FakeProvider("openai")

    def known(self) -> list[str]:
        """Word what the server answers."""
        return [
            f"{endpoint.method} /{provider.name}…{endpoint.shown}"
            for provider in self.providers
            for endpoint in provider.service.endpoints
        ]


def variables_of(provider: FakeProvider, url: str) -> dict[str, str]:
    """Return the variables that point the SDK of a provider to a base URL, with keys that are none."""
    service = provider.service
    place = {service.base_url: url} if service.base_url else {}
    return place | dict.fromkeys(service.keys, "fakellm")


def _is_signed(provider: FakeProvider, headers: Mapping[str, str]) -> bool:
    return any(name in headers for name in provider.service.signs)
