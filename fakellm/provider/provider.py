"""A fake provider: the app's own client of a provider asks, a script answers. Sans-IO."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import partial
from typing import Any, Self, cast

from fakellm.clock.clock import Clock, checked, unless_instant
from fakellm.errors import (
    BrokenReplyError,
    SwallowedCallError,
    UnexpectedRequestError,
    UnusedRepliesError,
    WireError,
)
from fakellm.models.calls import never_asked, swallowed
from fakellm.models.conversing import Playing
from fakellm.models.copies import Copyable
from fakellm.models.kept import Kept
from fakellm.models.replies import Matcher, Replies, content_of
from fakellm.provider.answering import Answering, error_exchange, whole_headers
from fakellm.provider.claims import Claiming
from fakellm.provider.documents import OwnDocument
from fakellm.provider.exchange import Exchange, ProviderCall
from fakellm.provider.hosts import is_malformed, parts_of, target_of
from fakellm.provider.limits import Limited
from fakellm.provider.memo import Alike
from fakellm.provider.missing import Missing
from fakellm.provider.mistakes import is_scripted, mistake
from fakellm.provider.promises import Promising
from fakellm.provider.reports import knowing_all, shown_calls
from fakellm.provider.routes import Route, names_of
from fakellm.provider.speaking import Speaking
from fakellm.provider.strict import Strict
from fakellm.runnable.functions import is_async_function
from fakellm.runnable.shown import call, named, unusual
from fakellm.script.events import http_error
from fakellm.script.latency import Latency
from fakellm.script.latency import checked as checked_latency
from fakellm.script.script import Script
from fakellm.secrets.knowing import knowing
from fakellm.wire.anthropic.profiles import MessagesProfile
from fakellm.wire.codec import Codec, Ending
from fakellm.wire.objects import dump, parse
from fakellm.wire.openai.profiles import Profile
from fakellm.wire.providers import service_of
from fakellm.wire.service import Endpoint, codec_of, document_of, found
from fakellm.wire.wireform import WireForm, form_or_none


class FakeProvider(Promising, Speaking, Alike, Claiming, Limited, Strict, Missing, Playing, Copyable):
    """A provider that says what it was told to, in its own wire format, to whatever client asks.

    `FakeProvider("openai")` answers chat completions, legacy completions and Responses, and by itself embeddings and
    model lists; `"anthropic"` answers Messages and token counts; `"gemini"` generateContent, embeddings, token counts;
    `"ollama"` chat and generate, embeddings, models.
    `"cohere"` Chat, embeddings, rankings; `"bedrock"` Converse and InvokeModel, embeddings, models;
    `"mistral"` chat, fill-in-the-middle, agents, conversations; `"dashscope"` text generation, embeddings;
    `"replicate"` predictions.
    `fakellm.wire.add_provider` adds others.
    `profile` imitates a service that speaks OpenAI's APIs or Messages in its own way: `"azure"`, `"vllm"` and so on; by
    default it is that of the service whose host is asked.
    `hosts` are hosts that are its own beside the provider's, loopback ones included (`"localhost:11434"`).

    `latency` is the pace of its answers, which a reply of its own pace does not keep.
    `recorded` answers what it has an answer to before all else: a tape of a scenario. `zips` lets a server compress the
    answers, for clients that accept it.

    It does no I/O: `handle` takes a request and returns an `Exchange`, which a transport or a server plays on `clock`.
    `calls` logs the requests in the order in which they came, `misses` are the errors of those that no reply was for,
    or whose reply could not be made. A copy has a log of its own; see `Copyable`.
    """

    calls: Kept[ProviderCall]
    misses: Kept[UnexpectedRequestError]

    def __init__(
        self,
        name: str = "openai",
        *,
        profile: str | Profile | MessagesProfile | None = None,
        hosts: Sequence[str] = (),
        clock: Clock | None = None,
        latency: Latency | None = None,
    ) -> None:
        self.name = self.provider = name
        self.service = service_of(name)
        self.profile: Profile | MessagesProfile | None = None
        if profile is not None:
            self.imitate(profile)
        self.hosts = hosts
        self.clock = checked(clock)
        self.latency = checked_latency(latency)
        self.recorded: Callable[[ProviderCall], Exchange | None] | None = None
        self.zips = False
        self._replies = Replies()
        self._documents: tuple[OwnDocument, ...] = ()
        self._begin()

    def __repr__(self) -> str:
        known = found(self.service.profiles or {}).items()
        profile = next((name for name, profile in known if profile == self.profile), self.profile)
        options = {"profile": profile, "hosts": self.hosts, "clock": unless_instant(self.clock)}
        options["latency"] = self.latency
        begun = call(type(self).__name__, [repr(self.name), *named(unusual(options, hosts=()))])
        begun += call(".limits", named(self._meter.options())) if self._meter is not None else ""
        begun += call(".speak", [repr(self.form)]) if self.form is not None else ""
        begun += call(".behind", [repr(one.name) for one in self.gateways]) if self.gateways else ""
        begun += self._strictly()
        return self._replies.as_calls(begun + "".join(own.as_call() for own in self._documents))

    def _begin(self) -> None:
        super()._begin()
        self.answers_alike = self.answers_alike  # a copy remembers by itself
        self._passed: dict[str, None] = {}
        self.recorded = copy(vars(self).get("recorded"))  # a copy's tape begins anew

    # -- scripting --------------------------------------------------------------------------------

    def reply(
        self,
        *parts: Any,
        headers: Mapping[str, str] | None = None,
        latency: Latency | None = None,
        form: WireForm | str | None = None,
    ) -> Self:
        """Script the answer to the next request that nothing more specific answers. Returns the provider.

        Parts are strings, events and scripts; or one function of the `Request`, which returns a string, a `Script`
        or a list of parts, or is a generator function that yields them; or one exception, which the client's
        transport raises. What a function raises is a mistake of the test (`BrokenReplyError`), unless it is what
        transports raise: `ConnectionError`, `TimeoutError`, exceptions of the HTTP libraries. A finish reason and a
        usage that are left out follow from the rest. `headers` are added to the answer's, `latency` is its pace, and
        `form` how it is written: a `WireForm`, or the name of one.
        """
        how: dict[str, Any] = {"headers": headers or {}, "latency": latency, "form": form_or_none(form)}
        return self._script(Route("reply", content_of(parts), times=1, **how))

    def error(
        self,
        status: int,
        message: str | None = None,
        *,
        times: int = 1,
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> Self:
        """Script an HTTP error as the answer to the next `times` requests. Returns the provider.

        The fields are those of `http_error`: `retry_after` in seconds, `kind` and `code`, `body`. `headers` are added
        to the answer's. Clients of the official SDKs retry 408, 409, 429 and 500 and above by themselves, after a wait
        of their own.
        """
        fault = http_error(status, **fields) if message is None else http_error(status, message, **fields)
        return self._script(Route("reply", Script(fault), times=times, headers=headers or {}))

    def when(
        self,
        matcher: Matcher = None,
        /,
        *parts: Any,
        model: str | re.Pattern[str] | None = None,
        role: str | None = None,
        tools: str | Sequence[str] = (),
        json: Any = None,
        api: str | None = None,
        turn: int | None = None,
        after_tool: str | None = None,
        system: str | re.Pattern[str] | None = None,
        times: int | None = None,
        headers: Mapping[str, str] | None = None,
        latency: Latency | None = None,
        form: WireForm | str | None = None,
    ) -> Self:
        """Script the answer to requests that meet all the conditions, at most `times` of them. Returns the provider.

        The matcher is a text that occurs in the last message, a compiled pattern that is found in it, or a predicate
        of the `Request`; with another condition it may be None. `role` is the last message's; `model` is a name or a
        pattern; `tools` are names that the request offers; `json` is a fragment of the body: mappings may have
        more keys; `api` is a codec's name, such as `"openai.responses"`. `turn` is which answer of the model is asked
        for, as the request tells: 2 once it holds one; `after_tool` a tool whose result came since the model spoke
        last; `system` a text in the system messages, or a pattern. Of several that match the first answers.
        """
        conditions = {"model": model, "tools": names_of(tools), "json": json, "api": api, "headers": headers or {}}
        conditions |= {"turn": turn, "after_tool": after_tool, "system": system, "latency": latency}
        conditions["form"] = form_or_none(form)
        return self._script(Route("when", content_of(parts), matcher, role, times, **conditions))

    def otherwise(
        self,
        *parts: Any,
        headers: Mapping[str, str] | None = None,
        latency: Latency | None = None,
        form: WireForm | str | None = None,
    ) -> Self:
        """Script the answer to every request that has no other. Returns the provider."""
        how: dict[str, Any] = {"headers": headers or {}, "latency": latency, "form": form_or_none(form)}
        return self._script(Route("otherwise", content_of(parts), **how))

    def document(
        self,
        method: str,
        path: str | re.Pattern[str],
        answer: Any,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Self:
        """Answer an endpoint of one's own, as often as it is asked; the latest that fits answers. Returns the provider.

            fake_openai.document("POST", "/v1/moderations", {"id": "modr-1", "model": "m", "results": []})
            fake_openai.document("GET", "/v1/files/{id}", lambda asked, path: {"id": path.rpartition("/")[2]})

        `path` is what the URL's path ends with, where `{id}` stands for any one segment; or a compiled pattern that is
        found in it. The answer is JSON, a text, bytes, or `http_error(...)`, `disconnect(...)` or `stall(...)`; or a
        function that returns one of these, of the request's JSON and, if it takes two arguments, its path with query.
        What is no JSON, such as a file, it gets as bytes. `headers` are added to the answer's, and replace those of the
        same name. It comes before what the provider answers by itself, and may stay unused.
        """
        own = OwnDocument(method.upper(), path, answer, status, headers)
        with self._lock:
            self._documents = (*self._documents, own)
        return self

    def _script(self, route: Route) -> Self:
        if callable(route.content) and not isinstance(route.content, type) and is_async_function(route.content):
            msg = f"a provider's reply is made by a plain function or generator function, not by {route.content!r}"
            raise TypeError(msg)
        caller = sys._getframe(2)  # noqa: SLF001 - documented; of what calls .reply(...)
        route.place = f"{caller.f_code.co_filename}:{caller.f_lineno}"
        return self.tell(route)

    def tell(self, reply: Route) -> Self:
        """Add a reply that was made elsewhere, such as by a scenario. Returns the provider."""
        with self._lock:
            self._replies.add(reply)
        return self

    def forget(self) -> Self:
        """Forget all that was scripted; the log stays. Returns the provider."""
        with self._lock:
            self._replies, self._documents, self._hosts = Replies(), (), ()
            self.profile = self.latency = self.recorded = self._meter = self.form = None
            self.zips, self.gateways = False, ()
        return self.strict_requests(on=False)

    # -- what a test asks -------------------------------------------------------------------------

    @property
    def unused(self) -> list[str]:
        """What was scripted for requests that never came, worded."""
        return self._replies.never_asked()

    @property
    def replies(self) -> list[Route]:
        """All that was scripted, in order, with the numbers of the requests that each answered."""
        return cast("list[Route]", list(self._replies.all))

    def verify(self, *, allow_unused: bool = False, allow_misses: bool = False) -> None:
        """Raise `SwallowedCallError` if a request found no reply, else `UnusedRepliesError` if a reply is left.

        A reply that could not be made (`BrokenReplyError`) is a mistake of the test, which nothing allows.
        """
        with knowing_all(self.calls):
            self._verify(allow_unused=allow_unused, allow_misses=allow_misses)

    def _verify(self, *, allow_unused: bool, allow_misses: bool) -> None:
        first = next((m for m in self.misses if not allow_misses or isinstance(m, BrokenReplyError)), None)
        if isinstance(first, BrokenReplyError):
            msg = f"this was raised, and caught by the code under test or by the test:\n{first}"
            raise SwallowedCallError(msg) from first
        if first is not None:
            raise SwallowedCallError(swallowed(f"the fake {self.name}", first)) from first
        if not allow_unused and (unused := self.unused):
            raise UnusedRepliesError(never_asked(f"the fake {self.name}", unused, self.report()))

    def report(self) -> str:
        """Word the requests with their answers, and those that went past this fake to this machine."""
        asked = shown_calls(self.calls, self._codec_of) or [f"the fake {self.name} was not asked anything"]
        return "\n".join([*asked, *self._astray()])

    def _codec_of(self, call: ProviderCall) -> Codec | None:
        endpoint = self.service.endpoint(call.method, parts_of(call.url).path)
        is_scripted = endpoint is not None and endpoint.is_codec and call.api == endpoint.api
        return codec_of(endpoint, self._profile_of(call)) if endpoint is not None and is_scripted else None

    # -- answering --------------------------------------------------------------------------------

    def handle(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Exchange:
        """Take a request and return its answer.

        Raises `UnexpectedRequestError` for one that has none, and `BrokenReplyError` where that cannot be made.
        """
        fetched = self._fetch(method, url, headers, body)
        call = self._begun(method, url, headers, body) if fetched is None else fetched.call
        told = partial(self._told, call)
        try:
            exchange = self._sent(call, self._limited(call) if fetched is None else fetched)
        except BaseException as error:
            call.fail(reason := told(error))
            if reason is error:
                raise
            raise reason from error
        exchange.told = told
        return exchange

    def _begun(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> ProviderCall:
        """Log a request."""
        call = ProviderCall(method, url, headers, body)
        with self._lock:
            self.calls.append(call)
            call.number = self.calls.total
        self._mark(call)
        return call

    def refuse(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> UnexpectedRequestError:
        """Log a request to an endpoint that the provider does not know, and return the error that says so."""
        call = self._begun(method, url, headers, body)
        call.fail(miss := self._unknown(call))
        return miss

    def _told(self, call: ProviderCall, error: BaseException) -> BaseException:
        """Return what the client is to meet for an exception that came out of a reply; keep a mistake of the test."""
        if is_scripted(call, error):
            return error
        broken = mistake(call, self.name, error)
        self.misses.append(broken)
        return broken

    def _answer(self, call: ProviderCall) -> Exchange:
        if is_malformed(call.url):
            codec = codec_of(self.service.endpoints[0], self._profile_of(call))
            return error_exchange(call, codec, http_error(400, "Bad Request: the host is malformed"))
        parts = parts_of(call.url)
        path = target_of(parts)
        endpoint = self.service.endpoint(call.method, parts.path)
        if (known := self._answer_known(call, parts.path, path, endpoint)) is not None:
            return known
        if endpoint is None:
            raise self._unknown(call)
        call.api = endpoint.api
        if not endpoint.is_codec:
            return self._document(call, endpoint, path)
        codec = codec_of(endpoint, self._profile_of(call))
        try:
            call.json, call.request = self._read(call, codec, path)
            self._hold(call, endpoint, path)
        except WireError as error:
            return error_exchange(call, codec, http_error(error.status, str(error), code=error.code, body=error.body))
        request = call.request
        if (unasked := codec.by_itself(request, call.seed)) is not None:
            return Exchange(call, 200, whole_headers(unasked), [Ending([unasked])])
        route = self._claim(call)
        exchange = Answering(call, codec, self._passed_on(call, request), route, self._memo, self.latency).exchange()
        exchange.told = partial(self._told, call)
        return self._later(call, codec, exchange)

    def _answer_known(self, call: ProviderCall, path: str, query: str, endpoint: Endpoint | None) -> Exchange | None:
        """Return the answer that is there already: a document of one's own, what was recorded, that there is none."""
        if own := self._own(call.method, path):
            call.api = f"{self.name}.document"
            return own.exchange(call, query, codec_of(self.service.endpoints[0], self._profile_of(call)))
        played = self.recorded(call) if self.recorded is not None else None
        if played is not None and endpoint is not None:
            call.api = endpoint.api
        return self._unpromised(call, endpoint, path) if played is None else played

    def _document(self, call: ProviderCall, endpoint: Endpoint, path: str) -> Exchange:
        try:
            call.json = parse(call.body, "the body of the request") if call.body else None
            body = dump(document_of(endpoint)(call.json, path))
        except WireError as error:
            codec = codec_of(self.service.endpoints[0], self._profile_of(call))
            return error_exchange(call, codec, http_error(error.status, str(error), code=error.code, body=error.body))
        return Exchange(call, 200, whole_headers(body), [Ending([body])])

    def _claim(self, call: ProviderCall) -> Route:
        logged = cast("Any", call)
        fitting = self._replies.fitting(logged)  # runs the user's predicates, so not under the lock
        if not fitting:
            self._check_inside(call)
        with self._lock:
            self._replies.claim(logged, fitting)
        if call.reply is None:
            with knowing(call.credentials):
                raise self._no_reply(call)
        return call.reply
