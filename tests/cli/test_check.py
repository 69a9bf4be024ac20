"""`fakellm check`: what is wrong with tapes, told by file, as CI can use it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from click.testing import CliRunner
from commands import ran
from places import ROOT
from vectors import each

from fakellm import Finish, Script, disconnect
from fakellm.cassette import interaction_of, write
from fakellm.cli import checking
from fakellm.cli.checking import Checking, run
from fakellm.cli.commands import _SKIPPED, app
from fakellm.cli.examining import KINDS

OPENAI = "https://api.openai.com/v1/chat/completions"
LOCAL = "http://127.0.0.1:8000/v1/chat/completions"
ASKED = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
KEY = "sk-proj-" + "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4z" * 2
TODAY = datetime(2026, 6, 1, tzinfo=UTC)


def checked(*arguments):
    """Return what the command says, and its exit code."""
    result = CliRunner().invoke(app, ["check", *map(str, arguments)], standalone_mode=False, catch_exceptions=False)
    return result.output, result.return_value


WHOLE = Script("Hel", "lo", Finish())


def taped(path, script=WHOLE, asked=ASKED, url=OPENAI):
    write(path, interaction_of(script, url, asked))
    return path


def without_end(path):
    """Take the terminal marker out of a tape, and what its sizes say of it."""
    text = path.read_text().replace("        data: [DONE]\n\n", "")
    sizes = re.search(r"sizes: ([\d ]+) \d+\n", text)
    delays = re.search(r"delays: ([\d. ]+) [\d.]+\n", text)
    path.write_text(text.replace(sizes[0], f"sizes: {sizes[1]}\n").replace(delays[0], f"delays: {delays[1]}\n"))


def test_the_tapes_of_this_project_have_nothing_wrong():
    text, code = checked(ROOT / "cassettes")

    assert (code, text) == (0, "checked 30 tapes with 30 interactions: nothing found\n")


def test_a_secret_is_told_and_not_shown(tmp_path):
    path = taped(tmp_path / "t.yaml", asked={**ASKED, "messages": [{"role": "user", "content": f"My key: {KEY}"}]})
    text, code = checked(path)

    assert code == 1
    assert re.search(
        rf"^{re.escape(str(path))}:\d+: secret: .* in interactions.request.body: sk-p…$", text, re.MULTILINE
    )
    assert KEY[4:12] not in text
    assert checked(path, "--skip", "secret")[1] == 0


@each(
    "data, why",
    [
        (b"", "the file is empty"),
        (b"interactions: [\n", "line 2"),
        (b'{"interactions": [{"request": 3, "response": {}}]}', "interactions.0.request"),
        (b"<<<<<<< ours\ninteractions: []\n", "merge conflict"),
        (b"fakellm_script: 1\nevents:\n- type: tekst\n", "tekst"),
        (b"interactions:\n- request:\n    uri: \xff\n", "UTF-8"),
    ],
)
def test_a_broken_file_is_told_with_the_place(tmp_path, data, why):
    path = tmp_path / "t.yaml"
    path.write_bytes(data)
    text, code = checked(path)

    assert code == 1
    assert text.startswith(f"{path}: broken: ")
    assert why in text
    assert text.count(str(path)) == 1


def test_what_is_told_moves_no_cursor(tmp_path):
    (tmp_path / "red\x1b[31m.yaml").write_text("interactions: [")

    text, code = checked(tmp_path)

    assert (code, "\x1b" in text) == (1, False)
    assert "red\\x1b[31m.yaml" in text


def test_a_tape_that_was_cut_off_is_told(tmp_path):
    path = taped(tmp_path / "t.yaml")
    path.write_text(path.read_text()[:-40])

    assert "broken: line" in checked(path)[0]


def test_what_is_no_tape_is_looked_at_for_secrets_only(tmp_path):
    (tmp_path / "settings.yaml").write_text("a: [1, 2]\nb: {}\n")
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "counts.yaml").write_text("interactions: 5\nnested:\n  interactions:\n  - 3\n")
    (tmp_path / "rows.csv.gz").write_bytes(b"\x1f\x8b")
    (tmp_path / "notes.txt").write_text("interactions: [\n")
    (tmp_path / "code.py").write_text(f"KEY = '{KEY}'\n")
    (tmp_path / "blob.bin").write_bytes(b"\0\1")

    text, code = checked(tmp_path)

    assert code == 1
    assert [line.split(": ")[1] for line in text.splitlines()[:-1]] == ["secret"]
    assert text.splitlines()[-1] == "checked 0 tapes with 0 interactions: 1 secret"


def test_a_stream_that_breaks_its_grammar_is_told_with_the_rule(tmp_path):
    path = taped(tmp_path / "t.yaml")
    without_end(path)
    text, code = checked(path)

    assert code == 1
    assert f"{path}: grammar: interaction 0, the end: openai_chat.done: " in text
    assert checked(path, "--ignore", "openai_chat.done")[1] == 0


def test_a_stream_of_gemini_is_judged_on_a_tape_of_vcrpy_too(tmp_path):
    """There no chunks are noted; that it is a stream stands in the URL."""
    path = tmp_path / "t.yaml"
    url = "https://generativelanguage.googleapis.com/v1beta/models/m:streamGenerateContent?alt=sse"
    request = {"method": "POST", "uri": url, "headers": {}, "body": '{"contents": []}'}
    status = {"code": 200, "message": "OK"}
    response = {"status": status, "headers": {}, "body": {"string": 'data: {"candidates": 3}\n\n'}}
    path.write_text(yaml.safe_dump({"version": 1, "interactions": [{"request": request, "response": response}]}))

    text, code = checked(path)

    assert code == 1
    assert "grammar: interaction 0, event 1: gemini." in text


def test_what_a_server_of_ones_own_is_held_to_is_what_all_keep(tmp_path):
    """Some servers send no terminal marker; what is known of no host is no reason to fail a build."""
    path = taped(tmp_path / "t.yaml", url=LOCAL)
    without_end(path)

    assert checked(path)[1] == 0


def test_a_stream_that_broke_off_need_not_have_its_end(tmp_path):
    assert checked(taped(tmp_path / "t.yaml", Script("Hel", "lo", disconnect())))[1] == 0


def test_the_body_of_an_answer_is_checked_too(tmp_path):
    choice = '{"index":0,"delta":{"content":%s},"finish_reason":"stop"}'
    chunk = f'{{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{choice}]}}'
    (tmp_path / "good.sse").write_text(f"data: {chunk % json.dumps('Hi')}\n\ndata: [DONE]\n\n")
    (tmp_path / "bad.sse").write_text(f"data: {chunk % json.dumps('Hi')}\n\ndata: {{half\n\ndata: [DONE]\n\n")
    text, code = checked(tmp_path)

    assert (code, "bad.sse: grammar: event 2: " in text, "good.sse" in text) == (1, True, False)


@each("days, limit, is_old", [(100, 90, True), (80, 90, False), (100, None, False), (1, 0, True)])
def test_old_tapes_are_told_by_the_date_of_their_answers(tmp_path, capsys, days, limit, is_old):
    path = taped(tmp_path / "t.yaml")
    date = (TODAY - timedelta(days=days)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    path.write_text(
        path.read_text().replace(
            "      transfer-encoding:\n", f"      date:\n      - {date}\n      transfer-encoding:\n"
        )
    )

    code = run(Checking((str(path),), max_age=limit), TODAY)

    assert code == is_old
    assert (f"old: recorded {days} days ago, on 20" in capsys.readouterr().out) == is_old


def test_that_a_tape_says_no_date_is_noted(tmp_path):
    text, code = checked(taped(tmp_path / "t.yaml"), "--max-age", "1")

    assert code == 0
    assert "note: 1 tape without a date" in text


def test_machines_are_told_in_json(tmp_path):
    (tmp_path / "bad.yaml").write_text("interactions: [\n")
    text, code = checked(tmp_path, "--json")
    document = json.loads(text)

    assert code == 1
    assert (document["files"], document["tapes"], document["interactions"]) == (1, 1, 0)
    assert document["problems"][0]["kind"] == "broken"


def test_many_files_are_spread_over_processes_in_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(checking, "_LARGE", 0)
    monkeypatch.setattr(checking.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    for number in range(20):
        (tmp_path / f"{number:02}.yaml").write_text("interactions: [\n")
    text, code = checked(tmp_path)

    assert code == 1
    assert [line.split(":")[0][-7:-5] for line in text.splitlines() if "broken:" in line][:20] == [
        f"{n:02}" for n in range(20)
    ]


@each(
    "arguments, why",
    [
        (("nowhere",), "nowhere"),
        (("cassettes", "--ignore", "no.rule"), "there is no rule 'no.rule'"),
        (("cassettes", "--usage", "pyproject.toml"), "is no usage of tapes: write it with pytest --llm-usage="),
        (("cassettes", "--usage", "nowhere.json"), "nowhere.json"),
    ],
)
def test_wrong_use_is_told(arguments, why):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        text, code = checked(*arguments)

    assert (code, why in text) == (2, True)


@pytest.mark.exhaustive
def test_as_a_process_it_has_the_exit_code(tmp_path):
    (tmp_path / "bad.yaml").write_text("interactions: [\n")
    result = ran("check", str(tmp_path))

    assert (result.returncode, result.stderr) == (1, "")
    assert result.stdout.endswith("checked 1 tape with 0 interactions: 1 broken\n")


def test_the_hook_runs_the_command():
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())

    assert hook["entry"].split()[0] == "fakellm"
    assert hook["entry"].split()[1] in app.commands
    assert re.search(hook["files"], "tests/cassettes/test_app/test_one.yaml")
    assert hook["id"] in (ROOT / "docs" / "command-show.md").read_text()


def test_the_kinds_are_those_that_can_be_skipped():
    assert KINDS == _SKIPPED
