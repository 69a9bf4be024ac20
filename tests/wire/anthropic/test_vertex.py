"""Claude on Vertex AI: asked by Anthropic's own client for it, which looks up credentials, alone and beside Gemini."""

from __future__ import annotations

import json
import os

import anthropic
import pytest
import sdks
from taping import stored, tape
from vectors import each, first_of

from fakellm import FakeProvider, Finish, Reasoning, Script, ToolCall, Usage, disconnect, provider_error
from fakellm.contracts import check_stream, check_wire, every_fault
from fakellm.http import intercept, playing
from fakellm.script.events import Native
from fakellm.wire.anthropic import MessagesCodec

pytest.importorskip("google.auth", reason="anthropic[vertex] is in the group provider-sdks")

ASKED = {"model": "claude-opus-4-5@20251101", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
HOSTS = {
    "us-east5": "us-east5-aiplatform.googleapis.com",
    "global": "aiplatform.googleapis.com",
    "us": "aiplatform.us.rep.googleapis.com",
    "eu": "aiplatform.eu.rep.googleapis.com",
}
both = pytest.mark.parametrize("asynchronous", first_of([False, True]), ids=["sync", "async"])


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith(("GOOGLE_", "ANTHROPIC_", "CLOUD_ML_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))  # nobody's own credentials


def client_of(*, asynchronous=False, **options):
    kind = anthropic.AsyncAnthropicVertex if asynchronous else anthropic.AnthropicVertex
    return kind(max_retries=0, **options)


def asked(*, asynchronous=False, api="messages.create", options=(), **fields):
    """Return what the SDK gives: the events of a stream and the error that ends it, or the document."""

    def of(client):
        found = client
        for step in api.split("."):
            found = getattr(found, step)
        return found

    events, fields = [], {**ASKED, **fields}

    async def main():
        answer = await of(client_of(asynchronous=True, **dict(options)))(**fields)
        if not fields.get("stream"):
            return answer
        async for event in answer:
            events.append(event)
        return None

    try:
        if asynchronous:
            document = sdks.run(main())
        else:
            document = of(client_of(**dict(options)))(**fields)
            if fields.get("stream"):
                events.extend(document)
    except Exception as error:
        return events, error
    return (events, None) if fields.get("stream") else document


@both
def test_a_client_without_credentials_is_answered(asynchronous):
    provider = FakeProvider("anthropic").reply("It rains.", ToolCall("f", {"a": 1}))
    provider.reply(
        Reasoning("Hm."), "It ", "rains.", ToolCall("f"), ToolCall(arguments='{"a": '), ToolCall(arguments="1}")
    )
    with intercept(provider, block_network=True):
        document = asked(asynchronous=asynchronous)
        events, error = asked(asynchronous=asynchronous, stream=True)
    assert (document.content[0].text, document.content[1].input) == ("It rains.", {"a": 1})
    assert document.model == ASKED["model"]
    assert error is None
    deltas = [event.delta for event in events if event.type == "content_block_delta"]
    assert "".join(getattr(delta, "text", "") for delta in deltas) == "It rains."
    assert [delta.partial_json for delta in deltas if delta.type == "input_json_delta"] == ["", '{"a": ', "1}"]
    first, second = provider.calls  # who gives the token is no call of the app's
    assert first.url.endswith(f"/publishers/anthropic/models/{ASKED['model']}:rawPredict")
    assert second.url.endswith(":streamRawPredict")
    assert first.json["anthropic_version"]
    assert "model" not in first.json
    assert first.headers["authorization"].startswith("Bearer ")


@each("region", HOSTS)
def test_each_of_its_hosts(region):
    provider = FakeProvider("anthropic").otherwise("a")
    with intercept(provider, block_network=True):
        assert asked(options={"region": region, "project_id": "p"}).content[0].text == "a"
        counted = client_of(region=region, project_id="p").messages.count_tokens(
            model=ASKED["model"], messages=ASKED["messages"]
        )
    assert counted.input_tokens == 1
    assert all(f"//{HOSTS[region]}/" in call.url for call in provider.calls)


@both
def test_both_models_of_a_cloud_are_told_apart(asynchronous):
    from google import genai

    gemini, claude = FakeProvider("gemini").otherwise("of Gemini"), FakeProvider("anthropic").otherwise("of Claude")
    with intercept(gemini, claude, block_network=True):
        assert asked(asynchronous=asynchronous).content[0].text == "of Claude"
        client = genai.Client(vertexai=True, project="p", location="us-east5")
        assert client.models.generate_content(model="gemini-3-flash", contents="i").text == "of Gemini"
    assert (len(gemini.calls), len(claude.calls)) == (1, 1)


@both
def test_errors_before_an_answer_and_in_it_and_a_drop_at_chunk_three(asynchronous):
    provider = FakeProvider("anthropic").error(429, "No.").reply("a", provider_error("busy", "overloaded_error"))
    provider.reply("a", "b", disconnect())
    with intercept(provider):
        _, before = asked(asynchronous=asynchronous, stream=True)
        _, inside = asked(asynchronous=asynchronous, stream=True)
        events, broken = asked(asynchronous=asynchronous, stream=True)
    assert isinstance(before, anthropic.RateLimitError)
    assert isinstance(inside, anthropic.APIStatusError)
    assert [event.type for event in events][-1] == "content_block_delta"
    assert broken is not None


def test_what_google_refuses_for_its_form():
    http = sdks.http_of("anthropic")
    url = (
        "https://us-east5-aiplatform.googleapis.com/v1/projects/p/locations/l/publishers/anthropic/models/c:rawPredict"
    )
    with intercept(FakeProvider("anthropic").otherwise("a")):
        for body in ({**ASKED}, {"anthropic_version": "vertex-2023-10-16", "messages": "Hi", "max_tokens": 9}, []):
            answer = http.post(url, json=body)
            assert answer.status_code == 400
            assert answer.json()["error"]["type"] == "invalid_request_error"


@both
@pytest.mark.parametrize("fault", first_of([((),), ((disconnect(),),)]), ids=["whole", "dropped"])
def test_a_tape_is_recorded_and_played_and_is_a_script(tmp_path, asynchronous, fault):
    script = Script(
        *(
            "It ",
            "rains.",
            ToolCall("f", id="x"),
            ToolCall(arguments='{"a": ', index=0),
            ToolCall(arguments="1}", index=0),
        ),
        *(fault or (Finish("tool_calls"), Usage(3, 4, 0))),
    )
    where = {"region": "global", "project_id": "p", "access_token": "none"}
    with intercept(FakeProvider("anthropic").reply(script)), playing(tape(tmp_path / "t.yaml")):
        events, error = asked(asynchronous=asynchronous, stream=True, options=where)
    kept = tape(tmp_path / "t.yaml", mode="none")
    with playing(kept):
        again, later = asked(asynchronous=asynchronous, stream=True, options=where)
    assert sdks.dumped(again) == sdks.dumped(events)
    assert type(later) is type(error)
    assert list(kept.script())[: len(script) - 1] == list(script)[:-1]
    assert stored(tmp_path / "t.yaml")[0]["response"]["stream"]["end"] == ("dropped" if fault else "complete")


class Careful:
    """An app that wants a whole answer, in Claude's words."""

    def stream(self, input):
        for event in client_of(region="global", project_id="p", access_token="none").messages.create(
            **ASKED, stream=True
        ):
            if event.type == "content_block_delta":
                yield event.delta.text
            if event.type == "message_stop":
                return
        msg = "the answer is not complete"
        raise ConnectionError(msg)


def test_the_contracts_of_a_stream_are_checked():
    report = check_stream(Careful, api="anthropic", contracts=["truncation", "in_band_error", "producer_dies"])
    assert not report.failed, str(report)
    assert {verdict.contract.name for verdict in report.passed} >= {"truncation", "in_band_error"}


@pytest.mark.exhaustive
@every_fault(Script.of("A long answer"))
def test_every_fault_reaches_a_careful_app(fake_anthropic, faulty):
    fake_anthropic.reply(faulty)
    http = sdks.http_of("anthropic")
    with pytest.raises((anthropic.AnthropicError, http.HTTPError, ConnectionError)):
        list(Careful().stream("Hi"))
    assert len(fake_anthropic.calls) == 1


def test_what_it_writes_keeps_to_the_grammar_of_messages():
    http = sdks.http_of("anthropic")
    url = "https://aiplatform.googleapis.com/v1/projects/p/locations/l/publishers/anthropic/models/c:streamRawPredict"
    block = Native("anthropic.messages", {"type": "redacted_thinking", "data": "x"})
    script = Script(block, "a", Finish(), Usage(1, 1, 0))
    with intercept(FakeProvider("anthropic").reply(script)):
        body = http.post(url, json={"anthropic_version": "vertex-2023-10-16", "messages": [], "max_tokens": 9}).content
    check_wire(body, api="anthropic_messages").verify()
    assert MessagesCodec().decode(body) == script
    assert json.loads(body.split(b"\n")[1][6:])["message"]["model"] == "c"
