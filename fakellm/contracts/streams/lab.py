"""Where a contract is tried: a maker, the source that its product reads from, and fresh subjects for each check."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from fakellm.contracts.streams.driving import HangError, arun, by_hand
from fakellm.contracts.streams.projections import text_of
from fakellm.contracts.streams.sources import PLAIN, Api, InvokeOnly, WatchedClock, provider, source
from fakellm.contracts.streams.subject import Flavour, Subject
from fakellm.contracts.verdicts import Skip, broken, check_functions
from fakellm.errors import ContractUsageError, clip
from fakellm.script.script import Script
from fakellm.wire.providers import provider_names

_SEAMS = ("source", "llm")
"""Names of optional arguments that a maker's source is passed as."""


def no_error(chunk: Any) -> bool:  # noqa: ARG001 - the default of `is_error`
    """Take no chunk for an error."""
    return False


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
    is_error: Callable[[Any], bool] = no_error
    takes_source: bool = field(init=False)
    flavours: list[Flavour] = field(init=False, default_factory=list)
    hung: bool = field(init=False, default=False)
    _keyword: str | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if not callable(self.make):
            msg = f"a maker is a function that returns a fresh model for each check, not {clip(repr(self.make), 80)}"
            hint = "; write lambda: ... around it" if hasattr(self.make, "stream") else ""
            raise ContractUsageError(msg + hint)
        check_functions(text=self.text, is_error=self.is_error)
        if self.api is not None and self.api not in provider_names():
            msg = f"there is no api {self.api!r}; there are {', '.join(map(repr, provider_names()))}"
            raise ContractUsageError(msg)
        if inspect.iscoroutinefunction(self.make):
            msg = f"the maker {self.make!r} is asynchronous; it only makes the model, so write def"
            raise ContractUsageError(msg)
        self.takes_source, self._keyword = _seam(self.make)
        if self.api and self._keyword:
            self.takes_source, self._keyword = False, None
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
            optional = _optional(self.make)
            hint = f" (not an optional {optional[0]})" if optional else ""
            msg = f"its source is out of sight: let the maker take a source{hint}, or say api='openai'"
            raise Skip(msg)

    @contextmanager
    def bench(
        self, script: Script = PLAIN, *replies: Script, streaming: bool | None = True, **when: Any
    ) -> Iterator[Bench]:
        """Make a fresh subject, whose source says `script`, or `replies` in order and then `script`.

        Without streaming the source gives its answer as one value; with None it has nothing to stream with at all.
        `answer=` is a function of the input instead.
        """
        clock = WatchedClock()
        fake: Any = None
        with ExitStack() as stack:
            if self.api:
                fake = stack.enter_context(provider(self.api, clock))
            elif self.takes_source:
                fake = source(script, clock, chat=self.chat, streaming=bool(streaming))
            if fake is not None:
                for reply in replies:
                    fake.reply(reply)
                fake.otherwise(when.get("answer", script))
            given = InvokeOnly(fake) if streaming is None and fake is not None else fake
            yield Bench(Subject(self._made(given), self.text, self.is_error), fake, clock)

    def _made(self, fake: Any) -> Any:
        if not self.takes_source:
            return self.make()
        return self.make(**{self._keyword: fake}) if self._keyword else self.make(fake)

    def run(self, flavour: Flavour, check: Callable[[], Coroutine[Any, Any, Any]], name: str) -> Any:
        """Run a check's coroutine in its flavour; a stream that hangs breaks the contract `name`."""
        if flavour == "async":
            return arun(check, name)
        try:
            return by_hand(check, name, patient=not self.hung)
        except HangError as error:
            self.hung = True
            raise broken(name, f"the stream hangs: {error}") from None


def _parameters(make: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(make).parameters.values())
    except (TypeError, ValueError):
        return []


def _seam(make: Callable[..., Any]) -> tuple[bool, str | None]:
    """Return whether the maker takes a source, and under which keyword if it does not have to.

    Raises `ContractUsageError` for a maker that must be given anything else.
    """
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = [p for p in _parameters(make) if p.kind in kinds]
    required = [p for p in parameters if p.default is p.empty]
    seam = next((p.name for p in parameters if p.name in _SEAMS and p.kind is not p.POSITIONAL_ONLY), None)
    if len(required) > 1 or (required and required[0].kind is inspect.Parameter.KEYWORD_ONLY and not seam):
        names = ", ".join(p.name for p in required)
        msg = f"a maker takes nothing, or one source; {make!r} wants {names}: write a lambda that fills the others in"
        raise ContractUsageError(msg)
    if required:
        return True, required[0].name if required[0].kind is inspect.Parameter.KEYWORD_ONLY else None
    return seam is not None, seam


def _optional(make: Callable[..., Any]) -> list[str]:
    return [p.name if p.kind is not p.VAR_POSITIONAL else f"*{p.name}" for p in _parameters(make)]
