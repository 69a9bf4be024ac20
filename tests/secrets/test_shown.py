"""What people are shown of a request: its own credentials, those of the environment, and what has a key's form."""

from __future__ import annotations

import random
import string

from fakellm.secrets.shown import Shown, redacted_text

ALNUM = string.digits + string.ascii_letters
NAMELESS = "a1B2" + "".join(random.Random(2).choices(ALNUM, k=36))
OTHER = "z9Y8" + "".join(random.Random(3).choices(ALNUM, k=36))
GROQ = "gs" + "k_" + "".join(random.Random(1).choices(ALNUM, k=52))
URL = "https://api.example.com/v1/models/m:generate"


def test_a_text_is_shown_without_keys_parameters_and_what_the_environment_holds():
    text = f"sent: {URL}?key={NAMELESS}&n=1 with {GROQ}, not {OTHER}"

    assert (
        redacted_text(text, environ={"MY_TOKEN": OTHER}) == f"sent: {URL}?key=REDACTED&n=1 with REDACTED, not REDACTED"
    )
    assert redacted_text("an ordinary message", environ={}) == "an ordinary message"


def test_what_a_request_carries_is_not_shown_anywhere():
    shown = Shown(f"{URL}?key={NAMELESS}", {"Authorization": f"Bearer {OTHER}", "x-note": "hello"}, environ={})

    assert shown.text(f"no model for {NAMELESS} of {OTHER}") == "no model for REDACTED of REDACTED"
    assert shown.url(f"{URL.replace('://', '://me:pw@')}?key=k&n=1") == (
        "https://REDACTED@api.example.com/v1/models/m:generate?key=REDACTED&n=1"
    )
    assert shown.header("Authorization", f"Bearer {OTHER}") == "Bearer REDACTED"
    assert shown.header("x-note", "hello") == "hello"


def test_a_key_in_several_strings_is_one_text():
    pieces = ["it's ", '"' + GROQ[:2], *(GROQ[at : at + 3] for at in range(2, len(GROQ), 3)), '" ok']
    lines = "".join(f"E    +     {piece!r},\n" for piece in pieces)
    events = " ".join(f'data: {{"type": "delta", "text": "{part}"}}' for part in ["a ", *GROQ, " b"])
    for shown in (repr(pieces), lines, events, repr(events), f"chunks = {pieces[1:]!r} and more"):
        told = redacted_text(shown, environ={})
        assert "REDACTED" in told
        assert not any(f"{quote}{part}{quote}" in told for part in pieces[2:-2] for quote in "'\"")
        assert sum(f'"{part}"' in told for part in GROQ[3:]) == 0
    assert redacted_text(repr(["a", "b", "it's", '"']), environ={}) == repr(["a", "b", "it's", '"'])
