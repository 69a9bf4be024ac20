"""What the Responses API refuses.

Source: https://platform.openai.com/docs/api-reference/responses/create, and at each rule a public report of the answer.
What the provider keeps, it knows by itself: a request that goes on from another one, or refers to an item, may hold a
result whose call is not in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from fakellm.errors import clip
from fakellm.wire.openai import rules as openai
from fakellm.wire.openai.rules import OpenAIRules, parameter
from fakellm.wire.openai.schema_rules import problems
from fakellm.wire.rules import Asked, Broken, Rule, inner, mappings, number_of, rules_of_types
from fakellm.wire.typed import Problem

_LEAST_OUTPUT = 16
_ELSEWHERE = ("previous_response_id", "conversation", "prompt")
_REFERENCE = "https://platform.openai.com/docs/api-reference/responses/create"
_CALLS = "https://github.com/continuedev/continue/issues/10092"
_FILLED = ("id", "status", "detail", "annotations", "result", "outputs", "pending_safety_checks")
"""Fields of the API's own answers that the types want back, and the API does not: OpenAI's Codex sends none of them."""
_SAID = ("output_text", "refusal")


def _items(asked: Asked) -> list[tuple[int, dict[str, Any]]]:
    return mappings(asked.body.get("input"))


def _refers(asked: Asked) -> bool:
    """Tell whether items may be elsewhere."""
    kinds = [one.get("type") for _, one in _items(asked)]
    return any(asked.body.get(name) for name in _ELSEWHERE) or "item_reference" in kinds or "compaction" in kinds


def _results_without_calls(asked: Asked) -> Iterator[Broken]:
    if _refers(asked):
        return
    known: set[Any] = set()
    for at, item in _items(asked):
        if item.get("type") == "function_call":
            known.add(item.get("call_id"))
        elif item.get("type") == "function_call_output" and item.get("call_id") not in known:
            text = f"No tool call found for function call output with call_id {item.get('call_id')}."
            yield Broken(f"input[{at}].call_id", text, None, "input")


def _calls_without_results(asked: Asked) -> Iterator[Broken]:
    items = _items(asked)
    results = {one.get("call_id") for _, one in items if one.get("type") == "function_call_output"}
    if any(one.get("type") == "item_reference" for _, one in items):
        return
    for at, item in items:
        if item.get("type") == "function_call" and item.get("call_id") not in results:
            text = f"No tool output found for function call {item.get('call_id')}."
            yield Broken(f"input[{at}].call_id", text, None, "input")


def _reasoning_alone(asked: Asked) -> Iterator[Broken]:
    items = _items(asked)
    for number, (at, item) in enumerate(items):
        if item.get("type") != "reasoning" or item.get("encrypted_content") or not item.get("id"):
            continue
        after = next((one for _, one in items[number + 1 :] if one.get("type") != "reasoning"), None)
        is_said = after is not None and after.get("role", "assistant") == "assistant"
        if not is_said or str((after or {}).get("type")).endswith("_output"):
            text = f"Item '{item['id']}' of type 'reasoning' was provided without its required following item."
            yield Broken(f"input[{at}]", text, None, "input")


_PREFIXES = {"function_call": "fc", "custom_tool_call": "ctc", "message": "msg"}
"""The type of an item of the API's own -> what its id begins with."""


def _ids(asked: Asked) -> Iterator[Broken]:
    for at, item in _items(asked):
        kind, name = item.get("type", "message"), item.get("id")
        prefix = _PREFIXES.get(kind) if isinstance(kind, str) else None
        is_own = kind != "message" or item.get("role") == "assistant"
        if prefix and is_own and isinstance(name, str) and not name.startswith(prefix):
            text = f"Invalid 'input[{at}].id': '{clip(name, 200)}'. Expected an ID that begins with '{prefix}'."
            yield parameter(f"input[{at}].id", text, "invalid_value")


def _said_otherwise(asked: Asked) -> Iterator[Broken]:
    """Yield the parts of the assistant's messages that only others send; the types know them in any message."""
    for at, item in _items(asked):
        if item.get("role") != "assistant" or item.get("type", "message") != "message":
            continue
        for part, one in mappings(item.get("content")):
            if (kind := one.get("type")) not in _SAID:
                place = f"input[{at}].content[{part}]"
                text = f"Invalid value: '{kind}'. Supported values are: 'output_text' and 'refusal'."
                yield parameter(place, text, "invalid_value")


def _images(asked: Asked) -> Iterator[Broken]:
    for at, item in _items(asked):
        for part, one in mappings(item.get("content")):
            yield from openai.image_of(f"input[{at}].content[{part}].image_url", one.get("image_url"))


def _tools(asked: Asked) -> list[tuple[str, dict[str, Any]]]:
    tools = mappings(asked.body.get("tools"))
    return [(f"tools[{at}]", tool) for at, tool in tools if tool.get("type") == "function"]


def _names(asked: Asked) -> Iterator[Broken]:
    yield from openai.names((f"{place}.name", tool.get("name")) for place, tool in _tools(asked))
    calls = ((at, item) for at, item in _items(asked) if item.get("type") == "function_call")
    yield from openai.names((f"input[{at}].name", item.get("name")) for at, item in calls)


def _offers_more(asked: Asked) -> bool:
    """Tell whether there are functions elsewhere than in `tools`: in a kept prompt, in a namespace, in items."""
    kinds = [one.get("type") for _, one in [*mappings(asked.body.get("tools")), *_items(asked)]]
    more = ("namespace", "tool_search", "tool_search_output", "additional_tools")
    return bool(asked.body.get("prompt")) or any(kind in more for kind in kinds)


def _unknown_choice(asked: Asked) -> Iterator[Broken]:
    choice = inner(asked.body, "tool_choice")
    if choice.get("type") != "function" or _offers_more(asked):
        return
    if choice.get("name") not in [tool.get("name") for _, tool in _tools(asked)]:
        yield parameter(
            "tool_choice.name", "Tool choice 'function' not found in 'tools' parameter.", None, "tool_choice"
        )


def _function_schemas(asked: Asked) -> Iterator[Broken]:
    for place, tool in _tools(asked):
        for text in problems(tool.get("parameters"), is_strict=tool.get("strict") is True):
            said = f"Invalid schema for function '{tool.get('name')}': {text}"
            yield parameter(f"{place}.parameters", said, "invalid_function_parameters")


def _answer_schema(asked: Asked) -> Iterator[Broken]:
    form = inner(inner(asked.body, "text"), "format")
    if form.get("type") == "json_schema" and form.get("strict") is True:
        for text in problems(form.get("schema"), is_strict=True):
            said = f"Invalid schema for response_format '{form.get('name')}': {text}"
            yield parameter("text.format.schema", said, "invalid_json_schema")


def _json_unnamed(asked: Asked) -> Iterator[Broken]:
    if inner(inner(asked.body, "text"), "format").get("type") != "json_object" or _refers(asked):
        return
    said = [*openai.texts_of(asked.body.get("input")), *openai.texts_of(asked.body.get("instructions"))]
    if not any("json" in text.lower() for text in said):
        text = (
            "Response input messages must contain the word 'json' in some form to use 'text.format' of type "
            "'json_object'."
        )
        yield parameter("input", text)


def _ranges(asked: Asked) -> Iterable[Broken]:
    return openai.ranged(asked, {"temperature": (0.0, 2.0), "top_p": (0.0, 1.0)})


def _least_output(asked: Asked) -> Iterator[Broken]:
    value = number_of(asked.body, "max_output_tokens")
    if value is not None and value < _LEAST_OUTPUT:
        text = (
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= "
            f"{_LEAST_OUTPUT}, but got {value:g} instead."
        )
        yield parameter("max_output_tokens", text, "integer_below_min_value")


def _window(asked: Asked) -> Iterator[Broken]:
    if asked.window is not None and asked.tokens > asked.window and asked.body.get("truncation") != "auto":
        text = "Your input exceeds the context window of this model. Please adjust your input and try again."
        yield Broken("input", text, "context_length_exceeded", "input")


_RULES = (
    Rule(
        "result-without-call",
        "a `function_call_output` whose `function_call` is not before it, in a request that goes on from no other",
        "send the function_call item before its output, or previous_response_id",
        _CALLS,
        _results_without_calls,
    ),
    Rule(
        "call-without-result",
        "a `function_call` without its `function_call_output`",
        "send an output with the call_id of each call",
        "https://github.com/Azure/azure-sdk-for-python/issues/46092",
        _calls_without_results,
    ),
    Rule(
        "reasoning-alone",
        "a reasoning item that no item of the assistant follows",
        "send the item that followed it too, or leave both out",
        "https://github.com/openai/openai-node/issues/1567",
        _reasoning_alone,
    ),
    Rule(
        "item-id",
        "an id of a `function_call` that does not begin with fc, of a `custom_tool_call` with ctc, of a message of the "
        "assistant with msg",
        "leave the id out; a call is known by its call_id",
        "https://github.com/Wei-Shaw/sub2api/issues/3785",
        _ids,
    ),
    Rule(
        "said-as-input",
        "a part of a message of the assistant that is no `output_text` and no `refusal`",
        "send what the model said as output_text, or the content as one text",
        "https://github.com/epam/ai-dial-adapter-openai/issues/511",
        _said_otherwise,
    ),
    openai.image_rule(_images),
    openai.name_rule(_names),
    Rule(
        "unknown-tool-choice",
        "a `tool_choice` that names a function which is not offered",
        "name a function that is in tools",
        _REFERENCE,
        _unknown_choice,
    ),
    Rule(
        "function-schema",
        "parameters of a function that are no schema of an object, or an array in them without `items`; of a strict "
        "function also an object without `additionalProperties: false`, or with a property that is not required",
        "correct the schema; with strict every property is required, and an optional one may be null",
        "https://github.com/kevinwatt/mysql-mcp/issues/5",
        _function_schemas,
    ),
    Rule(
        "answer-schema",
        "a strict `text.format` with an object without `additionalProperties: false`, or with a property that is not "
        "required",
        "correct the schema: every property is required, and an optional one may be null",
        "https://github.com/mavam/pi-web-providers/issues/14",
        _answer_schema,
    ),
    Rule(
        "json-unnamed",
        "`text.format` of type json_object where nothing in the input says JSON",
        "ask for JSON in the input",
        "https://platform.openai.com/docs/guides/structured-outputs#json-mode",
        _json_unnamed,
    ),
    Rule(
        "number-range",
        "`temperature` out of 0..2, `top_p` out of 0..1",
        "send a number within the bounds",
        _REFERENCE,
        _ranges,
    ),
    Rule(
        "least-output",
        "`max_output_tokens` below 16",
        "allow at least 16",
        "https://github.com/vectorize-io/hindsight/issues/58",
        _least_output,
    ),
    Rule(
        "context-window",
        "more tokens than `context_window=`, without truncation: auto",
        "send less, or let the API truncate",
        "https://github.com/VectorlyApp/bluebox/issues/66",
        _window,
    ),
)


class ResponsesRules(OpenAIRules):
    """The rules of Responses."""

    api = "openai.responses"
    rules = (
        *rules_of_types(
            "openai",
            "https://github.com/diegosouzapw/OmniRoute/issues/2692",
            "https://github.com/pydantic/pydantic-ai/issues/3653",
            _REFERENCE,
            openai.VALUES,
        ),
        *_RULES,
    )
    beyond = frozenset({"input[].created_by"})  # of the API's own answers, which apps send back as they are

    def types(self, asked: Asked) -> str | None:  # noqa: ARG002 - there is one form
        """Return the parameters of `responses.create`."""
        return "openai.types.responses.response_create_params:ResponseCreateParams"

    def as_typed(self, asked: Asked) -> dict[str, Any]:
        """Return the body with whole messages of the assistant: the types know `output_text` in such alone."""
        items = asked.body.get("input")
        return {**asked.body, "input": [*map(_whole, items)]} if isinstance(items, list) else asked.body

    def takes(self, problem: Problem, asked: Asked) -> bool:
        """Tell whether it is taken: an item without what the API knows of its own answers is."""
        keys = problem.keys
        if problem.kind == "missing" and keys[-1] in ("strict", "parameters"):  # of a function, wherever it is offered
            return True
        if problem.kind == "value" and keys == ("tool_choice", "type"):  # a tool of the provider's, by a newer name
            return problem.found in [tool.get("type") for _, tool in mappings(asked.body.get("tools"))]
        if problem.kind == "value" and keys[:1] == ("input",) and keys[2:3] == ("content",) and keys[4:] == ("type",):
            return bool(asked.body["input"][keys[1]].get("role") == "assistant")  # another rule says it
        if problem.kind == "missing" and keys[0] == "input" and keys[-1] in _FILLED:
            item = asked.body["input"][keys[1]]
            return keys[-1] != "id" or item.get("type") != "item_reference"
        return super().takes(problem, asked)


def _whole(item: Any) -> Any:
    """Return an item; a message of the assistant that holds what the API says, with the fields of the API's own."""
    if not isinstance(item, dict) or item.get("role") != "assistant" or item.get("type") not in (None, "message"):
        return item
    if not any(part.get("type") in _SAID for _, part in mappings(item.get("content"))):
        return item
    return {"id": "msg_1", "status": "completed", **item, "type": "message"}


RULES = ResponsesRules()
