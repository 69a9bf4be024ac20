"""What is behind the fixture and the marker `cassette`: record a real session once, replay it for ever."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from _fakellm_pytest.discretion import note
from _fakellm_pytest.hooks import MODES, PASSED, recordings_of

if TYPE_CHECKING:
    from fakellm.cassette import Tape
    from fakellm.http import Interception

TAPE = pytest.StashKey["Tape"]()
"""The tape that the test has opened."""

_LONGEST = 100
_OPTIONS = (
    "path",
    "mode",
    "match_on",
    "ignore",
    "timing",
    "form",
    "behind",
    "strict",
    "keep_headers",
    "record_on_exception",
)


def use_fixture(item: pytest.Item) -> None:
    """Let a test with the marker have the fixture before all others, so that their requests are on the tape too."""
    names = getattr(item, "fixturenames", None)
    if names is not None:  # the list may be that of other parameters too
        item.fixturenames = ["cassette", *(name for name in names if name != "cassette")]  # type: ignore[attr-defined]


def played(request: pytest.FixtureRequest, network: Interception) -> Iterator[Tape]:
    """Yield the tape of a test, open; see at the end that it was used."""
    strict, tape = _tape(request)
    tape.run = recordings_of(request.config).run
    note(request.node, "cassette", tape)
    with _opened(tape, network):
        request.node.stash[TAPE] = tape
        yield tape
        problem = tape.problem(strict=strict)
    if tape.record_on_exception:  # whatever comes, be it that the run is interrupted
        recordings_of(request.config).end(request.node)
    if not request.node.stash.get(PASSED, False):
        return
    if problem:
        pytest.fail(problem, pytrace=False)
    if _chosen(request.config, _options(request.node).get("mode")) == "verify":
        from _fakellm_pytest.verifying import verify

        with network.open_to_providers():
            verify(request.node, tape)


def tape_of(item: pytest.Item) -> tuple[Path, str] | None:
    """Return the tape that a test would use, and the mode; None if it does not ask for one, or not in the right way."""
    if "cassette" not in getattr(item, "fixturenames", ()) and not item.get_closest_marker("cassette"):
        return None
    try:
        options = _options(item)
        mode = _mode(item.config, options.get("mode"))
    except pytest.fail.Exception:
        return None
    return _path(item, options.get("path")), mode or ("none" if os.environ.get("CI") else "once")


def is_own(item: pytest.Item) -> bool:
    """Tell whether the tape of a test has the test's own name, which no other has."""
    return _options(item).get("path") is None


def _tape(request: pytest.FixtureRequest) -> tuple[bool, Tape]:
    """Return whether the test is strict, and its tape."""
    from _fakellm_pytest import clock_of
    from fakellm.cassette import Tape

    options = _options(request.node)
    if "timing" not in options and (clock := clock_of(request)) is not None:
        options["timing"] = clock
    options.setdefault("record_on_exception", request.config.getini("llm_record_on_exception"))
    strict = options.pop("strict", request.config.getini("llm_cassette_strict"))
    mode = _mode(request.config, options.pop("mode", None))
    path = _path(request.node, options.pop("path", None))
    command = f"pytest --llm-record=new_episodes '{request.node.nodeid}'"
    try:
        return strict, Tape(path, mode=mode, command=command, **options)
    except (ValueError, TypeError) as error:
        pytest.fail(f"the marker cassette of {request.node.nodeid}: {error}", pytrace=False)


@contextmanager
def _opened(tape: Tape, network: Interception) -> Iterator[None]:
    """Open a tape, and save it at the end; what is wrong with its file is told without a traceback."""
    from fakellm.cassette import CassetteError

    try:
        with network.answering_from(tape):
            yield
    except CassetteError as error:
        pytest.fail(str(error), pytrace=False)


def _mode(config: pytest.Config, marked: Any) -> Any:
    """Return the record mode that a tape has; one that is verified is played."""
    chosen = _chosen(config, marked)
    return "none" if chosen == "verify" else chosen


def _chosen(config: pytest.Config, marked: Any) -> Any:
    """Return the record mode: the command line's, which a miss tells to type, else the marker's or the ini's."""
    chosen = config.getoption("--llm-record") or marked or config.getini("llm_record") or None
    if chosen is not None and chosen not in MODES:
        where = "mode of the marker cassette" if chosen == marked else "llm_record"
        pytest.fail(f"{where} is one of {', '.join(MODES)}, not {chosen!r}", pytrace=False)
    return chosen


def _options(node: pytest.Item) -> dict[str, Any]:
    """Return what the markers of the test say; the nearest marker wins."""
    options: dict[str, Any] = {}
    for marker in node.iter_markers("cassette"):
        named: dict[str, Any] = {**({"path": marker.args[0]} if marker.args else {}), **marker.kwargs}
        unknown = [repr(arg) for arg in marker.args[1:]] + [key for key in marker.kwargs if key not in _OPTIONS]
        if unknown:
            msg = f"the marker cassette takes {', '.join(_OPTIONS)}, not {', '.join(unknown)}"
            pytest.fail(msg, pytrace=False)
        options = {**named, **options}
    return options


def _path(node: pytest.Item, named: str | os.PathLike[str] | None) -> Path:
    folder = node.path.parent / "cassettes"
    if named is not None:
        return folder / named
    return folder / node.path.stem / f"{_file_name(node.nodeid.partition('::')[2])}.yaml"


def _file_name(test: str) -> str:
    """Return a test's name as that of a file, `Class-test-parameters`, with a digest where two could look alike."""
    name, _, parameters = test.partition("[")
    names = [*name.split("::"), *([parameters.removesuffix("]")] if parameters else [])]
    plain = "-".join(re.sub(r"[^\w.-]+", "_", name) for name in names)
    if plain == "-".join(names) and len(plain) <= _LONGEST:
        return plain
    from hashlib import sha256

    return f"{plain[:_LONGEST]}-{sha256(test.encode()).hexdigest()[:6]}"
