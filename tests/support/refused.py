"""Requests that the real APIs refuse: one and more for each rule, each with where and what the API says.

Each is a request that the API takes, `TAKEN`, with some fields over it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
STRICT = {**SCHEMA, "additionalProperties": False}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class Refused(NamedTuple):
    """A request that is refused: of which API, by which rule, the fields over the one that is taken, where, and why."""

    api: str
    rule: str
    fields: dict[str, Any]
    place: str
    message: str
    options: dict[str, Any] = {}
    headers: dict[str, str] = {}

    @property
    def body(self):
        fields = {**TAKEN[self.api][2], **self.fields}
        return {name: value for name, value in fields.items() if value is not GONE}


GONE = object()
"""What stands for a field that is left out."""


def user(content="Hi"):
    return {"role": "user", "content": content}


def assistant(*calls, content=None):
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def call(id="call_1", name="weather"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": '{"city":"Paris"}'}}


def tool(id="call_1"):
    return {"role": "tool", "tool_call_id": id, "content": "rain"}


def function(name="weather", parameters=SCHEMA, **more):
    return {"type": "function", "function": {"name": name, "parameters": parameters, **more}}


def use(id="toolu_1", name="weather"):
    return {"type": "tool_use", "id": id, "name": name, "input": {"city": "Paris"}}


def result(id="toolu_1"):
    return {"type": "tool_result", "tool_use_id": id, "content": "rain"}


def custom(name="weather", schema=SCHEMA, **more):
    return {"name": name, "input_schema": schema, **more}


def image(kind="image/png", data=PNG):
    return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}


def parts(*found, role="user"):
    return {"role": role, "parts": list(found)}


TEXT = {"text": "Hi"}
CALLED = {"functionCall": {"name": "weather", "args": {"city": "Paris"}}}
ANSWERED = {"functionResponse": {"name": "weather", "response": {"rain": True}}}


def declared(*names, **more):
    return [{"functionDeclarations": [{"name": name, "parameters": SCHEMA, **more} for name in names]}]


def block(kind, **fields):
    return {kind: {"toolUseId": "t_1", **fields}}


USED = block("toolUse", name="weather", input={})
GOT = block("toolResult", content=[{"text": "rain"}])
SPEC = {"tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": SCHEMA}}}]}

TAKEN: dict[str, tuple[str, str, dict[str, Any]]] = {
    "openai.chat": (
        "openai",
        "https://api.openai.com/v1/chat/completions",
        {
            "model": "gpt-4o",
            "messages": [{"role": "system", "content": "Be brief."}, user(), assistant(call()), tool(), user("And?")],
            "tools": [function()],
            "tool_choice": "auto",
            "temperature": 0.5,
            "stop": ["a", "b"],
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    ),
    "openai.completions": (
        "openai",
        "https://api.openai.com/v1/completions",
        {"model": "gpt-3.5-turbo-instruct", "prompt": "Hi", "max_tokens": 9},
    ),
    "openai.responses": (
        "openai",
        "https://api.openai.com/v1/responses",
        {
            "model": "gpt-5",
            "input": [
                user(),
                {"type": "reasoning", "id": "rs_1", "summary": []},
                {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
            ],
            "tools": [{"type": "function", "name": "weather", "parameters": SCHEMA}],
        },
    ),
    "anthropic.messages": (
        "anthropic",
        "https://api.anthropic.com/v1/messages",
        {
            "model": "claude-sonnet-4-5",
            "max_tokens": 100,
            "messages": [
                user(),
                {"role": "assistant", "content": [use()]},
                user([result(), {"type": "text", "text": "?"}]),
            ],
            "tools": [custom()],
            "temperature": 0.5,
        },
    ),
    "gemini": (
        "gemini",
        "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:generateContent",
        {
            "contents": [
                parts(TEXT),
                parts(CALLED, role="model"),
                parts(ANSWERED),
                parts(TEXT, role="model"),
                parts(TEXT),
            ],
            "tools": declared("weather"),
            "generationConfig": {"temperature": 0.5},
        },
    ),
    "mistral.chat": (
        "mistral",
        "https://api.mistral.ai/v1/chat/completions",
        {"model": "mistral-small", "messages": [user(), assistant(call(), content=""), tool()], "tools": [function()]},
    ),
    "mistral.agents": (
        "mistral",
        "https://api.mistral.ai/v1/agents/completions",
        {"agent_id": "a", "messages": [user(), assistant(call(), content=""), tool()], "tools": [function()]},
    ),
    "bedrock.converse": (
        "bedrock",
        "https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse",
        {
            "messages": [user([TEXT]), {"role": "assistant", "content": [USED]}, user([GOT])],
            "toolConfig": SPEC,
        },
    ),
}
"""API -> its provider, where it is asked, and a request that it takes."""


def chat(rule, fields, place, message, **options):
    return Refused("openai.chat", rule, fields, place, message, options)


def responses(rule, fields, place, message, **options):
    return Refused("openai.responses", rule, fields, place, message, options)


def claude(rule, fields, place, message, headers=None, **options):
    return Refused("anthropic.messages", rule, fields, place, message, options, headers or {})


def gemini(rule, fields, place, message, **options):
    return Refused("gemini", rule, fields, place, message, options)


LOOSE = {"type": "object", "properties": {"a": {"type": "array"}}, "required": ["a"], "additionalProperties": False}

REFUSED = (
    # -- chat completions
    chat(
        "missing-field",
        {"messages": [{"content": "Hi"}]},
        "messages[0].role",
        "Missing required parameter: 'messages[0].role'.",
    ),
    chat(
        "missing-field",
        {"tools": [{"type": "function"}]},
        "tools[0].function",
        "Missing required parameter: 'tools[0].function'.",
    ),
    chat("unknown-field", {"top_k": 5}, "top_k", "Unrecognized request argument supplied: top_k"),
    chat(
        "unknown-field",
        {"messages": [{**user(), "cache_control": {}}]},
        "messages[0].cache_control",
        "Unknown parameter: 'messages[0].cache_control'.",
    ),
    chat(
        "field-type",
        {"temperature": "hot"},
        "temperature",
        "Invalid type for 'temperature': expected a decimal, but got a string instead.",
    ),
    chat(
        "field-type",
        {"messages": [user(5)]},
        "messages[0].content",
        "Invalid type for 'messages[0].content': expected one of a string or array of objects, but got an integer instead.",
    ),
    chat(
        "field-value",
        {"messages": [user([{"type": "image"}])]},
        "messages[0].content[0].type",
        "Invalid value: 'image'. Supported values are: 'text', 'image_url', 'input_audio', and 'file'.",
    ),
    chat(
        "role",
        {"messages": [{"role": "robot", "content": "Hi"}]},
        "messages[0].role",
        "Invalid value: 'robot'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', and 'developer'.",
    ),
    chat(
        "result-without-call",
        {"messages": [user(), tool()]},
        "messages[1].tool_call_id",
        "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.",
    ),
    chat(
        "result-without-call",
        {"messages": [user(), assistant(call()), tool("call_2")]},
        "messages[2].tool_call_id",
        "'tool_call_id' of 'call_2' not found",
    ),
    chat(
        "call-without-result",
        {"messages": [user(), assistant(call(), call("call_2")), tool(), user()]},
        "messages[1].tool_calls",
        "The following tool_call_ids did not have response messages: call_2",
    ),
    chat("call-without-result", {"messages": [user(), assistant(call())]}, "messages[1].tool_calls", "call_1"),
    chat("empty-list", {"messages": []}, "messages", "Invalid 'messages': empty array."),
    chat("empty-list", {"tools": [], "tool_choice": GONE}, "tools", "Invalid 'tools': empty array."),
    chat("empty-list", {"messages": [user(), {**assistant(content="a")}]}, "messages[1].tool_calls", "empty array"),
    chat(
        "empty-content",
        {"messages": [user(None)]},
        "messages[0].content",
        "Invalid value for 'content': expected a string, got null.",
    ),
    chat("empty-content", {"messages": [user(), {"role": "assistant"}]}, "messages[1].content", "got null"),
    chat(
        "image-type",
        {"messages": [user([{"type": "image_url", "image_url": {"url": "data:image/bmp;base64,AAAA"}}])]},
        "messages[0].content[0].image_url.url",
        "You uploaded an unsupported image.",
    ),
    chat("tool-name", {"tools": [function("get weather")]}, "tools[0].function.name", "string does not match pattern"),
    chat(
        "tool-name",
        {"tools": [function("w" * 65)]},
        "tools[0].function.name",
        "maximum length 64, but got a string with length 65",
    ),
    chat(
        "tool-choice-without-tools",
        {"tools": GONE},
        "tool_choice",
        "'tool_choice' is only allowed when 'tools' are specified.",
    ),
    chat(
        "tool-choice-without-tools",
        {"tools": GONE, "tool_choice": GONE, "function_call": "auto"},
        "function_call",
        "'function_call' is only allowed when 'functions' are specified.",
    ),
    chat(
        "effort-of-other-models",
        {"reasoning_effort": "low"},
        "reasoning_effort",
        "Unrecognized request argument supplied: reasoning_effort",
    ),
    chat(
        "top-logprobs-without-logprobs",
        {"top_logprobs": 2},
        "top_logprobs",
        "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.",
    ),
    chat(
        "parallel-without-tools",
        {"tools": GONE, "tool_choice": GONE, "parallel_tool_calls": False},
        "parallel_tool_calls",
        "'parallel_tool_calls' is only allowed when 'tools' are specified.",
    ),
    chat(
        "unknown-tool-choice",
        {"tool_choice": {"type": "function", "function": {"name": "news"}}},
        "tool_choice.function.name",
        "no function named news was specified in the 'tools' parameter.",
    ),
    chat(
        "function-schema",
        {"tools": [function(parameters={"type": "string"})]},
        "tools[0].function.parameters",
        "got 'type: \"string\"'.",
    ),
    chat(
        "function-schema",
        {"tools": [function(parameters=LOOSE)]},
        "tools[0].function.parameters",
        "In context=('properties', 'a'), array schema missing items.",
    ),
    chat(
        "function-schema",
        {"tools": [function(strict=True)]},
        "tools[0].function.parameters",
        "In context=(), 'additionalProperties' is required to be supplied and to be false.",
    ),
    chat(
        "function-schema",
        {"tools": [function(parameters={**STRICT, "required": []}, strict=True)]},
        "tools[0].function.parameters",
        "'required' is required to be supplied and to be an array including every key in properties. Missing 'city'.",
    ),
    chat(
        "answer-schema",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "out", "strict": True, "schema": SCHEMA}}},
        "response_format.json_schema.schema",
        "Invalid schema for response_format 'out': In context=(), 'additionalProperties' is required",
    ),
    chat(
        "json-unnamed",
        {"response_format": {"type": "json_object"}},
        "messages",
        "'messages' must contain the word 'json' in some form",
    ),
    chat(
        "number-range",
        {"temperature": 3},
        "temperature",
        "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3 instead.",
    ),
    chat(
        "number-range",
        {"presence_penalty": -3},
        "presence_penalty",
        "decimal below minimum value. Expected a value >= -2",
    ),
    chat("too-many-stops", {"stop": list("abcde")}, "stop", "maximum length 4, but got an array with length 5"),
    chat(
        "stream-options-without-stream",
        {"stream": False},
        "stream_options",
        "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
    ),
    chat(
        "max-tokens-of-reasoning-models",
        {"model": "gpt-5-mini", "max_tokens": 9},
        "max_tokens",
        "Use 'max_completion_tokens' instead.",
    ),
    chat(
        "context-window",
        {"messages": [user("a " * 50)]},
        "messages",
        "However, your messages resulted in",
        context_window=40,
    ),
    chat(
        "context-window",
        {"messages": [user("a b c")], "tools": GONE, "tool_choice": GONE, "max_tokens": 9},
        "messages",
        "However, you requested 12 tokens (3 in the messages, 9 in the completion).",
        context_window={"gpt-4": 10},
    ),
    # -- legacy completions
    Refused(
        "openai.completions",
        "missing-field",
        {"stream_options": {}, "logit_bias": "x"},
        "logit_bias",
        "expected an object",
    )._replace(rule="field-type"),
    Refused("openai.completions", "unknown-field", {"top_k": 5}, "top_k", "Unknown parameter: 'top_k'."),
    Refused("openai.completions", "number-range", {"top_p": 2}, "top_p", "above maximum"),
    Refused("openai.completions", "too-many-stops", {"stop": list("abcde")}, "stop", "array too long"),
    Refused(
        "openai.completions", "stream-options-without-stream", {"stream_options": {}}, "stream_options", "only allowed"
    ),
    # -- Responses
    responses(
        "missing-field",
        {"tools": [{"type": "function"}]},
        "tools[0].name",
        "Missing required parameter: 'tools[0].name'.",
    ),
    responses("unknown-field", {"messages": []}, "messages", "Unknown parameter: 'messages'."),
    responses("unknown-field", {"input": [{**user(), "foo": 1}]}, "input[0].foo", "Unknown parameter: 'input[0].foo'."),
    responses(
        "field-type", {"max_output_tokens": "x"}, "max_output_tokens", "expected an integer, but got a string instead."
    ),
    responses(
        "field-value",
        {"input": [user([{"type": "text", "text": "Hi"}])]},
        "input[0].content[0].type",
        "Invalid value: 'text'. Supported values are: ",
    ),
    responses(
        "result-without-call",
        {"input": [user(), {"type": "function_call_output", "call_id": "c", "output": "1"}]},
        "input[1].call_id",
        "No tool call found for function call output with call_id c.",
    ),
    responses(
        "call-without-result",
        {"input": [user(), {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"}]},
        "input[1].call_id",
        "No tool output found for function call c.",
    ),
    responses(
        "reasoning-alone",
        {"input": [user(), {"type": "reasoning", "id": "rs_1", "summary": []}]},
        "input[1]",
        "Item 'rs_1' of type 'reasoning' was provided without its required following item.",
    ),
    responses(
        "reasoning-alone", {"input": [{"type": "reasoning", "id": "rs_1", "summary": []}, user()]}, "input[0]", "rs_1"
    ),
    responses(
        "item-id",
        {
            "input": [
                user(),
                {"type": "function_call", "id": "item_1", "call_id": "c", "name": "weather", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "1"},
            ]
        },
        "input[1].id",
        "Invalid 'input[1].id': 'item_1'. Expected an ID that begins with 'fc'.",
    ),
    *(
        responses(
            "said-as-input",
            {"input": [user(), {"role": "assistant", "content": [{"type": kind, "text": "Hi"}]}]},
            "input[1].content[0]",
            f"Invalid value: '{kind}'. Supported values are: 'output_text' and 'refusal'.",
        )
        for kind in ("input_text", "text")
    ),
    responses(
        "image-type",
        {"input": [user([{"type": "input_image", "detail": "auto", "image_url": "data:text/plain,x"}])]},
        "input[0].content[0].image_url",
        "unsupported image",
    ),
    responses(
        "tool-name",
        {"tools": [{"type": "function", "name": "a b", "parameters": SCHEMA}]},
        "tools[0].name",
        "does not match pattern",
    ),
    responses(
        "unknown-tool-choice",
        {"tool_choice": {"type": "function", "name": "news"}},
        "tool_choice.name",
        "Tool choice 'function' not found in 'tools' parameter.",
    ),
    responses(
        "function-schema",
        {"tools": [{"type": "function", "name": "weather", "parameters": SCHEMA, "strict": True}]},
        "tools[0].parameters",
        "'additionalProperties' is required",
    ),
    responses(
        "answer-schema",
        {"text": {"format": {"type": "json_schema", "name": "out", "strict": True, "schema": SCHEMA}}},
        "text.format.schema",
        "Invalid schema for response_format 'out'",
    ),
    responses("json-unnamed", {"text": {"format": {"type": "json_object"}}}, "input", "must contain the word 'json'"),
    responses("number-range", {"top_p": 2}, "top_p", "Expected a value <= 1"),
    responses(
        "least-output", {"max_output_tokens": 10}, "max_output_tokens", "Expected a value >= 16, but got 10 instead."
    ),
    responses(
        "context-window",
        {"input": "a " * 50},
        "input",
        "Your input exceeds the context window of this model.",
        context_window=40,
    ),
    # -- Messages
    claude(
        "missing-field",
        {"tools": [{"name": "weather"}]},
        "tools[0].input_schema",
        "tools.0.custom.input_schema: Field required",
    ),
    claude(
        "missing-field",
        {"messages": [user([{"type": "text"}])]},
        "messages[0].content[0].text",
        "messages.0.content.0.text.text: Field required",
    ),
    claude(
        "unknown-field", {"response_format": {}}, "response_format", "response_format: Extra inputs are not permitted"
    ),
    claude(
        "unknown-field",
        {"messages": [user([{"type": "text", "text": "a", "index": 0}])]},
        "messages[0].content[0].index",
        "messages.0.content.0.text.index: Extra inputs are not permitted",
    ),
    claude("field-type", {"max_tokens": "many"}, "max_tokens", "max_tokens: Input should be a valid integer"),
    claude(
        "field-value",
        {"messages": [user([{"type": "image_url"}])]},
        "messages[0].content[0].type",
        "messages.0.content.0: Input tag 'image_url' found using 'type' does not match any of the expected tags: ",
    ),
    claude(
        "role",
        {"messages": [{"role": "tool", "content": "x"}]},
        "messages[0].role",
        "messages.0.role: Input should be 'user' or 'assistant'",
    ),
    claude(
        "call-without-result",
        {"messages": [user(), {"role": "assistant", "content": [use(), use("toolu_2")]}, user([result()])]},
        "messages[1].content[1].id",
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_2.",
    ),
    claude(
        "call-without-result",
        {
            "messages": [
                user(),
                {"role": "assistant", "content": [use()]},
                user([{"type": "text", "text": "?"}, result()]),
            ]
        },
        "messages[1].content[0].id",
        "toolu_1",
    ),
    claude(
        "result-without-call",
        {"messages": [user([result()])]},
        "messages[0].content[0].tool_use_id",
        "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: toolu_1.",
    ),
    claude(
        "duplicate-call",
        {"messages": [user(), {"role": "assistant", "content": [use(), use()]}, user([result()])]},
        "messages[1].content[1].id",
        "messages.1.content.1: `tool_use` ids must be unique",
    ),
    claude(
        "duplicate-call",
        {"messages": [user(), {"role": "assistant", "content": [use()]}, user([result(), result()])]},
        "messages[2].content[1].tool_use_id",
        "Found multiple `tool_result` blocks with id: toolu_1",
    ),
    claude("empty-content", {"messages": []}, "messages", "messages: at least one message is required"),
    claude(
        "empty-content",
        {"messages": [user(""), {"role": "assistant", "content": "a"}]},
        "messages[0].content",
        "messages.0: all messages must have non-empty content except for the optional final assistant message",
    ),
    claude(
        "empty-content",
        {"messages": [user([{"type": "text", "text": ""}])]},
        "messages[0].content[0].text",
        "messages: text content blocks must be non-empty",
    ),
    claude(
        "empty-content",
        {"system": [{"type": "text", "text": ""}]},
        "system[0].text",
        "system: text content blocks must be non-empty",
    ),
    claude(
        "trailing-whitespace",
        {"messages": [user(), {"role": "assistant", "content": "I say "}]},
        "messages[1].content",
        "final assistant content cannot end with trailing whitespace",
    ),
    claude(
        "image-type",
        {"messages": [user([image("image/jpg")])]},
        "messages[0].content[0].source.media_type",
        "messages.0.content.0.image.source.base64.media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'",
    ),
    claude(
        "image-type",
        {"messages": [user([image("image/jpeg")])]},
        "messages[0].content[0].source.data",
        "Image does not match the provided media type image/jpeg",
    ),
    claude(
        "tool-name",
        {"tools": [custom("get weather")]},
        "tools[0].name",
        "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'",
    ),
    claude("tool-name", {"tools": [custom("w" * 129)]}, "tools[0].name", "String should have at most 128 characters"),
    claude("duplicate-tool", {"tools": [custom(), custom()]}, "tools[1].name", "tools: Tool names must be unique."),
    claude(
        "unknown-tool-choice",
        {"tool_choice": {"type": "tool", "name": "news"}},
        "tool_choice.name",
        "Tool 'news' not found in provided tools",
    ),
    claude(
        "unknown-tool-choice",
        {"messages": [user()], "tools": GONE, "tool_choice": {"type": "auto"}},
        "tool_choice",
        "tool_choice may only be specified while providing tools.",
    ),
    claude(
        "function-schema",
        {"tools": [custom(schema={**SCHEMA, "anyOf": []})]},
        "tools[0].input_schema",
        "does not support oneOf, allOf, or anyOf at the top level",
    ),
    claude(
        "thinking-with-forced-tools",
        {
            "max_tokens": 4000,
            "temperature": GONE,
            "thinking": {"type": "enabled", "budget_tokens": 2000},
            "tool_choice": {"type": "any"},
        },
        "tool_choice.type",
        "Thinking may not be enabled when tool_choice forces tool use.",
    ),
    claude(
        "thinking-budget",
        {"temperature": GONE, "thinking": {"type": "enabled", "budget_tokens": 50}},
        "thinking.budget_tokens",
        "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
    ),
    claude(
        "thinking-budget",
        {"temperature": GONE, "thinking": {"type": "enabled", "budget_tokens": 2000}},
        "max_tokens",
        "`max_tokens` must be greater than `thinking.budget_tokens`.",
    ),
    claude(
        "thinking-temperature",
        {"max_tokens": 4000, "thinking": {"type": "enabled", "budget_tokens": 2000}},
        "temperature",
        "`temperature` may only be set to 1 when thinking is enabled.",
    ),
    claude(
        "cache-blocks",
        {"tools": [custom(f"t{n}", cache_control={"type": "ephemeral"}) for n in range(5)], "messages": [user()]},
        "cache_control",
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    claude("number-range", {"temperature": 1.5}, "temperature", "temperature: Input should be less than or equal to 1"),
    claude("context-window", {"messages": [user("a " * 50)]}, "messages", "prompt is too long: ", context_window=40),
    claude(
        "context-window",
        {"messages": [user("a b c")], "tools": GONE},
        "max_tokens",
        "input length and `max_tokens` exceed context limit: 3 + 100 > 50,",
        context_window=50,
    ),
    # -- generateContent
    gemini("unknown-field", {"foo": 1}, "foo", 'Invalid JSON payload received. Unknown name "foo": Cannot find field.'),
    gemini(
        "unknown-field",
        {"generationConfig": {"temprature": 1}},
        "generationConfig.temprature",
        "Unknown name \"temprature\" at 'generation_config': Cannot find field.",
    ),
    gemini(
        "field-type",
        {"generationConfig": {"temperature": "hot"}},
        "generationConfig.temperature",
        "Invalid value at 'generation_config.temperature' (TYPE_FLOAT), \"hot\"",
    ),
    gemini(
        "field-value",
        {"toolConfig": {"functionCallingConfig": {"mode": "SOMETIMES"}}},
        "toolConfig.functionCallingConfig.mode",
        "Invalid value at 'tool_config.function_calling_config.mode'",
    ),
    gemini(
        "result-without-call",
        {"contents": [parts(TEXT), parts(TEXT, role="model"), parts(ANSWERED)]},
        "contents[2]",
        "function response turn comes immediately after a function call turn.",
    ),
    gemini(
        "result-without-call",
        {"contents": [parts(CALLED, role="model"), parts(ANSWERED)]},
        "contents[0]",
        "function call turn comes immediately after a user turn",
    ),
    gemini(
        "call-without-result",
        {"contents": [parts(TEXT), parts(CALLED, CALLED, role="model"), parts(ANSWERED)]},
        "contents[2].parts",
        "the number of function response parts is equal to the number of function call parts",
    ),
    gemini(
        "empty-content",
        {"contents": [parts(TEXT), parts(role="model"), parts(TEXT)]},
        "contents[1].parts",
        "* GenerateContentRequest.contents[1].parts: contents.parts must not be empty.",
    ),
    gemini(
        "image-type",
        {"contents": [parts({"inlineData": {"mimeType": "image/svg+xml", "data": "AAAA"}})]},
        "contents[0].parts[0].inlineData.mimeType",
        "Unsupported MIME type: image/svg+xml",
    ),
    gemini("tool-name", {"tools": declared("1st")}, "tools[0].functionDeclarations[0].name", "Invalid function name."),
    gemini(
        "duplicate-tool",
        {"tools": declared("weather", "weather")},
        "tools[0].functionDeclarations[1].name",
        "Duplicate function declaration found: weather",
    ),
    gemini(
        "number-range",
        {"generationConfig": {"temperature": 3}},
        "generationConfig.temperature",
        "generation_config.temperature: must be in the range",
    ),
    gemini(
        "too-many-stops",
        {"generationConfig": {"stopSequences": list("abcdef")}},
        "generationConfig.stopSequences",
        "at most 5",
    ),
    gemini(
        "context-window",
        {"contents": [parts({"text": "a " * 50})]},
        "contents",
        "exceeds the maximum number of tokens allowed (40).",
        context_window=40,
    ),
    # -- others
    Refused(
        "mistral.chat",
        "call-without-result",
        {"messages": [user(), assistant(call(), call("b"), content=""), tool()]},
        "messages[1].tool_calls",
        "Not the same number of function calls and responses",
    ),
    Refused(
        "mistral.agents",
        "call-without-result",
        {"messages": [user(), assistant(call(), content=""), tool(), tool()]},
        "messages[1].tool_calls",
        "Not the same number of function calls and responses",
    ),
    Refused(
        "bedrock.converse",
        "result-without-call",
        {"messages": [user([GOT])]},
        "messages[0].content",
        "The number of toolResult blocks at messages.0.content exceeds the number of toolUse blocks of previous turn.",
    ),
    Refused(
        "bedrock.converse",
        "call-without-result",
        {"messages": [user([TEXT]), {"role": "assistant", "content": [USED]}, user([TEXT])]},
        "messages[2].content",
        "Expected toolResult blocks at messages.2.content for the following Ids: t_1",
    ),
    Refused(
        "bedrock.converse",
        "alternate-turns",
        {"messages": [user([TEXT]), user([TEXT])]},
        "messages[1].role",
        "A conversation must alternate between user and assistant roles.",
    ),
)
