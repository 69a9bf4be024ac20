"""SDKs with their own retries, and libraries for retries around a plain client, each as its documentation has it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import Any

import httpx
from retrying import CONTEXT, URL

MESSAGES = [{"role": "user", "content": "?"}]
ASKED = {"model": "m", "messages": MESSAGES}


@dataclass(frozen=True)
class Client:
    """A client: its distribution, the module that it is, and `make`, which returns what asks: `ask(stream)`.

    `says` is what its documentation says of its retries.
    """

    name: str
    package: str
    module: str
    api: str
    make: Callable[[Any], Callable[[bool], Any]]
    says: str
    streams: bool = True

    @property
    def version(self):
        """The version that is installed, or None."""
        try:
            importlib.import_module(self.module)
            return metadata.version(self.package)
        except ImportError:
            return None

    def apps(self):
        """Return the app that asks for the whole answer, and the one that shows a stream."""
        ask = self.make(importlib.import_module(self.module))

        def streamed():
            yield from ask(True)

        return partial(ask, False), streamed if self.streams else None


def stainless(module, *, name):
    client = getattr(module, name)(api_key="none")
    if name == "Anthropic":
        return lambda stream: client.messages.create(**ASKED, max_tokens=9, stream=stream)
    return lambda stream: client.chat.completions.create(**ASKED, stream=stream)


def genai(module, *, retries=False):
    options = {"timeout": 60_000, "retry_options": module.types.HttpRetryOptions()} if retries else {}
    client = module.Client(api_key="none", http_options=module.types.HttpOptions(**options))

    def ask(stream):
        method = client.models.generate_content_stream if stream else client.models.generate_content
        return method(model="m", contents="?")

    return ask


def mistral(module, *, retries=None):
    from mistralai.client.utils import BackoffStrategy, RetryConfig

    options = {}
    if retries is not None:
        options = {"retry_config": RetryConfig("backoff", BackoffStrategy(*retries), True), "timeout_ms": 60_000}
    client = module.Mistral(api_key="none", **options)
    return lambda stream: (client.chat.stream if stream else client.chat.complete)(**ASKED)


def cohere(module):
    client = module.ClientV2(api_key="none")
    return lambda stream: (client.chat_stream if stream else client.chat)(**ASKED)


def plain(client, stream=False):
    response = client.post(URL, json=ASKED)
    response.raise_for_status()
    return response.json()


def around(decorate):
    """Return how a plain client of httpx asks inside of what a library makes of it."""
    client = httpx.Client(timeout=30, trust_env=False, verify=CONTEXT)

    @decorate
    def ask(stream):
        return plain(client, stream)

    return ask


def tenacity(module):
    wait, stop = module.wait_random_exponential(min=1, max=60), module.stop_after_attempt(6)
    return around(module.retry(wait=wait, stop=stop))


def backoff(module):
    return around(module.on_exception(module.expo, httpx.HTTPError, max_tries=5))


def stamina(module):
    module.instrumentation.set_on_retry_hooks([])
    return around(module.retry(on=httpx.HTTPError, attempts=3))


def httpx_retries(module):
    retry = module.Retry(total=5, backoff_factor=0.5, allowed_methods=["POST"])
    transport = module.RetryTransport(httpx.HTTPTransport(verify=CONTEXT), retry=retry)
    return partial(plain, httpx.Client(timeout=30, transport=transport))


def urllib3(module):
    import requests

    statuses = [408, 429, 500, 503, 529]
    retry = module.Retry(total=5, backoff_factor=0.5, status_forcelist=statuses, allowed_methods=["POST"])
    session = requests.Session()
    session.trust_env = False
    session.mount("https://", requests.adapters.HTTPAdapter(max_retries=retry))
    return partial(plain, session)


TWICE = "asks again 2 times, 0.5 to 8 s apart, after 408, 409, 429, 500 and above, connection errors"
CLIENTS = (
    Client("openai", "openai", "openai", "openai", partial(stainless, name="OpenAI"), TWICE),
    Client("anthropic", "anthropic", "anthropic", "anthropic", partial(stainless, name="Anthropic"), TWICE),
    Client("groq", "groq", "groq", "openai", partial(stainless, name="Groq"), TWICE),
    Client("google-genai", "google-genai", "google.genai", "gemini", genai, "does not ask again"),
    Client(
        "google-genai, `HttpRetryOptions()`", "google-genai", "google.genai", "gemini", partial(genai, retries=True),
        "asks again 4 times, 1 to 60 s apart, after 408, 429, 500, 502, 503, 504",
    ),
    Client("mistralai", "mistralai", "mistralai.client", "mistral", mistral, "does not ask again"),
    Client(
        "mistralai, `BackoffStrategy(500, 60000, 1.5, 3600000)`", "mistralai", "mistralai.client", "mistral",
        partial(mistral, retries=(500, 60_000, 1.5, 3_600_000)),
        "asks again for an hour, 0.5 to 60 s apart, after 429, 500, 502, 503, 504",
    ),
    Client(
        "mistralai, `BackoffStrategy(1, 50, 1.1, 100)`", "mistralai", "mistralai.client", "mistral",
        partial(mistral, retries=(1, 50, 1.1, 100)), "asks again for 0.1 s, 1 to 50 ms apart: the example in its README",
    ),
    Client("cohere", "cohere", "cohere", "cohere", cohere, "asks again 2 times, 1 to 60 s apart, after 408, 429, 5xx"),
    Client(
        "tenacity around httpx", "tenacity", "tenacity", "openai", tenacity,
        "asks again 5 times, at random from 1 s up to twice as much each time, at most 60 s, after each exception",
        streams=False,
    ),
    Client(
        "backoff around httpx", "backoff", "backoff", "openai", backoff,
        "asks again 4 times, at random up to 1, 2, 4, 8 s apart, after the exceptions that are named", streams=False,
    ),
    Client(
        "stamina around httpx", "stamina", "stamina", "openai", stamina,
        "asks again 2 times, 0.1 to 5 s apart and up to 1 s more, after the exceptions that are named", streams=False,
    ),
    Client(
        "httpx-retries", "httpx-retries", "httpx_retries", "openai", httpx_retries,
        "asks again 5 times, at random up to 1, 2, 4, 8, 16 s apart, after 429, 502, 503, 504, transport errors",
        streams=False,
    ),
    Client(
        "requests with urllib3's `Retry`", "urllib3", "urllib3.util", "openai", urllib3,
        "asks again 5 times, 0, 1, 2, 4, 8 s apart, after the statuses that are named, connection errors",
        streams=False,
    ),
)  # fmt: skip
