"""Secrets of every kind, in a sample of places and surroundings: none is stored, and `check` finds what would be."""

from __future__ import annotations

import json
import random
from copy import deepcopy
from itertools import cycle
from urllib.parse import quote

import harmless
import pytest
import senders
import yaml
from planting import GLUED, LINES_ONLY, PLACES, SURROUNDINGS, is_said, request_of, response_of, said, secrets, sse
from vectors import first_of

from fakellm.cassette.checking import check
from fakellm.cassette.redaction import Redactor
from fakellm.secrets.forms import forms
from fakellm.secrets.hunting import find
from fakellm.secrets.kinds import KINDS, WORDS

ALL = secrets(random.Random(7))
FREE = [(kind, secret) for (kind, secret), row in zip(ALL, KINDS, strict=False)
        if row[1][0] != "<" and row[1].partition("<")[0] not in WORDS]  # fmt: skip


def stored(pair, *known):
    return Redactor(known, {}).interaction(*deepcopy(pair))


def sampled(rand, count):
    """Yield each kind with some of the places and surroundings, so that all of these come in turns."""
    places = cycle(rand.sample([*PLACES], len(PLACES)))
    around = cycle(rand.sample([*SURROUNDINGS], len(SURROUNDINGS)))
    for kind, secret in ALL:
        for place, name in zip((next(places) for _ in range(count)), around, strict=False):
            if place not in LINES_ONLY or "\n" not in secret + SURROUNDINGS[name]:
                yield kind, secret, place, name


@pytest.mark.exhaustive
def test_no_kind_is_stored_from_any_place_in_any_surrounding():
    stayed = [
        (kind, place, name)
        for kind, secret, place, name in sampled(random.Random(11), 1)
        if is_said(secret, said(stored(PLACES[place](SURROUNDINGS[name].format(secret)))))
    ]

    assert stayed == []


def test_what_the_client_sent_is_not_stored_from_any_place():
    secret = "q7" + "".join(random.Random(3).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=30))
    stayed = [
        place for place, plant in PLACES.items() if is_said(secret, said(stored(plant(f"it is {secret}!"), secret)))
    ]

    assert stayed == []


@pytest.mark.parametrize(("client", "asynchronous"), first_of(senders.CLIENTS, 2))
def test_no_client_puts_a_secret_on_a_tape_or_shows_it(tmp_path, client, asynchronous):
    rand = random.Random(f"{client} {asynchronous}")
    places = rand.sample(senders.places_of(client), 4)
    kinds, arounds = rand.sample(ALL, 4), rand.sample([*SURROUNDINGS.values()], 4)
    with senders.Server() as server:
        stayed = [
            (kind, place, found)
            for place, (kind, secret), around in zip(places, kinds, arounds, strict=True)
            if (found := senders.leaks(server, tmp_path / f"{place}.yaml", client, asynchronous, place, secret, around.format(secret)))
        ]  # fmt: skip

    assert stayed == []
    assert len(list(tmp_path.iterdir())) == len(places)


def test_a_key_is_found_behind_what_is_glued_to_it():
    stayed = [(kind, name) for kind, secret in FREE for name, glue in GLUED.items()
              if secret in Redactor((), {}).text(f"see {glue.format(secret)} there")]  # fmt: skip
    word_stayed = [(kind, secret) for kind, secret in ALL if secret in Redactor((), {}).text(f"see _{secret}_ there")]

    assert stayed == []
    assert word_stayed == []


@pytest.mark.exhaustive
def test_most_of_a_key_is_a_key_where_a_text_ends():
    def text_of(kind, secret, cut):
        pieces = ["it says ", *(secret[:-cut][at : at + 5] for at in range(0, len(secret) - cut, 5))]
        _, after = stored((request_of(), response_of(sse(*({"delta": {"content": piece}} for piece in pieces)))))
        documents = [json.loads(line[6:]) for line in after["body"]["string"].splitlines() if line]
        return "".join(document["delta"]["content"] for document in documents)

    stayed = [
        (kind, cut) for kind, secret in FREE[::4] for cut in (1, len(secret) // 3)
        if not text_of(kind, secret, cut).startswith("it says REDACTED")
    ]  # fmt: skip

    assert stayed == []


@pytest.mark.exhaustive
def test_check_finds_what_would_not_have_been_stored(tmp_path):
    missed, left = [], []
    for number, (kind, secret, place, name) in enumerate(sampled(random.Random(13), 1)):
        if number % 12:
            continue
        pair = PLACES[place](SURROUNDINGS[name].format(secret))
        for is_clean, (request, response) in ((False, pair), (True, stored(pair))):
            tape = {"interactions": [{"request": request._to_dict(), "response": response}], "version": 1}
            (tmp_path / "tape.yaml").write_text(yaml.dump(tape, Dumper=yaml.CSafeDumper, allow_unicode=True))
            found = check([tmp_path / "tape.yaml"], environ={})
            if bool(found) == is_clean:
                (left if is_clean else missed).append((kind, place, name, found))

    assert missed == []
    assert left == []


def test_every_row_of_the_table_has_a_source_and_a_form_that_finds_it():
    known = ("vendor", "github", "gitleaks", "trufflehog", "detect-secrets", "gitlab", "rules", "observed")
    assert [row for row in KINDS if not row[2].startswith(known)] == []
    assert [
        kind
        for kind, secret in ALL
        if not any(edit.end - edit.start >= len(secret) * 0.9 for edit in find(secret.encode(), {}))
    ] == []
    assert len({form for _, form, _ in KINDS}) == len(KINDS)
    assert len(forms()) > len(KINDS)


def test_a_key_of_an_exact_length_ends_where_no_letter_of_it_could_follow():
    exact = [(kind, secret) for (kind, secret), row in zip(ALL, KINDS, strict=False) if row[1].endswith("$")]
    glued = [(kind, glue) for kind, secret in exact for glue in ("\x1b[0m", "_", "-x", ".", ", x", "\\nzz")
             if secret in Redactor((), {}).text(f"see {secret}{glue}")]  # fmt: skip
    of_hex = [(kind, glue) for (kind, secret), row in zip(ALL, KINDS, strict=False) for glue in ("x", "Z", "zebra")
              if row[1].endswith(("<X32>$", "<D2>$")) and secret in Redactor((), {}).text(f"see {secret}{glue} there")]  # fmt: skip

    assert glued == []
    assert of_hex == []


# ---- What stays -----------------------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_what_only_looks_secret_stays_in_every_form_of_an_answer():
    environ = {"POSTGRES_PASSWORD": "swordfish", "DB_PASSWORD": "assistant", "SECRET_BACKEND": "kubernetes"}
    changed = [
        document
        for document in harmless.documents(random.Random(5))
        for body in (
            json.dumps(document).encode(),
            sse(document, {**document, "n": 2}),
            json.dumps([document] * 2).encode(),
        )
        if Redactor((), environ).response(response_of(body))["body"]["string"] != body
    ]

    assert changed == []


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({"POSTGRES_PASSWORD": "postgres"}, "PostgreSQL, postgresql, postgres_data and postgres://localhost/db"),
        ({"SECRET_BACKEND": "kubernetes", "PRIMARY_KEY": "customer_id"}, "kubernetes has a customer_id"),
    ],
)
def test_a_word_of_the_environment_is_a_secret_as_a_word_alone(environ, text):
    redacts = Redactor((), environ)

    assert redacts.text(text) == text
    if word := environ.get("POSTGRES_PASSWORD"):
        assert redacts.text(f"it is {word}, '{word}'") == "it is REDACTED, 'REDACTED'"


@pytest.mark.parametrize(
    "named", ["swordfish", "acme-internal", "correct horse battery staple", "hunter2024", "qwzkxvtbnm"]
)
def test_what_was_named_is_stored_nowhere_but_in_constants(named):
    body = json.dumps({"model": named, "name": f"for {named}", "role": "swordfish", "input": {"a": [named]}})
    uri = f"https://x.example/{quote(named)}/v1?tenant={quote(named)}"
    pair = request_of(uri, body.encode(), accept=f"text/{named}"), response_of(body.encode(), **{"x-for": named})

    request, response = Redactor([named], {}).interaction(*pair)

    assert is_said(named, said((request, response))) == (named == "swordfish")
    assert json.loads(response["body"]["string"]) == {
        **json.loads(body.replace(named, "REDACTED")),
        "role": "swordfish",
    }
    assert request.uri == "https://x.example/REDACTED/v1?tenant=REDACTED"


@pytest.mark.parametrize("password", ["hunter2024", "blue-paper-moon", "qwzkxvtbnm"])
def test_passwords_that_no_text_has_by_chance_are_found_inside_of_words(password):
    assert Redactor((), {"DB_PASSWORD": password}).text(f"x{password}y") == "xREDACTEDy"


def test_a_word_stays_where_the_protocol_has_a_constant():
    message = {"role": "assistant", "type": "assistant", "assistant": 1, "say": "the assistant's key"}
    body = b"event: assistant\n" + sse({"id": "x", "message": message}, {"arguments": json.dumps(message)})
    pair = request_of("https://x.example/v1/assistant?a=1", accept="assistant"), response_of(body)

    request, response = Redactor((), {"DB_PASSWORD": "assistant"}).interaction(*pair)

    assert request.uri == pair[0].uri
    assert request.headers["accept"] == "assistant"
    assert response["body"]["string"] == body.replace(b"the assistant", b"the REDACTED")


def test_fields_of_an_answer_are_data_and_those_of_a_request_are_not():
    given = {"cookie": "chocolate chip", "password": "Tr0ub4dor&3 horse", "token": "9f86d081884c7d659a2feaa0c55ad015"}
    body = json.dumps({"content": [{"type": "tool_use", "input": given}], "arguments": json.dumps(given)}).encode()
    asked = json.dumps(
        {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "input": given}]}]}
    ).encode()

    request, response = Redactor((), {}).interaction(request_of(body=asked), response_of(body))
    login, echo = Redactor((), {}).interaction(request_of(body=json.dumps(given).encode()), response_of(body))

    assert response["body"]["string"] == body
    assert json.loads(login.body) == dict.fromkeys(given, "REDACTED")
    assert b"Tr0ub4dor" not in echo["body"]["string"]
    assert request.body != asked


def test_an_answer_that_gives_a_token_is_stored_without_it():
    token = "".join(random.Random(5).choices("abcdefghijklmnopqrstuvwxyzABCDEFGH0123456789", k=40))
    body = json.dumps({"access_token": token, "token_type": "bearer", "expires_in": 3600}).encode()

    _, response = stored((request_of(), response_of(body)))

    assert json.loads(response["body"]["string"]) == {
        "access_token": "REDACTED",
        "token_type": "bearer",
        "expires_in": 3600,
    }


def test_what_was_replaced_is_counted_by_kind_and_place():
    redacts = Redactor((), {})
    key, groq = dict(ALL)["DeepSeek key"], dict(ALL)["Groq key"]
    request = redacts.request(request_of(f"https://x.example/?key={key}", authorization=f"Bearer {key}"))

    redacts.interaction(request, response_of(json.dumps({"say": f"{groq} and {groq}"}).encode()))

    assert {name: count for name, count in redacts.counts.items() if count} == {
        ("header authorization", "the headers of a request"): 1,
        ("parameter or password", "the URL of a request"): 1,
        ("Groq key", "the body of an answer"): 2,
    }


# ---- What could take for ever ---------------------------------------------------------------------------------------


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "unit",
    [b'name="key"\r\n', b"-----BEGIN PRIVATE " + b"KEY-----\n", b"eyJhbGciOi", b"sk-", b"xoxb-", b'"password": "', b"Bearer ",
     b"://a:b", b"[32m", b"&#45;", b"password=", b"a\0", b"ghp_" + b"A1b2" * 4],
)  # fmt: skip
def test_no_search_reads_the_rest_of_a_body_again_and_again(unit):
    """A regex that does would need minutes for a body of this size; the clock of the run is what would tell."""
    body = unit * (20_000 // len(unit))

    find(body, {}, is_answer=True)
