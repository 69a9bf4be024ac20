"""Requests that the real API would refuse: rules, what is known of each, and what holds a request to them.

A codec refuses what it cannot read. An API refuses far more: a result without its call, a schema that it cannot keep,
a field that it does not have. What it refuses is written down here as data, one `Rule` for each thing, with the source
that it is known from, in the folder of its provider; `Rules` is what all of one API are.

The first rules of each are the types of its SDK (`wire/typed.py`), as far as that is installed; the others hold in
any case. What a rule yields is said as the API says it, and tells the author of the test beside that which rule, where,
and what to do.

Two things are asked of a rule. It refuses nothing that the API takes: where that is not known, there is no rule. And it
knows the API alone, not who speaks it elsewhere: to a look-alike only the types apply, and of those only what is of
another type, since look-alikes add fields and words of their own.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from fakellm.errors import WireError, explain, in_rows
from fakellm.wire.codec import Request
from fakellm.wire.documents import words_of
from fakellm.wire.sdk_types import found_in, is_installed
from fakellm.wire.typed import Kind, Problem, Reader, place_of


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that is held to rules.

    `body` is its JSON, `request` the same in neutral words, `path` that of its URL with the query, `headers` with their
    names in lower case. `is_alike` tells that another service is asked, which speaks the API in a way of its own;
    `profile` is its habits. `window` is how many tokens the model may be asked in all, None for any number.
    """

    body: dict[str, Any]
    request: Request
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    is_alike: bool = False
    profile: Any = None
    window: int | None = None

    @property
    def tokens(self) -> int:
        """How many tokens the request is, as the fakes count them: words, of everything that the model reads."""
        return words_of(self.body.get(name) for name in _READ)


_READ = (
    "messages", "system", "tools", "input", "instructions", "contents", "systemInstruction", "system_instruction",
    "prompt",
)  # fmt: skip
"""The fields that a model reads, of any API."""


class Broken(NamedTuple):
    """What a rule found: where, and in the API's words. `param` and `code` are the API's own, where it has such."""

    place: str
    message: str
    code: str | None = None
    param: str | None = None


def nothing(_: Asked) -> Iterable[Broken]:
    """Find nothing: the check of a rule that is in the types."""
    return ()


@dataclass(frozen=True, slots=True)
class Rule:
    """What an API refuses: a name, a sentence, what to do instead, and the source that says so.

    `source` is the address of documentation, or of a public report that has the API's answer. `check` yields what
    breaks the rule in a request.
    """

    name: str
    refuses: str
    remedy: str
    source: str
    check: Callable[[Asked], Iterable[Broken]] = nothing


class Refusal(NamedTuple):
    """Why a request is refused: the rule of which API, where, and what the API says.

    `code` is the API's own, where it has one, and `body` its whole document, where message and code are not all of it.
    """

    api: str
    rule: Rule
    place: str
    message: str
    code: str | None = None
    body: str | None = None

    def error(self) -> WireError:
        """Return an error that refuses it so: a new one each time, since one that was raised keeps its frames."""
        error = WireError(self.message)
        error.code, error.body = self.code, self.body
        return error

    def __str__(self) -> str:
        where = f" at {self.place}" if self.place else ""
        headline = f"refused by the rule {self.rule.name} of {self.api}{where}: {self.message}"
        return in_rows(headline, [("to do:", self.rule.remedy), ("known by:", self.rule.source)])


_OF_TYPES: dict[Kind, str] = {
    "missing": "missing-field",
    "unknown": "unknown-field",
    "type": "field-type",
    "value": "field-value",
}
"""The kind of a problem with types -> the name of its rule."""
OF_TYPES = tuple(_OF_TYPES.values())


def rules_of_types(sdk: str, missing: str, unknown: str, kind: str, value: str) -> tuple[Rule, ...]:
    """Return the rules that an SDK's types say, each with the source of its wording."""
    update = f"if the API has it by now, update {sdk}; allow= lets it pass"
    return (
        Rule("missing-field", "a field that has to be there is not", "send the field", missing),
        Rule("unknown-field", "a field that the API does not have", f"leave it out; {update}", unknown),
        Rule("field-type", "a field of another type", "send a value of that type", kind),
        Rule("field-value", "a word that is none of those allowed", f"send one of them; {update}", value),
    )


class Rules:
    """The rules of one API. A provider's are a subclass, which says what its types are and words what is wrong."""

    api = ""
    sdk = ""
    """The distribution whose types these are, as one would install it."""
    rules: tuple[Rule, ...] = ()
    is_at_guests = False
    """Whether the API is the provider's own where it is a guest on the hosts of others."""
    beyond: frozenset[str] = frozenset()
    """Places that the API takes otherwise than the types: `messages[].annotations`, which these do not have."""

    def types(self, asked: Asked) -> str | None:  # noqa: ARG002 - an API may have several
        """Return where the types of a request are, `module:Name`; None where there are none for it."""
        return None

    def annotation(self, place: str) -> Any:
        """Return the types that are at a place, or None."""
        return found_in(place)

    def as_typed(self, asked: Asked) -> dict[str, Any]:
        """Return the body that is held to the types: with what the API fills in, where that tells types apart."""
        return asked.body

    def word(self, problem: Problem, asked: Asked) -> Broken:  # noqa: ARG002 - some word it by the API
        """Say a problem with types as the API would."""
        return Broken(place_of(problem.path), f"{place_of(problem.path)}: {problem.kind}")

    def body(self, broken: Broken) -> str | None:  # noqa: ARG002 - most codecs word it
        """Return the whole document of the answer, or None where the codec words it."""
        return None

    def is_own(self, profile: Any) -> bool:
        """Tell whether a service with the habits of a profile holds requests to all of these rules."""
        return profile is None

    def refusal(self, asked: Asked, allow: Iterable[str] = ()) -> Refusal | None:
        """Return why a request is refused, by the first rule that it breaks and that is not among `allow`."""
        for rule, broken in self._broken(asked):
            if rule.name not in allow:
                return Refusal(self.api, rule, broken.place, broken.message, broken.code, self.body(broken))
        return None

    def _broken(self, asked: Asked) -> Iterator[tuple[Rule, Broken]]:
        known = {rule.name: rule for rule in self.rules}
        yield from ((known[name], broken) for name, broken in self._of_types(asked) if name in known)
        if not asked.is_alike:
            for rule in self.rules:
                for broken in rule.check(asked):
                    yield rule, broken

    def _of_types(self, asked: Asked) -> Iterator[tuple[str, Broken]]:
        place = self.types(asked)
        if place is None:
            return
        if not is_installed(place):
            say_missing(self.sdk, self.api)
            return
        annotation = self.annotation(place)
        if annotation is None:
            return
        for problem in Reader(is_lenient=asked.is_alike).problems(annotation, self.as_typed(asked)):
            if not self.takes(problem, asked):
                yield _OF_TYPES[problem.kind], self.word(problem, asked)

    def takes(self, problem: Problem, asked: Asked) -> bool:  # noqa: ARG002 - some take more of some
        """Tell whether the API takes what the types do not."""
        return generic(problem.path) in self.beyond


def generic(path: Iterable[str | int]) -> str:
    """Word a path with any index: `messages[].content[].text`."""
    return place_of("[]" if isinstance(key, int) else key for key in path).replace(".[]", "[]")


@cache
def say_missing(sdk: str, api: str) -> None:
    """Say, once in a process, that requests are not held to types, since their SDK is not there."""
    why = f"requests to {api} are not held to the types of {sdk}, which is not installed; the other rules hold"
    warnings.warn(explain(why, remedy=[f"pip install {sdk}"]), RuntimeWarning, stacklevel=2)


# -- what rules share ---------------------------------------------------------------------------------


def mappings(found: Any) -> list[tuple[int, dict[str, Any]]]:
    """Return the objects in a list, each with its index; nothing of what is no list."""
    return [(at, one) for at, one in enumerate(found) if isinstance(one, dict)] if isinstance(found, list) else []


def inner(found: Any, name: str) -> dict[str, Any]:
    """Return an object in an object; an empty one where there is none."""
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, dict) else {}


def listed(values: Iterable[str], last: str = "and") -> str:
    """Word values as a sentence has them: `'a', 'b', and 'c'`."""
    words = [f"'{value}'" for value in values]
    if len(words) < 3:  # noqa: PLR2004
        return f" {last} ".join(words)
    return f"{', '.join(words[:-1])}, {last} {words[-1]}"


def number_of(found: Any, name: str) -> float | int | None:
    """Return a field that is a number, or None."""
    value = found.get(name) if isinstance(found, dict) else None
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return value if is_number else None


def capped(asked: Asked, *names: str) -> int:
    """Return how many tokens a request allows for its answer, by the first of the fields that says so; else 0."""
    found = (number_of(asked.body, name) for name in names)
    return int(next((value for value in found if value is not None and value > 0), 0))
