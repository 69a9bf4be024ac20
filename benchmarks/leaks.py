"""Plants a made-up secret of every known kind in every place and every surrounding, and counts those that stay.

    PYTHONPATH=tests/support python benchmarks/leaks.py [--seed N] [--every N] [--clients N] [--reports N] [--show N]

It exits with 1 if one stays. A secret stays if it is among the bytes of what is stored, decoded in any of the ways in
which it was encoded, or in the joined pieces of a text. Three parts: what redaction makes of requests and answers;
tapes that the clients of apps make of a server on this machine, read from the disk, and what people are shown of those
calls; and what pytest prints of tests that fail. Not a part of the suite, which samples it, and asks `check()` too:
tests/cassette/test_leaks.py.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from copy import deepcopy
from pathlib import Path

import senders
from planting import LINES_ONLY, PLACES, SURROUNDINGS, is_said, said, secrets

from fakellm.cassette import Redactor

FAILING = """
import json, logging, pathlib, httpx, openai, pytest

CASES = json.loads(pathlib.Path(__file__).with_name("cases.json").read_text())
WAYS = ("prompt", "url", "header", "answer", "pieces", "printed", "logged", "raised")
URL = "https://api.openai.com/v1/chat/completions"


@pytest.mark.parametrize("number", range(len(CASES)))
def test_planted(number, fake_openai):
    text = CASES[number]
    way = WAYS[number % len(WAYS)]
    pieces = [text[at : at + 3] for at in range(0, len(text), 3)]
    if way in ("answer", "pieces"):
        fake_openai.reply(*pieces)
        client = openai.OpenAI(max_retries=0)
        asked = {"model": "m", "messages": [{"role": "user", "content": "?"}], "stream": True}
        chunks = [chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(**asked)]
        assert (chunks if way == "pieces" else "".join(chunks)) == []
    fake_openai.when("never asked", "so")
    if way == "printed":
        print("said", text)
    if way == "logged":
        logging.getLogger("app").warning("said %s", text)
    if way == "raised":
        raise RuntimeError(f"no use for {text}")
    body = {"model": "m", "messages": [{"role": "user", "content": text if way == "prompt" else "?"}]}
    line = "".join(sign if " " <= sign < "~" else "%20" for sign in text)
    params = {"q": text} if way == "url" else {}
    httpx.post(URL, json=body, params=params, headers={"x-note": line} if way == "header" else {})
"""


def cases(rand):
    """Yield (kind, secret, place, surrounding, text) for all that is planted."""
    for kind, secret in secrets(rand):
        for place in PLACES:
            for name, around in SURROUNDINGS.items():
                if "\n" in secret + around and place in LINES_ONLY:
                    continue
                yield kind, secret, place, name, around.format(secret)


def of_redaction(rand, every):
    """Yield what was planted in requests and answers, and whether it stayed."""
    for kind, secret, place, around, text in cases(rand):
        if every == 1 or not rand.randrange(every):
            stored = Redactor((), {}).interaction(*deepcopy(PLACES[place](text)))
            yield f"{kind} in {place}, {around}", is_said(secret, said(stored))


def of_clients(rand, count):
    """Yield what was planted in the calls of clients, and whether it stayed on the tape or in what is shown."""
    kinds, arounds = secrets(rand), [*SURROUNDINGS.items()]
    with tempfile.TemporaryDirectory() as folder, senders.Server() as server:
        for number in range(count):
            client, asynchronous = senders.CLIENTS[number % len(senders.CLIENTS)]
            place = rand.choice(senders.places_of(client))
            (kind, secret), (name, around) = rand.choice(kinds), rand.choice(arounds)
            path = Path(folder, f"{number}.yaml")
            found = senders.leaks(server, path, client, asynchronous, place, secret, around.format(secret))
            path.unlink()
            yield f"{kind} in {place} of {client}, {name}: {found}", bool(found)


def of_reports(rand, count):
    """Yield what was planted in tests that fail, and whether pytest printed it."""
    planted = [
        (kind, secret, name, around.format(secret))
        for kind, secret in rand.choices(secrets(rand), k=count)
        for name, around in [rand.choice([*SURROUNDINGS.items()])]
    ]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_planted.py").write_text(FAILING)
        Path(folder, "cases.json").write_text(json.dumps([text for *_, text in planted]))
        options = [
            "-q",
            "-p",
            "no:cacheprovider",
            "-rA",
            "--tb=long",
            "--showlocals",
            "--log-cli-level=DEBUG",
            "--junitxml=r.xml",
        ]
        run = subprocess.run([sys.executable, "-m", "pytest", *options], cwd=folder, capture_output=True, check=False)
        shown = run.stdout.decode() + Path(folder, "r.xml").read_text()
    if f"{count} failed" not in shown:
        raise SystemExit(shown[-2000:])
    shown += shown.replace("', '", "")
    for number, (kind, secret, name, _) in enumerate(planted):
        yield f"{kind} in test_planted[{number}], {name}", is_said(secret, shown)


def main() -> int:
    """Plant, count, and show where secrets stay."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=20, help="how many of those that stay are shown")
    parser.add_argument("--every", type=int, default=1, help="plant one case in so many, where no client is used")
    parser.add_argument("--clients", type=int, default=2000, help="how many calls clients make")
    parser.add_argument("--reports", type=int, default=400, help="how many tests fail")
    options = parser.parse_args()
    rand = random.Random(options.seed)
    stayed = []
    parts = {
        "redacted": of_redaction(rand, options.every),
        "through clients, on tapes and in reports": of_clients(rand, options.clients),
        "in tests that fail": of_reports(rand, options.reports),
    }
    for name, part in parts.items():
        counts = Counter()
        for what, stays in part:
            counts[stays] += 1
            stayed += [what] * stays
        print(f"{name}: {counts.total()} planted, {counts[True]} stayed", flush=True)
    print(
        f"{len(secrets(rand))} kinds, {len(PLACES)} places, {len(SURROUNDINGS)} surroundings,",
        f"{len(senders.CLIENTS)} clients",
    )
    for line in random.Random(0).sample(stayed, min(len(stayed), options.show)):
        print("  ", line)
    return bool(stayed)


if __name__ == "__main__":
    raise SystemExit(main())
