"""A gateway as data: what stands between a server and an app, and what that does to an answer which passes through it.

What each gateway does was measured, with the versions that its preset names; docs/gateways.md is the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from fakellm.wire.codec import Headers

CHAT = "openai.chat"
"""The API whose streams gateways write anew."""
Drop = Literal["cut", "whole", "hang"]


class Page(NamedTuple):
    """What a gateway says itself where the server said nothing: a status, headers, a body, after so many seconds."""

    status: int
    headers: Headers
    body: bytes
    after: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A gateway, and what becomes of a stream behind it. Times are seconds, sizes bytes.

    Pace. `holds` keeps pieces until `buffer` bytes are there or the body ends: `"always"`, but for servers that say
    `x-accel-buffering: no`, or only where the server sends no chunks (`"unchunked"`). `batch` gives on at once
    what came within that time. `first_late` is how much later the first piece comes, `lag` all of them, `end_late` the
    end. With `whole_events` a piece is an event, however it came. A `busy` gateway gives nothing on for that long at
    first, and `late_head` lets headers come with the first piece. An answer that takes longer than `limit` is cut, and
    so is one that is silent for longer than `silence`.

    Ends. `drop` is what becomes of a connection that the server closes before the end: broken off, ended in order, or
    no end at all; `reset` is the same of one that it resets, and `loses` tells that held pieces are lost then.

    Words. `rewrites` names how chat completions are written anew (see `fakellm.wire.gateways.rewriters`); the bytes
    are kept where it is empty. Headers of the server are kept but for those named in `drops`, or with `drops="all"` for
    all but the framing; `adds` come beside. `usage` is what becomes of a request for usage on its way to the server:
    passed on as it is, always added, or taken away. `refused` is the answer where the server cannot be reached,
    `unanswered` where it closes without an answer, `late` where it takes too long to begin.
    """

    name: str
    version: str
    holds: Literal["never", "always", "unchunked"] = "never"
    buffer: int = 4096
    batch: float = 0.0
    first_late: float = 0.0
    lag: float = 0.0
    end_late: float = 0.0
    whole_events: bool = False
    busy: float = 0.0
    late_head: bool = False
    limit: float | None = None
    silence: float | None = None
    drop: Drop = "cut"
    reset: Drop = "cut"
    loses: bool = False
    frames: bool = True
    rewrites: str = ""
    drops: Literal["all"] | tuple[str, ...] = ()
    adds: Headers = ()
    usage: Literal["as asked", "always", "never"] = "as asked"
    refused: Page | None = None
    unanswered: Page | None = None
    late: Page | None = None


class Asked(NamedTuple):
    """What a gateway knows of a request: its API, model and number, whether a stream and usage are wanted, its text."""

    api: str = CHAT
    model: str = ""
    number: int = 1
    streams: bool = True
    wants_usage: bool = False
    prompt: str = ""
