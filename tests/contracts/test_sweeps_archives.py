"""`sweep` over archives as people have them: links, patterns, journals beside the tapes, and what a report shows."""

from __future__ import annotations

import gzip
import json
import os

import pytest
import sweeping
from sweeping import body_of, lines, row
from vectors import each

from fakellm.contracts import sweep
from fakellm.contracts.sweeps.keeping import lost
from fakellm.contracts.sweeps.report import SweepReport
from fakellm.contracts.sweeps.sources import units_of
from fakellm.errors import ContractUsageError

SNOW = "snow \N{SNOWMAN}"
brief = {"workers": 0, "limit": 0}


def _left(report):
    return report.tally.left_out


# -- files ------------------------------------------------------------------------------------------------


def test_links_that_lead_nowhere_stop_nothing_and_links_to_folders_are_told(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    (folder / "a.sse").write_bytes(body_of("fine"))
    (folder / "gone.sse").symlink_to("nothing")
    (folder / "loop.sse").symlink_to("loop.sse")
    (folder / "more").symlink_to(folder)
    for asked in (folder, f"{folder}/*.sse", [folder / "a.sse", f"{folder}/[gl]*.sse"]):
        report = sweep(asked, sweeping.text, **brief)

        assert (report.streams, report.unread) == (1, 2)
        assert {*report.tally.broken} == {"a file that cannot be read"}
        assert _left(report) == ({"a link to a folder, which is not followed": 1} if asked is folder else {})


def test_a_pattern_that_matches_folders_is_what_is_in_them(tmp_path):
    for day in ("day-1", "day-2/deep", "other"):
        (tmp_path / day).mkdir(parents=True)
        (tmp_path / day / "a.sse").write_bytes(body_of("fine"))
    (tmp_path / "day-3.sse").write_bytes(body_of("fine"))

    assert sweep(f"{tmp_path}/day-*", sweeping.text, **brief).streams == 3
    assert sweep(f"{tmp_path}/**", sweeping.text, **brief).streams == 4  # each once
    assert sweep(f"{tmp_path}/**/*", sweeping.text, **brief).streams == 4
    store = pytest.importorskip("fsspec", reason="object stores are opened by fsspec").filesystem("memory")
    store.pipe({f"/days/day-{day}/deep/a.sse": body_of("x") for day in (1, 2)})
    assert sweep("memory://days/day-*", sweeping.text, **brief).streams == 2
    assert sweep("memory://days/**", sweeping.text, **brief).streams == 2


def test_a_file_of_lines_without_any_is_told_and_is_not_wrong(tmp_path):
    (tmp_path / "a.jsonl").touch()
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b""))
    (tmp_path / "c.sse").write_bytes(body_of("fine"))
    report = sweep(tmp_path, sweeping.text, **brief)

    assert (report.streams, report.unread, _left(report)) == (1, 0, {"an empty file": 2})


def test_each_file_of_a_part_that_is_lost_is_named(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.sse").write_bytes(body_of("fine"))
    (unit,) = units_of([str(tmp_path)])
    found = lost(unit, "a part that no worker could sweep")

    assert found.broken["a part that no worker could sweep"].count == found.files == 3


def test_a_row_of_parquet_that_is_no_text_is_one_that_is_not_read(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet is read by pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"body": pyarrow.array([body_of("a"), b"\xff", body_of("b")]).view("string")})
    parquet.write_table(table, tmp_path / "a.parquet")
    report = sweep(tmp_path, sweeping.text, **brief)

    assert (report.streams, report.unread) == (2, 1)
    assert "a.parquet, row 1: " in str(report)


def test_a_consumer_that_goes_elsewhere_takes_no_file_out_of_reach(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        (tmp_path / f"{number}.sse").write_bytes(body_of("fine"))

    def consume(chunks):
        os.chdir("/")
        return sweeping.text(chunks)

    report = sweep(".", consume, **brief)
    assert (report.streams, report.unread) == (3, 0)
    assert tmp_path.samefile(".")


# -- a journal --------------------------------------------------------------------------------------------


def interrupted(asked):
    def progress(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(**asked, progress=progress)


def test_a_journal_in_the_archive_is_no_part_of_it(tmp_path):
    lines(tmp_path / "b.jsonl", row("x" * 2**16))
    lines(tmp_path / "c.jsonl", row("x"))
    asked = {"tapes": tmp_path, "consume": sweeping.text, **brief}
    whole = sweep(**asked)
    interrupted({**asked, "journal": tmp_path / "a.json"})

    assert (tmp_path / "a.json").exists()
    assert str(sweep(**asked, journal=tmp_path / "a.json")) == str(whole)


def test_a_journal_is_refused_where_a_file_was_written_anew_or_the_code_of_a_consumer_by_name(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "swept_by_name.py").write_text("def answer(chunks):\n    return b''.join(chunks)\n")
    archive = lines(tmp_path / "a.jsonl", row("dry"))
    asked = {"tapes": archive, "consume": "swept_by_name:answer", "journal": tmp_path / "journal", **brief}
    interrupted(asked)
    said = archive.read_text()
    archive.write_text(said.replace("dry", "wet"))
    os.utime(archive, ns=(0, 0))
    with pytest.raises(ContractUsageError, match="the archive has changed"):
        sweep(**asked)
    (tmp_path / "journal").unlink()
    interrupted(asked)
    (tmp_path / "swept_by_name.py").write_text("def answer(chunks):\n    return [*chunks]\n")
    with pytest.raises(ContractUsageError, match="the journal of another sweep"):
        sweep(**asked)


def test_a_journal_that_cannot_be_written_is_told_before_anything_is_read(tmp_path):
    lines(tmp_path / "a.jsonl", row("x"))
    read = []
    with pytest.raises(OSError, match="folder to save into"):
        sweep(tmp_path, read.append, journal=tmp_path / "none" / "journal", **brief)
    assert not read


# -- what a report shows ----------------------------------------------------------------------------------


class Shy:
    def __init__(self, said):
        self.said = said

    def __eq__(self, other):
        return self.said == other.said

    __hash__ = None

    def __repr__(self):
        raise RuntimeError("shy")


class ShyError(Exception):
    def __str__(self):
        raise RuntimeError("shy")


def shy_error(chunks):
    raise ShyError


@each(
    "consume, what, shown",
    [
        (lambda chunks: Shy(len([*chunks])), "comes to something else", "Shy, whose repr raises RuntimeError"),
        (shy_error, "fails on a stream that is whole", "ShyError, whose text raises RuntimeError"),
        (lambda chunks: object(), "comes to results that cannot be compared", "look the same: <object object at 0x…>"),
        (lambda chunks: {"a": float("nan")}, "comes to results that cannot be compared", "look the same: {'a': nan}"),
        (
            lambda chunks: (len([*chunks]), object()),
            "comes to results that cannot be compared",
            "look the same: (1, <ob",
        ),
    ],
)
def test_whatever_a_consumer_comes_to_is_shown_the_same_each_time(consume, what, shown, tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    (folder / "a.sse").write_bytes(body_of("fine"))
    report = sweep(folder, consume, workers=0, limit=1)

    assert what in report.causes[0]
    assert shown in str(report)
    assert str(sweep(folder, consume, workers=0, limit=1)) == str(report)


def _replayed(report, consume):
    line = next(line for line in str(report).split("\n") if line.startswith("  replay:"))
    names = {"sweep": lambda *args, **more: sweep(*args, **more, workers=0), consume.__name__: consume}
    again = eval(line.partition(":")[2].strip(), names)
    assert again.plain()["failures"][0]["smallest"] == report.plain()["failures"][0]["smallest"]
    return line


def test_the_line_that_replays_a_failure_says_all_that_it_takes(tmp_path):
    unnamed = body_of("one ", "two").decode().replace('"finish_reason":"stop"', '"finish_reason":null')
    archive = lines(tmp_path / "a.jsonl", {"answer": unnamed, "api": "openai.chat"})
    asked = {"columns": {"body": "answer"}, "workers": 0}
    text = sweep(archive, sweeping.stripped, reads="text", limit=3, **asked)
    assert "reads='text', columns={'body': 'answer'}, at=1, only=(" in _replayed(text, sweeping.stripped)
    broken = sweep(archive, sweeping.text, contracts=["grammar", "utf8_split"], **asked)
    assert "contracts='openai_chat_grammar'" in _replayed(broken, sweeping.text)


def test_a_consumer_without_a_name_that_leads_to_it_is_called_consume_in_the_line_that_replays_it(tmp_path):
    (tmp_path / "a.sse").write_bytes(body_of("fine"))
    report = sweep(tmp_path, lambda chunks: 1 / 0, **brief)

    assert f"  replay:      sweep('{tmp_path}/a.sse', consume)" in str(report)
    assert isinstance(report, SweepReport)
    assert json.dumps(report.plain())
