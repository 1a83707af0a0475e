"""How often a confidence sequence leaves the truth out, at any look."""

from functools import partial

import numpy as np

from benchmarks.simulation.cell import Cell, Figure, Floats, Kept, Samples
from benchmarks.simulation.looks import below_by_look, quantile_outside_by_look
from benchmarks.simulation.traffic import LAW, RAMP, errors_by_look, histograms
from proxy.stats.events import risk_ratio_sequence
from proxy.stats.histogram import bucket_of, middles_ns, quantile_ns
from proxy.stats.means import mean_difference_sequence, mean_sequence
from proxy.stats.proportion import proportion_sequence

__all__ = ["CELLS"]

Generator = np.random.Generator

ALPHA = 0.05
LOOKS = 2000
SOME = np.unique(np.geomspace(1, 1000, 60).astype(int))
"""Looks at which what takes long is computed, of 1000."""


def ratios(rng: Generator, runs: int, ratio: float) -> Samples:
    """Draw a ramp of 1000 looks whose canary has ``ratio`` times the champion's errors."""
    share, out = np.repeat(RAMP, 1000 // len(RAMP)), np.zeros(runs)
    for run in range(runs):
        canary, champion = errors_by_look(rng, np.full(1000, 400), share, 0.01, 0.01 * ratio)
        for at in SOME.tolist():
            low, high = risk_ratio_sequence(canary[:at], champion[:at], share[:at], ALPHA)
            if not low <= ratio <= high:
                out[run] = 1.0
                break
    return {"out": out}


def quantiles(rng: Generator, runs: int) -> Samples:
    """Draw 2000 looks of 20 requests; p50, p95 and p99 of the law, and the error of what is displayed at the end."""
    law = LAW.probabilities()
    samples = {name: np.empty(runs) for name in ("p50", "p95", "p99", "error")}
    for run in range(runs):
        counts = histograms(rng, np.full(LOOKS, 20), law)
        for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            sums = below_by_look(counts, bucket_of(int(LAW.quantile_ns(q))))
            samples[name][run] = quantile_outside_by_look(*sums, q, ALPHA).max()
        samples["error"][run] = 0.0
    exact = law * 10.0**12
    errors = [
        abs(quantile_ns(np.rint(exact).astype(np.int64), q) / LAW.quantile_ns(q) - 1.0)
        for q in (0.5, 0.95, 0.99)
    ]
    samples["error"][:] = max(errors)
    return samples


def means(rng: Generator, runs: int) -> Samples:
    """Draw 1000 looks of 100 requests of both arms: the mean, and the difference of means that is none."""
    law = LAW.probabilities()
    truth = float(law @ middles_ns())
    samples = {name: np.zeros(runs) for name in ("mean", "difference")}
    for run in range(runs):
        arms = [np.cumsum(histograms(rng, np.full(1000, 100), law), axis=0) for _ in range(2)]
        for at in (SOME - 1).tolist():
            one = mean_sequence(arms[0][at], ALPHA)
            if one.reliable and not one.low_ns <= truth <= one.high_ns:
                samples["mean"][run] = 1.0
            both = mean_difference_sequence(arms[0][at][None], arms[1][at][None], ALPHA)
            if both.reliable and not both.low_ns <= 0.0 <= both.high_ns:
                samples["difference"][run] = 1.0
    return samples


def proportions(rng: Generator, runs: int) -> Samples:
    """Draw 1000 looks of 20 copies of which 3 % disagree."""
    out = np.zeros(runs)
    for run in range(runs):
        count = np.cumsum(rng.binomial(20, 0.03, 1000))
        for at in SOME.tolist():
            low, high = proportion_sequence(int(count[at - 1]), 20 * at, ALPHA)
            if not low <= 0.03 <= high:
                out[run] = 1.0
                break
    return {"out": out}


def _percent(values: Floats) -> float:
    return 100.0 * float(values.max())


CELLS = (
    *(
        Cell(
            f"ratio-{ratio:g}",
            f"errors 1 %, canary {ratio:g} times as many, ramp 1-5-10-25-50 %, 1,000 looks, 60 of them read",
            2_000,
            partial(ratios, ratio=ratio),
            (Kept("out", "ratio of error rates"),),
        )
        for ratio in (1.0, 2.0)
    ),
    Cell(
        "quantiles",
        "latency, lognormal with a slow path of 3 %, 2,000 looks of 20 requests",
        2_500,
        quantiles,
        (
            Kept("p50", "median"),
            Kept("p95", "p95"),
            Kept("p99", "p99"),
            Figure(("error",), "displayed quantile, off by at most", _percent, most=2.5, unit=" %"),
        ),
    ),
    Cell(
        "means",
        "the same law, 1,000 looks of 100 requests, 60 of them read",
        1_500,
        means,
        (Kept("mean", "mean duration (asymptotic)"), Kept("difference", "difference of means (asymptotic)")),
    ),
    Cell(
        "proportions",
        "3 % of copies disagree, 1,000 looks of 20, 60 of them read",
        10_000,
        proportions,
        (Kept("out", "share of disagreement"),),
    ),
)
