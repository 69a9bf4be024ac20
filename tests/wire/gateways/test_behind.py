"""Answers behind gateways, where gateways meet everything else: faults, forms, tapes, sources that are read, each other."""

from __future__ import annotations

import json
from dataclasses import replace

import anthropic
import httpx
import openai
import pytest
from gateways import CHUNKED, CLOSING, DONE, ERROR, ROLE, TAPES, arrived, chunk, made, paced, words
from vectors import each

from fakellm import FakeProvider, Finish, Pause, Script, ToolCall, disconnect, http_error, provider_error, stall
from fakellm.cassette import Tape
from fakellm.clock import VirtualClock
from fakellm.errors import BrokenReplyError, ScriptError
from fakellm.http import playing, transport
from fakellm.provider.exchange import Failure
from fakellm.script import Raw
from fakellm.wire import GATEWAYS, SSEDecoder
from fakellm.wire.codec import Ending
from fakellm.wire.gateways.presets import gateways_of

BREAKS = "RemoteProtocolError" if openai.__version__ < "3" else "APIConnectionError"
"""What the SDK raises where a body breaks off: before 3 it lets through what httpx raises."""

KEEPERS = [name for name, gateway in GATEWAYS.items() if not gateway.rewrites]
WRITERS = [name for name, gateway in GATEWAYS.items() if gateway.rewrites]
ASKED = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hi there"}]}
URL = "https://api.openai.com/v1"


def asked(provider, path="/chat/completions", **fields):
    """Return an answer as httpx reads it, whole: status, headers, pieces, the name of what it raised."""
    pieces, end = [], ""
    with httpx.Client(transport=transport(provider, httpx)) as client:
        try:
            with client.stream("POST", f"{URL}{path}", json={**ASKED, **fields}) as response:
                for piece in response.iter_raw():
                    pieces.append((round(provider.clock.now, 6), piece))
            return response.status_code, response.headers, pieces, end
        except httpx.HTTPError as error:
            return 0, {}, pieces, type(error).__name__


def fake(*parts, behind=(), name="openai"):
    """Return a provider behind gateways, on a clock that is read."""
    return FakeProvider(name, clock=VirtualClock()).behind(*behind).otherwise(*parts)


def sdk(provider):
    """Return OpenAI's own client of a provider."""
    return openai.OpenAI(api_key="k", max_retries=0, http_client=httpx.Client(transport=transport(provider, httpx)))


# -- the pace -----------------------------------------------------------------------------------------


def test_headers_come_when_the_gateway_sends_them():
    script = Script(Pause(1), "a", Pause(1), "b")
    heads = {name: arrived(name, [Pause(1), [ROLE], Pause(1), *map(list, [[DONE]]), Ending()]).head for name in KEEPERS}
    assert heads == {**dict.fromkeys(KEEPERS, 0.0), "nginx": 2.0, "nginx-1.1": 1.0, "haproxy": 0.2}
    clock = (provider := fake(script, behind=["nginx"])).clock
    with httpx.Client(transport=transport(provider, httpx)) as client:
        with client.stream("POST", f"{URL}/chat/completions", json=ASKED) as response:
            assert clock.now == 2.0
            assert len(list(response.iter_raw())) == 1


def test_the_first_buffer_has_the_headers_too():
    sent = [chunk({"content": "x" * 400})] * 30
    pieces = [piece for _, piece in arrived("nginx", [*paced(sent), Ending()]).pieces]
    head = "HTTP/1.1 200 OK\r\nconnection: close\r\n" + "".join(f"{n}: {v}\r\n" for n, v in CLOSING) + "\r\n"
    assert [len(piece) for piece in pieces[:3]] == [4096 - len(head), 4096, 4096]
    assert b"".join(pieces) == b"".join(sent)


def test_without_pauses_all_comes_at_once():
    for name in GATEWAYS:
        seen = arrived(name, [[ROLE, *words(3)], [DONE], Ending()])
        assert seen.ended <= 0.2, name
    assert arrived("haproxy", [[ROLE], [DONE], Ending()]).pieces == [(0.0, ROLE + DONE)]


def test_a_stall_is_one_until_the_gateway_loses_patience():
    assert made("caddy", "P4").end == "whole"
    steps = [[ROLE], Pause(1), stall()]
    assert arrived("haproxy", steps).pieces == [(0.2, ROLE)]
    assert arrived("haproxy", steps).end == "no end"
    lost = arrived("nginx", steps)
    assert (lost.end, lost.pieces, lost.ended) == ("cut", [], 60.0)
    cut = arrived("envoy", steps)
    assert (cut.end, len(cut.pieces), cut.ended) == ("cut", 1, 15.0)


def test_the_client_loses_patience_first():
    provider = fake(Script("a", stall()), behind=["nginx"])
    with pytest.raises(openai.APITimeoutError):
        list(sdk(provider).chat.completions.create(**ASKED, timeout=3))
    assert provider.clock.now == 3


# -- ends ---------------------------------------------------------------------------------------------

DROPPED = {
    **dict.fromkeys(["nginx", "nginx-unbuffered", "caddy", "portkey"], "whole"),
    **dict.fromkeys(["nginx-1.1", "haproxy", "apache", "envoy", "vllm-router", "sglang-router", "mlflow"], "cut"),
    "openai-forward": "no end",
    **dict.fromkeys(["litellm", "lm-proxy", "llama-stack", "any-llm"], "whole"),
}


@each("name", GATEWAYS)
def test_a_fault_at_each_place_loses_nothing_but_what_the_gateway_loses(name):
    for after in range(4):
        for fault in (disconnect("close"), disconnect("reset"), Failure("RemoteProtocolError")):
            seen = arrived(name, [*paced([ROLE, *words(4)][:after]), fault])
            texts = [delta.get("content") for delta in seen.deltas if delta.get("content")]
            is_reset = fault == disconnect("reset")
            if name == "nginx" and is_reset:
                assert (seen.end, seen.body) == ("cut", b"")
                continue
            assert texts == [f"word{at} " for at in range(after - 1)], (fault, after)
            assert seen.end == ("cut" if is_reset and "nginx" in name else DROPPED[name]), fault


@each("name", KEEPERS)
def test_a_document_cannot_be_ended_in_order(name):
    headers = (("content-type", "application/json"), ("content-length", "20"))
    for fault in (disconnect("close"), disconnect("reset")):
        seen = arrived(name, [[b'{"half":'], fault], headers, streams=False)
        assert seen.end == ("no end" if name == "openai-forward" else "cut")
        assert seen.head == 0
    seen = arrived(name, [Ending([b'{"a": 1}'])], headers, streams=False)
    assert (seen.body, seen.end, seen.ended) == (b'{"a": 1}', "whole", 0)


def test_what_the_app_learns_of_a_drop():
    script = Script("Hel", "lo", disconnect("close"))

    def learned(*gateways):
        try:
            chunks = list(sdk(fake(script, behind=gateways)).chat.completions.create(**ASKED))
        except Exception as error:
            return type(error).__name__
        return [choice.finish_reason for one in chunks for choice in one.choices][-1]

    assert learned("nginx") is None
    assert learned("haproxy") == BREAKS
    assert learned("litellm") == "APIError"
    assert learned("lm-proxy") == "APIError"


# -- where there is no answer -------------------------------------------------------------------------


def test_a_server_that_is_not_there_has_an_answer_of_the_gateway():
    def status(name, fault):
        return asked(fake(Script(fault), behind=[name]))[0]

    refused = {name: status(name, disconnect("refused")) for name in GATEWAYS}
    assert refused == {
        **dict.fromkeys(GATEWAYS, 0),
        **dict.fromkeys(["nginx", "nginx-unbuffered", "nginx-1.1", "caddy"], 502),
        **dict.fromkeys(["haproxy", "envoy"], 503),
        **dict.fromkeys(["vllm-router", "litellm"], 500),
        **dict.fromkeys(["lm-proxy", "llama-stack", "any-llm"], 200),
    }
    assert status("haproxy", disconnect("no_response")) == 502
    assert status("nginx", stall("connect")) == 0  # the client of httpx waits 5 s
    late = arrived("nginx", [], status=0, before=[stall("headers")])
    assert (late.status, late.head, late.body[:41]) == (504, 60.0, b"<html>\r\n<head><title>504 Gateway Time-out")
    assert arrived("envoy", [], status=0, before=[Pause(9), stall("connect")]).head == 15.0
    assert arrived("caddy", [], status=0, before=[stall("connect")]).end == "headers"


@each("name", KEEPERS)
def test_http_errors_are_as_they_were(name):
    provider = fake(http_error(429, "too many", retry_after=3), behind=[name])
    status, headers, pieces, _ = asked(provider)
    assert (status, headers["retry-after"]) == (429, "3")
    assert json.loads(b"".join(piece for _, piece in pieces))["error"]["message"] == "too many"


def test_http_errors_of_streams_become_what_the_gateway_makes_of_them():
    def told(name, status=429, **fields):
        found, _, pieces, end = asked(fake(http_error(status, "too many"), behind=[name]), **fields)
        return found, b"".join(piece for _, piece in pieces).decode(), end

    assert told("litellm")[0] == 429
    assert "litellm.RateLimitError: RateLimitError: OpenAIException - too many" in told("litellm")[1]
    retry = asked(fake(http_error(429, retry_after=7), behind=["litellm"]))[1]
    assert ("retry-after" in retry, retry["llm_provider-retry-after"]) == (False, "7")
    assert told("litellm", 418) == (418, told("nginx", 418)[1], "")
    fixed = 'data: {"error": {"message": "An error occurred during streaming", "type": "server_error"}}\n\n'
    assert told("any-llm") == (200, f"{fixed}data: [DONE]\n\n", "")
    assert "500: Internal server error: An unexpected error occurred." in told("llama-stack")[1]
    assert "400: Error code: 400 - {'error': {'message': 'too many'" in told("llama-stack", 400)[1]
    assert "'type': 'RateLimitError'" in told("lm-proxy")[1]
    assert told("mlflow") == (0, "", "RemoteProtocolError")
    assert told("any-llm", stream=False) == (429, told("nginx", stream=False)[1], "")


# -- words --------------------------------------------------------------------------------------------


def test_llama_stack_writes_what_the_sdk_dumps():
    from openai.types.chat import ChatCompletionChunk

    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f"}}
    sent = [ROLE, chunk({"tool_calls": [call], "reasoning": "hm"}), chunk(choices=[], usage={"prompt_tokens": 1}), DONE]
    for event, was in zip(arrived("llama-stack", [Ending(sent)]).events, sent[:-1], strict=True):
        dumped = json.loads(ChatCompletionChunk.construct(**json.loads(was[6:])).model_dump_json())
        mine = _without_nulls(event)
        assert mine == _without_nulls(dumped)


def _without_nulls(value):
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value


def test_litellm_keeps_the_first_finish_reason_of_several_answers():
    def of(index, delta, finish=None):
        return chunk(choices=[{"index": index, "delta": delta, "finish_reason": finish}])

    sent = [of(0, {"role": "assistant", "content": ""}), of(1, {"role": "assistant", "content": ""})]
    sent += [of(0, {"content": "a"}), of(1, {"content": "b"}), of(1, {}, "length"), of(0, {"content": "c"})]
    seen = arrived("litellm", [*paced([*sent, of(0, {}, "stop"), DONE]), Ending()])
    assert seen.reasons == [(0, "length")]
    said = [(one["choices"][0]["index"], one["choices"][0]["delta"]) for one in seen.chunks]
    role = {"role": "assistant", "content": ""}
    assert said == [(0, role), (0, {"content": "a"}), (1, {"content": "b"}), (0, {}), (0, {"content": "c"})]


def test_litellm_tells_an_error_before_the_first_event_as_an_http_error():
    seen = arrived("litellm", [Pause(2), [ERROR], [DONE], Ending()])
    assert (seen.status, seen.head) == (500, 2.0)
    assert json.loads(seen.body)["error"] == {
        "message": "litellm.APIConnectionError: APIConnectionError: OpenAIException - the model fell over\n\nLiteLLM: "
        "model group 'm' failed with the error above. No fallback was attempted.",
        "type": "internal_server_error",
        "param": None,
        "code": "500",
    }


def test_litellm_counts_where_the_server_did_not():
    seen = made("litellm", "P5", wants_usage=True)
    assert seen.usages == [
        {
            "completion_tokens": 5, "prompt_tokens": 2, "total_tokens": 7,
            "completion_tokens_details": {"reasoning_tokens": 0, "text_tokens": 5},
        }
    ]  # fmt: skip
    assert seen.events[-2]["choices"] == [{"index": 0, "delta": {}}]


def test_calls_arrive_whole_where_they_arrive():
    script = Script(ToolCall("add", '{"a": 1}', id="c1"), ToolCall("sub", "{}", id="c2"))
    for name in GATEWAYS:
        seen = b"".join(piece for _, piece in asked(fake(script, behind=[name]))[2])
        found = {}
        for event in SSEDecoder().feed(seen):
            for choice in json.loads(event.data)["choices"] if event.data != "[DONE]" else ():
                for call in choice["delta"].get("tool_calls") or ():
                    found[call["index"]] = found.get(call["index"], "") + (call["function"]["arguments"] or "")
        assert found == ({} if name == "lm-proxy" else {0: '{"a": 1}', 1: "{}"}), name


def test_what_is_no_json():
    script = Script("a", Raw('data: {"broken\n\n'), disconnect("end"))

    def body(name):
        _, _, pieces, end = asked(fake(script, behind=[name]))
        return b"".join(piece for _, piece in pieces), end

    assert all(b'data: {"broken\n\n' in body(name)[0] for name in KEEPERS)
    assert b"broken" not in body("mlflow")[0]
    assert body("mlflow")[1] == ""
    assert b"JSONDecodeError" in body("lm-proxy")[0]
    assert b"OpenAIException - Unterminated string" in body("litellm")[0]


def test_usage_is_asked_for_as_the_gateway_asks_for_it():
    def usages(name, **fields):
        body = b"".join(piece for _, piece in asked(fake("a", behind=[name]), **fields)[2])
        return body.count(b'"total_tokens"')

    wanted = {"stream_options": {"include_usage": True}}
    assert [usages(name) for name in ("nginx", "mlflow", "any-llm", "litellm", "lm-proxy")] == [0, 1, 0, 0, 0]
    assert [usages(name, **wanted) for name in ("nginx", "mlflow", "any-llm", "litellm")] == [1, 1, 0, 1]


def test_an_api_that_nobody_measured_is_refused():
    for name in WRITERS:
        with pytest.raises(BrokenReplyError, match=rf"what {name} makes .* this is a stream of openai.responses"):
            asked(fake("a", behind=[name]), "/responses", input="hi")
    assert asked(fake("a", behind=["litellm"]), "/responses", input="hi", stream=False)[0] == 200
    assert asked(FakeProvider("openai", clock=VirtualClock()).behind("litellm"), "/embeddings", input="hi")[0] == 200


def test_a_stream_that_is_fetched_is_refused_likewise():
    provider = fake("a", name="replicate", behind=["litellm"])
    with httpx.Client(transport=transport(provider, httpx), base_url="https://api.replicate.com/v1") as client:
        made = client.post("/models/meta/llama/predictions", json={"input": {"prompt": "hi"}, "stream": True}).json()
        with pytest.raises(BrokenReplyError, match="what litellm makes .* a stream of replicate.predictions"):
            client.get(made["urls"]["stream"])
    assert len(provider.misses) == 1


def test_a_tape_of_such_an_api_is_refused_so_that_no_client_takes_it_for_a_network_that_fails():
    tape = Tape(TAPES.parent / "messages.yaml", mode="none", behind="litellm")
    said = [{"role": "user", "content": "Say hello in five languages."}]
    with playing(tape), anthropic.Anthropic(api_key="k", base_url="http://127.0.0.1:8124") as client:
        with pytest.raises(BrokenReplyError, match="the tape .* a stream of anthropic.messages"):
            client.messages.create(model="tiny-llama", max_tokens=60, messages=said, stream=True)
    assert "could not get its answer from the tape" in tape.problem()


@each("name", ["nginx", "haproxy", "caddy", "portkey"])
def test_gateways_that_keep_bytes_know_every_api(name):
    for path, more in (("/responses", {"input": "hi"}), ("/completions", {"prompt": "hi"})):
        plain = b"".join(piece for _, piece in asked(fake("a", "b"), path, **more)[2])
        assert b"".join(piece for _, piece in asked(fake("a", "b", behind=[name]), path, **more)[2]) == plain
    message = {"model": "m", "max_tokens": 9, "messages": ASKED["messages"], "stream": True}
    provider = fake("a", Pause(1), "b", name="anthropic", behind=[name])
    with httpx.Client(transport=transport(provider, httpx)) as client:
        assert "message_stop" in client.post("https://api.anthropic.com/v1/messages", json=message).text


# -- with all else ------------------------------------------------------------------------------------


def test_gateways_stand_behind_each_other():
    steps = [*paced([ROLE, *words(3)]), disconnect("close")]
    assert arrived(["haproxy", "nginx"], steps).end == "whole"
    through = arrived(["litellm", "nginx"], steps)
    assert (through.end, b'"error"' in through.body) == ("whole", True)
    assert len(through.pieces) > 1  # litellm says x-accel-buffering: no
    assert len(arrived(["llama-stack", "nginx"], steps).pieces) == 1
    assert arrived(["nginx", "haproxy"], steps).end == "whole"
    assert made(["envoy", "haproxy"], "PL").end == "cut"


def test_habits_gateways_and_forms_compose():
    provider = fake("a", behind=["litellm"]).imitate("vllm").speak("crlf")
    body = b"".join(piece for _, piece in asked(provider)[2])
    assert b"\r\n\r\n" in body
    assert b"\n\n" not in body
    events = [json.loads(event.data) for event in SSEDecoder().feed(body) if event.data != "[DONE]"]
    assert all(event["object"] == "chat.completion.chunk" for event in events)
    assert repr(provider) == (
        "FakeProvider('openai', profile='vllm', clock=" + repr(provider.clock) + ").speak(WireForm(line_ends='crlf'))"
        ".behind('litellm').otherwise('a')"
    )
    assert provider.forget().gateways == ()


def test_mlx_is_framed_behind_all_but_haproxy():
    for name in KEEPERS:
        seen = arrived(name, [Ending([ROLE, DONE])], CLOSING)
        assert ("transfer-encoding" in seen.headers) is (name != "haproxy")


@each("name", ["nginx-unbuffered", "caddy", "portkey", "litellm", "any-llm", "mlflow"])
def test_a_source_is_read_as_far_as_the_client_reads(name):
    said = []

    def talk(_):
        for word in ("a", "b", "c", "d"):
            said.append(word)
            yield word
            yield Pause(1)

    provider = fake(talk, behind=[name])
    with httpx.Client(transport=transport(provider, httpx)) as client:
        with client.stream("POST", f"{URL}/chat/completions", json=ASKED) as response:
            pieces = response.iter_raw()
            while b'"b"' not in next(pieces):
                pass
            assert said == ["a", "b"]
    assert provider.calls[0].state == "closed"


def test_a_source_that_raises_is_told_as_ever():
    def talk(_):
        yield "a"
        raise ValueError("a bug of the test")

    for name in ("nginx", "litellm", "haproxy"):
        with pytest.raises(BrokenReplyError, match="a bug of the test"):
            asked(fake(talk, behind=[name]))


def test_a_client_that_stops_closes_the_answer():
    for name in GATEWAYS:
        provider = fake(Script(*[word for at in range(200) for word in ("x" * 90, Pause(0.1))]), behind=[name])
        with httpx.Client(transport=transport(provider, httpx)) as client:
            with client.stream("POST", f"{URL}/chat/completions", json=ASKED) as response:
                next(response.iter_raw())
        assert provider.calls[0].state == "closed", name


def test_who_reads_to_the_end_marker_took_all():
    for name in GATEWAYS:
        provider = fake("a", Pause(1), "b", behind=[name])
        list(sdk(provider).chat.completions.create(**ASKED))
        assert provider.calls[0].state == "complete", name


def test_nothing_at_all_behind_each():
    for name in GATEWAYS:
        seen = arrived(name, [Ending()])
        assert seen.end == "whole"
        assert seen.body == b"" or name in ("litellm", "lm-proxy", "any-llm")


def test_a_reported_error_arrives_as_one_of_the_gateway():
    script = Script("a", provider_error("busy"))
    with pytest.raises(openai.APIError, match="An error occurred during streaming"):
        list(sdk(fake(script, behind=["any-llm"])).chat.completions.create(**ASKED))
    with pytest.raises(openai.APIError, match="OpenAIException - busy"):
        list(sdk(fake(script, behind=["litellm"])).chat.completions.create(**ASKED))
    with pytest.raises(openai.APIError, match="busy"):
        list(sdk(fake(script, behind=["nginx"])).chat.completions.create(**ASKED))


def test_names_are_checked_and_presets_are_values():
    with pytest.raises(ValueError, match="no gateway 'nginxx'; did you mean 'nginx'"):
        FakeProvider("openai").behind("nginxx")
    with pytest.raises(TypeError, match=r"is a fakellm.wire.Gateway, not 7"):
        gateways_of([7])
    patient = replace(GATEWAYS["envoy"], limit=None)
    assert arrived(patient, [*paced([ROLE, *words(20)], 1.0), Ending()]).end == "whole"
    assert FakeProvider("openai").behind("nginx").behind().gateways == ()


@each(
    ("wrong", "message"),
    [
        ({"holds": "often"}, "holds is one of 'never', 'always', 'unchunked', not 'often'"),
        ({"drop": "lost"}, "drop is one of 'cut', 'whole', 'hang', not 'lost'"),
        ({"rewrites": "lite-llm"}, "rewrites is one of .*'litellm'.*, not 'lite-llm'"),
        ({"usage": None}, "usage is one of .*, not None"),
        ({"drops": "date"}, "drops is 'all', or a tuple of names, not 'date'"),
        ({"buffer": 0}, "buffer is a whole number of bytes from 1 up, not 0"),
        ({"lag": -1}, "lag is a number of seconds from 0 up, not -1"),
        ({"batch": float("nan")}, "batch is a number of seconds from 0 up, not nan"),
        ({"limit": "15s"}, "limit is a number of seconds from 0 up, or None, not '15s'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_gateway_checks_itself(wrong, message):
    with pytest.raises(ScriptError, match=f"Gateway.{message}"):
        replace(GATEWAYS["nginx"], **wrong)


def test_headers_of_gateways():
    _, headers, _, _ = asked(fake(Finish(), behind=["litellm"]))
    assert headers["llm_provider-openai-version"] == "2020-10-01"
    assert headers["x-litellm-model-group"] == "m"
    assert "openai-version" not in headers
    assert asked(fake("a", behind=["envoy"]))[1]["server"] == "envoy"
    assert "x-accel-buffering" not in made("nginx", "PX").headers
    assert dict(arrived("vllm-router", [Ending()], CHUNKED).headers)["access-control-allow-origin"] == "*"


def test_events_are_whole_whatever_ends_their_lines():
    for sent in (b"data: 1\r\n\r\ndata: 2\r\n\r\n", b"data: 1\r\rdata: 2\r\r", b"data: 1\n\ndata: 2\n\n"):
        first, second = sent[: len(sent) // 2], sent[len(sent) // 2 :]
        seen = arrived("portkey", [[first[:3]], Pause(1), [first[3:]], Pause(1), [second], Ending()])
        assert seen.pieces == [(1.025, first), (2.0, second)], sent
    lines = [b'{"a": 1}\n', b'{"b": 2}\n']
    ndjson = (("content-type", "application/x-ndjson"), ("transfer-encoding", "chunked"))
    seen = arrived("portkey", [lines[:1], Pause(1), lines[1:], Ending()], ndjson)
    assert seen.pieces == [(0.025, lines[0]), (1.0, lines[1])]


def test_a_provider_that_remembers_its_answers_may_change_its_gateways():
    provider = FakeProvider("openai", clock=VirtualClock()).otherwise("a")
    provider.answers_alike = True
    counts = [
        b"".join(piece for _, piece in asked(provider.behind(*names))[2]).count(b"total_tokens")
        for names in ([], ["mlflow"], ["any-llm"], ["nginx"])
    ]
    assert counts == [0, 1, 0, 0]
