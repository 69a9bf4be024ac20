"""The house rules: which room may import which, how large rooms are, what is public."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from functools import cache

import pytest
import yaml
from places import ROOT
from vectors import each

import fakellm

SOURCES = sorted((ROOT / "fakellm").rglob("*.py")) + sorted((ROOT / "pytest_plugin").rglob("*.py"))
PAGE = (ROOT / "docs" / "architecture.md").read_text()
FLOORS = {
    match[2].removesuffix(".py").removesuffix("/"): int(match[1])
    for match in re.finditer(r"^\| (\d+) \| `([\w/.]+)` \|", PAGE, re.MULTILINE)
}
FILES = {
    section[1]: [name.removesuffix(".py") for name in re.findall(r"^\| `([\w/.]+)` \|", section[2], re.MULTILINE)]
    for section in re.finditer(r"^### `(\w+)/`\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
}
ROOMS = [path.parent for path in SOURCES if path.name == "__init__.py" and path.parent.parent == ROOT / "fakellm"]
OPEN = [  # rooms that offer names: what README, docs, examples and the plugin may import from
    path.parent for path in SOURCES if path.name == "__init__.py" and "lazily" in path.read_text()
]
INNER = [path for path in SOURCES if ROOT / "fakellm" in path.parents and path.name != "__init__.py"]
LATE = {
    ("script/script", "script/files"),
    *(("runnable/base", f"runnable/{name}") for name in ("passthrough", "compose", "wrappers", "branch", "fallbacks")),
}

open_rooms = pytest.mark.parametrize("folder", OPEN, ids=lambda folder: folder.relative_to(ROOT).as_posix())


def inside(path):
    """Return the name of a file as the tables have it: its path in the package, without the suffix."""
    return path.relative_to(ROOT / "fakellm").with_suffix("").as_posix()


def statements_in(node):
    """Yield the statements under a node, at any depth; they are a tenth of all nodes, and all that is looked at."""
    for field in ("body", "handlers", "orelse", "finalbody", "cases"):
        for one in getattr(node, field, ()):
            yield one
            yield from statements_in(one)


@cache
def statements_of(path):
    return list(statements_in(ast.parse(path.read_text())))


def functions_of(path):
    return [node for node in statements_of(path) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def is_for_types_only(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def lines_of(nodes):
    return {line for node in nodes for line in range(node.lineno, node.end_lineno + 1)}


@cache
def kind_of(dotted):
    """Return what a dotted name is: a file, a room, or None for anything else."""
    path = ROOT / dotted.replace(".", "/")
    return "file" if path.with_suffix(".py").exists() else "room" if (path / "__init__.py").exists() else None


def modules(node):
    """Yield the paths in the package of what an import names: files, and else rooms."""
    targets = []
    if isinstance(node, ast.Import):
        targets = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        targets = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    kinds = {target: kind_of(target) for target in targets if target.split(".")[0] == "fakellm"}
    wanted = "file" if "file" in kinds.values() else "room"
    for target, kind in kinds.items():
        if kind == wanted:
            yield target.removeprefix("fakellm").removeprefix(".").replace(".", "/")


@cache
def all_imports(path):
    """Return (line, imported file, whether in a function, whether for types only) of each import of ours."""
    late = lines_of(functions_of(path))
    typed = lines_of(node for node in statements_of(path) if is_for_types_only(node))
    return [
        (node.lineno, target, node.lineno in late, node.lineno in typed)
        for node in statements_of(path)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for target in modules(node)
    ]


def imports(path, *, for_types=False):
    """Yield (line, imported file, whether it is imported in a function)."""
    return [found[:3] for found in all_imports(path) if for_types or not found[3]]


def floor_of(name):
    """Return on which floor a file is: that of its room."""
    return FLOORS[name.partition("/")[0] or "__init__"]


def test_the_tables_name_every_file():
    here = {inside(path) for path in INNER}
    told = {f"{room}/{name}" for room, names in FILES.items() for name in names}

    assert here == told | {name for name in FLOORS if (ROOT / "fakellm" / f"{name}.py").exists()} - {"__init__"}
    assert {folder.name for folder in ROOMS} == FLOORS.keys() - {
        "rooms",
        "ported",
        "errors",
        "concurrency",
        "__init__",
        "__main__",
        "_fakellm_pytest",
    }


def test_few_files_stand_outside_the_rooms():
    assert len(list((ROOT / "fakellm").glob("*.py"))) <= 6


def test_no_arrow_runs_back_up_between_rooms():
    wrong = [
        f"{inside(path)}:{line} imports {target}, which is not on a lower floor"
        for path in INNER
        for line, target, _ in imports(path, for_types=True)
        if inside(path).partition("/")[0] != target.partition("/")[0] and floor_of(target) >= floor_of(inside(path))
    ]

    assert wrong == []


def above(path):
    """Return the files of the same room that stand above a file in the room's table."""
    room, _, here = inside(path).partition("/")
    names = FILES.get(room, [])
    return {f"{room}/{name}" for name in names[: names.index(here)]} if here else set()


def test_inside_a_room_arrows_point_up_its_table():
    wrong = [
        f"{inside(path)}:{line} imports {target}, which is not above it in the table"
        for path in INNER
        for line, target, late in imports(path)
        if target.startswith(f"{inside(path).partition('/')[0]}/")
        and target not in above(path)
        and not (late and (inside(path), target) in LATE)
    ]

    assert wrong == []


def test_the_arrows_that_point_down_are_there_and_late():
    found = {
        (inside(path), target)
        for path in INNER
        for _, target, late in imports(path)
        if late and (inside(path), target) in LATE
    }

    assert found == LATE


def test_no_two_files_point_at_each_other_not_even_for_types():
    arrows = {(inside(path), target) for path in INNER for _, target, _ in imports(path, for_types=True)}

    circles = {frozenset(arrow) for arrow in arrows if arrow[::-1] in arrows and arrow[0] != arrow[1]}

    assert circles == {frozenset(arrow) for arrow in LATE}


# -- what a room offers -------------------------------------------------------------------------------


@each(open_rooms)
def test_the_names_that_a_room_offers_are_those_that_type_checkers_see(folder):
    tree = ast.parse((folder / "__init__.py").read_text())
    typed = next(node for node in tree.body if is_for_types_only(node))
    seen = [alias.asname for node in typed.body for alias in getattr(node, "names", [])]
    room = importlib.import_module(".".join(folder.relative_to(ROOT).parts))

    assert sorted(seen) == sorted({*room.__all__, *(["strategies"] if folder.name == "contracts" else [])})
    for name in room.__all__:
        if room.__name__ != "fakellm.integrations.langchain":
            assert getattr(room, name) is not None
    assert set(room.__all__) <= set(dir(room))


@each(open_rooms)
def test_the_reference_has_the_names_that_a_room_offers(folder):
    room = importlib.import_module(".".join(folder.relative_to(ROOT).parts))
    page = ROOT / "docs" / "reference" / f"{room.__name__.removeprefix('fakellm.')}.md"

    named = re.findall(rf"^(?:::: {re.escape(room.__name__)}\.|\| \[`)([\w.]+)", page.read_text(), re.MULTILINE)

    assert sorted(named) == sorted({*room.__all__, *(["strategies"] if folder.name == "contracts" else [])})


@each(open_rooms)
def test_no_file_has_the_name_that_its_room_offers(folder):
    room = importlib.import_module(".".join(folder.relative_to(ROOT).parts))

    assert not {path.stem for path in folder.glob("*.py")} & set(room.__all__)
    assert not {path.name for path in folder.iterdir() if path.is_dir()} & set(room.__all__)


def test_a_room_loads_nothing_outside_the_standard_library():
    rooms = [".".join(folder.relative_to(ROOT).parts) for folder in OPEN]
    code = (
        "import sys\n"
        f"for room in {rooms}:\n"
        "    before = set(sys.modules)\n"
        "    __import__(room)\n"
        "    print(room, *sorted(name for name in set(sys.modules) - before"
        " if name.partition('.')[0] not in sys.stdlib_module_names))\n"
        "    for name in [name for name in sys.modules if name.startswith('fakellm')]:\n"
        "        del sys.modules[name]\n"
    )

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    for line in out.splitlines():
        room, *loaded = line.split()
        around = {room[:at] for at, character in enumerate(room) if character == "."}
        assert set(loaded) == {room, "fakellm", "fakellm.rooms", *around}, room
    assert len(out.splitlines()) == len(rooms)


def test_people_import_from_rooms():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    scripts = [
        *(ROOT / "examples").rglob("*.py"),
        *(ROOT / "benchmarks").glob("*.py"),
        *(ROOT / "cassettes").glob("*.py"),
    ]
    plugin = [path for path in SOURCES if ROOT / "pytest_plugin" in path.parents]
    offered = {".".join(folder.relative_to(ROOT).parts) for folder in OPEN}
    offered |= {"fakellm.errors", "fakellm.concurrency", "fakellm.contracts.strategies"}
    wrong = [
        f"{path.relative_to(ROOT)}: {module}"
        for path in (*pages, *scripts, *plugin)
        for module in re.findall(r"^\s*(?:from|import) (fakellm[\w.]*)", path.read_text(), re.MULTILINE)
        if module not in offered
    ]

    assert wrong == []


# -- sizes --------------------------------------------------------------------------------------------


def test_files_are_under_400_lines():
    assert [path.name for path in SOURCES if len(path.read_text().splitlines()) >= 400] == []


def test_functions_are_under_60_lines():
    long = [
        f"{path.name}:{node.lineno} {node.name}"
        for path in SOURCES
        for node in functions_of(path)
        if node.end_lineno - node.lineno >= 60
    ]

    assert long == []


def test_the_library_has_no_bare_assert():
    found = [
        f"{path.name}:{node.lineno}" for path in SOURCES for node in statements_of(path) if isinstance(node, ast.Assert)
    ]

    assert found == []


def test_there_are_few_public_names_and_all_exist():
    assert len(fakellm.__all__) <= 21
    for name in fakellm.__all__:
        assert getattr(fakellm, name).__module__.startswith("fakellm.")
    assert set(fakellm.__all__) <= set(dir(fakellm))


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


def test_the_hooks_before_a_commit_run_what_ci_does():
    script = (ROOT / ".ci" / "run").read_text()
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    entries = [hook["entry"] for repo in repos for hook in repo["hooks"]]

    assert {repo["repo"] for repo in repos} == {"local"}
    steps = re.search(r"^static_checks\(\) \{\n(.*?)^\}", script, re.MULTILINE | re.DOTALL)[1]
    commands = [*map(str.strip, steps.splitlines()), *re.findall(r'^beside "pyright" (.+)$', script, re.MULTILINE)]
    assert entries == [command for command in commands if "python " not in command] != []


def test_ci_names_tests_that_there_are():
    named = re.findall(r"\b(?:tests|examples)/[\w/.]+", (ROOT / ".ci" / "run").read_text())

    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_changelog_keeps_a_changelog():
    text = (ROOT / "CHANGELOG.md").read_text()

    assert "## [Unreleased]" in text
    assert set(re.findall(r"^### (\w+)", text, re.MULTILINE)) <= {
        "Added", "Changed", "Deprecated", "Removed", "Fixed", "Security",
    }  # fmt: skip
