"""Events as one would write them in a script."""

from __future__ import annotations

from collections.abc import Iterable

from fakellm.script.events import Event, Text


def written(events: Iterable[Event]) -> list[str]:
    """Return the parts of a script as one would write them, texts as plain strings."""
    return [repr(e.text) if type(e) is Text and e == Text(e.text) else repr(e) for e in events]
