"""`any_chunking`: a test that gets the same document in every chunking that could tell two readings of it apart."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from fakellm.contracts.catalogue import CATALOGUE
from fakellm.contracts.consumers.arrivals import Chunks, settle
from fakellm.contracts.consumers.cuts import Cuts
from fakellm.contracts.consumers.search import SEED, UndividedError, focused, search
from fakellm.contracts.consumers.sse_moves import SSEBody, looks_like_sse
from fakellm.contracts.documents import Document, Moves
from fakellm.errors import ContractUsageError, clip

Test = TypeVar("Test", bound=Callable[..., Any])

_NAME = "chunks"
_METHODS = ("apply", "sweep", "strategy", "shown", "contract")


def any_chunking(
    *documents: Any,
    examples: int | None = None,
    seed: int = SEED,
    sse: bool | None = None,
    stop: str | Iterable[str] = (),
    empty: bool = True,
    contracts: str | Iterable[str] | None = None,
    limit: int | None = None,
    only: Moves | None = None,
) -> Callable[[Test], Test]:
    r"""Run a test on each document in many chunkings, and show the smallest that fails.

        @any_chunking("<think>plan</think>The answer")
        def test_parser(chunks):
            assert parse(chunks) == Parsed(thinking="plan", text="The answer")

    A document is a `str` (cut between any two code points), `bytes` (cut anywhere), or structured chunks: a `Script`
    or a list of chunks of an API. Bytes whose first line is a field of server-sent events and which hold an event
    are an event stream: their lines may end otherwise too, and comments may come between events. `sse=False` takes
    them for bytes, `sse=True` says that they must be a stream. `stop` are stop sequences that are in a document.
    `contracts` keeps the moves to those that would break these, by their names in the catalogue: `"framing"` for an app
    whose SDK does not take every line end.

    `chunks`, a parameter of the test, is a list which can be read with `async for` as well. The test passes for every
    chunking or raises; or it returns a value, which has to be the same for all. Its other parameters are fixtures, as
    ever; those live for all chunkings. An `async def` test runs for each in a new event loop, in virtual time.

    Each document is tried undivided (twice), per unit, every 2 to 16 units, with each single cut, with each window of
    0 to 3 units as a chunk of its own (width 0 is an empty chunk; `empty=False` leaves these out), all of that for up
    to 400 units, less per unit for longer ones, down to 60 variants; then in `examples` chunkings that hypothesis
    draws, the same for the same `seed`, by default 100, of long documents fewer, down to 20. `limit` is for tests that
    take long: so many variants of all that come before the examples, evenly spread. `only` are the moves that a
    failure showed: it replays this one chunking.

    Raises `BrokenContractError` with the smallest counter-example, the test's own error if it fails undivided, and
    `ContractUsageError` for what could prove nothing.
    """
    known = documents_of(documents, sse=sse, stop=stop, empty=empty)
    if contracts is not None and only is None:
        known = _about(known, contracts)
    if examples is not None:
        check_number("examples", examples)
    check_number("seed", seed)
    if limit is not None:
        check_number("limit", limit)
    how: dict[str, Any] = {"examples": examples, "seed": seed, "limit": limit, "only": replayed(known, only)}

    return functools.partial(_decorated, known, how)


def _decorated(documents: list[Document], how: dict[str, Any], test: Test) -> Test:
    """Return the test as one that gets each document in many chunkings."""
    signature, place = _signature_without_chunks(test)

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        __tracebackhide__ = True
        if _NAME in kwargs:
            msg = f"any_chunking fills {_NAME!r} itself; to try one chunking write @any_chunking(..., only=(15,))"
            raise ContractUsageError(msg)
        consume = functools.partial(_call, test, place, args, kwargs)
        for number, document in enumerate(documents):
            _check(document, consume, test, number, how)

    run.__signature__ = signature  # type: ignore[attr-defined]
    return run  # type: ignore[return-value]


def _about(documents: list[Document], contracts: Any) -> list[Document]:
    """Return each document with the moves for each contract. Raises `ContractUsageError` if there are none."""
    names = [contracts] if isinstance(contracts, str) else list(contracts)
    about = [found for name in names for document in documents if (found := focused(document, name)) is not None]
    if about and set(names) <= set(CATALOGUE):
        return about
    known = dict.fromkeys(name for name in CATALOGUE for document in documents if focused(document, name) is not None)
    msg = f"contracts={contracts!r}: no document has anything to say about that, but about {', '.join(known)}"
    raise ContractUsageError(msg)


def _call(
    test: Callable[..., Any], place: int, args: tuple[Any, ...], kwargs: dict[str, Any], chunks: list[Any]
) -> Any:
    """Run the test with the chunks at their place among its positional arguments, or by name."""
    __tracebackhide__ = True
    if len(args) > place:
        return settle(test(*args[:place], Chunks(chunks), *args[place:], **kwargs))
    return settle(test(*args, **kwargs, **{_NAME: Chunks(chunks)}))


def _check(
    document: Document, consume: Callable[[list[Any]], Any], test: Callable[..., Any], number: int, how: dict[str, Any]
) -> None:
    __tracebackhide__ = True
    name = getattr(test, "__name__", "the test")
    try:
        found = search(document, consume, **how)
    except UndividedError as failure:
        error = failure.__cause__ or failure
        error.add_note(
            f"any_chunking: {name} fails on document {number + 1} undivided, so it is not a matter of chunks"
        )
        raise error from error.__cause__
    if found is None:
        return
    replay = "@any_chunking($)"
    if found.divided.error is None:
        what = f"{name} returns something else when the same document comes in other chunks"
        raise found.broken(what, replay)
    what = f"{name} passes on the undivided document, and fails when it comes in these chunks"
    passes = "" if found.whole.value is not None else "passes"
    raise found.broken(what, replay, passes=passes) from found.divided.error


def _signature_without_chunks(test: Callable[..., Any]) -> tuple[inspect.Signature, int]:
    """Return what pytest is to see, and the place of `chunks`, which it is not.

    Raises `ContractUsageError` for what is no test with `chunks`.
    """
    if isinstance(test, (staticmethod, classmethod)):
        msg = f"put @any_chunking below @{type(test).__name__}, so that it gets the function"
        raise ContractUsageError(msg)
    if inspect.isclass(test) or not callable(test):
        msg = f"any_chunking decorates a test function or method, not {clip(repr(test), 80)}"
        raise ContractUsageError(msg)
    name = getattr(test, "__name__", repr(test))
    if inspect.isgeneratorfunction(test) or inspect.isasyncgenfunction(test):
        msg = f"{name} is a generator, which nobody would read; let it return a value, or assert"
        raise ContractUsageError(msg)
    signature = inspect.signature(test)
    found = signature.parameters.get(_NAME)
    if found is None or found.kind not in (found.POSITIONAL_OR_KEYWORD, found.KEYWORD_ONLY):
        msg = f"{name}{signature} has no parameter named {_NAME!r}, so it cannot be given the chunks: add one"
        raise ContractUsageError(msg)
    others = [parameter for parameter in signature.parameters.values() if parameter is not found]
    place = list(signature.parameters).index(_NAME) if found.kind is found.POSITIONAL_OR_KEYWORD else sys.maxsize
    return signature.replace(parameters=others), place


# -- arguments ------------------------------------------------------------------------------------------


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


def check_number(name: str, value: Any) -> None:
    """Raise `ContractUsageError` unless the value is a whole number from 0 up."""
    if type(value) is not int or value < 0:
        msg = f"{name} is a whole number from 0 up, not {value!r}"
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
