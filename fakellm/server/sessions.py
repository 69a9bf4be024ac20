"""Sessions of one server: parallel tests that do not meet, each with its own copy of what the providers were told.

A request names its session by the header `X-Fakellm-Session`, or by where it is sent, `/_fakellm/sessions/NAME/...`;
one that names none belongs to the session of the server's own providers. A session begins with the first word of its
name. Its providers were told what the server's own were before that listened, and were asked nothing: so it does not
matter which of two parallel tests comes first, or how far the others are. What the server's own were told since goes to
new sessions too if it is a rule (`when`, `otherwise`), and not if it is one of the replies for requests to come, which
are those of one test.

Each session logs its requests in the order in which they came, whichever provider answered, with the moments at which
the pieces of an answer were written. What no provider knows is logged too, and is a miss of the session's.

What is kept is bounded where the server says so: see `bounds.py`. What was let go is still counted, and judged: a
request without a reply is one for ever, and a reply that was used stays used. Sessions themselves are bounded always,
since names come from outside: the one that was used least recently makes room for a new one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, count
from threading import Lock
from time import monotonic
from urllib.parse import quote, unquote

from fakellm.errors import UnexpectedRequestError, UnusedRepliesError
from fakellm.models.calls import never_asked
from fakellm.models.conversing import first_of_each
from fakellm.models.copies import begin_again, let_go, tell_again, unasked
from fakellm.models.kept import Kept
from fakellm.provider.exchange import Exchange, ProviderCall
from fakellm.provider.mistakes import without_frames
from fakellm.provider.provider import FakeProvider
from fakellm.provider.reports import shown_calls
from fakellm.provider.routes import Route
from fakellm.secrets.knowing import discreet, knowing
from fakellm.server.bounds import Room
from fakellm.server.judging import Gone, bound_misses, judge
from fakellm.server.logged import Logged
from fakellm.server.routing import Router

HEADER = "x-fakellm-session"
PLACE = "/_fakellm"
"""Where a server is asked about itself."""
_SESSIONS = f"{PLACE}/sessions/"
_LONGEST = 200
_MOST = 1_000
"""How many sessions a server keeps: each has a copy of all scripts, and names come from outside."""


class SessionError(ValueError):
    """A session that cannot be: the message says why, and what to do."""


class Session:
    """One session: providers of its own, the requests that came, and those that nothing answered."""

    generation = 0
    turn = 0
    """When it was used last, among the sessions of its server."""

    def __init__(self, name: str, providers: list[FakeProvider], room: Room | None = None) -> None:
        self.name = name
        self.router = Router(providers)
        self._room = room
        self._before: list[FakeProvider] | None = None
        self._begin()

    def _begin(self) -> None:
        self.log: Kept[Logged] = Kept()
        self.strays: Kept[UnexpectedRequestError] = Kept()
        self.generation += 1
        self._begun = monotonic()

    def __repr__(self) -> str:
        return f"<Session {self.name!r}: {self.log.total} requests>"

    @property
    def providers(self) -> list[FakeProvider]:
        """The providers, in the order in which they are asked."""
        return self.router.providers

    def __getitem__(self, name: str) -> FakeProvider:
        """Return a provider by its name. Raises `KeyError` that names those that there are."""
        found = self.router.named(name)
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

    def since(self, number: int) -> list[Logged]:
        """Return the requests of greater numbers, of those that are kept."""
        return self.log[max(number - self.log.gone, 0) :]

    @property
    def misses(self) -> list[UnexpectedRequestError]:
        """The errors of requests that no reply was for, or whose reply could not be made; then of unknown ones."""
        return list(chain.from_iterable(self._all_misses()))

    @property
    def misses_gone(self) -> int:
        """How many more there were, which are not kept."""
        return sum(misses.gone for misses in self._all_misses())

    def _all_misses(self) -> Iterator[Kept[UnexpectedRequestError]]:
        yield from (provider.misses for provider in self.providers)
        yield self.strays

    def note(
        self,
        provider: FakeProvider | None,
        exchange: Exchange,
        call: ProviderCall,
        miss: UnexpectedRequestError | None = None,
    ) -> None:
        """Log a request and its answer, which is played next; of a miss that is another call's than the provider's."""
        name = provider.name if provider is not None else ""
        logged = Logged(self.log.total + 1, name, call, self._begun, exchange.status, miss)
        call.place = logged.number
        if miss is not None:
            miss.place = logged.number
        self.log.append(logged)
        if self._room is not None:
            self._bound(self._room, logged, self.strays if provider is None else provider.misses)

    def _bound(self, room: Room, logged: Logged, misses: Kept[UnexpectedRequestError]) -> None:
        """Let go of what is too much now that a request was logged."""
        without_frames(logged.miss)
        if len(self.log) > room.keep:
            self.let_go()
        room.take(logged)
        bound_misses(misses)

    def let_go(self) -> None:
        """Let go of the oldest request: here, and where its provider and its reply have it."""
        logged = self.log.let_go()
        logged.let_go()
        if (provider := self.router.named(logged.provider)) is not None:
            let_go(provider, logged.call)

    def stray(self, exchange: Exchange, why: str) -> None:
        """Log a request that no provider knows."""
        call = exchange.call
        call.number = self.log.total + 1
        miss = UnexpectedRequestError(_shown(call, why))
        miss.credentials = call.credentials
        self.strays.append(miss)
        self.note(None, exchange, call, miss)

    def report(self) -> str:
        """Word the requests with their answers."""
        words = f" in the session {self.name!r}" if self.name else ""
        lines = shown_calls(self.calls) or [f"the fake server was not asked anything{words}"]
        return "\n".join([*lines, *map(str, self.strays)])

    def verify(self, *, allow_misses: bool = False) -> None:
        """Raise `SwallowedCallError` if a request found no reply.

        A reply that could not be made is a mistake of the test, which nothing allows.
        """
        judge(self.misses, f", in the session {self.name!r}," if self.name else "", allow_misses=allow_misses)

    # -- what it is told --------------------------------------------------------------------------

    def answer_by(self, providers: list[FakeProvider]) -> None:
        """Answer by these from now on, which were told by somebody else; what came stays in the log."""
        for provider in self.providers:
            if provider not in providers:
                self.strays.extend(provider.misses)
                self.strays.gone += provider.misses.gone
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

    def __init__(self, providers: list[FakeProvider], keep: int | None = None) -> None:
        self._room = Room(keep, lambda: self) if keep is not None else None
        self.own = Session("", providers, self._room)
        self._named: dict[str, Session] = {}
        self._told: set[int] | None = None
        self._lock = Lock()
        self._turns = count(1)
        self.gone = Gone()

    def begin(self) -> None:
        """Take what the providers were told until now for what all sessions are to begin with."""
        self._told = {route.key for provider in self.own.providers for route in provider.replies}

    def tell_again(self, providers: list[FakeProvider]) -> None:
        """Let these, which were told anew, answer in all sessions: in each by copies that were asked nothing.

        What came stays in the logs.
        """
        self.own.answer_by(list(providers))
        self.begin()
        for session in list(self._named.values()):  # tests may begin others meanwhile
            known = {provider.name: provider for provider in session.providers}
            session.answer_by([self._copied(provider, known.get(provider.name)) for provider in providers])

    def _copied(self, own: FakeProvider, known: FakeProvider | None = None) -> FakeProvider:
        """Return a provider for a session: `known`, if there is one, told anew."""
        copied = unasked(own, self._is_for_all)
        copied.remember_with(own)
        if known is None:
            return copied
        tell_again(known, copied)
        return known

    def _is_for_all(self, route: Route) -> bool:
        return route.kind != "reply" or self._told is None or route.key in self._told

    def __iter__(self) -> Iterator[Session]:
        return iter([self.own, *self._named.values()])

    def named(self, name: str) -> Session:
        """Return a session by its name, which begins now if it has not; without a name, the server's own.

        Raises `SessionError` for what could be no name.
        """
        if not name:
            return self.own
        with self._lock:
            if (session := self._named.get(name)) is None:
                session = self._begun(name)
                if len(self._named) >= _MOST:
                    self._let_go(min(self._named.values(), key=lambda one: one.turn))
                self._named[name] = session
            session.turn = next(self._turns)
        return session

    def _begun(self, name: str) -> Session:
        if len(name) > _LONGEST or not name.isprintable():
            msg = f"the name of a session is a line of at most {_LONGEST} characters, not {name[:_LONGEST]!r}"
            raise SessionError(msg)
        return Session(name, [self._copied(own) for own in self.own.providers], self._room)

    def _let_go(self, session: Session) -> None:
        """Let go of a session, but for what is judged at the end."""
        del self._named[session.name]
        unused = [
            f"{provider.name}: {route}, in the session {session.name!r}" for provider, route in self.unused(session)
        ]
        self.gone.take(session.log.total, session.misses, session.misses_gone, unused)
        self._note_used(session)

    def _note_used(self, session: Session) -> None:
        """Keep in mind what of the server's own replies a session used that will be gone."""
        own = {route.key for provider in self.own.providers for route in provider.replies}
        used = {route.key for provider in session.providers for route in provider.replies if route.calls}
        self.gone.used = (self.gone.used | used) & own

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
        with self._lock:
            session = self._named.pop(name, None)
        if session is not None:
            self._note_used(session)
        return session is not None

    def unused(self, session: Session) -> list[tuple[FakeProvider, Route]]:
        """Return what was scripted for requests that never came: of a session, what was scripted in that.

        What the server's own providers were told is used if any session used it, since each has a copy.
        """
        if session is self.own:
            used = {r.key for one in self for provider in one.providers for r in provider.replies if r.calls}
            used |= self.gone.used
        else:
            used = {r.key for provider in self.own.providers for r in provider.replies}
        return [
            (provider, route)
            for provider in session.providers
            for route in first_of_each(
                route
                for route in provider.replies
                if route.kind != "otherwise" and not route.calls and route.key not in used
            )
        ]

    def verify(self, *, allow_unused: bool = False, allow_misses: bool = False) -> None:
        """Raise `SwallowedCallError` if a request found no reply, else `UnusedRepliesError` if a reply is left."""
        for session in self:
            session.verify(allow_misses=allow_misses)
        self.gone.verify(allow_unused=allow_unused, allow_misses=allow_misses)
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
