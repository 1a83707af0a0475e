"""The guard of blocks: silent under host noise, and in agreement when the model itself is slower."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from proxy.stats.blocks import (
    MIN_BLOCKS,
    block_guard,
    guard_is_needed,
    host_spread,
    rate_guard,
    series_guard,
    two_tiers,
)
from proxy.stats.histogram import BUCKETS, buckets_of, buckets_of_margin
from proxy.stats.latency import Reference, slower_by_start
from proxy.stats.normal import one_sided

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

ALPHA = 0.01
NARROW, WIDE = buckets_of_margin(0.1), buckets_of_margin(0.5)


def histogram(rng: np.random.Generator, n: int, log_factor: Floats | float = 0.0) -> Counts:
    """Return the histogram of n durations around 20 ms with a slow path of 3 percent."""
    slow = rng.random(n) < 0.03
    values = np.exp(rng.normal(np.log(2e7), 0.4, n) + slow * 1.6 + log_factor)
    return np.bincount(buckets_of(values), minlength=BUCKETS).astype(np.int64)


def autoregressive(rng: np.random.Generator, length: int, sd: float, memory: float = 0.7) -> Floats:
    """Return noise that remembers: each value is 0.7 times the last one plus a fresh one."""
    noise = np.zeros(length)
    for t, fresh in enumerate(rng.normal(0.0, sd, length)):
        noise[t] = memory * noise[t - 1] * (t > 0) + fresh
    return noise


def minutes(
    rng: np.random.Generator,
    length: int,
    factor: float,
    sd: float = 0.0,
    pods: float = 0.0,
    per_minute: int = 1200,
) -> tuple[Counts, Counts]:
    """Return histograms of each minute, equal split: with noise of each arm, and of 2 and 8 hosts."""
    noise = np.stack([autoregressive(rng, length, sd) for _ in range(2)])
    ours, theirs = rng.normal(0.0, pods, 2), rng.normal(0.0, pods, 8)
    n = per_minute // 2
    ones = [histogram(rng, n, math.log(factor) + each + ours[rng.integers(0, 2, n)]) for each in noise[0]]
    zeros = [histogram(rng, n, each + theirs[rng.integers(0, 8, n)]) for each in noise[1]]
    return np.stack(ones), np.stack(zeros)


def detected(ones: Counts, zeros: Counts, reference: Reference) -> tuple[float, float]:
    """Return the minute of rollback by the rule of two tiers, and by requests at the narrow margin alone."""
    share = np.full(len(ones), 0.5)
    # The evidence of slices 0..t is that of the starts, read backwards.
    narrow, wide = (
        slower_by_start(ones[::-1], zeros[::-1], share, reference, shift).combined[::-1]
        for shift in (NARROW, WIDE)
    )
    for t in range(len(ones)):
        guard = 0.0
        if narrow[t] > math.log(1 / ALPHA):
            guard = block_guard(ones[: t + 1], zeros[: t + 1], 0.1, (0.5, 0.95))
        if two_tiers(float(wide[t]), float(narrow[t]), guard) >= math.log(1 / ALPHA):
            break
    else:
        t = -1
    alone = np.flatnonzero(narrow >= math.log(1 / ALPHA))
    return (t + 1.0 if t >= 0 else math.inf), (alone[0] + 1.0 if alone.size else math.inf)


@pytest.mark.slow
def test_noise_of_hosts_with_memory_rolls_back_hardly_ever() -> None:
    """AR(0.7) noise of 10 percent: of 150 A/A runs of 100 minutes at most 4 roll back; requests alone: over 30."""
    rng = np.random.default_rng(1)
    reference = Reference(histogram(rng, 20_000))
    runs = [detected(*minutes(rng, 100, 1.0, sd=0.1), reference) for _ in range(150)]
    tiers, alone = (sum(math.isfinite(run[which]) for run in runs) for which in (0, 1))
    assert tiers <= 4
    assert alone > 30


@pytest.mark.slow
def test_persistent_differences_of_hosts_never_roll_back() -> None:
    """Hosts that differ by 3 percent for good: no rollback in 60 A/A runs at a margin of 10 percent."""
    rng = np.random.default_rng(2)
    reference = Reference(histogram(rng, 20_000))
    runs = [detected(*minutes(rng, 60, 1.0, pods=0.03, per_minute=4000), reference) for _ in range(60)]
    assert runs == [(math.inf, math.inf)] * 60


@pytest.mark.slow
@pytest.mark.parametrize(("factor", "sd", "within"), [(2.0, 0.1, 3), (1.5, 0.1, 25), (1.2, 0.02, 22)])
def test_what_is_slower_is_found_under_noise(factor: float, sd: float, within: float) -> None:
    """Twice as slow is found in 3 minutes, 1.5 times in 25, 1.2 times under little noise as soon as the guard can."""
    rng = np.random.default_rng(3)
    reference = Reference(histogram(rng, 20_000))
    found = [detected(*minutes(rng, 40, factor, sd=sd), reference)[0] for _ in range(25)]
    assert np.median(found) <= within


def test_the_guard_needs_twenty_blocks() -> None:
    """19 blocks are no evidence, however slow the canary is; the twentieth is."""
    rng = np.random.default_rng(4)
    ones, zeros = minutes(rng, MIN_BLOCKS, 2.0)
    assert block_guard(ones[:-1], zeros[:-1], 0.1) == 0.0
    assert block_guard(ones, zeros, 0.1) > math.log(100)
    assert block_guard(zeros, ones, 0.1) < 0


def test_thin_blocks_are_left_out() -> None:
    """Blocks with fewer than 10 answers in an arm say nothing of the median, nor fewer than 100 of p95."""
    rng = np.random.default_rng(5)
    ones, zeros = minutes(rng, 25, 2.0, per_minute=198)  # 99 of each arm
    whole = block_guard(ones, zeros, 0.1)
    assert whole > 1.0
    assert block_guard(ones, zeros, 0.1, 0.95) == 0.0
    empty = np.zeros((3, BUCKETS), np.int64)
    few = np.stack([histogram(rng, 9) for _ in range(3)])
    assert block_guard(np.concatenate([empty, ones, few]), np.concatenate([few, zeros, empty]), 0.1) == whole


def test_quantiles_are_averaged() -> None:
    """With two quantiles the e-values are averaged, so that a change of the tail alone is found."""
    rng = np.random.default_rng(6)
    ones, zeros = minutes(rng, 40, 1.0, per_minute=4000)
    slow = np.stack([np.roll(row, 0) for row in ones])
    slow[:, :-14] -= (tail := (slow * (np.arange(BUCKETS) > 212))[:, :-14])
    slow[:, 14:] += tail  # the slowest tenth takes twice as long
    assert block_guard(slow, zeros, 0.1, 0.5) < 0
    both = block_guard(slow, zeros, 0.1, (0.5, 0.95))
    single = [block_guard(slow, zeros, 0.1, q) for q in (0.5, 0.95)]
    assert both == pytest.approx(np.logaddexp(single[0], single[1]) - math.log(2))
    assert both > math.log(100)


def test_a_series_without_memory_has_the_variance_of_its_mean() -> None:
    """Of independent values the evidence is nearly that of the plain standard error, and never more on average."""
    rng = np.random.default_rng(7)
    ours, plain = [], []
    for _ in range(200):
        series = rng.normal(0.15, 0.2, 100)
        ours.append(series_guard(series, 0.05))
        plain.append(one_sided(float(series.mean()), float(series.var(ddof=1)) / 100, 0.05, 0.2))
    assert 0.6 * np.mean(plain) < np.mean(ours) < 1.2 * np.mean(plain)


def test_a_memory_widens_the_variance() -> None:
    """The same values in an order with memory are less evidence than shuffled."""
    rng = np.random.default_rng(8)
    series = 0.2 + autoregressive(rng, 400, 0.1, memory=0.9)
    assert series_guard(series, 0.0) < series_guard(rng.permutation(series), 0.0)


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        ([], 0.0),
        ([9.0] * 19, 0.0),
        ([0.01] * 50, one_sided(0.01, 0.002**2, 0.0, 0.2)),
        ([0.0] * 50, one_sided(0.0, 0.002**2, 0.0, 0.2)),
    ],
)
def test_a_series_that_does_not_vary(series: list[float], expected: float) -> None:
    """Too short a series is no evidence; one without variance is taken as known to 0.002."""
    assert series_guard(np.array(series), 0.0) == pytest.approx(expected)


def test_rates_of_errors() -> None:
    """Twice the errors in every block is evidence at a margin of 10 percent, the same errors are not, nor are none."""
    rng = np.random.default_rng(9)
    total = np.full(60, 2000)
    zeros, ones = rng.binomial(total, 0.01), rng.binomial(total, 0.02)
    assert rate_guard(ones, total, zeros, total, 0.1) > math.log(200)
    assert rate_guard(zeros, total, rng.binomial(total, 0.01), total, 0.1) < 1
    assert rate_guard(ones, total, 0 * zeros, total, 0.1) == 0.0
    idle = np.zeros(3, np.int64)
    assert rate_guard(
        np.append(ones, idle), np.append(total, idle), np.append(zeros, idle), np.append(total, idle + 5), 0.1
    ) == rate_guard(ones, total, zeros, total, 0.1)


@pytest.mark.slow
def test_bursts_of_errors_on_one_arms_hosts_are_no_evidence() -> None:
    """Error rates that burst by the minute, alike in both arms: of 200 runs at most 4 reach 1/alpha."""
    rng = np.random.default_rng(10)
    total = np.full(100, 2000)
    crossed = 0
    for _ in range(200):
        rates = [0.01 * np.exp(autoregressive(rng, 100, 0.3)) for _ in range(2)]
        ones, zeros = (rng.binomial(total, rate) for rate in rates)
        looks = [rate_guard(ones[:t], total[:t], zeros[:t], total[:t], 0.1) for t in range(20, 101, 4)]
        crossed += max(looks) >= math.log(1 / ALPHA)
    assert crossed <= 4


LOG2 = math.log(2)


@pytest.mark.parametrize(
    ("wide", "narrow", "guard", "expected"),
    [
        (10.0, -50.0, 0.0, 10.0 - LOG2),
        (-50.0, 10.0, 8.0, 8.0 - LOG2),
        (-50.0, 8.0, 10.0, 8.0 - LOG2),
        (-50.0, 10.0, None, 10.0 - LOG2),
        (-50.0, 10.0, 0.0, -LOG2),
        (5.0, 5.0, 5.0, 5.0 - LOG2),
        (-math.inf, -math.inf, 3.0, -math.inf),
        (800.0, 900.0, 900.0, 900.0 - LOG2),
    ],
)
def test_two_tiers(wide: float, narrow: float, guard: float | None, expected: float) -> None:
    """The wide evidence counts half, and what the narrow one and the guard agree on counts half."""
    assert two_tiers(wide, narrow, guard) == pytest.approx(expected)


@given(st.floats(-9, 9), st.floats(-9, 9), st.floats(-9, 9))
def test_two_tiers_reject_where_the_thresholds_do(wide: float, narrow: float, guard: float) -> None:
    """When a tier reaches 2/alpha by itself, the rule reaches 1/alpha."""
    limit = math.log(2 / ALPHA)
    reaches = wide >= limit or (narrow >= limit and guard >= limit)
    assert reaches == (two_tiers(wide, narrow, guard) >= limit - LOG2 - 1e-12)


def test_host_spread_is_the_standard_deviation_of_log_medians() -> None:
    """Hosts that differ by 3 percent have a spread of 0.03, whatever the hour does to all of them."""
    rng = np.random.default_rng(11)
    hosts = rng.normal(0.0, 0.03, 40)
    hour = rng.normal(0.0, 0.5, 30)
    medians = np.exp(17.0 + hosts[None, :] + hour[:, None])
    assert host_spread(medians) == pytest.approx(np.std(hosts, ddof=1))
    medians[3, 5] = np.nan
    medians[4, :] = np.nan
    medians[6, 1:] = np.nan
    medians[7, 2] = 0.0
    assert host_spread(medians) == pytest.approx(np.std(hosts, ddof=1), rel=0.02)


@pytest.mark.parametrize("medians", [np.full((5, 3), np.nan), np.full((5, 1), 1e7), np.zeros((0, 4))])
def test_one_host_has_no_spread(medians: Floats) -> None:
    """Where no block has two hosts, the spread is not known: infinite."""
    assert host_spread(medians) == math.inf


@pytest.mark.parametrize(
    ("spread", "canary", "champion", "margin", "needed"),
    [
        (0.03, 4, 8, 0.1, False),
        (0.03, 2, 2, 0.1, False),  # 3 x 0.03 x 1 = 0.09 is below log 1.1
        (0.04, 2, 2, 0.1, True),
        (0.03, 1, 8, 0.1, True),
        (0.0, 1, 8, 0.1, True),
        (0.0, 2, 1, 0.1, False),
        (0.0, 2, 0, 0.1, True),
        (0.03, 4, 8, 0.0, True),
        (math.inf, 4, 8, 0.5, True),
        (math.nan, 4, 8, 0.5, True),
    ],
)
def test_when_the_guard_is_needed(
    spread: float, canary: int, champion: int, margin: float, needed: bool
) -> None:
    """The guard may be left out only where hosts are known to be alike and the canary has two of them."""
    assert guard_is_needed(spread, canary, champion, margin) is needed


def test_bad_input() -> None:
    """Shapes that differ, negative margins and quantiles that are none are refused."""
    rows = np.zeros((3, BUCKETS), np.int64)
    with pytest.raises(ValueError, match="one shape"):
        block_guard(rows, rows[:2], 0.1)
    with pytest.raises(ValueError, match="margin"):
        block_guard(rows, rows, -0.1)
    for q in (0.0, 1.0, ()):
        with pytest.raises(ValueError, match="quantiles"):
            block_guard(rows, rows, 0.1, q)
    counts = np.ones(3, np.int64)
    with pytest.raises(ValueError, match="one shape"):
        rate_guard(counts, counts, counts, counts[:2], 0.1)
    with pytest.raises(ValueError, match="margin"):
        rate_guard(counts, counts, counts, counts, math.nan)
