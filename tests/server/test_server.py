"""The server on a real socket: its bytes, connections that live on, and clients that do what they should not."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from raw_client import CHAT, Client, asking

from fakellm import FakeProvider, Pause, Script, ToolCall, disconnect, stall
from fakellm.clock import InstantClock
from fakellm.provider.actions import Timeouts
from fakellm.script import Raw
from fakellm.server import Server
from fakellm.server.ticks import Ticks


@pytest.fixture
def serve(request):
    """Return what makes a server of providers, which is stopped after the test."""

    def start(*providers, **options):
        server = Server(providers, **{"clock": InstantClock(), **options}).__enter__()
        request.addfinalizer(lambda: server.__exit__(None, None, None))
        return server

    return start


@pytest.fixture
def connect(request):
    def start(server):
        client = Client(server)
        request.addfinalizer(client.close)
        return client

    return start


def pieces_of(provider):
    """Return the pieces of the body that a provider answers with in process."""
    provider.answers_alike = True
    exchange = provider.handle("POST", "https://x/v1/chat/completions", {}, json.dumps(CHAT).encode())
    return [piece for run in exchange.body(Timeouts()) if not isinstance(run, float) for piece in run]


def test_each_piece_is_a_chunk_of_its_own(serve, connect):
    script = Script("Hel", Pause(3600), "lo", ToolCall("weather", '{"city": "Paris"}', id="1"))
    client = connect(serve(FakeProvider("openai").otherwise(script)))

    client.send(asking())
    status, headers, chunks = client.answer()

    assert status == 200
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert chunks == pieces_of(FakeProvider("openai").otherwise(script))


def test_an_empty_piece_is_no_end_of_the_body(serve, connect):
    """As a chunk of HTTP it would be that."""
    script = Script("Hel", Raw(""), "lo")
    client = connect(serve(FakeProvider("openai").otherwise(script)))

    client.send(asking())
    chunks = client.answer()[2]

    assert chunks == [piece for piece in pieces_of(FakeProvider("openai").otherwise(script)) if piece]


def test_a_connection_is_used_again_and_requests_may_be_sent_ahead(serve, connect):
    provider = FakeProvider("openai").when("hi", "a").otherwise("b")
    client = connect(serve(provider))
    other = {**CHAT, "messages": [{"role": "user", "content": "?"}], "stream": False}

    client.send((asking() + asking(body=other)) * 20)
    answers = [b"".join(client.answer()[2]) for _ in range(40)]

    assert [b'"a"' in answer for answer in answers] == [True, False] * 20
    assert [call.state for call in provider.calls] == ["complete"] * 40


def test_an_answer_to_head_has_no_body(serve, connect):
    """Or the connection, which lives on, would give its rest to the next request."""
    server = serve(FakeProvider("openai").otherwise("a", "b").document("HEAD", "/v1/files/1", {"id": "1"}))
    client = connect(server)
    for path in ("/", "/nothing", "/openai/v1/files/1", "/_fakellm/state", "/_fakellm/", "/_fakellm/nothing"):
        client.send(f"HEAD {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())
        status, headers = client.head()
        assert (status, int(headers["content-length"]) > 0) == (200 if path.endswith("1") else status, True)
    client.send(asking())
    assert client.answer()[0] == 200


@pytest.mark.parametrize(
    ("accepted", "is_zipped"),
    [
        ("gzip", True), ("br, gzip;q=0.5", True), ("GZIP ,br", True), ("x-gzip", True), ("", False), ("identity", False),
        ("gzip;q=0", False), ("br, gzip ; q=0.000 , zstd", False), ("gzipped", False), ("notgzip", False),
    ],
)  # fmt: skip
def test_a_body_is_compressed_for_those_who_accept_it(serve, connect, accepted, is_zipped):
    provider = FakeProvider("openai").otherwise("a")
    provider.zips = True
    client = connect(serve(provider))

    client.send(asking(headers=[f"accept-encoding: {accepted}"]))
    assert ("content-encoding" in client.answer()[1]) == is_zipped


def test_a_client_that_waits_for_it_is_told_to_go_on(serve, connect):
    client = connect(serve(FakeProvider("openai").otherwise("a")))
    head, _, body = asking(headers=["expect: 100-continue"]).partition(b"\r\n\r\n")

    client.send(head + b"\r\n\r\n")
    assert client.head() == (100, {})
    client.send(body)
    assert client.answer()[0] == 200


def test_a_client_of_http_1_0_gets_a_body_that_ends_with_the_connection(serve, connect):
    provider = FakeProvider("openai").otherwise("a", "b")
    client = connect(serve(provider))

    client.send(asking(version="1.0"))
    status, headers, body = client.answer()

    assert (status, headers["connection"], "transfer-encoding" in headers) == (200, "close", False)
    assert body == [b"".join(pieces_of(FakeProvider("openai").otherwise("a", "b")))]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"no request\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000, 431),
        (b"POST / HTTP/1.1\r\nContent-Length: 2000\r\n\r\n", 413),
    ],
)
def test_what_is_no_request_is_refused_and_the_connection_ended(serve, connect, sent, status):
    server = serve(FakeProvider("openai").otherwise("a"), max_body=1000)
    client, other = connect(server), connect(server)

    client.send(sent)
    answer = client.answer()

    assert (answer[0], answer[1]["connection"], client.is_at_end()) == (status, "close", True)
    assert b"Traceback" not in answer[2][0]
    other.send(asking())
    assert other.answer()[0] == 200


def test_a_request_that_does_not_come_whole_is_not_waited_for(serve, connect):
    client = connect(serve(FakeProvider("openai"), request_timeout=0.02))

    client.send(b"POST / HTTP/1.1\r\n")

    assert client.answer()[0] == 408
    assert client.is_at_end()


def test_a_connection_on_which_nothing_is_asked_is_ended(serve, connect):
    client = connect(serve(FakeProvider("openai").otherwise("a"), idle_timeout=0.02))
    client.send(asking())
    client.answer()

    assert client.is_at_end()


def test_a_mistake_of_the_test_is_an_error_of_the_provider_that_is_not_retried(serve, connect):
    provider = FakeProvider("openai").reply(lambda _: 1 / 0)
    client = connect(serve(provider))

    client.send(asking() + asking() + asking("/nothing"))
    broken, missed, unknown = (client.answer() for _ in range(3))

    assert [one[0] for one in (broken, missed, unknown)] == [500, 400, 404]
    assert {one[1]["x-should-retry"] for one in (broken, missed, unknown)} == {"false"}
    assert "ZeroDivisionError" in json.loads(broken[2][0])["error"]["message"]
    assert "has no reply" in json.loads(missed[2][0])["error"]["message"]
    assert "POST /openai…/chat/completions" in json.loads(unknown[2][0])["error"]["message"]
    assert len(provider.misses) == 2


@pytest.mark.parametrize("taken", range(0, 2000, 100))
def test_a_client_that_vanishes_leaves_nothing_behind(serve, connect, taken):
    """It leaves after so many bytes of its request, or of the answer."""
    provider = FakeProvider("openai").otherwise("a" * 40, Pause(1), "b" * 40, Pause(1), "c" * 40, stall())
    server = serve(provider)
    client, sent = Client(server), asking()

    client.send(sent[:taken])
    if taken > len(sent):
        client.socket.recv(taken - len(sent))
    client.close()
    after = connect(server)
    after.send(asking(body={**CHAT, "stream": True}))
    after.head()

    while len(server.connections) > 1:
        threading.Event().wait(0.001)
    assert [call.state for call in provider.calls[:-1]] == ["closed"] * (len(provider.calls) - 1)


def test_a_client_that_does_not_read_is_not_written_for(serve, connect):
    provider = FakeProvider("openai").otherwise(*["x" * 10_000] * 2_000)
    client = connect(serve(provider))

    client.send(asking())
    client.head()
    before = -1
    while before != (before := provider.calls[0].delivered):
        threading.Event().wait(0.05)
    assert before < 12_000_000  # what the system's buffers take
    assert len(client.chunks()) == provider.calls[0].pieces
    assert provider.calls[0].state == "complete"


def test_answers_go_on_side_by_side(serve, connect):
    provider = FakeProvider("openai").when("hi", "a", stall()).otherwise("b")
    server = serve(provider)
    first, second = connect(server), connect(server)

    first.send(asking())
    assert first.head()[0] == 200
    second.send(asking(body={**CHAT, "messages": [{"role": "user", "content": "?"}]}))
    assert len(second.answer()[2]) > 1


def test_what_is_played_ends_when_the_server_stops(connect):
    provider = FakeProvider("openai").otherwise("a", stall())
    with Server([provider]) as server:
        client = connect(server)
        client.send(asking())
        client.head()

    assert provider.calls[0].state == "closed"
    with pytest.raises((ConnectionError, ValueError)):
        client.chunks()


def test_it_runs_in_a_loop_that_is_there():
    async def main():
        async with Server([FakeProvider("openai").otherwise("Hello")]) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(asking(body={**CHAT, "stream": False}))
            head = await reader.readuntil(b"\r\n\r\n")
            writer.close()
            await writer.wait_closed()
            return head

    assert asyncio.run(main()).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (FakeProvider("openai"), r"a list of fake providers, .*; write Server\(\[FakeProvider\('openai'\)\]\)"),
        ("openai", r"write Server\(\['openai'\]\)"),
        (3, "a list of fake providers, or of their names, not 3"),
        ([3], "a server has fake providers, or their names, not 3"),
    ],
)
def test_what_are_no_providers_is_told(given, message):
    with pytest.raises(TypeError, match=message):
        Server(given)


def test_a_port_that_is_taken_is_named(serve):
    server = serve(FakeProvider("openai"))

    with pytest.raises(OSError, match=str(server.port)), Server(port=server.port):
        pass


@pytest.mark.parametrize("fault", [disconnect(), disconnect("close"), disconnect("no_response"), disconnect("refused")])
def test_a_connection_that_breaks_is_no_end_of_the_server(serve, connect, fault):
    provider = FakeProvider("openai").reply(fault).otherwise("a")
    server = serve(provider)

    client = connect(server)
    client.send(asking())
    with pytest.raises((ConnectionError, ValueError, IndexError)):
        client.answer()
    again = connect(server)
    again.send(asking())
    assert again.answer()[0] == 200
    assert [call.state for call in provider.calls] == ["failed", "complete"]


class Held:
    """A clock whose waits end when it is told."""

    now = 0.0

    def __init__(self):
        self.waiting = asyncio.Event()
        self.goes_on = asyncio.Event()

    def sleep(self, seconds):
        raise NotImplementedError

    async def asleep(self, seconds):
        self.waiting.set()
        await self.goes_on.wait()


async def turns(many):
    """Let the loop go round."""
    for _ in range(many):
        await asyncio.sleep(0)


@pytest.mark.parametrize("alike", [True, False])
def test_a_client_that_left_before_the_last_piece_is_no_error_of_the_server(connect, alike):
    async def main():
        wrong = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: wrong.append(context))
        clock = Held()
        provider = FakeProvider("openai", clock=clock).otherwise("a", Pause(1), "b")
        async with Server([provider], alike=alike) as server:
            client = connect(server)
            client.send(asking())
            await clock.waiting.wait()
            client.socket.recv(65536)
            client.close()  # what is sent now is answered with a reset, at once
            await turns(5)
            clock.goes_on.set()
            await turns(5)
        return wrong

    assert asyncio.run(main()) == []


def test_who_raises_holds_up_nobody_who_is_due_at_the_same_time():
    class One:
        def __init__(self, does):
            self.step = does

    def breaks():
        raise ValueError

    async def main():
        wrong, loop, done = [], asyncio.get_running_loop(), asyncio.Event()
        loop.set_exception_handler(lambda loop, context: wrong.append(type(context["exception"])))
        ticks = Ticks(loop)
        for does in (breaks, breaks, done.set):
            ticks.call_at(0.0, One(does))
        async with asyncio.timeout(5):
            await done.wait()
        return wrong

    assert asyncio.run(main()) == [ValueError, ValueError]
