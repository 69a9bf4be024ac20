"""`fakellm scrub`: what it says and returns."""

from __future__ import annotations

import json

import pytest
from commands import full
from places import ROOT

from fakellm.cli.main import main

KEY = "sk-proj-" + "a1b2c3d4" * 6
TAPE = """version: 1
interactions:
- request:
    method: POST
    uri: https://api.openai.com/v1/chat/completions
    headers: {authorization: [Bearer KEY], x-team: [blue]}
    body: '{}'
  response:
    status: {code: 200, message: OK}
    headers: {}
    body: {string: KEY is no key. KEY}
""".replace("KEY", KEY)


@pytest.fixture
def tapes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tapes" / "inner").mkdir(parents=True)
    (tmp_path / "tapes" / ".hidden").mkdir()
    for name in ("inner/a.yaml", "notes.md", ".hidden/b.yaml"):
        (tmp_path / "tapes" / name).write_text(TAPE)
    return tmp_path / "tapes"


def test_a_dry_run_tells_what_and_where_and_changes_nothing(tapes, capsys):
    assert main(["scrub", "tapes", "--dry-run", "--keep-header", "x-team"]) == 1
    out = capsys.readouterr().out

    assert out == (
        "tapes/inner/a.yaml, interaction 0: header authorization in the headers of a request\n"
        "tapes/inner/a.yaml, interaction 0: credential of the client in the body of an answer (2 times)\n"
        "3 secrets would be replaced in 1 of 1 tape\n"
    )
    assert (tapes / "inner" / "a.yaml").read_text() == TAPE


def test_what_is_told_moves_no_cursor(tapes, capsys):
    (tapes / "inner" / "a.yaml").write_text(TAPE.replace("x-team", '"x-\\e[31m"'))

    assert main(["scrub", "tapes", "--dry-run"]) == 1
    assert "header x-\\x1b[31m in the headers of a request" in capsys.readouterr().out


def test_tapes_are_scrubbed_in_place_and_then_there_is_nothing_left(tapes, capsys, monkeypatch):
    monkeypatch.setenv("TEAM", "blue")
    assert main(["scrub", "tapes", "--json", "--secret-env", "TEAM"]) == 0
    told = json.loads(capsys.readouterr().out)
    text = (tapes / "inner" / "a.yaml").read_text()

    assert (told["tapes"], told["dry_run"]) == (1, False)
    assert [(one["interaction"], one["kind"], one["count"]) for one in told["replaced"]][-1][0] == 0
    assert KEY not in text
    assert "blue" not in text
    assert (tapes / "notes.md").read_text() == TAPE
    assert main(["scrub", "tapes", "--dry-run"]) == 0
    assert capsys.readouterr().out == "no secret in 1 tape\n"


def test_the_tapes_of_this_project_have_none(capsys):
    assert main(["scrub", str(ROOT / "cassettes"), "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("no secret in ")


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["none"], "there is no tape and no folder none"),
        (["tapes/notes.md", "tapes/.hidden"], "notes.md"),
        (["tapes", "--secret-env", "NOT_THERE"], "there is none NOT_THERE"),
    ],
)
def test_wrong_use_is_told(arguments, told, tapes, capsys):
    (tapes / "notes.md").write_text("# Notes\n\nno tape\n")

    assert main(["scrub", *arguments]) == 2
    assert told in capsys.readouterr().err
    assert (tapes / ".hidden" / "b.yaml").read_text() == TAPE


@pytest.mark.exhaustive
def test_a_full_disk_is_told_and_leaves_the_tape_as_it_was(tapes, capsys):
    large = TAPE.replace("'{}'", json.dumps("x" * 4000))
    (tapes / "inner" / "a.yaml").write_text(large)
    with full():
        assert main(["scrub", "tapes"]) == 2

    assert "a.yaml: the tape cannot be written: File too large" in capsys.readouterr().err
    assert [path.name for path in (tapes / "inner").iterdir()] == ["a.yaml"]
    assert (tapes / "inner" / "a.yaml").read_text() == large
