"""The contracts of consumers of structured chunks, each with documents that break the usual mistakes.

The documents are chat completion chunks, as dicts and, where the openai SDK is loaded, as its objects, `Message`
chunks, and events of the Messages API: a consumer is checked on the first kind that it can read.
"""

from __future__ import annotations

import sys
from functools import cache

from fakellm.contracts.catalogue import checks
from fakellm.contracts.consumers.attempt import Consume
from fakellm.contracts.consumers.samples import Sample, check_documents
from fakellm.contracts.documents import Document
from fakellm.contracts.structured.document import Structured, document_of
from fakellm.script.events import Event, Finish, Text, ToolCall, Usage
from fakellm.script.script import Script

_SAYS = (Text("It is "), Text("sunny "), Text("now."))
_CALLS = (
    ToolCall("get_weather", '{"city": "Lis'),
    ToolCall(arguments='bon", "days": [1, 2]}'),
    ToolCall("get_time", '{"zone": '),
    ToolCall(arguments='"Lisbon"}'),
)
_SAID = (*_SAYS, Finish())
_CALLED = (*_CALLS, Finish("tool_calls"))
_USAGE = Usage(7001, 408)
_COUNTS = ("7001", "408", "7409", "7,001", "7,409")


@cache
def _documents(*events: Event, sdk: bool) -> tuple[Structured, ...]:
    """Return an answer in each kind of chunks, the likeliest first."""
    script = Script(*events)
    chat = [document_of(script), *([document_of(script, sdk=True)] if sdk else [])]
    if script.choices != (0,):
        return tuple(chat)
    others = [document_of(script, api="message"), document_of(script, api="anthropic_messages")]
    return (*chat, *others, *map(_speaking, chat))


def _speaking(document: Structured) -> Structured:
    """Return a document each of whose chunks says something: the role and the finish reason come with a text."""
    joins = [move for move in document.singles if move.kind == "join"]
    ends = [move.plain() for move in joins if move.at == 0 or move.what == "finish"]
    return document_of(document.apply(tuple(sorted(ends))))


def _check(
    contract: str, consume: Consume, document: Document | None, events: tuple[Event, ...], words: tuple[str, ...]
) -> None:
    """Check a consumer on the document, or on the first kind of chunks that it can read and that is about it.

    Objects of the SDK are among them if a consumer could know them. Its result shows one of the words if it can.
    """
    found = _documents(*events, sdk="openai" in sys.modules) if document is None else ()
    about = [one for each in found if (one := each.of(contract)) is not None]
    check_documents(contract, consume, document, [tuple(Sample(one, word) for one in about for word in words)])


@checks("tool_calls", on="consumer")
def tool_calls(consume: Consume, document: Document | None = None) -> None:
    """The pieces of a call are told by its index; id and name come once, later pieces have them absent, null or empty.

    Who keys the pieces by id makes a new call of each, who writes down every name ends with none, and who keeps one
    buffer mixes parallel calls. It works with the provider at hand, and breaks with the gateway of a customer, which
    sends nulls, whole calls in one piece, or the pieces of two calls by turns.
    """
    _check("tool_calls", consume, document, _CALLED, ("Lisbon",))


@checks("empty_delta", on="consumer")
def empty_delta(consume: Consume, document: Document | None = None) -> None:
    """A delta may say nothing: first and last deltas do, keep-alives, filters, and tokens that are half a character.

    Who adds up `delta.content` raises on the first null, who takes an empty text for the end loses the rest, and who
    looks at whatever field the delta has, by turns, fails on one that has none.
    """
    _check("empty_delta", consume, document, _SAID, ("sunny",))


@checks("no_choices", on="consumer")
def no_choices(consume: Consume, document: Document | None = None) -> None:
    """A chunk may have no choices: usage comes in one, results of content filters, and with some proxies keep-alives.

    `chunk.choices[0]` works until somebody asks for usage, or moves to a cloud that sends filter results first; then
    every stream fails, on its first chunk or on its last.
    """
    _check("no_choices", consume, document, _SAID, ("sunny",))


@checks("finish", on="consumer")
def finish(consume: Consume, document: Document | None = None) -> None:
    """There is one end, which may be said twice, with the last text, and be followed by deltas that say nothing.

    Who acts on each finish reason runs a tool twice, who writes down every one ends with null, who takes `""` for one
    stops at once, and who stops reading at the first or looks at nothing else in that chunk loses text.
    """
    events = (*_SAYS, *_CALLS, Finish("tool_calls"))
    _check("finish", consume, document, events, ("sunny", "Lisbon"))


@checks("usage", on="consumer")
def usage(consume: Consume, document: Document | None = None) -> None:
    """Counts are totals so far: they come once at the end, on every chunk, or at the begin and again.

    Who adds them up bills a multiple of what was used, and looks right with the provider that sends them once. Who
    takes the first has the prompt and one token.
    """
    _check("usage", consume, document, (*_SAID, _USAGE), _COUNTS)


@checks("crossed_streams", on="consumer")
def crossed_streams(consume: Consume, document: Document | None = None) -> None:
    """With n > 1 the chunks of several answers come by turns, and each belongs to the choice whose index it has.

    Who has one buffer shows a mixture that nobody wrote, and who looks at the first choice of a chunk alone gives
    whichever answer comes first in it.
    """
    other = [Text(text, choice=1) for text in ("Rain ", "falls ", "there.")]
    events = (*_SAYS, *other, Finish(), Finish(choice=1))
    _check("crossed_streams", consume, document, events, ("sunny", "Rain"))
