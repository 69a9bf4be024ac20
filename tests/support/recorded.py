"""The recorded streams of the corpus, with the codec that reads each."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import corpus

CODECS = {
    "openai.chat": "openai:ChatCodec",
    "openai.completions": "openai:CompletionsCodec",
    "openai.responses": "openai:ResponsesCodec",
    "anthropic.messages": "anthropic:MessagesCodec",
    "google.generateContent": "gemini:GeminiCodec",
    "ollama.chat": "ollama:ChatCodec",
    "ollama.generate": "ollama:GenerateCodec",
    "cohere.v2": "cohere:ChatCodec",
    "bedrock.converse-stream": "bedrock:ConverseCodec",
    "bedrock.converse-stream(json)": "bedrock:ConverseCodec",
    "bedrock.invoke-stream": "bedrock:InvokeCodec",
    "google.interactions": "gemini:InteractionsCodec",
}
OF_LINES = ("ollama", "bedrock")
"""Providers whose files of lines of JSON are what a codec reads."""


def codec(api):
    room, name = CODECS[api].split(":")
    return getattr(import_module(f"fakellm.wire.{room}"), name)()


def streams():
    """Yield (manifest row, stream) of each recorded stream."""
    for row in corpus.manifest():
        for stream in row["streams"]:
            yield row, stream


def body(row, stream):
    """Return the bytes of a stream; of files that hold its chunks as lines of JSON, as the provider would send them."""
    if stream["framing"] != "json-lines" or stream["provider"] in OF_LINES:
        return corpus.body(row["file"], stream["idx"])
    lines = (Path(corpus.CORPUS) / "streams" / row["file"]).read_text().splitlines()
    events = []
    for line in filter(None, lines):
        kind = json.loads(line).get("type")
        events.append(f"event: {kind}\ndata: {line}\n\n" if kind else f"data: {line}\n\n")
    return "".join(events).encode()
