"""Requests out of bytes: whole, byte by byte, at every cut; and what is no request, or too much of one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakellm.server.parsing import MAX_HEAD, HttpRequest, Refusal, Requests

CHUNKED = (
    b"POST /v1/chat/completions?x=1 HTTP/1.1\r\nHost: api.openai.com\r\nTransfer-Encoding: chunked\r\n"
    b"X-Two: a\r\nx-two: b\r\n\r\n3\r\n{ }\r\n1;ext=1\r\n \r\n0\r\nTrailer: t\r\n\r\n"
)
SIZED = b"PUT /a HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello"
TWO = CHUNKED + b"GET /b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
READ = [
    HttpRequest(
        "POST",
        "/v1/chat/completions?x=1",
        "1.1",
        {"host": "api.openai.com", "transfer-encoding": "chunked", "x-two": "a, b"},
        b"{ } ",
        keeps_alive=True,
    ),
    HttpRequest("GET", "/b", "1.1", {"host": "h", "connection": "close"}, b"", keeps_alive=False),
]


def read(*pieces, **options):
    requests = Requests(**options)
    found = []
    for piece in pieces:
        found += requests.feed(piece)
        if found and isinstance(found[-1], Refusal):
            break
    return found


def test_requests_that_follow_each_other_are_read():
    assert read(TWO) == READ
    assert read(SIZED) == [HttpRequest("PUT", "/a", "1.0", {"content-length": "5"}, b"hello", keeps_alive=False)]


def test_every_cut_reads_alike():
    assert read(*(TWO[i : i + 1] for i in range(len(TWO)))) == READ
    assert [cut for cut in range(len(TWO)) if read(TWO[:cut], TWO[cut:]) != READ] == []


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"garbage\r\n\r\n", 400),
        (b"GET / HTTP/9.1\r\n\r\n", 400),
        (b"GET /\x00 HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET /" + b"a" * MAX_HEAD, 431),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * MAX_HEAD, 431),
        (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * (MAX_HEAD // 6), 431),
        (b"POST / HTTP/1.1\r\nContent-Length: 11\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: 999999999999999999999\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: aaaa\r\n" * 4, 413),
    ],
)
def test_what_is_no_request_or_too_much_of_one_is_refused(sent, status):
    whole = read(sent, max_body=10)
    by_byte = read(*(sent[i : i + 1] for i in range(len(sent))), max_body=10)

    assert [refusal.status for refusal in whole] == [refusal.status for refusal in by_byte] == [status]


def test_a_trailer_without_an_end_is_refused():
    sent = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: "

    assert [refusal.status for refusal in read(sent, *[b"a" * 1000] * 70)] == [431]


@pytest.mark.parametrize("offered", [b"websocket", b"h2c"])
def test_an_upgrade_that_is_offered_is_not_taken(offered):
    first = b"POST /a HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: %b\r\nContent-Length: 2\r\n\r\nhi" % offered

    assert [(request.target, request.body) for request in read(first + TWO)[:2]] == [
        ("/a", b"hi"),
        ("/v1/chat/completions?x=1", b"{ } "),
    ]
    assert len(read(*((first + TWO)[i : i + 1] for i in range(len(first + TWO))))) == 3


def test_a_client_that_waits_to_be_told_is_known():
    requests = Requests()

    assert requests.feed(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n") == []
    assert requests.wants_body
    assert [request.body for request in requests.feed(b"x")] == [b"x"]
    assert not requests.wants_body


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_any_bytes_give_requests_or_a_refusal(pieces):
    found = read(*pieces)

    assert all(isinstance(request, HttpRequest) for request in found[:-1])


@given(st.integers(0, len(TWO) - 1), st.binary(min_size=1, max_size=3), st.integers(0, 3))
def test_a_damaged_request_gives_requests_or_a_refusal(place, junk, removed):
    sent = TWO[:place] + junk + TWO[place + removed :]

    assert all(isinstance(one, (HttpRequest, Refusal)) for one in read(sent, max_body=1000))
