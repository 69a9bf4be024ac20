"""Finding secrets that are shown in several strings: a list of chunks, events one below the other.

A text that people are shown has no structure that could be relied on: it is cut, indented, the repr of anything. What
it has is strings in quotes. Those with nothing but a comma between them are one text, and so are those that have the
same name before them, `"content": "..."` in every chunk of a stream.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import accumulate

from fakellm.secrets.edits import Edit
from fakellm.secrets.hunting import find

_STRING = re.compile(rb"(\\*[\"'])((?:[^\"'\\\r\n]|\\[^\"'])*+)\1")
_ITEM = re.compile(rb"('|\")((?:(?!\1)[^\\\r\n]|\\.)*+)\1")
"""A string with the other sort of quotes in it: the item of a list, never what has a name inside of something else."""
_NAME = re.compile(rb"([\w-]{1,40})\\*[\"']?\s{0,4}[:=]\s{0,4}[bfr]?\Z")
_GAP = re.compile(rb"\s*,\s*(?:E\s+)?(?:[-+] +)?[bfr]?")
_LONGEST_GAP, _LONGEST_NAME = 200, 60

Span = tuple[int, int]


def over_strings(data: bytes, values: Mapping[bytes, str]) -> Iterator[Edit]:
    """Find the secrets that lie over several strings of a text: the first gets the word for it, the others nothing."""
    for spans in _texts(data):
        parts = [data[start:end] for start, end in spans]
        starts = list(accumulate(map(len, parts), initial=0))
        for edit in find(b"".join(parts), values):
            first, last = bisect_right(starts, edit.start) - 1, bisect_right(starts, edit.end - 1) - 1
            for index in range(first, last + 1) if first < last else ():
                start, end = max(edit.start, starts[index]), min(edit.end, starts[index + 1])
                shift = spans[index][0] - starts[index]
                yield Edit(start + shift, end + shift, edit.new if index == first else b"", edit.kind)


def _texts(data: bytes) -> Iterator[list[Span]]:
    """Yield where the strings are that are one text, of each text with several."""
    named: dict[bytes, list[Span]] = {}
    for match in _STRING.finditer(data):
        if name := _NAME.search(data, max(match.start() - _LONGEST_NAME, 0), match.start()):
            named.setdefault(name[1], []).append(match.span(2))
    texts = (*_listed(data, _STRING), *_listed(data, _ITEM), *named.values())
    yield from (spans for spans in texts if len(spans) > 1)


def _listed(data: bytes, regex: re.Pattern[bytes]) -> Iterator[list[Span]]:
    """Yield where the strings are that have nothing but a comma between them."""
    spans: list[Span] = []
    until = 0
    for match in regex.finditer(data):
        if match.start() - until > _LONGEST_GAP or not _GAP.fullmatch(data, until, match.start()):
            yield spans
            spans = []
        spans.append(match.span(2))
        until = match.end()
    yield spans
