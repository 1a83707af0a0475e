"""Limits of a probability are those of Clopper and Pearson."""

import pytest

from benchmarks.simulation.binomial import lower_limit, upper_limit


@pytest.mark.parametrize(
    ("hits", "runs", "low", "high"),
    [(0, 100, 0.0, 1 - 0.01**0.01), (100, 100, 0.01**0.01, 1.0), (1, 2, 1 - 0.99**0.5, 0.99**0.5)],
)
def test_limits(hits: int, runs: int, low: float, high: float) -> None:
    """Limits agree with those that have a closed form."""
    assert lower_limit(hits, runs) == pytest.approx(low, abs=1e-12)
    assert upper_limit(hits, runs) == pytest.approx(high, abs=1e-12)


def test_limits_hold() -> None:
    """At the upper limit of 20 hits in 1000, so few have a probability of 1 %."""
    high = upper_limit(20, 1000)
    chance, total = (1 - high) ** 1000, 0.0
    for k in range(21):
        total += chance
        chance *= (1000 - k) / (k + 1) * high / (1 - high)
    assert total == pytest.approx(0.01, rel=1e-9)


def test_nothing_is_known_without_runs() -> None:
    """No runs leave everything possible."""
    assert (lower_limit(0, 0), upper_limit(0, 0)) == (0.0, 1.0)
