"""`StreamContract`: the contracts of a stream as a class of pytest tests, one test each."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, ClassVar

from fakellm.contracts.catalogue import Contract, checked_reasons, chosen
from fakellm.contracts.streams.check import run_check, smoke
from fakellm.contracts.streams.lab import Lab, no_error
from fakellm.contracts.streams.projections import text_of
from fakellm.contracts.streams.sources import Api
from fakellm.contracts.streams.subject import Flavour
from fakellm.contracts.verdicts import verdict_of
from fakellm.errors import ContractUsageError

_NAMES = ("input", "api", "chat", "idle_timeout", "skip", "text", "is_error", "make_runnable")


class StreamContract:
    """Subclass it, give it the fixture `make_runnable`, get one test for each contract of a stream.

        class TestMyModel(StreamContract):
            @pytest.fixture
            def make_runnable(self):
                return MyModel

    The fixture returns a maker; `make_runnable = MyModel` alone will do. The attributes `input`, `api`, `chat`, `skip`
    and `idle_timeout`, and the functions `text` and `is_error`, say what `check_stream` takes under these names.
    A contract that cannot be checked is skipped with the reason. Each test's docstring is the contract's sentence.
    """

    input: ClassVar[Any] = "?"
    api: ClassVar[Api | None] = None
    chat: ClassVar[bool] = False
    idle_timeout: ClassVar[float | None] = None
    skip: ClassVar[Mapping[str, str]] = {}
    _flavours: ClassVar[list[Flavour] | None] = None

    text: ClassVar[Any] = staticmethod(text_of)
    is_error: ClassVar[Any] = staticmethod(no_error)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Take a maker for its fixture, give a class without either one that says so, refuse what is misspelt."""
        super().__init_subclass__(**kwargs)
        cls._flavours = None
        check_names(cls, _NAMES, "StreamContract")
        import pytest

        given = cls.__dict__.get("make_runnable")
        if given is None and not hasattr(cls, "make_runnable"):
            given = _missing
        if given is not None and not is_fixture(given):
            cls.make_runnable = pytest.fixture(as_fixture(given, "make_runnable"))  # type: ignore[attr-defined]


def check_names(cls: type, known: Iterable[str], form: str) -> None:
    """Raise `ContractUsageError` for an attribute whose name is nearly one that a class of contracts knows."""
    for name in vars(cls):
        near = get_close_matches(name, known, n=1, cutoff=0.75)
        if near and name not in known:
            msg = f"{cls.__name__} has {name!r}, which {form} does not know; did you mean {near[0]!r}?"
            raise ContractUsageError(msg)


def is_fixture(thing: Any) -> bool:
    """Tell whether something is a fixture of pytest's already."""
    return type(thing).__name__ == "FixtureFunctionDefinition" or hasattr(thing, "_pytestfixturefunction")


def as_fixture(given: Any, name: str) -> Callable[..., Any]:
    """Return a fixture function: the one that was not marked as such, or one that returns the maker that was given."""
    if inspect.isfunction(given) and next(iter(inspect.signature(given).parameters), None) == "self":
        return given
    maker = given.__func__ if isinstance(given, staticmethod) else given

    def make(self: Any) -> Any:  # noqa: ARG001
        return maker

    make.__name__ = make.__qualname__ = name
    return make


def reader(self: Any, name: str) -> Callable[[Any], Any]:
    """Return `text` or `is_error` of a class: a method, or a plain function of a chunk."""
    given = inspect.getattr_static(type(self), name)
    if inspect.isfunction(given) and len(inspect.signature(given).parameters) == 1:
        return given
    found: Callable[[Any], Any] = getattr(self, name)
    return found


def _missing(self: StreamContract) -> Callable[..., Any]:
    """Return the maker of what is checked. To be overridden."""
    msg = (
        f"{type(self).__name__} has no fixture make_runnable; give it one that returns a function which makes a fresh "
        "model:\n"
        "    @pytest.fixture\n"
        "    def make_runnable(self):\n"
        "        return MyModel"
    )
    raise ContractUsageError(msg)


def _test_of(contract: Contract) -> Callable[..., None]:
    def test(self: StreamContract, make_runnable: Callable[..., Any]) -> None:
        __tracebackhide__ = True
        import pytest

        reasons = checked_reasons(self.skip, "stream")
        if contract.name in reasons:
            pytest.skip(reasons[contract.name])
        readers = reader(self, "text"), reader(self, "is_error")
        lab = Lab(make_runnable, self.input, self.api, self.chat, readers[0], self.idle_timeout, readers[1])
        kind = type(self)
        if kind._flavours is None:  # noqa: SLF001 - of this class's own subclass
            kind._flavours = smoke(lab)  # noqa: SLF001
        flavours = kind._flavours  # noqa: SLF001
        verdict = verdict_of(contract, lambda: run_check(contract, lab, flavours))
        if verdict.status == "skipped":
            pytest.skip(verdict.detail)
        if verdict.status == "failed":
            pytest.fail(verdict.detail, pytrace=False)

    test.__name__ = test.__qualname__ = f"test_{contract.name}"
    test.__doc__ = f"{contract.sentence[0].upper()}{contract.sentence[1:]}."
    return test


for _contract in chosen(None, "stream"):
    setattr(StreamContract, f"test_{_contract.name}", _test_of(_contract))
