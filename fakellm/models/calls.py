"""The log of a fake model: one `Call` for each call, from the moment it asks for a reply."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TypeVar

from fakellm.concurrency import Stepper, is_cancellation
from fakellm.errors import clip, explain
from fakellm.script.messages import Message, as_messages
from fakellm.script.script import Script
from fakellm.secrets.knowing import discreet, pieces

if TYPE_CHECKING:
    from fakellm.runnable.config import RunnableConfig

_TAIL = 20
T = TypeVar("T")
_STATES = Literal["waiting", "running", "complete", "closed", "cancelled", "failed"]


class Answer(Protocol):
    """What a call was answered with: the `content` that was scripted, and the `steps` that it becomes."""

    @property
    def content(self) -> Any:
        """A script, a function of the input, or an exception."""

    @property
    def steps(self) -> Any:
        """A sequence of chunks in tuples, and what happens between them."""

    @property
    def answer(self) -> Any:
        """What `invoke` returns."""


class Call:
    """One call of a fake model.

    `input`, `config` and `kwargs` are as they were given; of a list of messages, a copy. `method` is
    `invoke`, `stream`, `batch` or one of their asynchronous forms. `state` says how far it is: `waiting` in a
    batch, `running`, or how it ended: `complete`, `closed` (by its consumer, before the end), `cancelled`, or
    `failed` with an `error`. `stepped_by` says which threads and tasks began and ended it.
    """

    __slots__ = (
        "_base", "_cursor", "_size", "_stepper", "_tail", "config", "error", "input", "kwargs", "method", "number",
        "reply", "role", "state", "stepped_by", "text",
    )  # fmt: skip

    def __init__(
        self,
        method: str,
        input: Any,
        text: str,
        role: str,
        config: RunnableConfig | None,
        kwargs: dict[str, Any],
    ) -> None:
        self.number = 0
        self.method = method
        self.input = list(input) if isinstance(input, list) else input
        self.text = text
        self.role = role
        self.config = config
        self.kwargs = kwargs
        self.reply: Answer | None = None
        self.state: _STATES = "waiting"
        self.error: BaseException | None = None
        self.stepped_by: list[Stepper] = []
        self._base = 0
        self._size = 0
        self._cursor: Iterator[Any] = iter(())
        self._tail: deque[Any] = deque(maxlen=_TAIL)
        self._stepper: Callable[[], Stepper] | None = None

    # -- what a test asks -------------------------------------------------------------------------

    @property
    def delivered(self) -> int:
        """How many chunks the consumer took; 1 for the whole result of `invoke`."""
        return self._base + self._size - self._cursor.__length_hint__()  # type: ignore[attr-defined,no-any-return]

    @property
    def closed(self) -> bool:
        """Whether the consumer closed the stream before its end.

        Where a step of it was under way in another task, that task is cancelled, and so is the call.
        """
        return self.state == "closed"

    @property
    def cancelled(self) -> bool:
        """Whether the task that ran the call was cancelled in the middle of it."""
        return self.state == "cancelled"

    @property
    def messages(self) -> list[Message]:
        """The input as chat messages."""
        return as_messages(self.input)

    @property
    def chunks(self) -> list[Any]:
        """The chunks that the consumer took: of a script all, of what a function made the last 20."""
        if self._tail or self.reply is None:
            left = self._cursor.__length_hint__()  # type: ignore[attr-defined]
            return list(self._tail)[: len(self._tail) - left]
        shown = chain.from_iterable(step for step in self.reply.steps if isinstance(step, tuple))
        return list(islice(shown, self.delivered))

    def __repr__(self) -> str:
        ended = f", {self.error!r}" if self.error is not None else ""
        asked = f"{self.method}({clip(repr(self.input), 60)})"
        return discreet(f"<Call {self.number}: {asked} {self.state}, {self.delivered} delivered{ended}>")

    # -- what the model reports -------------------------------------------------------------------

    @property
    def is_scripted(self) -> bool:
        """Whether a script answers, whose chunks are known; else a function makes them, or nothing does."""
        return self.reply is not None and isinstance(self.reply.content, Script)

    def by(self, stepper: Callable[[], Stepper]) -> Self:
        """Say how to find out who steps the call; use the result as a block around its life."""
        self._stepper = stepper
        return self

    def _note_stepper(self) -> None:
        stepper = self._stepper() if self._stepper else None
        if stepper is not None and stepper not in self.stepped_by:
            self.stepped_by.append(stepper)

    def __enter__(self) -> Self:
        self.state = "running"
        self._note_stepper()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._note_stepper()
        if error is None:
            self.state = "complete"
        elif isinstance(error, GeneratorExit):
            self.state = "closed"
        elif is_cancellation(error):
            self.state = "cancelled"
        else:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Note that the call failed."""
        self.state, self.error = "failed", error

    def deliver(self, chunks: tuple[T, ...], *, keep: bool = False) -> Iterator[T]:
        """Return an iterator over the chunks; what is taken from it counts as delivered, at no cost.

        Chunks that no script holds are to be kept; the log keeps the last of them.
        """
        if keep:
            self._tail.extend(chunks)
        self._base = self.delivered
        self._size = len(chunks)
        self._cursor = cursor = iter(chunks)
        return cursor

    def report(self) -> str:
        """Word the call for a test report."""
        lines = [repr(self)[1:-1]]
        if shown := self.chunks:
            lines.append("  chunks: " + clip(" ".join(map(repr, _without_secrets(shown))), 600))
        if self.stepped_by:
            names = (f"{s.thread}/{s.task}" if s.task else s.thread for s in self.stepped_by)
            lines.append("  stepped by: " + ", ".join(names))
        return discreet("\n".join(lines))


def _without_secrets(chunks: list[Any]) -> list[Any]:
    """Return chunks as people may see them: a secret may be told in pieces."""
    texts = [getattr(chunk, "content", chunk) for chunk in chunks]
    if not all(isinstance(text, str) for text in texts):
        return chunks
    changed = zip(chunks, texts, pieces(texts), strict=True)
    return [
        chunk if old == new else replace(chunk, content=new) if isinstance(chunk, Message) else new
        for chunk, old, new in changed
    ]


def shown_calls(calls: list[Call]) -> str:
    """Word the calls, of many the first and the last ten."""
    reports = [call.report() for call in (calls if len(calls) <= 2 * _TAIL else [*calls[:10], *calls[-10:]])]
    if len(calls) > len(reports):
        reports.insert(10, f"... {len(calls) - len(reports)} calls ...")
    return "\n".join(reports)


def swallowed(name: str, miss: BaseException) -> str:
    """Word that a call found no reply and that somebody caught the error."""
    from traceback import walk_tb

    stack = (frame for frame, _ in walk_tb(miss.__traceback__))
    outside = [frame.f_code for frame in stack if not frame.f_globals["__name__"].startswith("fakellm.")]
    apps = [code for code in outside if "site-packages" not in code.co_filename] or outside
    place = f" in {apps[-1].co_name}, {apps[-1].co_filename}," if apps else ""
    return explain(
        f"a call{place} found no reply of {name}, and its UnexpectedCallError was caught, by the code under test or "
        f"by the test:\n{miss}",
        remedy=["if that is meant: @pytest.mark.fake_llm(allow_misses=True), or verify(allow_misses=True)"],
    )


def never_asked(name: str, unused: list[str], calls: str) -> str:
    """Word that replies were never asked for."""
    return explain(
        f"{name} was never asked for {len(unused)} of its replies",
        sent=[calls],
        expected=unused,
        remedy=[
            "look whether the app calls the model at all, iterates what stream() returns and awaits what it should",
            "if that is meant: @pytest.mark.fake_llm(allow_unused=True), or verify(allow_unused=True)",
        ],
    )
