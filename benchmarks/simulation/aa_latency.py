"""Latency, nothing is wrong: heavy tails, hosts that differ, noise that has a memory."""

from functools import partial

import numpy as np

from benchmarks.simulation.aa_events import judged_repeatedly
from benchmarks.simulation.cell import Alarms, Cell, Errs, Samples
from benchmarks.simulation.classic import mann_whitney, repeated, welch_t
from benchmarks.simulation.looks import guard_by_look, slower_by_look
from benchmarks.simulation.traffic import LAW, autoregressive, histograms, reference
from proxy.stats.blocks import two_tiers
from proxy.stats.histogram import Counts, buckets_of_margin, log_quantiles

__all__ = ["CELLS"]

Generator = np.random.Generator

NARROW, WIDE = 0.1, 0.5


def plain(rng: Generator, runs: int, share: float, margin_buckets: int) -> Samples:
    """Draw runs of 100 looks of 2000 requests; the canary is slower by exactly the margin."""
    looks = 100
    champion, canary = LAW.probabilities(), LAW.probabilities(1.05**margin_buckets)
    shares, best = np.full(looks, share), np.empty(runs)
    for run in range(runs):
        known = reference(rng, champion)
        mine = rng.binomial(2000, share, looks)
        ones, zeros = histograms(rng, mine, canary), histograms(rng, 2000 - mine, champion)
        best[run] = slower_by_look(ones, zeros, shares, known, margin_buckets).combined.max()
    return {"e": best}


def tested(rng: Generator, runs: int) -> Samples:
    """Draw runs of 200 looks of 1000 requests, tested again and again."""
    law, samples = LAW.probabilities(), {"welch": np.empty(runs), "rank": np.empty(runs)}
    for run in range(runs):
        mine = rng.binomial(1000, 0.1, 200)
        ones = np.cumsum(histograms(rng, mine, law), axis=0)
        zeros = np.cumsum(histograms(rng, 1000 - mine, law), axis=0)
        samples["welch"][run] = repeated(welch_t(ones, zeros), 0.05)
        samples["rank"][run] = repeated(mann_whitney(ones, zeros), 0.05)
    return samples


def tiers(rng: Generator, ones: Counts, zeros: Counts, share: float) -> dict[str, float]:
    """Return the greatest log e of all looks: requests alone at three margins, and the rule of two tiers."""
    shares = np.full(len(ones), share)
    known = reference(rng, LAW.probabilities())
    found = {
        margin: slower_by_look(ones, zeros, shares, known, buckets_of_margin(margin)).combined
        for margin in (0.0, NARROW, WIDE)
    }
    guard = guard_by_look(ones, zeros, NARROW)
    both = [two_tiers(found[WIDE][t], found[NARROW][t], guard[t]) for t in range(len(ones))]
    names = {"none": found[0.0], "narrow": found[NARROW], "wide": found[WIDE]}
    return {**{name: float(each.max()) for name, each in names.items()}, "tiers": max(both)}


def pods(rng: Generator, runs: int) -> Samples:
    """Draw hosts that differ by 3 % for good: two of the canary, eighteen of the champion, for 100 minutes."""
    samples: dict[str, list[float]] = {}
    for _ in range(runs):
        laws = [LAW.probabilities(np.exp(rng.normal(0.0, 0.03, hosts))).mean(axis=0) for hosts in (2, 18)]
        mine = rng.binomial(1200, 0.1, 100)
        ones, zeros = histograms(rng, mine, laws[0]), histograms(rng, 1200 - mine, laws[1])
        found = tiers(rng, ones, zeros, 0.1)
        sums = np.cumsum(ones, axis=0), np.cumsum(zeros, axis=0)
        found["welch"] = repeated(welch_t(*sums), 0.05)
        found["rank"] = repeated(mann_whitney(*sums), 0.05)
        _add(samples, found)
    return _arrays(samples)


def noisy(rng: Generator, runs: int, spread: float) -> Samples:
    """Draw 100 minutes of an equal split whose arms have noise with a memory, 1200 requests a minute."""
    samples: dict[str, list[float]] = {}
    for _ in range(runs):
        counts = [
            histograms(rng, np.full(100, 600), LAW.probabilities(autoregressive(rng, 100, spread)))
            for _ in range(2)
        ]
        found = tiers(rng, counts[0], counts[1], 0.5)
        medians = np.stack([np.exp(log_quantiles(each, 0.5)) for each in counts])
        found["judge"] = judged_repeatedly(medians)
        _add(samples, found)
    return _arrays(samples)


def _add(samples: dict[str, list[float]], found: dict[str, float]) -> None:
    for name, value in found.items():
        samples.setdefault(name, []).append(value)


def _arrays(samples: dict[str, list[float]]) -> Samples:
    arrays = {name: np.array(values) for name, values in samples.items()}
    for name in ("none", "narrow"):
        arrays[f"{name}_at"] = (arrays[name] >= -np.log(0.01)).astype(np.float64)
    return arrays


_LAW = "latency, lognormal with a slow path of 3 %"
_NOISE = "latency, equal split, noise of arms per minute with a memory (0.7), {spread}, 100 minutes"

CELLS = (
    Cell(
        "latency",
        f"{_LAW}, 10 % canary, 100 looks",
        10_000,
        partial(plain, share=0.1, margin_buckets=0),
        (Errs("e", "latency, margin 0"),),
    ),
    Cell(
        "latency-margin",
        f"{_LAW}, 10 % canary, 100 looks; the canary is slower by exactly the margin",
        3_000,
        partial(plain, share=0.1, margin_buckets=2),
        (Errs("e", "latency, margin 10 %", alphas=(0.05, 0.01)),),
    ),
    Cell(
        "latency-half",
        f"{_LAW}, equal split, 100 looks",
        3_000,
        partial(plain, share=0.5, margin_buckets=0),
        (Errs("e", "latency, margin 0", alphas=(0.05, 0.01)),),
    ),
    Cell(
        "latency-tests",
        f"{_LAW}, 10 % canary, 200 looks",
        1_000,
        tested,
        (
            Alarms("welch", "Welch's t at every look, p < 0.05"),
            Alarms("rank", "Mann-Whitney at every look, p < 0.05"),
        ),
    ),
    Cell(
        "pods",
        "latency, two hosts of the canary and 18 of the champion that differ by 3 % for good, 120,000 requests",
        1_000,
        pods,
        (
            Errs("narrow", "requests alone, margin 10 %", alphas=(0.05, 0.01)),
            Errs("tiers", "rule of two tiers, margin 10 %", alphas=(0.05, 0.01)),
            Alarms("none_at", "requests alone, margin 0, α = 1 % (a misuse of ours)"),
            Alarms("welch", "Welch's t at every look, p < 0.05"),
            Alarms("rank", "Mann-Whitney at every look, p < 0.05"),
        ),
    ),
    *(
        Cell(
            f"noise-{name}",
            _NOISE.format(spread=f"sd {name}"),
            runs,
            partial(noisy, spread=spread),
            (
                Errs("tiers", "rule of two tiers, margin 10 %", alphas=(0.05, 0.01)),
                Errs("wide", "requests alone, margin 50 %", alphas=(0.05, 0.01)),
                Alarms("none_at", "requests alone, margin 0, α = 1 % (a misuse of ours)"),
                Alarms("narrow_at", "requests alone, margin 10 %, α = 1 % (a misuse of ours)"),
                Alarms("judge", "canary judge on medians, 48 judgements"),
            ),
        )
        for name, spread, runs in (("2 %", 0.02, 1_000), ("10 %", 0.10, 6_000))
    ),
)
