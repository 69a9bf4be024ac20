"""Script files: the lossless JSON and YAML form of a script.

Version 1 is a mapping with `fakellm_script: 1`, `events`, a list of mappings whose `type` is an event's
name and whose other keys are its fields, and `allow_illegal: true` where the order is meant to be
illegal. Fields that have their default are left out. A file is checked with pydantic; every problem
in it is named with its line and field. Reading executes nothing: YAML is read by the safe loader.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from fakellm.errors import ScriptError, ScriptFileError
from fakellm.script.disk import what_stands_at, write_atomically
from fakellm.script.documents import Document, check_suffix, read, read_json, read_yaml
from fakellm.script.events import EVENT_TYPES, Event
from fakellm.script.lines import Place
from fakellm.script.order import OrderChecker
from fakellm.script.parts import EventReader
from fakellm.script.script import Script

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


def to_json(script: Script) -> str:
    """Return the script as a JSON document that ends with a line feed."""
    return json.dumps(_as_document(script), ensure_ascii=False, indent=2) + "\n"


def to_yaml(script: Script) -> str:
    """Return the script as a YAML document, one event a line where it is short."""
    return yaml.dump(_as_document(script), Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=100)


def from_json(document: str, *, name: str = "<json>") -> Script:
    """Read a JSON document; `name` is what errors call it."""
    return script_of(read_json(document, name=name))


def from_yaml(document: str, *, name: str = "<yaml>") -> Script:
    """Read a YAML document; `name` is what errors call it."""
    return script_of(read_yaml(document, name=name))


def script_of(document: Document) -> Script:
    """Return the script that a document is."""
    data = document.data
    if not isinstance(data, dict):
        what = "empty" if data is None else f"a {type(data).__name__}"
        wanted = "a script file is a mapping with fakellm_script and events"
        msg = f"{document.name}, line 1, the document: {wanted}; it is {what}"
        raise ScriptFileError(msg)
    try:
        found = ScriptDocument.model_validate(data)
    except ValidationError as error:
        raise ScriptFileError("\n".join(_problems(document, error, ()))) from None
    if found.fakellm_script != VERSION:
        message = f"version {found.fakellm_script} is unknown; this fakellm reads version {VERSION}"
        raise ScriptFileError(document.problem(("fakellm_script",), message))
    problems: list[str] = []
    script = script_in(document, ("events",), found.events, problems, allow_illegal=found.allow_illegal)
    if script is None:
        raise ScriptFileError("\n".join(problems))
    return script


def script_in(
    document: Document,
    place: Place,
    mappings: Sequence[Mapping[str, Any]],
    problems: list[str],
    *,
    allow_illegal: bool = False,
    word: Callable[[Mapping[str, Any], type[Event]], str] = lambda error, _: str(error["msg"]),
) -> Script | None:
    """Return the script whose events stand at a place of a document, or None with the problems noted.

    `word` words what pydantic finds wrong with an event of a kind.
    """
    count = len(problems)
    events: list[Event] = []
    reader, order = EventReader(), OrderChecker()
    for number, mapping in enumerate(mappings):
        event = _event(document, (*place, number), mapping, problems, word)
        if event is None:
            continue
        events += reader.read(event)
        if not allow_illegal and len(problems) == count:
            try:
                order.step(events[-1])
            except ScriptError as error:
                problems.append(document.problem((*place, number), str(error)))
    return Script(*events, allow_illegal=allow_illegal) if len(problems) == count else None


def _event(
    document: Document,
    place: Place,
    mapping: Mapping[str, Any],
    problems: list[str],
    word: Callable[[Mapping[str, Any], type[Event]], str],
) -> Event | None:
    """Return the event of a mapping, or None with the problems noted."""
    kind = EVENT_TYPES.get(str(mapping.get("type")))
    if kind is None:
        known = ", ".join(EVENT_TYPES)
        message = f"{mapping.get('type')!r} is no event; there are {known}"
        problems.append(document.problem((*place, "type"), message))
        return None
    found = {key: value for key, value in mapping.items() if key != "type"}
    try:
        schema_of(kind.type).model_validate(found)
        return kind(**found)
    except ValidationError as error:
        found_wrong = error.errors(include_url=False)
        problems += [document.problem((*place, *e["loc"]), word(e, kind)) for e in found_wrong]
    except (ScriptError, TypeError) as error:
        problems.append(document.problem(place, str(error)))
    return None


def _problems(document: Document, error: ValidationError, place: Place) -> list[str]:
    return [document.problem((*place, *e["loc"]), e["msg"]) for e in error.errors(include_url=False)]


def load(path: str | Path) -> Script:
    """Read a script file by its suffix."""
    return script_of(read(Path(path)))


def save(script: Script, path: str | Path) -> None:
    """Write a script file by its suffix, whole or not at all."""
    path = Path(path)
    check_suffix(path)
    write = to_json if path.suffix == ".json" else to_yaml
    if what := what_stands_at(path):
        msg = f"{path}: a script is saved to a file, and what is there is {what}"
        raise ScriptFileError(msg)
    write_atomically(path, write(script))
