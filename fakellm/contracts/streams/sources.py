"""The sources that a subject reads from: fakes that see what is done to them, and a clock that sees who waits."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import isinf
from typing import TYPE_CHECKING, Any, SupportsIndex

from fakellm import concurrency
from fakellm.errors import LLMTimeoutError
from fakellm.models.models import FakeChatModel, FakeLLM
from fakellm.provider.provider import FakeProvider
from fakellm.script.script import Script

if TYPE_CHECKING:
    from fakellm.models.calls import Call
    from fakellm.provider.exchange import Exchange
    from fakellm.runnable.config import RunnableConfig

Api = str
"""The name of a provider."""
TEXTS = ("One ", "two ", "three ", "four.")
"""What the source says unless a check wants something else."""
PLAIN = Script(*TEXTS)
_MOST = 500  # calls of one source; a check makes a few


_LACKS_KEY = re.compile(r"missing credentials|authentication method|no api.?key|api_key.*must be set", re.IGNORECASE)
_REMEDY = (
    "one of its clients has no key, so it asks a provider that has no fake here; fake that one too, around the check:\n"
    "with intercept(FakeProvider('anthropic').otherwise('Hi')): check_stream(...)"
)


def without_key(error: BaseException) -> str:
    """Return what to do about the error of an SDK that finds no key, and nothing for any other error."""
    return _REMEDY if _LACKS_KEY.search(str(error)) else ""


class RunawayError(BaseException):
    """The subject asks its source for ever. Not an `Exception`, which the loop that does it would catch."""


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

    @contextmanager
    def noting_sleep(self) -> Iterator[None]:
        """Note a `time.sleep` in a thread where an event loop runs, and leave it out, inside the block."""
        original = time.sleep

        def sleep(seconds: SupportsIndex | float) -> None:
            if _loop_runs_here():
                self.blocked = True
            else:
                original(seconds)

        time.sleep = sleep
        try:
            yield
        finally:
            time.sleep = original


def _loop_runs_here() -> bool:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _bounded(calls: list[Any]) -> None:
    if len(calls) >= _MOST:
        msg = f"it asked its source {_MOST} times, and goes on"
        raise RunawayError(msg)


class Source(FakeLLM):
    """The source that a maker gets: a `FakeLLM` that also has its `script`, for makers of fakes."""

    script: Script = PLAIN

    def _open(self, method: str, prompt: Any, config: RunnableConfig | None, kwargs: dict[str, Any]) -> Call:
        _bounded(self.calls)
        return super()._open(method, prompt, config, kwargs)


class ChatSource(FakeChatModel):
    """The source that a maker of chat models gets: a `FakeChatModel` that also has its `script`."""

    script: Script = PLAIN

    def _open(self, method: str, prompt: Any, config: RunnableConfig | None, kwargs: dict[str, Any]) -> Call:
        _bounded(self.calls)
        return super()._open(method, prompt, config, kwargs)


class InvokeOnly:
    """A source that has `invoke` and `ainvoke`, and nothing to stream with: neither code nor a test asks it in vain."""

    def __init__(self, source: Source | ChatSource) -> None:
        self._source = source
        self.script = source.script

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Return the whole answer."""
        return self._source.invoke(input, config, **kwargs)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Return the whole answer."""
        return await self._source.ainvoke(input, config, **kwargs)


class _Provider(FakeProvider):
    def handle(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Exchange:
        _bounded(self.calls)
        return super().handle(method, url, headers, body)


@contextmanager
def provider(api: Api, clock: WatchedClock) -> Iterator[FakeProvider]:
    """Answer the clients of this process as the provider would, inside the block."""
    from fakellm.http.interception import intercept

    fake = _Provider(api, clock=clock)
    with intercept(fake):
        yield fake


def source(script: Script, clock: WatchedClock, *, chat: bool, streaming: bool) -> Source | ChatSource:
    """Return a fresh source of text or of messages."""
    kind: Callable[..., Any] = ChatSource if chat else Source
    made: Source | ChatSource = kind(clock=clock, streaming=streaming)
    made.script = script
    return made
