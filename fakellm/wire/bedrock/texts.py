"""The bodies of models that answer a prompt with text, in InvokeModel: Titan, Llama, Command, Mistral, Claude 2.

Source: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html and the pages below it, and recorded
streams. Each family has fields of its own for the same three things: a piece of text, why the answer ended, and counts.
Whatever else an answer may say in a script, these models have no place for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fakellm.script.events import Content, Event, Finish, Refusal, Text, Usage, choice_of
from fakellm.script.messages import Message
from fakellm.script.script import Script
from fakellm.wire.bedrock.chunks import API, ChunkEncoder, ChunkReader, native
from fakellm.wire.bedrock.frames import METRICS, invocation_metrics
from fakellm.wire.bedrock.requests import Fields, address_of, malformed
from fakellm.wire.codec import Request, Tally
from fakellm.wire.objects import beyond, counted, get, merged, parse_object, sound, text_field

_NUMBER = (int, float)
_WORDS: dict[tuple[type, ...], str] = {
    (str,): "String", (int,): "Integer", _NUMBER: "Number", (list,): "JSONArray", (dict,): "JSONObject",
    (bool,): "Boolean",
}  # fmt: skip
_FOUND = {str: "String", int: "Integer", float: "Double", list: "JSONArray", dict: "JSONObject", bool: "Boolean"}


@dataclass(frozen=True, slots=True)
class Piece:
    """What a chunk says: `number` counts the pieces of an answer, from 1; `reason` is the family's own word."""

    text: str | None
    reason: str | None
    number: int
    usage: Usage
    choice: int | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """The bodies of one family of models.

    `prompt` is the field of a request that has the text, `fields` are all that it may have. `reasons` are the neutral
    finish reasons in its words. `text` and `reason` are where a chunk has them; `read` are the fields of a chunk that
    are made anew when it is written.
    """

    name: str
    prompt: str
    fields: Fields
    reasons: Mapping[str, str]
    text: str
    reason: str
    read: tuple[str, ...] = ()
    ends_apart: bool = field(default=False)

    def chunk(self, piece: Piece) -> dict[str, Any]:
        """Return a chunk, without what Bedrock counts."""
        usage, is_last = piece.usage, piece.reason is not None
        match self.name:
            case "titan":
                return {
                    "outputText": piece.text or "",
                    "index": piece.choice or 0,
                    "totalOutputTextTokenCount": usage.output_tokens if is_last else None,
                    "completionReason": piece.reason,
                    "inputTextTokenCount": usage.input_tokens if piece.number == 1 or is_last else None,
                }
            case "llama":
                return {
                    "generation": piece.text or "",
                    "prompt_token_count": usage.input_tokens if piece.number == 1 else None,
                    "generation_token_count": piece.number,
                    "stop_reason": piece.reason,
                }
            case "command" if is_last:
                return {"finish_reason": piece.reason, "is_finished": True}
            case "command":
                index = {} if piece.choice is None else {"index": piece.choice}
                return {**index, "is_finished": False, "text": piece.text}
            case "completion":
                return {"completion": piece.text or "", "stop_reason": piece.reason, "stop": None}
        return {"outputs": [{"text": piece.text or "", "stop_reason": piece.reason}]}

    def said(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """Return the part of a chunk that has text and reason."""
        outputs = chunk.get("outputs")
        return outputs[0] if isinstance(outputs, list) and outputs and isinstance(outputs[0], dict) else chunk

    def document(
        self, texts: Sequence[str], reason: str, request: Request, usage: Usage, number: int
    ) -> dict[str, Any]:
        """Return the answer to a request that is not streamed."""
        if self.name == "titan":
            results = [
                {"tokenCount": usage.output_tokens, "outputText": text, "completionReason": reason} for text in texts
            ]
            return {"inputTextTokenCount": usage.input_tokens, "results": results}
        if self.name == "llama":
            counts = {"prompt_token_count": usage.input_tokens, "generation_token_count": usage.output_tokens}
            return {"generation": texts[0], **counts, "stop_reason": reason}
        if self.name == "command":
            generations = [
                {"finish_reason": reason, "id": _id(number, at + 1), "text": text} for at, text in enumerate(texts)
            ]
            return {"generations": generations, "id": _id(number, 0), "prompt": request.prompt}
        if self.name == "completion":
            return {"type": "completion", "completion": texts[0], "stop_reason": reason, "stop": None}
        return {"outputs": [{"text": text, "stop_reason": reason} for text in texts]}


def _id(number: int, part: int) -> str:
    return f"00000000-0000-4000-8000-{number:06d}{part:06d}"


_SAMPLING: Fields = {"temperature": _NUMBER, "top_p": _NUMBER}
TITAN = Family(
    "titan", "inputText", {"inputText": (str,), "textGenerationConfig": (dict,)},
    {"stop": "FINISH", "length": "LENGTH", "content_filter": "CONTENT_FILTERED"}, "outputText", "completionReason",
    ("outputText", "index", "totalOutputTextTokenCount", "completionReason", "inputTextTokenCount"),
)  # fmt: skip
LLAMA = Family(
    "llama", "prompt", {"prompt": (str,), **_SAMPLING, "max_gen_len": (int,), "images": (list,)},
    {}, "generation", "stop_reason", ("generation", "prompt_token_count", "stop_reason"),
)  # fmt: skip
COMMAND = Family(
    "command", "prompt",
    {
        "prompt": (str,), "temperature": _NUMBER, "p": _NUMBER, "k": _NUMBER, "max_tokens": (int,),
        "stop_sequences": (list,), "return_likelihoods": (str,), "stream": (bool,), "num_generations": (int,),
        "logit_bias": (dict,), "truncate": (str,),
    },
    {"stop": "COMPLETE", "length": "MAX_TOKENS", "content_filter": "ERROR_TOXIC"}, "text", "finish_reason",
    ("index", "is_finished", "text", "finish_reason"), ends_apart=True,
)  # fmt: skip
MISTRAL = Family(
    "mistral", "prompt",
    {"prompt": (str,), **_SAMPLING, "max_tokens": (int,), "stop": (list,), "top_k": (int,)},
    {}, "text", "stop_reason", ("outputs",),
)  # fmt: skip
COMPLETION = Family(
    "completion", "prompt",
    {
        "prompt": (str,), **_SAMPLING, "max_tokens_to_sample": (int,), "top_k": (int,), "stop_sequences": (list,),
        "anthropic_version": (str,),
    },
    {"stop": "stop_sequence", "length": "max_tokens"}, "completion", "stop_reason", ("completion", "stop_reason"),
)  # fmt: skip


def read_text_request(family: Family, body: Any, path: str) -> Request:
    """Read a request. Raises `WireError` for what the family's schema refuses."""
    model, method = address_of(path)
    if not isinstance(body, dict):
        raise malformed([f"#: expected type: JSONObject, found: {_FOUND.get(type(body), 'Null')}"])
    problems = [] if body.get(family.prompt) is not None else [f"#: required key [{family.prompt}] not found"]
    problems += [f"#: extraneous key [{name}] is not permitted" for name in body if name not in family.fields]
    for name, kinds in family.fields.items():
        value = body.get(name)
        if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            problems.append(f"#/{name}: expected type: {_WORDS[kinds]}, found: {_FOUND[type(value)]}")
    if problems:
        raise malformed(problems)
    options = {key: value for key, value in body.items() if key != family.prompt}
    choices = get(body, "num_generations", int, 1)
    return Request(
        API,
        model,
        (Message("user", text_field(body, family.prompt)),),
        stream=method == "invoke-with-response-stream",
        options=options,
        json=body,
        choices=max(choices, 1),
    )


# What is held back: the last piece of text, since all families but Command say the reason on the same chunk. It does
# not wait through a silence; then the chunk with the reason has an empty text.


class TextEncoder(ChunkEncoder):
    """Writes a stream: a chunk for each piece of text."""

    def __init__(self, family: Family, request: Request, usage: Usage | None) -> None:
        super().__init__()
        self._family = family
        self._tally = Tally(request, usage)
        self._is_indexed = request.choices > 1
        self._held: tuple[str, int] | None = None
        self._number = 0
        self._finish: Finish | None = None
        self._is_ended = False

    def event(self, event: Event) -> Sequence[bytes]:
        """Return the chunk of the text before this; of a finish reason once it is known what was used."""
        if self.chunks.takes(event) or (isinstance(event, Usage) and self._tally.knows_usage):
            return ()
        if choice_of(event) and not self._is_indexed:
            return ()
        self._tally.note(event)
        if isinstance(event, (Text, Refusal)):
            before = self._text()
            if self._family.ends_apart:
                return self._written(event.text, choice_of(event))
            self._held = event.text, choice_of(event)
            return before
        if isinstance(event, Finish) and self._finish is None:
            self._finish = event
        return self._last() if self._finish is not None and self._tally.has_usage else ()

    def _text(self) -> list[bytes]:
        """Return the chunk of the text that waits."""
        held, self._held = self._held, None
        return [] if held is None else self._written(*held)

    def _written(self, text: str | None, choice: int, reason: str | None = None, extra: Any = None) -> list[bytes]:
        self._number += 1
        index = choice if self._is_indexed else None
        chunk = self._family.chunk(Piece(text, reason, self._number, self._tally.usage, index))
        return [self.chunks.chunk(merged(chunk, extra))]

    def flush(self) -> Sequence[bytes]:
        """Return the text that waits; with its reason, if one was scripted."""
        return self._last() if self._finish is not None else self._text()

    def _last(self) -> list[bytes]:
        """Return the chunk that says why the answer ended."""
        if self._is_ended:
            return []
        self._is_ended = True
        text, choice = self._held or (None, 0)
        self._held = None
        finish, usage = self._finish or self._tally.finish(), self._tally.usage
        counts = {METRICS: merged(invocation_metrics(usage.input_tokens, usage.output_tokens), usage.extra)}
        said = merged(merged(counts, finish.extra), finish.beside)
        reason = self._family.reasons.get(finish.reason, finish.reason)
        return self._written(text, choice, reason, _dumped(said))

    def stop(self) -> Sequence[bytes]:
        """Return the text that waits, without a reason."""
        return self._text()

    def end(self) -> Sequence[bytes]:
        """Return the chunk with the reason, if it is missing."""
        return self._last()


def _dumped(value: dict[str, Any]) -> str:
    return str(native(value).data)


class TextReader(ChunkReader):
    """Turns the chunks of such a stream into events."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._number = 0
        self._read: int | None = None

    def read(self, chunk: dict[str, Any]) -> list[Event]:
        """Return what a chunk says."""
        self._number += 1
        family, said = self._family, self._family.said(chunk)
        text = sound(get(said, family.text, str)) if said.get(family.text) is not None else None
        reason = text_field(said, family.reason) or None
        metrics = chunk.get(METRICS)
        if isinstance(prompt := chunk.get("prompt_token_count", chunk.get("inputTextTokenCount")), int):
            self._read = prompt
        usage = self._usage(chunk, metrics) if reason is not None or metrics is not None else None
        choice = counted(chunk, "index")
        usual = family.chunk(Piece(text, reason, self._number, usage or Usage(self._read or 0), choice))
        rest = beyond({key: value for key, value in chunk.items() if key != METRICS}, usual) or {}
        extra = {key: value for key, value in rest.items() if key not in family.read and value != usual.get(key)}
        if isinstance(said, dict) and said is not chunk:
            extra |= {"outputs": chunk["outputs"]} if set(said) - {family.text, family.reason} else {}
        events: list[Event] = [native(extra)] if extra else []
        if text is not None:
            events.append(Text(text, choice=choice))
        if reason is None:
            return events
        self.is_complete = True
        neutral = next((ours for ours, theirs in family.reasons.items() if theirs == reason), reason)
        beside = None if metrics is not None else _dumped({METRICS: None})
        return [*events, Finish(neutral, choice=choice, beside=beside), *([usage] if usage else [])]

    def _usage(self, chunk: dict[str, Any], metrics: Any) -> Usage:
        """Return what was used: as Bedrock counts it, else as the model does."""
        if not isinstance(metrics, dict):
            written = counted(chunk, "generation_token_count") or counted(chunk, "totalOutputTextTokenCount")
            return Usage(self._read or 0, written or self._number)
        usage = Usage(counted(metrics, "inputTokenCount"), counted(metrics, "outputTokenCount"))
        extra = beyond(metrics, invocation_metrics(usage.input_tokens, usage.output_tokens))
        return Usage(usage.input_tokens, usage.output_tokens, extra=None if extra is None else _dumped(extra))


def document_of_texts(family: Family, script: Script, request: Request, number: int) -> dict[str, Any]:
    """Return the document of an answer that is not streamed: the texts of each choice, joined."""
    tally = Tally(request, script.usage).of(event for event in script if isinstance(event, (Content, Usage, Finish)))
    texts = ["" for _ in range(request.choices)]
    for event in script:
        if isinstance(event, (Text, Refusal)) and choice_of(event) < len(texts):
            texts[choice_of(event)] += event.text
    finish = tally.finish()
    found = family.document(texts, family.reasons.get(finish.reason, finish.reason), request, tally.usage, number)
    beside = parse_object(str(finish.beside), "Finish.beside") if finish.beside else {}
    beside.pop(METRICS, None)
    return merged(merged(found, finish.extra), _dumped(beside) if beside else None)
