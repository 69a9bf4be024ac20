"""The recordings of self-hosted servers in `cassettes/servers/`: what was asked, what came, piece by piece."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from itertools import accumulate
from urllib.parse import urlsplit

from places import ROOT
from sending import sse_of

from fakellm.cassette.format import YAML
from fakellm.wire.anthropic.profiles import PROFILES as MESSAGES
from fakellm.wire.openai.profiles import PROFILES

FOLDER = ROOT / "cassettes" / "servers"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
TRANSFORMERS = {
    "transformers-chat": "chat",
    "transformers-completions": "sparkling_water",
    "transformers-responses": "responses",
}
"""The tapes beside that folder that are of a self-hosted server, too."""


class Recording:
    """One exchange: `asked` is the request's JSON, `pieces` the chunks of the body, `delays` the ms before each."""

    def __init__(self, name):
        path = FOLDER.parent / f"{TRANSFORMERS[name]}.yaml" if name in TRANSFORMERS else FOLDER / f"{name}.yaml"
        data = YAML.deserialize(path.read_text())
        (interaction,) = data["interactions"]
        response = interaction["response"]
        self.name, self.about = name, data.get("metadata")
        self.uri = interaction["request"]["uri"]
        self.path = urlsplit(self.uri).path
        self.asked = json.loads(interaction["request"]["body"])
        self.status = response["status"]["code"]
        self.headers = {key.lower(): value for key, (value,) in response["headers"].items()}
        self.body = response["body"]["string"]
        self.body = self.body.encode() if isinstance(self.body, str) else self.body
        self.end, self.delays = response["stream"]["end"], response["stream"]["delays"]
        sizes = response["stream"]["sizes"]
        self.pieces = [self.body[end - size : end] for size, end in zip(sizes, accumulate(sizes), strict=True)]

    @property
    def base_url(self):
        """The URL that the SDK of the API is given."""
        return self.uri.removesuffix(self.path) + ("" if self.path.endswith("/messages") else "/v1")

    @property
    def events(self):
        """The events as (name, data): the data as JSON, `[DONE]` as it is."""
        return events_of(self.body)

    @property
    def chunks(self):
        """The JSON objects that the events hold."""
        return [data for _, data in self.events if isinstance(data, dict)]


def events_of(body):
    """Return the events of a body as (name, data): the data as JSON, `[DONE]` as it is."""
    found = sse_of(body)
    return [(one.event, one.data if one.data == "[DONE]" else json.loads(one.data)) for one in found]


@cache
def recording(name):
    """Return a recording, which nobody changes."""
    return Recording(name)


SERVERS = {
    "vllm": "vllm", "llama": "llama.cpp", "mlx": "mlx-lm", "lcp": "llama-cpp-python", "transformers": "transformers",
}  # fmt: skip
FLAGS = {  # what the command line of a recorded server changes in its profile
    "vllm-forced-usage-reasoning-tools": {"usage": "every"},
    "vllm-killed-engine": {"usage": "every"},
    "vllm-keepalive-start": {"keep_alive": 1.0},
    "llama-progress-ping": {"keep_alive": 2.002},  # seconds, as the server kept them
}


def profile_of(name):
    """Return the profile of the server that was recorded, as its command line had it."""
    profiles = MESSAGES if "messages" in name else PROFILES
    return replace(profiles[SERVERS[name.partition("-")[0]]], **FLAGS.get(name, {}))
