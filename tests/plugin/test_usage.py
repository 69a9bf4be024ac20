"""`pytest --llm-usage=FILE`, and what `fakellm check --usage FILE` makes of it."""

from __future__ import annotations

import json

import preloaded  # noqa: F401
import pytest
from click.testing import CliRunner
from runs import LEAN

from fakellm import Script
from fakellm.cassette import interaction_of, write
from fakellm.cli.commands import app

URL = "https://api.openai.com/v1/chat/completions"
TEST = """
import httpx, pytest

def ask(text):
    asked = {"model": "m", "messages": [{"role": "user", "content": text}]}
    return httpx.post("https://api.openai.com/v1/chat/completions", json=asked).text
"""
USES = """
@pytest.mark.cassette("two.yaml")
def test_one():
    assert "told one" in ask("one")
"""


@pytest.fixture
def project(pytester, monkeypatch):
    """A project with a tape of two interactions, and one that no test names."""
    monkeypatch.delenv("CI", raising=False)
    folder = pytester.path / "cassettes"
    folder.mkdir()

    def told(*texts):
        asked = [{"model": "m", "messages": [{"role": "user", "content": text}]} for text in texts]
        return [interaction_of(Script(f"told {text}"), URL, one) for text, one in zip(texts, asked, strict=True)]

    write(folder / "two.yaml", *told("one", "two"))
    write(folder / "orphan.yaml", *told("lost"))
    return pytester


def checked(*arguments):
    result = CliRunner().invoke(app, ["check", *arguments], standalone_mode=False, catch_exceptions=False)
    return result.output, result.return_value


def run(project, text, *options):
    project.makepyfile(test_app=TEST + text)
    return project.runpytest(*LEAN, "--llm-usage=usage.json", *options)


def test_what_no_test_asks_for_is_told_by_the_check(project):
    run(project, USES).assert_outcomes(passed=1)

    text, code = checked("cassettes", "--usage", "usage.json")

    assert code == 1
    assert text.splitlines() == [
        "cassettes/orphan.yaml: unused: no test uses it; to do: delete it",
        f"cassettes/two.yaml: unused: 1 not used: interaction 1, POST {URL}; to do: pytest --llm-record=rewrite",
        "checked 2 tapes with 3 interactions: 2 unused",
    ]
    told = json.loads((project.path / "usage.json").read_text())
    assert list(told["tapes"]) == ["cassettes/two.yaml"]
    assert told["tapes"]["cassettes/two.yaml"]["ended"] == {"test_app.py::test_one": "passed"}
    assert str(project.path) not in json.dumps(told)


def test_nothing_is_said_of_what_is_not_known(project):
    """A test that fails might have asked for more; one that is not looked at might use any tape."""
    (project.path / "test_other.py").write_text("def test(): pass\n")
    run(project, USES + "    assert False\n", "test_app.py").assert_outcomes(failed=1)

    text, code = checked("cassettes", "--usage", "usage.json")

    assert code == 0
    assert "note: 1 of the tapes may be used or not" in text


def test_a_tape_that_a_test_names_by_hand_is_used(project):
    run(project, USES + "    ask('two')\n\nORPHAN = 'orphan.yaml'\n").assert_outcomes(passed=1)

    assert checked("cassettes", "--usage", "usage.json")[1] == 0


def test_the_runs_of_parts_add_up(project):
    both = USES + "\n\n@pytest.mark.cassette('two.yaml')\ndef test_two():\n    ask('two')\n\nORPHAN = 'orphan.yaml'\n"
    run(project, both, "-k", "test_one").assert_outcomes(passed=1, deselected=1)
    (project.path / "usage.json").rename(project.path / "first.json")
    run(project, both, "-k", "test_two").assert_outcomes(passed=1, deselected=1)

    text, code = checked("cassettes", "--usage", "usage.json", "--usage", "first.json")

    assert (code, text) == (0, "checked 2 tapes with 3 interactions: nothing found\n")


@pytest.mark.exhaustive
def test_a_file_is_written_where_no_test_has_a_tape_and_where_it_cannot_be_that_is_told(project):
    run(project, "def test(): pass\n").assert_outcomes(passed=1)
    assert json.loads((project.path / "usage.json").read_text())["tapes"] == {}
    assert "orphan.yaml: unused" in checked("cassettes", "--usage", "usage.json")[0]

    result = project.runpytest(*LEAN, "--llm-usage=nowhere/usage.json")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["--llm-usage: nowhere/usage.json cannot be written: *", "*1 passed*"])

    project.makepyfile("def test(): assert 'what failed' == ''")
    result = project.runpytest(*LEAN, "--llm-usage=nowhere/usage.json")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*assert 'what failed' == ''", "--llm-usage: nowhere/*", "*1 failed*"])
