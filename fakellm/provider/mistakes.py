"""What is wrong with a test, where a fake provider finds it while it answers: told so that nothing hides it.

Two kinds of exceptions come out of a reply. One was scripted: `.reply(ConnectionError())`, or a function that raises
what a client's transport raises when a network fails. The app is to meet it as it is. The other nobody meant: a bug or
an assertion in a function of the test, a script that the API has no form for. Raised as it is, it would come out of
the client's transport, and SDKs wrap whatever comes from there as a failed connection and try again; the app then says
that it is offline, which is what the test expects of it. So it is raised as a `BrokenReplyError`, which is no
`Exception`, and kept for the end of the test.
"""

from __future__ import annotations

import linecache
import os
from traceback import format_exception_only, walk_tb

from fakellm.errors import BrokenReplyError, LLMError, UnexpectedCallError, clip, explain, is_failure
from fakellm.provider.exchange import ProviderCall
from fakellm.secrets.knowing import knowing

_TRANSPORTS = {"httpx", "httpx2", "httpcore", "httpcore2", "aiohttp", "requests", "urllib3", "socket", "ssl"}
"""The modules whose exceptions say that a network failed."""
_AS_IT_IS = (
    "what a client's transport would raise (ConnectionError, TimeoutError, exceptions of its HTTP library) reaches the "
    "app as it is, and so does any other exception that is a reply by itself"
)
_LIBRARY = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120 - where Python's own modules are


def is_scripted(call: ProviderCall, error: BaseException) -> bool:
    """Tell whether the client is to meet an exception that came out of a reply as it is."""
    if isinstance(error, UnexpectedCallError) or not (isinstance(error, Exception) or is_failure(error)):
        return True
    if call.reply is None:
        return False
    content = call.reply.content
    if error is content or (isinstance(content, type) and isinstance(error, content)):
        return True
    if isinstance(error, (LLMError, ConnectionError, TimeoutError)):
        return True
    return any(kind.__module__.partition(".")[0] in _TRANSPORTS for kind in type(error).__mro__)


def mistake(call: ProviderCall, name: str, error: BaseException) -> BrokenReplyError:
    """Return the error that tells the author of the test why a reply of the fake `name` could not be made."""
    place = place_of(error)
    if place:
        remedy = "correct it; " + _AS_IT_IS
    else:
        remedy = "script what the API can say; a stream can hold some of what a document cannot"
    with knowing(call.credentials):
        text = explain(
            f"request {call.number} to the fake {name} could not be answered: {_worded(error)}",
            place=[place] if place else [],
            sent=[call.asked()],
            expected=[] if call.reply is None else [f"{call.reply}\nat {call.reply.place}"],
            remedy=[remedy],
        )
    broken = BrokenReplyError(text)
    broken.credentials, broken.place = call.credentials, call.place
    return broken


def _worded(error: BaseException) -> str:
    """Return an exception as Python shows it, with its notes."""
    return clip("".join(format_exception_only(error)).strip(), 1200)


def without_frames(error: BaseException | None) -> None:
    """Let go of the calls that an exception, and those that led to it, hold: what is kept of it are its words."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def place_of(error: BaseException) -> str:
    """Return the line of the test, or of what it uses, that raised an exception; empty where fakellm itself did."""
    at: BaseException | None = error
    while at is not None:
        frames = [(frame, line) for frame, line in walk_tb(at.__traceback__) if not _is_ours(frame.f_globals)]
        own = [(frame, line) for frame, line in frames if not _is_installed(frame.f_code.co_filename)]
        for frame, line in reversed(own or frames):
            code = frame.f_code
            text = linecache.getline(code.co_filename, line, frame.f_globals).strip()
            return f"{code.co_filename}:{line} in {code.co_name}: {text}"
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return ""


def _is_ours(names: dict[str, object]) -> bool:
    return str(names.get("__name__", "")).startswith("fakellm.")


def _is_installed(path: str) -> bool:
    return "site-packages" in path or path.startswith((_LIBRARY, "<frozen"))
