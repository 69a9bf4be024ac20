"""Every order in which the chunks of several streams can come: the result must be the same in all of them.

Merges are enumerated, those with the fewest switches between streams first, so the first that fails is a smallest.
Where there are too many, a sample of them is drawn by a seed, and the one that fails is made smaller by joining its
blocks. Three chunks and three have 20 merges, four and four 70, three streams of three 1680.

Why one stream after the other is the measure: it is the one order in which no code can mix up two streams, and it
needs no expected value from the author of the test. It is run twice, since code that differs there has another
problem, which no order shows; so is the failure. Why early chunks are tried only after merges in which something
slept: elsewhere nothing is there for a chunk to come before, and the run would be the same once more.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial, wraps
from itertools import islice
from math import factorial, prod
from random import Random
from typing import Any, overload

from fakellm.contracts.attempts import Attempt
from fakellm.contracts.bodies import Shared, as_test, without
from fakellm.contracts.gates import Gated, Played, play
from fakellm.contracts.merges import NAMES, Merge, early, joined, later, merges, read, shown, size, switches
from fakellm.contracts.progress import Progress
from fakellm.contracts.verdicts import broken
from fakellm.errors import BrokenContractError, ContractUsageError, clip
from fakellm.models.models import FakeChatModel, FakeLLM
from fakellm.provider.provider import FakeProvider
from fakellm.script.events import Text
from fakellm.script.script import NOT_SHOWN, Script

_STEPS = 5000  # chunks that are played by default
Run = Callable[[Merge], Played]


@overload
def every_interleaving(
    *scripts: Script | Sequence[Script],
    check: Callable[[Any], object] | None = None,
    limit: int | None = None,
    seed: int = 0,
    only: str | None = None,
    as_scripts: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., None]]: ...


@overload
def every_interleaving(
    app: Callable[..., Any],
    /,
    *scripts: Script | Sequence[Script],
    check: Callable[[Any], object] | None = None,
    limit: int | None = None,
    seed: int = 0,
    only: str | None = None,
    as_scripts: bool = False,
) -> int: ...


def every_interleaving(
    *scripts: Script | Sequence[Script] | Callable[..., Any],
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
    300, of long streams fewer, down to 20) are sampled: one stream whole inside of another, then by `seed`. The next
    chunk comes when all that the last one set off is done, what sleeps then included. Where something does, at most
    `limit` orders more are tried, in which chunks come early, before it wakes: `a1 b1~`. `only="a1 b1 a2"` is
    one order, as a failure prints it. The code runs in virtual time, on a loop of its own; what hangs is a deadlock:
    pytest sees a test that is not asynchronous, which needs no mark such as `pytest.mark.asyncio`.

    Raises `BrokenContractError` with the order that has the fewest switches, and `ContractUsageError` for code that is
    not asynchronous, that fails with one stream after the other, or never reads one of them.
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
    progress = Progress("orders")

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
            _explore(app, orders, check, as_scripts=as_scripts, name=test.__name__, progress=progress)
        finally:
            shared.settle()

    return as_test(wrapper, signature, progress)  # type: ignore[no-any-return]


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
        self.only = None if only is None else read(only, self.counts)

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
        found = self._sample() if self.is_sampled else list(merges(tuple(self.counts)))
        return sorted(found, key=lambda merge: (switches(merge), merge))

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
    progress: Progress | None = None,
) -> int:
    """Try the orders; return how many differed. Raises `BrokenContractError` for the smallest that fails.

    With `progress` it is a test that is run, which wants the clock.
    """
    __tracebackhide__ = True
    steps = progress or Progress("orders")
    steps.begin(None if orders.only else min(orders.total, orders.limit))

    async def with_models(*scripts: Gated) -> Any:
        given = scripts if as_scripts else _models(scripts)
        result = app(*given, clock=scripts[0].clock) if progress else app(*given)
        found = await result
        if check is not None and check(found) is False:
            msg = f"check returned False for {clip(repr(found), 200)}"
            raise AssertionError(msg)
        return None if check is not None else found

    def run(merge: Merge) -> Played:
        return play(with_models, orders.scripts, merge)

    expected = _reference(run, orders, name)
    tried: dict[Merge, Played] = {}
    for wanted in _wanted(orders, tried):
        played = run(wanted)
        if played.merge in tried:
            continue
        tried[played.merge] = played
        steps.step()
        if not played.found.same_as(expected.found):
            raise _failure(run, orders, name, expected.found, played, [*tried]) from played.found.error
    never = _never_read(orders, (expected, *tried.values()))
    if never:
        msg = (
            f"{name} never reads {never}, in any order, so there is nothing to interleave\n"
            "  to do:     read all streams; look for a loop whose last model is read more than once, as in "
            "for m in (a, b): async def work(): await read(m)"
        )
        raise ContractUsageError(msg)
    return len(tried)


def _wanted(orders: _Orders, tried: dict[Merge, Played]) -> Iterator[Merge]:
    """Yield the merges; then, of those in which code slept, the ones with early chunks: all of them, then one."""
    yield from orders.all()
    if orders.only is not None:
        return
    slept = sorted((played for played in tried.values() if played.asleep), key=lambda played: size(played.merge))
    yield from (early(played.merge, played.asleep) for played in slept[: orders.limit // 2])
    single = (early(played.merge, [at]) for played in slept if len(played.asleep) > 1 for at in played.asleep)
    yield from islice(single, orders.limit // 2)


def _never_read(orders: _Orders, runs: Iterable[Played]) -> str:
    """Return the names of the streams that were not read in any of these runs."""
    asked = {stream for played in runs for stream in played.asked}
    return ", ".join(NAMES[at] for at in range(len(orders.counts)) if at not in asked)


def _models(scripts: Sequence[Gated]) -> list[Any]:
    """Return a fake for each script: text models, or chat models where one of them says more than text."""
    is_text = all(isinstance(event, Text) for script in scripts for event in script.chunks)
    return [(FakeLLM if is_text else FakeChatModel)(script, clock=script.clock) for script in scripts]


def _reference(run: Run, orders: _Orders, name: str) -> Played:
    """Return what comes of one stream after the other. Raises `ContractUsageError` if that fails, or varies."""
    __tracebackhide__ = True
    first, second = run(orders.sequential), run(orders.sequential)
    if first.found.error is not None and not first.found.hangs:
        msg = (
            f"{name} fails with one stream after the other, so it is no matter of their order\n"
            f"  got:       {first.found}"
        )
        if first.asked and (never := _never_read(orders, [first])):
            msg += f"\n  unread:    {never}"
        raise ContractUsageError(msg) from first.found.error
    if not first.found.same_as(second.found) or first.merge != second.merge:
        msg = (
            f"{name} is nondeterministic: twice the same order, and it differs\n"
            f"  first:     {first.found}\n  second:    {second.found}\n"
            "  to do:     look for state that is kept between calls, a clock, random numbers, ids"
        )
        raise ContractUsageError(msg)
    if first.found.hangs:
        raise broken(
            "crossed_streams",
            f"{name} hangs, already in this order",
            ("order", shown(first.merge)),
            ("got", str(first.found)),
        )
    return first


def _failure(
    run: Run, orders: _Orders, name: str, expected: Attempt, played: Played, tried: list[Merge]
) -> BrokenContractError:
    """Return the error for the smallest order that fails."""
    played = _smaller(run, expected, played)
    found = played.found
    again = run(played.merge).found
    what = f"the result of {name} depends on the order in which the chunks of its streams come"
    if found.hangs:
        what = f"{name} hangs in one order of the chunks of its streams"
    rows = [("order", shown(played.merge)), ("got", str(found)), ("expected", f"{expected}, as one after the other")]
    if any(step < 0 for step in played.merge):
        rows.insert(1, ("~", "this chunk comes early: before those wake that sleep since the chunk before"))
    if not again.same_as(found):
        rows.append(("again", f"{again}\nthe code under test is nondeterministic: the same order gave another result"))
    rows += [("tried", _how(orders, tried)), ("replay", f"every_interleaving(..., only={shown(played.merge)!r})")]
    return broken("crossed_streams", what, *rows)


def _how(orders: _Orders, tried: list[Merge]) -> str:
    """Word which of the orders it was that failed first."""
    hasty = sum(any(step < 0 for step in merge) for merge in tried)
    how = f"order {len(tried)} of {orders.total}"
    if hasty:
        how = f"{len(tried) - hasty} of {orders.total} orders, and {hasty} with early chunks"
    if orders.is_sampled:
        how += f", sampled with seed={orders.seed}, limit={orders.limit}"
    return how


def _smaller(run: Run, expected: Attempt, played: Played) -> Played:
    """Join blocks of the merge, and let chunks not be early, while it still fails, so that it is easier to follow."""
    for candidate in (*joined(played.merge), *later(played.merge)):
        other = run(candidate)
        if not other.found.same_as(expected) and size(other.merge) < size(played.merge):
            return _smaller(run, expected, other)
    return played
