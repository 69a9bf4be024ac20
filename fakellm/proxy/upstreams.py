"""Where the real providers are, and what URL a request to the proxy has there.

A provider's URL is the one that its SDK is given as its base URL. The SDKs differ in how much of a path they add: that
of OpenAI is given `https://api.openai.com/v1`, that of Anthropic a host alone. So a request to the proxy, whose
own base URL for OpenAI ends with `/v1` too, has the rest of its path behind the provider's URL.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from fakellm.wire.providers import provider_names, service_of
from fakellm.wire.service import Service

_HOMES = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
    "ollama": "http://127.0.0.1:11434",
    "cohere": "https://api.cohere.com",
    "mistral": "https://api.mistral.ai",
    "dashscope": "https://dashscope.aliyuncs.com/api/v1",
    "replicate": "https://api.replicate.com",
}
PORTS = {"http": 80, "https": 443}
_REGION = "us-east-1"


class Place(NamedTuple):
    """Where connections lead to."""

    scheme: str
    host: str
    port: int

    @property
    def is_secure(self) -> bool:
        """Whether they are encrypted."""
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """The host as a request names it, with a port that is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


class Upstream(NamedTuple):
    """A provider at its URL, whose path is `path`; `base_path` is what the base URLs of its SDK end with."""

    name: str
    place: Place
    path: str
    base_path: str

    @classmethod
    def of(cls, service: Service, url: str) -> Upstream:
        """Return a provider at a URL. Raises `ValueError` for what is none."""
        try:
            parts = urlsplit(url)
            port = parts.port or PORTS.get(parts.scheme, 0)
            host = (parts.hostname or "").encode("idna").decode()
        except ValueError as error:
            msg = f"{url!r} is no URL: {error}"
            raise ValueError(msg) from None
        if parts.scheme not in PORTS or not host or parts.query or parts.fragment:
            msg = f"{url!r} is no base URL; write one such as {_HOMES.get(service.name, 'https://host/path')}"
            raise ValueError(msg)
        if parts.username or parts.password:
            msg = f"the URL of {service.name} has a password in it; the client sends its key itself"
            raise ValueError(msg)
        place = Place(parts.scheme, host, port)
        return cls(service.name, place, parts.path.rstrip("/"), service.base_path)

    def __str__(self) -> str:
        return f"{self.place}{self.path}"

    def target_of(self, path: str) -> str:
        """Return the target of a request, path and query, for that of one to the proxy, whose prefix is taken off."""
        base = self.base_path
        if base and path[len(base) : len(base) + 1] in ("", "/", "?") and path.startswith(base):
            return f"{self.path}{path[len(base) :]}" or "/"
        return f"{self.path.removesuffix(base)}{path}"


def upstreams(given: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, Upstream]:
    """Return the providers by their names: where they are given, else where the environment points their SDKs to.

    Raises `ValueError` for a provider that nobody knows, and for what is no URL.
    """
    for name in given:
        service_of(name)
    found: dict[str, Upstream] = {}
    for name in provider_names():
        service = service_of(name)
        url = given.get(name) or _pointed(service, environ) or _home(name, environ)
        if url:
            found[name] = Upstream.of(service, url)
    return found


def _pointed(service: Service, environ: Mapping[str, str]) -> str:
    """Return where the environment points an SDK; a provider that is a server of one's own may be named by its host."""
    url = environ.get(service.base_url, "") if service.base_url else ""
    return f"http://{service.place_of(url)}" if url and service.port is not None and "://" not in url else url


def _home(name: str, environ: Mapping[str, str]) -> str:
    if name != "bedrock":
        return _HOMES.get(name, "")
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or _REGION
    return f"https://bedrock-runtime.{region}.amazonaws.com"
