"""The configuration of a call: what LangChain calls a `RunnableConfig`, and how it is inherited."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, TypedDict, cast

from fakellm.runnable.events import Run, RunEvent

RECURSION_LIMIT = 25
"""How often a lambda may return a Runnable that returns a Runnable, unless the config says otherwise."""


class RunnableConfig(TypedDict, total=False):
    """How a call is made. All keys may be left out.

    `callbacks` are functions of a `RunEvent`, called in the thread or task that makes the step.
    `max_concurrency` bounds batches and parallel steps. `run_name` and `run_id` name this run and are
    not inherited; everything else is, by steps and by calls made inside a lambda. `parent` is set by
    the Runnable that hands its config on.
    """

    tags: list[str]
    metadata: dict[str, Any]
    callbacks: Sequence[Callable[[RunEvent], object]] | None
    run_name: str
    max_concurrency: int | None
    recursion_limit: int
    configurable: dict[str, Any]
    run_id: object
    parent: Run


_KEYS = frozenset(RunnableConfig.__annotations__)
_inherited: ContextVar[RunnableConfig | None] = ContextVar("fakellm_config", default=None)


def ensure_config(config: RunnableConfig | None = None) -> RunnableConfig:
    """Return a complete config: defaults, then what is inherited, then what is given.

    Keys that are None count as absent; unknown keys land in `configurable`.
    """
    _check(config)
    full: dict[str, Any] = {"tags": [], "metadata": {}, "callbacks": None, "recursion_limit": RECURSION_LIMIT}
    full["configurable"] = {}
    for source in (_inherited.get(), config):
        for key, value in (source or {}).items():
            if value is None:
                continue
            if key in _KEYS:
                full[key] = value.copy() if isinstance(value, (list, dict)) else value
            else:
                full["configurable"][key] = value
    _check_max_concurrency(full.get("max_concurrency"))
    return cast("RunnableConfig", full)


def _check(config: object) -> None:
    if config is not None and not isinstance(config, Mapping):
        msg = f"a config is a dict such as {{'tags': [...]}}, not {config!r}; several messages are one list"
        raise TypeError(msg)


def has_callbacks(config: RunnableConfig | None) -> bool:
    """Tell whether anybody watches a call with this config. Raises `TypeError` for what is no config."""
    _check(config)
    if config is not None and config.get("callbacks"):
        return True
    inherited = _inherited.get()
    return inherited is not None and bool(inherited.get("callbacks"))


def _check_max_concurrency(bound: object) -> None:
    if bound is None or (isinstance(bound, int) and not isinstance(bound, bool) and bound >= 1):
        return
    msg = f"max_concurrency is a number of calls from 1 up, or None for no bound, not {bound!r}"
    raise ValueError(msg)


def merge_configs(*configs: Mapping[str, Any] | None) -> RunnableConfig:
    """Merge configs, later ones winning.

    Tags are united and sorted, callbacks appended, metadata and configurable merged by key; other keys
    override unless they are None (or the default `recursion_limit`). Unknown keys land in `configurable`.
    """
    merged: dict[str, Any] = {}
    for config in configs:
        for key, value in (config or {}).items():
            if value is None or (key == "recursion_limit" and value == RECURSION_LIMIT):
                continue  # every complete config has the default limit: it says nothing
            if key == "tags":
                merged[key] = sorted({*merged.get(key, ()), *value})
            elif key == "callbacks":
                merged[key] = [*merged.get(key, ()), *value]
            elif key in ("metadata", "configurable"):
                merged[key] = {**merged.get(key, {}), **value}
            elif key in _KEYS:
                merged[key] = value
            else:
                merged["configurable"] = {**merged.get("configurable", {}), key: value}
    return cast("RunnableConfig", merged)


def child_config(config: RunnableConfig, run: Run | None) -> RunnableConfig:
    """Return what the steps inside a run get: the same config without the run's own name and id."""
    child = config.copy()
    child.pop("run_name", None)
    child.pop("run_id", None)
    if run is not None:
        child["parent"] = run
    return child


def config_list(config: RunnableConfig | Sequence[RunnableConfig] | None, length: int) -> list[RunnableConfig | None]:
    """Return one config for each input of a batch, as given.

    Raises `ValueError` for a sequence of another length. A `run_id` that is shared goes to item 0 only,
    with a `RuntimeWarning`.
    """
    if config is None or isinstance(config, Mapping):
        if length > 1 and config and config.get("run_id") is not None:
            warnings.warn("the run_id is given to the first input of the batch only", RuntimeWarning, stacklevel=4)
            rest = cast("RunnableConfig", {k: v for k, v in config.items() if k != "run_id"})
            return [config, *[rest] * (length - 1)]
        return [config] * length
    if len(config) != length:
        msg = f"config is one for all inputs or one for each: {len(config)} were given for {length} inputs"
        raise ValueError(msg)
    return list(config)


class inherited:  # noqa: N801 - reads as a word at its uses: "with inherited(config)"
    """Let calls without a config of their own, made inside the block, inherit this one."""

    __slots__ = ("_config", "_token")

    def __init__(self, config: RunnableConfig) -> None:
        self._config = config

    def __enter__(self) -> None:
        self._token = _inherited.set(self._config)

    def __exit__(self, *exc: object) -> None:
        with suppress(ValueError):  # an abandoned stream is closed by the interpreter, in a context of its own
            _inherited.reset(self._token)
