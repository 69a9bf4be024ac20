"""Answers that other mock servers were told in files: aimock's fixtures, and the queue of LLMock.

- aimock (https://github.com/CopilotKit/aimock, its page on fixtures): `fixtures`, each a `match` and a `response` with
  `content`, `toolCalls`, `blocks`, `reasoning` or an `error`, beside `chunkSize`, `latency`, `truncateAfterChunks`;
- LLMock (https://github.com/JulienRabault/LLMock, its control API): `behaviors`, or `pending` as it tells them, each
  with a `type`. Of each kind the first that is left goes to the next request.

They are read as JSON, without trust: what is not as documented is refused with its place, and what a script has no
place for is told.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fakellm.cassette.document import CassetteError
from fakellm.errors import ScriptError, explain
from fakellm.script.events import (
    Content,
    Event,
    Fault,
    Finish,
    Pause,
    Raw,
    Reasoning,
    Text,
    ToolCall,
    Usage,
    disconnect,
    http_error,
)
from fakellm.script.script import Script

CHUNK = 20
"""Characters of a chunk of aimock's, where nothing says how many."""
_OTHERS = ("embedding", "image", "images", "audio", "transcription", "video", "moderation", "rerank", "search")


@dataclass(frozen=True, slots=True)
class Scripted:
    """What is answered, or why that is no script; what was to be asked, and what of the fixture is not kept."""

    script: Script | None
    why: str = ""
    prompt: str = ""
    model: str = ""
    lost: tuple[str, ...] = ()


class _Fields:
    """The fields of a mapping, each read once; those that were not are left."""

    def __init__(self, found: Any, place: str) -> None:
        if not isinstance(found, Mapping):
            raise _wrong(place, "a mapping belongs here", found)
        self._found = dict(found)
        self.place = place

    def take(self, name: str, kind: type | tuple[type, ...], usual: Any = None) -> Any:
        """Return a field of a kind; `usual` where there is none."""
        found = self._found.pop(name, None)
        if found is None:
            return usual
        if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
            kinds = kind if isinstance(kind, tuple) else (kind,)
            raise _wrong(
                f"{self.place}.{name}", f"{' or '.join(dict.fromkeys(map(_named, kinds)))} belongs here", found
            )
        return found

    def inner(self, name: str) -> _Fields:
        """Return the fields of a mapping in this one, none where it is not there."""
        return _Fields(self._found.pop(name, None) or {}, f"{self.place}.{name}")

    @property
    def left(self) -> tuple[str, ...]:
        """The names of those that nobody took, but for notes."""
        return tuple(str(name) for name in self._found if not str(name).startswith(("_", "$")))


def _named(kind: type) -> str:
    return {str: "a text", int: "a number", float: "a number", list: "a list", dict: "a mapping"}.get(kind, str(kind))


def _wrong(place: str, problem: str, found: object) -> CassetteError:
    shown = json.dumps(found, ensure_ascii=False, default=str)[:80]
    return CassetteError(explain(f"{place}: {problem}, not {shown}", remedy=["correct it"]))


def _text(found: Any) -> str:
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False, separators=(",", ":"))


# -- aimock -------------------------------------------------------------------------------------------


def aimock(data: Mapping[str, Any], name: str) -> Iterator[Scripted]:
    """Yield what each fixture answers. Raises `CassetteError` for what is none."""
    fixtures = _Fields(data, name).take("fixtures", list, [])
    for at, found in enumerate(fixtures):
        place = f"{name}, fixtures.{at}"
        try:
            yield _fixture(_Fields(found, place))
        except ScriptError as error:
            headline = f"{place}: it says what no script can: {error}"
            raise CassetteError(explain(headline, remedy=["correct it"])) from None


def _fixture(fixture: _Fields) -> Scripted:
    match, response = fixture.inner("match"), fixture.inner("response")
    prompt = match.take("userMessage", str, "")
    model = match.take("model", str, "")
    conditions = tuple(f"the condition {name}" for name in match.left)
    others = [name for name in response.left if name in _OTHERS]
    if others:
        return Scripted(None, f"a fixture of {others[0]} is no answer of a chat model")
    size = fixture.take("chunkSize", int, CHUNK)
    if (failed := response.take("error", dict)) is not None:
        script = Script(_aimock_error(_Fields(failed, f"{response.place}.error"), response.take("status", int, 500)))
    else:
        events = [*_said(response, max(size, 1)), *_ending(response)]
        if not any(isinstance(event, Content) for event in events):
            return Scripted(None, "it has no content, no toolCalls and no blocks")
        script = _played(fixture, events)
    left = tuple(f"its {name}" for name in (*response.left, *fixture.left))
    partly = ("that a part of the prompt is enough",) if prompt else ()
    return Scripted(script, prompt=prompt, model=model, lost=(*partly, *conditions, *left))


def _aimock_error(error: _Fields, status: int) -> Fault:
    message = error.take("message", str, "")
    return http_error(status, message, kind=error.take("type", str), code=error.take("code", str))


def _said(response: _Fields, size: int) -> Iterator[Event]:
    """Yield reasoning, texts and calls; `blocks` have their own order, else texts come before calls."""
    yield from map(Reasoning, _cut(response.take("reasoning", str, ""), size))
    content, calls = response.take("content", (str, dict, list)), response.take("toolCalls", list, [])
    if blocks := response.take("blocks", list, []):
        for at, found in enumerate(blocks):
            block = _Fields(found, f"{response.place}.blocks.{at}")
            if block.take("type", str) == "text":
                yield from map(Text, _cut(block.take("text", str, ""), size))
            else:
                yield from _call(block, size)
        return
    if content is not None:
        yield from map(Text, _cut(_text(content), size))
    for at, found in enumerate(calls):
        yield from _call(_Fields(found, f"{response.place}.toolCalls.{at}"), size)


def _call(call: _Fields, size: int) -> Iterator[Event]:
    name, id = call.take("name", str), call.take("id", str)  # noqa: A001
    if name is None:
        raise _wrong(f"{call.place}.name", "the name of a tool belongs here", None)
    yield ToolCall(name, id=id)
    for piece in _cut(_text(call.take("arguments", (str, dict, list), {})), size):
        yield ToolCall(arguments=piece)


def _cut(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def _ending(response: _Fields) -> Iterator[Event]:
    if reason := response.take("finishReason", str):
        yield Finish(reason)
    usage = response.inner("usage")
    read = [usage.take(name, int) for name in ("prompt_tokens", "input_tokens")]
    written = [usage.take(name, int) for name in ("completion_tokens", "output_tokens")]
    usage.take("total_tokens", int)
    if any(count is not None for count in (*read, *written)):
        first, second = (next((count for count in counts if count is not None), 0) for counts in (read, written))
        yield Usage(first, second)


def _played(fixture: _Fields, events: list[Event]) -> Script:
    """Return what a fixture says at its pace, and as far as it goes."""
    timings = fixture.inner("recordedTimings")
    first, gaps = timings.take("ttftMs", (int, float)), timings.take("interChunkDelaysMs", list)
    timings.take("totalDurationMs", (int, float))
    latency = fixture.take("latency", (int, float), 0)
    cut = fixture.take("truncateAfterChunks", int)
    for at, gap in enumerate(gaps or ()):
        if type(gap) not in (int, float):
            raise _wrong(f"{timings.place}.interChunkDelaysMs.{at}", "a number belongs here", gap)
    is_recorded = first is not None or gaps
    silences = [first or 0, *(gaps or ())] if is_recorded else []
    played: list[Event] = []
    count = 0
    for event in events:
        if isinstance(event, Content):
            if cut is not None and count == cut:
                break
            milliseconds = (silences[count] if count < len(silences) else 0) if is_recorded else latency
            played += [Pause(milliseconds / 1000)] if milliseconds else []
            count += 1
        played.append(event)
    return Script(*played, *([disconnect()] if cut is not None and count == cut else []))


# -- LLMock -------------------------------------------------------------------------------------------

_KINDS = ("fail", "delay", "slow_first_token", "stream_fault", "reply", "tool_fault")
_PAUSES = ("delay", "slow_first_token")


def llmock(data: Mapping[str, Any], name: str) -> Iterator[Scripted]:
    """Yield what each request is answered, until no reply and no error is left. Raises `CassetteError`."""
    field = "behaviors" if "behaviors" in data else "pending"
    listed = _Fields(data, name).take(field, list, [])
    queue = [_behaviour(found, f"{name}, {field}.{at}") for at, found in enumerate(listed)]
    while any(kind in ("reply", "fail") for kind, _ in queue):
        if (failed := _taken(queue, "fail")) is not None:
            yield _llmock_error(failed)
            continue
        taken = {kind: found for kind in _KINDS[1:] if (found := _taken(queue, kind)) is not None}
        yield _reply(taken)
    if left := [kind for kind, behaviour in queue if not behaviour["\0used"]]:
        yield Scripted(None, f"no reply is there to go with what is left of the queue: {', '.join(left)}")


def _behaviour(found: Any, place: str) -> tuple[str, dict[str, Any]]:
    fields = _Fields(found, place)
    kind = fields.take("type", str, "")
    if kind not in _KINDS:
        raise _wrong(f"{place}.type", f"one of {', '.join(_KINDS)} belongs here", kind)
    fields.take("match", dict)
    for name, number in (("seconds", (int, float)), ("stall_seconds", (int, float)), ("after_chunks", int)):
        if (count := fields.take(name, number, 0)) < 0:
            raise _wrong(f"{place}.{name}", "a number from 0 up belongs here", count)
    times = found.get("times", 1)
    if times is not None and (type(times) is not int or times < 1):
        raise _wrong(f"{place}.times", "a number from 1 up belongs here", times)
    return kind, {**found, "times": times, "\0place": place, "\0used": False}


def _taken(queue: list[tuple[str, dict[str, Any]]], kind: str) -> dict[str, Any] | None:
    """Return the first of a kind, and take it off once. What stays for ever stays, but for what answers by itself."""
    at = next((at for at, (found, _) in enumerate(queue) if found == kind), None)
    if at is None:
        return None
    _, behaviour = queue[at]
    if behaviour["times"] is None and kind not in ("reply", "fail"):
        behaviour["\0used"] = True
    elif (times := behaviour["times"] or 1) > 1:
        queue[at] = (kind, {**behaviour, "times": times - 1})
    else:
        del queue[at]
    return behaviour


def _lost(behaviours: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for behaviour in behaviours:
        found |= dict.fromkeys(f"the condition {name}" for name in behaviour.get("match") or {})
        if behaviour["times"] is None and not behaviour["\0used"]:
            found["that it stays for ever"] = None
    return tuple(found)


def _llmock_error(behaviour: dict[str, Any]) -> Scripted:
    fields = _Fields(behaviour, behaviour["\0place"])
    status, message = fields.take("status", int, 500), fields.take("message", str, "")
    after = fields.take("retry_after", (int, float))
    try:
        script = Script(http_error(status, message, retry_after=after, code=fields.take("code", str)))
    except ScriptError as error:
        raise _wrong(behaviour["\0place"], str(error), status) from None
    return Scripted(script, lost=_lost([behaviour]))


def _reply(taken: dict[str, dict[str, Any]]) -> Scripted:
    reply = _Fields(taken["reply"], taken["reply"]["\0place"])
    events: list[Event] = [Text(text)] if (text := reply.take("text", str, "")) else []
    fault = taken.get("tool_fault", {}).get("kind")
    for at, found in enumerate(reply.take("tool_calls", list, [])):
        call = _Fields(found, f"{reply.place}.tool_calls.{at}")
        name = call.take("name", str)
        if name is None:
            raise _wrong(f"{call.place}.name", "the name of a tool belongs here", None)
        arguments = _text(call.take("arguments", (dict, str), {}))
        events.append(ToolCall(name, "{" if fault == "malformed_arguments" else arguments))
    if reason := reply.take("finish_reason", str):
        events.append(Finish(reason))
    lost = [*_lost(taken.values())]
    if fault == "unknown_tool":
        lost.append("the call of a tool that was never offered")
    waited = sum(float(taken[kind].get("seconds") or 0) for kind in _PAUSES if kind in taken)
    events = [*([Pause(waited)] if waited else []), *events]
    return Scripted(Script(*_broken(events, taken.get("stream_fault"))), lost=tuple(lost))


def _broken(events: list[Event], fault: dict[str, Any] | None) -> list[Event]:
    """Return events with what breaks their stream after so many chunks."""
    if fault is None:
        return events
    places = [at for at, event in enumerate(events) if isinstance(event, Content)]
    after = fault.get("after_chunks", 1)
    at = places[after] if after < len(places) else len(events)
    match fault.get("kind"):
        case "stall":
            return [*events[:at], Pause(float(fault.get("stall_seconds", 30.0))), *events[at:]]
        case "malformed":
            return [*events[:at], Raw("data: {not json\n\n"), *events[at:]]
        case "truncate":
            return [*events[:at], disconnect("end")]
    return [*events[:at], disconnect()]
