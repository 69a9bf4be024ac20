"""Texts as people may see them: reports, exceptions, what stands beside a line of a log.

Every such text goes through `discreet`, most of them in `fakellm.errors`, where mismatches are worded. What a secret
is by its form, its place or the environment is seen in the text alone; the credentials of a request are not, so who
words something about a request says whose it is: `with knowing(call.credentials):`. Then they are known however deep
below a text is made or cut. The order matters: half a key is not known as one, so what is cut is redacted before.

What finds secrets is some hundred patterns, which take longer to compile than a fake takes to be made. Most runs show
nothing, and a server has to be ready at once: so the detector is imported by the first text that is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from fakellm.secrets.edits import apply, resized

if TYPE_CHECKING:
    from fakellm.secrets.shown import Shown

_KNOWN: ContextVar[frozenset[str]] = ContextVar("what is known to be secret", default=frozenset())


@contextmanager
def knowing(secrets: Iterable[str]) -> Iterator[None]:
    """Let `discreet` know secrets, beside those that it knows already, inside the block."""
    token = _KNOWN.set(_KNOWN.get().union(secrets))
    try:
        yield
    finally:
        _KNOWN.reset(token)


def carried(url: str, headers: Mapping[str, str]) -> frozenset[str]:
    """Return the credentials of a request, which are worth looking for elsewhere."""
    from fakellm.secrets.shown import credentials

    return frozenset(credentials(url, headers))


def _shown() -> Shown:
    from fakellm.secrets.shown import Shown

    return Shown(secrets=_KNOWN.get())


def discreet(text: str) -> str:
    """Return a text without its secrets: what is known, what the environment holds, what has the form of one."""
    return _shown().text(text)


def discreet_url(url: str) -> str:
    """Return a URL without its credentials and without what else is secret in it."""
    return _shown().url(url)


def pieces(texts: Sequence[str]) -> list[str]:
    """Return the pieces of one text without what is secret in the whole: the word for it is where it began."""
    parts = [text.encode("utf-8", "surrogatepass") for text in texts]
    whole = b"".join(parts)
    edits = _shown().found(whole)
    ends = accumulate(resized([len(part) for part in parts], edits), initial=0)
    new = apply(whole, edits)
    return [new[start:end].decode("utf-8", "surrogatepass") for start, end in pairwise(ends)]
