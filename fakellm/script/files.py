"""Script files: the lossless JSON and YAML form of a script.

Version 1 is a mapping with `fakellm_script: 1`, `events`, a list of mappings whose `type` is an event's
name and whose other keys are its fields, and `allow_illegal: true` where the order is meant to be
illegal. Fields that have their default are left out. A file is checked with pydantic; every problem
in it is named with its line and field. Reading executes nothing: YAML is read by the safe loader.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from functools import cache, cached_property
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from fakellm.errors import ScriptError, ScriptFileError, clip
from fakellm.script.disk import what_stands_at, write_atomically
from fakellm.script.events import EVENT_TYPES, Event
from fakellm.script.lines import json_line, unreadable
from fakellm.script.order import OrderChecker
from fakellm.script.script import EventReader, Script

VERSION = 1


_STRICT = ConfigDict(extra="forbid", strict=True)


class ScriptDocument(BaseModel):
    """The outer mapping of a script file."""

    model_config = _STRICT

    fakellm_script: int
    allow_illegal: bool = False
    events: list[dict[str, Any]]


@cache
def schema_of(name: str) -> type[BaseModel]:
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


class _Dumper(yaml.SafeDumper):
    """Writes a text with a line end of its own that YAML would fold (NEL) in double quotes."""


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if "\x85" in text else None)


_Dumper.add_representer(str, _quoted)


class _Loader(yaml.SafeLoader):
    """Says where a value cannot be read, and refuses a key that comes twice, of which one would be lost."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, LookupError, AttributeError) as error:
            problem = f"{clip(repr(node.value), 80)} is no {node.tag.rpartition(':')[2]}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        seen: set[object] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                problem = f"the key {key.value!r} comes twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else key)
        return super().construct_mapping(node, deep=deep)


def to_json(script: Script) -> str:
    """Return the script as a JSON document that ends with a line feed."""
    return json.dumps(_as_document(script), ensure_ascii=False, indent=2) + "\n"


def to_yaml(script: Script) -> str:
    """Return the script as a YAML document, one event a line where it is short."""
    return yaml.dump(_as_document(script), Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=100)


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the mapping of an object in JSON. Raises `ValueError` for a key that comes twice."""
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        keys = [key for key, _ in pairs]
        msg = f"the key {next(key for key in keys if keys.count(key) > 1)!r} comes twice"
        raise ValueError(msg)
    return mapping


def from_json(document: str, *, name: str = "<json>") -> Script:
    """Read a JSON document; `name` is what errors call it."""
    try:
        data = json.loads(document, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        msg = f"{name}, line {error.lineno}, column {error.colno}: this is not JSON: {error.msg}"
        raise ScriptFileError(msg) from None
    except RecursionError as error:
        msg = f"{name}: this JSON is not a script: {error}"
        raise ScriptFileError(msg) from None
    except ValueError:
        problem, line = unreadable(document)
        msg = f"{name}, line {line}: this JSON is not a script: {problem}"
        raise ScriptFileError(msg) from None
    return Reader(name, document, is_json=True).script(data)


def from_yaml(document: str, *, name: str = "<yaml>") -> Script:
    """Read a YAML document; `name` is what errors call it."""
    try:
        data = yaml.load(document, Loader=_Loader)  # noqa: S506 - a safe loader's subclass
    except yaml.reader.ReaderError as error:
        line = document.count("\n", 0, error.position) + 1
        msg = f"{name}, line {line}: this is not YAML: character U+{ord(document[error.position]):04X}: {error.reason}"
        raise ScriptFileError(msg) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line_and_column = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        msg = f"{name}{line_and_column}: this is not YAML that a script is made of: {error.problem}"
        raise ScriptFileError(msg) from None
    except RecursionError as error:
        msg = f"{name}: this YAML is not a script: {error}"
        raise ScriptFileError(msg) from None
    return Reader(name, document).script(data)


class Reader:
    """Checks one document, and says where in the text a problem is."""

    def __init__(self, name: str, text: str, *, is_json: bool = False) -> None:
        self.name = name
        self.text = text
        self.is_json = is_json

    def script(self, data: object) -> Script:
        """Return the script of a document that was read. Raises `ScriptFileError` for what is none."""
        if not isinstance(data, dict):
            what = "empty" if data is None else f"a {type(data).__name__}"
            wanted = "a script file is a mapping with fakellm_script and events"
            msg = f"{self.name}, line 1, the document: {wanted}; it is {what}"
            raise ScriptFileError(msg)
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
        reader, order = EventReader(), OrderChecker()
        for place, mapping in enumerate(document.events):
            event = self.event(("events", place), mapping, problems)
            if event is None:
                continue
            events += reader.read(event)
            if not document.allow_illegal and not problems:
                try:
                    order.step(events[-1])
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
            schema_of(kind.type).model_validate(found)
            return kind(**found)
        except ValidationError as error:
            problems.extend(self.problems(error, path))
        except (ScriptError, TypeError) as error:
            problems.append(self.problem(path, str(error)))
        return None

    def problems(self, error: ValidationError, path: tuple[str | int, ...]) -> list[str]:
        """Word what pydantic found."""
        return [self.problem((*path, *e["loc"]), e["msg"]) for e in error.errors(include_url=False)]

    def problem(self, path: tuple[str | int, ...], message: str) -> str:
        """Word one problem: file, line, field."""
        where = ".".join(str(part) for part in path)
        return f"{self.name}, line {self.line(path)}, {where}: {message}"

    def refuse(self, *problems: str) -> ScriptFileError:
        """Return the error of these problems."""
        return ScriptFileError("\n".join(problems))

    @cached_property
    def nodes(self) -> yaml.Node | None:
        """The document with its line numbers."""
        return yaml.compose(self.text, Loader=yaml.SafeLoader)

    def line(self, path: tuple[str | int, ...]) -> int:
        """Return the line of the deepest part of the path that the document has."""
        if self.is_json:
            return json_line(self.text, path)
        node, line = self.nodes, 1
        for part in path:
            if isinstance(node, yaml.MappingNode):
                found = next(((k, v) for k, v in node.value if k.value == str(part)), None)
                if found is None:
                    break
                line, node = found[0].start_mark.line + 1, found[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
                node = node.value[part]
                line = node.start_mark.line + 1
        return line


def load(path: str | Path) -> Script:
    """Read a script file by its suffix."""
    path = Path(path)
    read = {".json": from_json, ".yaml": from_yaml, ".yml": from_yaml}.get(path.suffix)
    if read is None:
        raise _unknown_suffix(path)
    if what := what_stands_at(path):
        msg = f"{path}: a script is read from a file, and what is there is {what}"
        raise ScriptFileError(msg)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{path}: byte {error.start} is not UTF-8; script files are"
        raise ScriptFileError(msg) from None
    return read(text, name=str(path))


def save(script: Script, path: str | Path) -> None:
    """Write a script file by its suffix, whole or not at all."""
    path = Path(path)
    write = {".json": to_json, ".yaml": to_yaml, ".yml": to_yaml}.get(path.suffix)
    if write is None:
        raise _unknown_suffix(path)
    if what := what_stands_at(path):
        msg = f"{path}: a script is saved to a file, and what is there is {what}"
        raise ScriptFileError(msg)
    write_atomically(path, write(script))


def _unknown_suffix(path: Path) -> ScriptFileError:
    return ScriptFileError(f"{path}: a script file ends in .json, .yaml or .yml, not {path.suffix!r}")
