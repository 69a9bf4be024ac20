"""How litellm's proxy writes the streams of chat completions anew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fakellm.wire.codec import CREATED
from fakellm.wire.documents import count_tokens
from fakellm.wire.gateways.chunks import mappings, without_nulls
from fakellm.wire.gateways.gateway import Asked, Page
from fakellm.wire.gateways.rewriters import DONE, Rewriter, event, spaced
from fakellm.wire.objects import dump

_ERRORS = {
    400: ("BadRequestError: OpenAIException", "invalid_request_error"),
    429: ("RateLimitError: RateLimitError: OpenAIException", "throttling_error"),
    500: ("InternalServerError: InternalServerError: OpenAIException", "internal_server_error"),
}
"""By status, how the text of an error begins and of which type it is."""
_OWN = ("id", "created", "model", "object", "system_fingerprint")
_RAISED = "litellm.APIConnectionError: APIConnectionError: OpenAIException - "


# What is kept, and what is made up. A chunk passes if it says something: a text, a call, a reasoning, or a role for the
# first time. Its nulls are left out, its finish reason is taken off. The first finish reason of all answers becomes an
# end chunk of answer 0, where it comes; others are dropped, and `stop` is made up at the end where none came. An end
# chunk has what stood beside the finish reason. Usage is kept until the end, and said there if it was asked
# for, with counts of texts and reasoning of its own; it is counted by itself where the server said none.


class LiteLLM(Rewriter):
    """One finish reason, one usage, one role of a stream; an error before the first event is an HTTP error."""

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked)
        self._last: dict[str, Any] = {}
        self._has_role = self._has_finish = self._has_begun = False
        self._usage: Mapping[str, Any] | None = None
        self._text = self._reasoning = self._calls = ""

    def chunk(self, chunk: Mapping[str, Any]) -> list[bytes]:
        """Return the events that a chunk becomes."""
        if isinstance(usage := chunk.get("usage"), Mapping):
            self._usage = usage
        common = {key: value for key, value in chunk.items() if key not in ("choices", "usage")}
        common |= {"created": CREATED + self._asked.number, "model": self._asked.model}
        self._last = without_nulls({**common, "object": "chat.completion.chunk"})
        choices = mappings(chunk.get("choices"))
        found: list[bytes] = []
        for choice in choices:
            delta = self._delta(choice.get("delta"))
            if delta is not None:
                more = {key: value for key, value in choice.items() if key not in ("index", "delta", "finish_reason")}
                found.append(self._said({"index": choice.get("index", 0), "delta": delta, **more}))
        reasons = [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]
        return [*found, *(self._finish(reasons[0]) if reasons else [])]

    def _said(self, choice: Mapping[str, Any], **more: Any) -> bytes:
        self._has_begun = True
        fields = {"id": self._id, **self._last}
        return event({**fields, "choices": [without_nulls(choice)], **more})

    @property
    def _id(self) -> str:
        """What it calls a stream that has no name yet."""
        return f"chatcmpl-fakellm-{self._asked.number:06d}"

    def _delta(self, delta: Any) -> dict[str, Any] | None:
        """Return what a delta says; None if it says nothing."""
        if not isinstance(delta, Mapping):
            return None
        said = without_nulls(delta)
        if "reasoning" in said:
            said.setdefault("reasoning_content", said.pop("reasoning"))
            said.pop("reasoning", None)
        if "tool_calls" in said:
            said["tool_calls"] = [self._call(call) for call in mappings(said["tool_calls"])]
        is_first = not self._has_role and "role" in said
        self._has_role |= is_first
        if not is_first:
            said.pop("role", None)
        self._text += str(said.get("content") or "")
        self._reasoning += str(said.get("reasoning_content") or "")
        has_words = any(value not in ("", [], {}) for key, value in said.items() if key != "role")
        return said if has_words or is_first else None

    def _call(self, call: Mapping[str, Any]) -> dict[str, Any]:
        function = call.get("function")
        named = dict(function) if isinstance(function, Mapping) else {}
        if "name" in named:
            named = {"arguments": "", **named}
        self._calls += f" {named.get('name', '')} {named.get('arguments', '')}"
        return {**call, "function": named, "type": call.get("type", "function")}

    def _finish(self, reason: Any) -> list[bytes]:
        """Return the end chunk, which there is once."""
        if self._has_finish:
            return []
        self._has_finish = True
        return [self._said({"finish_reason": reason, "index": 0, "delta": {}})]

    def done(self) -> list[bytes]:
        """Take the end marker, or that the body ended without one."""
        is_empty = not self._last
        if is_empty:
            named = {"created": CREATED + self._asked.number, "model": self._asked.model}
            self._last = {"id": self._id, "object": "chat.completion.chunk", **named}
        self._last = {key: value for key, value in self._last.items() if key in _OWN}
        self.over, self.closing = "whole", self._finish("stop")
        if self._asked.wants_usage:
            usage = {} if is_empty else {"usage": self._counted()}
            self.closing.append(self._said({"index": 0, "delta": {}}, **usage))
        self.closing.append(DONE)
        return []

    def _counted(self) -> dict[str, Any]:
        """Return the usage: the server's, or words where there is none, with counts of reasoning and text beside."""
        reasoning, text = count_tokens(self._reasoning), count_tokens(self._text)
        if self._usage is None:
            prompt, output = count_tokens(self._asked.prompt), reasoning + text + count_tokens(self._calls)
            usage: dict[str, Any] = {
                "completion_tokens": output, "prompt_tokens": prompt, "total_tokens": prompt + output
            }  # fmt: skip
        else:
            usage = without_nulls(self._usage)
            output = usage.get("completion_tokens", 0)
        if self._text or self._reasoning:
            details = usage.get("completion_tokens_details")
            own = {"reasoning_tokens": reasoning, "text_tokens": output - reasoning}
            usage = {**usage, "completion_tokens_details": {**own, **(details if isinstance(details, Mapping) else {})}}
        return usage

    def raised(self, text: str, kind: str) -> list[bytes]:
        """Take that the gateway's client of the server raised."""
        self.over = "whole"
        said = "Connection error." if kind in ("RemoteProtocolError", "ReadError") else text
        if self._has_begun:
            told = {"message": _RAISED + said, "type": None, "param": None, "code": "500"}
            self.closing = [spaced({"error": told})]
        else:
            self.page = self._page(500, _RAISED + said, "internal_server_error")
        return []

    def refused(self) -> list[bytes]:
        """Take that the server could not be asked."""
        self._fail(500, "Connection error.")
        return []

    def http_error(self, status: int, body: bytes) -> list[bytes]:
        """Take that the server answered with an error; one of a status that was not measured is left as it is."""
        if status in _ERRORS:
            try:
                text = json.loads(body)["error"]["message"]
            except (ValueError, KeyError, TypeError):
                text = body.decode("utf-8", "replace")
            self._fail(status, str(text))
        return []

    def _fail(self, status: int, text: str) -> None:
        beginning, kind = _ERRORS[status]
        self.over, self.page = "whole", self._page(status, f"litellm.{beginning} - {text}", kind)

    def _page(self, status: int, text: str, kind: str) -> Page:
        group = (
            f"\n\nLiteLLM: model group {self._asked.model!r} failed with the error above. No fallback was attempted."
        )
        document = {"error": {"message": text + group, "type": kind, "param": None, "code": str(status)}}
        return Page(status, (("content-type", "application/json"),), dump(document))
