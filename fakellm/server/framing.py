"""How an answer looks on the wire: its head, its chunks, and all of it at once where it is known before it begins."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple

from fakellm.provider.actions import Failure, Timeouts, timed
from fakellm.provider.exchange import Exchange, Written
from fakellm.wire.codec import Ending

PATIENT = Timeouts()


class Framing(NamedTuple):
    """What of a request decides how its answer is framed."""

    is_old: bool
    is_zipped: bool
    keeps_alive: bool
    has_body: bool = True


class Part(NamedTuple):
    """What is sent at once, how many pieces are in it, and how many come before it; then what happens.

    That is a silence in seconds, or a failure, or nothing more: this is the end.
    """

    sent: bytes
    many: int
    before: int
    then: float | Failure | None


class Plan(NamedTuple):
    """All that an answer does which is known before it begins, and its pieces."""

    parts: list[Part]
    pieces: list[bytes]
    keeps_alive: bool


def reason_of(status: int) -> str:
    """Return the phrase that stands beside a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


@lru_cache(256)
def head_of(
    version: str, status: int, reason: str | None, headers: tuple[tuple[str, str], ...], framing: Framing
) -> tuple[bytes, bool, bool]:
    """Return the head of an answer, whether its body comes in chunks, and whether the connection lives on after it."""
    names = {name.lower() for name, _ in headers}
    is_sized = "content-length" in names and not framing.is_zipped
    is_old = framing.is_old or version == "HTTP/1.0"
    is_chunked = not is_sized and not is_old and "transfer-encoding" in names
    keeps_alive = framing.keeps_alive and (is_sized or is_chunked) and not is_old
    left_out = {"transfer-encoding", "connection"} | ({"content-length"} if not is_sized else set())
    phrase = reason if reason is not None else reason_of(status)
    lines = [f"{'HTTP/1.0' if version == 'HTTP/1.0' else 'HTTP/1.1'} {status} {phrase}"]
    lines += [f"{name}: {value}" for name, value in headers if name.lower() not in left_out]
    if is_chunked:
        lines.append("transfer-encoding: chunked")
    if framing.is_zipped:
        lines.append("content-encoding: gzip")
    if not keeps_alive:
        lines.append("connection: close")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape"), is_chunked, keeps_alive


def framed(pieces: list[bytes], *, is_chunked: bool) -> list[bytes]:
    """Return pieces as they are sent. An empty one has no form: as a chunk it would be the end of the body."""
    return [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece] if is_chunked else pieces


def plan_of(exchange: Exchange, written: Written, framing: Framing) -> Plan:
    """Return the plan of an answer that is written already: what is not waited between is one part."""
    if (known := written.made.get(framing)) is not None:
        return known  # type: ignore[no-any-return]
    head, is_chunked, keeps_alive = head_of(
        exchange.version, exchange.status, exchange.reason, tuple(written.headers), framing
    )
    parts: list[Part] = []
    pieces: list[bytes] = Ending()
    sent, before = [head], 0
    for action in timed(written.steps, PATIENT):
        if isinstance(action, list):
            sent += framed(action, is_chunked=is_chunked)
            pieces += action
        else:
            parts.append(Part(b"".join(sent), len(pieces) - before, before, action))
            sent, before = [], len(pieces)
    if parts and isinstance(parts[-1].then, Failure):
        pieces = list(pieces)
    else:
        end = [b"0\r\n\r\n"] if is_chunked else []
        parts.append(Part(b"".join([*sent, *end]), len(pieces) - before, before, None))
    return written.made.setdefault(framing, Plan(parts, pieces, keeps_alive))  # type: ignore[no-any-return]
