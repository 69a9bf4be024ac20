"""What a server keeps of answers that it has made is bounded, and the oldest goes first."""

from __future__ import annotations

import copy
from functools import partial

from fakellm.provider.memo import Memo


def test_what_was_kept_first_goes_first():
    memo = Memo(2_000)
    made = [memo.once(key, partial(list, key), lambda _: 400) for key in "abc"]

    assert [memo.get(key) for key in "abc"] == [None, *made[1:]]
    assert memo.once("b", lambda: "other", lambda _: 400) is made[1]
    assert copy.deepcopy(memo).get("b") is None


def test_what_is_too_large_is_not_kept():
    memo = Memo()

    assert memo.once("a", lambda: "made", lambda _: 10**9) == "made"
    assert memo.get("a") is None
