"""Sessions of one server: parallel tests that do not meet."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from urllib.parse import quote

import pytest

from fakellm import FakeProvider
from fakellm.clock import InstantClock
from fakellm.errors import SwallowedCallError, UnusedRepliesError
from fakellm.server import FakeServer, Server


def ask(url, text="?", session=None):
    """Return what is answered, or the status and the text of an error."""
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
    headers = {} if session is None else {"X-Fakellm-Session": session}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{url}/chat/completions", body, headers)) as answer:
            return json.load(answer)["choices"][0]["message"]["content"]
    except urllib.error.HTTPError as error:
        with error:
            return error.status, json.load(error)["error"]["message"]


@pytest.fixture
def server():
    provider = FakeProvider("openai").reply("1").reply("2").when("rule", "first rule")
    with Server([provider], clock=InstantClock()) as server:
        yield server


def test_each_session_has_replies_and_a_log_of_its_own(server):
    url = server.base_url("openai")

    assert [ask(url), ask(url, session="a"), ask(url), ask(url, session="b"), ask(url, session="a")] == list("11212")
    assert ask(url, session="a")[0] == 400
    assert len(server.sessions.own.calls) == 2
    assert len(server.sessions.named("a").calls) == 3
    assert [len(session.misses) for session in server.sessions] == [0, 1, 0]


def test_a_session_may_be_a_part_of_the_url(server):
    name = "tests/x.py::test_it[ä]"
    url = server.sessions.named(name).base_url(server.url, "openai")

    assert quote(name, safe="") in url
    assert [ask(url), ask(url), ask(server.base_url("openai"))] == ["1", "2", "1"]
    assert server.sessions.named(name).calls[0].url == f"http://127.0.0.1:{server.port}/v1/chat/completions"


def test_a_rule_that_is_told_later_goes_to_new_sessions_and_a_reply_does_not(server):
    own, url = server.sessions.own["openai"], server.base_url("openai")
    ask(url, session="old")
    own.reply("3").otherwise("other")

    assert [ask(url, session="new") for _ in range(3)] == ["1", "2", "other"]
    assert [ask(url, session="old") for _ in range(2)][-1][0] == 400


def test_scripts_of_a_session_are_its_own(server):
    mine = server.sessions.named("mine")
    mine["openai"].when("rule", "mine").when("?", "mine too")
    url = server.base_url("openai")

    assert [ask(url, "rule", "mine"), ask(url, "?", "mine"), ask(url, "?", "other")] == ["first rule", "mine too", "1"]


@pytest.mark.parametrize("name", ["a" * 201, "a\tb"])
def test_what_is_no_name_is_refused(server, name):
    assert "the name of a session is a line of at most 200" in ask(server.base_url("openai"), session=name)[1]


def test_a_name_in_a_header_may_be_utf_8(server):
    url = server.base_url("openai")

    assert ask(url, session="schön".encode().decode("latin-1")) == "1"
    assert ask(server.sessions.named("schön").base_url(server.url, "openai")) == "2"
    assert ask(url, session="schön")[0] == 400  # Latin-1, as urllib sends it: the same session, which has no more
    assert [session.name for session in server.sessions] == ["", "schön"]


def test_sessions_are_bounded(server, monkeypatch):
    monkeypatch.setattr("fakellm.server.sessions._MOST", 2)
    url = server.base_url("openai")

    assert [ask(url, session=name) for name in "abacbc"] == list("112112")  # b made room for c, and a for b
    assert [session.name for session in server.sessions] == ["", "c", "b"]


def test_what_a_session_used_is_not_unused():
    with FakeServer() as server:
        server.openai.when("rule", "first rule")
        server.session("a")["openai"].reply("left")
        assert ask(server.base_url("openai"), "rule", session="b") == "first rule"
        with pytest.raises(UnusedRepliesError, match="openai in the session 'a' was never asked for 1"):
            server.verify()
        ask(server.base_url("openai"), session="a")
        server.verify()
        ask(server.base_url("openai"), session="a")
        with pytest.raises(SwallowedCallError, match="in the session 'a', found no reply"):
            server.verify()
        server.verify(allow_misses=True)


def test_reset_goes_back_to_what_was_told_before(server):
    own, url = server.sessions.own, server.base_url("openai")
    own.keep()
    own["openai"].reply("3").otherwise("other")
    provider = own["openai"]
    assert [ask(url) for _ in range(4)] == ["1", "2", "3", "other"]

    own.reset()

    assert [ask(url), ask(url)] == ["1", "2"]
    assert ask(url)[0] == 400
    assert len(provider.calls) == len(own.calls) == 3


def test_the_moments_of_an_answer_are_noted(server):
    server.sessions.own["openai"].when("paced", "Hel", "lo")
    ask(server.base_url("openai"), "paced")

    (logged,) = server.sessions.own.log
    ((moment, before),) = logged.moments()
    assert (moment >= 0, before) == (True, 0)


def test_a_child_asks_the_server_and_no_proxy(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with FakeServer() as server:
        assert not {"NO_PROXY", "no_proxy"} & {*server.environ}
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("NO_PROXY", "example.com")
        assert server.environ["NO_PROXY"] == "example.com,127.0.0.1"
        assert server.environ["no_proxy"] == "127.0.0.1"
        assert server.environ["OPENAI_BASE_URL"] == f"{server.url}/openai/v1"


def test_a_server_has_only_its_providers():
    with pytest.raises(AttributeError, match="neither an attribute nor a provider 'opneai'"):
        FakeServer().opneai
    with pytest.raises(KeyError, match="it has openai, anthropic"):
        FakeServer()["opneai"]
