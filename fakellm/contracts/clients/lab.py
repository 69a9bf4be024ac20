"""Where a client is tried: it is made afresh, asks a fake of its provider, and what the app saw comes back."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fakellm.contracts.attempts import PATIENCE, Attempt, attempt
from fakellm.contracts.clients.cases import PLAIN, TEXTS, Case, cases
from fakellm.contracts.clients.report import Row
from fakellm.contracts.clients.seen import Seen, difference, seen_of, unstable, without
from fakellm.contracts.clients.wires import Watching, document_in
from fakellm.contracts.faults.arriving import is_hidden, named
from fakellm.contracts.faults.checks import Judge, Raises
from fakellm.contracts.faults.ways import Faulty
from fakellm.contracts.streams.projections import UNKNOWN, text_of
from fakellm.contracts.streams.sources import without_key
from fakellm.contracts.verdicts import check_functions, name_of
from fakellm.errors import ContractUsageError, clip
from fakellm.provider.actions import Failure, Timeouts
from fakellm.provider.exchange import ProviderCall
from fakellm.provider.provider import FakeProvider
from fakellm.script.script import Script
from fakellm.wire.gateways.gateway import Gateway
from fakellm.wire.hops import Hop
from fakellm.wire.openai.profiles import Profile
from fakellm.wire.providers import provider_names
from fakellm.wire.wireform import Framing, WireForm, framing_of

_TERSE = "ollama"
"""A profile of chat completions whose first event has a text in it, so that it is missed where it is lost."""

_ENDLESS = ("gemini", "dashscope", "bedrock")
"""Providers whose streams end with their connection: a finish reason is the last that they say, and no end marker."""


class _Asked(FakeProvider):
    """A provider whose answers pass one hop more, as they leave it."""

    odd: Hop | None = None

    def _hops(self, call: ProviderCall) -> Iterator[Hop]:
        if self.odd is not None:
            yield self.odd
        yield from super()._hops(call)


@dataclass
class Lab:
    """How a client is made and asked. See `fakellm.contracts.check_client` for what the fields mean."""

    make: Callable[[], Any]
    api: str
    input: Any = "?"
    profile: str | Profile | Any = None
    hosts: Sequence[str] = ()
    text: Callable[[Any], Any] = text_of
    raises: Raises | None = None
    incomplete: Callable[[Any], object] | None = None
    skip: Mapping[str, str] = field(default_factory=dict)
    gateways: tuple[Gateway, ...] = ()
    patience: float = 10.0
    plain: Seen = field(init=False)
    terse: Seen | None = field(init=False, default=None)
    framing: Framing = field(init=False, default="other")
    accepts: str = field(init=False, default="")
    endpoint: str = field(init=False, default="")
    seen: Callable[[Seen], Any] = field(init=False)
    judge: Judge = field(init=False)
    rows: list[Row] = field(init=False, default_factory=list)
    cases: list[Case] = field(init=False)
    _document: dict[str, Any] | None = field(init=False, default=None)
    _calls: list[ProviderCall] = field(init=False, default_factory=list)
    _first: ProviderCall = field(init=False)

    def __post_init__(self) -> None:
        if not callable(self.make):
            msg = f"a maker is a function that returns a function which asks, not {clip(repr(self.make), 80)}"
            raise ContractUsageError(msg)
        if inspect.iscoroutinefunction(self.make):
            msg = f"the maker {self.make!r} is asynchronous; it only makes the client, so write def"
            raise ContractUsageError(msg)
        check_functions(text=self.text, incomplete=self.incomplete)
        if self.api not in provider_names():
            msg = (
                f"api is the provider that the client asks: {', '.join(map(repr, provider_names()))}, not {self.api!r}"
            )
            raise ContractUsageError(msg)
        self._look()

    @property
    def name(self) -> str:
        """What the maker is called."""
        return name_of(self.make)

    # -- asking ---------------------------------------------------------------------------------------

    def ask(
        self, script: Script, *, form: WireForm | None = None, odd: Hop | None = None, profile: Any = None
    ) -> Attempt:
        """Make a client, let it ask, and return what came of that; `value` is what the app saw."""
        fake = _Asked(self.api, profile=profile or self.profile, hosts=self.hosts)
        fake.behind(*self.gateways).otherwise(script).speak(form)
        fake.odd = odd
        return self._asked(fake)

    def _asked(self, fake: FakeProvider) -> Attempt:
        from fakellm.http.interception import intercept

        made: list[Any] = []  # kept until all is read: a client that nobody has any more closes its connections

        def call() -> Any:
            made.append(self.make())
            return self._call(made[0])

        with intercept(fake):
            found = attempt(call, patience=self.patience if self._calls else PATIENCE)
            self._calls = list(fake.calls)
        if found.error is None:
            found.value = seen_of(found.value, self.text)
        return found

    def _call(self, ask: Any) -> Any:
        if not callable(ask):
            msg = (
                f"the maker returned {clip(repr(ask), 80)}; return a function that asks, and returns what the app "
                "sees: a text, a list of chunks, or a stream of them"
            )
            raise ContractUsageError(msg)
        try:
            inspect.signature(ask).bind(self.input)
        except TypeError:
            return ask()
        except ValueError:  # of what has no signature
            pass
        return ask(self.input)

    # -- the plain answer -----------------------------------------------------------------------------

    def _look(self) -> None:
        """Look how the client asks, and what its app sees of the plain answer; refuse what proves nothing."""
        watching = Watching(TEXTS[1])
        found, again = self.ask(PLAIN, odd=watching), self.ask(PLAIN)
        if found.error is not None:
            usual = "say in the maker what the client needs: a key, a model, a host; and which provider it asks, api="
            remedy = without_key(found.error) or usual
            where = "on the plain answer" if self._calls else f"before it asks {self.api} anything"
            headline = f"the client fails {where}, so no contract can be checked"
            msg = f"{headline}\n  got:    {found}\n  to do:  {remedy}"
            raise ContractUsageError(msg) from found.error
        if not self._calls:
            msg = f"the client asked no {self.api}; say which provider it asks with api="
            raise ContractUsageError(msg)
        streams = (call for call in self._calls if call.input is not None and call.input.stream)
        call = self._first = next(streams, self._calls[-1])  # an app may ask for a list of models before
        self.endpoint, self.framing, self._document = call.api, framing_of(watching.kind), document_in(watching.piece)
        self.accepts = next((value for name, value in call.headers.items() if name.lower() == "accept-encoding"), "")
        self.seen = self._comparison(found.value, again.value)
        self.plain = found.value
        if not watching.piece or not call.input or not call.input.stream:
            msg = f"the client asked {call.address} for no stream, and these contracts are about streams"
            raise ContractUsageError(msg)
        own = FakeProvider(self.api).service.error_events
        self.cases = cases((True, False) if self.framing == "events" else own, watching.piece)
        self._try_oracle()
        self._look_terse()

    def _comparison(self, one: Seen, other: Seen) -> Callable[[Seen], Any]:
        """Return by what two answers are compared: all that was seen, but for what differs by itself, such as an id."""
        names = unstable(one.value, other.value)
        if not names and names is not None:
            return lambda seen: seen.value
        if names is not None and without(one.value, names):
            return lambda seen: without(seen.value, names)
        if one.text is not UNKNOWN and one.text == other.text:
            return lambda seen: seen.text
        msg = (
            "the same answer gives two results, and nothing can be compared with that; return what the answer says\n"
            f"  one:    {clip(repr(one.value), 200)}\n  other:  {clip(repr(other.value), 200)}"
        )
        raise ContractUsageError(msg)

    def _try_oracle(self) -> None:
        from fakellm.contracts.faults.ways import half, unbroken

        def run(faulty: Script) -> Any:
            found = self.ask(faulty)
            if found.error is not None:
                raise found.error
            return self.seen(found.value)

        self.judge = Judge(run, self.raises, self.incomplete, None, None, self.patience)
        self.judge.name = self.name
        self.judge.try_oracle(unbroken(PLAIN), half(PLAIN))

    def _look_terse(self) -> None:
        if self.api == "openai" and self.endpoint == "openai.chat" and self.profile is None:
            found = self.ask(PLAIN, profile=_TERSE)
            self.terse = found.value if found.error is None else None

    # -- cases ----------------------------------------------------------------------------------------

    def refused(self, case: Case) -> str:
        """Say why a case cannot be tried on this client, or nothing."""
        return self.skip.get(case.name) or self._not_sent(case)

    def _not_sent(self, case: Case) -> str:
        what = {"events": "event streams", "lines": "lines of JSON", "other": "no event streams"}[self.framing]
        if self.framing not in case.framings or (case.form is not None and case.form.lost(self.framing)):
            return f"{self.endpoint} sends {what}, which have no such form"
        if case.form is not None and (encoding := case.form.encoding) and encoding not in self.accepts:
            return f"the client does not ask for {encoding}"
        if case.change is not None and (self._document is None or case.change(self._document) is None):
            return f"{self.endpoint} has no such event"
        if case.faults and all(self.is_hidden(faulty) for faulty in case.faults):
            return f"behind {named(self.gateways)} it arrives as a whole answer, which nobody can tell"
        lacks = {
            "broken_json": "JSON in it" if self.framing == "events" and self._document is None else "",
            "unknown_finish": "finish reason" if self.endpoint == "openai.responses" else "",
            "late": "end marker" if self.api in _ENDLESS else "",
        }.get(case.name)
        return f"{self.endpoint} has no {lacks}" if lacks else ""

    def is_hidden(self, faulty: Faulty) -> bool:
        """Tell whether a fault arrives as a whole answer behind the gateways."""
        return is_hidden(faulty, self.gateways)

    def reads(self, form: WireForm, *, terse: bool = False) -> Attempt | None:
        """Return what a form came to, if that is not what the plain answer comes to."""
        plain = self.terse if terse else self.plain
        found = self.ask(PLAIN, form=form, profile=_TERSE if terse else None)
        same = found.error is None and plain is not None and self.seen(found.value) == self.seen(plain)
        return None if same else found

    def differs(self, form: WireForm) -> Attempt | None:
        """Return what a form came to, if that is another than the plain one, also where the first event counts."""
        found = self.reads(form)
        begins = form.bom or form.retry is not None or form.comments == "first"
        return self.reads(form, terse=True) if found is None and begins and self.terse is not None else found

    def sent(self, form: WireForm) -> bytes:
        """Return how the plain answer is sent in a form, but for how it is compressed and cut."""
        call = self._first
        fake = FakeProvider(self.api, profile=self.profile, hosts=self.hosts).behind(*self.gateways).otherwise(PLAIN)
        exchange = fake.speak(replace(form, encoding=None, pieces=None)).handle(
            call.method, call.url, call.headers, call.body
        )
        runs = (action for action in exchange.body(Timeouts()) if not isinstance(action, (int, float, Failure)))
        return b"".join(piece for run in runs for piece in run)

    def shown_provider(self, *, terse: bool) -> str:
        """Write the provider for which a form makes a difference."""
        profile = _TERSE if terse else self.profile
        return f"FakeProvider({self.api!r}{f', profile={profile!r}' if profile is not None else ''}){self.behind}"

    @property
    def behind(self) -> str:
        """Write what puts a provider behind the gateways."""
        return f".behind({', '.join(repr(gateway.name) for gateway in self.gateways)})" if self.gateways else ""

    def compared(self, found: Attempt, *, terse: bool = False) -> tuple[str, str]:
        """Word what was to be seen, and what was."""
        plain = self.terse if terse and self.terse is not None else self.plain
        if found.error is not None:
            return clip(repr(self.seen(plain)), 120), str(found)
        if isinstance(plain.text, str) and isinstance(found.value.text, str) and plain.text != found.value.text:
            return difference(plain.text, found.value.text)
        return difference(self.seen(plain), self.seen(found.value))
