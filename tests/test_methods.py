"""The words that settings and comparison share are one list each."""

import pytest

from proxy.methods import METHODS, READ_BY, class_word


def test_only_methods_read_keys() -> None:
    """Who reads a key is a method that judges."""
    assert set().union(*READ_BY.values()) <= set(METHODS) - {"auto", "none"}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("1.0", "1"),
        ("-3.00", "-3"),
        ("1.5", "1.5"),
        ("1", "1"),
        ("cat", "cat"),
        ("v1.0", "v1.0"),
        ("1.0\n", "1.0\n"),
        ("", ""),
    ],
)
def test_whole_numbers_have_no_point(text: str, word: str) -> None:
    """A class that is a whole number is one word, whether a model writes it as integer or float."""
    assert class_word(text) == word
