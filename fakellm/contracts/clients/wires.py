"""Hops that write legal oddities into a stream, whatever its API: chunks that say nothing, what nobody knows yet.

What is written is made of what the stream has: the event that carries a text of the script is copied and changed, so
it is one of that API in all that is not changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fakellm.wire.codec import Ending
from fakellm.wire.hops import Carried
from fakellm.wire.wireform import framing_of

Change = Callable[[dict[str, Any]], dict[str, Any] | None]
"""Returns the document of an event that is made of another's; None where it has none such."""

_LINE = re.compile(rb"(?m)^(data: ?|)(\{.*\})(\r?)$")
_SEPARATOR = re.compile(rb"(?<!\\)\\u(2028|2029|0085)")
_NAME = re.compile(rb"(?m)^event: ?[^\r\n]*")


def document_in(piece: bytes) -> dict[str, Any] | None:
    """Return the JSON of a piece that is one event or one line."""
    found = _LINE.search(piece)
    return None if found is None else _object(found[2])


def half_of(piece: bytes) -> str:
    """Return a piece that is one event or one line with half of its JSON, but whole in all else; nothing for others."""
    found = _LINE.search(piece)
    if found is None or _object(found[2]) is None:
        return ""
    return (piece[: (found.start(2) + found.end(2)) // 2] + piece[found.end(2) :]).decode()


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _dumped(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass
class Watching:
    """Notes how an answer is sent: its content type, and the piece that carries a text. Changes nothing."""

    text: str
    kind: str = ""
    piece: bytes = b""

    def carry(self, answer: Carried) -> Carried:
        """Return the answer."""
        self.kind = answer.header("content-type")
        return replace(answer, steps=self._watched(answer))

    def _watched(self, answer: Carried) -> Iterator[Any]:
        for step in answer.steps:
            if isinstance(step, list) and not self.piece:
                self.piece = next((piece for piece in step if self.text.encode() in piece), b"")
            yield step


@dataclass(frozen=True)
class Inserting:
    """Puts an event behind the one that carries a text, made of that."""

    text: str
    change: Change

    def carry(self, answer: Carried) -> Carried:
        """Return the answer with one event more."""
        return replace(answer, steps=self._inserted(answer))

    def _inserted(self, answer: Carried) -> Iterator[Any]:
        is_there = False
        for step in answer.steps:
            at = None
            if isinstance(step, list) and not is_there:
                at = next((at for at, piece in enumerate(step) if self.text.encode() in piece), None)
            if at is None:
                yield step
                continue
            is_there = True
            more = _made_of(step[at], self.change)
            yield type(step)([*step[: at + 1], *([] if more is None else [more]), *step[at + 1 :]])


def _made_of(piece: bytes, change: Change) -> bytes | None:
    document = document_in(piece)
    changed = None if document is None else change(document)
    if changed is None:
        return None
    kind = changed.get("type")
    named = _NAME.sub(lambda found: b"event: " + str(kind).encode() if kind else found[0], piece)
    return _LINE.sub(lambda found: found[1] + _dumped(changed) + found[3], named)


@dataclass(frozen=True)
class Late:
    """Sends the event that carries a text once more, behind the end of the answer."""

    text: str

    def carry(self, answer: Carried) -> Carried:
        """Return the answer with what comes too late."""
        return replace(answer, steps=self._late(answer))

    def _late(self, answer: Carried) -> Iterator[Any]:
        again: list[bytes] = []
        for step in answer.steps:
            if isinstance(step, list) and not again:
                again = [piece for piece in step if self.text.encode() in piece][:1]
            yield Ending([*step, *again]) if isinstance(step, Ending) else step


class Unescaped:
    """Writes what ends a line to Python, and to no protocol, as it is: JSON may hold it, and need not escape it."""

    def carry(self, answer: Carried) -> Carried:
        """Return the answer with these characters as they are, if it is a stream."""
        is_stream = framing_of(answer.header("content-type")) != "other"
        return replace(answer, steps=self._plain(answer)) if is_stream else answer

    def _plain(self, answer: Carried) -> Iterator[Any]:
        for step in answer.steps:
            known = isinstance(step, list)
            yield type(step)(_SEPARATOR.sub(self._as_it_is, piece) for piece in step) if known else step

    def _as_it_is(self, found: re.Match[bytes]) -> bytes:
        return chr(int(found[1], 16)).encode()


class Unknown:
    """Gives every object of every event a field that no API has."""

    def carry(self, answer: Carried) -> Carried:
        """Return the answer with more fields, if it is a stream."""
        is_stream = framing_of(answer.header("content-type")) != "other"
        return replace(answer, steps=self._more(answer)) if is_stream else answer

    def _more(self, answer: Carried) -> Iterator[Any]:
        for step in answer.steps:
            known = isinstance(step, list)
            yield type(step)(_LINE.sub(self._known, piece) for piece in step) if known else step

    def _known(self, found: re.Match[bytes]) -> bytes:
        document = _object(found[2])
        return found[0] if document is None else found[1] + _dumped(_with_unknown(document)) + found[3]


def _with_unknown(value: Any) -> Any:
    if isinstance(value, dict) and value:  # what is empty may be a mapping of names, such as metadata
        return {**{name: _with_unknown(one) for name, one in value.items()}, "x_fakellm": {"unknown": True}}
    return [_with_unknown(one) for one in value] if isinstance(value, list) else value


# -- events that say nothing ------------------------------------------------------------------------------


def no_choices(document: dict[str, Any]) -> dict[str, Any] | None:
    """Leave the answers out, as a chunk has it that tells the usage, or of a filter."""
    if "choices" in document:
        return {**document, "choices": []}
    return (
        {name: value for name, value in document.items() if name != "candidates"} if "candidates" in document else None
    )


def empty_delta(document: dict[str, Any]) -> dict[str, Any] | None:
    """Say nothing, in the form that the API has for it."""
    if (made := _with_delta(document, {})) is not None:
        return made
    if "candidates" in document:
        return {**document, "candidates": [{"content": {"role": "model"}, "index": 0}]}
    if isinstance(document.get("message"), dict) and "done" in document:
        return {**document, "message": {**document["message"], "content": ""}}
    return {**document, "response": ""} if "done" in document and "response" in document else None


def null_content(document: dict[str, Any]) -> dict[str, Any] | None:
    """Say a text that is null."""
    return _with_delta(document, {"content": None})


def null_delta(document: dict[str, Any]) -> dict[str, Any] | None:
    """Say a delta that is null."""
    return _with_delta(document, None)


def unknown_event(document: dict[str, Any]) -> dict[str, Any] | None:
    """Say an event of a type that no API has."""
    if not isinstance(document.get("type"), str):
        return None
    number = {"sequence_number": document["sequence_number"]} if "sequence_number" in document else {}
    return {"type": "fakellm.unknown", **number, "what": "an event of a later version"}


def _with_delta(document: dict[str, Any], delta: Any) -> dict[str, Any] | None:
    choices = document.get("choices")
    if not isinstance(choices, list) or not choices or "delta" not in choices[0]:
        return None
    return {**document, "choices": [{**choices[0], "delta": delta}]}
