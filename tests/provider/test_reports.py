"""What a test that failed shows of requests, whoever answered them."""

from __future__ import annotations

import random
import re
import string

import httpx
import pytest
from places import ROOT

from fakellm import FakeChatModel, FakeLLM, FakeProvider
from fakellm.cassette import Tape
from fakellm.clock import VirtualClock, compare
from fakellm.errors import BrokenReplyError, UnexpectedCallError, UnexpectedRequestError
from fakellm.http import playing, transport
from fakellm.provider.actions import Timeouts
from fakellm.wire.objects import dump


def test_a_tape_shows_what_was_asked_and_what_the_client_took():
    messages = [{"role": "user", "content": "Say hello in five languages."}]
    asked = {"model": "tiny-llama", "messages": messages, "stream": True, "max_tokens": 60}
    with playing(Tape(ROOT / "cassettes" / "chat.yaml", mode="none")) as tape:
        httpx.post("http://127.0.0.1:8123/v1/chat/completions", json=asked)

    first, *more = tape.report().splitlines()
    assert first.startswith("ProviderCall 1: POST http://127.0.0.1:8123/v1/chat/completions complete, 200, ")
    assert more[:2] == ["  model='tiny-llama' stream=True", "  user: 'Say hello in five languages.'"]
    assert more[2].startswith("  chunks: 'Hello' '!' ' ¡' 'Hol' ")


# -- what is secret -----------------------------------------------------------------------------------

ALNUM = string.digits + string.ascii_letters
OWN = "a1B2" + "".join(random.Random(4).choices(ALNUM, k=36))  # a key without a form of its own
KEY = "gs" + "k_" + "".join(random.Random(1).choices(ALNUM, k=52))
PASSWORD = "pw7Kx93mQ2zz"
GEMINI = f"https://me:{PASSWORD}@generativelanguage.googleapis.com/v1beta/models/g:generateContent?key={OWN}&alt=json"


def asked(text):
    return dump({"contents": [{"role": "user", "parts": [{"text": text}]}]})


def hidden(told):
    """Return a text, if nothing of what is secret is in it."""
    assert not any(secret in told for secret in (OWN, KEY, PASSWORD, OWN[:20], KEY[-20:])), told
    return told


def test_a_request_is_shown_without_its_credentials():
    fake = FakeProvider("gemini").reply(f"You sent {OWN}, and ", KEY[:20], KEY[20:])
    headers = {"authorization": f"Bearer {OWN[::-1]}"}
    for piece in fake.handle("POST", GEMINI, headers, asked(f"{OWN[::-1]} " * 30)).body(Timeouts()):
        list(piece)
    (call,) = fake.calls

    assert "models/g:generateContent?key=REDACTED&alt=json" in hidden(call.asked())
    assert "https://REDACTED@generativelanguage" in hidden(repr(call))
    assert OWN[::-1] not in hidden(fake.report())
    call.error = OSError(f"no route for {GEMINI} of {KEY}")
    assert "no route for" in hidden(repr(call))
    assert call.url == GEMINI  # for the test


def test_a_miss_tells_no_credentials():
    fake = FakeProvider("gemini").when(f"no {OWN}", "no").when(re.compile("!"), "yes", json={"contents": 1})
    with pytest.raises(UnexpectedRequestError) as miss:
        fake.handle("POST", GEMINI, {"x-token-of-mine": KEY}, asked(f"{OWN} {'.' * 150} {KEY}"))
    assert "key=REDACTED" in hidden(str(miss.value))
    assert "Script('no')" in hidden(str(miss.value))
    with pytest.raises(UnexpectedRequestError) as miss:
        fake.handle("GET", GEMINI.replace(":generateContent", "/files"), {}, b"")
    hidden(str(miss.value))
    fake.hosts = ()
    fake.note_passed("POST", GEMINI.replace("generativelanguage.googleapis.com", "localhost"))
    assert "went past the fake gemini" in hidden(fake.report())
    with pytest.raises(AssertionError) as left:
        fake.verify(allow_misses=True)
    hidden(str(left.value))


def test_a_reply_that_breaks_tells_no_credentials():
    def broken(request):
        raise KeyError(f"{request.text} {'.' * 1000} {KEY}")

    fake = FakeProvider("gemini").reply(broken)
    with pytest.raises(BrokenReplyError, match="could not be answered: KeyError") as error:
        fake.handle("POST", GEMINI, {}, asked(OWN))
    hidden(str(error.value))
    hidden(fake.report())


def test_what_a_model_is_asked_and_answers_is_shown_without_keys():
    for fake in (FakeLLM, FakeChatModel):
        model = fake().reply("Your key is ", KEY[:3], KEY[3:], ".")
        list(model.stream(f"I am {KEY}, {'.' * 100} {KEY}"))
        assert "REDACTED" in hidden(model.report())
        hidden(repr(model.calls[0]))
        with pytest.raises(UnexpectedCallError) as miss:
            model.invoke(f"{'.' * 20} {KEY}")
        hidden(str(miss.value))


def said_in_raw_chunks():
    """Yield the time lines of streams that say a key in pieces: events, reads that cut them anywhere, and objects."""
    told = [f'data: {{"id": "", "content": "{part}", "number": 1}}\n\n'.encode() for part in ["", *KEY, "", " it's "]]
    body = b"".join(told)
    cut = [body[at : at + 23] for at in range(0, len(body), 23)]
    for chunks in (told, cut, [{"content": part} for part in KEY], list(KEY)):
        timeline = VirtualClock().timeline
        list(timeline.stream("POST x").each(chunks))
        yield timeline.report()


def test_the_time_line_shows_no_key():
    clock = VirtualClock()
    fake = FakeProvider("gemini", clock=clock).reply(OWN, "Hello", KEY)
    url = GEMINI.replace(":generateContent", ":streamGenerateContent").replace("alt=json", "alt=sse")
    with httpx.Client(transport=transport(fake, httpx)) as client:
        client.post(url, content=asked("?"))
    model = FakeLLM(clock=clock).reply("Your key is ", KEY[:30], KEY[30:], ".")
    list(model.stream(KEY))
    assert "key=REDACTED" in hidden(clock.report())
    assert "Your key is" in clock.report()
    hidden(repr(clock.streams))
    for told in said_in_raw_chunks():
        assert told.count("REDACTED") == 1
        assert "chunk    [1]" in told
        assert re.findall(r"(?:content\W{3,5}|\] ')([A-Za-z0-9])['\"]", told) == []
    moments = clock.timeline.moments
    with pytest.raises(AssertionError) as parted:
        compare(moments, [*moments[:-1], moments[0]])
    hidden(str(parted.value))
