"""The contracts of several streams and calls at once: order, bounds, whose state is whose, and who is told."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from itertools import chain
from threading import Condition
from typing import Any

from fakellm.contracts.catalogue import checks
from fakellm.contracts.merges import merges, switches
from fakellm.contracts.streams.lab import Bench, Lab
from fakellm.contracts.streams.on_flow import asked
from fakellm.contracts.streams.subject import END, Flavour, Reading, Subject
from fakellm.contracts.verdicts import Skip, broken, shown
from fakellm.errors import clip
from fakellm.runnable.base import Runnable
from fakellm.script.events import Pause
from fakellm.script.script import Script

_INPUTS = ("alpha", "beta", "gamma", "delta")
_BOUND = 2
_PATIENCE = 1_000.0  # virtual seconds
_GRACE = 0.05  # real seconds that a call in a thread waits for company


@checks("batch", on="stream")
async def batch(lab: Lab, flavour: Flavour) -> None:
    """Return results in the order of the inputs, and no more calls at a time than were asked for.

    Batches that collect results as they complete have handed one user's answer to another; a bound that is ignored
    runs into the provider's rate limit.
    """
    echo = _Echo(wait_for_company=flavour == "sync" and not lab.api)
    with lab.bench(answer=echo) as bench:
        if not bench.subject.has("batch", flavour):
            raise Skip(f"it has no {'abatch' if flavour == 'async' else 'batch'}")
        if not isinstance(lab.input, str):
            raise Skip("its inputs are no texts, so answers cannot be told apart")
        results = await bench.subject.call("batch", flavour, list(_INPUTS))
        said = [bench.subject.said(one) for one in results]
        if bench.source is not None:
            asked(bench)
        twice = await bench.subject.call("batch", flavour, [_INPUTS[0]] * 2)
    if len(said) != len(_INPUTS) or len(twice) != 2:  # noqa: PLR2004 - as there are inputs
        counts = f"{len(said)} results for {len(_INPUTS)} inputs, {len(twice)} for the same input twice"
        raise broken("batch", "there are not as many results as inputs", ("results", counts))
    if bench.source is None:
        await _compare_with_invoke(lab, flavour, said)
        return
    names = [[name for name in _INPUTS if name in str(one)] for one in said]
    if names != [[name] for name in _INPUTS]:
        if sorted(chain.from_iterable(names)) != sorted(_INPUTS):
            raise Skip("its answers do not show its inputs, so their order cannot be seen")
        rows = [("inputs", ", ".join(_INPUTS)), ("calls end", "the last first")]
        if flavour == "async":  # in threads it is not the same each time
            rows.append(("results", clip(", ".join(map(str, said)), 200)))
        raise broken("batch", "the results are not in the order of the inputs", *rows)
    await _check_bound(lab, flavour)


async def _compare_with_invoke(lab: Lab, flavour: Flavour, said: list[Any]) -> None:
    alone = []
    for name in _INPUTS:
        with lab.bench() as bench:
            alone.append(bench.subject.said(await bench.subject.call("invoke", flavour, name)))
    if said != alone:
        rows = (("invoke", clip(repr(alone), 200)), ("batch", clip(repr(said), 200)))
        raise broken("batch", "the results are not those of the single calls, in the order of the inputs", *rows)
    if len(set(map(str, alone))) == 1:
        raise Skip("all its answers are the same, so their order cannot be seen")


async def _check_bound(lab: Lab, flavour: Flavour) -> None:
    """Look at how many calls run at a time where a bound is given. Raises `Skip` where it takes none."""
    echo = _Echo(wait_for_company=flavour == "sync" and not lab.api)
    with lab.bench(answer=echo) as bench:
        config = {"max_concurrency": _BOUND}
        args, kwargs = _as_taken(bench.subject.method("batch", flavour), config)
        await bench.subject.call("batch", flavour, list(_INPUTS), *args, **kwargs)
        most = echo.most if flavour == "sync" else bench.clock.most_waiting
    if most > _BOUND:
        raise broken("batch", f"with max_concurrency={_BOUND} the source had {most} calls at a time")


def _as_taken(batch: Callable[..., Any], config: dict[str, int]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the bound as a method takes it: by its name, or in a config, as LangChain's Runnables do.

    Its signature says which. To try one and then the other would take an error of its own for a refusal. Raises `Skip`
    where it takes neither.
    """
    try:
        parameters = [*inspect.signature(batch).parameters.values()]
    except (TypeError, ValueError):
        parameters = []
    named = {parameter.name for parameter in parameters if parameter.kind is not parameter.POSITIONAL_ONLY}
    if "max_concurrency" in named:
        return (), dict(config)
    if "config" in named:
        return (), {"config": config}
    if any(parameter.name == "config" for parameter in parameters):
        return (config,), {}
    raise Skip("it takes neither max_concurrency nor a config, so it has no bound to hold")


class _Echo:
    """Answers with the input; the earlier the input, the later its answer.

    In threads a call waits a moment for others, so that a batch that runs them together is seen to.
    """

    def __init__(self, *, wait_for_company: bool) -> None:
        self.wait = wait_for_company
        self.running = 0
        self.most = 0
        self.done: set[int] = set()
        self.changed = Condition()

    def __call__(self, asked_for: Any) -> list[Any]:
        text = asked_for if isinstance(asked_for, str) else str(getattr(asked_for, "text", asked_for))
        place = next((n for n, name in enumerate(_INPUTS) if name in text), 0)
        with self.changed:
            self.running += 1
            self.most = max(self.most, self.running)
            self.changed.notify_all()
            if self.wait:
                self.changed.wait_for(lambda: self.running > _BOUND, _GRACE)
                self.changed.wait_for(lambda: place + 1 in self.done or place + 1 == len(_INPUTS), _GRACE)
            self.running -= 1
            self.done.add(place)
            self.changed.notify_all()
        return [Pause(float(len(_INPUTS) - place)), f"echo {text}"]


@checks("crossed_streams", on="stream")
async def crossed_streams(lab: Lab, flavour: Flavour) -> None:
    """Keep the state of a stream in the stream.

    A buffer, a parser or a "current message" that lives on the model is shared by all its streams: one user reads
    another's words. A test with one stream at a time never sees it.
    """
    scripts = [Script("a1 ", "a2 ", "a3 "), Script("b1 ", "b2 ", "b3 ")]
    alone = []
    for place, script in enumerate(scripts):
        with lab.bench(script) as bench:
            alone.append(bench.subject.texts(await bench.subject.open(flavour, lab.input).rest()))
            if not bench.calls:  # whoever plays source.script by itself says the same in each of its streams
                scripts[place], alone[place] = scripts[0], alone[0]
    begun = (
        (0, *rest) for rest in merges((2, 3))
    )  # whichever begins is the first: with the other it is the same again
    for merge in sorted(begun, key=lambda merge: (switches(merge), merge)):
        with lab.bench(scripts[0], answer=_ByReader(scripts, merge)) as bench:
            got = await _bounded(_step(bench, lab, flavour, merge), flavour)
        if got != alone:
            steps = [f"{'ab'[which]}{merge[: at + 1].count(which)}" for at, which in enumerate(merge)]
            rows = (("steps", " ".join(steps)), ("alone", _pair(alone)), ("together", _pair(got)))
            raise broken("crossed_streams", "two streams of one model change each other", *rows)


_reader: ContextVar[int | None] = ContextVar("fakellm_contracts_reader", default=None)
"""Which of two streams is being read; whatever a step of a stream starts inherits it."""


class _ByReader:
    """Answers each stream with its own script; where it cannot be told which one asks, in the order of the steps."""

    def __init__(self, scripts: list[Script], merge: tuple[int, ...]) -> None:
        self.scripts = scripts
        self.left = [scripts[which] for which in dict.fromkeys(merge)]

    def __call__(self, _: Any) -> Script:
        which = _reader.get()
        if which is not None:
            return self.scripts[which]
        return self.left.pop(0) if self.left else Script("more")


async def _bounded(steps: Coroutine[Any, Any, Any], flavour: Flavour) -> Any:
    """Let a stream that waits for the other one, read by the same task, give up. Raises `Skip` for it."""
    if flavour == "sync":
        return await steps
    import asyncio

    limit = asyncio.timeout(_PATIENCE)
    try:
        async with limit:
            return await steps
    except TimeoutError:
        if not limit.expired():
            raise
        raise Skip("its streams wait for each other, so that they cannot be read by turns") from None


async def _step(bench: Bench, lab: Lab, flavour: Flavour, merge: tuple[int, ...]) -> list[list[Any]]:
    readings: dict[int, Reading] = {}
    got: list[list[Any]] = [[], []]

    async def turn(which: int) -> Any:
        _reader.set(which)
        if which not in readings:
            readings[which] = bench.subject.open(flavour, lab.input)
        if (chunk := await readings[which].next()) is not END:
            got[which].append(chunk)
        return chunk

    try:
        for which in merge:
            await turn(which)
        for which in readings:
            while await turn(which) is not END:
                pass
    finally:
        _reader.set(None)
    return [bench.subject.texts(chunks) for chunks in got]


def _pair(both: list[list[Any]]) -> str:
    return " / ".join(map(shown, both))


@checks("callbacks", on="stream")
async def callbacks(lab: Lab, flavour: Flavour) -> None:
    """Tell the callbacks of a chunk before the consumer has it, and of the end once.

    Tracing and token counting hang on it: a consumer that stops at a chunk must find it traced, and a run that ends
    twice is billed twice.
    """
    log: list[tuple[str, Any]] = []
    with lab.bench() as bench:
        config = {"callbacks": [_recorder(bench.subject, log)]}
        reading = bench.subject.open(flavour, lab.input, config=config)
        while (chunk := await reading.next()) is not END:
            log.append(("yield", bench.subject.said(chunk)))
        speaks = _is_a(bench.subject.thing, "BaseLanguageModel")
    if all(event == "yield" for event, _ in log):
        raise Skip("it tells its callbacks nothing")
    has_told = any(event == "chunk" for event, _ in log)
    told = 0 if has_told or (speaks and len(log) > 2) else len(log)  # noqa: PLR2004 - more than a value and an end
    for event, text in log:
        told += (event == "chunk") - (event == "yield")
        if told < 0:
            rows = (("log", clip(" ".join(f"{kind} {what!r}" for kind, what in log), 200)),)
            raise broken("callbacks", f"{text!r} was yielded before the callback was told of it", *rows)
    ends = sum(event == "end" for event, _ in log)
    if ends != 1:
        raise broken("callbacks", f"the run of one stream had {ends} terminal callbacks")


def _recorder(subject: Subject, log: list[tuple[str, Any]]) -> Any:
    """Return a callback of the subject's own kind, which logs. Raises `Skip` where it takes none."""
    if isinstance(subject.thing, Runnable):
        return _logging(log, subject)
    if _is_a(subject.thing, "Runnable"):
        return _langchain_handler(log)
    raise Skip("it takes no callbacks that we know of")


def _is_a(thing: Any, name: str) -> bool:
    """Tell whether the thing is of LangChain's kind with this name."""
    return any(kind.__name__ == name and kind.__module__.startswith("langchain_core.") for kind in type(thing).__mro__)


def _logging(log: list[tuple[str, Any]], subject: Subject) -> Callable[[Any], None]:
    def callback(told: Any) -> None:
        if told.run.parent is None and told.event != "start":
            kind = "chunk" if told.event == "chunk" else "end"
            log.append((kind, subject.said(told.chunk) if kind == "chunk" else None))

    return callback


def _langchain_handler(log: list[tuple[str, Any]]) -> Any:
    """Return a handler for LangChain: its methods are those of `langchain_core.callbacks.BaseCallbackHandler`."""
    from langchain_core.callbacks import BaseCallbackHandler

    def on_token(_: Any, token: str, **__: Any) -> None:
        log.append(("chunk", token))

    def on_end(_: Any, __: Any, *, parent_run_id: Any = None, **___: Any) -> None:
        if parent_run_id is None:
            log.append(("end", None))

    methods = {"run_inline": True, "on_llm_new_token": on_token, "on_llm_end": on_end, "on_chain_end": on_end}
    return type("Handler", (BaseCallbackHandler,), methods)()
