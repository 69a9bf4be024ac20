"""Sweeps an archive on a Ray cluster of two workers on loopback, kills one of them, and compares the report.

`pip install 'ray>=2' psutil 'fakellm-stream[sweep]'`, then `python examples/archives/on_ray.py`: half a minute. The
exit code is 1 where the report is another than that of a sweep in this process, or where no worker could be killed.
"""

import json
import os
import signal
import sys
import tempfile
from concurrent.futures import Executor
from pathlib import Path

import psutil
import ray

from fakellm.contracts import sweep

HERE = Path(__file__).parent
EVENT = 'data: {"choices": [{"index": 0, "delta": {"content": "%s"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'


class OnRay(Executor):
    """All that a sweep needs of an executor. Ray runs a task again whose worker died."""

    def submit(self, function, /, *arguments):
        return ray.remote(function).remote(*arguments).future()


class Killer:
    """Kills a worker of Ray that sweeps a part, once some streams are done."""

    def __init__(self):
        self.killed = 0

    def __call__(self, done):
        if self.killed or not done:
            return
        for process in psutil.process_iter(["cmdline"]):
            if any("ray::sweep_part" in word for word in process.info["cmdline"] or ()):
                os.kill(process.pid, signal.SIGKILL)
                self.killed = process.pid
                return


def archive(folder):
    """Write 1,200 streams into four files, of which one has characters of several bytes."""
    for day in range(4):
        said = (f"snow \N{SNOWMAN} {number}" if (day, number) == (2, 77) else f"dry {number}" for number in range(300))
        rows = (json.dumps({"body": EVENT % text}, ensure_ascii=False) for text in said)
        Path(folder, f"{day}.jsonl").write_text("\n".join(rows), encoding="utf-8")


def main():
    os.environ["PYTHONPATH"] = str(HERE)  # where workers find the consumer
    sys.path.insert(0, str(HERE))
    killer = Killer()
    with tempfile.TemporaryDirectory() as folder:
        archive(folder)
        here = sweep(folder, "by_read:answer", contracts="utf8_split", workers=0)
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        try:
            there = sweep(folder, "by_read:answer", contracts="utf8_split", executor=OnRay(), progress=killer)
        finally:
            ray.shutdown()
    print(there)
    is_same = str(there) == str(here) and there.plain() == here.plain()
    print(f"killed {killer.killed or 'no worker'}; the report is {'the same' if is_same else 'another one'}")
    return 0 if is_same and killer.killed else 1


if __name__ == "__main__":
    sys.exit(main())
