"""`fakellm sweep`: a consumer over an archive, from a shell."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from sweeping import lines, row
from vectors import each

from fakellm.cli.commands import app

APP = """
def answer(chunks):
    return "".join(chunk.decode() for chunk in chunks)

def loud(chunks):
    print("loud")
    return b"".join(chunks)

def interrupted(chunks):
    raise KeyboardInterrupt

def whole(chunks):
    return b"".join(chunks).decode()
"""
HERE = ("--workers", "0")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "swept_app.py").write_text(APP)
    (tmp_path / "archive").mkdir()
    lines(tmp_path / "archive" / "day.jsonl", row("fine"), row("snow \N{SNOWMAN}"))
    return tmp_path


def swept(*arguments):
    """Return what the command says on each of its streams, and its exit code."""
    result = CliRunner().invoke(app, ["sweep", *arguments, *HERE], standalone_mode=False, catch_exceptions=False)
    return result.stdout, result.stderr, result.return_value


def test_what_a_consumer_reads_wrongly_is_shown_and_replayed(folder):
    said, _, code = swept("archive", "--consumer", "swept_app:answer", "--contracts", "utf8_split,framing")

    assert code == 1
    assert said.startswith("swept_app:answer: 1 of 2 streams failed, in 1 way; ")
    assert "FAILED  utf8_split: fails in other chunks, cut inside a character: UnicodeDecodeError" in said
    assert "smallest:    archive/day.jsonl:2, " in said
    told, _, _ = swept("archive", "--consumer", "swept_app:answer", "--contracts", "utf8_split", "--json")
    (found,) = json.loads(told)["failures"]
    at = found["smallest"]["at"]
    moves = repr([tuple(move) for move in found["smallest"]["moves"]])
    again, _, code = swept("archive/day.jsonl", "--consumer", "swept_app:answer", "--at", str(at), "--only", moves)
    assert (code, again.partition(";")[0]) == (1, "swept_app:answer: 1 of 1 stream failed, in 1 way")


def test_moves_that_a_stream_does_not_have_are_no_fault_of_the_consumer(folder):
    asked = ["archive/day.jsonl", "--consumer", "swept_app:whole", "--at", "1", "--only"]
    said, _, code = swept(*asked, "(('cut', 9999, 0),)")

    assert code == 2
    assert said.startswith("swept_app:whole: 0 of 0 streams failed; ")
    assert (
        "NOT READ  a stream that has no such moves: 1 time\n  archive/day.jsonl:1: ('cut', 9999, 0) is no move of"
        in said
    )
    assert swept(*asked, "(('cut', 12, 0),)")[2] == 0


def test_a_consumer_that_reads_rightly_or_as_it_did_before_is_fine(folder):
    said, _, code = swept("archive", "--consumer", "swept_app:whole", "--contracts", "utf8_split")
    assert (code, said.partition(";")[0]) == (0, "swept_app:whole: 0 of 2 streams failed")
    assert swept("archive", "--consumer", "swept_app:answer", "--against", "swept_app:answer", "--limit", "3")[2] == 0
    assert swept("archive", "--consumer", "swept_app:answer", "--against", "swept_app:whole", "--limit", "99")[2] == 1


def test_a_consumer_that_cannot_be_imported_is_told_and_the_next_is_swept(folder):
    said, told, code = swept(
        "archive", "--consumer", "no_such:answer", "--consumer", "swept_app:whole", "--contracts", "framing"
    )

    assert code == 2
    assert told.startswith("fakellm: no_such:answer cannot be imported: ModuleNotFoundError")
    assert said.startswith("swept_app:whole: 0 of 2 streams failed")


@each(
    "arguments, why",
    [
        (["nowhere", "--consumer", "swept_app:whole"], "nothing that matches nowhere"),
        (["archive", "--consumer", "swept_app"], "module:function"),
        (["archive", "--consumer", "swept_app:whole", "--contracts", "nothing"], "no contract 'nothing'"),
        (["archive", "--consumer", "swept_app:whole", "--column", "body"], "OURS=YOURS"),
        (["archive", "--consumer", "swept_app:whole", "--only", "("], "--only takes the moves"),
        (
            ["archive", "--consumer", "swept_app:whole", "--only", "()", "--contracts", "framing"],
            "leave contracts= out",
        ),
        (["archive", "--consumer", "a:b", "--consumer", "c:d", "--journal", "j"], "--journal is of one sweep"),
        (["empty", "--consumer", "swept_app:whole"], "nothing is proven"),
    ],
)
def test_what_is_asked_wrongly_is_told(folder, arguments, why):
    (folder / "empty").mkdir(exist_ok=True)
    _, told, code = swept(*arguments)

    assert code == 2
    assert told.startswith("fakellm: ")
    assert why in told


def test_what_cannot_be_read_is_told_and_found(folder):
    (folder / "archive" / "tape.yaml").write_text("interactions: [\n")
    said, _, code = swept("archive", "--consumer", "swept_app:whole", "--limit", "0")

    assert code == 1
    assert "NOT READ  a tape that cannot be read: 1 time\n  archive/tape.yaml: line 2" in said


def test_a_journal_that_is_not_there_yet_is_not_promised(folder):
    asked = ["sweep", "archive", "--consumer", "swept_app:interrupted", "--journal", "j.json", *HERE]
    result = CliRunner().invoke(app, asked, standalone_mode=False)

    assert result.stderr.strip() == "fakellm: interrupted; the same command begins anew: no part was done"
    assert not (folder / "j.json").exists()


def test_what_a_consumer_prints_is_no_part_of_the_report(folder):
    said, told, code = swept("archive", "--consumer", "swept_app:loud", "--limit", "0", "--json")

    assert (code, json.loads(said)["streams"]) == (0, 2)
    assert told.split() == ["loud", "loud"]
