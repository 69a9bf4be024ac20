"""What the small documents of all providers are made of: vectors, counts of tokens, paths.

Each provider's `documents.py` answers what apps need beside answers: embeddings, counts of tokens, models. Each
function there takes the JSON of a request and its path with query, and returns the document of the answer. What a
request lacks, or has wrongly, raises `WireError`, worded as a provider would. Any model exists.

The same text always has the same vector, of the model's usual length and of length 1. Texts that share words are
similar: each word adds to a few places that follow from its SHA-256, and the whole text adds a little everywhere, so
that no two texts have one vector. Tokens are words.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from fakellm.errors import WireError
from fakellm.wire.objects import get

_WORD = re.compile(r"\w+")
_PLACES = 16
_SHARE = 0.1
_LONGEST = 4096
_DIMENSIONS = {
    "text-embedding-3-large": 3072,
    "text-embedding-004": 768,
    "embedding-001": 768,
    "gemini-embedding-001": 3072,
    "nomic-embed-text": 768,
    "mistral-embed": 1024,
    "embeddinggemma": 768,
    "mxbai-embed-large": 1024,
    "bge-m3": 1024,
    "all-minilm": 384,
}
"""The usual length of a model's vectors; that of others is 1536."""


def vector(text: str, dimensions: int = 1536) -> list[float]:
    """Return the vector of a text: of length 1, in numbers that four bytes hold."""
    whole = hashlib.shake_256(text.encode("utf-8", "replace")).digest(dimensions)
    noise = _SHARE / math.sqrt(dimensions) / 74  # the standard deviation of a byte
    values = [(byte - 127.5) * noise for byte in whole]
    words = _WORD.findall(text.lower())
    for word in words:
        places = struct.unpack(f"<{_PLACES}H", hashlib.sha256(word.encode("utf-8", "replace")).digest())
        for place in places:
            values[(place >> 1) % dimensions] += (1 if place & 1 else -1) / math.sqrt(_PLACES * len(words))
    length = math.sqrt(math.fsum(value * value for value in values))
    return list(struct.unpack(f"<{dimensions}f", struct.pack(f"<{dimensions}f", *(v / length for v in values))))


def _bytes(values: Sequence[float]) -> list[int]:
    """Return numbers from -127 to 127, of which the greatest is at an end."""
    most = max(map(abs, values))
    return [round(value / most * 127) for value in values]


def _bits(values: Sequence[float]) -> list[int]:
    """Return the signs of numbers, eight to a byte, the first in the highest bit."""
    signs = [value > 0 for value in values]
    return [sum(sign << 7 - bit for bit, sign in enumerate(signs[at : at + 8])) for at in range(0, len(signs), 8)]


FORMS: dict[str, Callable[[list[float]], Any]] = {
    "float": lambda values: values,
    "int8": _bytes,
    "uint8": lambda values: [value + 128 for value in _bytes(values)],
    "binary": lambda values: [value - 128 for value in _bits(values)],
    "ubinary": _bits,
    "base64": lambda values: base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode(),
}
"""The types of embeddings, each with how it is made of floats."""


def dimensions_of(asked: Mapping[str, Any], name: str, model: str) -> int:
    """Return how long a vector is asked for, else the usual length of the model. Raises `WireError` for none."""
    found = get(asked, name, int, _DIMENSIONS.get(model, 1536))
    if not 1 <= found <= _LONGEST:
        msg = f"Invalid value for '{name}': {found} is not between 1 and {_LONGEST}."
        raise WireError(msg)
    return found


def count_tokens(text: str) -> int:
    """Return the number of words in a text, which the fakes count as tokens everywhere."""
    return len(text.split())


def words_of(values: Iterable[object]) -> int:
    """Return the number of words in all the texts of JSON, beside those that only say what kind of thing it is."""
    count, left = 0, list(values)
    while left:
        value = left.pop()
        if isinstance(value, str):
            count += count_tokens(value)
        elif isinstance(value, list):
            left += value
        elif isinstance(value, dict):
            left += [item for key, item in value.items() if key not in ("role", "type", "data", "id", "tool_use_id")]
    return count


def last_of(path: str) -> str:
    """Return what comes last in a path, without its query."""
    return unquote(path.partition("?")[0]).rpartition("/")[2]


def object_of(asked: object) -> dict[str, Any]:
    """Return the JSON of a request, which has to be an object. Raises `WireError` for another."""
    if not isinstance(asked, dict):
        msg = "Invalid JSON payload received. Expected an object."
        raise WireError(msg)
    return asked
