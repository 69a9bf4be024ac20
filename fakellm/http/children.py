"""Children of this process, which are kept from providers by the environment that they are started with.

What answers and refuses stands in this process. A child that was forked has a copy of it: it is answered, and its log
stays in the child. One that runs a program of its own, another Python among them, has nothing of it. What reaches that
is its environment: where the SDKs find their base URL, and with a blocked network the proxy that most HTTP libraries
ask. Both lead to a port of this machine that nobody listens on, so the child meets a refused connection.

Why the environment of the child only. In this process the same variables would change which URL the app asks, and by
that what is on a tape and which fake is meant. So they are added where a child is started: to the mapping that is
handed on, or, where a child takes what C knows, to that, for the moment of the call and behind the back of
`os.environ`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from fakellm.http.network import Guard, put
from fakellm.wire.providers import services

_CLOSED = "http://127.0.0.1:9"  # the port of a service of 1983 (RFC 863) that machines do not offer any more
_BASE_URL = f"{_CLOSED}/refused-by-fakellm"
_CLOUDS = ("ANTHROPIC_BEDROCK_BASE_URL", "ANTHROPIC_VERTEX_BASE_URL", "GOOGLE_VERTEX_BASE_URL")
_PLACES = ("_BASE_URL", "_API_BASE", "_API_URL", "_ENDPOINT")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_LOCAL = "localhost,.localhost,127.0.0.1,::1,0.0.0.0"
_ENVIRONMENT = 11
"""The place of `env` among the arguments of `subprocess.Popen`, after itself."""


def refusals(guard: Guard, environment: Mapping[str, Any]) -> dict[str, str]:
    """Return what to add to the environment of a child so that it cannot ask what the guard refuses."""
    added: dict[str, str] = {}
    if guard.block_network or not guard.allows_providers:
        usual = {service.base_url for service in services() if service.port is None} - {""} | {*_CLOUDS}
        given = {name for name in environment if name.endswith(_PLACES) and guard.refuses(_host(environment[name]))}
        added = {name: _BASE_URL for name in usual | given if not _is_here(environment.get(name))}
        added |= dict.fromkeys(_of_servers(guard, environment), _BASE_URL)
    if guard.block_network:
        for name in _PROXIES:
            added |= {name: _CLOSED, name.lower(): _CLOSED}
        added |= {"NO_PROXY": _LOCAL, "no_proxy": _LOCAL}
    return added


def _of_servers(guard: Guard, environment: Mapping[str, Any]) -> Iterator[str]:
    """Yield the variables that point SDKs to a server of one's own, if that is refused.

    Such an SDK asks this machine by itself, as is allowed, but for a server that is faked: then the real one, which may
    run there, is not to be asked instead.
    """
    for service in services():
        if service.port is not None:
            host = _host(f"//{service.place_of(os.fsdecode(environment.get(service.base_url, '')))}")
            if guard.refuses(host) or any(provider.service is service for provider in guard.faked):
                yield service.base_url


def _host(url: Any) -> str:
    try:
        return urlsplit(os.fsdecode(url)).hostname or ""
    except ValueError:
        return ""


def _is_here(url: Any) -> bool:
    """Tell whether a URL leads to this machine: a server of the test's own."""
    return bool(url and (host := _host(url)) and Guard.is_local(host))


@contextmanager
def kept_by(guard: Guard) -> Iterator[None]:
    """Start children with an environment that refuses, inside the block."""
    with ExitStack() as stack:
        put(subprocess.Popen, "__init__", _handing_on(guard, subprocess.Popen.__init__, _ENVIRONMENT), stack)
        for name in ("execve", "posix_spawn", "posix_spawnp"):
            if hasattr(os, name):
                put(os, name, _handing_on(guard, getattr(os, name), 2), stack)
        for owner, name in ((os, "execv"), (os, "system"), *_SPAWNING):
            put(owner, name, _leaving_to_c(guard, getattr(owner, name)), stack)
        yield


def _handing_on(guard: Guard, original: Callable[..., Any], place: int) -> Callable[..., Any]:
    """Return what starts a child with an environment: the argument `env`, at this place, or that of this process."""

    def start(*args: Any, **kwargs: Any) -> Any:
        given = kwargs.get("env") if len(args) <= place else args[place]
        known = {os.fsdecode(name): value for name, value in (os.environ if given is None else given).items()}
        known |= refusals(guard, known)
        if len(args) > place:
            return original(*args[:place], known, *args[place + 1 :], **kwargs)
        return original(*args, **{**kwargs, "env": known})

    return start


def _leaving_to_c(guard: Guard, original: Callable[..., Any]) -> Callable[..., Any]:
    """Return what starts a child with the environment that C knows, of which `os.environ` is a copy."""

    def start(*args: Any, **kwargs: Any) -> Any:
        added = refusals(guard, os.environ)
        for name, value in added.items():
            os.putenv(name, value)
        try:
            return original(*args, **kwargs)
        finally:
            for name in added:
                if name in os.environ:
                    os.putenv(name, os.environ[name])
                else:
                    os.unsetenv(name)

    return start


def _spawning() -> list[tuple[Any, str]]:
    """Return what multiprocessing starts its children with, where that is a function that can be replaced."""
    try:
        return [(import_module("_posixsubprocess"), "fork_exec")]
    except ImportError:
        return []


_SPAWNING = _spawning()
