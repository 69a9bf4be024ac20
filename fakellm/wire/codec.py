"""What the codecs of all APIs share: the neutral request, the shape of a codec, and how events become timed pieces.

A codec knows one API. It reads a request; it writes a stream of events as bytes, piece by piece, or as one document;
it writes errors; and it reads the bytes of a stream back into events. None of that touches a socket or a clock, and
nothing in what it writes depends on anything but the request, the events and the number of the call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fakellm.errors import ScriptError
from fakellm.script.events import (
    Content,
    Event,
    Fault,
    Finish,
    Native,
    Pause,
    Raw,
    ToolCall,
    Usage,
    choice_of,
    disconnect,
    http_error,
    provider_error,
)
from fakellm.script.messages import Message
from fakellm.script.order import check_order
from fakellm.script.script import Script

Step = bytes | Pause | Fault
"""A piece of a body, or what happens between two pieces."""
Run = list[bytes] | Pause | Fault
"""Pieces of a body that follow each other at once, or what happens between two of them."""
Headers = tuple[tuple[str, str], ...]


class Verbatim(bytes):
    """A piece that the script has as bytes: no form of the wire changes it."""


CREATED = 1_767_225_600
"""When every answer of a fake was made, in seconds since 1970: 2026-01-01T00:00:00Z."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request to a provider, in words that all APIs share.

    `api` is the codec's name, `messages` the prompt with its system message, `tools` the names of the tools that
    the model may call, `stream` whether the answer is streamed. `json` is the body as it was sent, and `options`
    what is in it beside model, messages, tools and stream. `choices` is how many answers are wanted.
    """

    api: str
    model: str
    messages: tuple[Message, ...] = ()
    tools: tuple[str, ...] = ()
    stream: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    choices: int = 1

    @property
    def text(self) -> str:
        """The last message's text."""
        return self.messages[-1].content if self.messages else ""

    @property
    def prompt(self) -> str:
        """The text of all messages, one after the other."""
        return "\n".join(message.content for message in self.messages)


# Encoders that hold back. Events come one at a time, and what an API puts into one chunk may take two of them:
# mistral's last text comes with the finish reason, Anthropic's `message_delta` has the stop reason and the usage,
# Gemini's function call is whole. So an encoder may keep something until the next event, under three promises:
#
# - Nothing that could be sent is late. Before a silence or a fault comes `flush`, so whatever the script says before
#   a pause is in the client's hands before it: a test of a stall sees each chunk. What has no form in halves waits on.
# - Nothing is lost where a stream stops in order without its end (`disconnect("end")`): `stop` gives what was noted
#   and had no place yet, such as a usage. No finish reason and no terminal marker: that they lack is the point.
# - Nothing is said twice: `end` completes what the script left out, also after a `flush`.
#
# Bytes of the script's own (`Raw`) keep their place: `raw` gives what was said before them first, a usage that would
# wait for the end among it. Where that has no form yet, such as half a call of an API that sends calls whole, the bytes
# wait too: behind the call if it turns out to be complete, before it if more of it comes, or a silence.
#
# `begin` waits for the first event too: a script may begin with silence, and a silent server has sent no byte.


class Encoder(ABC):
    """Writes one stream: `begin` once, `event` for each piece of the answer, then `end` or `error`.

    `verbatim` is set for tool calls whose pieces come in an order that no API has: each is written as it is, and
    nothing is made up for it, since that misbehaviour is what is scripted.
    """

    verbatim = False
    until_close = False  # whether the body ends with its connection, so that a broken one looks complete

    def begin(self) -> Sequence[bytes]:
        """Return what precedes the first piece."""
        return ()

    @abstractmethod
    def event(self, event: Event) -> Sequence[bytes]:
        """Return the pieces that an event of the answer becomes; none for what the API does not have."""

    def flush(self) -> Sequence[bytes]:
        """Return what was held back until the next event, since a silence comes first."""
        return ()

    def raw(self, text: str) -> Sequence[bytes]:
        """Return bytes of the script's own, after all that was said before them."""
        return [*self.flush(), Verbatim(text.encode())]

    def waiting(self, pause: Pause) -> Iterable[Run]:
        """Return a silence, with what the provider sends in it."""
        return (pause,)

    def breaks(self, fault: provider_error) -> Fault | None:  # noqa: ARG002 - some providers' connections break
        """Return how the connection ends after the pieces of `error`; None where the HTTP message is whole."""
        return None

    def stop(self) -> Sequence[bytes]:
        """Return what was noted and not said yet, since the stream ends here, without its end."""
        return ()

    @abstractmethod
    def end(self) -> Sequence[bytes]:
        """Return what ends a stream that is complete; a finish reason and a usage that were not scripted among it."""

    @abstractmethod
    def error(self, fault: provider_error) -> Sequence[bytes]:
        """Return what a stream ends with when the provider reports an error in it."""


class Decoder(ABC):
    """Reads one stream, as its bytes come. Raises `WireError` for what is not of the format, and nothing else."""

    @abstractmethod
    def feed(self, data: bytes) -> list[Event]:
        """Return the events that the bytes complete."""

    @abstractmethod
    def close(self) -> list[Event]:
        """Take the end of the body; return what it completes, or the fault that it is."""


class Codec(ABC):
    """One API of one provider."""

    api: str
    """The codec's name: `openai.chat`, `anthropic.messages` and so on."""
    content_type: str = "text/event-stream; charset=utf-8"
    marks: tuple[str, ...] = ()
    """Headers, in lower case, in which a request says what its body does not; `read` is given what they say."""

    @classmethod
    def speaking(cls, profile: Any) -> Codec:  # noqa: ARG003 - for codecs whose API others speak in their own ways
        """Return the codec with the habits of a service that speaks the API in a way of its own."""
        return cls()

    @abstractmethod
    def request(self, body: Any, *, path: str = "") -> Request:
        """Read the JSON of a request. Raises `WireError`, worded as a provider would, for what is none."""

    def read(self, body: Any, marks: Sequence[str], *, path: str = "") -> Request:  # noqa: ARG002 - few have marks
        """Read a request, with what `marked` returns for its headers."""
        return self.request(body, path=path)

    def marked(self, headers: Mapping[str, str]) -> tuple[str, ...]:
        """Return what the headers say that are `marks`, each empty where there is none."""
        if not self.marks:
            return ()
        found = {name.lower(): value for name, value in headers.items()}
        return tuple(found.get(name, "") for name in self.marks)

    def by_itself(self, request: Request, number: int) -> bytes | None:  # noqa: ARG002 - few APIs have such requests
        """Return the document that answers a request which asks the model nothing; None for one that asks."""
        return None

    @abstractmethod
    def encoder(self, request: Request, number: int, usage: Usage | None = None) -> Encoder:
        """Return what writes the stream that answers the request.

        `number` is that of the call, counted from 1: ids are made of it. `usage` is what the answer will have
        used, where that is known before it begins.
        """

    @abstractmethod
    def body(self, script: Script, request: Request, number: int) -> bytes:
        """Return the document that answers a request without streaming."""

    @abstractmethod
    def error(self, fault: http_error, number: int) -> tuple[Headers, bytes]:
        """Return the headers and the document of an HTTP error, as the provider words that status."""

    @abstractmethod
    def decoder(self) -> Decoder:
        """Return what reads a stream."""

    def content_type_of(self, request: Request) -> str:  # noqa: ARG002 - some requests choose the framing
        """Return the content type of a stream."""
        return self.content_type

    def stream_headers(self, request: Request, number: int) -> Headers:
        """Return the headers of a stream."""
        framing = (("cache-control", "no-cache"), ("transfer-encoding", "chunked"))
        return (("content-type", self.content_type_of(request)), *framing, *self.headers(number))

    def headers(self, number: int) -> Headers:  # noqa: ARG002 - some providers number their answers
        """Return the headers, beside the content type, that the provider sends with every answer."""
        return ()

    def decode(self, data: bytes) -> Script:
        """Read a whole stream. One whose order no legal script could have gives a script that allows it."""
        decoder = self.decoder()
        return legal_or_not([*decoder.feed(data), *decoder.close()])


def legal_or_not(events: Iterable[Event]) -> Script:
    """Return a script of the events, which allows an illegal order only where it has one."""
    events = list(events)
    try:
        return Script(*events)
    except ScriptError:
        return Script(*events, allow_illegal=True)


def has_orderly_calls(script: Script) -> bool:
    """Tell whether the pieces of a script's tool calls come in an order that an API could have."""
    if not script.allow_illegal:
        return True
    try:
        check_order(event for event in script if isinstance(event, Content))
    except ScriptError:
        return False
    return True


class Ending(list[bytes]):
    """The last run of pieces of a body whose HTTP message is whole.

    `slack` is how many pieces at its end nobody waits for who has read what it says.
    """

    slack = 0


def all_pieces(encoder: Encoder, script: Script) -> list[bytes]:
    """Return all that a script says, as an API that writes documents by adding up its stream needs it."""
    encoder.verbatim = script.allow_illegal
    found = list(encoder.begin())
    for event in script:
        if isinstance(event, (Content, Usage, Finish)):
            found += encoder.event(event)
    return [*found, *encoder.end()]


def pieces(encoder: Encoder, events: Iterable[Event]) -> Iterator[Step]:
    """Yield the body of a stream in timed pieces: bytes, silences, and the fault that it ends with, if one does."""
    for run in runs(encoder, events):
        if isinstance(run, list):
            yield from run
        else:
            yield run


# Why runs and not pieces. A step of a generator for each chunk would be most of what a fake costs; the list between
# two silences is handed on as it is, and iterated in C. How many pieces the client took is read off the list's
# iterator when somebody asks (`ProviderCall.deliver`). Why `ahead`: a script is known, so it may be written in
# advance. What a function says must not be, or the function runs ahead of its reader, and neither laziness nor
# backpressure nor "closed after two chunks" can be tested. Why `Ending`: clients close a response as soon as they
# read the terminal marker, and a body all of whose pieces were taken is complete then; without it that looks like a
# client that gave up.


def runs(encoder: Encoder, events: Iterable[Event], *, ahead: int = 1) -> Iterator[Run]:
    """Yield the body of a stream in runs: pieces that follow each other at once, and what happens between them.

    Silence before the first event precedes every byte. A fault that the API reports, or that ends the HTTP message in
    order, becomes bytes; others are yielded last. So many events are written `ahead` of what the reader takes: a
    script can be, what a function says cannot. An HTTP message that is whole closes with an `Ending`.
    """
    if isinstance(events, Script):
        encoder.verbatim = encoder.verbatim or not has_orderly_calls(events)
    begun = False
    run: list[bytes] = []
    for count, event in enumerate(events, 1):
        if isinstance(event, Pause) or (isinstance(event, Fault) and not isinstance(event, provider_error)):
            run += encoder.flush()
            if run:
                yield run
                run = []
            if isinstance(event, Fault):
                yield from _broken(encoder, event)
                return
            yield from encoder.waiting(event)
            continue
        if not begun:
            begun = True
            run += encoder.begin()
        if isinstance(event, provider_error):
            yield from _failed(encoder, event, run)
            return
        run += encoder.raw(event.text) if isinstance(event, Raw) else encoder.event(event)
        if run and count % ahead == 0:
            yield run
            run = []
    if not begun:
        run += encoder.begin()
    yield Ending([*run, *encoder.end()])


def _failed(encoder: Encoder, fault: provider_error, run: list[bytes]) -> Iterator[Run]:
    """Yield what is left of a stream in which the provider reports an error, or is cut off by it."""
    run += encoder.error(fault)
    end = encoder.breaks(fault)
    yield Ending(run) if end is None else run
    if end is not None:
        yield from _broken(encoder, end)


def _broken(encoder: Encoder, fault: Fault) -> Iterator[Run]:
    """Yield what is left of a stream that a fault ends."""
    if isinstance(fault, disconnect) and fault.how == "cut":
        ending = next(filter(None, encoder.end()), b"data: {}")
        yield Ending([ending[: len(ending) // 2]])
    elif isinstance(fault, disconnect) and fault.how == "end":
        yield Ending(encoder.stop())
    elif isinstance(fault, disconnect) and fault.how == "close" and encoder.until_close:
        yield Ending([])
    else:
        yield fault


class Tally:
    """Notes, while an answer is written, what its end has to say if the script does not say it.

    `knows_usage` tells that the usage was known before the answer began: then those that come in it are no news.
    """

    def __init__(self, request: Request, usage: Usage | None = None) -> None:
        self._request = request
        self._given = usage
        self.knows_usage = usage is not None
        self.pieces = 0
        self.called: set[int] = set()
        self.finished: dict[int, Finish] = {}
        self.choices: set[int] = set()

    def note(self, event: Event) -> None:
        """Take an event of the answer."""
        if isinstance(event, Usage):
            self._given = event
        elif isinstance(event, Finish):
            self.finished[event.choice] = event
            self.choices.add(event.choice)
        elif isinstance(event, Content):
            self.choices.add(choice_of(event))
            self.pieces += not isinstance(event, Native)
            if isinstance(event, ToolCall):
                self.called.add(event.choice)

    def finish(self, choice: int = 0) -> Finish:
        """Return why an answer ended: what was scripted, else what follows from its tool calls."""
        usual = "tool_calls" if choice in self.called else "stop"
        return self.finished.get(choice) or Finish(usual, choice=choice)

    @property
    def unfinished(self) -> list[int]:
        """The answers without a finish reason; at least one answer is always there."""
        return sorted((self.choices or {0}) - self.finished.keys())

    @property
    def has_usage(self) -> bool:
        """Whether the script says what was used."""
        return self._given is not None

    @property
    def usage(self) -> Usage:
        """What was scripted; else a count of words for the prompt, and of pieces for the answer."""
        return self._given or Usage(len(self._request.prompt.split()), self.pieces)

    def of(self, events: Iterable[Event]) -> Tally:
        """Take all events; return this tally."""
        for event in events:
            self.note(event)
        return self
