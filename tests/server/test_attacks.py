"""Clients that mean harm, or behave as if: what they may cost is bounded, and the next one is served."""

from __future__ import annotations

import contextlib
import re
import resource
import socket
import time
import tracemalloc
from itertools import pairwise
from pathlib import Path

import commands
import pytest
from hypothesis import given
from hypothesis import strategies as st
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
        (b"POST / HTTP/1.1\r\nContent-Length: 1073741824\r\n\r\n", b"a" * 100_000),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"186a0\r\n" + b"a" * 100_000 + b"\r\n"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a" * 100_000),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"0" * 100_000),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"a" * 100_000),
    ],
    ids=["target", "header", "headers", "announced", "body", "extension", "size", "trailer"],
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
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell the memory of a process")
def test_ten_thousand_idle_connections_cost_little():
    """The clients are in this process, the server in another, since a process may have only so many sockets."""
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(10_000, most - 500)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 500, most))
    idle = []
    try:
        with commands.serving() as server:
            address = server.host, int(server.port)
            assert commands.said(server.asked("x")) == "x"
            before = memory_of(server.process.pid)
            idle += [socket.create_connection(address) for _ in range(count)]
            assert commands.said(server.asked("x")) == "x"  # those before it were accepted by now
            assert (memory_of(server.process.pid) - before) / count < 30_000
            for one in idle[::2]:
                one.close()
            assert commands.said(server.asked("x")) == "x"
    finally:
        for one in idle:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))


def memory_of(pid):
    """Return the bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


# -- any bytes ------------------------------------------------------------------------------------------

METHODS = st.sampled_from([b"GET", b"POST", b"OPTIONS", b"DELETE", b"HEAD", b"PUT", b"CONNECT", b"PRI", b"get"])
TARGETS = st.one_of(
    st.sampled_from([
        b"/openai/v1/chat/completions", b"/v1/chat/completions", b"/v1/models", b"/", b"*", b"//", b"//[", b"/[::1",
        b"http://[::1", b"http://[/v1/models", b"http://h:x/v1/models", b"h:443", b"http://h", b"?", b"/?#", b"/%00",
        b"/_fakellm", b"/_fakellm/", b"/_fakellm//", b"/_fakellm/calls", b"/_fakellm/calls/0", b"/_fakellm/calls?since=x",
        b"/_fakellm/calls?provider=x", b"/_fakellm/sessions/", b"/_fakellm/sessions/%ff/openai/v1/models",
        b"/_fakellm/sessions/%00/v1/models", b"/_fakellm/replies", b"/_fakellm/state?session=a", b"/_fakellm/openapi.json",
        b"/_fakellm/sessions/a/_fakellm/calls", b"/_fakellm/reset", b"/_fakellm/documents",
    ]),
    st.binary(max_size=20).map(lambda junk: b"/" + junk.replace(b" ", b"").replace(b"\n", b"").replace(b"\r", b"")),
)  # fmt: skip
HEADERS = st.lists(
    st.sampled_from([
        b"Host: x", b"Host: api.openai.com", b"Host: [", b"Host: \xff", b"Host:", b"Host: a@b:99999", b"Expect: 100-continue",
        b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 5\r\nContent-Length: 6", b"Content-Length: ",
        b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: identity",
        b"X-Fakellm-Session: a", b"X-Fakellm-Session: \xff\xfe", b"X-Fakellm-Session: \x01", b"X-Fakellm-Session: " + b"s" * 300,
        b"Origin: null", b"Origin: http://x", b"Access-Control-Request-Method: POST", b"Accept-Encoding: gzip",
        b"Connection: close", b"Connection: Upgrade\r\nUpgrade: h2c", b"Upgrade: websocket", b"Authorization: \xe4",
        b": x", b"X", b" folded", b"X\x00: y", b"Content-Encoding: br",
    ]),
    max_size=5,
)  # fmt: skip
BODIES = st.one_of(
    st.sampled_from([
        b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"5;x=\xff\r\nhello\r\n0\r\nA: b\r\n\r\n", b"-5\r\nhello\r\n", b"5\r\nhel",
        b"ffffffffffffffffff\r\n", b"0\r\n", b"0x5\r\nhello\r\n", b"5\nhello\n0\n\n", b"5\r\nhelloXX0\r\n\r\n", b"{}", b"[[[[[[",
        b'{"provider": "openai", "script": 7}', b"\xff\xfe", b"\xed\xa0\x80",
    ]),
    st.binary(max_size=40),
)  # fmt: skip


@pytest.fixture(scope="module")
def attacked():
    """Return a server, and what its event loop was told that went wrong."""
    wrong = []
    provider = FakeProvider("openai").otherwise("a", Pause(1), "b")
    with Server([provider, "anthropic"], clock=InstantClock(), max_body=1_000) as server:
        server._loop.set_exception_handler(lambda _, context: wrong.append(context))
        yield server, wrong


def exchanged(server, pieces):
    """Send pieces and no more; return all that is answered."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        answer = b""
        with contextlib.suppress(ConnectionError, OSError):
            for piece in pieces:
                client.sendall(piece)
            client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while data := client.recv(65_536):
                answer += data
                if b"retry: 500" in answer:  # `/_fakellm/events` does not end
                    break
        return answer


@given(METHODS, TARGETS, HEADERS, BODIES, st.lists(st.integers(0, 200), max_size=3))
def test_whatever_is_sent_is_answered_in_order_or_refused(attacked, method, target, headers, body, cuts):
    server, wrong = attacked
    sent = b"\r\n".join([method + b" " + target + b" HTTP/1.1", *headers, b"", body])
    places = sorted({0, len(sent), *(cut for cut in cuts if cut < len(sent))})

    answer = exchanged(server, [sent[begin:end] for begin, end in pairwise(places)])

    assert not answer or re.match(rb"HTTP/1\.1 [1-5]\d\d ", answer)
    assert b"Traceback" not in answer
    assert b'File "' not in answer
    assert wrong == []
    assert is_served(server)


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_whatever_bytes_are_sent_are_answered_or_refused(attacked, pieces):
    server, wrong = attacked

    answer = exchanged(server, pieces)

    assert not answer or answer.startswith(b"HTTP/1.1 ")
    assert b"Traceback" not in answer
    assert wrong == []
    assert is_served(server)


def test_headers_that_come_byte_by_byte_are_not_waited_for_beyond_the_time_for_a_request():
    """The time is not begun anew with each byte."""
    with serving(*ANSWER, request_timeout=0.05) as server:
        client = Client(server)
        client.send(b"GET / HTTP/1.1\r\nX: ")
        client.socket.setblocking(False)
        answer = b""
        while not answer:
            with contextlib.suppress(BlockingIOError):
                client.socket.send(b"a")
            with contextlib.suppress(BlockingIOError):
                answer = client.socket.recv(1_000)
            time.sleep(0.0005)

        assert answer.startswith(b"HTTP/1.1 408 ")
        assert is_served(server)
        client.close()
