"""What OpenAI's APIs refuse alike, and how they say it: types, schemas, tools, images, numbers.

Source: https://platform.openai.com/docs/api-reference, and public reports of the API's own answers, one at each rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from fakellm.errors import clip
from fakellm.wire.objects import dump
from fakellm.wire.openai.profiles import OPENAI, Profile
from fakellm.wire.rules import Asked, Broken, Rule, Rules, listed, mappings, number_of
from fakellm.wire.typed import Problem, place_of, type_of

_ARTICLES = {
    "string": "a string", "object": "an object", "array": "an array", "integer": "an integer", "number": "a decimal",
    "boolean": "a boolean", "null": "null",
}  # fmt: skip
_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_LONGEST_NAME = 64
_IMAGES = ("image/png", "image/jpeg", "image/jpg", "image/gif", "image/webp")
_DATA = re.compile(r"data:([^;,]*)")

TYPES_OF = "https://github.com/bolna-ai/bolna/issues/144"
VALUES = "https://github.com/run-llama/llama_index/issues/17748"
KINDS = "https://github.com/langchain-ai/langchainjs/issues/4153"


class OpenAIRules(Rules):
    """What the rules of OpenAI's APIs share."""

    sdk = "openai"

    def is_own(self, profile: Profile | None) -> bool:
        """Tell whether it is OpenAI that is asked, be it on Azure."""
        return profile is None or profile == OPENAI or profile.filters

    def takes(self, problem: Problem, asked: Asked) -> bool:
        """Tell whether it is taken though the types say otherwise: Azure has the model in the path, and more fields."""
        is_azures = asked.profile is not None and asked.profile != OPENAI
        if is_azures and len(problem.path) == 1 and problem.kind in ("missing", "unknown"):
            return True
        return super().takes(problem, asked)

    def word(self, problem: Problem, asked: Asked) -> Broken:  # noqa: ARG002 - the same for all
        """Say a problem with types as OpenAI does."""
        place = place_of(problem.path)
        if problem.kind == "missing":
            return parameter(place, f"Missing required parameter: '{place}'.", "missing_required_parameter")
        if problem.kind == "unknown":
            return self.unknown(place, problem)
        if problem.kind == "value":
            text = (
                f"Invalid value: '{clip(str(problem.found), 200)}'. Supported values are: {listed(problem.expected)}."
            )
            return parameter(place, text, "invalid_value")
        text = f"Invalid type for '{place}': expected {_expected(problem)}, but got {_got(problem.found)} instead."
        return parameter(place, text, "invalid_type")

    def unknown(self, place: str, problem: Problem) -> Broken:  # noqa: ARG002 - chat says it otherwise at the top
        """Say that there is no such field."""
        return parameter(place, f"Unknown parameter: '{place}'.", "unknown_parameter")

    def body(self, broken: Broken) -> str:
        """Return the document, with the parameter that it is about."""
        document = {"message": broken.message, "type": "invalid_request_error"}
        return dump({"error": {**document, "param": broken.param, "code": broken.code}}).decode()


def parameter(place: str, message: str, code: str | None = None, param: str | None = None) -> Broken:
    """Return what is wrong with a parameter, which the API names."""
    return Broken(place, message, code, place if param is None else param)


def _expected(problem: Problem) -> str:
    words = [kind for kind in problem.expected if kind != "null"] or ["null"]
    named = [_ARTICLES.get(word, word) for word in words]
    if "array" in words and problem.many:
        at = words.index("array")
        named[at] = f"an array of {'decimals' if problem.many == 'number' else problem.many + 's'}"
    if len(named) == 1:
        return named[0]
    bare = [name.split(" ", 1)[-1] for name in named[1:]]
    return f"one of {', '.join([named[0], *bare[:-1]])} or {bare[-1]}"


def _got(value: Any) -> str:
    return "an empty array" if value == [] else _ARTICLES[type_of(value)]


# -- checks of both APIs ------------------------------------------------------------------------------


def empty(place: str) -> Broken:
    """Return that an array is empty."""
    text = f"Invalid '{place}': empty array. Expected an array with minimum length 1, but got an empty array instead."
    return parameter(place, text, "empty_array")


def ranged(asked: Asked, ranges: Mapping[str, tuple[float, float]]) -> Iterator[Broken]:
    """Yield the numbers that are not within their bounds."""
    for name, (least, most) in ranges.items():
        if (value := number_of(asked.body, name)) is None or least <= value <= most:
            continue
        side, bound = ("above maximum", f"<= {most:g}") if value > most else ("below minimum", f">= {least:g}")
        code = "decimal_above_max_value" if value > most else "decimal_below_min_value"
        text = f"Invalid '{name}': decimal {side} value. Expected a value {bound}, but got {value:g} instead."
        yield parameter(name, text, code)


def names(found: Iterable[tuple[str, Any]]) -> Iterator[Broken]:
    """Yield the names of functions, each at its place, that are too long, or of other characters."""
    for place, name in found:
        if not isinstance(name, str):
            continue
        if len(name) > _LONGEST_NAME:
            text = (
                f"Invalid '{place}': string too long. Expected a string with maximum length {_LONGEST_NAME}, but got a "
                f"string with length {len(name)} instead."
            )
            yield parameter(place, text, "string_above_max_length")
        elif not _NAME.fullmatch(name):
            text = (
                f"Invalid '{place}': string does not match pattern. Expected a string that matches the pattern "
                "'^[a-zA-Z0-9_-]+$'."
            )
            yield parameter(place, text, "invalid_value")


def name_rule(check: Callable[[Asked], Iterable[Broken]]) -> Rule:
    """Return the rule of `names`, with what finds them in the requests of an API."""
    return Rule(
        "tool-name",
        "a name of a function with other characters than letters, digits, `_` and `-`, or with more than 64",
        "rename the function",
        "https://github.com/home-assistant/core/issues/121325",
        check,
    )


def without_tools(asked: Asked, name: str, tools: str = "tools") -> Iterator[Broken]:
    """Yield that a parameter about tools is there, and no tools are."""
    if asked.body.get(name) is not None and not asked.body.get(tools):
        text = f"Invalid value for '{name}': '{name}' is only allowed when '{tools}' are specified."
        yield parameter(name, text)


def image_of(place: str, url: Any) -> Iterator[Broken]:
    """Yield that a data URL holds no image that can be read."""
    found = _DATA.match(url) if isinstance(url, str) else None
    if found is not None and found[1].lower() not in _IMAGES:
        text = (
            "You uploaded an unsupported image. Please make sure your image has of one the following formats: "
            "['png', 'jpeg', 'gif', 'webp']."
        )
        yield Broken(place, text, "invalid_image_format")


def image_rule(check: Callable[[Asked], Iterable[Broken]]) -> Rule:
    """Return the rule of `image_of`, with what finds images in the requests of an API."""
    return Rule(
        "image-type",
        "a data URL that is no PNG, JPEG, GIF or WebP",
        "convert the image, and name its media type in the URL",
        "https://github.com/STranslate/STranslate/issues/277",
        check,
    )


def too_long(asked: Asked, param: str, allowed: int) -> Iterator[Broken]:
    """Yield that the request and what it allows for the answer are more than the model takes."""
    if asked.window is None or (tokens := asked.tokens) + allowed <= asked.window:
        return
    head = f"This model's maximum context length is {asked.window} tokens. However, "
    if tokens > asked.window:
        text = f"{head}your messages resulted in {tokens} tokens. Please reduce the length of the messages."
    else:
        text = (
            f"{head}you requested {tokens + allowed} tokens ({tokens} in the messages, {allowed} in the completion). "
            "Please reduce the length of the messages or completion."
        )
    yield Broken(param, text, "context_length_exceeded", param)


def texts_of(found: Any) -> Iterator[str]:
    """Yield all texts in a value."""
    if isinstance(found, str):
        yield found
    elif isinstance(found, list):
        for _, one in mappings(found):
            yield from texts_of(one.get("content"))
            yield from texts_of(one.get("text"))
