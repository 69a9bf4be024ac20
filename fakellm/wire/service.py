"""What a provider is, as data: its hosts, its endpoints, the environment of its SDK, and what answers each endpoint.

A provider's folder says it in `service.py`, as the constant `SERVICE`. What answers is named,
`"package.module:Name"`, and is imported when the first request needs it; a codec or a function that is at hand may
stand there itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from fakellm.wire.codec import Codec
from fakellm.wire.quotas import Quotas

if TYPE_CHECKING:
    from fakellm.wire.rules import Rules

_CONDITION = re.compile(r"^\^\(\?!.*?\)\.\*")
"""What a pattern of a path begins with that says where the path is not."""
_UNSEEN = object()
_SEEN = 512
"""Paths and hosts of which a service knows what they are; clients choose them, so there is a bound."""
Document = Callable[[Any, str], dict[str, Any]]
"""Answers a small endpoint: the request's JSON and its path with query to a JSON document."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint: the API's name, the method, a pattern of its path, and what answers; see `endpoint`, `document`.

    `grammar` is what `check_wire` holds streams of this API to, if the provider brings one: a class, or its name.
    `rules` are what a strict fake holds requests to: `Rules`, or where they are.
    """

    api: str
    method: str
    path: re.Pattern[str]
    answers: str | type[Codec] | Document
    is_codec: bool = True
    grammar: str | type | None = None
    rules: str | Rules | None = None

    @property
    def shown(self) -> str:
        """What its path ends with, as errors show it."""
        return _CONDITION.sub("", self.path.pattern).strip("$")


def endpoint(
    api: str,
    path: str,
    answers: str | type[Codec],
    *,
    method: str = "POST",
    grammar: str | type | None = None,
    rules: str | Rules | None = None,
) -> Endpoint:
    """Return an endpoint that a script answers, through a `Codec` or the class that its name, `"module:Name"`, finds.

    `path` is a regular expression that is searched for in the path of a URL, without its query.
    """
    return Endpoint(api, method, re.compile(path), answers, grammar=grammar, rules=rules)


def document(api: str, path: str, answers: str | Document, *, method: str = "POST") -> Endpoint:
    """Return an endpoint that needs no script: a function of the request's JSON and path returns a document."""
    return Endpoint(api, method, re.compile(path), answers, is_codec=False)


@dataclass(frozen=True, slots=True)
class Service:
    """A provider: its name, what its hosts are, and its endpoints, of which the first that fits answers.

    `keys` are the environment variables, any of which its SDK takes a key from, and `base_url` is the one that points
    the SDK elsewhere. `profiles` are habits of services that speak its APIs in ways of their own, or where those are.
    `error_events` are the forms that an error inside a stream comes in: in an event with a name (True), without one
    (False), or as its codec writes it (None). `guest` are places on the hosts of others where its APIs are answered,
    a pattern of `host/path`; `alike` are hosts of other services whose small endpoints have the same paths. `port` is
    that of a provider that is a server of one's own: what is asked there is its own on any host, this machine too,
    which its SDK asks by itself, and `base_url` may name a host alone. `base_path` is the path that the SDK is given
    behind the host, and `signs` are headers of requests that only its SDK sends. `environment` are other variables that
    it asks for, each with a value for where there is none; `credentials` are hosts that it would ask for credentials,
    which are refused while the provider is faked, and `tokens` are hosts that it would ask for a token, which are
    answered. `habits` are domains, as patterns, that speak its APIs in the ways of a profile, each with the profile's
    name, and `clients` the modules of such services' own clients, each with the environment variable of its key.
    `kept` are modules, each with the attribute in which its SDK keeps a key that it read when it was imported.
    `fetched` are paths at which an answer is fetched that another request asked for; its first group is which.
    `quotas` is how it limits requests, a class of `Quotas`, or where that is.
    """

    name: str
    hosts: re.Pattern[str]
    endpoints: tuple[Endpoint, ...]
    keys: tuple[str, ...] = ()
    base_url: str = ""
    profiles: str | Mapping[str, Any] = ""
    quotas: str | type[Quotas] = "fakellm.wire.quotas:Quotas"
    error_events: tuple[bool | None, ...] = (None,)
    guest: re.Pattern[str] | None = None
    alike: re.Pattern[str] | None = None
    port: int | None = None
    base_path: str = ""
    signs: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    credentials: re.Pattern[str] | None = None
    tokens: re.Pattern[str] | None = None
    habits: tuple[tuple[str, str], ...] = ()
    clients: tuple[tuple[str, str], ...] = ()
    kept: tuple[tuple[str, str], ...] = ()
    fetched: re.Pattern[str] | None = None
    _seen: dict[tuple[str, str], Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def is_at(self, host: str) -> bool:
        """Tell whether a host is its own, or of another service that has the same endpoints."""
        return bool(self.hosts.match(host)) or (self.alike is not None and self.alike.match(host) is not None)

    def has(self, place: str) -> bool:
        """Tell whether a place, `host:port`, is its own on whatever host it is."""
        return self.port is not None and place.endswith(f":{self.port}")

    def place_of(self, url: str) -> str:
        """Return the `host:port` or the host that its SDK asks where its environment says this, or nothing."""
        if not url or self.port is None or "://" in url:
            return urlsplit(url).netloc.rpartition("@")[2]
        try:
            parts = urlsplit(f"//{url}")
            host, port = parts.hostname or "127.0.0.1", parts.port or self.port
        except ValueError:  # of no URL, which the SDK refuses too
            return ""
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def endpoint(self, method: str, path: str) -> Endpoint | None:
        """Return the endpoint of a request, if it is one that can be faked. The colon of a method may be escaped."""
        return self._known(method, path, self._endpoint)  # type: ignore[no-any-return]

    def _endpoint(self, method: str, path: str) -> Endpoint | None:
        paths = [path, path.replace("%3A", ":").replace("%3a", ":")] if "%3" in path else [path]
        return next((e for p in paths for e in self.endpoints if e.method == method and e.path.search(p)), None)

    def profile_at(self, host: str) -> Any:
        """Return the profile that a host has by itself, or None."""
        name = self._known("", host, self._habit) if self.habits else None
        return None if name is None else self.profile(name)

    def _habit(self, _: str, host: str) -> str | None:
        return next((name for domain, name in self.habits if re.fullmatch(rf"([\w-]+\.)*({domain})", host)), None)

    def _known(self, method: str, place: str, find: Callable[[str, str], Any]) -> Any:
        """Return what was found for a request like this before: a server is asked for the same thousands of times."""
        known = self._seen.get((method, place), _UNSEEN)
        if known is _UNSEEN:
            known = find(method, place)
            if len(self._seen) >= _SEEN:
                self._seen.clear()
            self._seen[method, place] = known
        return known

    def profile(self, name: str) -> Any:
        """Return a profile by its name. Raises `ValueError` that names those that there are."""
        profiles: Mapping[str, Any] = found(self.profiles) if self.profiles else {}
        if name not in profiles:
            msg = f"there is no profile {name!r}; there are {', '.join(profiles)}"
            raise ValueError(msg if profiles else f"there is no profile {name!r}: {self.name} has none")
        return profiles[name]


@cache
def _at(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def found(answers: Any) -> Any:
    """Return what a place, `"module:Name"`, names; anything else is at hand already."""
    return _at(answers) if isinstance(answers, str) else answers


@cache
def codec_of(endpoint: Endpoint, profile: Any = None) -> Codec:
    """Return the codec of an endpoint, with the habits of a profile where there is one."""
    kind: type[Codec] = found(endpoint.answers)
    return kind.speaking(profile) if profile is not None else kind()


def document_of(endpoint: Endpoint) -> Document:
    """Return the function that answers a small endpoint."""
    return cast("Document", found(endpoint.answers))
