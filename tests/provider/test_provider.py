"""FakeProvider without any I/O: what it answers to which request, what a miss says, what the log has."""

from __future__ import annotations

import copy
import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from vectors import each

from fakellm import (
    FakeLLM,
    FakeProvider,
    Finish,
    Pause,
    Script,
    Text,
    ToolCall,
    Usage,
    disconnect,
    http_error,
    provider_error,
    stall,
)
from fakellm.clock.clock import InstantClock
from fakellm.errors import (
    BrokenReplyError,
    ScriptError,
    SwallowedCallError,
    UnexpectedCallError,
    UnexpectedRequestError,
    UnusedRepliesError,
)
from fakellm.http import intercept
from fakellm.provider.actions import Failure, Timeouts
from fakellm.wire.openai.chat import ChatCodec

CHAT = "https://api.openai.com/v1/chat/completions"


def asked(text="Hi", **fields):
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], "stream": True, **fields}


def send(provider, body=None, url=CHAT, method="POST"):
    """Return the exchange of a request."""
    data = b"" if body is None and method == "GET" else json.dumps(asked() if body is None else body).encode()
    return provider.handle(method, url, {"authorization": "Bearer x"}, data)


def played(exchange, timeouts=Timeouts()):  # noqa: B008 - frozen
    """Return what happens before the headers, and the body, with what happens in it between the pieces."""
    body = b""
    between = []
    for action in exchange.body(timeouts):
        if isinstance(action, (float, Failure)):
            between.append(action)
        else:
            body += b"".join(action)
    return [*exchange.opening(timeouts), *between], body


def text_of(exchange):
    """Return the answer's text, streamed or not."""
    _, body = played(exchange)
    if exchange.headers[0][1].startswith("text/event-stream"):
        return ChatCodec().decode(body).text
    return json.loads(body)["choices"][0]["message"]["content"]


def say(provider, text="Hi", **fields):
    return text_of(send(provider, asked(text, **fields)))


# -- replies ---------------------------------------------------------------------------------------------


def test_replies_are_given_in_sequence_then_the_other_one():
    provider = FakeProvider("openai").reply("a", "b").reply("c").otherwise("d")

    assert [say(provider) for _ in range(4)] == ["ab", "c", "d", "d"]


def test_a_request_that_is_not_streamed_gets_a_document():
    exchange = send(FakeProvider().reply("a", "b"), asked(stream=False))

    assert (exchange.status, dict(exchange.headers)["content-type"]) == (200, "application/json")
    assert text_of(exchange) == "ab"
    _, body = played(send(FakeProvider().reply("a", "b"), asked(stream=False)))
    assert dict(exchange.headers)["content-length"] == str(len(body))


@each(
    ("conditions", "request_", "fits"),
    [
        (("rain",), asked("Will it rain?"), True),
        (("rain",), asked("Will it snow?"), False),
        ((re.compile("^Will"),), asked("Will it rain?"), True),
        ((lambda request: request.choices == 2,), asked(n=2), True),
        ((lambda request: request.choices == 2,), asked(), False),
        ({"model": "gpt-4o"}, asked(), True),
        ({"model": "gpt-4"}, asked(), False),
        ({"model": re.compile("^gpt-4")}, asked(), True),
        ({"tools": "f"}, asked(tools=[{"type": "function", "function": {"name": "f"}}]), True),
        ({"tools": ["f", "g"]}, asked(tools=[{"type": "function", "function": {"name": "f"}}]), False),
        ({"json": {"temperature": 0}}, asked(temperature=0), True),
        ({"json": {"temperature": 0}}, asked(temperature=False), False),
        ({"json": {"messages": [{"role": "user"}]}}, asked(), True),
        ({"json": {"messages": []}}, asked(), False),
        ({"role": "user"}, asked(), True),
        ({"role": "tool"}, asked(), False),
        ({"api": "openai.chat"}, asked(), True),
        ({"api": "openai.responses"}, asked(), False),
    ],
)
def test_a_condition_is_met_or_not(conditions, request_, fits):
    provider = FakeProvider().otherwise("no")
    if isinstance(conditions, tuple):
        provider.when(*conditions, "yes")
    else:
        provider.when(None, "yes", **conditions)

    assert text_of(send(provider, request_)) == ("yes" if fits else "no")


def test_all_conditions_have_to_be_met_and_the_first_of_several_answers():
    provider = (
        FakeProvider().when("rain", "a", model="other").when("rain", "b", times=1).when("rain", "c").otherwise("d")
    )

    assert [say(provider, "rain"), say(provider, "rain"), say(provider, "snow")] == ["b", "c", "d"]


def test_a_function_of_the_request_answers():
    provider = FakeProvider()
    provider.reply(lambda request: f"{request.model}: {request.text}")
    provider.reply(lambda _: Script("a", Finish("length")))

    def generator(request):
        yield "one "
        yield Pause(2)
        yield request.text

    provider.reply(generator)
    assert say(provider) == "gpt-4o: Hi"
    assert say(provider, stream=False) == "a"
    between, body = played(send(provider))
    assert between == [2.0]
    assert ChatCodec().decode(body).text == "one Hi"


def test_a_generator_that_answers_is_closed_with_the_answer():
    closed = []

    def generator(_):
        try:
            while True:
                yield "more "
        finally:
            closed.append(True)

    exchange = send(FakeProvider().reply(generator))
    actions = exchange.body(Timeouts())
    for _ in range(3):
        list(next(actions))
    actions.close()

    assert closed == [True]
    assert exchange.call.state == "closed"


def test_a_generator_is_pulled_no_further_than_the_client_reads():
    pulled = []

    def generator(_):
        for number in range(100):
            pulled.append(number)
            yield f"{number} "

    actions = send(FakeProvider().reply(generator)).body(Timeouts())
    for _ in range(3):
        list(next(actions))

    assert len(pulled) <= 4


def test_an_exception_is_raised_in_the_client():
    class Broken(Exception):
        pass

    provider = FakeProvider().reply(Broken("one")).reply(Broken)
    with pytest.raises(Broken, match="one"):
        send(provider)
    with pytest.raises(Broken):
        send(provider)
    assert [type(call.error) for call in provider.calls] == [Broken, Broken]


def test_one_script_answers_a_request_for_several_choices():
    _, body = played(send(FakeProvider().reply("a", "b"), asked(n=3)))
    script = ChatCodec().decode(body)

    assert script.choices == (0, 1, 2)
    assert [script.choice(choice).text for choice in script.choices] == ["ab"] * 3


def test_several_scripted_choices_are_left_as_they_are():
    _, body = played(send(FakeProvider().reply("a", Text("b", choice=1)), asked(n=2)))

    assert [ChatCodec().decode(body).choice(choice).text for choice in (0, 1)] == ["a", "b"]


def test_headers_of_a_reply_replace_those_of_the_provider():
    provider = FakeProvider().reply("a", headers={"Content-Type": "text/html", "x-mine": "1"})
    headers = dict(send(provider).headers)

    assert (headers["Content-Type"], headers["x-mine"], "content-type" in headers) == ("text/html", "1", False)


def test_answers_differ_only_by_the_number_of_the_call():
    bodies = [played(send(FakeProvider().otherwise("a")))[1] for _ in range(2)]
    provider = FakeProvider().otherwise("a")
    both = [played(send(provider))[1] for _ in range(2)]

    assert bodies[0] == bodies[1] == both[0]
    assert both[0] != both[1]
    assert both[1] == both[0].replace(b"fakellm000001", b"fakellm000002").replace(b"1767225601", b"1767225602")


# -- errors ------------------------------------------------------------------------------------------------


def test_errors_come_before_the_reply_that_follows_them():
    provider = FakeProvider().error(429, "slow down", retry_after=7).error(500, times=2).reply("ok")
    first = send(provider)

    assert (first.status, dict(first.headers)["retry-after"]) == (429, "7")
    assert json.loads(played(first)[1])["error"]["message"] == "slow down"
    assert [send(provider).status for _ in range(2)] == [500, 500]
    assert say(provider) == "ok"


def test_an_error_may_take_its_time():
    exchange = send(FakeProvider().reply(Pause(3), http_error(503)))

    assert exchange.status == 503
    assert played(exchange)[0] == [3.0]


def test_an_error_in_a_document_is_an_http_error():
    for kind, status in (("server_error", 500), ("overloaded_error", 529), ("rate_limit_exceeded", 429)):
        exchange = send(FakeProvider().reply("a", provider_error("no", kind)), asked(stream=False))
        assert exchange.status == status
        assert json.loads(played(exchange)[1])["error"] == {"message": "no", "type": kind, "param": None, "code": None}


@each(
    ("fault", "ends"),
    [
        (disconnect(), [Failure("reset")]),
        (disconnect("close"), [Failure("close")]),
        (disconnect("end"), []),
        (disconnect("cut"), []),
    ],
)
def test_a_fault_in_a_document_strikes_in_its_middle(fault, ends):
    exchange = send(FakeProvider().reply("a", fault), asked(stream=False))
    whole = int(dict(exchange.headers)["content-length"])
    between, body = played(exchange)

    assert between == ends
    assert (whole == len(body)) is (not ends)
    with pytest.raises(ValueError, match=r"Expecting|Unterminated|delimiter"):
        json.loads(body)


def test_silence_before_a_document_comes_before_its_headers():
    exchange = send(FakeProvider().reply(Pause(1), "a", Pause(2), "b"), asked(stream=False))

    assert list(exchange.opening(Timeouts())) == [1.0, 2.0]


def test_silence_before_a_stream_comes_after_its_headers():
    exchange = send(FakeProvider().reply(Pause(1), "a"))

    assert list(exchange.opening(Timeouts())) == []
    assert next(exchange.body(Timeouts())) == 1.0


def test_a_request_that_the_provider_would_refuse_gets_a_400():
    provider = FakeProvider().otherwise("a")
    for body in ({"messages": []}, [], {"model": "m", "messages": [3]}):
        assert send(provider, body).status == 400
    exchange = provider.handle("POST", CHAT, {}, b"{not json")
    assert exchange.status == 400
    assert "is not JSON" in json.loads(played(exchange)[1])["error"]["message"]


# -- time --------------------------------------------------------------------------------------------------


def actions(*parts, read=None, connect=None):
    return played(send(FakeProvider().reply(*parts)), Timeouts(connect, read))[0]


def test_a_silence_longer_than_the_patience_of_the_client_ends_in_its_timeout():
    assert actions("a", Pause(20), "b", read=20) == [20.0]
    assert actions("a", Pause(21), "b", read=20) == [20.0, Failure("read_timeout")]
    assert actions("a", Pause(15), Pause(15), "b", read=20) == [15.0, 5.0, Failure("read_timeout")]
    assert actions("a", Pause(15), "b", Pause(15), "c", read=20) == [15.0, 15.0]
    assert actions("a", Pause(5), stall(), read=20) == [5.0, 15.0, Failure("read_timeout")]
    assert actions(stall("headers"), read=20) == [20.0, Failure("read_timeout")]
    assert actions(stall("connect"), connect=3) == [3.0, Failure("connect_timeout")]
    assert actions(stall()) == [float("inf"), Failure("read_timeout")]


# -- misses -------------------------------------------------------------------------------------------------


def test_a_miss_shows_the_request_the_replies_the_difference_and_the_remedy():
    provider = FakeProvider().reply("used").when("rain", "a", model="gpt-5", json={"temperature": 1})
    say(provider)
    with pytest.raises(UnexpectedRequestError) as miss:
        send(provider, asked("Will it snow?", temperature=0, tools=[{"type": "function", "function": {"name": "f"}}]))

    assert str(miss.value) == (
        "request 2 to the fake openai has no reply: every reply that fits was given already; the last of them answered "
        "request 1\n"
        "  sent:      POST https://api.openai.com/v1/chat/completions\n"
        "             model='gpt-4o' stream=True tools=f\n"
        "             user: 'Will it snow?'\n"
        "  scripted:  when 'rain', model='gpt-5', json={'temperature': 1}: Script('a')  [unused]\n"
        "             reply: Script('used')  [answered call 1]\n"
        "  nearest:   when 'rain', model='gpt-5', json={'temperature': 1}: Script('a')  [unused]\n"
        "             model: wants 'gpt-5', and is 'gpt-4o'\n"
        "             temperature: wants 1, and is 0\n"
        "             message: wants 'rain', and is 'Will it snow?'\n"
        "  to do:     script one more .reply(...), or an .otherwise(...) for any request that nothing else fits\n"
        "             if the app should not ask again, this is its bug: look where request 2 comes from"
    )
    assert provider.misses == [miss.value]


def test_a_miss_is_no_exception_that_an_app_would_catch():
    assert not issubclass(UnexpectedRequestError, Exception)
    assert issubclass(UnexpectedRequestError, UnexpectedCallError)


def test_the_nearest_reply_is_the_one_with_the_fewest_differences():
    provider = FakeProvider().when("x", "a", model="m1", role="tool").when("Hx", "b").when("y", "c", model="m2")
    with pytest.raises(
        UnexpectedRequestError, match=r"nearest:   when 'Hx': Script\('b'\)  \[unused\]\n +message: wants 'Hx'"
    ):
        send(provider)


@each(
    ("matcher", "words"),
    [
        (re.compile("rain"), r"message: wants a match of 'rain', and is 'Hi'"),
        (lambda _: False, "its predicate returned a false value"),
        ("High", r"message: wants 'High', and has 'Hi'"),
    ],
)
def test_a_miss_says_what_a_matcher_wants(matcher, words):
    with pytest.raises(UnexpectedRequestError, match=words):
        send(FakeProvider().when(matcher, "a"))


def test_an_endpoint_that_is_not_known_is_a_miss():
    provider = FakeProvider()
    with pytest.raises(UnexpectedRequestError, match="the fake openai does not know this endpoint") as miss:
        send(provider, {"prompt": "a cat"}, url="https://api.openai.com/v1/images/generations")
    assert 'POST https://api.openai.com/v1/images/generations\n             {"prompt": "a cat"}' in str(miss.value)
    assert "POST …/chat/completions" in str(miss.value)


def test_a_predicate_that_raises_says_whose_it_is():
    provider = FakeProvider().when(lambda request: request.nothing, "a")
    with pytest.raises(BrokenReplyError, match=r"This was raised by the predicate of: when <lambda>: Script\('a'\)"):
        send(provider)


def test_verify_tells_of_misses_and_of_replies_that_were_never_asked_for():
    provider = FakeProvider().reply("a")
    with pytest.raises(UnusedRepliesError, match="the fake openai was never asked for 1 of its replies"):
        provider.verify()
    provider.verify(allow_unused=True)
    say(provider)
    provider.verify()
    with pytest.raises(UnexpectedRequestError):
        send(provider)
    with pytest.raises(SwallowedCallError, match="found no reply of the fake openai"):
        provider.verify()
    provider.verify(allow_misses=True)
    assert provider.unused == []


# -- which requests are its own ------------------------------------------------------------------------------


@each(
    ("name", "url", "claims"),
    [
        ("openai", CHAT, True),
        ("openai", "https://api.openai.com/v1/anything", True),
        ("openai", "https://mine.openai.azure.com/openai/deployments/d/chat/completions?api-version=1", True),
        ("openai", "https://gateway.example/llm/v1/chat/completions", True),
        ("openai", "https://gateway.example/llm/v1/models", False),
        ("openai", "https://notopenai.com/v1/other", False),
        ("openai", "http://localhost:8000/v1/chat/completions", False),
        ("openai", "http://127.0.0.1:8000/v1/chat/completions", False),
        ("openai", "http://[::1]:8000/v1/chat/completions", False),
        ("openai", "https://api.anthropic.com/v1/messages", False),
        ("anthropic", "https://api.anthropic.com/v1/messages", True),
        ("anthropic", "https://proxy.example/anthropic/v1/messages", True),
        ("anthropic", CHAT, False),
        ("gemini", "https://generativelanguage.googleapis.com/v1beta/models/g:streamGenerateContent?alt=sse", True),
        ("gemini", "https://europe-west1-aiplatform.googleapis.com/v1/p/models/g:generateContent", True),
        ("gemini", "https://storage.googleapis.com/x", False),
    ],
)
def test_a_provider_claims_its_hosts_and_its_paths_but_not_this_machine(name, url, claims):
    assert FakeProvider(name).claims("POST", url) is claims


def test_hosts_of_this_machine_may_be_its_own():
    provider = FakeProvider(hosts=["localhost:11434", "10.0.0.5"])

    assert provider.claims("POST", "http://localhost:11434/v1/chat/completions")
    assert not provider.claims("POST", "http://localhost:1/v1/chat/completions")
    assert provider.claims("GET", "http://10.0.0.5:9/anything")


@each(
    "hosts, error, words",
    [
        ("localhost:11434", TypeError, r"not the text 'localhost:11434'; write hosts=\['localhost:11434'\]"),
        (b"localhost", TypeError, "not the text b'localhost'"),
        ([11434], TypeError, "a host is a text such as 'localhost:11434', not 11434"),
        (["http://localhost:11434/v1"], ValueError, "write it without scheme and path, 'localhost:11434'"),
        (["localhost/v1"], ValueError, "write it without scheme and path, 'localhost'"),
        ([""], ValueError, "'' is no host"),
    ],
)
def test_hosts_that_could_be_none_are_refused_where_they_are_written(hosts, error, words):
    with pytest.raises(error, match=words):
        FakeProvider(hosts=hosts)
    provider = FakeProvider()
    with pytest.raises(error, match=words):
        provider.hosts = hosts


def test_hosts_are_compared_without_regard_to_case():
    assert FakeProvider(hosts=["LocalHost:1"]).claims("GET", "http://LOCALHOST:1/anything")


def test_a_request_that_went_past_a_fake_to_this_machine_is_named():
    provider, other = FakeProvider().reply("a"), FakeProvider("anthropic")
    url = "http://localhost:11434/v1/chat/completions"
    with intercept(provider, other) as interception:
        for _ in range(2):
            assert interception.provider_for("POST", f"{url}?key=k") is None
        assert interception.provider_for("GET", "http://localhost:11434/health") is None

    with pytest.raises(UnusedRepliesError, match=f"POST {url} went past the fake openai, to this machine\n") as error:
        provider.verify()
    assert "fake.hosts = ['localhost:11434']" in str(error.value)
    assert str(error.value).count("went past") == 1
    assert "went past" not in other.report()
    assert "went past" not in copy.copy(provider).report()


def test_an_error_may_have_headers_of_its_own():
    exchange = send(FakeProvider().error(429, retry_after=7, headers={"x-ratelimit-reset": "9", "Retry-After": "8"}))

    found = dict(exchange.headers)
    assert (exchange.status, found["x-ratelimit-reset"], found["Retry-After"]) == (429, "9", "8")
    assert "retry-after" not in found


class PickyError(Exception):
    def __init__(self, message, *, response):
        super().__init__(message, response)


@each("fake", [FakeProvider(), FakeLLM()])
def test_a_class_of_errors_that_cannot_be_raised_as_it_is_is_refused_where_it_is_written(fake):
    with pytest.raises(TypeError, match="PickyError cannot be raised as it is: .*message.*; script an instance"):
        fake.reply(PickyError)
    fake.reply(KeyError)


# -- the log -------------------------------------------------------------------------------------------------


def test_the_log_has_the_request_and_how_far_the_answer_came():
    provider = FakeProvider().reply("a", Usage(1, 2))
    exchange = send(provider, asked("Hi", temperature=0.5))
    (call,) = provider.calls

    assert (call.number, call.method, call.url, call.api) == (1, "POST", CHAT, "openai.chat")
    assert call.json["temperature"] == 0.5
    assert (call.request.text, call.headers["authorization"], call.status) == ("Hi", "Bearer x", 200)
    assert (call.state, call.delivered, call.pieces) == ("running", 0, 0)
    _, body = played(exchange)
    assert (call.state, call.delivered, call.closed) == ("complete", len(body), False)
    assert provider.report().splitlines() == [
        f"ProviderCall 1: POST {CHAT} complete, 200, {len(body)} bytes in {call.pieces} pieces",
        "  model='gpt-4o' stream=True",
        "  user: 'Hi'",
        "  reply: Script('a', Usage(input_tokens=1, output_tokens=2))  [answered call 1]",
        "  chunks: 'a' Finish()",
    ]
    assert FakeProvider().report() == "the fake openai was not asked anything"


def test_the_log_words_what_the_client_took_and_not_more():
    provider = FakeProvider().reply("Hel", ToolCall("f", {"a": 1})).reply("whole").error(503).otherwise("x")
    exchange = send(provider)
    pieces = next(exchange.body(Timeouts()))
    next(pieces), next(pieces)  # the role, and the first text
    played(send(provider, asked(stream=False)))
    played(send(provider))
    send(provider, url="https://api.openai.com/v1/embeddings", body={"model": "m", "input": "x"})

    first, second, third, fourth = provider.report().split("\nProviderCall ")
    assert first.endswith("\n  chunks: 'Hel'")
    assert '"content": "whole"' in second.replace('":"', '": "')
    assert "  body: {" in third
    assert fourth.endswith("""\n  {"model": "m", "input": "x"}""")


def test_of_a_long_answer_the_log_has_the_beginning_and_of_many_requests_both_ends():
    provider = FakeProvider().reply(*"x" * 300).otherwise("y")
    for _ in range(40):
        played(send(provider))

    report = provider.report()
    assert "pieces more\nProviderCall 2" in report
    assert "\n... 20 requests ...\nProviderCall 31:" in report
    assert len(provider.calls[0].taken) == 64


@each("url, body", [("https://api.openai.com/v1/embeddings", {"model": "m", "input": "x"}), (CHAT, {"messages": 1})])
def test_a_request_without_a_prompt_has_none_to_read(url, body):
    provider = FakeProvider().otherwise("a")
    send(provider, body, url=url)

    request = provider.calls[0].request
    assert (request.text, request.messages, request.json) == ("", (), body)


def test_pieces_count_as_they_are_taken():
    exchange = send(FakeProvider().reply("a", "b", "c"))
    run = next(exchange.body(Timeouts()))
    first = next(run)

    assert (exchange.call.pieces, exchange.call.delivered) == (1, len(first))
    exchange.close()
    assert exchange.call.state == "closed"


def test_an_answer_of_which_all_was_taken_is_complete_however_it_is_closed():
    exchange = send(FakeProvider().reply("a"))
    for run in (body := exchange.body(Timeouts())):
        list(run)
        break
    body.close()

    assert exchange.call.state == "complete"


def test_requests_of_several_threads_each_get_a_reply_of_their_own():
    provider = FakeProvider()
    for number in range(80):
        provider.reply(str(number))
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda _: say(provider), range(80)))

    assert sorted(said, key=int) == [str(number) for number in range(80)]
    assert [call.number for call in provider.calls] == list(range(1, 81))


# -- bad use -------------------------------------------------------------------------------------------------


async def later(_):
    return "a"


@each(
    ("use", "kind", "message"),
    [
        (
            lambda: FakeProvider("opnai"),
            ValueError,
            "there is no fake of the provider 'opnai'; there are openai, anthropic, gemini",
        ),
        (
            lambda: FakeProvider(profile="azur"),
            ValueError,
            "there is no profile 'azur'; there are openai, avian, azure",
        ),
        (lambda: FakeProvider(clock=InstantClock), TypeError, "a clock is InstantClock"),
        (lambda: FakeProvider().reply(), ScriptError, "a reply needs something to say"),
        (lambda: FakeProvider().reply(b"a"), TypeError, "decode the bytes first"),
        (lambda: FakeProvider().reply(later), TypeError, "a provider's reply is made by a plain function"),
        (lambda: FakeProvider().when(None, "a"), ScriptError, r"when\(\) needs a condition"),
        (lambda: FakeProvider().when(b"a", "a"), TypeError, "decode the bytes first"),
        (lambda: FakeProvider().when("a", "b", model=3), TypeError, "model is a name or a compiled pattern, not 3"),
        (lambda: FakeProvider().when("a", "b", times=0), ScriptError, "times is a number of calls from 1 up"),
        (lambda: FakeProvider().error(200), ScriptError, "http_error.status is an error status"),
        (lambda: FakeProvider().error(500, times=0), ScriptError, "times is a number of calls from 1 up"),
    ],
)
def test_bad_use_is_refused_with_a_hint(use, kind, message):
    with pytest.raises(kind, match=message):
        use()


def test_a_tool_call_is_answered_and_its_result_may_be_matched():
    provider = FakeProvider().reply(ToolCall("weather", {"city": "Paris"})).when(None, "It rains.", role="tool")
    _, body = played(send(provider))
    call = ChatCodec().decode(body).tool_calls[0]
    result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}

    assert text_of(send(provider, asked(messages=[*asked()["messages"], result]))) == "It rains."


def test_small_endpoints_answer_by_themselves_and_refuse_what_the_provider_would():
    provider = FakeProvider()
    embeddings = "https://api.openai.com/v1/embeddings"
    _, body = played(send(provider, {"model": "e", "input": "a"}, url=embeddings))
    assert len(json.loads(body)["data"][0]["embedding"]) == 1536
    _, body = played(send(provider, url="https://api.openai.com/v1/models", method="GET"))
    assert json.loads(body)["object"] == "list"
    refused = send(provider, {"model": "e", "input": "a", "encoding_format": "hex"}, url=embeddings)
    assert refused.status == 400
    assert "error" in json.loads(played(refused)[1])
    assert [call.api for call in provider.calls] == ["openai.embeddings", "openai.models", "openai.embeddings"]


def test_silence_alone_is_an_answer_without_text():
    between, body = played(send(FakeProvider().reply(Pause(1))))

    assert between == [1.0]
    assert ChatCodec().decode(body).finish_reason == "stop"
