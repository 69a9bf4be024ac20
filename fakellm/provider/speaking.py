"""How a provider writes its answers: what each passes on its way to the client, the same for every shell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self, cast

from fakellm.provider.exchange import Exchange, ProviderCall
from fakellm.provider.hosts import host_of
from fakellm.wire.anthropic.profiles import MessagesProfile
from fakellm.wire.hops import Hop
from fakellm.wire.openai.profiles import Profile
from fakellm.wire.rewriting import Writing
from fakellm.wire.service import Service, found
from fakellm.wire.wireform import WireForm, form_or_none


class Speaking:
    """A provider whose answers pass hops: last of them is the form that they are written in."""

    name: str
    service: Service
    profile: Profile | MessagesProfile | None
    form: WireForm | None = None

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

    def _profile_of(self, call: ProviderCall) -> Profile | MessagesProfile | None:
        """Return whose habits a request is answered in: those that were asked for, else those of its host."""
        if self.profile is not None or not self.service.habits:
            return self.profile
        profile: Profile | MessagesProfile | None = self.service.profile_at(host_of(call.url))
        return profile

    def _hops(self, call: ProviderCall) -> Iterator[Hop]:
        """Yield what the answer to a call passes, in this order."""
        own: WireForm | None = call.reply.form if call.reply is not None else None
        if own is not None:
            yield Writing(own, is_asked=True)
        elif self.form is not None:
            yield Writing(self.form)

    def _sent(self, call: ProviderCall, exchange: Exchange) -> Exchange:
        """Return an answer as it is sent."""
        return exchange.passes(self._hops(call))
