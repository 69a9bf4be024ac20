"""Pages of browsers: the fakes let them read, as the real APIs do, and the control of the server does not.

The fakes. A page of another origin may ask an API if that says so (CORS): the browser asks first, by a preflight, and
lets the page read an answer only if it bears the header. The APIs that have SDKs for browsers allow any page.

The control. Whoever may script a server on this machine is who can reach it, and a browser reaches it for every page
that it shows. Three things keep those out. A page of another origin cannot hide where it is from: browsers send
`Origin` with all that could change something, and `Sec-Fetch-Site` with the rest. It cannot read what it is not allowed
to, since nothing here allows it. And a page whose own name is made to lead to this machine (DNS rebinding) is of the
same origin for its browser, but `Host` has that name: so only names are answered that nobody can register.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from fakellm.provider.answering import with_headers
from fakellm.provider.exchange import Exchange, ProviderCall

_LOCAL = re.compile(r"(?i)(localhost|.+\.localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?")
_NEAR = re.compile(
    r"(?i)([a-z\d_-]+|.+\.(local|localhost|internal|test|example|invalid|home\.arpa)|\d{1,3}(\.\d{1,3}){3}"
    r"|\[[\da-f:.]+\])\.?(:\d{1,5})?"
)
"""Hosts that no page of the web can have: single names, addresses, and what RFC 2606, 6761, 6762 and 8375 set apart."""
_HANDED_ON = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
_LOOPBACK = re.compile(r"127(\.\d{1,3}){3}|::1|(?i:::ffff:)127(\.\d{1,3}){3}")
_OPEN = {"access-control-allow-origin": "*", "access-control-expose-headers": "*"}


def is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    """Tell whether a browser asks if a page may ask."""
    return method == "OPTIONS" and "access-control-request-method" in headers


def preflight(method: str, target: str, headers: Mapping[str, str]) -> Exchange:
    """Return the answer to that: every page may ask what it wants to, as with the APIs themselves."""
    told = [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", headers["access-control-request-method"]),
        ("access-control-max-age", "600"),
        ("vary", "access-control-request-method, access-control-request-headers"),
        ("content-length", "0"),
    ]
    if asked := headers.get("access-control-request-headers"):  # "*" would not allow `authorization`
        told.insert(2, ("access-control-allow-headers", asked))
    for name in ("private", "local"):  # of a page in the web that asks a server on this machine
        if headers.get(f"access-control-request-{name}-network") == "true":
            told.insert(0, (f"access-control-allow-{name}-network", "true"))
    return Exchange(ProviderCall(method, target, headers, b""), 200, told, [])


def open_to_pages(exchange: Exchange) -> None:
    """Let the page that asked read the answer, with its headers."""
    exchange.written = None  # with other headers
    exchange.headers = with_headers(exchange.headers, _OPEN)


def is_near(peer: str, headers: Mapping[str, str]) -> bool:
    """Tell whether a request is of this machine: by its address, and not handed on by a proxy that is here."""
    return _LOOPBACK.fullmatch(peer) is not None and not any(name in headers for name in _HANDED_ON)


def foreign(headers: Mapping[str, str], *, is_open: bool, known: str = "") -> str | None:
    """Say why a request may be that of a page which is not the server's own, or None if it is not.

    `is_open` is whether other machines may ask; `known` is a host that the server was told to listen on.
    """
    host = headers.get("host", "")
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    allowed = _NEAR if is_open else _LOCAL
    if not allowed.fullmatch(host) and not (known and name.strip("[]").lower() == known.lower()):
        wanted = "an address, or a name that is not of the web" if is_open else "127.0.0.1 or localhost"
        return f"the server was asked as the host {host!r}, which may be a web page's; ask it as {wanted}"
    origin = headers.get("origin")
    if origin is not None and origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
        return f"a page of {origin} asks, which is not the server's own"
    site = headers.get("sec-fetch-site", "same-origin")
    if site not in ("same-origin", "none"):
        return f"a page of another site asks (sec-fetch-site: {site})"
    return None
