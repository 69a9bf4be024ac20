"""Options of the runs of pytest that tests of the plugin make, hundreds of them, each as small as its subject."""

from __future__ import annotations


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
)
"""Half the time of that: no plugin that is no part of what is tested, and no rewriting of asserts."""
