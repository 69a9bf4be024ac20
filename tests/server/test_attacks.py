"""Clients that mean harm, or behave as if: what they may cost is bounded, and the next one is served."""

from __future__ import annotations

import contextlib
import resource
import socket
import tracemalloc

import pytest
from raw_client import CHAT, Client, asking

from fakellm import FakeProvider, Pause, stall
from fakellm.clock import InstantClock
from fakellm.server import Server

ANSWER = "a" * 40, Pause(1), "b" * 40, Pause(1), "c" * 40


@contextlib.contextmanager
def serving(*answer, **options):
    provider = FakeProvider("openai").when("never", *answer, stall()).otherwise(*answer)
    with Server([provider], clock=InstantClock(), **options) as server:
        yield server


def is_served(server):
    """Tell whether somebody else gets a whole answer."""
    client = Client(server)
    try:
        client.send(asking())
        return client.answer()[0] == 200
    finally:
        client.close()


def sent_until_refused(server, head, piece, most):
    """Send a piece again and again; return the bytes that were sent before the server would not have more."""
    client, sent = Client(server), 0
    try:
        client.send(head)
        while sent < most:
            client.send(piece)
            sent += len(piece)
    except ConnectionError:
        pass
    finally:
        client.close()
    return sent


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"GET /", b"a" * 100_000),
        (b"GET / HTTP/1.1\r\nX: ", b"a" * 100_000),
        (b"GET / HTTP/1.1\r\n", b"X: a\r\n" * 10_000),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"186a0\r\n" + b"a" * 100_000 + b"\r\n"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a" * 100_000),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"0" * 100_000),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"a" * 100_000),
    ],
    ids=["target", "header", "headers", "body", "extension", "size", "trailer"],
)
def test_what_has_no_end_is_refused_and_not_kept(head, piece):
    with serving(*ANSWER, max_body=1_000_000) as server:
        tracemalloc.start()
        try:
            sent = sent_until_refused(server, head, piece, 100_000_000)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert sent < 20_000_000  # what the buffers of the system take, on both ends
        assert peak < 20_000_000
        assert is_served(server)


def test_a_body_of_a_gigabyte_is_refused_before_it_is_sent():
    with serving(*ANSWER) as server:
        client = Client(server)
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 1073741824\r\n\r\n")

        assert client.answer()[0] == 413
        assert client.is_at_end()
        client.close()


def test_requests_without_end_that_are_sent_ahead_are_not_read_ahead():
    """Nobody reads the answers, so the server stops to read the requests."""
    with serving(*ANSWER) as server:
        client, sent = Client(server), 0
        client.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while sent < 200_000_000:
                sent += client.socket.send(asking() * 100)
        client.socket.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            while sent < 200_000_000:
                sent += client.socket.send(asking() * 100)

        assert sent < 50_000_000
        assert is_served(server)
        client.close()


@pytest.mark.exhaustive
def test_a_client_that_vanishes_at_any_moment_leaves_no_stream_behind():
    """It leaves after each of 250 counts of bytes, of its request or of the answer, by an end or by a reset."""
    never = asking(body={**CHAT, "messages": [{"role": "user", "content": "never"}]})
    with serving(*ANSWER) as server:
        for taken in range(0, 2_000, 8):
            client = Client(server)
            client.send(never[:taken])
            if taken > len(never):
                client.socket.recv(taken - len(never))
            if taken % 16:
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
        assert is_served(server)
        calls = server.providers[0].calls
        while any(call.state == "running" for call in calls):
            assert is_served(server)
        assert {call.state for call in calls} == {"closed", "complete"}


@pytest.mark.exhaustive
def test_thousands_of_idle_connections_cost_little():
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = 3_000
    if most < 2 * count + 1_000:
        count = (most - 1_000) // 2
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * count + 1_000, most))
    idle = []
    try:
        with serving(*ANSWER) as server:
            tracemalloc.start()
            idle += [socket.create_connection(("127.0.0.1", server.port)) for _ in range(count)]
            assert is_served(server)
            while len(server.connections) < count:
                assert is_served(server)
            size, _ = tracemalloc.get_traced_memory()
            assert size / count < 30_000
            assert is_served(server)
    finally:
        tracemalloc.stop()
        for one in idle:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
