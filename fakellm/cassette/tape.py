"""A cassette that is open: records what the app's clients get, or plays it back. vcrpy is the engine.

vcrpy holds the interactions, decides by the record mode what is played and what is recorded, runs filters, and serves
the HTTP clients that no shell of ours reaches. Those that one does (httpx, httpx2, aiohttp, what is above urllib3) are
recorded and played chunk by chunk.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any, Literal, Self

from fakellm.cassette import misses, replay
from fakellm.cassette.clients import engine as engine_of_tapes
from fakellm.cassette.clients import patches
from fakellm.cassette.matching import MATCH_ON, bytes_of, json_matcher, key_of, name_of, url_matcher
from fakellm.cassette.outgoing import Outgoing
from fakellm.cassette.recorder import Head, Now, Recording
from fakellm.cassette.redaction import Redactor
from fakellm.cassette.run import Ended, Run
from fakellm.cassette.saving import Saving
from fakellm.cassette.stored import Matching, Stored
from fakellm.clock.clock import Clock
from fakellm.errors import ScriptError, UnexpectedCallError, UnexpectedRequestError
from fakellm.provider.exchange import Exchange, ProviderCall, State
from fakellm.provider.reports import shown_calls
from fakellm.provider.speaking import sent_as
from fakellm.script.events import Fault
from fakellm.script.script import Script
from fakellm.wire.gateways.gateway import Gateway
from fakellm.wire.gateways.presets import gateways_of
from fakellm.wire.providers import scripted_endpoint
from fakellm.wire.service import codec_of
from fakellm.wire.wireform import WireForm, form_or_none

Mode = Literal["none", "once", "new_episodes", "all", "rewrite"]
MODES = ("none", "once", "new_episodes", "all", "rewrite")
_STATES: dict[str, State] = {"complete": "complete", "cancelled": "closed", "dropped": "failed", "timeout": "failed"}


class Tape:
    """A cassette file in use.

    `mode` is vcrpy's record mode, or `rewrite`, which is `all` without what was not asked for; by default `none` where
    the environment has `CI`, else `once`. Nothing is saved of a block that an exception ends, but with
    `record_on_exception`. Requests are matched on what `match_on` names: vcrpy's matchers, and `url` and `json`, or
    functions as vcrpy's matchers are; `ignore` names fields of the body that may differ. `timing` is `"instant"`,
    `"recorded"`, a factor, or a clock to wait on. What is played arrives as it does `behind` gateways, a name or a list
    of names, the first nearest to the server, and is written in the `form`, a `WireForm` or the name of one. Headers of
    requests that `keep_headers` names are written whole.
    `calls` logs the requests of clients that are recorded chunk by chunk, `misses` are those of any client that are not
    on the tape. What `leaves` is true for, of a method and a URL, is answered by somebody else. `options` are those of
    `vcr.VCR`.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        mode: Mode | None = None,
        match_on: Sequence[str | Callable[[Any, Any], Any]] = MATCH_ON,
        ignore: Sequence[str] = (),
        timing: str | float | Clock = "instant",
        form: WireForm | str | None = None,
        behind: str | Gateway | Sequence[str | Gateway] = (),
        redactor: Redactor | None = None,
        keep_headers: Iterable[str] = (),
        record_on_exception: bool = False,
        command: str = "",
        now: Now = time.perf_counter,
        **options: Any,
    ) -> None:
        self.path = Path(path)
        self.mode = mode or ("none" if os.environ.get("CI") else "once")
        self._why = misses.CHOSEN_BY_CI if not mode and self.mode == "none" else ""
        self._state = ""
        if self.mode not in MODES:
            msg = f"there is no record mode {self.mode!r}; there are {', '.join(MODES)}"
            raise ValueError(msg)
        self.is_timed, self.clock = replay.clock_of(timing)
        self.form = form_or_none(form)
        self.gateways = gateways_of(behind)
        self.record_on_exception = record_on_exception
        self.run: Run | None = None  # then nothing is saved before `end`
        self._saving: Saving
        self.calls: list[ProviderCall] = []
        self.misses: list[UnexpectedCallError] = []
        self.leaves: Callable[[str, str], bool] | None = None
        self._matchers = {name_of(on): on for on in match_on if callable(on)}
        self._match_on = tuple(map(name_of, match_on))
        self._ignore = tuple(ignore)
        if redactor and keep_headers:
            msg = "keep_headers belongs to the redactor that is given: Redactor(..., keep_headers=[...])"
            raise ValueError(msg)
        self._redactor = redactor or Redactor(keep_headers=keep_headers)
        self._command = command or "run it again with mode='new_episodes'"
        self._counted: Counter[tuple[str, str]] = Counter()
        self._now = now
        self._options = options
        self._overlays: replay.Overlays = {}
        self._overlaid: set[int | None] = set()
        self._sent: list[Outgoing] = []
        self._lock = RLock()
        self._cassette: Any = None
        self._loaded = self._recorded = 0
        self.is_open = False

    # -- life -------------------------------------------------------------------------------------

    @contextmanager
    def open(self, *, reached: Sequence[str] = ()) -> Iterator[Self]:
        """Load the cassette, and save it at the end if something was recorded, unless an exception ends the block.

        Raises `CassetteError` for a vcrpy that is too old.
        This alone reaches the clients that vcrpy patches, whole bodies without chunks; `fakellm.http.playing` reaches
        all. `reached` are vcrpy's names of those that somebody else brings to the tape.
        """
        key = key_of(self._match_on, self._ignore)
        redact = self._redactor.request
        saving = self._saving = Saving(self.path, self.mode, key, self.run, self._options, redact)
        with self._engine(saving, reached) as cassette:
            self._cassette, self._loaded, self._recorded = cassette, len(cassette), 0
            self.calls, self.misses, self._sent = [], [], []
            self._counted = Counter(self._redactor.counts)
            self._state = misses.state_of(self.path, len(cassette))
            replay.check_errors(cassette.responses, str(self.path))
            if not self.may_record:
                replay.check_overlays(self._overlays, cassette.responses)
            if self.may_record:
                saving.check(is_sure=False)
            if saving.is_lazy:
                matching = Matching(cassette, self._match_on, self._ignore, self._matchers)
                cassette._responses = matching.responses  # noqa: SLF001
            cassette.filter_request = self._watching(cassette.filter_request)
            saving.before(cassette, self._goes_out, self.misses)
            replay.read_when_played(cassette, str(self.path), self.misses)
            self.is_open = True
            is_whole = False
            try:
                yield self
                is_whole = True
            finally:
                self._close()
                if self.run is None and (is_whole or self.record_on_exception):
                    saving.save()

    def _engine(self, saving: Saving, reached: Sequence[str]) -> Any:
        hooks = ("before_record_request", "before_save_interaction")
        options = {name: value for name, value in self._options.items() if name not in hooks}
        options["custom_patches"] = (*patches(), *options.get("custom_patches", ()))
        asked, saved = (_as_list(self._options.get(hook, ())) for hook in hooks)
        engine = engine_of_tapes()(
            record_mode=saving.engine_mode,
            match_on=self._match_on,
            serializer="json" if self.path.suffix == ".json" else "yaml",
            skip_patchers=("httpx", "httpx2", *reached),
            before_record_request=[self._asked, *asked],
            before_save_interaction=[self._redactor.interaction, *saved],
            **options,
        )
        for name, matcher in self._matchers.items():
            engine.register_matcher(name, matcher)
        engine.register_matcher("json", json_matcher(self._ignore))
        engine.register_matcher("url", url_matcher)
        engine.register_persister(saving.persister)
        return engine.use_cassette(str(saving.path))

    def _asked(self, request: Any) -> Any:
        """Redact a request; keep off the tape what is answered by somebody else: vcrpy's `before_record_request`.

        A body that aiohttp is given as an object, which vcrpy keeps so, becomes the JSON that is sent.
        """
        if self.leaves is not None and self.leaves(request.method, request.uri):
            return None
        if isinstance(request, Stored):  # it is redacted when somebody looks at it
            return request
        if isinstance(request.body, (dict, list)):
            request.body = bytes_of(request)
        return self._redactor.request(request)

    def _watching(self, filtered: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return what vcrpy asks before a request of another client goes out: one that may not is a miss as ours."""

        def filter_request(request: Any) -> Any:
            found = filtered(request)
            if not (found and self.is_open and not self.may_record):
                return found
            with self._lock:
                miss = self._miss(request)
            del request, found  # pytest shows what a function that raises was called with
            raise miss

        return filter_request

    def _goes_out(self, request: Any) -> bool:
        """Tell whether a request that is not on the tape is recorded."""
        return self.is_open and self.may_record and self._cassette.filter_request(request) is not None

    def _close(self) -> None:
        """Hand what was recorded to vcrpy, in the order in which the requests were sent, and take it back redacted."""
        with self._lock:
            self.is_open = False
            for sent in self._sent:
                if sent.recording is not None:
                    sent.recording.finish("cancelled")
                    self._cassette.append(sent.request, sent.recording.response)
            self._recorded = len(self._cassette.data) - self._loaded
            self._saving.take(self._cassette, self._loaded)

    def end(self, ended: Ended) -> bool:
        """Keep what was recorded by a test of a `run` that ended so, if it passed; tell whether it is kept.

        Raises `CassetteError` if the tape cannot be written.
        """
        return self._saving.end(ended, always=self.record_on_exception)

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
        """How many interactions were recorded so far."""
        if not self.is_open:
            return self._recorded
        waiting = sum(sent.recording is not None for sent in self._sent)
        return waiting + len(self._cassette.data) - self._loaded

    @property
    def redacted(self) -> dict[tuple[str, str], int]:
        """How many values of which kind were replaced where, in what was recorded; known once the tape is closed."""
        return {name: count for name, count in (self._redactor.counts - self._counted).items() if count}

    @property
    def unplayed(self) -> list[str]:
        """The interactions that were on the tape and that nobody asked for, worded."""
        counts, loaded = self._cassette.play_counts, self._cassette.data[: self._loaded]
        left = [request for place, (request, _) in enumerate(loaded) if not counts[place]]
        return [misses.address_of(request) for request in left]

    @property
    def asked(self) -> dict[str, int]:
        """How often was asked for what is on the tape after it was closed, by the digests of the requests."""
        return self._saving.asked()

    def problem(self, *, strict: bool = False) -> str | None:
        """Word what a test that used the tape did wrong: it missed, it never came by, or, if strict, it left a rest."""
        with self._redactor.knowing():
            return self._problem(strict=strict)

    def _problem(self, *, strict: bool) -> str | None:
        if self.misses:
            return misses.caught(self.misses[0])
        if not self.play_count and not self.recorded:
            if failed := [sent.call for sent in self._sent if sent.call.error is not None]:
                return misses.unanswered(self.path, [f"{call.address}\n{call.error!r}" for call in failed])
            return misses.untouched(self.path, self.unplayed)
        if not self.recorded and (unused := [at for at in self._overlays if at not in self._overlaid]):
            return misses.as_recorded(self.path, unused)
        if strict and (left := self.unplayed) and not self._saving.is_anew:
            return misses.left(self.path, left)
        return None

    def pairs(self) -> list[tuple[Any, dict[str, Any]]]:
        """Return the requests on the tape with their responses, as vcrpy has them; with what is recorded now."""
        waiting = self._sent if self.is_open else ()
        return list(self._saving.pairs(self._cassette, self._loaded, waiting))

    def script(self, at: int = 0, *, timed: bool = False) -> Script:
        """Return a recorded stream as a script; with its silences if `timed`. Raises `LookupError` for no such API."""
        request, response = self.pairs()[at]
        found = scripted_endpoint(request.method, request.uri)
        if found is None:
            msg = f"interaction {at}, {misses.address_of(request)}, is of no API that has a codec"
            raise LookupError(msg)
        return replay.script_of(response, codec_of(found[1]), timed=timed)

    # -- the same tape, but -----------------------------------------------------------------------

    def fail(self, fault: Fault, *, after: int = 0, at: int | None = None) -> Self:
        """Break the streams of the tape, or the one of interaction `at`, after so many chunks. Changes no file.

        Shorter streams beside one that has as many play whole. Raises `ValueError`, here or when the tape is opened,
        if no stream has so many chunks.
        """
        return self._overlay(replay.failing(fault, after), at)

    def rechunk(self, every: int | Callable[[bytes], Sequence[bytes]], *, at: int | None = None) -> Self:
        """Give the same bytes in other chunks: of so many bytes, or as a function cuts them. Changes no file.

        Raises `ValueError`, here or when the tape is opened, if it has no interaction `at`.
        """
        return self._overlay(replay.rechunked(every if callable(every) else replay.every(every)), at)

    def _overlay(self, overlay: replay.Overlay, at: int | None) -> Self:
        replay.put(self._overlays, overlay, at)
        if self.is_open and not self.may_record:
            replay.check_overlays(self._overlays, self._cassette.responses)
        return self

    # -- requests ---------------------------------------------------------------------------------

    @property
    def may_record(self) -> bool:
        """Whether a request that is not on the tape may go out."""
        return not self._cassette.write_protected

    def ask(
        self, module: ModuleType, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> Exchange | Outgoing:
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
                return self._exchange(call, type(self._cassette).play_response(self._cassette, request))
            try:
                self._cassette.filter_request(request)
            except UnexpectedRequestError as miss:
                call.fail(miss)
                raise
            self._redactor.learn(request)
            outgoing = Outgoing(self.record, module, request, call)
            self._sent.append(outgoing)
            return outgoing

    def _exchange(self, call: ProviderCall, response: Any) -> Exchange:
        place = next(i for i, (_, stored) in enumerate(self._cassette.data) if stored is response)
        response = replay.opened(response, place, str(self.path), self.misses)
        steps = replay.steps_of(response, timed=self.is_timed, ended=lambda count: self._ended(place, count))
        if (at := replay.overlay_at(self._overlays, place, response)) is not False:
            self._overlaid.add(at)
            steps = self._overlays[at](steps)
        try:
            return sent_as(replay.exchange_of(call, response, steps), self.gateways, self.form)
        except ScriptError as error:
            self.misses.append(miss := misses.unsent(self.path, call, error))
            call.fail(miss)
            raise miss from error

    def record(self, outgoing: Outgoing, head: Head) -> Recording | None:
        """Begin to record a response whose head came; one that comes after the end of the tape is not on it."""
        request, call = outgoing.request, outgoing.call
        call.status = head.status

        def done(recording: Recording) -> None:
            call.end(_STATES[recording.end or "cancelled"])

        accepts = str(request.headers.get("accept-encoding", ""))
        with self._lock:
            if self.is_open:
                outgoing.recording = Recording(head, done, accepts, self._now, request.method, call.took)
        return outgoing.recording

    def report(self) -> str:
        """Word the requests in `calls`, and how far their answers went."""
        with self._redactor.knowing():
            return "\n".join(shown_calls(self.calls)) or f"no request touched the tape {self.path}"

    # -- misses -----------------------------------------------------------------------------------

    def _ended(self, place: int, count: int) -> BaseException:
        self.misses.append(miss := replay.TapeEndedError(misses.ended(self.path, place, count)))
        return miss

    def _miss(self, request: Any) -> UnexpectedRequestError:
        stored = [recorded for recorded, _ in self._cassette.data]
        told = misses.headline(self.path, self._state, self.mode, self._why)
        with self._redactor.knowing():
            text = misses.miss(told, self._redactor.request(request), stored, self._ignore, self._command)
        miss = UnexpectedRequestError(text)
        miss.credentials = self._redactor.known
        self.misses.append(miss)
        return miss


def _as_list(hooks: Any) -> list[Any]:
    return list(hooks) if isinstance(hooks, (list, tuple)) else [hooks]
