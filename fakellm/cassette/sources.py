"""Files of any form that holds answers: which form they are of, and the answers in them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from fakellm.cassette.answers import Answer, Wanted, answer_of_body, answer_of_lines
from fakellm.cassette.bodies import kind_of, kind_of_chunks
from fakellm.cassette.document import HEADING, CassetteError
from fakellm.cassette.files import parsed
from fakellm.cassette.fixtures import Scripted, aimock, llmock
from fakellm.cassette.lines import chunks_in
from fakellm.cassette.reading import as_str
from fakellm.errors import WireError, explain
from fakellm.script.files import from_json, from_yaml
from fakellm.script.script import Script

_SCRIPT = re.compile(r"""(?m)^[{ \t]*["']?fakellm_script["']?[ \t]*:""")
_HEAD = 20_000
_QUEUES = ("behaviors", "pending")


@dataclass
class Source:
    """What a file holds: its form, in words that people know, its answers, and those that are none, each with why."""

    form: str
    shown: str
    answers: list[Answer] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)
    metadata: Mapping[str, Any] = field(default_factory=dict)


def form_of(data: bytes, name: str) -> str:
    """Return the form of a file, as its name ends and its content begins."""
    if name.endswith(".sse"):
        return "sse"
    if name.endswith((".jsonl", ".ndjson")):
        return "jsonl"
    if kind := kind_of(data):
        return "sse" if kind.startswith("an event") else "jsonl"
    head = as_str(data[:_HEAD]).removeprefix("\ufeff").lstrip()
    if head[:1] in ("{", "["):
        with suppress(ValueError, RecursionError):
            return _form_of_json(json.loads(data))
    return "script" if _SCRIPT.search(head) else "tape"


def _form_of_json(found: Any) -> str:
    if not isinstance(found, dict):
        return "jsonl" if kind_of_chunks(found) else "tape"
    if "fakellm_script" in found:
        return "script"
    if isinstance(found.get("fixtures"), list):
        return "aimock"
    return "llmock" if any(isinstance(found.get(name), list) for name in _QUEUES) else "tape"


def read(data: bytes, name: str, form: str, wanted: Wanted) -> Source:
    """Return what a file of a form holds; a tape is one of any tool whose tapes are read.

    Raises `CassetteError` and `ScriptFileError`, which name the place.
    """
    match form:
        case "tape" | "vcrpy":
            return _tape(data, name)
        case "script":
            return Source(form, "a script", [Answer(0, script=_script(data, name), is_made_up=True)])
        case "sse":
            return Source(form, "an event stream", [_stream(data, name, wanted)])
        case "jsonl":
            return Source(form, "lines of JSON", [_lines(data, name, wanted)])
        case "aimock":
            return _scripted(form, "fixtures of aimock", list(aimock(_mapping(data, name), name)))
    return _scripted(form, "a queue of LLMock", list(llmock(_mapping(data, name), name)))


def _tape(data: bytes, name: str) -> Source:
    tape = parsed(data, name)
    if tape is None:
        return Source("tape", "an empty tape")
    answers = [Answer(at, pair) for at, pair in enumerate(tape.pairs)]
    is_ours = as_str(data[: len(HEADING)]) == HEADING or any("stream" in response for response in tape.responses)
    form = "tape" if is_ours else "vcrpy"
    shown = "a tape" if is_ours else f"a tape of {tape.dialect}"
    return Source(form, shown, answers, metadata=tape.metadata or {})


def _script(data: bytes, name: str) -> Script:
    text = _decoded(data, name)
    is_json = name.endswith(".json") or text.lstrip()[:1] == "{"
    return from_json(text, name=name) if is_json else from_yaml(text, name=name)


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        headline = f"{name}: byte {error.start} is not UTF-8"
        raise CassetteError(explain(headline, remedy=["save it as UTF-8"])) from None


def _stream(data: bytes, name: str, wanted: Wanted) -> Answer:
    try:
        return answer_of_body(data, name, wanted)
    except WireError as error:
        raise _unreadable(name, error) from None


def _lines(data: bytes, name: str, wanted: Wanted) -> Answer:
    try:
        return answer_of_lines(chunks_in(data, name), name, wanted)
    except WireError as error:
        raise _unreadable(name, error) from None


def _unreadable(name: str, error: WireError) -> CassetteError:
    return CassetteError(
        explain(f"{name}: {error}", remedy=["name the API that it is of, if it is another: --api API"])
    )


def _mapping(data: bytes, name: str) -> Mapping[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CassetteError(explain(f"{name}: this is not JSON: {error}", remedy=["correct it"])) from None
    if not isinstance(found, dict):
        raise CassetteError(explain(f"{name}: a mapping belongs here", remedy=["name another form: --from FORM"]))
    return found


def _scripted(form: str, shown: str, found: list[Scripted]) -> Source:
    source = Source(form, shown)
    for at, one in enumerate(found):
        if one.script is None:
            source.refused.append((at, one.why))
        else:
            answer = Answer(at, script=one.script, is_made_up=True, prompt=one.prompt, model=one.model, lost=one.lost)
            source.answers.append(answer)
    return source
