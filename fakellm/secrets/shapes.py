"""What looks like a secret, and what only stands where one would: words, numbers, dates, paths, `sk-test-123`.

A random text of letters and digits changes between them every second or third character; words, and words with a
number at their end, do not. That difference is all there is between `sk-spinner-double-bounce2` and a key.
"""

from __future__ import annotations

import re

PLACEHOLDER = "REDACTED"
"""What stands in a secret's place, whatever its value was: letters only, so that no format has to escape it."""

SHORTEST = 8
"""Characters that a value has at least for it to be looked for outside of its own place."""


_DUMMY = re.compile(
    r"""(?ix)(?:sk|pk|test(?:ing|s)?|dummy|fake|mock(?:ed)?|stub|placeholder|example|sample|redacted|removed|filtered|
    scrubbed|hidden|masked|censored|api|keys?|tokens?|secrets?|passwords?|pass|user(?:name)?|auth(?:orization)?|
    bearer|basic|not|no|none|null|nil|true|false|needed|required|used|unused|empty|your|my|the|an?|here|goes|real|
    insert|change|me|this|lm|studio|ollama|local(?:host)?|vllm|llama|cpp|any(?:thing)?|some(?:thing)?|value|valid|
    invalid|wrong|bad|foo|bar|baz|qux|openai|anthropic|gemini|google|azure|x++|\d++|[\x00-/:-@\[-`{-\x7f]++)+"""
)
DOCUMENTED = "EXAMPLE"
"""What AWS's documents, and those of others, write into the keys that they show."""
_LONG = 200
_SEGMENT = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_SMALL, _MEDIUM, _LONGEST_WORD, _WORDY = 3, 16, 20, 3
_PARTS = re.compile(r"[^A-Za-z0-9]+")
_LETTERS = re.compile(r"[A-Za-z]+|[A-Za-z]+(?:[-_. ][A-Za-z]+)*")
NOT_SECRET = re.compile(
    r"(?:[-+]?[\d.,_]+(?:[eE][-+]?\d+)?|(?i:true|false|yes|no|on|off|none|null)"
    r"|\d{4}-\d\d-\d\d(?:[T ][\d:.]+(?:Z|[-+]\d\d:?\d\d)?)?"
    r"|(?:~|\.{1,2})?/(?:[\w.@+ -]+/)*[\w.@+ -]*|[A-Za-z]:\\.*)"
)
_RUN = re.compile(r"[A-Za-z0-9+/]{12,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def is_dummy(text: str) -> bool:
    """Tell whether a text is made of words, digits and signs that stand where a credential would: `sk-test-123`."""
    return DOCUMENTED in text or (len(text) < _LONG and bool(_DUMMY.fullmatch(text)))


def is_worth_hunting(text: str) -> bool:
    """Tell whether a credential is long and rare enough to be looked for anywhere."""
    if len(text) < SHORTEST or PLACEHOLDER in text or not text.strip():
        return False
    return not NOT_SECRET.fullmatch(text) and not is_dummy(text)


def has_shape(text: str) -> bool:
    """Tell whether a text looks random: not words, numbers, dates, versions or a path, nor a stand-in."""
    return is_worth_hunting(text) and not is_wordy(text)


def is_wordy(text: str) -> bool:
    """Tell whether a text is made of words and numbers, as names are: `getAccessToken2`, `spinner-double-bounce2`."""
    return all(_is_word(part) for part in _PARTS.split(text) if part)


def _is_word(part: str) -> bool:
    segments = _SEGMENT.findall(part)
    if len(part) <= _SMALL or (len(part) <= 2 * _SMALL and len(segments) <= 2):  # noqa: PLR2004 - `api03`
        return True
    numbers = sum(segment.isdigit() for segment in segments)
    if numbers > (1 if len(part) >= _MEDIUM else 2) or max(map(len, segments), default=0) > _LONGEST_WORD:
        return part.isdigit()
    return len(part) >= _WORDY * len(segments)


def is_random(text: str) -> bool:
    """Tell whether a text looks random where code may stand as well: a long run of letters with digits in it."""
    return has_shape(text) and any(
        sum(map(str.isdigit, run)) > 1 and not run.isdigit() and not _is_word(run) for run in _RUN.findall(text)
    )
