"""`check_wire`: whether the bytes of a stream are what the clients of an API expect, and where they are not.

For those who build proxies, gateways and compatible servers: what arrives at their client is held against the
grammar of the API, rule by rule. The rules are data, `GRAMMARS[api].rules`; each was counted in recorded streams.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from fakellm.contracts.catalogue import checks
from fakellm.contracts.grammar.anthropic_messages import MessagesGrammar
from fakellm.contracts.grammar.bedrock_converse import BedrockConverseGrammar
from fakellm.contracts.grammar.cohere_chat import CohereChatGrammar
from fakellm.contracts.grammar.dashscope_generation import DashScopeGenerationGrammar
from fakellm.contracts.grammar.frames import EventFrames
from fakellm.contracts.grammar.gemini import GeminiGrammar
from fakellm.contracts.grammar.gemini_interactions import GeminiInteractionsGrammar
from fakellm.contracts.grammar.mistral_chat import MistralChatGrammar
from fakellm.contracts.grammar.mistral_conversations import ConversationsGrammar
from fakellm.contracts.grammar.ollama import OllamaChatGrammar, OllamaGenerateGrammar
from fakellm.contracts.grammar.openai_chat import ChatGrammar
from fakellm.contracts.grammar.openai_completions import CompletionsGrammar
from fakellm.contracts.grammar.openai_responses import ResponsesGrammar
from fakellm.contracts.grammar.replicate_predictions import ReplicatePredictionsGrammar
from fakellm.contracts.grammar.rules import STRICT, Grammar, Rule, WireProblem
from fakellm.errors import BrokenContractError, ContractUsageError
from fakellm.wire.anthropic.profiles import PROFILES as MESSAGES
from fakellm.wire.anthropic.profiles import MessagesProfile
from fakellm.wire.openai.profiles import OPENAI, PROFILES, Profile
from fakellm.wire.providers import services
from fakellm.wire.service import Service, found

ANY = "any"
"""The profile of any service at all: only what every service keeps that was counted."""

GRAMMARS: dict[str, type[Grammar]] = {
    "openai_chat": ChatGrammar,
    "openai_completions": CompletionsGrammar,
    "openai_responses": ResponsesGrammar,
    "anthropic_messages": MessagesGrammar,
    "gemini": GeminiGrammar,
    "ollama_chat": OllamaChatGrammar,
    "ollama_generate": OllamaGenerateGrammar,
    "cohere_chat": CohereChatGrammar,
    "bedrock_converse": BedrockConverseGrammar,
    "gemini_interactions": GeminiInteractionsGrammar,
    "mistral_chat": MistralChatGrammar,
    "mistral_conversations": ConversationsGrammar,
    "dashscope_generation": DashScopeGenerationGrammar,
    "replicate_predictions": ReplicatePredictionsGrammar,
}
"""The grammars by the names of their APIs; `GRAMMARS[api].rules` are its rules by their short names."""

_BODY = "give the bytes of the body, or an iterable of its pieces"


def rules_of(api: str) -> tuple[Rule, ...]:
    """Return the rules of an API's grammar. Raises `ContractUsageError` for a name that is none of them."""
    return tuple(_grammar(api).rules.values())


@dataclass(frozen=True)
class WireReport:
    """What `check_wire` found in a body: `events` that were read, and `problems` in the order of the body."""

    api: str
    events: int
    problems: tuple[WireProblem, ...]

    def __str__(self) -> str:
        count = len(self.problems)
        lines = [f"{self.api}: {count or 'no'} problem{'' if count == 1 else 's'} in {self.events} events"]
        for number, problem in enumerate(self.problems, 1):
            first, *more = str(problem).split("\n")
            lines += [f"{number:>3}. {first}", *(f"   {line}" for line in more)]
        return "\n".join(lines)

    def verify(self) -> None:
        """Raise `BrokenContractError` if there is a problem; its text is this report."""
        __tracebackhide__ = True
        if self.problems:
            raise BrokenContractError(str(self), contract=f"{self.api}_grammar")


def check_wire(
    body: bytes | Iterable[bytes],
    *,
    api: str,
    profile: str | Profile | MessagesProfile | None = None,
    status: int | None = None,
    content_type: str | None = None,
    ignore: Iterable[str] = (),
) -> WireReport:
    """Check a whole streamed body against the grammar of its API; return a report, `verify` of which raises.

    `body` is the response's body as its client gets it, after any decompression, whole or in pieces. `api` is
    `openai_chat`, `openai_completions`, `openai_responses`, `anthropic_messages`, `gemini` (server-sent events, or the
    JSON array), `gemini_interactions`, `ollama_chat`, `ollama_generate`, `cohere_chat`, `bedrock_converse`,
    `mistral_chat` (fill-in-the-middle and agents too), `mistral_conversations`, `dashscope_generation`,
    `replicate_predictions`, or that of an endpoint that was added with a grammar.
    `profile` is for OpenAI's APIs and Messages: the name of a service or server, or a `Profile` or `MessagesProfile`,
    whose habits break no rule; by default those of the API's own provider. For every API, "any" leaves the rules that
    no service breaks by habit, self-hosted servers among them, and "strict" allows no habit at all. `status` (HTTP) and
    `content_type` are checked if they are given. `ignore` names rules, as problems do, that are not to be judged.

    A body is never too broken: what it says becomes problems. An error of the provider that ends the stream is legal.
    Raises `ContractUsageError` for arguments that do not exist, and for a body that is not bytes.
    """
    __tracebackhide__ = True
    grammar = _grammar(api)(_profile(profile, api), _ignored(ignore, api))
    _check_head(grammar, status, content_type)
    frames = (grammar.frames or EventFrames)(grammar)
    for piece in _pieces(body):
        frames.feed(piece)
    frames.close()
    return WireReport(api, grammar.events, grammar.problems)


def habits_at(url: str, service: Service, api: str) -> Profile | MessagesProfile | str | None:
    """Return the profile that a recorded stream of an API is held to.

    At its own host a provider is held to its own rules, at the host of a service that speaks its API to that one's
    habits, and anywhere else, where nobody knows who answered, to what all keep.
    """
    host = urlsplit(url).hostname or ""
    has_profiles = api.startswith("openai_") or api == "anthropic_messages"
    profile: Any = service.profile_at(host) if has_profiles else None
    return ANY if profile is None and not service.hosts.match(host) else profile


def _grammar(api: str) -> type[Grammar]:
    if isinstance(api, str) and api in GRAMMARS:
        return GRAMMARS[api]
    endpoints = [one for service in services() for one in service.endpoints if one.is_codec]
    of_api = [one for one in endpoints if api in (one.api, one.api.replace(".", "_"))]
    if given := next((one.grammar for one in of_api if one.grammar), None):
        brought: type[Grammar] = found(given)
        return brought
    known = f"check_wire knows {', '.join(GRAMMARS)}"
    if of_api:
        msg = f"the API {api!r} has no grammar: give its endpoint one, endpoint(..., grammar=...); {known}"
        raise ContractUsageError(msg)
    msg = f"there is no API {api!r}; {known}"
    raise ContractUsageError(msg)


def _profile(profile: str | Profile | MessagesProfile | None, api: str) -> Any:
    """Return the profile; None for any service at all."""
    if profile == ANY:
        return None
    if profile is None or profile == STRICT.name:
        return STRICT if profile else OPENAI
    of_messages = api == "anthropic_messages"
    kind = MessagesProfile if of_messages else Profile
    profiles: Mapping[Any, Any] = MESSAGES if of_messages else PROFILES
    if not (api.startswith("openai_") or of_messages):
        msg = (
            f"{api} has no profile {profile!r}: profiles are for OpenAI's APIs and for Messages; give none, or {ANY!r}"
        )
        raise ContractUsageError(msg)
    if isinstance(profile, kind):
        return profile
    if profile not in profiles:
        known = ", ".join([ANY, *profiles, STRICT.name])
        msg = f"there is no profile {profile!r}; there are {known}; or give a {kind.__name__}"
        raise ContractUsageError(msg)
    return profiles[profile]


def _ignored(ignore: Iterable[str], api: str) -> frozenset[str]:
    names = frozenset([ignore] if isinstance(ignore, str) else ignore)
    known = [rule.id for rule in rules_of(api)]
    for name in sorted(names.difference(known)):
        same = [rule for rule in known if rule.endswith(f".{name}")]
        near = same or get_close_matches(name, known, n=3) or known
        msg = f"{api} has no rule {name!r}; did you mean {' or '.join(near)}?"
        raise ContractUsageError(msg)
    return names


def _pieces(body: Any) -> Iterable[bytes]:
    """Yield the body in pieces. Raises `ContractUsageError` for what is not bytes."""
    __tracebackhide__ = True
    if isinstance(body, (bytes, bytearray, memoryview)):
        yield bytes(body)
        return
    if isinstance(body, str) or not isinstance(body, Iterable):
        msg = f"the body is a {type(body).__name__}, and what is checked is bytes: {_BODY}"
        raise ContractUsageError(msg)
    for number, piece in enumerate(body):
        if not isinstance(piece, (bytes, bytearray, memoryview)):
            msg = f"piece {number} of the body is a {type(piece).__name__}, and what is checked is bytes: {_BODY}"
            raise ContractUsageError(msg)
        yield bytes(piece)


def _check_head(grammar: Grammar, status: int | None, content_type: str | None) -> None:
    """Judge what comes before the body."""
    if status not in (None, 200):
        grammar.broken("content_type", "", f"the status {status}", "the status 200")
    kind = (content_type or "").partition(";")[0].strip().lower()
    if content_type is not None and kind not in grammar.content_types:
        grammar.broken("content_type", "content-type", repr(content_type), " or ".join(grammar.content_types))


@checks("openai_chat_grammar", on="wire")
def openai_chat(body: bytes | Iterable[bytes], **options: Any) -> None:
    """Every client of a proxy or a compatible server was tested against OpenAI's own streams.

    What those always keep, the clients rely on without knowing it: one finish reason, roles that are not repeated,
    tool-call pieces that have an index, usage at the end.
    """
    __tracebackhide__ = True
    check_wire(body, api="openai_chat", **options).verify()


@checks("openai_completions_grammar", on="wire")
def openai_completions(body: bytes | Iterable[bytes], **options: Any) -> None:
    """The older API is what many local servers speak, and its clients expect the frame of OpenAI's chunks."""
    __tracebackhide__ = True
    check_wire(body, api="openai_completions", **options).verify()


@checks("openai_responses_grammar", on="wire")
def openai_responses(body: bytes | Iterable[bytes], **options: Any) -> None:
    """Clients of Responses are state machines: they raise for a delta of an item that was not added.

    Whoever translates another API into this one has to make up all of its frame: numbers, items, parts, done texts.
    """
    __tracebackhide__ = True
    check_wire(body, api="openai_responses", **options).verify()


@checks("anthropic_messages_grammar", on="wire")
def anthropic_messages(body: bytes | Iterable[bytes], **options: Any) -> None:
    """The official SDK accepts a stream without message_stop, and drops deltas that do not fit their block.

    So a proxy that leaves out or mixes up events loses text in its users' hands, and no error tells of it.
    """
    __tracebackhide__ = True
    check_wire(body, api="anthropic_messages", **options).verify()


@checks("gemini_grammar", on="wire")
def gemini(body: bytes | Iterable[bytes], **options: Any) -> None:
    """The official SDK takes the end of the body for the end of the answer: only a finishReason tells them apart."""
    __tracebackhide__ = True
    check_wire(body, api="gemini", **options).verify()


@checks("ollama_chat_grammar", on="wire")
def ollama_chat(body: bytes | Iterable[bytes], **options: Any) -> None:
    """The official SDK parses each line by itself, and takes the end of the body for the end of the answer.

    So a proxy that flushes half a line or adds a blank one breaks it, and one that loses the last line is not
    noticed.
    """
    __tracebackhide__ = True
    check_wire(body, api="ollama_chat", **options).verify()


@checks("ollama_generate_grammar", on="wire")
def ollama_generate(body: bytes | Iterable[bytes], **options: Any) -> None:
    """Many small clients of local models read these lines by hand, and rely on each of them being whole."""
    __tracebackhide__ = True
    check_wire(body, api="ollama_generate", **options).verify()


@checks("cohere_chat_grammar", on="wire")
def cohere_chat(body: bytes | Iterable[bytes], **options: Any) -> None:
    """The official SDK checks nothing and raises nothing: it hands on half an answer as if it were a whole one.

    What it cannot read it logs and leaves out, so only the rules of the stream tell that something is missing.
    """
    __tracebackhide__ = True
    check_wire(body, api="cohere_chat", **options).verify()


@checks("bedrock_converse_grammar", on="wire")
def bedrock_converse(body: bytes | Iterable[bytes], **options: Any) -> None:
    """boto3 raises nothing for a stream that stops between two frames, or inside one: the answer looks whole.

    So only the rules of the stream tell that its end is missing, and whose text a delta is.
    """
    __tracebackhide__ = True
    check_wire(body, api="bedrock_converse", **options).verify()


@checks("gemini_interactions_grammar", on="wire")
def gemini_interactions(body: bytes | Iterable[bytes], **options: Any) -> None:
    """The official SDK checks nothing: an error inside a stream, and a stream without its end, raise nothing there."""
    __tracebackhide__ = True
    check_wire(body, api="gemini_interactions", **options).verify()


@checks("mistral_chat_grammar", on="wire")
def mistral_chat(body: bytes | Iterable[bytes], **options: Any) -> None:
    """The official SDK checks the type of each chunk, and nothing of the stream: half an answer looks like a whole one.

    Who speaks OpenAI's dialect to Mistral's clients, with calls in pieces and usage apart, loses both.
    """
    __tracebackhide__ = True
    check_wire(body, api="mistral_chat", **options).verify()


@checks("mistral_conversations_grammar", on="wire")
def mistral_conversations(body: bytes | Iterable[bytes], **options: Any) -> None:
    """Clients of conversations put pieces together by place and id; no part of the official SDK does it for them."""
    __tracebackhide__ = True
    check_wire(body, api="mistral_conversations", **options).verify()


@checks("dashscope_generation_grammar", on="wire")
def dashscope_generation(body: bytes | Iterable[bytes], **options: Any) -> None:
    """The official SDK raises nothing: errors are handed on as answers, and half an answer looks like a whole one."""
    __tracebackhide__ = True
    check_wire(body, api="dashscope_generation", **options).verify()


@checks("replicate_predictions_grammar", on="wire")
def replicate_predictions(body: bytes | Iterable[bytes], **options: Any) -> None:
    """The official SDK passes over what it cannot read, and takes the end of the body for the end of the output."""
    __tracebackhide__ = True
    check_wire(body, api="replicate_predictions", **options).verify()
