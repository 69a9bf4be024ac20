"""Certificates that are loaded when a connection needs them, while fakes or tapes stand in front of the network.

Every client of httpx and httpx2 makes an SSL context, google-genai's three, and each context reads the machine's
certificates: 20 to 50 ms, four fifths of what a faked call takes, for a network that is never reached. To share one
context among clients would be wrong: a context can be changed, and what one test does to it must not reach the next.
So each client keeps its own, and only the reading waits: it is done when the context is first asked to wrap a socket,
or to show its certificates. A client that outlives the fake verifies as it always did, for what waits belongs to its
context, not to the fake.

Only the bundles of the machine wait: certifi's, the system's, that of `SSL_CERT_FILE`. They were there, and will be. A
bundle that somebody names for a context of their own is read at once: it may be gone by then, or be found wrong.
"""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from fakellm.http.network import put

_NEEDING = ("_wrap_socket", "_wrap_bio", "get_ca_certs", "cert_store_stats")
"""What of a context needs its certificates; each way to wrap a socket goes through the first two."""

_LOAD: Any = ssl.SSLContext.__base__.load_verify_locations  # type: ignore[union-attr]  # below all that anybody replaces

Locations = tuple[str | None, str | None]


def wait_for_use(stack: ExitStack) -> None:
    """Let contexts that are made while the stack lives load the machine's certificates when they need them.

    Where something else has put a class of its own in the place of `ssl.SSLContext`, nothing is changed.
    """
    if ssl.SSLContext.__module__ != "ssl":
        return
    load, load_default = ssl.SSLContext.load_verify_locations, ssl.SSLContext.set_default_verify_paths

    def load_verify_locations(
        context: ssl.SSLContext, cafile: Any = None, capath: Any = None, cadata: Any = None
    ) -> None:
        if cadata is None and _is_of_the_machine(cafile):
            _wait(context, (cafile, capath))
        else:
            load(context, cafile, capath, cadata)

    def set_default_verify_paths(context: ssl.SSLContext) -> None:
        paths = ssl.get_default_verify_paths()  # those of now: they depend on the environment
        if _is_of_the_machine(paths.cafile):
            _wait(context, (paths.cafile, paths.capath))
        else:
            load_default(context)

    put(ssl.SSLContext, "load_verify_locations", load_verify_locations, stack)
    put(ssl.SSLContext, "set_default_verify_paths", set_default_verify_paths, stack)


def _is_of_the_machine(cafile: Any) -> bool:
    """Tell whether a file is one of the machine's bundles, and one that can be loaded."""
    if not isinstance(cafile, str):
        return False
    certifi, paths = sys.modules.get("certifi"), ssl.get_default_verify_paths()
    known = (certifi.where() if certifi else None, os.environ.get("SSL_CERT_FILE"), paths.cafile, paths.openssl_cafile)
    real = os.path.realpath(cafile)
    if real not in {os.path.realpath(path) for path in known if path} or not Path(real).is_file():
        return False
    found = Path(real).stat()
    return _loads(real, found.st_mtime_ns, found.st_size)


@cache
def _loads(path: str, *_: int) -> bool:
    """Tell whether a bundle of this time and size can be loaded; if not, the error belongs where a context asks."""
    try:
        _LOAD(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), path)
    except (OSError, ssl.SSLError):
        return False
    return True


def _wait(context: ssl.SSLContext, locations: Locations) -> None:
    """Note what a context has to load before it does what needs certificates."""
    waiting = vars(context).setdefault("_waiting", _Waiting([], Lock()))
    with waiting.lock:
        waiting.locations.append(locations)
        if not hasattr(context, "loads_first"):
            context.__class__ = _kind_that_waits(type(context))  # type: ignore[arg-type]  # a class is hashable


class _Waiting(NamedTuple):
    """What a context has not loaded yet."""

    locations: list[Locations]
    lock: Any


@cache  # one for each class of contexts, of which there are one or two
def _kind_that_waits(kind: Any) -> type[ssl.SSLContext]:
    """Return the class of contexts that load first, and are of their own kind again from then on."""

    def loading(name: str) -> Callable[..., Any]:
        def load_first(context: Any, *args: Any, **kwargs: Any) -> Any:
            waiting = vars(context)["_waiting"]
            with waiting.lock:  # whoever comes meanwhile comes here too, and waits
                while waiting.locations:
                    _LOAD(context, *waiting.locations[0])
                    del waiting.locations[0]
                context.__class__ = kind
            return getattr(context, name)(*args, **kwargs)

        return load_first

    return type(kind.__name__, (kind,), {"loads_first": True, **{name: loading(name) for name in _NEEDING}})
