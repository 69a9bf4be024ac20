"""What people are shown of a tape: what was sent, and what is on it, without credentials."""

from __future__ import annotations

import random
import string

import httpx
import loopback
import pytest
import requests
from taping import stored

from fakellm.cassette import Redactor, Tape
from fakellm.cassette.run import unasked
from fakellm.errors import UnexpectedRequestError
from fakellm.http import playing

ALNUM = string.digits + string.ascii_letters
OWN = "a1B2" + "".join(random.Random(4).choices(ALNUM, k=36))
NAMED = "plain words as a secret"
PASSWORD = "pw7Kx93mQ2zz"
URL = f"http://me:{PASSWORD}@x.test/v1/m?key={OWN}"
TAPE = f"""version: 1
interactions:
- request: {{method: POST, uri: "{URL}&n=1", headers: {{}}, body: "{{\\"a\\": \\"{NAMED}\\"}}"}}
  response: {{status: {{code: 200, message: OK}}, headers: {{}}, body: {{string: "hello"}}}}
"""


def hidden(told):
    """Return a text, if nothing of what is secret is in it."""
    assert not any(secret in told for secret in (OWN, NAMED, PASSWORD, OWN[:20])), told
    return told


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "tape.yaml"
    path.write_text(TAPE)
    return path


@pytest.mark.parametrize("post", [httpx.post, requests.post], ids=["httpx", "requests"])
def test_a_miss_shows_no_credential_of_what_was_sent_or_is_on_the_tape(path, post):
    tape = Tape(path, mode="none", redactor=Redactor(secrets=[NAMED], environ={}))
    with pytest.raises(UnexpectedRequestError) as miss, playing(tape):
        post(f"{URL}&n=2", json={"a": f"{NAMED} {OWN}"}, headers={"x-my-token": OWN})
    told = hidden(str(miss.value))
    assert "x.test/v1/m?key=REDACTED&n=2" in told
    assert "interaction 0: POST http://REDACTED@x.test/v1/m?key=REDACTED&n=1" in told
    hidden(tape.report())
    hidden(repr(tape.calls))
    hidden(tape.problem())
    hidden(" ".join(tape.unplayed))
    frame = miss.traceback[-1].frame
    assert not any(OWN in repr(frame.f_locals.get(name)) for name in frame.code.getargs())


def test_what_was_not_asked_for_and_what_got_no_answer_shows_no_credential(path, tmp_path):
    assert hidden(*unasked(path, {})) == "interaction 0, POST http://REDACTED@x.test/v1/m?key=REDACTED&n=1"
    with playing(Tape(path, mode="none")) as tape:
        pass
    assert "your app did not come this way" in hidden(tape.problem())

    with loopback.Pieces([b"hello"]) as server, playing(Tape(tmp_path / "new.yaml", mode="once")) as tape:
        url = f"{server.url.replace('://', f'://me:{PASSWORD}@')}/?key={OWN}"
        httpx.post(url, json={})
    assert hidden(tape.report()).startswith("ProviderCall 1: POST http://REDACTED@127.0.0.1")
    assert len(stored(tmp_path / "new.yaml")) == 1
    closed = url  # nobody listens there any more
    with playing(Tape(tmp_path / "newer.yaml", mode="once")) as tape, pytest.raises(httpx.ConnectError):
        httpx.post(closed, json={})
    assert "no request got an answer" in hidden(tape.problem())
