"""Secrets are taken out of tapes that exist: all of a tape or nothing, and nothing of what is none."""

from __future__ import annotations

import json
import random

import pytest
from corpus import needs_corpus, sample
from planting import pieces_of, secrets, sse

from fakellm.cassette.checking import check
from fakellm.cassette.document import CassetteError
from fakellm.cassette.files import Files
from fakellm.cassette.format import JSON, YAML
from fakellm.cassette.redaction import Redactor
from fakellm.cassette.scrubbing import scrub

KEY = "sk-proj-" + "".join(random.Random(3).choices("abcdefgh12345678", k=48))
PLAIN = "just an ordinary answer of a model"


def interaction(*, headers=None, query="", asked="{}", chunks=(b"data: hi\n\n",), answer=None):
    return {
        "request": {
            "method": "POST",
            "uri": f"https://api.example.com/v1/chat/completions{query}",
            "headers": headers or {},
            "body": asked,
        },
        "response": {
            "status": {"code": 200, "message": "OK"},
            "headers": answer or {"content-type": ["text/event-stream"]},
            "body": {"string": b"".join(chunks)},
            "stream": {
                "sizes": [*map(len, chunks)], "delays": [1.0] * len(chunks), "end": "complete", "error": None,
            },
        },
    }  # fmt: skip


def written(path, *interactions, serializer=YAML, **more):
    path.write_text(serializer.serialize({"interactions": list(interactions), **more}))
    return path


def redactor(*secrets, **options):
    return Redactor(secrets, {}, **options)


@pytest.mark.exhaustive
def test_what_is_secret_by_its_form_is_found_in_all_places_and_check_finds_nothing_afterwards(tmp_path):
    kept = {}
    for number, (_, secret) in enumerate(secrets(random.Random(7))[::5]):
        deltas = [
            sse({"choices": [{"index": 0, "delta": {"content": piece}}]})
            for piece in pieces_of(f"{PLAIN} {secret}.", 5)
        ]
        chunks = [*deltas, b"data: " + json.dumps({"note": PLAIN, "said": secret}).encode() + b"\n\n"]
        asked = json.dumps({"messages": [{"role": "user", "content": f"{PLAIN} {secret}"}]})
        path = written(tmp_path / f"{number}.yaml", interaction(asked=asked, chunks=chunks))
        kept[path] = len(chunks)

    paths = sorted(kept)
    before = {path: path.read_bytes() for path in paths}
    told = scrub(paths, redactor(), dry_run=True)
    assert before == {path: path.read_bytes() for path in paths}
    assert {one.tape for one in told} == set(map(str, paths))
    assert scrub(paths, redactor()) == told

    assert check(paths, environ={}) == []
    for path, count in kept.items():
        _, (response,) = Files().load_cassette(path)
        assert len(response["stream"]["sizes"]) == count
        assert path.read_text().count(PLAIN) >= 2
    after = {path: path.read_bytes() for path in paths}
    assert scrub(paths, redactor()) == []
    assert after == {path: path.read_bytes() for path in paths}


def test_what_one_tape_knows_is_secret_is_found_on_all(tmp_path):
    value = "a1B2" + "".join(random.Random(2).choices("abcdef0123456789", k=36))
    echo = written(tmp_path / "a.json", interaction(chunks=[f"data: {value}\n\n".encode()]), serializer=JSON)
    sent = written(tmp_path / "b.yaml", interaction(headers={"authorization": [f"Bearer {value}"]}))

    found = scrub([echo, sent], redactor())

    assert [str(one) for one in found] == [
        f"{echo}, interaction 0: credential of the client in the body of an answer",
        f"{sent}, interaction 0: header authorization in the headers of a request",
    ]
    assert value not in echo.read_text() + sent.read_text()
    assert value not in str(found)


def test_secrets_are_named_and_headers_are_kept(tmp_path):
    team = {"x-team": ["blue"], "authorization": [f"Bearer {KEY}"]}
    path = written(tmp_path / "t.yaml", interaction(headers=team, query="?who=swordfish"))

    scrub([path], redactor("swordfish", keep_headers=["x-team"]))

    assert "blue" in path.read_text()
    assert "swordfish" not in path.read_text()
    assert KEY not in path.read_text()


def test_metadata_is_looked_through_too(tmp_path):
    path = written(tmp_path / "t.yaml", interaction(), metadata={"about": [f"made with {KEY}", 7]})

    assert [str(one) for one in scrub([path], redactor())] == [f"{path}: secret in the metadata"]
    *_, metadata = Files().load_cassette(path)
    assert metadata == {"about": ["made with REDACTED", 7]}


def test_a_tape_without_secrets_stays_byte_for_byte_as_its_author_wrote_it(tmp_path):
    text = "# ours\ninteractions:\n- request: {method: GET, uri: 'https://h/x', headers: {}, body: null}\n"
    text += "  response: {status: {code: 200, message: OK}, headers: {}, body: {string: hi}}\nversion: 1\n"
    path = tmp_path / "t.yaml"
    path.write_text(text)
    (tmp_path / "empty.yaml").write_text("")

    assert scrub([path, tmp_path / "empty.yaml"], redactor()) == []
    assert path.read_text() == text


@pytest.mark.parametrize(
    "text, told",
    [
        ("interactions: {\n", "line 2"),
        ('[{"scope": "https://h:443", "method": "GET", "path": "/", "status": 200, "response": "x"}]', "nock"),
        ("a: 1\n", "a tape is a mapping with interactions"),
    ],
)
def test_one_that_cannot_be_written_leaves_all_as_they_were(text, told, tmp_path):
    good = written(tmp_path / "good.yaml", interaction(headers={"authorization": [f"Bearer {KEY}"]}))
    bad = tmp_path / "bad.yaml"
    bad.write_text(text)
    before = good.read_bytes()

    with pytest.raises(CassetteError, match=told):
        scrub([good, bad], redactor())
    assert (good.read_bytes(), bad.read_text()) == (before, text)


def test_what_is_read_only_is_told_before_anything_is_written_and_read_all_the_same(tmp_path):
    path = written(tmp_path / "t.yaml", interaction(headers={"authorization": [f"Bearer {KEY}"]}))
    path.chmod(0o444)

    with pytest.raises(CassetteError, match="read-only"):
        scrub([path], redactor())
    assert len(scrub([path], redactor(), dry_run=True)) == 1


def test_no_tape_is_no_tape(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such tape"):
        scrub([tmp_path / "none.yaml"], redactor())


def test_each_tape_that_was_seen_is_told(tmp_path):
    paths = [written(tmp_path / f"{name}.yaml", interaction()) for name in "ab"]
    seen = []
    scrub(paths, redactor(), seen=seen.append)

    assert seen == paths


@needs_corpus
@pytest.mark.exhaustive
def test_tapes_of_others_have_nothing_left_and_are_scrubbed_once(tmp_path):
    scrubbed = 0
    for number, path in enumerate(sample()):
        copied = tmp_path / f"{number}.yaml"
        copied.write_bytes(path.read_bytes())
        try:
            scrub([copied], redactor())
        except CassetteError:  # of another tool, or no tape
            assert copied.read_bytes() == path.read_bytes()
            continue
        scrubbed += 1
        assert check([copied], environ={}) == []
        assert scrub([copied], redactor(), dry_run=True) == []
    assert scrubbed > 50
