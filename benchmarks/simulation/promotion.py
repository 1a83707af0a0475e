"""A canary that is just too bad to be promoted: how often is it, and how soon is one that is the same."""

from functools import partial

import numpy as np

from benchmarks.simulation.cell import Cell, Errs, Floats, Samples, Share, Table
from benchmarks.simulation.looks import difference_by_look, noninferiority_by_look, within_by_look
from benchmarks.simulation.traffic import LAW, errors_by_look, histograms, reference
from proxy.stats.histogram import Counts
from proxy.stats.latency import not_slower

__all__ = ["CELLS"]

Generator = np.random.Generator

LOOKS = 200
SOME = np.unique(np.geomspace(1, LOOKS, 16).astype(int))
"""Looks at which latency is judged: what is judged seldom is judged with the same counts."""


def ratio(rng: Generator, runs: int, margin: float, share: float) -> Samples:
    """Draw canaries whose error rate is 1 + margin times the champion's 1 %."""
    shares, best = np.full(LOOKS, share), np.empty(runs)
    for run in range(runs):
        errors = errors_by_look(rng, np.full(LOOKS, 1000), share, 0.01, 0.01 * (1.0 + margin))
        best[run] = noninferiority_by_look(*errors, shares, margin).max()
    return {"e": best}


def outcomes(rng: Generator, looks: int, share: float, champion: float, canary: float) -> list[Counts]:
    """Return (looks, 2) successes and errors of canary and champion, 1000 requests a look."""
    mine = rng.binomial(1000, share, looks)
    found = []
    for total, rate in ((mine, canary), (1000 - mine, champion)):
        errors = rng.binomial(total, rate)
        found.append(np.stack([total - errors, errors], axis=1))
    return found


def points(rng: Generator, runs: int, tolerance: float, share: float) -> Samples:
    """Draw canaries that fail exactly the tolerated share of requests more than the champion's 0.2 %."""
    looks = 60
    shares, best = np.full(looks, share), np.empty(runs)
    for run in range(runs):
        arms = outcomes(rng, looks, share, 0.002, 0.002 + tolerance)
        best[run] = difference_by_look(arms[0], arms[1], shares, tolerance, within_limit=True).max()
    return {"e": best}


def either(rng: Generator, runs: int) -> Samples:
    """Draw canaries that break margin and tolerance at once, exactly: 4 % become 5 %."""
    looks, share = 60, 0.5
    shares, best = np.full(looks, share), np.empty(runs)
    for run in range(runs):
        arms = outcomes(rng, looks, share, 0.04, 0.05)
        logs = [
            noninferiority_by_look(arms[0][:, 1], arms[1][:, 1], shares, 0.25),
            difference_by_look(arms[0], arms[1], shares, 0.01, within_limit=True),
        ]
        best[run] = np.max(logs) - np.log(2.0)
    return {"e": best}


def tolerated(rng: Generator, runs: int) -> Samples:
    """Draw copies that disagree exactly as often as is tolerated."""
    total, best = np.arange(1, LOOKS + 1) * 100, np.empty(runs)
    for run in range(runs):
        best[run] = within_by_look(np.cumsum(rng.binomial(100, 0.02, LOOKS)), total, 0.02).max()
    return {"e": best}


def latency(rng: Generator, runs: int, buckets: int, tail_only: bool) -> Samples:
    """Draw canaries that are slower by exactly the promotion margin, everywhere or from the median's shift alone."""
    champion, share = LAW.probabilities(), 0.5
    canary = LAW.probabilities(1.05**buckets)
    best = np.empty(runs)
    if tail_only:
        canary = _tail_of(champion, canary)
    for run in range(runs):
        known = reference(rng, champion)
        ones = np.cumsum(histograms(rng, np.full(LOOKS, 500), canary), axis=0)
        zeros = np.cumsum(histograms(rng, np.full(LOOKS, 500), champion), axis=0)
        best[run] = max(
            not_slower(ones[at - 1][None], zeros[at - 1][None], np.array([share]), known, buckets).combined
            for at in SOME.tolist()
        )
    return {"e": best}


def _tail_of(champion: Floats, slower: Floats) -> Floats:
    """Return a law that is the champion's below its 90th percentile, and the slower one's tail above it."""
    kept = np.minimum(np.cumsum(champion), 0.9)
    tail = np.maximum(np.cumsum(slower), 0.9) - 0.9
    mixed = np.maximum(np.diff(kept + tail, prepend=0.0), 0.0)
    result: Floats = mixed / mixed.sum()
    return result


def all_of_ten(rng: Generator, runs: int) -> Samples:
    """Draw ten guardrails, of which nine are plainly good and one is exactly at its margin; all must be shown."""
    shares, best = np.full(LOOKS, 0.5), np.empty(runs)
    for run in range(runs):
        least = np.full(LOOKS, np.inf)
        for number in range(10):
            rate = 0.0125 if number == 0 else 0.007
            errors = errors_by_look(rng, np.full(LOOKS, 2000), 0.5, 0.01, rate)
            least = np.minimum(least, noninferiority_by_look(*errors, shares, 0.25))
        best[run] = least.max()
    return {"e": best}


def same_of_ten(rng: Generator, runs: int) -> Samples:
    """Draw ten guardrails of a canary that is the same, and whether all are shown within 400,000 requests."""
    shares, found = np.full(LOOKS, 0.5), np.empty(runs)
    for run in range(runs):
        least = np.full(LOOKS, np.inf)
        for _ in range(10):
            errors = errors_by_look(rng, np.full(LOOKS, 2000), 0.5, 0.01, 0.01)
            least = np.minimum(least, noninferiority_by_look(*errors, shares, 0.25))
        found[run] = least.max() >= -np.log(0.05)
    return {"shown": found}


def _claims(what: str) -> tuple[Errs, ...]:
    return (Errs("e", what, alphas=(0.05, 0.01), table=Table.PROMOTION),)


CELLS = (
    *(
        Cell(
            f"promotion-{margin:.0%}-{share:.0%}",
            f"errors 1 %, exactly {margin:.0%} more, {share:.0%} canary, 200,000 requests".replace("%", " %"),
            20_000,
            partial(ratio, margin=margin, share=share),
            _claims("errors, relative margin"),
        )
        for margin, share in ((0.25, 0.5), (0.5, 0.5), (0.5, 0.1), (1.0, 0.1))
    ),
    Cell(
        "promotion-points",
        "errors 0.2 %, exactly 1 percent point more, equal split, 60,000 requests",
        3_000,
        partial(points, tolerance=0.01, share=0.5),
        _claims("errors, absolute tolerance"),
    ),
    Cell(
        "promotion-either",
        "errors 4 %, exactly at margin (25 %) and tolerance (1 point) at once, equal split, 60,000 requests",
        3_000,
        either,
        _claims("errors, as built: within the margin or the tolerance"),
    ),
    Cell(
        "promotion-latency",
        "everything slower by exactly the promotion margin, equal split, 200,000 requests",
        2_000,
        partial(latency, buckets=4, tail_only=False),
        _claims("latency, least of median and p95"),
    ),
    Cell(
        "promotion-tail",
        "only the slowest tenth slower, by exactly the promotion margin, equal split, 200,000 requests",
        2_000,
        partial(latency, buckets=4, tail_only=True),
        _claims("latency, least of median and p95"),
    ),
    Cell(
        "promotion-disagreement",
        "copies disagree exactly as often as is tolerated, 20,000 pairs",
        20_000,
        tolerated,
        _claims("disagreement"),
    ),
    Cell(
        "promotion-ten",
        "ten guardrails, nine plainly good, one exactly at its margin; equal split, 400,000 requests",
        6_000,
        all_of_ten,
        _claims("all ten shown, no correction"),
    ),
    Cell(
        "promotion-same",
        "ten guardrails of a canary that is the same, errors 1 %, margin 25 %, equal split, 400,000 requests",
        2_000,
        same_of_ten,
        (Share("shown", "all ten shown", table=Table.FIGURES),),
    ),
)
