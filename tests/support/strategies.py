"""Hypothesis strategies that several test files draw from: texts, events, legal scripts, any order at all."""

from __future__ import annotations

from functools import partial

from hypothesis import settings
from hypothesis import strategies as st

from fakellm import (
    Finish,
    Pause,
    Reasoning,
    Refusal,
    Script,
    Text,
    ToolCall,
    Usage,
    disconnect,
    http_error,
    provider_error,
    stall,
)


def fewer(part: int) -> settings:
    """Return settings for examples that are dear: that part of what is usual, but no fewer than ten."""
    return settings(max_examples=max(settings.default.max_examples // part, 10))


AWKWARD = (
    "", " ", "\t", "\n", "\r", "\r\n", "\x00", "\x1b[0m", "\x7f", "\x85", "\u2028", "\u2029", "\ufeff", "\ufffe",
    "e\u0301", "\U0001f469\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "\U0010ffff",
    "- a: b", "#", "'", '"', "\\", "---\n", "null", "no", "1e3", "2020-01-01", "{[", "word " * 30,
)  # fmt: skip

texts = st.text(max_size=12) | st.lists(st.sampled_from(AWKWARD) | st.text(max_size=4), max_size=4).map("".join)
"""Any text that UTF-8 can hold, with a liking for what trips serialisers."""

words = st.text(min_size=1, max_size=6)
counts = st.integers(0, 10**20)
seconds = st.integers(0, 10**6) | st.floats(0, 1e300, allow_nan=False)

content = st.builds(Text, texts) | st.builds(Reasoning, texts) | st.builds(Refusal, texts)
usages = st.builds(Usage, counts, counts, st.none() | counts, st.none() | counts)
pauses = st.builds(Pause, seconds)
finishes = st.builds(Finish, st.sampled_from(["stop", "length", "tool_calls"]) | words)
http_errors = st.builds(
    http_error,
    st.integers(400, 599),
    message=texts,
    retry_after=st.none() | seconds,
    body=st.none() | texts,
)
provider_errors = st.builds(provider_error, texts, kind=words, code=st.none() | words, named=st.none() | st.booleans())
faults = provider_errors | st.builds(disconnect, st.sampled_from(["reset", "close", "end", "cut"])) | st.just(stall())
pieces = st.builds(
    ToolCall,
    st.none() | words,
    texts,
    id=st.none() | words,
    index=st.none() | st.integers(0, 3),
)
"""A piece of a tool call, with or without name, id and index."""

events = content | usages | pauses | finishes | http_errors | faults | pieces


_silence = st.lists(pauses, max_size=2)
_beside = st.lists(pauses | usages, max_size=1)
_shown = content | content | usages | pauses
_begun = st.builds(ToolCall, words, texts, id=st.none() | words)


@st.composite
def legal_events(draw: st.DrawFn, *, fails: bool = True) -> list[object]:
    """Draw events in an order that a stream could have; each kind of event and every state occurs."""
    drawn: list[object] = draw(_silence)
    if fails and draw(st.integers(0, 9)) == 0:
        return [*drawn, draw(http_errors)]
    for _ in range(draw(st.integers(0, 4))):
        if draw(st.integers(0, 2)):
            drawn.append(draw(_shown))
            continue
        drawn.append(draw(_begun))
        for _ in range(draw(st.integers(0, 2))):
            drawn += [*draw(_beside), ToolCall(arguments=draw(texts))]
    if draw(st.booleans()):
        drawn += [draw(finishes), *draw(_beside)]
    if fails and draw(st.booleans()):
        drawn.append(draw(faults))
    return drawn


scripts = legal_events().map(lambda drawn: Script(*drawn))
"""A script that a stream could be."""

wild_scripts = st.lists(events, max_size=6).map(lambda drawn: Script(*drawn, allow_illegal=True))
"""A script with its events in any order."""

# The same two from a few events, for laws about the order of events: quick to draw, quick to shrink.
_SAY = [Text(text) for text in ("a", "", "b\u0301c", "two words ", "\U0001f600\n")]
_BESIDE = [Pause(1), Pause(0.5), Usage(3, 1), Usage(3, 5, cached_tokens=0)]
_SHOW = [*_SAY, Reasoning("hm, so"), Reasoning(""), Refusal("I "), Refusal("cannot")]
_CALLS = [
    (ToolCall("f"),),
    (ToolCall("f", {"x": [1, 2]}), ToolCall(arguments=" ")),
    (ToolCall("g", '{"y": ', id="mine"), Pause(2), ToolCall(arguments='"\U0001f600"'), ToolCall(arguments="}")),
    (ToolCall("g"), Usage(3, 2), ToolCall(arguments=""), ToolCall(arguments="{}")),
]
_FAULTS = [provider_error(), disconnect(), disconnect("close"), stall()]
_PIECES = [ToolCall("f", "{"), ToolCall(arguments="1"), ToolCall("g", index=1), ToolCall(arguments="2", index=0)]

_blocks = st.sampled_from([(event,) for event in (*_SHOW, *_SAY, *_BESIDE)] + _CALLS)
_ends = st.sampled_from([(), (), (Finish(),), (Finish("length"), Usage(3, 9)), (Finish(), Pause(1))])
_breaks = st.sampled_from([(), (), *((fault,) for fault in _FAULTS)])

_small = partial(
    st.builds,
    lambda blocks, end, fault: Script(*(event for block in (*blocks, end, fault) for event in block)),
    st.lists(_blocks, max_size=6),
    _ends,
)
small_scripts = _small(_breaks) | st.sampled_from(
    [Script(http_error(503)), Script(Pause(1), http_error(429, retry_after=2))]
)
"""A script that a stream could be, made of few different events."""

whole_scripts = legal_events(fails=False).map(lambda drawn: Script(*drawn)) | _small(st.just(()))
"""A script of either sort without a fault."""

failing_scripts = st.builds(lambda script, error: Script(*script, error), whole_scripts, provider_errors)
"""A script of either sort that ends in an error of the provider."""

small_wild_scripts = st.lists(
    st.sampled_from([*_SHOW, *_BESIDE, *_FAULTS, *_PIECES, Finish(), Finish("length"), http_error(500)]), max_size=6
).map(lambda drawn: Script(*drawn, allow_illegal=True))
"""A script of few different events in any order."""


def places(value, path=()):
    """Return the paths to all values inside a value of JSON."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


def put(value, path, new):
    """Return a value of JSON with another at a path in it."""
    if not path:
        return new
    copied = value.copy()
    copied[path[0]] = put(value[path[0]], path[1:], new)
    return copied
