"""Keys for SDKs that ask nobody: without one most clients are not even made."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

from fakellm.wire.providers import provider_names, service_of
from fakellm.wire.service import Service

KEY = "fake-key-of-fakellm"


def dummy_keys(*names: str) -> AbstractContextManager[None]:
    """Put a key into the environment, inside the block, for the SDK of each provider that finds none there.

    `names` are those of providers, `"openai"` and so on, by default all. A key that is there stays. Raises `ValueError`
    for a provider that is not known.
    """
    return keys_for([service_of(name) for name in names or provider_names()])


@contextmanager
def keys_for(services: Iterable[Service]) -> Iterator[None]:
    """Do that for the SDKs of these services."""
    lacking: dict[str, str] = {}
    for service in services:
        if service.keys and not any(map(os.environ.get, service.keys)):
            lacking[service.keys[0]] = KEY
        lacking |= {name: value for name, value in service.environment if not os.environ.get(name)}
    before = {name: os.environ.get(name) for name in lacking}
    os.environ.update(lacking)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
