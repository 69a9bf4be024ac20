"""Requests of a tape that is only played are redacted when somebody looks, and what comes finds the one it always did."""

from __future__ import annotations

import copy
import json
from types import SimpleNamespace

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vcr import matchers
from vcr.request import Request

from fakellm.cassette import Files, Redactor, Tape, saving
from fakellm.cassette.matching import json_matcher, url_matcher
from fakellm.cassette.stored import Matching, Stored
from fakellm.errors import UnexpectedRequestError
from fakellm.http import playing

URL = "https://api.example/v1/chat/completions"
SECRET = "plum-cobbler-8842-hq"
MATCHERS = (matchers.method, url_matcher, json_matcher())


class Counting(Redactor):
    """Counts the stored requests that it is asked to redact: those of a tape have a header that no client sends."""

    asked = 0

    def request(self, request):
        self.asked += "x-stored" in request.headers
        return super().request(request)


def asked(content, **more):
    body = json.dumps({"messages": [{"role": "user", "content": content}], **more}).encode()
    return Request("POST", URL, body, {"content-type": "application/json", "x-stored": "1"})


def answered(text):
    return {"status": {"code": 200, "message": "OK"}, "headers": {}, "body": {"string": text.encode()}}


@pytest.fixture(params=[1, 2**22], ids=["large", "small"])
def record(tmp_path, request, monkeypatch):
    """Write requests on a tape as they are, and answers that tell which is which."""
    monkeypatch.setattr(saving, "LARGE", request.param)

    def make(*requests):
        responses = [answered(f"answer {number}") for number in range(len(requests))]
        Files().save_cassette(path := tmp_path / "t.yaml", {"requests": list(requests), "responses": responses})
        return path

    return make


def ask(content, **more):
    return httpx.post(URL, content=asked(content, **more).body, headers={"content-type": "application/json"}).text


def opened(path, *secrets, **options):
    return Tape(path, mode="none", redactor=Counting(secrets, environ={}), **options)


def test_nothing_is_redacted_where_what_comes_is_on_the_tape_as_it_is(record):
    tape = opened(record(asked("a"), asked("b"), asked("a"), asked("c", seed=1)))

    with playing(tape):
        assert [ask("c", seed=1), ask("a"), ask("a")] == ["answer 3", "answer 0", "answer 2"]
        assert tape._redactor.asked == 0
        with pytest.raises(UnexpectedRequestError, match="it was played already"):
            ask("a")
    assert tape._redactor.asked == 4


def test_what_has_become_a_secret_since_is_found(record):
    path = record(asked("b"), asked(f"my code is {SECRET}"), asked(f"my code is {SECRET}", seed=2))

    with playing(opened(path, SECRET)) as tape:
        assert ask(f"my code is {SECRET}") == "answer 1"
        assert next(request.redacted.body for request, _ in tape.pairs()) == asked("b").body
        assert SECRET not in "".join(str(request.body) for request, _ in tape.pairs())
        with pytest.raises(UnexpectedRequestError) as miss:
            ask(f"my codes are {SECRET}")
    assert SECRET not in str(miss.value)
    assert "REDACTED" in str(miss.value)


def test_what_was_redacted_on_the_tape_stands_for_anything(record):
    path = record(asked("my code is other-1"), asked("my code is REDACTED"), asked("my code is here-2"))

    with playing(opened(path)):
        assert ask("my code is here-2") == "answer 1", "it comes first, and is the same"
        assert ask("my code is here-2") == "answer 2"


def test_another_request_is_told_by_its_key_without_being_compared(record, monkeypatch):
    path = record(*(asked(f"question {number}") for number in range(9)))
    compared = []
    same = "fakellm.cassette.stored.get_matchers_results"
    monkeypatch.setattr(same, lambda *found: compared.append(found[1].body) or matchers.get_matchers_results(*found))

    with playing(opened(path)):
        assert ask("question 7") == "answer 7"
    assert set(compared) == {asked("question 7").body}


@pytest.mark.parametrize(
    "match_on",
    [["method", "uri", "body"], ["method", lambda one, other: one.body[-9:] == other.body[-9:]], ["query", "json"]],
)
def test_other_matchers_see_what_the_file_has(record, match_on):
    with playing(opened(record(asked("a"), asked("b")), match_on=match_on)) as tape:
        assert ask("b") == "answer 1"
        assert tape._redactor.asked == 0


def test_a_matcher_of_the_users_own_may_have_the_name_of_one_of_ours(record):
    def method(one, other):
        return {one.method, other.method} <= {"POST", "PUT"}

    plain = Request("POST", URL, asked("a").body, {})  # which redacting does not change
    with playing(opened(record(plain), match_on=[method, "json"])):
        assert httpx.put(URL, content=asked("a").body).text == "answer 0"


def test_hooks_of_vcrpy_for_requests_see_them_redacted_at_once(record):
    seen = []

    def hook(request):
        seen.append((type(request), request.body))
        return request

    with playing(opened(record(asked(SECRET)), SECRET, before_record_request=hook)):
        assert ask(SECRET) == "answer 0"
    assert {kind for kind, _ in seen} == {Request}
    assert SECRET not in str(seen)


def test_a_body_that_has_become_a_secret_is_not_in_the_log(record, caplog):
    def json(one, other):
        json_matcher()(one, other)

    caplog.set_level("DEBUG")
    path = record(asked(f"REDACTED {SECRET}"))  # what was redacted in part is compared in full
    for match_on in (["method", "url", "json"], ["method", json]):
        with playing(opened(path, SECRET, match_on=match_on)), pytest.raises(UnexpectedRequestError):
            ask("a")

    assert SECRET not in caplog.text


def test_fields_that_may_differ_are_in_no_key(record):
    with playing(opened(record(asked("a", seed=1)), ignore=["seed"])):
        assert ask("a", seed=2) == "answer 0"


def test_a_stored_request_is_what_it_stands_for():
    raw = asked(SECRET)
    hidden = Stored(lambda: raw, Redactor([SECRET], environ={}).request)

    assert (hidden.method, hidden.uri, hidden.host) == ("POST", URL, "api.example")
    assert SECRET.encode() not in hidden.body
    assert hidden.raw is raw
    assert copy.copy(hidden) is copy.deepcopy(hidden) is hidden
    with pytest.raises(AttributeError, match="nothing"):
        hidden.nothing


words = st.sampled_from(["a", "b", SECRET, f"see {SECRET}", "REDACTED", "see REDACTED", 1, True, 1.0, None])
questions = st.builds(asked, words | st.lists(words, max_size=2)) | st.sampled_from(
    [Request("POST", URL, b"", {}), Request("POST", f"{URL}?key=REDACTED", b"{}", {}), Request("GET", URL, b"x", {})]
)


@given(st.lists(questions, max_size=5), questions)
def test_all_are_found_that_are_the_same_redacted_and_none_else(stored, sent):
    redact = Redactor([SECRET], environ={}).request
    data = [(Stored(lambda request=request: request, redact), at) for at, request in enumerate(stored)]
    cassette = SimpleNamespace(_match_on=MATCHERS, _before_record_request=redact, data=data)
    redacted = redact(sent)

    found = Matching(cassette, ("method", "url", "json")).responses(sent)

    expected = [at for at, request in enumerate(stored) if matchers.requests_match(redacted, redact(request), MATCHERS)]
    assert sorted(place for place, _ in found) == expected
