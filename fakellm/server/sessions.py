"""Sessions of one server: parallel tests that do not meet, each with its own copy of what the providers were told.

A request names its session by the header `X-Fakellm-Session`, or by where it is sent, `/_fakellm/sessions/NAME/...`;
one that names none belongs to the session of the server's own providers. A session begins with the first word of its
name. Its providers were told what the server's own were before that listened, and were asked nothing: so it does not
matter which of two parallel tests comes first, or how far the others are. What the server's own were told since goes to
new sessions too if it is a rule (`when`, `otherwise`), and not if it is one of the replies for requests to come, which
are those of one test.

Each session logs its requests in the order in which they came, whichever provider answered, with the moments at which
the pieces of an answer were written. What no provider knows is logged too, and is a miss of the session's.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from itertools import chain
from time import monotonic
from urllib.parse import quote, unquote

from fakellm.errors import BrokenReplyError, SwallowedCallError, UnexpectedRequestError, UnusedRepliesError, explain
from fakellm.models.calls import never_asked
from fakellm.models.copies import begin_again, unasked
from fakellm.provider.exchange import Exchange, ProviderCall
from fakellm.provider.provider import FakeProvider
from fakellm.provider.reports import shown_calls
from fakellm.provider.routes import Route
from fakellm.secrets.knowing import discreet, knowing
from fakellm.server.routing import Router

HEADER = "x-fakellm-session"
PLACE = "/_fakellm"
"""Where a server is asked about itself."""
_SESSIONS = f"{PLACE}/sessions/"
_MEANT = "if that is meant: @pytest.mark.fake_llm(allow_misses=True), or verify(allow_misses=True)"
_LONGEST = 200
_MOMENTS = 1_000
"""Numbers that are kept of the moments of an answer, two for each."""
_MOST = 1_000
"""How many sessions a server keeps: each has a copy of all scripts, and names come from outside."""


class SessionError(ValueError):
    """A session that cannot be: the message says why, and what to do."""


class Logged:
    """One request as the server saw it: by whom it was answered, when it came, and when which piece was written.

    `number` counts the requests of the session from 1. `provider` is empty where none knew the request. `at` is in
    seconds since the session began, `sent` the status of the answer. `miss` is what the author of the test was told,
    where it was one.
    """

    __slots__ = ("_begun", "_noted", "at", "call", "miss", "number", "provider", "sent")

    def __init__(
        self, number: int, provider: str, call: ProviderCall, begun: float, sent: int, miss: BaseException | None
    ) -> None:
        self.number = number
        self.provider = provider
        self.call = call
        self.miss = miss
        self.sent = sent or None
        self._begun = monotonic()
        self.at = self._begun - begun
        self._noted = array("d")
        call.watch = self._note

    def _note(self, before: int) -> None:
        """Note that pieces are written now, and how many were before those."""
        if len(self._noted) < _MOMENTS:
            self._noted.extend((monotonic(), before))

    @property
    def state(self) -> str:
        """How far it is: that of the call, or `missed`."""
        return "missed" if self.miss is not None else self.call.state

    @property
    def is_full(self) -> bool:
        """Whether later moments were not noted."""
        return len(self._noted) >= _MOMENTS

    @property
    def count(self) -> int:
        """How many moments there are."""
        return len(self._noted) // 2

    def moments(self, since: int = 0) -> list[tuple[float, int]]:
        """Return when pieces were written: seconds since the request came, and how many there were before those."""
        noted = self._noted
        places = range(2 * since, len(noted) - 1, 2)
        return [(noted[place] - self._begun, int(noted[place + 1])) for place in places]


class Session:
    """One session: providers of its own, the requests that came, and those that nothing answered."""

    generation = 0

    def __init__(self, name: str, providers: list[FakeProvider]) -> None:
        self.name = name
        self.router = Router(providers)
        self._before: list[FakeProvider] | None = None
        self._begin()

    def _begin(self) -> None:
        self.log: list[Logged] = []
        self.strays: list[UnexpectedRequestError] = []
        self.generation += 1
        self._begun = monotonic()

    def __repr__(self) -> str:
        return f"<Session {self.name!r}: {len(self.log)} requests>"

    @property
    def providers(self) -> list[FakeProvider]:
        """The providers, in the order in which they are asked."""
        return self.router.providers

    def __getitem__(self, name: str) -> FakeProvider:
        """Return a provider by its name. Raises `KeyError` that names those that there are."""
        found = next((provider for provider in self.providers if provider.name == name), None)
        if found is None:
            msg = f"the server has no provider {name!r}; it has {', '.join(one.name for one in self.providers)}"
            raise KeyError(msg)
        return found

    def base_url(self, origin: str, name: str) -> str:
        """Return what the SDK of a provider is given as its base URL to ask in this session."""
        place = f"{origin}{_SESSIONS}{quote(self.name, safe='')}" if self.name else origin
        return self.router.base_url(place, name)

    # -- what came --------------------------------------------------------------------------------

    @property
    def calls(self) -> list[ProviderCall]:
        """The requests, in the order in which they came."""
        return [logged.call for logged in self.log]

    @property
    def misses(self) -> list[UnexpectedRequestError]:
        """The errors of requests that no reply was for, or whose reply could not be made; then of unknown ones."""
        return [*chain.from_iterable(provider.misses for provider in self.providers), *self.strays]

    def note(self, provider: str, exchange: Exchange, call: ProviderCall, miss: BaseException | None = None) -> None:
        """Log a request and its answer, which is played next; of a miss that is another call's than the provider's."""
        self.log.append(Logged(len(self.log) + 1, provider, call, self._begun, exchange.status, miss))

    def stray(self, exchange: Exchange, why: str) -> None:
        """Log a request that no provider knows."""
        call = exchange.call
        call.number = len(self.log) + 1
        miss = UnexpectedRequestError(_shown(call, why))
        miss.credentials = call.credentials
        self.strays.append(miss)
        self.note("", exchange, call, miss)

    def report(self) -> str:
        """Word the requests with their answers."""
        words = f" in the session {self.name!r}" if self.name else ""
        lines = shown_calls(self.calls) or [f"the fake server was not asked anything{words}"]
        return "\n".join([*lines, *map(str, self.strays)])

    def verify(self, *, allow_misses: bool = False) -> None:
        """Raise `SwallowedCallError` if a request found no reply.

        A reply that could not be made is a mistake of the test, which nothing allows.
        """
        first = next((miss for miss in self.misses if not allow_misses or isinstance(miss, BrokenReplyError)), None)
        if first is None:
            return
        is_broken = isinstance(first, BrokenReplyError)
        what = "could not be answered" if is_broken else "found no reply"
        words = f", in the session {self.name!r}," if self.name else ""
        with knowing(first.credentials):
            text = explain(
                f"a request to the fake server{words} {what}, and its client was told so:\n{first}",
                remedy=[] if is_broken else [_MEANT],
            )
        raise SwallowedCallError(text) from first

    # -- what it is told --------------------------------------------------------------------------

    def answer_by(self, providers: list[FakeProvider]) -> None:
        """Answer by these from now on, which were told by somebody else; what came stays in the log."""
        self.router = Router(providers)
        self._before = None

    def keep(self) -> None:
        """Keep what the providers were told until now: that is what `reset` goes back to."""
        if self._before is None:
            self._before = [unasked(provider) for provider in self.providers]

    def reset(self) -> None:
        """Forget what came, and what was told over HTTP."""
        before, self._before = self._before or [unasked(provider) for provider in self.providers], None
        for provider, told in zip(self.providers, before, strict=True):
            begin_again(provider, told)
        self._begin()


class Sessions:
    """All sessions of a server; `own` is that of its own providers."""

    def __init__(self, providers: list[FakeProvider]) -> None:
        self.own = Session("", providers)
        self._named: dict[str, Session] = {}
        self._told: set[int] | None = None

    def begin(self) -> None:
        """Take what the providers were told until now for what all sessions are to begin with."""
        self._told = {route.key for provider in self.own.providers for route in provider.replies}

    def _is_for_all(self, route: Route) -> bool:
        return route.kind != "reply" or self._told is None or route.key in self._told

    def __iter__(self) -> Iterator[Session]:
        return iter([self.own, *self._named.values()])

    def named(self, name: str) -> Session:
        """Return a session by its name, which begins now if it has not; without a name, the server's own.

        Raises `SessionError` for what could be no name, and for more sessions than a server keeps.
        """
        if not name:
            return self.own
        session = self._named.get(name)
        if session is not None:
            return session
        if len(name) > _LONGEST or not name.isprintable():
            msg = f"the name of a session is a line of at most {_LONGEST} characters, not {name[:_LONGEST]!r}"
            raise SessionError(msg)
        if len(self._named) >= _MOST:
            msg = (
                f"this server has {_MOST} sessions already, and keeps no more; end those that are done: DELETE "
                f"{_SESSIONS}NAME"
            )
            raise SessionError(msg)
        providers = [unasked(provider, self._is_for_all) for provider in self.own.providers]
        return self._named.setdefault(name, Session(name, providers))

    def placed(self, target: str) -> tuple[str, str] | None:
        """Return the session that the target of a request names, and the rest of the target, if it does."""
        if not target.startswith(_SESSIONS):
            return None
        name, slash, rest = target[len(_SESSIONS) :].partition("/")
        return (unquote(name), f"/{rest}") if slash and rest else None

    def of(self, headers: Mapping[str, str]) -> Session:
        """Return the session that the headers of a request name."""
        return self.named(named_by(headers))

    def end(self, name: str) -> bool:
        """Forget a session. Returns whether there was one."""
        return self._named.pop(name, None) is not None

    def unused(self, session: Session) -> list[tuple[FakeProvider, Route]]:
        """Return what was scripted for requests that never came: of a session, what was scripted in that.

        What the server's own providers were told is used if any session used it, since each has a copy.
        """
        if session is self.own:
            used = {r.key for one in self for provider in one.providers for r in provider.replies if r.calls}
        else:
            used = {r.key for provider in self.own.providers for r in provider.replies}
        return [
            (provider, route)
            for provider in session.providers
            for route in provider.replies
            if route.kind != "otherwise" and not route.calls and route.key not in used
        ]

    def verify(self, *, allow_unused: bool = False, allow_misses: bool = False) -> None:
        """Raise `SwallowedCallError` if a request found no reply, else `UnusedRepliesError` if a reply is left."""
        for session in self:
            session.verify(allow_misses=allow_misses)
        for session in [] if allow_unused else self:
            if unused := self.unused(session):
                provider, _ = unused[0]
                left = [str(route) for owner, route in unused if owner is provider]
                words = f" in the session {session.name!r}" if session.name else ""
                raise UnusedRepliesError(never_asked(f"the fake {provider.name}{words}", left, session.report()))


def named_by(headers: Mapping[str, str]) -> str:
    """Return the name of the session in the headers of a request, be it UTF-8 or Latin-1; empty where there is none."""
    name = headers.get(HEADER, "").strip()
    try:
        return name.encode("latin-1").decode()
    except UnicodeError:
        return name


def _shown(call: ProviderCall, text: str) -> str:
    with knowing(call.credentials):
        return discreet(text)
