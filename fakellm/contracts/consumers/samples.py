"""The documents that consumers are checked on: the one that is given, or of ours those that the consumer can read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from fakellm.contracts.consumers.attempt import Consume, on_whole
from fakellm.contracts.consumers.cuts import Cuts, joined
from fakellm.contracts.consumers.given import name_of
from fakellm.contracts.consumers.sse_moves import SSEBody
from fakellm.contracts.consumers.verdict import judge_consumer
from fakellm.contracts.documents import Document, focused
from fakellm.contracts.verdicts import Skip
from fakellm.errors import clip
from fakellm.wire.sse import SSE, encode_sse

_WORD = "answer"
_END = "here"
_REASON = 100
_SAID = "The answer is here, f\u00fcr \U0001f600"
_SEPARATED = "The answer\u2028is\u0085here, f\u00fcr \U0001f600"
"""With characters that end a line for `str.splitlines`, and in no event stream."""


@dataclass(frozen=True)
class Sample:
    """A document of ours. A consumer whose result does not show `word` was made for something else."""

    document: Document
    word: str = _WORD


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _chat(said: str) -> bytes:
    """Return a stream of chat completions."""
    deltas: tuple[dict[str, str], ...] = ({"role": "assistant", "content": said[:4]}, {"content": said[4:]}, {})
    chunks = [
        {
            "id": "c1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}],
        }
        for delta in deltas
    ]
    return b"".join(encode_sse(SSE(data)) for data in (*map(_written, chunks), "[DONE]"))


def _messages(said: str) -> bytes:
    """Return a stream of Messages."""
    message = {"id": "m1", "type": "message", "role": "assistant", "model": "m", "content": []}
    ends = {"stop_reason": None, "stop_sequence": None}
    events: tuple[dict[str, Any], ...] = (
        {"type": "message_start", "message": message | ends | {"usage": {"input_tokens": 1, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": said}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ends | {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    )
    return b"".join(encode_sse(SSE(_written(event), event["type"])) for event in events)


def _texts(*texts: str) -> tuple[tuple[Sample, ...], ...]:
    """Return each text as a sample: as text, or as bytes for who does not take text."""
    return tuple((Sample(Cuts(text)), Sample(Cuts(text.encode()))) for text in texts)


def _bodies(make: Callable[[str], bytes]) -> tuple[Sample, Sample]:
    """Return a stream as two samples: with separators in its data, and without, for who takes those for line ends."""
    return Sample(SSEBody(make(_SEPARATED)), _END), Sample(SSEBody(make(_SAID)), _END)


def stopped(stop: tuple[str, ...]) -> Iterator[tuple[Sample, ...]]:
    """Yield texts with a near miss, the stop sequence, and what must not be shown."""
    for word in stop:
        text = f"The answer {word[:-1]} is 42.{word}And more."
        yield Sample(Cuts(text, stop=stop)), Sample(Cuts(text.encode(), stop=stop))


BODIES = _bodies(_messages), _bodies(_chat)
TAGS = _texts("<think>plan: 1 < 2</think>The <b>answer</b>, <|tool|>{}</tool> a<b.")
TAILS = _texts(
    "  The answer:\n\n    - is\t42 \n\n", " The answer  is 42 ", "The answer: 4\n2", "ha ha ha, the answer is 111"
)
GRAPHEMES = _texts(
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 answer e\u0301 \U0001f1e9\U0001f1ea \U0001f44d\U0001f3fd\ufe0f!"
)
JSON = _texts('{"answer": "K\\u00f6ln \\ud83d\\ude00 \\"x\\"\\n", "n": -12.5e3, "ok": true, "in": [{"a": ""}, null]}')
BYTES = ((Sample(Cuts("The answer: f\u00fcr \u65e5\u672c \U0001f600 e\u0301".encode())), *BODIES[0], *BODIES[1]),)
"""Groups of samples; a consumer is checked on the first of each group that it can read."""


# -- which of them a consumer is checked on ---------------------------------------------------------------


def check_documents(
    contract: str, consume: Consume, document: Document | None, samples: Iterable[tuple[Sample, ...]] = ()
) -> None:
    """Check a consumer on the document, or on samples. Raises `Skip` where there is nothing to check."""
    for found, long in documents_for(contract, consume, document, samples):
        judge_consumer(found, consume, contract, long=long)


def documents_for(
    contract: str, consume: Consume, document: Document | None, samples: Iterable[tuple[Sample, ...]]
) -> list[tuple[Document, str]]:
    """Return the document with the moves for one contract, or of each group of samples the first that it can read.

    Beside each stands the call that replays a failure on it, where it is ours: nobody wants to paste those. Raises
    `Skip` where there is nothing to check.
    """
    if document is None:
        replay = f"check_consumer({name_of(consume)}, contracts={contract!r}, $)"
        ours = [sample.document for sample in usable(consume, samples)]
        return [(focused(sample, contract) or sample, replay) for sample in ours]
    found = focused(document, contract)
    if found is None:
        raise Skip("nothing in the document is about it")
    return [(found, "")]


def usable(consume: Consume, groups: Iterable[tuple[Sample, ...]]) -> list[Sample]:
    """Return of each group the first sample that the consumer can read. Raises `Skip` if there is none."""
    found, reasons = [], []
    for group in groups:
        for sample in group:
            reason = reason_against(consume, sample)
            if reason is None:
                found.append(sample)
                break
            reasons.append(reason)
    if not found:
        raise Skip("; ".join(dict.fromkeys(reasons)) + "; give a document that it is made for")
    return found


def reason_against(consume: Consume, sample: Sample) -> str | None:
    """Return why a consumer is not made for a sample, or None if it is."""
    outcome = on_whole(consume, sample.document)
    kind = type(sample.document.apply(())[0]).__name__
    if outcome.error is not None:
        return f"it does not take {kind}: {clip(str(outcome), _REASON)}"
    if isinstance(sample.document, SSEBody) and "data:" in repr(outcome.value):
        return "it hands event streams on as they are"
    value = joined(outcome.value) if isinstance(outcome.value, list) else outcome.value
    return None if sample.word in repr(value) else f"of {kind} it makes {clip(repr(value), _REASON)}"
