"""Faults behind gateways: how each arrives there, and those that arrive as a whole answer, which nobody can tell.

A gateway that keeps the bytes hides nothing: what breaks off may end in order there, but lacks its finish reason. One
that writes streams anew may make up what is missing. Whether it does is seen from what arrives.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fakellm.contracts.faults.ways import Faulty
from fakellm.script.events import Fault, Finish, http_error, strikes_first
from fakellm.wire.codec import Ending, runs
from fakellm.wire.gateways.gateway import Asked, Gateway
from fakellm.wire.gateways.passing import Passing
from fakellm.wire.hops import Carried
from fakellm.wire.openai.chat import ChatCodec

_OK = 200


def through(faulty: Faulty, gateways: tuple[Gateway, ...]) -> Faulty:
    """Let a broken script arrive as it does behind gateways; return it."""
    if gateways:
        object.__setattr__(faulty, "gateways", gateways)
        object.__setattr__(faulty, "label", f"{faulty.label}, behind {named(gateways)}")
    return faulty


def named(gateways: Iterable[Gateway]) -> str:
    """Return the names of gateways, the one nearest to the server first."""
    return " and ".join(gateway.name for gateway in gateways)


def is_hidden(faulty: Faulty, gateways: tuple[Gateway, ...]) -> bool:
    """Tell whether a fault arrives as a whole answer behind gateways."""
    if faulty.fault is None or not any(gateway.rewrites for gateway in gateways):
        return False
    first = next(iter(faulty), None)
    if isinstance(first, http_error) or (isinstance(first, Fault) and strikes_first(first)):
        return False
    codec = ChatCodec()
    request = codec.request({"model": "m", "messages": [{"role": "user", "content": "?"}], "stream": True})
    steps = runs(codec.encoder(request, 1), faulty)
    answer = Carried(_OK, codec.stream_headers(request, 1), steps, streams=True)
    for gateway in gateways:
        answer = Passing(gateway, Asked(model=request.model)).carry(answer)
    came = list(answer.steps)
    return answer.status == _OK and isinstance(came[-1], Ending) and _looks_whole(codec, came)


def _looks_whole(codec: ChatCodec, steps: Iterable[Any]) -> bool:
    said = codec.decode(b"".join(piece for step in steps if isinstance(step, list) for piece in step))
    reasons = [event.reason for event in said if isinstance(event, Finish)]
    return said.fault is None and bool(reasons) and "error" not in reasons
