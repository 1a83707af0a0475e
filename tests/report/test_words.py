"""Numbers as people read them."""

from math import inf, log, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.report import words

AMOUNTS = [
    (0, "0"), (3.14159, "3.14"), (0.00421, "0.00421"), (1234567, "1,230,000"), (999.6, "1,000"), (100, "100"),
    (-12.34, "-12.3"), (0.1, "0.1"), (20, "20"), (inf, "without limit"), (nan, "no number"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "text"), AMOUNTS)
def test_amount(value: float, text: str) -> None:
    """Three digits count, thousands are apart, and zeros at the end of a fraction go."""
    assert text == words.amount(value)


@given(st.floats(1e-6, 1e12))
def test_amount_is_near(value: float) -> None:
    """Whatever is written is within half a percent of the number."""
    assert float(words.amount(value).replace(",", "")) == pytest.approx(value, rel=0.0051)


DURATIONS = [
    (0.0421, "42.1 ms"), (2.5, "2.5 s"), (4, "4 s"), (59.6, "1 min"), (250, "4 min 10 s"), (7500, "2 h 5 min"),
    (3600, "1 h"), (90_061, "1 d 1 h"), (1e9, "31.7 years"), (inf, "for ever"),
]  # fmt: skip


@pytest.mark.parametrize(("seconds", "text"), DURATIONS)
def test_duration(seconds: float, text: str) -> None:
    """A time has its two largest units."""
    assert text == words.duration(seconds)


def test_counts_and_shares() -> None:
    """Nouns follow their number, and what is there never reads as nothing."""
    assert words.percent(0.05) == "5 %"
    assert words.percent(1e-7) == "less than 0.001 %"
    assert words.percent(0) == "0 %"
    assert (words.latency(33e6), words.latency(2e10)) == ("33 ms", "20 s")
    assert words.times(3.1) == "3.1 times"


E_VALUES = [
    (0.0, "1"), (log(215), "215"), (log(2.5e6), "2.5 million"), (log(3e9), "3 billion"), (log(1e13), "10 trillion"),
    (50.0, "beyond all doubt"), (-inf, "below 0.001"), (log(0.03), "0.03"),
]  # fmt: skip


@pytest.mark.parametrize(("log_e", "text"), E_VALUES)
def test_e_value(log_e: float, text: str) -> None:
    """An e-value is a number as long as that tells anything."""
    assert text == words.e_value(log_e)


@given(st.floats(0.7, 13))
def test_rarity_is_never_too_bold(log_e: float) -> None:
    """ "fewer than one of N" names no more rollouts than the evidence allows."""
    text = words.rarity(log_e)
    number = int(text.removeprefix("fewer than one of ").removesuffix(" rollouts").replace(",", ""))
    assert log(number) <= log_e + 1e-6


def test_rarity_at_its_ends() -> None:
    """No evidence is found in any rollout; very much is put in words."""
    assert words.rarity(-3) == "any rollout"
    assert words.rarity(log(100)) == "fewer than one of 100 rollouts"
    assert words.rarity(15) == "fewer than one of a million rollouts"
    assert words.rarity(40) == "fewer than one of a billion rollouts"


def test_moments_and_lists() -> None:
    """Moments are in UTC; one that no calendar has is no error."""
    assert words.when(1_763_700_000_000_000_000) == "2025-11-21 04:40:00 UTC"
    assert words.when(1 << 80) == "at an unknown time"
    assert [words.joined(each) for each in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
