"""Answers clients that the app makes by itself: fake providers in place of the transports of httpx and httpx2.

What is replaced is how the libraries' own transports handle a request, so clients made before, after, or with a
transport wrapped around those are all answered, and mocks that stand in for a transport keep working. A library that
is not loaded yet is watched for, and not imported: a test pays for what its app uses.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from fakellm.errors import clip
from fakellm.http.certificates import wait_for_use
from fakellm.http.children import kept_by
from fakellm.http.keys import keys_for
from fakellm.http.network import Guard, address_of, before_sending, credentials_of, put
from fakellm.http.pool import Reading, limit_of
from fakellm.http.transports import aanswer, answer, cut
from fakellm.provider.hosts import host_of
from fakellm.provider.provider import FakeProvider

if TYPE_CHECKING:
    from fakellm.cassette.tape import Tape

LIBRARIES = ("httpx", "httpx2", "aiohttp", "urllib3")
"""The HTTP libraries that the official SDKs use; urllib3 is below requests and botocore."""


class Interception:
    """Fake providers that answer every client of this process while the interception is on.

    `providers` may grow while it is on. Requests that none of them claims go on to where they were going, unless the
    `guard` refuses: a provider that is not faked is not reached by accident. `tape` plays or records those; while
    somebody sends whose requests do not belong on it, `outsider` says who.
    """

    def __init__(self, providers: Iterable[FakeProvider] = (), *, block_network: bool = False) -> None:
        self.providers = list(providers)
        self.guard = Guard(block_network=block_network)
        self.guard.faked = self.providers
        self.is_on = False
        self.tape: Tape | None = None
        self.outsider = ""
        self._reached: tuple[str, ...] = ()
        self._desk: FakeProvider | None = None
        self._reading: WeakKeyDictionary[Any, Reading] = WeakKeyDictionary()

    def provider_for(self, method: str, url: str) -> FakeProvider | None:
        """Return the provider that answers a request: one that knows the endpoint, whose host it is, before others."""
        if not self.is_on:
            return None
        claiming = [provider for provider in self.providers if provider.claims(method, url)]
        if not claiming and (desk := self._token_desk(method, url)):
            return desk
        if not claiming:
            for provider in self.providers:
                provider.note_passed(method, url)
        if len(claiming) == 1:
            return claiming[0]
        return max(claiming, key=lambda provider: provider.nearness(method, url), default=None)

    def _token_desk(self, method: str, url: str) -> FakeProvider | None:
        """Return what answers a request for a token for the SDK of one of the providers."""
        host = host_of(url)
        asked = (provider.service.tokens for provider in self.providers)
        if not any(tokens is not None and tokens.match(host) for tokens in asked):
            return None
        if self._desk is None:
            from fakellm.http.tokens import token_desk

            self._desk = token_desk()
        return self._desk if self._desk.knows(method, url) else None

    def _passes_on(self, provider: FakeProvider, request: Any) -> bool:
        """Tell whether a request goes on to what other mocks stand before the network, since the fake cannot answer."""
        return self.tape is None and not provider.knows(request.method, str(request.url))

    @contextmanager
    def on(self, modules: Sequence[ModuleType] | None = None) -> Iterator[Interception]:
        """Answer clients of the modules, by default of each HTTP library that is loaded, or will be."""
        with ExitStack() as stack:
            stack.enter_context(self.guard.on_sockets())
            stack.enter_context(kept_by(self.guard))
            stack.callback(self._stop)
            wait_for_use(stack)
            self._reached = _reached(LIBRARIES if modules is None else [module.__name__ for module in modules])
            for module in modules if modules is not None else _loaded():
                self._replace(module, stack)
            if modules is None:
                watch = _Watch(lambda module: self._replace(module, stack))
                sys.meta_path.insert(0, watch)
                stack.callback(sys.meta_path.remove, watch)
            self.is_on = True
            yield self

    @contextmanager
    def answering_from(self, tape: Tape) -> Iterator[Tape]:
        """Open a tape, and answer from it what no provider claims; requests that it may record may leave."""
        with tape.open(reached=self._reached):
            self.tape, self.guard.allows_providers = tape, tape.may_record
            tape.leaves = lambda method, url: self.provider_for(method, url) is not None
            try:
                yield tape
            finally:
                self.tape, self.guard.allows_providers = None, False

    @contextmanager
    def open_to_providers(self) -> Iterator[None]:
        """Let requests to real providers leave this machine, which are asked what is on a tape."""
        self.guard.allows_providers = True
        try:
            yield
        finally:
            self.guard.allows_providers = False

    def refuse_outsider(self, request: Any) -> None:
        """Raise `UnexpectedRequestError` for a request that would land on a tape that is not its sender's."""
        if self.outsider and self.tape is not None and self.tape.is_open:
            asked = address_of(request)
            own = (
                "`with fakellm.http.playing(fakellm.cassette.Tape(path)):` around what sends it, inside of the fixture"
            )
            miss = self.guard.missed(
                f"{asked} was sent by {self.outsider}, and the tape that is open is that of one test: {self.tape.path}",
                sent=[asked],
                expected=["requests of the test, and of fixtures that are set up for it alone"],
                remedy=[
                    f"play it from a tape of its own: {own}",
                    "or give the fixture the scope of a function: then each test has it on its own tape",
                ],
            )
            miss.credentials = credentials_of(request)
            del request  # pytest shows what a function that raises was called with
            raise miss

    def _stop(self) -> None:
        self.is_on = False

    def _replace(self, module: ModuleType, stack: ExitStack) -> None:
        """Put the providers before a library's own transports until the stack is unwound."""
        if module.__name__ == "aiohttp":
            from fakellm.http.aiohttp import replace

            replace(module, self, stack)
            return
        if module.__name__ == "urllib3":
            from fakellm.http.urllib3 import replace as replace_urllib3

            replace_urllib3(module, self, stack)
            return
        for kind, name, method, closers in (
            (module.HTTPTransport, "handle_request", self._sync(module), ("close", "__exit__")),
            (module.AsyncHTTPTransport, "handle_async_request", self._async(module), ("aclose", "__aexit__")),
        ):
            put(kind, name, method(getattr(kind, name)), stack)
            for closer in closers:
                put(kind, closer, self._cutting(getattr(kind, closer)), stack)

    def _sync(self, module: ModuleType) -> Callable[[Any], Any]:
        def wrap(original: Any) -> Any:
            def handle_request(transport: Any, request: Any) -> Any:
                if provider := self.provider_for(request.method, str(request.url)):
                    if self._passes_on(provider, request):
                        with unless_sent(provider, request, request.read(), is_async=False):
                            return original(transport, request)
                    return answer(provider, module, request, self._read_by(transport))
                if self.is_on and self.tape is not None:
                    self.refuse_outsider(request)
                    from fakellm.http.tape import through

                    return through(self.tape, module, request, self._read_by(transport), partial(original, transport))
                if self.is_on:
                    self.guard.watch(request, is_async=False)
                return original(transport, request)

            return handle_request

        return wrap

    def _async(self, module: ModuleType) -> Callable[[Any], Any]:
        def wrap(original: Any) -> Any:
            async def handle_async_request(transport: Any, request: Any) -> Any:
                if provider := self.provider_for(request.method, str(request.url)):
                    if self._passes_on(provider, request):
                        with unless_sent(provider, request, await request.aread(), is_async=True):
                            return await original(transport, request)
                    return await aanswer(provider, module, request, self._read_by(transport))
                if self.is_on and self.tape is not None:
                    self.refuse_outsider(request)
                    from fakellm.http.tape import athrough

                    send = partial(original, transport)
                    return await athrough(self.tape, module, request, self._read_by(transport), send)
                if self.is_on:
                    self.guard.watch(request, is_async=True)
                return await original(transport, request)

            return handle_async_request

        return wrap

    def _read_by(self, transport: Any) -> Reading:
        return self._reading.setdefault(transport, Reading(limit_of(transport)))

    def _cutting(self, original: Any) -> Any:
        """Return how a transport closes, synchronously or not, with what it reads of the providers."""

        def close(transport: Any, *error: Any) -> Any:
            cut(self._reading.pop(transport, Reading()))
            return original(transport, *error)

        return close


@contextmanager
def unless_sent(provider: FakeProvider, request: Any, body: bytes, *, is_async: bool) -> Iterator[None]:
    """Let other mocks answer a request to an endpoint that the provider does not know.

    Inside the block nothing is sent: about to be, or where a mock says by an assertion that it does not know the
    request either, it is the provider's own miss.
    """
    ask = partial(provider.refuse, request.method, str(request.url), request.headers, body)
    before_sending(request, ask, is_async=is_async)
    try:
        yield
    except AssertionError as error:  # of respx, that it has no route
        raise ask() from error


@contextmanager
def intercept(
    *providers: FakeProvider, block_network: bool = False, modules: Sequence[ModuleType] | None = None
) -> Iterator[Interception]:
    """Let the providers answer every client of this process inside the block.

    Nothing in the app changes: its `OpenAI()` finds its answers scripted, whichever HTTP library it uses, and a key in
    the environment, where there is none. A request to a provider of models that is not faked raises
    `UnexpectedRequestError`; with `block_network` so does every request that would leave this machine.
    """
    _check_providers(providers)
    with (
        keys_for(provider.service for provider in providers),
        Interception(providers, block_network=block_network).on(modules) as interception,
    ):
        yield interception


def _check_providers(given: Iterable[object]) -> None:
    """Raise `TypeError` for what is no fake provider."""
    for one in given:
        if isinstance(one, FakeProvider):
            continue
        hint = ""
        if isinstance(one, str):
            hint = f"; write FakeProvider({one!r})"
        elif isinstance(one, (list, tuple)):
            hint = f"; write *{type(one).__name__}, one argument each"
        elif type(one).__name__ == "Tape":
            hint = "; a tape plays in `with fakellm.http.playing(tape):`"
        msg = f"intercept takes fake providers, such as FakeProvider('openai'), not {clip(repr(one), 80)}{hint}"
        raise TypeError(msg)


@contextmanager
def playing(tape: Tape) -> Iterator[Tape]:
    """Put a tape between the clients of this process and the network inside the block; what it recorded is saved then.

        with playing(Tape("cassettes/chat.yaml", mode="none")) as tape:
            my_app.ask("?")

    In tests the marker `cassette` does this, and fails a test whose requests never touched the tape.
    """
    with Interception().on() as interception, interception.answering_from(tape):
        yield tape


def _reached(libraries: Iterable[str]) -> tuple[str, ...]:
    """Return vcrpy's names of the clients that shells of ours bring to a tape."""
    names = {"aiohttp": ("aiohttp",), "urllib3": ("urllib3", "requests", "boto3")}
    return tuple(name for library in libraries for name in names.get(library, ()))


def _loaded() -> list[ModuleType]:
    """Return the libraries that are loaded, each once: one may be there under the other's name."""
    modules = [sys.modules[name] for name in LIBRARIES if name in sys.modules]
    return list(dict.fromkeys(modules))


class _Watch(MetaPathFinder):
    """Tells when one of the libraries is loaded."""

    def __init__(self, loaded: Callable[[ModuleType], None]) -> None:
        self._loaded = loaded
        self._looking: set[str] = set()

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002
        """Find a library as Python would, with a loader that tells."""
        if fullname not in LIBRARIES or fullname in self._looking:
            return None
        self._looking.add(fullname)
        try:
            spec = find_spec(fullname)
        finally:
            self._looking.discard(fullname)
        if spec is not None and spec.loader is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Telling(spec.loader, self._loaded)
        return spec


class _Telling(Loader):
    """Loads a module as its own loader does, then tells."""

    def __init__(self, loader: Any, loaded: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._loaded = loaded

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Create the module."""
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module; then it is loaded, and is given back to its own loader."""
        self._loader.exec_module(module)
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loaded(module)
