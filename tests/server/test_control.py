"""A server that is scripted and watched over HTTP: what it answers, whom it refuses, how it says what is wrong."""

from __future__ import annotations

import http.client
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vectors import each

from fakellm import Pause, Script, ToolCall, stall
from fakellm.clock import InstantClock
from fakellm.provider.actions import Timeouts
from fakellm.server import Server
from fakellm.server.browsers import foreign, is_near, open_to_pages
from fakellm.server.control import ROUTES, Control
from fakellm.server.parsing import HttpRequest

LOCAL = {"host": "127.0.0.1:1"}
SECRET = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"


class Asking:
    """Asks one server."""

    def __init__(self, server):
        self.server = server
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)

    def __call__(self, method, path, body=None, **headers):
        """Return status and document, or text."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
        self.connection.request(method, path, data, sent)
        self.answer = answer = self.connection.getresponse()
        text = answer.read().decode()
        is_json = answer.headers.get("content-type", "").startswith("application/json")
        return answer.status, json.loads(text) if is_json else text

    def chat(self, text="?", *, path="/openai/v1/chat/completions", stream=False, **headers):
        """Return what is said."""
        body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": text}]}
        status, found = self("POST", path, body, **headers)
        return found["choices"][0]["message"]["content"] if status == 200 and not stream else found


@pytest.fixture
def ask(request):
    """Return what asks a server of the OpenAI's and Anthropic's fakes."""
    with Server(["openai", "anthropic"], clock=InstantClock()) as server:
        asking = Asking(server)
        yield asking
        asking.connection.close()


# -- scripting ----------------------------------------------------------------------------------------


def test_replies_are_scripted_in_the_form_of_script_files(ask):
    script = Script("Hel", Pause(1), "lo", ToolCall("weather", '{"a": 1}', id="1"))
    told = [
        {"provider": "openai", "script": json.loads(script.to_json())},
        {
            "provider": "openai",
            "script": "for m",
            "when": {"model": "m", "pattern": "^rule", "json": {"stream": False}},
        },
        {"provider": "openai", "script": "all else", "otherwise": True},
        {"provider": "anthropic", "script": {"fakellm_script": 1, "events": [{"type": "http_error", "status": 429}]}},
    ]

    status, worded = ask("POST", "/_fakellm/replies", told)

    assert (status, len(worded)) == (201, 4)
    assert ask.server.sessions.own["openai"].replies[0].content == script
    assert [ask.chat(text) for text in ("rule 1", "?", "?")] == ["for m", "Hello", "all else"]
    assert (
        ask("POST", "/v1/messages", {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "?"}]})[0]
        == 429
    )


def test_a_reply_may_be_for_many_requests_and_bear_headers(ask):
    ask("POST", "/_fakellm/replies", {"provider": "openai", "script": "a", "times": 2, "headers": {"x-own": "1"}})
    ask("POST", "/_fakellm/replies", {"provider": "openai", "script": "b", "when": {"text": "?"}, "times": 1})

    assert [ask.chat(), ask.chat(), ask.chat()] == ["b", "a", "a"]
    assert ask.answer.headers["x-own"] == "1"
    assert ask.chat()["error"]["code"] == "no_reply"


def test_a_reply_may_be_for_a_place_in_a_conversation(ask):
    when = {"turn": 2, "after_tool": "weather", "system": "brief"}
    assert ask("POST", "/_fakellm/replies", {"provider": "openai", "script": "It rains.", "when": when})[0] == 201
    call = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "?"}]
    messages += [{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "1", "content": "rain"}]

    status, found = ask("POST", "/openai/v1/chat/completions", {"model": "m", "messages": messages})
    missed = ask("POST", "/openai/v1/chat/completions", {"model": "m", "messages": messages[:2]})

    assert (status, found["choices"][0]["message"]["content"], missed[0]) == (200, "It rains.", 400)
    (route,) = ask.server.sessions.own["openai"].replies
    assert route.place == "POST /_fakellm/replies"


def test_documents_are_scripted(ask):
    document = {"provider": "openai", "path": "/v1/moderations", "answer": {"results": []}, "status": 202}

    assert ask("POST", "/_fakellm/documents", document) == (201, ["POST /v1/moderations"])
    assert ask("POST", "/openai/v1/moderations", {}) == (202, {"results": []})


USER = {"role": "user", "content": "?"}
TEXT = {"type": "text", "text": "Hello"}


def told(script=None, **more):
    """Return a reply, with a script of these events."""
    return {"provider": "openai", "script": {"fakellm_script": 1, "events": script or [TEXT]}, **more}


@each(
    ("body", "field", "line", "message"),
    [
        ("", "", 1, "the body is empty"),
        ("{\n\nx", "", 3, "not JSON"),
        (b"\xff", "", 1, "byte 0 of the body is not UTF-8"),
        ('{"provider": "openai",\n "provider": "openai"}', "", 2, "the key 'provider' comes twice"),
        ("[" * 100_000, "", 1, "nested too deep"),
        ("7", "", 1, "this is a mapping"),
        ("[NaN]", "", 1, "NaN is no number of JSON"),
        ("[]", "", 1, "the list is empty"),
        ([told(), 7], "1", None, "this is a mapping"),
        ({"script": "a"}, "provider", None, "Field required"),
        (told(provider="opneai"), "provider", None, "it has openai, anthropic"),
        (told(role="user"), "role", None, "Extra inputs"),
        ({"provider": "openai", "script": 7}, "script", None, "a script is a text, or a mapping such as"),
        ([told(), told([TEXT, {"type": "txt"}])], "1.script.events.1.type", None, "'txt' is no event"),
        (told([{"type": "text", "text": 7}]), "script.events.0.text", None, "valid string"),
        (told([TEXT, {"type": "finish", "reason": "stop"}, TEXT]), "script.events.2", None, "finish"),
        (
            {"provider": "openai", "script": {"fakellm_script": 2, "events": []}},
            "script.fakellm_script",
            None,
            "version 2",
        ),
        ({"provider": "openai", "script": {"fakellm_script": 1, "events": []}}, "script.events", None, "empty script"),
        (told(when={}), "", None, "when() needs a condition"),
        (told(when={"text": "a", "pattern": "b"}), "when.pattern", None, "leave one of the two out"),
        (told(when={"pattern": "("}), "when.pattern", None, "no regular expression"),
        (told(when={"text": 7}), "when.text", None, "valid string"),
        (told(when={"turn": 0}), "when.turn", None, "greater than or equal to 1"),
        (told(when={"after_tool": ""}), "", None, "after_tool is the name of a tool"),
        (told(otherwise=True, times=2), "times", None, "leave one out"),
        (told(times=0), "times", None, "greater than or equal to 1"),
    ],
)
def test_what_is_wrong_is_told_by_field_and_line(body, field, line, message):
    with Server(["openai", "anthropic"], clock=InstantClock()) as server:
        ask = Asking(server)
        text = body if isinstance(body, (str, bytes)) else json.dumps(body, indent=1)
        status, found = ask("POST", "/_fakellm/replies", text)
        ask.connection.close()

        (problem,) = found["error"]["problems"]
        assert (status, problem["field"]) == (400, field)
        assert message in problem["message"]
        if line is None:  # where the field stands
            name = field.rpartition(".")[2]
            line = (
                problem["line"]
                if not name or name.isdigit()
                else max(number for number, text in enumerate(text.split("\n"), 1) if f'"{name}"' in text)
                if name in json.dumps(body)
                else problem["line"]
            )
        assert problem["line"] == line
        assert "nothing of this one was scripted" in found["error"]["remedy"]
        assert server.sessions.own["openai"].replies == []


def test_of_several_replies_all_are_scripted_or_none(ask):
    status, found = ask("POST", "/_fakellm/replies", [told(), told([{"type": "no"}]), told(times=-1)])

    assert status == 400
    assert [problem["field"] for problem in found["error"]["problems"]] == ["1.script.events.0.type", "2.times"]
    assert ask("GET", "/_fakellm/unused") == (200, [])


KEYS = [
    "provider",
    "script",
    "when",
    "otherwise",
    "times",
    "headers",
    "fakellm_script",
    "events",
    "type",
    "text",
    "pattern",
]
VALUES = (
    st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=3) | st.sampled_from(["openai", "text", "stop"])
)
BODIES = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
)


@given(
    st.builds(json.dumps, BODIES).map(str.encode) | st.binary(max_size=20), st.sampled_from(["replies", "documents"])
)
def test_whatever_is_sent_is_scripted_or_refused_with_its_reasons(body, path):
    server = Server(["openai"])
    exchange = (
        Control(server).answer(HttpRequest("POST", f"/_fakellm/{path}", "1.1", LOCAL, body), "127.0.0.1").exchange
    )
    found = json.loads(b"".join(piece for run in exchange.body(Timeouts()) for piece in run))

    assert exchange.status in (201, 400)
    assert bool(server.sessions.own["openai"].replies) is (exchange.status == 201 and path == "replies")
    assert exchange.status == 201 or all(problem["message"] for problem in found["error"]["problems"])


@given(st.sampled_from(["GET", "POST", "DELETE", "HEAD", "OPTIONS"]), st.text(max_size=20), st.text(max_size=10))
def test_whatever_is_asked_is_answered(method, path, query):
    server = Server(["openai"])
    target = f"/_fakellm{path}?session={query}"

    answer = Control(server).answer(HttpRequest(method, target, "1.1", LOCAL), "127.0.0.1")

    assert answer.exchange.status in (200, 307, 400, 404, 405)


def test_what_is_scripted_at_once_is_bounded(ask):
    status, found = ask("POST", "/_fakellm/replies", told([{"type": "text", "text": "a" * 9_000_000}]))

    assert (status, found["error"]["remedy"]) == (413, "script it in several requests")


# -- watching -----------------------------------------------------------------------------------------


def test_a_request_is_told_with_its_answer(ask):
    ask("POST", "/_fakellm/replies", told([TEXT, {"type": "text", "text": " you"}]))
    ask.chat("Who?", stream=True, Authorization=f"Bearer {SECRET}")

    status, (call,) = ask("GET", "/_fakellm/calls")

    assert (status, call["number"], call["provider"], call["state"], call["status"]) == (
        200,
        1,
        "openai",
        "complete",
        200,
    )
    assert (call["path"], call["api"], call["model"], call["stream"]) == (
        "/v1/chat/completions",
        "openai.chat",
        "m",
        True,
    )
    assert call["request"]["messages"] == [{"role": "user", "content": "Who?"}]
    assert call["request"]["json"]["stream"] is True
    assert call["request"]["headers"]["authorization"] == "Bearer REDACTED"
    assert [said for chunk in call["chunks"] for said in chunk["said"]] == [
        "'Hello'",
        "' you'",
        "Finish()",
    ]
    assert call["chunks"][-1]["text"] == "data: [DONE]\n\n"
    assert all(chunk["at"] >= 0 for chunk in call["chunks"])
    assert "answered call 1" in call["reply"]
    assert ask("GET", "/_fakellm/calls/1") == (200, call)
    assert ask("GET", "/_fakellm/calls?since=1") == (200, [])
    assert ask("GET", "/_fakellm/calls?provider=anthropic") == (200, [])


def test_misses_and_unused_replies_are_told(ask):
    ask("POST", "/_fakellm/replies", told(when={"text": "weather in Paris"}))
    ask("POST", "/_fakellm/replies", {"provider": "anthropic", "script": "never"})
    ask.server.sessions.own["openai"].when("broken", lambda _: 1 / 0)
    ask.chat("weather in Rome")
    ask.chat(path="/nowhere")
    ask.chat("broken")

    _, misses = ask("GET", "/_fakellm/misses")
    _, calls = ask("GET", "/_fakellm/calls")

    assert [(miss["number"], miss["provider"]) for miss in misses] == [(1, "openai"), (2, ""), (3, "openai")]
    assert "wants 'weather in Paris', and has 'weather in Rome'" in misses[0]["message"]
    assert "no provider of this server knows POST /nowhere" in misses[1]["message"]
    assert "ZeroDivisionError" in misses[2]["message"]
    assert [(call["state"], call["status"], call["miss"]) for call in calls] == [
        ("missed", status, miss["message"]) for status, miss in zip((400, 404, 500), misses, strict=True)
    ]
    assert [one["provider"] for one in ask("GET", "/_fakellm/unused")[1]] == ["openai", "anthropic"]


def test_each_session_is_scripted_and_watched_by_itself(ask):
    ask("POST", "/_fakellm/replies", told(otherwise=True))
    for name in "ab":
        ask("POST", "/_fakellm/replies", {"provider": "openai", "script": name}, x_fakellm_session=name)

    assert [ask.chat(x_fakellm_session=name) for name in "ba"] == ["b", "a"]
    assert ask.chat(path="/_fakellm/sessions/a/openai/v1/chat/completions") == "Hello"
    assert len(ask("GET", "/_fakellm/calls?session=a")[1]) == 2
    assert len(ask("GET", "/_fakellm/calls", x_fakellm_session="b")[1]) == 1
    assert ask("GET", "/_fakellm/calls") == (200, [])
    assert [one["name"] for one in ask("DELETE", "/_fakellm/sessions/a")[1]] == ["", "b"]
    assert ask("DELETE", "/_fakellm/sessions/a")[0] == 404
    assert ask("GET", "/_fakellm/calls?session=a")[0] == 404
    url = ask("GET", "/_fakellm/state?session=b")[1]["providers"][0]["variables"]["OPENAI_BASE_URL"]
    assert url == f"http://127.0.0.1:{ask.server.port}/_fakellm/sessions/b/openai/v1"


def test_reset_forgets_what_came_over_http(ask):
    ask.server.sessions.own["openai"].reply("first")
    ask("POST", "/_fakellm/replies", told())
    assert [ask.chat(), ask.chat()] == ["first", "Hello"]

    assert ask("POST", "/_fakellm/reset")[1]["sessions"] == [{"name": "", "calls": 0, "kept": 0, "misses": 0}]

    assert [ask.chat(), ask.chat()["error"]["code"]] == ["first", "no_reply"]


class Events:
    """Reads the live stream of a server, which it is connected to from the beginning."""

    def __init__(self, server, path="/_fakellm/events"):
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        self._connection.request("GET", path)
        self._answer = self._connection.getresponse()
        assert self._answer.headers["content-type"] == "text/event-stream"

    def next(self):
        """Return the name and the data of the next event."""
        while not (line := self._answer.readline().decode()).startswith("event: "):
            assert line
        return line[7:].strip(), json.loads(self._answer.readline()[6:])

    def close(self):
        self._answer.close()
        self._connection.close()


def test_requests_are_told_as_they_come(ask):
    ask("POST", "/_fakellm/replies", told())
    ask.chat("before")
    events = Events(ask.server)

    assert events.next()[1]["number"] == 1
    ask.chat("after")
    name, call = events.next()
    assert (name, call["number"], call["state"], call["status"]) == ("call", 2, "missed", 400)
    ask("POST", "/_fakellm/reset")
    assert events.next() == ("reset", {})
    events.close()


def test_a_server_stops_while_somebody_watches():
    with Server(["openai"]) as server:
        events = Events(server)
    events.close()

    assert server.connections == set()


def test_a_stream_is_told_while_it_goes_on(ask):
    ask.server.sessions.own["openai"].otherwise("a", Pause(1), "b", Pause(1), "c", stall())
    events, other = Events(ask.server), http.client.HTTPConnection("127.0.0.1", ask.server.port, timeout=10)
    other.request("POST", "/v1/chat/completions", json.dumps({"model": "m", "stream": True, "messages": [USER]}))

    told, moments = {"state": "running"}, []
    while len(moments) < 3:
        told = events.next()[1]
        moments += told["moments"]
    other.close()
    while told["state"] == "running":
        told = events.next()[1]
    events.close()

    assert told["state"] == "closed"
    assert [before for _, before in moments] == [0, 2, 3]
    assert moments == sorted(moments)


def test_what_is_told_has_no_secrets(ask, monkeypatch):
    monkeypatch.setenv("APP_SECRET_KEY", "Xk29fJq81LmZp04wRtY7")
    script = Script(*SECRET, " and Xk29fJq81LmZp04wRtY7")
    ask.server.sessions.own["openai"].otherwise(script)
    ask.chat(f"my key is {SECRET}", stream=True, Authorization="Bearer own-token-8f7e6d5c4b3a")
    ask.chat("own-token-8f7e6d5c4b3a", path="/nowhere?api_key=own-token-8f7e6d5c4b3a")
    shown = [ask("GET", f"/_fakellm/{path}")[1] for path in ("calls", "calls/1", "misses", "unused", "state")]
    text = json.dumps(shown)
    events = Events(ask.server)
    told = [events.next(), events.next()]
    events.close()

    for secret in (SECRET, "Xk29fJq81LmZp04wRtY7", "own-token-8f7e6d5c4b3a", SECRET[8:30]):
        assert secret not in text + json.dumps(told)
    said = "".join(said.strip("'") for chunk in shown[1]["chunks"] for said in chunk["said"])
    assert SECRET not in said
    assert all(chunk["text"] is None for chunk in shown[1]["chunks"] if chunk["said"])


# -- who may ask --------------------------------------------------------------------------------------


@each(
    ("headers", "is_refused"),
    [
        ({}, False),
        ({"host": "localhost:1"}, False),
        ({"host": "[::1]:1"}, False),
        ({"host": "app.localhost"}, False),
        ({"host": "rebound.example.com:1"}, True),
        ({"host": "127.0.0.1.example.com"}, True),
        ({"host": "localhost.example.com"}, True),
        ({"host": "192.168.0.7:1"}, True),
        ({"host": ""}, True),
        ({"origin": "http://127.0.0.1:1"}, False),
        ({"origin": "http://127.0.0.1:2"}, True),
        ({"origin": "http://localhost:1"}, True),
        ({"origin": "https://example.com"}, True),
        ({"origin": "null"}, True),
        ({"sec-fetch-site": "none"}, False),
        ({"sec-fetch-site": "same-origin"}, False),
        ({"sec-fetch-site": "same-site"}, True),
        ({"sec-fetch-site": "cross-site"}, True),
    ],
)
def test_a_page_of_another_origin_is_refused(headers, is_refused):
    assert (foreign({"host": "127.0.0.1:1", **headers}, is_open=False) is not None) is is_refused


@each(
    ("host", "is_refused"),
    [
        ("127.0.0.1:1", False),
        ("192.168.0.7:1", False),
        ("[fe80::1]:1", False),
        ("fakellm:8080", False),
        ("fakellm.default.svc.cluster.local", False),
        ("host.docker.internal:1", False),
        ("ci.corp.example.com", True),
        ("known.example.com:1", False),
        ("rebound.example.com", True),
        ("1.2.3.4.example.com", True),
    ],
)
def test_a_server_that_others_may_control_is_asked_by_names_that_are_not_of_the_web(host, is_refused):
    assert (foreign({"host": host}, is_open=True, known="known.example.com") is not None) is is_refused


def test_only_this_machine_may_ask():
    assert not is_near("127.0.0.1", {"x-forwarded-for": "10.0.0.1"})
    assert [is_near(peer, {}) for peer in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.1", "", "127.0.0.1.evil")] == [
        True, True, True, False, False, False
    ]  # fmt: skip


@pytest.mark.parametrize(("control", "status"), [(None, 403), (True, 200), (False, 404)])
def test_control_from_elsewhere_is_allowed_by_the_server_alone(ask, monkeypatch, control, status):
    ask.server.control = control
    monkeypatch.setattr("fakellm.server.control.is_near", lambda *_: False)

    found = [ask("GET", "/_fakellm/state"), ask("GET", "/_fakellm/"), ask("GET", "/_fakellm/events/x")]

    assert [one[0] for one in found[:2]] == [status, status]
    if status != 200:
        assert found[2][0] == status
        assert "Server(control=True)" in found[0][1]["error"]["remedy"]
    assert ask.chat(path="/_fakellm/sessions/a/openai/v1/chat/completions")["error"]["code"] == "no_reply"


def test_a_page_may_ask_the_fakes_and_not_the_control(ask):
    page = {"Origin": "https://app.example.com"}
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,x-fakellm-session",
    }
    ask("POST", "/_fakellm/replies", told(otherwise=True))

    assert ask("OPTIONS", "/openai/v1/chat/completions", **page, **asked)[0] == 200
    allowed = ask.answer.headers
    assert allowed["access-control-allow-origin"] == "*"
    assert allowed["access-control-allow-methods"] == "POST"
    assert allowed["access-control-allow-headers"] == "authorization,x-fakellm-session"
    ask("OPTIONS", "/v1/messages", **page, **asked, Access_Control_Request_Private_Network="true")
    assert ask.answer.headers["access-control-allow-private-network"] == "true"
    assert ask.chat(**page) == "Hello"
    assert ask.answer.headers["access-control-allow-origin"] == "*"
    assert len(ask.server.sessions.own.calls) == 1

    for method, path in (("OPTIONS", "replies"), ("POST", "replies"), ("GET", "calls"), ("GET", "")):
        assert ask(method, f"/_fakellm/{path}", told() if method == "POST" else None, **page, **asked)[0] == 403
        assert ask.answer.headers["access-control-allow-origin"] is None
    assert ask.server.sessions.own["openai"].unused == []


def test_a_page_is_told_once_that_it_may_read_whatever_the_service_says_by_itself(ask):
    """A browser refuses an answer that says it twice."""
    provider = ask.server.providers[0].imitate("llama.cpp").otherwise("a")
    exchange = provider.handle(
        "POST", "http://h/v1/chat/completions", {}, b'{"model": "m", "messages": [], "stream": true}'
    )
    open_to_pages(exchange)

    assert [value for name, value in exchange.headers if name.lower() == "access-control-allow-origin"] == ["*"]


# -- what it is ---------------------------------------------------------------------------------------


def test_what_is_not_there_names_what_is(ask):
    for method, path, status in (
        ("GET", "nix", 404),
        ("POST", "calls", 405),
        ("GET", "calls/0", 404),
        ("GET", "calls/x", 400),
    ):
        found = ask(method, f"/_fakellm/{path}")
        assert found[0] == status
        assert found[1]["error"]["remedy"]
    assert ask("GET", "/_fakellm")[0] == 307
    assert ask("GET", "/_fakellm/calls?provider=x")[0] == 400


def test_a_bug_of_ours_is_told_in_a_line(ask, monkeypatch, caplog):
    monkeypatch.setattr("fakellm.server.control.views.plain", lambda _: 1 / 0)

    status, found = ask("GET", "/_fakellm/state")

    assert (status, found["error"]["message"]) == (500, "ZeroDivisionError: division by zero")
    assert "GET /_fakellm/state was not answered" in caplog.text
    assert ask("GET", "/_fakellm/calls") == (200, [])


def test_the_page_brings_all_it_needs_and_may_do_no_more(ask):
    status, page = ask("GET", "/_fakellm/")
    policy = ask.answer.headers["content-security-policy"]

    assert (status, ask.answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    texts = [page, *(ask("GET", f"/_fakellm/{name}")[1] for name in ("page.js", "page.css"))]
    addresses = set(re.findall(r"https?://[^\s\"']+", "".join(texts)))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, which is not asked
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", texts[1])
    assert not re.search(r"\son\w+=|style=|<script>", page)


def test_openapi_describes_every_route(ask):
    _, document = ask("GET", "/_fakellm/openapi.json")

    told = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert told == {(route.method, f"/_fakellm{route.path}") for route in ROUTES}
    assert document["components"]["schemas"]["Script"]["properties"]["events"]["items"]["oneOf"]


@pytest.mark.exhaustive
def test_openapi_is_valid_and_true(ask):
    """What is answered is of the form that the document promises; what it promises to take is taken."""
    validator = pytest.importorskip("openapi_spec_validator")
    jsonschema = pytest.importorskip("jsonschema")
    _, document = ask("GET", "/_fakellm/openapi.json")
    validator.validate(document)

    def check(kind, found):
        schema = {**kind, "components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(found)

    reply = told([TEXT, {"type": "pause", "seconds": 1.0}], when={"text": "Who"}, times=1)
    sent = {"/replies": reply, "/documents": {"provider": "openai", "path": "/v1/x", "answer": {"a": [1]}}}
    ask("POST", "/_fakellm/replies", told(), x_fakellm_session="gone")
    ask.chat("Who", stream=True)
    for route in [one for one in ROUTES if one.name != "events"]:
        path = route.path.replace("{number}", "1").replace("{name}", "gone")
        operation = document["paths"][f"/_fakellm{route.path}"][route.method.lower()]
        if body := sent.get(route.path):
            check(operation["requestBody"]["content"]["application/json"]["schema"], body)
            check(operation["requestBody"]["content"]["application/json"]["schema"], [body])
        status, found = ask(route.method, f"/_fakellm{path}", body)
        assert status == route.status
        content = operation["responses"][str(status)]["content"]
        (kind,) = content
        assert ask.answer.headers["content-type"] == kind
        if kind == "application/json":
            check(content[kind]["schema"], found)
    status, found = ask("POST", "/_fakellm/replies", "{")
    check(
        document["paths"]["/_fakellm/replies"]["post"]["responses"]["400"]["content"]["application/json"]["schema"],
        found,
    )
