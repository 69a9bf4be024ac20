"""The form in which each API wants the results of tools: what it refuses, or takes for something else.

An app that sends the right result may still send it where the API does not look for it. What codecs read of a request
has forgotten that, on purpose; so this reads the body. Each API keeps its results in one of three ways:

- a message of the role `tool` for each, right behind that which calls (OpenAI, Mistral, Cohere, Ollama, DashScope),
- parts of one message of the user, right behind the message that calls (Anthropic, Gemini, Bedrock),
- items anywhere behind the item that calls (Responses, Interactions).

A strict fake refuses some of this too, in the API's words (`wire/*/rules.py`). Neither asks the other: fewer APIs have
such rules, and they take what an API takes though its guide warns of it, such as parallel results in several messages;
and which result is missing, or of another call, is for `following.py` to say, and not for this.

Source: the references of the APIs; of refusals, as users report them: "An assistant message with 'tool_calls' must
be followed by tool messages responding to each 'tool_call_id'"; "`tool_use` ids were found without `tool_result` blocks
immediately after"; "Please ensure that the number of function response parts is equal to the number of function call
parts of the function call turn"; "No tool call found for function call output"; "Expected toolResult blocks"; "Not the
same number of function calls and responses". That results of parallel calls come in one message, before any text, is
said in Anthropic's guide to parallel tool use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fakellm.provider.conversation import MODEL
from fakellm.wire.codec import Request


class Held(NamedTuple):
    """A result in a message: its place there, the id and the name of its call, and what is wrong with its value."""

    place: str
    id: str
    name: str
    problem: str = ""


class Sent(NamedTuple):
    """A message of a request: its place, whose it is, the names of its calls, its results, the indexes of the rest."""

    place: str
    is_model: bool
    calls: tuple[str, ...]
    results: tuple[Held, ...]
    others: tuple[int, ...] = ()
    is_system: bool = False


def problems(request: Request) -> Iterator[str]:
    """Yield what is wrong with where and how the results of a request stand."""
    body = request.json
    form = _FORMS.get(request.api)
    if form is None or not isinstance(body, Mapping):
        return
    yield from form(body)


def _objects(found: Any, *names: str) -> list[Mapping[str, Any]]:
    """Return the objects of a list that lies below some names; one object for a list of one."""
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    found = [found] if isinstance(found, Mapping) else found
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _text(found: Any, *names: str) -> str:
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) else ""


# -- a message for each result -----------------------------------------------------------------------


def _chat(*path: str, value: Callable[[Any], str], needs_id: bool = True) -> Callable[[Any], Iterator[str]]:
    """Return what judges messages of which each result is one of the role `tool`."""

    def judge(body: Mapping[str, Any]) -> Iterator[str]:
        place = ".".join(path)
        called = waiting = 0
        for at, message in enumerate(_objects(body, *path)):
            role, here = _text(message, "role").lower(), f"{place}[{at}]"
            if role == "tool":
                yield from _judged_message(message, here, value, needs_id=needs_id)
                if not called:
                    yield f"{here}: a message of the role tool has to follow the message that calls"
                waiting -= 1
                continue
            if role == "function" and waiting > 0 and _objects(body, "tools"):
                yield f"{here}: results of tools have the role tool; function is that of function_call"
                waiting -= 1
                continue
            if waiting > 0:
                yield f"{here}: a message of the role {role} stands before the results of all calls"
            called = waiting = len(_objects(message, "tool_calls"))

    return judge


def _judged_message(
    message: Mapping[str, Any], here: str, value: Callable[[Any], str], *, needs_id: bool
) -> Iterator[str]:
    if needs_id and not _text(message, "tool_call_id"):
        yield f"{here}: tool_call_id is missing"
    if problem := value(message.get("content")):
        yield f"{here}.content: {problem}"


def _text_or_parts(content: Any) -> str:
    if isinstance(content, str) or (isinstance(content, list) and all(isinstance(part, Mapping) for part in content)):
        return ""
    return f"it is to be text, or a list of parts, and is {_kind(content)}"


def _only_text(content: Any) -> str:
    return "" if isinstance(content, str) else f"it is to be text, and is {_kind(content)}"


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "an array", bool: "a boolean", str: "text", type(None): "null"}
    return next((word for kind, word in kinds.items() if isinstance(value, kind)), "a number")


# -- parts of one message -----------------------------------------------------------------------------


def _together(
    name: str, read: Callable[[Mapping[str, Any], str], Sent], *, first: bool, ordered: bool = False
) -> Callable[[Any], Iterator[str]]:
    """Return what judges messages of which the one behind that which calls has all results.

    `first` tells that results stand before all else in it, `ordered` that without ids they are in the calls' order.
    """

    def judge(body: Mapping[str, Any]) -> Iterator[str]:
        before: Sent | None = None
        is_kept = bool(_text(body, "thread", "previous_message_id"))  # so the calls are on Anthropic's side
        for at, message in enumerate(_objects(body, name)):
            here = read(message, f"{name}[{at}]")
            if here.is_system:
                continue
            calls = before.calls if before is not None else ()
            yield from (f"{held.place}: {held.problem}" for held in here.results if held.problem)
            is_known = before is not None or not is_kept
            problem = _counted(here, calls, is_after=before is not None and bool(before.results)) if is_known else ""
            if problem := problem or (_disordered(here.results, calls) if ordered else ""):
                yield f"{here.place}: {problem}"
            if first and here.results and here.others and here.others[0] < len(here.results):
                yield f"{here.place}: results have to stand before everything else"
            goes_on = before is not None and before.is_model and here.is_model  # chunks of a stream, sent one by one
            before = here._replace(calls=(*calls, *here.calls)) if goes_on else here

    return judge


def _counted(here: Sent, calls: Sequence[str], *, is_after: bool) -> str:
    """Return what is wrong with how many results a message has."""
    if here.results and not calls:
        rule = (
            "all results of one answer's calls stand in one message" if is_after else "no call stands right before it"
        )
        return f"it has a result, and {rule}"
    if len(here.results) != len(calls) and not (here.is_model and not here.results):
        counts = [_count(len(here.results), "result"), _count(len(calls), "call")]
        return f"it has {counts[0]}, and the message before it has {counts[1]}: each needs its result there"
    return ""


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _disordered(results: Sequence[Held], calls: Sequence[str]) -> str:
    names = [held.name for held in results]
    if any(held.id for held in results) or names == [*calls] or sorted(names) != sorted(calls):
        return ""
    return f"without ids results have to come in the order of the calls, {', '.join(calls)}"


def _of_claude(message: Mapping[str, Any], place: str) -> Sent:
    calls, results, others = [], [], []
    for at, block in enumerate(_objects(message, "content")):
        here = f"{place}.content[{at}]"
        if block.get("type") == "tool_use":
            calls.append(_text(block, "name"))
        if block.get("type") == "tool_result":
            content = block.get("content", "")
            problem = _text_or_parts(content) and f"content is to be text or a list of blocks, and is {_kind(content)}"
            missing = "" if _text(block, "tool_use_id") else "tool_use_id is missing"
            results.append(Held(here, _text(block, "tool_use_id"), "", missing or problem))
        else:
            others.append(at)
    return Sent(place, message.get("role") in MODEL, tuple(calls), tuple(results), tuple(others))


def _of_gemini(content: Mapping[str, Any], place: str) -> Sent:
    calls, results, others = [], [], []
    for at, part in enumerate(_objects(content, "parts")):
        here = f"{place}.parts[{at}]"
        call, found = (part.get(one) or part.get(other) for one, other in _PARTS)
        if isinstance(call, Mapping):
            calls.append(_text(call, "name"))
        if isinstance(found, Mapping):
            value = found.get("response")
            problem = "" if isinstance(value, Mapping) else f"response is to be an object, and is {_kind(value)}"
            missing = "" if _text(found, "name") else "name is missing"
            results.append(Held(here, _text(found, "id"), _text(found, "name"), missing or problem))
        else:
            others.append(at)
    return Sent(place, content.get("role") in MODEL, tuple(calls), tuple(results), tuple(others))


_PARTS = (("functionCall", "function_call"), ("functionResponse", "function_response"))


def _of_bedrock(message: Mapping[str, Any], place: str) -> Sent:
    calls, results, others = [], [], []
    for at, block in enumerate(_objects(message, "content")):
        here = f"{place}.content[{at}]"
        call, found = block.get("toolUse"), block.get("toolResult")
        if isinstance(call, Mapping):
            calls.append(_text(call, "name"))
        if isinstance(found, Mapping):
            content = found.get("content")
            problem = "" if isinstance(content, list) else f"content is to be a list of blocks, and is {_kind(content)}"
            missing = "" if _text(found, "toolUseId") else "toolUseId is missing"
            results.append(Held(here, _text(found, "toolUseId"), "", missing or problem))
        else:
            others.append(at)
    is_system = message.get("role") == "system"
    return Sent(place, message.get("role") in MODEL, tuple(calls), tuple(results), tuple(others), is_system)


# -- items --------------------------------------------------------------------------------------------


class Items(NamedTuple):
    """What items of calls and of results are called in an API, and their fields."""

    list: str
    call: str
    result: str
    id: str
    value: str


def _items(names: Items, *values: type, wanted: str = "JSON") -> Callable[[Any], Iterator[str]]:
    """Return what judges items of which each result follows its call somewhere, or what the provider keeps."""

    def judge(body: Mapping[str, Any]) -> Iterator[str]:
        called: set[str] = set()
        is_whole = names.list == "input" and not any(body.get(name) for name in _KEPT)
        for at, item in enumerate(_objects(body, names.list)):
            here, kind = f"{names.list}[{at}]", _text(item, "type")
            if kind == names.call:
                called |= {_text(item, names.id), _text(item, "id")}
            elif kind == names.result:
                of, value = _text(item, names.id), item.get(names.value)
                if not of:
                    yield f"{here}: {names.id} is missing"
                elif is_whole and of not in called:
                    yield f"{here}: no call of the id {of} stands before it"
                if not isinstance(value, values):
                    yield f"{here}.{names.value}: it is to be {wanted}, and is {_kind(value)}"
            elif item.get("role") == "tool":
                yield f"{here}: no message has the role tool here; a result is an item of the type {names.result}"

    return judge


_KEPT = ("previous_response_id", "conversation", "previous_interaction_id")
"""Fields by which a request names what the provider keeps of the conversation."""
_RESPONSES = Items("input", "function_call", "function_call_output", "call_id", "output")
_INTERACTIONS = Items("input", "function_call", "function_result", "call_id", "result")
_CONVERSATIONS = Items("inputs", "function.call", "function.result", "tool_call_id", "result")

_FORMS: dict[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    "openai.chat": _chat("messages", value=_text_or_parts),
    "mistral.chat": _chat("messages", value=_text_or_parts),
    "mistral.agents": _chat("messages", value=_text_or_parts),
    "mistral.conversations": _items(_CONVERSATIONS, str, wanted="text"),
    "cohere.chat": _chat("messages", value=_text_or_parts),
    "ollama.chat": _chat("messages", value=_only_text, needs_id=False),
    "dashscope.generation": _chat("input", "messages", value=_text_or_parts),
    "openai.responses": _items(_RESPONSES, str, list, wanted="text or a list of parts"),
    "gemini.interactions": _items(_INTERACTIONS, object),
    "anthropic.messages": (_claude := _together("messages", _of_claude, first=True)),
    "bedrock.invoke": lambda body: _claude(body) if "anthropic_version" in body else iter(()),
    "gemini": _together("contents", _of_gemini, first=False, ordered=True),
    "bedrock.converse": _together("messages", _of_bedrock, first=False),
}
"""The API -> what judges the body of a request to it."""


def as_wrapped(api: str) -> bool:
    """Tell whether an API has results as objects, in a field of which an app puts what a tool returned."""
    return api in ("gemini", "gemini.interactions", "bedrock.converse")
