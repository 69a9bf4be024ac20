"""Which request is which, and the edges of recording: what an app may do to a tape, and what the tape makes of it."""

from __future__ import annotations

import asyncio
import gzip
import importlib
import io
import threading
import tracemalloc

import loopback
import openai
import pytest
import sdks
import trio
import yaml
from taping import CHUNKED, CUTS, On, fetch, flavours, libraries, stored, tape
from vcr.request import Request
from vectors import each

from fakellm import FakeProvider
from fakellm.cassette.document import CassetteError
from fakellm.cassette.matching import MATCH_ON, json_matcher, key_of, url_matcher
from fakellm.cassette.recorder import ERRORS
from fakellm.clock.clock import InstantClock
from fakellm.errors import UnexpectedRequestError
from fakellm.http.interception import Interception
from fakellm.secrets.shapes import PLACEHOLDER

JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}


def asked(body=b"", uri="http://h/p", method="POST", headers=JSON):
    return Request(method, uri, body, headers)


def parts(boundary, **fields):
    """Return a request whose body is a form in parts."""
    body = b""
    for name, value in fields.items():
        file, data = value if isinstance(value, tuple) else (None, value)
        shown = f'; filename="{file}"' if file else ""
        body += (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{shown}\r\n\r\n'.encode() + data + b"\r\n"
        )
    kind = {"content-type": f"multipart/form-data; boundary={boundary}"}
    return asked(body + f"--{boundary}--\r\n".encode(), headers=kind)


SAME = [
    ("the order of JSON's keys", asked(b'{"a": 1, "b": 2}'), asked(b'{"b":2,"a":1}'), ()),
    ("an ignored field", asked(b'{"a": 1, "seed": 1}'), asked(b'{"a": 1}'), ("seed",)),
    ("an ignored path", asked(b'{"m": {"id": 1}}'), asked(b'{"m": {"id": 2}}'), ("m.id",)),
    ("an ignored path in a list", asked(b'{"m": [{"id": 1}]}'), asked(b'{"m": [{"id": 2}]}'), ("m[0].id",)),
    ("the order of a query", asked(uri="http://h/p?a=1&b=2"), asked(uri="http://h/p?b=2&a=1"), ()),
    ("an ignored field of a form", asked(b"a=1&t=2", headers=FORM), asked(b"t=3&a=1", headers=FORM), ("t",)),
    ("the boundary of parts", parts("one", a=b"1", f=("x.bin", b"\xff\r\n--")), parts("two", a=b"1", f=("x.bin", b"\xff\r\n--")), ()),
]  # fmt: skip
OTHER = [
    ("another value", asked(b'{"a": 1}'), asked(b'{"a": 2}'), "a: recorded 1 / sent 2"),
    ("a truth for a number", asked(b'{"a": 1}'), asked(b'{"a": true}'), "a: recorded 1 / sent true"),
    ("one message more", asked(b'{"m": [1]}'), asked(b'{"m": [1, 2]}'), "m[1]: recorded nothing / sent 2"),
    ("no body", asked(b'{"a": 1}'), asked(b""), 'body: recorded {"a": 1} / sent null'),
    ("a repeated parameter", asked(uri="http://h/p?a=1&a=9"), asked(uri="http://h/p?a=2&a=9"), 'url.query.a[0]: recorded "1" / sent "2"'),
    ("an empty parameter", asked(uri="http://h/p?a="), asked(uri="http://h/p"), 'url.query.a: recorded "" / sent nothing'),
    ("another port", asked(uri="http://h:1/p"), asked(uri="http://h:2/p"), "url.port: recorded 1 / sent 2"),
    ("another file", parts("x", f=("a.txt", b"1")), parts("x", f=("b.txt", b"1")), 'f.filename: recorded "a.txt" / sent "b.txt"'),
    ("another content", parts("x", f=("a", b"1")), parts("x", f=("a", b"2")), 'f.content: recorded "1" / sent "2"'),
    ("another field of a form", asked(b"a=1", headers=FORM), asked(b"a=2", headers=FORM), 'a: recorded "1" / sent "2"'),
    ("other bytes", asked(b"\xff\x00"), asked(b"\xff\x01"), "body: recorded b'\\xff\\x00' / sent b'\\xff\\x01'"),
]  # fmt: skip


def differences(sent, recorded, ignore=()):
    found = []
    for matcher in (url_matcher, json_matcher(ignore)):
        try:
            matcher(sent, recorded)
        except AssertionError as error:
            found += str(error).split("\n")
    return found


@pytest.mark.parametrize(("one", "other", "ignore"), [case[1:] for case in SAME], ids=[case[0] for case in SAME])
def test_requests_that_say_the_same_are_the_same_for_matching_and_for_merging(one, other, ignore):
    key = key_of(MATCH_ON, ignore)

    assert differences(other, one, ignore) == []
    assert key(one) == key(other)
    assert hash(key(one)) == hash(key(other))


@each(("one", "other", "why"), [case[1:] for case in OTHER], ids=[case[0] for case in OTHER])
def test_requests_that_say_something_else_are_others_for_matching_and_for_merging(one, other, why):
    assert differences(other, one) == [why]
    assert key_of(MATCH_ON)(one) != key_of(MATCH_ON)(other)


def test_what_was_redacted_stands_for_anything_but_nothing():
    recorded = asked(
        f'{{"a": "my key is {PLACEHOLDER}, {PLACEHOLDER}."}}'.encode(), uri=f"http://h/p?key={PLACEHOLDER}"
    )

    assert differences(asked(b'{"a": "my key is one, t\\nwo."}', uri="http://h/p?key=x"), recorded) == []
    assert differences(asked(b'{"a": "my key is , ."}', uri="http://h/p?key=x"), recorded) != []
    assert differences(asked(b'{"a": "my name is one, two."}', uri="http://h/p?key=x"), recorded) != []


def test_a_matcher_of_ones_own_merges_only_what_is_the_same_in_all():
    key = key_of(("method", "mine"))

    assert key(asked(b'{"a": 1}')) == key(asked(b'{"a":1}'))
    assert key(asked(b'{"a": 1}')) != key(asked(b'{"a": 2}'))
    assert key_of(("method", "path"))(asked(b"1")) == key_of(("method", "path"))(asked(b"2", uri="http://other/p"))
    for names in ("uri", "body", "raw_body", "headers", "query", "scheme", "host", "port"):
        assert key_of((names,))(asked(b"1")) == key_of((names,))(asked(b"1"))


# -- what is sent ------------------------------------------------------------------------------------------


def document(body=b'{"text": "hi"}'):
    return loopback.Pieces([body], headers=[("content-type", "application/json"), ("content-length", str(len(body)))])


def test_an_upload_of_the_official_sdk_plays_though_its_boundary_is_another(tmp_path):
    path = tmp_path / "tape.yaml"

    def transcribe(url, data):
        with openai.OpenAI(api_key="none", base_url=url, max_retries=0) as client:
            return client.audio.transcriptions.create(model="m", file=("a.wav", io.BytesIO(data))).text

    with document() as server, On(tape(path)):
        assert transcribe(server.url, b"RIFF\xff\x00") == "hi"
        url = server.url
    with On(tape(path, mode="none")):
        assert transcribe(url, b"RIFF\xff\x00") == "hi"
    with On(tape(path, mode="none")), pytest.raises(UnexpectedRequestError, match=r"file\.content: recorded"):
        transcribe(url, b"RIFF\xff\x01")


@libraries
@flavours
def test_a_body_that_is_generated_goes_out_whole_and_is_matched(tmp_path, library, asynchronous):
    path, module = tmp_path / "tape.yaml", importlib.import_module(library)

    def pieces():
        yield b'{"a"'
        yield b": 1}"

    async def apieces():
        for piece in pieces():
            yield piece

    async def main(url):
        async with module.AsyncClient() as client:
            return (await client.post(url, content=apieces(), headers={"content-length": "8"})).json()

    def post(url):
        if asynchronous:
            return sdks.run(main(url))
        with module.Client() as client:
            return client.post(url, content=pieces(), headers={"content-length": "8"}).json()

    with document() as server, On(tape(path)):
        assert post(server.url) == {"text": "hi"}
        assert server.seen == [b'{"a": 1}']
        url = server.url
    with On(tape(path, mode="none")):
        assert post(url) == {"text": "hi"}


def test_a_request_that_held_a_secret_before_it_was_known_as_one_is_found(tmp_path):
    path, secret = tmp_path / "tape.yaml", "correct-horse-7f3a9c-battery"

    def session(url, key):
        fetch("httpx2", False, url, body={"prompt": f"the word is {key}"})
        with importlib.import_module("httpx2").Client() as client:
            client.post(url, json={"n": 2}, headers={"authorization": f"Bearer {key}"})

    with document() as server, On(tape(path)):
        session(server.url, secret)
        url = server.url
    assert secret not in path.read_text()
    with On(tape(path, mode="none")) as played:
        session(url, secret)
        assert played.unplayed == []


def test_a_function_may_match(tmp_path):
    path = tmp_path / "tape.yaml"

    def first_word(sent, recorded):
        assert sent.body[:10] == recorded.body[:10]

    with document() as server, On(tape(path, match_on=["method", first_word])):
        fetch("httpx2", False, server.url, body={"a": "hello world"})
        url = server.url
    with On(tape(path, mode="none", match_on=["method", first_word])):
        fetch("httpx2", False, f"{url}/elsewhere", body={"a": "hello you"})


def test_tapes_of_two_workers_are_merged_as_they_match(tmp_path):
    options = {"mode": "new_episodes", "ignore": ["id"]}
    one, two = (tape(tmp_path / "tape.yaml", **options) for _ in range(2))
    interception = Interception()
    with document() as server, interception.on(), one.open(), two.open():  # as in two processes
        for interception.tape, body in ((one, {"a": 1, "id": 1}), (two, {"a": 1, "id": 2}), (two, {"a": 2, "id": 3})):
            fetch("httpx2", False, server.url, body=body)
    assert len(stored(one.path)) == 2


# -- record modes -------------------------------------------------------------------------------------------


def bodies(path):
    return [(yaml.safe_load(i["request"]["body"])["n"], i["response"]["body"]["string"]) for i in stored(path)]


@pytest.fixture
def counting():
    """A server that answers with how often it was asked."""

    class Counting(loopback.Pieces):
        def body(self, _):
            yield [str(len(self.seen)).encode()]

    with Counting([], headers=CHUNKED) as server:
        yield lambda *numbers: [fetch("httpx2", False, server.url, body={"n": n})[0][0] for n in numbers]


def test_mode_all_puts_what_is_new_where_the_old_was(tmp_path, counting):
    path = tmp_path / "tape.yaml"
    with On(tape(path, mode="all")):
        counting(1, 2, 2, 3)
    assert bodies(path) == [(1, "1"), (2, "2"), (2, "3"), (3, "4")]

    with On(tape(path, mode="all")) as recording:
        counting(2, 2, 2, 4)
    assert recording.recorded == 4
    assert bodies(path) == [(1, "1"), (2, "5"), (2, "6"), (2, "7"), (3, "4"), (4, "8")]
    with On(tape(path, mode="all")):
        counting(3, 2)
    assert bodies(path) == [(1, "1"), (2, "10"), (3, "9"), (4, "8")]


def test_mode_all_may_drop_what_was_not_asked_for(tmp_path, counting):
    path = tmp_path / "tape.yaml"
    with On(tape(path, mode="all")):
        counting(1, 2)
    with On(tape(path, mode="all", drop_unused_requests=True)):
        counting(2)
    assert bodies(path) == [(2, "3")]


def test_mode_new_episodes_plays_what_is_there_and_adds_the_rest_at_the_end(tmp_path, counting):
    path = tmp_path / "tape.yaml"
    with On(tape(path)):
        counting(1, 2)
    with On(tape(path, mode="new_episodes")) as recording:
        assert counting(3, 1, 3, 1, 2) == [b"3", b"1", b"4", b"5", b"2"]
    assert recording.recorded == 3
    assert bodies(path) == [(1, "1"), (2, "2"), (3, "3"), (3, "4"), (1, "5")]


def test_a_tape_may_be_opened_twice_with_its_hooks(tmp_path, counting):
    seen = []
    recording = tape(tmp_path / "tape.yaml", mode="new_episodes", before_record_request=lambda r: seen.append(1) or r)
    for number in (1, 2):
        seen.clear()
        with On(recording):
            counting(number)
        assert seen
    assert len(recording) == 2


def test_what_a_hook_keeps_off_the_tape_goes_its_way(tmp_path, counting):
    path = tmp_path / "tape.yaml"
    with On(tape(path, mode="none", before_record_request=lambda request: None)):
        assert counting(1, 1) == [b"1", b"2"]
    assert not path.exists()


# -- what comes back ------------------------------------------------------------------------------------------


@libraries
@flavours
def test_a_split_of_eleven_chunks_in_two_plays_as_twenty_two(tmp_path, library, asynchronous):
    path = tmp_path / "tape.yaml"
    whole = [f"data: {n} \u00e9\U0001f600\n\n".encode() for n in range(11)]
    halves = [half for piece in whole for half in (piece[:-5], piece[-5:])]  # inside of the emoji
    with loopback.Pieces(halves, headers=CHUNKED, gated=True) as server, On(tape(path)):
        server.release()
        assert fetch(library, asynchronous, server.url, between=server.release)[0] == halves
        url = server.url
    for replaying in ("httpx", "httpx2"):
        with On(tape(path, mode="none")):
            chunks, error = fetch(replaying, asynchronous, url)
            assert (len(chunks), chunks, error) == (22, halves, None)


@libraries
@flavours
def test_twelve_chunks_fifty_milliseconds_apart_play_at_the_very_times(tmp_path, library, asynchronous):
    path, now = tmp_path / "tape.yaml", InstantClock()
    cuts = (CUTS * 2)[:12]

    def go():
        now.sleep(0.05)
        server.release()

    with loopback.Pieces(cuts, headers=CHUNKED, gated=True) as server, On(tape(path, now=lambda: now.now)):
        server.release()
        assert fetch(library, asynchronous, server.url, between=go)[0] == cuts
        url = server.url
    clock, times = InstantClock(), []
    with On(tape(path, mode="none", timing=clock)):
        assert fetch(library, asynchronous, url, between=lambda: times.append(clock.now))[0] == cuts
    assert times == pytest.approx([0.05 * n for n in range(12)], abs=0.0051)


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/jsonl", "text/event-stream; charset=utf-8"])
def test_a_stream_whose_length_is_known_keeps_its_chunks(tmp_path, kind):
    path, lines = tmp_path / "tape.yaml", [b'{"a":1}\n', b'{"a":2}\n', b'{"a":3}\n']
    headers = [("content-type", kind), ("content-length", str(sum(map(len, lines))))]
    with loopback.Pieces(lines, headers=headers, gated=True) as server, On(tape(path)):
        server.release()
        assert fetch("httpx2", False, server.url, between=server.release)[0] == lines
        url = server.url
    with On(tape(path, mode="none")):
        assert fetch("httpx2", False, url) == (lines, None)


def test_an_app_that_stops_where_a_body_of_known_length_ends_has_read_it_whole(tmp_path):
    path, lines = tmp_path / "tape.yaml", [b"data: 1\n\n", b"data: 2\n\n"]
    headers = [("content-type", "text/event-stream"), ("content-length", "18")]
    with loopback.Pieces(lines, headers=headers, gated=True) as server, On(tape(path)):
        server.release()
        fetch("httpx2", False, server.url, between=server.release, take=2)
        url = server.url
    assert stored(path)[0]["response"]["stream"]["end"] == "complete"
    with On(tape(path, mode="none")):
        assert fetch("httpx2", False, url) == (lines, None)


@pytest.mark.exhaustive
@libraries
@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_a_response_without_a_body_is_whole_read_or_not_and_keeps_its_headers(tmp_path, library, method, status):
    path, module = tmp_path / "tape.yaml", importlib.import_module(library)
    headers = [] if status == 204 else [("content-length", "1234")]
    seen = []
    with loopback.Pieces([], headers=headers, status=status) as server:
        for mode in ("once", "none"):
            with On(tape(path, mode=mode)), module.Client() as client:
                with client.stream(method, f"{server.url}/unread") as response:
                    seen.append((response.status_code, response.headers.get("content-length")))
                response = client.request(method, server.url)
                seen.append((response.status_code, response.headers.get("content-length")))
                assert response.content == b""
        assert len(server.seen) == 2
    assert set(seen) == {(status, None if status == 204 else "1234")}
    assert all("stream" not in interaction["response"] for interaction in stored(path))


@libraries
@flavours
def test_a_body_that_cannot_be_decoded_raises_the_clients_own_error_both_times(tmp_path, library, asynchronous):
    path, module = tmp_path / "tape.yaml", importlib.import_module(library)
    packed = bytearray(gzip.compress(b"data: 1\n\n" * 50))
    packed[len(packed) // 2] ^= 0xFF
    headers = [*CHUNKED, ("content-encoding", "gzip")]
    with loopback.Pieces([bytes(packed)], headers=headers) as server, On(tape(path)):
        first = fetch(library, asynchronous, server.url)
        url = server.url
    assert first[1] is module.DecodingError
    with On(tape(path, mode="none")):
        assert fetch(library, asynchronous, url) == first


def test_each_hop_of_a_redirect_and_each_cookie_is_on_the_tape(tmp_path):
    path = tmp_path / "tape.yaml"

    class Hops(loopback.Pieces):
        def handle(self, method, url, headers, body):
            self.seen.append(url)
            is_first = url.endswith("/first")
            self.status = 302 if is_first else 200
            self.headers = [("location", "/second")] if is_first else [("set-cookie", "a=1"), ("set-cookie", "b=2")]
            self.headers.append(("content-length", "0" if is_first else "2"))
            return self

        def body(self, _):
            yield [] if self.status == 302 else [b"ok"]

    with Hops([]) as server:
        for mode in ("once", "none"):
            with On(tape(path, mode=mode)), importlib.import_module("httpx2").Client(follow_redirects=True) as client:
                response = client.get(f"{server.url}/first")
                assert (response.text, [hop.status_code for hop in response.history]) == ("ok", [302])
                assert set(client.cookies) == {"a", "b"}
        assert len(server.seen) == 2
    assert len(stored(path)) == 2


def test_a_tape_that_ends_with_an_exception_of_no_http_library_is_refused(tmp_path):
    path = tmp_path / "tape.yaml"
    with loopback.Pieces(CUTS[:2], headers=CHUNKED, end="reset") as server, On(tape(path)):
        fetch("httpx2", False, server.url)
    path.write_text(broken := path.read_text().replace("error: ReadError", "error: Boom"))
    for mode in ("none", "all"):
        with pytest.raises(
            CassetteError, match=r"tape\.yaml, interactions\.0\..*\.error: httpx has no exception 'Boom'"
        ):
            tape(path, mode=mode).open().__enter__()
    assert path.read_text() == broken


@libraries
def test_the_exceptions_that_may_end_a_stream_are_all_that_the_library_has(library):
    module = importlib.import_module(library)
    kinds = {
        name
        for name, kind in vars(module).items()
        if isinstance(kind, type) and issubclass(kind, module.TransportError)
    }

    assert kinds - {"SSEError"} | {"DecodingError"} == set(ERRORS)  # one of httpx2's is not of the connection


@pytest.mark.parametrize("after", [-1, True, 1.0, None])
def test_a_number_of_chunks_is_one(tmp_path, after):
    from fakellm import disconnect

    with pytest.raises(ValueError, match="after is a number of chunks from 0 up"):
        tape(tmp_path / "a.yaml").fail(disconnect(), after=after)


# -- several at once, and the end of the tape ------------------------------------------------------------------


class Late(loopback.Pieces):
    """Answers the first request only once the second was answered."""

    def __init__(self):
        super().__init__([], headers=CHUNKED)
        self.is_first_in, self.is_second_done = threading.Event(), threading.Event()

    def handle(self, method, url, headers, body):
        super().handle(method, url, headers, body)
        if b"first" in body:
            self.is_first_in.set()
            self.is_second_done.wait(5)
        return self

    def body(self, _):
        yield [b"x"]


def test_requests_are_on_the_tape_in_the_order_in_which_they_were_sent(tmp_path):
    path = tmp_path / "tape.yaml"
    with Late() as server, On(tape(path)):
        first = threading.Thread(target=fetch, args=("httpx2", False, server.url), kwargs={"body": {"n": "first"}})
        first.start()
        server.is_first_in.wait(5)
        fetch("httpx2", False, server.url, body={"n": "second"})
        server.is_second_done.set()
        first.join()
    assert [yaml.safe_load(i["request"]["body"])["n"] for i in stored(path)] == ["first", "second"]


@pytest.mark.parametrize("run", [asyncio.run, trio.run], ids=["asyncio", "trio"])
@libraries
@pytest.mark.exhaustive
def test_streams_of_several_tasks_are_recorded_and_played_each_by_its_request(tmp_path, library, run):
    path, module = tmp_path / "tape.yaml", importlib.import_module(library)
    provider = FakeProvider("openai", hosts=["127.0.0.1"]).otherwise(lambda request: [*request.text, " ", "!"])

    async def all_of(url):
        found = {}

        async def one(client, n):
            body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": n * 3}]}
            async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
                found[n] = [chunk async for chunk in response.aiter_bytes()]

        async with module.AsyncClient() as client:
            if run is trio.run:
                async with trio.open_nursery() as nursery:
                    for n in "abcdef":
                        nursery.start_soon(one, client, n)
            else:
                await asyncio.gather(*(one(client, n) for n in "abcdef"))
        return found

    with loopback.Loopback(provider) as server, On(tape(path)):
        first = run(all_of, server.url) if run is trio.run else run(all_of(server.url))
        url = server.url
    with On(tape(path, mode="none")):
        assert (run(all_of, url) if run is trio.run else run(all_of(url))) == first
    assert len(stored(path)) == 6


@pytest.mark.parametrize("run", [asyncio.run, trio.run], ids=["asyncio", "trio"])
def test_a_cancelled_task_leaves_what_it_had_read(tmp_path, run):
    path = tmp_path / "tape.yaml"

    async def main(url, cancelling):
        async with importlib.import_module("httpx2").AsyncClient() as client, client.stream("POST", url) as response:
            async for _ in response.aiter_bytes():
                cancelling()

    async def in_asyncio(url):
        task = asyncio.current_task()
        with pytest.raises(asyncio.CancelledError):
            await main(url, task.cancel)
        task.uncancel()

    async def in_trio(url):
        with trio.CancelScope() as scope:
            await main(url, scope.cancel)
        assert scope.cancelled_caught

    with loopback.Pieces(CUTS, headers=CHUNKED, gated=True) as server, On(tape(path)) as recording:
        server.release()
        trio.run(in_trio, server.url) if run is trio.run else asyncio.run(in_asyncio(server.url))
        assert recording.calls[0].state == "closed"
    stream = stored(path)[0]["response"]["stream"]
    assert (stream["sizes"], stream["end"], stream["error"]) == (1, "cancelled", None)


def test_what_is_still_read_when_the_tape_ends_is_kept_as_far_and_goes_on(tmp_path):
    path, chunks = tmp_path / "tape.yaml", []
    client = importlib.import_module("httpx2").Client()
    with loopback.Pieces(CUTS, headers=CHUNKED, gated=True) as server, client:
        with On(tape(path)) as recording:
            server.release()
            response = client.send(client.build_request("POST", server.url), stream=True)
            pieces = response.iter_bytes()
            chunks.append(next(pieces))
        before = path.read_text()
        for _ in CUTS * 2:
            server.release()
        chunks += list(pieces)
        response.close()
        assert client.post(server.url).content == b"".join(CUTS)
    assert chunks == CUTS
    assert stored(path)[0]["response"]["stream"]["sizes"] == 1
    assert (path.read_text(), recording.recorded, len(recording.calls)) == (before, 1, 1)


def test_an_answer_that_comes_after_the_end_of_the_tape_is_the_apps_alone(tmp_path):
    path, found = tmp_path / "tape.yaml", []
    with Late() as server:
        first = threading.Thread(target=lambda: found.append(fetch("httpx2", False, server.url, body={"n": "first"})))
        with On(tape(path)):
            first.start()
            server.is_first_in.wait(5)
            fetch("httpx2", False, server.url, body={"n": "second"})
        server.is_second_done.set()
        first.join()
    assert found == [([b"x"], None)]
    assert len(stored(path)) == 1


def test_of_two_tapes_the_inner_one_answers_and_both_record(tmp_path):
    outer, inner = tmp_path / "outer.yaml", tmp_path / "inner.yaml"
    with loopback.Pieces(CUTS[:3], headers=CHUNKED) as server:
        with On(tape(outer)):
            fetch("httpx2", False, server.url, body={"n": 1})
            with On(tape(inner)):
                assert b"".join(fetch("httpx2", False, server.url, body={"n": 2})[0]) == b"".join(CUTS[:3])
            fetch("httpx2", False, server.url, body={"n": 3})
        with On(tape(outer, mode="none")) as played:
            fetch("httpx2", False, server.url, body={"n": 1})
            with On(tape(inner, mode="none")):
                fetch("httpx2", False, server.url, body={"n": 2})
            assert played.play_count == 1
        assert len(server.seen) == 3
    assert (len(stored(outer)), len(stored(inner))) == (3, 1)


@pytest.mark.exhaustive
def test_fifty_megabytes_are_recorded_without_being_held_twice(tmp_path):
    size, piece = 50 * 2**20, b"\0" * 2**20
    headers = [("content-type", "application/octet-stream"), ("content-length", str(size))]

    class Large(loopback.Pieces):
        def body(self, _):
            for _ in range(50):
                yield [piece]

    with Large([], headers=headers) as server:
        recording = tape(tmp_path / "tape.yaml", before_save_interaction=lambda *_: None)
        with On(recording), importlib.import_module("httpx2").Client() as client:
            tracemalloc.start()
            try:
                with client.stream("GET", server.url) as response:
                    total = sum(map(len, response.iter_raw()))
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            kept = recording._sent[0].recording.response["body"]["string"]
            assert (total, len(kept)) == (size, size)
            del kept
            recording._sent.clear()
    assert peak < 1.5 * size
