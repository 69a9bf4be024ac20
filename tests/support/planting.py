"""Made-up secrets of every known kind, the places and the surroundings in which they are planted, and what is harmless.

All is made at run time from the table of kinds: nothing in these files looks like a key to a scanner.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import string
import struct
import zlib
from urllib.parse import quote, quote_plus

from vcr.request import Request

from fakellm.secrets.kinds import KINDS

URL = "https://api.example.com/v1/chat/completions"
_DIGITS, _LOWER, _UPPER = string.digits, string.ascii_lowercase, string.ascii_uppercase
_SIGNS = {
    "A": _DIGITS + _LOWER + _UPPER, "W": _DIGITS + _LOWER + _UPPER + "_-", "V": _DIGITS + _LOWER + _UPPER + "_",
    "P": _DIGITS + _LOWER + _UPPER, "B": _DIGITS + _LOWER + _UPPER + "+/", "U": _DIGITS + _UPPER,
    "L": _DIGITS + _LOWER, "X": _DIGITS + "abcdef", "H": _DIGITS + "abcdefABCDEF", "E": _LOWER + _UPPER, "D": _DIGITS,
}  # fmt: skip
_PART = re.compile(r"<([A-Z])(\d+)(?:-(\d+))?>")
HEX = _SIGNS["X"]


def _random(rand, signs, length):
    text = [rand.choice(signs) for _ in range(length)]
    if len(signs) > len(_DIGITS) and length > 7:  # a key of that length without a digit is one in thousands
        text[1::7] = [rand.choice(_DIGITS) for _ in text[1::7]]
        text[2::7] = [rand.choice([sign for sign in signs if sign.isalpha()]) for _ in text[2::7]]
    return "".join(text)


def made(form, rand):
    """Make a key of a form of the table."""
    return _PART.sub(lambda part: _random(rand, _SIGNS[part[1]], int(part[3] or part[2])), form.removesuffix("$"))


def _jwt(rand):
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in
             ({"alg": "HS256", "typ": "JWT"}, {"sub": _random(rand, _DIGITS, 10), "iat": 1516239022})]  # fmt: skip
    return ".".join([*parts, _random(rand, _SIGNS["W"], 43)])


def _pem(kind, rand):
    lines = "\n".join(_random(rand, _SIGNS["B"], 64) for _ in range(4))
    return f"-----BEGIN {kind}PRIVATE " + f"KEY-----\n{lines}\n-----END {kind}PRIVATE " + "KEY-----"


def _without_table(rand):
    """Yield the kinds that no row of the table says."""
    letters, hexes = _SIGNS["A"], HEX
    yield "OpenAI key, old", "sk-" + _random(rand, letters, 20) + "T3Blbk" + "FJ" + _random(rand, letters, 20)
    yield "DeepSeek key", "sk-" + _random(rand, hexes, 32)
    yield "JSON Web Token", _jwt(rand)
    yield "Azure key", _random(rand, letters, 52) + "JQQ" + "J99" + _random(rand, letters, 26)
    yield "Azure client secret", _random(rand, letters, 3) + "8Q" + "~" + _random(rand, letters, 34)
    yield "private key", _pem("", rand)
    yield "private key, RSA", _pem("RSA ", rand)
    yield "private key, OpenSSH", _pem("OPENSSH ", rand)
    yield (
        "Discord token",
        "MT" + _random(rand, letters, 24) + "." + _random(rand, letters, 6) + "." + _random(rand, letters, 38),
    )
    yield "Zhipu key", _random(rand, hexes, 32) + "." + _random(rand, letters, 16)
    yield "Firebase key", _random(rand, letters, 11) + ":APA" + "91b" + _random(rand, letters, 134)


def secrets(rand):
    """Return a made-up secret of each kind: (kind, secret)."""
    table = [(kind, made(form, rand)) for kind, form, _ in KINDS]
    return [*table, *_without_table(rand)]


# ---- Surroundings ---------------------------------------------------------------------------------------------------

SURROUNDINGS = {
    "alone": "{}",
    "in a sentence": "the key is {}, keep it.",
    "a terminal's colours": "found \x1b[32m{}\x1b[0m in it",
    "bold": "it is **{}**!",
    "emphasis": "it is _{}_!",
    "code": "use `{}` here",
    "a removed line": "@@ -1 +1 @@\n-{}\n+nothing\n",
    "a shell's export": "export SOME_NAME='{}'",
    "a link": "see https://x.example/a?b={}&c=1",
    "HTML": "<td>{}</td>",
    "quoted": '{{"found": "{}"}}',
    "another alphabet": "\u5bc6\u94a5{}\u3002",
}
GLUED = {"a letter": "x{}", "a digit": "7{}", "an underline": "_{}", "a hyphen": "-{}"}

# ---- Places ---------------------------------------------------------------------------------------------------------


def request_of(uri=URL, body=b'{"model": "m", "n": 1}', **headers):
    return Request("POST", uri, body, {"content-length": str(len(body)), **headers})


def response_of(body=b'{"ok": true}', sizes=None, end="complete", error=None, **headers):
    sizes = [len(body)] if sizes is None else sizes
    return {
        "status": {"code": 200, "message": "OK"},
        "headers": {"content-length": [str(len(body))], **{name: [value] for name, value in headers.items()}},
        "body": {"string": body},
        "stream": {"sizes": sizes, "delays": [0.0] * len(sizes), "end": end, "error": error},
    }


def sse(*documents):
    return b"".join(b"data: " + json.dumps(document, ensure_ascii=False).encode() + b"\n\n" for document in documents)


def pieces_of(text, every):
    return [text[at : at + every] for at in range(0, len(text), every)]


def _logprobs(text):
    tokens = [{"token": piece, "logprob": -0.1, "bytes": list(piece.encode()),
               "top_logprobs": [{"token": piece, "logprob": -0.1, "bytes": list(piece.encode())},
                                {"token": "no", "logprob": -3.2, "bytes": [110, 111]}]}
              for piece in pieces_of(text, 3)]  # fmt: skip
    return {
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "hidden"}, "logprobs": {"content": tokens}}
        ]
    }


def _framed(*payloads):
    header = b"\x0b:event-type\x07\x00\x05chunk"
    frames = b""
    for payload in payloads:
        lengths = struct.pack(">II", 16 + len(header) + len(payload), len(header))
        frame = lengths + struct.pack(">I", zlib.crc32(lengths)) + header + payload
        frames += frame + struct.pack(">I", zlib.crc32(frame))
    return frames


def _form(text):
    body = f"a=1&b={quote_plus(text)}".encode()
    return request_of(body=body, **{"content-type": "application/x-www-form-urlencoded"})


def _json(value):
    return json.dumps(value, ensure_ascii=False).encode()


def _latin(text):
    return quote(text, safe=" =:;,/{}[]()<>\"'!?&*`_@.+-|~$#%^")


PLACES = {
    "a URL's path": lambda s: (request_of(f"{URL}/{quote(s, safe='')}/x"), response_of()),
    "a URL's query": lambda s: (request_of(f"{URL}?q={quote(s, safe='')}&n=2"), response_of()),
    "a request, text": lambda s: (request_of(body=s.encode()), response_of()),
    "a request, JSON": lambda s: (request_of(body=_json({"messages": [{"role": "user", "content": s}]})), response_of()),
    "a request, parts": lambda s: (request_of(body=_json({"messages": [{"role": "user", "content": [
        {"type": "text", "text": piece} for piece in pieces_of(s, 9)]}]})), response_of()),
    "a request, form": lambda s: (_form(s), response_of()),
    "a request, gzip": lambda s: (
        request_of(body=gzip.compress(_json({"a": s})), **{"content-encoding": "gzip"}), response_of()),
    "a request, UTF-16": lambda s: (request_of(body=json.dumps({"say": s}).encode("utf-16-le")), response_of()),
    "an answer's header": lambda s: (request_of(), response_of(**{"x-echo": _latin(s.replace("\n", " "))})),
    "an answer's status": lambda s: (request_of(), {**response_of(), "status": {"code": 401, "message": f"no {s}"}}),
    "an error": lambda s: (request_of(), response_of(end="dropped", error=f"ReadError: {s}")),
    "an answer, JSON": lambda s: (request_of(), response_of(_json({"error": {"message": s}}))),
    "an answer, ASCII": lambda s: (request_of(), response_of(json.dumps({"error": {"message": s}}).encode())),
    "an answer, JSON in JSON": lambda s: (request_of(), response_of(_json({"arguments": json.dumps({"a": s})}))),
    "an answer, percent": lambda s: (request_of(), response_of(_json({"to": f"https://x.example/{quote(s, safe='')}"}))),
    "an answer, base64": lambda s: (request_of(), response_of(_json({"d": base64.b64encode(f"xy {s} z".encode()).decode()}))),
    "an answer, base64 twice": lambda s: (request_of(), response_of(_json(
        {"d": base64.b64encode(base64.b64encode(f"k={s}".encode())).decode()}))),
    "an answer, base64 of gzip": lambda s: (request_of(), response_of(_json(
        {"d": base64.b64encode(gzip.compress(f"k={s}".encode(), mtime=0)).decode()}))),
    "an answer, JSON, letter by letter": lambda s: (request_of(), response_of(
        ('{"a": "' + "".join(f"\\u{ord(c):04x}" if ord(c) < 0xFFFF else c for c in s) + '"}').encode())),
    "an answer, XML": lambda s: (request_of(), response_of(
        f"<a><b>{s.replace('&', '&amp;').replace('<', '&lt;').replace('-', '&#45;')}</b></a>".encode())),
    "an answer, UTF-16": lambda s: (request_of(), response_of(f"<a>{s}</a>".encode("utf-16-be"))),
    "deltas of one": lambda s: (request_of(), response_of(sse(*({"choices": [{"index": 0, "delta": {"content": piece}}]}
        for piece in ["It says ", *s, " !"])))),
    "deltas of seven": lambda s: (request_of(), response_of(sse(*({"type": "content_block_delta", "index": 0,
        "delta": {"type": "text_delta", "text": piece}} for piece in ["It says ", *pieces_of(s, 7), " !"])))),
    "deltas, CRLF": lambda s: (request_of(), response_of(
        sse(*({"delta": {"text": piece}} for piece in pieces_of(s, 3))).replace(b"\n", b"\r\n"))),
    "deltas of two choices": lambda s: (request_of(), response_of(sse(*({"choices": [
        {"index": index, "delta": {"content": piece if index else "ab "}}]} for piece in pieces_of(s, 5) for index in (0, 1))))),
    "arguments of a tool": lambda s: (request_of(), response_of(sse(*({"type": "content_block_delta", "index": 1,
        "delta": {"type": "input_json_delta", "partial_json": piece}} for piece in pieces_of(json.dumps({"a": s}), 5))))),
    "lines of JSON": lambda s: (request_of(), response_of(b"".join(
        _json({"message": {"role": "assistant", "content": piece}}) + b"\n" for piece in ["a ", *pieces_of(s, 6), " b"]))),
    "parts of an answer": lambda s: (request_of(), response_of(_json({"candidates": [{"content": {"parts": [
        {"text": piece} for piece in pieces_of(s, 8)]}}]}))),
    "parts in a stream": lambda s: (request_of(), response_of(sse(*({"candidates": [{"content": {"parts": [
        {"text": piece} for piece in pieces_of(half, 5)]}}]} for half in pieces_of(s, len(s) // 2 + 1))))),
    "logprobs": lambda s: (request_of(), response_of(_json(_logprobs(s)))),
    "logprobs in a stream": lambda s: (request_of(), response_of(sse(*map(_logprobs, pieces_of(s, 6))))),
    "logprobs, old": lambda s: (request_of(), response_of(_json({"choices": [{"text": "hidden", "index": 0, "logprobs": {
        "tokens": pieces_of(s, 4), "top_logprobs": [{piece: -0.1, "no": -3.0} for piece in pieces_of(s, 4)]}}]}))),
    "an event stream": lambda s: (request_of(), response_of(_framed(*(
        _json({"contentBlockIndex": 0, "delta": {"text": piece}}) for piece in ["a ", *pieces_of(s, 5), " b"])))),
    "an event stream, wrapped": lambda s: (request_of(), response_of(_framed(*(
        _json({"bytes": base64.b64encode(_json({"delta": {"text": piece}})).decode(), "p": "abc"})
        for piece in ["a ", *pieces_of(s, 5), " b"])))),
    "a broken stream": lambda s: (request_of(), response_of(sse(*({"delta": {"content": piece}}
        for piece in ["it is ", *pieces_of(s, 4)]))[:-2], end="dropped", error="ReadError: ''")),
}  # fmt: skip
LINES_ONLY = {"a URL's path", "an answer's header", "an answer's status"}


def said(pair):
    """Return all that a stored pair says: its bytes as they are, decoded, and the pieces of texts joined."""
    request, response = pair
    bodies = [request.body or b"", response["body"]["string"]]
    bodies = [body if isinstance(body, bytes) else str(body).encode() for body in bodies]
    bodies = [gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body for body in bodies]
    texts = [
        str(request.uri),
        str(request.headers),
        str(response["headers"]),
        str(response["status"]),
        str(response["stream"]),
    ]
    for body in bodies:
        texts += [body.decode("latin-1"), body.replace(b"\0", b"").decode("latin-1"), *_joined(body)]
    return "\n".join(texts)


def _joined(body):
    """Yield what the pieces of a body add up to: the strings, keys and bytes at each way, and over lists."""
    documents = [line.removeprefix("data: ") for line in body.decode("utf-8", "replace").splitlines()]
    frames = re.findall(rb'\{"contentBlockIndex.*?\}\}', body)
    wrapped = [base64.b64decode(text) for text in re.findall(rb'"bytes": "([A-Za-z0-9+/=]+)"', body)]
    texts = {}
    for document in [*documents, *frames, *wrapped]:
        try:
            _collect(json.loads(document), (), texts)
        except ValueError:
            continue
    yield from ("".join(parts) for parts in texts.values())


def _collect(value, way, texts):
    """Put the strings of a document with those at the same way."""
    if isinstance(value, str):
        texts.setdefault(way, []).append(value)
    elif isinstance(value, dict):
        for name, inner in value.items():
            _collect(inner, (*way, name), texts)
        if all(isinstance(inner, float) for inner in value.values()):
            _collect(next(iter(value), ""), (*way, "key"), texts)
    elif isinstance(value, list) and value and isinstance(value[0], int):
        texts.setdefault((*way, "bytes"), []).append(bytes(item % 256 for item in value).decode("latin-1"))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _collect(inner, (*way, index if way and way[-1] == "top_logprobs" else "*"), texts)


def is_said(secret, text):
    """Tell whether a secret is in what was said, in any of its spellings."""
    spellings = {
        secret,
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        secret.replace("-", "&#45;"),
    }
    if any(spelling in text for spelling in spellings):
        return True
    if any(secret in gzip.decompress(base64.b64decode(found)).decode() for found in re.findall(r"H4sI[\w+/]+=*", text)):
        return True
    for shift in range(3):
        whole = base64.b64encode(b"x" * shift + secret.encode()).decode()
        if (whole[4:] if shift else whole).rstrip("=")[:-1] in text:
            return True
    return False
