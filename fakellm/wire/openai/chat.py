"""OpenAI's chat completions: requests, streams, documents.

Source: https://platform.openai.com/docs/api-reference/chat, and 4,454 recorded streams: one choice a chunk, the role
in a first delta, the finish reason on an empty one, usage in a last chunk without choices if asked for, `[DONE]`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from fakellm.errors import WireError
from fakellm.script.events import (
    Event,
    Finish,
    Native,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Usage,
    choice_of,
    http_error,
    provider_error,
)
from fakellm.script.script import Script
from fakellm.wire.codec import CREATED, Codec, Decoder, Encoder, Headers, Request, Tally, Verbatim
from fakellm.wire.objects import dump, get, is_object, merged, objects, quote, text_field
from fakellm.wire.openai import azure, habits, servers
from fakellm.wire.openai import common as openai
from fakellm.wire.openai.chat_messages import called_by, is_legacy, logprobs_of, message_of
from fakellm.wire.openai.chat_messages import choice as answer
from fakellm.wire.openai.chat_reader import API, ChatDecoder
from fakellm.wire.openai.profiles import OPENAI, Profile

_KNOWN = ("model", "messages", "tools", "functions", "stream")
_DONE = b"data: [DONE]\n\n"
_SAFE = dump(azure.SAFE).decode()


class ChatCodec(Codec):
    """Chat completions, in the habits of a profile."""

    api = API

    def __init__(self, profile: Profile = OPENAI) -> None:
        self.profile = profile

    @classmethod
    def speaking(cls, profile: Profile) -> ChatCodec:
        """Return the codec with the habits of a profile."""
        return cls(profile)

    def request(self, body: Any, *, path: str = "") -> Request:
        """Read a request. The model may be the deployment that a path of Azure's names."""
        if not isinstance(body, dict) or not (model := azure.model_of(body, path, self.profile)):
            msg = "you must provide a model parameter"
            raise WireError(msg)
        if "messages" not in body:
            msg = "Missing required parameter: 'messages'."
            raise WireError(msg)
        tools = [
            get(tool, openai.string(tool, "type", f"tools[{at}]") or "function", dict)
            for at, tool in enumerate(objects(body, "tools"))
        ]
        openai.whole(body, "top_logprobs", 0, 0, openai.TOP)
        return Request(
            API,
            model,
            tuple(message_of(message, f"messages[{at}]") for at, message in enumerate(objects(body, "messages"))),
            tuple(text_field(tool, "name") for tool in [*tools, *objects(body, "functions")]),
            get(body, "stream", bool),
            {key: value for key, value in body.items() if key not in _KNOWN},
            body,
            openai.whole(body, "n", 1, 1, openai.CHOICES),
        )

    def encoder(self, request: Request, number: int, usage: Usage | None = None) -> Encoder:
        """Return what writes the stream."""
        kind = _ChatEncoder if self.profile.layout is None else servers.ServerEncoder
        return kind(request, number, self.profile, usage)

    def body(self, script: Script, request: Request, number: int) -> bytes:
        """Return the document of an answer that is not streamed."""
        tally = Tally(request).of(script)
        tally.called |= {choice_of(event) for event in script if called_by(event)}
        document = {
            "id": f"chatcmpl-fakellm{number:06d}",
            "object": "chat.completion",
            "created": CREATED + number,
            "model": request.model,
            "choices": [
                answer(script.choice(choice), choice, tally.finish(choice), request, self.profile)
                for choice in script.choices
            ],
            "usage": openai.usage_object(tally.usage, counts_reasoning=self.profile.counts_reasoning),
            "service_tier": "default",
            "system_fingerprint": openai.FINGERPRINT,
        }
        if self.profile.prelude:
            document["prompt_filter_results"] = azure.PROMPT
        for choice in script.choices:
            document = merged(document, openai.said_with(tally.finish(choice), self.profile.beside)[1])
        return dump(document)

    def error(self, fault: http_error, number: int) -> tuple[Headers, bytes]:
        """Return an HTTP error."""
        word = habits.http_error_of if self.profile.has_own_errors else openai.error_as
        return word(self.profile, fault, number)

    def decoder(self) -> Decoder:
        """Return what reads a stream, of OpenAI or of its look-alikes."""
        return ChatDecoder()

    def headers(self, number: int) -> Headers:
        """Return the headers of any answer."""
        return openai.headers(number) if self.profile.layout is None else habits.headers(self.profile, number)

    def stream_headers(self, request: Request, number: int) -> Headers:
        """Return the headers of a stream."""
        far = self.profile.layout is not None
        return habits.stream_headers(self.profile, number) if far else super().stream_headers(request, number)


# What is held back, and until when. With `finish_with_text` the last text, since the finish reason comes on it: any
# other piece of the answer and any silence let it go. With `whole_tool_calls` a call, until something comes that is
# no piece of it: half a call has no form there, so it waits through a silence too. A usage, until the end: OpenAI
# sends it last, and a later count replaces an earlier one. A call that got no arguments at all is closed with `{}`,
# since clients parse what its pieces add up to, and the empty text is no JSON.
#
# The short way. Where a profile is plain, chunks of text differ in their text alone, and the rest is written once for
# a stream. It may be taken only where the long way would write the same bytes: after the first delta of the answer,
# outside of calls, and without log probabilities.


class _ChatEncoder(Encoder):
    """Writes a stream. What all chunks share is written once; a chunk of text is that, the text, and the rest."""

    def __init__(self, request: Request, number: int, profile: Profile, usage: Usage | None) -> None:
        self._request = request
        self._profile = profile
        self._number = number
        self._tally = Tally(request, usage)
        self._opened: set[int] = set()
        self._calls: dict[int, ToolCall] = {}
        self._bare: set[tuple[int, int | None]] = set()
        self._held: tuple[int, str, str] | None = None
        self._raws: list[bytes] = []
        self._counted: Usage | None = None
        self._said: Usage | None = None
        self._chunks = 0
        self._legacy = is_legacy(request)
        wanted = request.options.get("stream_options")
        self._asked = isinstance(wanted, Mapping) and bool(wanted.get("include_usage"))
        self._head = self._head_of(0)
        self._tail = "]" + (',"usage":null' if self._asked and profile.usage == "asked" else "") + "}\n\n"
        self._unfinished = f',"finish_reason":{profile.unfinished}' if profile.unfinished else ""
        self._text_head = f'{self._head}{{"index":0,"delta":{{"content":'
        self._text_tail = f'}},"logprobs":null{self._unfinished}{self._filtered(is_text=True)}}}{self._tail}'
        self._can_be_plain = profile.is_plain and "logprobs" not in request.options
        self._is_plain = False

    def _head_of(self, chunk: int, *, id: str | None = None) -> str:
        vary = f"-{chunk}" if self._profile.id_varies else ""
        drift = chunk if self._profile.created_drifts else 0
        name = f"chatcmpl-fakellm{self._number:06d}{vary}" if id is None else id
        return (
            f'data: {{"id":"{name}","object":"chat.completion.chunk","created":{CREATED + self._number + drift},'
            f'"model":{quote(self._request.model)},"service_tier":"default",'
            f'"system_fingerprint":"{openai.FINGERPRINT}","choices":['
        )

    def begin(self) -> Sequence[bytes]:
        """Return a comment and a chunk without choices, where the profile has them."""
        first = [self._profile.comment.encode()] if self._profile.comment else []
        if self._profile.prelude:
            first.append(b"data: %b\n\n" % dump(azure.PRELUDE))
        return first

    def event(self, event: Event) -> Sequence[bytes]:
        """Return the chunks of an event."""
        if type(event) is Text and event.choice == 0 and self._is_plain and event.logprobs is None:
            self._tally.pieces += 1
            return (f"{self._text_head}{quote(event.text)}{self._text_tail}".encode(),)
        chunks = self._chunks_of(event)
        self._is_plain = self._can_be_plain and 0 in self._opened and not self._calls
        return chunks

    def _chunks_of(self, event: Event) -> Sequence[bytes]:
        self._tally.note(event)
        if isinstance(event, Usage):
            self._counted = event
            return ()
        choice = choice_of(event)
        first: list[bytes] = [] if choice in self._opened else self._open(choice)
        if isinstance(event, Text):
            return [*first, *self._text(event)]
        if not isinstance(event, ToolCall):
            first += self._close_call(choice)
        if not isinstance(event, Finish):
            first += self._let_go()
        return [*first, *self._other(event, choice)]

    def _other(self, event: Event, choice: int) -> Sequence[bytes]:
        match event:
            case Reasoning(text):
                return [self._delta(choice, f"{quote(self._profile.reasoning)}:{quote(text)}")] if text else ()
            case Refusal(text):
                return [self._delta(choice, f'"refusal":{quote(text)}')]
            case ToolCall():
                return self._tool_call(event)
            case Native(api, data):
                return self._native(event, cast("str", data)) if api == API else ()
            case Finish():
                return self._finish(event)
        return ()

    def _native(self, event: Native, data: str) -> Sequence[bytes]:
        """Return the fields of a delta as they are, which may call tools."""
        if by := called_by(event):
            self._tally.called.add(event.choice)
            self._legacy = self._legacy or by == "function_call"
        return [self._delta(event.choice, data.strip()[1:-1])]

    def _open(self, choice: int) -> list[bytes]:
        """Return the first delta of an answer."""
        self._opened.add(choice)
        return [] if self._profile.role_on_every_delta else [
            self._delta(choice, '"role":"assistant","content":"","refusal":null')
        ]  # fmt: skip

    def _delta(self, choice: int, fields: str, *, logprobs: str = "null", finish: str | None = None) -> bytes:
        """Return a chunk with one choice."""
        if self._profile.role_on_every_delta and not fields.startswith('"role"'):
            fields = '"role":"assistant"' + ("," + fields if fields else ',"content":""')
        reason = self._unfinished if finish is None else f',"finish_reason":{quote(finish)}'
        reason += self._filtered(is_text=fields.startswith('"content":') and finish is None)
        return self._chunk(f'{{"index":{choice},"delta":{{{fields}}},"logprobs":{logprobs}{reason}}}')

    def _filtered(self, *, is_text: bool) -> str:
        """Return what content filters found of a piece."""
        found = _SAFE if is_text else "{}"
        return f',"content_filter_results":{found}' if self._profile.filters else ""

    def _chunk(self, choices: str, usage: str | None = None) -> bytes:
        self._chunks += 1
        profile = self._profile
        head = self._head_of(self._chunks) if profile.id_varies or profile.created_drifts else self._head
        if usage is None and profile.usage == "every":
            usage = self._usage()
        tail = self._tail if usage is None else f'],"usage":{usage}}}\n\n'
        return (head + choices + tail).encode()

    def _usage(self) -> str:
        return dump(openai.usage_object(self._tally.usage, counts_reasoning=self._profile.counts_reasoning)).decode()

    def _text(self, event: Text) -> Sequence[bytes]:
        tokens = logprobs_of(event, self._request) if event.logprobs or "logprobs" in self._request.options else None
        logprobs = "null" if tokens is None else dump({"content": tokens, "refusal": None}).decode()
        before = [*self._close_call(event.choice), *self._let_go()]
        if self._profile.finish_with_text:
            self._held = event.choice, event.text, logprobs
            return before
        return [*before, self._delta(event.choice, f'"content":{quote(event.text)}', logprobs=logprobs)]

    def flush(self) -> list[bytes]:
        """Return the text that waits for a finish reason to come with it, and bytes that wait behind a call."""
        raws, self._raws = self._raws, []
        return [*raws, *self._let_go()]

    def _let_go(self) -> list[bytes]:
        held, self._held = self._held, None
        if held is None:
            return []
        return [self._delta(held[0], f'"content":{quote(held[1])}', logprobs=held[2])]

    def raw(self, text: str) -> Sequence[bytes]:
        """Return bytes of the script's own, after what waits; where half a call does, they wait behind it."""
        before = self.flush()
        if self._profile.whole_tool_calls:
            for choice in [choice for choice, call in self._calls.items() if is_object(call.arguments)]:
                before += self._close_call(choice)
            if self._calls:
                self._raws.append(Verbatim(text.encode()))
                return before
        if self._counted is not None and not self._tally.unfinished:
            before += self._usage_chunk()
        return [*before, Verbatim(text.encode())]

    def _tool_call(self, piece: ToolCall) -> list[bytes]:
        if self.verbatim:
            return self._literal(piece)
        choice, open_call = piece.choice, self._calls.get(piece.choice)
        if openai.says_none(piece):
            self._bare.add((choice, piece.index))
        if self._profile.whole_tool_calls:
            same = open_call is not None and open_call.index == piece.index and piece.name is None
            before = self.flush() if same else self._close_call(choice)
            self._calls[choice] = open_call + piece if same and open_call else piece
            return before
        chunks = []
        if piece.name is not None or open_call is None or open_call.index != piece.index:
            chunks += self._close_call(choice)
            chunks.append(self._delta(choice, self._call_fields(piece, "")))
            self._calls[choice] = ToolCall(index=piece.index, choice=choice)
        if piece.arguments:
            self._calls[choice] += ToolCall(arguments="-", index=piece.index, choice=choice)
            chunks.append(self._delta(choice, self._more_arguments(piece)))
        return chunks

    def _literal(self, piece: ToolCall) -> list[bytes]:
        """Return a piece in an order that no API has, with nothing that would put it right."""
        if piece.name is None:
            return [self._delta(piece.choice, self._more_arguments(piece, id=piece.id))]
        if self._profile.whole_tool_calls:
            return [self._delta(piece.choice, self._call_fields(piece, piece.arguments))]
        head = self._delta(piece.choice, self._call_fields(piece, ""))
        return [head, self._delta(piece.choice, self._more_arguments(piece))] if piece.arguments else [head]

    def _call_fields(self, call: ToolCall, arguments: str) -> str:
        function = f'{{"name":{quote(call.name or "")},"arguments":{quote(arguments)}}}'
        if self._legacy:
            return f'"function_call":{function}'
        index = f'"index":{call.index or 0},' if self._profile.tool_index else ""
        kind = '"type":"function",' if self._profile.tool_type else ""
        return f'"tool_calls":[{{{index}"id":{quote(call.id or "")},{kind}"function":{function}}}]'

    def _more_arguments(self, piece: ToolCall, *, id: str | None = None) -> str:
        arguments = quote(piece.arguments)
        if self._legacy:
            return f'"function_call":{{"arguments":{arguments}}}'
        index = f'"index":{piece.index or 0},' if self._profile.tool_index else ""
        name = "" if id is None else f'"id":{quote(id)},'
        return f'"tool_calls":[{{{index}{name}"function":{{"arguments":{arguments}}}}}]'

    def _close_call(self, choice: int) -> list[bytes]:
        """Return what completes the open tool call: no arguments are an empty object, unless a piece says otherwise."""
        call = self._calls.pop(choice, None)
        if call is None:
            return []
        usual = "" if (choice, call.index) in self._bare else "{}"
        if self._profile.whole_tool_calls:
            raws, self._raws = self._raws, []
            return [self._delta(choice, self._call_fields(call, call.arguments or usual)), *raws]
        return [] if call.arguments or not usual else [
            self._delta(choice, self._more_arguments(ToolCall(arguments=usual, index=call.index)))
        ]  # fmt: skip

    def _finish(self, finish: Finish) -> list[bytes]:
        held, self._held = self._held, None
        reason = "function_call" if self._legacy and finish.reason == "tool_calls" else finish.reason
        fields = f'"content":{quote(held[1])}' if held else ""
        extra, top = openai.said_with(finish, self._profile.beside)
        if extra is None and top is None and self._profile.usage != "finish":
            return [self._delta(finish.choice, fields, logprobs=held[2] if held else "null", finish=reason)]
        role = {"role": "assistant", "content": ""} if self._profile.role_on_every_delta else {}
        choice = {"index": finish.choice, "delta": {**role, **json.loads(f"{{{fields}}}")}, "logprobs": None}
        found: dict[str, Any] = {"content_filter_results": {}} if self._profile.filters else {}
        document = merged({**choice, "finish_reason": reason, **found}, extra)
        usage = self._usage() if self._profile.usage == "finish" else None
        chunks = [openai.with_fields(self._chunk(dump(document).decode(), usage), top)]
        if self._profile.after_finish:
            chunks.append(self._delta(finish.choice, '"role":"assistant","content":""'))
        return chunks

    def stop(self) -> Sequence[bytes]:
        """Return the usage, if it was scripted and asked for."""
        return self._usage_chunk() if self._tally.has_usage else ()

    def _usage_chunk(self) -> list[bytes]:
        is_due = self._asked and self._profile.usage == "asked" and self._said != self._tally.usage
        self._said = self._tally.usage
        return [self._chunk("", self._usage())] if is_due else []

    def end(self) -> Sequence[bytes]:
        """Return the finish reasons that are missing, the usage if it was asked for, and `[DONE]`."""
        last: list[bytes] = []
        for choice in self._tally.unfinished:
            last += self.event(self._tally.finish(choice))
        last += self._usage_chunk()
        return [*last, _DONE] if self._profile.done else last

    def error(self, fault: provider_error) -> Sequence[bytes]:
        """Return the error, and `[DONE]`, which follows it on OpenAI."""
        ends = [_DONE] if self._profile.done else []
        if self._profile.error == "numbered":
            status = habits.status_of(fault.code, fault.kind)
            document = dump(habits.error_document(self._profile, fault.message, fault.kind, status))
            last = openai.with_fields(self._delta(0, '"content":""', finish="error"), document)
            return [*self.flush(), b"event: error\n" + last if fault.named else last, *ends]
        return [*self.flush(), openai.stream_error(fault, named=bool(fault.named)), *ends]
