"""Writes streams of Bedrock's Converse API: events of a script to events of the stream, and what those add up to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from fakellm.errors import WireError, clip
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
from fakellm.wire.bedrock.converse_reader import (
    API,
    REASONS,
    goes_on,
    kind_of_delta,
    kind_of_start,
    scripted,
    usage_fields,
    usual_metrics,
)
from fakellm.wire.bedrock.frames import error_frame, event_frame, padding
from fakellm.wire.codec import Encoder, Request, Tally
from fakellm.wire.objects import dump, get, merged, parse, parse_object

# What is held back: the `metadata`, which has the usage, and with it what is scripted beside the finish reason. The
# `messageStop` waits for nothing. A usage that is scripted where no reason is has a `metadata` of its own, since that
# alone does not make an answer complete.


class ConverseEncoder(Encoder):
    """Writes a stream. A block is closed when something comes that does not belong to it."""

    def __init__(self, request: Request, usage: Usage | None) -> None:
        self._tally = Tally(request, usage)
        self._sent = 0
        self._index = -1
        self._open = ""
        self._calls: dict[int, int] = {}
        self._call_fields: dict[str, Any] = {}
        self._metadata_fields: bytes | None = None
        self._is_stopped = self._is_counted = False

    def said(self, kind: str, **fields: Any) -> bytes:
        """Return one event of the stream as bytes."""
        self._sent += 1
        return event_frame(kind, {**fields, "p": padding(self._sent)})

    def begin(self) -> Sequence[bytes]:
        """Return the `messageStart`."""
        return [self.said("messageStart", role="assistant")]

    def event(self, event: Event) -> Sequence[bytes]:
        """Return the events of the stream that an event becomes; a refusal is text here."""
        if choice_of(event) or (isinstance(event, Usage) and self._tally.knows_usage):
            return ()
        self._tally.note(event)
        if isinstance(event, Content):
            return self._content(event)
        stopped = self._message_stop() if isinstance(event, Finish) else []
        return [*stopped, *self._metadata()] if self._is_stopped and self._tally.has_usage else stopped

    def _content(self, event: Content) -> list[bytes]:
        match event:
            case Text(text) | Refusal(text):
                return [*self._within("text"), self._delta(text=text)]
            case Reasoning():
                return self._reasoning(event)
            case ToolCall():
                return self._tool_call(event)
            case Native(api, data) if api == API:
                return self._native(*scripted(cast("str", data)))
        return []

    def _within(self, kind: str) -> list[bytes]:
        """Return what ends a block of another kind, and begin one of this kind, which has no start."""
        if self._open == kind:
            return []
        before = self._close()
        self._index += 1
        self._open = kind
        return before

    def _delta(self, index: int | None = None, **delta: Any) -> bytes:
        return self.said("contentBlockDelta", contentBlockIndex=self._index if index is None else index, delta=delta)

    def _close(self) -> list[bytes]:
        """Return the end of the block that is open, if one is."""
        kind, self._open = self._open, ""
        return [self.said("contentBlockStop", contentBlockIndex=self._index)] if kind else []

    def _start(self, kind: str, **fields: Any) -> list[bytes]:
        before = self._close()
        self._index += 1
        self._open = kind
        return [*before, self.said("contentBlockStart", **{**fields, "contentBlockIndex": self._index})]

    def _reasoning(self, event: Reasoning) -> list[bytes]:
        """Return a piece of reasoning; a signature ends the block."""
        pieces = self._within("reasoning")
        if event.text or event.signature is None:
            pieces.append(self._delta(reasoningContent={"text": event.text}))
        if event.signature is None:
            return pieces
        return [*pieces, self._delta(reasoningContent={"signature": event.signature}), *self._close()]

    def _tool_call(self, piece: ToolCall) -> list[bytes]:
        """Return a piece of a call."""
        index = piece.index or 0
        pieces: list[bytes] = []
        is_first = piece.name is not None or (index not in self._calls and not self.verbatim)
        if is_first:
            call = {"name": piece.name or "", "toolUseId": piece.id or f"call_{index}", **self._call_fields}
            self._call_fields = {}
            pieces = self._start("call", start={"toolUse": call})
            self._calls[index] = self._index
        if piece.arguments or not is_first:
            block = self._calls.get(index, self._index + 1)  # one without a start, if that is what was scripted
            pieces.append(self._delta(block, toolUse={"input": piece.arguments}))
        return pieces

    def _native(self, kind: str, found: dict[str, Any]) -> list[bytes]:
        """Return an event of the stream as it was scripted; see the reader."""
        match kind:
            case "contentBlockStart":
                start = get(found, "start", dict)
                call = start.get("toolUse")
                if isinstance(call, dict) and "name" not in call:
                    self._call_fields = call
                    return []
                return self._start(kind_of_start(start), **found)
            case "contentBlockDelta":
                delta = kind_of_delta(get(found, "delta", dict))
                first = [] if goes_on(self._open, delta) else self._within(delta)
                return [*first, self.said(kind, **{**found, "contentBlockIndex": self._index})]
            case "contentBlockStop":
                first = [] if self._open else self._within("other")
                return [*first, *self._close()]
            case "metadata":
                self._metadata_fields = dump(found)
                return []
        return [self.said(kind, **found)]

    def _message_stop(self) -> list[bytes]:
        if self._is_stopped:
            return []
        self._is_stopped = True
        finish = self._tally.finish()
        fields: dict[str, Any] = {"stopReason": REASONS.get(finish.reason, finish.reason)}
        if finish.extra:  # not merged deeply: a model's own fields may hold nulls
            fields |= parse_object(str(finish.extra), "Finish.extra")
        said = {key: value for key, value in fields.items() if value is not None}
        return [*self._close(), self.said("messageStop", **said)]

    def usual(self, usage: Usage) -> dict[str, Any]:
        """Return what the `metadata` has beside the usage."""
        return usual_metrics(usage)

    def metadata(self) -> dict[str, Any]:
        """Return the fields of the `metadata`."""
        usage = self._tally.usage
        extra = parse_object(str(usage.extra), "Usage.extra") if usage.extra else {}
        written = extra.get("cacheWriteInputTokens")
        counts = merged(usage_fields(usage, written if type(written) is int else 0), usage.extra)
        fields = merged({"usage": counts, **self.usual(usage)}, self._metadata_fields)
        return merged(fields, self._tally.finish().beside)

    def _metadata(self) -> list[bytes]:
        if self._is_counted:
            return []
        self._is_counted = True
        return [self.said("metadata", **self.metadata())]

    def stop(self) -> Sequence[bytes]:
        """Return the usage, if it was scripted and no event had it."""
        return self._metadata() if self._tally.has_usage and not self._is_stopped else ()

    def end(self) -> Sequence[bytes]:
        """Return the end of the block that is open, and `messageStop` and `metadata`, if they are missing."""
        return [*self._close(), *self._message_stop(), *self._metadata()]

    def error(self, fault: provider_error) -> Sequence[bytes]:
        """Return the exception, after which nothing comes; `named=True` gives an error of the protocol."""
        return [*self.stop(), error_frame(fault)]


class Whole(ConverseEncoder):
    """What the events of a stream add up to: `document`, once they are written."""

    def __init__(self, request: Request, usage: Usage | None) -> None:
        super().__init__(request, usage)
        self._blocks: dict[int, dict[str, Any]] = {}
        self._inputs: dict[int, list[str]] = {}
        self._is_cut = False
        self._end: dict[str, Any] = {}

    def said(self, kind: str, **fields: Any) -> bytes:
        """Take an event."""
        index = fields.get("contentBlockIndex", 0)
        match kind:
            case "contentBlockStart":
                self._begin(index, fields["start"])
            case "contentBlockDelta":
                self._add(index, fields["delta"])
            case "messageStop" | "metadata":
                self._end |= fields
        return b""

    def document(self, *, is_cut: bool) -> dict[str, Any]:
        """Return the answer to a request that is not streamed. An answer that was cut short may lack arguments."""
        self._is_cut = is_cut or self._end.get("stopReason") == REASONS["length"]
        content = [self._block(index, block) for index, block in sorted(self._blocks.items())]
        return {"output": {"message": {"content": content, "role": "assistant"}}, **self._end}

    def _begin(self, index: int, start: dict[str, Any]) -> None:
        kind, fields = next(iter(start.items()), ("text", ""))
        self._blocks[index] = {kind: dict(fields) if isinstance(fields, dict) else fields}

    def _add(self, index: int, delta: dict[str, Any]) -> None:
        block = self._blocks.setdefault(index, {})
        for kind, said in delta.items():
            match kind:
                case "text":
                    block["text"] = block.get("text", "") + said
                case "reasoningContent":
                    _add_reasoning(block, said)
                case "toolUse":
                    block.setdefault("toolUse", {})
                    self._inputs.setdefault(index, []).append(said["input"])
                case "toolResult":
                    block.setdefault("toolResult", {}).setdefault("content", []).extend(said)
                case "citation":
                    block.setdefault("citations", []).append(said)
                case _:
                    before = block.get(kind)
                    block[kind] = {**before, **said} if isinstance(before, dict) and isinstance(said, dict) else said

    def _block(self, index: int, block: dict[str, Any]) -> dict[str, Any]:
        if isinstance(call := block.get("toolUse"), dict):
            return {"toolUse": {**call, "input": self._input(call, "".join(self._inputs.get(index, ())))}}
        if "citations" in block:
            return {"citationsContent": {"citations": block["citations"], "content": [{"text": block.get("text", "")}]}}
        return block

    def _input(self, call: dict[str, Any], text: str) -> Any:
        """Return the arguments of a call, which have to be an object."""
        what = f"the arguments of {call.get('name')}"
        try:
            value = parse(text, what) if text else {}
        except WireError:
            if self._is_cut:
                return {}
            raise
        if not isinstance(value, dict):
            msg = f"{what} are {clip(text, 80)}, and a message that is not streamed can only hold a JSON object"
            raise WireError(msg)
        return value


def _add_reasoning(block: dict[str, Any], said: dict[str, Any]) -> None:
    if "redactedContent" in said:
        block["reasoningContent"] = dict(said)
        return
    shown = block.setdefault("reasoningContent", {}).setdefault("reasoningText", {"text": ""})
    for name, text in said.items():
        shown[name] = shown.get(name, "") + text
