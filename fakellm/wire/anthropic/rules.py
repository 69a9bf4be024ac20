"""What Messages refuses, and how it says it: most of it as pydantic does, with the place before the words.

Source: https://docs.anthropic.com/en/api/messages, and at each rule a public report of the API's answer. Turns of one
role in a row are no rule: the API joins them since 2024.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from typing import Any

from fakellm.errors import clip
from fakellm.wire.anthropic.tool_rules import CALLS, TOOLS, blocks, messages_of
from fakellm.wire.rules import Asked, Broken, Rule, Rules, capped, inner, mappings, number_of, rules_of_types
from fakellm.wire.typed import Path, Problem, Tag, place_of

_KINDS = {
    "string": "string", "integer": "integer", "number": "number", "boolean": "boolean", "array": "list",
    "object": "dictionary",
}  # fmt: skip
_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_BEGINS = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG", "image/png"), (b"GIF8", "image/gif"), (b"RIFF", "image/webp"))
_ROLES = ("user", "assistant", "system")  # the last in newer models only
_LEAST_THINKING = 1024
_CACHES = 4
_THINKING = "https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking"
_REFERENCE = "https://docs.anthropic.com/en/api/messages"


# -- content ------------------------------------------------------------------------------------------


def _roles(asked: Asked) -> Iterator[Broken]:
    for at, message in messages_of(asked):
        if "role" in message and message["role"] not in _ROLES:
            yield Broken(f"messages[{at}].role", f"messages.{at}.role: Input should be 'user' or 'assistant'")


def _empty(asked: Asked) -> Iterator[Broken]:
    messages = messages_of(asked)
    if asked.body.get("messages") == []:
        yield Broken("messages", "messages: at least one message is required")
    for at, message in messages:
        content = message.get("content")
        is_last = at == len(messages) - 1 and message.get("role") == "assistant"
        if content in ("", []) and not is_last:
            rest = "all messages must have non-empty content except for the optional final assistant message"
            yield Broken(f"messages[{at}].content", f"messages.{at}: {rest}")
        for number, block in blocks(message):
            if block.get("type") == "text" and block.get("text") == "":
                text = "messages: text content blocks must be non-empty"
                yield Broken(f"messages[{at}].content[{number}].text", text)
    for number, block in mappings(asked.body.get("system")):
        if block.get("type") == "text" and block.get("text") == "":
            yield Broken(f"system[{number}].text", "system: text content blocks must be non-empty")


def _trailing(asked: Asked) -> Iterator[Broken]:
    at, message = (messages_of(asked) or [(0, {})])[-1]
    if message.get("role") != "assistant":
        return
    content = message.get("content")
    texts = [content] if isinstance(content, str) else [one.get("text") for _, one in blocks(message)][-1:]
    if any(isinstance(text, str) and text != text.rstrip() for text in texts):
        said = "messages: final assistant content cannot end with trailing whitespace"
        yield Broken(f"messages[{at}].content", said)


def _images(asked: Asked) -> Iterator[Broken]:
    for at, message in messages_of(asked):
        for number, block in blocks(message):
            inside = mappings(block.get("content")) if block.get("type") == "tool_result" else []
            where = ("messages", at, "content", number)
            yield from _image(block, (*where, Tag("image")))
            for n, one in inside:
                yield from _image(one, (*where, Tag("tool_result"), "content", n, Tag("image")))


def _image(block: dict[str, Any], path: Path) -> Iterator[Broken]:
    source = inner(block, "source")
    kind = source.get("media_type")
    if block.get("type") != "image" or source.get("type") != "base64" or not isinstance(kind, str):
        return
    if kind not in _IMAGES:
        where = (*path, "source", Tag("base64"), "media_type")
        yield Broken(place_of(where), f"{_dotted(where)}: Input should be {_options(_IMAGES)}")
    elif (real := _type_of(source.get("data"))) and real != kind:
        where = (*path, "source", Tag("base64"), "data")
        yield Broken(place_of(where), f"{_dotted(where)}: Image does not match the provided media type {kind}")


def _type_of(data: Any) -> str | None:
    """Return the media type that an image begins as."""
    try:
        begin = base64.b64decode(data[:16]) if isinstance(data, str) else b""
    except ValueError:
        return None
    return next((kind for first, kind in _BEGINS if begin.startswith(first)), None)


def _caches(asked: Asked) -> Iterator[Broken]:
    count = _cached(asked.body.get("system")) + _cached(asked.body.get("tools"))
    for _, message in messages_of(asked):
        for _, block in blocks(message):
            count += _cached([block]) + _cached(block.get("content"))
    if count > _CACHES:
        text = f"A maximum of {_CACHES} blocks with cache_control may be provided. Found {count}."
        yield Broken("cache_control", text)


def _cached(found: Any) -> int:
    return sum(one.get("cache_control") is not None for _, one in mappings(found))


# -- thinking -----------------------------------------------------------------------------------------


def _thinks(asked: Asked) -> bool:
    return inner(asked.body, "thinking").get("type") in ("enabled", "adaptive")


def _forced(asked: Asked) -> Iterator[Broken]:
    if _thinks(asked) and inner(asked.body, "tool_choice").get("type") in ("any", "tool"):
        yield Broken("tool_choice.type", "Thinking may not be enabled when tool_choice forces tool use.")


def _budget(asked: Asked) -> Iterator[Broken]:
    thinking = inner(asked.body, "thinking")
    budget, most = number_of(thinking, "budget_tokens"), number_of(asked.body, "max_tokens")
    if thinking.get("type") != "enabled" or budget is None:
        return
    if budget < _LEAST_THINKING:
        text = f"thinking.enabled.budget_tokens: Input should be greater than or equal to {_LEAST_THINKING}"
        yield Broken("thinking.budget_tokens", text)
    elif most is not None and most <= budget and "interleaved-thinking" not in asked.headers.get("anthropic-beta", ""):
        text = (
            "`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation at "
            f"{_THINKING}#max-tokens-and-context-window-size"
        )
        yield Broken("max_tokens", text)


def _temperature(asked: Asked) -> Iterator[Broken]:
    value = number_of(asked.body, "temperature")
    if inner(asked.body, "thinking").get("type") == "enabled" and value not in (None, 1):
        text = (
            "`temperature` may only be set to 1 when thinking is enabled. Please consult our documentation at "
            f"{_THINKING}#important-considerations-when-using-extended-thinking"
        )
        yield Broken("temperature", text)


# -- numbers ------------------------------------------------------------------------------------------


def _ranges(asked: Asked) -> Iterator[Broken]:
    for name in ("temperature", "top_p"):
        value = number_of(asked.body, name)
        if value is not None and not 0 <= value <= 1:
            bound = "less than or equal to 1" if value > 1 else "greater than or equal to 0"
            yield Broken(name, f"{name}: Input should be {bound}")


def _window(asked: Asked) -> Iterator[Broken]:
    if asked.window is None:
        return
    allowed = capped(asked, "max_tokens")
    if asked.tokens > asked.window:
        yield Broken("messages", f"prompt is too long: {asked.tokens} tokens > {asked.window} maximum")
    elif asked.tokens + allowed > asked.window:
        text = (
            f"input length and `max_tokens` exceed context limit: {asked.tokens} + {allowed} > {asked.window}, "
            "decrease input length or `max_tokens` and try again"
        )
        yield Broken("max_tokens", text)


_RULES = (
    Rule(
        "role",
        "a role other than user and assistant",
        "send results of tools as blocks of the user",
        _REFERENCE,
        _roles,
    ),
    *CALLS,
    Rule(
        "empty-content",
        "no message, a message without content but for a last one of the assistant, an empty block of text",
        "leave out what is empty",
        "https://github.com/anthropics/claude-code/issues/6774",
        _empty,
    ),
    Rule(
        "trailing-whitespace",
        "a last message of the assistant that ends with a space",
        "strip the end of what the answer is to begin with",
        "https://docs.anthropic.com/en/docs/build-with-claude/prompt-engineering/prefill-claudes-response",
        _trailing,
    ),
    Rule(
        "image-type",
        "an image that is no JPEG, PNG, GIF or WebP, or another than its media type says",
        "convert the image, and say its media type: image/jpeg, not image/jpg",
        "https://github.com/anthropics/claude-code/issues/8184",
        _images,
    ),
    *TOOLS,
    Rule(
        "thinking-with-forced-tools",
        "`thinking` where `tool_choice` is any, or a tool",
        "send tool_choice auto, or no thinking",
        "https://github.com/defog-ai/defog/issues/236",
        _forced,
    ),
    Rule(
        "thinking-budget",
        "`budget_tokens` below 1024, or not below `max_tokens`, unless thinking is interleaved",
        "allow more tokens than are for thinking",
        "https://github.com/themaximalist/llm.js/issues/30",
        _budget,
    ),
    Rule(
        "thinking-temperature",
        "a `temperature` other than 1 where thinking is enabled",
        "leave temperature out",
        "https://github.com/MartialBE/one-hub/issues/529",
        _temperature,
    ),
    Rule(
        "cache-blocks",
        "more than four blocks with `cache_control`",
        "mark the last block of what is to be cached, not each",
        "https://github.com/tghamm/Anthropic.SDK/issues/50",
        _caches,
    ),
    Rule(
        "number-range",
        "`temperature` or `top_p` out of 0..1",
        "send a number within the bounds",
        _REFERENCE,
        _ranges,
    ),
    Rule(
        "context-window",
        "more tokens, with `max_tokens`, than `context_window=`",
        "send fewer messages, or allow fewer tokens",
        "https://github.com/docker/docker-agent/issues/569",
        _window,
    ),
)


class MessagesRules(Rules):
    """The rules of Messages."""

    api = "anthropic.messages"
    sdk = "anthropic"
    is_at_guests = True
    rules = (
        *rules_of_types(
            "anthropic",
            _REFERENCE,
            "https://github.com/langchain-ai/langchain/issues/31208",
            _REFERENCE,
            "https://github.com/anthropics/claude-code/issues/8184",
        ),
        *_RULES,
    )
    beyond = frozenset({"temperature", "top_p", "top_k"})  # recorded, and taken; newer types have them no more

    def types(self, asked: Asked) -> str | None:
        """Return the parameters of `messages.create`, with those of betas where one is asked for."""
        is_beta = "anthropic-beta" in asked.headers or "beta=true" in asked.path
        return f"anthropic.types.{'beta.' if is_beta else ''}message_create_params:MessageCreateParams"

    def takes(self, problem: Problem, asked: Asked) -> bool:
        """Tell whether it is taken, or said by another rule, as a wrong image and a wrong role are."""
        is_role = problem.keys[2:] == ("role",) and problem.kind != "missing" and problem.found not in _ROLES
        is_moved = problem.keys == ("output_format",) and "anthropic-beta" in asked.headers  # to output_config
        return is_role or is_moved or problem.keys[-1:] == ("media_type",) or super().takes(problem, asked)

    def word(self, problem: Problem, asked: Asked) -> Broken:  # noqa: ARG002 - the same for all
        """Say a problem with types as pydantic does."""
        place, where = place_of(problem.path), _dotted(problem.path)
        if problem.kind == "missing":
            return Broken(place, f"{where}: Field required")
        if problem.kind == "unknown":
            return Broken(place, f"{where}: Extra inputs are not permitted")
        if problem.kind == "value" and problem.keys[-1:] == ("type",):
            above = _dotted(problem.path[:-1])
            tags = ", ".join(f"'{one}'" for one in problem.expected)
            found = clip(str(problem.found), 200)
            text = f"Input tag '{found}' found using 'type' does not match any of the expected tags: {tags}"
            return Broken(place, f"{above}: {text}")
        if problem.kind == "value":
            return Broken(place, f"{where}: Input should be {_options(problem.expected)}")
        kinds = [kind for kind in problem.expected if kind in _KINDS]
        kind = "array" if "array" in kinds else kinds[0] if kinds else "object"
        return Broken(place, f"{where}: Input should be a valid {_KINDS[kind]}")


def _dotted(path: Iterable[str | int]) -> str:
    return ".".join(map(str, path))


def _options(values: Iterable[str]) -> str:
    words = [f"'{value}'" for value in values]
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


class CloudRules(MessagesRules):
    """The rules of Messages on Vertex AI and on Bedrock: those above types, which are of Anthropic's own service."""

    rules = _RULES

    def types(self, asked: Asked) -> str | None:  # noqa: ARG002 - there are none
        """Return nothing: the model is in the path there, and the version in the body."""
        return None


RULES = MessagesRules()
CLOUDS = CloudRules()
