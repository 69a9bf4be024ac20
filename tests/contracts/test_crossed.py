"""Two streams of one model by turns: which of them begins makes no difference, so that half of the merges show all."""

from __future__ import annotations

import pytest

from fakellm.contracts import check_stream
from fakellm.contracts.merges import merges


class Model:
    """Says `?` in place of a chunk while the other stream disturbs it."""

    def __init__(self, source):
        self.source, self.open = source, []

    def stream(self, input):
        mine = object()
        self.open.append(mine)
        for chunk in self.source.stream(input):
            yield "?" if self.is_disturbed(mine) else chunk
        self.open.remove(mine)


class DisturbsTheFirst(Model):
    def is_disturbed(self, mine):
        return self.open[-1] is not mine


class DisturbsTheLast(Model):
    def is_disturbed(self, mine):
        return self.open[0] is not mine


@pytest.mark.parametrize("kind", [DisturbsTheFirst, DisturbsTheLast])
def test_whichever_stream_is_disturbed_is_seen(kind):
    verdict = check_stream(kind, contracts=["crossed_streams"])["crossed_streams"]
    assert verdict.status == "failed"
    assert "a1" in verdict.detail.partition("steps")[2].partition("b1")[0]


def test_half_of_the_merges_are_the_others_with_their_streams_renamed():
    every = set(merges((3, 3)))
    half = {merge for merge in every if merge[0] == 0}
    assert half == {(0, *rest) for rest in merges((2, 3))}
    assert every - half == {tuple(1 - stream for stream in merge) for merge in half}
