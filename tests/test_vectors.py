"""Vectors that are one test: all are run, and those that fail are named."""

from __future__ import annotations

import inspect

import pytest
from vectors import each

numbers = pytest.mark.parametrize(
    ("name", "number"), [("one", 1), pytest.param("two", 2, id="the second"), ("three", 3)]
)


def test_all_vectors_run_and_those_that_fail_are_named():
    seen = []

    @each(numbers)
    def test(name, number):
        seen.append(number)
        assert number == 2, name

    with pytest.raises(BaseExceptionGroup, match=r"2 of 3 vectors fail: \('one', 1\), \('three', 3\)") as caught:
        test()

    assert seen == [1, 2, 3]
    assert [error.__notes__ for error in caught.value.exceptions] == [["vector: ('one', 1)"], ["vector: ('three', 3)"]]


def test_what_pytest_fails_is_a_failure_and_what_it_skips_is_none():
    @each("number", [1, 2, 3], ids=["a", "b", "c"])
    def test(number):
        if number == 2:
            pytest.skip("not this one")
        if number == 3:
            pytest.fail("this one")

    with pytest.raises(BaseExceptionGroup, match="1 of 3 vectors fail: c"):
        test()


def test_two_lists_of_vectors_are_run_in_every_pair_beside_fixtures():
    seen = []

    @each("left", "ab")
    @each("right", [1, 2], ids=str)
    def test(fixture, left, right):
        seen.append((fixture, left, right))

    assert list(inspect.signature(test).parameters) == ["fixture"]
    test(fixture="f")

    assert seen == [("f", "a", 1), ("f", "a", 2), ("f", "b", 1), ("f", "b", 2)]


def test_what_is_skipped_for_all_vectors_is_skipped():
    @each("number", [1, 2])
    def test(number):
        pytest.skip("not here")

    with pytest.raises(pytest.skip.Exception, match="not here"):
        test()


def test_without_vectors_there_is_nothing_to_test():
    with pytest.raises(pytest.skip.Exception, match="there are no vectors"):
        each("number", [])(lambda number: None)()
