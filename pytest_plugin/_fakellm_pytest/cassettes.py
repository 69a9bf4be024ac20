"""The fixture and the marker `cassette`: record a real session once, replay it for ever."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fakellm.cassette.tape import Tape
    from fakellm.intercept import Interception

MARKER = (
    "cassette(path=None, mode=None, match_on=..., ignore=(), timing='instant', strict=False): play the HTTP requests "
    "of the test from a tape, or record them; the path is relative to the folder cassettes/ beside the test"
)
MODES = ("none", "once", "new_episodes", "all")
_OPTIONS = ("path", "mode", "match_on", "ignore", "timing", "strict")


def add_options(parser: pytest.Parser, group: Any) -> None:
    """Add the options of cassettes."""
    group.addoption(
        "--llm-record",
        choices=MODES,
        default=None,
        help="record mode of cassettes, with vcrpy's meaning (default: none where CI is set, else once)",
    )
    parser.addini("llm_record", "as --llm-record", default="")
    parser.addini(
        "llm_cassette_strict", "an interaction that no request asked for fails the test", type="bool", default=False
    )


def use_fixture(item: pytest.Item) -> None:
    """Let a test with the marker have the fixture before all others, so that their requests are on the tape too."""
    names = getattr(item, "fixturenames", None)
    if names is not None and "cassette" not in names and item.get_closest_marker("cassette"):
        names.insert(0, "cassette")


@pytest.fixture
def cassette(request: pytest.FixtureRequest, _llm_network: Interception) -> Iterator[Tape]:
    """The tape of this test: requests are played from it, or recorded by the mode of `--llm-record`.

    The file is `cassettes/MODULE/TEST.yaml` beside the test, or what `@pytest.mark.cassette("path.yaml")` names. A
    test in which no request touched the tape fails; with `strict=True` so does one that leaves a part of it unplayed.
    """
    from fakellm.cassette.tape import Tape

    options = _options(request.node)
    strict = options.pop("strict", request.config.getini("llm_cassette_strict"))
    mode = options.pop("mode", None) or _mode(request.config)
    path = _path(request.node, options.pop("path", None))
    command = f"pytest --llm-record=new_episodes '{request.node.nodeid}'"
    tape = Tape(path, mode=mode, command=command, **options)
    with tape.open():
        _llm_network.tape = tape
        _llm_network.guard.allows_providers = tape.may_record
        try:
            yield tape
        finally:
            _llm_network.tape = None
            _llm_network.guard.allows_providers = False
        problem = tape.problem(strict=strict)
    if problem and request.node.stash.get(PASSED, False):
        pytest.fail(problem, pytrace=False)


PASSED = pytest.StashKey[bool]()
"""Whether the test itself passed; what came before its teardown."""


def _mode(config: pytest.Config) -> Any:
    chosen = config.getoption("--llm-record") or config.getini("llm_record") or None
    if chosen is not None and chosen not in MODES:
        msg = f"llm_record is one of {', '.join(MODES)}, not {chosen!r}"
        raise pytest.UsageError(msg)
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
    parts = [re.sub(r"[^\w.-]+", "_", part).strip("_") for part in node.nodeid.split("::")[1:]]
    return folder / node.path.stem / ("-".join(parts) + ".yaml")
