"""What an open tape recorded, and how it gets into the file: by the record mode, and by its run of tests, if any."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from vcr.matchers import requests_match
from vcr.record_mode import RecordMode

from fakellm.cassette.document import CassetteError
from fakellm.cassette.files import Files, digest
from fakellm.cassette.indexed import LARGE
from fakellm.cassette.keeping import Held, made_anew, record_anew
from fakellm.cassette.pairs import Pair
from fakellm.cassette.place import check_file, check_place
from fakellm.cassette.run import Ended, Run
from fakellm.cassette.stored import Stored
from fakellm.errors import UnexpectedRequestError

_OF_REQUESTS = {
    *("before_record_request", "before_save_interaction", "custom_patches", "allow_playback_repeats"),
    *("ignore_hosts", "ignore_localhost", "filter_headers", "filter_query_parameters", "filter_post_data_parameters"),
}
"""Those of vcrpy's options with which it looks at no response that it has loaded."""
_OF_NONE = frozenset(("custom_patches", "allow_playback_repeats"))
"""Those with which it looks at no request that it has loaded, either."""


class Saving:
    """One use of a tape, from before vcrpy loads it until what was recorded is kept or dropped.

    `path` is where the tape is, whatever folder the app goes into meanwhile; `options` are named that vcrpy is given.
    `is_lazy` tells whether requests are redacted with `redact` when somebody looks at them.
    """

    def __init__(
        self,
        path: Path,
        mode: str,
        key: Callable[[Any], Hashable],
        run: Run | None,
        options: Iterable[str],
        redact: Callable[[Any], Any],
    ) -> None:
        self._name = str(path)
        self.path = path.absolute()
        check_file(self.path, self._name)
        self._mode = mode
        self._run = run
        staged = run.begun(self.path) if run is not None and mode == "once" else None
        self._is_begun = staged is not None or not _is_there(self.path)
        only_plays = mode == "none" or (mode == "once" and not self._is_begun)
        large = LARGE if only_plays and _OF_REQUESTS.issuperset(options) else None
        self.is_lazy = only_plays and _OF_NONE.issuperset(options)
        self._files = Files(key, name=self._name, large=large, redact=redact if self.is_lazy else None)
        self._is_checked = False
        self.persister = Held(self._files, staged)
        self.engine_mode = RecordMode("all" if self.is_anew else "new_episodes" if staged is not None else mode)
        self._cassette: Any = None
        self._loaded = 0

    @property
    def is_anew(self) -> bool:
        """Whether all is recorded, whatever is on the tape."""
        return self._mode in ("all", "rewrite")

    def check(self, *, is_sure: bool) -> None:
        """Raise `CassetteError`, once, where what is recorded could not be saved; only if it is sure to be recorded."""
        if (is_sure or self.is_anew or self._is_begun) and not self._is_checked:
            self._is_checked = True
            check_place(self.path, self._name)

    def before(self, cassette: Any, goes_out: Callable[[Any], bool], misses: list[Any]) -> None:
        """Let a request of any client go out only if its answer could be saved; vcrpy asks before that."""
        can_play = cassette.can_play_response_for

        def can_play_response_for(request: Any) -> Any:
            found = can_play(request)
            if found or not goes_out(request):
                return found
            try:
                self.check(is_sure=True)
            except CassetteError as error:
                misses.append(miss := UnexpectedRequestError(str(error)))
                del request  # pytest shows what a function that raises was called with
                raise miss from None
            return found

        cassette.can_play_response_for = can_play_response_for

    def pairs(self, cassette: Any, loaded: int, waiting: Iterable[Any]) -> list[Pair]:
        """Return the tape as it is with what was recorded so far; vcrpy has not got the requests that are `waiting`."""
        there, recorded = cassette.data[:loaded], cassette.data[loaded:]
        for sent in waiting:
            if sent.recording is not None and (filtered := cassette.filter_request(sent.request)):
                recorded.append((filtered, sent.recording.response))
        if not self.is_anew:
            return [*there, *recorded]
        return made_anew(there, recorded, partial(_is_same, cassette), drop=self._drops(cassette))

    def _drops(self, cassette: Any) -> bool:
        """Tell whether a tape that is recorded anew keeps nothing else."""
        return bool(self._mode == "rewrite" or cassette.drop_unused_requests)

    def take(self, cassette: Any, loaded: int) -> None:
        """Take from vcrpy's cassette, redacted, what is beyond what was loaded, and leave vcrpy nothing to save."""
        self._cassette, self._loaded = cassette, loaded
        if not self.is_anew:
            cassette._save()  # noqa: SLF001 - it goes to the persister
        elif cassette.dirty:
            recorded = cassette.data[loaded:]
            requests, responses = [request for request, _ in recorded], [response for _, response in recorded]
            cassette._persist({"requests": requests, "responses": responses})  # noqa: SLF001
        cassette.dirty = False

    def save(self) -> None:
        """Write what was recorded. Raises `CassetteError` if the tape cannot be written."""
        if (recorded := self.persister.recorded) is None:
            return
        if self.is_anew:
            drop, same = self._drops(self._cassette), partial(_is_same, self._cassette)
            record_anew(self._files, self.path, recorded, same, drop=drop)
        else:
            requests, responses = [request for request, _ in recorded.pairs], [answer for _, answer in recorded.pairs]
            saved = {"requests": requests, "responses": responses, "metadata": recorded.metadata}
            self._files.save_cassette(self.path, saved)

    def end(self, ended: Ended, *, always: bool) -> bool:
        """Keep what was recorded if the test has passed, or always, and tell whether it is kept."""
        is_kept = always or ended.outcome == "passed"
        recorded = self.persister.recorded if is_kept else None
        waits = self.is_anew or (self._mode == "once" and self._is_begun)
        if self._run is not None and (waits or ended.is_awaited):
            how: Any = {"same": partial(_is_same, self._cassette), "files": self._files, "at_once": always}
            self._run.end(self.path, self._mode, ended, recorded if waits else None, played=self.asked(), **how)
        if recorded is not None and not waits:
            self.save()
        return is_kept

    def asked(self) -> dict[str, int]:
        """Return how often was asked for what is on the tape now, by the digests of the requests."""
        loaded = self.persister.loaded  # as the file has them, which vcrpy's hooks may not leave as they are
        stored = tuple(request.raw if isinstance(request, Stored) else request for request in loaded)
        if len(stored) != self._loaded:
            stored = tuple(request for request, _ in self._cassette.data[: self._loaded])
        played = [request for place, request in enumerate(stored) if self._cassette.play_counts[place]]
        saved = self.persister.recorded.pairs if self.persister.recorded is not None else []
        recorded = [request for request, _ in (saved if self.is_anew else saved[self._loaded :])]
        return dict(Counter(map(digest, [*played, *recorded])))


def _is_same(cassette: Any, one: Any, other: Any) -> bool:
    return bool(requests_match(one, other, cassette._match_on))  # noqa: SLF001


def _is_there(path: Path) -> bool:
    """Tell whether there is a tape; vcrpy takes an empty file for none."""
    return path.exists() and path.stat().st_size > 0
