"""What is evaluated for all looks at once is, look by look, what the functions that decide return."""

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.simulation import looks
from benchmarks.simulation.cell import Floats
from benchmarks.simulation.traffic import LAW, RAMP, histograms, reference
from proxy.stats import bounded, events, latency, proportion
from proxy.stats.allocation import mismatch
from proxy.stats.blocks import block_guard
from proxy.stats.histogram import Counts, bucket_of
from proxy.stats.quantiles import quantile_sequence

LOOKS = 40
RNG = np.random.default_rng(20)
CANARY, CHAMPION = RNG.poisson(1.0, LOOKS), RNG.poisson(3.0, LOOKS)
RAMPED, CONSTANT = np.repeat(RAMP, LOOKS // len(RAMP)), np.full(LOOKS, 0.3)
CUMULATED, TOTAL = np.cumsum(CANARY), 30 * np.arange(1, LOOKS + 1)
OUTCOMES = np.stack([np.full(LOOKS, 9), CANARY], axis=1), np.stack([np.full(LOOKS, 20), CHAMPION], axis=1)
SLOW = histograms(RNG, np.full(LOOKS, 150), LAW.probabilities(1.1))
FAST = histograms(RNG, np.full(LOOKS, 250), LAW.probabilities())
KNOWN = reference(RNG, LAW.probabilities())

EQUAL: dict[str, tuple[Floats, Callable[[int], float]]] = {
    "harm on a ramp": (
        looks.harm_by_look(CANARY, CHAMPION, RAMPED, 0.1),
        lambda n: events.harm(CANARY[:n], CHAMPION[:n], RAMPED[:n], 0.1),
    ),
    "harm, expected": (
        looks.harm_by_look(CANARY, CHAMPION, RAMPED, 0.0, expected_ratio=2.0),
        lambda n: events.harm(CANARY[:n], CHAMPION[:n], RAMPED[:n], 0.0, expected_ratio=2.0),
    ),
    "one known ratio": (
        looks.bets_by_look(CANARY, CHAMPION, RAMPED, np.array([np.log(2.0 / 1.1)]), 0.1)[:, 0],
        lambda n: events.harm_at(CANARY[:n], CHAMPION[:n], RAMPED[:n], 0.1, 2.0),
    ),
    "non-inferiority": (
        looks.noninferiority_by_look(CANARY, CHAMPION, RAMPED, 0.25),
        lambda n: events.noninferiority(CANARY[:n], CHAMPION[:n], RAMPED[:n], 0.25),
    ),
    "latency": (
        looks.slower_by_look(SLOW, FAST, RAMPED, KNOWN, 2).combined,
        lambda n: latency.slower(SLOW[:n], FAST[:n], RAMPED[:n], KNOWN, 2).combined,
    ),
    "latency, tilt, a reference for each look": (
        looks.slower_by_look(SLOW, FAST, RAMPED, [KNOWN] * LOOKS).tilt,
        lambda n: latency.slower(SLOW[:n], FAST[:n], RAMPED[:n], [KNOWN] * n).tilt,
    ),
    "difference beyond a limit": (
        looks.difference_by_look(*OUTCOMES, RAMPED, 0.01),
        lambda n: bounded.difference_exceeds(
            OUTCOMES[0][:n], OUTCOMES[1][:n], RAMPED[:n], (0.0, 1.0), np.zeros(n), 0.01
        ),
    ),
    "difference within a limit": (
        looks.difference_by_look(*OUTCOMES, CONSTANT, 0.05, within_limit=True),
        lambda n: float(
            bounded.difference_within(
                OUTCOMES[0][:n], OUTCOMES[1][:n], CONSTANT[:n], (0.0, 1.0), np.zeros(n), 0.05
            )
        ),
    ),
    "proportion beyond a tolerance": (
        looks.exceeds_by_look(CUMULATED, TOTAL, 0.02),
        lambda n: proportion.exceeds(int(CUMULATED[n - 1]), int(TOTAL[n - 1]), 0.02),
    ),
    "proportion within a tolerance": (
        looks.within_by_look(CUMULATED, TOTAL, 0.06),
        lambda n: proportion.within(int(CUMULATED[n - 1]), int(TOTAL[n - 1]), 0.06),
    ),
    "allocation": (
        looks.allocation_by_look(np.stack([CUMULATED, np.cumsum(CHAMPION)], axis=1), np.array([0.25, 0.75])),
        lambda n: mismatch(np.array([[CUMULATED[n - 1], CHAMPION[:n].sum()]]), np.array([[0.25, 0.75]])),
    ),
    "guard of blocks": (
        looks.guard_by_look(SLOW, FAST, 0.0),
        lambda n: block_guard(SLOW[:n], FAST[:n], 0.0, (0.5, 0.95)),
    ),
}


@pytest.mark.parametrize("name", EQUAL)
def test_every_look(name: str) -> None:
    """The evidence of each look is that of the function that decides, given the slices up to it."""
    found, decides = EQUAL[name]
    expected = [decides(number) for number in range(1, LOOKS + 1)]
    assert any(expected)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("q", [0.5, 0.95])
def test_quantile_left_out(q: float) -> None:
    """A quantile that the sequence leaves out counts as left out; the true one of this run does not."""
    sums: Counts = np.cumsum(FAST, axis=0)
    for truth_ns in (LAW.quantile_ns(q), 1.5 * LAW.quantile_ns(q)):
        below = looks.below_by_look(FAST, bucket_of(int(truth_ns)))
        found = looks.quantile_outside_by_look(*below, q, 0.05)
        for number in range(LOOKS):
            low, high = quantile_sequence(sums[number], q, 0.05)
            assert bool(found[number]) >= (not low <= truth_ns <= high)
    assert found.any()


def test_first_reached() -> None:
    """The first look that reaches 1/alpha says how many requests it took; without one it is infinite."""
    requests = np.array([10.0, 20.0, 30.0])
    assert looks.first_reached(np.log([1.0, 100.0, 5.0]), requests, 0.01) == 20.0
    assert looks.first_reached(np.log([1.0, 99.0, 5.0]), requests, 0.01) == np.inf
