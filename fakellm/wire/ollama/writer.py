"""Writes Ollama's answers: events to lines, and what the lines of an answer add up to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, cast

from fakellm.script.events import (
    Content,
    Event,
    Finish,
    Native,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Usage,
    choice_of,
    provider_error,
)
from fakellm.script.script import Script
from fakellm.wire.codec import Encoder, Request, Tally, Verbatim
from fakellm.wire.objects import dump, is_object, merged, quote
from fakellm.wire.ollama.lines import Form, call_object, created_at, ending, escaped
from fakellm.wire.openai.common import logprobs_of

# What is held back. The finish reason, since the counts stand on the same line: until something else than a usage
# comes, a silence or the end. A tool call, until its arguments are an object: half a call has no form here, so it
# waits through a silence too, and bytes of the script's own wait with it.


class LineEncoder(Encoder):
    """Writes a stream: a line for each event."""

    def __init__(self, form: Form, request: Request, number: int, usage: Usage | None) -> None:
        self._form = form
        self._request = request
        self._tally = Tally(request, usage)
        self._head = f'{{"model":{escaped(quote(request.model))},"created_at":"'
        self._second = created_at(number, 0)[: -len(".000000000Z")]
        self._lines = 0
        self._call: ToolCall | None = None
        self._sent: int | None = None
        self._finish: Finish | None = None
        self._is_counted = False
        self._raws: list[bytes] = []
        wanted = request.options.get("logprobs")
        top = request.options.get("top_logprobs")
        self._top = (top if isinstance(top, int) else 0) if wanted else None

    def event(self, event: Event) -> Sequence[bytes]:
        """Return the line of an event; of a finish reason once it is known what was used."""
        if choice_of(event):
            return ()  # there is one answer
        self._tally.note(event)
        if isinstance(event, Usage):
            return ()
        before = [*self._settled(event), *self._finished()]
        if isinstance(event, ToolCall):
            return [*before, *self._piece(event)]
        before += self._close_call()
        if isinstance(event, Finish):
            self._finish = event
            return before
        return [*before, *self._said(event)]

    def _said(self, event: Event) -> list[bytes]:
        match event:
            case Text():
                tokens = logprobs_of(event, self._top)
                more = "" if tokens is None else f',"logprobs":{dump(tokens).decode()}'
                return [self._line(self._form.said(event.text), more)]
            case Refusal(text):
                return [self._line(self._form.said(text))]
            case Reasoning(text) if text:
                return [self._line(self._form.said("", text))]
            case Native(api, data) if api == self._form.api:
                fields = merged({**self._form.empty(), "done": False}, data)
                return [self._line(dump(fields).decode()[1:-1], is_whole=True)]
        return []

    def _line(self, said: str, more: str = "", *, is_whole: bool = False) -> bytes:
        self._lines += 1
        done = "" if is_whole else ',"done":false'
        at = f'{self._second}.{self._lines % 10**9:09d}Z"'
        return f"{self._head}{at},{escaped(said)}{done}{escaped(more)}}}\n".encode("utf-8", "replace")

    def _piece(self, piece: ToolCall) -> list[bytes]:
        """Return the call that a piece completes: the one before it, or its own once the arguments are an object."""
        if self.verbatim:
            return [self._called(piece, is_whole=False)]
        if piece.name is None and piece.index == self._sent:
            return []
        before: list[bytes] = []
        if self._call is None or piece.name is not None or piece.index != self._call.index:
            before = self._close_call()
            self._call, self._sent = piece, None
        else:
            self._call += piece
        if is_object(self._call.arguments):
            self._sent = self._call.index
            before += self._close_call()
        return before

    def _called(self, call: ToolCall, *, is_whole: bool = True) -> bytes:
        return self._line(self._form.said("", calls=call_object(call, is_whole=is_whole)))

    def _close_call(self) -> list[bytes]:
        call, self._call = self._call, None
        raws, self._raws = self._raws, []
        return [*([] if call is None else [self._called(call)]), *raws]

    def _settled(self, event: Event) -> list[bytes]:
        """Return the bytes that wait, if the call that they wait with goes on with this event."""
        is_more = isinstance(event, ToolCall) and event.name is None
        if self._call is None or not is_more or getattr(event, "index", None) != self._call.index:
            return []
        raws, self._raws = self._raws, []
        return raws

    def _finished(self) -> list[bytes]:
        """Return the last line, if its reason waits."""
        finish, self._finish = self._finish, None
        if finish is None:
            return []
        self._is_counted = True
        fields = ending(self._form, finish, self._tally.usage, has_context=not self._request.options.get("raw"))
        return [self._line(dump({**self._form.empty(), **fields}).decode()[1:-1], is_whole=True)]

    def flush(self) -> list[bytes]:
        """Return what was held back, since a silence comes first; a call waits on for the rest of its arguments."""
        raws, self._raws = self._raws, []
        return [*self._finished(), *raws]

    def raw(self, text: str) -> Sequence[bytes]:
        """Return bytes of the script's own; they wait where a call does."""
        before = self._finished()
        if self._call is None:
            return [*before, Verbatim(text.encode())]
        self._raws.append(Verbatim(text.encode()))
        return before

    def stop(self) -> Sequence[bytes]:
        """Return the usage, if it was scripted and no line had it: on a line that is not the last."""
        if self._is_counted or not self._tally.has_usage:
            return ()
        self._is_counted = True
        counts = ending(self._form, Finish(), self._tally.usage, has_context=False)
        fields = {**self._form.empty(), **counts, "done": False}
        del fields["done_reason"]
        return [self._line(dump(fields).decode()[1:-1], is_whole=True)]

    def end(self) -> Sequence[bytes]:
        """Return the call that waits, and the last line."""
        before = self._close_call()
        if self._tally.unfinished:
            self._finish = self._tally.finish()
        return [*before, *self._finished()]

    def error(self, fault: provider_error) -> Sequence[bytes]:
        """Return the error: a line with a sentence and nothing else."""
        said = fault.message or fault.kind or "error"  # the SDK passes over an empty one
        return [*self.flush(), escaped(dump({"error": said}).decode()).encode() + b"\n"]


# A document is what Ollama's server makes of the lines that it would have streamed: text and thinking are joined,
# calls and log probabilities listed, and all else is that of the last line.


def document_of(form: Form, script: Script, request: Request, number: int) -> bytes:
    """Return the document that the lines of an answer add up to."""
    encoder = LineEncoder(form, request, number, script.usage)
    lines = [json.loads(line) for event in _added_up(script) for line in encoder.event(event)]
    lines += map(json.loads, encoder.end())
    whole: dict[str, Any] = {}
    for line in lines:
        before, whole = whole, {**whole, **line}
        if form.has_message:
            whole["message"] = {**before.get("message", {}), **line.get("message", {})}
        _join(form.within(before), form.within(line), form.within(whole), form.text)
        if "logprobs" in before:
            whole["logprobs"] = [*before["logprobs"], *line.get("logprobs", ())]
    whole |= {name: lines[-1][name] for name in ("done", "done_reason") if name in lines[-1]}
    return escaped(json.dumps(whole, ensure_ascii=False, separators=(",", ":"))).encode("utf-8", "replace")


def _join(before: dict[str, Any], line: dict[str, Any], whole: dict[str, Any], text: str) -> None:
    for name in (text, "thinking", "tool_calls"):
        if name in before and name in line:
            whole[name] = before[name] + line[name]


def _added_up(events: Iterable[Event]) -> list[Event]:
    """Return the content with the pieces of each tool call added up, where its first piece stands."""
    found: list[Event] = []
    latest: dict[int | None, int] = {}
    for event in events:
        if not isinstance(event, (Content, Finish, Usage)) or choice_of(event):
            continue
        if isinstance(event, ToolCall) and event.name is None and event.index in latest:
            at = latest[event.index]
            found[at] = cast("ToolCall", found[at]) + event
            continue
        if isinstance(event, ToolCall):
            latest[event.index] = len(found)
        found.append(event)
    return found
