"""Keeps tapes in files: vcrpy's persister, with writes that are whole or not at all, and parallel workers.

A save takes the tape's lock, reads what the file holds by now, adds what other workers recorded since this one loaded
it, and puts a new file in the old one's place. What is kept is what there would be if the workers had run one after
the other: a worker that sends a request which another has recorded meanwhile would have found it on the tape. So of
each request there are as often as the one that sent it most often: two workers that ran the same test do not double
it, and two equal requests of one worker stay two. Which requests are the same, `key` says; by default those with the
same method, URL and body, as JSON where it is some. What this worker took off, by recording it anew, stays off.

A process that is killed leaves the old file or the new one. The kernel lets go of its lock, and the next writer
removes its temporary file: who has the lock is the only one that writes beside the tape.

Why in this order: the new file reaches the disk before it gets the tape's name, and the folder after that. A name
that points to a file whose bytes were not written yet is an empty tape after a crash of the machine, which would be
recorded anew, by requests that cost money. A tape that would not change is not written: a run that plays leaves no
trace in the repository.
"""

from __future__ import annotations

import codecs
import gzip
import json
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from vcr.persisters.filesystem import CassetteNotFoundError
from vcr.request import Request

from fakellm.cassette.dialects import Tape, read_tape, unsupported
from fakellm.cassette.document import RESTORE, CassetteError
from fakellm.cassette.format import JSON, YAML, body_bytes
from fakellm.cassette.indexed import Unread, large_tape
from fakellm.cassette.locking import lock
from fakellm.cassette.matching import body_of
from fakellm.cassette.pairs import Pair
from fakellm.cassette.place import check_file
from fakellm.cassette.place import failed as _failed
from fakellm.cassette.stored import Stored
from fakellm.script.disk import beside, write_atomically


def same_request(request: Request) -> Hashable:
    """Return what two requests have in common that are the same: method, URL and body."""
    body = body_of(request)
    return request.method, request.uri, body if isinstance(body, bytes) else json.dumps(body, sort_keys=True)


@dataclass(frozen=True)
class _Loaded:
    """The file that was loaded, which is another one once it was replaced, and what its interactions are known by."""

    file: tuple[int, ...] = ()
    interactions: tuple[Hashable, ...] = ()


class Files:
    """A persister for one cassette: `vcr.register_persister(Files())`. `.json` is JSON, any other suffix YAML.

    `.gz` after that compresses the file. `key` says which requests are the same; `patience` is how many seconds a save
    waits for other writers, `name` what errors call the file, by default its path. Of a tape of ours that has `large`
    bytes or more the responses are read when they are looked at; such a tape is not saved again. With `redact` requests
    are `Stored`, to be redacted so.
    """

    def __init__(
        self,
        key: Callable[[Request], Hashable] = same_request,
        *,
        patience: float = 60,
        name: str = "",
        large: int | None = None,
        redact: Callable[[Request], Request] | None = None,
    ) -> None:
        self._key = key
        self._patience = patience
        self._name = name
        self._large = large
        self._redact = redact
        self._loaded: dict[Path, _Loaded] = {}

    def load_cassette(self, cassette_path: str | Path, serializer: object = None) -> tuple[Any, ...]:  # noqa: ARG002
        """Return requests and responses, and metadata if the tape has any.

        Raises `CassetteNotFoundError` for no file or an empty one, which vcrpy records, and `CassetteError`.
        """
        path, name = _real(cassette_path), self._name or str(cassette_path)
        self._loaded.pop(path, None)
        check_file(path, name)
        tape = None if self._large is None else large_tape(path, name, self._large)
        if tape is None:
            data, file = _bytes(path, name)
            tape = parsed(data, name)
            if tape is None:
                raise CassetteNotFoundError(name)
            if tape.dialect == "vcrpy":
                self._loaded[path] = _Loaded(file, tuple(map(_identity, tape.pairs)))
        requests = [self._as_wanted(request) for request in tape.requests]
        return (requests, tape.responses, tape.metadata) if tape.metadata else (requests, tape.responses)

    def _as_wanted(self, request: Request | Unread) -> Request | Stored:
        """Return a request as it is on the tape, or what redacts it when somebody looks."""
        read: Any = request if isinstance(request, Unread) else lambda: request
        return read() if self._redact is None else Stored(read, self._redact)

    def save_cassette(
        self,
        cassette_path: str | Path,
        cassette_dict: Mapping[str, Any],
        serializer: object = None,  # noqa: ARG002
    ) -> None:
        """Write the tape, with what others have recorded on it meanwhile.

        Raises `CassetteError` for a tape that is broken by now, or of another tool; that is never written over.
        """
        path, name = _real(cassette_path), self._name or str(cassette_path)
        pairs = list(zip(cassette_dict["requests"], cassette_dict["responses"], strict=True))
        metadata = cassette_dict.get("metadata") or {}
        _make_folder(path.parent, name)
        with lock(path.with_name(f"{beside(path)}.lock"), self._patience, name):
            _remove_litter(path)
            (data, file), loaded = _bytes(path, name), self._loaded.get(path, _Loaded())
            if file != loaded.file and (there := parsed(data, name)):
                if there.dialect != "vcrpy":
                    raise unsupported(there, name)
                pairs = self._merged(pairs, there.pairs, loaded)
                metadata = {**(there.metadata or {}), **metadata}
            written = as_file(path, pairs, metadata)
            if written != data:
                _write(path, written)

    def check(self, cassette_path: str | Path) -> None:
        """Raise `CassetteError` for a tape that could not be changed: one that is broken, or of another tool."""
        path, name = _real(cassette_path), self._name or str(cassette_path)
        there = parsed(_bytes(path, name)[0], name)
        if there is not None and there.dialect != "vcrpy":
            raise unsupported(there, name)

    def change(
        self, cassette_path: str | Path, change: Callable[[list[Pair]], list[Pair]], metadata: Any = None
    ) -> None:
        """Write what `change` makes of the interactions that the tape holds by now; nobody writes meanwhile.

        Raises `CassetteError` as `save_cassette` does.
        """
        path, name = _real(cassette_path), self._name or str(cassette_path)
        _make_folder(path.parent, name)
        with lock(path.with_name(f"{beside(path)}.lock"), self._patience, name):
            _remove_litter(path)
            data, _ = _bytes(path, name)
            there = parsed(data, name)
            if there is not None and there.dialect != "vcrpy":
                raise unsupported(there, name)
            pairs = change(there.pairs if there else [])
            written = as_file(path, pairs, {**((there and there.metadata) or {}), **metadata})
            if written != data:
                _write(path, written)

    def merged(self, mine: list[Pair], there: list[Pair], base: Iterable[str]) -> list[Pair]:
        """Return ours with what others added to the tape since it was as `base`, which are identities."""
        if list(base) == list(map(identity, there)):
            return mine
        return self._merged(mine, there, _Loaded((), tuple(base)), identity)

    def _merged(
        self, mine: list[Pair], there: list[Pair], loaded: _Loaded, identify: Callable[[Pair], Hashable] | None = None
    ) -> list[Pair]:
        """Return what was loaded and is still ours, what others added, and what we have of a request beyond theirs."""
        identify = identify or _identity
        known = Counter(loaded.interactions)
        added = [pair for pair in there if not _took(known, identify(pair))]
        left = Counter(loaded.interactions)
        is_old = [_took(left, identify(pair)) for pair in mine]
        old = [pair for pair, was_loaded in zip(mine, is_old, strict=True) if was_loaded]
        new = [pair for pair, was_loaded in zip(mine, is_old, strict=True) if not was_loaded]
        theirs = Counter(self._key(request) for request, _ in added)
        return old + added + [pair for pair in new if not _took(theirs, self._key(pair[0]))]


def _took(counter: Counter[Hashable], key: Hashable) -> bool:
    """Take one of these, if there is one."""
    counter[key] -= 1
    return counter[key] >= 0


def _identity(pair: Pair) -> Hashable:
    """Return what tells an interaction from others that are not alike."""
    request, response = pair
    stream = response.get("stream") or {}
    body = response["body"]["string"]
    return (
        *(request.method, request.uri, _hashable(request.headers), body_bytes(request.body)),
        *(response["status"]["code"], _hashable(response["headers"]), body_bytes(body)),
        *(tuple(stream.get("sizes", ())), stream.get("end"), stream.get("error")),
    )


def identity(pair: Pair) -> str:
    """Return the same as a text that another process can be told."""
    return sha256(repr(_identity(pair)).encode()).hexdigest()


def digest(request: Request) -> str:
    """Return what a request that is on a tape is known by, as a short text."""
    return sha256(repr(same_request(request)).encode()).hexdigest()[:16]


def _hashable(headers: Mapping[str, Any]) -> Hashable:
    return tuple(sorted((name.lower(), repr(values)) for name, values in headers.items()))


def as_file(path: Path, pairs: list[Pair], metadata: Mapping[str, Any]) -> bytes:
    """Return the bytes of a tape, in the form that its name ends with. Raises `CassetteError` for what is none."""
    interactions = [{"request": request._to_dict(), "response": response} for request, response in pairs]  # noqa: SLF001
    serializer = JSON if path.name.endswith((".json", ".json.gz")) else YAML
    data = serializer.serialize({"interactions": interactions, "metadata": metadata}).encode()
    return gzip.compress(data, mtime=0) if path.suffix == ".gz" else data


def _real(path: str | Path) -> Path:
    """Return the file that a path means, so that a link stays a link."""
    return Path(os.path.realpath(path))


def _bytes(path: Path, name: str) -> tuple[bytes, tuple[int, ...]]:
    """Return what a file holds, and what it is told from others by; nothing of no file."""
    check_file(path, name)
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            return file.read(), (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    except FileNotFoundError:
        return b"", ()
    except OSError as error:
        raise _failed(f"{name}: the tape cannot be read: {error.strerror}", "name a file that can be read") from error


def parsed(data: bytes, name: str) -> Tape | None:
    """Return the tape of a file; None for an empty one. Raises `CassetteError`."""
    if not data or data.isspace():
        return None
    data = _unzipped(data, name).removeprefix(codecs.BOM_UTF8)
    try:
        return read_tape(data, name)
    except CassetteError:
        _check_encoding(data, name)
        raise


def _unzipped(data: bytes, name: str) -> bytes:
    """Return what is in a file that is compressed as a whole, as LangChain's are."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise _failed(f"{name}: the file is compressed, and broken: {error}", RESTORE) from None


def _check_encoding(data: bytes, name: str) -> None:
    """Raise `CassetteError` for bytes that are not UTF-8, which is why they cannot be read."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        headline = f"{name}, line {line}: byte {error.start} is not UTF-8; cassettes are"
        raise _failed(headline, "save it as UTF-8, or delete it and record it again") from None


def _write(path: Path, text: bytes) -> None:
    """Put the file in the place of the old one, and the folder's entry on the disk."""
    try:
        write_atomically(path, text)
        if os.name == "posix":
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        raise _failed(
            f"{path}: the tape cannot be written: {error.strerror}", "see to the folder or the disk"
        ) from error


def _make_folder(folder: Path, name: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        blocking = next((parent for parent in (folder, *folder.parents) if parent.exists()), folder)
        what = f"{blocking} is a file" if blocking.is_file() else f"{blocking}: {error.strerror}"
        headline = f"{name}: the folder of the tape cannot be made: {what}"
        raise _failed(headline, "record to another folder") from error


def _remove_litter(path: Path) -> None:
    """Remove the temporary files of writers of this tape that were killed; who has the lock is the only one alive."""
    left = re.compile(rf"{re.escape(beside(path))}\.[0-9a-f]{{8}}\.tmp")
    for entry in os.scandir(path.parent):
        if left.fullmatch(entry.name):
            Path(entry.path).unlink(missing_ok=True)
