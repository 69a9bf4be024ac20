"""`Scenario`: a file that says which providers there are and what each answers, for servers and for tests."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from glob import glob
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import ValidationError

from fakellm.agents.scripted import Conversation
from fakellm.errors import ScenarioError, ScriptError, ScriptFileError
from fakellm.models.models import FakeModel
from fakellm.provider.hosts import checked_hosts
from fakellm.provider.itself import by_itself
from fakellm.provider.provider import FakeProvider
from fakellm.provider.routes import Route
from fakellm.script.documents import Document, read, read_json, read_yaml
from fakellm.script.events import http_error
from fakellm.script.files import script_in
from fakellm.script.latency import Latency
from fakellm.script.lines import Place
from fakellm.script.script import Script
from fakellm.server import recorded
from fakellm.server.conversations import Conversing
from fakellm.server.forms import (
    ErrorForm,
    LatencyForm,
    ProviderForm,
    ReplyForm,
    SaysForm,
    ScenarioForm,
    TapesForm,
    TextForm,
    ToldForm,
    WhenForm,
    place_of,
    worded,
    worded_event,
)
from fakellm.server.modelled import is_for_models, tell_model
from fakellm.wire.gateways.gateway import Gateway
from fakellm.wire.gateways.presets import gateways_of
from fakellm.wire.providers import provider_names, service_of
from fakellm.wire.wireform import WireForm, form_or_none

_WHAT = "a scenario"
_LINE = re.compile(r", line (\d+), ")
_SAYS = ("text", "events", "script", "error", "by_itself")


class _Told(NamedTuple):
    """What a provider is told, ready to be told."""

    conversations: list[Conversation]
    routes: list[Callable[[], Route]]
    otherwise: Callable[[], Route] | None
    latency: Latency | None
    limits: Mapping[str, int | None] | None
    gzip: bool | None
    form: WireForm | None
    gateways: tuple[Gateway, ...] | None
    strict: bool | None = None


class _Provider(NamedTuple):
    """A provider of a scenario."""

    profile: str | None
    hosts: tuple[str, ...]
    told: _Told


class Scenario:
    """Providers and what they answer, as a YAML or JSON file says it; docs/scenarios.md has its form.

    `Scenario.load(path)` raises `ScenarioError` that names each problem with file, line, field and remedy.
    `providers()` makes the fakes, `tell(provider)` scripts one that is there. `files` are all that it was read from.
    """

    def __init__(self, document: Document, folder: Path) -> None:
        reading = _Reading(document, folder)
        form = reading.form()
        self._all = reading.told(form, ())
        self._providers = reading.providers(form.providers)
        self._tapes, self._factor = reading.tapes(form.tapes)
        self.files: tuple[Path, ...] = tuple(reading.files)
        reading.finish()

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a `.yaml`, `.yml` or `.json` file. Raises `ScenarioError`, and `OSError` for one that cannot be read."""
        path = Path(path)
        try:
            document = read(path, what=_WHAT)
        except ScriptFileError as error:
            raise ScenarioError(str(error)) from None
        scenario = cls(document, path.parent)
        scenario.files = (path, *scenario.files)
        return scenario

    @classmethod
    def read(cls, text: str, *, name: str = "<scenario>", folder: str | Path = ".", is_json: bool = False) -> Self:
        """Read a text, which errors call `name`; paths in it are relative to `folder`. Raises `ScenarioError`."""
        try:
            document = (read_json if is_json else read_yaml)(text, name=name, what=_WHAT)
        except ScriptFileError as error:
            raise ScenarioError(str(error)) from None
        return cls(document, Path(folder))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its providers."""
        return tuple(self._providers)

    def providers(self, known: Iterable[FakeProvider] = (), *, is_strict: bool = False) -> list[FakeProvider]:
        """Return its providers; those of `known` that are among them are told anew, and keep their logs.

        Where it does not say whether requests are held to the real API's rules, they are if `is_strict`.
        """
        there = {provider.name: provider for provider in known}
        found = []
        for name in self._providers:
            provider = there.get(name) or FakeProvider(name)
            provider.forget().strict_requests(on=is_strict)
            self.tell(provider)
            found.append(provider)
        return found

    def tell_model(self, model: FakeModel[Any]) -> None:
        """Script a model with what all providers are told, in the pace of a first call.

        Replies that want what only requests have, `model`, `tools`, `json`, `api`, are not for it.
        """
        model.play(*(talk for talk in self._all.conversations if is_for_models(talk)))
        more = [] if self._all.otherwise is None else [self._all.otherwise]
        tell_model(model, [make() for make in (*self._all.routes, *more)], self._all.latency)

    def tell(self, provider: FakeProvider) -> FakeProvider:
        """Script a provider with what it is told here, if it is one of these. Returns the provider.

        What is its own comes first, then what all are told; what recorded tapes answer comes before both.
        """
        if provider.name not in self._providers:
            return provider
        own = self._providers[provider.name]
        if own.profile is not None:
            provider.imitate(own.profile)
        provider.hosts = tuple(dict.fromkeys([*provider.hosts, *own.hosts]))
        provider.play(*own.told.conversations, *self._all.conversations)
        for make in (*own.told.routes, *self._all.routes):
            provider.tell(make())
        if (otherwise := own.told.otherwise or self._all.otherwise) is not None:
            provider.tell(otherwise())
        provider.latency = own.told.latency or self._all.latency or provider.latency
        if (limits := own.told.limits or self._all.limits) is not None:
            provider.limits(**limits)
        provider.speak(own.told.form or self._all.form or provider.form)
        gateways = own.told.gateways if own.told.gateways is not None else self._all.gateways
        provider.behind(*(provider.gateways if gateways is None else gateways))
        provider.recorded = recorded.Recorded.of(provider, self._tapes, self._factor) if self._tapes else None
        provider.zips = bool(self._all.gzip if own.told.gzip is None else own.told.gzip)
        strict = self._all.strict if own.told.strict is None else own.told.strict
        if strict is not None:
            provider.strict_requests(on=strict)
        return provider


class _Reading(Conversing):
    """Reads a document, and keeps all that is wrong with it."""

    def __init__(self, document: Document, folder: Path) -> None:
        self._document = document
        self._folder = folder
        self._problems: list[str] = []
        self.files: list[Path] = []

    def form(self) -> ScenarioForm:
        """Return the document in its form. Raises `ScenarioError` for one that has another."""
        document, data = self._document, self._document.data
        if not isinstance(data, dict):
            what = "empty" if data is None else f"a {type(data).__name__}"
            msg = f"{document.name}, line 1, the document: a scenario is a mapping with replies; it is {what}"
            raise ScenarioError(msg)
        try:
            form = ScenarioForm.model_validate(data)
        except ValidationError as error:
            found = {place_of(e): worded(e) for e in reversed(error.errors(include_url=False))}
            for place, text in reversed(found.items()):
                self.problem(place, text)
            self.finish()
            raise
        if form.fakellm_scenario != 1:
            self.problem(
                ("fakellm_scenario",), f"version {form.fakellm_scenario} is unknown; this fakellm reads version 1"
            )
        return form

    def problem(self, place: Place, message: str) -> None:
        self._problems.append(self._document.problem(place or ("the document",), message))

    def finish(self) -> None:
        """Raise `ScenarioError` if anything is wrong."""
        if self._problems:
            lines = {problem: _LINE.search(problem) for problem in self._problems}
            found = sorted(lines, key=lambda problem: int(match[1]) if (match := lines[problem]) else 0)
            error = ScenarioError("\n".join(found))
            error.files = tuple(self.files)
            raise error

    def _tried(self, place: Place, make: Callable[[], Any]) -> Any:
        """Return what is made, or None with the problem noted."""
        try:
            return make()
        except (ScriptError, TypeError, ValueError) as error:
            self.problem(place, str(error))
        return None

    # -- providers ------------------------------------------------------------------------------------

    def providers(self, forms: Sequence[ProviderForm] | None) -> dict[str, _Provider]:
        """Return the providers by their names; all that there are where none is named."""
        if forms is None:
            nothing = _Told([], [], None, None, None, None, None, None)
            return {name: _Provider(None, (), nothing) for name in provider_names()}
        if not forms:
            self.problem(("providers",), "it is empty; name one, or take it away for all")
        found: dict[str, _Provider] = {}
        for at, form in enumerate(forms):
            if form.name in found:
                self.problem(("providers", at, "name"), f"{form.name} is there twice; make one of them")
            found[form.name] = self._provider(form, ("providers", at))
        return found

    def _provider(self, form: ProviderForm, place: Place) -> _Provider:
        service = self._tried((*place, "name"), lambda: service_of(form.name))
        if service is not None and form.profile is not None:
            self._tried((*place, "profile"), lambda: service.profile(form.profile))
        hosts = self._tried((*place, "hosts"), lambda: checked_hosts(form.hosts)) or ()
        return _Provider(form.profile, hosts, self.told(form, place))

    def told(self, form: ToldForm, place: Place) -> _Told:
        routes = [self._reply(one, (*place, "replies", at)) for at, one in enumerate(form.replies)]
        otherwise = None
        if form.otherwise is not None:
            otherwise = self._route("otherwise", form.otherwise, (*place, "otherwise"), {})
        limits = None if form.limits is None else form.limits.model_dump()
        if limits is not None:
            self._tried((*place, "limits"), lambda: FakeProvider("openai").limits(**limits))
        latency = self._latency(form.latency, (*place, "latency"))
        talks = [self.conversation(one, (*place, "conversations", at)) for at, one in enumerate(form.conversations)]
        return _Told(
            [talk for talk in talks if talk is not None],
            [route for route in routes if route is not None],
            otherwise,
            latency,
            limits,
            form.gzip,
            self._wire(form, place),
            self._tried((*place, "behind"), lambda: None if form.behind is None else gateways_of(form.behind)),
            form.strict_requests,
        )

    def _wire(self, form: ToldForm | SaysForm, place: Place) -> WireForm | None:
        return self._tried((*place, "form"), lambda: form_or_none(form.form))  # type: ignore[no-any-return]

    def _latency(self, form: LatencyForm | None, place: Place) -> Latency | None:
        return None if form is None else self._tried(place, lambda: Latency(**form.model_dump()))

    # -- replies --------------------------------------------------------------------------------------

    def _reply(self, form: ReplyForm, place: Place) -> Callable[[], Route] | None:
        if form.when is None:
            return self._route("reply", form, place, {"times": 1 if form.times is None else form.times})
        conditions = self._conditions(form.when, (*place, "when"))
        return self._route("when", form, place, {**conditions, "times": form.times})

    def _route(self, kind: Any, form: SaysForm, place: Place, options: Mapping[str, Any]) -> Callable[[], Route] | None:
        count = len(self._problems)
        content = self._content(form, place)
        latency = self._latency(form.latency, (*place, "latency"))
        wire = self._wire(form, place)
        if content is None or len(self._problems) > count:
            return None
        where = f"{self._document.name}:{self._document.line(place)}"

        def make() -> Route:
            how: dict[str, Any] = {"headers": dict(form.headers), "latency": latency, "form": wire}
            return Route(kind, content, place=where, **how, **options)

        self._tried(place, lambda: make().check())
        return make

    def _conditions(self, form: WhenForm, place: Place) -> dict[str, Any]:
        tools = (form.tools,) if isinstance(form.tools, str) else tuple(form.tools or ())
        plain = {
            "role": form.role,
            "json": form.body,
            "api": form.api,
            "turn": form.turn,
            "after_tool": form.after_tool,
        }
        found = {name: self._matched(getattr(form, name), (*place, name)) for name in ("model", "system")}
        matcher = self._matched(TextForm(text=form.text, pattern=form.pattern), place, is_needed=False)
        return {**plain, **found, "tools": tools, "matcher": matcher}

    def _matched(self, form: TextForm | None, place: Place, *, is_needed: bool = True) -> str | re.Pattern[str] | None:
        if form is None:
            return None
        if form.text is not None and form.pattern is not None:
            self.problem(place, "text and pattern stand for each other; write one of them")
        elif form.text is None and form.pattern is None and is_needed:
            self.problem(place, "it is empty; write text or pattern")
        if form.pattern is None:
            return form.text
        try:
            return re.compile(form.pattern)
        except re.error as error:
            self.problem((*place, "pattern"), f"{form.pattern!r} is no regular expression: {error}")
        return None

    def _content(self, form: SaysForm, place: Place) -> Script | Callable[..., Any] | None:
        said = [name for name in _SAYS if getattr(form, name) is not None]
        if len(said) != 1:
            what = f"it has {' and '.join(said)}" if said else "it says nothing"
            self.problem(place, f"{what}; write one of {', '.join(_SAYS)}")
            return None
        if form.allow_illegal and form.events is None:
            self.problem((*place, "allow_illegal"), "it belongs to events; take it away, or write events")
        if form.by_itself or form.error is not None:
            if form.pacing is not None:
                self.problem((*place, "pacing"), f"it paces a script, not {said[0]}; write latency, or take it away")
            return by_itself if form.error is None else self._error(form.error, place)
        script = self._script(form, place)
        if script is None or form.pacing is None:
            return script
        pacing = form.pacing
        return self._tried((*place, "pacing"), lambda: script.paced(pacing))  # type: ignore[no-any-return]

    def _error(self, form: ErrorForm, place: Place) -> Script | None:
        fields = form.model_dump(exclude_none=True)
        return self._tried((*place, "error"), lambda: Script(http_error(**fields)))  # type: ignore[no-any-return]

    def _script(self, form: SaysForm, place: Place) -> Script | None:
        if form.text is not None:
            return Script.of(form.text) if form.text else Script("")
        if form.events is not None:
            where = (*place, "events")
            script = script_in(
                self._document, where, form.events, self._problems, allow_illegal=form.allow_illegal, word=worded_event
            )
            if script is not None and not script:
                self.problem(where, "an empty script answers nothing; for an answer without text write text: ''")
                return None
            return script
        path = self._folder / str(form.script)
        self.files.append(path)
        try:
            return Script.load(path)
        except (ScriptFileError, OSError) as error:
            self.problem((*place, "script"), _of_file(error, path))
        return None

    # -- tapes ----------------------------------------------------------------------------------------

    def tapes(self, form: TapesForm | None) -> tuple[list[recorded.Interaction], float]:
        """Return what the tapes of a scenario hold, and how long their silences are."""
        if form is None:
            return [], 1.0
        factor = {"recorded": 1.0, "instant": 0.0}.get(str(form.timing), form.timing)
        if not isinstance(factor, (int, float)) or not 0 <= factor < float("inf"):
            self.problem(("tapes", "timing"), f"{form.timing!r} is no factor; write recorded, instant or 0.1")
            factor = 1.0
        found: list[recorded.Interaction] = []
        is_list = isinstance(form.files, list)
        for at, pattern in enumerate(form.files if isinstance(form.files, list) else [form.files]):
            in_mapping = isinstance(self._document.data["tapes"], dict)
            place = ("tapes", *(("files",) if in_mapping else ()), *((at,) if is_list else ()))
            paths = sorted(Path(path) for path in glob(str(self._folder / pattern), recursive=True))  # noqa: PTH207
            if not paths:
                self.problem(place, f"no file is at {self._folder / pattern}; write a path, or a pattern of some")
            folder = (self._folder / pattern).parent  # where more of them may be some day
            self.files += [*([folder] if folder.is_dir() else []), *paths]
            try:
                found += recorded.load(paths)
            except (ValueError, OSError) as error:
                self.problem(place, str(error))
        return found, float(factor)


def _of_file(error: ScriptFileError | OSError, path: Path) -> str:
    if isinstance(error, FileNotFoundError):
        return f"there is no file {path}; write the path of a script file, from the folder of this file on"
    return str(error)
