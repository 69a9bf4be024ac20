"""Texts that people see: nothing secret in them, however deep below they were worded, cut or split."""

from __future__ import annotations

import random
import string

import pytest

from fakellm.errors import clip, explain
from fakellm.secrets.knowing import discreet, discreet_url, knowing, pieces

ALNUM = string.digits + string.ascii_letters
NAMELESS = "a1B2" + "".join(random.Random(2).choices(ALNUM, k=36))
GROQ = "gs" + "k_" + "".join(random.Random(1).choices(ALNUM, k=52))
URL = f"https://me:{NAMELESS[:12]}@api.example.com/v1/m?n=1&key={GROQ}"


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("MY_SERVICE_TOKEN", "envK9x7Q2m4Zt81")


def test_what_is_known_is_known_inside_of_the_block_alone():
    with knowing([NAMELESS]), knowing(["other9Secret7x"]):
        assert discreet(f"{NAMELESS} other9Secret7x") == "REDACTED REDACTED"
    assert discreet(NAMELESS) == NAMELESS
    assert discreet(f"{GROQ} envK9x7Q2m4Zt81") == "REDACTED REDACTED"
    assert discreet_url(URL) == "https://REDACTED@api.example.com/v1/m?n=1&key=REDACTED"


def test_a_mismatch_tells_no_secret_in_any_of_its_columns():
    with knowing([NAMELESS]):
        told = explain(f"at {GROQ}", sent=[URL], expected=[NAMELESS], difference=[f"{NAMELESS}\n{GROQ}"], remedy=[URL])
    assert told.count("REDACTED") == 8
    assert not any(secret in told for secret in (NAMELESS, NAMELESS[:12], GROQ))


@pytest.mark.parametrize("secret", [NAMELESS, GROQ])
def test_what_is_cut_leaves_no_part_of_a_secret(secret):
    for length in (60, 1000, 100_000):
        for before in range(30 - len(secret), 31, 3):
            text = "." * before + "." * max(-before, 0) + secret + " ." * length
            for whole in (text, text[::-1].replace(secret[::-1], secret)):
                with knowing([NAMELESS]):
                    shown = clip(whole, 60)
                assert not any(secret[at : at + 6] in shown for at in range(len(secret) - 5)), (before, shown)
                assert len(shown) <= 60


def test_a_secret_that_is_told_in_pieces_is_found():
    told = ["The key is ", GROQ[:3], GROQ[3:20], "", GROQ[20:], ", so", " there"]
    assert pieces(told) == ["The key is ", "REDACTED", "", "", "", ", so", " there"]
    assert pieces(["a", "b"]) == ["a", "b"]
    assert pieces([]) == []
