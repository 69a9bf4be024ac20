"""Headers of requests: written where they are known to be harmless, or where somebody names them."""

from __future__ import annotations

import importlib

import anthropic
import loopback
import openai
import pytest
import sdks
from places import ROOT
from taping import stored
from vcr.request import Request
from vectors import each

from fakellm import FakeProvider
from fakellm.cassette import Redactor, Tape
from fakellm.http.interception import intercept, playing

TOKEN = "4f9d0c6b7a1e4852b3d6f8a90c1e2d3f"
URL = "https://api.openai.com/v1/chat/completions"


def kept(name, value=TOKEN, **options):
    headers = Redactor(environ={}, **options).request(Request("POST", URL, b"{}", {name: value})).headers
    return headers[name]


@each(
    "name", ["x-session", "X-Session", "session", "x-my-thing", "x-auth", "ticket", "x-stainless", "accept-me", b"x-b"]
)
def test_a_header_of_any_other_name_loses_its_value(name):
    value = TOKEN.encode() if isinstance(name, bytes) else TOKEN
    assert kept(name, value) in ("REDACTED", b"REDACTED")
    assert kept(name, type(value)()) == type(value)()


@each("name", ["x-session", "Authorization", "cookie", "x-api-key"])
def test_a_header_that_is_named_is_kept_whole(name):
    assert kept(name, keep_headers=[name.upper()]) == TOKEN


@each("name", ["user-agent", "Accept", "anthropic-version", "X-Stainless-Lang", "traceparent", "content-type"])
def test_a_harmless_header_stays_and_is_searched(name):
    assert kept(name, "a 1") == "a 1"
    assert kept(name, f"a {TOKEN}", secrets=[TOKEN]) == "a REDACTED"


@pytest.mark.parametrize("library", ["httpx", "httpx2", "aiohttp", "requests"])
def test_no_client_leaves_it_on_the_tape_nor_its_echo_and_the_request_matches(tmp_path, library):
    path, headers = tmp_path / "tape.yaml", {"x-session": TOKEN, "x-tenant": "acme"}

    def ask(url, headers):
        module = importlib.import_module(library)

        async def main():
            async with module.ClientSession() as session, session.post(url, headers=headers) as answer:
                return await answer.read()

        return sdks.run(main()) if library == "aiohttp" else module.post(url, headers=headers).content

    def tape(mode):
        return Tape(path, mode=mode, keep_headers=["x-tenant"], match_on=["method", "uri", "headers"])

    with loopback.Pieces([f'{{"you": "{TOKEN}"}}'.encode()]) as server, playing(tape("once")):
        ask(url := f"{server.url}/", headers)
    asked = {name.lower(): value for name, value in stored(path)[0]["request"]["headers"].items()}
    assert (asked["x-session"], asked["x-tenant"]) == (["REDACTED"], ["acme"])
    assert TOKEN not in path.read_text()
    with playing(tape("none")):
        assert ask(url, {**headers, "x-session": "another"}) == b'{"you": "REDACTED"}'


def test_headers_that_sdks_send_of_themselves_are_harmless(tmp_path):
    messages = [{"role": "user", "content": "hi"}]
    fakes = FakeProvider("openai").reply("ok"), FakeProvider("anthropic").reply("ok")
    with intercept(*fakes), playing(Tape(tmp_path / "tape.yaml", mode="once")):
        openai.OpenAI(api_key="none").chat.completions.create(model="m", messages=messages)
        anthropic.Anthropic(api_key="none").messages.create(model="m", max_tokens=1, messages=messages)
    lost = {
        name
        for pair in stored(tmp_path / "tape.yaml")
        for name, values in pair["request"]["headers"].items()
        if values == ["REDACTED"]
    }
    assert lost <= {"x-api-key"}


def test_our_own_tapes_are_as_they_would_be_written_today():
    redactor = Redactor(environ={})
    for path in (ROOT / "cassettes").glob("*.yaml"):
        for pair in stored(path):
            headers = {name: values[0] for name, values in pair["request"]["headers"].items()}
            assert dict(redactor.request(Request("POST", URL, b"{}", headers)).headers) == headers


def test_bad_names_are_refused(tmp_path):
    with pytest.raises(TypeError, match="a list of names"):
        Redactor(keep_headers="x-session")
    with pytest.raises(ValueError, match="belongs to the redactor"):
        Tape(tmp_path / "tape.yaml", redactor=Redactor(), keep_headers=["x-session"])
