"""Structured chunks as a document: chat completion chunks, Messages events, `Message` chunks, and their legal moves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, islice, zip_longest
from typing import TYPE_CHECKING, Any, get_args

from fakellm.contracts.documents import Moves
from fakellm.contracts.structured.chat import Chat
from fakellm.contracts.structured.chunks import TEXTS, choices_of
from fakellm.contracts.structured.events import Events
from fakellm.contracts.structured.forms import TAKES, Api, Form, as_dict, dicts_of, encoded, message_of, sdk_objects
from fakellm.contracts.structured.moves import Chunk, Move, groups, text_of, unique
from fakellm.contracts.structured.shown import shown_change
from fakellm.errors import ContractUsageError, clip
from fakellm.script.script import Script

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

SWEEP = 300
"""How many sets of moves a sweep has at most."""
_LEAST, _CHUNKS = 40, 20_000
_EXAMPLES = 100
_SOME, _MANY = 24, 400
"""How many cuts of one text a sweep and a strategy choose from."""
_NEAR = 20
_LENGTHS = range(2, len(Move._fields) + 1)

_CONTRACTS = {
    "choices": "crossed_streams",
    "calls": "tool_calls",
    "blank": "tool_calls",
    "count": "usage",
    "counted": "usage",
    "again": "finish",
    "late": "finish",
    "unfinished": "finish",
    "none": "no_choices",
    "ping": "control_blocks",
    "empty": "empty_delta",
}
"""Kind of move -> the contract that it is for; cuts and joins are for several."""

_ORDER = ("crossed_streams", "tool_calls", "usage", "finish", "no_choices", "control_blocks", "empty_delta")


@dataclass(frozen=True, eq=False)
class Structured:
    """A document of structured chunks; see `fakellm.contracts.documents.Document`.

    Its moves are plain tuples, as `Move.plain` returns them. With `only`, a contract's name, it has no others than
    those for that contract.
    """

    stream: Chat | Events
    form: Form
    only: str | None = None
    written: str | None = None
    known: dict[int, list[tuple[str, Move]]] = field(default_factory=dict, repr=False)
    """Number of cuts of one text -> every move, and the contract that it is for; not to be made again."""

    @property
    def limit(self) -> int:
        """How many sets of moves its sweep has at most: 300, from 67 chunks on that 20,000 are fed, 40 at least."""
        return max(_LEAST, min(SWEEP, _CHUNKS // len(self.stream.chunks)))

    @property
    def examples(self) -> int:
        """How many examples of the strategy are tried by default."""
        return min(_EXAMPLES, self.limit // 3)

    @property
    def text(self) -> str:
        """What it says."""
        return "".join(map(_text, self.stream.chunks))

    @property
    def literal(self) -> str | None:
        """How the document is written in Python; None where chunks are objects of types that are not ours."""
        return repr(list(self.stream.chunks)) if self.written is None and self.form is as_dict else self.written

    def of(self, contract: str) -> Structured | None:
        """Return the document with the moves for one contract alone, or None if it has none."""
        return replace(self, only=contract) if contract in self.contracts else None

    @cached_property
    def contracts(self) -> frozenset[str]:
        """The contracts that it has moves for."""
        return frozenset(name for name, _ in self._every(_SOME) if self.only in (None, name))

    @cached_property
    def singles(self) -> list[Move]:
        """Every move by itself, of the cuts of one text some."""
        return self._moves(_SOME)

    @cached_property
    def _pool(self) -> list[Move]:
        """Every move by itself, of the cuts of one text nearly all."""
        return unique(sorted([*self._moves(_MANY), *self.singles]))

    @cached_property
    def _legal(self) -> frozenset[Move]:
        return frozenset(self._pool)

    def _moves(self, limit: int) -> list[Move]:
        return [move for name, move in self._every(limit) if self.only in (None, name)]

    def _every(self, limit: int) -> list[tuple[str, Move]]:
        if limit not in self.known:
            self.known[limit] = [(self._contract(move), move) for move in unique(self.stream.moves(limit))]
        return self.known[limit]

    def apply(self, moves: Moves) -> list[Any]:
        """Return the chunks after the moves, of the type that was given, fresh each time.

        Raises `ContractUsageError` for what is no move of this document.
        """
        return [self.form(chunk) for chunk in self.stream.apply(self._checked(moves))]

    def _checked(self, moves: Moves) -> list[Move]:
        found = [Move(*move) for move in moves if isinstance(move, tuple) and len(move) in _LENGTHS]
        if len(found) < len(moves) or not self._legal.issuperset(found):
            msg = f"{moves!r} are no moves of this document; `only` takes those of a failure, as it showed them"
            raise ContractUsageError(msg)
        return sorted(found)

    def sweep(self) -> Iterator[Moves]:
        """Yield each kind of move everywhere, then the single moves, kinds by turns; at most `limit` sets."""
        kinds = list(groups(self.singles, lambda move: (self._contract(move), move.kind, move.what[:4])).values())
        everywhere = (kind for kind in kinds if len(kind) > 1 and kind[0].kind not in ("calls", "choices"))
        singles = ([move] for move in chain.from_iterable(zip_longest(*kinds)) if move is not None)
        yield from map(_plain, islice(chain(everywhere, singles), self.limit))

    def strategy(self) -> SearchStrategy[Moves]:
        """Return the hypothesis strategy of one to eight moves of any kinds, near each other or not."""
        from hypothesis import strategies as st

        last = len(self._pool) - 1
        near = st.integers(0, last).flatmap(
            lambda at: st.sets(st.integers(at, min(at + _NEAR, last)), min_size=1, max_size=4)
        )
        anywhere = st.sets(st.integers(0, last), min_size=1, max_size=8)
        return (near | anywhere).map(lambda places: _plain(self._pool[place] for place in places))

    def shown(self, moves: Moves) -> str:
        """Show the chunks around the moves: `content 'Hel' | content '' | content 'lo'`."""
        return shown_change(self.stream.apply(()), self.stream.apply(self._checked(moves)))

    def contract(self, moves: Moves) -> str:
        """Return the contract that the moves are for; a cut of a text is for `tags`, or `whitespace_tail`."""
        found = map(self._contract, self._checked(moves))
        return min(found, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER), default="tags")

    def _contract(self, move: Move) -> str:
        if move.kind in _CONTRACTS:
            return _CONTRACTS[move.kind]
        if move.what == "finish":
            return "finish"
        if move.what == "choices":
            return "crossed_streams"
        if move.what == "calls" or move.what[:1].isdigit():
            return "tool_calls"
        around = self._around(move)
        return "whitespace_tail" if around != around.strip() else "tags"

    def _around(self, move: Move) -> str:
        """Return the two characters on either side of a cut or a seam."""
        if move.kind == "split":
            text = _text(self.stream.chunks[move.at])
            return text[max(move.place - 1, 0) : move.place + 1]
        return _text(self.stream.chunks[move.at])[-1:] + _text(self.stream.chunks[move.at + 1])[:1]


def _plain(moves: Iterable[Move]) -> Moves:
    return tuple(sorted(move.plain() for move in moves))


def _text(chunk: Chunk) -> str:
    deltas = [choice["delta"] for choice in choices_of(chunk)] or [chunk.get("delta", {})]
    fields = (*TEXTS, "text", "thinking")
    return next((text for delta in deltas for key in fields if (text := text_of(delta, key))), "")


def document_of(value: object, *, api: Api = "openai_chat", sdk: bool = False) -> Structured:
    """Return the document of structured chunks: those of one whole stream of one answer, or of n.

    `value` is a list of chat completion chunks (dicts, or `ChatCompletionChunk` objects), of Messages events (dicts,
    or objects of the anthropic SDK), of `fakellm.script.Message` chunks, or a `Script`. The options are a script's:
    `api` says what it becomes, chunks of `openai_chat` or `message`, or events of `anthropic_messages`; `sdk=True`
    makes them objects of the SDK. Chunks arrive as the type that was given. Raises `ContractUsageError` for anything
    else, and `MissingExtraError` for objects of an SDK that is not installed.
    """
    if isinstance(value, Structured):
        return value
    written = None
    if isinstance(value, Script):
        if api not in get_args(Api):
            msg = f"api={api!r} is not one of {', '.join(map(repr, get_args(Api)))}"
            raise ContractUsageError(msg)
        written = _written(value, api, sdk=sdk)
        chunks = encoded(value, api)
        value = sdk_objects(chunks, api) if sdk and api != "message" else chunks  # type: ignore[arg-type]
    chunks, form = dicts_of(value)
    _check_errors(chunks)
    is_sdk = not isinstance(value, Sequence) or not isinstance(value[0], dict)
    if all("choices" in chunk for chunk in chunks):
        _check_chat(chunks)
        return _checked(Structured(Chat(chunks, nulls=form is not message_of), form, written=written))
    if chunks[0].get("type") == "message_start":
        _check_events(chunks)
        return _checked(Structured(Events(chunks, pings=not is_sdk), form, written=written))
    place = next((at for at, chunk in enumerate(chunks) if "choices" not in chunk), 0)
    msg = f"chunk {place} is {clip(repr(chunks[place]), 80)}; there are moves for {TAKES}"
    raise ContractUsageError(msg)


def _written(script: Script, api: Api, *, sdk: bool) -> str:
    options = [f"api={api!r}"] * (api != "openai_chat") + ["sdk=True"] * sdk
    return f"document_of({', '.join([repr(script), *options])})" if options else repr(script)


def _checked(document: Structured) -> Structured:
    if not document.singles:
        msg = "these chunks have no legal moves: there is nothing in them to cut, to join or to stand between"
        raise ContractUsageError(msg)
    return document


def _check_errors(chunks: Sequence[Chunk]) -> None:
    for at, chunk in enumerate(chunks):
        if chunk.get("error"):
            msg = f"chunk {at} reports an error: {clip(repr(chunk), 80)}; moves are for whole answers"
            raise ContractUsageError(msg)


def _check_chat(chunks: Sequence[Chunk]) -> None:
    for at, chunk in enumerate(chunks):
        for choice in choices_of(chunk):
            if not isinstance(choice.get("delta"), dict) or type(choice.get("index")) is not int:
                what = f"a choice without index or delta: {clip(repr(choice), 80)}"
                msg = f"chunk {at} has {what}; give the chunks of one whole stream"
                raise ContractUsageError(msg)
    if not any(choices_of(chunk) for chunk in chunks):
        msg = "no chunk has choices; give the chunks of one whole stream"
        raise ContractUsageError(msg)


def _check_events(chunks: Sequence[Chunk]) -> None:
    for at, chunk in enumerate(chunks):
        kind = chunk.get("type")
        lacks = {"content_block_start": "content_block", "content_block_delta": "delta", "message_delta": "delta"}
        need = lacks.get(str(kind))
        if not isinstance(kind, str) or (need and not isinstance(chunk.get(need), dict)):
            msg = f"event {at} is {clip(repr(chunk), 80)}, which is no event of the Messages API"
            raise ContractUsageError(msg)
