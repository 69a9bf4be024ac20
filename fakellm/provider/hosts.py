"""Whose hosts are whose: of providers of language models, and of this machine."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

from fakellm.wire.providers import services

KNOWN_HOSTS = re.compile(
    r"^([\w-]+\.)*("
    r"openai\.com|(openai|cognitiveservices|services\.ai|models\.ai|inference\.ai)\.azure\.(com|us|cn)|models\.github\.ai|"
    r"anthropic\.com|claude\.ai|generativelanguage\.googleapis\.com|mistral\.ai|groq\.com|deepseek\.com|x\.ai|"
    r"cohere\.(com|ai)|together\.(xyz|ai)|fireworks\.ai|perplexity\.ai|openrouter\.ai|cerebras\.ai|replicate\.com|"
    r"huggingface\.co|hf\.space|ai21\.com|nvidia\.com|sambanova\.ai|deepinfra\.com|moonshot\.(ai|cn)|z\.ai|bigmodel\.cn|"
    r"dashscope\.aliyuncs\.com|voyageai\.com|writer\.com|githubcopilot\.com|api\.llama\.com|portkey\.ai"
    r")$|^([\w-]+-)?aiplatform(\.\w+\.rep)?\.googleapis\.com$|^bedrock[\w.-]*\.amazonaws\.com$"
)
"""Hosts of providers of language models: a test that reaches one by accident spends money, or fails elsewhere."""

_PLACE = re.compile(r"(?:[^@]*@)?(?:\[[0-9A-Fa-f:.]+(?:%\w+)?\]|[^\s\[\]<>\"^`{|}\\]*?)(?::\d*)?")

_URLS = 256
"""Of how many URLs it is known: apps ask the same few, again and again."""

LOOPBACK = re.compile(r"^(localhost|.*\.localhost|127(\.\d+){3}|\[?::1\]?|0\.0\.0\.0|testserver)$", re.IGNORECASE)


def parts_of(url: str) -> SplitResult:
    """Return the parts of a URL; of one that is none, such as `http://[/v1`, nothing but empty ones."""
    try:
        return urlsplit(url)
    except ValueError:
        return SplitResult("", "", "", "", "")


def target_of(parts: SplitResult) -> str:
    """Return what is asked of a host: the path, with the query if there is one."""
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


@lru_cache(_URLS)
def host_of(url: str) -> str:
    """Return the host of a URL, without its port; empty if there is none."""
    return parts_of(url).hostname or ""


@lru_cache(_URLS)
def is_malformed(url: str) -> bool:
    """Tell whether the host or the port of a URL is none: a server refuses such a request before it looks at it."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return True
    return _PLACE.fullmatch(parts.netloc) is None


def is_provider(host: str) -> bool:
    """Tell whether a host is that of a provider of language models: one that is known, or one that can be faked."""
    return KNOWN_HOSTS.match(host) is not None or any(service.hosts.match(host) for service in services())


def checked_hosts(hosts: Iterable[str]) -> tuple[str, ...]:
    """Return hosts as they are compared. Raises `TypeError` or `ValueError` for what could be none of a URL's."""
    if isinstance(hosts, (str, bytes)):
        msg = f"hosts is a list of hosts, not the text {hosts!r}; write hosts=[{hosts!r}]"
        raise TypeError(msg)
    found = tuple(hosts)
    for host in found:
        if not isinstance(host, str):
            msg = f"a host is a text such as 'localhost:11434', not {host!r}"
            raise TypeError(msg)
        if not host or "/" in host or host != host.strip():
            near = host.partition("//")[2].partition("/")[0] or host.strip().partition("/")[0] or "localhost:11434"
            msg = f"{host!r} is no host: write it without scheme and path, {near!r}"
            raise ValueError(msg)
    return tuple(host.lower() for host in found)
