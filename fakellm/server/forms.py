"""The form of a scenario file, as pydantic checks it; and what is said where a file has another.

Some things may be written shorter: a condition that is a text, an error that is a status, a provider that is a name.
They are made whole before they are checked, so there is one form of each, and a problem is named by its place in that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import date
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from fakellm.errors import clip
from fakellm.script.events import Event
from fakellm.script.lines import Place

_STRICT = ConfigDict(extra="forbid", strict=True, populate_by_name=True)


def _short(name: str, *kinds: type) -> BeforeValidator:
    """Return what takes a value of these kinds for a mapping with that one field."""

    def make_whole(value: Any) -> Any:
        return {name: value} if isinstance(value, kinds) and not isinstance(value, bool) else value

    return BeforeValidator(make_whole)


class _Form(BaseModel):
    model_config = _STRICT


class LatencyForm(_Form):
    """A `Latency`."""

    ttft: float = 0.0
    tps: float | None = None
    jitter: float = 0.0
    seed: int = 0


class LimitsForm(_Form):
    """Quotas: requests and tokens a minute."""

    rpm: int | None = None
    tpm: int | None = None


class TextForm(_Form):
    """A text, or a pattern that is found in one."""

    text: str | None = None
    pattern: str | None = None


Matched = Annotated[TextForm, _short("text", str)]


class WhenForm(_Form):
    """The conditions of `FakeProvider.when`."""

    text: str | None = None
    pattern: str | None = None
    role: str | None = None
    model: Matched | None = None
    tools: str | list[str] | None = None
    body: Any = Field(None, alias="json")
    api: str | None = None
    turn: int | None = None
    after_tool: str | None = None
    system: Matched | None = None


class ErrorForm(_Form):
    """An HTTP error."""

    status: int
    message: str | None = None
    retry_after: float | None = None
    kind: str | None = None
    code: str | None = None
    body: str | None = None


class SaysForm(_Form):
    """What is answered: one of `text`, `events`, `script`, `error`, `by_itself`; and how."""

    text: str | None = None
    events: list[dict[str, Any]] | None = None
    allow_illegal: bool = False
    script: str | None = None
    error: Annotated[ErrorForm, _short("status", int)] | None = None
    by_itself: Literal[True] | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    pacing: float | None = None
    latency: LatencyForm | None = None
    form: str | dict[str, Any] | None = None


class ReplyForm(SaysForm):
    """A reply, and to which requests."""

    when: Annotated[WhenForm, _short("text", str)] | None = None
    times: int | None = None


class ResultForm(TextForm):
    """The result of a tool: a text to the letter, a pattern that is found in it, or JSON; none of them for anything."""

    value: Any = Field(None, alias="json")
    of: str | None = None


class StepForm(_Form):
    """A step of a conversation: one of `user`, `calls`, `result`, or what the model says."""

    user: Annotated[TextForm, _short("text", str)] | None = None
    calls: dict[str, dict[str, Any] | str | None] | None = None
    result: Annotated[ResultForm, _short("text", str)] | None = None
    says: str | None = None
    events: list[dict[str, Any]] | None = None
    script: str | None = None
    error: Annotated[ErrorForm, _short("status", int)] | None = None


class ConversationForm(_Form):
    """A conversation, and to which requests."""

    steps: list[StepForm]
    when: WhenForm | None = None
    times: int | None = None


class ToldForm(_Form):
    """What a provider is told."""

    replies: list[ReplyForm] = Field(default_factory=list)
    otherwise: SaysForm | None = None
    conversations: list[Annotated[ConversationForm, _short("steps", list)]] = Field(default_factory=list)
    latency: LatencyForm | None = None
    limits: LimitsForm | None = None
    gzip: bool | None = None
    form: str | dict[str, Any] | None = None
    behind: str | list[str] | None = None
    strict_requests: bool | None = None


class ProviderForm(ToldForm):
    """A provider, and what it alone is told."""

    name: str
    profile: str | None = None
    hosts: list[str] = Field(default_factory=list)


class TapesForm(_Form):
    """Tapes, by patterns of their paths, and the pace that they play in."""

    files: str | list[str]
    timing: Literal["recorded", "instant"] | float = "recorded"


class ScenarioForm(ToldForm):
    """A scenario: providers, and what all of them are told."""

    fakellm_scenario: int = 1
    providers: list[Annotated[ProviderForm, _short("name", str)]] | None = None
    tapes: Annotated[TapesForm, _short("files", str, list)] | None = None


_FORMS: dict[str, type[BaseModel]] = {
    "latency": LatencyForm,
    "limits": LimitsForm,
    "model": TextForm,
    "system": TextForm,
    "when": WhenForm,
    "error": ErrorForm,
    "otherwise": SaysForm,
    "replies": ReplyForm,
    "conversations": ConversationForm,
    "steps": StepForm,
    "user": TextForm,
    "result": ResultForm,
    "providers": ProviderForm,
    "tapes": TapesForm,
}
"""What stands below a field of that name."""
_MEANT = {
    "after_tool": "the name of a tool whose result came last, such as get_weather",
    "allow_illegal": "true for events in an order that no provider sends",
    "api": "the name of an API, such as openai.chat",
    "behind": "the name of a gateway, such as nginx, or a list of such, the first nearest to the server",
    "body": "the error document, as text",
    "calls": "a mapping of tools to their arguments, each a mapping",
    "conversations": "a list of conversations, each a list of steps or a mapping with steps",
    "by_itself": "true, for an echo, calls and JSON that the request's schemas describe; leave it out otherwise",
    "code": "the provider's code of the error, as text",
    "error": "an HTTP status, such as 429, or a mapping with status",
    "events": "a list of events, each with its type, as script files have it",
    "fakellm_scenario": "the version of the form, 1",
    "files": "a path, or a pattern of paths such as tapes/*.yaml, or a list of these",
    "form": "the name of a form, such as crlf, a text such as line_ends=crlf,bom, or a mapping with its fields",
    "gzip": "true or false: whether bodies are compressed for clients that accept it",
    "headers": "a mapping of names to texts",
    "hosts": "a list of hosts, such as localhost:11434",
    "jitter": "by which share each silence differs, from 0 to 1",
    "kind": "the provider's word for the error, as text",
    "latency": "a mapping with ttft, tps, jitter, seed",
    "limits": "a mapping with rpm and tpm",
    "message": "the sentence of the error, as text",
    "model": "the name of a model, or a mapping with pattern",
    "name": "the name of a provider, such as openai",
    "otherwise": "what answers every other request: a mapping with text, events, script, error or by_itself",
    "pacing": "the seconds before each chunk",
    "pattern": "a regular expression, as text",
    "profile": "the name of a profile, such as vllm",
    "providers": "a list of names, or of mappings with name",
    "replies": "a list of mappings, each with text, events, script, error or by_itself, and if need be with when",
    "retry_after": "seconds",
    "of": "the name of the tool that it is the result of",
    "result": "a text, or a mapping with json, or pattern, or neither for anything",
    "says": "what the model says, as text",
    "steps": "a list of steps, each a mapping with user, calls, result or says",
    "user": "a text in the message of the user, or a mapping with pattern, or an empty one for anything",
    "role": "the role of the last message, such as tool",
    "rpm": "how many requests a minute",
    "script": "the path of a script file, from the folder of this file on",
    "seed": "a whole number",
    "status": "an HTTP status from 400 to 599",
    "strict_requests": "true or false: whether requests that the real API would refuse are refused",
    "system": "a text in the system message, or a mapping with pattern",
    "tapes": "a path, a pattern of paths, a list of these, or a mapping with files and timing",
    "text": "a text",
    "times": "how many requests it answers at most, from 1 up",
    "timing": "recorded, instant, or a factor such as 0.1",
    "tools": "the name of a tool that the request offers, or a list of such",
    "tpm": "how many tokens a minute",
    "tps": "how many pieces a second",
    "ttft": "the seconds until the first piece",
    "turn": "which answer of the model is asked for, from 1 up",
    "when": "a text in the last message, or a mapping of conditions: text, pattern, model, turn, ...",
}
"""What is to be written into a field."""


def place_of(error: Mapping[str, Any]) -> Place:
    """Return the place in the file of an error of pydantic's: without the names of types that it tried."""
    known, begun = {"str", "float", "int", "bool"}, ("list[", "dict[", "literal[", "function-")
    return tuple(
        part for part in error["loc"] if not (isinstance(part, str) and (part in known or part.startswith(begun)))
    )


def worded(error: Mapping[str, Any]) -> str:
    """Word an error of pydantic's, with what to do."""
    place = place_of(error)
    name = next((part for part in reversed(place) if isinstance(part, str)), "")
    if error["type"] == "extra_forbidden":
        known = _fields(place[:-1])
        near = get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        return f"there is no such field; {hint}there are {', '.join(known)}"
    if error["type"] == "missing":
        return f"it is missing; write {_MEANT.get(name, name)}"
    is_unquoted = error["type"] == "string_type" and isinstance(error["input"], (bool, int, float, date))
    quoted = ", in quotes" if is_unquoted else ""
    usual = "a mapping" if error["type"] == "dict_type" else "a text"
    return f"{clip(repr(error['input']), 60)} cannot stand here; write {_MEANT.get(name, usual)}{quoted}"


def worded_event(error: Mapping[str, Any], kind: type[Event]) -> str:
    """Word an error of pydantic's in an event of a script, with what to do."""
    known = [field.name for field in fields(kind)]
    name = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        near = get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        return f"there is no such field; {hint}{kind.type} has {', '.join(known) or 'none'}"
    if error["type"] == "missing":
        return f"it is missing; write it, or take the event away: {kind.type} is nothing without"
    wanted = str(error["msg"]).replace("Input should be", "write").replace("a valid string", "a text")
    return f"{clip(repr(error['input']), 60)} cannot stand here; {wanted}"


def _fields(place: Place) -> list[str]:
    """Return the fields that there are at a place, as they are written."""
    above = next((part for part in reversed(place) if isinstance(part, str)), "")
    form = _FORMS.get(above, ScenarioForm)
    return [field.alias or name for name, field in form.model_fields.items()]
