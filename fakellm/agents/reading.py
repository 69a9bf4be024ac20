"""The steps of loops: what was asked and what the model said, out of the log of a fake or a server, or out of a tape.

A fake's answer is what was scripted; that of a function, and of a tape, is read from the bytes that its client took. Of
a tape all that is on it is read, whether or not a test asked for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from fakellm.agents.played import asked_of
from fakellm.agents.steps import Result
from fakellm.agents.turns import Plan
from fakellm.agents.wanted import as_text
from fakellm.errors import UnexpectedCallError, WireError, clip, explain
from fakellm.models.calls import Call
from fakellm.provider.exchange import ProviderCall
from fakellm.script.events import Event, Fault, ToolCall, Usage
from fakellm.script.messages import Message
from fakellm.script.script import Script
from fakellm.wire.codec import Request, Tally, legal_or_not
from fakellm.wire.providers import scripted_endpoint
from fakellm.wire.said import said_in
from fakellm.wire.service import codec_of

_FAILED = 400


@dataclass(frozen=True, slots=True)
class Step:
    """A request and its answer: the `number` of the request in its log from 1, the calls that the answer makes.

    `usage` is what the answer reports; where it reports none, a count of words. `is_whole` tells whether all of the
    answer is known. A later request may name it by an id that is in its `body`, or is made of the number `seed`.
    """

    number: int
    request: Request
    calls: tuple[ToolCall, ...]
    usage: Usage
    is_whole: bool = True
    body: bytes = b""
    seed: int | None = None


def steps_of(source: Any) -> list[Step]:
    """Return the steps that a fake, a server, a session, a tape, the path of a tape, a conversation or calls hold.

    Raises `TypeError` for anything else, `CassetteError` for what is no tape.
    """
    return list(_steps(source))


def _steps(source: Any) -> Iterator[Step]:
    if isinstance(source, (str, Path)):
        yield from _of_pairs(_loaded(Path(source)))
    elif isinstance(source, Plan):
        yield from _of_conversation(source)
    elif (pairs := getattr(source, "pairs", None)) is not None:  # a tape, which is not imported for fakes
        yield from _of_pairs(pairs())
    elif (inner := getattr(source, "fake", None)) is not None:  # LangChain's adapter
        yield from _steps(inner)
    elif (calls := getattr(source, "calls", None)) is not None and not callable(calls):
        yield from _of_calls(calls)
    elif isinstance(source, Iterable):
        yield from _of_calls(source)
    else:
        msg = f"{clip(repr(source), 80)} has no calls: give a fake, a server, a tape or its path, or a list of calls"
        raise TypeError(msg)


def _of_conversation(plan: Plan) -> Iterator[Step]:
    """Yield the steps of a conversation as it is written: its tools are those that it calls."""
    tools = tuple(dict.fromkeys(call.name or "" for turn in plan.turns for call in turn.calls))
    messages: list[Message] = []
    calls: Sequence[ToolCall] = ()
    for number, turn in enumerate(plan.turns, 1):
        for one in turn.asked:
            is_result = isinstance(one.step, Result)
            id = calls[one.call].id if is_result and one.call < len(calls) else None  # noqa: A001 - as APIs name it
            messages.append(Message("tool" if is_result else "user", as_text(one.step.wanted), tool_call_id=id))
        request, calls = Request("", "", tuple(messages), tools), turn.calls
        yield Step(number, request, calls, Tally(request, turn.answer.usage).of(turn.answer).usage)
        messages.append(Message.of(turn.answer.choice(0)))


def _of_calls(calls: Iterable[Any]) -> Iterator[Step]:
    for call in map(_unlogged, calls):
        if isinstance(call, ProviderCall):
            step = _of_request(call)
        elif isinstance(call, Call):
            step = _of_model(call)
        else:
            msg = f"{clip(repr(call), 80)} is no call of a fake"
            raise TypeError(msg)
        if step is not None:
            yield step


def _unlogged(call: Any) -> Any:
    """Return the call that a server logged."""
    inner = getattr(call, "call", None)
    return inner if isinstance(inner, ProviderCall) else call


def _of_request(call: ProviderCall) -> Step | None:
    """Return the step of a request to a fake, or to a tape; None for one that asks no model, or got no answer."""
    if (call.input is None and scripted_endpoint(call.method, call.url) is None) or (call.status or 0) >= _FAILED:
        return None
    if call.reply is None and isinstance(call.error, UnexpectedCallError):
        return None
    content = call.reply.content if call.reply is not None else None
    if isinstance(content, Script):
        if content.fault is not None:  # which the app asks again for
            return None
        usage = Tally(call.request, content.usage).of(content).usage
        return Step(call.number, call.request, content.tool_calls, usage, seed=call.seed)
    events = _said(call.method, call.url, call.request, call.taken)
    is_whole = call.is_whole and len(call.taken) == call.pieces
    return _step(call.number, call.request, events, is_whole=is_whole, seed=call.seed)


def _of_model(call: Call) -> Step | None:
    if call.state == "failed":
        return None
    request = asked_of(call)
    if call.is_scripted and call.reply is not None:
        content: Script = call.reply.content
        return Step(call.number, request, content.tool_calls, Tally(request, content.usage).of(content).usage)
    said = [chunk for chunk in call.chunks if isinstance(chunk, Message)]
    whole = reduce(add, said) if said else Message()
    usage = whole.usage or Usage(len(request.prompt.split()), len(said))
    return Step(call.number, request, whole.tool_calls, usage, is_whole=len(said) == call.delivered)


# -- tapes ---------------------------------------------------------------------------------------------


def _loaded(path: Path) -> Sequence[tuple[Any, Any]]:
    from vcr.persisters.filesystem import CassetteNotFoundError

    from fakellm.cassette.document import CassetteError
    from fakellm.cassette.files import Files

    try:
        requests, responses, *_ = Files().load_cassette(path)
    except CassetteNotFoundError:
        why = "the file is empty" if path.exists() else "there is no such file"
        raise CassetteError(explain(f"{path}: {why}", remedy=["name a tape"])) from None
    return list(zip(requests, responses, strict=True))


def _of_pairs(pairs: Iterable[tuple[Any, Any]]) -> Iterator[Step]:
    from fakellm.cassette.matching import bytes_of
    from fakellm.cassette.replay import chunks_of

    for number, (stored, response) in enumerate(pairs, 1):
        if scripted_endpoint(stored.method, stored.uri) is None or response["status"]["code"] >= _FAILED:
            continue
        headers = {str(name): str(value) for name, value in stored.headers.items()}
        request = ProviderCall(stored.method, stored.uri, headers, bytes_of(stored)).request
        pieces = chunks_of(response)
        yield _step(number, request, _said(stored.method, stored.uri, request, pieces), body=b"".join(pieces))


def _step(number: int, request: Request, events: Sequence[Event], **known: Any) -> Step:
    said = legal_or_not([event for event in events if not isinstance(event, Fault)])
    return Step(number, request, said.tool_calls, Tally(request, said.usage).of(said).usage, **known)


def _said(method: str, url: str, request: Request, pieces: Sequence[bytes]) -> list[Event]:
    """Return what an answer says, as far as it can be read."""
    found = scripted_endpoint(method, url)
    if found is None:
        return []
    if not request.stream:
        return said_in(b"".join(pieces))
    decoder, events = codec_of(found[1]).decoder(), list[Event]()
    try:
        for piece in pieces:
            events += decoder.feed(piece)
    except WireError:
        return events
    return events
