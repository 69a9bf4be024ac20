"""Faults as a function of its own, without a test around it, and the contracts that faults break, as checks.

An answer that broke must not look like one that is whole. So a result is compared with what the same chunks come to
when they are all of the answer: where the two are equal, nobody behind the code under test can tell them apart.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any

from fakellm.contracts.attempts import PATIENCE, Attempt, attempt
from fakellm.contracts.catalogue import CATALOGUE, checks
from fakellm.contracts.consumers.attempt import Stream
from fakellm.contracts.consumers.cuts import joined
from fakellm.contracts.faults.arriving import named, through
from fakellm.contracts.faults.sweep import Failure, contract_of, plan_of, report
from fakellm.contracts.faults.ways import Faulty, Only, ended
from fakellm.contracts.verdicts import Report, Skip, Verdict, broken, check_functions
from fakellm.errors import ContractUsageError, LLMConnectionError, LLMStreamError, clip
from fakellm.script.events import Text
from fakellm.script.script import Script
from fakellm.script.splitting import split_text
from fakellm.wire.gateways.gateway import Gateway
from fakellm.wire.gateways.presets import gateways_of

Raises = type[BaseException] | tuple[type[BaseException], ...]


def check_faults(
    run: Callable[[Any], Any],
    source: Any,
    *,
    raises: Raises | None = None,
    incomplete: Callable[[Any], object] | None = None,
    delivered: Callable[[], Any] | None = None,
    calls: Callable[[], Iterable[Any]] | None = None,
    kinds: str | Iterable[str] | None = None,
    only: Only | None = None,
    behind: str | Gateway | Sequence[str | Gateway] = (),
    patience: float = PATIENCE,
) -> Report:
    """Run an app on the answer that dies at every position, in every way; return the verdicts.

    `run(faulty)` gives the broken `Script`, or `Tape`, to a fake and runs the app: a function, an `async def`, or a
    generator of either kind, whose items are what the app shows its user. It has to raise one of `raises`, or to
    return a result that is the whole answer's, or one that says that it is incomplete: for which `incomplete(result)`
    is true. With `raises=IncompleteAnswer` and without `incomplete` an exception is what was promised, so any other
    result is broken. Without both it may raise any `Exception`, and a result is incomplete which differs from what the
    same chunks come to when the answer ends after them; a text must also begin with that, and go on with a mark of its
    own. For to whoever gets it, the text of an error or an apology is an answer like any other: `except Exception as
    error: return str(error)` is caught. An app that means it says how its callers tell: `incomplete=lambda result:
    result.startswith("Sorry")`. The default takes anything that differs and is no text, and any text behind what was
    delivered, for such a mark.

    What a generator yields, or what `delivered()` returns after a run, must not begin again after it was begun.
    `calls()` returns the calls of the fake: none may still run afterwards. `source`, `kinds`, `only`, `behind` and
    `patience` are those of `every_fault`. Where nothing could be told from its results, the contracts that need them
    are skipped with the reason. Raises `ContractUsageError` if the app fails on the complete answer, or if then nothing
    is left: neither `calls` nor what it shows. Broken contracts are in the report.
    """
    judge = Judge(run, raises, incomplete, delivered, calls, patience)
    whole, half, faults = plan_of(source, kinds, only, behind)()
    judge.try_oracle(whole, half)
    failures: dict[str, list[Failure]] = {}
    tried: dict[str, int] = {}
    for faulty in faults:
        for contract, what in judge.problems(faulty):
            failures.setdefault(contract, []).append((faulty, what))
        tried[faulty.contract] = tried.get(faulty.contract, 0) + 1
    verdicts = [*_verdicts(judge, failures, tried, len(faults))]
    return Report(f"{judge.name}, {len(faults)} faults{_behind(behind)}", tuple(verdicts))


def _behind(told: str | Gateway | Sequence[str | Gateway]) -> str:
    gateways = gateways_of(told)
    return f" behind {named(gateways)}" if gateways else ""


def _verdicts(judge: Judge, failures: dict[str, list[Failure]], tried: dict[str, int], count: int) -> Iterator[Verdict]:
    for name in ("truncation", "in_band_error", "producer_dies", "finish", "retry_midstream", "close"):
        contract = CATALOGUE[name]
        if name in failures:
            own = all(faulty.contract == name for faulty, _ in failures[name])  # else any fault can break it
            error = report(judge.name, failures[name], tried[name] if own else count, name, "check_faults(..., {})")
            yield Verdict(contract, "failed", str(error))
        elif name in tried and judge.refused and name not in _SKIPPED:
            yield Verdict(contract, "skipped", judge.refused)
        elif name in tried or (name == "retry_midstream" and judge.shows) or (name == "close" and judge.calls):
            yield Verdict(contract, "passed")
        elif why := _SKIPPED.get(name):
            yield Verdict(contract, "skipped", why)


def _check_raises(raises: object) -> None:
    """Raise `ContractUsageError` for what is no class of exceptions, nor some in a tuple."""
    kinds = raises if isinstance(raises, tuple) and raises else (raises,)
    if raises is not None and not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
        msg = (
            "raises is a class of exceptions, or a tuple of some, such as raises=TimeoutError, not "
            f"{clip(repr(raises), 80)}"
        )
        raise ContractUsageError(msg)


_SKIPPED = {
    "retry_midstream": "run returns no stream: let it be a generator, or give delivered=",
    "close": "the calls of the fake are not known: give calls=lambda: fake.calls",
}


class Judge:
    """Runs the app, and says what is wrong with what came of it."""

    def __init__(
        self,
        run: Callable[[Any], Any],
        raises: Raises | None,
        incomplete: Callable[[Any], object] | None,
        delivered: Callable[[], Any] | None,
        calls: Callable[[], Iterable[Any]] | None,
        patience: float,
    ) -> None:
        if not callable(run):
            msg = f"run is a function of the broken script, such as lambda faulty: app(FakeLLM(faulty)), not {run!r}"
            raise ContractUsageError(msg)
        check_functions(incomplete=incomplete, delivered=delivered, calls=calls)
        _check_raises(raises)
        named = run if hasattr(run, "__name__") else getattr(run, "func", run)
        self.name: str = getattr(named, "__name__", type(run).__name__)
        self.calls = calls
        self.shows = False
        self.refused = ""
        self._run = run
        self._raises = raises
        self._incomplete = incomplete
        self._delivered = delivered
        self._patience = patience
        self._whole = Attempt()
        self._endings: dict[int, Attempt] = {}

    def _attempt(self, faulty: Any) -> Attempt:
        found = attempt(lambda: self._run(faulty), patience=self._patience)
        if self._delivered is not None:
            found.shown = self._delivered()
        if not isinstance(found.shown, (str, bytes)):
            found.shown = joined(list(found.shown))
        return found

    def try_oracle(self, whole: Any, half: Any) -> None:
        """Raise `ContractUsageError` unless the app can deal with the whole answer, and shows how much it was.

        Where its results do not tell that, but its calls can be seen, those alone are judged; see `refused`.
        """
        self._whole = self._attempt(whole)
        self.shows = bool(self._whole.shown)
        if self._whole.error is not None:
            msg = f"{self.name} fails on the complete answer, before anything is broken\n  got:       {self._whole}"
            raise ContractUsageError(msg) from self._whole.error
        if self._incomplete is not None and self._incomplete(self._whole.value):
            msg = (
                "this oracle accepts everything: incomplete(result) is true of the complete answer too\n"
                f"  result:    {clip(repr(self._whole.value), 200)}"
            )
            self._refuse(msg)
            return
        if half is None:
            return
        shorter = self._attempt(half)
        if shorter.error is None and shorter.value == self._whole.value and shorter.shown == self._whole.shown:
            msg = (
                f"this oracle accepts everything: {self.name} comes to the same for half of the answer that ends like "
                f"a whole one, so half an answer could not be told from it\n  answer:    {half!r}\n"
                f"  result:    {clip(repr(shorter.value), 200)}\n"
                "  to do:     let it return what the app made of the answer, or yield what it shows"
            )
            self._refuse(msg)

    def _refuse(self, why: str) -> None:
        """Note why results say nothing. Raises `ContractUsageError` where nothing else can be judged."""
        if self.calls is None:
            raise ContractUsageError(why)
        self.refused = why

    def problems(self, faulty: Any) -> Iterator[tuple[str, str]]:
        """Yield each contract that the app breaks on this fault, with what it did."""
        found, what = self.judged(faulty)
        if what:
            yield contract_of(faulty, found), what
        if self.shows and begins_again(found.shown, self._whole.shown):
            yield "retry_midstream", f"it showed {clip(repr(found.shown), 200)}, which says the beginning again"
        running = [call for call in self.calls() if call.state == "running"] if self.calls else []
        if running:
            yield "close", f"a call of the source was left open: {running[0]!r}"

    def judged(self, faulty: Any) -> tuple[Attempt, str]:
        """Run the app on a fault; return what that came to, and what is wrong with it, or nothing."""
        found = self._attempt(faulty)
        return found, self._wrong(faulty, found) if not self.refused or found.hangs else ""

    def _wrong(self, faulty: Any, found: Attempt) -> str:
        if found.hangs:
            return str(found)
        if found.error is not None:
            expected = Exception if self._raises is None else self._raises
            return "" if isinstance(found.error, expected) else f"{found}\nwhich is none of raises={expected!r}"
        if found.value == self._whole.value:
            return ""
        if self._incomplete is not None:
            return "" if self._incomplete(found.value) else f"{found}, of which incomplete(result) is not true"
        if self._raises is not None:
            return f"{found}, where raises={self._raises!r} was promised"
        return self._unmarked(faulty, found)

    def _unmarked(self, faulty: Any, found: Attempt) -> str:
        """Say what is wrong with a result that does not look incomplete."""
        if not isinstance(faulty, Faulty) or faulty.kind == "oddities":
            return f"{found}, as if that were the whole answer"
        if faulty.after not in self._endings:
            begun = through(ended(faulty.whole, faulty.after), faulty.gateways)
            self._endings[faulty.after] = self._attempt(begun)
        ending = self._endings[faulty.after]
        if ending.error is not None or not _looks_like(found.value, ending.value):
            return ""
        if ending.value == found.value:
            return f"{found}, as if that were the whole answer"
        return "" if ending.value == found.value[: len(ending.value)] else f"{found}, {_LIKE_AN_ANSWER}"


_LIKE_AN_ANSWER = (
    "a text like that of an answer, so nobody can tell that it is none\n"
    "to do:     raise an error; or say what is incomplete: check_faults(..., incomplete=lambda result: ...)"
)


def _looks_like(value: Any, ending: Any) -> bool:
    return value == ending or (isinstance(value, (str, bytes)) and type(value) is type(ending))


def begins_again(shown: Any, whole: Any) -> bool:
    """Tell whether what was shown says the beginning of the whole answer, and then says it again.

    That is not said of what is the beginning of the answer and a mark behind it, such as `[interrupted]`, even if the
    two have a few letters in common.
    """
    same = _common(shown, whole)
    return same < len(shown) and (
        (same > 0 and len(whole) < len(shown) and bool(shown[-len(whole) :] == whole))
        or any(_is_repetition(shown, whole, at, same) for at in range(1, same + 1))
    )


_BY_CHANCE = 3  # letters in which a mark and the beginning of an answer may agree


def _is_repetition(shown: Any, whole: Any, at: int, same: int) -> bool:
    """Tell whether `shown[at:]` says `whole[:at]` again, and tells more than the `same` items that may be one text."""
    rest = shown[at:]
    length = _common(rest, whole)
    if length < at or at + length <= same:
        return False
    while rest[:at] == whole[:at]:
        rest = rest[at:]
    least = 1 if isinstance(whole, list) else _BY_CHANCE + 1
    return length >= least or bool(rest == whole[: len(rest)])


def _common(one: Any, other: Any) -> int:
    """Count the items with which both begin."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (mine, its) in pairs if mine != its), min(len(one), len(other)))


# -- the contracts, on a consumer of chunks ---------------------------------------------------------------

Consume = Callable[[Any], Any]
_CHUNKS = ("One ", "two ", "three ", "four.")


def _chunks_of(document: Any) -> Sequence[Any]:
    if document is None:
        return _CHUNKS
    if isinstance(document, str):
        return split_text(document, "words")
    if isinstance(document, bytes):
        return [document[at : at + 7] for at in range(0, len(document), 7)]
    if isinstance(document, Script):
        return [event.text for event in document.chunks if isinstance(event, Text)]
    if isinstance(document, (list, tuple)):
        return document
    apply = getattr(document, "apply", None)
    if apply is None:
        msg = f"a {type(document).__name__} has no chunks after which its source could fail"
        raise Skip(msg)
    return list(apply(()))


def _failing(chunks: Sequence[Any], error: Exception) -> Iterator[Any]:
    yield from chunks
    raise error


def _must_tell(name: str, consume: Consume, document: Any, error: Exception) -> None:
    """Let the source fail after each chunk; what the consumer then returns must not look like an answer."""
    __tracebackhide__ = True
    chunks = _chunks_of(document)
    for after in range(len(chunks) + 1):
        first = chunks[:after]
        found = attempt(lambda first=first: consume(Stream(_failing(first, error))))  # type: ignore[misc]
        if found.error is not None and not found.hangs:
            continue
        whole = attempt(lambda first=first: consume(Stream(first)))  # type: ignore[misc]
        if found.hangs or found.value == whole.value:
            what = "hangs" if found.hangs else "returns the same as if the answer ended there"
            rows = (("chunks", f"{clip(repr(list(first)), 200)}, then {error!r}"), ("got", str(found)))
            raise broken(name, f"the source fails after {after} chunks, and the consumer {what}", *rows)


@checks("truncation", on="consumer")
def truncation(consume: Consume, document: Any = None) -> None:
    """Do not take the chunks before a broken connection for an answer.

    Connections break in the middle of answers: proxies restart, idle timers fire, phones lose their network. Code that
    catches the error around its loop and goes on with what it has collected stores, shows and bills half an answer,
    and nobody finds out.
    """
    _must_tell("truncation", consume, document, LLMConnectionError("the connection was reset by the peer"))


@checks("in_band_error", on="consumer")
def in_band_error(consume: Consume, document: Any = None) -> None:
    """Hand on the error that the provider reports after the answer has begun.

    An overloaded provider says so inside the stream, when the status was 200 long ago. Handlers that expect errors only
    at the call, and loops that skip what they do not know, end the answer there without a word.
    """
    _must_tell("in_band_error", consume, document, LLMStreamError("overloaded", type="server_error"))


@checks("producer_dies", on="consumer")
def producer_dies(consume: Consume, document: Any = None) -> None:
    """Notice that whoever produces the chunks has died.

    Between a source and its reader there is often a queue, filled by a task in the background. If that task dies and
    its error stays in it, the reader waits for ever, or takes the end of the queue for the end of the answer.
    """
    _must_tell("producer_dies", consume, document, RuntimeError("the producer of the chunks died"))


class _Again:
    """Chunks that can be read more than once; the first time, their source fails after some of them."""

    def __init__(self, chunks: Sequence[Any], after: int) -> None:
        self._chunks = chunks
        self._after = after
        self.opened = 0

    def _stream(self) -> Stream:
        self.opened += 1
        error = LLMConnectionError("the connection was reset by the peer")
        return Stream(_failing(self._chunks[: self._after], error) if self.opened == 1 else self._chunks)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._stream())

    def __aiter__(self) -> AsyncIterator[Any]:
        return aiter(self._stream())


@checks("retry_midstream", on="consumer")
def retry_midstream(consume: Consume, document: Any = None) -> None:
    """Do not say again what was said, where the source is read again after an error.

    A retry around a loop begins the answer anew, and the chunks before the error were shown already: the user reads
    the beginning twice, and tools are called twice. Begin what you collect anew too, or leave out what was said.
    """
    chunks = _chunks_of(document)
    whole = attempt(lambda: consume(Stream(chunks)))
    reads_again = False
    for after in range(len(chunks)):
        source = _Again(chunks, after)
        found = attempt(lambda source=source: consume(source))  # type: ignore[misc]
        reads_again |= source.opened > 1
        if source.opened > 1 and found.error is None and not found.same_as(whole):
            rows = (("chunks", f"{clip(repr(list(chunks[:after])), 200)}, then an error, then all of them"),)
            what = f"the source fails after {after} chunks and is read again, and the answer is another"
            raise broken("retry_midstream", what, *rows, ("got", str(found)), ("expected", str(whole)))
    if not reads_again:
        msg = "it does not read its source again after an error, so it says nothing twice"
        raise Skip(msg)
