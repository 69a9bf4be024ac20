"""Tapes of clients above urllib3 and of aiohttp: chunks, silences and endings, as those of httpx."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import struct
import urllib.request
import zlib

import aiohttp
import httpx
import loopback
import pytest
import requests
import sdks
import urllib3
import vcr
from taping import CHUNKED, CUTS, TEXT, On, compressed, stored, tape

from fakellm import FakeProvider, Script, disconnect, stall
from fakellm.cassette.replay import TapeEndedError
from fakellm.clock.clock import InstantClock
from fakellm.errors import UnexpectedRequestError
from fakellm.http import intercept

ASKED = b'{"ask": 1}'
STREAM = b'{"model": "m", "messages": [{"role": "user", "content": "?"}], "stream": true}'
TEXTS = [b"data: one\n\n", b"data: two\n\n", b"data: three\n\n"]


def by_requests(url, timeout=5, asked=ASKED):
    with requests.post(url, data=asked, stream=True, timeout=timeout) as answer:
        yield from answer.iter_content(None)


def by_urllib3(url, timeout=5, asked=ASKED):
    headers = {"accept-encoding": "gzip"}
    with urllib3.PoolManager(retries=False, timeout=timeout, headers=headers) as pool:
        yield from pool.request("POST", url, body=asked, preload_content=False).stream(decode_content=True)


def by_botocore(url, timeout=5, asked=ASKED):
    awsrequest = pytest.importorskip("botocore.awsrequest", reason="botocore is not installed")
    from botocore.httpsession import URLLib3Session

    request = awsrequest.AWSRequest("POST", url, data=asked)
    request.stream_output = True
    session = URLLib3Session(timeout=(timeout, timeout))
    with contextlib.closing(session):
        yield from session.send(request.prepare()).raw.stream()


def by_aiohttp(url, timeout=5, asked=ASKED):
    """Read by a loop that is run a step at a time, as a generator of the others is."""
    loop = asyncio.new_event_loop()
    session, answer = aiohttp.ClientSession(loop=loop, timeout=aiohttp.ClientTimeout(sock_read=timeout)), None
    try:
        answer = loop.run_until_complete(session.post(url, data=asked).__aenter__())
        while chunk := loop.run_until_complete(answer.content.readany()):
            yield chunk
    finally:
        if answer is not None:
            answer.close()
        loop.run_until_complete(session.close())
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


CLIENTS = [
    pytest.param(by_requests, id="requests"),
    pytest.param(by_urllib3, id="urllib3", marks=pytest.mark.exhaustive),  # what is below the first
    pytest.param(by_botocore, id="botocore", marks=pytest.mark.exhaustive),
    pytest.param(by_aiohttp, id="aiohttp"),
]
clients = pytest.mark.parametrize("client", CLIENTS)


def outcome(chunks, take=None):
    """Return what an app is given, and the errors with their causes."""
    given, errors = [], []
    try:
        for chunk in chunks:
            given.append(chunk)
            if len(given) == take:
                break
    except Exception as error:
        while error is not None:
            errors.append(type(error))
            error = error.__cause__
    finally:
        chunks.close()
    return given, errors


def stream_of(path):
    return stored(path)[0]["response"]["stream"]


# -- chunks, and how they end --------------------------------------------------------------------------


@clients
def test_each_chunk_reaches_the_app_before_the_next_is_sent_and_comes_back_on_replay(tmp_path, client):
    path = tmp_path / "tape.yaml"
    with loopback.Pieces(CUTS, headers=CHUNKED, gated=True) as server, On(tape(path)) as recording:
        given = []
        server.release()
        for chunk in client(server.url):
            given.append(chunk)
            server.release()
        url = server.url
        assert (b"".join(given), recording.recorded) == (TEXT, 1)  # aiohttp joins what the app has not read yet
        assert len(given) == len(CUTS) or client is by_aiohttp
        assert recording.calls[0].state == "complete"

    for again in (client, by_requests, by_aiohttp):
        with On(tape(path, mode="none")) as played:
            assert outcome(again(url)) == (CUTS, [])
        assert (played.play_count, played.calls[0].pieces) == (1, len(CUTS))
    with On(tape(path, mode="none")), httpx.stream("POST", url, json={"ask": 1}) as answer:
        assert list(answer.iter_bytes()) == CUTS


@clients
@pytest.mark.parametrize(
    ("end", "name"), [("reset", "ReadError"), ("close", "RemoteProtocolError"), ("in a chunk", "RemoteProtocolError")]
)
def test_a_connection_that_drops_drops_again_after_the_same_chunks(tmp_path, client, end, name):
    path, pieces = tmp_path / "tape.yaml", CUTS[:5]
    options = {"headers": CHUNKED, "end": end}
    if end == "in a chunk":
        pieces = [*(b"1\r\n%b\r\n" % piece for piece in pieces), b"20\r\nhalf of a fra"]
        options = {"headers": [("Transfer-Encoding", "chunked")], "end": "close"}
    with loopback.Pieces(pieces, **options, gated=True) as server, On(tape(path)):
        given, errors = released(server, client(url := server.url))
    rest = [b"half of a fra"] if end == "in a chunk" and client is by_aiohttp else []  # others keep it from the app
    assert (b"".join(given), bool(errors)) == (b"".join([*CUTS[:5], *rest]), True)
    assert (stream_of(path)["end"], stream_of(path)["error"]) == ("dropped", name)

    with On(tape(path, mode="none")) as played:
        again = outcome(client(url))
    assert (again[0], again[1][0]) == ([*CUTS[:5], *rest], errors[0])
    assert played.calls[0].state == "failed"


def released(server, chunks):
    """Return what an app is given that reads each chunk before the next is sent, and the errors with their causes."""
    server.release()

    def following():
        for chunk in chunks:
            yield chunk
            server.release()

    return outcome(following())


@clients
def test_what_the_app_cancelled_plays_as_far_and_not_on(tmp_path, client):
    path, given = tmp_path / "tape.yaml", []
    with loopback.Pieces(CUTS, headers=CHUNKED, gated=True) as server, On(tape(path)) as recording:
        for _ in range(3):
            server.release()
        chunks = client(url := server.url)
        while len(b"".join(given)) < 3:
            given.append(next(chunks))
        chunks.close()
    assert recording.calls[0].state == "closed"
    assert (stream_of(path)["end"], b"".join(given)) == ("cancelled", TEXT[:3])

    with On(tape(path, mode="none")):
        assert outcome(client(url), take=3) == (CUTS[:3], [])
    with On(tape(path, mode="none")) as played, pytest.raises(TapeEndedError, match="holds 3 chunks"):
        outcome(client(url))
    assert played.misses


@clients
def test_silences_are_recorded_and_waited_for_on_the_clock_that_is_given(tmp_path, client):
    path, ticks, clock = tmp_path / "tape.yaml", iter(range(100)), InstantClock()
    with loopback.Pieces(TEXTS, headers=CHUNKED, gated=True) as server, On(tape(path, now=lambda: next(ticks))):
        server.release()
        for _ in client(url := server.url):
            server.release()
    assert [float(delay) for delay in str(stream_of(path)["delays"]).split()] == [1000] * 3
    with On(tape(path, mode="none", timing=clock)):
        outcome(client(url))
    assert clock.now == 3


@clients
def test_a_timeout_plays_as_a_timeout(tmp_path, client):
    path = tmp_path / "tape.yaml"
    with loopback.Pieces(TEXTS, headers=CHUNKED, gated=True) as server, On(tape(path)):
        server.release()
        given, errors = outcome(client(url := server.url, timeout=0.1))
    assert (stream_of(path)["end"], stream_of(path)["error"]) == ("timeout", "ReadTimeout")
    with On(tape(path, mode="none")):
        again, errors_again = outcome(client(url))
    assert (again, errors_again[:1]) == (given, errors[:1])


@clients
def test_a_compressed_stream_is_stored_decoded_and_plays_in_the_same_chunks(tmp_path, client):
    if client is by_botocore:
        pytest.skip("botocore decodes nothing")
    path, headers = tmp_path / "tape.yaml", [*CHUNKED, ("content-encoding", "gzip")]
    with loopback.Pieces(compressed("gzip", TEXTS), headers=headers) as server, On(tape(path)):
        given, _ = outcome(client(url := server.url))
    assert b"".join(given) == b"".join(TEXTS)
    assert "data: two" in path.read_text()
    assert len(str(stream_of(path)["sizes"]).split()) == 3
    with On(tape(path, mode="none")):
        assert outcome(client(url)) == (TEXTS, [])


@clients
@pytest.mark.parametrize("length", [None, sum(map(len, TEXTS))])
def test_a_stream_without_chunks_of_http_plays_whole(tmp_path, client, length):
    headers = [("content-type", "text/event-stream"), *([("content-length", str(length))] if length else [])]
    with loopback.Pieces(TEXTS, headers=headers) as server, On(tape(tmp_path / "tape.yaml")):
        given, errors = outcome(client(url := server.url))
    assert (b"".join(given), errors) == (b"".join(TEXTS), [])
    with On(tape(tmp_path / "tape.yaml", mode="none")) as played:
        again, errors = outcome(client(url))
    assert (b"".join(again), errors, played.calls[0].state) == (b"".join(TEXTS), [], "complete")


@clients
def test_a_document_that_was_redacted_is_as_long_as_it_says(tmp_path, client):
    key = "sk-" + "a1B2" * 12
    body = json.dumps({"key": key, "said": "x" * 50}).encode()
    headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
    with loopback.Pieces([body], headers=headers) as server, On(tape(tmp_path / "tape.yaml")):
        given, errors = outcome(client(url := server.url))
    assert (given, errors) == ([body], [])
    assert key not in (tmp_path / "tape.yaml").read_text()
    with On(tape(tmp_path / "tape.yaml", mode="none")):
        given, errors = outcome(client(url))
    assert (json.loads(b"".join(given))["said"], errors) == ("x" * 50, [])


@clients
@pytest.mark.parametrize("packed", [False, True])
def test_a_tape_of_vcrpys_own_plays(tmp_path, client, packed):
    path = tmp_path / "plain.yaml"
    body = gzip.compress(b'{"a": 1}') if packed else b'{"a": 1}'
    headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
    headers += [("content-encoding", "gzip")] if packed else []
    with loopback.Pieces([body], headers=headers) as server, vcr.VCR().use_cassette(str(path)):
        first, _ = outcome(client(url := server.url))
    with On(tape(path, mode="none")):
        assert b"".join(outcome(client(url))[0]) == b"".join(first)


@pytest.mark.parametrize("asked", [{"ask": 1}, [1, "a"]])
def test_a_tape_of_vcrpys_own_has_json_of_aiohttp_as_it_was_given(tmp_path, asked):
    async def ask(url):
        async with aiohttp.ClientSession() as session, session.post(url, json=asked) as answer:
            return await answer.read()

    with loopback.Pieces([b"{}"], headers=[("content-length", "2")]) as server:
        with vcr.VCR().use_cassette(str(tmp_path / "plain.yaml")):
            assert sdks.run(ask(url := server.url)) == b"{}"
    with On(tape(tmp_path / "plain.yaml", mode="none")):
        assert sdks.run(ask(url)) == b"{}"


@clients
def test_bytes_that_are_no_body_of_their_coding_end_a_tape_as_they_ended_the_answer(tmp_path, client):
    if client is by_botocore:
        pytest.skip("botocore decodes nothing")
    path, headers = tmp_path / "tape.yaml", [*CHUNKED, ("content-encoding", "gzip")]
    with loopback.Pieces([b"this is not gzip"], headers=headers) as server, On(tape(path)):
        _, errors = outcome(client(url := server.url))
    with On(tape(path, mode="none")):
        _, again = outcome(client(url))
    assert again[0] is errors[0]


# -- requests -----------------------------------------------------------------------------------------


@clients
def test_a_request_that_is_not_on_the_tape_is_a_miss(tmp_path, client):
    with On(tape(tmp_path / "tape.yaml", mode="none")) as played:
        with pytest.raises(UnexpectedRequestError, match="there is no tape"):
            outcome(client("http://127.0.0.1:1/"))
    assert (len(played.misses), played.calls[0].state) == (1, "failed")


@clients
def test_a_server_that_is_not_there_is_not_on_the_tape(tmp_path, client):
    with loopback.refusing() as url:
        real = outcome(client(url))
        with On(tape(tmp_path / "tape.yaml")) as recording:
            assert outcome(client(url)) == real
    assert (recording.recorded, recording.calls[0].state) == (0, "failed")


def test_what_is_answered_by_a_fake_is_on_no_tape(tmp_path):
    fake = FakeProvider("openai").otherwise("ok")
    with loopback.Pieces([b"{}"], headers=[("content-length", "2")]) as server, intercept(fake) as interception:
        with interception.answering_from(tape(tmp_path / "tape.yaml")):
            body = {"model": "m", "messages": []}
            assert requests.post("https://api.openai.com/v1/chat/completions", json=body, timeout=5).ok
            outcome(by_requests(url := server.url))
    assert [entry["request"]["uri"] for entry in stored(tmp_path / "tape.yaml")] == [f"{url}/"]


CHAT = "https://api.openai.com/v1/chat/completions"
FAULTS = [None, disconnect(), disconnect("close"), stall(), disconnect("refused"), stall("headers")]


@pytest.mark.exhaustive
@clients
@pytest.mark.parametrize("fault", FAULTS, ids=repr)
def test_what_a_fake_says_is_recorded_by_a_tape_before_it_and_tapes_stack(tmp_path, client, fault):
    begun = [] if fault in FAULTS[-2:] else ["Hel", "lo ", "you"]
    fake = FakeProvider("openai").otherwise(Script(*begun, *([fault] if fault else [])))
    with intercept(fake), On(tape(tmp_path / "outer.yaml")), On(tape(tmp_path / "inner.yaml")) as recording:
        given, errors = outcome(client(CHAT, asked=STREAM))
    assert recording.recorded == bool(begun)
    assert bool(given) == bool(begun)
    for name in ("inner", "outer") if begun else ():
        with On(tape(tmp_path / f"{name}.yaml", mode="none")) as played:
            again, errors_again = outcome(client(CHAT, asked=STREAM))
        assert again == given
        assert errors_again[:1] == errors[:1]
        assert played.calls[0].pieces == fake.calls[0].pieces


def test_a_body_that_is_made_while_it_is_sent_is_on_the_tape_and_is_sent(tmp_path):
    def ask(url):
        return requests.post(url, data=iter([b'{"a"', b": 1}"]), timeout=5).content

    with loopback.Pieces([b"{}"], headers=[("content-length", "2")]) as server, On(tape(tmp_path / "tape.yaml")):
        assert ask(url := server.url) == b"{}"
        assert server.seen == [b'{"a": 1}']
    assert json.loads(stored(tmp_path / "tape.yaml")[0]["request"]["body"]) == {"a": 1}
    with On(tape(tmp_path / "tape.yaml", mode="none")):
        assert ask(url) == b"{}"


def test_the_whole_of_a_redirect_is_on_the_tape(tmp_path):
    def ask(url):
        return requests.get(f"{url}/first", timeout=5).text

    with loopback.Pieces([b"there"], headers=[("content-length", "5")]) as target:
        headers = [("location", f"{target.url}/second"), ("content-length", "0")]
        with loopback.Pieces([], headers=headers, status=302) as server, On(tape(tmp_path / "tape.yaml")):
            assert ask(url := server.url) == "there"
    with On(tape(tmp_path / "tape.yaml", mode="none")):
        assert ask(url) == "there"
    assert len(stored(tmp_path / "tape.yaml")) == 2


def test_a_tape_that_is_only_open_is_reached_by_what_vcrpy_patches(tmp_path):
    """Without `playing` there is no shell that would bring them to the tape."""
    with loopback.Pieces(TEXTS, headers=CHUNKED) as server, tape(tmp_path / "tape.yaml").open() as recording:
        outcome(by_requests(url := server.url))
        assert recording.recorded == 1
    with tape(tmp_path / "tape.yaml", mode="none").open():
        assert b"".join(outcome(by_requests(url))[0]) == b"".join(TEXTS)


def test_a_stack_of_clients_is_on_one_tape_in_the_order_of_their_requests(tmp_path):
    path = tmp_path / "tape.yaml"

    def ask(url):
        with urllib.request.urlopen(f"{url}/urllib", timeout=5) as answer:
            said = [answer.read()]
        said += [requests.get(f"{url}/requests", timeout=5).content, httpx.get(f"{url}/httpx").content]

        async def main():
            async with aiohttp.ClientSession() as session, session.get(f"{url}/aiohttp") as answer:
                return await answer.read()

        return [*said, sdks.run(main())]

    with loopback.Pieces([b"{}"], headers=[("content-length", "2")]) as server, On(tape(path)):
        real = ask(url := server.url)
    assert len(stored(path)) == 4
    with On(tape(path, mode="none")) as played:
        assert ask(url) == real
    assert played.play_count == 4


@clients
def test_a_tape_may_break_where_it_did_not(tmp_path, client):
    with loopback.Pieces(TEXTS, headers=CHUNKED) as server, On(tape(tmp_path / "tape.yaml")):
        outcome(client(url := server.url))
    with On(tape(tmp_path / "tape.yaml", mode="none").fail(disconnect(), after=2)):
        given, errors = outcome(client(url))
    assert (given, bool(errors)) == (TEXTS[:2], True)
    with On(tape(tmp_path / "tape.yaml", mode="none").rechunk(1)):
        assert outcome(client(url)) == ([bytes([byte]) for byte in b"".join(TEXTS)], [])


# -- event streams of Amazon -----------------------------------------------------------------------------


def frame(kind, payload):
    headers = b"".join(
        bytes([len(name)]) + name + b"\x07" + struct.pack(">H", len(value)) + value
        for name, value in (
            (b":message-type", b"event"),
            (b":event-type", kind),
            (b":content-type", b"application/json"),
        )
    )
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    data = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return data + struct.pack(">I", zlib.crc32(data))


FRAMES = [
    frame(b"messageStart", b'{"role": "assistant"}'),
    *(
        frame(b"contentBlockDelta", json.dumps({"contentBlockIndex": 0, "delta": {"text": text}}).encode())
        for text in ("Hel", "lo ", "you")
    ),
    frame(b"contentBlockStop", b'{"contentBlockIndex": 0}'),
    frame(b"messageStop", b'{"stopReason": "end_turn"}'),
]


def converse(url):
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
    from botocore.config import Config

    config = Config(retries={"max_attempts": 0})
    keys = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "s", "region_name": "us-east-1"}
    client = boto3.client("bedrock-runtime", endpoint_url=url, config=config, **keys)
    messages = [{"role": "user", "content": [{"text": "?"}]}]
    yield from client.converse_stream(modelId="amazon.nova-lite-v1:0", messages=messages)["stream"]


@pytest.mark.parametrize(
    "end",
    [
        "complete",
        "in a frame",
        *(pytest.param(end, marks=pytest.mark.exhaustive) for end in ("reset", "close", "in a chunk")),
    ],
)
def test_a_stream_of_frames_keeps_each_and_ends_as_it_ended(tmp_path, end):
    path = tmp_path / "tape.yaml"
    frames = FRAMES if end == "complete" else FRAMES[:3]
    options = {"headers": [("Content-Type", "application/vnd.amazon.eventstream"), *CHUNKED[1:]], "end": end}
    pieces = frames
    if end == "in a frame":
        pieces, options["end"] = [*frames, FRAMES[3][:20]], "reset"
    elif end == "in a chunk":
        last = b"%x\r\n%b" % (len(FRAMES[3]), FRAMES[3][:20])
        pieces = [*(b"%x\r\n%b\r\n" % (len(one), one) for one in frames), last]
        options |= {"headers": [options["headers"][0], ("Transfer-Encoding", "chunked")], "end": "close"}
    with loopback.Pieces(pieces, **options, gated=True) as server, On(tape(path)) as recording:
        given, errors = released(server, converse(url := server.url))
    assert (len(given), bool(errors)) == (len(frames), end != "complete")
    sizes = [int(size) for size in str(stream_of(path)["sizes"]).split()]
    assert sizes == list(map(len, [*frames, FRAMES[3][:20]] if end == "in a frame" else frames))
    assert recording.calls[0].state == ("complete" if end == "complete" else "failed")

    with On(tape(path, mode="none")) as played:
        again, errors_again = outcome(converse(url))
    assert (again, errors_again[:1]) == (given, errors[:1])
    assert played.calls[0].pieces == len(sizes)


# -- an SDK above aiohttp ---------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")  # of google-genai's own
def test_geminis_asynchronous_client_is_on_a_tape_chunk_by_chunk(tmp_path):
    genai = pytest.importorskip("google.genai", reason="google-genai is not installed")
    path, fake = tmp_path / "tape.yaml", FakeProvider("gemini").otherwise("Hel", "lo ", "you")

    async def ask():
        async with genai.Client(api_key="k").aio as client:
            stream = await client.models.generate_content_stream(model="gemini-2.5-flash", contents="?")
            return [chunk.text async for chunk in stream]

    with intercept(fake), On(tape(path)):
        real = sdks.run(ask())
    assert len(str(stream_of(path)["sizes"]).split()) == fake.calls[0].pieces > 2
    with On(tape(path, mode="none")) as played:
        assert sdks.run(ask()) == real
    assert (played.calls[0].state, played.calls[0].pieces) == ("complete", fake.calls[0].pieces)
