"""The request that an answer is given on a tape where its own is not known: the smallest that its API takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from fakellm.cassette.document import CassetteError
from fakellm.errors import explain

PROMPT = "Hello"
"""What is asked where nobody knows what was."""

_MESSAGES, _INPUT = "messages", "input"
_BEDROCK = "https://bedrock-runtime.us-east-1.amazonaws.com/model"
_GEMINI = "https://generativelanguage.googleapis.com/v1beta"
_MISTRAL = "https://api.mistral.ai/v1"
USUAL: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "openai.chat": ("https://api.openai.com/v1/chat/completions", "gpt-5", _MESSAGES, {"stream": True}),
    "openai.completions": ("https://api.openai.com/v1/completions", "gpt-5", "prompt", {"stream": True}),
    "openai.responses": ("https://api.openai.com/v1/responses", "gpt-5", _INPUT, {"stream": True}),
    "anthropic.messages": (
        *("https://api.anthropic.com/v1/messages", "claude-sonnet-5", _MESSAGES),
        {"max_tokens": 1024, "stream": True},
    ),
    "gemini": (f"{_GEMINI}/models/{{model}}:streamGenerateContent?alt=sse", "gemini-3-flash", "contents", {}),
    "gemini.interactions": (f"{_GEMINI}/interactions", "gemini-3-flash", _INPUT, {"stream": True}),
    "ollama.chat": ("http://127.0.0.1:11434/api/chat", "llama3.2", _MESSAGES, {}),
    "ollama.generate": ("http://127.0.0.1:11434/api/generate", "llama3.2", "prompt", {}),
    "cohere.chat": ("https://api.cohere.com/v2/chat", "command-a", _MESSAGES, {"stream": True}),
    "bedrock.converse": (f"{_BEDROCK}/{{model}}/converse-stream", "amazon.nova-lite-v1:0", "content", {}),
    "bedrock.invoke": (
        *(f"{_BEDROCK}/{{model}}/invoke-with-response-stream", "meta.llama3-8b-instruct-v1:0", "prompt"),
        {},
    ),
    "mistral.chat": (f"{_MISTRAL}/chat/completions", "mistral-small-latest", _MESSAGES, {"stream": True}),
    "mistral.fim": (f"{_MISTRAL}/fim/completions", "codestral-latest", "prompt", {"stream": True}),
    "mistral.agents": (f"{_MISTRAL}/agents/completions", "", _MESSAGES, {"agent_id": "agent", "stream": True}),
    "mistral.conversations": (f"{_MISTRAL}/conversations", "mistral-small-latest", "inputs", {"stream": True}),
}
"""API -> its URL, a model, the field that the prompt is in, and what else has to be said."""
_USAGE_IF_ASKED = ("openai.chat", "openai.completions")
_CHOICES: dict[str, Callable[[int], dict[str, Any]]] = {
    **dict.fromkeys(("openai.chat", "openai.completions", "mistral.chat"), lambda count: {"n": count}),
    "gemini": lambda count: {"generationConfig": {"candidateCount": count}},
}


def usual_request(
    api: str, *, prompt: str = "", model: str = "", usage: bool = False, choices: int = 1
) -> tuple[str, dict[str, Any]]:
    """Return the URL and the JSON of a request, for an answer with its usage, and of so many choices.

    Raises `CassetteError` for an API that was added from outside.
    """
    if api not in USUAL:
        remedy = ["name what was asked: --url URL --request JSON"]
        raise CassetteError(explain(f"nobody knows how a request to {api} looks", remedy=remedy))
    url, usual, place, more = USUAL[api]
    model, prompt = model or usual, prompt or PROMPT
    asked: dict[str, Any] = {}
    if "{model}" in url:
        url = url.format(model=quote(model, safe=":"))
    elif model:
        asked["model"] = model
    match place:
        case "messages":
            asked["messages"] = [{"role": "user", "content": prompt}]
        case "contents":
            asked["contents"] = [{"role": "user", "parts": [{"text": prompt}]}]
        case "content":
            asked["messages"] = [{"role": "user", "content": [{"text": prompt}]}]
        case _:
            asked[place] = prompt
    if usage and api in _USAGE_IF_ASKED:
        asked["stream_options"] = {"include_usage": True}
    if choices > 1 and api in _CHOICES:
        asked |= _CHOICES[api](choices)
    return url, {**asked, **more}
