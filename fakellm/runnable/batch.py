"""Many calls at once: in threads or in tasks, in order or as they complete, bounded or not.

A job is one call, without arguments. What a batch raises and what it cancels is said by the methods of
`Runnable` that use these functions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from fakellm.runnable.crew import Crew, Monitor

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

T = TypeVar("T")


def thread_pool(workers: int | None) -> ThreadPoolExecutor:
    """Return a fresh pool; without a bound it has the standard library's min(32, cores + 4) threads."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(workers, thread_name_prefix="fakellm")


def submit(pool: ThreadPoolExecutor, job: Callable[[], T]) -> Future[T]:
    """Run the job in the pool, with a copy of the caller's context variables."""
    return pool.submit(copy_context().run, job)


def caught(job: Callable[[], T], *, return_exceptions: bool) -> T | Exception:
    """Run the job; with `return_exceptions` return its `Exception`. Other `BaseException`s are raised."""
    try:
        return job()
    except Exception as error:
        if return_exceptions:
            return error
        raise


async def acaught(job: Callable[[], Awaitable[T]], *, return_exceptions: bool) -> T | Exception:
    """Run the job; with `return_exceptions` return its `Exception`. Other `BaseException`s are raised."""
    try:
        return await job()
    except Exception as error:
        if return_exceptions:
            return error
        raise


# Who is called although another failed. That a thread was quicker or slower must not decide it, for a test sees the
# calls. So each job that has a thread from the start runs, whatever comes of the others; those that wait for a thread
# do not once a job before them has failed. Steps of a parallel all run, as LangChain's do.


def run_all(
    jobs: Sequence[Callable[[], T]], workers: int | None, *, return_exceptions: bool = False, every: bool = False
) -> list[T | Exception]:
    """Run the jobs in threads; results in the order of the jobs.

    The failure of the first job in order that failed is raised, after what runs has ended; jobs behind it that wait for
    a thread when it fails never start, unless `every` job has to.
    """
    if not jobs:
        return []
    failed: list[int] = []
    pool = thread_pool(workers)
    sure = len(jobs) if every else pool._max_workers  # noqa: SLF001 - how many threads there are, if nobody says

    def run(index: int, job: Callable[[], T]) -> Any:
        if index >= sure and failed and index > min(failed):
            return None  # nobody looks at it: the failure before it is raised
        try:
            return caught(job, return_exceptions=return_exceptions)
        except BaseException:
            failed.append(index)
            raise

    futures: list[Future[Any]] = []
    try:
        futures += [submit(pool, partial(run, index, job)) for index, job in enumerate(jobs)]
        return [future.result() for future in futures]
    finally:
        for future in futures[sure:]:
            future.cancel()
        pool.shutdown(wait=True, cancel_futures=False)


def run_as_completed(
    jobs: Sequence[Callable[[], T]], workers: int | None, *, return_exceptions: bool = False
) -> Iterator[tuple[int, T | Exception]]:
    """Run the jobs in threads, yielding `(index, result)` as they complete. Closing cancels the rest."""
    from queue import SimpleQueue
    from threading import Event

    if len(jobs) == 1:
        yield 0, caught(jobs[0], return_exceptions=return_exceptions)
        return
    pool = thread_pool(workers)
    done: SimpleQueue[tuple[int, Future[Any]]] = SimpleQueue()
    is_over = Event()

    def run(job: Callable[[], T]) -> Any:
        if is_over.is_set():  # a pool that is shut down lets its threads take jobs for as long as it cancels others
            return None
        return caught(job, return_exceptions=return_exceptions)

    def announce(index: int, future: Future[Any]) -> None:
        done.put((index, future))

    try:
        for index, job in enumerate(jobs):
            future = submit(pool, partial(run, job))
            future.add_done_callback(partial(announce, index))
        for _ in jobs:
            index, future = done.get()
            yield index, future.result()
    finally:
        is_over.set()
        pool.shutdown(wait=True, cancel_futures=True)


class _Tasks:
    """Jobs as tasks of a crew, at most `bound` at a time; each that ends makes room for the next."""

    def __init__(self, jobs: Sequence[Callable[[], Awaitable[Any]]], bound: int | None, crew: Crew) -> None:
        self.bound = len(jobs) if bound is None else bound
        self.waiting = deque(enumerate(jobs))
        self.crew = crew
        self.running = 0
        self.is_filling = False
        self.done: deque[tuple[int, Any, BaseException | None]] = deque()
        self.monitor = Monitor()
        self.fill()

    def fill(self) -> None:
        if self.is_filling:  # pragma: no cover - an eager task, new in Python 3.12, ran to its end inside start()
            return
        self.is_filling = True
        while self.waiting and self.running < self.bound and not self.crew.closing:
            self.running += 1
            self.crew.start(partial(self.run, *self.waiting.popleft()))
        self.is_filling = False

    async def run(self, index: int, job: Callable[[], Awaitable[Any]]) -> None:
        try:
            self.done.append((index, await job(), None))
        except BaseException as error:
            if self.crew.must_end_by(error):
                raise
            self.done.append((index, None, error))
            self.waiting.clear()
        finally:
            self.running -= 1
            self.fill()
            self.monitor.notify()


async def arun_as_completed(
    jobs: Sequence[Callable[[], Awaitable[T]]], bound: int | None, *, return_exceptions: bool = False
) -> AsyncIterator[tuple[int, T | Exception]]:
    """Run the jobs as tasks, all at once without a bound, yielding `(index, result)` as they complete.

    A failure, a closing and a cancellation cancel the other jobs and wait for their end.
    """
    async with Crew() as crew:
        tasks = _Tasks([partial(acaught, job, return_exceptions=return_exceptions) for job in jobs], bound, crew)
        for _ in jobs:
            await tasks.monitor.until(lambda: tasks.done)
            index, result, failure = tasks.done.popleft()
            if failure is not None:
                raise failure
            yield index, result


async def arun_all(
    jobs: Sequence[Callable[[], Awaitable[T]]], bound: int | None, *, return_exceptions: bool = False
) -> list[T | Exception]:
    """Run the jobs as tasks, all at once without a bound; results in the order of the jobs.

    The failure that came first in time is raised, after the other jobs were cancelled and have ended.
    """
    completed = arun_as_completed(jobs, bound, return_exceptions=return_exceptions)
    results = {index: result async for index, result in completed}
    return [results[index] for index in range(len(jobs))]
