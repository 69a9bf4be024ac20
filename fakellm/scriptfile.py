"""Script files: the lossless JSON and YAML form of a script.

Version 1 is a mapping with `fakellm_script: 1`, `events`, a list of mappings whose `type` is an event's
name and whose other keys are its fields, and `allow_illegal: true` where the order is meant to be
illegal. Fields that have their default are left out. A file is checked with pydantic; every problem
in it is named with its line and field. Reading executes nothing: YAML is read by the safe loader.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import MISSING, fields
from functools import cache, cached_property
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from fakellm.errors import ScriptError, ScriptFileError
from fakellm.events import EVENT_TYPES, Event
from fakellm.order import OrderChecker
from fakellm.script import Script

VERSION = 1


_STRICT = ConfigDict(extra="forbid", strict=True)


class ScriptDocument(BaseModel):
    """The outer mapping of a script file."""

    model_config = _STRICT

    fakellm_script: int
    allow_illegal: bool = False
    events: list[dict[str, Any]]


@cache
def _schema(name: str) -> type[BaseModel]:
    """Return the model that checks the fields of one kind of event."""
    kind = EVENT_TYPES[name]
    types = get_type_hints(kind)
    defaults = {f.name: ... if f.default is MISSING else f.default for f in fields(kind)}
    columns: dict[str, Any] = {name: (types[name], default) for name, default in defaults.items()}
    return create_model(kind.__name__, __config__=_STRICT, **columns)


def _as_document(script: Script) -> dict[str, Any]:
    document: dict[str, Any] = {"fakellm_script": VERSION}
    if script.allow_illegal:
        document["allow_illegal"] = True
    document["events"] = [_as_mapping(event) for event in script]
    return document


def _as_mapping(event: Event) -> dict[str, Any]:
    shown = {f.name: v for f in fields(event) if (v := getattr(event, f.name)) != f.default}
    return {"type": event.type, **shown}


def to_json(script: Script) -> str:
    """Return the script as a JSON document that ends with a line feed."""
    return json.dumps(_as_document(script), ensure_ascii=False, indent=2) + "\n"


def to_yaml(script: Script) -> str:
    """Return the script as a YAML document, one event a line where it is short."""
    return yaml.safe_dump(_as_document(script), allow_unicode=True, sort_keys=False, width=100)


def from_json(document: str, *, name: str = "<json>") -> Script:
    """Read a JSON document; `name` is what errors call it."""
    try:
        data = json.loads(document)
    except json.JSONDecodeError as error:
        msg = f"{name}, line {error.lineno}, column {error.colno}: this is not JSON: {error.msg}"
        raise ScriptFileError(msg) from None
    return _Reader(name, document).script(data)


def from_yaml(document: str, *, name: str = "<yaml>") -> Script:
    """Read a YAML document; `name` is what errors call it."""
    try:
        data = yaml.safe_load(document)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        msg = f"{name}{line}: this is not YAML that a script is made of: {getattr(error, 'problem', error)}"
        raise ScriptFileError(msg) from None
    return _Reader(name, document).script(data)


class _Reader:
    """Checks one document, and says where in the text a problem is."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text

    def script(self, data: object) -> Script:
        try:
            document = ScriptDocument.model_validate(data)
        except ValidationError as error:
            raise self.refuse(*self.problems(error, ())) from None
        if document.fakellm_script != VERSION:
            raise self.refuse(
                self.problem(
                    ("fakellm_script",),
                    f"version {document.fakellm_script} is unknown; this fakellm reads version {VERSION}",
                )
            )
        problems: list[str] = []
        events: list[Event] = []
        order = OrderChecker()
        for place, mapping in enumerate(document.events):
            event = self.event(("events", place), mapping, problems)
            if event is None:
                continue
            events.append(event)
            if not document.allow_illegal and not problems:
                try:
                    order.step(event)
                except ScriptError as error:
                    problems.append(self.problem(("events", place), str(error)))
        if problems:
            raise self.refuse(*problems)
        return Script(*events, allow_illegal=document.allow_illegal)

    def event(self, path: tuple[str | int, ...], mapping: dict[str, Any], problems: list[str]) -> Event | None:
        """Return the event of a mapping, or None with the problems noted."""
        kind = EVENT_TYPES.get(str(mapping.get("type")))
        if kind is None:
            known = ", ".join(EVENT_TYPES)
            problems.append(self.problem((*path, "type"), f"{mapping.get('type')!r} is no event; there are {known}"))
            return None
        found = {key: value for key, value in mapping.items() if key != "type"}
        try:
            _schema(kind.type).model_validate(found)
            return kind(**found)
        except ValidationError as error:
            problems.extend(self.problems(error, path))
        except (ScriptError, TypeError) as error:
            problems.append(self.problem(path, str(error)))
        return None

    def problems(self, error: ValidationError, path: tuple[str | int, ...]) -> list[str]:
        return [self.problem((*path, *e["loc"]), e["msg"]) for e in error.errors(include_url=False)]

    def problem(self, path: tuple[str | int, ...], message: str) -> str:
        where = ".".join(str(part) for part in path) or "the document"
        return f"{self.name}, line {self.line(path)}, {where}: {message}"

    def refuse(self, *problems: str) -> ScriptFileError:
        return ScriptFileError("\n".join(problems))

    @cached_property
    def nodes(self) -> yaml.Node | None:
        """The document with its line numbers. JSON is read as YAML, which forbids only the tabs in it."""
        text = yaml.reader.Reader.NON_PRINTABLE.sub(" ", self.text.replace("\t", " "))
        return yaml.compose(text, Loader=yaml.SafeLoader)

    def line(self, path: tuple[str | int, ...]) -> int:
        """Return the line of the deepest part of the path that the document has."""
        node, line = self.nodes, 1
        for part in path:
            if isinstance(node, yaml.MappingNode):
                found = next(((k, v) for k, v in node.value if k.value == part), None)
                if found is None:
                    break
                line, node = found[0].start_mark.line + 1, found[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
                node = node.value[part]
                line = node.start_mark.line + 1
            else:
                break
        return line


def load(path: Path) -> Script:
    """Read a script file by its suffix."""
    read = {".json": from_json, ".yaml": from_yaml, ".yml": from_yaml}.get(path.suffix)
    if read is None:
        raise _unknown_suffix(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        msg = f"{path}: byte {error.start} is not UTF-8; script files are"
        raise ScriptFileError(msg) from None
    return read(text, name=str(path))


def save(script: Script, path: Path) -> None:
    """Write a script file by its suffix, whole or not at all."""
    write = {".json": to_json, ".yaml": to_yaml, ".yml": to_yaml}.get(path.suffix)
    if write is None:
        raise _unknown_suffix(path)
    write_atomically(path, write(script))


def _unknown_suffix(path: Path) -> ScriptFileError:
    return ScriptFileError(f"{path}: a script file ends in .json, .yaml or .yml, not {path.suffix!r}")


def write_atomically(path: Path, text: str) -> None:
    """Write the file by way of a temporary one beside it, so that no crash leaves half of it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
