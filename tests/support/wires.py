"""What streams are held against the grammars: the recorded ones of services, and the tapes of self-hosted servers."""

from __future__ import annotations

import json

import recorded as recordings
import servers

NAMES = {
    "openai.chat": "openai_chat",
    "openai.completions": "openai_completions",
    "openai.responses": "openai_responses",
    "anthropic.messages": "anthropic_messages",
    "google.generateContent": "gemini",
    "ollama.chat": "ollama_chat",
    "ollama.generate": "ollama_generate",
    "cohere.v2": "cohere_chat",
    "replicate": "replicate_predictions",
    "bedrock.converse-stream": "bedrock_converse",
    "google.interactions": "gemini_interactions",
}
NOT_WHOLE = {  # what is said of recordings that are no whole stream, or not as it was sent
    "evroc.openai-chat.pydantic-ai.test_clean_eof_without_finish": ["openai_chat.finish"],
    "snowflake.openai-chat.pydantic-ai.": ["openai_chat.finish"],
    "litellm-proxy.openai-chat.dd-trace-py.completion_stream_multiple": ["openai_chat.finish"],
    "openai.openai-responses.ai.openai-phase.1": [  # most of its events were taken out
        "openai_responses.sequence", "openai_responses.done_text", "openai_responses.item_index",
    ],
}  # fmt: skip


def streams_of(row, stream):
    """Yield the bodies of a recording; a file of JSON lines can hold several, and has lost what is no JSON."""
    body = recordings.body(row, stream)
    if stream["framing"] != "json-lines" or stream["provider"] == "ollama":  # whose streams are such lines
        yield body
        return
    done = (
        b"data: [DONE]\n\n"
        if stream["api"] in ("openai.chat", "openai.completions", "cohere.v2", "google.interactions")
        else b""
    )
    bodies, last = [b""], None
    for event in body.split(b"\n\n")[:-1]:
        document = json.loads(event[event.index(b"data: ") + 6 :])
        begins = document.get("type") == "response.created" or document.get("id", last) != last
        last = document.get("id", last)
        if begins and bodies[-1] and stream["provider"] != "perplexity":
            bodies.append(b"")
        bodies[-1] += event + b"\n\n"
    yield from (one + done for one in bodies)


KINDS = {
    "/chat/completions": "openai_chat", "/v1/completions": "openai_completions", "/responses": "openai_responses",
    "/messages": "anthropic_messages",
}  # fmt: skip
BREAKS = {  # recordings of streams that broke: what is missing in them
    "lcp-error-long": ["sse.stream"],
    "lcp-interrupted": ["openai_chat.finish"],
    "vllm-responses-killed-engine": ["openai_responses.terminal"],
}


def of_servers():
    """Yield the tapes of self-hosted servers: name, API, body, and the profile of the server that was recorded."""
    for name in [*servers.NAMES, *servers.TRANSFORMERS]:
        tape = servers.recording(name)
        api = next(api for path, api in KINDS.items() if tape.path.endswith(path))
        yield name, api, tape.body, servers.profile_of(name)
