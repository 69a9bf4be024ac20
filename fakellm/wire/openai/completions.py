"""OpenAI's legacy completions: requests, streams, documents.

Source: https://platform.openai.com/docs/api-reference/completions and 38 recorded streams: one choice a chunk, the
finish reason on a last chunk, which has text in most of them and comes twice in some, and `[DONE]`. There is text and
nothing else: a refusal is text, and reasoning, tool calls and native pieces of other APIs are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from fakellm.errors import ScriptError, WireError
from fakellm.script.events import Event, Finish, Refusal, Text, Usage, http_error, provider_error
from fakellm.script.messages import Message
from fakellm.script.script import Script
from fakellm.wire.codec import CREATED, Codec, Decoder, Encoder, Headers, Request, Tally, Verbatim
from fakellm.wire.objects import counted, dump, get, merged, objects, quote, text_field
from fakellm.wire.openai import azure, habits, servers
from fakellm.wire.openai import common as openai
from fakellm.wire.openai.profiles import OPENAI, Profile
from fakellm.wire.openai.reading import Counts, read_logprobs
from fakellm.wire.reader import SSEReader
from fakellm.wire.sse import SSE

API = "openai.completions"
_KNOWN = ("model", "prompt", "stream")
_DONE = b"data: [DONE]\n\n"


class CompletionsCodec(Codec):
    """Legacy completions."""

    api = API

    def __init__(self, profile: Profile = OPENAI) -> None:
        self.profile = profile

    @classmethod
    def speaking(cls, profile: Profile) -> CompletionsCodec:
        """Return the codec with the habits of a profile, if it is that of a self-hosted server."""
        return cls(profile)

    def request(self, body: Any, *, path: str = "") -> Request:
        """Read a request; each of its prompts is a message. Tokens are shown as their numbers."""
        if not isinstance(body, dict) or not (model := azure.model_of(body, path, self.profile)):
            msg = "you must provide a model parameter"
            raise WireError(msg)
        if "prompt" not in body:
            msg = "Missing required parameter: 'prompt'."
            raise WireError(msg)
        prompts = _prompts(body["prompt"])
        return Request(
            API,
            model,
            tuple(Message("user", prompt) for prompt in prompts),
            stream=get(body, "stream", bool),
            options={key: value for key, value in body.items() if key not in _KNOWN},
            json=body,
            choices=openai.whole(body, "n", 1, 1, openai.CHOICES) * max(len(prompts), 1),
        )

    def encoder(self, request: Request, number: int, usage: Usage | None = None) -> Encoder:
        """Return what writes the stream."""
        if self.profile.layout is not None:
            return servers.ServerEncoder(request, number, self.profile, usage, is_text=True)
        return _CompletionsEncoder(request, number, usage)

    def body(self, script: Script, request: Request, number: int) -> bytes:
        """Return the document of an answer that is not streamed."""
        tally = Tally(request).of(script)
        choices = [_choice(script.choice(choice), choice, tally.finish(choice), request) for choice in script.choices]
        usage = openai.usage_object(tally.usage)
        document = {**_head(number), "choices": choices, "model": request.model, "usage": usage}
        for choice in script.choices:
            document = merged(document, tally.finish(choice).beside)
        return dump(document)

    def error(self, fault: http_error, number: int) -> tuple[Headers, bytes]:
        """Return an HTTP error."""
        word = habits.http_error_of if self.profile.has_own_errors else openai.error_as
        return word(self.profile, fault, number)

    def decoder(self) -> Decoder:
        """Return what reads a stream."""
        return CompletionsDecoder()

    def headers(self, number: int) -> Headers:
        """Return the headers of any answer."""
        return openai.headers(number) if self.profile.layout is None else habits.headers(self.profile, number)

    def stream_headers(self, request: Request, number: int) -> Headers:
        """Return the headers of a stream."""
        far = self.profile.layout is not None
        return habits.stream_headers(self.profile, number) if far else super().stream_headers(request, number)


def _prompts(prompt: Any) -> list[str]:
    """Return the texts of a prompt: a text, texts, tokens, or lists of tokens."""
    if not isinstance(prompt, list):
        return [text_field({"prompt": prompt}, "prompt")]
    if prompt and all(type(token) is int for token in prompt):
        return [" ".join(map(str, prompt))]
    return [
        " ".join(map(str, one)) if isinstance(one, list) else text_field({"prompt": one}, "prompt") for one in prompt
    ]


def _head(number: int) -> dict[str, Any]:
    return {"id": f"cmpl-fakellm{number:06d}", "object": "text_completion", "created": CREATED + number}


def _reason(finish: Finish) -> str:
    """Return a finish reason; this API calls no tools."""
    return "stop" if finish.reason == "tool_calls" else finish.reason


def _choice(script: Script, choice: int, finish: Finish, request: Request) -> dict[str, Any]:
    """Return an answer of a document."""
    offsets = _Offsets(request)
    texts = [event for event in script if isinstance(event, (Text, Refusal))]
    tokens = [token for event in texts for token in _tokens(event, request) or ()]
    document = {
        "text": "".join(event.text for event in texts),
        "index": choice,
        "logprobs": offsets.legacy(tokens, choice) if tokens else None,
        "finish_reason": _reason(finish),
    }
    return merged(document, finish.extra)


# -- log probabilities --------------------------------------------------------------------------------


def _tokens(event: Text | Refusal, request: Request) -> list[dict[str, Any]] | None:
    """Return the tokens of a piece with their log probabilities: scripted, or made up if the request wants some."""
    if isinstance(event, Text) and event.logprobs is not None:
        scripted = cast("list[Any]", json.loads(cast("str", event.logprobs)))
        return [token for token in scripted if isinstance(token, dict)]
    count = request.options.get("logprobs")
    if count is None or not event.text:
        return None
    token = {"token": event.text, "logprob": -0.25}
    return [{**token, "top_logprobs": [token] if count else []}]


class _Offsets:
    """Writes log probabilities as this API has them; where a token is in the text is counted from the prompt on."""

    def __init__(self, request: Request) -> None:
        self._prompts = [len(message.content) for message in request.messages] or [0]
        self._each = max(request.choices // len(self._prompts), 1)
        self._ends: dict[int, int] = {}

    def legacy(self, tokens: list[dict[str, Any]], choice: int) -> dict[str, Any]:
        """Return the tokens of an answer, which follow those before."""
        prompt = min(choice // self._each, len(self._prompts) - 1)
        offset = self._ends.get(choice, self._prompts[prompt])
        offsets: list[int] = []
        texts = [str(token.get("token", "")) for token in tokens]
        for text in texts:
            offsets.append(offset)
            offset += len(text)
        self._ends[choice] = offset
        return {
            "tokens": texts,
            "token_logprobs": [token.get("logprob") for token in tokens],
            "top_logprobs": [_legacy_top(token) for token in tokens],
            "text_offset": offsets,
        }


def _legacy_top(token: dict[str, Any]) -> dict[str, Any]:
    tops = token.get("top_logprobs")
    found = (top for top in tops if isinstance(top, dict)) if isinstance(tops, list) else ()
    return {str(top.get("token", "")): top.get("logprob") for top in found}


# -- streams ------------------------------------------------------------------------------------------


class _CompletionsEncoder(Encoder):
    """Writes a stream. A chunk is what all chunks share, and the text between."""

    def __init__(self, request: Request, number: int, usage: Usage | None) -> None:
        self._request = request
        self._tally = Tally(request, usage)
        self._offsets = _Offsets(request)
        wanted = request.options.get("stream_options")
        self._asked = isinstance(wanted, Mapping) and bool(wanted.get("include_usage"))
        self._head = f'data: {dump(_head(number)).decode()[:-1]},"choices":['
        self._tail = f'],"model":{quote(request.model)}'
        self._counted: Usage | None = None
        self._said: Usage | None = None

    def event(self, event: Event) -> Sequence[bytes]:
        """Return the chunk of a piece of text or of a finish reason."""
        self._tally.note(event)
        if isinstance(event, (Text, Refusal)):
            tokens = _tokens(event, self._request)
            logprobs = dump(self._offsets.legacy(tokens, event.choice)).decode() if tokens else "null"
            fields = f'"text":{quote(event.text)},"index":{event.choice},"logprobs":{logprobs},"finish_reason":null'
            return (self._chunk(f"{{{fields}}}"),)
        if isinstance(event, Usage):
            self._counted = event
        return (self._finish(event),) if isinstance(event, Finish) else ()

    def raw(self, text: str) -> Sequence[bytes]:
        """Return bytes of the script's own, after a usage that came before them."""
        before = self._usage() if self._counted is not None and not self._tally.unfinished else []
        return [*before, Verbatim(text.encode())]

    def _finish(self, finish: Finish) -> bytes:
        choice = {"text": "", "index": finish.choice, "logprobs": None, "finish_reason": _reason(finish)}
        chunk = self._chunk(dump(merged(choice, finish.extra)).decode())
        return openai.with_fields(chunk, openai.said_with(finish)[1])

    def _chunk(self, choices: str, usage: str = "null") -> bytes:
        counts = f',"usage":{usage}' if self._asked else ""
        return f"{self._head}{choices}{self._tail}{counts}}}\n\n".encode()

    def stop(self) -> Sequence[bytes]:
        """Return the usage, if it was scripted and asked for."""
        return self._usage() if self._tally.has_usage else ()

    def _usage(self) -> list[bytes]:
        counts = dump(openai.usage_object(self._tally.usage)).decode()
        is_due, self._said = self._asked and self._said != self._tally.usage, self._tally.usage
        return [self._chunk("", counts)] if is_due else []

    def end(self) -> Sequence[bytes]:
        """Return the finish reasons that are missing, the usage if it was asked for, and `[DONE]`."""
        last = [self._finish(self._tally.finish(choice)) for choice in self._tally.unfinished]
        return [*last, *self._usage(), _DONE]

    def error(self, fault: provider_error) -> Sequence[bytes]:
        """Return the error, and `[DONE]`."""
        return [openai.stream_error(fault, named=bool(fault.named)), _DONE]


class CompletionsDecoder(SSEReader):
    """Turns the bytes of a stream into events."""

    def __init__(self) -> None:
        super().__init__()
        self._counts = Counts()
        self._begun: set[int] = set()
        self._finished: dict[int, str] = {}
        self._done = self._failed = False

    def sse(self, sse: SSE) -> list[Event]:
        """Return what a chunk says."""
        self._done = self._done or sse.data.startswith("[DONE]")
        if self._done:
            return []
        try:
            return self._chunk(self.json(sse), sse.event)
        except (RecursionError, ScriptError) as error:  # JSON that can be read and not be written again
            msg = f"event {self._count} of the stream says what no event can: {error}"
            raise WireError(msg) from None

    def _chunk(self, chunk: dict[str, Any], name: str | None) -> list[Event]:
        if chunk.get("error"):
            self._done = self._failed = True
            return [openai.read_error(chunk, named=True if name == "error" else None)]
        events = [event for choice in objects(chunk, "choices") for event in self._choice(choice)]
        self._counts.note(events)
        return [*events, *self._counts.read(chunk)]

    def _choice(self, found: dict[str, Any]) -> list[Event]:
        """Return the text of a choice, and its finish reason the first time."""
        index, text, reason = counted(found, "index"), text_field(found, "text"), text_field(found, "finish_reason")
        self._begun.add(index)
        events: list[Event] = []
        if text or not (reason or index in self._finished):
            events.append(Text(text, choice=index, logprobs=read_logprobs(get(found, "logprobs", dict))))
        if reason and self._finished.get(index) != reason:
            self._finished[index] = reason
            events.append(Finish(reason, choice=index))
        return events

    def finish(self) -> list[Event]:
        """Return the fault, where an answer has no finish reason, with or without `[DONE]`, or what follows is cut."""
        is_complete = self._finished and self._begun <= self._finished.keys()
        is_whole = is_complete and (self._done or self.ending.how != "cut")
        return [] if self._failed or is_whole else [self.ending]
