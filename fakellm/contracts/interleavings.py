"""Every order in which the chunks of several streams can come: the result must be the same in all of them.

Merges are enumerated, those with the fewest switches between streams first, so the first that fails is a smallest.
Where there are too many, a sample of them is drawn by a seed, and the one that fails is made smaller by joining its
blocks. Three chunks and three have 20 merges, four and four 70, three streams of three 1680.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial, wraps
from itertools import groupby, islice
from math import factorial, prod
from random import Random
from typing import Any

from fakellm.contracts.attempts import Attempt
from fakellm.contracts.bodies import Shared, without
from fakellm.contracts.gates import NAMES, Gated, Merge, play
from fakellm.contracts.verdicts import broken
from fakellm.errors import BrokenContractError, ContractUsageError, clip
from fakellm.events import Text
from fakellm.models import FakeChatModel, FakeLLM
from fakellm.provider import FakeProvider
from fakellm.script import NOT_SHOWN, Script

_STEPS = 5000  # chunks that are played by default
Run = Callable[[Merge], tuple[Attempt, Merge]]


def every_interleaving(
    *scripts: Script | Callable[..., Any],
    check: Callable[[Any], object] | None = None,
    limit: int | None = None,
    seed: int = 0,
    only: str | None = None,
    as_scripts: bool = False,
) -> Any:
    """Run asynchronous code on all orders in which the chunks of several streams can come.

        @every_interleaving(Script("a1 ", "a2 ", "a3 "), Script("b1 ", "b2 ", "b3 "))
        async def test_app(first, second):
            assert await my_app.ask_both(first, second) == ["a1 a2 a3 ", "b1 b2 b3 "]

    A test gets a fake model for each script, as its first parameters. What it returns has to be the same in every
    order, and its asserts have to hold. Its other parameters stay fixtures. Without a test,
    `every_interleaving(app, script, script)` does the same with `await app(model, model)` at once, and returns how many
    orders were tried. With `check`, results may differ: `check(result)` raises, or returns False, for a wrong one.

    With `as_scripts` the code gets `Script`s that have a `clock`, for fakes of its own: `FakeProvider("openai",
    clock=a.clock).when("A", a).when("B", b)`. Fake providers among the fixtures of a test wait on that clock already.

    All orders are tried, those with the fewest switches between streams first. More than `limit` of them (by default
    300, of long streams fewer, down to 20) are sampled: one stream whole inside of another, then by `seed`.
    `only="a1 b1 a2"` is one order, as a failure prints it. The code runs in virtual time, and what hangs is a deadlock.
    Raises `BrokenContractError` with the order that has the fewest switches, and `ContractUsageError` for code that is
    not asynchronous, or that fails with one stream after the other.
    """
    first, *others = scripts or (None,)
    is_app = callable(first) and not isinstance(first, Script)
    streams = [*_flat(others if is_app else scripts)]
    orders = _Orders(streams, limit, seed, only)
    if is_app:
        return _explore(_asynchronous(first), orders, check, as_scripts=as_scripts, name=_name(first))
    return partial(_decorated, orders=orders, check=check, as_scripts=as_scripts)


def _decorated(
    test: Callable[..., Any], *, orders: _Orders, check: Callable[[Any], object] | None, as_scripts: bool
) -> Callable[..., Any]:
    """Return the test as pytest is to see it: without the parameters that the streams fill in."""
    count = len(orders.scripts)
    names = [n for n in inspect.signature(test).parameters if n not in ("self", "cls")][:count]
    names += [NAMES[at] for at in range(len(names), count)]
    signature = without(test, names, "every_interleaving")
    _asynchronous(test)

    @wraps(test)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        __tracebackhide__ = True
        shared = Shared([*args, *kwargs.values()])

        async def app(*models: Any, clock: Any) -> Any:
            shared.renew()
            for told in shared.fakes:
                if isinstance(told.fake, FakeProvider):
                    told.fake.clock = clock
            return await test(*args, **kwargs, **dict(zip(names, models, strict=True)))

        try:
            _explore(app, orders, check, as_scripts=as_scripts, name=test.__name__, wants_clock=True)
        finally:
            shared.settle()

    wrapper.__signature__ = signature  # type: ignore[attr-defined]
    return wrapper


def _flat(scripts: Sequence[Any]) -> Iterator[Any]:
    for script in scripts:
        if isinstance(script, (list, tuple)):
            yield from script
        else:
            yield script


def _name(app: Any) -> str:
    return getattr(app, "__name__", None) or repr(app)


def _asynchronous(app: Any) -> Any:
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(getattr(app, "__call__", None)):  # noqa: B004
        return app
    wrapped = getattr(app, "func", None)
    if wrapped is not None and inspect.iscoroutinefunction(wrapped):
        return app
    msg = (
        f"{_name(app)} is not asynchronous; interleavings are those of tasks, since the order in which threads run "
        "cannot be held: write async def"
    )
    raise ContractUsageError(msg)


# -- the orders -------------------------------------------------------------------------------------------


class _Orders:
    """The merges that are tried."""

    def __init__(self, scripts: Sequence[Any], limit: int | None, seed: int, only: str | None) -> None:
        _check(scripts, limit)
        self.scripts = scripts
        self.counts = [sum(not isinstance(event, NOT_SHOWN) for event in script) for script in scripts]
        self.total = factorial(sum(self.counts)) // prod(map(factorial, self.counts))
        self.limit = limit or max(20, min(300, _STEPS // sum(self.counts)))
        self.seed = seed
        self.only = None if only is None else _read(only, self.counts)

    @property
    def is_sampled(self) -> bool:
        """Whether there are too many to try them all."""
        return self.total > self.limit

    @property
    def sequential(self) -> Merge:
        """One stream after the other."""
        return tuple(stream for stream, count in enumerate(self.counts) for _ in range(count))

    def all(self) -> list[Merge]:
        """Return the merges, those with the fewest switches first."""
        if self.only is not None:
            return [self.only]
        merges = self._sample() if self.is_sampled else list(_merges(tuple(self.counts)))
        return sorted(merges, key=lambda merge: (switches(merge), merge))

    def _sample(self) -> list[Merge]:
        random = Random(self.seed)  # noqa: S311 - an order, no secret
        turns = tuple(s for turn in range(max(self.counts)) for s, count in enumerate(self.counts) if turn < count)
        found = dict.fromkeys((self.sequential, self.sequential[::-1], turns))
        found.update(dict.fromkeys(islice(self._insertions(), self.limit // 2)))
        while len(found) < self.limit:
            merge = list(self.sequential)
            random.shuffle(merge)
            found[tuple(merge)] = None
        return list(found)

    def _insertions(self) -> Iterator[Merge]:
        """Yield the merges in which one stream comes whole in the middle of the others: two switches find much."""
        for stream in range(len(self.counts)):
            own = tuple(s for s in self.sequential if s == stream)
            others = tuple(s for s in self.sequential if s != stream)
            yield from ((*others[:at], *own, *others[at:]) for at in range(len(others) + 1))


def _merges(counts: tuple[int, ...]) -> Iterator[Merge]:
    if not any(counts):
        yield ()
    for stream, count in enumerate(counts):
        if count:
            fewer = (*counts[:stream], count - 1, *counts[stream + 1 :])
            yield from ((stream, *rest) for rest in _merges(fewer))


def switches(merge: Merge) -> int:
    """Count how often a chunk comes from another stream than the one before."""
    return sum(1 for _ in groupby(merge)) - 1


def shown(merge: Merge) -> str:
    """Show a merge, with a bar at each switch: `a1 a2 | b1 | a3`."""
    counts: dict[int, int] = {}
    blocks = []
    for stream, block in groupby(merge):
        names = []
        for _ in block:
            counts[stream] = counts.get(stream, 0) + 1
            names.append(f"{NAMES[stream]}{counts[stream]}")
        blocks.append(" ".join(names))
    return " | ".join(blocks)


def _read(line: str, counts: Sequence[int]) -> Merge:
    """Read a merge as `shown` writes it; chunks that it does not name come at its end."""
    words = line.replace("|", " ").split()
    merge = [NAMES.index(word[0]) for word in words if re.fullmatch(r"[a-z]\d+", word)]
    if len(merge) != len(words) or any(merge.count(s) > (counts[s] if s < len(counts) else 0) for s in merge):
        names = ", ".join(f"{NAMES[s]}1 to {NAMES[s]}{count}" for s, count in enumerate(counts))
        msg = f"only={line!r} is no order of these chunks; write only='a1 b1 a2', of {names}"
        raise ContractUsageError(msg)
    left = (s for s, count in enumerate(counts) for _ in range(count - merge.count(s)))
    return (*merge, *left)


def _check(scripts: Sequence[Any], limit: int | None) -> None:
    for script in scripts:
        if not isinstance(script, Script):
            msg = f"every_interleaving takes scripts, not {clip(repr(script), 80)}; write Script('one ', 'two')"
            raise ContractUsageError(msg)
        if not script.chunks:
            msg = f"{script!r} has no chunk, so there is nothing to interleave"
            raise ContractUsageError(msg)
    if not 2 <= len(scripts) <= len(NAMES):  # noqa: PLR2004
        msg = f"{len(scripts)} stream has one order only" if scripts else "there are no streams to interleave"
        raise ContractUsageError(f"{msg}; give two scripts or more: every_interleaving(Script(...), Script(...))")
    if limit is not None and (type(limit) is not int or limit < 3):  # noqa: PLR2004 - one after the other, the reverse, in turns
        msg = f"limit is how many orders are tried at most, from 3 up, not {limit!r}"
        raise ContractUsageError(msg)


# -- trying them ------------------------------------------------------------------------------------------


def _explore(
    app: Any,
    orders: _Orders,
    check: Callable[[Any], object] | None,
    *,
    as_scripts: bool,
    name: str,
    wants_clock: bool = False,
) -> int:
    """Try the orders; return how many differed. Raises `BrokenContractError` for the smallest that fails."""
    __tracebackhide__ = True

    async def with_models(*scripts: Gated) -> Any:
        given = scripts if as_scripts else _models(scripts)
        result = app(*given, clock=scripts[0].clock) if wants_clock else app(*given)
        found = await result
        if check is not None and check(found) is False:
            msg = f"check returned False for {clip(repr(found), 200)}"
            raise AssertionError(msg)
        return None if check is not None else found

    def run(merge: Merge) -> tuple[Attempt, Merge]:
        return play(with_models, orders.scripts, merge)

    expected = _reference(run, orders, name)
    tried: set[Merge] = set()
    for wanted in orders.all():
        found, merge = run(wanted)
        if merge in tried:
            continue
        tried.add(merge)
        if not found.same_as(expected):
            raise _failure(run, orders, name, expected, found, merge, len(tried)) from found.error
    return len(tried)


def _models(scripts: Sequence[Gated]) -> list[Any]:
    """Return a fake for each script: text models, or chat models where one of them says more than text."""
    is_text = all(isinstance(event, Text) for script in scripts for event in script.chunks)
    return [(FakeLLM if is_text else FakeChatModel)(script, clock=script.clock) for script in scripts]


def _reference(run: Run, orders: _Orders, name: str) -> Attempt:
    """Return what comes of one stream after the other. Raises `ContractUsageError` if that fails, or varies."""
    __tracebackhide__ = True
    first, second = run(orders.sequential), run(orders.sequential)
    if first[0].error is not None and not first[0].hangs:
        msg = (
            f"{name} fails with one stream after the other, so it is no matter of their order\n  got:       {first[0]}"
        )
        raise ContractUsageError(msg) from first[0].error
    if not first[0].same_as(second[0]) or first[1] != second[1]:
        msg = (
            f"{name} is nondeterministic: twice the same order, and it differs\n"
            f"  first:     {first[0]}\n  second:    {second[0]}\n"
            "  to do:     look for state that is kept between calls, a clock, random numbers, ids"
        )
        raise ContractUsageError(msg)
    if first[0].hangs:
        raise broken(
            "crossed_streams",
            f"{name} hangs, already in this order",
            ("order", shown(first[1])),
            ("got", str(first[0])),
        )
    return first[0]


def _failure(
    run: Run, orders: _Orders, name: str, expected: Attempt, found: Attempt, merge: Merge, tried: int
) -> BrokenContractError:
    """Return the error for the smallest order that fails."""
    merge, found = _smaller(run, expected, merge, found)
    again, _ = run(merge)
    what = f"the result of {name} depends on the order in which the chunks of its streams come"
    if found.hangs:
        what = f"{name} hangs in one order of the chunks of its streams"
    how = f"order {tried} of {orders.total}"
    if orders.is_sampled:
        how += f", sampled with seed={orders.seed}, limit={orders.limit}"
    rows = [("order", shown(merge)), ("got", str(found)), ("expected", f"{expected}, as one after the other")]
    if not again.same_as(found):
        rows.append(("again", f"{again}\nthe code under test is nondeterministic: the same order gave another result"))
    rows += [("tried", how), ("replay", f"every_interleaving(..., only={shown(merge)!r})")]
    return broken("crossed_streams", what, *rows)


def _smaller(run: Run, expected: Attempt, merge: Merge, found: Attempt) -> tuple[Merge, Attempt]:
    """Join blocks of the merge while it still fails, so that it has fewer switches."""
    for candidate in _joined(merge):
        outcome, taken = run(candidate)
        if not outcome.same_as(expected) and switches(taken) < switches(merge):
            return _smaller(run, expected, taken, outcome)
    return merge, found


def _joined(merge: Merge) -> Iterator[Merge]:
    """Yield the merges in which one block was moved to the block of its stream before or after it."""
    blocks = [tuple(block) for _, block in groupby(merge)]
    for at, block in enumerate(blocks):
        rest = blocks[:at] + blocks[at + 1 :]
        for place, other in enumerate(rest):
            if other[0] == block[0] and abs(place - at) <= len(merge):
                moved = [*rest[:place], other + block, *rest[place + 1 :]]
                yield tuple(stream for part in moved for stream in part)
