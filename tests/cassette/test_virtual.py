"""Tapes in virtual time: an hour that was recorded plays in milliseconds, each chunk at its second."""

from __future__ import annotations

import importlib
import time

import loopback
import pytest

from fakellm.cassette.redaction import Redactor
from fakellm.cassette.tape import Tape
from fakellm.clock.clock import VirtualClock
from fakellm.clock.virtual_loop import run
from fakellm.http.interception import Interception

PIECES = [b"data: %d\n\n" % number for number in range(61)]
TIMES = [60.0 * number + 0.5 for number in range(61)]
HEADERS = [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")]


def open_on(path, **options):
    tape = Tape(path, redactor=Redactor(environ={}), **options)
    interception = Interception()
    interception.tape = tape
    return tape, interception


@pytest.fixture(scope="module")
def hour(tmp_path_factory):
    """Record a stream from a socket whose server takes a minute for each chunk; the minutes are told, not waited for."""
    import httpx2

    path, clock = tmp_path_factory.mktemp("tapes") / "hour.yaml", VirtualClock()
    tape, interception = open_on(path, mode="all", now=lambda: clock.now)
    with loopback.Pieces(PIECES, headers=HEADERS, gated=True) as server, tape.open(), interception.on():
        url = server.url
        with httpx2.Client(timeout=5) as client, client.stream("POST", server.url, json={}) as response:
            clock.sleep(0.5)
            server.release()
            for _ in response.iter_bytes():
                clock.sleep(60)
                server.release()
    return path, url


def play(hour, module, flavour):
    """Return the chunks of the tape, and when each came; sync or async."""
    (path, url), clock, taken = hour, VirtualClock(), []
    tape, interception = open_on(path, mode="none", timing=clock)

    async def main():
        async with module.AsyncClient(timeout=90) as client, client.stream("POST", url, json={}) as response:
            async for chunk in response.aiter_bytes():
                taken.append((chunk, clock.now))

    with tape.open(), interception.on():
        if flavour == "async":
            run(main(), clock=clock)
        else:
            with module.Client(timeout=90) as client, client.stream("POST", url, json={}) as response:
                taken = [(chunk, clock.now) for chunk in response.iter_bytes()]
    return taken, clock


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
@pytest.mark.parametrize("flavour", ["sync", "async"])
def test_an_hour_plays_in_milliseconds_each_chunk_at_its_second(hour, library, flavour):
    module = importlib.import_module(library)
    play(hour, module, flavour)  # so that everything is loaded

    began = time.monotonic()
    taken, clock = play(hour, module, flavour)
    took = time.monotonic() - began

    assert taken == list(zip(PIECES, TIMES, strict=True))
    assert clock.now == TIMES[-1] == 3600.5
    assert clock.time_to_first_chunk == 0.5
    assert clock.gaps == [60] * 60
    assert took < 10  # on however slow a machine


@pytest.mark.parametrize("flavour", ["sync", "async"])
def test_the_silence_of_a_tape_is_a_timeout_for_a_client_with_less_patience(hour, flavour):
    import httpx2

    (path, url), clock = hour, VirtualClock()
    tape, interception = open_on(path, mode="none", timing=clock)

    async def main():
        async with httpx2.AsyncClient(timeout=45) as client:
            await client.post(url, json={})

    with tape.open(), interception.on(), pytest.raises(httpx2.ReadTimeout):
        if flavour == "async":
            run(main(), clock=clock)
        else:
            httpx2.post(url, json={}, timeout=45)
    assert clock.now == 45.5
