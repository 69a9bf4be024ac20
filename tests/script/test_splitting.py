"""However a text is cut, the pieces join to it again; what cannot be a cut is refused, clearly."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import fewer, texts
from vectors import each

from fakellm import Script
from fakellm.errors import MissingExtraError, ScriptError
from fakellm.script.splitting import SPLITS, split_text

FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467"
ACCENT = "e\u0301"
FLAGS = ("\U0001f1e9\U0001f1ea", "\U0001f1eb\U0001f1f7")


# -- by name ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPLITS)
@fewer(3)
@given(text=texts)
def test_the_pieces_of_a_named_split_join_to_the_text_and_none_is_empty(name, text):
    pieces = split_text(text, name)
    assert "".join(pieces) == text
    assert all(pieces) or pieces == [""]


@each(
    ("name", "text", "pieces"),
    [
        ("words", "The answer  is\n42.", ["The ", "answer  ", "is\n", "42."]),
        ("words", "  lead", ["  lead"]),
        ("words", " \n ", [" \n "]),
        ("words", "a\u2028b\u3000c", ["a\u2028", "b\u3000", "c"]),
        ("characters", f"a{ACCENT}{FAMILY}", ["a", *ACCENT, *FAMILY]),
        ("graphemes", f"a{ACCENT}{FAMILY}" + "".join(FLAGS), ["a", ACCENT, FAMILY, *FLAGS]),
        ("graphemes", "a\r\nb\n", ["a", "\r\n", "b", "\n"]),
        ("graphemes", "\U0001f44d\U0001f3fd\u0e01\u0e33", ["\U0001f44d\U0001f3fd", "\u0e01\u0e33"]),
        ("tokens", "The tokenization, hm...?!\n", ["The", " tokeni", "zation", ",", " hm", "...?", "!", "\n"]),
        ("tokens", "a  b", ["a", " ", " b"]),
    ],
)
def test_a_named_split_cuts_where_it_says(name, text, pieces):
    assert split_text(text, name) == pieces


@each("name", SPLITS)
def test_an_empty_text_is_one_empty_piece_by_any_name(name):
    assert split_text("", name) == [""]


@given(st.lists(st.sampled_from(["a", " ", ACCENT, FAMILY, *FLAGS, "\r\n", "\u0e01\u0e33"]), min_size=1, max_size=8))
def test_graphemes_are_what_a_reader_calls_characters(characters):
    assert split_text("".join(characters), "graphemes") == characters


def test_graphemes_without_the_library_name_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "regex", None)
    with pytest.raises(MissingExtraError) as error:
        split_text("abc", "graphemes")
    assert "splitting by graphemes needs the library 'regex', which is not installed" in str(error.value)
    assert "pip install 'fakellm-stream[graphemes]'" in str(error.value)
    assert error.value.name == "regex"
    assert isinstance(error.value, ImportError)
    assert error.value.__suppress_context__


@pytest.mark.parametrize("name", ["words", "characters", "tokens"])
def test_the_other_splits_do_without_that_library(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "regex", None)
    assert "".join(split_text("a b", name)) == "a b"


def test_an_unknown_name_is_refused_with_those_that_exist():
    with pytest.raises(ScriptError) as error:
        split_text("abc", "word")
    assert str(error.value) == (
        "there is no split 'word'; there are words, characters, graphemes, tokens, every=n, positions and functions"
    )


# -- every n characters -------------------------------------------------------------------------------


@given(texts, st.integers(1, 20))
def test_every_n_makes_pieces_of_n_characters_and_a_rest(text, n):
    pieces = split_text(text, every=n)
    assert "".join(pieces) == text
    assert all(len(piece) == n for piece in pieces[:-1])
    assert 0 < len(pieces[-1]) <= n or text == ""
    assert pieces[0] == text[:n]


@each(
    ("text", "every", "pieces"),
    [
        ("abcdef", 2, ["ab", "cd", "ef"]),
        ("abcdefg", 3, ["abc", "def", "g"]),
        ("abc", 3, ["abc"]),
        ("abc", 10**9, ["abc"]),
        ("", 1, [""]),
    ],
)
def test_every_n_cuts_from_the_left(text, every, pieces):
    assert split_text(text, every=every) == pieces


@each("every", [0, -1, 1.0, "3", True, [2]])
def test_every_is_a_number_from_one_up(every):
    with pytest.raises(ScriptError) as error:
        split_text("abc", every=every)
    assert str(error.value) == f"every is a number of characters from 1 up, not {every!r}"


@each("arguments", [{}, {"split": "words", "every": 2}, {"split": [], "every": 2}])
def test_one_way_to_split_is_given_and_not_two(arguments):
    with pytest.raises(ScriptError, match="say how to split: a name, a function or positions, or every=n; not both"):
        split_text("abc", **arguments)


# -- positions ----------------------------------------------------------------------------------------


@given(st.data(), texts)
def test_the_text_is_cut_at_each_position(data, text):
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=5))
    pieces = split_text(text, cuts)
    assert "".join(pieces) == text
    ends = [sum(map(len, pieces[: at + 1])) for at in range(len(pieces))]
    assert ends == [*sorted(cuts), len(text)]


@each(
    ("cuts", "pieces"),
    [
        ([], ["Hello"]),
        ([2], ["He", "llo"]),
        ((4, 1), ["H", "ell", "o"]),
        (range(1, 5), ["H", "e", "l", "l", "o"]),
        ([2, 2], ["He", "", "llo"]),
        ([0, 5], ["", "Hello", ""]),
    ],
)
def test_positions_may_come_unsorted_twice_and_at_the_ends(cuts, pieces):
    assert split_text("Hello", cuts) == pieces


def test_positions_count_code_points():
    assert split_text(f"{FLAGS[0]}{FLAGS[1]}", [2]) == list(FLAGS)
    assert split_text("\U0001f600\U0001f601", [1]) == ["\U0001f600", "\U0001f601"]


@each("cut", [-1, 6, 100])
def test_a_position_outside_the_text_is_refused(cut):
    with pytest.raises(ScriptError, match=f"^cut {cut} lies outside the text, which has 5 characters$"):
        split_text("Hello", [1, cut])


@each("cut", [1.0, "1", None, True])
def test_a_position_is_an_int(cut):
    with pytest.raises(TypeError) as error:
        split_text("Hello", [cut])
    assert str(error.value) == f"a cut is a position in the text, an int, not {cut!r}"


@each("split", [3, 0, False, 1.5])
def test_a_number_instead_of_positions_is_refused_with_what_a_split_is(split):
    with pytest.raises(TypeError, match=r"every=|positions"):
        split_text("Hello", split)


def test_positions_from_an_iterator_are_cuts_or_an_error_but_not_lost():
    try:
        pieces = split_text("Hello", iter([2]))
    except (TypeError, ScriptError):
        return
    assert pieces == ["He", "llo"]


# -- functions ----------------------------------------------------------------------------------------


@each(
    ("function", "pieces"),
    [
        (lambda text: text.partition(", "), ["Hello", ", ", "world"]),
        (lambda text: (character for character in text[:0] or [text]), ["Hello, world"]),
        (list, list("Hello, world")),
        (lambda text: ["", text, ""], ["", "Hello, world", ""]),
    ],
)
def test_a_function_cuts_the_text_as_it_likes(function, pieces):
    assert split_text("Hello, world", function) == pieces


def test_a_function_that_makes_no_pieces_of_an_empty_text_makes_an_empty_one():
    assert split_text("", str.split) == [""]


def test_a_function_whose_pieces_do_not_join_to_the_text_is_refused_with_both():
    with pytest.raises(ScriptError) as error:
        split_text("a b", str.split)
    assert str(error.value) == "the pieces of the split function join to 'ab', not to the text 'a b'"
    with pytest.raises(ScriptError, match="join to '', not to the text 'a'"):
        split_text("a", lambda text: [])


@each("odd", [3, b"b", 0, False])
def test_a_function_that_returns_something_else_than_texts_is_refused(odd):
    with pytest.raises(TypeError) as error:
        split_text("ab", lambda text: ["a", odd])
    assert str(error.value) == f"the split function returned {odd!r} among its pieces; a piece is a str"


def test_a_function_that_returns_none_among_its_pieces_is_told_so():
    with pytest.raises(TypeError, match="the split function returned None among its pieces"):
        split_text("ab", lambda text: ["ab", None])


def test_a_function_that_returns_nothing_is_told_so():
    with pytest.raises(TypeError, match="split function"):
        split_text("ab", lambda text: None)


def test_what_a_function_raises_comes_through():
    with pytest.raises(ZeroDivisionError):
        split_text("ab", lambda text: 1 / 0)


# -- Script.of ----------------------------------------------------------------------------------------


def test_a_script_of_a_text_has_its_words_unless_told_otherwise():
    assert Script.of("Hello, world") == Script.of("Hello, world", "words") == Script("Hello, ", "world")
    assert Script.of("abc", every=2) == Script("ab", "c")
    assert Script.of("abc", split=[1]) == Script("a", "bc")
    assert Script.of("") == Script("")


@each("text", [b"abc", None, 3])
def test_a_script_is_of_a_text(text):
    with pytest.raises(TypeError, match=f"is str, not {type(text).__name__}"):
        Script.of(text)


def test_a_script_is_not_of_half_a_surrogate_pair():
    with pytest.raises(ScriptError, match="half of a surrogate pair at character 1"):
        Script.of("a\ud800", every=1)
