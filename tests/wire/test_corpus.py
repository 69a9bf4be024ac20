"""Every recorded stream of the corpus: which are read into a script, and which cannot be, by name and reason.

`python tests/test_corpus.py` prints the report that docs/fidelity.md shows.
"""

from __future__ import annotations

from collections import Counter

import corpus
import pytest
from recorded import CODECS, body, codec, streams
from vectors import each

from fakellm import Script
from fakellm.wire.codec import legal_or_not

NO_CODEC = {
    "bedrock.agent": "another API",
    "error-only": "one JSON document, not a stream",
    "openai.assistants": "another API",
    "other": "another API",
    "replicate": "another API",
    "writer.completions": "another API",
}


def cases(*, readable):
    return [
        pytest.param(row, stream, id=f"{row['file'].split('.', 2)[2]}.{stream['idx']}")
        for row, stream in streams()
        if (stream["api"] in CODECS) is readable
    ]


@corpus.needs_corpus
@each(("row", "stream"), cases(readable=True))
def test_a_recorded_stream_is_read_into_a_script(row, stream):
    data = body(row, stream)
    script = codec(stream["api"]).decode(data)

    assert isinstance(script, Script)
    assert script.chunks or script.fault
    assert Script.from_json(script.to_json()) == script


@pytest.mark.exhaustive
@corpus.needs_corpus
@each(("row", "stream"), cases(readable=True))
def test_a_recorded_stream_is_read_alike_in_pieces(row, stream):
    data = body(row, stream)
    whole = codec(stream["api"]).decode(data)
    for size in (1, 7, 64, 4096) if len(data) < 60_000 else (61, 4096):
        decoder = codec(stream["api"]).decoder()
        events = [event for at in range(0, len(data), size) for event in decoder.feed(data[at : at + size])]
        assert legal_or_not([*events, *decoder.close()]) == whole


@corpus.needs_corpus
def test_the_streams_that_are_not_read_are_those_of_other_apis():
    found = Counter(stream["api"] for _, stream in streams())

    assert found.keys() == CODECS.keys() | NO_CODEC.keys()
    assert sum(found.values()) == 195
    assert sum(count for api, count in found.items() if api in CODECS) == 184


def report():
    """Return the report as Markdown."""
    rows = list(streams())
    named = {(row["file"], row["idx"]) for row in corpus.expected()}
    lines = ["| API | provider | streams | read into a script | same for the official SDK |", "|---|---|---|---|---|"]
    for api in CODECS:
        mine = [(row, stream) for row, stream in rows if stream["api"] == api]
        for provider in sorted({stream["provider"] for _, stream in mine}):
            theirs = [(row, stream) for row, stream in mine if stream["provider"] == provider]
            read = sum(bool(codec(api).decode(body(row, stream))) for row, stream in theirs)
            asked = sum((row["file"], stream["idx"]) in named for row, stream in theirs)
            lines.append(f"| {api} | {provider} | {len(theirs)} | {read} | {f'{asked} of {asked}' if asked else '-'} |")
    lines += ["", "Not read, since no codec is for their API:", ""]
    for api, why in NO_CODEC.items():
        files = Counter(row["file"] for row, stream in rows if stream["api"] == api)
        lines += [f"- `{file}` ({count}): {api}, {why}" for file, count in files.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    print(report())  # noqa: T201
