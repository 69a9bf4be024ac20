"""Large tapes: where on them each interaction stands, and answers that are read when somebody asks for them.

A tape of ours has a layout that can be told without YAML: what is indented by less than four blanks are the lines
`- request:` and `  response:`, in turn, and what comes before and after all interactions. A body is a literal block,
whose lines are indented by more. So one pass over the file finds the slices of it that hold a request or a response.
Each request is read once, to know that it can be, and a response when it is asked for, from its slice; so is a request
that is to be compared.

Of a slice YAML reads what is around the body. The body is read block by block: with the indentation taken away, its
lines are what YAML would give, as long as there is no character in it that YAML refuses or changes, which is looked
after. To play, it is cut into its chunks on the way, so that it is in memory once.

Whatever is not laid out exactly so is read as ever: a tape as a whole, a slice by YAML. So is what turns out to be
wrong, to say it in the same words and with the same line.
"""

from __future__ import annotations

import codecs
import os
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple
from weakref import finalize

from vcr.request import Request

from fakellm.cassette.dialects import Tape, read_tape, stored_request, stored_response
from fakellm.cassette.document import HEADING, RESTORE, CassetteError, Document
from fakellm.cassette.emit import can_be_literal
from fakellm.cassette.numbers import counts
from fakellm.errors import explain
from fakellm.script.lines import Place

LARGE = 4 * 2**20
"""Bytes of a tape from which on its answers are read when they are asked for."""

_BLOCK = 2**16
_AHEAD = 32  # bytes that are looked at beyond a block, more than any pattern here is long
_MOST = 2**16  # bytes before a body; what has more is for YAML to read
_BEGIN = HEADING.encode() + b"version: 1\ninteractions:\n"
_OUTER = re.compile(rb"\n(?!    |\n)[^\n]{0,11}\n?")  # the line of a request or a response, and what is none of these
_HEAD = re.compile(rb"\A  response:\n(?:(?!    body:).*\n)*+    body:\n      string:( \|(2?)([-+]?))(?=\n)")
_ASKED = re.compile(rb"\n    body:( \|(2?)([-+]?))(?=\n)")
_ENDS = {indent: re.compile(rb"\n(?!\n|%b)" % (b" " * indent)) for indent in (6, 8)}
_STREAM: Place = ("interactions", 0, "response", "stream")


def large_tape(path: Path, name: str, least: int) -> Tape | None:
    """Return a tape of at least so many bytes whose responses are read when they are looked at; else None.

    None, too, for one that is not laid out as ours are, or that something is wrong with: that is to be read whole.
    """
    try:
        file = _File(path, name)
    except OSError:
        return None
    if file.size < max(least, 1) or (found := _indexed(file)) is None:
        return None
    marks, tail = found
    try:
        rest = read_tape(b"%binteractions: []\n%b" % (_BEGIN.removesuffix(b"interactions:\n"), tail), name)
        requests = list(_requests(file, marks))
    except CassetteError:
        return None
    if rest.dialect != "vcrpy":
        return None
    slices = zip(marks[1::2], [*marks[2::2], file.size - len(tail)], strict=True)
    return Tape("vcrpy", requests, [Later(file, at, *part) for at, part in enumerate(slices)], rest.metadata)  # type: ignore[misc]


class _File:
    """A file that stays the one that was opened, whatever gets its name; it is closed when nobody has it any more."""

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        file = path.open("rb", buffering=0)
        finalize(self, file.close)
        self._file = file
        self._lock = Lock()
        self._state = self._now()
        self.size = self._state[0]
        self.last: tuple[int, dict[str, Any]] | None = None

    def _now(self) -> tuple[int, int]:
        found = os.fstat(self._file.fileno())
        return found.st_size, found.st_mtime_ns

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes from one place to another. Raises `CassetteError` if somebody has written to the file."""
        parts = []
        while start < end and (part := self._at(start, end - start)):
            parts.append(part)
            start += len(part)
        if self._now() != self._state:
            headline = f"{self.name}: the tape was changed while it was in use"
            raise CassetteError(explain(headline, remedy=["let nobody write to it meanwhile, and run it again"]))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _at(self, start: int, most: int) -> bytes:
        if hasattr(os, "pread"):  # a process that was forked has the place in the file in common with this one
            return os.pread(self._file.fileno(), most, start)
        with self._lock:
            self._file.seek(start)
            return self._file.read(most)

    def found(self, pattern: re.Pattern[bytes], start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Yield where a pattern matches between two places, and what; it needs no more than `_AHEAD` bytes."""
        for at in range(start, end, _BLOCK):
            block = self.read(at, min(at + _BLOCK + _AHEAD, end))
            for match in pattern.finditer(block):
                if match.start() >= _BLOCK:
                    break
                yield at + match.start(), match[0]

    def lines(self, at: int) -> int:
        """Return how many lines end before a place."""
        return sum(self.read(start, min(start + _BLOCK, at)).count(b"\n") for start in range(0, at, _BLOCK))


def _indexed(file: _File) -> tuple[list[int], bytes] | None:
    """Return where requests and responses begin, in turn, and what comes after the last of them."""
    if file.read(0, len(_BEGIN)) != _BEGIN:
        return None
    marks: list[int] = []
    for at, line in file.found(_OUTER, len(_BEGIN) - 1, file.size):
        is_request = len(marks) % 2 == 0
        if line == (b"\n- request:\n" if is_request else b"\n  response:\n"):
            marks.append(at + 1)
        elif marks and is_request and line[1:2] not in b" ":
            tail = file.read(at + 1, file.size)
            return (marks, tail) if (b"\n" + tail).endswith(b"\n...\n") else None
        else:
            break
    return None


class Unread(NamedTuple):
    """A recorded request that is read from its tape when it is called."""

    file: _File
    start: int
    end: int

    def __call__(self) -> Request:
        """Return the request. Raises `CassetteError`."""
        text, body = _apart(self.file.read(self.start, self.end))
        document = Document(b"interactions:\n" + text, self.file.name)
        if body is not None:
            document.data["interactions"][0]["request"]["body"] = body
        return stored_request(document, 0)


def _requests(file: _File, marks: list[int]) -> Iterator[Any]:
    """Yield what reads each request. Raises `CassetteError` for one that cannot be read."""
    for start, end in zip(marks[::2], marks[1::2], strict=True):
        (unread := Unread(file, start, end))()
        yield unread


def _apart(text: bytes) -> tuple[bytes, bytes | None]:
    """Return a request with nothing for its body, and its body; as it is, and None, if that is for YAML to read."""
    head = _ASKED.search(text)
    if head is None or (end := _ENDS[6].search(text, head.end())) is None:
        return text, None
    body = _Literal(head[2], head[3], 6)
    try:
        found = b"".join(body.lines([text[head.end() : end.start()]]))
    except ValueError:
        return text, None
    return b"%b ''%b" % (text[: head.start(1)], text[end.start() :]), found


class _Literal:
    """A literal block: what it says of its indentation and of its end, and its lines without their indentation."""

    def __init__(self, hint: bytes, chomp: bytes, indent: int) -> None:
        self._is_hinted = bool(hint)
        self._chomp = chomp
        self._mark = b"\n" + b" " * indent

    def lines(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the text, in pieces, of a block from the line end before it to the one at its end, without that.

        Raises `ValueError` for what YAML would read otherwise, or refuse.
        """
        check, carried, is_first, last = _Checked(), b"", True, b""
        for block in blocks:
            joined = carried + block if carried else block
            cut = joined.rfind(b"\n", max(len(joined) - len(self._mark), 0))
            carried = b"" if cut < 0 else joined[cut:]
            piece = joined if cut < 0 else joined[:cut]
            if is_first and piece:
                self._check_first(piece)
            yield from check.passed(self._plain(piece, is_first=is_first))
            is_first, last = is_first and not piece, block
        if is_first and carried:
            self._check_first(carried)
        yield from check.passed(self._plain(carried, is_first=is_first))
        if not last or (last.endswith(b"\n") and self._chomp != b"+"):
            msg = "line ends that do not count"
            raise ValueError(msg)
        if self._chomp != b"-":
            yield b"\n"
        check.end()

    def _plain(self, piece: bytes, *, is_first: bool) -> bytes:
        plain = piece.replace(self._mark, b"\n")
        return plain[1:] if is_first else plain

    def _check_first(self, piece: bytes) -> None:
        after = piece[len(self._mark) :][:1]
        if not self._is_hinted and (not piece.startswith(self._mark) or after in b" \n\t"):
            msg = "the first line says how far the others are indented"
            raise ValueError(msg)


class _Checked:
    """Looks in a text, which comes in pieces, for characters that no literal block can hold."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._is_within = False

    def passed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the piece, unless there is nothing of it. Raises `ValueError`."""
        is_plain = piece.isascii() and not self._is_within
        if not can_be_literal(piece if is_plain else self._decoder.decode(piece).encode()):
            msg = "characters that are not literal"
            raise ValueError(msg)
        self._is_within = not is_plain and bool(self._decoder.getstate()[0])
        if piece:
            yield piece

    def end(self) -> None:
        """Raise `ValueError` for half a character."""
        self._decoder.decode(b"", final=True)


class Later(Mapping[str, Any]):
    """A recorded response that is read from its tape when it is looked at, and the last one only is kept."""

    def __init__(self, file: _File, at: int, start: int, end: int) -> None:
        self._file = file
        self._at = at
        self._start = start
        self._end = end

    def __deepcopy__(self, _: object) -> Later:
        return self

    def __getitem__(self, key: str) -> Any:
        return self.whole()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.whole())

    def __len__(self) -> int:
        return len(self.whole())

    def whole(self) -> dict[str, Any]:
        """Return the response as vcrpy keeps it. Raises `CassetteError`."""
        last = self._file.last
        if last is None or last[0] != self._at:
            self._file.last = None
            self._file.last = last = self._at, self._read()
        return last[1]

    def played(self) -> dict[str, Any]:
        """Return the response as `whole` does; if it was a stream, then with its body cut into its `chunks`."""
        try:
            return self._cut() or self._read()
        except (CassetteError, ValueError, LookupError, TypeError, OverflowError):
            return self._read()

    def _read(self) -> dict[str, Any]:
        try:
            document, body = self._around()
            document.data["interactions"][0]["response"]["body"]["string"] = b"".join(body)
            return stored_response(document, 0)
        except (CassetteError, ValueError, LookupError, TypeError):
            return self._as_yaml()

    def _around(self) -> tuple[Document, Iterator[bytes]]:
        """Return the response with nothing for its body, and the pieces of that. Raises `ValueError`, see `lines`."""
        file = self._file
        head = _HEAD.match(file.read(self._start, min(self._start + _MOST, self._end)))
        if head is None:
            msg = "the body is no literal block"
            raise ValueError(msg)
        start = self._start + head.end()
        end = next(at for at, _ in file.found(_ENDS[8], start, self._end))
        text = b"interactions:\n- %b ''%b" % (head[0][2 : head.start(1)], file.read(end, self._end))
        places = range(start, end, _BLOCK)
        blocks = (file.read(at, min(at + _BLOCK, end)) for at in places)
        return Document(text, file.name), _Literal(head[2], head[3], 8).lines(blocks)

    def _cut(self) -> Played | None:
        """Return the response in its chunks; None if it was no stream."""
        document, body = self._around()
        stream = document.data["interactions"][0]["response"].pop("stream", None)
        response = stored_response(document, 0)
        if stream is None:
            return None
        document.data["interactions"][0]["response"]["stream"] = stream
        claimed = counts(str(stream.get("sizes")))
        if claimed is None:
            return None
        checked = document.stream(_STREAM, sum(claimed))  # whether the body has as many shows when it is cut
        sizes = array("I", checked.pop("sizes"))
        del document, stream, claimed
        return Played({**response, "stream": checked}, list(_chunks(body, sizes)))

    def _as_yaml(self) -> dict[str, Any]:
        """Return what YAML reads. Raises `CassetteError` as if the tape was read whole."""
        text = b"interactions:\n- " + self._file.read(self._start, self._end)[2:]
        try:
            return stored_response(Document(text, self._file.name), 0)
        except CassetteError:
            above = b"\n" * (self._file.lines(self._start) - 1)
            return stored_response(_Part(above + text, self._file.name, self._at), 0)


class Played(dict[str, Any]):
    """A streamed response without its body, of which it has the chunks."""

    def __init__(self, response: Mapping[str, Any], chunks: list[bytes]) -> None:
        super().__init__(response)
        self.chunks = chunks


class _Part(Document):
    """The only interaction of a text that is another one of its tape."""

    def __init__(self, source: bytes, name: str, at: int) -> None:
        self._at = at
        super().__init__(source, name)
        find = self._line
        self._line = lambda place: find(("interactions", 0, *place[2:]))

    def refuse(self, place: Place, problem: str, remedy: str = RESTORE) -> CassetteError:
        return super().refuse(("interactions", self._at, *place[2:]), problem, remedy)


def _chunks(pieces: Iterable[bytes], sizes: Iterable[int]) -> Iterator[bytes]:
    """Yield a text that comes in pieces in chunks of these sizes. Raises `ValueError` if they do not add up to it."""
    piece, at, more = b"", 0, iter(pieces)
    msg = "the sizes are not those of the body"
    for size in sizes:
        if at + size <= len(piece):
            yield piece[at : at + size]
            at += size
            continue
        parts = [piece[at:]]
        missing = size - len(parts[0])
        while missing:
            if not (piece := next(more, b"")):
                raise ValueError(msg)
            parts.append(piece[:missing])
            at = len(parts[-1])
            missing -= at
        yield b"".join(parts)
    if at < len(piece) or next(more, b""):
        raise ValueError(msg)
