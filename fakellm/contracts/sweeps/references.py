"""How a consumer gets into another process: by its name, by its file and its name, or as what pickle makes of it.

A function of the script that is run, or of a test module that pytest loads by its path, has a name that another process
cannot import; its file can be loaded there.
"""

from __future__ import annotations

import importlib
import importlib.util
import pickle
import sys
from collections.abc import Callable
from functools import reduce
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from fakellm.contracts.consumers.attempt import Consume
from fakellm.errors import ContractUsageError, clip


class Reference(NamedTuple):
    """A consumer, for another process: where it is, or its pickle. `shown` is how people write it."""

    module: str
    name: str
    file: str = ""
    pickled: bytes = b""

    @property
    def shown(self) -> str:
        """Its module and its name."""
        return f"{self.module}:{self.name}" if self.module else self.name


class ConsumerError(Exception):
    """A consumer cannot be had in this process; the message says why."""


def reference_to(consume: Consume | str) -> Reference:
    """Return how to find a consumer. Raises `ContractUsageError` for what is none, or leads nowhere else."""
    if isinstance(consume, str):
        module, colon, name = consume.partition(":")
        if not colon or not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
            msg = f"a consumer is written as module:function, such as app.parse:answer, not {consume!r}"
            raise ContractUsageError(msg)
        return Reference(module, name)
    if not callable(consume):
        msg = f"a consumer is a function of a stream of chunks, or its name, not {clip(repr(consume), 80)}"
        raise ContractUsageError(msg)
    module, name = getattr(consume, "__module__", None) or "", getattr(consume, "__qualname__", "")
    found = sys.modules.get(module)
    if found is not None and name and _inside(found, name) is consume:
        file = getattr(found, "__file__", None) or ""
        return Reference("" if module == "__main__" else module, name, file)
    return Reference(module if name else "", name or type(consume).__name__)


def source_of(reference: Reference) -> str:
    """Return the file that a consumer is in, as far as it is known; nothing is imported to find it."""
    if reference.file or reference.pickled or not reference.module:
        return reference.file
    path: Any = None
    file = ""
    parts = reference.module.split(".")
    for end in range(1, len(parts) + 1):
        spec = PathFinder.find_spec(".".join(parts[:end]), path)
        if spec is None:
            return ""
        path, file = spec.submodule_search_locations, spec.origin or ""
    return file


def is_named(reference: Reference, consume: Consume | str) -> bool:
    """Tell whether the name of a consumer leads to it."""
    return isinstance(consume, str) or bool(reference.file) or _is_importable(reference, consume)


def movable(reference: Reference, consume: Consume | str) -> Reference:
    """Return a reference that leads to a consumer in another process, too. Raises `ContractUsageError` if none does."""
    if is_named(reference, consume):
        return reference
    try:
        return reference._replace(pickled=_dumps()(consume))
    except Exception as error:
        msg = (
            f"{reference.shown} cannot be handed to another process ({type(error).__name__}: {error})\n"
            "  to do:     let it be a function of a module, or sweep in this process: workers=0"
        )
        raise ContractUsageError(msg) from error


def _is_importable(reference: Reference, consume: Consume) -> bool:
    found = sys.modules.get(reference.module)
    return found is not None and _inside(found, reference.name) is consume


def _dumps() -> Callable[[Any], bytes]:
    """Return what pickles: cloudpickle, which knows lambdas and closures, where it is installed."""
    if importlib.util.find_spec("cloudpickle") is not None:
        dumps: Callable[[Any], bytes] = importlib.import_module("cloudpickle").dumps
        return dumps
    return pickle.dumps


def resolved(reference: Reference) -> Consume:
    """Return the consumer. Raises `ConsumerError`."""
    try:
        if reference.pickled:
            return _callable(pickle.loads(reference.pickled), reference)  # noqa: S301 - we wrote it
        return _callable(_inside(_module(reference), reference.name), reference)
    except ConsumerError:
        raise
    except BaseException as error:  # a module may do anything when it is imported, and leave by sys.exit, too
        if isinstance(error, KeyboardInterrupt):
            raise
        msg = f"{reference.shown} cannot be imported: {type(error).__name__}: {clip(str(error), 300)}".rstrip(": ")
        raise ConsumerError(msg) from error


def _module(reference: Reference) -> ModuleType:
    if not reference.file:
        return importlib.import_module(reference.module)
    loaded = sys.modules.get(reference.module)
    if loaded is not None and getattr(loaded, "__file__", None) == reference.file:
        return loaded
    if reference.module:
        try:
            found = importlib.import_module(reference.module)
        except ImportError:
            found = None
        if found is not None and getattr(found, "__file__", None) == reference.file:
            return found
    return _loaded(reference)


def _loaded(reference: Reference) -> ModuleType:
    """Load a file as a module of the same name; of a script it is none that would run what it does as one."""
    name = reference.module or "__mp_main__"
    if not Path(reference.file).exists():
        msg = f"{reference.shown} cannot be imported: there is no file {reference.file}"
        raise ConsumerError(msg)
    spec = importlib.util.spec_from_file_location(name, reference.file)
    if spec is None or spec.loader is None:
        msg = f"{reference.shown} cannot be imported: {reference.file} is no module"
        raise ConsumerError(msg)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _inside(module: ModuleType, name: str) -> Any:
    """Return what a module has under a dotted name; None for a name that leads nowhere."""
    return reduce(lambda found, part: getattr(found, part, None), name.split("."), module)  # type: ignore[arg-type, return-value]


def _callable(found: Any, reference: Reference) -> Consume:
    if found is None:
        msg = f"{reference.shown} cannot be imported: {reference.module} has no {reference.name}"
        raise ConsumerError(msg)
    if not callable(found):
        msg = f"{reference.shown} is no function, but {clip(repr(found), 80)}"
        raise ConsumerError(msg)
    consume: Consume = found
    return consume
