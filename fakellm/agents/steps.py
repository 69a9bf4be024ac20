"""The steps of a conversation: what the user says, what the model says and calls, what comes back of a tool."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fakellm.agents import wanted
from fakellm.errors import ScriptError, clip
from fakellm.runnable.shown import named
from fakellm.script.events import Event, ToolCall
from fakellm.script.script import Script

Wanted = str | re.Pattern[str] | Callable[[str], object] | Any
"""A text, a compiled pattern, a predicate of the text, or JSON."""


@dataclass(frozen=True, slots=True, repr=False)
class User:
    """A message of the user."""

    wanted: Wanted

    def __repr__(self) -> str:
        return f"user({wanted.written(self.wanted)})"


@dataclass(frozen=True, slots=True, repr=False)
class Calls:
    """A call of a tool."""

    call: ToolCall

    def __repr__(self) -> str:
        return f"calls({worded_call(self.call)})"


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """The result of a tool."""

    wanted: Wanted
    of: str | None = None

    def __repr__(self) -> str:
        said = [wanted.written(self.wanted), f"of={self.of!r}" if self.of else ""]
        return f"result({', '.join(filter(None, said))})"


@dataclass(frozen=True, slots=True, repr=False)
class Says:
    """What the model says."""

    parts: tuple[Any, ...]

    def __repr__(self) -> str:
        return f"says({clip(', '.join(map(repr, self.parts)), 200)})"


Step = User | Calls | Result | Says


def user(text: Wanted = ..., /) -> User:
    """Expect a message of the user: one in which a text occurs, a pattern is found, or that a predicate is true of.

    Without an argument it is any message. Messages of the user that follow each other are one, unless as many are
    expected.
    """
    wanted.check_wanted("user", text)
    return User(text)


def calls(tool: str | ToolCall, arguments: str | Mapping[str, Any] | None = None, /, **more: Any) -> Calls:
    """Let the model call a tool: `calls("weather", city="Paris")`. Calls that follow each other are parallel.

    Arguments may also be one mapping, or a text for those that are no JSON; a `ToolCall` has an id of its own. Raises
    `ScriptError` for arguments that are said twice, `TypeError` for what are none.
    """
    if isinstance(tool, ToolCall):
        if arguments is not None or more:
            msg = "a ToolCall has its arguments; write them there"
            raise ScriptError(msg)
        return Calls(tool)
    if not isinstance(tool, str):
        msg = f"calls() begins with the name of a tool or a ToolCall, not {tool!r}"
        raise TypeError(msg)
    if isinstance(arguments, str):
        if more:
            msg = f"the arguments of {tool} are the text {arguments!r}, and {', '.join(more)} beside it; write one"
            raise ScriptError(msg)
        return Calls(ToolCall(tool, arguments))
    if arguments is not None and not isinstance(arguments, Mapping):
        msg = f"the arguments of {tool} are a mapping, or a text for those that are no JSON, not {arguments!r}"
        raise TypeError(msg)
    if arguments and (twice := sorted(arguments.keys() & more.keys())):
        msg = f"the arguments of {tool} have {', '.join(twice)} twice; write each once"
        raise ScriptError(msg)
    return Calls(ToolCall(tool, {**(arguments or {}), **more}))


def result(value: Wanted = ..., /, *, of: str | None = None) -> Result:
    """Expect the result of a tool: a text to the letter, JSON, a pattern that is found in it, a predicate of its text.

    Without an argument it is any result. Results are those of the calls in their order; `of` names the tool instead.
    """
    wanted.check_wanted("result", value)
    if of is not None and (not isinstance(of, str) or not of):
        msg = f"of is the name of a tool, not {of!r}"
        raise TypeError(msg)
    return Result(value, of)


def says(*parts: str | Event | Script) -> Says:
    """Let the model say something: strings, events and scripts, as `reply` takes them.

    What follows at once, also calls of tools, is of the same answer, unless it breaks: `says(http_error(503))` is an
    answer that the app asks for again.
    """
    if not parts:
        msg = "says() needs something to say; for an answer without text write says('')"
        raise ScriptError(msg)
    Script(*parts)  # so that what is wrong is said where it is written
    return Says(parts)


def worded_call(call: ToolCall) -> str:
    """Word a call as the step that scripts it has it: `'weather', city='Paris'`."""
    return ", ".join(filter(None, [repr(call.name), _arguments(call)]))


def shown_call(call: ToolCall) -> str:
    """Show a call: `weather(city='Paris')`."""
    return f"{call.name}({_arguments(call)})"


def _arguments(call: ToolCall) -> str:
    args = wanted.json_of(call.arguments) if call.arguments else {}
    return clip(", ".join(named(args)) if isinstance(args, dict) else repr(call.arguments), 200)
