"""JSON and YAML files that people write, read without trust, and the line of each thing in them.

Reading executes nothing: YAML is read by the safe loader. A key that comes twice, of which one would be lost, is
refused.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from fakellm.errors import ScriptFileError, clip
from fakellm.script.disk import what_stands_at
from fakellm.script.lines import Place, json_line, unreadable


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


class Document:
    """What a file says, `data`, and where: `name` is what errors call the file."""

    def __init__(self, data: Any, text: str, *, name: str, is_json: bool = False) -> None:
        self.data = data
        self.name = name
        self._text = text
        self._is_json = is_json

    def problem(self, place: Place, message: str) -> str:
        """Word a problem with the line and the field that it is at."""
        return f"{self.name}, line {self.line(place)}, {'.'.join(map(str, place))}: {message}"

    @cached_property
    def _nodes(self) -> yaml.Node | None:
        """The document with its line numbers."""
        return yaml.compose(self._text, Loader=yaml.SafeLoader)

    def line(self, place: Place) -> int:
        """Return the line of the deepest part of a place that the document has."""
        if self._is_json:
            return json_line(self._text, place)
        node, line = self._nodes, 1
        for part in place:
            if isinstance(node, yaml.MappingNode):
                found = next(((k, v) for k, v in node.value if k.value == str(part)), None)
                if found is None:
                    break
                line, node = found[0].start_mark.line + 1, found[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
        return line


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the mapping of an object in JSON. Raises `ValueError` for a key that comes twice."""
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        keys = [key for key, _ in pairs]
        msg = f"the key {next(key for key in keys if keys.count(key) > 1)!r} comes twice"
        raise ValueError(msg)
    return mapping


def read_json(text: str, *, name: str = "<json>", what: str = "a script") -> Document:
    """Read a JSON document. Raises `ScriptFileError` that names its line."""
    try:
        data = json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        msg = f"{name}, line {error.lineno}, column {error.colno}: this is not JSON: {error.msg}"
        raise ScriptFileError(msg) from None
    except RecursionError as error:
        msg = f"{name}: this JSON is not {what}: {error}"
        raise ScriptFileError(msg) from None
    except ValueError:
        problem, line = unreadable(text)
        msg = f"{name}, line {line}: this JSON is not {what}: {problem}"
        raise ScriptFileError(msg) from None
    return Document(data, text, name=name, is_json=True)


def read_yaml(text: str, *, name: str = "<yaml>", what: str = "a script") -> Document:
    """Read a YAML document. Raises `ScriptFileError` that names its line."""
    try:
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader's subclass
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        msg = f"{name}, line {line}: this is not YAML: character U+{ord(text[error.position]):04X}: {error.reason}"
        raise ScriptFileError(msg) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line_and_column = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        msg = f"{name}{line_and_column}: this is not YAML that {what} is made of: {error.problem}"
        raise ScriptFileError(msg) from None
    except RecursionError as error:
        msg = f"{name}: this YAML is not {what}: {error}"
        raise ScriptFileError(msg) from None
    return Document(data, text, name=name)


_READERS = {".json": read_json, ".yaml": read_yaml, ".yml": read_yaml}


def check_suffix(path: Path, what: str = "a script") -> None:
    """Raise `ScriptFileError` for a file whose suffix is that of no form."""
    if path.suffix not in _READERS:
        msg = f"{path}: {what} file ends in .json, .yaml or .yml, not {path.suffix!r}"
        raise ScriptFileError(msg)


def read(path: Path, *, what: str = "a script") -> Document:
    """Read a file by its suffix. Raises `ScriptFileError`, and `OSError` for a file that cannot be read."""
    check_suffix(path, what)
    if stands := what_stands_at(path):
        msg = f"{path}: {what} is read from a file, and what is there is {stands}"
        raise ScriptFileError(msg)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{path}: byte {error.start} is not UTF-8; {what.partition(' ')[2]} files are"
        raise ScriptFileError(msg) from None
    return _READERS[path.suffix](text, name=str(path), what=what)
