"""Reads streams of Gemini's Interactions API into events; and what reading and writing share: states, usage, natives.

Source: https://ai.google.dev/api/interactions-api, the types of the SDK, and recorded streams. An
`interaction.created`, a status, steps one after the other, each with a start, deltas of its own kind and a stop; then
an `interaction.completed` with the state that it ended in and the usage, and `[DONE]`. What the neutral events say
becomes those: `model_output` with texts, `thought` with summaries of text and a signature, `function_call`. What only
this API has becomes `Native`, in such a way that the codec writes the same again:

- a step of another type, as it began; or one of these, where a new one begins that the events alone would not show,
  or one that has more fields than usual: what follows goes on in it;
- any other event of the stream by its `event_type`: a `step.delta` belongs to the step before it. Indexes, and ids of
  the interaction, are counted anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fakellm.errors import ScriptError, WireError
from fakellm.script.events import Event, Finish, Native, Reasoning, Text, ToolCall, Usage, provider_error
from fakellm.wire.objects import beyond, counted, get, merged, sound, text_field
from fakellm.wire.reader import SSEReader
from fakellm.wire.sse import SSE

API = "gemini.interactions"

STATES = {"stop": "completed", "tool_calls": "requires_action", "length": "incomplete"}
"""The neutral finish reasons, as states of an interaction; others are written and read as they are."""
_NEUTRAL = {theirs: ours for ours, theirs in STATES.items()}

TIER = "standard"
_INTERACTION = ("id", "object", "status", "model", "agent", "created", "updated", "usage", "service_tier")
_CALL = {"type", "id", "name", "arguments", "signature"}


def usage_object(usage: Usage) -> dict[str, Any]:
    """Return the usage object: output and thoughts are counted apart."""
    thoughts = usage.reasoning_tokens or 0
    output = max(usage.output_tokens - thoughts, 0)
    fields = {
        "total_tokens": usage.input_tokens + output + thoughts,
        "total_input_tokens": usage.input_tokens,
        "total_cached_tokens": usage.cached_tokens or 0,
        "total_output_tokens": output,
        "total_tool_use_tokens": 0,
        "total_thought_tokens": thoughts,
    }
    return merged(fields, usage.extra)


def read_usage(found: dict[str, Any]) -> Usage:
    """Read a usage object; the output is output and thoughts together."""
    thoughts = counted(found, "total_thought_tokens")
    counts = (
        counted(found, "total_input_tokens"),
        counted(found, "total_output_tokens") + thoughts,
        None if found.get("total_cached_tokens") is None else counted(found, "total_cached_tokens"),
        None if found.get("total_thought_tokens") is None else thoughts,
    )
    rest = beyond(found, usage_object(Usage(*counts)))
    return Usage(*counts, extra=rest and _json(rest))


def _json(value: object) -> str:
    """Return JSON as an event would write it, with halves of surrogate pairs replaced."""
    return sound(json.dumps(value, ensure_ascii=False))


def native(document: Mapping[str, Any]) -> Native:
    """Return the event for what only this API has."""
    return Native(API, _json(document))


def without(document: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return an event without what is counted anew."""
    return {name: value for name, value in document.items() if name not in (*names, "event_id")}


def _says(document: Mapping[str, Any]) -> bool:
    return any(value is not None for value in document.values())


@dataclass(slots=True)
class _Step:
    """A step that is open: as it began, the number of the call it is, and whether an event has told of it."""

    kind: str
    start: dict[str, Any]
    call: int = -1
    told: bool = False


class InteractionsDecoder(SSEReader):
    """Turns the bytes of a stream into events. Ids, times and the model are passed over."""

    reads_unended = True

    def __init__(self) -> None:
        super().__init__()
        self._steps: dict[int, _Step] = {}
        self._last = ""
        self._calls = 0
        self._over = self._begun = False
        self._readers: dict[str, Callable[[dict[str, Any]], list[Event]]] = {
            "interaction.created": self._created,
            "interaction.status_update": self._status,
            "interaction.completed": self._completed,
            "step.start": self._start,
            "step.delta": self._delta,
            "step.stop": self._stop,
        }

    def sse(self, sse: SSE) -> list[Event]:
        """Return what a server-sent event says."""
        if self._over or sse.data.startswith("[DONE]"):
            return []
        try:
            document = self.json(sse)
            kind = text_field(document, "event_type") or sse.event or ""
            if kind == "error" or document.get("error"):
                self._over = True
                return [_error(document, named=sse.event == "error")]
            read = self._readers.get(kind)
            return read(document) if read else [native(without(document))]
        except (RecursionError, ScriptError) as error:  # JSON that can be read and not be written again
            msg = f"event {self._count} of the stream says what no event can: {error}"
            raise WireError(msg) from None

    def finish(self) -> list[Event]:
        """Return that the stream is not complete, where no `interaction.completed` came."""
        return [] if self._over else [self.ending]

    # -- the interaction --------------------------------------------------------------------------

    def _created(self, document: dict[str, Any]) -> list[Event]:  # noqa: ARG002 - it is made anew
        return []

    def _status(self, document: dict[str, Any]) -> list[Event]:
        rest = without(document, "event_type", "interaction_id")
        if not self._begun and rest == {"status": "in_progress"}:
            self._begun = True
            return []
        return [native(without(document, "interaction_id"))]

    def _completed(self, document: dict[str, Any]) -> list[Event]:
        self._over = True
        found = get(document, "interaction", dict)
        rest = {key: value for key, value in found.items() if key not in _INTERACTION and value is not None}
        if found.get("service_tier") not in (None, TIER):
            rest["service_tier"] = found["service_tier"]
        state = text_field(found, "status")
        finish = Finish(_NEUTRAL.get(state, state or "stop"), extra=_json(rest) if rest else None)
        usage = get(found, "usage", dict)
        return [finish, *([read_usage(usage)] if usage else [])]

    # -- steps ------------------------------------------------------------------------------------

    def _start(self, document: dict[str, Any]) -> list[Event]:
        """Return what the begin of a step says; nothing while its first piece will say it."""
        found = get(document, "step", dict)
        step = self._steps[counted(document, "index")] = _Step(text_field(found, "type"), found)
        before, self._last = self._last, step.kind
        if step.kind == "function_call" and text_field(found, "name") and not _says(_over(found, _CALL)):
            step.call, step.told = self._calls, True
            self._calls += 1
            id, signature = text_field(found, "id"), text_field(found, "signature")  # noqa: A001
            return [ToolCall(text_field(found, "name"), id=id or None, index=step.call, signature=signature or None)]
        is_usual = step.kind in ("model_output", "thought") and not _says(_over(found, {"type"}))
        return [] if is_usual and before != step.kind else self._tell(step)

    def _tell(self, step: _Step) -> list[Event]:
        """Return the step as it began, unless an event has told of it."""
        if step.told:
            return []
        step.told = True
        return [native(step.start)]

    def _delta(self, document: dict[str, Any]) -> list[Event]:
        step = self._steps.get(counted(document, "index"))
        delta = get(document, "delta", dict)
        if step is None:
            return [native(without(document))]
        piece = self._piece(step, delta) if not _says(_over(document, _DELTA)) else None
        if piece is None:
            return [*self._tell(step), native(without(document, "index"))]
        step.told = True
        return [piece]

    @staticmethod
    def _piece(step: _Step, delta: dict[str, Any]) -> Event | None:
        """Return the neutral event that a delta is, or None."""
        named = step.kind, _shape(delta)
        if named == ("model_output", "text"):
            return Text(text_field(delta, "text"))
        if named == ("thought", "thought_summary") and _shape(get(delta, "content", dict)) == "text":
            return Reasoning(text_field(delta["content"], "text"))
        if named == ("thought", "thought_signature"):
            return Reasoning("", signature=text_field(delta, "signature"))
        if named == ("function_call", "arguments_delta") and step.call >= 0:
            step.start = {}
            return ToolCall(arguments=text_field(delta, "arguments"), index=step.call)
        return None

    def _stop(self, document: dict[str, Any]) -> list[Event]:
        """Return what the end of a step says: what was held back, that it said nothing, or what else it has."""
        step = self._steps.pop(counted(document, "index"), None)
        rest = without(document, "index")
        more: list[Event] = [native(rest)] if step is None or _says(_over(rest, {"event_type"})) else []
        if step is None:
            return more
        if step.call >= 0 and step.start.get("arguments"):
            return [ToolCall(arguments=_json(step.start["arguments"]), index=step.call), *more]
        if step.kind == "thought" and not step.told:
            return [Reasoning(""), *more]
        return [*self._tell(step), *more]


_DELTA = {"event_type", "index", "delta", "event_id"}


_SHAPES = {
    "text": {"type", "text"},
    "thought_summary": {"type", "content"},
    "thought_signature": {"type", "signature"},
    "arguments_delta": {"type", "arguments"},
}


def _shape(delta: dict[str, Any]) -> str:
    """Return the type of a delta or a content that has the fields of its type and no others, all of them there."""
    kind = text_field(delta, "type")
    return kind if delta.keys() == _SHAPES.get(kind) and None not in delta.values() else ""


def _over(found: Mapping[str, Any], known: set[str]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name not in known}


def _error(document: dict[str, Any], *, named: bool) -> provider_error:
    """Read the error that an event holds."""
    found = document.get("error")
    found = found if isinstance(found, dict) else {"message": found}
    kind, message = found.get("code") or found.get("status"), found.get("message")
    return provider_error(sound(str(message or "")), sound(str(kind or "server_error")), None, None if named else False)
