"""What a fake model was told to say, and which of it answers a call."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, field, fields
from itertools import chain, takewhile
from typing import Any, Literal

from fakellm.errors import (
    ScriptError,
    UnexpectedCallError,
    clip,
    explain,
)
from fakellm.models.calls import Call
from fakellm.models.conversing import Astray, first_of_each, leaves
from fakellm.models.kept import Kept
from fakellm.runnable.functions import is_async_function, is_generator_function
from fakellm.runnable.shown import LONG, call, named, shown, unusual
from fakellm.script.events import Fault, Pause
from fakellm.script.messages import role_of
from fakellm.script.script import Script
from fakellm.script.written import without_secrets, written

Matcher = str | re.Pattern[str] | Callable[[Any], object] | None
Content = Script | Callable[[Any], Any] | BaseException | type[BaseException]
Step = tuple[Any, ...] | Pause | Fault
"""A run of chunks, or what happens between two runs."""
_SHOWN = 20
"""How many numbers of calls are shown, of those that one reply answered."""


def content_of(parts: tuple[Any, ...]) -> Content:
    """Return what the parts of a reply are: a script, one function of the input, or one exception."""
    if not parts:
        msg = "a reply needs something to say: strings, events, a Script, a function, or an exception to raise"
        raise ScriptError(msg)
    first = parts[0]
    if isinstance(first, BaseException) or (isinstance(first, type) and issubclass(first, BaseException)):
        _alone(parts, "an exception that a call raises")
        if isinstance(first, type):
            _check_raisable(first)
        return first
    if callable(first) and not isinstance(first, type):
        _alone(parts, "a function")
        return first  # type: ignore[no-any-return]
    script = first if len(parts) == 1 and isinstance(first, Script) else Script(*parts)
    if not script:
        msg = "an empty script answers nothing; for an answer without text write Script('')"
        raise ScriptError(msg)
    return script


def _alone(parts: tuple[Any, ...], what: str) -> None:
    if len(parts) > 1:
        msg = (
            f"{what} is a reply by itself and cannot be mixed with {len(parts) - 1} other parts; "
            "to fail after some chunks use a fault such as disconnect(), or a generator function that raises "
            "ConnectionError"
        )
        raise TypeError(msg)


def _check_raisable(kind: type[BaseException]) -> None:
    """Raise `TypeError` for a class of exceptions that nothing can be raised of without arguments."""
    try:
        kind()
    except Exception as error:
        msg = (
            f"{kind.__name__} cannot be raised as it is: {error}; script an instance of it, or let a provider answer "
            "with an error, .error(429), that its SDK makes one of"
        )
        raise TypeError(msg) from error


def _numbers(calls: Kept[int]) -> str:
    """Word the numbers of calls, of many the first and the last."""
    known = [str(number) for number in calls if number]
    if len(known) > _SHOWN or (calls.gone and known):
        first = [] if calls.gone else known[: _SHOWN // 2]
        known = [*first, f"... {calls.total - len(first) - 1} others ...", known[-1]]
    return ", ".join(known)


def check_matcher(matcher: object) -> None:
    """Raise `TypeError` for what would match nothing, or anything."""
    hint = None
    if isinstance(matcher, re.Pattern):
        hint = "prompts are text, so compile a str pattern" if isinstance(matcher.pattern, bytes) else None
    elif isinstance(matcher, type) or is_async_function(matcher) or is_generator_function(matcher):
        hint = "a predicate is a plain function that returns whether the input matches"
    elif not (matcher is None or isinstance(matcher, str) or callable(matcher)):
        hint = "decode the bytes first" if isinstance(matcher, bytes) else "for a pattern write re.compile(...)"
    if hint:
        msg = f"when() matches a text, a compiled pattern or a predicate of the input, not {matcher!r}; {hint}"
        raise TypeError(msg)


@dataclass(slots=True, eq=False)
class Reply:
    """Something that was scripted, for which calls, how often, and which calls it answered.

    `steps` are the chunks of a script, with the pauses and the fault between them; `answer` is what they
    add up to. Both are made once, and shared by all calls: they do not change. `calls` are the numbers of the calls
    that it answered, 0 for one of the fake that this one's is a copy of; the last of them is always there.
    """

    kind: Literal["reply", "when", "otherwise"]
    content: Content
    matcher: Matcher = None
    role: str | None = None
    times: int | None = None
    steps: tuple[Step, ...] = ()
    answer: Any = None
    calls: Kept[int] = field(default_factory=Kept)

    @property
    def waits(self) -> tuple[Pause | Fault, ...]:
        """The steps that are no chunks."""
        return tuple(step for step in self.steps if not isinstance(step, tuple))

    def check(self) -> None:
        """Raise `TypeError` or `ScriptError` for a reply that could answer no call, or that says so wrongly."""
        times = self.times
        if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 1):
            msg = f"times is a number of calls from 1 up, or None for any number, not {times!r}"
            raise ScriptError(msg)
        if self.kind == "when":
            self.check_condition()

    def check_condition(self) -> None:
        """Raise for a condition that is none."""
        if self.matcher is None and self.role is None:
            msg = "when() needs a text, a pattern, a predicate or a role; for every other call use otherwise()"
            raise ScriptError(msg)
        check_matcher(self.matcher)

    @property
    def group(self) -> object:
        """What it is one of, if it says no more than its part: a conversation."""
        return None

    @property
    def is_spent(self) -> bool:
        """Whether it answered as many calls as it may."""
        return self.times is not None and self.calls.total >= self.times

    def fits(self, call: Call) -> bool:
        """Tell whether the call is one that this was scripted for."""
        if self.role is not None and role_of(self.role) != call.role:
            return False
        return self.matches(call.text, call.input)

    def matches(self, text: str, asked: Any) -> bool:
        """Tell whether the matcher, if there is one, matches the text, or the predicate what was asked."""
        if self.matcher is None:
            return True
        if isinstance(self.matcher, str):
            return self.matcher in text
        if isinstance(self.matcher, re.Pattern):
            return self.matcher.search(text) is not None
        try:
            found = self.matcher(asked)
            fits = bool(found)
        except Exception as error:
            error.add_note(f"This was raised by the predicate of: {self}")
            raise
        if inspect.iscoroutine(found):
            found.close()
            msg = f"a predicate returns whether the input matches, and not a coroutine, which would always fit: {self}"
            raise TypeError(msg)
        return fits

    def rank(self, call: Any, told: Sequence[Reply]) -> tuple[int, ...]:  # noqa: ARG002 - of all, it is as good
        """Return how well it fits a call that it fits; of several the least answers."""
        return ()

    def given(self, call: Any) -> None:
        """Take that it answers a call, as one of a group."""

    def astray(self, call: Any, told: Sequence[Reply]) -> Astray | None:  # noqa: ARG002 - it is no conversation
        """Return how a call leaves the conversation that begins with this, if one does."""
        return None

    def never_asked(self, told: Sequence[Reply]) -> str:  # noqa: ARG002 - it is known by itself
        """Word that no call came for it."""
        return str(self)

    def conditions(self) -> list[str]:
        """Word which calls this is for."""
        condition = []
        if self.matcher is not None:
            shown = self.matcher.pattern if isinstance(self.matcher, re.Pattern) else self.matcher
            name = getattr(shown, "__name__", None) or repr(shown)
            condition.append(f"matching {name}" if isinstance(self.matcher, re.Pattern) else name)
        if self.role is not None:
            condition.append(f"role={self.role!r}")
        return condition

    def last_use(self, what: str = "call") -> str:
        """Word when it answered last, a call or a request."""
        return f"answered {what} {self.calls[-1]}" if self.calls[-1] else "was used before the fake was copied"

    def copied(self) -> Reply:
        """Return the same reply for a copy of the fake: what answered a call is used there too."""
        other = copy(self)
        other.calls = Kept([0] * len(self.calls))
        other.calls.gone = self.calls.gone
        return other

    def deepen(self, memo: dict[int, Any]) -> None:
        """Copy what it is made of, but for scripts and exceptions: those are values."""
        for name in [f.name for f in fields(self) if f.name not in ("steps", "answer", "calls")]:
            value = getattr(self, name)
            if not isinstance(value, (Script, BaseException)):
                setattr(self, name, deepcopy(value, memo))

    # -- what is shown of it ----------------------------------------------------------------------

    @property
    def parts(self) -> list[str]:
        """What it says, written part by part."""
        content = self.content
        return written(content) if isinstance(content, Script) and not content.allow_illegal else [shown(content)]

    def options(self) -> dict[str, Any]:
        """Return what is said by name where it is scripted, without what is as usual."""
        return unusual({"role": self.role, "times": self.times if self.kind == "when" else None})

    def as_argument(self) -> str:
        """Write it as an argument of `replies`: one part, or a list of several."""
        parts = self.parts
        return clip(parts[0] if len(parts) == 1 else f"[{', '.join(parts)}]", LONG)

    def as_call(self) -> str:
        """Write the call that scripts it, such as `.when('hi', 'hello')`."""
        asked = [shown(self.matcher)] if self.kind == "when" else []
        return call(f".{self.kind}", [*asked, clip(", ".join(self.parts), LONG), *named(self.options())])

    def __str__(self) -> str:
        content = self.content
        if isinstance(content, Script):
            content = Script(*without_secrets(content), allow_illegal=content.allow_illegal)
        said = repr(content) if isinstance(content, (Script, BaseException)) else getattr(content, "__name__", content)
        numbers = _numbers(self.calls)
        used = f"answered call {numbers}" if numbers else self.last_use() if self.calls else "unused"
        return f"{' '.join([self.kind, ', '.join(self.conditions())]).strip()}: {clip(str(said), 120)}  [{used}]"


class Replies:
    """All that a fake was told, in order. A `when` that fits comes before the next `reply`, then `otherwise`.

    Not safe for threads by itself: the fake calls `add` and `claim` under a lock, and `fitting`, which runs
    the predicates of its user, without.
    """

    def __init__(self) -> None:
        self.all: list[Reply] = []
        self._live: list[Reply] = []
        self._grouped: list[Reply] = []  # a call that nothing fits asks each of these, and no other

    def add(self, reply: Reply) -> None:
        """Add a reply; a later `otherwise` replaces an earlier one."""
        reply.check()
        if reply.kind == "otherwise":
            self.all = [r for r in self.all if r.kind != "otherwise"]
            self._live = [r for r in self._live if r.kind != "otherwise"]
        self.all.append(reply)
        self._live.append(reply)
        if reply.group is not None:
            self._grouped.append(reply)

    def copied(self) -> Replies:
        """Return the same replies, of which the same are left."""
        other = Replies()
        other.all = [reply.copied() for reply in self.all]
        other._live = [reply for reply in other.all if not reply.is_spent]
        other._grouped = [reply for reply in other.all if reply.group is not None]
        return other

    def rewind(self, keep: Callable[[Any], bool]) -> None:
        """Let every reply that is kept be as if nobody had been given it."""
        self.all = [reply for reply in self.all if keep(reply)]
        for reply in self.all:
            reply.calls = Kept()
        self._live = list(self.all)
        self._grouped = [reply for reply in self.all if reply.group is not None]

    def deepen(self, memo: dict[int, Any]) -> None:
        """Copy what the replies are made of."""
        for reply in self.all:
            reply.deepen(memo)

    def as_calls(self, fake: str, told: Sequence[Reply] | None = None) -> str:
        """Write the calls on the fake, which is written already, that tell it these."""
        return clip(fake + "".join(reply.as_call() for reply in (self.all if told is None else told)), 3 * LONG)

    def as_model(self, name: str, options: Mapping[str, Any]) -> str:
        """Write the model that was told these: what came first in its constructor or `replies`, then the calls."""
        told = tuple(self.all)
        first = [reply.as_argument() for reply in takewhile(lambda reply: reply.kind == "reply", told)]
        if first:
            return self.as_calls(call(f"{name}.replies", [*first, *named(options)]), told[len(first) :])
        first = [clip(", ".join(reply.parts), LONG) for reply in told[:1] if reply.kind == "otherwise"]
        return self.as_calls(call(name, [*first, *named(options)]), told[len(first) :])

    def fitting(self, call: Call) -> list[Reply]:
        """Return each `when` that fits the call and may still answer; of conversations the best first."""
        found = [reply for reply in tuple(self._live) if reply.kind == "when" and reply.fits(call)]
        places = [at for at, reply in enumerate(found) if reply.group is not None]
        if len(places) > 1:
            told = tuple(self._grouped)
            ranked = sorted([found[at] for at in places], key=lambda reply: reply.rank(call, told))
            for at, reply in zip(places, ranked, strict=True):
                found[at] = reply
        return found

    def astray(self, call: Call, *, inside: bool) -> Astray | None:
        """Return how a call that nothing fits leaves the conversation that it is nearest to; or is `inside`, only."""
        told = tuple(self._grouped)
        found = [one for reply in told if (one := reply.astray(call, told)) is not None]
        return max((one for one in found if one.is_inside or not inside), key=lambda one: one.depth, default=None)

    def claim(self, call: Call, fitting: list[Reply]) -> None:
        """Give the call its reply, if there is one: the first left of those that fit, `reply`s, `otherwise`."""
        others = (reply for kind in ("reply", "otherwise") for reply in self._live if reply.kind == kind)
        call.reply = chosen = next((reply for reply in chain(fitting, others) if not reply.is_spent), None)
        if chosen is not None:
            chosen.calls.append(call.number)
            if chosen.group is not None:
                chosen.given(call)
            if chosen.is_spent:
                self._live.remove(chosen)

    def unused(self) -> list[Reply]:
        """Return what was scripted for calls that never came; `otherwise` may stay unused."""
        return first_of_each([reply for reply in self.all if reply.kind != "otherwise" and not reply.calls])

    def never_asked(self) -> list[str]:
        """Word what was scripted for calls that never came."""
        told = tuple(self._grouped)
        return [reply.never_asked(told) for reply in self.unused()]

    def miss(self, call: Call) -> UnexpectedCallError:
        """Word that the call has no reply. Predicates that can answer nothing more are not asked again."""
        told = tuple(self.all)
        spent = [reply for reply in told if reply.is_spent and not callable(reply.matcher) and reply.fits(call)]
        rules = [reply for reply in told if reply.kind == "when" and not reply.is_spent]
        if spent:
            last = max(spent, key=lambda reply: reply.calls[-1])
            why = f"every reply that fits was given already; the last of them {last.last_use()}"
        elif told:
            why = "no when() fits"
        else:
            why = "nothing was scripted"
        remedy = ["script one more .reply(...), or an .otherwise(...) for any call that nothing else fits"]
        if spent:
            remedy.append(f"if the app should not ask again, this is its bug: look where call {call.number} comes from")
        if (astray := self.astray(call, inside=False)) is not None:
            return UnexpectedCallError(leaves(f"call {call.number} of the fake model", astray))
        text = explain(
            f"call {call.number} of the fake model has no reply: {why}",
            sent=[f"{call.method}({clip(repr(call.input))})"],
            expected=[str(reply) for reply in told] or ["nothing"],
            difference=[_nearest(rules, call)] if rules else [],
            remedy=remedy,
        )
        return UnexpectedCallError(text)


def _nearest(rules: list[Reply], call: Call) -> str:
    """Say which rule comes nearest to the call, and what keeps it from fitting."""
    from difflib import SequenceMatcher

    def wanted(rule: Reply) -> str:
        return rule.matcher.pattern if isinstance(rule.matcher, re.Pattern) else str(rule.matcher or "")

    def likeness(rule: Reply) -> float:
        pattern = wanted(rule)
        blocks = SequenceMatcher(None, pattern, call.text[:2000], autojunk=False).get_matching_blocks()
        alike = sum(block.size for block in blocks) / max(len(pattern), 1)
        return alike + (rule.role == call.role)

    best = max(rules, key=likeness)
    if best.role is not None and role_of(best.role) != call.role:
        return f"{best}\nwants the role {best.role!r}, and the last message has {call.role!r}"
    if not isinstance(best.matcher, (str, re.Pattern)):
        return f"{best}\nits predicate returned a false value"
    pattern = wanted(best)
    match = SequenceMatcher(None, pattern, call.text[:2000], autojunk=False).find_longest_match()
    alike = call.text[max(match.b - match.a, 0) : match.b - match.a + len(pattern)]
    return f"{best}\nwants {pattern!r}" + (f", and the text has {alike!r}" if match.size > 1 else "")
