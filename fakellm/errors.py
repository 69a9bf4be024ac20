"""The exceptions of fakellm, and the one place that words a mismatch.

Two families. `LLMError` and its subclasses are what an app meets when a scripted fault strikes: they
are ordinary exceptions that the app may catch, retry or report. Everything else tells the author
of a test that the test itself is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path


class ScriptError(ValueError):
    """A script, or a part of one, that no stream could be: the message names the place and a remedy."""


class ScriptFileError(ScriptError):
    """A script file that does not hold a script: the message names file, line and field."""


class ScenarioError(ScriptFileError):
    """A scenario file that does not hold a scenario: the message names file, line, field and remedy.

    `files` are those that it names, which may be what is wrong.
    """

    files: Collection[Path] = ()


class WireError(ValueError):
    """Bytes that are not of the format that they should be, or that no stream of it could carry.

    `code` is the provider's word for what is wrong with a request, where it has one; `status` the HTTP status that it
    refuses such a request with, and `body` the whole document that it does so with, where message and code are not all.
    """

    code: str | None = None
    status: int = 400
    body: str | None = None


class MissingExtraError(ImportError):
    """An optional library is not installed: the message names the command that installs it."""

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the library {library!r}, which is not installed.\n"
            f"  to do:     pip install 'fakellm-stream[{extra}]'",
            name=library,
        )
        self._arguments = (library, extra, purpose)

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str, str]]:
        """Pickle and copy the error by what it was made of."""
        return type(self), self._arguments


def _rebuild(kind: type[BaseException], args: tuple[object, ...], state: dict[str, object]) -> BaseException:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class LLMError(Exception):
    """A scripted fault, as code that calls a fake model directly meets it."""

    def __reduce__(self) -> tuple[Callable[..., BaseException], tuple[object, ...]]:
        """Pickle and copy the error with its fields, so that it can leave a process."""
        return _rebuild, (type(self), self.args, self.__dict__)


class LLMStatusError(LLMError):
    """The provider answered with an HTTP error status instead of a stream.

    `status` is the HTTP status, `headers` what came with it (`retry-after` among them) and `body` the
    text of the error document, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        headers: Mapping[str, str] | None = None,
        body: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.body = body


class LLMStreamError(LLMError):
    """The provider reported an error inside a stream that had begun. `type` and `code` are its words."""

    def __init__(self, message: str, *, type: str, code: str | None = None) -> None:
        super().__init__(message)
        self.type = type
        self.code = code


class LLMConnectionError(LLMError, ConnectionError):
    """The connection broke before the stream was complete."""


class LLMTimeoutError(LLMError, TimeoutError):
    """The stream fell silent for ever, and whoever waited for it gave up."""


def _failure() -> type[BaseException]:
    """Return what a test fails with in pytest, where that runs: its plugins (anyio's, hypothesis) know it."""
    pytest = sys.modules.get("pytest")
    failure: type[BaseException] = pytest.fail.Exception if pytest is not None else BaseException
    return failure


def is_failure(error: BaseException) -> bool:
    """Tell whether an error is what `pytest.fail` raises, in a run of pytest."""
    kind = _failure()
    return kind is not BaseException and isinstance(error, kind)


class UnexpectedCallError(_failure()):  # type: ignore[misc]
    """A fake model was asked something that it has no reply for.

    Not an `Exception` on purpose: an app's `except Exception`, a retry or a fallback must not turn a
    test that asks the wrong thing into one that passes. Where pytest is loaded it is a `pytest.fail.Exception`.
    """

    __repr__ = BaseException.__repr__


class UnexpectedRequestError(UnexpectedCallError):
    """A request reached a fake provider that has no reply for it, or would have left this machine.

    Not an `Exception` either: an SDK's retries must not ask again, nor the app take it for a network error.
    `credentials` are what the request carried that nobody is to be shown; the message has none of them. `place` is the
    request's number in the log of a server, where one has it.
    """

    credentials: Collection[str] = ()
    place = 0


class BrokenReplyError(UnexpectedRequestError):
    """A fake provider could not make a reply: a bug of its function, or a script that the API has no form for.

    No `Exception` either: what nobody scripted is no error of the network that the app may retry or report. The
    exception that it is about is its `__cause__`.
    """


class UnusedRepliesError(AssertionError):
    """A test ended before the app had asked for every reply that was scripted."""


class SwallowedCallError(AssertionError):
    """An `UnexpectedCallError` was raised, and the code under test caught it."""


class BrokenContractError(AssertionError):
    """A streaming contract is broken: the message gives its sentence and the smallest counter-example.

    `contract` is its name in the catalogue.
    """

    def __init__(self, message: str, *, contract: str) -> None:
        super().__init__(message)
        self.contract = contract

    def __reduce__(self) -> tuple[Callable[..., BaseException], tuple[object, ...]]:
        """Pickle and copy the error with its contract."""
        return _rebuild, (type(self), self.args, self.__dict__)


class ContractUsageError(ValueError):
    """A contract was asked for in a way that could prove nothing: the message names the remedy."""


def explain(
    headline: str,
    *,
    place: Sequence[str] = (),
    sent: Sequence[str] = (),
    expected: Sequence[str] = (),
    difference: Sequence[str] = (),
    remedy: Sequence[str] = (),
) -> str:
    """Word a mismatch: where it is, what was sent, what was expected, the difference, what to do; nothing secret."""
    columns = (
        ("raised at:", place),
        ("sent:", sent),
        ("scripted:", expected),
        ("nearest:", difference),
        ("to do:", remedy),
    )
    return in_rows(
        headline, ((label if not at else "", text) for label, texts in columns for at, text in enumerate(texts))
    )


def in_rows(headline: str, rows: Iterable[tuple[str, str]]) -> str:
    """Word something in rows, each of a label and a text of one or more lines; nothing secret."""
    lines = [headline]
    for label, text in rows:
        first, *more = text.split("\n")
        lines.append(f"  {label:<11}{first}")
        lines.extend(" " * 13 + line for line in more)
    return discreet("\n".join(lines))


def discreet(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text as people may see it: without those secrets, and others that `fakellm.secrets` knows."""
    from fakellm.secrets import knowing

    with knowing.knowing(secrets):
        return knowing.discreet(text)


_AROUND = 8192
"""Characters around what is shown of a text that secrets are looked for in: most are shorter."""


def clip(text: str, limit: int = 300) -> str:
    """Return `text`, with its middle left out where it is longer than `limit` characters.

    What is secret goes first: half a key would not be known as one.
    """
    if len(text) <= limit:
        return text
    half = (limit - 5) // 2
    if len(text) > 4 * _AROUND:
        return f"{discreet(text[: half + _AROUND])[:half]} ... {discreet(text[-half - _AROUND :])[-half:]}"
    text = discreet(text)
    return text if len(text) <= limit else f"{text[:half]} ... {text[-half:]}"
