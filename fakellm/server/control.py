"""A server asked about itself, under `/_fakellm/`: it is scripted and watched from outside, and has a page.

Everything is of one session, which the header `X-Fakellm-Session` names, or the parameter `session`. Only this machine
may ask, unless the server was told otherwise; and of a browser's pages only the server's own: see `browsers.py`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from fakellm.clock.clock import RealClock
from fakellm.provider.exchange import Exchange, ProviderCall
from fakellm.server import openapi, told, views
from fakellm.server.browsers import foreign, is_near
from fakellm.server.connection import Answer
from fakellm.server.live import Live
from fakellm.server.logged import Logged
from fakellm.server.openapi import Route
from fakellm.server.parsing import HttpRequest
from fakellm.server.routing import variables_of
from fakellm.server.sessions import PLACE, Session, SessionError, Sessions, named_by
from fakellm.wire.codec import Ending

_HEADERS = [
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    (
        "content-security-policy",
        (
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
        ),
    ),
]
_LARGEST = 8 * 1024 * 1024
"""Bytes of what is scripted at once: it is read while no answer goes on."""
_MOST = 1_000
"""How many requests are told at once, with answers."""
_HTML = "text/html; charset=utf-8"

ROUTES = (
    Route("GET", "/", "page", "A page of what comes, as it comes", _HTML, is_of_session=False),
    Route("GET", "/page.js", "page_script", "Its script", "text/javascript; charset=utf-8", is_of_session=False),
    Route("GET", "/page.css", "page_style", "Its style", "text/css; charset=utf-8", is_of_session=False),
    Route("GET", "/openapi.json", "describe", "This document", dict[str, Any], is_of_session=False),
    Route("GET", "/state", "state", "The providers, where their SDKs find them, and the sessions", views.State),
    Route("POST", "/replies", "reply", "Script replies, all or none", list[str], takes=told.Reply, status=201),
    Route(
        "POST", "/documents", "document", "Answer endpoints of one's own", list[str], takes=told.Document, status=201
    ),
    Route(
        "GET",
        "/calls",
        "calls",
        "The requests with answers, at most 1,000",
        list[views.Call],
        query=("since", "provider"),
    ),
    Route("GET", "/calls/{number}", "call", "One request, with its answer", views.Call),
    Route(
        "GET", "/events", "events", "The requests as they come: server-sent events, each a `Brief`", "text/event-stream"
    ),
    Route("GET", "/misses", "misses", "The requests that found no reply", list[views.Miss]),
    Route("GET", "/unused", "unused", "What was scripted for requests that never came", list[views.Unused]),
    Route("POST", "/reset", "reset", "Forget what came, and what was scripted over HTTP", views.State),
    Route("GET", "/sessions", "sessions", "The sessions", list[views.SessionState], is_of_session=False),
    Route("DELETE", "/sessions/{name}", "end_session", "End a session", list[views.SessionState], is_of_session=False),
)


class Controlled(Protocol):
    """The server that is asked."""

    sessions: Sessions
    control: bool | None
    host: str


class _RefusedError(Exception):
    def __init__(self, status: int, message: str, remedy: str, problems: list[dict[str, Any]] | None = None) -> None:
        super().__init__(message)
        error = {"message": message, "problems": problems or [], "remedy": remedy}
        self.status, self.document = status, {"error": error}


class _Asked:
    """One request, and the session that it is about."""

    def __init__(self, request: HttpRequest, sessions: Sessions) -> None:
        parts = urlsplit(request.target)
        self.path = parts.path[len(PLACE) :] or "/"
        self.query = parse_qs(parts.query)
        self.body = request.body
        self.origin = f"http://{request.host}"
        self.parts: Mapping[str, str] = {}
        self.call = ProviderCall(request.method, request.target, request.headers, request.body)
        self.name = named_by(request.headers) or self.query.get("session", [""])[0].strip()
        self._sessions = sessions

    def session(self, *, may_begin: bool = False) -> Session:
        """Return the session; one that is only read has to be there."""
        if self.name and not may_begin and all(one.name != self.name for one in self._sessions):
            remedy = "a session begins with its first request to a provider, or with its first reply"
            if self._sessions.gone.sessions:
                remedy += f"; {self._sessions.gone.sessions} that were not used for longest were let go"
            raise _RefusedError(404, f"there is no session {self.name!r}", remedy)
        return self._sessions.named(self.name)

    def number(self, name: str, text: str) -> int:
        """Return a number that was sent as text."""
        if not re.fullmatch(r"\d{1,9}", text):
            raise _RefusedError(400, f"{name} is the number of a request, not {text!r}", "requests count from 1")
        return int(text)


class Control:
    """Answers what a server is asked about itself; nothing is raised."""

    def __init__(self, server: Controlled) -> None:
        self._server = server
        self._clock = RealClock()

    def answer(self, request: HttpRequest, peer: str) -> Answer:
        """Return the answer to a request that came from an address."""
        asked = _Asked(request, self._server.sessions)
        try:
            self._check(request, peer)
            if urlsplit(request.target).path == PLACE:
                return Answer(_moved(asked), self._clock)
            route = self._route(request.method, asked)
            exchange = getattr(self, f"_{route.name}")(asked, route)
        except _RefusedError as refused:
            exchange = _json(asked, refused.status, refused.document)
        except SessionError as error:
            exchange = _json(asked, 400, _RefusedError(400, str(error), "choose another name").document)
        except told.RefusedError as error:
            remedy = f"the form of a body is in {PLACE}/openapi.json; nothing of this one was scripted"
            exchange = _json(asked, 400, _RefusedError(400, str(error), remedy, error.problems).document)
        except Exception as error:  # noqa: BLE001 - told to the client in a line, and to whoever runs the server in full
            context = {"message": f"{request.method} {request.target} was not answered", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
            remedy = "this is a bug of fakellm; what the server has written says more"
            exchange = _json(asked, 500, _RefusedError(500, f"{type(error).__name__}: {error}", remedy).document)
        return Answer(exchange, self._clock)

    def _check(self, request: HttpRequest, peer: str) -> None:
        control = self._server.control
        if control is False:
            raise _RefusedError(404, "this server is not controlled over HTTP", "Server(control=True) allows it")
        if not control and not is_near(peer, request.headers):
            remedy = "ask from there; or Server(control=True) lets every machine that reaches the server control it"
            raise _RefusedError(403, "only the machine that the server runs on may control it", remedy)
        why = foreign(request.headers, is_open=bool(control), known=self._server.host)
        if why is not None:
            raise _RefusedError(403, why, "ask without a browser, or from the server's own page")
        if len(request.body) > _LARGEST:
            raise _RefusedError(413, f"the body is longer than {_LARGEST} bytes", "script it in several requests")

    def _route(self, method: str, asked: _Asked) -> Route:
        fitting = [(route, found) for route in ROUTES if (found := _pattern(route.path).fullmatch(asked.path))]
        for route, found in fitting:
            if route.method == method:
                asked.parts = {name: unquote(text) for name, text in found.groupdict().items()}
                return route
        known = ", ".join(f"{route.method} {PLACE}{route.path}" for route in ROUTES)
        if fitting:
            allowed = ", ".join(route.method for route, _ in fitting)
            raise _RefusedError(405, f"{PLACE}{asked.path} takes {allowed}, not {method}", f"there are {known}")
        raise _RefusedError(404, f"there is no {PLACE}{asked.path}", f"there are {known}")

    # -- what is asked, by the names of the routes ----------------------------------------------------

    def _page(self, asked: _Asked, route: Route) -> Exchange:
        return _whole(asked, 200, route.gives, _file("page.html"))

    def _page_script(self, asked: _Asked, route: Route) -> Exchange:
        return _whole(asked, 200, route.gives, _file("page.js"))

    def _page_style(self, asked: _Asked, route: Route) -> Exchange:
        return _whole(asked, 200, route.gives, _file("page.css"))

    def _describe(self, asked: _Asked, route: Route) -> Exchange:  # noqa: ARG002 - as the others
        return _json(asked, 200, openapi.document(ROUTES), harmless=True)

    def _state(self, asked: _Asked, route: Route) -> Exchange:  # noqa: ARG002 - as the others
        session = asked.session()
        providers = []
        for provider in session.providers:
            url = session.base_url(asked.origin, provider.name)
            providers.append({"name": provider.name, "base_url": url, "variables": variables_of(provider, url)})
        state = {
            "fakellm": openapi.VERSION,
            "session": session.name,
            "providers": providers,
            "sessions": self._all_sessions(),
        }
        return _json(asked, 200, state, harmless=True)

    def _reply(self, asked: _Asked, route: Route) -> Exchange:
        return _json(asked, route.status, told.tell_replies(asked.session(may_begin=True), asked.body))

    def _document(self, asked: _Asked, route: Route) -> Exchange:
        return _json(asked, route.status, told.tell_documents(asked.session(may_begin=True), asked.body))

    def _calls(self, asked: _Asked, route: Route) -> Exchange:  # noqa: ARG002 - as the others
        session = asked.session()
        since = asked.number("since", asked.query.get("since", ["0"])[0])
        log = session.since(since)
        if wanted := asked.query.get("provider", [""])[0]:
            try:
                session[wanted]
            except KeyError as error:
                raise _RefusedError(400, str(error.args[0]), "name one of them, or leave it out") from None
            log = [logged for logged in log if logged.provider == wanted]
        return _told_calls(asked, log[:_MOST])

    def _call(self, asked: _Asked, route: Route) -> Exchange:  # noqa: ARG002 - as the others
        session = asked.session()
        number = asked.number("the end of the path", asked.parts["number"])
        log = session.log
        if not 0 < number <= log.total:
            message = f"there is no request {number}: {log.total} came in this session"
            raise _RefusedError(404, message, "requests count from 1, in each session anew")
        if number <= log.gone:
            message = f"request {number} was let go: of {log.total} that came here the last {len(log)} are kept"
            raise _RefusedError(404, message, "a server keeps as many as it is told to: fakellm serve --keep 5000")
        logged = log[number - log.gone - 1]
        return _json(asked, 200, views.whole(logged), secrets=logged.call.credentials)

    def _events(self, asked: _Asked, route: Route) -> Exchange:  # noqa: ARG002 - as the others
        return Live(asked.call, asked.session(may_begin=True), _HEADERS)

    def _misses(self, asked: _Asked, route: Route) -> Exchange:  # noqa: ARG002 - as the others
        session = asked.session()
        owners = {id(miss): provider.name for provider in session.providers for miss in provider.misses}
        misses = [
            {
                "number": miss.place,
                "provider": owners.get(id(miss), ""),
                "message": str(miss),
            }
            for miss in session.misses
        ]
        return _json(asked, 200, sorted(misses, key=lambda miss: miss["number"]))

    def _unused(self, asked: _Asked, route: Route) -> Exchange:  # noqa: ARG002 - as the others
        unused = self._server.sessions.unused(asked.session())
        return _json(asked, 200, [{"provider": provider.name, "reply": str(reply)} for provider, reply in unused])

    def _reset(self, asked: _Asked, route: Route) -> Exchange:
        asked.session().reset()
        return self._state(asked, route)

    def _sessions(self, asked: _Asked, route: Route) -> Exchange:  # noqa: ARG002 - as the others
        return _json(asked, 200, self._all_sessions())

    def _end_session(self, asked: _Asked, route: Route) -> Exchange:
        if not self._server.sessions.end(name := asked.parts["name"]):
            raise _RefusedError(404, f"there is no session {name!r}", f"GET {PLACE}/sessions lists them")
        return self._sessions(asked, route)

    def _all_sessions(self) -> list[dict[str, Any]]:
        return [
            {
                "name": session.name,
                "calls": session.log.total,
                "kept": len(session.log),
                "misses": len(session.misses) + session.misses_gone,
            }
            for session in self._server.sessions
        ]


@cache
def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path)))


@cache
def _file(name: str) -> bytes:
    return files("fakellm.server").joinpath("page", name).read_bytes()


def _told_calls(asked: _Asked, log: list[Logged]) -> Exchange:
    shown = [views.dumped(views.whole(logged), logged.call.credentials) for logged in log]
    return _whole(asked, 200, "application/json", b"[%s]" % b", ".join(shown))


def _json(
    asked: _Asked, status: int, document: Any, *, secrets: frozenset[str] = frozenset(), harmless: bool = False
) -> Exchange:
    """Return a document as an answer; `harmless` is what has nothing that came from outside but names."""
    data = views.plain(document) if harmless else views.dumped(document, secrets)
    return _whole(asked, status, "application/json", data)


def _whole(asked: _Asked, status: int, kind: str, body: bytes) -> Exchange:
    headers = [("content-type", kind), ("content-length", str(len(body))), *_HEADERS]
    return Exchange(asked.call, status, headers, [Ending([body])])


def _moved(asked: _Asked) -> Exchange:
    """Lead to the page with its slash, beside which its script and its style are."""
    return Exchange(asked.call, 307, [("location", f"{PLACE}/"), ("content-length", "0"), *_HEADERS], [Ending([b""])])
