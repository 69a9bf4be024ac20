"""`fakellm convert`: what it writes, says and returns."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from commands import full, ran
from vectors import each

from fakellm import Script
from fakellm.cassette import interaction_of, write
from fakellm.cli.main import main

URL = "https://api.openai.com/v1/chat/completions"
MESSAGES = "https://api.anthropic.com/v1/messages"
KEY = "sk-proj-" + "a1b2c3d4" * 6


def asked(text, **more):
    return {"model": "m", "messages": [{"role": "user", "content": text}], "stream": True, **more}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a tape of one stream, one of two and a document, and one that is broken."""
    monkeypatch.chdir(tmp_path)
    one = interaction_of(Script("Hel", "lo"), URL, asked("Hi"))
    two = interaction_of(Script("Bye"), MESSAGES, asked("Go", max_tokens=9))
    document = interaction_of(Script("Whole"), URL, asked("All", stream=False))
    Path("in", "deep").mkdir(parents=True)
    write("one.yaml", one)
    write("in/deep/one.yaml", one)
    write("in/three.yaml", document, one, two)
    Path("in/broken.yaml").write_text("interactions: 5\n")
    Path("in/notes.md").write_text("notes")
    return tmp_path


def files():
    return sorted(str(path) for path in Path().rglob("*") if path.is_file())


def test_names_tell_the_forms_and_what_is_lost_is_said(folder, capsys):
    assert main(["convert", "one.yaml", "one.sse"]) == 0
    assert capsys.readouterr().out == (
        "one.yaml (a tape) -> one.sse (an event stream)\n  not kept: the request; headers; sizes of chunks\n"
    )
    assert Path("one.sse").read_text().endswith("data: [DONE]\n\n")
    assert main(["convert", "one.sse", "one.jsonl"]) == 0
    assert main(["convert", "one.jsonl", "again.sse"]) == 0
    assert capsys.readouterr().out == (
        "one.sse (an event stream) -> one.jsonl (lines of JSON)\n"
        "one.jsonl (lines of JSON) -> again.sse (an event stream)\n"
    )
    assert Path("again.sse").read_bytes() == Path("one.sse").read_bytes()
    assert main(["convert", "one.jsonl", "script.yaml"]) == 0
    assert Script.load("script.yaml").text == "Hello"
    assert main(["convert", "script.yaml", "new/tape.yaml", "--api", "openai.chat"]) == 0
    assert "made up: POST https://api.openai.com/v1/chat/completions {" in capsys.readouterr().out
    assert main(["convert", "new/tape.yaml", "plain.yaml", "--to", "vcrpy"]) == 0
    assert main(["convert", "plain.yaml", "back.json"]) == 0
    assert capsys.readouterr().out.endswith("plain.yaml (a tape of vcrpy) -> back.json (a tape)\n")
    assert "interactions" in json.loads(Path("back.json").read_text())


def test_of_several_answers_a_file_is_one_and_a_folder_has_all(folder, capsys):
    assert main(["convert", "in/three.yaml", "three.sse"]) == 1
    assert capsys.readouterr().out.splitlines()[2:4] == [
        "  not converted: answer 0: it is a document, and no stream",
        "  not converted: answer 2: an event stream is one answer; name another, --interaction 2, or a folder for all",
    ]
    assert "Hel" in Path("three.sse").read_text()
    assert main(["convert", "in/three.yaml", "two.sse", "--interaction", "2"]) == 0
    assert "message_start" in Path("two.sse").read_text()
    assert main(["convert", "in/three.yaml", "all/", "--to", "script"]) == 1
    assert [path for path in files() if path.startswith("all")] == ["all/three.1.yaml", "all/three.2.yaml"]
    assert main(["convert", "in/three.yaml", "x.sse", "--interaction", "0"]) == 1
    assert capsys.readouterr().out.endswith(
        "in/three.yaml (a tape): nothing was written\n  not converted: answer 0: it is a document, and no stream\n"
    )
    assert not Path("x.sse").exists()


def test_a_folder_is_converted_file_by_file(folder, capsys):
    assert main(["convert", "in", "out", "--to", "jsonl", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)

    assert [path for path in files() if path.startswith("out")] == [
        *("out/deep/one.jsonl", "out/three.1.jsonl", "out/three.2.jsonl")
    ]
    assert {one["source"]: [each["path"] for each in one["written"]] for one in told["files"]} == {
        "in/broken.yaml": [],
        "in/deep/one.yaml": ["out/deep/one.jsonl"],
        "in/three.yaml": ["out/three.1.jsonl", "out/three.2.jsonl"],
    }
    assert "line 1, interactions: a list belongs here" in told["files"][0]["failed"][0]["why"]
    assert told["files"][2]["failed"] == [{"answer": 0, "why": "it is a document, and no stream"}]
    assert told["passed_over"] == ["in/notes.md"]
    assert main(["convert", "out", "tapes", "--to", "tape"]) == 0
    assert main(["convert", "tapes", "tapes2", "--to", "vcrpy"]) == 0


def test_two_files_of_a_folder_that_become_one_are_told(folder, capsys):
    Path("twice").mkdir()
    for name in ("a.yaml", "a.sse"):
        main(["convert", "one.yaml", f"twice/{name}", "--to", "tape" if name == "a.yaml" else "sse"])
    capsys.readouterr()

    for more in ([], ["--force"]):
        assert main(["convert", "twice", "out", "--to", "script", *more]) == 1
        assert "out/a.yaml was written already, of twice/a.sse" in capsys.readouterr().out


def test_what_is_there_stays_unless_it_is_forced(folder, capsys):
    Path("one.sse").write_text("mine")
    assert main(["convert", "one.yaml", "one.sse"]) == 2
    assert "one.sse is there already" in capsys.readouterr().err
    assert Path("one.sse").read_text() == "mine"
    assert main(["convert", "one.yaml", "one.sse", "--force"]) == 0
    Path("out/deep").mkdir(parents=True)
    Path("out/deep/one.sse").write_text("mine")
    assert main(["convert", "in", "out", "--to", "sse"]) == 1
    assert "out/deep/one.sse is there already" in capsys.readouterr().out
    assert Path("out/deep/one.sse").read_text() == "mine"
    assert Path("out/three.1.sse").exists()


@each(
    "arguments, told",
    [
        (["none.yaml", "a.sse"], "there is no file and no folder none.yaml"),
        (["one.yaml", "a.txt"], "the name a.txt tells no form"),
        (["one.yaml", "a"], "the name a tells no form"),
        (["one.yaml", "a.sse", "--to", "script"], "a.sse: the name of a script ends with .yaml, .yml, .json"),
        (["in", "out"], "out is a folder, whose name tells no form; name it: --to sse"),
        (["in", "one.yaml", "--to", "sse"], "one.yaml is a file, and in a folder"),
        (["one.yaml", "a.sse", "--interaction", "7"], "one.yaml has no interaction 7: it has 1, counted from 0"),
        (["one.yaml", "a.sse", "--request", "[1]"], "--request is the JSON object that was asked, not [1]"),
        (["one.yaml", "a.sse", "--from", "aimock"], "one.yaml: this is not JSON"),
        (["in/broken.yaml", "a.sse"], "in/broken.yaml, line 1, interactions: a list belongs here"),
        (["script.yaml", "a.sse"], "a script does not say of which API it is"),
        (["script.yaml", "a.sse", "--api", "openai.chart"], "there is no API 'openai.chart'"),
        (["script.yaml", "a.sse", "--url", "https://a.example/"], "https://a.example/ is of no API that is known"),
        (["dark.sse", "a.yaml"], "its chunks are of no API that is known"),
        (["one.yaml", "fifo.sse"], "fifo.sse: what is there is a FIFO, not a file"),
        (["one.yaml", "one.yaml/a.sse"], "one.yaml"),
        (["one.yaml", "a.sse", "--to", "html"], "'html' is not one of"),
        (["one.yaml"], "Missing argument 'DST'"),
    ],
)
def test_wrong_use_is_told_and_writes_nothing(arguments, told, folder, capsys):
    Path("dark.sse").write_text('data: {"a": 1}\n\n')
    Script("a").save("script.yaml")
    if not Path("fifo.sse").exists():
        os.mkfifo("fifo.sse")
    before = files()

    assert main(["convert", *arguments]) == 2
    assert told in capsys.readouterr().err
    assert files() == before


def test_secrets_do_not_go_along(folder, capsys):
    write("old.yaml", interaction_of(Script(KEY[:20], KEY[20:]), URL, asked("Hi")))
    assert main(["convert", "old.yaml", "new.sse"]) == 0
    assert capsys.readouterr().out.endswith("1 secret was replaced\n")
    text = Path("new.sse").read_text()
    assert (KEY[:20] in text, KEY[20:] in text) == (False, False)


def test_compressed_tapes_and_texts_are_read(folder, capsys):
    assert main(["convert", "one.yaml", "packed/one.yaml.gz", "--to", "tape"]) == 0
    assert Path("packed/one.yaml.gz").read_bytes()[:2] == b"\x1f\x8b"
    assert main(["convert", "one.yaml", "packed/a.sse"]) == 0
    Path("packed/a.sse").rename("packed/raw.txt")
    Path("packed/notes.txt").write_text("These are recordings.\n")
    capsys.readouterr()
    assert main(["convert", "packed", "out", "--to", "script"]) == 0
    assert capsys.readouterr().out.endswith("passed over, as their names are of no form: packed/notes.txt\n")
    assert [Script.load(f"out/{name}.yaml").text for name in ("one", "raw")] == ["Hello", "Hello"]


def test_files_of_other_tools_are_read(folder, capsys):
    fixtures = {"fixtures": [{"match": {"userMessage": "weather"}, "response": {"content": "Sun"}}]}
    Path("weather.json").write_text(json.dumps(fixtures))
    assert main(["convert", "weather.json", "weather.yaml", "--to", "tape", "--api", "openai.chat"]) == 0
    out = capsys.readouterr().out

    assert "weather.json (fixtures of aimock) -> weather.yaml (a tape)" in out
    assert "not kept: that a part of the prompt is enough" in out
    assert '"content": "weather"' in out
    Path("queue.json").write_text(json.dumps({"behaviors": [{"type": "reply", "text": "a"}]}))
    assert main(["convert", "queue.json", "queue.yaml"]) == 0
    assert Script.load("queue.yaml").text == "a"
    assert main(["convert", "queue.json", "queue.jsonl", "--api", "anthropic.messages"]) == 0


@pytest.mark.exhaustive
def test_a_full_disk_leaves_no_half_of_a_file(folder, capsys):
    write("large.yaml", interaction_of(Script("x" * 4000), URL, asked("Hi")))
    with full():
        assert main(["convert", "large.yaml", "large.sse"]) == 2

    assert "File too large" in capsys.readouterr().err
    assert "large.sse" not in files()


@pytest.mark.exhaustive
def test_it_is_a_command(folder, capsys):
    done = ran("convert", "one.yaml", "one.sse")
    assert (done.returncode, done.stderr) == (0, "")
    assert main(["convert", "--help"]) == 0
    assert "Examples:" in capsys.readouterr().out
