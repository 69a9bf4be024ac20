"""`ClientContract`: the contracts of a client as a class of pytest tests, one test each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from fakellm.contracts.catalogue import Contract
from fakellm.contracts.clients import on_client  # noqa: F401 - it binds the checks
from fakellm.contracts.clients.check import reasons_of
from fakellm.contracts.clients.lab import Lab
from fakellm.contracts.faults.checks import Raises
from fakellm.contracts.streams.classform import add_tests, reader, take_fixture, tell
from fakellm.contracts.streams.projections import text_of
from fakellm.contracts.verdicts import verdict_of
from fakellm.errors import ContractUsageError
from fakellm.wire.gateways.presets import gateways_of


class ClientContract:
    """Subclass it, say whose `api` the client asks, give it the fixture `make_client`, get one test for each contract.

        class TestMyClient(ClientContract):
            api = "openai"

            @pytest.fixture
            def make_client(self):
                return make

    The fixture returns a maker, as `check_client` takes one; `make_client = make` alone will do. The attributes
    `input`, `profile`, `hosts`, `skip`, `raises`, `behind` and `patience`, and the functions `text` and `incomplete`,
    say what `check_client` takes under these names. A contract that cannot be checked is skipped with the reason.
    """

    api: ClassVar[str] = ""
    input: ClassVar[Any] = "?"
    profile: ClassVar[Any] = None
    hosts: ClassVar[Sequence[str]] = ()
    skip: ClassVar[Mapping[str, str]] = {}
    raises: ClassVar[Raises | None] = None
    incomplete: ClassVar[Any] = None
    behind: ClassVar[Any] = ()
    patience: ClassVar[float] = 10.0
    text: ClassVar[Any] = staticmethod(text_of)
    _lab: ClassVar[Lab | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Take a maker for its fixture, give a class without either one that says so, refuse what is misspelt."""
        super().__init_subclass__(**kwargs)
        cls._lab = None
        take_fixture(cls, ClientContract, "make_client", _missing)


def _missing(self: ClientContract) -> Callable[..., Any]:
    """Return the maker of what is checked. To be overridden."""
    msg = (
        f"{type(self).__name__} has no fixture make_client; give it one that returns a function which makes a client, "
        "and returns a function that asks:\n"
        "    @pytest.fixture\n"
        "    def make_client(self):\n"
        "        return make"
    )
    raise ContractUsageError(msg)


def _lab_of(self: ClientContract, make: Callable[[], Any], rows: Mapping[str, str]) -> Lab:
    """Return where the client is tried: it was looked at once for all tests of the class."""
    kind = type(self)
    if kind._lab is None:  # noqa: SLF001 - of this class's own subclass
        incomplete = None if kind.incomplete is None else reader(self, "incomplete")
        text = reader(self, "text")
        behind = gateways_of(self.behind)
        kind._lab = Lab(  # noqa: SLF001
            make, self.api, self.input, self.profile, self.hosts, text, self.raises, incomplete, rows, behind,
            self.patience,
        )  # fmt: skip
    kind._lab.make = make  # noqa: SLF001
    return kind._lab  # noqa: SLF001


def _test_of(contract: Contract) -> Callable[..., None]:
    def test(self: ClientContract, make_client: Callable[[], Any]) -> None:
        __tracebackhide__ = True
        import pytest

        reasons, rows = reasons_of(self.skip)
        if contract.name in reasons:
            pytest.skip(reasons[contract.name])
        lab = _lab_of(self, make_client, rows)
        tell(verdict_of(contract, partial(contract.checks["client"], lab)))

    return test


add_tests(ClientContract, "client", _test_of)
