"""A provider from outside the package: two endpoints and a codec of its own, made of what `fakellm.wire` offers.

`POST /toy/say` streams lines of JSON: `{"say": "Hel"}` for each piece, then `{"end": "stop"}`, or `{"oops": ...}`. `GET
/toy/voices` is a document.
"""

from __future__ import annotations

import re
from typing import Any

from fakellm import Finish, Text, disconnect, provider_error
from fakellm.errors import WireError
from fakellm.script import Message
from fakellm.wire import (
    Broken,
    Codec,
    Decoder,
    Encoder,
    NDJSONDecoder,
    Request,
    Rule,
    Rules,
    Service,
    document,
    encode_ndjson,
    endpoint,
)


class SayEncoder(Encoder):
    def event(self, event):
        return [encode_ndjson({"say": event.text})] if isinstance(event, Text) else []

    def end(self):
        return [encode_ndjson({"end": "stop"})]

    def error(self, fault):
        return [encode_ndjson({"oops": fault.message})]


class SayDecoder(Decoder):
    def __init__(self):
        self._lines = NDJSONDecoder()
        self._ended = False

    def feed(self, data):
        return [event for value in self._lines.feed(data) for event in self._events(value)]

    def close(self):
        rest = [event for value in self._lines.close() for event in self._events(value)]
        return rest if self._ended else [*rest, disconnect("end")]

    def _events(self, value):
        if "say" in value:
            return [Text(value["say"])]
        self._ended = True
        return [Finish(value["end"])] if "end" in value else [provider_error(value["oops"])]


class SayCodec(Codec):
    api = "toy.say"
    content_type = "application/x-ndjson"

    def request(self, body: Any, *, path: str = "") -> Request:
        if not isinstance(body, dict) or "ask" not in body:
            msg = "ask me something"
            raise WireError(msg)
        stream = bool(body.get("stream"))
        return Request(self.api, body.get("voice", "soft"), (Message("user", body["ask"]),), (), stream, {}, body)

    def encoder(self, request, number, usage=None):
        return SayEncoder()

    def body(self, script, request, number):
        return encode_ndjson({"said": script.text})

    def error(self, fault, number):
        return (("content-type", "application/json"),), encode_ndjson({"oops": fault.message})

    def decoder(self):
        return SayDecoder()


def voices(asked, path):
    return {"voices": ["soft", "loud"]}


def too_loud(asked):
    if asked.body["ask"].isupper():
        yield Broken("ask", "no need to shout")


class SayRules(Rules):
    api = "toy.say"
    rules = (Rule("shouting", "a question in capitals", "lower the voice", "https://toy.example/manners", too_loud),)


TOY = Service(
    "toy",
    re.compile(r"^([\w-]+\.)*toy\.example$"),
    (
        endpoint("toy.say", r"/toy/say$", SayCodec, rules=SayRules()),
        document("toy.voices", r"/toy/voices$", voices, method="GET"),
    ),
    keys=("TOY_API_KEY",),
    base_url="TOY_BASE_URL",
)
