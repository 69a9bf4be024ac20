"""Finding secrets in tapes that exist: ours, other tools', in whatever form; with file and line, and masked."""

from __future__ import annotations

import base64
import gzip
import json
import random
import string
from pathlib import Path

import pytest
import yaml
from corpus import needs_corpus, sample
from work import calls_of

from fakellm.cassette.checking import Finding, check, mask
from fakellm.cassette.deltas import find_in_deltas
from fakellm.cassette.trees import walk

ALNUM = string.digits + string.ascii_letters
SECRET = "gs" + "k_" + "".join(random.Random(1).choices(ALNUM, k=52))
NAMELESS = "a1B2" + "".join(random.Random(2).choices(ALNUM, k=36))


def found(tmp_path, text, name="tape.yaml", **options):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    findings = check([path], environ=options.pop("environ", {}), **options)
    for finding in findings:
        assert SECRET not in str(finding)
        assert NAMELESS not in str(finding)
    return [(finding.line, finding.kind, finding.where, finding.shown) for finding in findings]


def vcrpy(body, **headers):
    return {
        "interactions": [
            {
                "request": {
                    "method": "POST",
                    "uri": "https://api.example.com/v1?a=1",
                    "body": None,
                    "headers": headers,
                },
                "response": {"status": {"code": 200, "message": "OK"}, "headers": {}, "body": {"string": body}},
            }
        ],
        "version": 1,
    }


def sse(*pieces):
    return "".join(
        "data: " + json.dumps({"index": 0, "delta": piece, "note": "of the model"}) + "\n\n" for piece in pieces
    )


def line_of(text, part):
    return text[: text.index(part)].count("\n") + 1


@pytest.mark.parametrize("dump", [yaml.safe_dump, lambda tape: json.dumps(tape, indent=4), json.dumps])
def test_a_key_in_a_body_is_found_with_its_line(tmp_path, dump):
    text = dump(vcrpy(sse("one ", f"is {SECRET}", " two")))

    [(line, kind, where, shown)] = found(tmp_path, text)

    assert (line, kind, shown) == (line_of(text, SECRET[:30]), "Groq key", "gsk_…")
    assert where.startswith("text" if "\n" not in text else "interactions.response.body.string")


@pytest.mark.parametrize("dump", [yaml.safe_dump, lambda tape: json.dumps(tape, indent=4), json.dumps])
@pytest.mark.parametrize(
    ("name", "value"),
    [("authorization", f"Bearer {NAMELESS}"), ("X-Api-Key", NAMELESS), ("api-key", NAMELESS), ("Cookie", f"a=b; c={NAMELESS}"),
     ("x-acme-access-token", NAMELESS)],
)  # fmt: skip
def test_a_header_is_found_by_its_name(tmp_path, dump, name, value):
    text = dump(vcrpy("hello", **{name: [value], "x-request-id": [NAMELESS[::-1]]}))

    findings = found(tmp_path, text)

    assert {line for line, *_ in findings} == {line_of(text, NAMELESS)}
    assert all(name.lower() in kind.lower() or kind == "bearer token" or "api" in kind for _, kind, *_ in findings)


def test_other_tools_tapes_are_read_too(tmp_path):
    ruby = f"---\nhttp_interactions:\n- request:\n    headers:\n      Authorization:\n      - Bearer {NAMELESS}\n"
    go = f"version: 2\ninteractions:\n  - id: 0\n    request:\n      headers:\n        X-Api-Key:\n          - {NAMELESS}\n"
    nock = json.dumps(
        [{"scope": "https://x", "rawHeaders": ["Content-Type", "text", "Set-Cookie", f"s={NAMELESS}; Path=/"]}]
    )
    raw = f"event: x\ndata: key {SECRET}\n\n"

    assert [line for line, *_ in found(tmp_path, ruby)] == [6]
    assert [(line, kind) for line, kind, *_ in found(tmp_path, go)] == [(7, "header x-api-key")]
    assert [kind for _, kind, *_ in found(tmp_path, nock, "nock.json")] == ["header set-cookie"]
    assert found(tmp_path, raw, "raw.sse") == [(2, "Groq key", "data", "gsk_…")]


def test_binary_blocks_and_compressed_bodies_are_read(tmp_path):
    padding = "some text before it, long enough for several lines of base64. " * 4
    plain = yaml.safe_dump(vcrpy(f"{padding}{SECRET} {padding}".encode() + b"\xff"))
    packed = yaml.safe_dump(vcrpy(gzip.compress(f"say {SECRET}".encode())))
    quoted = yaml.safe_dump(vcrpy(gzip.compress(f"say {SECRET}".encode()).decode("latin-1")))

    assert "!!binary" in plain
    assert "!!binary" in packed
    assert [kind for _, kind, *_ in found(tmp_path, plain)] == ["Groq key in base64"]
    assert [kind for _, kind, *_ in found(tmp_path, packed)] == ["Groq key, compressed"]
    assert [kind for _, kind, *_ in found(tmp_path, quoted)] == ["Groq key, compressed"]


@pytest.mark.parametrize("name", ["tape.yaml", "tape.json", "raw.sse"])
def test_a_key_said_token_by_token_is_found(tmp_path, name):
    body = sse("it is ", *(SECRET[at : at + 5] for at in range(0, len(SECRET), 5)), ", keep it")
    dump = {"tape.yaml": yaml.safe_dump, "tape.json": json.dumps}.get(
        name, lambda tape: tape["interactions"][0]["response"]["body"]["string"]
    )

    kinds = {kind for _, kind, *_ in found(tmp_path, dump(vcrpy(body)), name)}

    assert kinds == {"Groq key over several deltas"}


def test_named_secrets_and_those_of_the_environment_are_looked_for(tmp_path):
    text = yaml.safe_dump(vcrpy(f"I know {NAMELESS}"))

    assert found(tmp_path, text) == []
    assert [kind for _, kind, *_ in found(tmp_path, text, secrets=[NAMELESS])] == ["secret that was named"]
    assert [kind for _, kind, *_ in found(tmp_path, text, environ={"MY_TOKEN": NAMELESS})] == [
        "secret of the environment"
    ]


@pytest.mark.parametrize(
    "value",
    ["REDACTED", "Bearer REDACTED", "<API_KEY>", "Bearer XXX", "Bearer sk-test", "dummy", "**********", "fake-key-1"],
)
def test_what_stands_for_a_credential_is_none(tmp_path, value):
    assert found(tmp_path, yaml.safe_dump(vcrpy("x", Authorization=[value], **{"x-api-key": [value]}))) == []
    assert found(tmp_path, json.dumps({"authorization": value, "api_key": value}), "a.json") == []


def test_nothing_in_a_tape_is_executed_and_broken_ones_are_read_as_text(tmp_path):
    flag = tmp_path / "ran"
    text = f"a: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{flag}']]\nb: {SECRET}\n"

    assert [line for line, *_ in found(tmp_path, text)] == [2]
    assert not flag.exists()
    assert [line for line, *_ in found(tmp_path, f"a: [1,\nb: {SECRET}\n")] == [2]


def test_folders_are_walked_in_order_and_what_is_no_text_is_passed_over(tmp_path):
    (tmp_path / "b" / ".git").mkdir(parents=True)
    for name in ("b/two.yaml", "b/one.yaml", "a.txt", "b/.git/config", "b/image.png"):
        (tmp_path / name).write_text(f"x\nkey: {SECRET}\n" + ("\0" if name.endswith("png") else ""))

    findings = check([tmp_path], environ={})

    assert [(Path(one.file).relative_to(tmp_path).as_posix(), one.line) for one in findings] == [
        ("a.txt", 2), ("b/one.yaml", 2), ("b/two.yaml", 2),
    ]  # fmt: skip
    assert findings == sorted(findings)
    with pytest.raises(FileNotFoundError):
        check([tmp_path / "none"], environ={})


def test_a_finding_reads_as_a_compiler_error():
    assert (
        str(Finding("tapes/a.yaml", 7, "Groq key", "request.body", "gsk_…"))
        == "tapes/a.yaml:7: Groq key in request.body: gsk_…"
    )


def test_a_short_secret_shows_less():
    assert [mask("abcdefgh"), mask("abc"), mask("a" * 40)] == ["ab…", "…", "aaaa…"]


def test_base64_in_json_on_one_line(tmp_path):
    text = json.dumps({"bytes": base64.b64encode(f'{{"text": "{SECRET}"}}'.encode()).decode()})

    assert [kind for _, kind, *_ in found(tmp_path, text, "a.json")] == ["Groq key in base64"]


@pytest.mark.exhaustive
@needs_corpus
def test_the_corpus_holds_cookies_and_a_test_signature_and_no_keys():
    kinds = {finding.kind for finding in check(sample(), environ={})}

    assert kinds == {"header set-cookie", "header cookie", "field set-cookie", "field authorization"}


# -- aliases ------------------------------------------------------------------------------------------


def doubled(levels, first="&a0 [x]"):
    """Return YAML in which each line says twice what the one before says: text of a few bytes that says much."""
    lines = [f"a0: {first}", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, levels))]
    return "\n".join(lines) + "\n"


def visits(text):
    (document,) = yaml.compose_all(text, yaml.SafeLoader)
    return sum(1 for _ in walk(document, 10_000))


def test_aliases_cost_what_a_file_is_long_and_not_what_it_says():
    assert visits(doubled(6)) < 40
    assert visits(doubled(12)) - visits(doubled(11)) == visits(doubled(6)) - visits(doubled(5))
    assert visits("&a [*a, {b: *a}]") == 4


def test_what_aliases_lead_to_is_found_once_and_under_each_name(tmp_path):
    key, token = "gs" + "k_" + "a1B2c3D4" * 6, "Qx7" + "k9Zw2" * 6
    text = f"{doubled(8, '&a0 [' + key + ']')}headers:\n  x-one-token: &t [{token}]\n  x-two: *t\n  x-api-key: *t\n"
    (tmp_path / "tape.yaml").write_text(text)
    found = [(finding.line, finding.kind) for finding in check([tmp_path], environ={})]
    assert [kind for line, kind in found if line == 1] == ["Groq key"]
    assert {kind for line, kind in found if line == 10} == {"header x-one-token", "header x-api-key"}


def test_more_aliases_than_are_followed_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr("fakellm.cassette.checking.STEPS", 0)
    many = ", ".join(["x"] * 200)
    (tmp_path / "tape.yaml").write_text(f"a: &a [{many}]\nb: [{', '.join(['*a'] * 20)}]\n")
    (finding,) = check([tmp_path], environ={})
    assert str(finding).endswith("tape.yaml:1: more aliases than are followed, so there may be more in text: *a…")


# -- much and deep --------------------------------------------------------------------------------------


def many(count):
    keys = (f"key_{number}: gs" + f"k_{number:06}{'aB3d' * 11}" for number in range(count))
    return "headers:\n" + "".join(f"  {key}\n  x-token: a1B2{'c3D4' * 6}\n" for key in keys)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tape.yaml", many),
        ("tape.txt", many),
        ("tape.json", lambda count: json.dumps(yaml.safe_load(many(count)))),
        (
            "tape.json",
            lambda count: json.dumps([{"headers": {"x-token": f"{n}a1B2{'c3D4' * 6}"}} for n in range(count)]),
        ),
        ("tape.yaml", lambda count: "".join(f"{' ' * n}k{n}: gs" + f"k_{n:06}{'aB3d' * 11}\n" for n in range(count))),
    ],
)
@pytest.mark.exhaustive
def test_the_work_of_a_check_grows_as_its_findings_do(tmp_path, name, text):
    def work(count):
        (tmp_path / name).write_text(text(count))
        return calls_of(lambda: check([tmp_path / name], environ={}))

    work(10)
    assert work(300) - work(150) < 2.6 * (work(150) - work(75))


def deep(levels):
    return '{"a": ' * levels + '"x"' + "}" * levels


def test_what_is_nested_too_deep_to_be_read_is_told(tmp_path):
    told = (1, "nested too deep to be read as a tree, so there may be more", "text", "*…")
    assert found(tmp_path, deep(400), "tape.json") == []
    assert found(tmp_path, deep(30_000), "tape.json") == [told]
    header = deep(30).replace('"x"', json.dumps({"x-token": NAMELESS[:14]}))
    ((*_, where, _),) = found(tmp_path, header, "tape.json")
    assert where == "a.a.a.a.a.a.….a.a.a.a.a.x-token"


@pytest.mark.parametrize("levels", [900, 5000, 100_000])
def test_a_body_that_is_deeper_than_python_recurses_is_read_as_text(levels):
    assert find_in_deltas(deep(levels).replace("x", SECRET).encode(), {}) == []
