"""What structured chunks are given as, and how they get there: dicts, objects of official SDKs, `Message`, a `Script`.

Moves are made on dicts; each form reads what was given into dicts and makes chunks of the same type of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import count
from typing import Any, Literal, cast

from fakellm.contracts.structured.moves import Chunk, copied, text_of
from fakellm.errors import ContractUsageError, MissingExtraError, clip
from fakellm.script.events import Content, Finish, ToolCall, Usage
from fakellm.script.messages import Message, chunk_of
from fakellm.script.script import Script
from fakellm.wire.anthropic.messages import MessagesCodec
from fakellm.wire.codec import Codec, Request
from fakellm.wire.objects import parse_object
from fakellm.wire.openai.chat import ChatCodec
from fakellm.wire.sse import SSEDecoder

Api = Literal["openai_chat", "anthropic_messages", "message"]
Form = Callable[[Chunk], Any]
"""Makes a chunk of a type of a dict."""

TAKES = (
    "a list of chat completion chunks or of Messages events (dicts, or objects of the openai or anthropic SDK), "
    "a list of fakellm Message chunks, or a Script"
)


def as_dict(chunk: Chunk) -> Any:
    """Make a chunk of a dict: a dict it is."""
    return chunk


def dicts_of(value: object) -> tuple[list[Chunk], Form]:
    """Return the chunks as dicts, and what makes chunks of the given type of dicts again.

    Raises `ContractUsageError` for chunks of no type that is known, of several types, or for none.
    """
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Sequence):
        msg = f"{clip(repr(value), 80)} is no list of structured chunks; there are moves for {TAKES}"
        raise ContractUsageError(msg)
    if not value:
        msg = "an empty list of chunks has no moves; give the chunks of one whole stream"
        raise ContractUsageError(msg)
    if all(isinstance(chunk, dict) for chunk in value):
        return [copied(chunk) for chunk in value], as_dict
    if all(isinstance(chunk, Message) for chunk in value):
        return [_dict_of(chunk) for chunk in value], message_of
    if all(callable(getattr(chunk, "model_dump", None)) for chunk in value):
        dumped = [chunk.model_dump(exclude_unset=True, warnings=False) for chunk in value]
        return dumped, _maker_of(value, dumped)
    if all(isinstance(chunk, (str, bytes)) for chunk in value):
        msg = f"{clip(repr(value), 80)} is a text in pieces; join them, it is cut anew in many ways"
        raise ContractUsageError(msg)
    place = next(at for at, chunk in enumerate(value) if type(chunk) is not type(value[0]) or not _is_known(chunk))
    kinds = "all are to be of one kind, and " if len({*map(type, value)}) > 1 else ""
    msg = f"chunk {place} is {clip(repr(value[place]), 80)}; {kinds}there are moves for {TAKES}"
    raise ContractUsageError(msg)


def _is_known(chunk: object) -> bool:
    return isinstance(chunk, (dict, Message)) or callable(getattr(chunk, "model_dump", None))


def _maker_of(value: Sequence[Any], dumped: Sequence[Chunk]) -> Form:
    """Return what makes SDK objects: by the type of an event, of those that are there."""
    kinds = {chunk.get("type"): type(item) for item, chunk in zip(value, dumped, strict=True)}
    return lambda chunk: kinds[chunk.get("type")].model_construct(**chunk)


# -- Message ---------------------------------------------------------------------------------------


def _dict_of(message: Message) -> Chunk:
    """Return a `Message` as a chat completion chunk, with its own usage."""
    delta: Chunk = {"content": message.content, "reasoning": message.reasoning, "refusal": message.refusal}
    delta = {key: text for key, text in delta.items() if text}
    if message.tool_calls:
        delta["tool_calls"] = [_dict_of_call(call) for call in message.tool_calls]
    choice = {"index": 0, "delta": delta, "finish_reason": message.finish_reason}
    usage = message.usage and {key: number for key, number in asdict(message.usage).items() if number is not None}
    is_alone = usage and not delta and not message.finish_reason
    return {"role": message.role, "choices": [] if is_alone else [choice], "usage": usage}


def _dict_of_call(call: ToolCall) -> Chunk:
    function: Chunk = {"arguments": call.arguments}
    if call.name:
        function["name"] = call.name
    more = {"id": call.id, "signature": call.signature}
    return {"index": call.index or 0, **{key: text for key, text in more.items() if text}, "function": function}


def message_of(chunk: Chunk) -> Message:
    """Return the `Message` that a chat completion chunk is."""
    choice: Chunk = next(iter(chunk["choices"]), {"delta": {}})
    delta = choice["delta"]
    calls = [
        ToolCall(
            call["function"].get("name"),
            call["function"].get("arguments", ""),
            id=call.get("id"),
            index=call["index"],
            signature=call.get("signature"),
        )
        for call in delta.get("tool_calls", ())
    ]
    usage = chunk.get("usage")
    return Message(
        chunk.get("role", "assistant"),
        text_of(delta, "content"),
        text_of(delta, "reasoning"),
        text_of(delta, "refusal"),
        tuple(calls),
        usage and Usage(**usage),
        choice.get("finish_reason"),
    )


# -- Script ----------------------------------------------------------------------------------------


def encoded(script: Script, api: Api) -> list[Chunk] | list[Message]:
    """Return a script as the chunks of an API, usage among them if it has one. Raises `ContractUsageError`."""
    if script.fault is not None or not any(isinstance(event, Content) for event in script):
        msg = f"{clip(repr(script), 80)} is no whole answer; moves are for those, every_fault is for broken streams"
        raise ContractUsageError(msg)
    if api == "message":
        if script.choices != (0,):
            msg = "messages are of one answer; take script.choice(...), or api='openai_chat'"
            raise ContractUsageError(msg)
        whole = script if script.finish_reason else script + Finish("tool_calls" if script.tool_calls else "stop")
        return [chunk_of(event) for event in whole.chunks]
    codec: Codec = ChatCodec() if api == "openai_chat" else MessagesCodec()
    options = {"stream_options": {"include_usage": True}} if script.usage else {}
    request = Request(codec.api, "fake-model", stream=True, options=options, choices=len(script.choices))
    encoder = codec.encoder(request, 1, script.usage)
    pieces = [*encoder.begin(), *(piece for event in script.chunks for piece in encoder.event(event)), *encoder.end()]
    decoder, at = SSEDecoder(), count()
    events = [*decoder.feed(b"".join(pieces)), *decoder.close()]
    return [parse_object(event.data, f"event {next(at)}") for event in events if event.data != "[DONE]"]


def sdk_objects(chunks: Sequence[Chunk], api: Api) -> list[Any]:
    """Return chunks as objects of the official SDK. Raises `MissingExtraError` where that is not installed."""
    try:
        if api == "openai_chat":
            from openai.types.chat import ChatCompletionChunk

            return [ChatCompletionChunk.model_construct(**cast("Any", chunk)) for chunk in chunks]
        from anthropic import types
    except ImportError as error:
        library = "openai" if api == "openai_chat" else "anthropic"
        raise MissingExtraError(library, library, f"chunks of the {library} SDK") from error
    names = {"message_start": "RawMessageStartEvent", "message_delta": "RawMessageDeltaEvent"}
    names |= {"message_stop": "RawMessageStopEvent", "content_block_start": "RawContentBlockStartEvent"}
    names |= {"content_block_delta": "RawContentBlockDeltaEvent", "content_block_stop": "RawContentBlockStopEvent"}
    kept = [chunk for chunk in chunks if chunk["type"] in names]
    return [getattr(types, names[chunk["type"]]).model_construct(**chunk) for chunk in kept]
