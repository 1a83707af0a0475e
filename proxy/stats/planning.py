"""How many requests a decision takes, before any of them is sent.

Theory of operation:
    No rule that errs with probability at most alpha can decide sooner, on average, than
    ``log(1/alpha) / I`` requests, where I is the least divergence per request of what is true from anything
    that the null allows (Wald's identity and data processing): the *bound*. What our own bets take is
    computed, not simulated: the wealth after k events depends only on how many of them came from the canary,
    so the distribution of the deciding event follows from a recursion over events, and from events to requests
    there is a negative binomial step. Linear bets have no such small state: for them the mean is approximated.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from proxy.stats.bounded import STAKES
from proxy.stats.events import HARM_GRID, HARM_MONEY, NONINFERIORITY_GRID
from proxy.stats.special import Floats, lgamma, log_ndtr, ndtri

__all__ = ["Plan", "plan_difference", "plan_harm", "plan_noninferiority", "plan_within"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a decision takes at one share. Requests are those of canary and champion together."""

    share: float
    """P(canary | canary or champion)."""
    alpha: float
    """Probability of the wrong decision."""
    power: float
    """Probability with which `at_power` suffices."""
    bound: float
    """Requests that no valid rule can undercut, on average."""
    mean: float
    """Requests that ours takes, on average."""
    at_power: float
    """Requests within which ours decides with probability `power`."""
    exact: bool
    """Whether mean and at_power come from the recursion (error below 1 %), or from an approximation (15 %)."""

    @property
    def canary_mean(self) -> float:
        """Requests that the canary answers until the decision, on average."""
        return self.mean * self.share

    @property
    def canary_at_power(self) -> float:
        """Requests that the canary answers within `at_power`."""
        return self.at_power * self.share

    def mean_s(self, requests_per_s: float) -> float:
        """Return how long the decision takes on average, in seconds, at a rate above 0 of both together."""
        return self.mean / _rate(requests_per_s)

    def at_power_s(self, requests_per_s: float) -> float:
        """Return how long it takes with probability `power`, in seconds, at a rate above 0 of both together."""
        return self.at_power / _rate(requests_per_s)


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of every plan."""

    p0: float
    p1: float
    share: float
    alpha: float
    power: float
    weight: float = 1.0

    @property
    def threshold(self) -> float:
        """The log e that decides."""
        return -math.log(self.alpha * self.weight)


def plan_harm(
    p0: float,
    p1: float,
    share: float,
    *,
    margin: float = 0.1,
    alpha: float = 0.01,
    power: float = 0.9,
    weight: float = 1.0,
) -> Plan:
    """Return what it takes until `events.harm` says that a canary with error rate p1 is worse than p0.

    Model: requests are independent; the champion's are events with probability p0, the canary's with p1;
    decisions are made after every request. ``weight`` is the part of the money that is on this bet from the
    start: the metric's weight in the average, times about 1/2 with `mixtures.late_onset`.
    Range: p0, p1 in (0, 1] with p1 above (1 + margin) p0; share, alpha, power in (0, 1); weight in (0, 1].

    Raises:
        ValueError: a number outside its range, or a canary that is not worse: no plan finds what is not there.

    Source: the bound is Wald's; the recursion is over the conditional binomial of `events`.
    Checked against: seeded simulation of request by request, mean within 5 %.
    """
    asked = _Question(p0, p1, share, alpha, power, weight)
    _check(asked)
    if not p1 > (1.0 + margin) * p0 or margin <= -1.0:
        raise ValueError(f"expected a rate above {(1.0 + margin) * p0:g}, the margin, got {p1:g}")
    return _event_plan(asked, margin, HARM_GRID, HARM_MONEY)


def plan_noninferiority(
    p0: float,
    p1: float,
    share: float,
    *,
    margin: float = 0.25,
    alpha: float = 0.05,
    power: float = 0.9,
) -> Plan:
    """Return what it takes until `events.noninferiority` says that a canary with error rate p1 is good enough.

    Model and errors as in `plan_harm`, with p1 below (1 + margin) p0: p1 = p0 is a canary that is the same.
    For G guardrails that must all pass, plan each with the power ``1 - (1 - power)/G``.
    """
    asked = _Question(p0, p1, share, alpha, power)
    _check(asked)
    if not p1 < (1.0 + margin) * p0:
        raise ValueError(f"expected a rate below {(1.0 + margin) * p0:g}, the margin, got {p1:g}")
    return _event_plan(asked, margin, NONINFERIORITY_GRID, (1.0,) * len(NONINFERIORITY_GRID))


def plan_difference(
    p0: float,
    p1: float,
    share: float,
    limit: float,
    *,
    alpha: float = 0.01,
    power: float = 0.9,
    weight: float = 1.0,
) -> Plan:
    """Return what it takes until `bounded.difference_exceeds` finds rates p0 and p1 more than a limit apart.

    Model: as in `plan_harm`; the centre of the bet is p0. The limit is absolute (0.01: one percent point).
    Range: p0, p1 in 0..1 with p1 above p0 + limit. Mean and quantile are approximated: the mean within 15 %,
    the quantile rather too high.

    Raises:
        ValueError: a number outside its range, or rates that are not that far apart.

    Checked against: seeded simulation of counts.
    """
    asked = _Question(p0, p1, share, alpha, power, weight)
    _check(asked, least=0.0)
    if not p1 - p0 > limit:
        raise ValueError(f"expected a rate above {p0 + limit:g}, the limit, got {p1:g}")
    return _linear_plan(asked, limit, 1.0)


def plan_within(
    p0: float,
    p1: float,
    share: float,
    limit: float,
    *,
    alpha: float = 0.05,
    power: float = 0.9,
) -> Plan:
    """Return what it takes until `bounded.difference_within` says that p1 is less than p0 plus a limit.

    Model, range and errors as in `plan_difference`, with p1 below p0 + limit.
    """
    asked = _Question(p0, p1, share, alpha, power)
    _check(asked, least=0.0)
    if not p1 - p0 < limit:
        raise ValueError(f"expected a rate below {p0 + limit:g}, the limit, got {p1:g}")
    return _linear_plan(asked, limit, -1.0)


_LOOKS: Final = 256
"""Looks per doubling of events, about: looking less often delays the computed decision by a fifth of a percent."""

_MOST_EVENTS: Final = 1_000_000
_UNDECIDED: Final = 1e-4
_NEGLIGIBLE: Final = 1e-15

_LEARNING: Final = 1.5
"""Nats that a mixture of bets pays for not knowing the right one, and for overshooting: 0.7 to 2 by recursion."""

_AHEAD: Final = 0.25
"""Nats by which a mixture of random walks is ahead of the same mixture of their means: -0.5 to 0.7 in simulation."""


def _event_plan(asked: _Question, margin: float, grid: tuple[float, ...], money: tuple[float, ...]) -> Plan:
    p0, p1, share, alpha, power = asked.p0, asked.p1, asked.share, asked.alpha, asked.power
    threshold = asked.threshold
    bound = threshold / _least_divergence(asked, lambda q: (1.0 + margin) * q, 1.0 / (1.0 + margin))
    rate = share * p1 + (1.0 - share) * p0
    chance, null = share * p1 / rate, share * (1.0 + margin) / (1.0 + share * margin)
    deciding = _deciding_event(chance, null, grid, money, threshold)
    if deciding is None:
        information = rate * _divergence(chance, null)
        # The variance is that of a likelihood ratio for a small effect, and so many events are needed for no other.
        mean, late = _approximate(information, _LEARNING, threshold, power, 2.0 * information)
        return Plan(share, alpha, power, bound, mean, late, exact=False)
    events, probabilities = deciding
    mean = float(events @ probabilities) / rate
    return Plan(share, alpha, power, bound, mean, _quantile(events, probabilities, rate, power), exact=True)


@lru_cache(maxsize=64)
def _deciding_event(
    chance: float, null: float, grid: tuple[float, ...], money: tuple[float, ...], threshold: float
) -> tuple[Floats, Floats] | None:
    """Return numbers of events and the probability that the decision falls there; None if it takes too many.

    ``chance`` is the true probability that an event is the canary's, ``null`` that at the margin. A table of plans asks
    for the same ones many times, and advice once more.
    """
    bets, parts = np.array(grid), np.array(money) / sum(money)
    other = -np.log1p(null * np.expm1(bets))
    alive, first, events = np.ones(1), 0, 0
    numbers, probabilities = [], []
    left = 1.0
    while left > _UNDECIDED:
        if events >= _MOST_EVENTS:
            return None
        step = 1 + events // _LOOKS
        offset, steps = _binomial(step, chance)
        alive, first, events = np.convolve(alive, steps), first + offset, events + step
        kept = np.flatnonzero(alive > _NEGLIGIBLE)
        alive, first = alive[kept[0] : kept[-1] + 1], first + int(kept[0])
        mine = np.arange(first, first + len(alive), dtype=np.float64)
        wealth = mine[:, None] * bets + events * other
        top = wealth.max(axis=1)
        decided = top + np.log(np.exp(wealth - top[:, None]) @ parts) >= threshold
        if decided.any():
            numbers.append(float(events))
            probabilities.append(float(alive[decided].sum()))
            # Wealth rises or falls with the canary's part throughout: what is left is one stretch.
            rest = np.flatnonzero(~decided)
            if not len(rest):
                break
            alive, first = alive[rest[0] : rest[-1] + 1], first + int(rest[0])
        left = float(alive.sum())
    found = np.array(probabilities)
    return np.array(numbers), found / found.sum()


@lru_cache(maxsize=16)
def _binomial(n: int, p: float) -> tuple[int, Floats]:
    """Return the first number that is not negligible, and the probabilities from there on.

    As many looks as :data:`_LOOKS` follow each other with the same ``n``.
    """
    if p >= 1.0:
        return n, np.ones(1)
    centre, reach = n * p, 9.0 * math.sqrt(n * p * (1.0 - p)) + 9.0
    low, high = max(0, int(centre - reach)), min(n, int(centre + reach) + 1)
    k = np.arange(low, high + 1, dtype=np.float64)
    logs = (
        lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0) + k * math.log(p) + (n - k) * math.log1p(-p)
    )
    mass = np.exp(logs)
    return low, mass / mass.sum()


def _quantile(events: Floats, probabilities: Floats, rate: float, power: float) -> float:
    """Return the number of requests by which the deciding event has come with probability ``power``.

    Requests until the k-th event times the rate are near a gamma variable of shape k (Wilson & Hilferty 1931
    for its distribution function); the approximation errs towards more requests for frequent events.
    """
    root = np.sqrt(events)
    low, high = 0.0, 4.0 * (float(events[-1]) + 10.0)
    while high - low > 1e-6 * high:
        middle = 0.5 * (low + high)
        z = 3.0 * root * (np.cbrt(middle / events) - 1.0 + 1.0 / (9.0 * events))
        if float(probabilities @ np.exp(log_ndtr(z))) < power:
            low = middle
        else:
            high = middle
    return max(high / rate, float(events[0]))


def _linear_plan(asked: _Question, limit: float, side: float) -> Plan:
    p0, p1, share, threshold = asked.p0, asked.p1, asked.share, asked.threshold
    if not -1.0 < limit < 1.0:
        raise ValueError(f"expected a limit in -1..1, got {limit}")
    down, up = (p0, 1.0 - p0) if side > 0.0 else (1.0 - p0, p0)
    lowest = max(down / share, up / (1.0 - share))
    stakes = np.array(STAKES) / (lowest + side * limit)
    growth = np.zeros(len(stakes))
    spread = np.zeros(len(stakes))
    for arm, rate, weight in ((1.0, p1, share), (-1.0, p0, 1.0 - share)):
        for value, probability in ((1.0, rate), (0.0, 1.0 - rate)):
            factor = np.log1p(stakes * (side * (arm * (value - p0) / weight) - side * limit))
            growth += weight * probability * factor
            spread += weight * probability * factor**2
    best = int(growth.argmax())
    information = float(growth[best])
    if information <= 0.0:
        raise ValueError("expected rates farther from the limit: no bet gains from these")
    # A walk whose steps vary more than those of a likelihood ratio has a better stake in the mixture at that time.
    variance = min(float(spread[best] - information**2), 2.0 * information)
    height = threshold - _AHEAD * variance / (2.0 * information)
    mean, late = _approximate(
        information, _learning(growth, height) + height - threshold, threshold, asked.power, variance
    )
    least = _least_divergence(asked, lambda q: q + limit, min(1.0, 1.0 - limit), max(0.0, -limit))
    return Plan(share, asked.alpha, asked.power, threshold / least, mean, max(mean, late), exact=False)


def _learning(growth: Floats, height: float) -> float:
    """Return how much higher than ``height`` the best of several walks stands when their mean wealth is there."""
    best = float(growth.max())
    low, high = height / best, (height + math.log(len(growth))) / best
    for _ in range(60):
        middle = 0.5 * (low + high)
        wealth = best * middle + math.log(float(np.exp((growth - best) * middle).mean()))
        low, high = (middle, high) if wealth < height else (low, middle)
    return high * best - height


def _approximate(
    information: float, learning: float, threshold: float, power: float, variance: float
) -> tuple[float, float]:
    """Return mean and quantile of when a walk with drift ``information`` has risen by threshold + learning.

    The quantile solves ``n I - z sqrt(n v) = threshold + learning``.
    """
    height = threshold + learning
    z = float(ndtri(power)) * math.sqrt(variance)
    root = (z + math.sqrt(max(0.0, z * z + 4.0 * information * height))) / (2.0 * information)
    return height / information, root * root


def _divergence(p: float, q: float) -> float:
    """Return the Kullback-Leibler divergence of two coins, in nats."""
    result = p * math.log(p / q) if p > 0.0 else 0.0
    if p < 1.0:
        result += (1.0 - p) * math.log((1.0 - p) / (1.0 - q)) if q < 1.0 else math.inf
    return result


def _least_divergence(
    asked: _Question, partner: Callable[[float], float], most: float, least: float = 0.0
) -> float:
    """Return the least divergence per request of the rates from (q, partner(q)), q in least..most.

    With ``partner(q) = q`` it is the Jensen-Shannon divergence at the share, the mutual information of coin
    and outcome.
    """

    def at(q: float) -> float:
        own = asked.share
        return own * _divergence(asked.p1, partner(q)) + (1.0 - own) * _divergence(asked.p0, q)

    # Convex in q. The ends themselves may be infinitely far.
    low, high = least + 1e-15, most - 1e-15
    for _ in range(200):
        a, b = low + (high - low) / 3.0, high - (high - low) / 3.0
        if at(a) <= at(b):
            high = b
        else:
            low = a
    return at(0.5 * (low + high))


def _rate(requests_per_s: float) -> float:
    if not 0.0 < requests_per_s < math.inf:
        raise ValueError(f"expected a rate above 0, got {requests_per_s}")
    return requests_per_s


def _check(asked: _Question, least: float | None = None) -> None:
    for name in ("p0", "p1"):
        value = getattr(asked, name)
        if not (0.0 < value <= 1.0 or value == least):
            raise ValueError(f"expected {name} in 0..1, got {value}")
    for name in ("share", "alpha", "power"):
        value = getattr(asked, name)
        if not 0.0 < value < 1.0:
            raise ValueError(f"expected {name} between 0 and 1, got {value}")
    if not 0.0 < asked.weight <= 1.0:
        raise ValueError(f"expected a weight in 0..1, got {asked.weight}")
