"""What a fake provider was told to answer, and to which requests: conditions, and how far a request is from them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import SequenceMatcher
from itertools import count
from typing import Any, cast

from fakellm.errors import ScriptError, clip
from fakellm.models.calls import Call
from fakellm.models.replies import Reply, check_matcher
from fakellm.provider.conversation import system_of, tools_answered, turn_of
from fakellm.runnable.shown import call, named, unusual
from fakellm.script.events import http_error
from fakellm.script.latency import Latency, checked
from fakellm.script.messages import Message, role_of
from fakellm.script.script import Script
from fakellm.wire.codec import Request
from fakellm.wire.wireform import WireForm

_BY_NAME = ("model", "tools", "json", "api", "turn", "after_tool", "system")
"""The conditions that only requests to providers have."""


def names_of(tools: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names of tools, of which one may stand alone. Raises `TypeError` for what are none."""
    names = [tools] if isinstance(tools, str) else [*tools] if isinstance(tools, Iterable) else None
    if names is None or not all(isinstance(name, str) for name in names):
        msg = f"tools are the names of tools that the request offers, not {tools!r}"
        raise TypeError(msg)
    return tuple(names)


@dataclass(slots=True, eq=False)
class Route(Reply):
    """A reply to requests that meet all of its conditions.

    `matcher` is a text that occurs in the last message, a pattern that is found in it, or a predicate of the
    `Request`; `role` is that message's. `model` is a name or a pattern, `tools` are names that the request offers among
    others, `json` is a fragment of its body, `api` the codec's name. `turn` is which answer of the model is asked for,
    `after_tool` a tool whose result came since the last, `system` a text or a pattern in the system messages.
    `headers` are added to the answer's, and replace those of the same name. `latency` is the pace of the answer, in
    place of the provider's, and `form` how it is written. `place` is the line that scripted it.
    """

    model: str | re.Pattern[str] | None = None
    tools: tuple[str, ...] = ()
    json: Any = None
    api: str | None = None
    turn: int | None = None
    after_tool: str | None = None
    system: str | re.Pattern[str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    latency: Latency | None = None
    form: WireForm | None = None
    place: str = ""
    key: int = field(default_factory=count().__next__)
    asks_for_text: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        """Look whether the text of the last message is all that it asks for."""
        self.asks_for_text = all(getattr(self, name) in (None, ()) for name in ("role", *_BY_NAME))

    def check(self) -> None:
        """Raise `TypeError` or `ScriptError` for a reply that could answer no request, or that says so wrongly."""
        Reply.check(self)
        checked(self.latency)
        for name, value in self.headers.items():
            if not isinstance(name, str) or not isinstance(value, str):
                msg = f"headers are text by their name, and {name!r} is {clip(repr(value), 60)}; write it as text"
                raise TypeError(msg)

    def check_condition(self) -> None:
        """Raise for a condition that is none."""
        if all(getattr(self, name) in (None, ()) for name in ("matcher", "role", *_BY_NAME)):
            msg = (
                f"when() needs a condition: a text, a pattern, a predicate, or role=, {'=, '.join(_BY_NAME)}=; for "
                "every other request use otherwise()"
            )
            raise ScriptError(msg)
        check_matcher(self.matcher)
        for name in ("model", "system"):
            if (value := getattr(self, name)) is not None and not isinstance(value, (str, re.Pattern)):
                what = "a name" if name == "model" else "a text"
                msg = f"{name} is {what} or a compiled pattern, not {value!r}"
                raise TypeError(msg)
        if self.turn is not None and (type(self.turn) is not int or self.turn < 1):
            msg = f"turn is a number from 1 up, which counts the answers of the model, not {self.turn!r}"
            raise ScriptError(msg)
        if self.after_tool is not None and (not isinstance(self.after_tool, str) or not self.after_tool):
            msg = f"after_tool is the name of a tool, not {self.after_tool!r}"
            raise TypeError(msg)

    def options(self) -> dict[str, Any]:
        """Return what is said by name where it is scripted, without what is as usual."""
        more = {name: getattr(self, name) for name in (*_BY_NAME, "headers", "latency", "form")}
        return {**Reply.options(self), **unusual(more, tools=(), headers={})}

    def as_call(self) -> str:
        """Write the call that scripts it, such as `.when('hi', 'hello', model='gpt-4o')` or `.error(429)`."""
        event = self.content[0] if isinstance(self.content, Script) and len(self.content) == 1 else None
        if self.kind != "reply" or not isinstance(event, http_error):
            return Reply.as_call(self)
        usual = {f.name: f.default for f in fields(event)}
        more = unusual({f.name: getattr(event, f.name) for f in fields(event)[1:]}, **usual)
        own = unusual({"times": self.times, "headers": self.headers}, times=1, headers={})
        return call(".error", [repr(event.status), *named({**more, **own})])

    def fits(self, call: Call) -> bool:
        """Tell whether the request is one that this was scripted for."""
        return self.meets(cast("Request", call.input))

    def meets(self, request: Request) -> bool:
        """Tell whether a request meets all conditions. Nothing is worded: each reply is asked that by each request."""
        is_met = self.asks_for_text or next(self._beside_the_text(request), None) is None
        return is_met and self.matches(request.text, request)

    def differences(self, request: Request) -> list[str]:
        """Word each condition that the request does not meet, with what it has instead."""
        found = list(self._beside_the_text(request))
        is_asked = not found or not callable(self.matcher)  # a predicate may rely on the other conditions
        if is_asked and not self.matches(request.text, request):
            found.append(self._text_difference(request.text))
        return found

    def _beside_the_text(self, request: Request) -> Iterator[str]:
        """Word what the request does not meet of the conditions that look at more than its last message's text."""
        yield from _differs("api", self.api, request.api)
        yield from _differs("model", self.model, request.model)
        if self.role is not None:
            yield from _differs("role", role_of(self.role), _role(request))
        yield from self._conversation_differences(request.messages)
        if missing := [name for name in self.tools if name not in request.tools]:
            yield f"tools: wants {', '.join(missing)}; the request offers {', '.join(request.tools) or 'none'}"
        if self.json is not None:
            yield from fragment_differences(self.json, request.json)

    def _conversation_differences(self, messages: Sequence[Message]) -> list[str]:
        found: list[str] = []
        if self.turn is not None and (turn := turn_of(messages)) != self.turn:
            found.append(f"turn: wants {self.turn}, and is {turn}: the request holds {_counted(turn - 1)} of the model")
        if self.after_tool is not None and self.after_tool not in (came := tools_answered(messages)):
            what = f"came of {', '.join(came)}" if came else "came since the model spoke last"
            found.append(f"after_tool: wants a result of {self.after_tool}; {'one' if came else 'none'} {what}")
        if self.system is not None and not _holds(self.system, said := system_of(messages)):
            is_pattern = isinstance(self.system, re.Pattern)
            wanted = f"a match of {self.system.pattern!r}" if isinstance(self.system, re.Pattern) else repr(self.system)
            has = f"{'is' if is_pattern else 'the request says'} {clip(repr(said), 200)}"
            found.append(f"system: wants {wanted}, and {has if said else 'the request has no system message'}")
        return found

    def _text_difference(self, text: str) -> str:
        if isinstance(self.matcher, re.Pattern):
            return f"message: wants a match of {self.matcher.pattern!r}, and is {clip(repr(text), 200)}"
        if not isinstance(self.matcher, str):
            return "its predicate returned a false value"
        match = SequenceMatcher(None, self.matcher, text[:2000], autojunk=False).find_longest_match()
        alike = text[max(match.b - match.a, 0) : match.b - match.a + len(self.matcher)]
        nearest = f", and has {alike!r}" if match.size > 1 else f", and is {clip(repr(text), 200)}"
        return f"message: wants {self.matcher!r}{nearest}"

    def likeness(self, request: Request) -> float:
        """Return how near the request is: the fewer conditions it misses, the nearer; then by the text."""
        text = self.matcher if isinstance(self.matcher, str) else ""
        alike = SequenceMatcher(None, text, request.text[:2000], autojunk=False).ratio() if text else 0
        return alike - len(self.differences(request))

    def conditions(self) -> list[str]:
        """Word which requests this is for."""
        more = []
        for name in _BY_NAME:
            value = getattr(self, name)
            if value not in (None, ()):
                shown = value.pattern if isinstance(value, re.Pattern) else value
                more.append(f"{name}={clip(repr(shown), 80)}")
        return [*Reply.conditions(self), *more]


def _counted(answers: int) -> str:
    return f"{answers} answer{'' if answers == 1 else 's'}"


def _holds(wanted: str | re.Pattern[str], text: str) -> bool:
    return wanted.search(text) is not None if isinstance(wanted, re.Pattern) else wanted in text


def _role(request: Request) -> str:
    return request.messages[-1].role if request.messages else ""


def _differs(name: str, wanted: str | re.Pattern[str] | None, found: str) -> list[str]:
    if wanted is None or (wanted.search(found) if isinstance(wanted, re.Pattern) else wanted == found):
        return []
    shown = f"a match of {wanted.pattern!r}" if isinstance(wanted, re.Pattern) else repr(wanted)
    return [f"{name}: wants {shown}, and is {found!r}"]


def fragment_differences(wanted: Any, found: Any, path: str = "") -> list[str]:
    """Word where JSON does not hold a fragment: mappings may have more keys, lists are as long and alike."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return [
            difference
            for key, value in wanted.items()
            for difference in fragment_differences(value, found.get(key), f"{path}.{key}" if path else str(key))
        ]
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        return [
            difference
            for place, (value, other) in enumerate(zip(wanted, found, strict=True))
            for difference in fragment_differences(value, other, f"{path}[{place}]")
        ]
    if wanted == found and isinstance(wanted, bool) == isinstance(found, bool):
        return []
    return [f"{path or 'body'}: wants {clip(repr(wanted), 120)}, and is {clip(repr(found), 120)}"]
