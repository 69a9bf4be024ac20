"""What pytest shows of a test that failed: no key, whatever it was asked to show."""

from __future__ import annotations

import random
import string
import textwrap

import preloaded  # noqa: F401
import pytest
from runs import QUIET
from vectors import first_of

ALNUM = string.digits + string.ascii_letters
OWN, OTHER, NAMELESS, PASSWORD = ("a1B2" + "".join(random.Random(seed).choices(ALNUM, k=36)) for seed in (4, 5, 6, 7))
APP = f"""
import logging
import httpx
import pytest
from fakellm import FakeProvider
from fakellm.cassette import Tape
from fakellm.http import intercept, playing

HOST = "generativelanguage.googleapis.com"
HEADERS = {{"x-token-of-mine": {OTHER[::-1]!r}[::-1]}}

def ask(text="?", host=HOST):
    url = f"https://me:{PASSWORD}@{{host}}/v1beta/models/gemini-flash:generateContent?alt=json&key={OWN}"
    body = {{"contents": [{{"parts": [{{"text": text}}]}}]}}
    return httpx.post(url, json=body, headers=HEADERS)
"""
TESTS = """
    def test_a_miss(fake_gemini):
        fake_gemini.when("x", "y")
        ask()

    def test_an_answer(fake_gemini):
        fake_gemini.reply("Hello")
        logging.getLogger("app").warning("asked %s", ask().request.url)
        assert ask is None

    def test_unused(fake_gemini, fake_openai):
        fake_gemini.reply("Hello")
        fake_openai.reply("Hello")
        ask()

    def test_swallowed(fake_gemini):
        try:
            ask()
        except BaseException:
            pass

    def test_refused(fake_openai):
        ask(host="api.anthropic.com")

    def test_in_virtual_time(fake_gemini, virtual_clock):
        fake_gemini.reply("Hello")
        ask()
        raise RuntimeError

    @pytest.mark.cassette(mode="none")
    def test_a_tape(cassette):
        ask(host="localhost:1")

    def test_without_a_fixture():
        with intercept(FakeProvider("gemini")):
            ask()

    def test_a_tape_without_a_fixture(tmp_path):
        with playing(Tape(tmp_path / "tape.yaml", mode="none")):
            ask(host="localhost:1")
"""


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("options", "outcomes"),
    first_of(
        [
            (("-o", "log_level=DEBUG"), {"failed": 7, "passed": 2, "errors": 2}),
            (("--tb=long", "--showlocals", "-k", "refused or a_tape"), {"failed": 3, "deselected": 6}),
        ]
    ),
)
def test_a_failing_test_prints_no_key(pytester, monkeypatch, options, outcomes):
    monkeypatch.setenv("MY_SERVICE_KEY", NAMELESS)
    body = textwrap.dedent(TESTS).replace('ask(host="', f'ask({NAMELESS[::-1]!r}[::-1], host="')
    pytester.makepyfile(helpers=APP, test_app="from helpers import *\n" + body)
    pytester.syspathinsert()

    result = pytester.runpytest(*QUIET, "-rA", "--junitxml=report.xml", *options)

    result.assert_outcomes(**outcomes)
    shown = result.stdout.str() + (pytester.path / "report.xml").read_text()
    assert "key=REDACTED" in shown
    for secret in (OWN, OTHER, NAMELESS, PASSWORD):
        found = [line for line in shown.splitlines() if any(secret[at : at + 12] in line for at in range(28))]
        assert found == [], secret


LIVE = f"""
    KEY = "gs" "k_" {"aB3d" * 13!r}

    def test_answered(fake_gemini):
        fake_gemini.reply("Hello")
        request = ask().request
        logging.getLogger("app").warning("asked %s with %s: %s", request.url, dict(request.headers), list(KEY))
        pytest.skip(f"no {{request.url}}")

    @pytest.mark.xfail(reason="{OWN} is a part of " "gs" "k_" {"aB3d" * 13!r})
    def test_expected(fake_gemini):
        ask()
"""


@pytest.mark.parametrize("module", first_of(["test_app", "test_import"]))
def test_what_is_logged_live_or_said_of_a_skip_or_an_import_has_no_key(pytester, module):
    body = {"test_app": textwrap.dedent(LIVE), "test_import": "ask(host='api.anthropic.com')\n"}[module]
    pytester.makepyfile(helpers=APP, **{module: "from helpers import *\n" + body})
    pytester.syspathinsert()

    options = ("--log-cli-level=DEBUG", "--log-file=log.txt", "--log-file-level=DEBUG", "--llm-block-network")
    result = pytester.runpytest(*QUIET, "-rA", *options, "--tb=long", "--showlocals")

    shown = result.stdout.str() + (pytester.path / "log.txt").read_text()
    assert shown.count("key=REDACTED") > (3 if module == "test_app" else 0)
    for secret in (OTHER, PASSWORD, "aB3daB3daB3d", "'a', 'B', '3'", *([OWN] if module == "test_import" else [])):
        assert [line for line in shown.splitlines() if secret in line] == [], secret
