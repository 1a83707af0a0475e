"""Naming the guilty: closed testing and false discoveries."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.stats.mixtures import strongest
from proxy.stats.multiple import e_bh, e_holm

logs = st.floats(-30, 30) | st.just(-math.inf)
weighted = st.lists(st.tuples(logs, st.floats(0.1, 5)), min_size=1, max_size=7)


@given(weighted)
def test_adjusted_values_are_the_least_of_sets(parts: list[tuple[float, float]]) -> None:
    """The adjusted e-value is the least that the strongest member is worth, over all sets that it is in."""
    values, weights = [log for log, _ in parts], [weight for _, weight in parts]
    got = e_holm(values, weights)
    for i in range(len(parts)):
        others = [j for j in range(len(parts)) if j != i]
        sets = [(i, *rest) for size in range(len(parts)) for rest in combinations(others, size)]
        expected = min(strongest([values[j] for j in each], [weights[j] for j in each]) for each in sets)
        assert got[i] == pytest.approx(expected, abs=1e-9)


@given(weighted)
def test_attribution_never_says_more_than_its_own_evidence(parts: list[tuple[float, float]]) -> None:
    """An adjusted e-value is at most the e-value, and at most the strongest of all."""
    values, weights = [log for log, _ in parts], [weight for _, weight in parts]
    got = e_holm(values, weights)
    assert (got <= np.array(values)).all()
    assert (got <= strongest(values, weights) + 1e-9).all()


def test_e_holm() -> None:
    """Equal weights are the default; far apart values neither overflow nor vanish wrongly."""
    assert np.exp(e_holm(np.log([1.0, 200.0, 3000.0]))).tolist() == pytest.approx([1.0, 100.0, 1000.0])
    assert e_holm([]).tolist() == []
    assert e_holm([5.0]).tolist() == [5.0]
    assert e_holm([-math.inf, -math.inf]).tolist() == [-math.inf] * 2
    assert e_holm([1e6, -1e6]).tolist() == pytest.approx([1e6 - math.log(2.0), -1e6])
    assert np.exp(e_holm(np.log([30.0, 40.0]), [0.8, 0.2])).tolist() == pytest.approx([24.0, 24.0])


@given(st.lists(logs, max_size=8), st.floats(0.01, 0.5))
def test_e_bh_is_its_definition(values: list[float], level: float) -> None:
    """The greatest set whose members all reach K/(k level) is named."""
    got = e_bh(values, level)
    count = len(values)
    best = 0
    for k in range(1, count + 1):
        if sorted(values, reverse=True)[k - 1] >= math.log(count) - math.log(level) - math.log(k):
            best = k
    named = sorted((log for log, is_named in zip(values, got, strict=True) if is_named), reverse=True)
    assert named[:best] == sorted(values, reverse=True)[:best]
    assert len(named) == best or named[-1] == named[best - 1]


def test_e_bh() -> None:
    """Two that are strong enough together are named, though not each alone."""
    assert e_bh(np.log([21.0, 21.0, 0.5, 1.0]), 0.1).tolist() == [True, True, False, False]
    assert e_bh(np.log([21.0, 5.0, 0.5, 1.0]), 0.1).tolist() == [False] * 4
    assert e_bh([], 0.1).tolist() == []


@pytest.mark.parametrize("values", [[math.nan], [math.inf], [[1.0]]])
def test_bad_values(values: list[float]) -> None:
    """What is no log e-value is an error."""
    with pytest.raises(ValueError, match="expected logs"):
        e_holm(values)
    with pytest.raises(ValueError, match="expected logs"):
        e_bh(values, 0.1)


def test_bad_weights_and_levels() -> None:
    """Weights are above 0, one for each; a level is between 0 and 1."""
    for weights in ([1.0], [1.0, 0.0], [1.0, math.inf]):
        with pytest.raises(ValueError, match="expected one weight"):
            e_holm([1.0, 2.0], weights)
    with pytest.raises(ValueError, match="expected a level"):
        e_bh([1.0], 1.0)
