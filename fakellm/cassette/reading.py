"""Reads YAML and JSON into plain data, and finds the line of a place in them once something is wrong there.

Nothing that a tape says is executed. Tags of Python and Ruby objects, which recorders left on tapes, are read as the
data under them: vcrpy's `BytesIO`, `iter`, `tuple` and `str` as what they hold, a header name of a class of its own
as its text, Ruby's `!binary` as bytes; other tags are refused. Dates stay text.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable
from typing import Any, cast

import yaml

from fakellm.script.documents import once
from fakellm.script.lines import Place, json_line, unreadable

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONFLICT = re.compile(r"^(?:<{7}|={7}|>{7})(?: |$)", re.MULTILINE)


class UnreadableError(ValueError):
    """A text that is not YAML or JSON, or not such as tapes are made of."""

    def __init__(self, problem: str, line: int, remedy: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.line = line
        self.remedy = remedy


class _Loader(_Base):  # type: ignore[misc]
    """A safe loader that takes no key twice, of which one would be lost, and no base64 that is half garbage."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value if type(key) is yaml.ScalarNode]
            if len(set(keys)) < len(keys):
                _refuse_twice(node)
        return cast("dict[Any, Any]", super().construct_mapping(node, deep=deep))

    yaml_implicit_resolvers = {  # noqa: RUF012 - the base's, without dates
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in _Base.yaml_implicit_resolvers.items()
    }


class _NamingLoader(_Loader):
    """Says where a value cannot be read; slower."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, LookupError, AttributeError) as error:
            problem = f"{node.value!r:.80} is no {node.tag.rpartition(':')[2]}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error


def _refuse_twice(node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if key.value in seen:
                problem = f"the key {key.value!r} comes twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)


def from_base64(text: str) -> bytes:
    """Return what base64 with line ends holds. Raises `ValueError` for anything else in it."""
    return binascii.a2b_base64("".join(text.split()), strict_mode=True)


def _as_bytes(loader: Any, node: Any) -> bytes:
    try:
        return from_base64(loader.construct_scalar(node))
    except ValueError as error:
        problem = f"this is not base64: {error}"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None


def _as_data(loader: Any, suffix: str, node: Any) -> Any:
    """Return the data of an object that the text tags; of one that was made from one argument, the argument."""
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        values = loader.construct_sequence(node, deep=True)
        return tuple(values) if suffix == "tuple" else values[0] if len(values) == 1 else values
    values = loader.construct_mapping(node, deep=True)
    if suffix.endswith("BytesIO"):
        return (values.get("state") or (b"",))[0]
    if suffix.startswith("object/apply:") and values.get("args"):
        return values["args"][0]
    return values


_Loader.add_constructor("tag:yaml.org,2002:binary", _as_bytes)
_Loader.add_constructor("!binary", _as_bytes)
for _prefix in ("tag:yaml.org,2002:python/", "!ruby/"):
    _Loader.add_multi_constructor(_prefix, _as_data)


def as_str(text: str | bytes) -> str:
    """Return a text that may be there in UTF-8; only who has to say what is wrong with it needs it."""
    return text if isinstance(text, str) else text.decode("utf-8", "replace")


def from_yaml(source: str | bytes) -> Any:
    """Return the data of a YAML document, a text or that in UTF-8. Raises `UnreadableError`."""
    try:
        return _load_yaml(source if _Base is not yaml.SafeLoader else as_str(source))
    except yaml.YAMLError as error:
        raise _refused(as_str(source), error) from None
    except UnicodeEncodeError as error:
        line = as_str(source).count("\n", 0, error.start) + 1
        raise UnreadableError("this is not YAML: it holds half of a surrogate pair", line) from None
    except (ValueError, LookupError, AttributeError, RecursionError, TypeError) as error:
        raise UnreadableError(f"this YAML is not a cassette: {error}", 1) from None


def _refused(text: str, error: yaml.YAMLError) -> UnreadableError:
    """Word what YAML's reader says, with the line of it."""
    if isinstance(error, yaml.reader.ReaderError):
        shown = f"character U+{error.character:04X}" if isinstance(error.character, int) else repr(error.character)
        place = text.encode("utf-8", "surrogatepass")[: error.position] if _Base is not yaml.SafeLoader else b""
        line = place.count(b"\n") + 1 if place else text.count("\n", 0, error.position) + 1
        return UnreadableError(f"this is not YAML: {shown}: {error.reason}", line)
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "context", None) or "it cannot be read"
    return _unreadable(text, problem, mark.line + 1 if mark else 1)


def _load_yaml(text: str | bytes) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader's subclass
    except UnicodeEncodeError:
        raise
    except (ValueError, LookupError, AttributeError):
        return yaml.load(text, Loader=_NamingLoader)  # noqa: S506 - a safe loader's subclass


def _unreadable(text: str, problem: str, line: int) -> UnreadableError:
    conflict = _CONFLICT.search(text)
    if conflict:
        there = text.count("\n", 0, conflict.start()) + 1
        return UnreadableError("a merge conflict is left here", there, "resolve it, or record the tape again")
    found = text.split("\n")[line - 1 : line]
    is_tab = "\t" in problem or "\\t" in problem or any(shown.lstrip(" ").startswith("\t") for shown in found)
    remedy = "YAML is indented with spaces: replace the tab" if is_tab else ""
    return UnreadableError(f"this is not YAML that a cassette is made of: {problem}", line, remedy)


def from_json(text: str) -> Any:
    """Return the data of a JSON document. Raises `UnreadableError`."""
    try:
        return json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        conflict = _CONFLICT.search(text)
        if conflict:
            raise _unreadable(text, "", error.lineno) from None
        raise UnreadableError(f"this is not JSON: {error.msg}", error.lineno) from None
    except ValueError:
        raise UnreadableError(*unreadable(text)) from None
    except RecursionError as error:
        raise UnreadableError(f"this JSON is not a cassette: {error}", 1) from None


def _yaml_line(text: str, place: Place) -> int:
    node, line = yaml.compose(text, Loader=_Base), 1
    for part in place:
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if _name(key) == str(part)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def _name(key: yaml.Node) -> object:
    """Return the text of a key, also of one that is tagged as an object."""
    value = key.value
    return value[0].value if isinstance(key, yaml.SequenceNode) and len(value) == 1 else value


def line_finder(source: str | bytes, *, is_json: bool) -> Callable[[Place], int]:
    """Return what finds the line of the deepest part of a place that the document has."""
    find = json_line if is_json else _yaml_line
    return lambda place: find(as_str(source), place)
