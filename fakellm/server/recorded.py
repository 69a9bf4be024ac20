"""Tapes in a scenario: what was recorded answers the same requests again, wherever they are sent now.

What a request is known by is its method, its path with the query, and its body. Not its host: the tape has the
provider's, and a server is asked at its own. Of several interactions that are alike each answers in its turn, and the
last one from then on, since a server is asked more often than a test asks.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

from fakellm.provider.actions import Failure
from fakellm.provider.exchange import Exchange, ProviderCall
from fakellm.provider.hosts import LOOPBACK, host_of, parts_of
from fakellm.provider.provider import FakeProvider
from fakellm.script.events import Pause

Interaction = tuple[Path, int, Any, Any]
"""The tape, the place on it, the request and the response."""


def load(paths: Iterable[Path]) -> list[Interaction]:
    """Return what tapes hold. Raises `CassetteError` for a broken tape."""
    from vcr.persisters.filesystem import CassetteNotFoundError

    from fakellm.cassette.files import Files
    from fakellm.cassette.replay import check_errors

    found: list[Interaction] = []
    for path in paths:
        try:
            requests, responses, *_ = Files().load_cassette(path)
        except CassetteNotFoundError:  # an empty file
            continue
        check_errors(responses, str(path))
        found += [(path, at, *pair) for at, pair in enumerate(zip(requests, responses, strict=True))]
    return found


class Recorded:
    """Answers of one provider that were recorded. `factor` is how long silences are; 0 plays without them.

    A copy begins anew with the first of those that are alike.
    """

    def __init__(self, interactions: Iterable[Interaction], factor: float = 1.0) -> None:
        self._known: dict[tuple[str, str], list[Interaction]] = defaultdict(list)
        for interaction in interactions:
            request = interaction[2]
            self._known[request.method, urlsplit(request.uri).path].append(interaction)
        self._factor = factor
        self._played: Counter[tuple[Path, int]] = Counter()

    @classmethod
    def of(cls, provider: FakeProvider, interactions: Sequence[Interaction], factor: float) -> Self | None:
        """Return the answers that are a provider's, if there are any."""
        mine = [one for one in interactions if _is_own(provider, one[2].method, one[2].uri)]
        return cls(mine, factor) if mine else None

    def __copy__(self) -> Recorded:
        return Recorded((one for those in self._known.values() for one in those), self._factor)

    def __deepcopy__(self, memo: object) -> Recorded:
        return self.__copy__()

    def __call__(self, call: ProviderCall) -> Exchange | None:
        """Return the answer to a request, if it was recorded."""
        there = self._known.get((call.method, parts_of(call.url).path))
        alike = [one for one in there if _is_alike(call, one[2])] if there else []
        if not alike:
            return None
        path, at, _, response = min(alike, key=lambda one: self._played[one[:2]]) if self._is_new(alike) else alike[-1]
        self._played[path, at] += 1
        return self._exchange(call, path, at, response)

    def _is_new(self, alike: list[Interaction]) -> bool:
        return any(not self._played[one[:2]] for one in alike)

    def _exchange(self, call: ProviderCall, path: Path, at: int, response: Any) -> Exchange:
        from fakellm.cassette.replay import exchange_of

        return exchange_of(call, response, self._steps(path, at, response))

    def _steps(self, path: Path, at: int, response: Any) -> list[Any]:
        """Return what an answer does, step by step."""
        from fakellm.cassette.misses import ended
        from fakellm.cassette.replay import TapeEndedError, steps_of

        steps: list[Any] = steps_of(
            response, timed=self._factor > 0, ended=lambda count: TapeEndedError(ended(path, at, count))
        )
        if steps[-1] == ("ReadError",):  # what httpx raises where a connection is reset
            steps[-1] = Failure("reset")
        if self._factor not in (0, 1):
            steps = [Pause(step.seconds * self._factor) if isinstance(step, Pause) else step for step in steps]
        return steps


def _is_own(provider: FakeProvider, method: str, url: str) -> bool:
    is_here = LOOPBACK.match(host_of(url)) is not None
    return provider.claims(method, url) or (is_here and provider.knows(method, url))


def _is_alike(call: ProviderCall, recorded: Any) -> bool:
    """Tell whether a request is one that was recorded, but for the host."""
    from vcr.request import Request

    from fakellm.cassette.matching import body_differences, fields_of, url_differences

    there, here = urlsplit(recorded.uri), parts_of(call.url)
    url = urlunsplit((there.scheme, there.netloc, here.path, here.query, ""))
    if url_differences(recorded.uri, url):
        return False
    sent = Request(call.method, url, call.body, call.headers)
    return not body_differences(fields_of(recorded), fields_of(sent))
