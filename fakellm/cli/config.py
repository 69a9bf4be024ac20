"""What `fakellm serve` was asked for, and the server that it becomes."""

from __future__ import annotations

import ipaddress
import runpy
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fakellm.cli.wording import UsageError, clock_of
from fakellm.clock.clock import Clock
from fakellm.errors import ScenarioError, ScriptError
from fakellm.models.copies import tell_again, unasked
from fakellm.provider.provider import FakeProvider
from fakellm.server.bounds import KEEP
from fakellm.server.scenario import Scenario
from fakellm.server.server import Server, by_themselves
from fakellm.server.watched import Watched
from fakellm.wire.gateways.gateway import Gateway
from fakellm.wire.gateways.presets import gateways_of
from fakellm.wire.wireform import WireForm, form_of


@dataclass(frozen=True, slots=True)
class Serving:
    """What to serve, and how; made of plain values, so that it can be handed to another process."""

    file: str | None = None
    host: str = "127.0.0.1"
    port: int = 0
    profiles: tuple[str, ...] = ()
    form: str | None = None
    behind: tuple[str, ...] = ()
    speed: str = "1"
    watch: bool = False
    grace: float = 5.0
    workers: int = 1
    json: bool = False
    keep: int = KEEP
    strict_requests: bool = False

    def plain(self) -> dict[str, Any]:
        """Return it as JSON can say it."""
        return asdict(self)

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Serving:
        """Return what `plain` returned the form of."""
        return cls(**{**plain, "profiles": tuple(plain["profiles"]), "behind": tuple(plain["behind"])})

    @property
    def is_public(self) -> bool:
        """Whether others than this machine reach it."""
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"

    def clock(self) -> Clock:
        """Return the clock of a speed: how many times as fast, or `instant`. Raises `UsageError`."""
        return clock_of(self.speed)

    def server(self, say: Callable[[str], None] = print) -> Server:
        """Return the server, which says by `say` that its file has changed. Raises `UsageError`."""
        options: dict[str, Any] = {"host": self.host, "port": self.port, "keep": self.keep, "clock": self.clock()}
        options["shares_port"] = self.workers > 1
        if not self.watch or self.file is None:
            return Server(self.providers(), **options)
        try:
            return Server(scenario=Watched(self.file, load=self.told, say=say), **options)
        except (ScriptError, OSError) as error:
            raise UsageError(str(error)) from error

    def providers(self) -> list[FakeProvider]:
        """Return the providers that the file has, or such as answer by themselves. Raises `UsageError`."""
        if self.file is None:
            found = by_themselves()
            for provider in found:
                provider.strict_requests(on=self.strict_requests)
            return speaking(_imitating(found, self.profiles), self.form, self.behind)
        try:
            return self.told(Path(self.file)).providers()
        except (ScriptError, OSError) as error:
            raise UsageError(str(error)) from error

    def told(self, path: Path) -> Told:
        """Return what a file says, in the habits that were asked for. Raises `ScenarioError` that names the place."""
        return Told(path, self.profiles, self.form, self.behind, strict=self.strict_requests)


class Told:
    """What a file says, in the habits that were asked for. Raises `ScenarioError` for a file that is wrong."""

    def __init__(
        self,
        path: Path,
        profiles: Sequence[str],
        form: str | None = None,
        behind: Sequence[str] = (),
        *,
        strict: bool = False,
    ) -> None:
        if not path.is_file():
            msg = f"there is no file {path}" if not path.exists() else f"{path} is no file"
            raise ScenarioError(msg)
        self._said = PythonFile(path) if path.suffix == ".py" else Scenario.load(path)
        self._profiles = profiles
        self._form = form
        self._behind = behind
        self._strict = strict
        self.files = self._said.files
        try:
            self.providers()
        except UsageError as error:
            raise ScenarioError(str(error)) from error

    def providers(self, known: Iterable[FakeProvider] = ()) -> list[FakeProvider]:
        """Return the providers; those of `known` that are among them are told anew, and keep their logs."""
        found = self._said.providers(known, is_strict=self._strict)
        return speaking(_imitating(found, self._profiles), self._form, self._behind)


class PythonFile:
    """A Python file whose `providers` are what it says. Raises `ScenarioError` for a file that is wrong."""

    def __init__(self, path: Path) -> None:
        self.files: tuple[Path, ...] = (path,)
        self._made = _of_python(path)

    def providers(self, known: Iterable[FakeProvider] = (), *, is_strict: bool = False) -> list[FakeProvider]:
        """Return copies of them that were asked nothing; those of `known` that are among them are told the same.

        If `is_strict`, those that hold requests to no rules are held to them all.
        """
        there = {provider.name: provider for provider in known}
        copies = [unasked(made) for made in self._made]
        for at, copied in enumerate(copies):
            if (provider := there.get(copied.name)) is not None:
                tell_again(provider, copied)
                copies[at] = provider
            if is_strict and not copies[at].is_strict:
                copies[at].strict_requests()
        return copies


def _imitating(providers: list[FakeProvider], profiles: Iterable[str]) -> list[FakeProvider]:
    for profile in profiles:
        imitate(providers, profile)
    return providers


def speaking(providers: list[FakeProvider], form: str | None, behind: Sequence[str]) -> list[FakeProvider]:
    """Let providers answer in a form and behind gateways, as options tell; return them. Raises `UsageError`."""
    written = None if form is None else _form_of_option(form)
    gateways = _gateways_of_options(behind)
    for provider in providers:
        if written is not None:
            provider.speak(written)
        if gateways:
            provider.behind(*gateways)
    return providers


def _form_of_option(text: str) -> WireForm:
    try:
        return form_of(text)
    except ScriptError as error:
        msg = f"--form {text}: {error}"
        raise UsageError(msg) from None


def _gateways_of_options(names: Sequence[str]) -> tuple[Gateway, ...]:
    try:
        return gateways_of(names)
    except ValueError as error:
        msg = f"--behind: {error}"
        raise UsageError(msg) from None


def imitate(providers: Iterable[FakeProvider], profile: str) -> None:
    """Let providers take on a profile: `openai=vllm`, or `vllm` for all that know it. Raises `UsageError`."""
    name, _, habits = profile.rpartition("=")
    why = f"no provider here is called {name!r}"
    is_known = False
    for provider in providers:
        if name in ("", provider.name):
            try:
                provider.imitate(habits)
                is_known = True
            except ValueError as error:
                why = str(error) if name or provider.service.profiles else why
    if not is_known:
        msg = f"--profile {profile}: {why}"
        raise UsageError(msg)


def _of_python(path: Path) -> list[FakeProvider]:
    try:
        said: Any = runpy.run_path(str(path), run_name="fakellm_scenario").get("providers")
        found = said() if isinstance(said, Callable) else said  # type: ignore[arg-type]
        if isinstance(found, FakeProvider):
            found = [found]
        found = list(found) if isinstance(found, Iterable) else None
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        line = next((frame.lineno for frame in reversed(frames) if frame.filename == str(path)), None)
        worded = "".join(traceback.format_exception_only(error)).strip()
        if isinstance(error, SyntaxError) and error.filename == str(path):
            line, worded = error.lineno, f"{type(error).__name__}: {error.msg}"
        msg = f"{path}:{line}: {worded}" if line else f"{path}: {worded}"
        raise ScenarioError(msg) from error
    if not found or not all(isinstance(one, FakeProvider) for one in found):
        msg = f"{path}: `providers` is a list of FakeProviders, or a function that returns one; it is {said!r}"
        raise ScenarioError(msg)
    names = [one.name for one in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        msg = f"{path}: `providers` has {twice!r} more than once; a server answers each provider with one fake"
        raise ScenarioError(msg)
    return found
