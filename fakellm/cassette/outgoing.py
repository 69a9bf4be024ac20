"""A request that goes out since it is not on the tape, and what is recorded of its answer."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, Self

from fakellm.cassette.recorder import Head, Recording, tee
from fakellm.provider.exchange import ProviderCall


class Outgoing:
    """A request that is on its way out. `begin` is what begins to record its answer, unless the tape has ended."""

    def __init__(
        self, begin: Callable[[Outgoing, Head], Recording | None], module: ModuleType, request: Any, call: ProviderCall
    ) -> None:
        self._begin = begin
        self._module = module
        self.request = request
        self.call = call
        self.recording: Recording | None = None

    def record(self, response: Any) -> Any:
        """Return the response of httpx or httpx2, which is recorded while the app reads it."""
        if (recording := self.begin(Head.of(response))) is not None:
            tee(self._module, response, recording)
        return response

    def begin(self, head: Head) -> Recording | None:
        """Return what takes the body of an answer whose head came; None if nothing is recorded any more."""
        return self._begin(self, head)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            self.call.fail(error)
