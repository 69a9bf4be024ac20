"""Every code block in README, CONTRIBUTING and docs/ runs; the commands in README are those that `.ci/run` runs.

What a block of a console shows, `tests/support/console.py` says.

A comment right above a block says more about it: `<!-- needs: respx, openai<3 -->` skips it where these libraries are
not installed, and `<!-- file: app.py -->` makes it a file that the tests of the same page find beside them.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from importlib import metadata
from pathlib import Path

import pytest
from console import Console, commands_of, is_said
from packaging.requirements import Requirement
from places import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "cassettes" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "benchmarks").glob("*.md")),
]
FENCE = re.compile(
    r"^(?:<!-- (?P<key>needs|file): (?P<value>[^\n]+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
OPTIONS = ("-p", "no:cacheprovider", "-p", "no:langsmith_plugin", "-p", "no:hypothesispytest", "-p", "no:asyncio")


def missing(requirement):
    """Return why a block that needs this cannot run, or None."""
    needed = Requirement(requirement)
    try:
        found = metadata.version(needed.name)
    except metadata.PackageNotFoundError:
        return f"{needed.name} is not installed"
    return None if found in needed.specifier else f"needs {needed}, and {needed.name} is {found}"


def blocks():
    """Yield the blocks; of most pages all but the first test and the first other block are exhaustive."""
    for page in PAGES:
        text, seen = page.read_text(), set()
        for match in FENCE.finditer(text):
            if match["language"] != "python" or match["key"] == "file":
                continue
            needed = match["value"].split(", ") if match["key"] == "needs" else []
            reasons = [reason for reason in map(missing, needed) if reason]
            marks = [pytest.mark.skip(reason="; ".join(reasons))] if reasons else []
            is_test = "def test_" in match["text"]
            if page.name != "README.md" and is_test in seen:
                marks.append(pytest.mark.exhaustive)
            elif not reasons:
                seen.add(is_test)
            line = text[: match.start("language")].count("\n") + 1
            yield pytest.param(page, match["text"], id=f"{page.name}:{line}", marks=marks)


def lay_out(folder, page):
    """Put the tapes of this project and the files of the page into a folder."""
    (folder / "cassettes").mkdir()
    for tape in (ROOT / "cassettes").glob("*.yaml"):
        (folder / "cassettes" / tape.name).symlink_to(tape)
    write_files(folder, page)


def write_files(folder, page):
    """Put the files of a page into a folder."""
    for match in FENCE.finditer(page.read_text()):
        if match["key"] == "file":
            path = folder / match["value"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(match["text"])


class Loaded:
    """A plugin that notes the libraries that a test of pytester's has loaded in the end, but its own modules."""

    def __init__(self):
        self.modules = {}

    def pytest_unconfigure(self, config):
        self.note(f"{config.invocation_params.dir}{os.sep}")

    def note(self, own):
        for name, module in sys.modules.items():
            if not str(getattr(module, "__file__", "")).startswith(own):
                self.modules[name] = module


@pytest.fixture
def loaded():
    """Keep what a test of pytester's loads, which unloads it: each test would load it again, and as another."""
    plugin = Loaded()
    yield plugin
    for name, module in plugin.modules.items():
        sys.modules.setdefault(name, module)


@pytest.mark.parametrize("page, code", list(blocks()))
def test_python_blocks_run(page, code, loaded, pytester, monkeypatch):  # pytester unloads before `loaded` loads
    if "def test_" in code:
        pytester.makepyfile(test_app=code)
        lay_out(pytester.path, page)
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # the reader's own, not those of this run
            outcomes = pytester.runpytest(*OPTIONS, plugins=[loaded]).parseoutcomes()
        assert set(outcomes) <= {"passed", "skipped", "warning", "warnings"}  # a class of contracts may skip some
        assert outcomes["passed"] >= code.count("def test_")
    else:
        monkeypatch.chdir(ROOT)
        exec(compile(code, "block", "exec"), {"__name__": "block"})
        loaded.note(f"{pytester.path}{os.sep}")


def consoles():
    """Yield the pages that show what a command says, with their blocks."""
    for page in PAGES:
        found = [match["text"] for match in FENCE.finditer(page.read_text()) if match["language"] == "console"]
        if found:
            yield pytest.param(page, found, id=page.name)


@pytest.mark.parametrize("page, found", list(consoles()))
def test_commands_say_what_pages_show(page, found, tmp_path, monkeypatch, capfd):
    pytest.importorskip("httptools", reason="what serves needs httptools")
    from fakellm.server import Server

    write_files(tmp_path, page)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if re.search("(?i)_key|base_url|proxy", name)]:
        monkeypatch.delenv(name)
    with Server() as server:
        console = Console(server.url, capfd)
        for command, told in (pair for block in found for pair in commands_of(block)):
            said = console.said(command)
            assert is_said(told, said), f"{page.name} tells of `{command}`:\n{told}\nit said:\n{said}"


def test_the_annotated_tests_of_the_page_on_types_are_those_that_type_checkers_read():
    (block,) = (m["text"] for m in FENCE.finditer((ROOT / "docs" / "typing.md").read_text()))

    assert block == (ROOT / "tests" / "typed_tests.py").read_text()
    assert (ROOT / "pyproject.toml").read_text().count('"tests/typed_tests.py"') == 2  # mypy's files, and pyright's


def test_every_block_runs_somewhere():
    """What a block needs is in a group of pyproject.toml, so that an environment of `.ci/run` has it."""
    groups = (ROOT / "pyproject.toml").read_text().partition("[dependency-groups]")[2].partition("\n[")[0]
    needed = {
        Requirement(text).name
        for page in PAGES
        for match in FENCE.finditer(page.read_text())
        if match["key"] == "needs"
        for text in match["value"].split(", ")
    }

    assert {name for name in needed if not re.search(rf'"{name}\W', groups)} == set()


def test_files_of_a_page_are_used():
    for page in PAGES:
        text = page.read_text()
        for match in FENCE.finditer(text):
            if match["key"] == "file":
                stem = Path(match["value"]).stem
                assert re.search(rf"\b{stem}\b", text[match.end() :]), f"{page.name}: {match['value']}"


def test_readme_has_two_commands_in_its_first_screen():
    text = (ROOT / "README.md").read_text()
    commands = [match for match in FENCE.finditer(text) if match["language"] == "sh"]

    assert len(commands) == 2
    assert text[: commands[1].end()].count("\n") < 24
    assert "examples/storyteller" in commands[0]["text"]


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_blocks_have_a_language():
    for page in PAGES:
        assert all(match["language"] for match in FENCE.finditer(page.read_text())), page
