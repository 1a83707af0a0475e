"""What others do with the same counts: fixed thresholds, classical tests that are repeated, a canary judge.

Arguments are counts *up to* each look unless said otherwise; results are 1.0 where the rule has acted by the last look.
Fixed rules are those of the projects' own examples. They are here to be compared with, and decide nothing.
"""

import math

import numpy as np

from benchmarks.simulation.cell import Floats
from proxy.stats.histogram import Counts, middles_ns
from proxy.stats.special import ndtri

__all__ = [
    "canary_judge",
    "chi_square",
    "diffy",
    "failed_checks",
    "mann_whitney",
    "proportions_z",
    "repeated",
    "welch_t",
]


def failed_checks(errors: Counts, requests: Counts, success: float, checks: int) -> float:
    """Return whether so many checks fail in all: a check is a look in which less than ``success`` succeeded.

    Arguments are per look. Flagger's example: success rate 99 %, threshold 5; Argo Rollouts' example: 95 %, limit 3.
    """
    asked = requests > 0
    failed = asked & (errors > (1.0 - success) * requests)
    return float(failed.sum() >= checks)


def repeated(z: Floats, p: float) -> float:
    """Return whether a one-sided p value falls below ``p`` at any look."""
    return float((z > -float(ndtri(p))).any())


def proportions_z(canary: Counts, canary_total: Counts, champion: Counts, champion_total: Counts) -> Floats:
    """Return the z of two proportions with pooled variance at each look."""
    n1, n0 = np.maximum(canary_total, 1), np.maximum(champion_total, 1)
    pooled = (canary + champion) / (n1 + n0)
    variance = pooled * (1.0 - pooled) * (1.0 / n1 + 1.0 / n0)
    safe = np.where(variance > 0.0, variance, np.inf)
    z: Floats = (canary / n1 - champion / n0) / np.sqrt(safe)
    return z


def _moments(counts: Counts) -> tuple[Floats, Floats, Floats]:
    values = middles_ns() / 1e6
    n = np.maximum(counts.sum(axis=-1), 1).astype(np.float64)
    mean = counts @ values / n
    variance = np.maximum(counts @ values**2 / n - mean**2, 0.0) * n / np.maximum(n - 1.0, 1.0)
    return n, mean, variance


def welch_t(canary: Counts, champion: Counts) -> Floats:
    """Return Welch's t of the mean duration at each look; counts are ``(S, BUCKETS)`` up to it."""
    n1, m1, v1 = _moments(canary)
    n0, m0, v0 = _moments(champion)
    t: Floats = (m1 - m0) / np.sqrt(v1 / n1 + v0 / n0)
    return t


def mann_whitney(canary: Counts, champion: Counts) -> Floats:
    """Return the z of Mann & Whitney's U at each look, with the correction for ties."""
    n1, n0 = canary.sum(axis=-1).astype(np.float64), champion.sum(axis=-1).astype(np.float64)
    n, both = n1 + n0, (canary + champion).astype(np.float64)
    lower = np.cumsum(champion, axis=-1) - 0.5 * champion
    u = (canary * lower).sum(axis=-1)
    ties = (both**3 - both).sum(axis=-1) / (n * (n - 1.0))
    z: Floats = (u - n1 * n0 / 2.0) / np.sqrt(n1 * n0 / 12.0 * (n + 1.0 - ties))
    return z


def canary_judge(canary: Floats, champion: Floats) -> float:
    """Return whether a judge of time series says "high": Mann & Whitney, confidence 98 %, tolerance a quarter.

    One value per time step for each arm. High: the lower end of the confidence interval of Hodges and Lehmann's
    estimate is above a quarter of the estimate. Source: Kayenta's NetflixACAJudge and MannWhitneyClassifier.
    """
    m, n = len(canary), len(champion)
    differences = np.sort((canary[:, None] - champion[None, :]).ravel())
    estimate = float(np.median(differences))
    spread = math.sqrt(m * n * (m + n + 1) / 12.0)
    rank = int(m * n / 2.0 + float(ndtri(0.01)) * spread)
    if rank < 0:
        return 0.0
    return float(estimate > 0.0 and differences[rank] > 0.25 * estimate)


def chi_square(counts: Counts, shares: Floats) -> Floats:
    """Return the signed root of the chi-square of two arms' units against their shares, at each look."""
    total = counts.sum(axis=-1, keepdims=True)
    expected = total * shares
    root: Floats = np.sqrt(((counts - expected) ** 2 / expected).sum(axis=-1))
    return root


def diffy(raw: Counts, noise: Counts, total: Counts) -> float:
    """Return whether a field is ever flagged: raw > noise, by more than 20 % of it and 0.03 % of all requests."""
    more = raw > noise
    relative = np.abs(raw - noise) > 0.2 * np.maximum(raw + noise, 1)
    absolute = np.abs(raw - noise) > 0.0003 * total
    return float((more & relative & absolute).any())
