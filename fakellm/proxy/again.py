"""What was recorded, asked again at the real providers, and their answers compared with the recorded ones.

A tape has no keys, so they are taken from where the SDKs take them, the environment. Where a tape says that it was
recorded is what a file says: a key goes only to the provider whose it is, at its own hosts and encrypted, to this
machine, and to where the user points the provider himself.

What a tape holds beside, such as orders that a tool placed, is not done again: only endpoints of models are asked.

Nothing but the answers is recorded anew. The request on the tape stays as it is, its URL too, so that whoever played
the tape plays it again.
"""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

from vcr.request import Request

from fakellm.cassette.drift import GRADES, Drift, Grade, drifts
from fakellm.cassette.files import Files, identity
from fakellm.cassette.held import latin
from fakellm.cassette.matching import bytes_of
from fakellm.cassette.misses import address_of
from fakellm.cassette.pairs import Pair
from fakellm.cassette.recorder import Head, Now, Recording
from fakellm.cassette.redaction import Redactor
from fakellm.errors import explain
from fakellm.http.keys import KEY
from fakellm.provider.hosts import LOOPBACK, parts_of
from fakellm.proxy.lines import trusted, why_not
from fakellm.proxy.upstreams import PORTS, Place, Upstream
from fakellm.secrets.shapes import PLACEHOLDER
from fakellm.server.recorded import Interaction, load
from fakellm.wire.providers import service_of, services_at
from fakellm.wire.service import Service

_PATIENCE = 60.0
"""Seconds for a connection, and for each silence of an answer."""
_ANEW = frozenset(
    ("host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "expect", "accept-encoding")
)
"""Headers that are written for each connection anew."""
_TOKENS = {"bedrock": ("AWS_BEARER_TOKEN_BEDROCK",)}
"""Variables of keys that a service does not name itself, since its SDK signs requests where it has none."""
_AZURE = "AZURE_OPENAI_API_KEY"
_BEHIND = re.compile(r"/(v\d\w*|api|model)/")
"""Where the path of an endpoint begins, for SDKs whose base URL is a host alone."""
_FEW = 3
_NOT_TAKEN = ("status-class", "broken-off", "format")
"""What keeps an answer from being recorded: it is none that a test could be played."""


class NotAskedError(Exception):
    """A recorded request cannot be asked again: why, and what to do."""


@dataclass(frozen=True, slots=True)
class Compared:
    """An interaction of a tape, and how its answer differs now.

    `problem` is why it could not be asked, `other` why it was not meant to be.
    """

    tape: Path
    interaction: int
    recorded: Pair
    answered: Pair | None = None
    drifts: list[Drift] = field(default_factory=list)
    problem: str = ""
    other: str = ""

    @property
    def place(self) -> str:
        """Where the recording is."""
        return f"{self.tape}, interaction {self.interaction}"

    @property
    def address(self) -> str:
        """What was asked."""
        return address_of(self.recorded[0])

    @property
    def has_drifted(self) -> bool:
        """Whether there is more than noise."""
        return any(one.grade != "noise" for one in self.drifts)

    def lines(self, *grades: Grade) -> list[str]:
        """Word the differences of these grades, by default of all; what is the same at several fields, in one line."""
        alike: dict[tuple[Grade, str | None, str], list[str]] = {}
        for one in self.drifts:
            if one.grade in (grades or GRADES):
                alike.setdefault((one.grade, one.event, one.reason), []).append(one.field or "")
        return [
            f"{grade}: {', '.join(filter(None, (self.place, event, _listed(grade, fields))))}: {reason}"
            for (grade, event, reason), fields in alike.items()
        ]


class Asking:
    """Asks what was recorded again. `given` are base URLs of providers by their names, `environ` has the keys.

    Raises `ValueError` for a provider that nobody knows, and for what is no URL.
    """

    def __init__(
        self,
        given: Mapping[str, str],
        environ: Mapping[str, str],
        *,
        redactor: Redactor | None = None,
        patience: float = _PATIENCE,
        now: Now = time.perf_counter,
    ) -> None:
        self._given = {name: Upstream.of(service_of(name), url) for name, url in given.items()}
        self._environ = environ
        self._redactor = redactor or Redactor()
        self._patience = patience
        self._now = now

    def tape(self, path: str | Path) -> list[Compared]:
        """Ask all that is on a tape. Raises `CassetteError` for a broken tape, and `OSError` for no file."""
        return [self.compared(interaction) for interaction in load([Path(path)])]

    def compared(self, interaction: Interaction) -> Compared:
        """Ask once more; return how the answer differs, or why nobody could be asked."""
        path, at, request, response = interaction
        recorded = (request, response)
        parts = parts_of(request.uri)
        if not services_at(request.method, parts.hostname or "", parts.path):
            return Compared(path, at, recorded, other=f"{address_of(request)} is no request to a model")
        try:
            answered = self.asked(request)
        except NotAskedError as error:
            return Compared(path, at, recorded, problem=str(error))
        return Compared(path, at, recorded, answered, drifts(recorded, answered))

    def asked(self, recorded: Request) -> Pair:
        """Return the recorded request with the answer that comes now, without secrets. Raises `NotAskedError`."""
        place, target, headers = self._way(recorded)
        body = bytes_of(recorded)
        sent = Request(recorded.method, f"{place}{target}", body, headers)
        self._redactor.learn(sent)
        _, stored = self._redactor.interaction(sent, self._answer(place, target, sent, body))
        return recorded, stored

    # -- where and how --------------------------------------------------------------------------------

    def _way(self, recorded: Request) -> tuple[Place, str, dict[str, str]]:
        """Return where a request goes, what for, and its headers, with credentials where it had some."""
        parts = urlsplit(recorded.uri)
        if parts.scheme not in PORTS or not parts.hostname or not _has_port(parts):
            raise NotAskedError(f"{address_of(recorded)} is no request of HTTP")
        service = self._service(recorded.method, parts.hostname, parts.path)
        given = self._given.get(service.name) if service is not None else None
        if given is not None and service is not None:
            place, path = given.place, f"{given.path}{_behind(service, recorded.method, parts.path)}"
        else:
            port = parts.port or PORTS[parts.scheme]
            place, path = Place(parts.scheme, parts.hostname, port), parts.path or "/"
        target = urlunsplit(("", "", path, parts.query, ""))
        headers = {name.lower(): latin(value) for name, value in recorded.headers.items()}
        redacted = {name for name, value in headers.items() if PLACEHOLDER in value and not _is_credential(name)}
        headers = {name: value for name, value in headers.items() if name not in _ANEW | redacted}
        if any(PLACEHOLDER in text for text in (target, *headers.values())):
            target, headers = self._with_key(service, place, target, headers, is_given=given is not None)
        return place, target, headers

    def _service(self, method: str, host: str, path: str) -> Service | None:
        """Return whose request it is; at a host that may be anybody's, of one whose URL is given."""
        found = services_at(method, host, path)
        return next((one for one in found if one.name in self._given), found[0] if found else None)

    def _with_key(
        self, service: Service | None, place: Place, target: str, headers: dict[str, str], *, is_given: bool
    ) -> tuple[str, dict[str, str]]:
        """Return target and headers with a key in the place of each that was redacted."""
        if headers.get("authorization", "").startswith("AWS4-"):
            msg = f"it was signed for {place}, and cannot be signed again here"
            raise NotAskedError(explain(msg, remedy=["record it with an API key: AWS_BEARER_TOKEN_BEDROCK"]))
        key = self._key(service, place, is_given=is_given)
        told = {name: value.replace(PLACEHOLDER, key) for name, value in headers.items()}
        return target.replace(PLACEHOLDER, key), told

    def _key(self, service: Service | None, place: Place, *, is_given: bool) -> str:
        is_here = LOOPBACK.match(place.host) is not None
        names = _variables(service, place, is_trusted=is_given or is_here)
        key = next((self._environ[name] for name in names if self._environ.get(name, KEY) not in ("", KEY)), "")
        if key or is_here:  # a server of one's own takes any
            return key or "none"
        if names:
            raise NotAskedError(explain(f"there is no key for {place}", remedy=[f"set {' or '.join(names)}"]))
        who = service.name if service is not None else "openai"
        remedy = [f"if you trust it, name it: --upstream {who}=URL, with its key where the SDK of {who} looks for one"]
        raise NotAskedError(explain(f"no key is sent to {place}, which only the tape names", remedy=remedy))

    # -- the answer -----------------------------------------------------------------------------------

    def _answer(self, place: Place, target: str, sent: Request, body: bytes) -> dict[str, Any]:
        """Return the response as vcrpy keeps it, with its chunks."""
        kind = http.client.HTTPSConnection if place.is_secure else http.client.HTTPConnection
        secure: dict[str, Any] = {"context": trusted()} if place.is_secure else {}
        connection = kind(place.host, place.port, timeout=self._patience, **secure)
        try:
            response = self._head(connection, place, target, sent, body)
            pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.getheaders()]
            head = Head(response.status, response.reason, pairs)
            recording = Recording(head, _nothing, "gzip, deflate", self._now, sent.method)
            _read(response, recording)
            return recording.response
        finally:
            connection.close()

    def _head(
        self, connection: http.client.HTTPConnection, place: Place, target: str, sent: Request, body: bytes
    ) -> http.client.HTTPResponse:
        try:
            connection.putrequest(sent.method, target, skip_accept_encoding=True)
            for name, value in {**sent.headers, "accept-encoding": "gzip, deflate"}.items():
                connection.putheader(name, value.encode("utf-8"))
            if body or sent.method in ("POST", "PUT", "PATCH"):
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body or None)
            return connection.getresponse()
        except TimeoutError:
            why = f"no answer within {self._patience:g} seconds"
        except http.client.RemoteDisconnected:
            why = "it closed the connection without an answer"
        except OSError as error:
            why = f"it could not be reached: {why_not(error)}"
        except (http.client.HTTPException, ValueError) as error:
            why = f"HTTP went wrong: {type(error).__name__}"
        raise NotAskedError(f"{place}: {why}")


def _listed(grade: Grade, fields: list[str]) -> str:
    """Return all fields; of noise a few."""
    more = len(fields) - _FEW
    is_long = grade == "noise" and more > 0
    return f"{', '.join(fields[:_FEW])} and {more} more" if is_long else ", ".join(fields)


def _has_port(parts: SplitResult) -> bool:
    """Tell whether the port of a URL, if there is one, can be one."""
    try:
        return parts.port is None or parts.port > 0
    except ValueError:
        return False


def _nothing(recording: Recording) -> None:
    pass


def _read(response: http.client.HTTPResponse, recording: Recording) -> None:
    """Record a body to its end, whatever that is."""
    try:
        while data := response.read1(65536):
            recording.chunk(data)
    except http.client.HTTPException:
        recording.finish("dropped", "RemoteProtocolError")
    except OSError as error:
        recording.fail(error)
    if response.length:
        recording.finish("dropped", "RemoteProtocolError")
    recording.finish("complete")


def _behind(service: Service, method: str, path: str) -> str:
    """Return what the SDK adds to its base URL."""
    if service.base_path and f"{service.base_path}/" in path:
        return f"/{path.partition(f'{service.base_path}/')[2]}"
    if (found := _BEHIND.search(path)) is not None:
        return path[found.start() :]
    endpoint = service.endpoint(method, path)
    match = endpoint.path.search(path) if endpoint is not None else None
    return path[match.start() :] if match is not None else path


def _is_credential(name: str) -> bool:
    """Tell whether a header of a request holds the key."""
    return name == "authorization" or name.endswith("api-key")


def _variables(service: Service | None, place: Place, *, is_trusted: bool) -> tuple[str, ...]:
    """Return the variables any of which has the key for a place; none for one that gets no key."""
    if service is None:
        return ()
    own = (*_TOKENS.get(service.name, ()), *service.keys)
    if is_trusted:
        return own
    if not place.is_secure:
        return ()
    if service.alike is not None and service.alike.match(place.host):
        return tuple(key for module, key in service.clients if module.partition("_")[0] in place.host)
    if place.host.endswith((".azure.com", ".azure.us", ".azure.cn")):
        return (_AZURE,) if service.hosts.match(place.host) else ()
    return own if service.hosts.match(place.host) else ()


# -- recorded anew ------------------------------------------------------------------------------------


def _why_not(tape: list[Compared]) -> str:
    """Return why a tape is not recorded anew, though some of it has drifted; nothing where it can be."""
    for one in tape:
        if one.problem:
            return f"interaction {one.interaction} could not be asked"
        if any(drift.rule in _NOT_TAKEN for drift in one.drifts):
            return f"interaction {one.interaction} is answered in a way that is no answer to record"
        if one.has_drifted and (one.recorded[1].get("stream") or {}).get("end", "complete") in ("dropped", "timeout"):
            return f"interaction {one.interaction} was recorded as it broke, which an answer today does not"
    return ""


def record_anew(path: Path, tape: list[Compared]) -> str:
    """Put the new answers of what has drifted in the place of the recorded ones; return why not, where that cannot be.

    The tape is written whole or not at all. Raises `CassetteError` if it cannot be written.
    """
    new = {identity(one.recorded): one.answered for one in tape if one.has_drifted and one.answered is not None}

    def changed(there: list[Pair]) -> list[Pair]:
        return list(_replaced(there, new))

    if why := _why_not(tape):
        return why
    Files(name=str(path)).change(path, changed, {})
    return ""


def _replaced(there: list[Pair], new: Mapping[str, Pair]) -> Iterator[Pair]:
    for pair in there:
        request, _ = pair
        answered = new.get(identity(pair))
        yield pair if answered is None else (request, answered[1])
