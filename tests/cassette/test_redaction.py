"""Secrets never reach the disk: 45 kinds in every place, random ones at random places and cuts, no false alarms."""

from __future__ import annotations

import base64
import gzip
import io
import json
import random
import string
import struct
import threading
import zlib
from copy import deepcopy
from urllib.parse import quote

import pytest
import yaml
from corpus import CORPUS, cassette, needs_corpus
from hypothesis import example, given
from hypothesis import strategies as st
from planting import request_of, response_of, sse
from vcr.request import Request
from vectors import each

from fakellm.cassette.redaction import Redactor
from fakellm.secrets.headers import is_harmless
from fakellm.secrets.hunting import find
from fakellm.secrets.names import environment_secrets
from fakellm.secrets.shapes import PLACEHOLDER

URL = "https://api.example.com/v1/chat/completions"
HEX, LOWER, UPPER = (
    string.digits + "abcdef",
    string.digits + string.ascii_lowercase,
    string.digits + string.ascii_uppercase,
)
ALNUM = string.digits + string.ascii_letters
WORD = ALNUM + "_-"


def made(prefix, alphabet, length, suffix=""):
    """Make a secret at run time: nothing in this file looks like a key to a scanner."""
    rand = random.Random(prefix + alphabet + str(length))
    body = [rand.choice(alphabet) for _ in range(length)]
    body[1::7] = [rand.choice(string.digits) for _ in body[1::7]]
    body[2::7] = [rand.choice([c for c in alphabet if c.isalpha()] or alphabet) for _ in body[2::7]]
    return prefix + "".join(body) + suffix


def jwt():
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in
             ({"alg": "HS256", "typ": "JWT"}, {"sub": "1234567890", "iat": 1516239022})]  # fmt: skip
    return ".".join([*parts, made("", WORD, 43)])


def pem(kind):
    lines = "\n".join(made(str(number), ALNUM + "+/", 63) for number in range(4))
    return f"-----BEGIN {kind}PRIVATE " + f"KEY-----\n{lines}\n-----END {kind}PRIVATE " + "KEY-----"


KINDS = {
    "openai": made("sk-", ALNUM, 20, "T3Blbk" + "FJ" + made("", ALNUM, 20)),
    "openai-project": made("sk-pr" + "oj-", WORD, 74),
    "openai-service": made("sk-svc" + "acct-", WORD, 60),
    "anthropic": made("sk-a" + "nt-api03-", WORD, 93, "AA"),
    "openrouter": made("sk-o" + "r-v1-", HEX, 64),
    "deepseek": made("sk-", HEX, 32),
    "google": made("AI" + "za", WORD, 35),
    "google-new": made("AQ." + "Ab", WORD, 48),
    "google-oauth": made("ya" + "29.", WORD, 60),
    "google-client": made("GOC" + "SPX-", WORD, 28),
    "google-refresh": made("1/" + "/0", WORD, 40),
    "aws": made("AK" + "IA", UPPER, 16),
    "aws-session": made("AS" + "IA", UPPER, 16),
    "bedrock": made("AB" + "SK", ALNUM, 128),
    "github": made("gh" + "p_", ALNUM, 36),
    "github-app": made("gh" + "s_", ALNUM, 36),
    "github-fine": made("github" + "_pat_", ALNUM + "_", 82),
    "gitlab": made("gl" + "pat-", ALNUM, 20),
    "slack-bot": made("xo" + "xb-", string.digits, 12, made("-", ALNUM, 24)),
    "slack-user": made("xo" + "xp-", string.digits, 12, made("-", HEX, 32)),
    "hugging-face": made("h" + "f_", string.ascii_letters, 34),
    "groq": made("gs" + "k_", ALNUM, 52),
    "xai": made("xa" + "i-", ALNUM, 80),
    "perplexity": made("pp" + "lx-", ALNUM, 48),
    "replicate": made("r" + "8_", ALNUM, 37),
    "nvidia": made("nva" + "pi-", WORD, 64),
    "tavily": made("tv" + "ly-dev-", ALNUM, 32),
    "cerebras": made("cs" + "k-", LOWER, 48),
    "langsmith": made("lsv" + "2_pt_", HEX, 32, made("_", HEX, 10)),
    "pinecone": made("pc" + "sk_", ALNUM, 60),
    "databricks": made("da" + "pi", HEX, 32),
    "stripe": made("sk_" + "live_", ALNUM, 24),
    "elevenlabs": made("sk" + "_", HEX, 48),
    "npm": made("np" + "m_", ALNUM, 36),
    "pypi": made("py" + "pi-AgEIcHlwaS5vcmc", WORD, 70),
    "sendgrid": made("S" + "G.", WORD, 22, made(".", WORD, 43)),
    "digitalocean": made("do" + "p_v1_", HEX, 64),
    "vault": made("hv" + "s.", WORD, 90),
    "linear": made("lin_" + "api_", ALNUM, 40),
    "notion": made("nt" + "n_", ALNUM, 46),
    "twilio": made("S" + "K", HEX, 32),
    "azure": made("", ALNUM, 52, "JQQ" + "J99" + made("z", ALNUM, 25)),
    "jwt": jwt(),
    "pem": pem(""),
    "pem-rsa": pem("RSA "),
}
NAMELESS = {  # no form says what they are: the client sent them, or the environment holds them
    "azure-classic": made("", HEX, 32),
    "mistral": made("m", ALNUM, 32),
    "cohere": made("c", ALNUM, 40),
    "aws-secret": made("a", ALNUM + "+/", 40),
    "uuid": f"{made('', HEX, 8)}-{made('1', HEX, 3)}-4{made('2', HEX, 2)}-a{made('3', HEX, 2)}-{made('', HEX, 12)}",
    "password": 'Corr3ct/h0rse+b@ttery & "st\'ple" \\ \u00fcml\u00e4ut',
}


# ---- Places ---------------------------------------------------------------------------------------------------------


def escaped(text):
    return "".join(f"\\u{ord(character):04x}" for character in text)


def deltas(secret, every):
    pieces = [secret[at : at + every] for at in range(0, len(secret), every)]
    return sse(*({"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {"content": piece}}]}
                 for piece in ["Your key is ", *pieces, ", keep it."]))  # fmt: skip


def b64(text, before="", url_safe=False, padded=True):
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    encoded = encode(f"{before}{text} and more".encode()).decode()
    return encoded if padded else encoded.rstrip("=")


def anywhere(text):
    return json.dumps({"error": {"message": f"I read {text} here", "code": 401}}, ensure_ascii=False).encode()


PLACES = {
    "header": lambda s: (request_of(**{"x-note": f"see {s}"}), response_of()),
    "path": lambda s: (request_of(f"{URL}/{quote(s, safe='')}/x"), response_of()),
    "query": lambda s: (request_of(f"{URL}?q={quote(s, safe='')}&n=2"), response_of()),
    "request-json": lambda s: (request_of(body=anywhere(s)), response_of()),
    "request-nested": lambda s: (request_of(body=anywhere(json.dumps({"a": f"say {s}"}))), response_of()),
    "request-text": lambda s: (request_of(body=f"say {s} now".encode()), response_of()),
    "request-form": lambda s: (request_of(body=f"a=1&b={quote(s, safe='')}".encode()), response_of()),
    "request-gzip": lambda s: (
        request_of(body=gzip.compress(anywhere(s)), **{"content-encoding": "gzip"}), response_of()),
    "response-header": lambda s: (request_of(), response_of(**{"x-echo": f"got {s.encode().decode('latin-1')}"})),
    "location": lambda s: (request_of(), response_of(location=f"https://x.example/?a={quote(s, safe='')}")),
    "message": lambda s: (request_of(), {**response_of(), "status": {"code": 401, "message": f"no {s}"}}),
    "error": lambda s: (request_of(), response_of(end="dropped", error=f"ReadError: {s}")),
    "json": lambda s: (request_of(), response_of(anywhere(s))),
    "escaped": lambda s: (request_of(), response_of(b'{"a": "x ' + escaped(s).encode() + b' y"}')),
    "half-escaped": lambda s: (request_of(), response_of(anywhere("~").replace(
        b"~", s[:3].encode() + escaped(s[3:6]).encode() + json.dumps(s[6:])[1:-1].replace("/", "\\/").encode()))),
    "percent": lambda s: (request_of(), response_of(anywhere(f"https://x.example/{quote(s, safe='')}"))),
    "base64": lambda s: (request_of(), response_of(anywhere(b64(s)))),
    "base64-1": lambda s: (request_of(), response_of(anywhere(b64(s, "x ", padded=False)))),
    "base64-2": lambda s: (request_of(), response_of(anywhere(b64(s, "xy ", url_safe=True)))),
    "base64-binary": lambda s: (request_of(), response_of(anywhere(base64.b64encode(
        bytes(range(200, 256)) + s.encode() + b"\0" + bytes(range(50))).decode()))),
    "base64-json": lambda s: (request_of(), response_of(anywhere(base64.b64encode(anywhere(s)).decode()))),
    "sse": lambda s: (request_of(), response_of(sse({"n": 1}, {"t": f"= {s}"}, {"n": 2}))),
    "deltas-1": lambda s: (request_of(), response_of(deltas(s, 1))),
    "deltas-5": lambda s: (request_of(), response_of(deltas(s, 5))),
    "ndjson": lambda s: (request_of(), response_of(b"".join(
        json.dumps({"response": piece}).encode() + b"\n" for piece in ["a ", s[:6], s[6:], " b"]))),
    "json-array": lambda s: (request_of(), response_of(json.dumps(
        [{"candidates": [{"content": {"parts": [{"text": piece}]}}]} for piece in ["a ", s[:6], s[6:], " b"]],
        indent=1).encode())),
    "plain-deltas": lambda s: (request_of(), response_of("".join(
        f"data: {piece}\n\n" for piece in json.dumps(s)[1:-1].partition(s[5:9])).encode())),
    "byte-by-byte": lambda s: (request_of(), response_of(anywhere(s), [1] * len(anywhere(s)))),
}  # fmt: skip


def said(pair):
    """Return all the bytes of a pair: its fields, and what YAML and JSON make of them."""
    request, response = pair
    plain = {"request": request._to_dict(), "response": response}
    parts = []

    def walk(value):
        if isinstance(value, dict):
            for item in value.items():
                walk(item)
        elif isinstance(value, (list, tuple)):
            for item in value:
                walk(item)
        else:
            parts.append(value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass"))

    walk(plain)
    written = yaml.dump(plain, Dumper=getattr(yaml, "CDumper", yaml.Dumper), width=10**6).encode()
    return b"\n".join([*parts, written]), parts


def texts(body):
    """Return what the deltas of a stream say, joined."""
    joined = ""
    whole = body.decode("utf-8", "replace")
    for line in [*whole.replace("\r", "\n").splitlines(), whole]:
        try:
            document = json.loads(line.removeprefix("data: "))
        except ValueError:
            joined += line.removeprefix("data: ")
            continue
        stack = [document]
        while stack:
            value = stack.pop()
            if isinstance(value, str):
                joined += value
            elif isinstance(value, (dict, list)):
                stack += reversed(list(value.values()) if isinstance(value, dict) else value)
    return joined.encode("utf-8", "surrogatepass")


def cores(secret):
    """Yield the base64 of a secret at each alignment, without the groups that its neighbours share."""
    for shift in range(3):
        whole = base64.b64encode(b"x" * shift + secret.encode()).decode()
        core = whole[4:].rstrip("=")[:-1] if shift else whole.rstrip("=")[:-1]
        yield core.encode()
        yield core.translate(str.maketrans("+/", "-_")).encode()


def assert_clean(pair, secret):
    everything, _ = said(pair)
    body = pair[1]["body"]["string"]
    forms = {secret, quote(secret, safe=""), json.dumps(secret)[1:-1], escaped(secret), secret.replace("/", "\\/")}
    for form in forms:
        assert form.encode() not in everything
        assert form.encode() not in texts(body)
    for core in cores(secret):
        assert core not in everything
    assert (
        PLACEHOLDER.encode() in everything
        or base64.b64encode(PLACEHOLDER.encode())[:10] in everything
        or (any(core in everything for core in (b"UkVEQUNURU", b"JFREFDVEVE", b"SRURBQ1RFR")))
    )


def assert_sound(before, after):
    """Check that what was JSON is, that sizes add up, that lengths are true."""
    for old, new in zip(
        (before[0].body, before[1]["body"]["string"]), (after[0].body, after[1]["body"]["string"]), strict=True
    ):
        assert_same_form(old, new)
    stream, body = after[1]["stream"], after[1]["body"]["string"]
    assert sum(stream["sizes"]) == len(body)
    assert len(stream["sizes"]) == len(before[1]["stream"]["sizes"])
    assert all(size >= 0 for size in stream["sizes"])
    assert after[1]["headers"]["content-length"] == [str(len(body))]
    assert after[0].headers["content-length"] == str(len(after[0].body))


def assert_same_form(old, new):
    def is_json(text):
        try:
            return bool(json.loads(text)) or True
        except ValueError:
            return False

    if is_json(old):
        assert is_json(new)
    old_lines, new_lines = old.split(b"\n"), new.split(b"\n")
    for before, after in zip(old_lines, new_lines, strict=False):
        if before.startswith(b"data: {"):
            assert is_json(before[6:]) == is_json(after[6:])


def redactor(*secrets, **environ):
    return Redactor(secrets, environ)


known = {**KINDS, **NAMELESS}


@pytest.mark.exhaustive
@each("kind", KINDS)
def test_the_form_of_a_key_gives_it_away_in_every_place(kind):
    secret = KINDS[kind]
    for place, plant in [*PLACES.items()][[*KINDS].index(kind) % 2 :: 2]:  # what is found depends on one or the other
        if "PRIVATE" in secret and place in {"header", "path", "response-header", "plain-deltas"}:
            continue  # a line end is in none of these
        pair = plant(secret)
        after = redactor().interaction(*deepcopy(pair))
        assert_clean(after, secret)
        assert_sound(pair, after)


@pytest.mark.exhaustive
@each(
    ("how", "kind"),
    [(how, kind) for how in ("named", "sent", "environment") for kind in (NAMELESS if how == "environment" else known)],
)
def test_a_known_secret_is_found_in_every_place(how, kind):
    secret = known[kind]
    if how == "sent" and ("\n" in secret or not secret.isascii()):
        pytest.skip("no header could carry it")
    first = ([*known].index(kind) + ("named", "sent", "environment").index(how)) % 3
    for place, plant in [*PLACES.items()][first::3]:  # how it is known makes no difference to where it is found
        if ("\n" in secret or not secret.isascii()) and place in {"header", "path", "response-header", "plain-deltas"}:
            continue
        pair = plant(secret)
        if how == "sent":
            pair[0].headers["authorization"] = f"Bearer {secret}"
        if how == "named":
            redacts = redactor(secret)
        else:
            redacts = redactor(MY_API_PASSWORD=secret) if how == "environment" else redactor()
        after = redacts.interaction(*deepcopy(pair))
        assert_clean(after, secret)
        assert_sound(pair, after)


SENT = {
    "bearer": lambda s: {"headers": {"Authorization": f"Bearer {s}"}},
    "other-scheme": lambda s: {"headers": {"authorization": f"Token {s}"}},
    "no-scheme": lambda s: {"headers": {"Authorization": s}},
    "proxy": lambda s: {"headers": {"Proxy-Authorization": f"Bearer {s}"}},
    "basic-password": lambda s: {"headers": {"Authorization": "Basic " + base64.b64encode(f"me:{s}".encode()).decode()}},
    "basic-user": lambda s: {"headers": {"Authorization": "Basic " + base64.b64encode(f"{s}:".encode()).decode()}},
    "aws": lambda s: {"headers": {"Authorization": f"AWS4-HMAC-SHA256 Credential=AK/20250101/eu/x, SignedHeaders=host, Signature={s}"}},
    "aws-token": lambda s: {"headers": {"X-Amz-Security-Token": s}},
    "x-api-key": lambda s: {"headers": {"x-api-key": s}},
    "api-key": lambda s: {"headers": {"api-key": s}},
    "google": lambda s: {"headers": {"x-goog-api-key": s}},
    "subscription": lambda s: {"headers": {"Ocp-Apim-Subscription-Key": s}},
    "unheard-of": lambda s: {"headers": {"x-acme-access-token": s}},
    "cookie": lambda s: {"headers": {"Cookie": f"theme=dark; session={s}"}},
    "organization": lambda s: {"headers": {"OpenAI-Organization": s}},
    **{f"?{name}": (lambda s, name=name: {"uri": f"{URL}?a=1&{name}={quote(s, safe='')}"}) for name in
       ("key", "api_key", "token", "access_token", "sig", "X-Amz-Signature", "X-Goog-Signature", "client_secret", "code")},
    "url-password": lambda s: {"uri": URL.replace("://", f"://me:{quote(s, safe='')}@")},
    "url-user": lambda s: {"uri": URL.replace("://", f"://{quote(s, safe='')}@")},
    "form": lambda s: {"body": f"grant_type=x&client_secret={quote(s, safe='')}".encode(),
                       "headers": {"content-type": "application/x-www-form-urlencoded"}},
    "field": lambda s: {"body": json.dumps({"auth": {"client_secret": s}}).encode()},
    "header-in-a-field": lambda s: {"body": json.dumps({"headers": {"Authorization": f"Bearer {s}"}}).encode()},
    "multipart": lambda s: {"body": b'--B\r\nContent-Disposition: form-data; name="password"\r\n\r\n' + s.encode() + b"\r\n--B--"},
}  # fmt: skip


def sending(place, secret):
    parts = SENT[place](secret)
    return request_of(parts.get("uri", URL), parts.get("body", b"{}"), **parts.get("headers", {}))


@each("place", SENT)
def test_a_credential_is_replaced_where_it_was_sent_and_wherever_it_is_echoed(place):
    secret, other = NAMELESS["mistral"], NAMELESS["azure-classic"]
    redacts = redactor()

    stored, response = redacts.interaction(sending(place, secret), response_of(anywhere(secret), **{"x-echo": secret}))

    assert_clean((stored, response), secret)
    again = redactor().request(sending(place, other))
    lengths = {"content-length"}
    assert (again.method, again.uri, again.body) == (stored.method, stored.uri, stored.body)
    assert {n: v for n, v in again.headers.items() if n not in lengths} == {
        n: v for n, v in stored.headers.items() if n not in lengths
    }


@pytest.mark.parametrize("key", ["", "test", "sk-test", "fake-key", "x", "not-needed", NAMELESS["cohere"]])
def test_a_tape_made_with_one_key_matches_a_request_with_any_other(key):
    stored = redactor().request(request_of(f"{URL}?key={KINDS['google']}", authorization=f"Bearer {KINDS['openai']}"))
    sent = redactor().request(request_of(f"{URL}?key={key or 'x'}", authorization=f"Bearer {key}"))

    assert (stored.uri, stored.body) == (sent.uri, sent.body)


@each("place", PLACES)
def test_redacting_twice_changes_nothing_and_the_given_pair_stays(place):
    pair = PLACES[place](KINDS["anthropic"])
    given_pair = deepcopy(pair)
    redacts = redactor()

    first = redacts.interaction(*pair)
    second = redacts.interaction(*deepcopy(first))
    fresh = redactor().interaction(*deepcopy(first))

    assert pair[0]._to_dict() == given_pair[0]._to_dict()
    assert pair[1] == given_pair[1]
    for again in (second, fresh):
        assert again[0]._to_dict() == first[0]._to_dict()
        assert again[1] == first[1]


def test_the_placeholder_is_in_the_chunk_where_the_secret_began():
    secret = KINDS["groq"]
    body = f"say {secret} now".encode()
    sizes = [2, 10, 20, len(body) - 32]

    _, after = redactor().interaction(request_of(), response_of(body, sizes))

    assert after["body"]["string"] == b"say REDACTED now"
    assert after["stream"]["sizes"] == [2, 10, 0, 4]


def test_a_key_said_token_by_token_is_replaced_in_the_delta_where_it_began():
    _, after = redactor().interaction(request_of(), response_of(deltas(KINDS["openai"], 16)))
    pieces = [
        json.loads(line[6:])["choices"][0]["delta"]["content"] for line in after["body"]["string"].splitlines() if line
    ]

    assert pieces == ["Your key is ", "REDACTED", "", "", "", ", keep it."]


def test_choices_and_kinds_of_deltas_are_texts_of_their_own():
    secret = KINDS["groq"]
    documents = [{"choices": [{"index": number, "delta": {"content": text}}]} for at in range(0, len(secret), 9)
                 for number, text in ((0, secret[at : at + 9]), (1, f"word{at} "))]  # fmt: skip

    _, after = redactor().interaction(request_of(), response_of(sse(*documents)))
    choices = [json.loads(line[6:])["choices"][0] for line in after["body"]["string"].splitlines() if line]

    assert "".join(choice["delta"]["content"] for choice in choices if not choice["index"]) == PLACEHOLDER
    assert "".join(choice["delta"]["content"] for choice in choices if choice["index"]) == "".join(
        f"word{at} " for at in range(0, len(secret), 9)
    )


def test_what_a_compressed_response_holds_is_stored_decoded_only_if_it_holds_a_secret():
    def compressed(text):
        response = response_of(gzip.compress(anywhere(text), mtime=0), **{"content-encoding": "gzip"})
        del response["stream"]
        return response

    _, clean = redactor().interaction(request_of(), compressed("nothing"))
    _, after = redactor().interaction(request_of(), compressed(KINDS["xai"]))

    assert clean == compressed("nothing")
    assert json.loads(after["body"]["string"])["error"]["message"] == "I read REDACTED here"
    assert "content-encoding" not in after["headers"]
    assert after["wire"]["headers"]["content-encoding"] == ["gzip"]


@pytest.mark.parametrize("body", [{"api_key": "abc", "n": 1}, iter([b'{"api_key": ', b'"abc", "n": 1}'])])
def test_bodies_of_other_clients_are_read_too(body):
    stored = redactor().request(Request("POST", URL, body, {}))

    stored_body = stored.body if isinstance(stored.body, dict) else json.loads(b"".join(stored.body))
    assert stored_body == {"api_key": PLACEHOLDER, "n": 1}


@pytest.mark.parametrize(
    "body", [io.BytesIO(b"say " + KINDS["groq"].encode()), bytearray(b"say " + KINDS["groq"].encode()),
             f"say {KINDS['groq']}", ["say ", KINDS["groq"]], {"say": (KINDS["groq"], object())}],
    ids=["file", "bytearray", "text", "pieces", "objects"],
)  # fmt: skip
def test_bodies_of_any_kind_are_read(body):
    stored = redactor().request(Request("POST", URL, body, {b"x-note": b"see " + KINDS["groq"].encode()}))

    shown = stored.body.read() if hasattr(stored.body, "read") else stored.body
    assert KINDS["groq"] not in str(shown)
    assert PLACEHOLDER in str(shown)
    assert list(stored.headers.values()) == [b"REDACTED"]


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("gzip", bytes), ("br", bytes)]
)
def test_compressed_requests_without_a_secret_stay(encoding, pack):
    body = pack(b"nothing to see")

    assert redactor().request(request_of(body=body, **{"content-encoding": encoding})).body == body


def test_a_long_body_is_searched_again_when_more_is_known():
    secret, redacts = NAMELESS["cohere"], redactor()
    request = request_of(body=b"word " * 4000 + secret.encode())

    assert redacts.request(request).body == redacts.request(request).body == request.body
    redacts.learn(request_of(**{"x-api-key": secret}))
    assert redacts.request(request).body == b"word " * 4000 + PLACEHOLDER.encode()
    for number in range(10):
        redacts.text(f"{number} " * 5000)
    assert redacts.request(request).body.endswith(PLACEHOLDER.encode())


@pytest.mark.parametrize(
    "response", [{"status": {"code": 204}, "headers": {}, "body": {"string": None}}, {"body": None}]
)
def test_responses_without_a_body_stay(response):
    _, after = redactor().interaction(request_of(), response)

    assert after == {"headers": {}, **response}


def test_a_response_that_names_its_url_is_read_there_too():
    _, after = redactor().interaction(request_of(), {**response_of(), "url": f"{URL}?key=abc"})

    assert after["url"] == f"{URL}?key=REDACTED"


@pytest.mark.parametrize("value", ["Basic !!!", "Basic bm90aGluZw==", "Bearer", " "])
def test_credentials_that_are_none_do_no_harm(value):
    stored = redactor().request(request_of(authorization=value))

    assert stored.headers["authorization"] in {"Basic REDACTED", "REDACTED", " "}


@pytest.mark.exhaustive
def test_many_threads_learn_and_redact_at_once():
    redacts, failures = redactor(), []

    def work(number):
        for turn in range(10):
            secret = made(f"{number}", ALNUM, 30 + turn)
            pair = request_of(authorization=f"Bearer {secret}"), response_of(anywhere(secret))
            if secret.encode() in redacts.interaction(*pair)[1]["body"]["string"]:
                failures.append(secret)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []


def framed(*payloads):
    """Return an event stream of Amazon's: a frame with one header for each payload."""
    header = b"\x0b:event-type\x07\x00\x05chunk"
    frames = b""
    for payload in payloads:
        lengths = struct.pack(">II", 16 + len(header) + len(payload), len(header))
        frame = lengths + struct.pack(">I", zlib.crc32(lengths)) + header + payload
        frames += frame + struct.pack(">I", zlib.crc32(frame))
    return frames


@pytest.mark.parametrize(
    "pieces", [["a ", KINDS["openai"], " b"], ["a ", KINDS["openai"][:20], KINDS["openai"][20:], " b"]]
)
def test_frames_of_an_event_stream_stay_true(pieces):
    payloads = [json.dumps({"contentBlockIndex": 0, "delta": {"text": piece}}).encode() for piece in pieces]
    body = framed(*payloads)

    _, after = redactor().interaction(request_of(), response_of(body, [10, 30, len(body) - 40]))

    expected = ["a ", PLACEHOLDER, "", " b"] if len(pieces) > 3 else ["a ", PLACEHOLDER, " b"]
    payloads = [json.dumps({"contentBlockIndex": 0, "delta": {"text": piece}}).encode() for piece in expected]
    assert after["body"]["string"] == framed(*payloads)
    assert sum(after["stream"]["sizes"]) == len(after["body"]["string"])


def test_what_a_broken_stream_has_of_a_secret_is_replaced_too():
    secret = NAMELESS["cohere"]
    body = f"it is {secret[:-1]}".encode()
    broken = sse(*({"delta": {"content": piece}} for piece in ("it is ", secret[:9], secret[9:20], secret[20:35])))

    for part in (body, broken):
        _, after = redactor(secret).interaction(request_of(), response_of(part, end="dropped"))
        assert secret[:9].encode() not in after["body"]["string"]
        assert secret[20:35].encode() not in after["body"]["string"]
        assert PLACEHOLDER.encode() in after["body"]["string"]


def test_a_secret_of_digits_is_replaced_in_texts_and_not_in_numbers():
    body = json.dumps(
        {"pin": "48151623", "created": 48151623, "all": [1.48151623, 48151623], "say": "it is 48151623."}
    ).encode()

    _, after = redactor("48151623").interaction(request_of(), response_of(body))

    assert json.loads(after["body"]["string"]) == {
        "pin": PLACEHOLDER, "created": 48151623, "all": [1.48151623, 48151623], "say": f"it is {PLACEHOLDER}.",
    }  # fmt: skip


def test_a_named_secret_that_words_would_hold_is_refused():
    with pytest.raises(ValueError, match="a secret of 3 characters would be found in ordinary words; it needs 4"):
        Redactor(["abc"], {})


def test_vcrpy_writes_and_matches_with_it(tmp_path):
    import vcr

    def engine():
        redacts = redactor()
        return vcr.VCR(before_record_request=redacts.request, before_save_interaction=redacts.interaction)

    first, second = NAMELESS["mistral"], NAMELESS["cohere"]
    with engine().use_cassette(tmp_path / "tape.yaml") as tape:
        response = response_of(anywhere(first))
        tape.append(request_of(f"{URL}?key={first}", body=b"{}", authorization=f"Bearer {first}"), response)
    with engine().use_cassette(
        tmp_path / "tape.yaml", record_mode="none", match_on=["uri", "method", "body", "headers"]
    ) as tape:
        played = tape.play_response(request_of(f"{URL}?key={second}", body=b"{}", authorization=f"Bearer {second}"))

    assert first not in (tmp_path / "tape.yaml").read_text()
    assert json.loads(played["body"]["string"])["error"]["message"] == f"I read {PLACEHOLDER} here"
    assert first.encode() in response["body"]["string"]


# ---- At random ------------------------------------------------------------------------------------------------------

tails = st.text(ALNUM + "_-", min_size=24, max_size=60).filter(lambda text: any(c.isdigit() for c in text))
passwords = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=10, max_size=40)


@st.composite
def planted(draw):
    by_form = draw(st.booleans())
    secret = draw(st.sampled_from(["sk-pr" + "oj-", "sk-a" + "nt-", "gs" + "k_", "gh" + "p_"])) + draw(
        st.text(ALNUM, min_size=36, max_size=60).filter(lambda text: len(set(text.lower())) > 8)
    ) if by_form else "Zq7" + draw(passwords)  # fmt: skip
    place = draw(st.sampled_from(sorted(PLACES)))
    request, response = PLACES[place](secret)
    body = response["body"]["string"]
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=6)))
    sizes = [after - before for before, after in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    response["stream"].update(sizes=sizes, delays=[0.0] * len(sizes))
    return secret, by_form, (request, response)


@given(planted())
def test_random_secrets_at_random_places_and_cuts_are_not_stored(plant):
    secret, by_form, pair = plant
    redacts = redactor() if by_form else redactor(secret)

    after = redacts.interaction(*deepcopy(pair))

    assert_clean(after, secret)
    assert_sound(pair, after)
    again = redacts.interaction(*deepcopy(after))
    assert again[0]._to_dict() == after[0]._to_dict()
    assert again[1] == after[1]


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
                    max_leaves=12))  # fmt: skip
@example({"password": '"', "x": ", \\"})
@example({"say": '"password": ', "next": '"api_key":"'})
@example(['\\"token":', ",", '"authorization":"'])
def test_json_is_json_after_redaction_and_its_numbers_are_the_same(document):
    numbers = []

    def numbered(value):
        if isinstance(value, dict):
            for inner in value.values():
                numbered(inner)
        elif isinstance(value, list):
            for inner in value:
                numbered(inner)
        elif not isinstance(value, str):
            numbers.append(value)

    for body in (json.dumps(document).encode(), json.dumps(json.dumps(document)).encode()):
        _, after = redactor(KINDS["openai"], NAMELESS["cohere"]).interaction(request_of(), response_of(body))
        result = json.loads(after["body"]["string"])
    first = json.loads(
        redactor().interaction(request_of(), response_of(json.dumps(document).encode()))[1]["body"]["string"]
    )
    numbered(document)
    expected, numbers = numbers, []
    numbered(first)
    assert isinstance(result, str)
    assert numbers == expected


# ---- False alarms ---------------------------------------------------------------------------------------------------

HARMLESS = [
    {"id": "chatcmpl-AbC123dEf456GhI789jKl012MnO345", "created": 1700000000, "model": "gpt-4o-mini-2024-07-18"},
    {"id": "msg_01XFDUDYJgAACzvnptvVoYEL", "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy"},
    {"id": "resp_68a1b2c3d4e5f60718293a4b5c6d7e8f", "system_fingerprint": "fp_560af6e559"},
    {"uuid": "123e4567-e89b-12d3-a456-426614174000", "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
    {"usage": {"prompt_tokens": 12, "completion_tokens": 34, "total_tokens": 46}, "token": "Hello", "key": "value"},
    {"type": "thinking", "signature": "EqMBCkYIBRgCKkA" + "a1B2" * 40, "encrypted_content": "gAAAAAB" + "x9Y_" * 50},
    {"content": "task-oriented, risk-averse and ask-me-anything-you-would-like-to-know"},
    {"content": "Set OPENAI_API_KEY=your-api-key and password: <your password>, token = getToken(user)"},
    {"content": "postgres://user:password@localhost:5432/db and https://example.com/@someone"},
    {"content": "password = base64.b64decode(text2)\nsecret_key: str = client.auth2.getAccessTokenV2\napi_key=os.environ['K']"},
    {"logprobs": [{"token": "key", "logprob": -0.12345678, "bytes": [107, 101, 121]}]},
    {"date": "2024-01-02T03:04:05.678901Z", "phone": "+1 555 010 9999", "version": "1.2.3-rc.4"},
    {"properties": {"password": {"type": "string"}, "api_key": {"type": "string"}}, "required": ["api_key"]},
    {"image": "data:image/png;base64," + base64.b64encode(random.Random(1).randbytes(5000)).decode()},
    {"obfuscation": "aZ3kQ9", "tool_call_id": "call_9pw5kqEZ8sS0J1n2o3p4q5r6", "tool": "toolu_01A09q90qw90lq917835lq9"},
]  # fmt: skip


@each("document", HARMLESS, ids=lambda document: next(iter(document)))
def test_what_only_looks_secret_stays(document):
    body = sse(document, {**document, "n": 2})
    pair = request_of(body=json.dumps(document).encode()), response_of(body)

    request, response = redactor(OTHER_TOKEN=NAMELESS["cohere"]).interaction(*deepcopy(pair))

    assert (request._to_dict(), response) == (pair[0]._to_dict(), pair[1])


HEADERS = {
    "x-request-id": "req_011CSHoEeqs5C35K2UUqR7Fy", "cf-ray": "8c1f2e3d4c5b6a79-FRA", "date": "Tue, 24 Nov 2026 21:03:40 GMT",
    "x-ratelimit-remaining-tokens": "149999", "anthropic-ratelimit-tokens-reset": "2026-11-24T21:03:40Z",
    "x-amzn-bedrock-input-token-count": "12", "access-control-allow-headers": "authorization, x-api-key",
    "openai-model": "gpt-4o-2024-08-06", "etag": '"33a64df551425fcc55e4d42a148795d9f25f89d4"', "x-ratelimit-key": "global",
    "x-litellm-key-spend": "0.012", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "user-agent": "OpenAI/Python 3.54.0", "x-stainless-arch": "x64", "idempotency-key": "stainless-python-retry-0f1e2d3c4b5a",
}  # fmt: skip


@each("text", ["API_KEY=~", "export my_secret='~'", "password: ~", "aws_secret_access_key = ~"])
@each("kind", ["mistral", "azure-classic", "aws-secret", "uuid"])
def test_a_value_given_to_a_secret_name_is_replaced_in_a_text(text, kind):
    assert redactor().text(text.replace("~", NAMELESS[kind])) == text.replace("~", PLACEHOLDER)


@each("name", HEADERS)
def test_headers_that_only_sound_secret_stay(name):
    request = redactor().request(request_of(**{name: HEADERS[name]}))
    response = redactor().response(response_of(**{name: HEADERS[name]}))

    assert response["headers"][name] == [HEADERS[name]]
    assert request.headers[name] == (HEADERS[name] if is_harmless(name) else PLACEHOLDER)


def test_the_environment_gives_what_looks_secret_by_name_and_value():
    environ = {
        "OPENAI_API_KEY": NAMELESS["mistral"], "DB_PASSWORD": "swordfish-x", "DATABASE_URL": "postgres://u:hunter2abc@h/db",
        "SERVICE_CREDENTIALS": json.dumps({"type": "service_account", "private_key": pem("")}),
        "TOKENIZERS_PARALLELISM": "false", "MAX_TOKENS": "100000000", "KEY_FILE": "/home/me/a1b2c3d4.json",
        "MODEL_KEY": "gpt-4o-mini-2024-07-18", "SECRET_BACKEND": "kubernetes", "API_KEY": "your-api-key", "KEYBOARD": "us9x8y7z6w",
        "MONKEY_PATCH_TOKEN": "no", "PATH": "/usr/bin:/a1b2c3d4e5f6",
    }  # fmt: skip

    assert environment_secrets(environ) - {environ["SERVICE_CREDENTIALS"]} == {
        NAMELESS["mistral"], "swordfish-x", "hunter2abc", pem(""),
    }  # fmt: skip


def _pairs():
    """Yield the interactions of the corpus that a tree of YAML or JSON gives: method, URL, headers and bodies."""
    from pathlib import Path

    for path in sorted((Path(CORPUS) / "streams").iterdir()):
        if path.suffix in {".yaml", ".yml"}:
            document = cassette(path.name)
            yield from ((path.name, one) for one in document.get("interactions", document.get("http_interactions", [])))


def _as_bytes(body):
    body = body.get("string", b"") if isinstance(body, dict) else body
    return body.encode() if isinstance(body, str) else bytes(body or b"")


@pytest.mark.exhaustive
@needs_corpus
def test_no_body_of_the_corpus_is_touched():
    for name, pair in _pairs():
        for side in ("request", "response"):
            body = _as_bytes(pair.get(side, {}).get("body"))
            assert body[:50_000] == redacted(body[:50_000]), name


def redacted(body):
    _, response = redactor().interaction(request_of(), response_of(body))
    return response["body"]["string"]


@pytest.mark.exhaustive
@needs_corpus
def test_headers_of_the_corpus_are_touched_where_they_are_credentials_accounts_or_cookies():
    fields = {
        (name, str(value))
        for _, pair in _pairs()
        for side in ("request", "response")
        for name, values in (pair.get(side, {}).get("headers") or {}).items()
        for value in (values if isinstance(values, list) else [values])
    }
    touched = set()
    for name, value in fields:
        _, response = redactor().interaction(request_of(), response_of(**{name: value}))
        if response["headers"][name] != [value]:
            touched.add(name.lower())

    assert touched <= {
        "authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "set-cookie", "x-amz-security-token",
        "openai-organization", "openai-project", "anthropic-organization-id",
    }  # fmt: skip


def test_finding_is_the_same_every_time():
    data = anywhere(KINDS["jwt"]) * 3

    assert find(data, {}) == find(data, {})
