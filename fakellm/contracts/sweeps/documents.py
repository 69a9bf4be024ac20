"""A recorded stream becomes a document: its bytes, the text that it says, or the chunks that an SDK would give."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import accumulate
from typing import Literal, get_args

from fakellm.contracts.consumers.cuts import Cuts
from fakellm.contracts.consumers.sse_moves import INSERTS, SSEBody
from fakellm.contracts.documents import Document
from fakellm.contracts.sweeps.streams import Recording, Unread
from fakellm.errors import ContractUsageError, WireError
from fakellm.wire.sse import SSEDecoder

Reads = Literal["bytes", "text", "chunks"]
"""What a consumer reads: the bytes of a body, the text of an answer, or the chunks of an API as dicts."""

READS: tuple[str, ...] = get_args(Reads)
_FIELD = re.compile(rb"(?:data|event|id|retry)\b|:")
_EVENT = re.compile(rb"(?:^|[\r\n])(?:data|event):")


def document_from(recording: Recording, reads: str) -> Document | Unread:
    """Return what a consumer is fed of a recording, or why there is nothing."""
    if not recording.body:
        return Unread(recording.place, "an answer without a body", is_wrong=False)
    if reads == "bytes":
        return SSEBody(recording.body) if _is_events(recording.body) else Cuts(recording.body)
    if reads == "text":
        if recording.events is None:
            return Unread(recording.place, "a stream of no API that is known, or broken: its text is not known")
        text = "".join(recording.texts)
        return Cuts(text) if text else Unread(recording.place, "a stream that says no text", is_wrong=False)
    return _of_chunks(recording)


def _of_chunks(recording: Recording) -> Document | Unread:
    from fakellm.contracts.structured.document import document_of

    try:
        datas = [event.data for event in SSEDecoder(flush=True).feed(recording.body)]
        chunks = [json.loads(data) for data in datas if data != "[DONE]"]
        return document_of(chunks)
    except (WireError, ValueError, RecursionError) as error:
        known = not isinstance(error, ContractUsageError)
        why = "a stream whose events are no JSON" if known else "a stream of chunks that there are no moves for"
        return Unread(recording.place, why, is_wrong=known)


def borders_of(recording: Recording, document: Document) -> Sequence[int]:
    """Return where the chunks of a document ended as they came."""
    if isinstance(document, Cuts) and isinstance(document.whole, str):
        return tuple(accumulate(map(len, recording.texts[:-1])))
    return recording.borders


def _is_events(body: bytes) -> bool:
    """Tell whether the bytes are an event stream, by how they begin."""
    start = body.removeprefix(INSERTS["bom"]).lstrip(b"\r\n")
    return bool(_FIELD.match(start) and _EVENT.search(start))
