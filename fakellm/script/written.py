"""Events as one would write them in a script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fakellm.script.events import Event, Reasoning, Refusal, Text, ToolCall
from fakellm.secrets.knowing import pieces

_SAID: tuple[tuple[type[Event], str], ...] = (
    (Text, "text"), (Reasoning, "text"), (Refusal, "text"), (ToolCall, "arguments"),
)  # fmt: skip


def written(events: Iterable[Event]) -> list[str]:
    """Return the parts of a script as one would write them, texts as plain strings."""
    return [repr(e.text) if type(e) is Text and e == Text(e.text) else repr(e) for e in events]


def without_secrets(events: Sequence[Event]) -> list[Event]:
    """Return events without what is secret in the text that those of one kind add up to, as people may see them."""
    shown = list(events)
    for kind, name in _SAID:
        places = [place for place, event in enumerate(shown) if type(event) is kind]
        said = [getattr(shown[place], name) for place in places]
        for place, old, new in zip(places, said, pieces(said) if places else (), strict=True):
            if new != old:
                shown[place] = replace(shown[place], **{name: new})
    return shown
