"""Structured output: what the model is told, and the parser behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import reduce
from itertools import chain
from operator import add, itemgetter
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.runnables import Runnable, RunnableConfig, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass

from fakellm.concurrency import closing

Method = Literal["function_calling", "json_schema", "json_mode"]


def structured(
    model: BaseChatModel,
    schema: Any,
    method: Method | None,
    *,
    include_raw: bool,
    strict: bool | None,
    **kwargs: Any,
) -> Runnable[Any, Any]:
    """Return the model with its instructions bound and a parser behind it."""
    if method not in ("function_calling", "json_schema", "json_mode", None):
        msg = f"there is no method {method!r}; there are 'function_calling', 'json_schema' and 'json_mode'"
        raise ValueError(msg)
    asking: Runnable[Any, Any]
    if method == "json_mode":
        asking = model.bind(response_format={"type": "json_object"}, **kwargs, **_traced(schema, method))
        return _parsed(asking, _text_parser(schema), include_raw=include_raw)
    if schema is None:
        msg = "with_structured_output needs a schema, except with method='json_mode'"
        raise ValueError(msg)
    tool = convert_to_openai_tool(schema, strict=strict)
    if method == "json_schema":
        wanted = {"type": "json_schema", "json_schema": _json_schema(tool["function"])}
        asking = model.bind(response_format=wanted, **kwargs, **_traced(schema, method))
        return _parsed(asking, _text_parser(schema), include_raw=include_raw)
    name = tool["function"]["name"]
    asking = model.bind_tools(
        [schema], tool_choice=name, strict=strict, **kwargs, **_traced(schema, "function_calling")
    )
    parser = _tools_parser(schema, name)
    if method is None:
        parser = _AsItCame(parser, _text_parser(schema))
    return _parsed(asking, parser, include_raw=include_raw)


def _traced(schema: Any, method: Method) -> dict[str, Any]:
    """Return the argument that LangChain takes out again, to say in traces what is wanted."""
    return {"ls_structured_output_format": {"kwargs": {"method": method}, "schema": schema}}


def _json_schema(function: dict[str, Any]) -> dict[str, Any]:
    return {("schema" if key == "parameters" else key): value for key, value in function.items()}


def _is_model(schema: Any) -> bool:
    return isinstance(schema, type) and is_basemodel_subclass(schema)


def _text_parser(schema: Any) -> Runnable[Any, Any]:
    return PydanticOutputParser(pydantic_object=schema) if _is_model(schema) else JsonOutputParser()


def _tools_parser(schema: Any, name: str) -> Runnable[Any, Any]:
    if _is_model(schema):
        return PydanticToolsParser(tools=[schema], first_tool_only=True)
    return JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)


def _parsed(asking: Runnable[Any, Any], parser: Runnable[Any, Any], *, include_raw: bool) -> Runnable[Any, Any]:
    if not include_raw:
        return asking | parser
    parsing = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=asking) | parsing.with_fallbacks([failed], exception_key="parsing_error")


def _text_of(message: AIMessage) -> str:
    parts = [message.content] if isinstance(message.content, str) else message.content
    return "".join(part if isinstance(part, str) else part.get("text", "") for part in parts)


_JSON_BEGINS = ("{", "[", "`")


class _AsItCame(Runnable[Any, Any]):
    """Parses a tool call as one, and a text as JSON; a text before a tool call is passed over.

    While a message streams, a text that begins as JSON does is parsed as it comes. A whole message, of a model that
    does not stream, is parsed whole: LangChain's parsers lose the tool calls of one in a stream.
    """

    def __init__(self, tools: Runnable[Any, Any], text: Runnable[Any, Any]) -> None:
        self._tools = tools
        self._text = text

    def _of_whole(self, message: AIMessage) -> Runnable[Any, Any]:
        is_call = message.tool_calls or message.invalid_tool_calls
        return self._text if not is_call and _text_of(message).strip() else self._tools

    def _of_chunks(self, chunks: list[AIMessageChunk]) -> Runnable[Any, Any] | None:
        """Return the parser for a message that begins with the chunks; None where they do not say."""
        if chunks[-1].tool_call_chunks:
            return self._tools
        return self._text if "".join(map(_text_of, chunks)).lstrip().startswith(_JSON_BEGINS) else None

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Parse a message."""
        return self._of_whole(input).invoke(input, config, **kwargs)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Parse a message."""
        return await self._of_whole(input).ainvoke(input, config, **kwargs)

    def transform(self, input: Iterator[Any], config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        """Parse the chunks of a message while they come."""
        held: list[Any] = []
        parser = None
        for chunk in input:
            if not isinstance(chunk, AIMessageChunk):
                yield self.invoke(chunk, config, **kwargs)
                return
            held.append(chunk)
            if parser := self._of_chunks(held):
                break
        parser = parser or self._of_whole(reduce(add, held))
        yield from parser.transform(chain(held, input), config, **kwargs)

    async def atransform(
        self, input: AsyncIterator[Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """Parse the chunks of a message while they come."""
        held: list[Any] = []
        parser = None
        async for chunk in input:
            if not isinstance(chunk, AIMessageChunk):
                yield await self.ainvoke(chunk, config, **kwargs)
                return
            held.append(chunk)
            if parser := self._of_chunks(held):
                break
        parser = parser or self._of_whole(reduce(add, held))

        async def chunks() -> AsyncIterator[Any]:
            for chunk in held:
                yield chunk
            async for chunk in input:
                yield chunk

        parsed = parser.atransform(chunks(), config, **kwargs)
        async with closing(parsed):
            async for one in parsed:
                yield one
