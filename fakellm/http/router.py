"""A fake provider on a router of respx, beside the routes that are there."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from fakellm.http.pool import Reading
from fakellm.http.transports import play
from fakellm.provider.provider import FakeProvider


def mount(provider: FakeProvider, router: Any, module: ModuleType, **patterns: Any) -> Any:
    """Let the provider answer on a respx router, beside the routes that are there; return its route.

    `module` is the library whose requests the router sees: `httpx`, or `httpx2` for the router of pytest-httpx2 and
    others that stand before httpx2. `patterns` are respx's own; by default the provider's hosts. Endpoints that it does
    not know are left to routes that match them. Silence before the headers blocks, on clocks that really wait.
    """
    import httpx  # respx makes its responses of it, whichever library asks

    def side_effect(request: Any) -> Any:
        if not provider.knows(request.method, str(request.url)):
            others = [other for other in router.routes if other is not route and other.pattern is not None]
            if any(other.pattern.match(request) for other in others):
                return None  # respx takes it for no match, and goes on to those
        exchange = provider.handle(request.method, str(request.url), request.headers, request.read())
        return play(module, exchange, provider.clock, request, Reading(), responses=httpx).open()

    own = "|".join(
        [
            provider.service.hosts.pattern,
            *(f"^{re.escape(urlsplit(f'//{host}').hostname or '')}$" for host in provider.hosts),
        ]
    )
    route = router.route(**(patterns or {"host__regex": own})).mock(side_effect=side_effect)
    return route
