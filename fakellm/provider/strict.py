"""Requests that the real API would refuse, refused as it does: opt-in, and beside all that is scripted."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from fakellm.errors import ScriptError, clip
from fakellm.provider.exchange import ProviderCall
from fakellm.provider.hosts import LOOPBACK, parts_of
from fakellm.runnable.shown import call as written
from fakellm.runnable.shown import named, unusual
from fakellm.wire.service import Endpoint, Service, found

if TYPE_CHECKING:
    from fakellm.wire.rules import Rules

Window = int | Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Strictness:
    """How strict a fake is."""

    window: Window | None
    allow: Collection[str]

    def window_of(self, model: str) -> int | None:
        """Return how many tokens a model takes; of a table the longest name that the model's begins with counts."""
        if not isinstance(self.window, Mapping):
            return self.window
        fitting = [name for name in self.window if re.match(rf"(.*/)?{re.escape(name)}", model)]
        return self.window[max(fitting, key=len)] if fitting else None


class Strict(ABC):
    """A provider that may hold requests to the rules of the real API.

    `is_served` tells that a server stands for it, so that requests are to it whatever their host is called.
    """

    name: str
    service: Service
    is_served = False
    _strictness: _Strictness | None = None

    def strict_requests(
        self,
        on: bool = True,  # noqa: FBT001, FBT002 - as one switches a thing on
        *,
        context_window: Window | None = None,
        allow: Sequence[str] = (),
    ) -> Self:
        """Refuse requests that the real API would refuse, with its own 400 and in its words. Returns the provider.

        A request is held to the types of the installed SDK, and to the rules that docs/strict-requests.md lists: each
        with its source. One that is refused uses no reply; the report says which rule, where, and what to do, and
        `calls[...].refusal` has it. The answer to all others is the same. `context_window` is how many tokens a model
        takes, counted as words, or a table of that by the beginning of the model's name. `allow` are names of rules
        that are not to hold. `strict_requests(on=False)` holds to none.

        Raises `ScriptError` for a window that is none, and for a rule that the provider does not have.
        """
        if not on:
            self._strictness = None
            return self
        windows = context_window.values() if isinstance(context_window, Mapping) else [context_window]
        for window in windows:
            if window is not None and (type(window) is not int or window < 1):
                msg = f"context_window is how many tokens a model takes, from 1 up, not {clip(repr(window), 40)}"
                raise ScriptError(msg)
        self._strictness = _Strictness(context_window, self._known(allow))
        return self

    @property
    def is_strict(self) -> bool:
        """Whether it refuses what the real API would."""
        return self._strictness is not None

    def _known(self, allow: Sequence[str]) -> Collection[str]:
        names = [allow] if isinstance(allow, str) else list(allow)
        if not names:
            return ()
        rules = dict.fromkeys(rule.name for endpoint in self.service.endpoints for rule in _rules(endpoint))
        if unknown := next((name for name in names if name not in rules), None):
            msg = f"{self.name} has no rule {unknown!r}; there are {', '.join(rules) or 'none'}"
            raise ScriptError(msg)
        return frozenset(names)

    def _strictly(self) -> str:
        """Write the call that makes it strict, if it is."""
        if self._strictness is None:
            return ""
        options = {"context_window": self._strictness.window, "allow": sorted(self._strictness.allow)}
        return written(".strict_requests", named(unusual(options, allow=[])))

    def _hold(self, call: ProviderCall, endpoint: Endpoint, path: str) -> None:
        """Raise `WireError` for a request that the real API would refuse, as it does."""
        if (strictness := self._strictness) is None or not isinstance(call.json, dict):
            return
        if (rules := found(endpoint.rules)) is None:
            return
        from fakellm.wire.rules import Asked  # which most fakes have no use for

        profile = self._profile_of(call)
        asked = Asked(
            call.json,
            call.request,
            path,
            {name.lower(): value for name, value in call.headers.items()},
            self._is_alike(call, rules, profile),
            profile,
            strictness.window_of(call.request.model),
        )
        call.refusal = rules.refusal(asked, strictness.allow)
        if call.refusal is not None:
            raise call.refusal.error()

    def _is_alike(self, call: ProviderCall, rules: Rules, profile: Any) -> bool:
        """Tell whether the request is to a service that only speaks the API of this provider."""
        host = parts_of(call.url).hostname or ""
        is_here = self.is_served or self.owns(call.url) or LOOPBACK.match(host) is not None
        is_guest = self._is_guest(call.url)
        return not rules.is_own(profile) or (not rules.is_at_guests if is_guest else not is_here)

    @abstractmethod
    def owns(self, url: str) -> bool:
        """Tell whether a URL is the provider's own."""

    @abstractmethod
    def _is_guest(self, url: str) -> bool: ...

    @abstractmethod
    def _profile_of(self, call: ProviderCall) -> Any: ...


def _rules(endpoint: Endpoint) -> tuple[Any, ...]:
    rules = found(endpoint.rules)
    return () if rules is None else rules.rules
