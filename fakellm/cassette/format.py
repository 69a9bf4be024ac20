"""The cassette format: vcrpy's version 1 (https://vcrpy.readthedocs.io), with the mappings `stream` and `wire` of ours.

`wire` is there where the response was sent as the rest does not show: `http_version`, if it was not HTTP/1.1, and the
`headers` that fit to a body which is stored decoded: its `content-encoding`, and the `content-length` of then.

`stream` has `sizes`, the bytes of each chunk, `delays`, the milliseconds before each, `end`, one of `ENDS`, and
`error`, the exception class that ended it or null. In memory sizes and delays are lists, on disk they are numbers
between spaces. Bodies are text where they are UTF-8, else `!!binary` in YAML and `base64_string` in JSON, of which
vcrpy knows the first only. The order of keys and of headers is fixed, so that the same session gives the same text.

A YAML tape begins with a comment and ends with YAML's end mark, `...`: what is left of a literal block that was cut
off is a literal block too, so this is how such a tape is known. Reading executes nothing.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping
from typing import Any, Protocol

import yaml

from fakellm.cassette.document import ENDS, HEADING, VERSION, CassetteError, Document, check_version, sent_as, sound
from fakellm.cassette.emit import Block, Plain, raw, to_yaml
from fakellm.script.lines import Place

END_MARK = "...\n"

_SURROGATE = re.compile("[\ud800-\udfff]")


# -- writing ------------------------------------------------------------------------------------------


class _Body(Protocol):
    """Returns a body as it is written."""

    def __call__(self, data: bytes, *, is_text: bool) -> object: ...


def _arranged(data: Mapping[str, Any], body: _Body) -> dict[str, Any]:
    """Return the data in the order and the types that are written; bodies as the function gives them."""
    interactions = []
    for interaction in data["interactions"]:
        request, response = dict(interaction["request"]), dict(interaction["response"])
        head: dict[str, Any] = {"method": sound(request.pop("method")), "uri": sound(request.pop("uri"))}
        head |= {"headers": _sorted(request.pop("headers")), "body": _held(request.pop("body", None), body)}
        interactions.append({"request": head | _others(request), "response": _response(response, body)})
    return {"version": VERSION, "interactions": interactions}


def _response(response: dict[str, Any], body: _Body) -> dict[str, Any]:
    status, stored, stream = response.pop("status"), response.pop("body", None), response.pop("stream", None)
    wire = response.pop("wire", None)
    string = stored.get("string") if isinstance(stored, Mapping) else stored
    held = _held(string, body)
    shown = {
        "status": {"code": status["code"], "message": status.get("message")},
        "headers": _sorted(response.pop("headers")),
        "body": held if isinstance(held, dict) else {"string": held},
        **_others(response),
    }
    if wire:
        shown["wire"] = {**wire, **({"headers": _sorted(wire["headers"])} if wire.get("headers") else {})}
    if stream is not None:
        shown["stream"] = _stream(stream, len(body_bytes(string) or b""))
    return shown


def _others(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {key: mapping[key] for key in sorted(mapping)}


def _sorted(headers: Mapping[str, Any]) -> dict[str, Any]:
    names = sorted(headers, key=lambda name: (sound(name).lower(), sound(name)))
    return {sound(name): _listed(headers[name]) for name in names}


def _listed(values: object) -> list[object]:
    listed = values if isinstance(values, (list, tuple)) else [values]
    return [sent_as(value) for value in listed]


def body_bytes(body: Any) -> bytes | None:
    """Return the bytes of a body as vcrpy keeps it: bytes, text, a file or an iterator of either."""
    if body is None or isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return raw(body)
    if hasattr(body, "read"):
        return body_bytes(body.read())
    return (
        bytes(body) if isinstance(body, (bytearray, memoryview)) else b"".join(body_bytes(part) or b"" for part in body)
    )


def _held(stored: Any, body: _Body) -> Any:
    """Return a body as it is written: as text if it is UTF-8."""
    data = body_bytes(stored)
    if data is None:
        return None
    try:
        data.decode()
    except UnicodeDecodeError:
        return body(data, is_text=False)
    return body(data, is_text=True)


def _stream(stream: Mapping[str, Any], length: int) -> dict[str, Any]:
    sizes, delays = stream["sizes"], stream["delays"]
    is_timed = len(sizes) == len(delays) and min(delays, default=0) >= 0 and math.isfinite(sum(delays))
    if sum(sizes) != length or not is_timed or stream["end"] not in ENDS:
        msg = (
            f"a stream that is no stream is not written: {len(sizes)} sizes of {sum(sizes)} bytes in all, "
            f"{len(delays)} delays, a body of {length} bytes, the end {stream['end']!r}"
        )
        raise CassetteError(msg)
    return {
        "sizes": " ".join(map(str, sizes)),
        "delays": " ".join(f"{delay + 0.0:.1f}" for delay in delays),
        "end": stream["end"],
        "error": stream.get("error"),
    }


class _Serializer:
    """What vcrpy calls a serializer: `vcr.register_serializer("yaml", YAML)`."""

    name = ""

    def deserialize(self, text: str) -> dict[str, Any]:
        """Return the data of a tape as vcrpy wants it, with streams as they are in memory. Raises `CassetteError`."""
        document = Document(text, f"<{self.name}>")
        check_version(document)
        for at, interaction in enumerate(document.sequence(("interactions",))):
            place: Place = ("interactions", at)
            document.mapping((*place, "request"))
            response = document.mapping((*place, "response"))
            if "stream" in response:
                body = document.held((*place, "response", "body")) or b""
                interaction["response"]["stream"] = document.stream((*place, "response", "stream"), len(body))
        return document.mapping(())

    def serialize(self, data: Mapping[str, Any]) -> str:
        """Return the text of a tape. Raises `CassetteError` for what a tape cannot hold."""
        try:
            return self._write(data)
        except (TypeError, yaml.YAMLError) as error:
            msg = f"the cassette cannot be written: {error}"
            raise CassetteError(msg) from error

    def _write(self, data: Mapping[str, Any]) -> str:
        raise NotImplementedError


class _Yaml(_Serializer):
    name = "yaml"

    def _write(self, data: Mapping[str, Any]) -> str:
        arranged = _arranged(data, _in_yaml)
        for interaction in arranged["interactions"]:
            if stream := interaction["response"].get("stream"):
                stream.update(sizes=Plain(stream["sizes"] or "''"), delays=Plain(stream["delays"] or "''"))
        metadata = {"metadata": data["metadata"]} if data.get("metadata") else None
        more = yaml.safe_dump(metadata, allow_unicode=True, width=math.inf) if metadata else ""
        return b"".join((HEADING.encode(), to_yaml(arranged), more.encode(), END_MARK.encode())).decode()


class _Json(_Serializer):
    name = "json"

    def _write(self, data: Mapping[str, Any]) -> str:
        arranged = _arranged(data, _in_json)
        if data.get("metadata"):
            arranged["metadata"] = data["metadata"]
        text = json.dumps(arranged, ensure_ascii=False, indent=2)
        return _SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", text) + "\n"


def _in_yaml(data: bytes, *, is_text: bool) -> object:
    return Block(data) if is_text else data


def _in_json(data: bytes, *, is_text: bool) -> object:
    return data.decode() if is_text else {"base64_string": base64.b64encode(data).decode()}


YAML = _Yaml()
JSON = _Json()
