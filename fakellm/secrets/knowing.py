"""Texts as people may see them: reports, exceptions, what stands beside a line of a log.

Every such text goes through `discreet`, most of them in `fakellm.errors`, where mismatches are worded. What a secret
is by its form, its place or the environment is seen in the text alone; the credentials of a request are not, so who
words something about a request says whose it is: `with knowing(call.credentials):`. Then they are known however deep
below a text is made or cut. The order matters: half a key is not known as one, so what is cut is redacted before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import accumulate, pairwise

from fakellm.secrets.edits import apply, resized
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


def discreet(text: str) -> str:
    """Return a text without its secrets: what is known, what the environment holds, what has the form of one."""
    return Shown(secrets=_KNOWN.get()).text(text)


def discreet_url(url: str) -> str:
    """Return a URL without its credentials and without what else is secret in it."""
    return Shown(secrets=_KNOWN.get()).url(url)


def pieces(texts: Sequence[str]) -> list[str]:
    """Return the pieces of one text without what is secret in the whole: the word for it is where it began."""
    parts = [text.encode("utf-8", "surrogatepass") for text in texts]
    whole = b"".join(parts)
    edits = Shown(secrets=_KNOWN.get()).found(whole)
    ends = accumulate(resized([len(part) for part in parts], edits), initial=0)
    new = apply(whole, edits)
    return [new[start:end].decode("utf-8", "surrogatepass") for start, end in pairwise(ends)]
