"""What chat completions refuse.

Source: https://platform.openai.com/docs/api-reference/chat/create, and at each rule a public report of the answer.
Two tools of one name are no rule here: the API takes them, where Anthropic's does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from fakellm.errors import clip
from fakellm.wire.openai import rules as openai
from fakellm.wire.openai.rules import OpenAIRules, parameter
from fakellm.wire.openai.schema_rules import problems
from fakellm.wire.rules import Asked, Broken, Rule, capped, inner, listed, mappings, rules_of_types
from fakellm.wire.typed import Problem

_ROLES = ("system", "assistant", "user", "function", "tool", "developer")
_MOST_STOPS = 4
_REASONING = re.compile(r"(o\d|gpt-[5-9])(?!.*chat)")
_PLAIN = re.compile(r"gpt-(3\.5|4|4o|4\.1)(-|$)")
_REFERENCE = "https://platform.openai.com/docs/api-reference/chat/create"


# -- calls and results --------------------------------------------------------------------------------

# A result answers a call of the assistant's message before it, with only other results between the two. So a list of
# messages is read once: `open` are the calls that wait for their result, in the order of the message that has them.


def _calls(message: dict[str, Any]) -> list[str]:
    ids = (call.get("id") for _, call in mappings(message.get("tool_calls")))
    return [one for one in ids if isinstance(one, str)]


def _results_without_calls(asked: Asked) -> Iterator[Broken]:
    known: list[str] | None = None
    for at, message in mappings(asked.body.get("messages")):
        if message.get("role") != "tool":
            known = _calls(message) or None
            continue
        place, found = f"messages[{at}].tool_call_id", message.get("tool_call_id")
        if known is None:
            text = (
                "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
                "'tool_calls'."
            )
            yield Broken(place, text, None, f"messages.[{at}].role")
        elif found not in known:
            text = f"Invalid parameter: 'tool_call_id' of '{found}' not found in 'tool_calls' of previous message."
            yield Broken(place, text, None, f"messages.[{at}].tool_call_id")


def _calls_without_results(asked: Asked) -> Iterator[Broken]:
    waiting: list[str] = []
    begun = 0
    messages = mappings(asked.body.get("messages"))
    for at, message in [*messages, (len(messages), {})]:
        if message.get("role") == "tool":
            waiting = [one for one in waiting if one != message.get("tool_call_id")]
            continue
        if waiting:
            text = (
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                "'tool_call_id'. The following tool_call_ids did not have response messages: "
            )
            last = min(at, len(messages) - 1)
            yield Broken(f"messages[{begun}].tool_calls", text + ", ".join(waiting), None, f"messages.[{last}].role")
        waiting, begun = _calls(message), at


# -- messages -----------------------------------------------------------------------------------------


def _roles(asked: Asked) -> Iterator[Broken]:
    for at, message in mappings(asked.body.get("messages")):
        role = message.get("role")
        if isinstance(role, str) and role not in _ROLES:
            text = f"Invalid value: '{clip(role, 200)}'. Supported values are: {listed(_ROLES)}."
            yield parameter(f"messages[{at}].role", text, "invalid_value")


def _empty_lists(asked: Asked) -> Iterator[Broken]:
    if asked.body.get("messages") == []:
        yield openai.empty("messages")
    if asked.body.get("tools") == []:
        yield openai.empty("tools")
    for at, message in mappings(asked.body.get("messages")):
        if message.get("tool_calls") == []:
            yield openai.empty(f"messages[{at}].tool_calls")


def _null_content(asked: Asked) -> Iterator[Broken]:
    for at, message in mappings(asked.body.get("messages")):
        if message.get("content") is not None:
            continue
        instead = ("tool_calls", "function_call", "audio", "refusal")
        if message.get("role") == "assistant" and any(message.get(name) for name in instead):
            continue
        if message.get("role") in ("assistant", "system", "developer", "user", "tool"):
            text = "Invalid value for 'content': expected a string, got null."
            yield Broken(f"messages[{at}].content", text, None, f"messages.[{at}].content")


def _images(asked: Asked) -> Iterator[Broken]:
    for at, message in mappings(asked.body.get("messages")):
        for part, one in mappings(message.get("content")):
            url = inner(one, "image_url").get("url")
            yield from openai.image_of(f"messages[{at}].content[{part}].image_url.url", url)


# -- tools --------------------------------------------------------------------------------------------


def _functions(asked: Asked) -> list[tuple[str, dict[str, Any]]]:
    tools = [(f"tools[{at}].function", inner(tool, "function")) for at, tool in mappings(asked.body.get("tools"))]
    return [*tools, *((f"functions[{at}]", one) for at, one in mappings(asked.body.get("functions")))]


def _names(asked: Asked) -> Iterator[Broken]:
    yield from openai.names((f"{place}.name", one.get("name")) for place, one in _functions(asked))
    for at, message in mappings(asked.body.get("messages")):
        calls = mappings(message.get("tool_calls"))
        found = ((f"messages[{at}].tool_calls[{n}].function.name", inner(call, "function")) for n, call in calls)
        yield from openai.names((place, one.get("name")) for place, one in found)


def _choice_without_tools(asked: Asked) -> Iterator[Broken]:
    yield from openai.without_tools(asked, "tool_choice")
    yield from openai.without_tools(asked, "function_call", "functions")


def _parallel_without_tools(asked: Asked) -> Iterator[Broken]:
    yield from openai.without_tools(asked, "parallel_tool_calls")


def _unknown_choice(asked: Asked) -> Iterator[Broken]:
    name = inner(inner(asked.body, "tool_choice"), "function").get("name")
    if asked.body.get("tools") and isinstance(name, str) and name not in asked.request.tools:
        text = f"Invalid value for 'tool_choice': no function named {name} was specified in the 'tools' parameter."
        yield parameter("tool_choice.function.name", text, param="tool_choice")


def _function_schemas(asked: Asked) -> Iterator[Broken]:
    for place, one in _functions(asked):
        for text in problems(one.get("parameters"), is_strict=one.get("strict") is True):
            said = f"Invalid schema for function '{one.get('name')}': {text}"
            yield parameter(f"{place}.parameters", said, "invalid_function_parameters")


def _answer_schema(asked: Asked) -> Iterator[Broken]:
    form = inner(inner(asked.body, "response_format"), "json_schema")
    if form.get("strict") is True:
        for text in problems(form.get("schema"), is_strict=True):
            said = f"Invalid schema for response_format '{form.get('name')}': {text}"
            yield parameter("response_format.json_schema.schema", said, param="response_format")


def _json_unnamed(asked: Asked) -> Iterator[Broken]:
    if inner(asked.body, "response_format").get("type") != "json_object":
        return
    if not any("json" in text.lower() for text in openai.texts_of(asked.body.get("messages"))):
        text = "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
        yield parameter("messages", text)


# -- numbers and options ------------------------------------------------------------------------------

_RANGES = {
    "temperature": (0.0, 2.0), "top_p": (0.0, 1.0), "frequency_penalty": (-2.0, 2.0), "presence_penalty": (-2.0, 2.0),
}  # fmt: skip


def _ranges(asked: Asked) -> Iterable[Broken]:
    return openai.ranged(asked, _RANGES)


def _stops(asked: Asked) -> Iterator[Broken]:
    found = asked.body.get("stop")
    if isinstance(found, list) and len(found) > _MOST_STOPS:
        text = (
            f"Invalid 'stop': array too long. Expected an array with maximum length {_MOST_STOPS}, but got an array "
            f"with length {len(found)} instead."
        )
        yield parameter("stop", text, "array_above_max_length")


def _stream_options(asked: Asked) -> Iterator[Broken]:
    if asked.body.get("stream_options") is not None and not asked.request.stream:
        yield parameter("stream_options", "The 'stream_options' parameter is only allowed when 'stream' is enabled.")


def _max_tokens(asked: Asked) -> Iterator[Broken]:
    if asked.body.get("max_tokens") is not None and _REASONING.match(asked.request.model):
        text = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
        yield parameter("max_tokens", text, "unsupported_parameter")


def _effort(asked: Asked) -> Iterator[Broken]:
    if asked.body.get("reasoning_effort") is not None and _PLAIN.match(asked.request.model):
        yield Broken("reasoning_effort", "Unrecognized request argument supplied: reasoning_effort")


def _top_logprobs(asked: Asked) -> Iterator[Broken]:
    if asked.body.get("top_logprobs") is not None and not asked.body.get("logprobs"):
        yield parameter("top_logprobs", "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.")


def _window(asked: Asked) -> Iterable[Broken]:
    return openai.too_long(asked, "messages", capped(asked, "max_completion_tokens", "max_tokens"))


_RULES = (
    Rule("role", f"a role other than {', '.join(_ROLES)}", "send one of these", openai.VALUES, _roles),
    Rule(
        "result-without-call",
        "a message with the role tool whose call is not in the assistant's message before it",
        "send the assistant's message with its tool_calls before the results, as it came",
        "https://github.com/smarter-sh/smarter/issues/264",
        _results_without_calls,
    ),
    Rule(
        "call-without-result",
        "a call of a tool that no message with the role tool follows",
        "send a tool message with the tool_call_id of each call before any other message",
        "https://github.com/router-for-me/CLIProxyAPI/issues/2798",
        _calls_without_results,
    ),
    Rule(
        "empty-list",
        "`messages`, `tools` or `tool_calls` without an item",
        "leave the field out, or send at least one item",
        "https://github.com/home-assistant/core/pull/118577",
        _empty_lists,
    ),
    Rule(
        "empty-content",
        "a message whose content is null or absent, but for an assistant's that calls a tool",
        "send a text; an empty one is a text",
        openai.KINDS,
        _null_content,
    ),
    openai.image_rule(_images),
    openai.name_rule(_names),
    Rule(
        "tool-choice-without-tools",
        "`tool_choice` where no tools are offered, `function_call` where no functions are",
        "leave tool_choice out, or offer tools",
        "https://github.com/dapr/dapr-agents/issues/248",
        _choice_without_tools,
    ),
    Rule(
        "parallel-without-tools",
        "`parallel_tool_calls` where no tools are offered",
        "leave parallel_tool_calls out, or offer tools",
        "https://github.com/openai/swarm/issues/30",
        _parallel_without_tools,
    ),
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
        "https://github.com/modelscope/ms-agent/pull/610",
        _function_schemas,
    ),
    Rule(
        "answer-schema",
        "a strict `response_format` with an object without `additionalProperties: false`, or with a property that is "
        "not required",
        "correct the schema: every property is required, and an optional one may be null",
        "https://github.com/dottxt-ai/outlines/issues/844",
        _answer_schema,
    ),
    Rule(
        "json-unnamed",
        "`response_format` of type json_object where no message says JSON",
        "ask for JSON in a message",
        "https://github.com/mem0ai/mem0/issues/3008",
        _json_unnamed,
    ),
    Rule(
        "number-range",
        "`temperature` out of 0..2, `top_p` out of 0..1, a penalty out of -2..2",
        "send a number within the bounds",
        _REFERENCE,
        _ranges,
    ),
    Rule(
        "too-many-stops",
        "more than four sequences in `stop`",
        "send at most four",
        "https://github.com/continuedev/continue/issues/2461",
        _stops,
    ),
    Rule(
        "stream-options-without-stream",
        "`stream_options` where the answer is not streamed",
        "leave stream_options out, or send stream: true",
        "https://github.com/BerriAI/litellm/issues/5803",
        _stream_options,
    ),
    Rule(
        "max-tokens-of-reasoning-models",
        "`max_tokens` to a model that reasons: o1 and later, GPT-5 and later",
        "send max_completion_tokens instead",
        "https://github.com/sipeed/picoclaw/issues/16",
        _max_tokens,
    ),
    Rule(
        "effort-of-other-models",
        "`reasoning_effort` to a model that does not reason: GPT-3.5, GPT-4, GPT-4o, GPT-4.1",
        "leave reasoning_effort out",
        "https://github.com/coroot/coroot/issues/698",
        _effort,
    ),
    Rule(
        "top-logprobs-without-logprobs",
        "`top_logprobs` without `logprobs: true`",
        "send logprobs: true, or leave both out",
        _REFERENCE,
        _top_logprobs,
    ),
    Rule(
        "context-window",
        "more tokens, with those allowed for the answer, than `context_window=`",
        "send fewer messages, or allow fewer tokens",
        "https://github.com/mckaywrigley/chatbot-ui/issues/102",
        _window,
    ),
)


class ChatRules(OpenAIRules):
    """The rules of chat completions."""

    api = "openai.chat"
    rules = (
        *rules_of_types(
            "openai", openai.TYPES_OF, "https://github.com/coroot/coroot/issues/698", _REFERENCE, openai.VALUES
        ),
        *_RULES,
    )
    beyond = frozenset(
        {
            "messages[].annotations",  # of the API's own answers, which apps send back as they are
            "messages[].tool_calls[].index",  # of the API's own streams
            "messages[].parsed",  # of the SDK's own answers, which it sends back whole here, and not to Responses
            "messages[].tool_calls[].function.parsed_arguments",
            "messages[].name",  # of a result too, as OpenAI's own guide sent it
        }
    )

    def types(self, asked: Asked) -> str | None:  # noqa: ARG002 - there is one form
        """Return the parameters of `chat.completions.create`."""
        return "openai.types.chat.completion_create_params:CompletionCreateParams"

    def takes(self, problem: Problem, asked: Asked) -> bool:
        """Tell whether it is taken, or said by another rule: null content is, and a wrong role."""
        is_null = problem.found is None and problem.keys[2:] == ("content",)
        is_role = problem.kind == "value" and problem.keys[2:] == ("role",)
        return is_null or is_role or super().takes(problem, asked)

    def unknown(self, place: str, problem: Problem) -> Broken:
        """Say that there is no such field: at the top without a parameter."""
        if len(problem.path) == 1:
            return Broken(place, f"Unrecognized request argument supplied: {place}")
        return super().unknown(place, problem)


RULES = ChatRules()
