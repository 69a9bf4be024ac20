"""Requests of a tape that is only played: as the file has them, until somebody wants them redacted.

The theory. What comes is redacted before it is compared, so what is on the tape has to be, too: it may hold what has
become known as a secret since it was recorded. But to redact a conversation of a hundred messages takes a hundred times
as long as to compare it, and nearly always changes nothing. So what comes is compared first with what the file has.
What is redacted and the same as that is the same as that redacted, since to redact twice changes nothing more. Only
when none of those is left, the others are redacted, and those that it has changed are compared again. Whoever looks at
a request otherwise, for a report or a script, sees it redacted.

To compare bodies, both are read as JSON, and an agent's tape has as many conversations as it has requests for one of
them: each new request would read all of them again. So of each a key is kept, a number that is the same where requests
are. What was redacted in the file stands for anything, so that what holds it is compared in full.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property
from typing import Any

from vcr.matchers import get_matchers_results
from vcr.request import Request

from fakellm.cassette.held import body_of
from fakellm.cassette.matching import key_of
from fakellm.secrets.shapes import PLACEHOLDER

_KEYED = frozenset(("method", "url", "json"))
"""The matchers for which equal keys mean that requests are the same, and other keys that they are not."""
_REDACTED = PLACEHOLDER.encode()


class Stored:
    """A request of a tape. `raw` is what the file has; all else is that of a `vcr.request.Request` without secrets."""

    def __init__(self, read: Callable[[], Request], redact: Callable[[Request], Request]) -> None:
        self._read = read
        self._redact = redact

    def __copy__(self) -> Stored:
        return self

    def __deepcopy__(self, _: object) -> Stored:
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.redacted, name)

    @property
    def raw(self) -> Request:
        """The request as it is on the tape."""
        return self._read()

    @property
    def redacted(self) -> Request:
        """The request without secrets."""
        return self.changed or self.raw

    @cached_property
    def changed(self) -> Request | None:
        """The request without secrets, if it had some; the others are not kept."""
        raw = self.raw
        redacted = self._redact(raw)
        return redacted if _parts(raw) != _parts(redacted) else None


def _parts(request: Request) -> tuple[Any, ...]:
    return request.uri, dict(request.headers), body_of(request)


class Matching:
    """Finds what a tape has of a request, in place of vcrpy's `Cassette._responses`."""

    def __init__(
        self, cassette: Any, match_on: Sequence[str], ignore: Sequence[str] = (), own: Collection[str] = ()
    ) -> None:
        self._cassette = cassette
        self._same = cassette._match_on  # noqa: SLF001
        self._filter = cassette._before_record_request  # noqa: SLF001
        is_keyed = _KEYED.issuperset(match_on) and _KEYED.isdisjoint(own)
        self._key_of = key_of(match_on, ignore) if is_keyed else None
        self._keys: dict[int, int | None] = {}

    def responses(self, request: Any) -> Iterator[tuple[int, Any]]:
        """Yield the places and the responses of the requests that are the same, those first that are so in the file."""
        request = self._filter(request)
        asked = None if self._key_of is None else hash(self._key_of(request))
        others = []
        for place, (stored, response) in enumerate(self._cassette.data):
            if self._may_be(place, asked) and self._is_same(request, stored.raw):
                yield place, response
            else:
                others.append(place)
        for place in others:
            stored, response = self._cassette.data[place]
            if stored.changed is not None and self._is_same(request, stored.changed):
                yield place, response

    def _is_same(self, request: Any, recorded: Any) -> bool:
        """Tell whether requests match; vcrpy's `requests_match` would write into the log what the file has."""
        return not get_matchers_results(request, recorded, self._same)[1]

    def _may_be(self, place: int, asked: int | None) -> bool:
        """Tell whether what is on the tape has the key of what was asked, or none."""
        if asked is None:
            return True
        if place not in self._keys:
            self._keys[place] = self._key(self._cassette.data[place][0].raw)
        return self._keys[place] in (None, asked)

    def _key(self, request: Request) -> int | None:
        """Return the key of what is on the tape; None if it was redacted."""
        if PLACEHOLDER in request.uri or _REDACTED in (body_of(request) or b""):
            return None
        return hash(self._key_of(request))  # type: ignore[misc]
