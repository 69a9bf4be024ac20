"""How a provider writes its answers: what each passes on its way to the client, the same for every shell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Self, cast

from fakellm.provider.exchange import Exchange, ProviderCall
from fakellm.provider.hosts import host_of
from fakellm.wire.anthropic.profiles import MessagesProfile
from fakellm.wire.codec import Request
from fakellm.wire.gateways.gateway import CHAT, Asked, Gateway
from fakellm.wire.gateways.presets import gateways_of
from fakellm.wire.hops import Hop
from fakellm.wire.openai.profiles import Profile
from fakellm.wire.rewriting import Writing
from fakellm.wire.service import Service, found
from fakellm.wire.wireform import WireForm, form_or_none


class Speaking:
    """A provider whose answers pass hops: gateways, and last of them the form that they are written in."""

    name: str
    service: Service
    profile: Profile | MessagesProfile | None
    form: WireForm | None = None
    gateways: tuple[Gateway, ...] = ()

    def imitate(self, profile: str | Profile | MessagesProfile) -> Self:
        """Take on the habits of a service that speaks the provider's APIs in its own way. Returns the provider.

        Self-hosted servers are such services: `"vllm"` and `"llama.cpp"`, whose Messages `FakeProvider("anthropic")`
        imitates, `"mlx-lm"`, `"llama-cpp-python"` and `"transformers"`. Raises `ValueError` for a name that the
        provider has no profile of, and `TypeError` for the profile of another provider.
        """
        known = found(self.service.profiles or {}).values()
        if isinstance(profile, str):
            profile = cast("Profile", self.service.profile(profile))
        elif known and not isinstance(profile, tuple({type(one) for one in known})):
            kinds = " or ".join({type(one).__name__ for one in known})
            msg = f"{self.name} is spoken in the habits of a {kinds}, or the name of one; this is {profile!r}"
            raise TypeError(msg)
        self.profile = profile
        return self

    def speak(self, form: WireForm | str | None) -> Self:
        """Write every answer in a form, such as `WireForm(line_ends="crlf", bom=True)`. Returns the provider.

        It is a `WireForm`, or a text: `"crlf"`, a name in `FORMS`, or `"line_ends=crlf,bom"`; None is the provider's
        own way. What is no event stream, such as an error or a document, takes of it what it has: how it is compressed
        and cut. A reply's own form, `reply(..., form=...)`, stands in its place. Raises `ScriptError` for what is none.
        """
        self.form = form_or_none(form)
        return self

    def behind(self, *gateways: str | Gateway) -> Self:
        """Let every answer arrive as it does behind a gateway: `"nginx"`, `"litellm"` and so on. Returns the provider.

        Of several the first is nearest to the server; none take away those that were told. Pace, ends, words and
        headers are those that were measured, which docs/gateways.md lists. A gateway that writes streams anew knows
        chat completions: a stream of another API is refused with `BrokenReplyError`. Raises `ValueError` for a name
        that is none.
        """
        self.gateways = gateways_of(gateways)
        return self

    def _passed_on(self, call: ProviderCall, request: Request) -> Request:
        """Return a request as it reaches the server, for what gateways ask for beside, or take away."""
        for gateway in reversed(self._gateways_of(call)):
            request = passed_on(request, gateway)
        return request

    def _gateways_of(self, call: ProviderCall) -> tuple[Gateway, ...]:
        """Return what the answer to a call passes: gateways of a broken script come before those of the provider."""
        own: tuple[Gateway, ...] = getattr(call.reply.content, "gateways", ()) if call.reply is not None else ()
        return (*own, *self.gateways) if own else self.gateways

    def _profile_of(self, call: ProviderCall) -> Profile | MessagesProfile | None:
        """Return whose habits a request is answered in: those that were asked for, else those of its host."""
        if self.profile is not None or not self.service.habits:
            return self.profile
        profile: Profile | MessagesProfile | None = self.service.profile_at(host_of(call.url))
        return profile

    def _hops(self, call: ProviderCall) -> Iterator[Hop]:
        """Yield what the answer to a call passes, in this order."""
        yield from passing(self._gateways_of(call), call)
        own: WireForm | None = call.reply.form if call.reply is not None else None
        if own is not None:
            yield Writing(own, is_asked=True)
        elif self.form is not None:
            yield Writing(self.form)

    def _sent(self, call: ProviderCall, exchange: Exchange) -> Exchange:
        """Return an answer as it is sent."""
        hops = tuple(self._hops(call))
        return sent(exchange, hops, is_behind=bool(self._gateways_of(call))) if hops else exchange


def sent(exchange: Exchange, hops: Iterable[Hop], *, is_behind: bool) -> Exchange:
    """Return an answer as it is sent past hops: behind gateways in their HTTP."""
    if is_behind:
        exchange.version, exchange.reason = "HTTP/1.1", None
    return exchange.passes(hops)


def sent_as(exchange: Exchange, gateways: Sequence[Gateway], form: WireForm | None) -> Exchange:
    """Return an answer as it is sent past gateways, and written in a form if there is one."""
    passed = tuple(passing(gateways, exchange.call))
    return sent(exchange, [*passed, *([] if form is None else [Writing(form)])], is_behind=bool(passed))


def passing(gateways: Sequence[Gateway], call: ProviderCall) -> Iterator[Hop]:
    """Yield what the answer to a call passes behind gateways."""
    if not gateways:
        return
    from fakellm.wire.gateways.passing import Passing  # with all that they write anew, which few tests want

    for gateway in gateways:
        request = call.request
        asked = Asked(request.api, request.model, call.seed, request.stream, _wants_usage(request), request.prompt)
        yield Passing(gateway, asked)


def passed_on(request: Request, gateway: Gateway) -> Request:
    """Return a request of chat completions as a gateway passes it on: with usage asked for, or not."""
    if gateway.usage == "as asked" or request.api != CHAT or not request.stream:
        return request
    options = {name: value for name, value in request.options.items() if name != "stream_options"}
    if gateway.usage == "always":
        told = request.options.get("stream_options")
        options["stream_options"] = {"include_usage": True, **(told if isinstance(told, Mapping) else {})}
    return replace(request, options=options)


def _wants_usage(request: Request) -> bool:
    told = request.options.get("stream_options")
    return isinstance(told, Mapping) and bool(told.get("include_usage"))
