"""Secrets that a model says token by token: no range of bytes holds them, the joined text of the deltas does.

The documents of a stream are its `data:` lines (or the lines of newline-delimited JSON, or the items of a
JSON array). Strings at the same place of consecutive documents, with the same `index` and `type` around
them, are one text. A secret in it is replaced in the delta where it began, and left out of the others.

Why the documents are not written anew. The string literals that a secret lies over are replaced, each in its place
and as narrowly as its text allows: the first keeps what came before the secret and gets the word in its place, those
inside become empty, the last keeps what follows. An empty delta is legal everywhere, while a delta less would be a
chunk less, and the sizes and silences of the tape belong to chunks. Why by place and `index`: two answers, or two
calls, that come in turns are two texts, and joined they would hide what each says, and say what neither does.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any, NamedTuple

from fakellm.cassette.frames import frames_of
from fakellm.secrets.hunting import Edit, apply, find, merged

Path = tuple[str | int, ...]

_DATA = re.compile(rb"(?m)^[ \t]*data:[ \t]?([^\r\n]+)")
_LINE = re.compile(rb"(?m)^[ \t]*(\{[^\r\n]*\}|\[[^\r\n]*\])[ \t]*\r?$")
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')
_GAP = re.compile(r"[\s,]*")
_DECODER = json.JSONDecoder()
_INDICES = ("index", "output_index", "content_index", "summary_index", "item_id", "type")


class _Leaf(NamedTuple):
    """A string of a document: where the document is, the way to the string (None: it is no JSON), its bytes."""

    start: int
    end: int
    path: Path | None
    text: bytes


def find_in_deltas(body: bytes, values: Mapping[bytes, str]) -> list[Edit]:
    """Return what to replace of the secrets that lie over several strings of a stream."""
    edits: list[Edit] = []
    changes: dict[tuple[int, int], dict[Path, tuple[bytes, str]]] = {}
    for leaves in _texts(body):
        for leaf, text, kind in _changed(leaves, find(b"".join(leaf.text for leaf in leaves), values)):
            if leaf.path is None:
                edits.append(_narrow(body, Edit(leaf.start, leaf.end, text, kind)))
            else:
                changes.setdefault((leaf.start, leaf.end), {})[leaf.path] = (text, kind)
    for (start, end), texts in changes.items():
        edits += _literals(body, start, end, texts)
    return merged(edits)


def _texts(body: bytes) -> Iterator[list[_Leaf]]:
    """Yield the strings that are one text: two and more, that are not one constant over and over."""
    groups: dict[object, list[_Leaf]] = {}
    for start, end in _documents(body):
        for key, leaf in _leaves(body, start, end):
            groups.setdefault(key, []).append(leaf)
    yield from (leaves for leaves in groups.values() if len({leaf.text for leaf in leaves}) > 1)


def _documents(body: bytes) -> list[tuple[int, int]]:
    """Return where the documents of a stream are."""
    if frames := frames_of(body):
        return [payload for _, payload in frames]
    for regex in (_DATA, _LINE):
        found = [match.span(1) for match in regex.finditer(body)]
        if len(found) > 1:
            return found
    return _items(body) if body[:1] == b"[" else []


def _items(body: bytes) -> list[tuple[int, int]]:
    """Return where the items of a JSON array are: Gemini's stream without server-sent events."""
    text, found, at = body.decode("latin-1"), [], 1  # one character for each byte
    while (start := _GAP.match(text, at).end()) < len(text):  # type: ignore[union-attr]
        try:
            _, at = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            break
        found.append((start, at))
    return found


def _leaves(body: bytes, start: int, end: int) -> Iterator[tuple[object, _Leaf]]:
    """Yield the strings of a document, each with what it has in common with those that continue it."""
    document = body[start:end]
    try:
        value = json.loads(document.decode())
    except (ValueError, RecursionError):
        yield None, _Leaf(start, end, None, document)
        return
    for key, path, text in _strings(value, (), ()):
        yield key, _Leaf(start, end, path, text.encode("utf-8", "surrogatepass"))


def _strings(value: Any, path: Path, key: tuple[object, ...]) -> Iterator[tuple[tuple[object, ...], Path, str]]:
    if isinstance(value, str):
        yield (*key, path), path, value
    elif isinstance(value, dict):
        key = (*key, *(value[name] for name in _INDICES if isinstance(value.get(name), (str, int))))
        for name, inner in value.items():
            if name not in _INDICES:
                yield from _strings(inner, (*path, name), key)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _strings(inner, (*path, index), key)


def _changed(leaves: list[_Leaf], edits: list[Edit]) -> Iterator[tuple[_Leaf, bytes, str]]:
    """Yield the strings that a secret lies over together with others, with their new text and the kind."""
    starts = list(accumulate((len(leaf.text) for leaf in leaves), initial=0))
    inner: dict[int, list[Edit]] = {}
    for edit in edits:
        first, last = bisect_right(starts, edit.start) - 1, bisect_right(starts, edit.end - 1) - 1
        if first == last and edit.end < starts[-1]:  # of one delta only, and not what the end of the stream cut off
            continue
        for index in range(first, last + 1):
            start, end = max(edit.start, starts[index]), min(edit.end, starts[index + 1])
            new = edit.new if index == first else b""
            inner.setdefault(index, []).append(Edit(start - starts[index], end - starts[index], new, edit.kind))
    for index, parts in inner.items():
        yield leaves[index], apply(leaves[index].text, parts), f"{parts[0].kind} over several deltas"


def _literals(body: bytes, start: int, end: int, texts: Mapping[Path, tuple[bytes, str]]) -> Iterator[Edit]:
    """Yield the edits of a document that give some of its strings another text."""
    spans = _spans(body[start:end])
    for path, (text, kind) in texts.items():
        first, last = (start + at for at in spans[path])
        ascii_only = body[first:last].isascii()
        literal = json.dumps(text.decode("utf-8", "surrogatepass"), ensure_ascii=ascii_only)
        yield _narrow(body, Edit(first, last, literal.encode("utf-8", "surrogatepass"), kind))


def _spans(document: bytes) -> dict[Path, tuple[int, int]]:
    """Return where the strings of a JSON document are, by the way to each."""
    spans: dict[Path, tuple[int, int]] = {}
    path: list[str | int | None] = []
    for token in _TOKEN.finditer(document):
        mark = token[0][:1]
        if mark in b"{[":
            path.append(0 if mark == b"[" else None)
        elif mark in b"}]":
            path.pop()
        elif mark == b"," and path:
            at = path[-1]
            path[-1] = at + 1 if isinstance(at, int) else None
        elif mark == b'"' and path and path[-1] is None:
            path[-1] = json.loads(token[0].decode())
        elif mark == b'"':
            spans[tuple(part for part in path if part is not None)] = token.span()
    return spans


def _narrow(body: bytes, edit: Edit) -> Edit:
    """Return the edit without what it leaves as it is at both ends, so that the cuts there stay."""
    old, new = body[edit.start : edit.end], edit.new
    shortest = min(len(old), len(new))
    before = next((at for at in range(shortest) if old[at] != new[at]), shortest)
    shortest -= before
    after = next((at for at in range(shortest) if old[-1 - at] != new[-1 - at]), shortest)
    return Edit(edit.start + before, edit.end - after, new[before : len(new) - after], edit.kind)
