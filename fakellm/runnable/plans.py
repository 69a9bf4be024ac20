"""One core, two shells: a procedure that makes calls, written once and run with or without `await`.

A plan is a generator. It yields `Step`s, each the same call in both flavours, and gets the results back;
what a call raises is raised where the plan waits for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class Step(NamedTuple):
    """One call, as a synchronous and as an asynchronous function without arguments."""

    call: Callable[[], Any]
    acall: Callable[[], Awaitable[Any]]


Plan = Generator[Step, Any, T]


def run(plan: Plan[T]) -> T:
    """Run the plan synchronously and return what it returns."""
    try:
        step = next(plan)
        while True:
            try:
                result = step.call()
            except BaseException as error:  # noqa: BLE001 - raised in the plan
                step = plan.throw(error)
            else:
                step = plan.send(result)
    except StopIteration as stop:
        returned: T = stop.value
        return returned


async def arun(plan: Plan[T]) -> T:
    """Run the plan asynchronously and return what it returns."""
    try:
        step = next(plan)
        while True:
            try:
                result = await step.acall()
            except BaseException as error:  # noqa: BLE001 - raised in the plan
                step = plan.throw(error)
            else:
                step = plan.send(result)
    except StopIteration as stop:
        returned: T = stop.value
        return returned
