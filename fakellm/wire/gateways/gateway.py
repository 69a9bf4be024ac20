"""A gateway as data: what stands between a server and an app, and what that does to an answer which passes through it.

What each gateway does was measured, with the versions that its preset names; docs/gateways.md is the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from fakellm.errors import ScriptError, clip
from fakellm.wire.codec import Headers

CHAT = "openai.chat"
"""The API whose streams gateways write anew."""
Holds = Literal["never", "always", "unchunked"]
Drop = Literal["cut", "whole", "hang"]
Words = Literal["", "litellm", "lm-proxy", "mlflow", "llama-stack", "any-llm"]
Counts = Literal["as asked", "always", "never"]
_KNOWN = {"holds": Holds, "drop": Drop, "reset": Drop, "rewrites": Words, "usage": Counts}
_SECONDS = ("batch", "first_late", "lag", "end_late", "busy", "limit", "silence")


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
    no end at all; `reset` is the same of one that it resets, and `loses` tells that held pieces are lost then. A body
    that the server ends by closing goes on in chunks if it `frames`.

    Words. `rewrites` names how chat completions are written anew (see `fakellm.wire.gateways.rewriters`); the bytes
    are kept where it is empty. Headers of the server are kept but for those named in `drops`, or with `drops="all"` for
    all but the framing; `adds` come beside. `usage` is what becomes of a request for usage on its way to the server:
    passed on as it is, always added, or taken away. `refused` is the answer where the server cannot be reached,
    `unanswered` where it closes without an answer, `late` where it takes too long to begin.

    Raises `ScriptError` for what is no gateway.
    """

    name: str
    version: str
    holds: Holds = "never"
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
    rewrites: Words = ""
    drops: Literal["all"] | tuple[str, ...] = ()
    adds: Headers = ()
    usage: Counts = "as asked"
    refused: Page | None = None
    unanswered: Page | None = None
    late: Page | None = None

    def __post_init__(self) -> None:
        for name, known in _KNOWN.items():
            if getattr(self, name) not in get_args(known):
                raise self._wrong(name, f"one of {', '.join(map(repr, get_args(known)))}")
        if type(self.buffer) is not int or self.buffer < 1:
            raise self._wrong("buffer", "a whole number of bytes from 1 up")
        if isinstance(self.drops, str) and self.drops != "all":
            raise self._wrong("drops", "'all', or a tuple of names")
        for name in _SECONDS:
            value: Any = getattr(self, name)
            may_lack = name in ("limit", "silence")
            if not (may_lack if value is None else type(value) in (int, float) and value >= 0):
                raise self._wrong(name, f"a number of seconds from 0 up{', or None' * may_lack}")

    def _wrong(self, name: str, what: str) -> ScriptError:
        return ScriptError(f"Gateway.{name} is {what}, not {clip(repr(getattr(self, name)), 60)}")


class Asked(NamedTuple):
    """What a gateway knows of a request: its API, model and number, whether a stream and usage are wanted, its text."""

    api: str = CHAT
    model: str = ""
    number: int = 1
    streams: bool = True
    wants_usage: bool = False
    prompt: str = ""
