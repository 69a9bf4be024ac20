"""What a fake says, as LangChain's messages and chunks."""

from __future__ import annotations

import json
from typing import Any, TypeVar, cast

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk
from pydantic import BaseModel

from fakellm.script.events import ToolCall, Usage
from fakellm.script.messages import Message

Model = TypeVar("Model", bound=BaseModel)


def generation_of(message: Message, model: str) -> ChatGeneration:
    """Return a whole answer: text, `additional_kwargs` with reasoning and refusal, tool calls, usage.

    Arguments that are no JSON object make an invalid tool call, with the error.
    """
    return ChatGeneration(message=AIMessage(**_fields(message)), generation_info=_info(message.finish_reason, model))


def message_of(message: Message, model: str, id: str) -> AIMessage:
    """Return a whole answer as LangChain's models give it: with the id of its run, and metadata."""
    return AIMessage(id=id, response_metadata=_info(message.finish_reason, model), **_fields(message))


def identified(chunk: ChatGenerationChunk, id: str) -> AIMessageChunk:
    """Return the message of a chunk of a stream as LangChain's models give it: with the id of its run, and metadata."""
    message = cast("AIMessageChunk", chunk.message)
    message.id = message.id or id
    message.response_metadata = {**(chunk.generation_info or {}), **message.response_metadata}
    return message


def _fields(message: Message) -> dict[str, Any]:
    calls = [_call(call) for call in message.tool_calls]
    return {
        "content": message.content,
        "additional_kwargs": _beside(message),
        "tool_calls": [call for call in calls if call["type"] == "tool_call"],
        "invalid_tool_calls": [call for call in calls if call["type"] == "invalid_tool_call"],
        "usage_metadata": usage_of(message.usage) if message.usage else None,
    }


def _beside(message: Message) -> dict[str, Any]:
    """Return what stands beside the text, under the names that LangChain and its integrations read."""
    beside = {"reasoning_content": message.reasoning, "refusal": message.refusal}
    return {name: said for name, said in beside.items() if said}


def _info(finish_reason: str | None, model: str) -> dict[str, Any]:
    return {"model_name": model} if finish_reason is None else {"finish_reason": finish_reason, "model_name": model}


def _call(call: ToolCall) -> Any:
    try:
        args = json.loads(call.arguments or "{}", strict=False)
    except ValueError as error:
        return invalid_tool_call(name=call.name, args=call.arguments, id=call.id, error=str(error))
    if not isinstance(args, dict):
        why = f"the arguments are {args!r}, which is no JSON object"
        return invalid_tool_call(name=call.name, args=call.arguments, id=call.id, error=why)
    return tool_call(name=call.name or "", args=args, id=call.id)


def usage_of(usage: Usage, before: Usage | None = None) -> UsageMetadata:
    """Return the tokens counted since `before`: LangChain adds up what the chunks of a stream report."""
    before = before or Usage()
    counted = UsageMetadata(
        input_tokens=usage.input_tokens - before.input_tokens,
        output_tokens=usage.output_tokens - before.output_tokens,
        total_tokens=usage.total_tokens - before.total_tokens,
    )
    if usage.cached_tokens is not None:
        counted["input_token_details"] = {"cache_read": usage.cached_tokens - (before.cached_tokens or 0)}
    if usage.reasoning_tokens is not None:
        counted["output_token_details"] = {"reasoning": usage.reasoning_tokens - (before.reasoning_tokens or 0)}
    return counted


class Chunks:
    """Turns the chunks of one stream of a fake into LangChain's.

    Usage and finish reason wait for the chunk after them, as a rule the last, which is otherwise empty. With
    `blocks` the content is a list of LangChain's standard content blocks (`output_version="v1"`), each with an
    index of its own; without, it is a str, and reasoning stands in `additional_kwargs`.
    """

    def __init__(self, model: str, *, blocks: bool = False) -> None:
        self._model = model
        self._blocks = blocks
        self._block: Any = None
        self._block_index = -1
        self._usage: Usage | None = None
        self._reported: Usage | None = None
        self._finish: str | None = None

    def said(self, message: Message) -> str | ChatGenerationChunk | None:
        """Return what a chunk of the fake says: a text if that is all, or a chunk; None if it waits for the next."""
        said = message.__dict__  # of a chunk of a stream it holds the one field that the chunk says
        if len(said) == 1 and "content" in said and not (self._blocks or self._usage or self._finish):
            return said["content"]  # type: ignore[no-any-return]
        self._usage = message.usage or self._usage
        self._finish = message.finish_reason or self._finish
        return None if said.keys() <= {"usage", "finish_reason"} else self._made(message)

    def of(self, message: Message) -> ChatGenerationChunk | None:
        """Return the chunk for one of the fake's; None for what waits for the next."""
        said = self.said(message)
        return text_chunk(said) if isinstance(said, str) else said

    def late(self) -> ChatGenerationChunk | None:
        """Return the chunk with what waits, where something does: the stream breaks."""
        return self._made(Message()) if self._usage or self._finish else None

    def last(self) -> ChatGenerationChunk:
        """Return the last chunk."""
        return self._made(Message(), is_last=True)

    def _made(self, message: Message, *, is_last: bool = False) -> ChatGenerationChunk:
        usage, self._usage = self._usage, None
        finish, self._finish = self._finish, None
        fields: dict[str, Any] = {"tool_call_chunks": [_piece(call) for call in message.tool_calls]}
        if self._blocks:
            fields |= {"content": self._in_blocks(message), "response_metadata": {"output_version": "v1"}}
        else:
            fields |= {"content": message.content, "additional_kwargs": _beside(message)}
        if usage:
            fields["usage_metadata"] = usage_of(usage, self._reported)
            self._reported = usage
        if is_last:
            fields["chunk_position"] = "last"
        if is_last or finish:
            return _chunk(
                AIMessageChunk(**fields), _info(finish, self._model) if is_last else {"finish_reason": finish}
            )
        return _chunk(AIMessageChunk(**fields))

    def _in_blocks(self, message: Message) -> list[Any]:
        """Return the content as standard blocks; pieces of one block have one index."""
        said = (("reasoning", message.reasoning), ("text", message.content), ("text", message.refusal))
        texts = [{"type": kind, kind: text, "index": self._place(kind)} for kind, text in said if text]
        calls = [{**_piece(call), "index": self._place(("tool", call.index))} for call in message.tool_calls]
        return [*texts, *calls]

    def _place(self, block: Any) -> int:
        """Return the index of a block, where it goes on or begins."""
        if block != self._block:
            self._block = block
            self._block_index += 1
        return self._block_index


def _piece(call: ToolCall) -> Any:
    return tool_call_chunk(name=call.name, args=call.arguments, id=call.id, index=call.index)


def _chunk(message: AIMessageChunk, info: dict[str, Any] | None = None) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=message, generation_info=info)


_MESSAGE = AIMessageChunk(content="").__getstate__()
_GIVEN = identified(ChatGenerationChunk(message=AIMessageChunk(content="")), "run").__getstate__()
_CHUNK = ChatGenerationChunk(message=AIMessageChunk(content="")).__getstate__()
_set = object.__setattr__


def text_message(text: str, id: str | None = None) -> AIMessageChunk:
    """Return the message for a text, made as pickle would make it, without pydantic's checks.

    Most of a stream is these, and the constructor would take five times as long. Each has containers of its own.
    With an id it is as LangChain's models give it.
    """
    fields = _MESSAGE["__dict__"] | {"content": text, "id": id, "additional_kwargs": {}, "response_metadata": {}}
    fields["tool_calls"], fields["invalid_tool_calls"], fields["tool_call_chunks"] = [], [], []
    return _made_of(AIMessageChunk, _MESSAGE if id is None else _GIVEN, fields)


def text_chunk(text: str) -> ChatGenerationChunk:
    """Return the chunk for a text, made likewise."""
    return _made_of(ChatGenerationChunk, _CHUNK, _CHUNK["__dict__"] | {"text": text, "message": text_message(text)})


def _made_of(kind: type[Model], state: dict[Any, Any], fields: dict[str, Any]) -> Model:
    """Return a model with the state of another, but for its fields."""
    made = kind.__new__(kind)
    _set(made, "__dict__", fields)
    _set(made, "__pydantic_fields_set__", state["__pydantic_fields_set__"].copy())
    _set(made, "__pydantic_extra__", None if state["__pydantic_extra__"] is None else {})
    _set(made, "__pydantic_private__", None)
    return made
