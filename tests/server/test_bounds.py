"""What a server keeps is bounded, and what it let go of is still counted and judged."""

from __future__ import annotations

import gc
import json
import socket
import time
import tracemalloc
import urllib.error
import urllib.request
import weakref

import pytest
from raw_client import CHAT, Client, asking

from fakellm import FakeProvider, Pause, disconnect, stall
from fakellm.cli.seen import Seen
from fakellm.clock import InstantClock, RealClock
from fakellm.errors import SwallowedCallError, UnusedRepliesError
from fakellm.models.kept import Kept
from fakellm.provider.exchange import ProviderCall
from fakellm.server import FakeServer, Server
from fakellm.server.bounds import KEEP, Room
from fakellm.server.logged import Logged
from fakellm.server.sessions import Session


def about(text, **fields):
    return asking(body={**CHAT, "messages": [{"role": "user", "content": text}], **fields})


def asked(server, *requests):
    """Send requests, some at a time, and return the statuses of their answers."""
    client, statuses = Client(server), []
    try:
        for at in range(0, len(requests), 8):
            client.send(b"".join(requests[at : at + 8]))
            statuses += [client.answer()[0] for _ in requests[at : at + 8]]
    finally:
        client.close()
    return statuses


def told(server, path):
    """Return the status and the document of what the server is asked about itself."""
    try:
        with urllib.request.urlopen(f"{server.url}/_fakellm/{path}") as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.status, json.load(error)


def held():
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def alive():
    """Return how many calls there are in this process."""
    gc.collect()
    return sum(type(one) in (ProviderCall, Logged) for one in gc.get_objects())


@pytest.mark.exhaustive
def test_of_more_calls_than_are_kept_the_last_thousand_are():
    before = alive()
    fake = FakeProvider("openai").when("never", "x").otherwise("a", Pause(1), "b")
    with Server([fake], clock=InstantClock()) as server:
        asked(server, *[about(f"{at}") for at in range(1_200)])

        log = server.sessions.own.log
        assert (len(log), log.total, log[0].number) == (KEEP, 1_200, 201)
        assert [call.number for call in fake.calls] == list(range(201, 1_201))
        assert (len(fake.replies[1].calls), fake.replies[1].calls.total) == (KEEP, 1_200)
        assert alive() - before <= 2 * KEEP


def test_what_was_let_go_is_free_at_once():
    fake = FakeProvider("openai").otherwise("a", Pause(1), "b")
    with Server([fake], clock=InstantClock(), keep=2) as server:
        asked(server, asking())
        gone = weakref.ref(fake.calls[0])
        gc.disable()
        try:
            asked(server, *[asking()] * 4)
            assert gone() is None
        finally:
            gc.enable()


def test_calls_take_no_more_than_those_that_are_kept():
    fake = FakeProvider("openai").otherwise(lambda request: [request.text, "b" * 20_000])
    with Server([fake], clock=InstantClock(), keep=20) as server:
        asked(server, *[about(f"{at}" * 5_000) for at in range(10, 40)])
        tracemalloc.start()
        try:
            before = held()
            asked(server, *[about(f"{at}" * 5_000) for at in range(40, 99)])
            after = held()
        finally:
            tracemalloc.stop()

    assert len(fake.calls) == 20
    assert after - before < 20 * 150_000  # 59 were asked, each of 10 kB and answered with 30, in some forms


def test_numbers_go_on_and_what_was_let_go_is_said_to_be():
    fake = FakeProvider("openai").when("hi", "a", times=1).otherwise("b")
    with Server([fake], clock=InstantClock(), keep=3) as server:
        assert asked(server, *[asking()] * 8) == [200] * 8

        assert [one["number"] for one in told(server, "calls")[1]] == [6, 7, 8]
        assert [one["number"] for one in told(server, "calls?since=7")[1]] == [8]
        assert told(server, "calls/6")[1]["number"] == 6
        status, document = told(server, "calls/5")
        assert (status, document["error"]["message"]) == (
            404,
            "request 5 was let go: of 8 that came here the last 3 are kept",
        )
        assert "--keep" in document["error"]["remedy"]
        assert told(server, "calls/9")[1]["error"]["message"] == "there is no request 9: 8 came in this session"
        assert told(server, "sessions")[1] == [{"name": "", "calls": 8, "kept": 3, "misses": 0}]
        asked(server, asking())
        assert fake.calls[-1].number == 9
        assert told(server, "calls/9")[0] == 200
    assert fake.unused == []  # the first reply was used by a call that is gone
    assert "answered call 1]" in str(fake.replies[0])
    assert "answered call ... 7 others ..., 9]" in str(fake.replies[1])


def test_a_reply_for_a_number_of_calls_answers_no_more_for_what_was_let_go():
    fake = FakeProvider("openai").when("hi", "a", times=6).reply("b")
    with Server([fake], clock=InstantClock(), keep=2) as server:
        assert asked(server, *[asking()] * 8) == [200] * 7 + [400]
    assert fake.misses[0].place == 8


@pytest.mark.exhaustive
def test_misses_that_were_let_go_are_counted_and_the_first_are_shown():
    with Server([FakeProvider("openai").reply("a")], clock=InstantClock(), keep=5) as server:
        asked(server, asking("/nothing"), *[asking()] * 150, *[asking("/nothing")] * 150)
        seen, listed = Seen.at(server), told(server, "misses")[1]

        assert (seen.calls, seen.missed, seen.unused) == (301, 299 + 1, ())
        assert "POST /nothing" in str(server.sessions.own.strays[0])
        assert seen.misses[0].startswith("request 2 to the fake openai has no reply")
        assert [one["number"] for one in listed[:3]] == [1, 3, 4]
        assert len(listed) == 200
        assert told(server, "sessions")[1][0]["misses"] == 300
        with pytest.raises(SwallowedCallError, match="request 2 to the fake openai"):
            server.sessions.verify()
        assert all(miss.__traceback__ is None for miss in server.sessions.own.misses)


@pytest.mark.exhaustive
def test_what_load_balancers_ask_is_counted_by_nobody_however_long():
    with Server([FakeProvider("openai")], clock=InstantClock(), keep=5) as server:
        probe = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
        asked(server, asking("/nothing"), *[probe] * 300)
        seen = Seen.at(server)

        assert (seen.missed, len(seen.misses), len(server.sessions.own.strays)) == (1, 1, 100)


def test_replies_that_break_are_kept_without_what_they_hold():
    def broken(request):
        yield "a"
        raise ZeroDivisionError

    with Server([FakeProvider("openai").otherwise(broken)], clock=InstantClock(), keep=5) as server:
        for _ in range(3):
            client = Client(server)
            client.send(asking())
            with pytest.raises((ConnectionError, ValueError, EOFError)):
                client.answer()
            client.close()
        misses = server.providers[0].misses
        assert [miss.place for miss in misses] == [1, 2, 3]
        assert all(one.__traceback__ is None and one.__cause__.__traceback__ is None for one in misses)


LARGE = "x" * 2_000_000


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ([*[LARGE] * 3], "complete"),
        ([LARGE, disconnect("close")], "failed"),
        ([LARGE, stall()], "closed"),
        ([lambda _: [LARGE]], "complete"),
    ],
    ids=["complete", "broken", "left", "made"],
)
def test_of_an_answer_only_so_much_is_kept(answer, state):
    fake = FakeProvider("openai").otherwise(*answer)
    with Server([fake], clock=InstantClock()) as server:
        client = Client(server)
        client.send(asking(headers=["connection: close"]))
        client.body(len(LARGE))
        while state != "closed" and client.socket.recv(1_000_000):
            pass
        client.close()
        (call,) = fake.calls
        while call.state == "running":
            pass

        assert call.state == state
        assert 0 < sum(map(len, call.taken)) <= 64 * 1024
        assert call._run == []
        assert call.delivered > len(LARGE)


def test_bodies_of_requests_are_bounded_together():
    """Two sessions of large requests: the oldest of the larger session go, and the latest stays."""
    sessions = []
    room = Room(1_000, lambda: sessions, 4_000_000)
    sessions += [Session(name, [FakeProvider("openai").otherwise("a")], room) for name in ("a", "b")]
    for at in range(40):
        session = sessions[at % 4 == 0]
        exchange = session.providers[0].handle("POST", "https://x/v1/chat/completions", {}, b" " * 100_000 + b"{}")
        session.note(session.providers[0], exchange, exchange.call)
        assert sum(one.size for each in sessions for one in each.log) < 4_000_000

    assert [session.log.total for session in sessions] == [30, 10]
    assert all(session.log[-1].number == session.log.total for session in sessions)
    assert [len(session.providers[0].calls) for session in sessions] == [len(session.log) for session in sessions]
    huge = sessions[0].providers[0].handle("POST", "https://x/v1/chat/completions", {}, b" " * 9_000_000)
    sessions[0].note(sessions[0].providers[0], huge, huge.call)
    assert [len(session.log) for session in sessions] == [1, 0]


def test_sessions_that_were_let_go_are_judged(monkeypatch):
    monkeypatch.setattr("fakellm.server.sessions._MOST", 2)
    fake = FakeProvider("openai").when("used", "a").when("unused", "b")
    with Server([fake], clock=InstantClock()) as server:
        for name, text in (("one", "used"), ("two", "x"), ("one", "used"), ("three", "used"), ("four", "used")):
            body = {**CHAT, "messages": [{"role": "user", "content": text}]}
            asked(server, asking(body=body, headers=[f"x-fakellm-session: {name}"]))
            server.sessions.named("three")["openai"].when(f"for {name}", "c")
        sessions = server.sessions
        seen = Seen.at(server)

        assert [session.name for session in sessions] == ["", "three", "four"]
        assert (seen.calls, seen.missed) == (5, 1)
        assert "has no reply: no when() fits" in seen.misses[0]
        assert sum("'unused'" in text for text in seen.unused) == 1
        assert not any("'used'" in text for text in seen.unused)
        status, document = told(server, "calls?session=one")
        assert status == 404
        assert "were let go" in document["error"]["remedy"]
        with pytest.raises(SwallowedCallError, match="in a session that was let go, found no reply"):
            sessions.verify()
        sessions.named("three")
        sessions.named("five")
        sessions.named("six")  # three goes, with what was scripted in it
        with pytest.raises(UnusedRepliesError, match="in the session 'three'"):
            sessions.verify(allow_misses=True)


def test_what_a_session_used_that_was_ended_is_not_unused():
    with Server([FakeProvider("openai").reply("a")], clock=InstantClock()) as server:
        asked(server, asking(headers=["x-fakellm-session: one"]))
        server.sessions.end("one")
        assert Seen.at(server).is_clean


def test_clients_that_leave_in_a_long_silence_leave_no_timers_behind():
    fake = FakeProvider("openai").otherwise("a", Pause(10_000), "b")
    with Server([fake], clock=RealClock()) as server:
        clients = [Client(server) for _ in range(250)]
        for client in clients:
            client.send(asking())
            client.head()
        waiting = len(server._loop._scheduled)
        for client in clients:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
        while server.connections:
            time.sleep(0.001)
        assert waiting > 100
        assert len(server._loop._scheduled) < waiting / 2


def test_copies_for_sessions_remember_together():
    with Server([FakeProvider("openai").otherwise("a")], clock=InstantClock()) as server:
        session = server.sessions.named("one")
        assert session["openai"]._memo is server.providers[0]._memo is not None
        answers = {server.sessions.named(name)["openai"].otherwise(name) and name for name in ("b", "c")}
        for name in answers:
            client = Client(server)
            client.send(asking(headers=[f"x-fakellm-session: {name}"]))
            assert f'"content":"{name}"'.encode() in b"".join(client.answer()[2])
            client.close()


def test_a_server_of_a_test_keeps_all():
    with FakeServer() as server:
        server.openai.otherwise("a")
        asked(server, *[asking()] * (KEEP + 50))
        assert len(server.calls) == KEEP + 50


@pytest.mark.parametrize("keep", [0, -1, True, "5", 1.5])
def test_what_is_no_number_of_requests_is_refused(keep):
    with pytest.raises(ValueError, match="keep is how many requests of each session are kept, from 1 up"):
        Server(keep=keep)


def test_what_is_let_go_is_found_from_the_oldest_on():
    kept = Kept("abc")
    kept.let_go_of("b")
    kept.let_go_of("z")
    assert (kept, kept.total, kept.gone) == (["a", "c"], 3, 1)


def test_a_request_counts_what_it_holds():
    fake = FakeProvider("openai").otherwise("a")
    exchange = fake.handle("POST", "https://x/v1/chat/completions", {"a": "b" * 1_000}, b"{}" + b" " * 10_000)
    assert 41_000 < Logged(1, "openai", exchange.call, 0.0, 200, None).size < 60_000


@pytest.mark.parametrize("alike", [True, False])
def test_of_an_answer_that_is_written_as_much_is_shown_as_is_kept_of_it(alike):
    provider = FakeProvider("openai").otherwise(*["x" * 30_000] * 4, stall())
    with Server([provider], alike=alike) as server:
        client = Client(server)
        client.send(asking())
        client.head()
        assert client.body(120_000)
        (call,) = provider.calls
        assert (call.state, sum(map(len, call.taken))) == ("running", 64 * 1024)
        client.close()
    assert sum(map(len, call.taken)) == 64 * 1024
