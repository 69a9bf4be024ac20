"""What a request wants beside words: tools to be called, with the schemas of their arguments, and a form of answer.

The APIs say the same in different places, and no place of one means something else in another. So they are read by one
reader, which an API that is added from outside gets for nothing if it says it in one of these ways.

Source: the references of OpenAI (chat, Responses), Anthropic (Messages), Gemini (generateContent), Ollama, Cohere,
Mistral, Bedrock (Converse) and DashScope.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from fakellm.wire.codec import Request
from fakellm.wire.objects import snake

_SCHEMAS = (
    "parameters", "parametersJsonSchema", "parameters_json_schema", "input_schema", "inputSchema",
)  # fmt: skip
_NEVER, _ALWAYS = ("none", "NONE"), ("required", "any", "REQUIRED", "ANY")
_JSON = ("json", "json_object", "application/json")


class Tool(NamedTuple):
    """A function that the model may call: its name, and the JSON schema of its arguments."""

    name: str
    schema: Any


class Form(NamedTuple):
    """The form that the text of an answer is to have: JSON of a schema, `{"type": "object"}` for any object."""

    schema: Any


def tools_of(request: Request) -> list[Tool]:
    """Return the functions that a request offers; not the tools that run on the provider's servers."""
    body = _asked(request)
    offered = [*_listed(body, "tools"), *_listed(body, "functions"), *_listed(_in(body, "toolConfig"), "tools")]
    return [tool for one in offered for tool in _functions(one)]


def _functions(tool: Mapping[str, Any]) -> Iterator[Tool]:
    declared = [*_listed(tool, "functionDeclarations"), *_listed(tool, "function_declarations")]
    inner = _in(tool, "function") or _in(tool, "toolSpec") or tool
    for found in declared or [inner]:
        name, schema = found.get("name"), next((found[key] for key in _SCHEMAS if found.get(key) is not None), None)
        is_function = schema is not None or declared or inner is not tool or tool.get("type") == "function"
        is_bare = "name" in tool and "type" not in tool  # of OpenAI's `functions`
        if isinstance(name, str) and name and (is_function or is_bare):
            yield Tool(name, _in(schema, "json") or schema if isinstance(schema, Mapping) else {"type": "object"})


def choice_of(request: Request) -> tuple[bool, bool, str]:
    """Return whether the model may call tools, whether it has to, and which, if one is named."""
    body = _asked(request)
    gemini = _either(_either(body, "toolConfig"), "functionCallingConfig")
    found = (
        gemini
        or body.get("tool_choice")
        or body.get("function_call")
        or _in(body, "toolConfig").get("toolChoice")
        or _in(body, "generation_config").get("tool_choice")
    )
    if isinstance(found, str):
        return found not in _NEVER, found in _ALWAYS, ""
    if not isinstance(found, Mapping):
        return True, False, ""
    allowed = _in(found, "allowed_tools") or found
    kind = allowed.get("mode") or found.get("type") or next(iter(found), "")
    inner = _in(found, "function") or _in(found, "tool") or found
    if (name := inner.get("name")) is not None:
        return True, True, str(name)
    return kind not in _NEVER, kind in _ALWAYS, next(_allowed(allowed), "")


def _allowed(choice: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of the tools that may be called, where not all of them may."""
    for key in ("allowedFunctionNames", "allowed_function_names", "tools"):
        for tool in choice[key] if isinstance(choice.get(key), list) else ():
            name = tool if isinstance(tool, str) else _in(tool, "function").get("name") or _name_in(tool)
            if isinstance(name, str) and name:
                yield name


def _name_in(tool: Any) -> Any:
    return tool.get("name") if isinstance(tool, Mapping) else None


def form_of(request: Request) -> Form | None:
    """Return the form that a request wants its answer in, if it wants JSON."""
    body = _asked(request)
    config = _either(body, "generationConfig")
    for name in ("responseJsonSchema", "response_json_schema", "responseSchema", "response_schema"):
        if config.get(name) is not None:
            return Form(config[name])
    if (config.get("responseMimeType") or config.get("response_mime_type")) in _JSON or body.get("format") in _JSON:
        return Form({"type": "object"})
    asked = (
        next(iter(_listed(body, "response_format")), {})
        or _in(_in(body, "text"), "format")
        or _in(_in(body, "output_config"), "format")
        or _in(body, "output_format")
        or _in(body, "format")
    )
    kind = asked.get("type")
    schema = _in(asked, "json_schema").get("schema", asked.get("schema"))
    if schema is None and kind == "json_object" and "json_schema" in asked:  # as Cohere has it
        schema = asked["json_schema"]
    if schema is not None:
        return Form(schema)
    if kind in (*_JSON, "json_schema"):
        return Form({"type": "object"})
    return Form(asked) if asked and kind not in ("text", "grammar") else None


def _asked(request: Request) -> Mapping[str, Any]:
    """Return the body of a request; what DashScope's says beside the prompt is in its `parameters`."""
    body = request.json if isinstance(request.json, Mapping) else {}
    return {**_in(body, "parameters"), **body} if "parameters" in body else body


def _in(found: Any, name: str) -> Mapping[str, Any]:
    inner = found.get(name) if isinstance(found, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def _either(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object by either of its names, `toolConfig` and `tool_config`."""
    return _in(found, name) or _in(found, snake(name))


def _listed(found: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    inner = found.get(name)
    inner = [inner] if isinstance(inner, Mapping) else inner
    return [one for one in inner if isinstance(one, Mapping)] if isinstance(inner, list) else []
