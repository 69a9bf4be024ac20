"""Whose hosts are whose: of providers of language models, and of this machine."""

from __future__ import annotations

import re

from fakellm.wire.providers import services

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


def is_provider(host: str) -> bool:
    """Tell whether a host is that of a provider of language models: one that is known, or one that can be faked."""
    return KNOWN_HOSTS.match(host) is not None or any(service.hosts.match(host) for service in services())
