"""Every code block in README and docs/ runs; the commands in README are those that `.ci/run` runs."""

from __future__ import annotations

import re
from pathlib import Path

import openai  # noqa: F401 - loaded before pytester, which unloads what a test of its own loads first
import pytest
import vcr  # noqa: F401
import yaml  # noqa: F401

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "cassettes" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "benchmarks").glob("*.md")),
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language):
    return [
        pytest.param(match[2], id=f"{page.name}:{page.read_text()[: match.start()].count(chr(10)) + 1}")
        for page in PAGES
        for match in FENCE.finditer(page.read_text())
        if match[1] == language
    ]


@pytest.mark.parametrize("code", blocks("python"))
def test_python_blocks_run(code, pytester, monkeypatch):
    if "def test_" in code:
        pytester.makepyfile(code)
        (pytester.path / "cassettes").symlink_to(ROOT / "cassettes")
        options = ("-p", "no:cacheprovider", "-p", "no:langsmith_plugin", "-p", "no:hypothesispytest")
        outcomes = pytester.runpytest(*options).parseoutcomes()
        contracts = "StreamContract" in code  # which brings tests of its own, and skips what cannot be checked
        assert outcomes["passed"] >= code.count("def test_")
        assert contracts or outcomes == {"passed": code.count("def test_")}
        assert outcomes.keys() <= {"passed", "skipped"}
    else:
        monkeypatch.chdir(ROOT)
        exec(compile(code, "block", "exec"), {"__name__": "block"})


def test_readme_has_two_commands_in_its_first_screen():
    text = (ROOT / "README.md").read_text()
    commands = [match for match in FENCE.finditer(text) if match[1] == "sh"]

    assert len(commands) == 2
    assert text[: commands[1].end()].count("\n") < 24
    assert "examples/storyteller" in commands[0][2]


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_blocks_have_a_language():
    for page in PAGES:
        assert all(match[1] for match in FENCE.finditer(page.read_text())), page
