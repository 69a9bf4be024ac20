"""What a stream is made of: frozen events that check themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, ClassVar, Literal, get_args

from fakellm.errors import ScriptError
from fakellm.script.fields import as_json, frozen, require, require_count, require_seconds, require_text, set_json

How = Literal["reset", "close", "end", "cut", "refused", "no_response"]
Where = Literal["body", "headers", "connect"]
JSON = str | Mapping[str, Any] | Sequence[Any]
"""What a field of JSON text may be given as; it is kept as text."""


@frozen
class Event:
    """The base of all events. `type` is the event's name in a script file."""

    type: ClassVar[str] = ""

    def __repr__(self) -> str:
        """Return the event as one would write it, with the public name and without defaults."""
        shown = [f"{f.name}={v!r}" for f in fields(self) if (v := getattr(self, f.name)) != f.default]
        name = self.type if isinstance(self, Fault) else type(self).__name__
        return f"{name}({', '.join(shown)})"


@frozen
class Content(Event):
    """The base of the events that an answer consists of.

    `choice` says which of several answers to one request (OpenAI's `n`, Gemini's `candidateCount`) the
    piece belongs to, counted from 0.
    """


@frozen
class _TextEvent(Content):
    text: str
    choice: int = 0

    def __post_init__(self) -> None:
        require_text(self.text, self, "text")
        require_count(self.choice, self, "choice")

    def __repr__(self) -> str:
        """Return the event as one would write it, with its text first and without defaults."""
        rest = [f"{f.name}={v!r}" for f in fields(self)[1:] if (v := getattr(self, f.name)) != f.default]
        return f"{type(self).__name__}({', '.join([repr(self.text), *rest])})"


@frozen
class Text(_TextEvent):
    """A piece of the answer's text; the empty piece is legal, as it is on the wire.

    `logprobs` is JSON text, or a sequence of mappings that is written as JSON: what OpenAI's chat API
    has in `logprobs.content` for the tokens of this piece. Other codecs translate it or leave it out.
    """

    type: ClassVar[str] = "text"
    logprobs: JSON | None = None

    def __post_init__(self) -> None:
        _TextEvent.__post_init__(self)
        set_json(self, "logprobs", list)


@frozen
class Reasoning(_TextEvent):
    """A piece of the model's reasoning (thinking), shown apart from the answer.

    `signature` is what some providers end it with, so that the app can send it back: Anthropic's
    `signature`, Gemini's `thoughtSignature`, the Responses API's `encrypted_content`. It stands on the last
    piece, whose text may be empty.
    """

    type: ClassVar[str] = "reasoning"
    signature: str | None = None

    def __post_init__(self) -> None:
        _TextEvent.__post_init__(self)
        require_text(self.signature, self, "signature", optional=True)


@frozen
class Refusal(_TextEvent):
    """A piece of a refusal, where the API reports refusals apart from text."""

    type: ClassVar[str] = "refusal"


@frozen
class Native(Content):
    """A piece of the answer that only one API has, in that API's own JSON; other codecs leave it out.

    `api` is the codec's name. For `anthropic.messages` the data is a content block, or a delta of the open one; for
    `openai.responses` an output item or an event; for `gemini` a part; for `openai.chat` and `mistral.chat` fields of a
    delta, which add up; for Ollama's APIs those of a line; for `cohere.chat`, `mistral.conversations`,
    `replicate.predictions` and `bedrock.converse` an event; for `gemini.interactions` that or a step; for
    `dashscope.generation` fields of the output; for `bedrock.invoke` those of a chunk. A mapping is written as JSON.
    """

    type: ClassVar[str] = "native"
    api: str
    data: JSON
    choice: int = 0

    def __post_init__(self) -> None:
        require_text(self.api, self, "api")
        set_json(self, "data")
        require_count(self.choice, self, "choice")


@frozen
class Raw(Event):
    r"""Text of the provider's stream as it is, between two of its events: a comment, broken JSON, anything.

    It comes after all that was said before it. Nobody but a client of a fake provider sees it, no codec looks into it,
    and it ends with its own blank line, if it is to have one: `Raw(": keep-alive\n\n")`.
    """

    type: ClassVar[str] = "raw"
    text: str

    def __post_init__(self) -> None:
        require_text(self.text, self, "text")

    def __repr__(self) -> str:
        return f"Raw({self.text!r})"


@frozen
class ToolCall(Content):
    """A tool call, or a piece of one.

    The first piece of a call has the `name`; later pieces have more of the `arguments`, which are JSON
    text. A mapping given for the arguments is written as JSON. Where `index` is None a script numbers
    the piece: one with a name opens the next call, one without continues the call before it. The first
    piece of a call gets the id `call_<index>` unless it is given one. Pieces of one index add up.
    `signature` is Gemini's `thoughtSignature` of the call.
    """

    type: ClassVar[str] = "tool_call"
    name: str | None = None
    arguments: str = ""
    id: str | None = None
    index: int | None = None
    choice: int = 0
    signature: str | None = None

    def __init__(
        self,
        name: str | None = None,
        arguments: str | Mapping[str, Any] = "",
        *,
        id: str | None = None,
        index: int | None = None,
        choice: int = 0,
        signature: str | None = None,
    ) -> None:
        if index is not None:
            require(index, (int, type(None)), self, "index")
            require_count(index, self, "index")
        require_count(choice, self, "choice")
        require_text(name, self, "name", optional=True)
        require_text(id, self, "id", optional=True)
        require_text(signature, self, "signature", optional=True)
        if isinstance(arguments, Mapping):
            arguments = as_json(arguments, self, "arguments")
        require(arguments, (str, Mapping), self, "arguments")
        require_text(arguments, self, "arguments")
        if name == "":
            msg = "ToolCall.name is empty; leave it out in the later pieces of a call"
            raise ScriptError(msg)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "arguments", arguments)
        object.__setattr__(self, "id", id)
        object.__setattr__(self, "index", index)
        object.__setattr__(self, "choice", choice)
        object.__setattr__(self, "signature", signature)

    def __add__(self, other: ToolCall) -> ToolCall:
        """Join two pieces of one call."""
        if not isinstance(other, ToolCall):
            return NotImplemented
        if (other.index, other.choice) != (self.index, self.choice):
            msg = f"pieces of the tool calls {self.index} and {other.index} do not add up"
            if other.choice != self.choice:
                msg = f"tool calls of the choices {self.choice} and {other.choice} do not add up"
            raise ScriptError(msg)
        return replace(
            self,
            name=self.name or other.name,
            arguments=self.arguments + other.arguments,
            id=self.id or other.id,
            signature=self.signature or other.signature,
        )

    def numbered(self, last: int, highest: int) -> ToolCall:
        """Return the piece with its index and id, where `last` came before it (-1: none) and `highest` so far."""
        index = self.index
        if index is None:
            index = last if self.name is None else highest + 1
        id = self.id or (f"call_{index}" if self.name is not None else None)  # noqa: A001
        return replace(self, id=id, index=max(index, 0))

    @property
    def args(self) -> Any:
        """The arguments, parsed; no arguments at all are `{}`, as on Anthropic. Bad JSON: `ValueError`."""
        return json.loads(self.arguments) if self.arguments else {}


@frozen
class Usage(Event):
    """Tokens counted so far. A later count replaces an earlier one; counts never add up.

    `input_tokens` are all that were read, `cached_tokens` those of them that came from a cache;
    `output_tokens` are all that were written, `reasoning_tokens` those of them that reasoning took. `extra`
    is JSON text, or a mapping that is written as JSON: what the provider's usage object says beyond that, in
    its own words; a codec merges it over the object that it writes.
    """

    type: ClassVar[str] = "usage"
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    extra: JSON | None = None

    def __post_init__(self) -> None:
        for f in fields(self)[:4]:
            value = getattr(self, f.name)
            require(value, int if f.default == 0 else (int, type(None)), self, f.name)
            if value is not None and value < 0:
                msg = f"Usage.{f.name} counts tokens; {value} is negative"
                raise ScriptError(msg)
        set_json(self, "extra", dict)

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


@frozen
class Finish(Event):
    """Why the answer ended: `stop`, `length`, `tool_calls`, `content_filter`, or a provider's own word.

    `extra` is JSON text, or a mapping that is written as JSON: what the provider says beside its reason
    (Anthropic's `stop_sequence`, Gemini's `groundingMetadata`); a codec merges it over the object with the reason.
    `beside` is the same for the chunk or document around that: what it says beside its answers (`citations`).
    """

    type: ClassVar[str] = "finish"
    reason: str = "stop"
    choice: int = 0
    extra: JSON | None = None
    beside: JSON | None = None

    def __post_init__(self) -> None:
        require_text(self.reason, self, "reason")
        require_count(self.choice, self, "choice")
        set_json(self, "extra", dict)
        set_json(self, "beside", dict)
        if not self.reason:
            msg = "Finish.reason is empty; leave the event out for an answer without a finish reason"
            raise ScriptError(msg)


@frozen
class Pause(Event):
    """Silence of so many seconds; the fake waits for it on its clock."""

    type: ClassVar[str] = "pause"
    seconds: float

    def __post_init__(self) -> None:
        require_seconds(self.seconds, self, "seconds")

    def __repr__(self) -> str:
        return f"Pause({self.seconds!r})"


@frozen
class Fault(Event):
    """The base of the four ways in which a stream breaks. Nothing follows a fault."""


@frozen
class http_error(Fault):  # noqa: N801
    """The provider answers with an HTTP error status instead of a stream.

    `status` is 400 to 599, `message` the provider's sentence, `retry_after` the seconds of a
    `retry-after` header. `kind` and `code` are the provider's words for the error, by default its usual ones
    for that status; `body` is the whole error document where the usual one will not do.
    """

    type: ClassVar[str] = "http_error"
    status: int
    message: str = "the fake provider was told to fail"
    retry_after: float | None = None
    body: str | None = None
    kind: str | None = None
    code: str | None = None

    def __post_init__(self) -> None:
        require(self.status, int, self, "status")
        if not 400 <= self.status <= 599:  # noqa: PLR2004 - RFC 9110, 15.5 and 15.6
            msg = f"http_error.status is an error status from 400 to 599, not {self.status}"
            raise ScriptError(msg)
        require_text(self.message, self, "message")
        if self.retry_after is not None:
            require_seconds(self.retry_after, self, "retry_after")
        for name in ("body", "kind", "code"):
            require_text(getattr(self, name), self, name, optional=True)


@frozen
class provider_error(Fault):  # noqa: N801
    """The provider reports an error inside the stream, in its own format, and ends it.

    There are two forms of it on the wire: data that holds an `error`, and a server-sent event that is named
    `error`. `named` chooses; None is the one that the API has.
    """

    type: ClassVar[str] = "provider_error"
    message: str = "the fake provider was told to fail"
    kind: str = "server_error"
    code: str | None = None
    named: bool | None = None

    def __post_init__(self) -> None:
        require_text(self.message, self, "message")
        require_text(self.kind, self, "kind")
        require_text(self.code, self, "code", optional=True)
        if self.named is not None:
            require(self.named, bool, self, "named")


@frozen
class disconnect(Fault):  # noqa: N801
    """The connection ends before the stream is complete.

    `how` says what the client sees. `reset`: the peer resets the connection. `close`: it closes it before the
    HTTP message is complete. `end`: the HTTP message ends in order, and the stream in it lacks its end. `cut`: the same
    in the middle of the next event. Before the answer begins: `refused`, there is no connection;
    `no_response`, it is closed without an answer.
    """

    type: ClassVar[str] = "disconnect"
    how: How = "reset"

    def __post_init__(self) -> None:
        if self.how not in get_args(How):
            msg = f"disconnect.how is one of {', '.join(map(repr, get_args(How)))}, not {self.how!r}"
            raise ScriptError(msg)


@frozen
class stall(Fault):  # noqa: N801
    """Nothing more arrives, and the connection stays open. For silence that ends use `Pause`.

    `where` says what does not come: more of the `body`, the `headers` of the answer, or the connection (`connect`).
    """

    type: ClassVar[str] = "stall"
    where: Where = "body"

    def __post_init__(self) -> None:
        if self.where not in get_args(Where):
            msg = f"stall.where is one of {', '.join(map(repr, get_args(Where)))}, not {self.where!r}"
            raise ScriptError(msg)


def choice_of(event: Event) -> int:
    """Return which of several answers the event belongs to; what belongs to none counts to the first."""
    choice: int = getattr(event, "choice", 0)
    return choice


def strikes_first(event: Event) -> bool:
    """Tell whether the event is a fault that only comes before the first byte of an answer."""
    if isinstance(event, disconnect):
        return event.how in ("refused", "no_response")
    return isinstance(event, http_error) or (isinstance(event, stall) and event.where != "body")


EVENT_TYPES: dict[str, type[Event]] = {
    kind.type: kind
    for kind in (
        *(Text, Reasoning, Refusal, ToolCall, Native, Usage, Finish, Pause, Raw),
        *(http_error, provider_error, disconnect, stall),
    )
}
"""The concrete events, by their name in a script file."""
