"""Looking for secrets in tapes that exist, ours and other tools': vcrpy, Ruby's VCR, go-vcr, nock, raw streams.

A file is read as text, so that its form does not matter, and what is YAML or JSON is read as a tree as well:
for headers by their names, for what a model said token by token, and for compressed bodies. Nothing that a
tape says is executed: only nodes are read, no objects are made of them.
"""

from __future__ import annotations

import base64
import errno
import os
import re
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from fakellm.cassette.deltas import find_in_deltas
from fakellm.cassette.trees import STEPS, TooManyAliasesError, Way, walk
from fakellm.script.disk import what_stands_at
from fakellm.secrets.beside import named
from fakellm.secrets.edits import Edit
from fakellm.secrets.hunting import find
from fakellm.secrets.names import AUTHORIZATIONS, environment_secrets, is_secret_header, spellings
from fakellm.secrets.shapes import has_shape, is_worth_hunting
from fakellm.secrets.values import NAMED

_HEAD = 8192
_SHOWN = 4
_INFLATED = 64 * 2**20
_SKIPPED = {"__pycache__", "node_modules"}
_BLANK = re.compile(rb"[ \t]*")
_KEY = re.compile(rb"""([ \t]*(?:- )*)["']?([\w.-]{1,60})["']?[ \t]*:(?:[ \t\r]|$)""")
_TAPE = re.compile(rb"(?m)^[ \t{]*[\"']?(?:http_)?interactions[\"']?[ \t]*:")
_COOKIE = re.compile(r"(?:^|;\s*)[^=;\s]+=\"?([^;\"]*)")


@dataclass(frozen=True, order=True, slots=True)
class Finding:
    """A secret in a file: where it is, what it is, and its first characters. It does not hold the secret."""

    file: str
    line: int
    kind: str
    where: str
    shown: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.kind} in {self.where}: {self.shown}"


def check(
    paths: Iterable[str | Path], *, secrets: Iterable[str] = (), environ: Mapping[str, str] | None = None
) -> list[Finding]:
    """Return what is secret in the files, and in the files of the folders, in order of file and line.

    `secrets` are values to look for beside those of the environment and the known forms. Files that are not
    text are passed over, and so is what is no file in a folder. Raises `OSError` for a path that does not exist, or is
    named and no file.
    """
    known = environment_secrets(os.environ if environ is None else environ)
    values = {form: "secret of the environment" for text in known for form in spellings(text)}
    values |= {form: NAMED for text in secrets if text for form in spellings(text)}
    return sorted({finding for path in files_of(paths) for finding in _check(path, values)})


def files_of(paths: Iterable[str | Path]) -> Iterator[Path]:
    """Yield the files that are named, and those of folders, each folder once, whatever links lead to it."""
    seen: set[str] = set()
    for path in map(Path, paths):
        if path.is_dir():
            yield from _inside(path, seen)
        elif what := what_stands_at(path):
            raise OSError(errno.EINVAL, f"what is there is {what}, not a file", str(path))
        else:
            yield path


def _inside(folder: Path, seen: set[str]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in _SKIPPED:
            continue
        if path.is_dir():
            yield from _inside(path, seen)
        elif path.is_file():  # a FIFO, a device, a link to nothing
            yield path


def _check(path: Path, values: Mapping[bytes, str]) -> Iterator[Finding]:
    data = path.read_bytes()
    if b"\0" in data[:_HEAD]:
        return
    seen: dict[int, dict[str, None]] = {}
    packed: list[Finding] = []
    place = _Places(data)
    for edit in find(data, values, is_answer=bool(_TAPE.search(data))):  # fields of requests are looked for in the tree
        text = _old(data, edit)
        if _counts(edit, text):
            line, where = place(edit.start)
            seen.setdefault(line, {})[text] = None
            finding = Finding(str(path), line, edit.kind, where, mask(text))
            if edit.kind.endswith(", compressed"):
                packed.append(finding)
            else:
                yield finding
    kinds = set()
    for line, kind, where, text in _in_tree(data, values):
        kinds.add(kind)
        if not _is_part(text, seen.get(line, {})):
            yield Finding(str(path), line, kind, where, mask(text))
    yield from (finding for finding in packed if finding.kind not in kinds)  # the tree shows more of it
    if path.suffix not in {".yaml", ".yml", ".json"}:
        place = _Places(data)
        for edit in find_in_deltas(data, values, is_answer=True):
            line, where = place(edit.start)
            yield Finding(str(path), line, edit.kind, where, mask(_old(data, edit)))


_COMPARED = 100


def _is_part(text: str, known: Mapping[str, None]) -> bool:
    """Tell whether a text was found in its line already, alone or in another; only some of very many are compared."""
    return text in known or any(text in other or other in text for other in islice(known, _COMPARED))


def mask(text: str) -> str:
    """Return the first characters of a secret, fewer of a short one."""
    return text[: min(_SHOWN, len(text) // 4)].replace("\n", " ") + "…"


def _old(data: bytes, edit: Edit) -> str:
    return data[edit.start : edit.end].decode("utf-8", "replace")


def _counts(edit: Edit, text: str) -> bool:
    """Tell whether a finding is one: what other tools and tests write instead of a credential is none."""
    return not edit.kind.startswith(("field", "parameter", "form field")) or is_worth_hunting(text)


class _Places:
    """Tells the lines of places that come in order, and the names that each line is under, as its indentation says.

    Lines are gone through once, whatever is asked: for each place to look upwards anew would read the begin of a file
    as often as it has findings.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._next = self._line = self._indent = 0  # where the next line begins; the line before that
        self._indents: list[int] = []  # of the names that the next line may be under
        self._ways = [Way()]  # to each of them, after the way to nothing

    def __call__(self, at: int) -> tuple[int, str]:
        """Return the number of the line that a place is in, and the names that it is under."""
        while self._next <= at:
            self._read()
        return self._line, str(self._ways[bisect_right(self._indents, self._indent)])

    def _read(self) -> None:
        """Go on by a line."""
        end = self._data.find(b"\n", self._next)
        end = len(self._data) if end < 0 else end
        key = _KEY.match(self._data, self._next, end)
        self._indent = len(key[1] if key else _BLANK.match(self._data, self._next, end)[0])  # type: ignore[index]
        if key:
            while self._indents and self._indents[-1] >= self._indent:
                self._indents.pop()
                self._ways.pop()
            self._indents.append(self._indent)
            self._ways.append(self._ways[-1].to(key[2].decode()))
        self._next, self._line = end + 1, self._line + 1


# ---- Trees ----------------------------------------------------------------------------------------------------------

_Found = tuple[int, str, str, str]  # line, kind, where, text


_TOO_DEEP = "nested too deep to be read as a tree, so there may be more"


def _in_tree(data: bytes, values: Mapping[bytes, str]) -> Iterator[_Found]:
    """Yield what only the tree of YAML or JSON shows; nothing for a file that is neither."""
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        for document in yaml.compose_all(data, loader):
            for visit in walk(document, STEPS + len(data)):
                yield from _in_header(visit.name, visit.node, visit.around)
                if visit.is_new and isinstance(visit.node.value, str):
                    yield from _in_scalar(visit.node, visit.path, values)
    except TooManyAliasesError as error:
        yield error.line, "more aliases than are followed, so there may be more", "text", "*aliases"
    except RecursionError:
        yield 1, _TOO_DEEP, "text", "*deep"
    except yaml.YAMLError as error:
        if "maximum nesting depth" in str(error):
            yield error.problem_mark.line + 1, _TOO_DEEP, "text", "*deep"  # type: ignore[attr-defined]
    except UnicodeDecodeError:
        return


def _in_header(name: str, node: Any, path: Way) -> Iterator[_Found]:
    """Yield the credentials of a header: its value, or its values in a list."""
    nodes = [node] if isinstance(node.value, str) else node.value if node.id == "sequence" else []
    for one in nodes:
        if isinstance(one.value, str):
            for text in _credentials(name.lower(), one.value):
                yield one.start_mark.line + 1, f"header {name.lower()}", str(path.to(name)), text


def _credentials(name: str, value: str) -> Iterator[str]:
    if name in {"cookie", "set-cookie"}:
        first = value.partition(";")[0] if name == "set-cookie" else value
        yield from filter(has_shape, _COOKIE.findall(first))
    elif name in AUTHORIZATIONS or ("-" in name and is_secret_header(name, value)):
        text = value.partition(" ")[2] or value
        if has_shape(text):
            yield text


def _in_scalar(node: Any, path: Way, values: Mapping[bytes, str]) -> Iterator[_Found]:
    """Yield the secrets that the text of a file does not show: in several pieces, in bytes, in fields of a request."""
    line, where = node.start_mark.line + 1, str(path)
    is_request = path.is_asked
    body = _bytes(node)
    is_packed = body[:2] == b"\x1f\x8b"
    if is_packed:
        body = _inflated(body)
    pieces = find_in_deltas(body, values, is_answer=not is_request)
    yield from ((line, edit.kind, where, _old(body, edit)) for edit in pieces)
    if is_packed or b"\0" in body:  # base64 of a text was found in the file's own
        found = find(body, values, is_answer=not is_request)
    else:
        found = list(named(body)) if is_request else []
    for edit in found:
        text = _old(body, edit)
        if _counts(edit, text):
            yield line, f"{edit.kind}, compressed" if is_packed else edit.kind, where, text


def _bytes(node: Any) -> bytes:
    """Return what a scalar holds: `!!binary` and Ruby's `!binary` are base64; old tapes quote bytes as characters."""
    text: str = node.value
    if node.tag.endswith("binary"):
        try:
            return base64.b64decode(text)
        except ValueError:
            return b""
    if text.startswith(("\x1f\x8b", "H4sI")):
        try:
            return text.encode("latin-1") if text[0] == "\x1f" else base64.b64decode(text)
        except ValueError:
            return b""
    return text.encode("utf-8", "replace")


def _inflated(body: bytes) -> bytes:
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(body, _INFLATED)
    except zlib.error:
        return b""
