"""The table of providers: those of this package, each a folder beside this file, and those added from outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from importlib import import_module
from urllib.parse import urlsplit

from fakellm.wire.service import Endpoint, Service

PROVIDERS = (
    "openai",
    "anthropic",
    "gemini",
    "ollama",
    "cohere",
    "bedrock",
    "mistral",
    "dashscope",
    "replicate",
)
"""The folders; `fakellm.wire.NAME.service` has the `SERVICE` of each."""

_added: dict[str, Service] = {}


def provider_names() -> tuple[str, ...]:
    """Return the names of all providers that can be faked."""
    return (*PROVIDERS, *_added)


def service_of(name: str) -> Service:
    """Return a provider by its name. Raises `ValueError` that names those that there are."""
    if name in PROVIDERS:
        return _own(name)
    if name not in _added:
        msg = (
            f"there is no fake of the provider {name!r}; there are {', '.join(provider_names())}, and "
            "fakellm.wire.add_provider adds others"
        )
        raise ValueError(msg)
    return _added[name]


@cache
def _own(name: str) -> Service:
    service: Service = import_module(f"fakellm.wire.{name}.service").SERVICE
    return service


def services() -> Iterator[Service]:
    """Yield all providers."""
    return map(service_of, provider_names())


def services_at(method: str, host: str, path: str) -> list[Service]:
    """Return the providers that could be asked so: those whose host it is, the owner first, if one has the path.

    Where the host is that of a provider that has no such path, it is the first that has: OpenAI's API, say, is spoken
    in many places. Any other host may be a gateway to each that has.
    """
    having = [service for service in services() if service.endpoint(method, path) is not None]
    at_home = [service for service in having if service.is_at(host)]
    if at_home:
        return sorted(at_home, key=lambda service: not service.hosts.match(host))
    return having[:1] if any(service.hosts.match(host) for service in services()) else having


def scripted_endpoint(method: str, url: str) -> tuple[Service, Endpoint] | None:
    """Return the provider and the endpoint of a request that a script can answer, whatever its host.

    Of several with such a path it is the provider whose host that is, if one is.
    """
    path, host = _split(url)
    asked = ((service, service.endpoint(method, path)) for service in services())
    found = [(service, endpoint) for service, endpoint in asked if endpoint is not None and endpoint.is_codec]
    return next((pair for pair in found if pair[0].hosts.match(host)), found[0] if found else None)


def _split(url: str) -> tuple[str, str]:
    """Return the path and the host of a URL; of one that is none, nothing."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return "", ""
    return parts.path, host


def add_provider(service: Service) -> ExitStack:
    """Let a provider from outside this package be faked, recorded and checked: `FakeProvider("its name")`.

    It stays for the whole process; as a block, `with add_provider(service):`, or with `close()` on what is returned,
    for a while. Raises `TypeError` for what is no `Service`, and `ValueError` for a name that another has.
    """
    if not isinstance(service, Service):
        msg = f"a provider is a fakellm.wire.Service, not {service!r}"
        raise TypeError(msg)
    if service.name in PROVIDERS or _added.get(service.name, service) is not service:
        msg = f"there is a provider {service.name!r} already; give yours another name"
        raise ValueError(msg)
    _added[service.name] = service
    stack = ExitStack()
    stack.callback(_added.pop, service.name, None)
    return stack
