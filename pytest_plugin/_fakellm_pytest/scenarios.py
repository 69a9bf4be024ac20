"""The scenario of a test: a file beside it that scripts its fakes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from fakellm.errors import ScenarioError
from fakellm.server import Scenario

if TYPE_CHECKING:
    from pathlib import Path

_READ = pytest.StashKey[dict["Path", Scenario]]()
"""The scenarios that tests have named."""


def tell(node: pytest.Item, name: Any, fake: Any) -> None:
    """Script a fake by the file that a test names, from its folder on; fail the test if there is none, or none such."""
    if not isinstance(name, (str, os.PathLike)):
        pytest.fail(f"scenario is the path of a file, from the folder of the test on, not {name!r}", pytrace=False)
    known = node.config.stash.setdefault(_READ, {})
    path = node.path.parent / name
    try:
        if path not in known:
            known[path] = Scenario.load(path)
    except FileNotFoundError:
        pytest.fail(f"there is no scenario {path}: the path begins in the folder of the test", pytrace=False)
    except ScenarioError as error:
        pytest.fail(str(error), pytrace=False)
    if providers := [fake] if hasattr(fake, "handle") else getattr(fake, "providers", None):  # those of a server
        for provider in providers:
            known[path].tell(provider)
        return
    try:
        known[path].tell_model(fake)
    except (TypeError, ValueError) as error:
        pytest.fail(f"{path} says what a model cannot: {error}", pytrace=False)
