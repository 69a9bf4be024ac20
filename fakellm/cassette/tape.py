"""A cassette that is open: records what the app's clients get, or plays it back. vcrpy is the engine.

vcrpy holds the interactions, decides by the record mode what is played and what is recorded, runs filters, and serves
every HTTP client but httpx and httpx2, whose streams are ours: those are recorded and played chunk by chunk.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from fakellm.cassette import replay
from fakellm.cassette.files import Files
from fakellm.cassette.matching import MATCH_ON, json_matcher, nearest, url_matcher
from fakellm.cassette.recorder import Now, Recording, tee
from fakellm.cassette.redaction import Redactor
from fakellm.clock import Clock, InstantClock, RealClock, ScaledClock
from fakellm.endpoints import SERVICES, codec_of
from fakellm.errors import UnexpectedRequestError, clip, explain
from fakellm.events import Fault
from fakellm.exchange import Exchange, ProviderCall, State
from fakellm.script import Script
from fakellm.wire.profiles import OPENAI

Mode = Literal["none", "once", "new_episodes", "all"]
MODES = ("none", "once", "new_episodes", "all")
_STATES: dict[str, State] = {"complete": "complete", "cancelled": "closed", "dropped": "failed", "timeout": "failed"}


class Tape:
    """A cassette file in use.

    `mode` is vcrpy's record mode; by default `none` where the environment has `CI`, else `once`. Requests are matched
    on what `match_on` names: vcrpy's matchers, and `url` and `json`; `ignore` names fields of the body that may differ.
    `timing` is `"instant"`, `"recorded"`, a factor, or a clock to wait on. `calls` logs the requests of httpx and
    httpx2, `misses` are those that are not on the tape.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        mode: Mode | None = None,
        match_on: Sequence[str] = MATCH_ON,
        ignore: Sequence[str] = (),
        timing: str | float | Clock = "instant",
        redactor: Redactor | None = None,
        command: str = "",
        now: Now = time.perf_counter,
        **options: Any,
    ) -> None:
        self.path = Path(path)
        self.mode = mode or ("none" if os.environ.get("CI") else "once")
        if self.mode not in MODES:
            msg = f"there is no record mode {self.mode!r}; there are {', '.join(MODES)}"
            raise ValueError(msg)
        self.is_timed, self.clock = _clock_of(timing)
        self.calls: list[ProviderCall] = []
        self.misses: list[UnexpectedRequestError] = []
        self._match_on = tuple(match_on)
        self._ignore = tuple(ignore)
        self._redactor = redactor or Redactor()
        self._command = command or "run it again with mode='new_episodes'"
        self._now = now
        self._options = options
        self._overlays: dict[int | None, replay.Overlay] = {}
        self._recordings: list[tuple[Any, Recording]] = []
        self._lock = RLock()
        self._cassette: Any = None
        self._played: set[int] = set()

    # -- life -------------------------------------------------------------------------------------

    @contextmanager
    def open(self) -> Iterator[Self]:
        """Load the cassette, and save it at the end if something was recorded."""
        with self._engine() as cassette:
            self._cassette = cassette
            try:
                yield self
            finally:
                self._keep()

    def _engine(self) -> Any:
        import vcr

        engine = vcr.VCR(
            record_mode=self.mode,
            match_on=self._match_on,
            serializer="json" if self.path.suffix == ".json" else "yaml",
            skip_patchers=("httpx", "httpx2"),
            before_record_request=[self._redactor.request, *_as_list(self._options.pop("before_record_request", ()))],
            before_save_interaction=[
                self._redactor.interaction,
                *_as_list(self._options.pop("before_save_interaction", ())),
            ],
            **self._options,
        )
        engine.register_matcher("json", json_matcher(self._ignore))
        engine.register_matcher("url", url_matcher)
        engine.register_persister(Files())
        return engine.use_cassette(str(self.path))

    def _keep(self) -> None:
        """Hand what was recorded to vcrpy, in the order in which the requests were sent."""
        with self._lock:
            for request, recording in self._recordings:
                recording.finish("cancelled")
                self._cassette.append(request, recording.response)
            self._recordings.clear()

    # -- what a test asks -------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._cassette) if self._cassette is not None else 0

    @property
    def play_count(self) -> int:
        """How many requests, of any HTTP client, were answered from the tape."""
        count: int = self._cassette.play_count
        return count

    @property
    def recorded(self) -> int:
        """How many interactions were recorded so far, by httpx and httpx2 and by others."""
        loaded: int = self._cassette._loaded_count  # noqa: SLF001
        return len(self._recordings) + len(self._cassette.data) - loaded

    @property
    def unplayed(self) -> list[str]:
        """The interactions that were on the tape and that nobody asked for, worded."""
        counts, loaded = self._cassette.play_counts, self._cassette._loaded_count  # noqa: SLF001
        left = [request for place, (request, _) in enumerate(self._cassette.data[:loaded]) if not counts[place]]
        return [f"{request.method} {request.uri}" for request in left]

    def problem(self, *, strict: bool = False) -> str | None:
        """Word what a test that used the tape did wrong: it missed, it never came by, or, if strict, it left a rest."""
        if self.misses:
            return f"a request was not on the tape, and the error was caught:\n{self.misses[0]}"
        if not self.play_count and not self.recorded:
            return explain(
                f"no request touched the tape {self.path}: your app did not come this way",
                expected=self.unplayed or ["an empty tape"],
                remedy=["look whether the app calls its client at all", "or take the marker cassette away"],
            )
        if strict and (left := self.unplayed) and self.mode != "all":
            remedy = ["record it anew: --llm-record=all, or let strict=False"]
            return explain(f"{len(left)} of the tape {self.path} was never asked for", expected=left, remedy=remedy)
        return None

    def script(self, at: int = 0, *, timed: bool = False) -> Script:
        """Return a recorded stream as a script; with its silences if `timed`. Raises `LookupError` for no such API."""
        request, response = self._cassette.data[at]
        path = urlsplit(request.uri).path
        endpoints = (service.endpoint(request.method, path) for service in SERVICES.values())
        endpoint = next((found for found in endpoints if found is not None and found.is_codec), None)
        if endpoint is None:
            msg = f"interaction {at}, {request.method} {request.uri}, is of no API that has a codec"
            raise LookupError(msg)
        return replay.script_of(response, codec_of(endpoint, OPENAI), timed=timed)

    # -- the same tape, but -----------------------------------------------------------------------

    def fail(self, fault: Fault, *, after: int = 0, at: int | None = None) -> Self:
        """Break the streams of the tape, or the one of interaction `at`, after so many chunks. Changes no file."""
        return self._overlay(replay.failing(fault, after), at)

    def rechunk(self, every: int | Callable[[bytes], Sequence[bytes]], *, at: int | None = None) -> Self:
        """Give the same bytes in other chunks: of so many bytes, or as a function cuts them. Changes no file."""
        return self._overlay(replay.rechunked(every if callable(every) else replay.every(every)), at)

    def _overlay(self, overlay: replay.Overlay, at: int | None) -> Self:
        self._overlays[at] = overlay
        return self

    # -- requests ---------------------------------------------------------------------------------

    @property
    def may_record(self) -> bool:
        """Whether a request that is not on the tape may go out."""
        return not self._cassette.write_protected

    def ask(
        self, module: ModuleType, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> Exchange | Callable[[Any], None]:
        """Return the recorded answer to a request; or, if it may be recorded, what takes the response that comes.

        Raises `UnexpectedRequestError` if it is not on the tape and nothing may be recorded.
        """
        from vcr.request import Request

        request = Request(method, url, body, dict(headers))
        with self._lock:
            call = ProviderCall(method, url, headers, body)
            self.calls.append(call)
            call.number = len(self.calls)
            if self._cassette.can_play_response_for(request):
                return self._exchange(call, self._cassette.play_response(request))
            if not self.may_record and self._cassette.filter_request(request):
                miss = self._miss(request)
                call.fail(miss)
                raise miss
        self._redactor.learn(request)
        return lambda response: self._record(module, request, call, response)

    def _exchange(self, call: ProviderCall, response: Any) -> Exchange:
        place = next(i for i, (_, stored) in enumerate(self._cassette.data) if stored is response)
        steps = replay.steps_of(response, timed=self.is_timed, ended=lambda count: self._ended(place, count))
        overlay = self._overlays.get(place) or self._overlays.get(None)
        return replay.exchange_of(call, response, overlay(steps) if overlay else steps)

    def _record(self, module: ModuleType, request: Any, call: ProviderCall, response: Any) -> None:
        """Record a response while the app reads it."""
        call.status = response.status_code

        def done(recording: Recording) -> None:
            call.end(_STATES[recording.end or "cancelled"])

        accepts = str(request.headers.get("accept-encoding", ""))
        recording = tee(module, response, Recording(response, done, accepts, self._now))
        with self._lock:
            self._recordings.append((request, recording))

    # -- misses -----------------------------------------------------------------------------------

    def _ended(self, place: int, count: int) -> BaseException:
        text = explain(
            f"the tape ends here: {self.path}, interaction {place}, holds {count} chunks, and the app that was "
            "recorded stopped reading then; this one reads on",
            remedy=["record it again, with an app that reads to the end", "or let this app stop where that one did"],
        )
        miss = replay.TapeEndedError(text)
        self.misses.append(miss)  # type: ignore[arg-type]
        return miss

    def _miss(self, request: Any) -> UnexpectedRequestError:
        stored = [recorded for recorded, _ in self._cassette.data]
        sent = self._redactor.request(request)
        found = nearest(stored, sent, self._ignore)
        near = []
        if found is not None:
            place, lines = found
            if not lines:
                lines = ["nothing differs: it was played already; the app asks once more than it did when recorded"]
            near = ["\n".join([f"interaction {place}: {stored[place].method} {stored[place].uri}", *lines])]
        text = explain(
            f"the request is not on the tape {self.path}, and nothing is recorded in mode {self.mode!r}",
            sent=[f"{request.method} {sent.uri}\n{clip((sent.body or b'').decode('utf-8', 'replace'), 300)}"],
            expected=[f"{recorded.method} {recorded.uri}" for recorded in stored] or ["nothing"],
            difference=near,
            remedy=[f"record it: {self._command}", "or name what may differ: ignore=[...], match_on=[...]"],
        )
        miss = UnexpectedRequestError(text)
        self.misses.append(miss)
        return miss


def _as_list(hooks: Any) -> list[Any]:
    return list(hooks) if isinstance(hooks, (list, tuple)) else [hooks]


def _clock_of(timing: str | float | Clock) -> tuple[bool, Clock]:
    """Return whether silences are played, and the clock that they are waited for on."""
    if timing == "instant":
        return False, InstantClock()
    if timing == "recorded":
        return True, RealClock()
    if isinstance(timing, (int, float)) and not isinstance(timing, bool):
        return True, ScaledClock(timing)
    if isinstance(timing, Clock) and not isinstance(timing, type):
        return True, timing
    msg = f"timing is 'instant', 'recorded', a factor or a clock, not {timing!r}"
    raise ValueError(msg)
