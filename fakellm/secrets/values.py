"""Finding the secrets whose values are known: what the client sent, what the environment holds, what was named.

A value that is an ordinary word (`postgres` is a password in many environments) is found as a whole word only, and not
where the protocol has its constants: `"role": "assistant"` stays, whatever a password is. One or two words are
ordinary, such as anybody may write who means something else. Several are not, nor are words with a number, which people
make up to be secrets; and what was named by the user is looked for in names and URLs too, where other ordinary words
are part of what was asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from fakellm.secrets.edits import Edit
from fakellm.secrets.shapes import PLACEHOLDER, has_shape, is_wordy

_MARK = PLACEHOLDER.encode()
_NUMBER = re.compile(rb"[-+\d.eE]+")
_LONG, _SHORT_END, _LONG_END = 20, 8, 12
_HEAD = 16
NAMED = "secret that was named"
"""The kind of values that the user named."""
_ORDINARY = re.compile(r"(?:[A-Za-z]?[a-z]{1,15}|[A-Z]{1,16})(?:[-_. ](?:[A-Za-z]?[a-z]{1,15}|[A-Z]{1,16}))?")
_UNSPEAKABLE = re.compile(r"(?i)[bcdfghjklmnpqrstvwxz]{6}")
_FIELDS_OF_CONSTANTS = """role type object status finish_?reason stop_?reason native_finish_reason event kind
    format mode detail effort service_tier modalit(?:y|ies) mime_?type media_type encoding reason phase"""
_FIELDS_OF_NAMES = """model id name tool_?name server_label language param (?:item|call|tool_call|tool_use)_id
    fingerprint system_fingerprint"""


def _before(fields: str) -> re.Pattern[bytes]:
    names = "|".join(fields.split())
    text = rf"(?i)\"(?:{names})\\*\"\s*:\s*(?:\[[^\[\]]{{0,200}})?\\*\"[\w./: -]{{0,80}}\Z"
    return re.compile(text.encode())


_BEFORE_CONSTANT = _before(_FIELDS_OF_CONSTANTS)
_BEFORE_NAME = _before(_FIELDS_OF_NAMES)
_EVENT_LINE = re.compile(rb"(?:^|\n)event: ?[\w.-]{0,80}\Z")
_IS_NAME = re.compile(rb"[\w.-]{0,80}\\*\"\s*:")


def valued(data: bytes, values: Mapping[bytes, str]) -> Iterator[Edit]:
    """Find the known secrets, and what the end of the bytes, or of a string, cut off of one."""
    for value, kind in values.items():
        if is_ordinary(value):
            yield from (Edit(at, at + len(value), _MARK, kind) for at in _words(data, value, is_named=kind == NAMED))
            continue
        is_number = value[:1] in b"+-.0123456789" and _NUMBER.fullmatch(value)
        head = _head(value)
        at = data.find(head)
        while at >= 0:
            end = at + len(head)
            while end < at + len(value) and data[end : end + 1] == value[end - at : end - at + 1]:
                end += 1
            is_all = end - at == len(value) or end == len(data) or data[end : end + 2].lstrip(b"\\")[:1] == b'"'
            if is_all and not (is_number and _is_in_number(data, at, end)):
                yield Edit(at, end, _MARK, kind)
            at = data.find(head, end)
        least = _LONG_END if len(value) >= _LONG else _SHORT_END
        if is_number or value[:least] not in data[-len(value) :]:
            continue
        for length in range(len(head) - 1, least - 1, -1):
            if data.endswith(value[:length]):
                yield Edit(len(data) - length, len(data), _MARK, kind)
                break


@lru_cache(512)
def is_ordinary(value: bytes) -> bool:
    """Tell whether a value is a word, or words, that mean something else as well."""
    text = value.decode("utf-8", "replace")
    return bool(_ORDINARY.fullmatch(text)) and not _UNSPEAKABLE.search(text) and is_wordy(text)


@lru_cache(512)
def _head(value: bytes) -> bytes:
    """Return the begin of a value by which a part of it can be known: all of one that is short or begins with words."""
    head = value[:_HEAD]
    return head if len(value) >= _LONG and has_shape(head.decode("utf-8", "replace")) else value


def _words(data: bytes, word: bytes, *, is_named: bool) -> Iterator[int]:
    """Yield where a word stands by itself, and is no constant of a protocol; one that was named may be a name."""
    at = data.find(word)
    while at >= 0:
        before, after = data[max(at - 300, 0) : at], data[at + len(word) : at + len(word) + 100]
        is_whole = not _goes_on(before[::-1]) and not _goes_on(after)
        is_name = not is_named and _BEFORE_NAME.search(before)
        if is_whole and not (after.startswith(b"://") or is_name or _is_constant(before, after)):
            yield at
        at = data.find(word, at + len(word))


def _goes_on(beside: bytes) -> bool:
    """Tell whether a word goes on, as `postgresql` does and `postgres_data`; an underline of Markdown ends it."""
    return beside[:1].isalnum() or (beside[:1] in (b"_", b"-", b".") and beside[1:2].isalnum())


def _is_constant(before: bytes, after: bytes) -> bool:
    """Tell whether a word is in the value of a field that has constants, a field's name, or the name of an event."""
    if _BEFORE_CONSTANT.search(before) or _EVENT_LINE.search(before):
        return True
    return before.endswith(b'"') and bool(_IS_NAME.match(after))


def _is_in_number(data: bytes, start: int, end: int) -> bool:
    """Tell whether digits are a number of JSON or a part of one: redaction leaves numbers alone."""
    before, after = data[max(start - 40, 0) : start], data[end : end + 40]
    return bool(
        re.search(rb"[\d.]$|(?:^|[:,\[])\s*[-+\d.eE]*$", before)
        and re.match(rb"[\d.]|[-+\d.eE]*\s*(?:[,}\]]|$)", after)
    )
