"""Linear bets on the difference of two means."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.stats.bounded import (
    STAKES,
    above,
    difference_exceeds,
    difference_exceeds_by_start,
    difference_within,
    mean_sequence,
    mean_sequence_of_sums,
)

Table = tuple[np.ndarray, np.ndarray, list[float], list[float], list[float]]


def weighted(n: int, chances: list[float]) -> list[tuple[tuple[int, int, int, int], float]]:
    """Return all counts of four outcomes among n units, with their probabilities."""
    cells = []
    for a in range(n + 1):
        for b in range(n + 1 - a):
            for c in range(n + 1 - a - b):
                d = n - a - b - c
                ways = math.comb(n, a) * math.comb(n - a, b) * math.comb(n - a - b, c)
                powers = zip(chances, (a, b, c, d), strict=True)
                cells.append(((a, b, c, d), ways * math.prod(p**k for p, k in powers)))
    return cells


@pytest.mark.parametrize(
    ("share", "champion", "limit", "centre"),
    [(0.1, 0.05, 0.01, 0.05), (0.5, 0.3, 0.0, 0.9), (0.05, 0.5, -0.2, 0.0), (0.9, 0.01, 0.5, 1.0)],
)
def test_the_bets_are_fair_at_the_limit(share: float, champion: float, limit: float, centre: float) -> None:
    """Over all outcomes of eight units money neither grows nor shrinks at the limit, and shrinks on its side."""

    def expected(canary: float, side: str) -> float:
        chances = [
            share * (1 - canary),
            share * canary,
            (1 - share) * (1 - champion),
            (1 - share) * champion,
        ]
        bet = difference_exceeds if side == "exceeds" else difference_within
        return math.fsum(
            chance * math.exp(bet([[a, b]], [[c, d]], [share], [0.0, 1.0], [centre], limit))
            for (a, b, c, d), chance in weighted(8, chances)
        )

    at_limit = champion + limit
    assert expected(at_limit, "exceeds") == pytest.approx(1.0, abs=1e-12)
    assert expected(at_limit, "within") == pytest.approx(1.0, abs=1e-12)
    assert expected(at_limit / 2, "exceeds") < 1.0 < expected(at_limit / 2, "within")
    more = (1 + at_limit) / 2
    assert expected(more, "within") < 1.0 < expected(more, "exceeds")


def test_means_are_all_that_counts() -> None:
    """Two distributions over three values with the same mean are fair, however much they differ."""
    share, values, canary, champion = 0.3, [0.0, 0.5, 1.0], (0.0, 1.0, 0.0), (0.5, 0.0, 0.5)
    total = 0.0
    for first in range(3):
        for second in range(3):
            for coins in ((1, 1), (1, 0), (0, 1), (0, 0)):
                counts = np.zeros((2, 1, 3), np.int64)
                chance = 1.0
                for value, coin in zip((first, second), coins, strict=True):
                    counts[1 - coin, 0, value] += 1
                    chance *= share * canary[value] if coin else (1 - share) * champion[value]
                total += chance * math.exp(
                    difference_exceeds(counts[0], counts[1], [share], values, [0.5], 0.0)
                )
    assert total == pytest.approx(1.0, abs=1e-12)


def by_hand(table: Table, limit: float, side: float) -> float:
    """Return the mean over the stakes of the product of the factors."""
    canary, champion, shares, values, centres = table
    logs = []
    for stake in STAKES:
        log = 0.0
        for s, (share, c) in enumerate(zip(shares, centres, strict=True)):
            if not 0.0 < share < 1.0:
                continue
            down, up = (c, 1 - c) if side > 0 else (1 - c, c)
            bet = side * stake / (max(down / share, up / (1 - share)) + side * limit)
            for b, value in enumerate(values):
                log += canary[s, b] * math.log(1 + bet * ((value - c) / share - limit))
                log += champion[s, b] * math.log(1 + bet * (-(value - c) / (1 - share) - limit))
        logs.append(log)
    top = max(logs)
    return top + math.log(math.fsum(math.exp(log - top) for log in logs) / len(logs))


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Return counts of up to four slices of three values."""
    size = draw(st.integers(1, 4))
    cells = st.lists(st.integers(0, 5) | st.integers(0, 10**6), min_size=3 * size, max_size=3 * size)
    shares = st.lists(st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]), min_size=size, max_size=size)
    centres = st.lists(st.sampled_from([0.0, 0.01, 0.3, 1.0]), min_size=size, max_size=size)
    return (
        np.array(draw(cells), np.int64).reshape(size, 3),
        np.array(draw(cells), np.int64).reshape(size, 3),
        draw(shares),
        [0.0, 0.25, 1.0],
        draw(centres),
    )


limits = st.sampled_from([-0.5, 0.0, 0.01, 0.9])


@given(tables(), limits)
def test_the_bets_are_their_formula(table: Table, limit: float) -> None:
    """The log e-values are means over stakes of products over units."""
    scale = 1e-11 + 2e-14 * float(table[0].sum() + table[1].sum())
    assert difference_exceeds(*table, limit) == pytest.approx(by_hand(table, limit, 1.0), abs=scale)
    assert difference_within(*table, limit) == pytest.approx(by_hand(table, limit, -1.0), abs=scale)


@given(tables(), limits, st.randoms(use_true_random=False))
def test_order_and_cuts_change_nothing(table: Table, limit: float, random: "np.random.Generator") -> None:
    """Slices in another order, or cut in two, give the same figures bit for bit."""
    canary, champion, shares, values, centres = table
    order = list(range(len(shares)))
    random.shuffle(order)
    moved: Table = (
        canary[order],
        champion[order],
        [shares[i] for i in order],
        values,
        [centres[i] for i in order],
    )
    half = canary // 2
    cut: Table = (
        np.concatenate((half, canary - half)),
        np.concatenate((champion, 0 * champion)),
        shares * 2,
        values,
        centres * 2,
    )
    for other in (moved, cut):
        assert difference_exceeds(*table, limit) == difference_exceeds(*other, limit)
        assert difference_within(*table, limit) == difference_within(*other, limit)


@given(tables(), limits)
def test_each_start_is_the_bet_on_its_slices(table: Table, limit: float) -> None:
    """Entry j is what the slices from j on say alone, bit for bit."""
    canary, champion, shares, values, centres = table
    got = difference_exceeds_by_start(*table, limit).tolist()
    rest = [(canary[j:], champion[j:], shares[j:], values, centres[j:]) for j in range(len(shares))]
    assert got == [difference_exceeds(*each, limit) for each in rest]


@given(tables(), st.floats(-0.99, 0.99), st.floats(-0.99, 0.99))
def test_a_wider_limit_is_easier_to_keep(table: Table, one: float, other: float) -> None:
    """Evidence of being within grows with the limit, evidence of exceeding shrinks."""
    tight, wide = sorted((one, other))
    slack = 1e-12 + 1e-15 * float(table[0].sum() + table[1].sum())
    assert difference_within(*table, tight) <= difference_within(*table, wide) + slack
    assert difference_exceeds(*table, tight) >= difference_exceeds(*table, wide) - slack


def test_no_evidence() -> None:
    """Nothing is exactly 0: no slices, no units, no coin."""
    none = np.zeros((0, 2), np.int64)
    assert difference_exceeds(none, none, [], [0.0, 1.0], [], 0.01) == 0.0
    assert difference_exceeds_by_start(none, none, [], [0.0, 1.0], [], 0.01).tolist() == []
    assert difference_within([[0, 0]], [[0, 0]], [0.1], [0.0, 1.0], [0.5], 0.01) == 0.0
    assert difference_within([[9, 9]], [[9, 9]], [1.0], [0.0, 1.0], [0.5], 0.01) == 0.0


def test_rare_events_are_good_enough() -> None:
    """Without any event at all, six thousand requests show that the rates are less than one point apart."""
    assert difference_within([[600, 0]], [[5400, 0]], [0.1], [0.0, 1.0], [0.001], 0.01) > math.log(20.0)
    assert difference_exceeds([[600, 0]], [[5400, 0]], [0.1], [0.0, 1.0], [0.001], 0.01) < 0.0


def test_huge_counts() -> None:
    """10^12 units are certain."""
    many = [[10**12 // 2, 10**10]]
    assert difference_within(many, many, [0.5], [0.0, 1.0], [0.02], 0.01) > 1e6
    assert difference_exceeds(many, many, [0.5], [0.0, 1.0], [0.02], -0.01) > 1e6


ROW = [[1, 2]]
BAD: dict[str, tuple[tuple[object, ...], str]] = {
    "shapes": ((ROW, [[1, 2, 3]], [0.5], [0, 1], [0.5], 0.0), "expected counts of"),
    "values": ((ROW, ROW, [0.5], [0, 0.5, 1], [0.5], 0.0), "expected counts of"),
    "slices": ((ROW, ROW, [0.5, 0.5], [0, 1], [0.5, 0.5], 0.0), "expected counts of"),
    "centres": ((ROW, ROW, [0.5], [0, 1], [0.5, 0.5], 0.0), "expected one centre"),
    "value": ((ROW, ROW, [0.5], [0, 2], [0.5], 0.0), "expected values in"),
    "centre": ((ROW, ROW, [0.5], [0, 1], [math.nan], 0.0), "expected centres in"),
    "limit": ((ROW, ROW, [0.5], [0, 1], [0.5], 1.0), "expected a limit"),
    "share": ((ROW, ROW, [-0.5], [0, 1], [0.5], 0.0), "expected shares"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name: str) -> None:
    """What makes no sense is an error that says what was expected."""
    arguments, match = BAD[name]
    with pytest.raises(ValueError, match=match):
        difference_exceeds(*arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=match):
        difference_within(*arguments)  # type: ignore[arg-type]


def test_several_metrics_at_once() -> None:
    """Each is what it is alone, bit for bit."""
    canary, champion = np.random.default_rng(3).integers(0, 400, (2, 5, 7, 2))
    share, centre = np.array([0.01, 0.05, 0.05, 0.25, 0.25, 0.0, 0.5]), np.zeros(7)
    each = difference_within(canary, champion, share, (0.0, 1.0), centre, 0.01)
    alone = [
        difference_within(mine, other, share, (0.0, 1.0), centre, 0.01)
        for mine, other in zip(canary, champion, strict=True)
    ]
    assert each.tolist() == alone


THREE = np.array([0.0, 0.5, 1.0])


def three_way(n: int, chances: tuple[float, float, float]) -> list[tuple[tuple[int, int, int], float]]:
    """Return all counts of three outcomes among n units, with their probabilities."""
    return [
        (
            (a, b, n - a - b),
            math.comb(n, a)
            * math.comb(n - a, b)
            * math.prod(p**k for p, k in zip(chances, (a, b, n - a - b), strict=True)),
        )
        for a in range(n + 1)
        for b in range(n + 1 - a)
    ]


@pytest.mark.parametrize("chances", [(0.2, 0.6, 0.2), (0.01, 0.98, 0.01), (0.0, 0.9, 0.1), (0.5, 0.0, 0.5)])
def test_the_bets_on_a_mean_are_fair(chances: tuple[float, float, float]) -> None:
    """Over all outcomes of twelve units money neither grows nor shrinks at the true mean, on either side."""
    mean = float(THREE @ chances)
    for levels, at in ((THREE, mean), (1.0 - THREE, 1.0 - mean)):
        expected = math.fsum(
            chance * math.exp(above(np.array(counts), levels, at))
            for counts, chance in three_way(12, chances)
        )
        assert expected == pytest.approx(1.0, abs=1e-12)


@given(st.lists(st.integers(0, 10**6), min_size=3, max_size=3), st.sampled_from([0.01, 0.05]))
def test_the_interval_of_a_mean(counts: list[int], alpha: float) -> None:
    """The mean is inside, the ends are where the money is enough, and the mirror image has the mirrored ends."""
    low, high = mean_sequence(counts, THREE, alpha)
    assert 0.0 <= low <= high <= 1.0
    if not sum(counts):
        assert (low, high) == (0.0, 1.0)
        return
    mean = float(np.array(counts) @ THREE) / sum(counts)
    assert low <= mean <= high
    needed = math.log(2 / alpha)
    if low > 1e-6:
        assert above(np.array(counts), THREE, low) >= needed
        assert above(np.array(counts), THREE, min(low + 1e-8, 1.0)) <= needed + 1e-2 * sum(counts)
    mirrored = mean_sequence(counts[::-1], THREE, alpha)
    assert mirrored == pytest.approx((1.0 - high, 1.0 - low), abs=1e-8)


def test_edges_of_a_mean() -> None:
    """Units that are all alike bound the mean on one side only."""
    low, high = mean_sequence([0, 0, 100], THREE, 0.05)
    assert 0.8 < low < 1.0
    assert high == 1.0
    low, high = mean_sequence([100, 0, 0], THREE, 0.05)
    assert low == 0.0
    assert 0.0 < high < 0.2
    for wrong in ([1, 2], [[1, 2, 3]]):
        with pytest.raises(ValueError, match="expected one count per value"):
            mean_sequence(wrong, THREE, 0.05)
    with pytest.raises(ValueError, match=r"expected values in 0\.\.1"):
        mean_sequence([1], [2.0], 0.05)
    with pytest.raises(ValueError, match=r"expected alpha in 0\.\.1"):
        mean_sequence([1], [0.5], 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("chances", [(0.02, 0.96, 0.02), (0.01, 0.95, 0.04), (0.2, 0.5, 0.3)])
def test_an_interval_of_a_mean_holds_at_all_times(chances: tuple[float, float, float]) -> None:
    """Of 400 runs looked at 2,000 times, at most 5 % ever leave the true mean out."""
    rng, mean = np.random.default_rng(3), float(THREE @ chances)
    left = 0
    for _ in range(400):
        counts = np.cumsum(rng.multinomial(10, chances, 2_000), axis=0)
        growth = [
            np.log1p(np.array(STAKES)[:, None] * (levels - at) / at)
            for levels, at in ((THREE, mean), (1.0 - THREE, 1.0 - mean))
        ]
        money = [np.log(np.exp(counts @ each.T).mean(axis=1)) for each in growth]
        left += max(float(each.max()) for each in money) >= math.log(2 / 0.05)
    assert left <= 31  # with 5 % exactly: 99 % of such experiments have at most 31


@given(
    st.lists(st.sampled_from([0.0, 0.0, 0.05, 0.2, 0.5, 0.9, 1.0]), min_size=1, max_size=60),
    st.integers(1, 50),
    st.sampled_from([0.05, 0.001]),
)
def test_two_sums_say_no_more_than_all_values(values: list[float], times: int, alpha: float) -> None:
    """The interval from sums holds the one from all values."""
    levels, counts = np.unique(values, return_counts=True)
    low, high = mean_sequence(counts * times, levels, alpha)
    total, squares = math.fsum(values) * times, math.fsum(value**2 for value in values) * times
    found = mean_sequence_of_sums(len(values) * times, total, squares, alpha)
    assert found[0] <= low + 1e-9
    assert found[1] >= high - 1e-9
    assert found[0] <= total / len(values) / times <= found[1]


@pytest.mark.parametrize("value", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("count", [0, 3, 400, 1000])
def test_two_sums_of_one_value_say_all(value: float, count: int) -> None:
    """Where every value is 0 or one other, the lower end is that of all values, and so is the upper where it is 1."""
    low, high = mean_sequence([1000 - count, count], [0.0, value], 0.05)
    found = mean_sequence_of_sums(1000, count * value, count * value**2, 0.05)
    assert found[0] == pytest.approx(low, abs=1e-8)
    if value == 1.0:
        assert found[1] == pytest.approx(high, abs=1e-8)


def test_squares_that_are_rounded_up_widen() -> None:
    """Larger squares, up to their largest possible sum and beyond, never narrow the interval."""
    ends = [mean_sequence_of_sums(500, 20.0, squares, 0.05) for squares in (0.0, 0.8, 4.0, 10.0, 20.0, 90.0)]
    lows, highs = zip(*ends, strict=True)
    assert list(lows) == sorted(lows, reverse=True)
    assert list(highs) == sorted(highs)
    assert ends[0] == ends[1]
    assert ends[-2] == ends[-1]


def test_without_values_two_sums_say_nothing() -> None:
    """No values, no bounds."""
    assert mean_sequence_of_sums(0, 0.0, 0.0, 0.05) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("units", "total", "squares", "alpha"),
    [
        (1, 2.0, 1.0, 0.05),
        (1, -0.1, 0.0, 0.05),
        (1, 0.5, -1.0, 0.05),
        (1, 0.5, 0.25, 0.0),
        (1, 0.5, math.nan, 0.5),
    ],
)
def test_two_sums_are_those_of_values(units: int, total: float, squares: float, alpha: float) -> None:
    """Sums that no values in 0..1 have, or no alpha, are refused."""
    with pytest.raises(ValueError, match="expected"):
        mean_sequence_of_sums(units, total, squares, alpha)
