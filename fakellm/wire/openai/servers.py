"""Chat completions and legacy completions as self-hosted servers stream them: vLLM, llama.cpp, mlx-lm and others.

Source: recorded streams of these servers, in `cassettes/servers/`. What a server's chunks are made of is data, the
`Layout` of its profile; when they come follows from the profile's habits. Nothing is written the short way here: each
chunk is an object whose fields are put into the layout's order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from fakellm.script.events import (
    Content,
    Event,
    Fault,
    Finish,
    Native,
    Pause,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Usage,
    choice_of,
    disconnect,
    provider_error,
)
from fakellm.wire.codec import CREATED, Encoder, Request, Run, Tally, Verbatim
from fakellm.wire.objects import is_object, merged
from fakellm.wire.openai.habits import WRITERS, Silences, arranged, error_document, status_of
from fakellm.wire.openai.profiles import Layout, Profile

_DONE = b"data: [DONE]\n\n"
_LOGPROB = {"logprob": -0.25}


# What is held back. With `cut_with_text` the last piece of an answer, since a finish reason that cuts it off comes on
# it; with `arguments="begun"` the begin of a call, until its first arguments; with `whole_tool_calls` a whole call.
# The first goes out before a silence. The others have no form in halves and wait. Nothing is sent before the first
# event, but for the progress of a prompt where the request wants it. Bytes of the script's own come after what was said
# before them, so they let go what can be let go, and wait behind the begin of a call that cannot.


class ServerEncoder(Encoder):
    """Writes a stream of chat completions, or, with `is_text`, of legacy completions, in the layout of a profile."""

    def __init__(
        self, request: Request, number: int, profile: Profile, usage: Usage | None, *, is_text: bool = False
    ) -> None:
        layout = cast("Layout", profile.layout)
        if profile.named_layout and isinstance(request.options.get("tool_choice"), Mapping):
            layout = profile.named_layout
        self.until_close = profile.until_close
        self._request, self._profile, self._layout, self._is_text = request, profile, layout, is_text
        self._usage_mode = (is_text and profile.text_usage) or profile.usage
        self._tally = Tally(request, usage)
        self._counts: dict[int, int] = {}
        self._reasoning = 0
        seconds = request.options.get("sse_ping_interval") if profile.error == "llama.cpp" else None
        self._silences = Silences(profile, float(seconds) if isinstance(seconds, (int, float)) else None)
        wanted = request.options.get("stream_options")
        self._asked = isinstance(wanted, Mapping) and bool(wanted.get("include_usage"))
        if self._asked and profile.error == "vllm" and cast("Any", wanted).get("continuous_usage_stats"):
            self._usage_mode = "every"
        self._common = {
            "id": (layout.text_id if is_text else layout.id).format(number=number),
            "object": "text_completion" if is_text else "chat.completion.chunk",
            "created": CREATED + number,
            "model": request.model,
            **{name: layout.values[name] for name in layout.always},
        }
        self._opened: set[int] = set()
        self._held: tuple[int, dict[str, Any], Any] | None = None
        self._calls: dict[int, ToolCall] = {}
        self._raws: list[bytes] = []
        self._said_usage: Usage | None = None
        self._begun = False
        self._progress = bool(request.options.get("return_progress")) and profile.error == "llama.cpp" and not is_text

    # -- chunks -----------------------------------------------------------------------------------

    def _chunk(
        self,
        choices: list[dict[str, Any]],
        usage: Usage | None = None,
        more: Iterable[str] = (),
        *,
        top: str | None = None,
        **fields: Any,
    ) -> bytes:
        layout, profile = self._layout, self._profile
        names = layout.text_chunk if self._is_text and layout.text_chunk else layout.chunk
        have = {**self._common, "choices": choices, **{name: layout.values[name] for name in more}, **fields}
        if profile.created_runs:
            have["created"] += int(self._silences.passed)
        if usage is None and self._usage_mode == "every":
            reasoning = None if self._tally.usage.reasoning_tokens is None else self._reasoning
            usage = Usage(self._tally.usage.input_tokens, sum(self._counts.values()), None, reasoning)
        if usage is not None:
            have["usage"] = self._usage(usage)
        return b"data: " + WRITERS[profile.json](merged(arranged(names, have), top)) + b"\n\n"

    def _usage(self, usage: Usage) -> dict[str, Any]:
        cached, reasoning = usage.cached_tokens, usage.reasoning_tokens
        details: dict[str, Any] = {"cached_tokens": cached or 0}
        if "prompt_tokens_details?" in self._layout.usage:
            details = {**details, "created_cache_tokens": 0}
        have = {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.total_tokens,
            "prompt_tokens_details": details,
            "completion_tokens_details": None if reasoning is None else {"reasoning_tokens": reasoning},
        }
        if cached is None and "prompt_tokens_details?" in self._layout.usage:
            have["prompt_tokens_details"] = None
        return merged(arranged(self._layout.usage, have), usage.extra)

    def _choice(
        self, index: int, said: dict[str, Any], *, logprobs: Any = None, extra: str | None = None, **fields: Any
    ) -> dict[str, Any]:
        """Return the choice of a chunk; what it says is a delta, or the text of a legacy completion."""
        forms: dict[str, dict[str, Any]] = {"null": {"finish_reason": None}, '""': {"finish_reason": ""}}
        unfinished = forms.get(self._profile.unfinished, {})
        have = {"index": index, "logprobs": logprobs, **unfinished, **fields}
        if self._is_text:
            have["text"] = said.get("content", "")
        else:
            if self._profile.role_on_every_delta:
                said = {"role": "assistant", **said}
            have["delta"] = {**dict.fromkeys(self._layout.delta), **said}
        return merged(arranged(self._layout.text if self._is_text else self._layout.choice, have), extra)

    def _values(self, names: Iterable[str]) -> dict[str, Any]:
        return {name: self._layout.values[name] for name in names}

    def _role(self, index: int, **fields: Any) -> bytes:
        """Return the delta with the role."""
        contents: dict[str, Any] = {"empty": {"content": ""}, "null": {"content": None}, "absent": {}}
        said = {"role": "assistant", **contents[self._profile.role_content]}
        return self._chunk([self._choice(index, said)], more=self._layout.first, **fields)

    # -- events -----------------------------------------------------------------------------------

    def waiting(self, pause: Pause) -> Iterable[Run]:
        """Return a silence, with the comments that come in it."""
        if self._progress and not self._begun:
            self._begun = True
            yield [self._role(0, prompt_progress=self._prompt_progress(is_done=False))]
            self._silences.end()
        yield from self._silences.of(pause)

    def event(self, event: Event) -> Sequence[bytes]:
        """Return the chunks of an event."""
        choice = choice_of(event)
        if choice and self._profile.one_answer:
            return ()
        self._tally.note(event)
        if isinstance(event, Usage):
            return ()
        chunks = self._start(choice)
        if isinstance(event, Content):
            self._counts[choice] = self._counts.get(choice, 0) + 1
            self._reasoning += isinstance(event, Reasoning)
        if isinstance(event, Finish):
            chunks += self._finish(event)
        elif isinstance(event, ToolCall):
            chunks += () if self._is_text else self._tool_call(event)
        else:
            chunks += [*self._close_call(choice), *self._content(event, choice)]
        if chunks:
            self._silences.end()
        return [b"".join(chunks)] if self._profile.joined and chunks else chunks

    def _start(self, choice: int) -> list[bytes]:
        """Return what precedes an answer."""
        if self._is_text:
            is_first, self._begun = not self._begun, True
            prompts = len(self._request.messages)
            return [b"data: null\n\n"] if is_first and prompts > 1 and self._profile.error == "llama.cpp" else []
        first: list[bytes] = []
        if not self._opened:
            first += self._before()
        if choice in self._opened or self._profile.role_on_every_delta:
            self._opened.add(choice)
            return first
        new = [choice]
        if self._profile.roles != "late" and not self._opened:
            others = [one for one in range(self._request.choices) if one != choice]
            new = sorted([choice, *others]) if self._profile.roles == "order" else [choice, *others]
        self._opened.update(new)
        return first + [self._role(one) for one in new]

    def _before(self) -> list[bytes]:
        """Return what says how far the prompt is."""
        usage = self._tally.usage
        count = max(usage.input_tokens - (usage.cached_tokens or 0), 1)
        comments = [one.format(less=count - 1, count=count).encode() for one in self._profile.progress]
        if not self._progress:
            return comments
        begin = [] if self._begun else [self._role(0, prompt_progress=self._prompt_progress(is_done=False))]
        return [*begin, self._role(0, prompt_progress=self._prompt_progress(is_done=True))]

    def _prompt_progress(self, *, is_done: bool) -> dict[str, int]:
        usage = self._tally.usage
        cached = usage.cached_tokens or 0
        processed, passed = (usage.input_tokens, int(self._silences.passed * 1000)) if is_done else (cached, 0)
        return {"total": usage.input_tokens, "cache": cached, "processed": processed, "time_ms": passed}

    def _content(self, event: Event, choice: int) -> list[bytes]:
        match event:
            case Text(text):
                return self._said(choice, {"content": text}, self._logprobs(event))
            case Reasoning(text) if text and not self._is_text:
                return self._said(choice, {self._profile.reasoning: text})
            case Refusal(text):
                return self._said(choice, {"content": text})
            case Native("openai.chat", data) if not self._is_text:
                return self._said(choice, json.loads(cast("str", data)))
        return []

    def _said(self, choice: int, said: dict[str, Any], logprobs: Any = None) -> list[bytes]:
        """Return a piece of an answer, or the piece before it, if this one may be its last."""
        if not self._profile.cut_with_text:
            return [self._piece(choice, said, logprobs)]
        before = self._let_go()
        self._held = choice, said, logprobs
        return before

    def _piece(self, choice: int, said: dict[str, Any], logprobs: Any) -> bytes:
        return self._chunk([self._choice(choice, said, logprobs=logprobs, **self._values(self._layout.each))])

    def flush(self) -> list[bytes]:
        """Return the piece that was held back in case a finish reason comes with it, and bytes that wait for a call."""
        return [*self._let_go(), *self._behind()]

    def _let_go(self) -> list[bytes]:
        held, self._held = self._held, None
        return [] if held is None else [self._piece(*held)]

    def _behind(self) -> list[bytes]:
        raws, self._raws = self._raws, []
        return raws

    def raw(self, text: str) -> Sequence[bytes]:
        """Return bytes of the script's own, after what waits; where the begin of a call does, they wait behind it."""
        before = self._let_go()
        for choice, call in [*self._calls.items()]:
            if self._profile.whole_tool_calls and is_object(call.arguments):
                before += [*self._close_call(choice), *self._let_go()]
        is_begun = self._profile.arguments == "begun"  # then a call waits for its first arguments
        if any(self._profile.whole_tool_calls or (is_begun and not call.arguments) for call in self._calls.values()):
            self._raws.append(Verbatim(text.encode()))
            return before
        if self._tally.has_usage and self._usage_mode == "asked" and not self._tally.unfinished:
            before += self._last_usage()
        return [*before, Verbatim(text.encode())]

    def _logprobs(self, event: Text) -> Any:
        """Return the log probabilities of a piece: those scripted, or made up if the request wants some."""
        if event.logprobs is None and self._request.options.get("logprobs") in (None, False):
            return None
        made = [{"token": event.text, **_LOGPROB, "bytes": list(event.text.encode()), "top_logprobs": []}]
        tokens = made if event.logprobs is None else json.loads(cast("str", event.logprobs))
        if not self._is_text or self._profile.error == "llama.cpp":
            return {"content": tokens}
        texts = [token.get("token") for token in tokens]
        return {"tokens": texts, "token_logprobs": [token.get("logprob") for token in tokens]}

    # -- tool calls -------------------------------------------------------------------------------

    def _tool_call(self, piece: ToolCall) -> list[bytes]:
        choice, profile = piece.choice, self._profile
        if self.verbatim:
            return self._call_piece(piece, piece.arguments, is_first=piece.name is not None)
        call = self._calls.get(choice)
        is_new = call is None or call.index != piece.index or piece.name is not None
        chunks = self._close_call(choice) if is_new else []
        if profile.whole_tool_calls:
            self._calls[choice] = piece if is_new or call is None else call + piece
            return chunks
        is_begun = not is_new and call is not None and (profile.arguments != "begun" or bool(call.arguments))
        if is_new or call is None:
            call = self._calls[choice] = replace(piece, arguments="")
            if profile.arguments != "begun":
                chunks += self._call_piece(call, None if profile.arguments == "absent" else "", is_first=True)
                is_begun = True
        if piece.arguments:
            self._calls[choice] = call + ToolCall(arguments="-", index=piece.index, choice=choice)
            chunks += self._call_piece(call, piece.arguments, is_first=not is_begun)
            chunks += self._after_call()
        return chunks

    def _after_call(self) -> list[bytes]:
        """Return the bytes that waited behind the begin of a call, with what of it is still held back."""
        return [*self._let_go(), *self._behind()] if self._raws else []

    def _call_piece(self, call: ToolCall, arguments: str | None, *, is_first: bool) -> list[bytes]:
        function: dict[str, Any] = {} if arguments is None else {"arguments": arguments}
        if is_first or (self._profile.names_repeated and not self.verbatim):
            function = {"name": call.name or "", **function}
            have = {"index": call.index or 0, "id": call.id or "", "type": "function", "function": function}
            piece = arranged(self._layout.call, have)
        else:
            piece = {"index": call.index or 0, "function": function}
        said: dict[str, Any] = {"tool_calls": [piece]}
        if self._profile.names_repeated:
            said = {"function_call": function, **said}
        return self._said(call.choice, {"content": None, **said} if self._profile.null_content else said)

    def _close_call(self, choice: int) -> list[bytes]:
        """Return what completes the call that is open: no arguments at all are an empty object."""
        call = self._calls.pop(choice, None)
        if call is None:
            return []
        if self._profile.whole_tool_calls:
            return [*self._call_piece(call, call.arguments or "{}", is_first=True), *self._after_call()]
        is_first = self._profile.arguments == "begun"
        chunks = [] if call.arguments else self._call_piece(call, "{}", is_first=is_first)
        if self._profile.names_repeated:
            chunks += self._call_piece(call, "", is_first=False)
        return [*chunks, *self._after_call()]

    # -- the end ----------------------------------------------------------------------------------

    def _finish(self, finish: Finish) -> list[bytes]:
        choice = finish.choice
        if self._profile.whole_tool_calls and finish.reason == "length":
            self._calls.pop(choice, None)  # what was cut off inside a call shows nothing of it
        before = self._close_call(choice)
        said: dict[str, Any] = {}
        logprobs = None
        extra = cast("str | None", finish.extra)
        is_cut = finish.reason == "length" or (extra is not None and bool(json.loads(extra).get("stop_reason")))
        if self._held and self._held[0] == choice and is_cut:
            (_, said, logprobs), self._held = self._held, None
        before += self.flush()
        own = self._usage_mode in ("asked", "choice") and self._asked
        is_last = own is False and len(self._tally.finished) >= self._request.choices
        on_each = self._usage_mode == "finish"
        document = self._choice(
            choice, said, logprobs=logprobs, extra=extra, finish_reason=finish.reason,
            **self._values(self._layout.finish), **self._values(self._layout.each),
        )  # fmt: skip
        usage = self._used_by(choice) if on_each else None
        last = self._layout.last if on_each or (is_last and self._usage_mode != "every") else ()
        chunks = [*before, self._chunk([document], usage, last, top=cast("str | None", finish.beside))]
        if self._usage_mode == "choice" and self._asked:
            chunks.append(self._usage_chunk(self._used_by(choice)))
        return chunks

    def _used_by(self, choice: int) -> Usage:
        """Return what one of the answers used."""
        usage = self._tally.usage
        return (
            usage
            if self._request.choices == 1 or self._profile.one_answer
            else replace(usage, output_tokens=self._counts.get(choice, 0))
        )

    def _usage_chunk(self, usage: Usage) -> bytes:
        other = {"object": self._profile.usage_object} if self._profile.usage_object else {}
        return self._chunk([], usage, self._layout.last, **other)

    def stop(self) -> Sequence[bytes]:
        """Return the usage, if it was scripted and asked for."""
        return self._last_usage() if self._tally.has_usage else ()

    def _last_usage(self) -> list[bytes]:
        is_due = self._usage_mode == "every" or (self._usage_mode == "asked" and self._asked)
        if not is_due or self._said_usage == self._tally.usage:
            return []
        self._said_usage = self._tally.usage
        return [self._usage_chunk(self._tally.usage)]

    def end(self) -> Sequence[bytes]:
        """Return the finish reasons that are missing, the usage, and `[DONE]`."""
        last: list[bytes] = []
        for choice in self._tally.unfinished:
            last += self.event(self._tally.finish(choice))
        return [*last, *self._last_usage(), *([_DONE] if self._profile.done else [])]

    def error(self, fault: provider_error) -> Sequence[bytes]:
        """Return the error, which is no event of its own where the connection drops instead."""
        profile, before = self._profile, self.flush()
        if profile.error == "none":
            return [*before, _DONE] if self._opened or self._begun else before
        document = error_document(profile, fault.message, fault.kind, status_of(fault.code, fault.kind))
        written = json.dumps(document).encode() if profile.error == "vllm" else WRITERS[profile.json](document)
        ends = [_DONE] if profile.done and profile.done_after_error else []
        return [*before, b"data: " + written + b"\n\n", *ends]

    def breaks(self, fault: provider_error) -> Fault | None:  # noqa: ARG002 - any error does
        """Return how the connection ends, where an error in mid-stream ends it."""
        return disconnect("close") if self._profile.error == "none" and (self._opened or self._begun) else None
