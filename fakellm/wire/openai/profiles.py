"""Habits of the services that speak OpenAI's chat API in ways of their own.

Each habit was counted in recordings of such services; `beside` is from their documentation. An app that reads OpenAI's
streams meets these in production, so `FakeProvider("openai", profile="openrouter")` imitates them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """What a server's chunks are made of: the names of their fields, in the order in which they are written.

    `chunk`, `choice`, `text` (a choice of legacy completions), `usage`, `call` (the first piece of a tool call) and
    `text_chunk` (of legacy completions, if theirs are in another order) are such names; one that ends with `?` is left
    out where it would be null, and one without a value is left out always. `delta` are names that no delta is without:
    null where they say nothing. `id` and `text_id` make the id of chat and of legacy completions of the `number` of the
    call.

    `values` are the fields that only this server has. Of these every chunk has those in `always`, the first that in
    `first`, the last those in `last`, each choice but the first those in `each`, and that with the finish reason those
    in `finish`.
    """

    chunk: tuple[str, ...]
    choice: tuple[str, ...]
    text: tuple[str, ...] = ("text", "index", "logprobs", "finish_reason")
    usage: tuple[str, ...] = ("prompt_tokens", "completion_tokens", "total_tokens")
    call: tuple[str, ...] = ("index", "id", "type", "function")
    text_chunk: tuple[str, ...] = ()
    delta: tuple[str, ...] = ()
    id: str = "chatcmpl-fakellm{number:06d}"
    text_id: str = "cmpl-fakellm{number:06d}"
    values: Mapping[str, Any] = field(default_factory=dict)
    always: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    each: tuple[str, ...] = ()
    finish: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """How a service streams chat completions; the defaults are OpenAI's own habits.

    `done`: `[DONE]` ends the stream. `usage`: on a chunk of its own if it was `asked` for, on the `finish` chunk, or
    on `every` chunk. `prelude`: the first chunk has no choices and an empty id. `comment`: a comment that comes
    first. `role_on_every_delta`, `whole_tool_calls`, `tool_type`, `tool_index`: as they say. `finish_with_text`: the
    finish reason comes on the last chunk with text. `unfinished`: what stands for no finish reason yet: null, an
    empty text, or nothing. `after_finish`: an empty delta follows the finish chunk. `reasoning`: the field that
    reasoning comes in. `id_varies`, `created_drifts`: from chunk to chunk. `counts_reasoning`: the total counts
    reasoning tokens beside the output, not in it. `error`: `numbered` ones have a number for their code and a
    message, and end a stream with the finish reason `error`. `beside`: fields that the service has beside the
    choices, in its last chunk and in documents, where a `Finish.extra` has them. `varies`: it passes on the streams
    of several servers, so that another answer of it may break what this one keeps; no grammar holds it to more than
    any service keeps. `filters`: each choice says what content filters found of it, errors are worded as Azure does,
    and a deployment that the path names is the model of a request that says none.

    Self-hosted servers go further; what follows is theirs, and is in force where there is a `layout`. `named_layout` is
    that of an answer which a named tool was asked for. `usage` may also be on a chunk of its own for each `choice`, or
    `never` be sent; `text_usage` is the same for legacy completions, and `usage_object` the object of that chunk.
    `role_content`: what the role delta has as its content. `roles`: of several answers the role deltas come together,
    in `order` or as the answers come (`any`), else each when its answer begins (`late`). `arguments`: those of the
    first piece of a call are an empty text, are left out (`absent`), or are its first fragment (`begun`).
    `names_repeated`: each piece of a call has its id, type and name, and says it all again as a `function_call`.
    `null_content`: content is null beside calls. `cut_with_text`: a finish reason that cuts the answer off comes on its
    last piece. `one_answer`: no more are given, however many are wanted. `created_runs`: `created` is the time of the
    chunk. `joined`: what is said at once is one piece. `keep_alive`: after so many seconds of silence `ping` comes,
    before the first chunk only if `pings_first`. `progress`: comments before the first chunk, with the `count` of
    tokens and `less`, that is one less. `json`: how it is written. `error`: the form of errors; after one inside a
    stream `[DONE]` comes if `done_after_error`. `responses`: the server whose way Responses are written in, where they
    are. `until_close`: a body ends where the connection does. `headers` are those of every answer, but for the content
    type of a stream, which is `content_type`.
    """

    name: str = "openai"
    done: bool = True
    usage: Literal["asked", "finish", "every", "choice", "never"] = "asked"
    prelude: bool = False
    comment: str = ""
    role_on_every_delta: bool = False
    whole_tool_calls: bool = False
    tool_type: bool = True
    tool_index: bool = True
    finish_with_text: bool = False
    unfinished: Literal["null", '""', ""] = "null"
    after_finish: bool = False
    reasoning: str = "reasoning_content"
    id_varies: bool = False
    created_drifts: bool = False
    counts_reasoning: bool = False
    beside: tuple[str, ...] = ()
    varies: bool = False
    filters: bool = False
    layout: Layout | None = None
    named_layout: Layout | None = None
    text_usage: Literal["", "asked", "finish", "never"] = ""
    usage_object: str = ""
    role_content: Literal["empty", "null", "absent"] = "empty"
    roles: Literal["late", "order", "any"] = "late"
    arguments: Literal["empty", "absent", "begun"] = "empty"
    names_repeated: bool = False
    null_content: bool = False
    cut_with_text: bool = False
    one_answer: bool = False
    created_runs: bool = False
    joined: bool = False
    keep_alive: float = 0.0
    ping: str = ""
    pings_first: bool = False
    progress: tuple[str, ...] = ()
    json: Literal["compact", "spaced", "escaped"] = "compact"
    error: Literal["openai", "numbered", "vllm", "llama.cpp", "text", "none"] = "openai"
    done_after_error: bool = True
    responses: Literal["", "vllm", "llama.cpp", "transformers"] = ""
    until_close: bool = False
    content_type: str = "text/event-stream; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def has_own_errors(self) -> bool:
        """Whether errors have another form than OpenAI's."""
        return self.layout is not None or self.error != "openai"

    @property
    def is_plain(self) -> bool:
        """Whether a chunk of text is the same as the one before it, but for the text."""
        varies = self.role_on_every_delta or self.finish_with_text or self.id_varies or self.created_drifts
        return not varies and self.usage != "every"


OPENAI = Profile()

_TIMINGS = {
    "cache_n": 0, "prompt_n": 1, "prompt_ms": 1.0, "prompt_per_token_ms": 1.0, "prompt_per_second": 1000.0,
    "predicted_n": 1, "predicted_ms": 1.0, "predicted_per_token_ms": 1.0, "predicted_per_second": 1000.0,
}  # fmt: skip
_UUID = "00000000-0000-4000-8000-{number:012x}"

VLLM = Profile(
    "vllm",
    layout=Layout(
        (
            "id", "object", "created", "model", "choices", "usage", "system_fingerprint",
            "prompt_token_ids", "prompt_text",
        ),
        ("index", "delta", "logprobs", "finish_reason", "stop_reason", "token_ids"),
        ("index", "text", "logprobs", "finish_reason", "stop_reason"),
        ("prompt_tokens", "total_tokens", "completion_tokens", "prompt_tokens_details?", "completion_tokens_details?"),
        ("id", "type", "index", "function"),
        id="chatcmpl-{number:016x}", text_id="cmpl-{number:016x}",
        values={
            "system_fingerprint": "vllm-0.32.0-fakellm0", "stop_reason": None,
            "token_ids": None, "prompt_token_ids": None, "prompt_text": None,
        },
        first=("prompt_token_ids", "prompt_text"), last=("system_fingerprint",),
        each=("token_ids",), finish=("stop_reason",),
    ),
    reasoning="reasoning", roles="order", arguments="absent", null_content=True, cut_with_text=True,
    ping=": keep-alive\n\n", pings_first=True, error="vllm", responses="vllm",
    headers=(("server", "uvicorn"), ("vary", "Origin")),
)  # fmt: skip
"""vLLM 0.32.0. `--enable-force-include-usage` is `usage="every"`, `--sse-keep-alive-interval` is `keep_alive`."""

LLAMA_CPP = Profile(
    "llama.cpp",
    layout=Layout(
        (
            "choices", "created", "id", "model", "system_fingerprint", "object", "usage", "timings", "prompt_progress",
        ),
        ("finish_reason", "index", "delta", "logprobs?"),
        usage=("completion_tokens", "prompt_tokens", "total_tokens", "prompt_tokens_details"),
        text_chunk=("choices", "created", "model", "system_fingerprint", "object", "usage", "id", "timings"),
        id="chatcmpl-fakellm{number:025d}", text_id="chatcmpl-fakellm{number:025d}",
        values={"system_fingerprint": "b0-unknown", "timings": _TIMINGS},
        always=("system_fingerprint",), last=("timings",),
    ),
    usage="choice", text_usage="finish", role_content="null", roles="any", arguments="begun", created_runs=True,
    joined=True, keep_alive=30.0, ping=":\n\n", error="llama.cpp", done_after_error=False,
    responses="llama.cpp",
    content_type="text/event-stream",
    headers=(("Server", "llama.cpp"), ("Access-Control-Allow-Origin", ""), ("X-Accel-Buffering", "no")),
)  # fmt: skip
"""llama.cpp's llama-server b11434."""

MLX_LM = Profile(
    "mlx-lm",
    layout=Layout(
        ("id", "system_fingerprint", "object", "model", "created", "choices", "usage"),
        ("index", "finish_reason", "logprobs?", "delta"),
        ("index", "finish_reason", "logprobs?", "text"),
        ("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details"),
        ("function", "type", "id", "index"),
        id=f"chatcmpl-{_UUID}", text_id=f"cmpl-{_UUID}",
        values={"system_fingerprint": "0.32.2-0.32.4-fakellm"}, always=("system_fingerprint",),
    ),
    one_answer=True, usage_object="chat.completion",
    role_on_every_delta=True, whole_tool_calls=True, reasoning="reasoning",
    progress=(": keepalive {less}/{count}\n\n", ": keepalive {count}/{count}\n\n"), json="escaped", error="text",
    until_close=True, content_type="text/event-stream",
    headers=(
        ("Server", "BaseHTTP/0.6 Python/3.11.7"), ("Cache-Control", "no-cache"), ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Methods", "*"), ("Access-Control-Allow-Headers", "*"),
    ),
)  # fmt: skip
"""mlx_lm.server 0.32.2. It speaks HTTP/1.0."""

LLAMA_CPP_PYTHON = Profile(
    "llama-cpp-python",
    layout=Layout(
        ("id", "model", "created", "object", "choices"),
        ("index", "delta", "logprobs", "finish_reason"),
        id=f"chatcmpl-{_UUID}", text_id=f"cmpl-{_UUID}",
    ),
    named_layout=Layout(
        ("id", "object", "created", "model", "choices"),
        ("index", "finish_reason", "logprobs", "delta"),
        delta=("role", "content", "function_call", "tool_calls"),
        id=f"chatcmpl-{_UUID}",
    ),
    one_answer=True,
    usage="never", text_usage="never", role_content="absent", arguments="begun", names_repeated=True, json="spaced",
    error="none",
    headers=(
        ("server", "uvicorn"), ("cache-control", "no-store"), ("x-accel-buffering", "no"),
        ("openai-processing-ms", "1"), ("x-request-id", "{number:032x}"), ("vary", "Origin"),
    ),
)  # fmt: skip
"""The server of llama-cpp-python 0.3.36. An error inside a stream is no event there: the connection drops."""

TRANSFORMERS = Profile(
    "transformers",
    layout=Layout(
        ("id", "choices", "created", "model", "object", "system_fingerprint?", "usage"),
        ("delta", "index", "finish_reason?", "logprobs?"),
        ("finish_reason?", "index", "text", "logprobs?"),
        ("completion_tokens", "prompt_tokens", "total_tokens"),
        text_chunk=("id", "choices", "created", "model", "object", "usage"), id=_UUID, text_id=_UUID,
        values={"system_fingerprint": ""}, always=("system_fingerprint",),
    ),
    done=False, usage="finish", text_usage="finish", role_content="absent", unfinished="",
    responses="transformers",
    headers=(("server", "uvicorn"), ("x-request-id", _UUID)),
)  # fmt: skip
"""Hugging Face's `transformers serve` 5.23."""

PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        OPENAI,
        Profile("avian", id_varies=True, usage="finish"),
        Profile("azure", prelude=True, filters=True, beside=("prompt_filter_results",)),
        Profile(
            "cerebras", done=False, usage="finish", whole_tool_calls=True, unfinished="", reasoning="reasoning",
        ),
        Profile("deepseek", usage="finish"),
        Profile("github-models", prelude=True, beside=("prompt_filter_results",)),
        Profile("gpustack", done=False, tool_index=False, varies=True),
        Profile("groq", usage="finish", whole_tool_calls=True, reasoning="reasoning", beside=("x_groq",)),
        Profile("huggingface", done=False, whole_tool_calls=True, varies=True),
        LLAMA_CPP,
        LLAMA_CPP_PYTHON,
        MLX_LM,
        Profile("mistral", usage="finish", whole_tool_calls=True, tool_type=False, finish_with_text=True),
        Profile("ollama", role_on_every_delta=True, whole_tool_calls=True, created_drifts=True, reasoning="reasoning"),
        Profile(
            "openrouter", comment=": OPENROUTER PROCESSING\n\n", role_on_every_delta=True, after_finish=True,
            usage="finish", reasoning="reasoning", error="numbered", beside=("provider",),
        ),
        Profile(
            "perplexity", done=False, usage="every",
            beside=("citations", "search_results", "images", "related_questions", "videos"),
        ),
        TRANSFORMERS,
        VLLM,
        Profile(
            "xai", unfinished="", whole_tool_calls=True, created_drifts=True, usage="finish", counts_reasoning=True,
            beside=("citations",),
        ),
        Profile(
            "zai", role_on_every_delta=True, unfinished="", usage="finish", whole_tool_calls=True,
            beside=("request_id", "web_search"),
        ),
    )
}  # fmt: skip
"""The profiles by name."""
