"""Texts are as alike as a reader finds them, and as the papers' formulas say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.compare.wording import chrf, normalise, token_f1

texts = st.text(max_size=40) | st.text(alphabet="abc .", max_size=40)

NORMALISED: dict[str, tuple[str, str]] = {
    "case": ("Paris", "paris"),
    "sharp s": ("STRASSE", "strasse"),
    "white space": ("  a \n\t b ", "a b"),
    "punctuation": ("Yes, of course!", "yes of course"),
    "composed and not": ("cafe\u0301", "caf\u00e9"),
    "guillemets": ("«oui»", "oui"),
    "sign of a number": ("-5", "-5"),
    "decimal point": ("3.5", "3.5"),
    "clock": ("12:30.", "12:30"),
    "the end of a clause": ("42. It is 42, or 42: 7。", "42 it is 42 or 42 7"),
    "what else stands behind a number": ("5! 5% 5) 1.5", "5! 5% 5) 1.5"),
    "only punctuation": ("?!", "?!"),
    "nothing": ("", ""),
    "emoji are no punctuation": ("fine 👍", "fine 👍"),
}


@pytest.mark.parametrize("name", NORMALISED)
def test_normalise(name: str) -> None:
    """What a reader would not call another answer is taken away, what changes a number is not."""
    text, expected = NORMALISED[name]
    assert normalise(text) == expected


@given(texts)
def test_normalise_twice(text: str) -> None:
    """What is normal stays as it is."""
    assert normalise(normalise(text)) == normalise(text)


# Second text, first text, F1: from the definition in the SQuAD paper, and from what its evaluation script is known for.
F1: dict[str, tuple[str, str, float]] = {
    "equal": ("Denver Broncos", "Denver Broncos", 1.0),
    "article and case": ("the Denver broncos.", "Denver Broncos", 1.0),
    "one word more": ("Denver Broncos team", "Denver Broncos", 0.8),
    "one of two": ("Denver Nuggets", "Denver Broncos", 0.5),
    "nothing shared": ("Carolina", "Denver Broncos", 0.0),
    "repeated words count as often as in both": ("a b b c", "b c c", 2 / 3),
    "two without words": ("the", "!", 1.0),
    "one without words": ("", "Denver", 0.0),
}


@pytest.mark.parametrize("name", F1)
def test_token_f1(name: str) -> None:
    """Shared words over all words, whatever comes first."""
    one, other, expected = F1[name]
    assert token_f1(one, other) == pytest.approx(expected)
    assert token_f1(other, one) == pytest.approx(expected)


# Candidate, reference, chrF2 by hand.
CHRF: dict[str, tuple[str, str, float]] = {
    "equal": ("hello", "hello", 100.0),
    "white space does not count": ("he llo", "hello", 100.0),
    "nothing shared": ("abc", "xyz", 0.0),
    "two empty": ("", "", 0.0),
    "one empty": ("", "abc", 0.0),
    # orders 1 and 2: precision (1/2 + 0)/2, recall (1/2 + 0)/2
    "half of two": ("ab", "ax", 25.0),
    # order 1 only: precision 1/1, recall 1/2: 5·1·.5/(4·1 + .5)
    "recall weighs more": ("a", "ab", 100 * 2.5 / 4.5),
    "than precision": ("ab", "a", 100 * 2.5 / 3.0),
}


@pytest.mark.parametrize("name", CHRF)
def test_chrf(name: str) -> None:
    """Precision and recall of n-grams averaged over the orders that both texts have."""
    candidate, reference, expected = CHRF[name]
    assert chrf(candidate, reference) == pytest.approx(expected)


@given(texts, texts)
def test_chrf_range(one: str, other: str) -> None:
    """From 0 to 100, and 100 for a text against itself unless there is none."""
    assert 0.0 <= chrf(one, other) <= 100.0
    assert chrf(one, one) == pytest.approx(100.0 if "".join(one.split()) else 0.0)


@given(texts, texts)
def test_f1_range(one: str, other: str) -> None:
    """From 0 to 1, symmetric, and 1 for a text against itself."""
    assert 0.0 <= token_f1(one, other) == token_f1(other, one) <= 1.0
    assert token_f1(one, one) == 1.0
