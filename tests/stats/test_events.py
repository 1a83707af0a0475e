"""Event bets: exact by enumeration, exact in any order, right against 50 digits, quick where it matters."""

import math
import time
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, localcontext
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.stats.events import (
    HARM_GRID,
    NONINFERIORITY_GRID,
    harm,
    harm_at,
    harm_at_each,
    harm_by_start,
    noninferiority,
    noninferiority_each,
    risk_ratio_sequence,
)
from proxy.stats.proportion import proportion_sequence

LOG_100 = math.log(100.0)

Slice = tuple[int, int, float]

slices = st.lists(
    st.tuples(
        st.integers(0, 50) | st.integers(0, 10**9),
        st.integers(0, 50) | st.integers(0, 10**9),
        st.sampled_from([0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.99, 1.0]),
    ),
    max_size=8,
)
margins = st.sampled_from([0.0, 0.1, 0.25, 1.0])


def columns(rows: list[Slice]) -> tuple[list[int], list[int], list[float]]:
    """Return events of the canary, of the champion, and shares."""
    return [a for a, _, _ in rows], [b for _, b, _ in rows], [c for _, _, c in rows]


DIGITS = Context(prec=50, Emax=MAX_EMAX, Emin=MIN_EMIN)


@cache
def log_factor(d: float, share: float, margin: float) -> Decimal:
    """Return f(d0 + d) - f(d0) with 50 digits."""
    with localcontext(DIGITS):
        pi, boundary = Decimal(share), 1 + Decimal(margin)
        return (pi * boundary * Decimal(d).exp() + 1 - pi).ln() - (pi * boundary + 1 - pi).ln()


def by_hand(rows: list[Slice], margin: float, grid: tuple[float, ...], parts: list[int]) -> float:
    """Return the formula of section 1.1 with 50 digits, slice by slice."""
    with localcontext(DIGITS):
        total = Decimal(0)
        for d, part in zip(grid, parts, strict=True):
            log = Decimal(0)
            for canary, champion, share in rows:
                if 0.0 < share < 1.0:
                    log += canary * Decimal(d) - (canary + champion) * log_factor(d, share, margin)
            total += part * log.exp()
        return float((total / sum(parts)).ln())


@given(slices, margins)
def test_harm_is_its_formula(rows: list[Slice], margin: float) -> None:
    """The log e-value is right to what a coefficient in double precision allows."""
    scale = 1e-11 + 4e-16 * sum(a + b for a, b, _ in rows)
    expected = by_hand(rows, margin, HARM_GRID, [1, *[3] * 11, 1])
    assert harm(*columns(rows), margin) == pytest.approx(expected, abs=scale, rel=1e-12)


@given(slices, margins)
def test_noninferiority_is_its_formula(rows: list[Slice], margin: float) -> None:
    """The same on the other side of the margin."""
    scale = 1e-11 + 4e-16 * sum(a + b for a, b, _ in rows)
    expected = by_hand(rows, margin, NONINFERIORITY_GRID, [1] * 10)
    assert noninferiority(*columns(rows), margin) == pytest.approx(expected, abs=scale, rel=1e-12)


def test_harm_with_an_expected_ratio() -> None:
    """Half of the money is on the ratio that is expected."""
    rows = [(30, 120, 0.1), (3, 5, 0.5)]
    grid = (*HARM_GRID, math.log(2.0 / 1.1))
    expected = by_hand(rows, 0.1, grid, [1, *[3] * 11, 1, 35])
    assert harm(*columns(rows), 0.1, expected_ratio=2.0) == pytest.approx(expected, abs=1e-12)
    by_start = harm_by_start(*columns(rows), 0.1, expected_ratio=2.0)
    assert by_start[0] == harm(*columns(rows), 0.1, expected_ratio=2.0)
    assert harm([0], [0], [0.1], 0.1, expected_ratio=2.0) == 0.0
    assert math.isfinite(harm([5], [0], [0.1], 0.1, expected_ratio=1e300))


def test_one_bet_alone() -> None:
    """All money on one ratio is worth the formula for that ratio; a ratio beyond all measure is bet as e^10."""
    rows = [(30, 120, 0.1), (3, 5, 0.5)]
    expected = by_hand(rows, 0.1, (math.log(5.0 / 1.1),), [1])
    assert harm_at(*columns(rows), 0.1, 5.0) == pytest.approx(expected, abs=1e-12)
    assert harm_at(*columns(rows), 0.1, 1e300) == pytest.approx(by_hand(rows, 0.1, (10.0,), [1]), abs=1e-12)
    assert harm_at([0], [0], [0.1], 0.1, 5.0) == 0.0
    with pytest.raises(ValueError, match="expected a ratio above"):
        harm_at([1], [1], [0.5], 0.1, 1.1)


def binomial(n: int, p: float) -> np.ndarray:
    """Return the probabilities of 0..n."""
    return np.array([math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(50))
def test_the_bets_are_fair_at_the_margin(seed: int) -> None:
    """Over all outcomes of up to 60 units, money neither grows nor shrinks at the margin, and shrinks inside."""
    rng = np.random.default_rng(seed)
    n, share = int(rng.integers(1, 61)), float(rng.uniform(0.005, 0.9))
    margin, champion = float(rng.choice([0.0, 0.1, 0.25, 1.0])), float(rng.uniform(0.001, 0.45))
    ratio = float(rng.choice([2.5, 20.0])) if rng.random() < 0.5 else None
    outcomes = [(mine, events - mine) for events in range(n + 1) for mine in range(events + 1)]
    harmful = [math.exp(harm([a], [b], [share], margin, expected_ratio=ratio)) for a, b in outcomes]
    harmless = [math.exp(noninferiority([a], [b], [share], margin)) for a, b in outcomes]

    def expectations(canary: float) -> tuple[float, float]:
        chance = share * canary + (1 - share) * champion
        total, part = binomial(n, chance), share * canary / chance
        chances = [
            total[events] * conditional for events in range(n + 1) for conditional in binomial(events, part)
        ]
        return (
            math.fsum(e * p for e, p in zip(harmful, chances, strict=True)),
            math.fsum(e * p for e, p in zip(harmless, chances, strict=True)),
        )

    boundary = (1 + margin) * champion
    assert expectations(boundary) == pytest.approx((1.0, 1.0), abs=1e-12)
    better, worse = expectations(boundary / 2), expectations(min(1.0, 1.5 * boundary))
    assert better[0] < 1.0 < better[1]
    assert worse[1] < 1.0 < worse[0]


def test_the_bets_are_fair_over_slices_that_differ() -> None:
    """With another share and another rate in each slice, and the second stopped by the first, E[e] is 1."""
    margin, total = 0.1, 0.0
    first, second = (0.1, 0.02), (0.5, 0.3)
    chances = []
    for share, champion in (first, second):
        canary = (1 + margin) * champion
        at_all = share * canary + (1 - share) * champion
        chances.append((share * canary, (1 - share) * champion, 1 - at_all))
    for a in range(7):
        for b in range(7 - a):
            one = float(math.comb(6, a) * math.comb(6 - a, b))
            one *= float(np.prod(np.power(chances[0], (a, b, 6 - a - b))))
            if a:  # stop
                total += one * math.exp(harm([a], [b], [first[0]], margin))
                continue
            for c in range(6):
                for d in range(6 - c):
                    two = float(math.comb(5, c) * math.comb(5 - c, d))
                    two *= float(np.prod(np.power(chances[1], (c, d, 5 - c - d))))
                    total += one * two * math.exp(harm([a, c], [b, d], [first[0], second[0]], margin))
    assert total == pytest.approx(1.0, abs=1e-12)


@given(slices, margins, st.randoms(use_true_random=False))
def test_order_of_slices_changes_nothing(
    rows: list[Slice], margin: float, random: "np.random.Generator"
) -> None:
    """Every figure is the same, bit for bit, in any order of slices."""
    other = list(rows)
    random.shuffle(other)
    assert harm(*columns(rows), margin) == harm(*columns(other), margin)
    assert noninferiority(*columns(rows), margin) == noninferiority(*columns(other), margin)
    assert risk_ratio_sequence(*columns(rows), 0.05) == risk_ratio_sequence(*columns(other), 0.05)


@given(slices, margins, st.data())
def test_how_slices_are_cut_changes_nothing(rows: list[Slice], margin: float, data: st.DataObject) -> None:
    """A slice that is cut in two of the same share, or by shards, gives the same figures, bit for bit."""
    cut: list[Slice] = []
    for canary, champion, share in rows:
        a, b = data.draw(st.integers(0, canary)), data.draw(st.integers(0, champion))
        cut += [(a, b, share), (canary - a, champion - b, share)]
    assert harm(*columns(rows), margin) == harm(*columns(cut), margin)
    assert noninferiority(*columns(rows), margin) == noninferiority(*columns(cut), margin)
    assert risk_ratio_sequence(*columns(rows), 0.05) == risk_ratio_sequence(*columns(cut), 0.05)
    whole, parts = harm_by_start(*columns(rows), margin), harm_by_start(*columns(cut), margin)
    assert whole.tolist() == parts[::2].tolist()


@given(slices, margins)
def test_each_start_is_harm_of_its_slices(rows: list[Slice], margin: float) -> None:
    """Entry j is what the slices from j on say alone, bit for bit."""
    by_start = harm_by_start(*columns(rows), margin)
    assert by_start.tolist() == [harm(*columns(rows[start:]), margin) for start in range(len(rows))]


@given(slices.filter(bool), margins)
def test_events_of_the_canary_speak_against_it(rows: list[Slice], margin: float) -> None:
    """One more event in the canary never lowers the evidence of harm, one in the champion never raises it."""
    canary, champion, shares = columns(rows)
    base, safe = harm(canary, champion, shares, margin), noninferiority(canary, champion, shares, margin)
    more = [canary[0] + 1, *canary[1:]]
    assert harm(more, champion, shares, margin) >= base
    assert noninferiority(more, champion, shares, margin) <= safe
    others = [champion[0] + 1, *champion[1:]]
    assert harm(canary, others, shares, margin) <= base
    assert noninferiority(canary, others, shares, margin) >= safe


@given(slices)
def test_a_wider_margin_asks_for_more(rows: list[Slice]) -> None:
    """Evidence of harm shrinks with the margin, evidence of non-inferiority grows."""
    rows = [(a % 1000, b % 1000, share) for a, b, share in rows]
    harms = [harm(*columns(rows), margin) for margin in (0.0, 0.1, 0.5)]
    assert harms == sorted(harms, reverse=True) or max(harms) < LOG_100
    tightest, widest = (noninferiority(*columns(rows), margin) for margin in (0.1, 0.5))
    assert widest >= tightest or max(widest, tightest) < LOG_100


@given(
    st.lists(
        st.tuples(st.integers(0, 10**12), st.integers(0, 10**12), st.sampled_from([0.0, 1.0])), max_size=4
    )
)
def test_no_coin_no_evidence(rows: list[Slice]) -> None:
    """Slices that are all canary or all champion say exactly nothing."""
    rows = rows[:1]
    assert harm(*columns(rows), 0.1) == 0.0
    assert noninferiority(*columns(rows), 0.1) == 0.0
    assert harm_by_start(*columns(rows), 0.1).tolist() == [0.0] * len(rows)
    assert risk_ratio_sequence(*columns(rows), 0.05) == (0.0, math.inf)


def test_no_events_no_evidence() -> None:
    """Without events everything is exactly 0, with and without slices."""
    for zeros, shares in (([], []), ([0], [0.1]), ([0] * 60, [0.01] * 30 + [0.5] * 30)):
        assert harm(zeros, zeros, shares, 0.1) == 0.0
        assert noninferiority(zeros, zeros, shares, 0.25) == 0.0
        assert harm_by_start(zeros, zeros, shares, 0.1).tolist() == [0.0] * len(zeros)
        assert risk_ratio_sequence(zeros, zeros, shares, 0.05) == (0.0, math.inf)


def test_huge_counts() -> None:
    """10^12 events are as good as a thousand: certain where they differ, and no overflow."""
    assert harm([10**12], [10**11], [0.5], 0.1) > 1e11
    assert harm([10**12], [10**12], [0.5], 0.1) < -1e8
    assert noninferiority([10**12], [10**12], [0.5], 0.1) > 1e8
    low, high = risk_ratio_sequence([10**12], [2 * 10**12], [0.5], 0.05)
    assert 0.49999 < low < 0.5 < high < 0.50001
    with pytest.raises(ValueError, match="expected fewer than"):
        harm([10**13], [0], [0.5], 0.1)


def failures_until_rollback(share: float, margin: float, threshold: float = LOG_100) -> int:
    """Return how many failures in a row a dead canary gets, beside a champion without any."""
    return next(k for k in range(1, 100) if harm([k], [0], [share], margin) >= threshold)


@pytest.mark.parametrize(("margin", "expected"), [(0.0, [2, 3, 3, 5, 9]), (0.1, [2, 3, 3, 5, 10])])
def test_dead_canary(margin: float, expected: list[int]) -> None:
    """A canary that answers nothing but errors is found after 2, 3, 3, 5 and 9 failures; a margin adds one at 50 %."""
    assert [failures_until_rollback(share, margin) for share in (0.01, 0.05, 0.1, 0.25, 0.5)] == expected


def two_sided(rows: list[Slice], ratio: float) -> float:
    """Return the log of the e-value against one ratio, by a plain sum over a dense grid."""
    canary, champion, shares = (np.array(each)[:, None] for each in columns(rows))

    def likelihood(d: np.ndarray) -> np.ndarray:
        logs: np.ndarray = (canary * d - (canary + champion) * np.log(shares * np.exp(d) + 1 - shares)).sum(
            axis=0
        )
        return logs

    d = np.arange(-80.0, 80.0, 1e-3)
    logs = likelihood(d) - np.log(2 * math.pi * np.cosh(d / 2))
    mixture = float(logs.max() + np.log(np.exp(logs - logs.max()).sum() * 1e-3))
    return mixture - float(likelihood(np.array([math.log(ratio)]))[0])


INTERVALS: dict[str, list[Slice]] = {
    "few": [(5, 40, 0.1)],
    "one": [(1, 0, 0.5)],
    "none in the canary": [(0, 7, 0.25)],
    "none in the champion": [(4, 0, 0.01), (1, 0, 0.5)],
    "many": [(600, 400, 0.5)],
    "two shares": [(3, 200, 0.01), (30, 31, 0.5)],
    "two shares that disagree": [(30, 20, 0.1), (0, 31, 0.5)],
    "far apart": [(1, 1000, 1e-6), (30, 1, 0.9)],
}


@pytest.mark.parametrize("name", INTERVALS)
def test_interval_is_what_is_not_refuted(name: str) -> None:
    """Just inside its ends the two-sided e-value is below 1/alpha, just outside it is not."""
    rows = INTERVALS[name]
    low, high = risk_ratio_sequence(*columns(rows), 0.05)
    for end, inwards in ((low, 1e-6), (high, -1e-6)):
        if 0.0 < end < math.inf:
            assert two_sided(rows, end * (1.0 + inwards)) < math.log(20.0)
            assert two_sided(rows, end * (1.0 - inwards)) > math.log(20.0)
    canary, champion, _ = columns(rows)
    assert (low == 0.0, high == math.inf) == (not any(canary), not any(champion))


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from([0.05, 0.01]))
def test_interval_at_even_shares_is_that_of_a_proportion(canary: int, champion: int, alpha: float) -> None:
    """At a share of 1/2 the ratio is the odds of a proportion, and so is its interval."""
    low, high = proportion_sequence(canary, canary + champion, alpha)
    expected = (low / (1 - low), high / (1 - high) if high < 1 else math.inf)
    assert risk_ratio_sequence([canary], [champion], [0.5], alpha) == pytest.approx(expected, rel=1e-8)


@given(slices, st.floats(0.001, 0.5))
def test_interval_holds_the_estimate(rows: list[Slice], alpha: float) -> None:
    """The interval has an inside, and asking for more certainty widens it."""
    low, high = risk_ratio_sequence(*columns(rows), alpha)
    assert 0.0 <= low < high
    wider = risk_ratio_sequence(*columns(rows), alpha / 10)
    assert wider[0] <= low
    assert high <= wider[1]


@pytest.mark.slow
@pytest.mark.parametrize(("share", "ratio"), [(0.1, 1.0), (0.5, 2.0), (0.3, 0.5)])
def test_interval_holds_the_truth_at_all_times(share: float, ratio: float) -> None:
    """Over all outcomes of 40 events the truth is ever outside with probability at most alpha."""
    alpha, chance = 0.1, share * ratio / (share * ratio + 1 - share)
    alive = {0: 1.0}
    for events in range(1, 41):
        moved: dict[int, float] = {}
        for mine, probability in alive.items():
            moved[mine] = moved.get(mine, 0.0) + probability * (1 - chance)
            moved[mine + 1] = moved.get(mine + 1, 0.0) + probability * chance
        alive = {}
        for mine, probability in moved.items():
            low, high = risk_ratio_sequence([mine], [events - mine], [share], alpha)
            if low <= ratio <= high:
                alive[mine] = probability
    assert 1.0 - alpha <= sum(alive.values()) < 1.0


def false_rollbacks(share: float, alpha: float, events: int) -> float:
    """Return the exact probability that harm ever reaches 1/alpha within so many events, canary and champion alike."""
    alive, first, lost = np.ones(1), 0, 0.0
    for count in range(1, events + 1):
        alive = np.convolve(alive, [1 - share, share])
        kept = np.flatnonzero(alive > 1e-18)
        alive, first = alive[kept[0] : kept[-1] + 1], first + int(kept[0])
        # Evidence rises with the canary's part: look for the first that is enough.
        low, high = 0, len(alive)
        while low < high:
            middle = (low + high) // 2
            mine = first + middle
            if harm([mine], [count - mine], [share], 0.0) >= -math.log(alpha):
                high = middle
            else:
                low = middle + 1
        lost += float(alive[low:].sum())
        alive = alive[:low]
    return lost


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_looking_after_every_event_rolls_back_no_more_than_alpha(alpha: float) -> None:
    """Among 1000 events, judged one by one, a canary like its champion is rolled back with at most alpha."""
    assert 0.1 * alpha < false_rollbacks(0.1, alpha, 1000) <= alpha


@pytest.mark.slow
def test_a_pass_is_quick() -> None:
    """Twelve metrics over sixty slices take far less than a decision period: 5 ms even on a busy machine."""
    rng = np.random.default_rng(1)
    canary, champion = rng.integers(0, 50, (12, 60)), rng.integers(0, 500, (12, 60))
    shares = np.repeat([0.01, 0.05, 0.1, 0.25, 0.5], 12)
    times = []
    for _ in range(30):
        begun = time.perf_counter()
        for mine, others in zip(canary, champion, strict=True):
            harm_by_start(mine, others, shares, 0.1)
        times.append(time.perf_counter() - begun)
    assert min(times) < 0.005


BAD: dict[str, tuple[tuple[Any, Any, Any], float, str]] = {
    "lengths": (([1, 2], [1], [0.5]), 0.1, "expected one length"),
    "shares": (([1], [1], [0.5, 0.5]), 0.1, "expected one length"),
    "dimensions": (([[1]], [[1]], [[0.5]]), 0.1, "expected one length"),
    "share": (([1], [1], [1.5]), 0.1, "expected shares"),
    "no share": (([1], [1], [math.nan]), 0.1, "expected shares"),
    "negative": (([-1], [1], [0.5]), 0.1, "expected counts"),
    "margin": (([1], [1], [0.5]), -1.0, "expected a margin"),
    "no margin": (([1], [1], [0.5]), math.nan, "expected a margin"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name: str) -> None:
    """What makes no sense is an error that says what was expected."""
    arguments, margin, match = BAD[name]
    with pytest.raises(ValueError, match=match):
        harm(*arguments, margin)
    with pytest.raises(ValueError, match=match):
        noninferiority(*arguments, margin)


def test_other_bad_input() -> None:
    """Fractions of events, ratios within the margin and impossible alphas are refused."""
    with pytest.raises(TypeError, match="expected integer counts"):
        harm([1.5], [1.0], [0.5], 0.1)
    with pytest.raises(ValueError, match="expected a ratio above"):
        harm([1], [1], [0.5], 0.1, expected_ratio=1.1)
    for alpha in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="expected alpha"):
            risk_ratio_sequence([1], [1], [0.5], alpha)


def test_several_metrics_at_once() -> None:
    """Each is what it is alone, bit for bit, also where there is no coin."""
    generator = np.random.default_rng(3)
    canary, champion = generator.integers(0, 40, (2, 6, 9))
    canary[2] = champion[2] = 0
    share = np.array([0.01, 0.01, 0.05, 0.05, 0.25, 0.0, 1.0, 0.5, 0.5])
    starts = harm_by_start(canary, champion, share, 0.1)
    outright = harm_at_each(canary, champion, share, 0.1, 3000.0)
    within = noninferiority_each(canary, champion, share, 0.25)
    for i, (mine, other) in enumerate(zip(canary, champion, strict=True)):
        assert starts[i].tolist() == harm_by_start(mine, other, share, 0.1).tolist()
        assert outright[i] == harm_at(mine, other, share, 0.1, 3000.0)
        assert within[i] == noninferiority(mine, other, share, 0.25)
    with pytest.raises(ValueError, match="one metric"):
        risk_ratio_sequence(canary, champion, share, 0.05)
    with pytest.raises(ValueError, match="expected one length"):
        harm_by_start(canary[:, 1:], champion[:, 1:], share, 0.1)
