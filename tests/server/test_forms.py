"""Forms of the wire on a server: told by whom makes it, by a scenario, from outside, by an option."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest

from fakellm import FakeProvider
from fakellm.cli.config import Serving
from fakellm.cli.wording import UsageError
from fakellm.clock import InstantClock
from fakellm.errors import ScenarioError
from fakellm.server import Scenario, Server
from fakellm.wire import FORMS, WireForm

ASKED = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}


def post(server, asked=ASKED, path=None):
    url = path or f"{server.base_url('openai')}/chat/completions"
    request = urllib.request.Request(url, json.dumps(asked).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request) as response:
        return response.headers, response.read()


def test_a_server_writes_all_answers_in_its_form():
    with Server([FakeProvider("openai").otherwise("hi")], form="crlf,bom", clock=InstantClock()) as server:
        headers, body = post(server)
        _, document = post(server, {**ASKED, "stream": False})
    assert body.startswith(b"\xef\xbb\xbfdata: ")
    assert body.endswith(b"data: [DONE]\r\n\r\n")
    assert headers["content-type"].startswith("text/event-stream")
    assert json.loads(document)["choices"]


def test_what_is_compressed_by_its_form_is_not_compressed_again():
    fake = FakeProvider("openai").otherwise("hi").speak("gzip")
    fake.zips = True
    with Server([fake], clock=InstantClock()) as server:
        headers, _ = post(server)
    assert headers.get_all("content-encoding") == ["gzip"]


SCENARIO = """
providers:
  - openai
  - name: cohere
    form: {pieces: 3}
form: line_ends=crlf,bom
replies:
  - {text: one, form: no_space}
otherwise: {text: two}
"""


def test_a_scenario_tells_it_of_all_of_one_provider_and_of_one_reply():
    openai, cohere = Scenario.read(SCENARIO).providers()
    assert openai.form == WireForm(line_ends="crlf", bom=True)
    assert cohere.form == WireForm(pieces=3)
    assert [reply.form for reply in openai.replies] == [FORMS["no_space"], None]


def test_a_scenario_names_the_place_of_a_form_that_is_none():
    text = "otherwise:\n  text: a\n  form: crfl\nproviders:\n  - name: openai\n    form: {boom: 1}\nform: 7\n"
    with pytest.raises(ScenarioError) as told:
        Scenario.read(text, name="a.yaml")
    *_, seventh = str(told.value).splitlines()  # one line, and no names of types that were tried
    assert seventh.startswith("a.yaml, line 7, form: 7 cannot stand here; write the name of a form")
    with pytest.raises(ScenarioError) as told:
        Scenario.read(text.replace("form: 7\n", ""), name="a.yaml")
    first, second = str(told.value).splitlines()
    assert first.startswith("a.yaml, line 3, otherwise.form: there is no form 'crfl'; did you mean crlf?")
    assert second.startswith("a.yaml, line 6, providers.0.form: a form has no field 'boom'; did you mean bom?")


def test_a_reply_is_told_from_outside_with_its_form():
    with Server([FakeProvider("openai")], clock=InstantClock()) as server:
        replies = f"{server.url}/_fakellm/replies"
        post(server, {"provider": "openai", "script": "one", "form": "cr"}, replies)
        with pytest.raises(urllib.error.HTTPError) as refused:
            post(server, {"provider": "openai", "script": "one", "form": "crfl"}, replies)
        assert "did you mean crlf" in refused.value.read().decode()
        assert post(server)[1].endswith(b"data: [DONE]\r\r")


def test_an_option_tells_it():
    serving = Serving(form="crlf")
    assert {provider.form for provider in serving.providers()} == {FORMS["crlf"]}
    with pytest.raises(UsageError, match="--form crfl: there is no form 'crfl'; did you mean crlf"):
        Serving(form="crfl").providers()


def test_a_file_is_served_in_the_form_of_the_option(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("providers: [openai]\notherwise: {text: a}\nform: bom\n")
    assert Serving(file=str(path)).providers()[0].form == FORMS["bom"]
    told = Serving(file=str(path), form="crlf").told(path)
    (provider,) = told.providers()
    assert provider.form == FORMS["crlf"]
    assert told.providers([provider])[0].form == FORMS["crlf"]
