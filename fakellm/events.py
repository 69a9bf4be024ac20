"""What a stream is made of: frozen events that check themselves."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass, fields
from typing import Any, ClassVar, Literal, NoReturn, TypeVar, dataclass_transform

from fakellm.errors import ScriptError, clip

T = TypeVar("T")


def _require(value: object, kind: type | tuple[type, ...], event: object, name: str) -> None:
    """Raise `TypeError` unless the value has that type; bytes and booleans get a hint of their own."""
    if isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool):
        return
    kinds = kind if isinstance(kind, tuple) else (kind,)
    names = " or ".join("None" if k is type(None) else k.__name__ for k in kinds)
    hint = "; decode the bytes first, a script holds text" if isinstance(value, bytes) else ""
    msg = f"{type(event).__name__}.{name} is {names}, not {type(value).__name__} ({value!r}){hint}"
    raise TypeError(msg)


def _require_text(value: str | None, event: object, name: str, *, optional: bool = False) -> None:
    _require(value, (str, type(None)) if optional else str, event, name)
    try:
        (value or "").encode()
    except UnicodeEncodeError as error:
        msg = (
            f"{type(event).__name__}.{name} holds half of a surrogate pair at character {error.start}; no "
            "provider can send that as UTF-8. Cut text between code points, not between UTF-16 units"
        )
        raise ScriptError(msg) from None


def _require_seconds(value: float | None, event: object, name: str) -> None:
    _require(value, (int, float), event, name)
    if value is not None and not 0 <= value <= sys.float_info.max:
        msg = f"{type(event).__name__}.{name} is a number of seconds from 0 up, not {clip(repr(value), 40)}"
        if value > 0:
            msg += "; for silence without end use stall()"
        raise ScriptError(msg)


def _refuse_change(self: object, name: str, *_: object) -> NoReturn:
    """Raise `FrozenInstanceError`; what dataclasses make for slots with a base class raises `TypeError`."""
    msg = f"{type(self).__name__} is immutable: cannot change {name!r}; make a new one"
    raise FrozenInstanceError(msg)


@dataclass_transform(frozen_default=True)
def _event(cls: type[T]) -> type[T]:
    """Make a frozen dataclass with slots."""
    made = dataclass(frozen=True, slots=True, repr=False, init="__init__" not in vars(cls))(cls)
    made.__setattr__ = made.__delattr__ = _refuse_change  # type: ignore[method-assign]
    return made


@_event
class Event:
    """The base of all events. `type` is the event's name in a script file."""

    type: ClassVar[str] = ""

    def __repr__(self) -> str:
        """Return the event as one would write it, with the public name and without defaults."""
        shown = [f"{f.name}={v!r}" for f in fields(self) if (v := getattr(self, f.name)) != f.default]
        name = self.type if isinstance(self, Fault) else type(self).__name__
        return f"{name}({', '.join(shown)})"


@_event
class _TextEvent(Event):
    text: str

    def __post_init__(self) -> None:
        _require_text(self.text, self, "text")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r})"


@_event
class Text(_TextEvent):
    """A piece of the answer's text; the empty piece is legal, as it is on the wire."""

    type: ClassVar[str] = "text"


@_event
class Reasoning(_TextEvent):
    """A piece of the model's reasoning (thinking), shown apart from the answer."""

    type: ClassVar[str] = "reasoning"


@_event
class Refusal(_TextEvent):
    """A piece of a refusal, where the API reports refusals apart from text."""

    type: ClassVar[str] = "refusal"


@_event
class ToolCall(Event):
    """A tool call, or a piece of one.

    The first piece of a call has the `name`; later pieces have more of the `arguments`, which are JSON
    text. A mapping given for the arguments is written as JSON. Where `index` is None a script numbers
    the piece: one with a name opens the next call, one without continues the call before it. The first
    piece of a call gets the id `call_<index>` unless it is given one. Pieces of one index add up.
    """

    type: ClassVar[str] = "tool_call"
    name: str | None = None
    arguments: str = ""
    id: str | None = None
    index: int | None = None

    def __init__(
        self,
        name: str | None = None,
        arguments: str | Mapping[str, Any] = "",
        *,
        id: str | None = None,
        index: int | None = None,
    ) -> None:
        _require(index, (int, type(None)), self, "index")
        if index is not None and index < 0:
            msg = f"ToolCall.index counts from 0; {index} is negative"
            raise ScriptError(msg)
        _require_text(name, self, "name", optional=True)
        _require_text(id, self, "id", optional=True)
        if isinstance(arguments, Mapping):
            arguments = _as_json(arguments)
        _require(arguments, (str, Mapping), self, "arguments")
        _require_text(arguments, self, "arguments")
        if name == "":
            msg = "ToolCall.name is empty; leave it out in the later pieces of a call"
            raise ScriptError(msg)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "arguments", arguments)
        object.__setattr__(self, "id", id)
        object.__setattr__(self, "index", index)

    def __add__(self, other: ToolCall) -> ToolCall:
        """Join two pieces of one call."""
        if not isinstance(other, ToolCall):
            return NotImplemented
        if other.index != self.index:
            msg = f"pieces of the tool calls {self.index} and {other.index} do not add up"
            raise ScriptError(msg)
        return ToolCall(
            self.name or other.name,
            self.arguments + other.arguments,
            id=self.id or other.id,
            index=self.index,
        )

    def numbered(self, last: int, highest: int) -> ToolCall:
        """Return the piece with its index and id, where `last` came before it (-1: none) and `highest` so far."""
        index = self.index
        if index is None:
            index = last if self.name is None else highest + 1
        id = self.id or (f"call_{index}" if self.name is not None else None)  # noqa: A001
        return ToolCall(self.name, self.arguments, id=id, index=max(index, 0))

    @property
    def args(self) -> Any:
        """The arguments, parsed; no arguments at all are `{}`, as on Anthropic. Bad JSON: `ValueError`."""
        return json.loads(self.arguments) if self.arguments else {}


def _as_json(arguments: Mapping[str, Any]) -> str:
    """Write tool arguments as JSON; mappings inside may be of any kind."""

    def default(value: object) -> object:
        if isinstance(value, Mapping):
            return dict(value)
        msg = f"a {type(value).__name__} ({clip(repr(value), 60)}) has no JSON form"
        raise TypeError(msg)

    try:
        return json.dumps(arguments, ensure_ascii=False, allow_nan=False, default=default)
    except (TypeError, ValueError) as error:
        msg = f"ToolCall.arguments cannot be written as JSON: {error}; to script broken JSON give it as text"
        raise (TypeError if isinstance(error, TypeError) else ScriptError)(msg) from None


@_event
class Usage(Event):
    """Tokens counted so far. A later count replaces an earlier one; counts never add up."""

    type: ClassVar[str] = "usage"
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            _require(value, int if f.default == 0 else (int, type(None)), self, f.name)
            if value is not None and value < 0:
                msg = f"Usage.{f.name} counts tokens; {value} is negative"
                raise ScriptError(msg)

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


@_event
class Finish(Event):
    """Why the answer ended: `stop`, `length`, `tool_calls`, `content_filter`, or a provider's own word."""

    type: ClassVar[str] = "finish"
    reason: str = "stop"

    def __post_init__(self) -> None:
        _require_text(self.reason, self, "reason")
        if not self.reason:
            msg = "Finish.reason is empty; leave the event out for an answer without a finish reason"
            raise ScriptError(msg)


@_event
class Pause(Event):
    """Silence of so many seconds; the fake waits for it on its clock."""

    type: ClassVar[str] = "pause"
    seconds: float

    def __post_init__(self) -> None:
        _require_seconds(self.seconds, self, "seconds")

    def __repr__(self) -> str:
        return f"Pause({self.seconds!r})"


@_event
class Fault(Event):
    """The base of the four ways in which a stream breaks. Nothing follows a fault."""


@_event
class http_error(Fault):  # noqa: N801
    """The provider answers with an HTTP error status instead of a stream.

    `status` is 400 to 599, `message` the provider's sentence, `retry_after` the seconds of a
    `retry-after` header, `body` the whole error document where the provider's usual one will not do.
    """

    type: ClassVar[str] = "http_error"
    status: int
    message: str = "the fake provider was told to fail"
    retry_after: float | None = None
    body: str | None = None

    def __post_init__(self) -> None:
        _require(self.status, int, self, "status")
        if not 400 <= self.status <= 599:  # noqa: PLR2004 - RFC 9110, 15.5 and 15.6
            msg = f"http_error.status is an error status from 400 to 599, not {self.status}"
            raise ScriptError(msg)
        _require_text(self.message, self, "message")
        if self.retry_after is not None:
            _require_seconds(self.retry_after, self, "retry_after")
        _require_text(self.body, self, "body", optional=True)


@_event
class provider_error(Fault):  # noqa: N801
    """The provider reports an error inside the stream, in its own format, and ends it."""

    type: ClassVar[str] = "provider_error"
    message: str = "the fake provider was told to fail"
    kind: str = "server_error"
    code: str | None = None

    def __post_init__(self) -> None:
        _require_text(self.message, self, "message")
        _require_text(self.kind, self, "kind")
        _require_text(self.code, self, "code", optional=True)


@_event
class disconnect(Fault):  # noqa: N801
    """The connection breaks: `reset` by the peer, or a `close` before the message was complete."""

    type: ClassVar[str] = "disconnect"
    how: Literal["reset", "close"] = "reset"

    def __post_init__(self) -> None:
        if self.how not in ("reset", "close"):
            msg = f"disconnect.how is 'reset' or 'close', not {self.how!r}"
            raise ScriptError(msg)


@_event
class stall(Fault):  # noqa: N801
    """The connection stays open and nothing more arrives. For silence that ends use `Pause`."""

    type: ClassVar[str] = "stall"


EVENT_TYPES: dict[str, type[Event]] = {
    kind.type: kind
    for kind in (
        *(Text, Reasoning, Refusal, ToolCall, Usage, Finish, Pause),
        *(http_error, provider_error, disconnect, stall),
    )
}
"""The concrete events, by their name in a script file."""
