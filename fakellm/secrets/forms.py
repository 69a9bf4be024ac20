"""The forms of keys, as expressions: those of the table of kinds, and those that no row of a table could say.

Where does a key begin? Not only where a word does: a terminal's colours (`ESC[32m`), Markdown's emphasis, the minus of
a removed line, a name that is glued to it are right before keys in what agents say and read. So most are found wherever
they stand. Two things stay: a prefix that is short, or a word, has to begin a word (`task-` is not `sk-`), and what
lies in a long random run, a picture in base64, a signature, is a part of that and no key, though it looks like one.

Where does it end? Where its alphabet does, but not before a bit more than half of it: a stream that broke off, or that
a limit of tokens cut, leaves most of a key. At the very end of a text four of its characters are enough.

What has to be searched? The literals of all forms are looked for in the runs of a text that are long enough for a key,
not in the text, and of a run without an end in its begin: all else is in the middle of a blob.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from math import ceil

from fakellm.secrets.distinct import distinct
from fakellm.secrets.edits import Edit
from fakellm.secrets.kinds import ALPHABETS, KINDS, WORDS
from fakellm.secrets.shapes import DOCUMENTED, PLACEHOLDER, has_shape, is_dummy, is_random, is_wordy, is_worth_hunting

_MARK = PLACEHOLDER.encode()


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a key: where `literal` occurs, `regex` is matched; its group 1 is secret.

    `cut` is matched there too: what is left of the key at the end of a text. `back` is how many bytes before the
    literal a key may begin. One that `begins` with the literal is none inside of a blob, and where it `is_free`, a word
    may go before it.
    """

    kind: str
    literal: bytes
    regex: re.Pattern[bytes]
    accepts: Callable[[str], bool]
    cut: re.Pattern[bytes] | None = None
    back: int = 0
    is_free: bool = True
    begins: bool = False

    def spans(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Yield where keys of this form are.

        What has the form and is none is passed over whole: to look for another at each place inside of it would read a
        long run as often as it has places.
        """
        at = data.find(self.literal)
        while at >= 0:
            after = at + 1
            if not self.begins or _may_begin(data, at, is_free=self.is_free):
                for match in self._matches(data, at):
                    after = max(after, match.end(1))
                    if _MARK not in match[1] and self.accepts(_text(match[1])):
                        yield match.span(1)
                        break
            at = data.find(self.literal, after)

    def _matches(self, data: bytes, at: int) -> Iterator[re.Match[bytes]]:
        if self.back:
            found = self.regex.finditer(data, max(at - self.back, 0), at + self.back + 100)
            yield from (match for match in found if match.start(1) <= at < match.end(1))
            return
        for regex in (self.regex, self.cut):
            if regex is not None and (match := regex.match(data, at)):
                yield match


def formed(data: bytes) -> Iterator[Edit]:
    """Find what has the form of a key."""
    runs = data if len(data) <= _ENDS else _runs(data)
    for form in _candidates(data, runs):
        yield from (Edit(*span, _MARK, form.kind) for span in form.spans(data))
    long = b"\n".join([run for run in runs.split(b"\n") if len(run) > _LONG and _JOINT.search(run)])
    for kind, regex in _loose() if long else ():
        if regex.search(long):
            found = (match for match in regex.finditer(data) if has_shape(_text(match[1])))
            yield from (Edit(*match.span(1), _MARK, kind) for match in found)


_JOINT = re.compile(rb"[.:|]|[0-9a-f]{32}-[0-9a-f]{8}-")
_GRAM = 3
_FEW = 4096
"""Bytes up to which all triples are made sooner than each literal is looked for."""
_LONG = 40


def _candidates(data: bytes, runs: bytes) -> Iterable[Form]:
    """Return the forms whose literals occur; in a short text they are known by what its triples of bytes begin."""
    if len(data) > _ENDS:
        parts = distinct(data)  # no literal holds a comma
        # In the order of the table: of two forms that find the same, the first says what it is.
        likely = range(len(forms())) if len(runs) > _FEW else sorted({*_begun(runs), *_spaced()})
        found = map(forms().__getitem__, likely)
        return [form for form in found if form.literal in (parts if form.literal in _SPACED else runs)]
    return [form for number in _begun(data) if (form := forms()[number]).literal in data]


def _begun(data: bytes) -> Iterator[int]:
    """Yield the numbers of the forms of whose literals the first three bytes are there."""
    by_gram = _by_gram()
    found = by_gram.keys() & {data[at : at + _GRAM] for at in range(len(data) - _GRAM + 1)}
    for gram in (b"", *sorted(found)):
        yield from by_gram[gram]


@cache
def _spaced() -> tuple[int, ...]:
    """Return the numbers of the forms whose literals are in no run."""
    return tuple(number for number, form in enumerate(forms()) if form.literal in _SPACED)


@cache
def _by_gram() -> dict[bytes, list[int]]:
    """Return the numbers of the forms by the first three bytes of their literals; those of shorter ones under none."""
    grams: dict[bytes, list[int]] = {b"": []}
    for number, form in enumerate(forms()):
        gram = form.literal[:_GRAM]
        grams.setdefault(gram if len(gram) == _GRAM else b"", []).append(number)
    return grams


_OF_RUN = rb"\s\"'\\,{}\[\]<>()\x80-\xff"
_RUN = re.compile(rb"(?<![^%s])[-+.\d]*+[^-+.\d%s][^%s]{11,}" % (_OF_RUN, _OF_RUN, _OF_RUN))
"""What could hold a key; no numbers, of which embeddings are full."""
_BLOB_RUN = re.compile(rb"[A-Za-z0-9_+/=-]{4096,}")
_ENDS = 512


def _runs(data: bytes) -> bytes:
    """Return the runs of the bytes that could hold a key, of an endless one its ends, and the end of the bytes."""
    runs = [
        run[:_ENDS] + b"\n" + run[-_ENDS:] if len(run) > 2 * _ENDS and _BLOB_RUN.fullmatch(run) else run
        for run in dict.fromkeys(_RUN.findall(distinct(data)))  # which hold no comma
    ]
    return b"\n".join([*runs, data[-_ENDS:]])


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


# ---- Where a key may begin ------------------------------------------------------------------------------------------

_GLUED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+/")
_ESCAPED = re.compile(
    rb"(?:\[[0-9;]{0,12}m|(?<!\\)(?:\\\\)*\\[nrtbfve0]|\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|%[0-9a-fA-F]{2})\Z"
)
_BLOB = re.compile(rb"[A-Za-z0-9_+/-]{32}\Z")
_BLOB_SIGNS = (re.compile(rb"[a-z]"), re.compile(rb"[A-Z]"), re.compile(rb"\d"))


def _may_begin(data: bytes, at: int, *, is_free: bool) -> bool:
    """Tell whether a key may begin at a place, after what is before it."""
    before = data[max(at - 40, 0) : at]
    if not before or before[-1] not in _GLUED or _ESCAPED.search(before):
        return True
    if (blob := _BLOB.search(before)) and all(sign.search(blob[0]) for sign in _BLOB_SIGNS):
        return False
    return is_free or before[-1:] in b"+/" or (before[-1:] in b"_-" and not before[-2:-1].isalnum())


# ---- Rows of the table ----------------------------------------------------------------------------------------------

_EDGE = r"(?:(?<![A-Za-z0-9])|(?<=[\d;\[]m)|(?<=/bot))"
"""Where a key may begin that has no literal at its begin: where a word does, after a terminal's colour, and where
Telegram's URLs have one."""
_PART = re.compile(r"<([A-Z])(\d+)(?:-(\d+))?>")
_CUT_LEAST, _CUT_MOST = 4, 400


def _row(kind: str, form: str) -> Form:
    """Return what finds the keys of a row."""
    is_exact = form.endswith("$")
    form = form.removesuffix("$")
    parts = [(match[1], int(match[2]), int(match[3] or match[2])) for match in _PART.finditer(form)]
    fixed = _PART.split(form)[::4]
    end = _end(parts[-1][0] if not fixed[-1] else "A") if is_exact else ""
    regex = re.escape(fixed[0])
    for number, (part, text) in enumerate(zip(parts, fixed[1:], strict=True)):
        is_last = number == len(parts) - 1 and not text
        regex += _expression(*part, is_last=is_last, is_exact=is_exact) + re.escape(text)
    if not fixed[0]:
        literal = max(fixed, key=len)
        back = sum(2 * most + 1 for _, _, most in parts[: fixed.index(literal)])
        compiled = re.compile(rf"{_EDGE}({regex}){end}".encode())
        return Form(kind, literal.encode(), compiled, has_shape, back=back, is_free=False)
    inside = "".join(ALPHABETS[letter] for letter, *_ in parts) + re.escape("".join(fixed[1:]))
    is_free = fixed[0] not in WORDS
    return Form(
        kind, fixed[0].encode(), re.compile(rf"({regex}){end}".encode()), _looks_random_after(len(fixed[0])),
        cut=_cut(fixed[0], inside, is_free=is_free), is_free=is_free, begins=True,
    )  # fmt: skip


def _end(letter: str) -> str:
    """Return what may not follow a key of an exact length: more of its alphabet, or what a blob in base64 goes on with.

    A letter that no key could have ends one of hexadecimal digits; of letters and digits nobody could tell.
    """
    more = {"X": "0-9a-f", "H": "0-9A-Fa-f", "D": "0-9", "L": "0-9a-z", "U": "0-9A-Z"}.get(letter, "0-9A-Za-z")
    return f"(?![{more}=]|[A-Za-z0-9+/]{{0,3}}[+/][A-Za-z0-9+/]{{16}})"


def _expression(letter: str, low: int, high: int, *, is_last: bool, is_exact: bool) -> str:
    inside = f"[{ALPHABETS[letter]}]"
    if is_last and is_exact:
        return f"{inside}{{{low},{high}}}"
    if is_last:
        return f"{inside}{{{low if high > low else ceil(low * 0.6)},}}" + ("={0,2}" if letter == "B" else "")
    return f"{inside}{{{max(1, low // 2)},{2 * high}}}"


def _cut(literal: str, inside: str, *, is_free: bool) -> re.Pattern[bytes]:
    """Return what finds the begin of a key at the end of a text; of a sure one, at the end of a string of JSON too."""
    end = rf"(?:\Z|(?<=[{inside}]{{{2 * _CUT_LEAST}}})(?=\\*\"))" if is_free else r"\Z"
    return re.compile(rf"({re.escape(literal)}[{inside}]{{{_CUT_LEAST},{_CUT_MOST}}}+){end}".encode())


_NAMES = re.compile(r"[A-Za-z]+|(?:(?:[A-Za-z]+\d{0,4}|\d{1,4})(?:[-_.]+|$)){2,}")


def _is_filled(rest: str) -> bool:
    """Tell whether a text is one sign for the most part, as `xxxxxxxx` is where a key would be."""
    return max(map(rest.count, set(rest)), default=0) * 2 > len(rest)


def _looks_random_after(start: int) -> Callable[[str], bool]:
    def accepts(text: str) -> bool:
        rest = text[start:]
        if DOCUMENTED in text or _is_filled(rest.lower()):
            return False
        are_words = bool(_NAMES.fullmatch(rest)) and (is_wordy(rest) or is_dummy(rest))
        return not are_words and not (rest.isalpha() and rest.islower())

    return accepts


# ---- What no row could say ------------------------------------------------------------------------------------------


def _any(_: str) -> bool:
    return True


def _has_lines(text: str) -> bool:
    """Tell whether there is more in a PEM block than points."""
    return bool(re.search(r"[A-Za-z0-9+/=]{16}", text))


def _api_key(text: str) -> bool:
    return has_shape(text) and _looks_random_after(len("sk-"))(text)


def _basic(text: str) -> bool:
    import base64

    try:
        return b":" in base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return False


def _userinfo(text: str) -> bool:
    user, colon, password = text.partition(":")
    if not colon:
        return has_shape(user)
    return PLACEHOLDER not in password and not is_dummy(password) and "$" not in password and "{" not in password


def _login(text: str) -> bool:
    return has_shape(text.partition(":")[2])


def _holds_random(text: str) -> bool:
    return any(is_random(part) for part in re.split(r"[\s;,=]+", text))


_W, _B = "[A-Za-z0-9_-]", "[A-Za-z0-9+/_-]"
_AWS_PAIR = r"[A-Z0-9]{16}[^A-Za-z0-9]{1,8}([A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])|[A-Za-z0-9/+]{12,39}\Z)"
_JWT = rf"(eyJ{_W}{{10,2048}}\.(?:eyJ{_W}{{6,}}\.{_W}*|{_W}*(?:\.{_W}+){{3}}))"  # RFC 7515 and 7516
_JWT_CUT = rf"(eyJ(?:hbGci|0eXAi|raWQi|jdHki|lbmMi){_W}{{4,2048}}(?:\.{_W}*)?)\Z"
_PEM_END = r"(?:[A-Z0-9]{1,20}[ +]){0,4}PRIVATE[ +]KEY(?:[ +]BLOCK)?-----"
_PEM = rf"-----BEGIN[ +]{_PEM_END}"
_PEM_LINES = r"(?:[A-Za-z0-9+/=\s:,.>|#*]|-(?!-{4})|\\+[nrt])*+"
_BETWEEN = r"(?:[\s>|#*-]|\\+[nrt])*+"
_PEM_HEADERS = rf"(?:{_BETWEEN}[A-Z][A-Za-z-]{{2,20}}: [A-Za-z0-9,. +-]{{1,80}}(?=\s|\\)){{0,4}}"
_PEM_RUN = "[A-Za-z0-9+/=]"
_PEM_CUT = rf"{_PEM_HEADERS}(?:(?:{_BETWEEN}{_PEM_RUN}{{16,}})+(?:{_BETWEEN}{_PEM_RUN}*\Z)?|{_BETWEEN}{_PEM_RUN}+\Z)"
_PEM_WHOLE_OR_CUT = rf"({_PEM}{_PEM_LINES}-{{5,6}}END[ +]{_PEM_END}|{_PEM}{_PEM_CUT})"
_SCHEME = r"uthorization[\"'`]?\s{0,3}[:=]\s{0,3}[\"'`]?(?:[A-Za-z][\w-]{1,20}[ +]{1,2})?([\w.~+/=-]{16,})"
_SSH2 = "---- BEGIN SSH2 [A-Z ]{0,20}PRIVATE KEY ----"
_USERINFO = r"[^/\s@\"'<>\\?#,;(){}]{1,300}"
_LOGIN = r"[\"']?([^\s\"':]{1,80}:[^\s\"'\\]{8,200})"
_MARKED = (
    "AzSe",
    "AzFu",
    "AzCa",
    "ACDb",
    "AIoT",
    "AZEG",
    "AZDO",
    "+ASt",
    "+ABa",
    "+ACR",
    "+AMC",
    "+AEh",
    "+ASb",
    "+ARm",
)
"""What Azure writes into keys of its services, a few characters before the end, so that they are known."""
_VENDORS = _EDGE + r"((?!pk_)[a-z][a-z0-9]{1,15}"
"""What begins a key as many vendors make them, who say in it what it is for: `vendor_pat_...`, `vendor_live_...`."""
_PLACED = (  # kind, literal, regex with the secret in group 1, what to ask of it, bytes before the literal, is it free
    ("API key", "sk-", rf"(sk-{_W}{{16,}})", _api_key, 0, False),
    ("OpenAI key", "T3BlbkFJ", rf"(sk-{_W}{{4,90}}?T3BlbkFJ{_W}{{4,}})", _any, 96, True),
    ("AWS secret key", "AKIA", "AKIA" + _AWS_PAIR, has_shape, 0, True),
    ("AWS secret key", "ASIA", "ASIA" + _AWS_PAIR, has_shape, 0, True),
    ("JSON Web Token", "eyJ", _JWT, _any, 0, False),
    ("JSON Web Token", "eyJ", _JWT_CUT, _any, 0, False),
    ("Azure key", "JQQJ99", r"([A-Za-z0-9]{52}JQQJ99[A-Za-z0-9]{10,26})", _any, 52, True),
    ("Azure client secret", "Q~", _EDGE + r"([\w~.]{3}\dQ~[\w~.-]{20,34})", has_shape, 4, True),
    ("Azure storage key", "AccountKey=", r"AccountKey=([A-Za-z0-9+/]{40,}={0,2})", _any, 0, True),
    ("Azure access key", "SharedAccessKey=", r"SharedAccessKey=([A-Za-z0-9+/]{40,}={0,2})", _any, 0, True),
    ("Slack webhook", "hooks.slack.com/", r"hooks\.slack\.com/[a-z]{8,9}/([A-Za-z0-9/]{20,})", _any, 0, True),
    ("Discord webhook", "/api/webhooks/", rf"/api/webhooks/\d+/({_W}{{40,}})", _any, 0, True),
    ("Teams webhook", "/IncomingWebhook/", r"/IncomingWebhook/([0-9a-zA-Z]{20,}/[0-9a-zA-Z-]{20,})", _any, 0, True),
    ("Zapier webhook", "hooks.zapier.com/", r"hooks\.zapier\.com/hooks/catch/([A-Za-z0-9/]{10,})", _any, 0, True),
    ("Firebase key", ":APA91b", rf"(:APA91b{_W}{{60,}})", _any, 0, True),
    ("bearer token", "earer", r"(?<=[Bb])earer[ +]{1,4}([A-Za-z0-9._~+/=-]{16,})", has_shape, 0, True),
    ("bearer token", "EARER", r"(?<=B)EARER[ +]{1,4}([A-Za-z0-9._~+/=-]{16,})", has_shape, 0, True),
    ("basic credentials", "asic", r"(?<=[Bb])asic[ +]{1,4}([A-Za-z0-9+/]{12,}={0,2})", _basic, 0, True),
    ("authorization", "uthorization", _SCHEME, is_random, 0, True),
    ("Okta token", "SSWS ", rf"SSWS (00{_W}{{30,}})", _any, 0, True),
    ("cookie", "ookie: ", r"(?<=[Cc])ookie: ([^\r\n\\\"'<>]{8,4096})", _holds_random, 0, True),
    ("password", 'assword" value="', r'assword" value="([^"\r\n]{6,200})"', is_worth_hunting, 0, True),
    ("password", "assword ", r"(?<=[Pp])assword[ \t]{1,8}([\w.~+/=-]{12,})", is_random, 0, True),
    ("login", "-u ", rf"(?<=[\s\"'])-u {_LOGIN}", _login, 0, True),
    ("login", "--user ", rf"--user {_LOGIN}", _login, 0, True),
    ("private key", "-----BEGIN", _PEM_WHOLE_OR_CUT, _has_lines, 0, True),
    ("private key", "---- BEGIN ", rf"({_SSH2}[^-]*(?:-{{4}} END [A-Z0-9 ]{{1,40}}-{{4}})?)", _any, 0, True),
    ("private key", "Private-Lines: ", r"Private-Lines: \d+((?:(?:\s|\\+[nr])+[A-Za-z0-9+/=]{16,})+)", _any, 0, True),
    *(("Azure key", mark, rf"(?<!{_B})({_B}{{33,76}}{re.escape(mark)}{_B}{{4,7}}={{0,2}})(?!{_B})", has_shape, 80, True)
      for mark in _MARKED),
    *(("API key", f"_{use}_", _VENDORS + rf"_{use}_[A-Za-z0-9]{{24,}})(?![A-Za-z0-9])", is_random, 20, True)
      for use in ("sk", "pat", "oat", "sat", "secret", "token", "live", "prod", "production", "sandbox", "apikey")),
    ("password in a URL", "://", rf"(?<=[a-z0-9])://({_USERINFO})@(?=[A-Za-z0-9\[])", _userinfo, 0, True),
)  # fmt: skip
_SPACED = frozenset(
    (b"earer", b"EARER", b"asic", b"-----BEGIN", *(row[1].encode() for row in _PLACED if " " in row[1]))
)
"""The literals that are no part of a run without blanks."""


@cache
def _loose() -> tuple[tuple[str, re.Pattern[bytes]], ...]:
    """Return the forms that have no literal that could be looked for: two long parts with a sign between."""
    rows = (
        ("Discord token", _EDGE + r"([MNO][\w-]{23,27}\.[\w-]{6}\.[\w-]{27,38})(?![A-Za-z0-9])"),
        ("Zhipu key", _EDGE + r"([0-9a-f]{32}\.[A-Za-z0-9]{16})(?![A-Za-z0-9])"),
        ("Ollama key", _EDGE + r"([0-9a-f]{32}\.[\w-]{24})(?![A-Za-z0-9])"),
        ("Baseten key", _EDGE + r"([A-Za-z0-9]{8}\.[A-Za-z0-9]{32})(?![A-Za-z0-9])"),
        ("Meta token", _EDGE + r"(\d{15,16}\|[\w-]{27,40})(?![A-Za-z0-9])"),
        ("Mailgun key", _EDGE + r"([0-9a-f]{32}-[0-9a-f]{8}-[0-9a-f]{8})(?![A-Za-z0-9-])"),
        ("fal key", _EDGE + r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}:[0-9a-f]{32})(?![A-Za-z0-9])"),
    )
    return tuple((kind, re.compile(regex.encode())) for kind, regex in rows)


@cache
def forms() -> tuple[Form, ...]:
    """Return the known forms of keys."""
    placed = [
        Form(kind, literal.encode(), re.compile(text.encode()), accepts, back=back, is_free=is_free, begins=not is_free)
        for kind, literal, text, accepts, back, is_free in _PLACED
    ]
    return (*(_row(kind, form) for kind, form, _ in KINDS), *placed)
