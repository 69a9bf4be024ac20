"""How a reply plays: as steps, which are runs of chunks, and the pauses and the fault between them.

Why steps. A script does not change, so what its events look like as chunks, and where it waits, is worked out once,
when it is scripted; a call then yields from one tuple after another, and a chunk costs what the iteration of a tuple
costs. Nothing is counted on the way: how many chunks were delivered is read off that iterator (`Call.deliver`). What
a function says is not known before it says it, so there each event is a step, checked by the order table as it comes,
and none is asked for before its reader wants one. On a clock with a log each chunk is a step too, since the second at
which it is taken is what the log is for.

Why `invoke` takes the same steps, though it shows nothing until the end: pauses and faults strike there as in a
stream, at the same seconds. Of a script only those are left of it (`Reply.waits`), since the answer is known.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from typing import Any, Self, cast

from fakellm.clock.clock import Clock, timed_stream
from fakellm.clock.timeline import TimedStream
from fakellm.concurrency import closing
from fakellm.errors import (
    LLMConnectionError,
    LLMError,
    LLMStatusError,
    LLMStreamError,
    LLMTimeoutError,
    clip,
)
from fakellm.models.calls import Call
from fakellm.models.replies import Reply, Step
from fakellm.runnable.functions import is_async_function
from fakellm.script.events import Event, Fault, Pause, disconnect, http_error, provider_error
from fakellm.script.order import OrderChecker
from fakellm.script.parts import EventReader
from fakellm.script.script import Script

Show = Callable[[Event], tuple[Any, ...]]
"""Makes the chunks that show an event: one or none."""


class Playback:
    """Plays the reply of a call: makes its steps, and waits for them on a clock."""

    def __init__(self, show: Show, clock: Clock) -> None:
        self._show = show
        self._clock = clock
        self._is_logged = hasattr(clock, "timeline")

    def steps(self, call: Call, seen: list[Event] | None = None) -> Iterable[Step]:
        """Return the steps of a call's reply.

        With `seen` the call wants the whole answer: of a script only what to wait for is returned, of a
        function's parts the events are collected there. On a clock that keeps a log each chunk is a step.
        """
        steps = self._steps(call, seen)
        return self._logged(call, steps) if self._is_logged else steps

    def _steps(self, call: Call, seen: list[Event] | None) -> Iterable[Step]:
        reply, content = _reply(call)
        if isinstance(content, Script):
            return reply.steps if seen is None else reply.waits
        if isinstance(content, BaseException):
            content.__context__ = None  # of an earlier raise
            raise content.with_traceback(None)
        if isinstance(content, type) and issubclass(content, BaseException):
            raise content
        if is_async_function(content):
            msg = f"the reply is the asynchronous function {content!r}; call ainvoke, astream or abatch"
            raise TypeError(msg)
        return Feed(self._show, content, seen).all_steps(call.input)

    def asteps(self, call: Call, seen: list[Event] | None = None) -> AsyncIterator[Step]:
        """Return the steps of a call's reply; a plain function is run in the event loop's thread."""
        steps = self._asteps(call, seen)
        return self._alogged(call, steps) if self._is_logged else steps

    async def _asteps(self, call: Call, seen: list[Event] | None) -> AsyncIterator[Step]:
        _, content = _reply(call)
        if isinstance(content, (Script, BaseException, type)):
            for step in self._steps(call, seen):
                yield step
            return
        feed = Feed(self._show, content, seen)
        result = content(call.input)
        if inspect.isawaitable(result):
            result = await result
        if isinstance(result, AsyncIterator):
            async with closing(result):
                async for part in result:
                    for step in feed.steps(part):
                        yield step
            return
        steps = feed.steps_of(result)
        with closing(steps):
            for step in steps:
                yield step

    def _logged(self, call: Call, steps: Iterable[Step]) -> Iterator[Step]:
        with closing(steps), _Log(self._clock, call) as log:
            for step in steps:
                yield from log.parts(step)

    async def _alogged(self, call: Call, steps: AsyncIterator[Step]) -> AsyncIterator[Step]:
        async with closing(steps):
            with _Log(self._clock, call) as log:
                async for step in steps:
                    for part in log.parts(step):
                        yield part

    def wait(self, step: Step) -> None:
        """Wait for a pause or a fault, and raise the fault; chunks are not waited for."""
        if isinstance(step, (Pause, Fault)):
            self._clock.sleep(_silence_of(step))
        if isinstance(step, Fault):
            raise error_of(step)

    async def await_(self, step: Step) -> None:
        """Wait for a pause or a fault, and raise the fault; chunks are not waited for."""
        if isinstance(step, (Pause, Fault)):
            await self._clock.asleep(_silence_of(step))
        if isinstance(step, Fault):
            raise error_of(step)


class _Log:
    """Notes on a clock what a call does, and when."""

    def __init__(self, clock: Clock, call: Call) -> None:
        self._stream = cast("TimedStream", timed_stream(clock, f"{call.method}({clip(repr(call.input), 60)})"))
        self._is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if not self._is_over:
            self._stream.end(error)

    def parts(self, step: Step) -> Iterator[Step]:
        """Yield a step, of a run of chunks each by itself: the time at which it is taken is its own."""
        if not isinstance(step, tuple):
            self._is_over = isinstance(step, Fault)
            self._stream.note("fails" if self._is_over else "waits", f"{step!r}")
            yield step
            return
        for chunk in step:
            self._stream.chunk(chunk)
            yield (chunk,)


def _reply(call: Call) -> tuple[Reply, Any]:
    """Return the reply of a call, which has one by the time that it plays, and what that says."""
    reply = cast("Reply", call.reply)
    return reply, reply.content


def compiled(script: Script, show: Show) -> tuple[Step, ...]:
    """Return the script's chunks in runs, with pauses and faults between. `show` makes an event's chunks."""
    steps: list[Step] = []
    run: list[Any] = []
    for event in script:
        if isinstance(event, (Pause, Fault)):
            steps += [tuple(run), event] if run else [event]
            run = []
        else:
            run.extend(show(event))
    return (*steps, tuple(run)) if run else tuple(steps)


class Feed:
    """Turns what a function says, part by part, into steps; checks the order of its events.

    The events are collected in `seen` if a list is given; nothing else grows with the stream. `illegal` is told of each
    script whose order is allowed to be anything, before its first event.
    """

    def __init__(
        self,
        show: Show,
        function: Callable[[Any], Any],
        seen: list[Event] | None = None,
        illegal: Callable[[Script], None] | None = None,
    ) -> None:
        self._show = show
        self._function = function
        self._seen = seen
        self._illegal = illegal
        self._reader = EventReader()
        self._order = OrderChecker()

    def all_steps(self, prompt: object) -> Iterator[Step]:
        """Yield the steps of what the function says to the prompt. Lazy; closing closes a generator."""
        yield from self.steps_of(self._function(prompt))

    def steps_of(self, result: object) -> Iterator[Step]:
        """Yield the steps of what the function returned: one part, a list of parts, or a generator of them."""
        parts: Iterable[object] = result if isinstance(result, (list, tuple, Generator)) else (result,)
        with closing(parts):
            for part in parts:
                yield from self.steps(part)

    def steps(self, part: object) -> Iterator[Step]:
        """Yield the steps of one part. Raises `TypeError` for no part, `ScriptError` for the wrong order."""
        is_illegal = isinstance(part, Script) and part.allow_illegal
        if is_illegal and self._illegal is not None:
            self._illegal(cast("Script", part))
        for event in self._events(part):
            if not is_illegal:
                self._order.step(event)
            if isinstance(event, (Pause, Fault)):
                yield event
                continue
            if self._seen is not None:
                self._seen.append(event)
            if chunks := self._show(event):
                yield chunks

    def _events(self, part: object) -> Iterable[Event]:
        try:
            return self._reader.read(part)
        except TypeError as error:
            name = getattr(self._function, "__name__", repr(self._function))
            error.add_note(f"It was returned or yielded by the reply function {name}; did it forget to return?")
            raise


_HOW = {
    "reset": "was reset by the peer",
    "refused": "was refused",
    "no_response": "was closed before the answer began",
}


def _silence_of(step: Pause | Fault) -> float:
    """Return how long the consumer waits: seconds, endless for a stall, 0 for the faults that strike at once."""
    if isinstance(step, Pause):
        return step.seconds
    return 0.0 if isinstance(step, (http_error, provider_error, disconnect)) else math.inf


def error_of(fault: Fault) -> LLMError:
    """Return the exception by which code that calls a fake directly meets the fault."""
    if isinstance(fault, http_error):
        headers = {} if fault.retry_after is None else {"retry-after": f"{fault.retry_after:g}"}
        return LLMStatusError(
            f"HTTP {fault.status}: {fault.message}", status=fault.status, headers=headers, body=fault.body
        )
    if isinstance(fault, provider_error):
        return LLMStreamError(fault.message, type=fault.kind, code=fault.code)
    if isinstance(fault, disconnect):
        return LLMConnectionError(f"the connection {_HOW.get(fault.how, 'was closed before the stream was complete')}")
    return LLMTimeoutError("the stream fell silent for ever")
