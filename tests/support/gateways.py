"""Streams that gateways were measured with, and what arrives of them behind one, on a clock that nobody waits for."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from fakellm.cassette.replay import steps_of
from fakellm.provider.asking import request_of
from fakellm.script.events import Fault, Pause, disconnect, stall
from fakellm.server.recorded import load
from fakellm.wire.codec import Ending
from fakellm.wire.gateways.gateway import Asked
from fakellm.wire.gateways.passing import Passing
from fakellm.wire.gateways.presets import gateways_of
from fakellm.wire.hops import Carried

TAPES = Path(__file__).parents[2] / "cassettes" / "servers"
CHUNKED = (
    ("content-type", "text/event-stream; charset=utf-8"),
    ("transfer-encoding", "chunked"),
    ("x-request-id", "req-1"),
)
CLOSING = (CHUNKED[0], CHUNKED[2])
DONE = b"data: [DONE]\n\n"
COUNTED = {"prompt_tokens": 13, "completion_tokens": 12, "total_tokens": 25}


def chunk(delta: Any = None, finish: str | None = None, **more: Any) -> bytes:
    """Return a chunk as the server sends it."""
    choice = {"index": 0, "delta": delta or {}, "logprobs": None, "finish_reason": finish}
    said = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": "up"}
    return b"data: %b\n\n" % json.dumps({**said, "system_fingerprint": "fp", "choices": [choice], **more}).encode()


USAGE = chunk(choices=[], usage=COUNTED)
ERROR = b'data: {"error":{"message":"the model fell over","type":"server_error","param":null,"code":500}}\n\n'
ROLE = chunk({"role": "assistant", "content": ""})
END = chunk(finish="stop")


def words(count: int) -> list[bytes]:
    """Return so many chunks of text."""
    return [chunk({"content": f"word{at} "}) for at in range(count)]


def paced(events: Iterable[bytes], seconds: float = 0.05) -> list[Any]:
    """Return events with a silence behind each."""
    return [step for event in events for step in ([event], Pause(seconds))]


_P1 = [ROLE, *words(8), END, USAGE, DONE]
MADE: dict[str, tuple[list[Any], tuple[tuple[str, str], ...]]] = {
    "P1": ([*paced(_P1), Ending()], CHUNKED),
    "P2": ([*paced([half for e in _P1 for half in (e[:40], e[40:])], 0.025), Ending()], CHUNKED),
    "P3": ([*paced([ROLE, *words(58), DONE]), Ending()], CHUNKED),
    "P4": ([*paced([ROLE, *words(5)]), disconnect("close")], CHUNKED),
    "P4 reset": ([*paced([ROLE, *words(5)]), disconnect("reset")], CHUNKED),
    "P5": ([*paced([ROLE, *words(5)]), Ending()], CHUNKED),
    "P6": ([*paced([ROLE, *words(5), USAGE, DONE]), Ending()], CHUNKED),
    "P7": ([*paced([ROLE, *words(5), END, DONE]), Ending()], CHUNKED),
    "PC": ([*paced(_P1), Ending()], CLOSING),
    "PX": ([*paced(_P1), Ending()], (*CLOSING, ("x-accel-buffering", "no"))),
    "PL": ([Pause(1.0), *paced([ROLE, *words(14), END, USAGE, DONE], 1.0), Ending()], CHUNKED),
    "comment": ([[b": keep-alive\n\n"], Pause(1.0), *paced(_P1), Ending()], CHUNKED),
    "error first": ([[ERROR], [DONE], Ending()], CHUNKED),
    "error later": ([*paced([ROLE, *words(2)]), [ERROR], [DONE], Ending()], CHUNKED),
    "done, then closed": ([*paced([ROLE, *words(2), DONE]), disconnect("close")], CHUNKED),
    "nothing": ([Ending()], CHUNKED),
}
"""The made streams: their steps and their headers."""


@dataclass
class Arrived:
    """What arrived: when the headers came, the pieces with their times, and how it ended."""

    status: int
    headers: dict[str, str]
    head: float = 0.0
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    end: str = "whole"
    ended: float = 0.0

    @property
    def body(self) -> bytes:
        """All bytes."""
        return b"".join(piece for _, piece in self.pieces)

    @property
    def events(self) -> list[Any]:
        """What the events say: JSON, or `[DONE]`."""
        texts = [block.partition(b"data: ")[2] for block in self.body.split(b"\n\n") if block.startswith(b"data: ")]
        return [json.loads(text) if text != b"[DONE]" else "[DONE]" for text in texts]

    @property
    def chunks(self) -> list[Any]:
        """The events that are chunks."""
        return [event for event in self.events if isinstance(event, dict)]

    @property
    def deltas(self) -> list[Any]:
        """The deltas of all chunks."""
        return [choice["delta"] for one in self.chunks for choice in one.get("choices") or ()]

    @property
    def reasons(self) -> list[Any]:
        """The finish reasons, each with the index of its answer."""
        all_choices = [choice for one in self.chunks for choice in one.get("choices") or ()]
        return [(one["index"], one["finish_reason"]) for one in all_choices if one.get("finish_reason")]

    @property
    def usages(self) -> list[Any]:
        """The usages."""
        return [one["usage"] for one in self.chunks if one.get("usage")]


def arrived(
    names: Any,
    steps: Iterable[Any],
    headers: tuple[tuple[str, str], ...] = CHUNKED,
    *,
    status: int = 200,
    before: Any = (),
    **asked: Any,
) -> Arrived:
    """Return what arrives of an answer behind gateways."""
    told = Asked(**{"model": "m", "number": 1, "prompt": "Hi there", **asked})
    answer = Carried(status, headers, iter(steps), before, told.streams)
    for gateway in gateways_of(names):
        answer = Passing(gateway, told).carry(answer)
    found = Arrived(answer.status, {name.lower(): value for name, value in answer.headers})
    for step in answer.before:
        if isinstance(step, Pause):
            found.head += step.seconds
        else:
            found.end = getattr(step, "how", None) or getattr(step, "where", "")
    now = found.head
    for step in answer.steps:
        if isinstance(step, Pause):
            now += step.seconds
        elif isinstance(step, stall):
            found.end, now = "no end", math.inf
        elif isinstance(step, Fault):
            found.end = "cut"
        else:
            found.pieces += [(round(now, 6), piece) for piece in step]
    found.ended = round(now, 6)
    return found


def made(names: Any, stream: str, **asked: Any) -> Arrived:
    """Return what arrives of a made stream behind gateways."""
    steps, headers = MADE[stream]
    return arrived(names, steps, headers, **asked)


@cache
def _tape(name: str) -> Any:
    return load([TAPES / f"{name}.yaml"])[0]


def taped(names: Any, tape: str, **more: Any) -> Arrived:
    """Return what arrives of a recorded stream, which is played at its pace, behind gateways."""
    _, _, request, response = _tape(tape)
    steps = steps_of(response, timed=True, ended=lambda _: AssertionError("read past the end"))
    headers = [(name, value) for name, told in response["headers"].items() for value in told]
    asks = request_of(request.method, request.uri, request.headers, request.body)
    if asks is None:
        raise AssertionError(tape)
    wants = bool((asks.options.get("stream_options") or {}).get("include_usage"))
    return arrived(names, steps, tuple(headers), wants_usage=wants, **more)
