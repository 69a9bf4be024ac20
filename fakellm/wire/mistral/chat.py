"""Mistral's chat, fill-in-the-middle and agents' completions: requests, streams, documents.

Source: https://docs.mistral.ai/api, the types of the SDK, and recorded streams: chunks as OpenAI's, of fewer fields
and padded by `p`; the role in a first one; content that is a text or a list of parts; a tool call whole; the usage
with the finish reason, which comes with a text that it cuts off, with the last call, or with an empty text; and
`[DONE]`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from fakellm.script.events import (
    Event,
    Finish,
    Native,
    Reasoning,
    Refusal,
    Text,
    Usage,
    choice_of,
    provider_error,
)
from fakellm.script.script import Script
from fakellm.wire.codec import CREATED, Decoder, Encoder, Request, Tally
from fakellm.wire.mistral import common, requests
from fakellm.wire.mistral.chat_reader import API, ChatDecoder, usage_object
from fakellm.wire.objects import dump, merged
from fakellm.wire.openai.chat_messages import add, calls_of
from fakellm.wire.openai.profiles import Layout, Profile
from fakellm.wire.openai.servers import ServerEncoder

_MODEL = "mistral-medium-latest"
"""The model of every agent."""
_PADDING = "abcdefghijklmnopqrstuvwxyz0123456789"
_LAYOUT = Layout(
    ("id", "object", "created", "model", "choices", "usage", "p"),
    ("index", "delta", "finish_reason", "logprobs?"),
    usage=("prompt_tokens", "total_tokens", "completion_tokens", "prompt_tokens_details"),
    call=("id", "type", "function", "index"),
    id="{number:032x}",
)
_PROFILE = Profile("mistral", layout=_LAYOUT, usage="finish", whole_tool_calls=True, cut_with_text=True)
_DONE = b"data: [DONE]\n\n"


class ChatCodec(common.MistralCodec):
    """Chat."""

    api = API

    def request(self, body: Any, *, path: str = "") -> Request:  # noqa: ARG002 - other APIs have the model there
        """Read a request."""
        return requests.read(self.api, body, requests.CHAT, "model", "messages")

    def encoder(self, request: Request, number: int, usage: Usage | None = None) -> Encoder:
        """Return what writes the stream."""
        return _ChatEncoder(self._answering(request), number, usage)

    def _answering(self, request: Request) -> Request:
        """Return the request with the model that answers it."""
        return request

    def body(self, script: Script, request: Request, number: int) -> bytes:
        """Return the document of an answer that is not streamed."""
        tally = Tally(request).of(script)
        document = {
            "id": _LAYOUT.id.format(number=number),
            "created": CREATED + number,
            "model": self._answering(request).model,
            "usage": merged(usage_object(tally.usage), tally.usage.extra),
            "object": "chat.completion",
            "choices": [
                _choice(script.choice(choice), choice, tally.finish(choice), request) for choice in script.choices
            ],
        }
        for choice in script.choices:
            document = merged(document, tally.finish(choice).beside)
        return dump(document)

    def decoder(self) -> Decoder:
        """Return what reads a stream."""
        return ChatDecoder()


class FIMCodec(ChatCodec):
    """Fill-in-the-middle: a prompt and a suffix, answered as chat is."""

    api = "mistral.fim"

    def request(self, body: Any, *, path: str = "") -> Request:  # noqa: ARG002 - other APIs have the model there
        """Read a request; the prompt is its message."""
        return requests.read(self.api, body, requests.FIM, "model", "prompt")


class AgentsCodec(ChatCodec):
    """Completions of an agent, answered as chat is. Its id is what the request has for a model."""

    api = "mistral.agents"

    def request(self, body: Any, *, path: str = "") -> Request:  # noqa: ARG002 - other APIs have the model there
        """Read a request."""
        return requests.read(self.api, body, requests.AGENTS, "agent_id", "messages")

    def _answering(self, request: Request) -> Request:
        return replace(request, model=_MODEL)


# What is held back, beside what `ServerEncoder` holds: a finish reason, since the usage comes in its chunk and a
# function may count it later, but not through a silence. A call, and a text that may be cut off, wait for it.


class _ChatEncoder(ServerEncoder):
    """Writes a stream."""

    def __init__(self, request: Request, number: int, usage: Usage | None) -> None:
        super().__init__(request, number, _PROFILE, usage)
        self._number = number
        self._chunks = 0
        self._thinking: set[int] = set()
        self._ending: tuple[Finish, dict[str, Any], Any] | None = None
        self._has_counted = False

    def _chunk(
        self, choices: list[dict[str, Any]], usage: Usage | None = None, more: Iterable[str] = (), **fields: Any
    ) -> bytes:
        """Return a chunk; each but the first is padded, so that its length tells nothing of its text."""
        if self._chunks:
            fields["p"] = _PADDING[: (self._number * 7 + self._chunks * 11) % len(_PADDING) + 1]
        self._chunks += 1
        return super()._chunk(choices, usage, more, **fields)

    def event(self, event: Event) -> Sequence[bytes]:
        """Return the chunks of an event; an empty piece of thinking ends the thinking before anything else comes."""
        choice = choice_of(event)
        is_more = isinstance(event, (Reasoning, Usage)) or (isinstance(event, Finish) and event.reason == "length")
        if choice not in self._thinking or is_more:
            return super().event(event)
        self._thinking.discard(choice)
        return [*self._said(choice, {"content": [common.thinking("")]}), *super().event(event)]

    def _content(self, event: Event, choice: int) -> list[bytes]:
        match event:
            case Reasoning(text, choice, signature):
                if not text and signature is None:
                    return []
                (self._thinking.discard if signature else self._thinking.add)(choice)
                return self._said(choice, {"content": [common.thinking(text, signature)]})
            case Native(api, data):
                return self._said(choice, json.loads(cast("str", data))) if api == API else []
        return super()._content(event, choice)

    def _logprobs(self, event: Text) -> Any:
        return logprobs_of(event, self._request)

    def _finish(self, finish: Finish) -> list[bytes]:
        choice = finish.choice
        before = self._close_call(choice)
        said, logprobs = {"content": ""}, None
        if self._held and self._held[0] == choice and (finish.reason == "length" or "tool_calls" in self._held[1]):
            (_, said, logprobs), self._held = self._held, None
        before += self.flush()
        self._ending = finish, said, logprobs
        return before

    def _let_go(self) -> list[bytes]:
        ending, self._ending = self._ending, None
        before = super()._let_go()
        if ending is None:
            return before
        finish, said, logprobs = ending
        fields = {"logprobs": logprobs, "finish_reason": finish.reason}
        document = self._choice(finish.choice, said, extra=cast("str | None", finish.extra), **fields)
        is_last = len(self._tally.finished) >= max(self._request.choices, len(self._opened)) and not self._has_counted
        self._has_counted = self._has_counted or is_last
        usage = self._tally.usage if is_last else None
        return [*before, self._chunk([document], usage, top=cast("str | None", finish.beside))]

    def end(self) -> Sequence[bytes]:
        """Return the finish reasons that are missing, with the usage, and `[DONE]`."""
        last: list[bytes] = []
        for choice in self._tally.unfinished:
            last += self.event(self._tally.finish(choice))
        return [*last, *self.flush(), _DONE]

    def error(self, fault: provider_error) -> Sequence[bytes]:
        """Return the error, in an event that is named `error` only where that is scripted."""
        name = b"event: error\n" if fault.named else b""
        document = common.error_object(503, fault.message, fault.kind, fault.code)
        return [*self.flush(), name + b"data: " + dump(document) + b"\n\n"]


def logprobs_of(event: Text, request: Request) -> dict[str, Any] | None:
    """Return the log probabilities of a piece of text: those scripted, or made up if the request wants some."""
    if event.logprobs is None and not requests.is_on(request.options.get("logprobs")):
        return None
    top = int(request.options.get("top_logprobs") or 0)
    made = [{"token": event.text, "logprob": -0.25, "bytes": list(event.text.encode())}]
    tokens = made if event.logprobs is None else json.loads(cast("str", event.logprobs))
    whole = [
        {"token_id": at, "top_logprobs": [], **token} for at, token in enumerate(tokens) if isinstance(token, dict)
    ]
    if event.logprobs is None and top:
        whole[0]["top_logprobs"] = [{**made[0], "token_id": rank, "logprob": -0.25 - rank} for rank in range(top)]
    return {"content": whole}


def _choice(script: Script, number: int, finish: Finish, request: Request) -> dict[str, Any]:
    """Return an answer of a document."""
    calls = [
        {
            "id": c.id or "",
            "type": "function",
            "function": {"name": c.name or "", "arguments": c.arguments or "{}"},
            "index": at,
        }
        for at, c in enumerate(calls_of(script))
    ]
    parts: list[Any] = []
    more: dict[str, Any] = {}
    for event in script:
        match event:
            case Text(text) | Refusal(text):
                parts.append(text)
            case Reasoning(text, _, signature) if text or signature is not None:
                parts.append(common.thinking(text, signature))
            case Native(api, data) if api == API:
                fields = json.loads(cast("str", data))
                content = fields.pop("content", None)
                parts += content if isinstance(content, list) else [content] if isinstance(content, str) else []
                add(more, cast("Mapping[str, Any]", fields))
    message = {"role": "assistant", "tool_calls": calls or None, "content": common.joined(parts), **more}
    choice: dict[str, Any] = {"index": number, "finish_reason": finish.reason, "message": message}
    found = [logprobs_of(event, request) for event in script if isinstance(event, Text)]
    if tokens := [token for one in found if one is not None for token in one["content"]]:
        choice["logprobs"] = {"content": tokens}
    return merged(choice, finish.extra)
