"""APIs whose answers are fetched: one request asks for an answer and is told where it will be, another one gets it."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal, NamedTuple

from fakellm.script.events import provider_error
from fakellm.script.script import Script
from fakellm.wire.codec import Codec, Request

Progress = Literal["starting", "processing", "succeeded", "failed", "canceled"]


class Promise(NamedTuple):
    """An answer that can be fetched: its `id`, and the document that says where, None where it comes at once."""

    id: str
    document: bytes | None


class PromisingCodec(Codec):
    """A codec of such an API. Its service says in `fetched` at which paths answers are fetched."""

    @abstractmethod
    def promise(self, request: Request, number: int, url: str) -> Promise:
        """Return what a request is promised that was sent to this URL."""

    @abstractmethod
    def progress(self, request: Request, number: int, url: str, state: Progress) -> bytes:
        """Return the document of an answer that is not known, or not yet."""

    @abstractmethod
    def failure(self, script: Script, request: Request, number: int, fault: provider_error) -> bytes:
        """Return the document of an answer, not streamed, in which the provider reports an error."""
