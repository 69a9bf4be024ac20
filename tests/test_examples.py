"""The examples on frameworks are whole: .ci/run runs each where its framework is installed, which it is not here."""

from __future__ import annotations

import ast
import re
import tomllib

import pytest
import yaml
from places import ROOT

FRAMEWORKS = ROOT / "examples" / "frameworks"
FOLDERS = sorted(path.parent for path in FRAMEWORKS.glob("*/app.py"))
README = (ROOT / "examples" / "README.md").read_text()
CI = (ROOT / ".ci" / "run").read_text()
LONGEST = 20

each = pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)


def cases_of(folder):
    tree = ast.parse((folder / "test_app.py").read_text())
    return {node.name: node for node in tree.body if getattr(node, "name", "").startswith("test_")}


def decorated(folder):
    return {name: [ast.unparse(d) for d in node.decorator_list] for name, node in cases_of(folder).items()}


def test_there_are_six():
    assert len(FOLDERS) == 6


@each
def test_an_app_is_short_and_knows_nothing_of_its_tests(folder):
    text = (folder / "app.py").read_text()

    assert sum(1 for line in text.splitlines() if line.strip()) < LONGEST
    assert "fakellm" not in text
    assert "pytest" not in text


@each
def test_it_has_the_three_tests(folder):
    scripted, replayed, swept = decorated(folder).items()

    assert scripted[1] == []
    assert [arg.arg for arg in cases_of(folder)[scripted[0]].args.args] == ["fake_openai"]
    assert replayed[1][0].startswith("pytest.mark.cassette(")
    assert swept[1][0].startswith("every_fault(")


@each
def test_its_tape_is_there_and_small(folder):
    (tape,) = (folder / "cassettes").iterdir()

    assert repr(tape.name) in str(decorated(folder)).replace('"', "'").replace("\\'", "'")
    assert tape.stat().st_size < 10_000
    (interaction,) = yaml.safe_load(tape.read_text())["interactions"]
    assert interaction["response"]["status"]["code"] == 200
    assert interaction["request"]["headers"]["authorization"] == ["Bearer REDACTED"]


@each
def test_the_index_names_it(folder):
    assert f"(frameworks/{folder.name})" in README


def test_each_runs_in_ci_once():
    runs = re.findall(r'^beside "[^"]+" frameworks (\S+) (.+)$', CI, re.MULTILINE)
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]

    assert sorted(name for _, names in runs for name in names.split()) == [folder.name for folder in FOLDERS]
    for group, names in runs:
        installed = " ".join(groups[group]).replace("-", "_")
        assert [name for name in names.split() if name not in installed] == []


def test_each_loop_of_an_agent_is_a_conversation_and_runs_in_ci():
    folder = ROOT / "examples" / "agents"
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]

    assert '/pytest" -q -p no:cacheprovider examples/agents' in CI
    assert 'beside "loops of agents" agents\n' in CI
    assert "(agents)" in README
    names = sorted(path.stem.removeprefix("test_") for path in folder.glob("test_*.py"))
    assert len(names) == 7
    for name in names:
        assert name.split("_")[0] in " ".join(groups["agents"])
        text = (folder / f"test_{name}.py").read_text()
        assert "conversation(" in text
        assert "check_loop(" in text


def test_links_of_the_index_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / "examples" / target).exists(), target
