"""Compresses a body again as it plays, so that the client gets the headers that the server sent, and a body that fits.

A tape holds bodies decoded, for people to read and for secrets to be found. A client that asks again for what it can
decode gets the same coding: each chunk is flushed, so that it decodes to the chunk that was recorded. The bytes
between are valid, and not those of the server, whose compressor nobody knows. See `decoding` for the codings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from fakellm.cassette.decoding import is_coding
from fakellm.wire.codec import Ending
from fakellm.wire.coding import Compressor, codings_of

_Step = TypeVar("_Step")


def compressed(steps: Iterable[_Step], compressor: Compressor) -> Iterator[_Step]:
    """Yield steps of a body with their runs compressed, piece by piece."""
    for step in steps:
        if type(step) not in (list, Ending):
            yield step
            continue
        run: list[bytes] = list(step)  # type: ignore[call-overload]
        last = run[-1:] if isinstance(step, Ending) else []
        pieces = [compressor.feed(piece) for piece in run[: len(run) - len(last)]]
        if isinstance(step, Ending):
            pieces.append(compressor.finish(b"".join(last)))
        yield type(step)(pieces)  # type: ignore[call-arg]


def sent(response: Mapping[str, Any], accepts: str) -> tuple[dict[str, Any], Compressor | None]:
    """Return the headers of a recorded response as the server sent them, and what makes its body fit to them.

    Those that are on the tape, which fit to the decoded body, where the client does not accept the coding by now.
    """
    headers, more = dict(response["headers"]), (response.get("wire") or {}).get("headers") or {}
    named = {name.lower(): values for name, values in more.items()}
    encoding = ", ".join(_listed(named.get("content-encoding", [])))
    if not is_coding(encoding):  # then the body is as it came
        return {**headers, "content-encoding": [encoding]}, None
    compressor = Compressor(encoding)
    if not more or not compressor.known or not all(name in accepts.lower() for name in codings_of(encoding)):
        return headers, None
    kept = {name: values for name, values in headers.items() if name.lower() not in named}
    return {**kept, **more}, compressor


def _listed(values: Any) -> list[str]:
    return [values] if isinstance(values, str) else values
