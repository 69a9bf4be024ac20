"""Plays a recorded answer to a terminal at its pace, as an app would have shown it."""

from __future__ import annotations

from collections.abc import Callable

from fakellm.cli.recorded import Recorded
from fakellm.cli.worded import Paint, ending, safe
from fakellm.clock.clock import Clock
from fakellm.script.events import Event, Reasoning, Refusal, Text, ToolCall


def follow(recorded: Recorded, clock: Clock, write: Callable[[str], None], paint: Paint) -> None:
    """Write what an answer says when it says it, waiting on the clock between its chunks."""
    now, kind, is_at_begin = 0.0, "", True
    for chunk in recorded.chunks:
        if chunk.at is not None and chunk.at > now:
            clock.sleep(chunk.at - now)
            now = chunk.at
        for event in chunk.events:
            here, text = _shown(event, paint)
            if not text:
                continue
            if here != kind and not is_at_begin:
                write("\n")
            write(text)
            kind, is_at_begin = here, False
    if not recorded.script and recorded.chunks:
        write(safe("".join(chunk.text for chunk in recorded.chunks)))
        is_at_begin = False
    write(("" if is_at_begin else "\n") + paint(f"--- {safe(ending(recorded))}", fg="cyan") + "\n")


def _shown(event: Event, paint: Paint) -> tuple[str, str]:
    """Return what kind of thing is said, each of which has lines of its own, and how it is written."""
    if isinstance(event, Text):
        return f"text {event.choice}", safe(event.text)
    if isinstance(event, (Reasoning, Refusal)):
        return f"{event.type} {event.choice}", paint(safe(event.text), dim=True) if event.text else ""
    if isinstance(event, ToolCall):
        name = f"{event.name}: " if event.name else ""
        return f"call {event.choice} {event.index}", paint(safe(name + event.arguments), fg="magenta")
    return "", ""
