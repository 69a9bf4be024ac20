"""What the user gave becomes documents, and the moves to replay."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fakellm.contracts.catalogue import CATALOGUE
from fakellm.contracts.consumers.cuts import Cuts
from fakellm.contracts.consumers.sse_moves import SSEBody, looks_like_sse
from fakellm.contracts.documents import Document, Moves, focused
from fakellm.errors import ContractUsageError, clip

_METHODS = ("apply", "sweep", "strategy", "shown", "contract")


def documents_of(
    values: tuple[Any, ...], *, sse: bool | None = None, stop: str | Iterable[str] = (), empty: bool = True
) -> list[Document]:
    """Return the values as documents. Raises `ContractUsageError` for what is none."""
    if not values:
        msg = "give a document: a text, bytes, a Script or a list of chunks, as in any_chunking('<think>a</think>b')"
        raise ContractUsageError(msg)
    words = stop_words(stop)
    found = [document_of(value, sse=sse, stop=words, empty=empty) for value in values]
    for word in words:
        if not any(isinstance(document, Cuts) and word in _text(document.whole) for document in found):
            msg = f"the stop sequence {word!r} is in no document, so nothing would be found out about it"
            raise ContractUsageError(msg)
    return found


def document_of(value: Any, *, sse: bool | None = None, stop: tuple[str, ...] = (), empty: bool = True) -> Document:
    """Return a text, bytes, an event stream or structured chunks as a document."""
    if isinstance(value, (str, bytes)) and not value:
        msg = f"the document {value!r} is empty, and can be cut nowhere; give one with what your code looks for"
        raise ContractUsageError(msg)
    if sse is not None and not isinstance(value, bytes):
        msg = f"sse={sse} is about bytes, and the document is a {type(value).__name__}"
        raise ContractUsageError(msg)
    if isinstance(value, bytes) and sse is not False and looks_like_sse(value):
        return SSEBody(value, empty=empty)
    if sse:
        msg = f"the document is no server-sent event stream with an event in it: {clip(repr(value), 80)}"
        raise ContractUsageError(msg)
    if isinstance(value, (str, bytes)):
        return Cuts(value, stop=stop, empty=empty)
    return value if all(hasattr(value, method) for method in _METHODS) else _structured(value)


def _structured(value: Any) -> Document:
    if callable(value):
        msg = "write @any_chunking(document) above the test, with the document that is to come in chunks"
        raise ContractUsageError(msg)
    from fakellm.contracts.structured.document import document_of

    return document_of(value)


def _text(whole: str | bytes) -> str:
    return whole if isinstance(whole, str) else whole.decode("utf-8", "replace")


def stop_words(stop: Any) -> tuple[str, ...]:
    """Return stop sequences as a tuple. Raises `ContractUsageError` unless each is a text with something in it."""
    words = tuple(stop) if isinstance(stop, Iterable) and not isinstance(stop, str) else (stop,)
    for word in words:
        if not isinstance(word, str) or not word:
            msg = f"a stop sequence is a text that is not empty, not {word!r}"
            raise ContractUsageError(msg)
    return words


def about(documents: list[Document], contracts: Any) -> list[Document]:
    """Return each document with the moves for each contract. Raises `ContractUsageError` if there are none."""
    names = [contracts] if isinstance(contracts, str) else list(contracts)
    found = [one for name in names for document in documents if (one := focused(document, name)) is not None]
    if found and set(names) <= set(CATALOGUE):
        return found
    known = dict.fromkeys(name for name in CATALOGUE for document in documents if focused(document, name) is not None)
    msg = f"contracts={contracts!r}: no document has anything to say about that, but about {', '.join(known)}"
    raise ContractUsageError(msg)


def replayed(documents: list[Document], only: Any) -> Moves | None:
    """Return the moves to replay, if any. Raises `ContractUsageError` for what cannot be."""
    if only is None:
        return None
    if len(documents) != 1:
        msg = f"only= is about one document, and {len(documents)} are given: keep the one that failed"
        raise ContractUsageError(msg)
    moves = check_moves(only)
    documents[0].apply(moves)
    return moves


def check_moves(only: Any) -> Moves:
    """Return moves as a tuple. Raises `ContractUsageError` for what are none."""
    if not isinstance(only, (tuple, list)):
        msg = f"only= takes the moves of a failure, a tuple such as (15,), not {only!r}"
        raise ContractUsageError(msg)
    return tuple(only)


def name_of(consume: object) -> str:
    """Return the name of a consumer, as it can be written in a call."""
    name = getattr(consume, "__name__", "")
    return name if name.isidentifier() else "consume"
