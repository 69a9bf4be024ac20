"""A session that is recorded from outside of the program that asks, and its way onto a tape.

Nothing is looked at while an answer streams. To find the secrets of a request takes time that grows with its prompt,
and between the bytes of an answer it would be seen; so they are looked for once all is over. That has another use: a
credential that only a later request shows is known when the earlier ones are written.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from vcr.request import Request

from fakellm.cassette.document import CassetteError
from fakellm.cassette.files import Files
from fakellm.cassette.keeping import Recorded, record_anew
from fakellm.cassette.matching import MATCH_ON, differences, key_of
from fakellm.cassette.pairs import Pair
from fakellm.cassette.place import check_place
from fakellm.cassette.recorder import End, Head, Now, Recording
from fakellm.cassette.redaction import Redactor


class Asked:
    """A request that went out. `begin` is given the head of its answer; before that there is no `recording`."""

    def __init__(self, request: Request, now: Now) -> None:
        self.request = request
        self.recording: Recording | None = None
        self.is_interrupted = False
        self._now = now

    def begin(self, head: Head) -> Recording:
        """Return what takes the body of the answer."""
        accepts = str(self.request.headers.get("accept-encoding", ""))
        self.recording = Recording(head, _nothing, accepts, self._now, self.request.method)
        return self.recording

    @property
    def end(self) -> End | None:
        """How the answer ended; None while it has not, or where none came."""
        return self.recording.end if self.recording is not None else None


class Session:
    """What is recorded on the tape at `path`: each answer that came, in the order of the requests.

    Raises `CassetteError` where it could not be saved, before anything is asked that costs money.
    """

    def __init__(self, path: str | Path, *, redactor: Redactor | None = None, now: Now = time.perf_counter) -> None:
        self.path = Path(path)
        self._place = self.path.absolute()
        self._files = Files(key_of(MATCH_ON), name=str(path))
        check_place(self._place, str(path))
        self._files.check(self._place)
        self._redactor = redactor or Redactor()
        self._now = now
        self._asked: list[Asked] = []
        self._redacted: list[Pair] | None = None

    def ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Asked:
        """Note a request that goes out."""
        asked = Asked(Request(method, url, body, dict(headers)), self._now)
        self._asked.append(asked)
        return asked

    def interrupt(self) -> None:
        """Take that somebody wants an end: an answer that is broken off from now on may be so for that alone."""
        for asked in self._asked:
            asked.is_interrupted = asked.end is None

    def drop_interrupted(self) -> int:
        """Forget the answers that were broken off since; return how many."""
        left = [asked for asked in self._asked if not (asked.is_interrupted and asked.end == "cancelled")]
        dropped = len(self._asked) - len(left)
        self._asked = left
        return dropped

    @property
    def ends(self) -> list[End]:
        """How the answers ended that came."""
        return [asked.end for asked in self._asked if asked.end is not None]

    @property
    def redacted(self) -> dict[tuple[str, str], int]:
        """How many values of which kind were replaced where; known once it is saved."""
        return {name: count for name, count in self._redactor.counts.items() if count}

    def save(self, *, drop: bool = False) -> None:
        """Write the tape, in the place of what it had of the same requests; with `drop` it keeps nothing else.

        Raises `CassetteError` if it cannot be written; it is then as it was.
        """
        if pairs := self._pairs():
            record_anew(self._files, self._place, Recorded(pairs), _is_same, drop=drop)

    def rescue(self) -> Path | None:
        """Write what was recorded into a temporary folder, since its own cannot be written; return where it is."""
        try:
            folder = tempfile.mkdtemp(prefix="fakellm-")
        except OSError:
            return None
        path = Path(folder) / self.path.name
        try:
            record_anew(Files(), path, Recorded(self._pairs()), _is_same, drop=True)
        except CassetteError:
            shutil.rmtree(folder, ignore_errors=True)
            return None
        return path

    def _pairs(self) -> list[Pair]:
        """Return the requests with their answers, without secrets."""
        if self._redacted is None:
            answered = [(a.request, a.recording) for a in self._asked if a.recording is not None and a.end is not None]
            for request, _ in answered:
                self._redactor.learn(request)
            self._redacted = [self._redactor.interaction(request, one.response) for request, one in answered]
        return self._redacted


def _is_same(sent: Request, recorded: Request) -> bool:
    return not differences(recorded, sent)


def _nothing(recording: Recording) -> None:
    pass
