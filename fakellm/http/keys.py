"""Keys for SDKs that ask nobody: without one most clients are not even made."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any

from fakellm.wire.providers import provider_names, service_of
from fakellm.wire.service import Service

KEY = "fake-key-of-fakellm"


def dummy_keys(*names: str) -> AbstractContextManager[None]:
    """Put a key into the environment, inside the block, for the SDK of each provider that finds none there.

    So it does for the clients of services that speak a provider's API, where they are installed. `names` are those of
    providers, `"openai"` and so on, by default all. A key that is there stays. Raises `ValueError` for a provider that
    is not known.
    """
    return keys_for([service_of(name) for name in names or provider_names()])


@cache
def _is_there(module: str) -> bool:
    """Tell whether a client is installed: a key of one that is not might tell the app to use it."""
    return find_spec(module) is not None


@contextmanager
def keys_for(services: Iterable[Service]) -> Iterator[None]:
    """Do that for the SDKs of these services."""
    services, lacking = list(services), dict[str, str]()
    for service in services:
        if service.keys and not any(map(os.environ.get, service.keys)):
            lacking[service.keys[0]] = KEY
        lacking |= {name: value for name, value in service.environment if not os.environ.get(name)}
        lacking |= {key: KEY for module, key in service.clients if not os.environ.get(key) and _is_there(module)}
    if "AZURE_OPENAI_API_KEY" in lacking and not os.environ.get("OPENAI_API_TYPE"):
        lacking["OPENAI_API_TYPE"] = "openai" if not _has_azure() else "azure"
    before = {name: os.environ.get(name) for name in lacking}
    os.environ.update(lacking)
    keeping = [kept for kept in _loaded(services) if getattr(*kept, KEY) is None]
    for kept in keeping:
        setattr(*kept, KEY)
    told = _tell_module(lacking.get("OPENAI_API_TYPE"))
    try:
        yield
    finally:
        if told is not None and told.api_type == lacking["OPENAI_API_TYPE"]:
            told.api_type = None
        for module, name in keeping:
            if getattr(module, name, None) == KEY:
                setattr(module, name, None)
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


# DashScope's SDK reads its key when it is imported, which for an app is before any test; so its module is told as well.


def _loaded(services: Iterable[Service]) -> Iterator[tuple[Any, str]]:
    """Yield the modules that keep a key, as far as they are loaded, each with its attribute."""
    for module, name in (kept for service in services for kept in service.kept):
        if module in sys.modules:
            yield sys.modules[module], name


# The module of OpenAI's SDK is a client itself (`openai.chat.completions.create`), for OpenAI or for Azure, whichever
# has a key; where both have, it refuses unless `OPENAI_API_TYPE`, which is read when it is imported, or its `api_type`
# says which. Beside keys that are dummies it is what it was without them.


def _has_azure() -> bool:
    """Tell whether the environment is that of an app which is on Azure."""
    names = ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_AD_TOKEN")
    return any(map(os.environ.get, names)) and not os.environ.get("OPENAI_API_KEY")


def _tell_module(kind: str | None) -> Any:
    """Tell the SDK's module, if it is loaded and was not told, what its own client is for; return it, or None."""
    module = sys.modules.get("openai")
    if kind is None or module is None or getattr(module, "api_type", kind) is not None:
        return None
    module.api_type = kind  # type: ignore[attr-defined]
    return module
