"""Clients above urllib3, of requests and botocore: the answer comes over a socket in memory, and is that of a real one."""

from __future__ import annotations

import gc
import io
import re
import socket
import subprocess
import sys
import textwrap

import loopback
import pytest
import requests
import urllib3
from faults import FAULTS, patience, provider_of, served
from vectors import each

from fakellm import FakeProvider, Pause, Script, disconnect, http_error, stall
from fakellm.clock import VirtualClock
from fakellm.errors import UnexpectedRequestError
from fakellm.http import intercept

CHAT = "https://api.openai.com/v1/chat/completions"
ASK = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
STREAM = {**ASK, "stream": True}


def fake(*parts, **options):
    return FakeProvider("openai", **options).otherwise(*parts)


def words(count):
    return [f"w{n} " for n in range(count)]


# -- faults -------------------------------------------------------------------------------------------


def by_requests(url, timeouts):
    with requests.Session() as session, session.post(url, json=STREAM, stream=True, timeout=timeouts) as answer:
        yield answer.status_code
        yield from answer.iter_content(None)


def by_lines(url, timeouts):
    with requests.post(url, json=STREAM, stream=True, timeout=timeouts) as answer:
        yield from answer.iter_lines(65536)


def by_urllib3(url, timeouts):
    with urllib3.PoolManager(timeout=urllib3.Timeout(None, *timeouts), retries=False) as pool:
        answer = pool.request("POST", url, json=STREAM, preload_content=False)
        yield answer.status
        yield from answer.stream()


def at_once(url, timeouts):
    with urllib3.PoolManager(timeout=urllib3.Timeout(None, *timeouts), retries=0) as pool:
        answer = pool.request("POST", url, json=STREAM)
        yield answer.status
        yield answer.data


def by_botocore(url, timeouts):
    session, request = botocore_request(url, timeouts)
    answer = session.send(request)
    yield answer.status_code
    yield from answer.raw.stream()
    session.close()


def by_a_streaming_body(url, timeouts):
    body = pytest.importorskip("botocore.response").StreamingBody
    session, request = botocore_request(url, timeouts)
    yield from body(session.send(request).raw, None).iter_lines(65536)


def botocore_request(url, timeouts):
    awsrequest = pytest.importorskip("botocore.awsrequest", reason="botocore is not installed")
    from botocore.httpsession import URLLib3Session

    request = awsrequest.AWSRequest("POST", url, data=b'{"model": "m", "stream": true, "messages": []}')
    request.stream_output = True
    return URLLib3Session(timeout=timeouts), request.prepare()


CLIENTS = [by_requests, by_lines, by_urllib3, at_once, by_botocore, by_a_streaming_body]


def outcome(chunks):
    """Return what an app sees: what it was given, and the errors with their causes."""
    given, errors = [], []
    try:
        for chunk in chunks:
            given.append(chunk)
    except Exception as error:
        while error is not None:
            errors.append((f"{type(error).__module__}.{type(error).__name__}", comparable(str(error))))
            error = error.__cause__ or error.__context__
    return given, errors


def comparable(text):
    """Return a message without what differs between servers: places in memory, ports, the path of each of their APIs."""
    return re.sub(r"0x[0-9a-f]+|port=\d+|(?<=127.0.0.1:)\d+", "N", text).replace("/openai/v1/", "/v1/")


@pytest.mark.exhaustive
@each("client", CLIENTS, ids=lambda client: client.__name__)
@each("name", FAULTS)
def test_a_fault_is_that_of_a_real_socket_for_all_clients(name, client):
    check_fault(name, client)


@each("name", [name for name in FAULTS if "HTTP" not in name or "500" in name])
def test_a_fault_is_that_of_a_real_socket(name):
    check_fault(name, by_requests)


def check_fault(name, client):
    script = FAULTS[name]
    timeouts = patience(script)
    provider = provider_of(script)
    with served(provider, script) as url:
        real = outcome(client(f"{url}/v1/chat/completions", timeouts))
    provider = provider_of(script)
    with intercept(provider):
        assert outcome(client("http://127.0.0.1:1/v1/chat/completions", timeouts)) == real
    assert provider.calls[-1].state in ("complete", "failed", "closed")
    assert (provider.calls[-1].state == "failed") == (provider.calls[-1].error is not None)


def test_a_fault_is_logged_as_what_ended_the_call():
    with intercept(provider := fake(Script("a", "b", disconnect()))):
        given, errors = outcome(by_requests(CHAT, (5, 5)))

    (call,) = provider.calls
    assert (call.state, type(call.error), call.pieces) == ("failed", ConnectionResetError, len(given) - 1)
    assert [name for name, _ in errors] == [
        "requests.exceptions.ChunkedEncodingError", "urllib3.exceptions.ProtocolError", "builtins.ConnectionResetError",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("timeouts", "parts", "now", "error"),
    [
        ((None, 5), [Pause(3), "w", Pause(3), "w", Pause(5), "w"], 11, None),
        ((None, 5), ["w", Pause(3), Pause(3), "w"], 5, requests.ConnectionError),
        ((None, 5), [stall("headers")], 5, requests.ReadTimeout),
        ((2, 5), [stall("connect")], 2, requests.ConnectTimeout),
        (urllib3.Timeout(total=4), [stall("connect")], 4, requests.ConnectTimeout),
    ],
)
def test_timeouts_fall_on_the_virtual_clock_at_their_second(timeouts, parts, now, error):
    provider = fake(Script(*parts), clock=VirtualClock())
    with intercept(provider):
        _, errors = outcome(by_requests(CHAT, timeouts))

    assert (provider.clock.now, errors[0][0] if errors else None) == (
        now, error and f"requests.exceptions.{error.__name__}",
    )  # fmt: skip


# -- streams ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", [by_requests, by_urllib3, by_botocore])
def test_each_piece_of_a_script_comes_alone_and_is_made_when_it_is_read(client):
    made = []

    def tell(request):
        for n in range(200):
            made.append(n)
            yield f"w{n} "

    with intercept(provider := fake(tell)):
        chunks = client(CHAT, (5, 5))
        assert next(chunks) == 200
        for n in range(20):
            assert next(chunks).count(b"data: ") == 1
            assert len(made) <= n + 2
        rest = list(chunks)
    assert 20 + len(rest) == provider.calls[0].pieces
    assert provider.calls[0].state == "complete"


def test_a_piece_of_any_size_comes_whole():
    with intercept(fake(Script("x" * 3_000_000, "y"))):
        given, _ = outcome(by_requests(CHAT, (5, 5)))
    assert max(map(len, given[1:])) > 3_000_000


@pytest.mark.exhaustive
@pytest.mark.parametrize("how", ["close", "drop", "unread", "shutdown"])
@pytest.mark.usefixtures("frozen")
def test_a_stream_that_is_left_early_is_closed(how):
    source = []

    def tell(request):
        try:
            yield from words(5000)
        finally:
            source.append("closed")

    with intercept(provider := fake(tell)), requests.Session() as session:
        answer = session.post(CHAT, json=STREAM, stream=True)
        chunks = answer.iter_content(None)
        if how != "unread":
            next(chunks)
        if how == "close":
            answer.close()
        elif how == "shutdown":
            answer.raw.shutdown()
        else:
            del answer, chunks
        gc.collect()
        (call,) = provider.calls
        assert (call.state, source) == ("closed", ["closed"])
        assert call.pieces == (0 if how == "unread" else 1)


def test_a_response_is_read_on_after_its_session_was_closed():
    """It has its connection, which the session knows no more, as over a real socket."""
    with intercept(provider := fake("Hel", "lo")):
        with requests.Session() as session:
            answer = session.post(CHAT, json=STREAM, stream=True)
        assert b"[DONE]" in answer.content
    assert provider.calls[0].state == "complete"


@pytest.mark.exhaustive
def test_nothing_is_left_to_complain_about():
    code = """
    import gc, requests
    from fakellm import FakeProvider, disconnect, stall
    from fakellm.http.interception import intercept

    ask = {"model": "m", "messages": [{"role": "user", "content": "?"}], "stream": True}
    chat = "https://api.openai.com/v1/chat/completions"
    fake = FakeProvider("openai").reply("a", "b").reply("a", disconnect()).reply("a", stall()).reply(*"abcdef")
    fake.reply(disconnect("refused"))
    with intercept(fake):
        for _ in range(5):
            try:
                answer = requests.post(chat, json=ask, stream=True, timeout=5)
                for line in answer.iter_lines():
                    if b"b" in line:
                        break
            except requests.RequestException:
                pass
        try:
            requests.post(chat, json=ask)
        except BaseException as miss:
            assert "no reply" in str(miss)
    del answer
    gc.collect()
    """

    result = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


# -- requests -----------------------------------------------------------------------------------------


def post(session, url=CHAT, **options):
    answer = session.post(url, **{"json": ASK, "timeout": 5, **options})
    return answer.json()["choices"][0]["message"]["content"]


def test_a_session_is_answered_whenever_it_was_made_and_keeps_no_connection_past_a_fake():
    with requests.Session() as session, loopback.Loopback(fake("real", hosts=["127.0.0.1"])) as server:
        host, url = server.url.removeprefix("http://"), f"{server.url}/v1/chat/completions"
        said = [post(session, url)]
        with intercept(fake("unasked")):
            said += [post(session, url), post(session)]
        with intercept(fake("fake", hosts=[host])), requests.Session() as other:
            said += [post(session, url), post(other, url), post(session)]
        said.append(post(session, url))
    assert said == ["real", "real", "unasked", "fake", "fake", "fake", "real"]


def test_what_is_asked_is_logged():
    with intercept(provider := fake("ok")):
        requests.post(f"{CHAT}?a=1", json=ASK, headers={"Authorization": "Bearer key", "X-App": b"bytes"}, timeout=5)

    (call,) = provider.calls
    assert (call.method, call.url, call.json) == ("POST", f"{CHAT}?a=1", ASK)
    assert (call.headers["Host"], call.headers["X-App"]) == ("api.openai.com", "bytes")


@pytest.mark.parametrize("form", ["bytes", "text", "generator", "file"])
def test_a_body_arrives_whole_in_any_form_and_again_if_it_is_asked_again(form):
    data = b'{"model": "m", "messages": [{"role": "user", "content": "' + b"x" * 300_000 + b'"}]}'
    body = {
        "bytes": lambda: data,
        "text": data.decode,
        "generator": lambda: (data[at : at + 50_000] for at in range(0, len(data), 50_000)),
        "file": lambda: io.BytesIO(data),
    }[form]()
    again = urllib3.Retry(2 if form != "generator" else 0, status_forcelist=[503], allowed_methods=None)

    with intercept(provider := FakeProvider("openai").reply(*([http_error(503)] if again.total else ["ok"]))):
        provider.otherwise("ok")
        with urllib3.PoolManager(retries=again) as pool:
            assert pool.request("POST", CHAT, body=body).status == 200
    assert [len(call.json["messages"][0]["content"]) for call in provider.calls] == [300_000] * (1 + again.total // 2)


@each(
    "url, proxy",
    [
        (CHAT, "http://127.0.0.1:9"),
        (CHAT, "https://127.0.0.1:9"),
        (CHAT.replace("https", "http"), "http://127.0.0.1:9"),
    ],
)
def test_a_request_through_a_proxy_is_answered(url, proxy):
    with intercept(provider := fake("ok")), requests.Session() as session:
        session.proxies = {"http": proxy, "https": proxy}
        assert post(session, url) == post(session, url) == "ok"
    assert [call.url for call in provider.calls] == [url, url]


def test_who_trusts_everybody_is_warned_as_ever():
    with intercept(fake("ok")), requests.Session() as session:
        with pytest.warns(urllib3.exceptions.InsecureRequestWarning):
            assert post(session, verify=False) == "ok"
        assert post(session) == "ok"


def test_a_leave_to_send_is_not_waited_for():
    session, request = botocore_request(CHAT, (5, 5))
    request.headers["Expect"] = b"100-continue"
    with intercept(fake("ok")):
        assert session.send(request).status_code == 200


@pytest.mark.exhaustive
def test_urllib3_is_answered_also_where_it_is_loaded_later():
    code = """
    import sys
    from fakellm import FakeProvider
    from fakellm.http.interception import intercept

    with intercept(FakeProvider("openai").otherwise("ok")):
        assert "urllib3" not in sys.modules
        import requests
        ask = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
        said = requests.post("https://api.openai.com/v1/chat/completions", json=ask).json()
        print(said["choices"][0]["message"]["content"])
    """

    result = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)

    assert (result.stdout, result.stderr) == ("ok\n", "")


# -- what is refused ----------------------------------------------------------------------------------


def test_a_miss_is_raised_in_the_app_and_is_no_exception():
    with intercept(provider := FakeProvider("openai")):
        with pytest.raises(UnexpectedRequestError, match="nothing was scripted"):
            outcome(by_requests(CHAT, (5, 5)))
    assert len(provider.calls) == len(provider.misses) == 1


@pytest.mark.parametrize("client", [by_requests, by_urllib3, by_botocore])
def test_a_provider_that_is_not_faked_is_not_reached_and_the_request_is_named(client):
    with intercept() as interception:
        with pytest.raises(UnexpectedRequestError, match=re.escape(f"POST {CHAT} would have left this machine")):
            outcome(client(CHAT, (5, 5)))
    assert len(interception.guard.misses) == 1


def test_a_pooled_connection_is_not_used_for_what_is_refused():
    one, other = socket.socketpair()
    pool = urllib3.HTTPConnectionPool("api.anthropic.com")
    conn = pool._get_conn()
    conn.sock = one
    pool._put_conn(conn)
    with other, intercept(), pytest.raises(UnexpectedRequestError, match="POST http://api.anthropic.com/v1/messages"):
        pool.request("POST", "/v1/messages", body=b"")
    assert one.fileno() == -1


def test_a_tape_of_vcrpys_own_is_not_asked_for_what_is_faked(tmp_path):
    import vcr

    with vcr.VCR(record_mode="none").use_cassette(str(tmp_path / "none.yaml")), requests.Session() as session:
        with intercept(provider := fake("ok")):
            assert post(session) == post(session) == "ok"
    assert [call.state for call in provider.calls] == ["complete", "complete"]
