"""Options of the runs of pytest that tests of the plugin make, hundreds of them, each as small as its subject."""

from __future__ import annotations

import pytest


def without(*plugins: str) -> tuple[str, ...]:
    """Return the options that leave plugins of pytest out."""
    return tuple(option for name in plugins for option in ("-p", f"no:{name}"))


QUIET = without("cacheprovider", "langsmith_plugin", "hypothesispytest", "asyncio")
"""Whatever is installed beside it, but what writes files or takes seconds to load."""
LEAN = (
    *QUIET,
    *without("xdist", "xdist.looponfail", "respx", "doctest", "junitxml", "pastebin", "stepwise", "setuponly"),
    *without("setupplan", "legacypath", "faulthandler"),
    "--assert=plain",
    "--tb=native",
    "--no-header",
)
"""Half the time of that: no plugin that is no part of what is tested, no rewriting of asserts, and of a traceback no source,
for which pytest would parse each module of an SDK that it comes through."""


def parallel(pytester, *options, workers=2):
    """Run a project in workers of pytest-xdist, which load no other plugin: half the time of those that load all."""
    lean = ("-p", "xdist", "-p", "_fakellm_pytest", *without("cacheprovider"), "--assert=plain", "--tb=native")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        return pytester.runpytest(*lean, f"-n{workers}", "--dist=load", *options)
