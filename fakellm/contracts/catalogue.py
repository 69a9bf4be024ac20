"""The catalogue: every streaming contract as a sentence, and how it is made to fail.

Each row is a class of real, repeated bugs, drawn from public issues and pull requests about code that consumes or
relays LLM streams; `seen` names some of them as `owner/repo#number`. This file holds the sentences alone. The checks
live in the rooms below and are bound to their row by `checks`: a contract may be checked on several kinds of thing,
on a stream (a model, a chain, a stream factory), on a consumer of chunks, on a provider's bytes, on a client that
reads those, or on an app that asks a provider.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, TypeVar

from fakellm.errors import ContractUsageError

Kind = Literal["stream", "consumer", "wire", "client", "app"]
"""What a contract can be checked on."""

Check = TypeVar("Check", bound=Callable[..., Any])


@dataclass(frozen=True, eq=False)
class Contract:
    """A sentence that a machine can break.

    `broken_by` says how it is broken deterministically, `seen` where it was broken in public, `source` where it is said
    in a standard or a documentation. `checks` holds the check for each kind of thing; the docstring of a check says why
    the contract exists.
    """

    name: str
    sentence: str
    broken_by: str
    seen: tuple[str, ...] = ()
    source: str = ""
    checks: dict[str, Callable[..., Any]] = field(default_factory=dict, repr=False)

    @property
    def why(self) -> str:
        """Why the contract exists: the docstrings of its checks."""
        docs = [inspect.getdoc(check) or "" for check in self.checks.values()]
        return "\n\n".join(dict.fromkeys(docs))

    def __str__(self) -> str:
        return f"{self.name}: {self.sentence}" + (f" ({self.source})" if self.source else "")


def _row(name: str, sentence: str, broken_by: str, seen: str = "", *, source: str = "") -> tuple[str, Contract]:
    return name, Contract(name, sentence, broken_by, tuple(seen.split()), source)


CATALOGUE: dict[str, Contract] = dict((
    _row("single_value_fallback", "a source that cannot stream yields exactly one chunk, equal to invoke, by one call",
         "a source without `stream`", "langchain#13126 langchainjs#4341"),
    _row("concatenation", "the chunks of stream add up to what invoke returns",
         "sum the chunks, compare with invoke"),
    _row("ordering", "chunks come in the order in which the source said them",
         "a source whose chunks are all different"),
    _row("whitespace_tail", "every character is delivered: whitespace, empty lines, the last chunk",
         "isolate each character; end the answer after each of its last characters", "hermes-agent#2192 dspy#8889"),
    _row("sync_async", "stream and astream, invoke and ainvoke, batch and abatch agree",
         "run both flavours on the same script"),
    _row("lazy", "nothing happens before the first chunk is asked for",
         "make the stream, do not read it, look at the source"),
    _row("progressive", "k outputs need at most k inputs",
         "count the pulls from the source at each output", "langchain#13126 langchain#15195 starlette#2753"),
    _row("backpressure", "a slow consumer slows the source: what waits in between is bounded",
         "stop reading, let the source run, count its lead", "opencode#19423 req_llm#821"),
    _row("one_shot", "a second iteration of a stream raises or repeats; it is never silently empty",
         "iterate twice", "httpx#697"),
    _row("batch", "results come in the order of the inputs, and the concurrency bound holds",
         "gates that finish the calls in reverse; the most calls at once", "langchain#32526 langchain#29425"),
    _row("crossed_streams", "state belongs to one stream and one choice",
         "enumerate the merges of two streams; n > 1", "langchain-oracle#256 Flowise#3474"),
    _row("lazy_error", "the first chunk lies inside the guard of a retry or fallback",
         "fail at the call, at the first chunk, later", "langchain#16055 mirascope#1120"),
    _row("retry_midstream", "chunks that were delivered are never replayed",
         "fail after k chunks; what comes then must extend them", "open-interpreter#291 nanobot#4038"),
    _row("producer_dies", "an error of the source reaches the consumer: no hang, no clean end",
         "fail at every position, with a detector of deadlocks", "openai-agents-python#2130 openai-agents-python#2929"),
    _row("truncation", "an end before the terminal marker raises, and the partial text is kept",
         "cut at every event border and inside events, in every way a connection ends",
         "TensorRT-LLM#18289 llm-memory-api#283"),
    _row("in_band_error", "an error inside a stream is raised at every position, in both wire forms",
         "an error at each position", "litellm#40578 litellm#29223 vercel/ai#383"),
    _row("close", "break, close and GeneratorExit reach the source before close returns",
         "close after each k chunks; look whether the source is closed",
         "LightRAG#3634 langchain#37976 pydantic-ai#4204"),
    _row("task_affinity", "a stream's source is stepped and closed by one task",
         "note the task of each step; close from another task", "open-webui#23143 vllm#25697"),
    _row("upstream_cancel", "a disconnect stops the generation, also before the first chunk",
         "cancel at each await; nothing may be in flight afterwards", "litellm#30245 litellm#31499 langgraph#8302"),
    _row("blocking", "the event loop is not blocked while the stream waits",
         "note the thread on which the source is stepped; a heartbeat task", "litellm#20268 vllm-mlx#261"),
    _row("stall", "silence is bounded by a deadline per chunk, which data resets; the whole is not bounded",
         "virtual time: a stall, and many gaps just under the deadline", "opencode#16366 openseek#343"),
    _row("callbacks", "the callback of a chunk comes before its yield, and one terminal callback at the end",
         "log the order of events", "langchain#16913 vercel/ai#20908"),
    _row("usage", "cumulative usage overwrites, it never adds",
         "repeat the usage chunk", "langchain#30429 tensorzero#5481"),
    _row("finish", "there is one terminal state, and nothing that comes later changes the answer",
         "a duplicate, early, late or missing finish", "langchain#38349 litellm#2195 litellm#27139"),
    _row("utf8_split", "one incremental decoder per stream, flushed at its end",
         "cut at every byte; no new U+FFFD", "litellm#18842 ollama-js#255 continue#13181"),
    _row("grapheme", "whoever cuts text anew never splits a code point, and loses no part of a grapheme",
         "cut at ZWJ, combining marks, characters beyond the BMP", "eliza#30904"),
    _row("framing", "a record ends at its delimiter, not where a read ends",
         "all single cuts; two records in one read", "rig#1758 continue#751 cody#3481"),
    _row("line_ends", "LF, CR and CRLF are one, also where they are split",
         "write the line ends anew, with all cuts", "openai-node#2309 eventsource-parser#17"),
    _row("control_blocks", "comments, blocks of retry alone and a BOM dispatch nothing",
         "insert one at every border of events", "openai-python#2722 openai-python#3833 ollama#16443"),
    _row("event_fields", "the fields of an event mean what the standard says: data lines are joined, spaces optional",
         "spread JSON over lines, leave out the space, name what has no name"),
    _row("content_coding", "a compressed stream reads as the plain one, as it comes",
         "compress each piece, cut the bytes anew"),
    _row("long_event", "an event may be as long as it likes",
         "a text of 1 MB in one event"),
    _row("unknown_fields", "fields, events and finish reasons that nobody knows yet change nothing",
         "add one of each"),
    _row("tags", "the result depends on the text alone, not on its cuts; nothing is held back for ever",
         "all cuts and isolations", "any-llm#1242 sglang#31009 lmdeploy#4754"),
    _row("stop_sequence", "no part of a stop sequence is shown, and near misses are released",
         "all cuts and isolations", "TGI#1254 SwiftLM#126"),
    _row("partial_json", "only complete values are validated, and the final value is that of the whole text",
         "every prefix, all cuts", "instructor#665 instructor#1147 vercel/ai#1508"),
    _row("tool_calls", "tool-call pieces are keyed by index; id, name and arguments may be absent, null or empty",
         "all merges of the pieces by index; nulls at each position",
         "agent-framework#8336 Qwen-Agent#943 open-webui#27195"),
    _row("empty_delta", "an empty and a null delta are legal anywhere",
         "insert one at each position", "pydantic-ai#797 autogen#7711"),
    _row("no_choices", "a chunk without choices is legal",
         "insert one at each position", "spoon-core#179 llmeter#34 Portkey/gateway#1629"),
    _row("retry_after", "a retry waits at least as long as the provider said",
         "429 and 503 with Retry-After, in seconds, of three minutes, as a date",
         "MemOS#1620 earendil-works/pi#9595 aider#5165", source="RFC 9110, 10.2.3"),
    _row("retry_after_ms", "a retry waits at least the milliseconds that the provider said",
         "429 with retry-after-ms alone", source="Azure OpenAI, quotas; the SDKs of OpenAI and Anthropic"),
    _row("backoff", "of a row of retries each waits longer than the one before it",
         "refuse for ever, by status and by connection; dice that fall low, dice that fall high",
         "job-ops#555", source="OpenAI, rate limits; Google Cloud, retry strategy"),
    _row("backoff_bound", "the wait before a retry has a bound",
         "refuse for ever; the longest wait", source="Google Cloud, retry strategy: truncated exponential backoff"),
    _row("no_retry", "what asking again cannot repair is not asked again",
         "400 and 401", "litellm#19216 sseclient#65 tutormoments#52", source="RFC 9110, 15.5.1 and 15.5.2"),
    _row("gives_up", "who is refused again and again gives up in the end",
         "refuse for ever, in every way", "sseclient#65 earendil-works/pi#4991", source="RFC 9110, 9.2.2"),
    _row("says_why", "who gives up says why",
         "look for the status, or for what befell the connection, in the chain of exceptions",
         source="RFC 9110, 15.5 and 15.6"),
    _row("storm", "clients that failed together do not ask again together",
         "many clients from the same moment, whose dice differ", "aider#5165 vercel/ai#5474 vllm#44245",
         source="Amazon Builders' Library, timeouts, retries and backoff with jitter"),
    _row("read_deadline", "silence is not waited for without end",
         "silence before the headers, and after the first chunk", "agent-zero#1882 connectonion#1116",
         source="RFC 9112, 9.5"),
    _row("openai_chat_grammar", "a chat completions stream is what OpenAI's clients expect",
         "each rule, broken by itself"),
    _row("openai_completions_grammar", "a legacy completions stream is what OpenAI's clients expect",
         "each rule, broken by itself"),
    _row("openai_responses_grammar", "a Responses stream is what OpenAI's clients expect",
         "each rule, broken by itself"),
    _row("anthropic_messages_grammar", "a Messages stream is what Anthropic's clients expect",
         "each rule, broken by itself"),
    _row("gemini_grammar", "a streamGenerateContent stream is what Google's clients expect",
         "each rule, broken by itself"),
    _row("ollama_chat_grammar", "a stream of Ollama's chat is what its clients expect",
         "each rule, broken by itself"),
    _row("ollama_generate_grammar", "a stream of Ollama's generate is what its clients expect",
         "each rule, broken by itself"),
    _row("cohere_chat_grammar", "a Chat stream is what Cohere's clients expect",
         "each rule, broken by itself"),
    _row("bedrock_converse_grammar", "a ConverseStream is what the clients of AWS expect",
         "each rule, broken by itself"),
    _row("gemini_interactions_grammar", "a stream of an interaction is what Google's clients expect",
         "each rule, broken by itself"),
    _row("mistral_chat_grammar", "a completions stream is what Mistral's clients expect",
         "each rule, broken by itself"),
    _row("mistral_conversations_grammar", "a stream of a conversation is what Mistral's clients expect",
         "each rule, broken by itself"),
    _row("dashscope_generation_grammar", "a stream of text generation is what DashScope's clients expect",
         "each rule, broken by itself"),
    _row("replicate_predictions_grammar", "a stream of output is what Replicate's clients expect",
         "each rule, broken by itself"),
))  # fmt: skip
"""Every contract by its name."""


def checks(name: str, on: Kind) -> Callable[[Check], Check]:
    """Bind a check to its contract; its docstring says why the contract exists."""

    def bind(check: Check) -> Check:
        CATALOGUE[name].checks[on] = check
        return check

    return bind


def chosen(names: Iterable[str] | None, on: Kind) -> list[Contract]:
    """Return the contracts with these names that can be checked on this kind of thing, or all of them.

    In the order of the catalogue. Raises `ContractUsageError` for a name that does not exist, naming the nearest.
    """
    able = {name: contract for name, contract in CATALOGUE.items() if on in contract.checks}
    if names is None:
        return list(able.values())
    if isinstance(names, str):
        names = [names]
    wanted = list(names)
    for name in wanted:
        if name not in able:
            raise _unknown(name, on, able)
    return [contract for name, contract in able.items() if name in wanted]


def checked_reasons(skip: Mapping[str, str] | None, on: Kind, rows: Iterable[str] = ()) -> dict[str, str]:
    """Return why contracts of this kind of thing are skipped, or rows of its table, by their names.

    Raises `ContractUsageError` for a name or a reason that is none.
    """
    able = [name for name, contract in CATALOGUE.items() if on in contract.checks]
    if skip is not None and not isinstance(skip, Mapping):
        msg = f"skip maps the name of a contract to the reason: skip={{{able[0]!r}: 'the reason'}}, not {skip!r}"
        raise ContractUsageError(msg)
    reasons = dict(skip or {})
    known = [*able, *rows]
    for name, reason in reasons.items():
        if name not in known:
            raise _unknown(name, on, known)
        if not isinstance(reason, str) or not reason:
            msg = f"say why {name!r} is skipped: skip={{{name!r}: 'the reason'}}"
            raise ContractUsageError(msg)
    return reasons


def _unknown(name: str, on: str, able: Iterable[str]) -> ContractUsageError:
    if name in CATALOGUE:
        kinds = ", ".join(sorted(CATALOGUE[name].checks))
        return ContractUsageError(f"the contract {name!r} is not checked on a {on}, but on: {kinds}")
    near = get_close_matches(str(name), {*CATALOGUE, *able}, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(sorted(able))}"
    return ContractUsageError(f"there is no contract {name!r}; {hint}")
