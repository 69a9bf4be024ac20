"""The parts of which Gemini's answers consist, and the responses around them, as JSON texts.

Source: https://ai.google.dev/api/generate-content (GenerateContentResponse, Candidate) and
https://ai.google.dev/api/caching#Part. What is text already, arguments and native parts, is written as it is.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, cast

from fakellm.script.events import Content, Event, Finish, Native, Reasoning, Refusal, Text, ToolCall, Usage
from fakellm.wire.gemini.reader import API, REASONS, TRAFFIC, usage_object
from fakellm.wire.objects import is_object, merged, quote

_DUMP = json.JSONEncoder(ensure_ascii=False, separators=(",", ": ")).encode
_MADE = "2026-01-01T00:00:00.000000Z"
_UNSAFE = re.compile("[<>\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff\ufff9-\ufffb]")


def escaped(text: str) -> str:
    """Return JSON with the characters escaped that Google's servers escape; some clients take a few for line ends."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def in_line(text: str) -> str:
    """Return JSON in one line; between its tokens a line end is as good as a space."""
    return text.replace("\r", " ").replace("\n", " ")


class Parts:
    """Turns the events of one answer into parts, JSON texts, as they are complete.

    A call of a function waits for its arguments, a signature for the text that it is sent with. `verbatim` is that of
    an encoder: each piece of a call is a part.
    """

    verbatim = False

    def __init__(self) -> None:
        self._call: ToolCall | None = None
        self._sent: int | None = None
        self.signature: str | None = None

    def of(self, event: Event) -> list[str]:
        """Return the parts that an event completes."""
        if isinstance(event, ToolCall):
            return self._piece(event)
        before = self._close_call()
        if isinstance(event, (Text, Refusal)) and event.text:
            signature, self.signature = self.signature, None
            return [*before, _text_part(event.text, signature)]
        before += self.release()
        match event:
            case Reasoning("", _, str(signature)):
                self.signature = signature
            case Reasoning(text, _, signature):
                before.append(_text_part(text, signature, thought=True))
            case Text(text) | Refusal(text):
                before.append(_text_part(text))
            case Native(api, data) if api == API:
                before.append(in_line(cast("str", data)))
        return before

    def _piece(self, piece: ToolCall) -> list[str]:
        """Return the call that a piece completes: the one before it, or its own once the arguments are an object."""
        if self.verbatim:
            return [_call_part(piece, named=False)]
        if piece.name is None and piece.index == self._sent:
            return [_text_part("", piece.signature)] if piece.signature else []
        before: list[str] = []
        if self._call is None or piece.name is not None or piece.index != self._call.index:
            before = [*self._close_call(), *self.release()]
            self._call, self._sent = piece, None
        else:
            self._call += piece
        if is_object(self._call.arguments):
            self._sent = self._call.index
            before += self._close_call()
        return before

    @property
    def holds_call(self) -> bool:
        """Whether a call waits for more of its arguments, or for something else to come."""
        return self._call is not None

    def goes_on_with(self, event: Event) -> bool:
        """Tell whether an event is more of the call that waits."""
        call = self._call
        is_more = isinstance(event, ToolCall) and event.name is None
        return call is not None and is_more and getattr(event, "index", None) == call.index

    def _close_call(self) -> list[str]:
        call, self._call = self._call, None
        return [] if call is None else [_call_part(call)]

    def release(self) -> list[str]:
        """Return the signature in a part of its own, if one waits."""
        signature, self.signature = self.signature, None
        return [_text_part("", signature)] if signature else []

    def close(self) -> list[str]:
        """Return what waits, since the answer ends."""
        return [*self._close_call(), *self.release()]


def _text_part(text: str, signature: str | None = None, *, thought: bool = False) -> str:
    more = ',"thought": true' if thought else ""
    return f'{{"text": {quote(text)}{more}{_signature(signature)}}}'


def _signature(signature: str | None) -> str:
    """Return the field of a signature, which is base64; the API's clients read nothing else."""
    if not signature:
        return ""
    try:
        plain = signature.replace("-", "+").replace("_", "/")
        is_base64 = base64.b64encode(base64.b64decode(plain, validate=True)).decode() == plain
    except (binascii.Error, ValueError):
        is_base64 = False
    return f',"thoughtSignature": {quote(signature if is_base64 else base64.b64encode(signature.encode()).decode())}'


def _call_part(call: ToolCall, *, named: bool = True) -> str:
    arguments = call.arguments
    if not is_object(arguments):
        arguments = _DUMP({"arguments": arguments}) if arguments else "{}"
    id = "" if call.id in (None, f"call_{call.index}") else f',"id": {quote(call.id or "")}'  # noqa: A001
    name = "" if call.name is None and not named else f'"name": {quote(call.name or "")},'
    function = f'{{{name}"args": {in_line(arguments)}{id}}}'
    return f'{{"functionCall": {function}{_signature(call.signature)}}}'


def joined(events: Iterable[Event]) -> list[Event]:
    """Return the content of an answer, with adjacent pieces of text joined into one, and those of a call in a row."""
    runs: list[list[Any]] = []
    for event in _in_a_row(events):
        if isinstance(event, Content):
            if runs and _goes_on(runs[-1][-1], event):
                runs[-1].append(event)
            else:
                runs.append([event])
    return [run[0] if len(run) == 1 else replace(run[-1], text="".join(e.text for e in run)) for run in runs]


def _in_a_row(events: Iterable[Event]) -> Iterator[Event]:
    """Yield the events, with the pieces of a call beside each other that a provider that misbehaves sends in turn."""
    rows: list[list[Event]] = []
    latest: dict[int | None, int] = {}
    for event in events:
        if isinstance(event, ToolCall) and event.name is None and event.index in latest:
            rows[latest[event.index]].append(event)
            continue
        if isinstance(event, ToolCall):
            latest[event.index] = len(rows)
        rows.append([event])
    return chain.from_iterable(rows)


def _goes_on(last: Event, event: Event) -> bool:
    """Tell whether an event is more of the same part; a signature ends a part, and one alone belongs to the next."""
    if isinstance(event, Reasoning):
        return isinstance(last, Reasoning) and bool(event.text) and not last.signature
    return isinstance(event, Text) and isinstance(last, Text)


def candidate(parts: Sequence[str], choice: int, finish: Finish | None = None) -> tuple[str, Any]:
    """Return a candidate, and what is wrong with the prompt, where it is blocked.

    One that ends for another reason than its own or its limit has no content, as on Gemini, unless it has parts.
    """
    reason = "" if finish is None else REASONS.get(finish.reason, finish.reason)
    said = list(parts) or ([_text_part("")] if reason in ("STOP", "MAX_TOKENS") else [])
    content = f'"content": {{"parts": [{",".join(said)}],"role": "model"}},' if said else ""
    ended = f'"finishReason": {quote(reason)},' if reason else ""
    text = f'{{{content}{ended}"index": {choice}}}'
    if finish is None or finish.extra is None:
        return text, None
    found = merged(json.loads(text), finish.extra)
    blocked = found.pop("promptFeedback", None)
    return _DUMP(found), blocked


def tail_of(model: str, number: int, *, is_vertex: bool) -> str:
    """Return what ends a chunk or a document: the model, the id of the answer, and on Vertex AI when it was made."""
    made = f'"createTime": "{_MADE}",' if is_vertex else ""
    return f'"modelVersion": {quote(model)},{made}"responseId": "fakellm{number:06d}"}}'


def response(
    candidates: Sequence[str], usage: Usage, tail: str, feedback: Any = None, beside: Sequence[object] = ()
) -> str:
    """Return a chunk, or a document, with fields `beside` the candidates that finish reasons have."""
    said = f'"candidates": [{",".join(candidates)}],' if candidates and feedback is None else ""
    blocked = "" if feedback is None else f'"promptFeedback": {_DUMP(feedback)},'
    traffic = TRAFFIC if _MADE in tail else ""
    text = f'{{{said}{blocked}"usageMetadata": {_DUMP(usage_object(usage, traffic))},{tail}'
    for extra in filter(None, beside):
        text = _DUMP(merged(json.loads(text), extra))
    return escaped(text)
