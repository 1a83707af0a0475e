"""How many requests until a slower canary is known, with hosts that make noise and without."""

from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks.simulation.cell import Cell, Delay, Figure, Floats, Samples
from benchmarks.simulation.looks import first_reached, guard_by_look, harm_by_look, slower_by_look
from benchmarks.simulation.stretches import errors_of, stretches
from benchmarks.simulation.traffic import (
    LAW,
    LatencyLaw,
    autoregressive,
    errors_by_look,
    histograms,
    reference,
)
from proxy.stats.blocks import two_tiers
from proxy.stats.events import harm_by_start
from proxy.stats.histogram import Counts, buckets_of_margin, middles_ns
from proxy.stats.normal import one_sided

__all__ = ["CELLS"]

Generator = np.random.Generator

ALPHA = 0.01


def _slow_path() -> LatencyLaw:
    """Return the law whose slow path alone is slower, so that p99 is 20 % higher."""
    wanted, low, high = 1.2 * LAW.quantile_ns(0.99), 1.0, 4.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        law = replace(LAW, slow_by=LAW.slow_by * middle)
        low, high = (middle, high) if law.quantile_ns(0.99) < wanted else (low, middle)
    return replace(LAW, slow_by=LAW.slow_by * high)


EVERYTHING, TAIL = LAW.probabilities(1.2), _slow_path().probabilities()


def information(champion: Floats, canary: Floats, share: float) -> float:
    """Return the information of one request about its coin, in nats: the Jensen-Shannon divergence at the share."""
    both = share * canary + (1.0 - share) * champion
    total = 0.0
    for law, weight in ((canary, share), (champion, 1.0 - share)):
        seen = law > 0.0
        total += weight * float((law[seen] * np.log(law[seen] / both[seen])).sum())
    return total


def slower(rng: Generator, runs: int, canary: Floats, size: int, looks: int) -> Samples:
    """Draw a slower canary with 10 % of the requests, judged after each ``size`` requests."""
    champion, share = LAW.probabilities(), np.full(looks, 0.1)
    names = ("combined", "tilt", "exceed99", "mean")
    requests = np.arange(1, looks + 1, dtype=np.float64) * size
    samples = {name: np.empty(runs) for name in names}
    for run in range(runs):
        known = reference(rng, champion)
        mine = rng.binomial(size, 0.1, looks)
        ones, zeros = histograms(rng, mine, canary), histograms(rng, size - mine, champion)
        found = slower_by_look(ones, zeros, share, known)
        for name in names[:3]:
            samples[name][run] = first_reached(getattr(found, name), requests, ALPHA)
        samples["mean"][run] = first_reached(_by_mean(ones, zeros, champion, canary), requests, ALPHA)
    return samples


def _by_mean(ones: Counts, zeros: Counts, champion: Floats, canary: Floats) -> Floats:
    """Return the normal mixture's log e for the means, with the true difference for its prior scale."""
    values = middles_ns() / 1e6
    tau = float((canary - champion) @ values)
    logs = np.zeros(len(ones))
    sums = np.cumsum(ones, axis=0), np.cumsum(zeros, axis=0)
    for look in range(len(ones)):
        means, variance, least = [], 0.0, np.inf
        for arm in (sums[0][look], sums[1][look]):
            n = int(arm.sum())
            mean = float(arm @ values) / max(n, 1)
            means.append(mean)
            variance += float(arm @ (values - mean) ** 2) / max(n, 1) ** 2
            least = min(least, n)
        if least >= 200:
            logs[look] = one_sided(means[0] - means[1], variance, 0.0, tau)
    return logs


def pods(rng: Generator, runs: int) -> Samples:
    """Draw a canary slower by a fifth on hosts that differ by 3 %; blocks and looks of 500 requests."""
    looks, size = 160, 500
    share, requests = np.full(looks, 0.1), np.arange(1, looks + 1, dtype=np.float64) * size
    samples = {name: np.empty(runs) for name in ("narrow", "tiers")}
    for run in range(runs):
        champion = LAW.probabilities(np.exp(rng.normal(0.0, 0.03, 18))).mean(axis=0)
        canary = LAW.probabilities(1.2 * np.exp(rng.normal(0.0, 0.03, 2))).mean(axis=0)
        mine = rng.binomial(size, 0.1, looks)
        ones, zeros = histograms(rng, mine, canary), histograms(rng, size - mine, champion)
        known = reference(rng, champion)
        narrow = slower_by_look(ones, zeros, share, known, buckets_of_margin(0.1)).combined
        wide = slower_by_look(ones, zeros, share, known, buckets_of_margin(0.5)).combined
        samples["narrow"][run] = first_reached(narrow, requests, ALPHA)
        samples["tiers"][run] = _tiers(wide, narrow, guard_by_look(ones, zeros, 0.1), requests)
    return samples


def _tiers(wide: Floats, narrow: Floats, guard: Floats, at: Floats) -> float:
    both = np.array([two_tiers(*each) for each in zip(wide, narrow, guard, strict=True)])
    return first_reached(both, at, ALPHA)


def noisy(rng: Generator, runs: int, factor: float) -> Samples:
    """Draw noise with a memory on both arms for 100 minutes, 1200 requests each; looks of 10 s."""
    minutes, per_minute = 100, 6
    looks = minutes * per_minute
    share, at = np.full(looks, 0.5), np.arange(1, looks + 1) / per_minute
    taken = np.empty(runs)
    for run in range(runs):
        arms = [
            histograms(
                rng,
                np.full(looks, 100),
                LAW.probabilities(scale * np.repeat(autoregressive(rng, minutes, 0.1), per_minute)),
            )
            for scale in (factor, 1.0)
        ]
        known = reference(rng, LAW.probabilities())
        blocks = [arm.reshape(minutes, per_minute, -1).sum(axis=1) for arm in arms]
        by_minute = guard_by_look(blocks[0], blocks[1], 0.1)
        guard = np.concatenate([np.zeros(per_minute - 1), np.repeat(by_minute, per_minute)])[:looks]
        narrow = slower_by_look(arms[0], arms[1], share, known, buckets_of_margin(0.1)).combined
        wide = slower_by_look(arms[0], arms[1], share, known, buckets_of_margin(0.5)).combined
        taken[run] = _tiers(wide, narrow, guard, at)
    return {"minutes": taken}


def late(rng: Generator, runs: int, healthy: int) -> Samples:
    """Draw errors of 1 % that double in the canary after so many looks of 1000 requests; 10 s each."""
    after = 150
    looks = healthy + after
    rates = np.where(np.arange(looks) < healthy, 0.01, 0.02)
    share = np.full(looks, 0.1)
    requests = np.arange(1, after + 1, dtype=np.float64) * 1000.0
    samples = {name: np.empty(runs) for name in ("late", "plain")}
    for run in range(runs):
        errors = errors_by_look(rng, np.full(looks, 1000), share, 0.01, rates)
        plain = harm_by_look(*errors, share, 0.0)[healthy:]
        samples["plain"][run] = first_reached(plain, requests, ALPHA)
        samples["late"][run] = np.inf
        for number, stretch in enumerate(stretches(*errors, share, range(healthy + 1, looks + 1))):
            if stretch.late(harm_by_start(*errors_of(stretch), 0.0)) >= -np.log(ALPHA):
                samples["late"][run] = requests[number]
                break
    return samples


def _mean(values: Floats) -> float:
    """Return the mean of the runs in which it was found."""
    return float(values[np.isfinite(values)].mean())


def _median(values: Floats) -> float:
    return float(np.quantile(values, 0.5, method="higher"))


def _cost(one: Floats, other: Floats) -> float:
    return 100.0 * float(one.mean() / other.mean() - 1.0)


def _times(one: Floats, other: Floats) -> float:
    """Return how many times as many requests the other takes, at the median: means leave out what is never found."""
    return _median(other) / _median(one)


def _slower_cell(name: str, setting: str, law: Floats, size: int, looks: int, goal: float, runs: int) -> Cell:
    bound = -np.log(ALPHA) / information(LAW.probabilities(), law, 0.1)
    return Cell(
        f"slower-{name}",
        setting,
        runs,
        partial(slower, canary=law, size=size, looks=looks),
        (
            Delay("combined", "latency, all bets", bound, goal),
            Delay("tilt", "the tilt alone", bound),
            Delay("exceed99", "exceedances of p99 alone", bound),
            Delay("mean", "normal mixture of means, knowing the difference", bound),
        ),
    )


_EVERYTHING = _slower_cell(
    "everything", "latency × 1.2, 10 % canary", EVERYTHING, size=50, looks=600, goal=1.8, runs=600
)

_SPREAD = (
    "30,000 take 3 % of the money within 30 s of the onset. 45 % of the money is for late ones, so that would do for "
    "fifteen such moments, a quarter of an hour; it is spread over months"
)

CELLS = (
    Cell(
        _EVERYTHING.name,
        _EVERYTHING.setting,
        _EVERYTHING.runs,
        _EVERYTHING.draw,
        (
            *_EVERYTHING.claims,
            Figure(("combined", "mean"), "times as many requests by means, at the median", _times, least=4.0),
        ),
    ),
    _slower_cell(
        "tail",
        "only the slow path slower, p99 + 20 %, 10 % canary",
        TAIL,
        size=3000,
        looks=200,
        goal=2.2,
        runs=600,
    ),
    Cell(
        "slower-pods",
        "latency × 1.2, hosts differ by 3 % for good, 10 % canary; blocks of 500 requests",
        300,
        pods,
        (
            Delay("narrow", "requests alone, margin 10 %"),
            Delay("tiers", "rule of two tiers, margin 10 %"),
            Figure(("narrow",), "requests alone: mean requests", _mean, most=12_000),
        ),
    ),
    *(
        Cell(
            f"slower-noise-{factor:g}",
            f"latency × {factor:g}, noise of 10 % with a memory, equal split, 1,200 requests a minute",
            200,
            partial(noisy, factor=factor),
            (Figure(("minutes",), "rule of two tiers: minutes, median", _median, most=most),),
        )
        for factor, most in ((1.5, 25.0), (2.0, 3.0))
    ),
    Cell(
        "late-100",
        "errors 1 % → 2 % after 100,000 healthy requests, 10 % canary",
        800,
        partial(late, healthy=100),
        (
            Delay("late", "errors, 45 % of the money on late onsets"),
            Delay("plain", "errors, all money from the beginning"),
            Figure(
                ("late",), "late onset found after further requests, mean", _mean, most=30_000, why=_SPREAD
            ),
        ),
    ),
    Cell(
        "late-0",
        "errors 1 % → 2 % from the beginning, 10 % canary",
        2_000,
        partial(late, healthy=0),
        (
            Delay("late", "errors, 45 % of the money on late onsets"),
            Delay("plain", "errors, all money from the beginning"),
            Figure(("late", "plain"), "cost of looking for late onsets", _cost, most=10.0, unit=" %"),
        ),
    ),
)
