"""Bets on outcomes: exact for every pair of rates that the claim allows, and soon where most fails."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.stats import events, outcomes
from proxy.stats.outcomes import outright_harm, outright_harm_each

MARGINS = (0.0, 0.1, 1.0, 30.0)
SHARES = (0.001, 0.01, 0.1, 0.5, 0.9, 0.999)


def factors(share: float, margin: float) -> list[list[float]]:
    """Return by what one unit multiplies each bet: canary without and with an event, champion without and with.

    The likelihood ratio, which must agree, has no part in it.
    """
    limbs = outcomes._factors((share,), margin).limbs[:, 0].astype(float)
    found: list[list[float]] = np.exp(limbs[0] / 2.0**18 + limbs[1] / 2.0**39 + limbs[2] / 2.0**60).tolist()
    return found


def means(share: float, margin: float, p1: float, p0: float) -> list[float]:
    """Return the expectation of one unit's factor of each bet."""
    chances = (share * (1 - p1), share * p1, (1 - share) * (1 - p0), (1 - share) * p0)
    columns = zip(*factors(share, margin), strict=True)
    return [
        math.fsum(chance * each for chance, each in zip(chances, column, strict=True)) for column in columns
    ]


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("share", SHARES)
def test_no_unit_is_worth_more_than_it_costs(share: float, margin: float) -> None:
    """In the corners of the claim, of which two are fair, so everywhere."""
    corners = [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, 1.0 / (1.0 + margin))]
    found = [means(share, margin, p1, p0) for p1, p0 in corners]
    assert max(map(max, found)) <= 1.0 + 1e-12
    assert found[0] == pytest.approx([1.0] * 3, abs=1e-12)
    assert found[3] == pytest.approx([1.0] * 3, abs=1e-12)


@given(st.floats(0.001, 0.999), st.floats(0, 5), st.floats(0, 1), st.floats(0, 1))
def test_nor_between_the_corners(share: float, margin: float, p0: float, part: float) -> None:
    """Whatever the rates are, as long as the canary's is at most 1 + margin times the champion's."""
    assert max(means(share, margin, part * min(1.0, (1.0 + margin) * p0), p0)) <= 1.0 + 1e-12


def courses(shares: list[float], margin: float, p0: float, chances: list[float]) -> float:
    """Return the mean over all ways in which two slices of two units can go, the canary at the margin.

    Args:
        chances: that a unit is the canary's, slice by slice: its share, or not.
    """
    total = 0.0
    for kinds in product(range(4), repeat=4):
        units, chance = np.zeros((2, 2, 2), np.int64), 1.0
        for number, kind in enumerate(kinds):
            own, rate = chances[number // 2], p0 * (1 + margin) if kind < 2 else p0
            chance *= (own if kind < 2 else 1 - own) * (rate if kind % 2 else 1 - rate)
            units[kind // 2, number // 2, kind % 2] += 1
        total += chance * math.exp(outright_harm(units[0], units[1], shares, margin))
    return total


@pytest.mark.parametrize("p0", [0.01, 0.3, 0.9])
@pytest.mark.parametrize("chances", [[0.2, 0.5], [0.02, 0.1], [0.9, 0.9]])
def test_a_whole_course_is_an_e_value(p0: float, chances: list[float]) -> None:
    """Also when the canary answers less often than it was asked, or more."""
    assert courses([0.2, 0.5], 0.1, p0, chances) <= 1.0 + 1e-12


@given(st.lists(st.integers(0, 50), min_size=4, max_size=4), st.floats(0, 3))
def test_the_greatest_likelihood(counts: list[int], margin: float) -> None:
    """No rates that the claim allows are likelier."""
    units = np.array(counts, np.float64)
    found = float(outcomes._greatest(units, 1.0 + margin))
    p0 = np.linspace(0.0005, 0.9995, 200)
    p1 = np.minimum(p0 * (1.0 + margin), 0.9999)[:, None] * np.linspace(0.001, 1.0, 40)
    with np.errstate(divide="ignore"):
        logs = np.stack(
            (
                np.log(1 - p1),
                np.log(p1),
                *np.broadcast_arrays(np.log(1 - p0)[:, None], np.log(p0)[:, None], p1)[:2],
            )
        )
    assert (np.tensordot(units, logs, 1) <= found + 1e-9).all()


def test_who_is_only_late_is_not_blamed() -> None:
    """A champion's thousand successes, and none yet of a canary that has a tenth of the units."""
    assert outright_harm([[0, 0]], [[1000, 0]], [0.1], 0.1) <= 0.0
    assert outright_harm([[3, 0]], [[1000, 2]], [0.1], 0.1) <= 0.0


@pytest.mark.parametrize(("share", "pairs"), [(0.5, 6), (0.25, 4), (0.1, 3)])
def test_a_dead_canary_is_known_by_few_failures(share: float, pairs: int) -> None:
    """Next to a champion that fails nothing: half as many as from errors alone, where the split is equal."""
    well = int(pairs * (1 - share) / share)
    found = outright_harm([[0, pairs]], [[well, 0]], [share], 0.1)
    assert found > math.log(400)
    assert found > events.harm_at([pairs], [0], [share], 0.1, 3000.0)


def test_nothing_is_known_of_nothing() -> None:
    """No units, no slices, no coin: exactly 0, for each of several metrics."""
    assert outright_harm(np.zeros((0, 2), np.int64), np.zeros((0, 2), np.int64), [], 0.1) == 0.0
    assert outright_harm([[3, 4], [1, 1]], [[0, 0], [5, 5]], [1.0, 0.0], 0.1) == 0.0
    units = np.array([[[5, 1], [2, 2]], [[0, 9], [1, 0]]])
    each = outright_harm_each(units, units[::-1], [0.1, 0.5], 0.1)
    assert each.tolist() == [outright_harm(units[i], units[1 - i], [0.1, 0.5], 0.1) for i in (0, 1)]


@pytest.mark.parametrize(
    ("canary", "share", "margin"),
    [([[1, 1]], [0.5], -0.1), ([[1, 1]], [0.5], math.nan), ([[1, 1]], [0.5, 0.5], 0.1), ([1, 1], [0.5], 0.1)],
)
def test_refuses(canary: list[list[int]], share: list[float], margin: float) -> None:
    """Margins below 0, and shapes that do not fit."""
    with pytest.raises(ValueError, match="expected"):
        outright_harm(canary, canary, share, margin)
