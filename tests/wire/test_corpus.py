"""Every recorded stream of the corpus: which are read into a script, and which cannot be, by name and reason.

`python tests/test_corpus.py` prints the report that docs/fidelity.md shows.
"""

from __future__ import annotations

import sys
from collections import Counter

import corpus
import pytest
from places import ROOT
from recorded import CODECS, NO_CODEC, body, codec, codec_of, streams, written
from vectors import each

from fakellm import Script
from fakellm.wire.codec import legal_or_not

OTHERWISE = {
    "openrouter.openai-chat.pydantic-ai.test_openrouter_stream_error.d7c70a.yaml": "OpenRouter tells no usage where it reports an error",
    "groq.openai-chat.pydantic-ai.test_groq_model_web_search_tool_stream.ec7c71.yaml": "Groq told no usage this once",
    "alibaba.openai-chat.ai.alibaba-tool-call.c83970.chunks.txt": "an empty last piece of a tool call is left out",
    "cerebras.openai-chat.ai.cererebras-structured-output-tools.1.4970e4.chunks.txt": "two answers in one file",
    "perplexity.openai-chat.ai.perplexity-text.70c023.chunks.txt": "the usage so far is in each chunk, before its text",
}  # fmt: skip
"""What is not the same script when it was read, written and read again: the file, and what differs."""


def cases(*, readable):
    return [
        pytest.param(row, stream, id=f"{row['file'].split('.', 2)[2]}.{stream['idx']}")
        for row, stream in streams()
        if (stream["api"] in CODECS) is readable
    ]


@pytest.mark.exhaustive
@corpus.needs_corpus
@each(("row", "stream"), cases(readable=True))
def test_a_recorded_stream_is_read_into_a_script(row, stream):
    data = body(row, stream)
    script = codec(stream["api"]).decode(data)

    assert isinstance(script, Script)
    assert script.chunks or script.fault
    assert Script.from_json(script.to_json()) == script


FIRST = [*{(stream["api"], stream["provider"]): stream for _, stream in streams()}.values()]
"""A stream of each API of each provider, which is read byte by byte."""


@pytest.mark.exhaustive
@corpus.needs_corpus
@each(("row", "stream"), cases(readable=True))
def test_a_recorded_stream_is_read_alike_in_pieces(row, stream):
    data = body(row, stream)
    whole = codec(stream["api"]).decode(data)
    for size in (1, 64) if stream in FIRST and len(data) < 60_000 else (61,):
        decoder = codec(stream["api"]).decoder()
        events = [event for at in range(0, len(data), size) for event in decoder.feed(data[at : at + size])]
        assert legal_or_not([*events, *decoder.close()]) == whole


@corpus.needs_corpus
def test_the_streams_that_are_not_read_are_those_of_other_apis():
    found = Counter(stream["api"] for _, stream in streams())

    assert found.keys() == CODECS.keys() | NO_CODEC.keys()
    assert sum(found.values()) == 195
    assert sum(count for api, count in found.items() if api in CODECS) == 185


def shares():
    """Return how many streams of each API there are, are read into a script, and are the same when written and read again."""
    found = {api: [0, 0, 0] for api in (*CODECS, *NO_CODEC)}
    different = []
    for row, stream in streams():
        counts = found[stream["api"]]
        counts[0] += 1
        if stream["api"] in CODECS:
            reader = codec_of(stream)
            script = reader.decode(body(row, stream))
            counts[1] += 1
            is_same = reader.decode(written(row, stream, script)) == script
            counts[2] += is_same
            different += [] if is_same else [row["file"]]
    return found, different


PAGE = ROOT / "docs" / "providers.md"
BEGIN = "<!-- generated from recordings by tests/wire/test_corpus.py -->\n"
END = "<!-- the end of what recordings say -->"


def page(found):
    """Return docs/providers.md with the shares."""
    lines = [
        "| API | recorded streams | read into a script | the same script when written and read again |",
        "|---|---|---|---|",
    ]
    lines += [f"| {api} | {' | '.join(map(str, found[api]))} |" for api in CODECS]
    every = [sum(found[api][column] for api in CODECS) for column in range(3)]
    lines += [f"| all | {' | '.join(map(str, every))} |", "", "Not read, since no codec is for it:", ""]
    lines += [f"- {api}, {found[api][0]}: {why}" for api, why in NO_CODEC.items()]
    lines += ["", "Read, and a little different when it is written and read again:", ""]
    lines += [f"- {file.partition('.')[0]}, `{file.split('.')[3]}`: {why}" for file, why in OTHERWISE.items()]
    before, _, rest = PAGE.read_text().partition(BEGIN)
    return before + BEGIN + "\n" + "\n".join(lines) + "\n\n" + END + rest.partition(END)[2]


@pytest.mark.exhaustive
@corpus.needs_corpus
def test_the_shares_of_the_docs_are_those_of_the_corpus():
    found, different = shares()

    assert sorted(different) == sorted(OTHERWISE)
    assert PAGE.read_text() == page(found), "run: PYTHONPATH=tests/support python tests/wire/test_corpus.py --shares"


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
    if "--shares" in sys.argv:
        PAGE.write_text(page(shares()[0]))
    print(report())  # noqa: T201
