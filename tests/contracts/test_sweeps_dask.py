"""`sweep` on a Dask cluster: a scheduler and workers that are processes of their own, on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager

import pytest
import sweeping
from sweeping import lines, row

from fakellm.contracts import sweep

distributed = pytest.importorskip("distributed", reason="Dask is not installed")
pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.filterwarnings("default"),  # of Dask and tornado, while they start and end
]
SNOW = "snow \N{SNOWMAN}"
SCHEDULER = """
import asyncio
from distributed import Scheduler

async def main():
    async with Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler:
        print(scheduler.address, flush=True)
        await scheduler.finished()

asyncio.run(main())
"""
WORKER = """
import asyncio, sys
from distributed import Worker

async def main():
    async with Worker(sys.argv[1], nthreads=1, dashboard=False) as worker:
        print(worker.address, flush=True)
        await worker.finished()

asyncio.run(main())
"""


@contextmanager
def running(program, *arguments):
    """Run a program that says an address once it is ready; give its process and the address."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def cluster():
    """Return a client of a cluster, and the processes of its two workers."""
    with ExitStack() as stack:
        _, address = stack.enter_context(running(SCHEDULER))
        workers = [stack.enter_context(running(WORKER, address))[0] for _ in range(2)]
        client = stack.enter_context(distributed.Client(address, set_as_default=False))
        client.wait_for_workers(2, timeout=120)
        yield client, workers


@pytest.fixture
def archive(tmp_path):
    """Return an archive of so many parts that a worker can die among them."""
    folder = tmp_path / "archive"
    folder.mkdir()
    padding = "x" * 2**16
    for day in range(12):
        lines(folder / f"{day:02}.jsonl", row(f"{day} ", SNOW), row("fine"), "{", row(padding))
    return folder


def test_a_cluster_says_what_this_process_says_though_a_worker_is_killed(cluster, archive):
    client, workers = cluster
    here = sweep(archive, sweeping.strict, limit=9, workers=0)
    killed, seen = [], []

    def progress(done):
        seen.append(done)
        if done and not killed:
            killed.append(workers[0].pid)
            os.kill(workers[0].pid, signal.SIGKILL)

    there = sweep(archive, sweeping.strict, limit=9, executor=client.get_executor(), progress=progress)

    assert killed
    assert len(client.scheduler_info()["workers"]) == 1
    assert (str(there), there.plain()) == (str(here), here.plain())
    assert seen[-1] == here.streams == 36
    assert (here.failed, here.unread) == (12, 12)


def test_a_consumer_that_hangs_on_a_cluster_is_named_and_stops_nothing(cluster, archive):
    client, _ = cluster
    for path in sorted(archive.iterdir())[2:]:
        path.unlink()
    report = sweep(archive, sweeping.spins_on_snow, limit=0, executor=client.get_executor(), patience=1)

    assert report.causes == ["hangs"]
    assert (report.streams, report.failed, report.unread) == (6, 2, 2)
