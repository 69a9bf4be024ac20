"""Real recorded provider streams, where the machine has them: the folder that FAKELLM_CORPUS names."""

from __future__ import annotations

import base64
import gzip
import json
import os
from functools import cache
from pathlib import Path

import pytest
import yaml

CORPUS = os.environ.get("FAKELLM_CORPUS")
needs_corpus = pytest.mark.skipif(not CORPUS, reason="FAKELLM_CORPUS names no folder of recorded streams")


@cache
def sample():
    """Return some of the files: of each provider and each API that a project recorded one, and a third of the others.

    None of them are the few that are long, whose code paths are those of the others.
    """
    chosen, others, seen = [], [], set()
    if not CORPUS:
        return ()
    for path in sorted((Path(CORPUS) / "streams").iterdir(), key=lambda path: (path.stat().st_size, path.name)):
        provider, *kind = path.name.split(".")[:3]
        is_new = not {provider, tuple(kind)} <= seen
        (chosen if is_new else others).append(path)
        seen |= {provider, tuple(kind)}
    short = [path for path in others if path.stat().st_size < 150_000]
    return tuple(sorted([*chosen, *short[::3]]))


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


_AsData.add_constructor("!binary", _AsData.construct_yaml_binary)


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
    if file.endswith((".sse", ".chunks.txt")):
        return (Path(CORPUS) / "streams" / file).read_bytes()
    document = cassette(file)
    if isinstance(document, list):  # nock
        stored = document[index]["response"]
        return bytes.fromhex(stored if isinstance(stored, str) else "".join(stored))
    if "http_interactions" in document:  # Ruby's VCR
        stored = document["http_interactions"][index]["response"]["body"]
        data = stored.get("string") or base64.b64decode(stored["base64_string"])
    elif "interactions" not in document:  # an APM agent's JSON
        data = document["response"]["body"]
    else:
        stored = document["interactions"][index]["response"]["body"]
        data = stored["string"] if isinstance(stored, dict) else stored
    data = data.encode() if isinstance(data, str) else data
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def requests():
    """Yield (file, status, method, URL, headers, body) of each recorded request whose body is there, as JSON."""
    for row in manifest():
        if row["file"].endswith((".sse", ".chunks.txt")):
            continue
        document = cassette(row["file"])
        if isinstance(document, list):  # nock
            for one in document:
                body = one["body"] if isinstance(one["body"], str) else json.dumps(one["body"])
                yield row["file"], one["status"], one["method"], one["scope"] + one["path"], {}, body.encode()
            continue
        for one in document.get("http_interactions") or document.get("interactions") or [document]:
            if (asked := one.get("request")) and (body := _asked(asked)):
                headers = {
                    name: value[0] if isinstance(value, list) else value for name, value in asked["headers"].items()
                }
                url = asked.get("uri") or asked.get("url") or ""
                yield row["file"], _status(one["response"]), asked["method"].upper(), url, headers, body


def _status(response):
    found = response.get("status", response.get("status_code", response.get("code")))
    return int(found["code"] if isinstance(found, dict) else str(found)[:3])


def _asked(request):
    """Return the body of a request, if it is JSON."""
    if request.get("parsed_body") is not None:
        return json.dumps(request["parsed_body"]).encode()
    body = request.get("body")
    body = (body.get("string") or body.get("body")) if isinstance(body, dict) else body
    body = body.encode() if isinstance(body, str) else body
    try:
        return body if isinstance(json.loads(body), dict) else None
    except (TypeError, ValueError):
        return None


@cache
def expected():
    """Return what the official SDKs make of the streams: a row for each, with `chunks` and `final` to read."""
    if not CORPUS:
        return []
    return [json.loads(line) for line in (Path(CORPUS) / "expected" / "index.jsonl").read_text().splitlines()]


def expected_of(api):
    """Return parameters, one for each stream of an API that an official SDK was run on."""
    return [
        pytest.param(row, id=f"{row['file'].split('.', 2)[2]}.{row['idx']}") for row in expected() if row["api"] == api
    ]


def chunks(row):
    """Return the chunks that the SDK gave, as objects."""
    return [json.loads(line) for line in (Path(CORPUS) / "expected" / row["expected"]).read_text().splitlines()]


def final(row):
    """Return the SDK's accumulated result, or None where it has none."""
    return json.loads((Path(CORPUS) / "expected" / row["final"]).read_text()) if row.get("final") else None
