"""The recorded streams of the corpus, with the codec that reads each."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import corpus

from fakellm.wire.codec import pieces

CODECS = {
    "openai.chat": "openai:ChatCodec",
    "openai.completions": "openai:CompletionsCodec",
    "openai.responses": "openai:ResponsesCodec",
    "anthropic.messages": "anthropic:MessagesCodec",
    "google.generateContent": "gemini:GeminiCodec",
    "ollama.chat": "ollama:ChatCodec",
    "ollama.generate": "ollama:GenerateCodec",
    "cohere.v2": "cohere:ChatCodec",
    "replicate": "replicate:PredictionsCodec",
    "bedrock.converse-stream": "bedrock:ConverseCodec",
    "bedrock.converse-stream(json)": "bedrock:ConverseCodec",
    "bedrock.invoke-stream": "bedrock:InvokeCodec",
    "google.interactions": "gemini:InteractionsCodec",
}
NO_CODEC = {
    "bedrock.agent": "InvokeAgent, another API",
    "error-only": "one JSON document, not a stream",
    "openai.assistants": "another API",
    "other": "an error's document, or an empty body",
    "writer.completions": "an API of Writer's of its own",
}
OF_LINES = ("ollama", "bedrock")
"""Providers whose files of lines of JSON are what a codec reads."""


def codec(api):
    room, name = CODECS[api].split(":")
    return getattr(import_module(f"fakellm.wire.{room}"), name)()


def codec_of(stream):
    """Return the codec that reads a stream and writes it again: with the habits of the service that sent it."""
    if stream["api"] != "openai.chat":
        return codec(stream["api"])
    if stream["provider"] == "mistral":
        return import_module("fakellm.wire.mistral").ChatCodec()
    openai = import_module("fakellm.wire.openai")
    return openai.ChatCodec(openai.PROFILES.get(stream["provider"], openai.PROFILES["openai"]))


def written(row, stream, script):
    """Return the bytes that a script of a recorded stream is written as."""
    messages = [{"role": "user", "content": "?"}]
    asked, path = {"model": "m", "messages": messages, "stream": True}, ""
    if stream["api"] == "anthropic.messages":
        asked["max_tokens"] = 9
    elif stream["api"] == "bedrock.invoke-stream":  # whose form is that of the model which is asked
        sent = corpus.cassette(row["file"])["interactions"][stream["idx"]]["request"]
        asked, path = json.loads(sent["body"]), sent["uri"].partition(".com")[2]
    elif stream["api"].startswith("bedrock"):
        asked, path = {"messages": [{"role": "user", "content": [{"text": "?"}]}]}, "/model/m/converse-stream"
    elif stream["api"] == "google.generateContent":
        asked, path = {"contents": [{"parts": [{"text": "?"}]}]}, "/v1beta/models/m:streamGenerateContent?alt=sse"
    elif stream["api"] in ("openai.responses", "google.interactions"):
        asked = {"model": "m", "input": "?", "stream": True}
    elif stream["api"] in ("openai.completions", "ollama.generate"):
        asked = {"model": "m", "prompt": "?", "stream": True}
    elif stream["api"] == "replicate":
        asked = {"version": "v", "input": {"prompt": "?"}, "stream": True}
    if stream["api"].startswith("openai.c") and stream["provider"] != "mistral":
        asked["stream_options"] = {"include_usage": script.usage is not None}
    found = codec_of(stream)
    encoder = found.encoder(found.request(asked, path=path), 1, script.usage)
    return b"".join(piece for piece in pieces(encoder, script) if isinstance(piece, bytes))


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
