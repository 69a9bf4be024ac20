"""What a scenario tells a fake model, which is called, and not asked over HTTP.

A call has no model's name, no tools, no body and no API, so a reply that wants one of those is for no call of a model,
and is not told it. All else is: what a call has of a conversation are its messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fakellm.agents.scripted import Conversation
from fakellm.models.models import FakeModel
from fakellm.provider.itself import by_itself
from fakellm.provider.routes import Route
from fakellm.script.latency import Latency
from fakellm.script.messages import as_messages
from fakellm.script.script import Script
from fakellm.wire.codec import Request

_NOT_OF_CALLS = ("model", "tools", "json", "api")


def tell_model(model: FakeModel[Any], routes: Iterable[Route], latency: Latency | None) -> None:
    """Script a model with replies of a scenario. Raises `TypeError` for one that a model cannot say."""
    for route in routes:
        if any(getattr(route, name) not in (None, ()) for name in _NOT_OF_CALLS):
            continue
        said = _said(route, latency)
        if route.kind == "when":
            model.when(_matcher(route), said, role=route.role, times=route.times)
        elif route.kind == "otherwise":
            model.otherwise(said)
        else:
            for _ in range(route.times or 1):
                model.reply(said)


def is_for_models(talk: Conversation) -> bool:
    """Tell whether a conversation has no condition that only requests could meet."""
    return not talk.conditions.keys() & set(_NOT_OF_CALLS)


def _said(route: Route, latency: Latency | None) -> Any:
    """Return what a model says: a script with the silences that the first call of a provider has in it."""
    content, pace = route.content, route.latency or latency
    if isinstance(content, Script):
        return content if pace is None else pace.paced(content)

    def echo(prompt: object) -> Script:
        script = by_itself(Request("", "", tuple(as_messages(prompt))))
        return script if pace is None else pace.paced(script)

    return echo


def _matcher(route: Route) -> Any:
    """Return what matches a call: the reply's own matcher, or a predicate if there are conditions beside it."""
    if route.turn is None and route.after_tool is None and route.system is None:
        return route.matcher

    def fits(prompt: object) -> bool:
        asked = Request("", "", tuple(as_messages(prompt)))
        return route.meets(asked)

    return _named(fits, route)


def _named(predicate: Callable[[object], bool], route: Route) -> Callable[[object], bool]:
    """Give a predicate the name that a miss shows of it."""
    predicate.__name__ = ", ".join(route.conditions())
    return predicate
