"""Fake models: Runnables that say what they were told to."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Never, NoReturn, Self, TypeVar

from fakellm.clock.clock import Clock, checked, unless_instant
from fakellm.concurrency import checkpoint, checkpointer, closing, task_stepper, thread_stepper
from fakellm.errors import SwallowedCallError, UnexpectedCallError, UnusedRepliesError
from fakellm.models.calls import Call, never_asked, shown_calls, swallowed
from fakellm.models.conversing import Playing
from fakellm.models.copies import Copyable
from fakellm.models.kept import Kept
from fakellm.models.playback import Playback, compiled
from fakellm.models.replies import Matcher, Replies, Reply, content_of
from fakellm.runnable import runs
from fakellm.runnable.base import Runnable
from fakellm.runnable.config import RunnableConfig, has_callbacks
from fakellm.runnable.shown import unusual
from fakellm.script.events import Event, Finish, Native, Raw, Text, Usage
from fakellm.script.messages import Message, as_messages, as_text, chunk_of
from fakellm.script.script import Script

Chunk = TypeVar("Chunk")


_HABITS = {
    "predict": "write .invoke(prompt)",
    "generate": "write .batch(prompts)",
    "bind_tools": "a text model calls no tools, use FakeChatModel",
    "with_structured_output": "script the JSON text, and parse it with a step behind the model",
    "responses": "script replies with FakeLLM.replies(...), and look at .calls",
}


class FakeModel(Playing, Copyable, Runnable[Any, Chunk], Generic[Chunk]):
    """What the fakes have in common; use `FakeLLM` or `FakeChatModel`.

    `calls` logs the calls in the order in which they asked for a reply (a batch asks in the order of its
    inputs). `misses` are the calls that found none. The model waits on its `clock`, which takes no real
    time unless another is given. Calls share nothing but what was scripted. A copy has a log of its own; see
    `Copyable`.
    """

    calls: Kept[Call]
    misses: Kept[UnexpectedCallError]

    def __init__(
        self,
        *parts: Any,
        streaming: bool = True,
        clock: Clock | None = None,
        name: str | None = None,
        **unknown: Never,
    ) -> None:
        if unknown:
            from fakellm.ported import ARGUMENTS

            kind = type(self).__name__
            said = f"script replies as {kind}('one ', 'reply') or {kind}.replies('first', 'second')"
            hints = {ARGUMENTS[name].format(kind=kind): None for name in unknown if name in ARGUMENTS}
            instead = "".join(f"\n{hint}" for hint in hints)
            msg = f"{kind} takes no {', '.join(unknown)}; it takes streaming, clock and name, and you {said}{instead}"
            raise TypeError(msg)
        self.streaming = streaming
        self.clock = checked(clock)
        self.name = name
        self._replies = Replies()
        self._begin()
        if parts:
            self.otherwise(*parts)

    def _begin(self) -> None:
        super()._begin()
        self._playback = Playback(self._show, self.clock)

    def __repr__(self) -> str:
        options = {"streaming": self.streaming, "clock": unless_instant(self.clock), "name": self.name}
        return self._replies.as_model(type(self).__name__, unusual(options, streaming=True))

    if not TYPE_CHECKING:  # pragma: no branch

        def __getattr__(self, name: str) -> NoReturn:
            """Say what to write instead of what other fakes and older interfaces have."""
            from fakellm.ported import METHODS

            hint = _HABITS.get(name) or METHODS.get(name)
            msg = f"{type(self).__name__} has no {name!r}{f'; {hint}' if hint else ''}"
            raise AttributeError(msg, name=name, obj=self)

    # -- scripting --------------------------------------------------------------------------------

    @classmethod
    def replies(cls, *replies: Any, **options: Any) -> Self:
        """Return a fake that gives one reply to each call, in order. A call too many raises.

        A reply is a list of parts, or one part: a string, a `Script`, a function, an exception.
        """
        model = cls(**options)
        for reply in replies:
            model.reply(*(reply if isinstance(reply, (list, tuple)) else (reply,)))
        return model

    def reply(self, *parts: Any) -> Self:
        """Script the answer to the next call that nothing more specific answers. Returns the fake.

        Parts are strings, events and scripts; or one function of the input, which returns a string, a
        `Script` or a list of parts, or is a generator function that yields them; or one exception, which
        the call raises.
        """
        return self._script(Reply("reply", content_of(parts), times=1))

    def when(self, matcher: Matcher, /, *parts: Any, role: str | None = None, times: int | None = None) -> Self:
        """Script the answer to calls that match, at most `times` of them. Returns the fake.

        The matcher is a text that occurs in the prompt, a compiled pattern that is found in it, or a
        predicate of the input. A chat model looks at the last message; `role` is that message's role, and
        with a role the matcher may be None. Of several that match the first answers.
        """
        return self._script(Reply("when", content_of(parts), matcher, role, times))

    def otherwise(self, *parts: Any) -> Self:
        """Script the answer to every call that has no other. Returns the fake."""
        return self._script(Reply("otherwise", content_of(parts)))

    def tell(self, reply: Reply) -> Self:
        """Add a reply that was made elsewhere, such as by a conversation. Returns the fake."""
        return self._script(reply)

    def _script(self, reply: Reply) -> Self:
        if isinstance(reply.content, Script):
            reply.steps = self._steps_of(reply.content)
            if not any(isinstance(step, tuple) for step in reply.steps) and reply.content.fault is None:
                raise _no_chunks(self.get_name())
            reply.answer = self._whole(reply.content)
        with self._lock:
            self._replies.add(reply)
        return self

    # -- what a test asks -------------------------------------------------------------------------

    @property
    def unused(self) -> list[str]:
        """What was scripted for calls that never came, worded."""
        return self._replies.never_asked()

    def verify(self, *, allow_unused: bool = False, allow_misses: bool = False) -> None:
        """Raise `SwallowedCallError` if a call found no reply, else `UnusedRepliesError` if one is left."""
        if self.misses and not allow_misses:
            raise SwallowedCallError(swallowed(self.get_name(), self.misses[0])) from self.misses[0]
        if not allow_unused and (unused := self.unused):
            raise UnusedRepliesError(never_asked(self.get_name(), unused, self.report()))

    def report(self) -> str:
        """Word the calls and their chunks, of many calls the first and the last ten."""
        return shown_calls(self.calls) or f"{self.get_name()} was not called"

    # -- what the kinds of model differ in --------------------------------------------------------

    @abstractmethod
    def _read(self, prompt: Any) -> tuple[str, str]:
        """Return the text and the role that replies are matched with. Raises `ValueError` for no prompt."""

    def _steps_of(self, script: Script) -> tuple[Any, ...]:
        """Return what a script shows as steps."""
        return compiled(script, self._show)

    @abstractmethod
    def _show(self, event: Event) -> tuple[Chunk, ...]:
        """Return the chunks that show an event: one or none."""

    @abstractmethod
    def _whole(self, script: Script) -> Chunk:
        """Return what the script adds up to."""

    # -- calls ------------------------------------------------------------------------------------

    def _open(self, method: str, prompt: Any, config: RunnableConfig | None, kwargs: dict[str, Any]) -> Call:
        """Log a call and choose its reply."""
        text, role = self._read(prompt)
        call = Call(method, prompt, text, role, config, kwargs)
        try:
            fitting = self._replies.fitting(call)  # runs the user's predicates, so not under the lock
            astray = None if fitting else self._replies.astray(call, inside=True)
        except BaseException as error:
            with self._lock:
                self._log(call)
            call.fail(error)
            raise
        with self._lock:
            self._log(call)
            if astray is None:
                self._replies.claim(call, fitting)
        if call.reply is None:
            miss = self._replies.miss(call)
            call.fail(miss)
            self.misses.append(miss)
            raise miss
        return call

    def _log(self, call: Call) -> None:
        self.calls.append(call)
        call.number = self.calls.total

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Chunk:
        """Return the whole answer, after all its pauses; a fault in it is raised."""
        return self._watched(lambda: self._answer(self._open("invoke", input, config, kwargs)), input, config)

    def _watched(self, answer: Callable[[], Chunk], prompt: Any, config: RunnableConfig | None) -> Chunk:
        if not has_callbacks(config):
            return answer()
        return runs.call(self.get_name(), lambda _: answer(), prompt, config)

    def _answer(self, call: Call) -> Chunk:
        with call.by(thread_stepper):
            seen: list[Event] = []
            steps = self._playback.steps(call, seen)
            with closing(steps):
                for step in steps:
                    self._playback.wait(step)
            return next(call.deliver((self._sum(call, seen),), keep=True))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Chunk:
        """Return the whole answer, after all its pauses; a fault in it is raised."""
        return await self._awatched(lambda: self._aanswer(self._open("ainvoke", input, config, kwargs)), input, config)

    async def _awatched(
        self, answer: Callable[[], Awaitable[Chunk]], prompt: Any, config: RunnableConfig | None
    ) -> Chunk:
        if not has_callbacks(config):
            return await answer()
        return await runs.acall(self.get_name(), lambda _: answer(), prompt, config)

    async def _aanswer(self, call: Call) -> Chunk:
        with call.by(task_stepper):
            seen: list[Event] = []
            await checkpoint()
            steps = self._playback.asteps(call, seen)
            async with closing(steps):
                async for step in steps:
                    await self._playback.await_(step)
            return next(call.deliver((self._sum(call, seen),), keep=True))

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Chunk]:
        """Yield the answer chunk by chunk as scripted, or whole with `streaming=False`. Lazy."""
        if not has_callbacks(config):
            return self._stream(input, config, kwargs)
        return runs.stream(self.get_name(), lambda _: self._stream(input, config, kwargs), input, config)

    def _stream(self, prompt: Any, config: RunnableConfig | None, kwargs: dict[str, Any]) -> Iterator[Chunk]:
        call = self._open("stream", prompt, config, kwargs)
        if not self.streaming:
            yield self._answer(call)
            return
        with call.by(thread_stepper):
            steps = self._playback.steps(call)
            with closing(steps):
                for step in steps:
                    if isinstance(step, tuple):
                        yield from call.deliver(step, keep=not call.is_scripted)
                    else:
                        self._playback.wait(step)
            self._check_delivered(call)

    def astream(
        self,
        input: Any,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Chunk]:
        """Yield the answer chunk by chunk as scripted, letting other tasks run before each. Lazy."""
        if not has_callbacks(config):
            return self._astream(input, config, kwargs)
        return runs.astream(self.get_name(), lambda _: self._astream(input, config, kwargs), input, config)

    async def _astream(
        self, prompt: Any, config: RunnableConfig | None, kwargs: dict[str, Any]
    ) -> AsyncIterator[Chunk]:
        call = self._open("astream", prompt, config, kwargs)
        if not self.streaming:
            yield await self._aanswer(call)
            return
        with call.by(task_stepper):
            steps = self._playback.asteps(call)
            let_others_run = checkpointer()
            async with closing(steps):
                async for step in steps:
                    if isinstance(step, tuple):
                        cursor = call.deliver(step, keep=not call.is_scripted)
                        for _ in step:
                            if (turn := let_others_run()) is not None:
                                await turn
                            yield next(cursor)
                    else:
                        await self._playback.await_(step)
            self._check_delivered(call)

    def _job(self, input: Any, config: RunnableConfig | None, kwargs: dict[str, Any]) -> Callable[[], Chunk]:
        """Choose the reply now, so that a batch gets its replies in the order of its inputs."""
        try:
            call = self._open("batch", input, config, kwargs)
        except (UnexpectedCallError, Exception) as error:  # noqa: BLE001 - raised by the job, in its place
            return partial(_raise, error)
        return lambda: self._watched(lambda: self._answer(call), input, config)

    def _ajob(
        self,
        input: Any,
        config: RunnableConfig | None,
        kwargs: dict[str, Any],
    ) -> Callable[[], Awaitable[Chunk]]:
        """Choose the reply now, so that a batch gets its replies in the order of its inputs."""
        try:
            call = self._open("abatch", input, config, kwargs)
        except (UnexpectedCallError, Exception) as error:  # noqa: BLE001 - raised by the job, in its place
            return partial(_araise, error)
        return lambda: self._awatched(lambda: self._aanswer(call), input, config)

    def _sum(self, call: Call, seen: list[Event]) -> Chunk:
        if call.reply is not None and call.is_scripted:
            answer: Chunk = call.reply.answer
            return answer
        if not any(self._show(event) for event in seen):
            raise _no_chunks(self.get_name())
        return self._whole(Script(*seen, allow_illegal=True))

    def _check_delivered(self, call: Call) -> None:
        if call.delivered == 0:
            raise _no_chunks(self.get_name())


class FakeLLM(FakeModel[str]):
    """A fake text model: a str, a prompt value or messages in, `str` chunks out.

    `FakeLLM("The ", "answer")` says these chunks to every call; `reply`, `replies`, `when` and `otherwise`
    script more. Usage, finish reasons and what only a provider's wire has may be scripted and are not shown.
    With `streaming=False` the stream is one value, what `invoke` returns. An input that is no prompt raises
    `ValueError`.
    """

    def _read(self, prompt: Any) -> tuple[str, str]:
        return as_text(prompt), "user" if isinstance(prompt, str) else _last_role(as_messages(prompt))

    def _steps_of(self, script: Script) -> tuple[Any, ...]:
        return super()._steps_of(script) if script.texts is None else (script.texts,)

    def _show(self, event: Event) -> tuple[str, ...]:
        if isinstance(event, Text):
            return (event.text,)
        if isinstance(event, (Usage, Finish, Native, Raw)):
            return ()
        msg = f"a text model cannot show {event!r}; use FakeChatModel"
        raise TypeError(msg)

    def _whole(self, script: Script) -> str:
        return script.text


class FakeChatModel(FakeModel[Message]):
    """A fake chat model: a str, a prompt value or messages in, `Message` chunks out that add up.

    Each event is a chunk: text, reasoning, refusal, a tool-call piece, usage, the finish reason; what only a
    provider's wire has is not shown. Their sum
    is what `invoke` returns. Everything else is as in `FakeLLM`.
    """

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, Message]:
        """Return the model with tools bound; the log has them in `Call.kwargs["tools"]`."""
        return self.bind(tools=tools, **kwargs)

    def _read(self, prompt: Any) -> tuple[str, str]:
        messages = as_messages(prompt)
        return (messages[-1].content if messages else ""), _last_role(messages)

    def _show(self, event: Event) -> tuple[Message, ...]:
        return () if isinstance(event, (Native, Raw)) else (chunk_of(event),)

    def _whole(self, script: Script) -> Message:
        return Message.of(script)


def _last_role(messages: Sequence[Message]) -> str:
    return messages[-1].role if messages else ""


def _no_chunks(name: str) -> ValueError:
    return ValueError(f"the reply of {name} has no chunk to show; for an answer without text script ''")


def _raise(error: BaseException) -> Any:
    raise error


async def _araise(error: BaseException) -> Any:
    raise error
