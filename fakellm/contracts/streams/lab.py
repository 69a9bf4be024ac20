"""Where a contract is tried: a maker, the source that its product reads from, and a way to run a step of a check.

A check is asynchronous code in both flavours. The synchronous flavour is driven by hand, in a thread of its own, so
that a stream that hangs fails the check and not the run; the asynchronous one runs on a loop of virtual time, where
a wait takes no real time and a stream that nobody will ever wake is a deadlock, not a hang.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from math import isinf
from threading import Thread
from typing import TYPE_CHECKING, Any, Literal

from fakellm import concurrency
from fakellm.contracts.streams.projections import text_of
from fakellm.contracts.streams.subject import Flavour, Subject
from fakellm.contracts.verdicts import Skip, broken
from fakellm.errors import ContractUsageError, LLMTimeoutError, clip
from fakellm.messages import Message
from fakellm.models import FakeChatModel, FakeLLM
from fakellm.script import Script

if TYPE_CHECKING:
    from fakellm.provider import FakeProvider

Api = Literal["openai", "anthropic", "gemini"]
TEXTS = ("One ", "two ", "three ", "four.")
"""What the source says unless a check wants something else."""
PLAIN = Script(*TEXTS)
_TASK = re.compile(r"Task-\d+")
_PATIENCE = 20.0  # real seconds; only a stream that hangs takes them


class WatchedClock:
    """Waits in the event loop's own time; notes who waits, and whether a wait blocked an event loop."""

    def __init__(self) -> None:
        self.now = 0.0
        self.blocked = False
        self.tasks: list[str] = []
        self.waiting = 0
        self.most_waiting = 0

    def sleep(self, seconds: float) -> None:
        """Take no time, and note whether an event loop runs in this thread: it would have been blocked."""
        self.blocked = self.blocked or _loop_runs_here()
        if isinf(seconds):
            msg = "the source fell silent for ever"
            raise LLMTimeoutError(msg)
        self.now += seconds

    async def asleep(self, seconds: float) -> None:
        """Wait in the loop's time, and note the task."""
        self.tasks.append(concurrency.task_stepper().task or "")
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        try:
            await concurrency.sleep(seconds)
        finally:
            self.waiting -= 1
        self.now += 0 if isinf(seconds) else seconds


def _loop_runs_here() -> bool:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class Source(FakeLLM):
    """The source that a maker gets: a `FakeLLM` that also has its `script`, for makers of fakes."""

    script: Script = PLAIN


class ChatSource(FakeChatModel):
    """The source that a maker of chat models gets: a `FakeChatModel` that also has its `script`."""

    script: Script = PLAIN


@dataclass
class Bench:
    """One fresh subject and the source that it reads from, if that can be seen."""

    subject: Subject
    source: Any
    clock: WatchedClock

    @property
    def calls(self) -> list[Any]:
        """The calls of the source so far, each with its `state`."""
        return self.source.calls if self.source is not None else []

    @property
    def running(self) -> int:
        """How many calls of the source have begun and not ended."""
        return sum(call.state == "running" for call in self.calls)


@dataclass
class Lab:
    """How to make fresh subjects. See `fakellm.contracts.check_stream` for what the fields mean."""

    make: Callable[..., Any]
    input: Any = "?"
    api: Api | None = None
    chat: bool = False
    text: Callable[[Any], Any] = text_of
    idle_timeout: float | None = None
    takes_source: bool = field(init=False)

    def __post_init__(self) -> None:
        if not callable(self.make):
            msg = f"a maker is a function that returns a fresh model for each check, not {clip(repr(self.make), 80)}"
            hint = "; write lambda: ... around it" if hasattr(self.make, "stream") else ""
            raise ContractUsageError(msg + hint)
        if self.api not in (None, "openai", "anthropic", "gemini"):
            msg = f"there is no api {self.api!r}; there are 'openai', 'anthropic' and 'gemini'"
            raise ContractUsageError(msg)
        self.takes_source = _required(self.make) == 1
        if self.takes_source and self.api:
            msg = "with api=... the source answers over HTTP, so the maker takes no argument"
            raise ContractUsageError(msg)

    @property
    def has_source(self) -> bool:
        """Whether the subject reads from a source that a check may script."""
        return self.takes_source or self.api is not None

    def needs_source(self) -> None:
        """Raise `Skip` where there is no source to script."""
        if not self.has_source:
            msg = "its source is out of sight: let the maker take a source, or say api='openai'"
            raise Skip(msg)

    @contextmanager
    def bench(self, script: Script = PLAIN, *replies: Script, streaming: bool = True, **when: Any) -> Iterator[Bench]:
        """Make a fresh subject, whose source says `script`, or `replies` in order and then `script`.

        Without streaming the source gives its answer as one value. `answer=` is a function of the input instead.
        """
        clock = WatchedClock()
        source: Any = None
        with ExitStack() as stack:
            if self.api:
                source = stack.enter_context(_provider(self.api, clock))
            elif self.takes_source:
                kind = ChatSource if self.chat else Source
                source = kind(clock=clock, streaming=streaming)
                source.script = script
            for reply in replies if source is not None else ():
                source.reply(reply)
            if source is not None:
                source.otherwise(when.get("answer", script))
            subject = Subject(self.make(source) if self.takes_source else self.make(), self.text)
            yield Bench(subject, source, clock)

    def run(self, flavour: Flavour, check: Callable[[], Coroutine[Any, Any, Any]], name: str) -> Any:
        """Run a check's coroutine in its flavour; a stream that hangs breaks the contract `name`."""
        return arun(check, name) if flavour == "async" else _by_hand(check, name, _PATIENCE)


@contextmanager
def _provider(api: Api, clock: WatchedClock) -> Iterator[FakeProvider]:
    from fakellm.intercept import intercept
    from fakellm.provider import FakeProvider

    provider = FakeProvider(api, clock=clock)
    with intercept(provider):
        yield provider


def _required(make: Callable[..., Any]) -> int:
    """Return how many arguments the maker must be given. Raises `ContractUsageError` for more than one."""
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):
        return 0
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p for p in parameters if p.default is p.empty and p.kind in positional]
    if len(required) > 1:
        names = ", ".join(p.name for p in required)
        msg = f"a maker takes nothing, or one source; {make!r} wants {names}: write a lambda that fills the others in"
        raise ContractUsageError(msg)
    return len(required)


def arun(check: Callable[[], Coroutine[Any, Any, Any]], name: str) -> Any:
    """Run asynchronous code on a loop of virtual time."""
    from fakellm.blocked import VirtualDeadlockError
    from fakellm.virtual_loop import run

    try:
        return run(_quietly(check))
    except VirtualDeadlockError as error:
        what = "the stream waits for something that nobody will ever do"
        raise broken(name, what, ("deadlock", _renumbered(str(error)))) from None


async def _quietly(check: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a check; what the subject's garbage says when the loop is closed is not printed, the verdict says it."""
    import asyncio

    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    return await check()


def _renumbered(text: str) -> str:
    """Return a text with asyncio's task numbers counted from 1, so that the same deadlock reads the same each time."""
    numbers = {name: f"Task-{place}" for place, name in enumerate(dict.fromkeys(_TASK.findall(text)), 1)}
    return _TASK.sub(lambda match: numbers[match[0]], text)


def _by_hand(check: Callable[[], Coroutine[Any, Any, Any]], name: str, patience: float) -> Any:
    """Drive a coroutine that never waits, in a thread of its own."""
    outcome: list[Any] = []
    errors: list[BaseException] = []

    def drive() -> None:
        coroutine = check()
        try:
            coroutine.send(None)
        except StopIteration as stop:
            outcome.append(stop.value)
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            errors.append(error)
        else:
            coroutine.close()
            errors.append(ContractUsageError("a synchronous stream returned something that has to be awaited"))

    thread = Thread(target=drive, name=f"contract {name}", daemon=True)
    thread.start()
    thread.join(patience)
    if thread.is_alive():
        raise broken(name, f"the stream hangs: it did not come back within {patience:g} s")
    if errors:
        raise errors[0]
    return outcome[0]


def message_or_text(script: Script, *, chat: bool) -> Any:
    """Return what a source that says the script answers to `invoke`."""
    return Message.of(script) if chat else script.text
