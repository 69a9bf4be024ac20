"""The house rules: which room may import which, how large rooms are, what is public."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fakellm

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "fakellm").rglob("*.py")) + sorted((ROOT / "pytest_plugin").rglob("*.py"))
TABLE = (ROOT / "docs" / "architecture.md").read_text()
ROOMS = [match[2].removesuffix(".py") for match in re.finditer(r"^\| (\d) \| `([\w/.]+)` \|", TABLE, re.MULTILINE)]
PACKAGES = {
    ".",
    "cassette",
    "contracts",
    "contracts/consumers",
    "contracts/faults",
    "contracts/grammar",
    "contracts/streams",
    "contracts/structured",
    "integrations",
    "wire",
}  # their __init__.py holds a docstring, or the lazy names
LATE = {("script", "scriptfile"), *(("runnable", room) for room in ("compose", "wrappers", "fallbacks"))}

names = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())


def room(path):
    """Return the name of a room as the table has it: its path in the package, without the suffix."""
    inside = path.relative_to(ROOT / "fakellm" if ROOT / "fakellm" in path.parents else ROOT / "pytest_plugin")
    return (inside.parent if path.name == "__init__.py" else inside.with_suffix("")).as_posix()


def is_for_types_only(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _folder(node):
    return (node.module or "").removeprefix("fakellm.").replace(".", "/")


def imports(node):
    """Yield (line, imported room) of everything but what is imported for types only."""
    for child in ast.iter_child_nodes(node):
        if is_for_types_only(child):
            continue
        if isinstance(child, ast.ImportFrom) and child.module == "fakellm":
            yield from ((child.lineno, alias.name) for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and _folder(child) in PACKAGES:
            folder = _folder(child)
            yield from ((child.lineno, f"{folder}/{alias.name}") for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and (child.module or "").startswith("fakellm."):
            yield child.lineno, child.module.removeprefix("fakellm.").replace(".", "/")
        elif isinstance(child, ast.Import):
            yield from ((child.lineno, alias.name) for alias in child.names if alias.name.startswith("fakellm"))
        else:
            yield from imports(child)


def all_imports(path):
    tree = ast.parse(path.read_text())
    inside = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    late_lines = {line for node in inside for line in range(node.lineno, node.end_lineno + 1)}
    for line, target in imports(tree):
        yield line, target, line in late_lines


def test_the_table_names_every_room():
    rooms = {room(path) for path in SOURCES} - PACKAGES

    assert rooms == set(ROOMS)


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if room(path) not in PACKAGES and "_fakellm_pytest" not in room(path)], ids=room
)
def test_arrows_point_up_the_table(path):
    here = ROOMS.index(room(path))
    for line, target, late in all_imports(path):
        above = target in ROOMS[:here]
        allowed = late and (room(path), target) in LATE
        assert above or allowed, f"{path.name}:{line} imports {target}, which is not above it in the table"


def test_the_arrows_that_point_down_are_there_and_late():
    found = {
        (room(path), target)
        for path in SOURCES
        if room(path) in ROOMS
        for _, target, late in all_imports(path)
        if late and target in ROOMS[ROOMS.index(room(path)) :]
    }

    assert found == LATE


@names
def test_files_are_under_400_lines(path):
    assert len(path.read_text().splitlines()) < 400


@names
def test_functions_are_under_60_lines(path):
    long = [
        f"{node.name}:{node.lineno}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno - node.lineno >= 60
    ]

    assert long == []


@names
def test_the_library_has_no_bare_assert(path):
    assert not [node.lineno for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Assert)]


def test_there_are_few_public_names_and_all_exist():
    assert len(fakellm.__all__) <= 20
    for name in fakellm.__all__:
        assert getattr(fakellm, name).__module__.startswith("fakellm.")
    assert set(fakellm.__all__) <= set(dir(fakellm))
    assert {name for names in fakellm._HOMES.values() for name in names} == set(fakellm.__all__)


def test_a_name_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(AttributeError, match="has no attribute 'FakeLLm'; it has FakeLLM, "):
        _ = fakellm.FakeLLm


@pytest.mark.parametrize("statement", ["import fakellm", "from fakellm import *"])
def test_importing_loads_nothing_outside_the_standard_library(statement):
    code = (
        f"import sys; before = set(sys.modules); {statement}\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names))"
    )

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert out.split() == ["fakellm"]


def test_the_changelog_keeps_a_changelog():
    text = (ROOT / "CHANGELOG.md").read_text()

    assert "## [Unreleased]" in text
    assert set(re.findall(r"^### (\w+)", text, re.MULTILINE)) <= {
        "Added", "Changed", "Deprecated", "Removed", "Fixed", "Security",
    }  # fmt: skip
