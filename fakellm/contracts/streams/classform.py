"""`StreamContract`: the contracts of a stream as a class of pytest tests, one test each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from fakellm.contracts.catalogue import Contract, chosen
from fakellm.contracts.streams.check import checked_reasons, run_check, smoke
from fakellm.contracts.streams.lab import Api, Lab
from fakellm.contracts.streams.projections import text_of
from fakellm.contracts.verdicts import verdict_of
from fakellm.errors import ContractUsageError


class StreamContract:
    """Subclass it, give it the fixture `make_runnable`, get one test for each contract of a stream.

        class TestMyModel(StreamContract):
            @pytest.fixture
            def make_runnable(self):
                return MyModel

    The fixture returns a maker, and the attributes say what `check_stream` takes under the same names. A contract that
    cannot be checked is skipped with the reason. Each test's docstring is the sentence of its contract.
    """

    input: ClassVar[Any] = "?"
    api: ClassVar[Api | None] = None
    chat: ClassVar[bool] = False
    idle_timeout: ClassVar[float | None] = None
    skip: ClassVar[Mapping[str, str]] = {}

    @staticmethod
    def text(chunk: Any) -> Any:
        """Return the text of a chunk or an answer; override it for kinds of chunks that we do not know."""
        return text_of(chunk)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Give a subclass that has no fixture one that says so."""
        super().__init_subclass__(**kwargs)
        if not hasattr(cls, "make_runnable"):
            import pytest

            cls.make_runnable = pytest.fixture(_missing)  # type: ignore[attr-defined]


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

        reasons = checked_reasons(self.skip)
        if contract.name in reasons:
            pytest.skip(reasons[contract.name])
        lab = Lab(make_runnable, self.input, self.api, self.chat, self.text, self.idle_timeout)
        verdict = verdict_of(contract, lambda: run_check(contract, lab, smoke(lab)))
        if verdict.status == "skipped":
            pytest.skip(verdict.detail)
        if verdict.status == "failed":
            pytest.fail(verdict.detail, pytrace=False)

    test.__name__ = test.__qualname__ = f"test_{contract.name}"
    test.__doc__ = f"{contract.sentence[0].upper()}{contract.sentence[1:]}."
    return test


for _contract in chosen(None, "stream"):
    setattr(StreamContract, f"test_{_contract.name}", _test_of(_contract))
