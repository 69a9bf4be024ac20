"""What a callback sees of a call: runs, and their events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One execution of one Runnable. Two events belong together if their `run` is the same object."""

    name: str
    input: Any
    parent: Run | None
    id: object
    tags: tuple[str, ...]
    metadata: dict[str, Any]
    callbacks: tuple[Callable[[RunEvent], object], ...]

    def __repr__(self) -> str:
        return f"<Run {'/'.join(self.path)}>"

    @property
    def path(self) -> tuple[str, ...]:
        """The names of the run's ancestors and its own, outermost first."""
        return (*(self.parent.path if self.parent else ()), self.name)

    def emit(
        self,
        event: Literal["start", "chunk", "end", "error"],
        *,
        chunk: Any = None,
        output: Any = None,
        error: BaseException | None = None,
    ) -> None:
        """Call the callbacks."""
        told = RunEvent(event, self, chunk, output, error)
        for callback in self.callbacks:
            callback(told)


@dataclass(frozen=True, slots=True)
class RunEvent:
    """What a callback sees.

    `start`: `run.input`. `chunk`: the `chunk`, about to be yielded. `end`: the whole `output`. `error`:
    the `error`, and as `output` what had been delivered and taken before it (None for nothing); a consumer
    that closes the stream is an error event with `GeneratorExit`.
    """

    event: Literal["start", "chunk", "end", "error"]
    run: Run
    chunk: Any = None
    output: Any = None
    error: BaseException | None = None
