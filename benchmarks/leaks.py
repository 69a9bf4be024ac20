"""Plants a made-up secret of every known kind in every place and every surrounding, and counts those that stay.

    PYTHONPATH=tests/support python benchmarks/leaks.py [--seed N] [--show N]

It exits with 1 if one stays. A secret stays if it is among the bytes of what is stored, decoded in any of the ways in
which it was encoded, or in the joined pieces of a text. Not a part of the suite, which samples it, and asks `check()`
too: tests/cassette/test_leaks.py.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from copy import deepcopy

from planting import LINES_ONLY, PLACES, SURROUNDINGS, is_said, said, secrets

from fakellm.cassette import Redactor


def cases(rand):
    """Yield (kind, secret, place, surrounding, text) for all that is planted."""
    for kind, secret in secrets(rand):
        for place in PLACES:
            for name, around in SURROUNDINGS.items():
                if "\n" in secret + around and place in LINES_ONLY:
                    continue
                yield kind, secret, place, name, around.format(secret)


def main() -> int:
    """Plant, count, and show where secrets stay."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=20, help="how many of those that stay are shown")
    parser.add_argument("--every", type=int, default=1, help="plant one case in so many")
    options = parser.parse_args()
    rand = random.Random(options.seed)
    planted, stayed, shown = Counter(), Counter(), []
    for kind, secret, place, around, text in cases(rand):
        if options.every > 1 and rand.randrange(options.every):
            continue
        planted[kind] += 1
        pair = PLACES[place](text)
        stored = Redactor((), {}).interaction(*deepcopy(pair))
        if is_said(secret, said(stored)):
            stayed[kind] += 1
            shown.append(f"{kind} in {place}, {around}")
    print(f"{planted.total()} planted: {len(planted)} kinds, {len(PLACES)} places, {len(SURROUNDINGS)} surroundings")
    print(f"{stayed.total()} stayed")
    for line in random.Random(0).sample(shown, min(len(shown), options.show)):
        print("  ", line)
    return bool(stayed)


if __name__ == "__main__":
    raise SystemExit(main())
