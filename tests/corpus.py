"""Real recorded provider streams, where the machine has them: the folder that FAKELLM_CORPUS names."""

from __future__ import annotations

import gzip
import json
import os
from functools import cache
from pathlib import Path

import pytest
import yaml

CORPUS = os.environ.get("FAKELLM_CORPUS")
needs_corpus = pytest.mark.skipif(not CORPUS, reason="FAKELLM_CORPUS names no folder of recorded streams")


class _AsData(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Reads what some recorders tag as Python objects as text; executes nothing."""


def _as_text(loader, _suffix, node):
    """Return a text for an object, which may be the key of a mapping."""
    if isinstance(node, yaml.MappingNode):
        return str(loader.construct_mapping(node, deep=True))
    if isinstance(node, yaml.SequenceNode):
        return str(loader.construct_sequence(node, deep=True))
    return loader.construct_scalar(node)


_AsData.add_multi_constructor("tag:yaml.org,2002:python/", _as_text)


def manifest():
    """Return the rows of the manifest; none without a corpus."""
    if not CORPUS:
        return []
    return [json.loads(line) for line in (Path(CORPUS) / "MANIFEST.jsonl").read_text().splitlines()]


@cache
def cassette(file):
    with (Path(CORPUS) / "streams" / file).open(encoding="utf-8", newline="") as text:
        return yaml.load(text, Loader=_AsData)


def body(file, index):
    """Return the bytes of a response's body, as they were before any compression."""
    stored = cassette(file)["interactions"][index]["response"]["body"]
    data = stored["string"] if isinstance(stored, dict) else stored
    data = data.encode() if isinstance(data, str) else data
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
