"""`sweep` in other processes: the report is the same, and nothing that a consumer does there stops it."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import sweeping
from sweeping import lines, row, tape

from fakellm.contracts import sweep
from fakellm.errors import ContractUsageError

pytestmark = pytest.mark.exhaustive
SNOW = "snow \N{SNOWMAN}"


@pytest.fixture
def archive(tmp_path):
    """Return a folder with more than one part of work."""
    folder = tmp_path / "archive"
    folder.mkdir()
    for day in range(3):
        lines(
            folder / f"{day}.jsonl",
            row(f"Day {day} ", "it is ", "dry"),
            row(f"Day {day} ", SNOW),
            "{",
            row("x" * 2**16 if not day else "x"),
        )
    return folder


def test_processes_say_what_this_one_says(archive):
    tape(archive / "tape.yaml", "On ", SNOW)
    here = sweep(archive, sweeping.strict, limit=3, workers=0)
    there = sweep(archive, sweeping.strict, limit=3, workers=2, ahead=2)

    assert (str(there), there.plain()) == (str(here), here.plain())
    assert (here.streams, here.failed, here.unread) == (10, 4, 3)


def test_an_executor_of_ones_own_and_one_that_breaks(archive, monkeypatch, tmp_path):
    monkeypatch.setenv("SWEEPING_FLAG", str(tmp_path / "flag"))
    here = sweep(archive, sweeping.noisy, limit=3, workers=0)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        there = sweep(archive, sweeping.noisy, limit=3, executor=pool)
        assert str(there) == str(here)
        for process in [*pool._processes.values()]:
            process.kill()
            process.join()
        assert str(sweep(archive, sweeping.noisy, limit=3, executor=pool, workers=1)) == str(here)


@pytest.mark.parametrize(
    "consume, cause",
    [
        (sweeping.waits_on_snow, "hangs: at sweeping.py:"),
        (sweeping.spins_on_snow, "hangs"),
        (sweeping.exits_on_snow, "ends its process: exit code 7"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_consumer_that_hangs_or_ends_its_process_is_named_and_stops_nothing(consume, cause, archive):
    (archive / "2.jsonl").unlink()
    report = sweep(archive, consume, limit=0, workers=1, patience=1)
    (found,) = report.plain()["failures"]

    assert (report.streams, report.failed, report.unread) == (6, 2, 2)
    assert report.causes[0].startswith(cause)
    assert found["first"] == [f"{archive}/0.jsonl:2", f"{archive}/1.jsonl:2"]


def test_a_process_that_is_killed_from_outside_is_no_fault_of_the_consumer(archive, monkeypatch, tmp_path):
    monkeypatch.setenv("SWEEPING_FLAG", str(tmp_path / "flag"))
    there = sweep(archive, sweeping.killed_once, limit=3, workers=1)

    assert (tmp_path / "flag").exists()
    assert (there.streams, there.failed) == (9, 0)
    assert there.plain() == sweep(archive, sweeping.killed_once, limit=3, workers=0).plain()


def test_who_interrupts_a_sweep_need_not_wait_for_a_consumer_that_hangs(tmp_path):
    for day, said in enumerate(("dry", SNOW)):
        lines(tmp_path / f"{day}.jsonl", row(said), row("x" * 2**16))

    def progress(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(tmp_path, sweeping.spins_on_snow, limit=0, workers=2, patience=3600, progress=progress)


SCRIPT = """
from fakellm.contracts import sweep

def strict(chunks):
    return "".join(chunk.decode() for chunk in chunks)

if __name__ == "__main__":
    report = sweep({archive!r}, strict, contracts="utf8_split", workers=1)
    print(report.failed, report.consumer)
"""


def test_a_function_of_a_script_gets_into_other_processes_and_what_cannot_is_told(archive, tmp_path, monkeypatch):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(archive=str(archive)))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300, check=False)
    assert (done.stdout, done.stderr) == ("3 strict\n", "")

    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(ContractUsageError, match="workers=0"):
        sweep(archive, lambda chunks: archive, workers=1)


def test_a_consumer_that_no_process_can_import_is_told_at_once(archive, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    for name, said, why in (
        ("leaves", "import sys; sys.exit(3)", "SystemExit: 3"),
        ("gone", "import no_such", "no_such"),
    ):
        (tmp_path / f"{name}.py").write_text(f"{said}\ndef answer(chunks): pass\n")
        with pytest.raises(ContractUsageError, match=f"{name}:answer cannot be imported: .*{why}"):
            sweep(archive, f"{name}:answer", workers=1)


def test_a_wrong_consumer_is_found_among_ten_thousand_streams_with_its_smallest_chunking(tmp_path):
    planted = 7_345
    said = [f"{number}" if number != planted else "☃" for number in range(10_000)]
    bodies = [f'data: {{"choices":[{{"index":0,"delta":{{"content":"{one}"}}}}]}}\n\n' for one in said]
    for day in range(10):
        lines(tmp_path / f"{day}.jsonl", *({"body": body} for body in bodies[day * 1000 : day * 1000 + 1000]))
    report = sweep(tmp_path, sweeping.strict_about_snow, workers=2, contracts=["utf8_split"])
    (found,) = report.plain()["failures"]

    assert (report.streams, report.failed) == (10_000, 1)
    assert (found["contract"], found["place"]) == ("utf8_split", "cut inside a character")
    assert found["smallest"]["stream"] == f"{tmp_path}/7.jsonl:346"
    assert found["smallest"]["moves"] == (("cut", bodies[planted].encode().index(b"\xe2") + 1, 0),)
