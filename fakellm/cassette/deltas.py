"""Secrets that are said in pieces: no range of bytes holds them, the joined text of the pieces does.

The documents of a stream are its `data:` lines (or the lines of newline-delimited JSON, or the items of a JSON array,
or the frames of an event stream); any other JSON is one document. Strings at the same place of consecutive documents,
with the same `index` and `type` around them, are one text, and so are the strings of one list at the same path: the
tokens of `logprobs`, the parts of an answer. Integers that are bytes are a text as well. A secret in it is replaced in
the piece where it began, and left out of the others.

Why the documents are not written anew. The literals that a secret lies over are replaced, each in its place and as
narrowly as its text allows: the first keeps what came before the secret and gets the word in its place, those inside
become empty, the last keeps what follows. An empty delta is legal everywhere, while a delta less would be a chunk less,
and the sizes and silences of the tape belong to chunks. Why by place and `index`: two answers, or two calls, that come
in turns are two texts, and joined they would hide what each says, and say what neither does.

Which lists are one text? In `content[3].top_logprobs[0].token` the text runs over the first index, in
`candidates[0].content.parts[2].text` over the second, in `content[3].token` of several documents over both. So all
three readings are tried, where they differ from the plain one.
"""

from __future__ import annotations

import base64
import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any, NamedTuple

from fakellm.cassette.frames import frames_of
from fakellm.secrets.edits import Edit, apply, merged
from fakellm.secrets.hunting import find

Path = tuple[str | int, ...]

_DATA = re.compile(rb"(?m)^[ \t]*data:[ \t]?([^\r\n]+)")
_LINE = re.compile(rb"(?m)^[ \t]*(\{[^\r\n]*\}|\[[^\r\n]*\])[ \t]*\r?$")
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')
_GAP = re.compile(r"[\s,]*")
_COLON = re.compile(rb'[ \t]*:[ \t]*"')
_DECODER = json.JSONDecoder()
_INDICES = ("index", "output_index", "content_index", "summary_index", "item_id", "type")
_KEY = "\0key"
"""What the way to a key of a mapping ends with, before the key."""
_BYTE = 256


class _Document(NamedTuple):
    """Where a document is, and what it says; `inner` is where it is in base64 in a document around it."""

    start: int
    end: int
    text: bytes
    inner: bool = False


class _Leaf(NamedTuple):
    """A string of a document, or bytes: its number, the document, the way to it (None: it is no JSON), its bytes."""

    number: int
    document: int
    path: Path | None
    text: bytes
    are_integers: bool = False


_Key = tuple[tuple[object, ...], Path]


def find_in_deltas(body: bytes, values: Mapping[bytes, str], *, is_answer: bool = True) -> list[Edit]:
    """Return what to replace of the secrets that lie over several strings of a stream or a list."""
    documents = _documents(body)
    changes: dict[int, dict[Path | None, tuple[bytes, str]]] = {}
    for leaves, may_end in _texts(documents):
        edits = find(b"".join(leaf.text for leaf in leaves), values, is_answer=is_answer)
        for leaf, text, kind in _changed(leaves, edits, may_end=may_end):
            changes.setdefault(leaf.document, {}).setdefault(leaf.path, (text, kind))
    return merged([edit for number, texts in changes.items() for edit in _rewritten(documents[number], texts)])


# ---- Documents ------------------------------------------------------------------------------------------------------


def _documents(body: bytes) -> list[_Document]:
    """Return the documents of a body."""
    if frames := frames_of(body):
        return [_unwrapped(body, *payload) for _, payload in frames]
    for regex in (_DATA, _LINE) if b"\n" in body else ():  # several begin at several lines
        found = [match.span(1) for match in regex.finditer(body)]
        if len(found) > 1:
            return [_Document(start, end, body[start:end]) for start, end in found]
    if body[:1] == b"[" and len(items := _items(body)) > 1:
        return [_Document(start, end, body[start:end]) for start, end in items]
    return [_Document(0, len(body), body)] if body.lstrip()[:1] in (b"{", b"[") else []


_WRAPPED = re.compile(rb'"bytes"\s*:\s*"([A-Za-z0-9+/]+={0,2})"')


def _unwrapped(body: bytes, start: int, end: int) -> _Document:
    """Return the document of a frame: Bedrock's `InvokeModelWithResponseStream` has it in base64 in another one."""
    if wrapped := _WRAPPED.search(body, start, end):
        try:
            return _Document(*wrapped.span(1), base64.b64decode(wrapped[1]), inner=True)
        except ValueError:
            pass
    return _Document(start, end, body[start:end])


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


# ---- Texts ----------------------------------------------------------------------------------------------------------


def _texts(documents: list[_Document]) -> Iterator[tuple[list[_Leaf], bool]]:
    """Yield strings that are one text, and whether it ends where the stream does."""
    groups: dict[_Key, list[_Leaf]] = {}
    number = 0
    alike = _Alike()
    for place, document in enumerate(documents):
        for key, path, text, are_integers in alike.leaves(document.text):
            groups.setdefault(key, []).append(_Leaf(number, place, path, text, are_integers))
            number += 1
    is_stream = len(documents) > 1
    for leaves in groups.values():
        if _is_text(leaves):
            yield leaves, is_stream
    for leaves in _over_lists(groups):
        if _is_text(leaves):
            yield leaves, False


def _is_text(leaves: list[_Leaf]) -> bool:
    """Tell whether pieces can hold what none of them does: several, that are not one constant over and over."""
    return leaves[0].are_integers or any(leaf.text != leaves[0].text for leaf in leaves)


def _over_lists(groups: Mapping[_Key, list[_Leaf]]) -> Iterator[list[_Leaf]]:
    """Yield the pieces of texts that run over the items of lists."""
    wider: dict[_Key, list[_Key]] = {}
    for key in groups:
        for path in _readings(key[1]):
            wider.setdefault((key[0], path), []).append(key)
    done: set[tuple[_Key, ...]] = set()
    for keys in map(tuple, wider.values()):
        if len(keys) > 1 and keys not in done:
            done.add(keys)
            yield sorted(leaf for key in keys for leaf in groups[key])


def _readings(path: Path) -> Iterator[Path]:
    """Yield a way with the indices of lists left out: all, all but the last, only the last."""
    places = [place for place, part in enumerate(path) if isinstance(part, int)]
    if len(places) == 1:  # nearly always: the messages of a conversation, the choices of a chunk
        place = places[0]
        yield (*path[:place], *path[place + 1 :], f"\0({place},)")
        return
    for left_out in dict.fromkeys((tuple(places), tuple(places[:-1]), tuple(places[-1:]))):
        if left_out:
            marker = f"\0{left_out}"
            yield (*(part for place, part in enumerate(path) if place not in left_out), marker)


_Found = tuple[_Key, Path | None, bytes, bool]


# Nearly every document of a stream is the one before it but for a string, the token. To read each would be most of the
# time of a check. So the bytes before and after the string that changed last are kept. A document between those whose
# string is plain, without a quote, an escape or a sign that JSON forbids, says the same but for that string: without
# escapes each quote ends or begins a string, and a key that occurs once, with a quote after its colon, has a string.

_NOT_PLAIN = re.compile(rb"[\x00-\x1f\"\\]")


class _Alike:
    """Reads the documents of a stream, of which most are alike."""

    def __init__(self) -> None:
        self._last: list[_Found] = []
        self._number = 0
        self._head = self._tail = b""

    def leaves(self, document: bytes) -> list[_Found]:
        """Return the strings of the next document."""
        head, tail = self._head, self._tail
        if head and len(document) >= len(head) + len(tail) and document.startswith(head) and document.endswith(tail):
            text = document[len(head) : len(document) - len(tail)]
            if not _NOT_PLAIN.search(text) and _is_utf8(text):
                key, path, *_ = self._last[self._number]
                found = [*self._last]
                found[self._number] = key, path, text, False
                return found
        found = _leaves(document)
        self._learn(document, found)
        return found

    def _learn(self, document: bytes, found: list[_Found]) -> None:
        """Note what is around the string in which a document differs from the one that was read before."""
        last, self._last, self._head = self._last, found, b""
        if len(last) != len(found) or b"\\" in document:
            return
        changed = [number for number, pair in enumerate(zip(last, found, strict=True)) if pair[0] != pair[1]]
        if len(changed) != 1 or last[changed[0]][:2] != found[changed[0]][:2]:
            return
        _, path, text, are_integers = found[changed[0]]
        if not path or not isinstance(path[-1], str) or are_integers or _KEY in path:
            return
        name = b'"' + path[-1].encode("utf-8", "surrogatepass") + b'"'
        head, _, rest = document.partition(name)
        colon = _COLON.match(rest)
        if name in rest or not colon or not rest.startswith(text + b'"', colon.end()):
            return
        self._number = changed[0]
        self._head, self._tail = head + name + colon[0], rest[colon.end() + len(text) :]


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _leaves(document: bytes) -> list[_Found]:
    """Return the strings of a document, each with what it has in common with those that continue it."""
    found: list[_Found] = []
    try:
        _gather(_DECODER.decode(document.decode()), (), (), found)
    except (ValueError, RecursionError):
        found = [(((), ()), None, document, False)]
    return found


def _gather(value: Any, path: Path, key: tuple[object, ...], found: list[_Found]) -> None:
    """Add the strings of a value; a list, since generators in generators would take most of the time of a check."""
    if isinstance(value, str):
        found.append(((key, path), path, value.encode("utf-8", "surrogatepass"), False))
    elif isinstance(value, dict):
        _gather_fields(value, path, key, found)
    elif isinstance(value, list):
        if value and isinstance(value[0], (int, float)):
            if _are_bytes(value):
                found.append(((key, path), path, bytes(value), True))
            return
        for index, inner in enumerate(value):
            _gather(inner, (*path, index), key, found)


def _gather_fields(value: dict[str, Any], path: Path, key: tuple[object, ...], found: list[_Found]) -> None:
    if not value.keys().isdisjoint(_INDICES) and (
        marks := [value[name] for name in _INDICES if name in value and isinstance(value[name], (str, int))]
    ):
        key = (*key, *marks)
    for name, inner in value.items():
        if name == "top_logprobs" and isinstance(value.get("tokens"), list):
            found += _tokens_of_keys(value["tokens"], inner, (*path, name), key)
        elif isinstance(inner, str):
            if name not in _INDICES:
                way = (*path, name)
                found.append(((key, way), way, inner.encode("utf-8", "surrogatepass"), False))
        elif isinstance(inner, (dict, list)) and name not in _INDICES:
            _gather(inner, (*path, name), key, found)


def _are_bytes(value: list[Any]) -> bool:
    return all(type(item) is int and 0 <= item < _BYTE for item in value)


def _tokens_of_keys(tokens: list[Any], values: Any, path: Path, key: tuple[object, ...]) -> Iterator[_Found]:
    """Yield the tokens that legacy completions have as keys: `{"top_logprobs": [{"Hel": -0.1, "Hi": -2.3}]}`."""
    for index, (token, likely) in enumerate(zip(tokens, values, strict=False)) if isinstance(values, list) else ():
        if isinstance(token, str) and isinstance(likely, dict) and token in likely:
            way = (*path, index, _KEY)
            yield (key, way), (*way, token), token.encode("utf-8", "surrogatepass"), False


# ---- Edits ----------------------------------------------------------------------------------------------------------


def _changed(leaves: list[_Leaf], edits: Iterable[Edit], *, may_end: bool) -> Iterator[tuple[_Leaf, bytes, str]]:
    """Yield the strings that a secret lies over together with others, with their new text and the kind."""
    starts = list(accumulate((len(leaf.text) for leaf in leaves), initial=0))
    inner: dict[int, list[Edit]] = {}
    for edit in edits:
        first, last = bisect_right(starts, edit.start) - 1, bisect_right(starts, edit.end - 1) - 1
        is_cut = may_end and edit.end == starts[-1]  # what the end of the stream cut off is found nowhere else
        if first == last and not (is_cut or leaves[first].are_integers):
            continue
        for index in range(first, last + 1):
            start, end = max(edit.start, starts[index]), min(edit.end, starts[index + 1])
            new = edit.new if index == first else b""
            inner.setdefault(index, []).append(Edit(start - starts[index], end - starts[index], new, edit.kind))
    for index, parts in inner.items():
        yield leaves[index], apply(leaves[index].text, parts), f"{parts[0].kind} over several deltas"


def _rewritten(document: _Document, texts: Mapping[Path | None, tuple[bytes, str]]) -> Iterator[Edit]:
    """Yield the edits of a document that give some of its strings another text."""
    start, end, text, is_inner = document
    edits = list(_literals(text, texts))
    if is_inner:
        yield Edit(start, end, base64.b64encode(apply(text, merged(edits))), edits[0].kind)
    else:
        yield from (edit._replace(start=start + edit.start, end=start + edit.end) for edit in edits)


def _literals(document: bytes, texts: Mapping[Path | None, tuple[bytes, str]]) -> Iterator[Edit]:
    spans = _spans(document) if None not in texts else {}
    for path, (text, kind) in texts.items():
        first, last = spans[path] if path is not None else (0, len(document))
        if path is None:
            new = text
        elif document[first : first + 1] == b"[":
            new = json.dumps(list(text)).encode()
        else:
            ascii_only = document[first:last].isascii()
            literal = json.dumps(text.decode("utf-8", "surrogatepass"), ensure_ascii=ascii_only)
            new = literal.encode("utf-8", "surrogatepass")
        yield _narrow(document, Edit(first, last, new, kind))


def _spans(document: bytes) -> dict[Path, tuple[int, int]]:
    """Return where the strings, keys and lists of a JSON document are, by the way to each."""
    spans: dict[Path, tuple[int, int]] = {}
    path: list[str | int | None] = []
    begins: list[int] = []
    for token in _TOKEN.finditer(document):
        mark = token[0][:1]
        if mark in b"{[":
            begins.append(token.start())
            path.append(0 if mark == b"[" else None)
        elif mark in b"}]":
            path.pop()
            spans[tuple(part for part in path if part is not None)] = (begins.pop(), token.end())
        elif mark == b"," and path:
            at = path[-1]
            path[-1] = at + 1 if isinstance(at, int) else None
        elif mark == b'"' and path and path[-1] is None:
            name = json.loads(token[0].decode())
            spans[(*(part for part in path if part is not None), _KEY, name)] = token.span()
            path[-1] = name
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
