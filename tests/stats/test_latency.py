"""Bets on latency: exact under the null hypothesis, quick under a shift, and the same however slices are cut."""

import itertools
import math
from collections.abc import Callable, Iterator
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from proxy.stats.histogram import BUCKETS, buckets_of, shift
from proxy.stats.latency import (
    WEIGHTS,
    LatencyEvidence,
    Reference,
    not_slower,
    slower,
    slower_alone,
    slower_by_start,
)

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

RNG = np.random.default_rng(20240)


def compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """Yield every way to write a total as so many counts."""
    for bars in itertools.combinations(range(total + parts - 1), parts - 1):
        edges = (-1, *bars, total + parts - 1)
        yield tuple(right - left - 1 for left, right in itertools.pairwise(edges))


def chance(cells: tuple[int, ...], law: Floats) -> float:
    """Return the multinomial probability of the counts."""
    log = math.lgamma(sum(cells) + 1) - sum(math.lgamma(each + 1) for each in cells)
    used = [(each, p) for each, p in zip(cells, law, strict=True) if each]
    return math.exp(log + sum(each * math.log(p) for each, p in used)) if all(p for _, p in used) else 0.0


FIELDS = ("tilt", "tail", "exceed50", "exceed95", "exceed99", "slo", "combined")


def expectations(
    evidence: Callable[[Counts, Counts], LatencyEvidence[float]],
    canary_law: Floats,
    champion_law: Floats,
    share: float,
    n: int,
) -> dict[str, float]:
    """Return E[e] of each bet after n requests, summed over every outcome that there is."""
    law = np.concatenate([share * canary_law, (1 - share) * champion_law])
    size = len(canary_law)
    sums = dict.fromkeys(FIELDS, 0.0)
    for cells in compositions(n, 2 * size):
        probability = chance(cells, law)
        counts = np.array(cells, np.int64)
        found = evidence(counts[:size][None], counts[size:][None])
        for field in FIELDS:
            value = getattr(found, field)
            sums[field] += 0.0 if value is None else probability * math.exp(value)
    return sums


REFERENCES = {
    "even": [5000, 5000, 5000],
    "skewed": [9400, 500, 100],
    "one answer": [0, 1, 0],
    "one bucket": [0, 20_000, 0],
    "only the last": [0, 0, 7],
}


@pytest.mark.parametrize("counts", REFERENCES.values(), ids=REFERENCES)
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_both_arms_alike_have_expectation_one(counts: list[int], share: float) -> None:
    """Whatever the reference, E[e] is 1 to 1e-12 for every bet when both arms have one law."""
    law = RNG.dirichlet([1.0, 1.0, 1.0])
    reference = Reference(np.array(counts))
    found = expectations(
        lambda ones, zeros: slower(ones, zeros, np.array([share]), reference, slo_bucket=1),
        law,
        law,
        share,
        5,
    )
    assert {field: abs(value - 1) for field, value in found.items() if abs(value - 1) > 1e-12} == {}


@pytest.mark.parametrize("seed", range(10))
def test_a_faster_canary_has_expectation_at_most_one(seed: int) -> None:
    """E[e] is at most 1 when the canary is stochastically faster than the champion times the margin."""
    rng = np.random.default_rng(seed)
    champion = rng.dirichlet([1.0] * 4)
    margin = int(rng.integers(0, 3))
    # Move some of what the shifted champion has to lower buckets: any law that it dominates is made this way.
    cumulative = np.cumsum(shift(champion, margin))
    faster = np.diff(
        np.minimum(cumulative + (1 - cumulative) * np.sort(rng.uniform(0, 0.5, 4)), 1.0), prepend=0.0
    )
    share = float(rng.uniform(0.05, 0.6))
    reference = Reference(rng.integers(0, 300, 4) + 1)
    found = expectations(
        lambda ones, zeros: slower(ones, zeros, np.array([share]), reference, margin, slo_bucket=2),
        faster / faster.sum(), champion, share, 3,
    )  # fmt: skip
    assert max(found.values()) <= 1 + 1e-12


@pytest.mark.parametrize("margin", [0, 1, 2])
def test_a_canary_at_the_margin_has_expectation_one(margin: int) -> None:
    """E[e] is exactly 1 where the canary is the champion times the margin, for harm and for promotion."""
    champion = np.array([0.0, 0.5, 0.3, 0.2, 0.0])  # without the first bucket, whose shift is rounded
    reference = Reference(np.array([0, 500, 310, 190, 5]))
    share = np.array([0.3])
    for judge in (slower, not_slower):
        found = expectations(
            lambda ones, zeros, judge=judge: judge(ones, zeros, share, reference, margin, slo_bucket=2),  # type: ignore[misc]
            shift(champion, margin), champion, 0.3, 3,
        )  # fmt: skip
        single = {field: value for field, value in found.items() if field != "combined"}
        assert single == pytest.approx(dict.fromkeys(single, 1.0), abs=1e-12)
        assert found["combined"] <= 1 + 1e-12


def test_a_better_median_buys_no_worse_tail() -> None:
    """A canary that is faster in the middle and as slow as forbidden at q95 has E[combined] of at most 1."""
    champion = np.array([0.05, 0.45, 0.46, 0.04, 0.0])
    reference = Reference((champion * 10_000).astype(np.int64))
    canary = shift(champion, 1)
    canary[[0, 3]] += [0.3, -0.3]  # what exceeds the shifted q95, the last bucket, stays
    found = expectations(
        lambda ones, zeros: not_slower(ones, zeros, np.array([0.5]), reference, 1),
        canary, champion, 0.5, 4,
    )  # fmt: skip
    assert found["exceed50"] > 1.2
    assert found["exceed95"] == pytest.approx(1.0, abs=1e-12)
    assert found["combined"] <= 1 + 1e-12


def test_the_ends_are_rounded_in_favour_of_the_null() -> None:
    """With mass in the first and last bucket the expectations stay at most 1 at the margin."""
    champion = np.array([0.3, 0.2, 0.2, 0.3])
    reference = Reference(np.array([30, 20, 20, 30]))
    # A canary whose fastest answers, below the first edge, stay there although they take longer.
    canary = shift(champion, 1, hold_first=True)
    for judge in (slower, not_slower):
        found = expectations(
            lambda ones, zeros, judge=judge: judge(ones, zeros, np.array([0.4]), reference, 1),  # type: ignore[misc]
            canary, champion, 0.4, 3,
        )  # fmt: skip
        assert max(found.values()) <= 1 + 1e-12


def test_slices_with_different_shares_and_references_stay_exact() -> None:
    """Over two slices with their own share and reference E[e] is the product, 1."""
    shares = np.array([0.1, 0.6])
    references = [Reference(np.array([5, 3, 2])), Reference(np.array([1, 1, 9]))]
    laws = [
        np.array([0.5, 0.3, 0.2]),
        np.array([0.1, 0.2, 0.7]),
    ]  # the champion drifts, and the canary with it
    total = dict.fromkeys(("tilt", "tail", "combined"), 0.0)
    worlds = []
    for share, law in zip(shares, laws, strict=True):
        both = np.concatenate([share * law, (1 - share) * law])
        worlds.append([(np.array(cells), chance(cells, both)) for cells in compositions(2, 6)])
    for (first, p), (second, r) in itertools.product(*worlds):
        counts = np.stack([first, second])
        found = slower(counts[:, :3], counts[:, 3:], shares, references)
        for field in total:
            total[field] += p * r * math.exp(getattr(found, field))
    assert total == pytest.approx(dict.fromkeys(total, 1.0), abs=1e-12)


def durations(rng: np.random.Generator, n: int, factor: float = 1.0) -> Counts:
    """Return the histogram of n log-normal durations around 20 ms with a slow path of 3 percent."""
    slow = rng.random(n) < 0.03
    values = np.exp(rng.normal(np.log(2e7), 0.4, n) + slow * 1.6) * factor
    return np.bincount(buckets_of(values), minlength=BUCKETS).astype(np.int64)


def test_a_slice_without_a_coin_adds_exactly_nothing() -> None:
    """Slices with share 0 or 1 change no bit of the evidence, whatever they hold."""
    rng = np.random.default_rng(4)
    reference = Reference(durations(rng, 20_000))
    ones, zeros = durations(rng, 900)[None], durations(rng, 8100)[None]
    alone = slower(ones, zeros, np.array([0.1]), reference, 2)
    extra = np.concatenate([durations(rng, 500, 9.0)[None], ones, durations(rng, 500, 9.0)[None]])
    others = np.concatenate([0 * zeros, zeros, 5 * zeros])
    found = slower(extra, others, np.array([1.0, 0.1, 0.0]), reference, 2)
    assert found == alone
    only = slower(ones, zeros, np.array([0.0]), reference)
    assert [only.tilt, only.tail, only.exceed50, only.exceed99, only.combined] == pytest.approx(
        [0.0] * 5, abs=1e-12
    )


def test_nothing_counted_is_no_evidence() -> None:
    """No slices, or slices without requests, have the log e-value 0."""
    reference = Reference(durations(np.random.default_rng(5), 100))
    for slices in (0, 3):
        none = np.zeros((slices, BUCKETS), np.int64)
        share = np.full(slices, 0.1)
        for found in (slower(none, none, share, reference, 2), not_slower(none, none, share, reference, 4)):
            assert found.combined == pytest.approx(0.0, abs=1e-12)
        assert slower_by_start(none, none, share, reference).combined.shape == (slices,)


def test_evidence_by_start_is_the_evidence_of_the_later_slices() -> None:
    """Element j is, bit for bit, what the slices from j on give by themselves."""
    rng = np.random.default_rng(6)
    early, late = Reference(durations(rng, 5000)), Reference(durations(rng, 5000, 1.1))
    references = [early] * 3 + [late] * 3
    ones = np.stack([durations(rng, 100, 1.3) for _ in range(6)])
    zeros = np.stack([durations(rng, 900) for _ in range(6)])
    share = np.array([0.1, 0.1, 0.25, 0.25, 0.5, 0.1])
    every = slower_by_start(ones, zeros, share, references, 2, slo_bucket=230)
    for j in range(6):
        alone = slower(ones[j:], zeros[j:], share[j:], references[j:], 2, slo_bucket=230)
        for field in FIELDS:
            assert float(getattr(every, field)[j]) == getattr(alone, field)


def test_what_is_kept_is_what_would_be_found() -> None:
    """Asked again, with other counts, another share or margin: always the bits that `slower` gives."""
    rng = np.random.default_rng(7)
    kept = Reference(durations(rng, 5000))
    ones = np.stack([durations(rng, 100, 1.3) for _ in range(2)])
    zeros = np.stack([durations(rng, 900) for _ in range(2)])
    for share in (0.1, 0.1, 0.25):
        for shifts in ((2,), (9, 2), (2, 9)):
            shares = np.array([share, 0.5])
            fresh = Reference(kept.counts)
            expected = [slower(ones, zeros, shares, fresh, each).combined for each in shifts]
            assert slower_alone(ones, zeros, shares, kept, shifts) == expected
            ones[1, 200] += 1  # in the caller's array
            zeros[0, 210] += 1


def wealth(canary: Counts, champion: Counts, share: Floats, x: list[list[float]]) -> float:
    """Return the log of the average wealth, bet by bet: the lemma written out, for one reference."""
    total = 0.0
    for stakes in x:
        log = 0.0
        for row, pi in enumerate(share.tolist()):
            for bucket, stake in enumerate(stakes):
                spread = math.log(pi * math.exp(stake) + 1 - pi)
                log += canary[row, bucket] * (stake - spread) - champion[row, bucket] * spread
        total += math.exp(log) / len(x)
    return math.log(total)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_evidence_is_the_lemma_written_out(sign: int) -> None:
    """For harm and promotion each bet is, within 1e-9, what a loop over slices, buckets and grid gives."""
    rng = np.random.default_rng(12)
    history = np.array([9, 800, 700, 300, 150, 40, 12, 2])
    reference = Reference(history)
    ones, zeros = rng.integers(0, 9, (3, 8)), rng.integers(0, 30, (3, 8))
    share = np.array([0.1, 0.3, 0.25])
    margin = 1
    if sign > 0:
        found = slower(ones, zeros, share, reference, margin, slo_bucket=4)
    else:
        found = not_slower(ones, zeros, share, reference, margin, slo_bucket=4)
    moved = shift(history, margin, hold_first=sign < 0)
    mass = (moved + 1 / 8) / (moved.sum() + 1)
    zeros = shift(zeros, margin, hold_first=sign < 0)
    for field, scores in (
        ("tilt", reference.shifted(1, hold_first=sign < 0).scores),
        (
            "tail",
            np.array(
                [min(5.0, max(0.0, math.log(0.015 / (mass[b + 1 :].sum() + mass[b] / 2)))) for b in range(8)]
            ),
        ),
    ):
        x = []
        for j in range(8 if field == "tilt" else 6):
            d = sign * (0.05 if field == "tilt" else 0.1) * 2 ** (j / 2)
            x.append([d * g - math.log(mass @ np.exp(d * scores)) for g in scores])
        assert getattr(found, field) == pytest.approx(wealth(ones, zeros, share, x), abs=1e-9)
    edges = [int(np.searchsorted(np.cumsum(moved), q * moved.sum())) for q in (0.5, 0.95, 0.99)]
    for field, edge in (*zip(("exceed50", "exceed95", "exceed99"), edges, strict=True), ("slo", 4)):
        above = mass[edge + 1 :].sum()
        x = []
        for j in range(12):
            d = sign * 0.1 * 2 ** (j / 2)
            c = math.log(1 - above + above * math.exp(d)) if above > 0.1 else 0.0
            x.append([(d if b > edge else 0.0) - c for b in range(8)])
        assert getattr(found, field) == pytest.approx(wealth(ones, zeros, share, x), abs=1e-9)


def test_joined_and_reordered_slices_change_no_bit() -> None:
    """Slices of one share and reference may be joined, split or reordered."""
    rng = np.random.default_rng(7)
    reference = Reference(durations(rng, 5000))
    ones = np.stack([durations(rng, 100, 1.1) for _ in range(8)])
    zeros = np.stack([durations(rng, 900) for _ in range(8)])
    share = np.array([0.1] * 4 + [0.5] * 4)
    whole = slower(ones, zeros, share, reference, 2)
    joined = slower(
        np.stack([ones[:4].sum(0), ones[4:].sum(0)]), np.stack([zeros[:4].sum(0), zeros[4:].sum(0)]),
        np.array([0.1, 0.5]), reference, 2,
    )  # fmt: skip
    order = rng.permutation(8)
    assert joined == whole
    assert slower(ones[order], zeros[order], share[order], reference, 2) == whole


def test_combined_is_the_weighted_average() -> None:
    """The combined evidence of harm is the weighted mean of the e-values, and of promotion their least."""
    rng = np.random.default_rng(8)
    reference = Reference(durations(rng, 20_000))
    ones, zeros = durations(rng, 100, 1.1)[None], durations(rng, 900)[None]
    harm = slower(ones, zeros, np.array([0.1]), reference)
    mean = sum(
        w * math.exp(e)
        for w, e in zip(
            WEIGHTS, (harm.tilt, harm.tail, harm.exceed50, harm.exceed95, harm.exceed99), strict=True
        )
    )
    assert harm.combined == pytest.approx(math.log(mean), abs=1e-12)
    assert harm.slo is None
    found = not_slower(ones, zeros, np.array([0.1]), reference, 4, slo_bucket=225)
    assert found.slo is not None
    assert found.combined == min(found.exceed50, found.exceed95, found.slo)


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=30).filter(any))
def test_a_reference_is_fit_to_bet_on(counts: list[int]) -> None:
    """Of any histogram every bucket has mass, scores never fall and are within 6, edges are quantiles."""
    reference = Reference(np.array(counts))
    assert reference.mass.min() > 0
    assert reference.mass.sum() == pytest.approx(1.0)
    assert (np.diff(reference.scores) >= 0).all()
    assert np.abs(reference.scores).max() <= 6.0
    assert (np.diff(reference.tail_scores) >= 0).all()
    assert 0.0 <= reference.tail_scores.min() <= reference.tail_scores.max() <= 5.0
    total = sum(counts)
    for q, edge in zip((0.5, 0.95, 0.99), reference.thresholds, strict=True):
        assert sum(counts[: edge + 1]) >= q * total > sum(counts[:edge]) or counts[0] >= q * total


def test_scores_are_normal_scores() -> None:
    """Of a fine histogram the scores are the standardised normal quantiles of the mid-ranks."""
    counts = np.random.default_rng(9).multinomial(100_000, np.full(40, 1 / 40)).astype(np.int64)
    reference = Reference(counts)
    mass = (counts + 1 / 40) / 100_001
    raw = np.array([NormalDist().inv_cdf(p) for p in np.cumsum(mass) - mass / 2])
    raw -= mass @ raw
    assert reference.scores == pytest.approx(raw / math.sqrt(mass @ raw**2), abs=1e-9)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (np.zeros(5, np.int64), "at least one answer"),
        (np.array([3, -1, 2]), "no negative count"),
        (np.array([3]), "two or more buckets"),
        (np.ones((2, 3), np.int64), "two or more buckets"),
    ],
)
def test_what_cannot_be_a_reference(counts: Counts, message: str) -> None:
    """An empty, negative or misshapen histogram is refused with what was expected."""
    with pytest.raises(ValueError, match=message):
        Reference(counts)


def test_a_reference_does_not_follow_its_counts() -> None:
    """Counts that change later change no reference, and a reference's counts cannot be written."""
    counts = np.array([1, 2, 3], np.int64)
    reference = Reference(counts)
    counts[0] = 99
    assert reference.counts.tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="read-only"):
        reference.counts[0] = 5


BAD = {
    "shapes": ({"champion": np.zeros((1, 4), np.int64)}, ValueError, "expected counts"),
    "shares": ({"share": np.array([0.1, 0.2])}, ValueError, "expected counts"),
    "share": ({"share": np.array([1.5])}, ValueError, "expected shares in 0..1"),
    "margin": ({"shift_buckets": -1}, ValueError, "0 or more buckets"),
    "objective": ({"slo_bucket": 3}, ValueError, "expected a bucket in 0..2"),
    "negative": ({"canary": np.array([[1, -1, 0]])}, ValueError, "at least 0"),
    "floats": ({"canary": np.array([[1.0, 1.0, 0.0]])}, TypeError, "integer counts"),
    "references": ({"reference": []}, ValueError, "one for each slice"),
    "buckets": ({"reference": Reference(np.array([1, 2]))}, ValueError, "over the buckets"),
}


@pytest.mark.parametrize(("wrong", "error", "message"), BAD.values(), ids=BAD)
def test_bad_input(wrong: dict[str, object], error: type[Exception], message: str) -> None:
    """Input that does not fit is refused with what was expected."""
    good: dict[str, object] = {
        "canary": np.ones((1, 3), np.int64),
        "champion": np.ones((1, 3), np.int64),
        "share": np.array([0.1]),
        "reference": Reference(np.array([1, 2, 3])),
        "shift_buckets": 0,
    }
    with pytest.raises(error, match=message):
        slower(**{**good, **wrong})  # type: ignore[arg-type]


def looks(
    rng: np.random.Generator, factor: float, count: int, share: float = 0.1
) -> tuple[Counts, Counts, Floats]:
    """Return slices of 1000 requests each."""
    ones = np.stack([durations(rng, int(rng.binomial(1000, share)), factor) for _ in range(count)])
    zeros = np.stack([durations(rng, 1000 - int(each.sum())) for each in ones])
    return ones, zeros, np.full(count, share)


def test_a_shift_is_found_soon_and_a_margin_is_respected() -> None:
    """Everything times 1.2 is found in a few thousand requests; times 1.05 is no harm at a margin of 10 percent."""
    rng = np.random.default_rng(10)
    reference = Reference(durations(rng, 20_000))
    ones, zeros, share = looks(rng, 1.2, 8)
    assert slower(ones, zeros, share, reference).combined > math.log(100)
    assert slower(ones, zeros, share, reference, 9).combined < 0
    ones, zeros, share = looks(rng, 1.05, 30)
    assert slower(ones, zeros, share, reference, 2).combined < 0
    ones, zeros, share = looks(rng, 1.0, 30)
    assert not_slower(ones, zeros, share, reference, 4).combined > math.log(20)
    ones, zeros, share = looks(rng, 1.4, 30)
    assert not_slower(ones, zeros, share, reference, 4).combined < 0


def first_crossing(p1: Floats, p0: Floats, step: int, count: int, seed: int) -> float:
    """Return after how many requests harm is proved at alpha = 1 percent and a share of 10 percent."""
    rng = np.random.default_rng(seed)
    reference = Reference(rng.multinomial(20_000, p0).astype(np.int64))
    n = rng.binomial(step, 0.1, count)
    ones, zeros = rng.multinomial(n, p1).astype(np.int64), rng.multinomial(step - n, p0).astype(np.int64)
    # The evidence at look t is that of slices 0..t: read backwards, of the starts.
    path = slower_by_start(ones[::-1], zeros[::-1], np.full(count, 0.1), reference).combined[::-1]
    return float(step * (np.argmax(path >= math.log(100)) + 1)) if path.max() >= math.log(100) else math.inf


def information_bound(p1: Floats, p0: Floats) -> float:
    """Return log(100) over the information of one request: what no test can beat on average."""
    mixed = 0.1 * p1 + 0.9 * p0
    parts = [w * np.sum(p[p > 0] * np.log(p[p > 0] / mixed[p > 0])) for w, p in ((0.1, p1), (0.9, p0))]
    return math.log(100) / float(sum(parts))


def slow_path_law(shift_all: float, shift_slow: float) -> Floats:
    """Return the law of the buckets: log-normal around 20 ms, and 3 percent on a path five times as long."""
    edges = np.log(1000.0) + np.log(1.05) * np.arange(BUCKETS - 1)
    normal = NormalDist().cdf
    middle = math.log(2e7) + shift_all
    cumulative = [
        0.97 * normal((edge - middle) / 0.4) + 0.03 * normal((edge - middle - 1.6 - shift_slow) / 0.4)
        for edge in edges.tolist()
    ]
    return np.asarray(np.clip(np.diff([0.0, *cumulative, 1.0]), 0.0, None), np.float64)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "step", "count", "limit"),
    [((math.log(1.2), 0.0), 25, 200, 1.9), ((0.0, 0.183), 1000, 250, 2.3)],
)
def test_requests_to_detect_are_near_the_bound(
    change: tuple[float, float], step: int, count: int, limit: float
) -> None:
    """Everything times 1.2, and p99 alone: on average at most 1.9 and 2.3 times the information bound."""
    p0, p1 = slow_path_law(0.0, 0.0), slow_path_law(*change)
    found = [first_crossing(p1, p0, step, count, seed) for seed in range(60)]
    assert np.mean(found) <= limit * information_bound(p1, p0)


@pytest.mark.slow
def test_an_equal_canary_is_hardly_ever_called_slower() -> None:
    """Of 200 A/A runs with 50 looks each at most 3 reach 1/alpha for alpha = 1 percent, at the margin 0."""
    rng = np.random.default_rng(11)
    reference = Reference(durations(rng, 20_000))
    crossed = 0
    for _ in range(200):
        ones, zeros, share = looks(rng, 1.0, 50)
        # The evidence at look t is that of slices 0..t: read backwards, of the starts.
        back = slower_by_start(ones[::-1], zeros[::-1], share, reference).combined
        crossed += bool(back.max() >= math.log(100))
    assert crossed <= 3
