"""`StreamContract`: the contracts of a stream as a class of pytest tests, one test each."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, ClassVar

from fakellm.contracts.catalogue import Contract, Kind, checked_reasons, chosen
from fakellm.contracts.streams.check import run_check, smoke
from fakellm.contracts.streams.lab import Lab, no_error
from fakellm.contracts.streams.projections import text_of
from fakellm.contracts.streams.sources import Api
from fakellm.contracts.streams.subject import Flavour
from fakellm.contracts.verdicts import Verdict, verdict_of
from fakellm.errors import ContractUsageError


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
        take_fixture(cls, StreamContract, "make_runnable", _missing)


def take_fixture(cls: type, form: type, name: str, missing: Callable[..., Any]) -> None:
    """Make a fixture of the maker that a class of contracts has, or else of `missing`, unless it is one or inherited.

    Raises `ContractUsageError` for an attribute whose name is nearly one that the `form` of the class knows.
    """
    import pytest

    _check_names(cls, [*(known for known in vars(form) if not known.startswith(("_", "test_"))), name], form.__name__)
    given = cls.__dict__.get(name)
    if given is None and not hasattr(cls, name):
        given = missing
    if given is not None and not _is_fixture(given):
        setattr(cls, name, pytest.fixture(_as_fixture(given, name)))


def _check_names(cls: type, known: Sequence[str], form: str) -> None:
    for name in vars(cls):
        near = get_close_matches(name, known, n=1, cutoff=0.75)
        if near and name not in known:
            msg = f"{cls.__name__} has {name!r}, which {form} does not know; did you mean {near[0]!r}?"
            raise ContractUsageError(msg)


def _is_fixture(thing: Any) -> bool:
    return type(thing).__name__ == "FixtureFunctionDefinition" or hasattr(thing, "_pytestfixturefunction")


def _as_fixture(given: Any, name: str) -> Callable[..., Any]:
    """Return a fixture function: the one that was not marked as such, or one that returns the maker that was given."""
    if inspect.isfunction(given) and next(iter(inspect.signature(given).parameters), None) == "self":
        return given
    maker = given.__func__ if isinstance(given, staticmethod) else given

    def make(self: Any) -> Any:  # noqa: ARG001
        return maker

    make.__name__ = make.__qualname__ = name
    return make


def reader(self: Any, name: str) -> Callable[[Any], Any]:
    """Return a function of a class, such as `text`: a method, or a plain function of a chunk."""
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
        tell(verdict_of(contract, lambda: run_check(contract, lab, flavours)))

    return test


def tell(verdict: Verdict) -> None:
    """Skip the test, or let it fail, as a verdict has it."""
    __tracebackhide__ = True
    import pytest

    if verdict.status == "skipped":
        pytest.skip(verdict.detail)
    if verdict.status == "failed":
        pytest.fail(verdict.detail, pytrace=False)


def add_tests(form: type, kind: Kind, test_of: Callable[[Contract], Callable[..., None]]) -> None:
    """Give a class a test for each contract of a kind of thing, with its sentence."""
    for contract in chosen(None, kind):
        test = test_of(contract)
        test.__name__ = test.__qualname__ = f"test_{contract.name}"
        test.__doc__ = f"{contract.sentence[0].upper()}{contract.sentence[1:]}."
        setattr(form, test.__name__, test)


add_tests(StreamContract, "stream", _test_of)
