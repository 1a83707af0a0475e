"""Traffic as counts per look: errors, ramps, latency, noise of hosts, users who come back."""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.simulation.cell import Floats
from proxy.stats.histogram import BUCKETS, Counts, upper_edges_ns
from proxy.stats.latency import Reference

__all__ = [
    "LAW",
    "RAMP",
    "LatencyLaw",
    "Users",
    "autoregressive",
    "diurnal",
    "errors_by_look",
    "histograms",
    "incident",
    "reference",
    "sticky_users",
]

Generator = np.random.Generator

RAMP = (0.01, 0.05, 0.10, 0.25, 0.50)
"""Shares of a canary on its way."""


def errors_by_look(
    rng: Generator, requests: ArrayLike, share: ArrayLike, champion: ArrayLike, canary: ArrayLike
) -> tuple[Counts, Counts]:
    """Return errors of canary and champion per look; arguments have, or are broadcast to, the result's shape."""
    n, pi, p0, p1 = np.broadcast_arrays(requests, share, champion, canary)
    mine = rng.binomial(n, pi)
    return rng.binomial(mine, p1), rng.binomial(n - mine, p0)


def diurnal(looks: int, requests: int, swing: float = 0.4) -> Counts:
    """Return requests per look over two days of a daily rhythm of ± ``swing``."""
    phase = 4.0 * math.pi * np.arange(looks) / looks
    return np.rint(requests * (1.0 + swing * np.sin(phase))).astype(np.int64)


def incident(looks: int, rate: float, during: float, first: int, last: int) -> Floats:
    """Return the error rate of each look: ``during`` in looks first..last-1, in whatever both share."""
    rates = np.full(looks, rate)
    rates[first:last] = during
    return rates


# Latency

_STEP = 1e-3
_LOW, _HIGH = math.log(1e3), math.log(3e11)


@dataclass(frozen=True)
class LatencyLaw:
    """Lognormal durations with a slow path: a cache miss, a large input."""

    median_ms: float = 20.0
    sigma: float = 0.6
    slow_share: float = 0.03
    slow_by: float = 8.0
    """How much slower the slow path is."""

    def below(self, log_ns: float) -> float:
        """Return P(duration <= exp(log_ns))."""
        centre = math.log(self.median_ms * 1e6)

        def normal(at: float) -> float:
            return 0.5 * math.erfc((at - log_ns) / self.sigma / math.sqrt(2.0))

        fast, slow = normal(centre), normal(centre + math.log(self.slow_by))
        return (1.0 - self.slow_share) * fast + self.slow_share * slow

    def quantile_ns(self, q: float) -> float:
        """Return a quantile of the law itself."""
        low, high = _LOW, _HIGH
        for _ in range(80):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if self.below(middle) < q else (low, middle)
        return math.exp(high)

    def probabilities(self, factor: ArrayLike = 1.0) -> Floats:
        """Return the probability of each bucket ``(..., BUCKETS)`` when all durations are multiplied by ``(...)``."""
        at, values = _table(self)
        edges = np.log(np.where(np.isinf(upper_edges_ns()), 1e30, upper_edges_ns()))
        below = np.interp(edges - np.log(np.asarray(factor, np.float64))[..., None], at, values)
        below[..., -1] = 1.0
        mass = np.diff(below, prepend=0.0, axis=-1)
        result: Floats = mass / mass.sum(axis=-1, keepdims=True)
        return result


@cache
def _table(law: LatencyLaw) -> tuple[Floats, Floats]:
    at = np.arange(_LOW, _HIGH, _STEP)
    return at, np.array([law.below(float(x)) for x in at])


LAW = LatencyLaw()


def histograms(rng: Generator, requests: ArrayLike, law: Floats) -> Counts:
    """Return histograms ``(looks, BUCKETS)`` of so many requests each; ``law`` is one, or one for each look."""
    counts = np.asarray(requests, np.int64)
    used = np.flatnonzero(law.max(axis=0) if law.ndim == 2 else law)
    result: Counts = np.zeros((len(counts), BUCKETS), np.int64)
    kept = law[..., used]
    result[:, used] = rng.multinomial(counts, kept / kept.sum(axis=-1, keepdims=True))
    return result


def reference(rng: Generator, law: Floats, requests: int = 20_000) -> Reference:
    """Return what was known of the champion before the canary came."""
    return Reference(histograms(rng, [requests], law)[0])


def autoregressive(rng: Generator, length: int, innovation: float, phi: float = 0.7) -> Floats:
    """Return the factor on an arm's durations in each block: a stationary autoregressive process, on the log scale."""
    steps = rng.normal(0.0, innovation, length)
    steps[0] /= math.sqrt(1.0 - phi * phi)
    values = np.empty(length)
    level = 0.0
    for number, step in enumerate(steps):
        level = phi * level + step
        values[number] = level
    return np.exp(values)


# Users


@dataclass(frozen=True)
class Users:
    """Users who stay with their variant; an error is the user's, more than the request's."""

    in_canary: NDArray[np.bool_]
    requests: Counts
    """Of each user, in all."""
    errors: Counts
    first_error: Floats
    """Part of the run (0..1) that is over at the user's first error; infinite without one."""
    rate: Floats
    """Share of a user's requests that fail."""


def sticky_users(
    rng: Generator, users: int, share: float, champion: float, canary: float, correlation: float
) -> Users:
    """Return users with 1 to 500 requests each, whose own error rates vary so that requests are correlated.

    A user's rate is Beta distributed around the arm's; ``correlation`` is that of two requests of one user. A user's
    requests are spread evenly over the run.
    """
    mine = rng.random(users) < share
    requests = np.minimum(500, np.exp(rng.normal(3.0, 1.2, users)).astype(np.int64) + 1)
    mean = np.where(mine, canary, champion)
    spread = 1.0 / correlation - 1.0
    rate = np.clip(rng.beta(mean * spread, (1.0 - mean) * spread), 1e-12, 1.0)
    errors = rng.binomial(requests, rate)
    # Errors fall on a random subset of the requests: the first is the least of so many uniform times.
    with np.errstate(divide="ignore"):
        first = np.where(errors > 0, 1.0 - rng.random(users) ** (1.0 / np.maximum(errors, 1)), np.inf)
    return Users(mine, requests, errors, first, rate)
