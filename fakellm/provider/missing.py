"""What a fake provider says of a request that it has no answer to: what was asked, what was scripted, the nearest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from fakellm.errors import UnexpectedRequestError, explain
from fakellm.models.conversing import Astray, leaves
from fakellm.models.kept import Kept
from fakellm.models.replies import Replies
from fakellm.provider.exchange import ProviderCall
from fakellm.provider.hosts import parts_of
from fakellm.provider.routes import Route
from fakellm.secrets.knowing import knowing
from fakellm.wire.providers import services_at
from fakellm.wire.service import Service


class Missing:
    """The errors of a provider, and the log of those."""

    name: str
    service: Service
    misses: Kept[UnexpectedRequestError]
    _replies: Replies

    def _check_inside(self, call: ProviderCall) -> None:
        """Raise for a request that nothing fits and that leaves a conversation which it is in."""
        with knowing(call.credentials):
            if (astray := self._replies.astray(cast("Any", call), inside=True)) is not None:
                raise self._astray_of(call, astray)

    def _astray_of(self, call: ProviderCall, astray: Astray) -> UnexpectedRequestError:
        """Return the error of a request that leaves a conversation, and keep it."""
        others = [str(reply) for reply in self._replies.all if reply.group is None]
        with knowing(call.credentials):
            miss = UnexpectedRequestError(leaves(f"request {call.number} to the fake {self.name}", astray, others))
        return self._kept(call, miss)

    def _kept(self, call: ProviderCall, miss: UnexpectedRequestError) -> UnexpectedRequestError:
        miss.credentials = call.credentials
        self.misses.append(miss)
        return miss

    def _no_reply(self, call: ProviderCall) -> UnexpectedRequestError:
        with knowing(call.credentials):
            if (astray := self._replies.astray(cast("Any", call), inside=False)) is not None:
                return self._astray_of(call, astray)
        request = call.request
        routes = cast("list[Route]", self._replies.all)
        spent = [
            route
            for route in routes
            if route.is_spent and not callable(route.matcher) and route.fits(cast("Any", call))
        ]
        rules = [route for route in routes if route.kind == "when" and not route.is_spent]
        if spent:
            last = max(spent, key=lambda route: route.calls[-1])
            why = f"every reply that fits was given already; the last of them {last.last_use('request')}"
        else:
            why = "no when() fits" if routes else "nothing was scripted"
        nearest = []
        if rules:
            best = max(rules, key=lambda route: route.likeness(request))
            nearest = ["\n".join([str(best), *best.differences(request)])]
        remedy = ["script one more .reply(...), or an .otherwise(...) for any request that nothing else fits"]
        if spent:
            remedy.append(
                f"if the app should not ask again, this is its bug: look where request {call.number} comes from"
            )
        return self._missed(call, f"has no reply: {why}", remedy, nearest)

    def _missed(
        self, call: ProviderCall, why: str, remedy: Sequence[str], nearest: Sequence[str] = ()
    ) -> UnexpectedRequestError:
        told = sorted(cast("list[Route]", self._replies.all), key=lambda route: bool(route.calls))
        with knowing(call.credentials):
            text = explain(
                f"request {call.number} to the fake {self.name} {why}" if why.startswith("has") else why,
                sent=[call.asked()],
                expected=[str(route) for route in told] or ["nothing"],
                difference=nearest,
                remedy=remedy,
            )
        return self._kept(call, UnexpectedRequestError(text))

    def _unknown(self, call: ProviderCall) -> UnexpectedRequestError:
        parts = parts_of(call.url)
        path = parts.path
        having = services_at(call.method, parts.hostname or "", path)
        others = [service.name for service in having if service is not self.service]
        known = ", ".join(dict.fromkeys(f"{e.method} …{e.shown}" for e in self.service.endpoints))
        remedy = [
            f"it answers {known}",
            *(f"{name} has such an endpoint: add the fixture fake_{name}" for name in others),
            f"answer it: fake_{self.name}.document({call.method!r}, {path!r}, {{...}}); or mock it with respx",
        ]
        return self._missed(call, f"the fake {self.name} does not know this endpoint", remedy)
