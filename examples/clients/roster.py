"""The clients in the order of the page: where each is installed, in which version, and what made it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SHARED = (
    "openai==3.57.0", "anthropic==2.14.0", "google-genai==3.6.1", "aiohttp==3.14.5", "groq==1.7.0", "together==3.1.1",
    "cerebras-cloud-sdk==1.91.0", "fireworks-ai==1.2.30", "mistralai==3.7.0", "huggingface-hub==2.4.0",
    "azure-ai-inference==1.0.0b9", "perplexityai==0.46.1", "writer-sdk==3.0.0", "ai21==4.3.0", "zai-sdk==0.2.3",
    "dashscope==2.0.2", "openrouter==1.3.84", "sambanova==1.13.0", "langchain-mistralai==1.1.6",
    "llama-api-client==0.6.0", "cohere==7.3.1", "ollama==0.6.3", "replicate==1.0.7",
)  # fmt: skip
ENVIRONMENTS = {
    "shared": _SHARED,
    "portkey": ("portkey-ai==2.3.4",),
    "litellm": ("litellm==1.110.2",),
    "any-llm": ("any-llm-sdk==1.40.2",),
    "httpx": ("google-genai==3.6.1",),  # without aiohttp
}
"""Environments of Python: their packages. Who wants another version of what others have gets one of its own."""
NODE = {
    "@ai-sdk/openai-compatible": "3.0.92",
    "@anthropic-ai/sdk": "1.14.0",
    "@google/genai": "3.3.0",
    "@huggingface/inference": "4.13.30",
    "@mistralai/mistralai": "2.7.0",
    "@openrouter/sdk": "1.3.19",
    "ai": "7.0.173",
    "cohere-ai": "8.1.0",
    "groq-sdk": "1.6.0",
    "ollama": "0.6.4",
    "openai": "7.59.0",
}


@dataclass(frozen=True)
class Row:
    """A client: its name on the page, the driver's, the API it speaks, its environment, and what made it."""

    name: str
    client: str
    api: str
    environment: str
    maker: str

    @property
    def file(self) -> str:
        return re.sub(r"\W+", "-", self.name).strip("-")


_PYTHON = """
openai                  chat       shared   Castiron, after Stainless
openai responses        responses  shared   Castiron, after Stainless
anthropic               messages   shared   after Stainless
groq                    chat       shared   Stainless
together                chat       shared   Stainless
cerebras-cloud-sdk      chat       shared   Stainless
fireworks-ai            chat       shared   Stainless
fireworks-ai async      chat       shared   Stainless
perplexityai            chat       shared   Stainless
sambanova               chat       shared   Stainless
writer-sdk              chat       shared   Stainless
llama-api-client        llama      shared   Stainless
zai-sdk                 chat       shared   by hand, after Stainless
portkey-ai              chat       portkey  on a copy of openai
litellm                 chat       litellm  on openai
any-llm-sdk             chat       any-llm  on openai
mistralai               mistral    shared   Speakeasy
openrouter              openrouter  shared  Speakeasy
cohere                  cohere     shared   Fern
google-genai            gemini     shared   by hand
google-genai async      gemini     httpx    by hand
google-genai aiohttp    gemini     shared   by hand
langchain-mistralai     mistral    shared   by hand, on httpx-sse
huggingface-hub         chat       shared   by hand
azure-ai-inference      chat       shared   a generator, streams by hand
ai21                    chat       shared   by hand
dashscope               dashscope  shared   by hand
dashscope async         dashscope  shared   by hand
ollama                  ollama     shared   by hand
replicate               replicate  shared   by hand
"""
_OF_NODE = """
openai                  chat       node     Castiron, after Stainless
openai responses        responses  node     Castiron, after Stainless
@anthropic-ai/sdk       messages   node     after Stainless
groq-sdk                chat       node     Stainless
@mistralai/mistralai    mistral    node     Speakeasy
@openrouter/sdk         openrouter  node    Speakeasy
cohere-ai               cohere     node     Fern
@google/genai           gemini     node     by hand
@huggingface/inference  chat       node     by hand
ai                      chat       node     by hand, on eventsource-parser
ollama                  ollama     node     by hand
"""


def rows() -> list[Row]:
    """Return all clients, those of Python first."""
    found = []
    for table, suffix in ((_PYTHON, ""), (_OF_NODE, " (node)")):
        for line in table.strip().splitlines():
            client, api, environment, maker = re.split(r"\s{2,}", line.strip())
            found.append(Row(client + suffix, client, api, environment, maker))
    return found
