"""Keys for the SDKs of providers in the environment of the whole session, and the advice to ask for them."""

from __future__ import annotations

import re
from contextlib import ExitStack

import pytest

_OPTION = "llm_dummy_keys"
_GIVEN = pytest.StashKey[ExitStack]()
_WANTS_ONE = r"\b([A-Z]+_)+API_KEY\b|\bapi_key\b|\bNo API key was\b"  # as SDKs, `os.environ[...]` and pydantic say it
_ADVICE = (
    "a client that is made before a test has its fake (when a module is imported, in a fixture of a wider scope) finds "
    "no key.\n"
    f"  to do:     write {_OPTION} = true into the configuration of pytest: then the SDKs find one in the environment"
)


def give_keys(config: pytest.Config) -> None:
    """Put keys into the environment until pytest is unconfigured."""
    if config.stash.get(_GIVEN, None) is None:
        from _fakellm_pytest import kind_of

        stack = config.stash[_GIVEN] = ExitStack()
        stack.enter_context(kind_of("dummy_keys", "http")())
        config.add_cleanup(stack.close)


def advise(report: pytest.CollectReport | pytest.TestReport) -> None:
    """Add to the report of a failure, if that was for want of a key, how there will be one."""
    if re.search(_WANTS_ONE, _said(report)):
        report.sections.append(("fakellm: keys", _ADVICE))


def _said(report: pytest.CollectReport | pytest.TestReport) -> str:
    """Return what the exception said, without the lines of code around it."""
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(getattr(crash, "message", ""))
