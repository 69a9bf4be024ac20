"""What looks like a secret, and what only stands where one would: words, numbers, dates, paths, `sk-test-123`."""

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
_LONG = 200
_WORD = re.compile(r"[a-z]{1,16}|[A-Z][a-z]{0,15}|[A-Z]{1,16}|\d+|[A-Za-z0-9]{1,3}")
_PARTS = re.compile(r"[^A-Za-z0-9]+")
NOT_SECRET = re.compile(
    r"(?:[-+]?[\d.,_]+(?:[eE][-+]?\d+)?|(?i:true|false|yes|no|on|off|none|null)"
    r"|\d{4}-\d\d-\d\d(?:[T ][\d:.]+(?:Z|[-+]\d\d:?\d\d)?)?"
    r"|(?:~|\.{1,2})?/(?:[\w.@+ -]+/)*[\w.@+ -]*|[A-Za-z]:\\.*)"
)


def is_dummy(text: str) -> bool:
    """Tell whether a text is made of words, digits and signs that stand where a credential would: `sk-test-123`."""
    return len(text) < _LONG and bool(_DUMMY.fullmatch(text))


def is_worth_hunting(text: str) -> bool:
    """Tell whether a credential is long and rare enough to be looked for anywhere."""
    if len(text) < SHORTEST or PLACEHOLDER in text or not text.strip():
        return False
    return not NOT_SECRET.fullmatch(text) and not is_dummy(text)


def has_shape(text: str) -> bool:
    """Tell whether a text looks random: not words, numbers, dates, versions or a path, nor a stand-in."""
    if not is_worth_hunting(text):
        return False
    return not all(_WORD.fullmatch(part) for part in _PARTS.split(text) if part)


def is_random(text: str) -> bool:
    """Tell whether a text looks random where code may stand as well: a long run of letters with digits in it."""
    runs = re.findall(r"[A-Za-z0-9+/]{12,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", text)
    return has_shape(text) and any(len(re.findall(r"\d", run)) > 1 and not run.isdigit() for run in runs)
