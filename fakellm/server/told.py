"""What is scripted over HTTP: JSON in the form of script files, checked whole before any of it is taken.

A reply says what it answers with as `script`, in the form of a script file, or as a text. Without more it answers the
next request, with `when` those that meet all the conditions, with `otherwise` every other one. What is wrong is told
by its field and its line in the body.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, WithJsonSchema

from fakellm.errors import ScriptError, ScriptFileError
from fakellm.provider.provider import FakeProvider
from fakellm.provider.routes import Route
from fakellm.script.documents import Document as Written
from fakellm.script.documents import once
from fakellm.script.events import EVENT_TYPES
from fakellm.script.files import VERSION, schema_of, script_of
from fakellm.script.lines import json_line, unreadable
from fakellm.script.script import Script
from fakellm.server.sessions import PLACE, Session
from fakellm.wire.wireform import WireForm, form_or_none

Place = tuple[str | int, ...]
Form = TypeVar("Form", bound=BaseModel)
_MOST = 1_000
_STRICT = ConfigDict(extra="forbid", strict=True)


class Wrong(NamedTuple):
    """One thing that is wrong: where in the body, and what."""

    place: Place
    message: str


class RefusedError(ValueError):
    """A body that nothing is made of; `problems` are all that is wrong with it, `line` the line of each."""

    def __init__(self, problems: Sequence[Wrong], text: str, line: int | None = None) -> None:
        super().__init__("; ".join(wrong.message for wrong in problems))
        self.problems = [
            {
                "field": ".".join(map(str, wrong.place)),
                "line": line or _line(text, wrong.place),
                "message": wrong.message,
            }
            for wrong in problems
        ]


def _line(text: str, place: Place) -> int:
    try:
        return json_line(text, place)
    except (ValueError, IndexError):
        return 1


def script_schema() -> dict[str, Any]:
    """Return the JSON schema of a script file."""
    kinds = []
    for name in EVENT_TYPES:
        schema = schema_of(name).model_json_schema(ref_template=f"#/components/schemas/{name}.{{model}}")
        schema.pop("$defs", None)
        schema["properties"] = {"type": {"const": name}, **schema.get("properties", {})}
        schema["required"] = ["type", *schema.get("required", [])]
        kinds.append(schema)
    return {
        "type": "object",
        "required": ["fakellm_script", "events"],
        "properties": {
            "fakellm_script": {"const": VERSION},
            "allow_illegal": {"type": "boolean", "default": False},
            "events": {"type": "array", "items": {"oneOf": kinds}},
        },
        "additionalProperties": False,
    }


Said = Annotated[
    Any,
    WithJsonSchema({"oneOf": [{"type": "string"}, {"$ref": "#/components/schemas/Script"}]}),
]


class When(BaseModel):
    """Conditions of a request, all of which it has to meet."""

    model_config = _STRICT

    text: str | None = Field(None, description="occurs in the last message")
    pattern: str | None = Field(None, description="a regular expression that is found in the last message")
    role: str | None = Field(None, description="the role of the last message")
    model: str | None = Field(None, description="the name of the model")
    tools: list[str] = Field([], description="names of tools that the request offers")
    json_: JsonValue = Field(None, alias="json", description="a fragment of the body: mappings may have more keys")
    api: str | None = Field(None, description="such as `openai.responses`")
    turn: int | None = Field(None, ge=1, description="which answer of the model is asked for, as the request tells")
    after_tool: str | None = Field(None, description="a tool whose result came since the model spoke last")
    system: str | None = Field(None, description="occurs in a system message")


class Reply(BaseModel):
    """A reply to requests of one provider."""

    model_config = _STRICT

    provider: str
    script: Said = Field(description="a script, in the form of a script file, or a text")
    when: When | None = Field(None, description="which requests it answers; else it is for the next one")
    otherwise: bool = Field(default=False, description="it answers every request that has no other reply")
    times: int | None = Field(None, ge=1, le=_MOST, description="how many requests it answers; with `when` any number")
    headers: dict[str, str] = Field({}, description="headers of the answer")
    form: str | dict[str, JsonValue] | None = Field(None, description="how it is written, such as `crlf,bom`")


class Document(BaseModel):
    """A document that answers an endpoint which a provider does not know."""

    model_config = _STRICT

    provider: str
    method: str = "POST"
    path: str = Field(description="what the path of the URL ends with; `{id}` stands for any one segment")
    answer: JsonValue
    status: int = Field(200, ge=100, le=599)
    headers: dict[str, str] = Field({}, description="headers of the answer")


class _Part(Written):
    """A script that is a part of a body; what is wrong with it is noted by its place in that."""

    def __init__(self, data: Any, text: str, at: Place, wrong: list[Wrong]) -> None:
        super().__init__(data, text, name="", is_json=True)
        self._at = at
        self._wrong = wrong

    def problem(self, place: Place, message: str) -> str:
        """Note one problem."""
        self._wrong.append(Wrong((*self._at, *place), message))
        return message


def read(body: bytes) -> tuple[Any, str]:
    """Return the JSON of a body, and its text."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RefusedError([Wrong((), f"byte {error.start} of the body is not UTF-8")], "") from None
    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=_no_json), text
    except json.JSONDecodeError as error:
        wrong = Wrong((), f"the body is not JSON: {error.msg}, column {error.colno}" if text else "the body is empty")
        raise RefusedError([wrong], text, error.lineno) from None
    except RecursionError:
        raise RefusedError([Wrong((), "the body is nested too deep")], text, 1) from None
    except _NoJSONError as error:
        raise RefusedError([Wrong((), f"{error} is no number of JSON")], text, 1) from None
    except ValueError:
        problem, line = unreadable(text)
        raise RefusedError([Wrong((), problem)], text, line) from None


class _NoJSONError(ValueError):
    pass


def _no_json(name: str) -> None:
    """Refuse what only Python takes for JSON: `NaN` and `Infinity`."""
    raise _NoJSONError(name)


def tell_replies(session: Session, body: bytes) -> list[str]:
    """Script replies in a session, one or a list of them, all or none. Returns them, worded."""
    return _tell(session, body, Reply, _reply)


def tell_documents(session: Session, body: bytes) -> list[str]:
    """Script documents in a session, one or a list of them, all or none. Returns their endpoints."""
    return _tell(session, body, Document, _document)


def _tell(
    session: Session,
    body: bytes,
    form: type[Form],
    script: Callable[[Form, FakeProvider, str, Place, list[Wrong]], str | None],
) -> list[str]:
    data, text = read(body)
    is_list = isinstance(data, list)
    wrong: list[Wrong] = []
    forms: list[tuple[Form, Place]] = []
    for number, one in enumerate(data if is_list else [data]):
        place: Place = (number,) if is_list else ()
        if (found := _checked(session, one, form, place, wrong)) is not None:
            script(found, FakeProvider(found.provider), text, place, wrong)  # type: ignore[attr-defined]
            forms.append((found, place))
    if not wrong and not forms:
        wrong.append(Wrong((), "the list is empty"))
    if wrong:
        raise RefusedError(wrong, text)
    session.keep()
    return [
        str(script(found, session[found.provider], text, place, wrong))  # type: ignore[attr-defined]
        for found, place in forms
    ]


def _checked(session: Session, data: Any, form: type[Form], place: Place, wrong: list[Wrong]) -> Form | None:
    if not isinstance(data, dict):
        wrong.append(Wrong(place, f"this is a mapping with the keys {', '.join(form.model_fields)}, not {data!r:.80}"))
        return None
    try:
        found = form.model_validate(data)
    except ValidationError as error:
        wrong += [Wrong((*place, *e["loc"]), e["msg"]) for e in error.errors(include_url=False)]
        return None
    try:
        session[found.provider]  # type: ignore[attr-defined]
    except KeyError as error:
        wrong.append(Wrong((*place, "provider"), str(error.args[0])))
        return None
    return found


def _reply(reply: Reply, provider: FakeProvider, text: str, place: Place, wrong: list[Wrong]) -> str | None:
    """Script one reply on a provider, and return it, worded; or note what is wrong with it."""
    content = _script(reply.script, text, (*place, "script"), wrong)
    conditions = _conditions(reply, place, wrong)
    if content is None or conditions is None:
        return None
    form = _form(reply, place, wrong)
    kind: Literal["reply", "when", "otherwise"] = "when" if reply.when is not None else "reply"
    if reply.otherwise:
        kind = "otherwise"
    each = 1 if kind == "reply" else reply.times
    said: dict[str, Any] = {"times": each, "headers": reply.headers, "place": f"POST {PLACE}/replies", **conditions}
    said["form"] = form
    try:
        for _ in range((reply.times or 1) if kind == "reply" else 1):
            provider.tell(Route(kind, content, **said))
    except (ScriptError, TypeError, ValueError) as error:
        wrong.append(Wrong(place, str(error)))
        return None
    return str(provider.replies[-1])


def _form(reply: Reply, place: Place, wrong: list[Wrong]) -> WireForm | None:
    try:
        return form_or_none(reply.form)
    except ScriptError as error:
        wrong.append(Wrong((*place, "form"), str(error)))
    return None


def _script(said: Any, text: str, place: Place, wrong: list[Wrong]) -> Script | None:
    if isinstance(said, str):
        return Script(said)
    if not isinstance(said, dict):
        example = f'{{"fakellm_script": {VERSION}, "events": [{{"type": "text", "text": "Hello"}}]}}'
        wrong.append(Wrong(place, f"a script is a text, or a mapping such as {example}"))
        return None
    before = len(wrong)
    try:
        script = script_of(_Part(said, text, place, wrong))
    except ScriptFileError as error:
        if len(wrong) == before:
            wrong.append(Wrong(place, str(error)))
        return None
    if not script:
        wrong.append(Wrong((*place, "events"), "an empty script answers nothing; for no text say one event of text ''"))
        return None
    return script


def _conditions(reply: Reply, place: Place, wrong: list[Wrong]) -> dict[str, Any] | None:
    """Return what `when` is called with; None where something is wrong."""
    when = reply.when
    if reply.otherwise and (when is not None or reply.times is not None):
        other = "when" if when is not None else "times"
        wrong.append(
            Wrong((*place, other), f"otherwise is for every other request, and takes no {other}; leave one out")
        )
        return None
    if when is None:
        return {}
    matcher: str | re.Pattern[str] | None = when.text
    if when.pattern is not None:
        if when.text is not None:
            wrong.append(Wrong((*place, "when", "pattern"), "there is text already; leave one of the two out"))
            return None
        try:
            matcher = re.compile(when.pattern)
        except re.error as error:
            wrong.append(Wrong((*place, "when", "pattern"), f"this is no regular expression: {error}"))
            return None
    return {
        "matcher": matcher,
        "role": when.role,
        "model": when.model,
        "tools": tuple(when.tools),
        "json": when.json_,
        "api": when.api,
        "turn": when.turn,
        "after_tool": when.after_tool,
        "system": when.system,
    }


def _document(
    document: Document,
    provider: FakeProvider,
    text: str,  # noqa: ARG001 - as _reply
    place: Place,
    wrong: list[Wrong],
) -> str | None:
    """Script one document on a provider, and return its endpoint; or note what is wrong with it."""
    try:
        provider.document(
            document.method, document.path, document.answer, status=document.status, headers=document.headers
        )
    except (ScriptError, TypeError, ValueError) as error:
        wrong.append(Wrong(place, str(error)))
        return None
    return f"{document.method.upper()} {document.path}"
