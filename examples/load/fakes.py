"""The models behind the gateway: answers that come as those of a real one do, after a while and piece by piece."""

from fakellm import FakeProvider, Pause

FIRST, GAP, PIECES = 0.2, 0.02, 50
"""Seconds to the first piece, seconds between two, and how many there are."""

answer = [Pause(FIRST), "word"]
for _ in range(PIECES - 1):
    answer += [Pause(GAP), " word"]

providers = [FakeProvider("openai").otherwise(*answer)]
