"""The grammar of OpenAI's Responses streams, as 765 recorded ones keep it.

Events of new types are legal and count in the sequence. A stream that is resumed begins with a later number; what came
before it is not judged.
"""

from __future__ import annotations

from typing import ClassVar

from fakellm.contracts.grammar.frames import SSE_RULES
from fakellm.contracts.grammar.openai_responses_items import ITEM_RULES, Items
from fakellm.contracts.grammar.rules import MISSING, Grammar, Place, Rule, Sent, others, rule_table, said, shown
from fakellm.wire.openai.profiles import OPENAI, Profile

_SOURCE = "OpenAI API reference, Responses: Streaming events"
_TERMINAL = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")
_LATE = ("response.rate_limits.updated", "keepalive")
_LIFE = ("response.created", "response.queued", "response.in_progress", *_TERMINAL)


def _openrouter(profile: Profile) -> bool:
    return profile.name == "openrouter"


class ResponsesGrammar(Grammar):
    """The grammar of Responses streams."""

    api = "openai_responses"
    rules: ClassVar[dict[str, Rule]] = SSE_RULES | ITEM_RULES | rule_table(
        api, _SOURCE,
        ("shape", "the fields that clients read are there, and of their types",
         "the official SDK's helper reads them without asking, and raises TypeError"),
        ("event_name", "an event is named by its type", "clients may go by either",
         lambda p: p.name == "openrouter" or p.responses == "transformers"),
        ("sequence", "sequence_number rises by one from event to event, where a stream has it",
         "clients find gaps by it, and resume a stream after it", others),
        ("created", "response.created comes first, and once; response.in_progress or response.queued follows",
         "the official SDK's helper raises for any other event before response.created", others),
        ("same_id", "the response has the same id in all events",
         "the official SDK's helper raises where it changes", others),
        ("status", "the response's status is the one that its event's type says",
         "clients that read the final response go by its status", lambda p: p.responses == "vllm"),
        ("terminal", "one terminal event ends the stream: completed, incomplete, failed or cancelled",
         "the official SDK's helper raises without response.completed: the final response stands there"),
        ("terminal_last", "nothing of the answer follows the terminal event",
         "clients read no further; response.rate_limits.updated and keepalive may come", _openrouter),
        ("usage_total", "total_tokens is input_tokens and output_tokens together; all are integers",
         "the official types have the three counts, and bills add up", others),
        ("error", "after an error nothing follows but response.failed", "the official SDK raises there"),
        ("error_event", "an error is an event whose type says so",
         "clients that go by types pass over an object without one", lambda p: p.responses == "llama.cpp"),
    )  # fmt: skip

    def __init__(self, profile: Profile | None = OPENAI, ignored: frozenset[str] = frozenset()) -> None:
        super().__init__(profile, ignored)
        self._number: int | None = None
        self._kinds: list[str] = []
        self._id: str | None = None
        self._terminal: Sent | None = None
        self._items = Items(self)

    def event(self, sent: Sent) -> None:
        """Judge an event."""
        if sent.data.strip() == "[DONE]":
            if self._terminal is None and not self.is_failed:
                self.broken("terminal", "", "[DONE]", "a terminal event")
                self.is_lost = True
            else:
                self.broken("terminal_last", "", "[DONE]", "the end of the body")
            return
        event = self.object(sent)
        if event is not None and event["type"].value is MISSING and isinstance(event["error"].value, dict):
            self.is_failed = True
            self.broken("error_event", "type", "nothing", '"error"')
            return
        kind = event["type"].name("shape") if event is not None else None
        if event is None or kind is None:
            self.is_lost = True
            self._number = None
            return
        if sent.name != kind:
            self.broken("event_name", "", f"event: {sent.name}" if sent.name else "no `event:`", f"event: {said(kind)}")
        self._sequence(event["sequence_number"])
        if kind not in _LATE:
            self._usual(kind, event, sent)

    def _sequence(self, place: Place) -> None:
        if place.is_nothing:
            return
        number = place.integer("sequence")
        if number is None:
            return
        if self._number is not None and number != self._number + 1:
            place.broken("sequence", str(self._number + 1))
        if not self._kinds and number > 0:
            self._items.is_resumed = True
        self._number = number

    def _usual(self, kind: str, event: Place, sent: Sent) -> None:
        """Judge an event that is neither a keepalive nor about rate limits."""
        if self.is_failed and kind != "response.failed":
            self.broken("error", "type", shown(kind), "response.failed, or the end of the body")
            return
        if self._terminal is not None:
            name = "terminal" if kind in _TERMINAL else "terminal_last"
            self.broken(name, "type", shown(kind), f"no more; the terminal event is event {self._terminal.number}")
            return
        if kind == "error":
            self.is_failed = True
            return
        self._order(kind, event)
        self._kinds.append(kind)
        if kind in _LIFE:
            self._life(kind, event, sent)
        else:
            self._items.event(kind, event)

    def _order(self, kind: str, event: Place) -> None:
        """Judge how the stream begins."""
        if self._items.is_resumed or self.is_lost or self.is_failed:
            return
        if not self._kinds:
            if kind != "response.created":
                event["type"].broken("created", '"response.created"')
        elif kind == "response.created":
            event["type"].broken("created", "no second response.created")
        elif len(self._kinds) == 1 and kind not in ("response.in_progress", "response.queued", *_TERMINAL):
            event["type"].broken("created", '"response.in_progress" or "response.queued"')

    def _life(self, kind: str, event: Place, sent: Sent) -> None:
        """Judge an event that holds the response."""
        if kind in _TERMINAL:
            self._terminal = sent
        response = event["response"].object()
        if response is None:
            return
        id = response["id"].name("same_id")  # noqa: A001 - the field's name
        if id is not None and self._id not in (None, id):
            response["id"].broken("same_id", shown(self._id))
        self._id = self._id or id
        status = kind.removeprefix("response.")
        allowed = ("in_progress", "queued") if status == "created" else (status,)
        if response["status"].value not in allowed:
            response["status"].broken("status", " or ".join(map(shown, allowed)))
        if kind in _TERMINAL:
            self._end(status, response)

    def _end(self, status: str, response: Place) -> None:
        usage = response["usage"].maybe_object()
        if usage is not None:
            usage.sum("usage_total", "input_tokens", "output_tokens")
        self._items.end(response["output"], is_complete=status == "completed")

    def close(self) -> None:
        """Judge the end of the body."""
        if self._terminal is None:
            expected = "response.completed, response.incomplete or response.failed"
            self.missing("terminal", "the end of the body", expected)
