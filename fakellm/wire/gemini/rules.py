"""What generateContent refuses, and how it says it: fields and types as protocol buffers do, turns as the model does.

Source: https://ai.google.dev/api/generate-content, and at each rule a public report of the API's answer. Google's
parser takes what JSON has otherwise than the types: names in either case, one object for a list of one, numbers as
texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

from fakellm.errors import clip
from fakellm.wire.objects import snake
from fakellm.wire.rules import Asked, Broken, Rule, Rules, mappings, number_of, rules_of_types
from fakellm.wire.sdk_types import Items, Shape, found_in
from fakellm.wire.typed import Path, Problem, place_of

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}")
_REFUSED = ("image/svg+xml", "image/svg", "application/svg+xml", "image/xml", "image/jpg", "image/bmp", "image/tiff")
_MOST_STOPS = 5
_TYPES = {"string": "STRING", "integer": "INT32", "number": "FLOAT", "boolean": "BOOL"}
_REFERENCE = "https://ai.google.dev/api/generate-content"
_CONFIG = f"{_REFERENCE}#generationconfig"
_FIELDS = (
    ("contents", "list[Content]"),
    ("tools", "list[Tool]"),
    ("toolConfig", "ToolConfig"),
    ("safetySettings", "list[SafetySetting]"),
    ("systemInstruction", "Content"),
)
"""The fields of a request -> what the SDK's types call them; of `generationConfig` several have the fields."""
_BESIDE = ("model", "cachedContent", "labels", "store", "serviceTier", "modelArmorConfig")
"""Other fields of a request, of any type."""


def either(found: Any, name: str) -> Any:
    """Return a field by either of its names: `functionCall` and `function_call`."""
    if not isinstance(found, dict):
        return None
    value = found.get(name)
    return value if value is not None else found.get(snake(name))


def listed(found: Any) -> list[tuple[int, dict[str, Any]]]:
    """Return the objects of a list, each with its index; one object is a list of one."""
    return mappings([found] if isinstance(found, dict) else found)


# -- turns --------------------------------------------------------------------------------------------


class _Turn(NamedTuple):
    """Contents of one role in a row: the first one's index, and how many calls and results are in it."""

    at: int
    is_models: bool
    calls: int
    results: int


def _turns(asked: Asked) -> list[_Turn]:
    turns: list[_Turn] = []
    for at, content in listed(asked.body.get("contents")):
        is_models = content.get("role") == "model"
        parts = [part for _, part in listed(content.get("parts"))]
        calls = sum(either(part, "functionCall") is not None for part in parts)
        results = sum(either(part, "functionResponse") is not None for part in parts)
        if turns and turns[-1].is_models == is_models:
            last = turns.pop()
            turns.append(_Turn(last.at, is_models, last.calls + calls, last.results + results))
        else:
            turns.append(_Turn(at, is_models, calls, results))
    return turns


def _order(asked: Asked) -> Iterator[Broken]:
    turns = _turns(asked)
    for before, turn in zip([None, *turns], turns, strict=False):
        place = f"contents[{turn.at}]"
        if turn.is_models and turn.calls and before is None:
            text = "Please ensure that function call turn comes immediately after a user turn or after a function "
            yield Broken(place, text + "response turn.")
        if not turn.is_models and turn.results and (before is None or not before.calls):
            yield Broken(
                place, "Please ensure that function response turn comes immediately after a function call turn."
            )


def _parity(asked: Asked) -> Iterator[Broken]:
    turns = _turns(asked)
    for turn, after in pairwise(turns):
        if turn.is_models and turn.calls and after.results != turn.calls:
            text = (
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn."
            )
            yield Broken(f"contents[{after.at}].parts", text)


def _empty(asked: Asked) -> Iterator[Broken]:
    for at, content in listed(asked.body.get("contents")):
        if not content.get("parts"):
            text = f"* GenerateContentRequest.contents[{at}].parts: contents.parts must not be empty.\n"
            yield Broken(f"contents[{at}].parts", text)


def _media(asked: Asked) -> Iterator[Broken]:
    for at, content in listed(asked.body.get("contents")):
        for number, part in listed(content.get("parts")):
            kind = either(either(part, "inlineData"), "mimeType")
            if isinstance(kind, str) and (kind.lower() in _REFUSED or "/" not in kind):
                yield Broken(f"contents[{at}].parts[{number}].inlineData.mimeType", f"Unsupported MIME type: {kind}")


# -- tools --------------------------------------------------------------------------------------------


def _functions(asked: Asked) -> Iterator[tuple[int, int, str]]:
    for at, tool in listed(asked.body.get("tools")):
        for number, one in listed(either(tool, "functionDeclarations")):
            if isinstance(one.get("name"), str):
                yield at, number, one["name"]


def _names(asked: Asked) -> Iterator[Broken]:
    for at, number, name in _functions(asked):
        if not _NAME.fullmatch(name):
            text = (
                f"* GenerateContentRequest.tools[{at}].function_declarations[{number}].name: Invalid function name. "
                "Must start with a letter or an underscore. Must be alphameric (a-z, A-Z, 0-9), underscores (_), dots "
                "(.), colons (:), or dashes (-), with a maximum length of 128.\n"
            )
            yield Broken(f"tools[{at}].functionDeclarations[{number}].name", text)


def _duplicates(asked: Asked) -> Iterator[Broken]:
    names: set[str] = set()
    for at, number, name in _functions(asked):
        if name in names:
            place = f"tools[{at}].functionDeclarations[{number}].name"
            yield Broken(place, f"Duplicate function declaration found: {name}")
        names.add(name)


# -- numbers ------------------------------------------------------------------------------------------


def _config(asked: Asked) -> Any:
    return either(asked.body, "generationConfig")


def _ranges(asked: Asked) -> Iterator[Broken]:
    for name, most in (("temperature", 2), ("topP", 1)):
        value = number_of(_config(asked), name)
        value = number_of(_config(asked), snake(name)) if value is None else value
        if value is not None and not 0 <= value <= most:
            text = f"* GenerateContentRequest.generation_config.{snake(name)}: must be in the range [0.0, {most}.0]\n"
            yield Broken(f"generationConfig.{name}", text)


def _stops(asked: Asked) -> Iterator[Broken]:
    found = either(_config(asked), "stopSequences")
    if isinstance(found, list) and len(found) > _MOST_STOPS:
        text = (
            "* GenerateContentRequest.generation_config.stop_sequences: must have at most "
            f"{_MOST_STOPS} elements, has {len(found)}\n"
        )
        yield Broken("generationConfig.stopSequences", text)


def _window(asked: Asked) -> Iterator[Broken]:
    if asked.window is not None and asked.tokens > asked.window:
        text = f"The input token count ({asked.tokens}) exceeds the maximum number of tokens allowed ({asked.window})."
        yield Broken("contents", text)


_RULES = (
    Rule(
        "result-without-call",
        "a turn with function responses that no turn with function calls precedes, or a first turn that calls",
        "send the model's turn with the calls before the results, and the user's before that",
        "https://github.com/langchain-ai/langchain/issues/27799",
        _order,
    ),
    Rule(
        "call-without-result",
        "another number of function responses than of calls in the model's turn before",
        "send one functionResponse part for each functionCall, in the next turn",
        "https://github.com/google-gemini/gemini-cli/issues/16984",
        _parity,
    ),
    Rule(
        "empty-content",
        "a content without parts",
        "leave the content out",
        "https://github.com/langchain-ai/langchain-google/issues/691",
        _empty,
    ),
    Rule(
        "image-type",
        "inline data of a media type that is none, such as png, or that the API does not read, such as image/jpg",
        "convert the image, and say its media type: image/jpeg, not image/jpg",
        "https://github.com/google/adk-python/issues/5693",
        _media,
    ),
    Rule(
        "tool-name",
        "a name of a function with other characters than letters, digits and `_ . : -`, or with more than 128",
        "rename the function",
        "https://github.com/google-gemini/gemini-cli/issues/9535",
        _names,
    ),
    Rule(
        "duplicate-tool",
        "two functions of one name",
        "rename one of them",
        "https://github.com/tridz-dev/huf/pull/341",
        _duplicates,
    ),
    Rule(
        "number-range",
        "`temperature` out of 0..2, `topP` out of 0..1",
        "send a number within the bounds",
        _CONFIG,
        _ranges,
    ),
    Rule("too-many-stops", "more than five `stopSequences`", "send at most five", _CONFIG, _stops),
    Rule(
        "context-window",
        "more tokens than `context_window=`",
        "send fewer contents",
        "https://github.com/google-gemini/gemini-cli/issues/4692",
        _window,
    ),
)


class GenerateRules(Rules):
    """The rules of generateContent."""

    api = "gemini"
    sdk = "google-genai"
    rules = (
        *rules_of_types(
            "google-genai",
            _REFERENCE,
            "https://github.com/zed-industries/zed/issues/44875",
            _REFERENCE,
            _REFERENCE,
        ),
        *_RULES,
    )

    def types(self, asked: Asked) -> str | None:  # noqa: ARG002 - there is one form
        """Return the types that the SDK makes requests of."""
        return "google.genai.types:Content"

    def annotation(self, place: str) -> Any:
        """Return the form of a request, made of the SDK's types."""
        return _form() if found_in(place) is not None else None

    def takes(self, problem: Problem, asked: Asked) -> bool:  # noqa: ARG002 - the same for all
        """Tell whether Google's parser takes it."""
        if problem.kind == "missing":
            return True
        if problem.kind == "unknown" and len(problem.path) == 1 and problem.keys[0] in (*_BESIDE, *map(snake, _BESIDE)):
            return True
        if problem.kind == "type" and isinstance(problem.found, dict) and {*problem.expected} - {"null"} == {"array"}:
            return True
        is_number = isinstance(problem.found, str) and re.fullmatch(r"-?\d+(\.\d+)?", problem.found) is not None
        is_counted = isinstance(problem.found, int) and "string" in problem.expected and problem.kind == "value"
        return (is_number and bool({"integer", "number"} & {*problem.expected})) or is_counted

    def word(self, problem: Problem, asked: Asked) -> Broken:  # noqa: ARG002 - the same for all
        """Say a problem with types as Google's parser does."""
        place, *above = place_of(problem.path), *problem.keys[:-1]
        if problem.kind == "unknown":
            where = f" at '{_proto(above)}'" if above else ""
            text = f'Invalid JSON payload received. Unknown name "{problem.keys[-1]}"{where}: Cannot find field.'
            return Broken(place, text, None, _proto(above))
        kind = next((_TYPES[one] for one in problem.expected if one in _TYPES), "MESSAGE")
        kind = "ENUM" if problem.kind == "value" else kind
        if isinstance(problem.found, list):
            text = (
                f"Invalid JSON payload received. Unknown name \"{snake(str(problem.keys[-1]))}\" at '{_proto(above)}': "
                "Proto field is not repeating, cannot start list."
            )
            return Broken(place, text, None, _proto(above))
        shown = clip(json.dumps(problem.found, ensure_ascii=False), 80)
        text = f"Invalid value at '{_proto(problem.keys)}' (TYPE_{kind}), {shown}"
        return Broken(place, text, None, _proto(problem.keys))

    def body(self, broken: Broken) -> str | None:
        """Return the document of what is wrong with a field, whose detail names the field above it."""
        if broken.param is None:
            return None
        violation = {"field": broken.param, "description": broken.message}
        violation = {key: value for key, value in violation.items() if value}
        detail = {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}
        error = {"code": 400, "message": broken.message, "status": "INVALID_ARGUMENT", "details": [detail]}
        return json.dumps({"error": error}, indent=2, ensure_ascii=False) + "\n"


def _proto(path: Iterable[str | int]) -> str:
    """Word a path as protocol buffers do: `tools[0].function_declarations[1].parameters`."""
    where: Path = tuple(snake(key) if isinstance(key, str) else key for key in path)
    return place_of(where)


@cache
def _form() -> Shape:
    """Return the form of a request. The fields of `generationConfig` are those of either type that the SDK has."""
    types = {name: found_in(f"google.genai.types:{name}") for name in ("GenerationConfig", "GenerateContentConfig")}
    known: dict[str, Any] = {}
    for one in types.values():
        for name, info in getattr(one, "model_fields", {}).items():
            known |= {name: info.annotation, info.alias or name: info.annotation}
    known["_responseJsonSchema"] = known.get("responseJsonSchema", Any)  # as the reference spells it too
    fields: list[tuple[str, Any]] = []
    for name, written in _FIELDS:
        kind = found_in("google.genai.types:" + written.removeprefix("list[").removesuffix("]"))
        annotation = Items(kind) if written.startswith("list") else kind
        fields += [(name, annotation), (snake(name), annotation)]
    config = Shape(tuple(known.items()))
    return Shape((*fields, ("generationConfig", config), ("generation_config", config)))


RULES = GenerateRules()
