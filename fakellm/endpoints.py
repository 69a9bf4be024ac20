"""The endpoints of the providers that can be faked: which hosts and paths are whose, and what answers them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from fakellm.wire.codec import Codec
from fakellm.wire.profiles import Profile

Document = Callable[[Any, str], dict[str, Any]]
"""Answers a small endpoint: the request's JSON and its path to a JSON document."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint: the API's name, the method, the end of its path, and the codec or the function that answers."""

    api: str
    method: str
    path: re.Pattern[str]
    room: str
    name: str

    @property
    def is_codec(self) -> bool:
        """Whether a script answers, rather than a document that needs none."""
        return self.name.endswith("Codec")


def _endpoint(api: str, method: str, path: str, answers: str) -> Endpoint:
    room, name = answers.split(":")
    return Endpoint(api, method, re.compile(path), room, name)


@dataclass(frozen=True, slots=True)
class Service:
    """A provider: its hosts, its endpoints, and the environment variable that its SDK wants a key in."""

    name: str
    hosts: re.Pattern[str]
    key: str
    endpoints: tuple[Endpoint, ...]

    def endpoint(self, method: str, path: str) -> Endpoint | None:
        """Return the endpoint of a request, if it is one that can be faked."""
        return next((e for e in self.endpoints if e.method == method and e.path.search(path)), None)


SERVICES = {
    service.name: service
    for service in (
        Service(
            "openai",
            re.compile(r"^([\w-]+\.)*(openai\.com|openai\.azure\.com|cognitiveservices\.azure\.com)$"),
            "OPENAI_API_KEY",
            (
                _endpoint("openai.chat", "POST", r"/chat/completions$", "openai_chat:ChatCodec"),
                _endpoint("openai.completions", "POST", r"/completions$", "openai_completions:CompletionsCodec"),
                _endpoint("openai.responses", "POST", r"/responses$", "openai_responses:ResponsesCodec"),
                _endpoint("openai.embeddings", "POST", r"/embeddings$", "documents:openai_embeddings"),
                _endpoint("openai.models", "GET", r"/models$", "documents:openai_models"),
                _endpoint("openai.model", "GET", r"/models/[^/]+$", "documents:openai_model"),
            ),
        ),
        Service(
            "anthropic",
            re.compile(r"^([\w-]+\.)*anthropic\.com$"),
            "ANTHROPIC_API_KEY",
            (
                _endpoint("anthropic.messages", "POST", r"/v1/messages$", "anthropic_messages:MessagesCodec"),
                _endpoint("anthropic.tokens", "POST", r"/v1/messages/count_tokens$", "documents:anthropic_tokens"),
                _endpoint("anthropic.models", "GET", r"/v1/models$", "documents:anthropic_models"),
                _endpoint("anthropic.model", "GET", r"/v1/models/[^/]+$", "documents:anthropic_model"),
            ),
        ),
        Service(
            "gemini",
            re.compile(r"^(generativelanguage|([\w-]+-)?aiplatform)\.googleapis\.com$"),
            "GEMINI_API_KEY",
            (
                _endpoint("gemini", "POST", r":(streamGenerateContent|generateContent)$", "gemini:GeminiCodec"),
                _endpoint("gemini.embeddings", "POST", r":embedContent$", "documents:gemini_embedding"),
                _endpoint("gemini.embeddings", "POST", r":batchEmbedContents$", "documents:gemini_embeddings"),
                _endpoint("gemini.tokens", "POST", r":countTokens$", "documents:gemini_tokens"),
                _endpoint("gemini.models", "GET", r"/models$", "documents:gemini_models"),
                _endpoint("gemini.model", "GET", r"/models/[^/:]+$", "documents:gemini_model"),
            ),
        ),
    )
}
"""The providers by name."""

KNOWN_HOSTS = re.compile(
    r"^([\w-]+\.)*("
    r"openai\.com|openai\.azure\.com|cognitiveservices\.azure\.com|services\.ai\.azure\.com|models\.github\.ai|"
    r"anthropic\.com|claude\.ai|generativelanguage\.googleapis\.com|mistral\.ai|groq\.com|deepseek\.com|x\.ai|"
    r"cohere\.(com|ai)|together\.(xyz|ai)|fireworks\.ai|perplexity\.ai|openrouter\.ai|cerebras\.ai|replicate\.com|"
    r"huggingface\.co|hf\.space|ai21\.com|nvidia\.com|sambanova\.ai|deepinfra\.com|moonshot\.(ai|cn)|z\.ai|bigmodel\.cn|"
    r"dashscope\.aliyuncs\.com|voyageai\.com|writer\.com|githubcopilot\.com"
    r")$|^([\w-]+-)?aiplatform\.googleapis\.com$|^bedrock[\w.-]*\.amazonaws\.com$"
)
"""Hosts of providers of language models: a test that reaches one by accident spends money, or fails elsewhere."""

LOOPBACK = re.compile(r"^(localhost|.*\.localhost|127(\.\d+){3}|\[?::1\]?|0\.0\.0\.0|testserver)$", re.IGNORECASE)


def scripted_endpoint(method: str, path: str) -> tuple[Service, Endpoint] | None:
    """Return the provider and the endpoint of a request that a script can answer, whatever its host."""
    found = ((service, service.endpoint(method, path)) for service in SERVICES.values())
    return next(
        ((service, endpoint) for service, endpoint in found if endpoint is not None and endpoint.is_codec), None
    )


@cache
def codec_of(endpoint: Endpoint, profile: Profile) -> Codec:
    """Return the codec of an endpoint; it is imported when the first request needs it."""
    kind = getattr(import_module(f"fakellm.wire.{endpoint.room}"), endpoint.name)
    codec: Codec = kind(profile) if endpoint.api == "openai.chat" else kind()
    return codec


def document_of(endpoint: Endpoint) -> Document:
    """Return the function that answers a small endpoint."""
    document: Document = getattr(import_module(f"fakellm.wire.{endpoint.room}"), endpoint.name)
    return document
