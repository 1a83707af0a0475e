"""How many units a guardrail takes at one share, to show that a canary is worse, or as good: before any is sent.

Events come from :mod:`proxy.stats.planning`, with the money as :mod:`proxy.rollout.guardrails` divides it. Latency and
disagreement have no such recursion: their own bets are asked what they make of the counts to be expected, at two
sizes, between which evidence grows in a straight line.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import inf, log, sqrt

import numpy as np
from numpy.typing import NDArray

from proxy.rollout.guardrails import OUTRIGHT, WIDE_MARGIN
from proxy.rollout.plan import Guardrail, Plan
from proxy.settings import Metric
from proxy.stats import events, histogram, latency, paired, planning, proportion
from proxy.stats.special import log_ndtr

__all__ = ["NEVER", "Amount", "Model", "blocks_s", "outright", "to_find", "to_show"]

_MANY = 1_000_000
_Z90 = 1.2815515655446004
_LEAST_RATE = 1e-6
"""A champion that never fails is planned with one failure in a million."""

_MIDDLE = 237
"""Bucket of the champion's median, 100 ms; its place changes nothing but the ends."""

_MOST_FAILURES = 1000
_BLOCKS, _BLOCK_S, _BLOCK_SAMPLES = 20, 10.0, 50


@dataclass(frozen=True, slots=True)
class Amount:
    """Units of canary and champion together."""

    mean: float
    """On average; infinity: never."""
    late: float
    """In 90 of 100 rollouts."""
    counted: float = 1.0
    """Part of a unit's requests of which only the first counts: 1, only its first request; of an event only the first
    event counts, and it is as rare as the event."""


NEVER = Amount(inf, inf)


@dataclass(frozen=True, slots=True)
class Model:
    """What is taken to be true of the traffic."""

    rates: tuple[tuple[Metric, float], ...]
    """Share of units with the event, for the champion."""
    spread: float
    """Standard deviation of the logarithm of the champion's latency."""
    disagreement: float
    """Share of copies answered otherwise by a canary that is as good."""
    factor: float
    """How many times as often (as long) a bad canary does it."""
    added: float
    """Share that a bad canary does it beyond; where above 0 it is used for events in place of the factor."""
    judged: float = 1.0
    """Share of answers on which there is feedback."""

    def rate(self, metric: Metric) -> float:
        """Return the champion's rate of an event."""
        return max(_LEAST_RATE, dict(self.rates).get(metric, 0.01))

    def bad_rate(self, metric: Metric) -> float:
        """Return the bad canary's."""
        rate = self.rate(metric)
        return min(1.0, rate + self.added if self.added > 0 else rate * self.factor)


@cache
def to_find(guardrail: Guardrail, plan: Plan, model: Model, share: float, weight: float) -> Amount:
    """Return what it takes to roll a bad canary back for one guardrail alone.

    Args:
        guardrail: one that rolls back.
        plan: with the accepted risk.
        model: the traffic.
        share: P(canary | canary or champion).
        weight: of the guardrail among all.
    """
    # Half is bet on whatever is worse, of which 55 % from the beginning (proxy/rollout/guardrails.py).
    part = weight * 0.5 * 0.55
    if guardrail.metric is Metric.LATENCY:
        return _slower(guardrail, plan, model, share, weight)
    good, bad = model.rate(guardrail.metric), model.bad_rate(guardrail.metric)
    if bad <= (1 + guardrail.margin) * good * 1.0001:
        return NEVER
    found = planning.plan_harm(
        good, bad, share, margin=guardrail.margin, alpha=plan.false_rollback, weight=part
    )
    return _of_all(guardrail, model, Amount(found.mean, found.at_power, _first_of(guardrail, bad)))


def _of_all(guardrail: Guardrail, model: Model, amount: Amount) -> Amount:
    """Return an amount of units in requests of which only some are judged, where the guardrail is on feedback."""
    if guardrail.metric is not Metric.FEEDBACK:
        return amount
    return Amount(amount.mean / model.judged, amount.late / model.judged, amount.counted * model.judged)


def _first_of(guardrail: Guardrail, rate: float) -> float:
    return 1.0 if guardrail.metric is Metric.SLOW else rate


@cache
def to_show(guardrail: Guardrail, plan: Plan, model: Model, share: float) -> tuple[Amount, ...]:
    """Return what it takes to show that a canary that is the same is as good; of disagreement in compared copies.

    There may be several ways; one of them has to be gone.
    """
    enough = log(1 / plan.false_promotion)
    if guardrail.metric is Metric.DISAGREEMENT:
        tolerance = guardrail.tolerance or 0.0
        if guardrail.above_noise:
            return _within_above_noise(guardrail, model, enough + log(2))
        if model.disagreement >= tolerance:
            return (NEVER,)
        return (_grown(lambda n: proportion.within(round(n * model.disagreement), n, tolerance), enough),)
    if guardrail.metric is Metric.LATENCY:
        shift = histogram.buckets_within_margin(guardrail.promotion_margin)
        champion = _champion(model.spread)
        reference = _reference(model.spread)

        def not_slower(n: int) -> float:
            return latency.not_slower(
                _counts(champion, n * share),
                _counts(champion, n * (1 - share)),
                np.array([share]),
                reference,
                shift,
            ).combined

        return (_grown(not_slower, enough),)
    rate = model.rate(guardrail.metric)
    # Half of the money is on the ratio and half on the difference: each alone has to double its threshold.
    alpha = plan.false_promotion / 2
    ratio = planning.plan_noninferiority(rate, rate, share, margin=guardrail.promotion_margin, alpha=alpha)
    ways = [Amount(ratio.mean, ratio.at_power, _first_of(guardrail, rate))]
    if guardrail.tolerance:
        within = planning.plan_within(rate, rate, share, min(guardrail.tolerance, 0.999), alpha=alpha)
        ways.append(Amount(within.mean, within.at_power))
    return tuple(_of_all(guardrail, model, each) for each in ways)


def blocks_s(guardrail: Guardrail, model: Model, share: float, rate: float) -> float:
    """Return the least time that a small slowdown has to last, for the guard against noise of machines, in seconds."""
    if guardrail.metric is not Metric.LATENCY or model.factor > _finds_wide():
        return 0.0
    slowest = _BLOCK_SAMPLES / max(1e-12, rate * min(share, 1 - share))
    return _BLOCKS * max(_BLOCK_S, slowest)


def _finds_wide() -> float:
    return (1 + WIDE_MARGIN) * 1.1


def _slower(guardrail: Guardrail, plan: Plan, model: Model, share: float, weight: float) -> Amount:
    if model.factor <= (1 + guardrail.margin) * 1.02:
        return NEVER
    margin = max(WIDE_MARGIN, guardrail.margin) if model.factor > _finds_wide() else guardrail.margin
    shift = histogram.buckets_of_margin(margin)
    champion, reference = _champion(model.spread), _reference(model.spread)
    moved = round(log(model.factor) / log(histogram.GAMMA))
    canary = histogram.shift(champion, moved)

    def slower(n: int) -> float:
        arms = _counts(canary, n * share), _counts(champion, n * (1 - share))
        return latency.slower(*arms, np.array([share]), reference, shift).combined

    return _grown(slower, log(1 / plan.false_rollback) + log(4 / weight))


def _within_above_noise(guardrail: Guardrail, model: Model, enough: float) -> tuple[Amount, ...]:
    """Return what it takes by copies beside which the champion was asked again, and by all copies.

    A canary that is as good differs as often as the champion does from itself, each by its own chance.
    """
    differ, tolerance = model.disagreement, guardrail.tolerance or 0.0

    def triples(n: int) -> float:
        odd = round(n * differ * (1 - differ))
        return paired.excess_within(odd, odd, n, tolerance)

    found = _grown(triples, enough)
    ways = [Amount(found.mean / guardrail.asked_twice, found.late / guardrail.asked_twice)]
    if differ < tolerance:
        ways.append(_grown(lambda n: proportion.within(round(n * differ), n, tolerance), enough))
    return tuple(ways)


def _grown(log_e: Callable[[int], float], enough: float) -> Amount:
    """Return when evidence that grows in a straight line has reached ``enough``."""
    once, twice = log_e(_MANY), log_e(2 * _MANY)
    growth = (twice - once) / _MANY
    if growth <= 1e-12:
        return NEVER
    height = max(enough, enough + growth * _MANY - once)
    late = (_Z90 * sqrt(2) + sqrt(2 * _Z90**2 + 4 * height)) / 2
    return Amount(height / growth, late * late / growth)


@cache
def _champion(spread: float) -> NDArray[np.int64]:
    """Return a histogram of latencies whose logarithm is normal, a billion of them."""
    edges = (np.arange(histogram.BUCKETS + 1) - _MIDDLE - 0.5) * log(histogram.GAMMA) / spread
    below = np.exp(log_ndtr(edges))
    return np.round(np.diff(below) * 1e9).astype(np.int64)


@cache
def _reference(spread: float) -> latency.Reference:
    return latency.Reference(_champion(spread))


def _counts(of: NDArray[np.int64], total: float) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = np.round(of * (total / int(of.sum()))).astype(np.int64)
    return counts[None, :]


def outright(guardrail: Guardrail, plan: Plan, share: float, weight: float) -> int | None:
    """Return after how many failures in a row a canary goes that answers nothing but errors; None: never."""
    needed = log(1 / plan.false_rollback) + log(2 / weight)
    none, ratio = np.zeros(1, np.int64), (1 + guardrail.margin) * OUTRIGHT
    for failures in range(1, _MOST_FAILURES):
        failed = np.array([failures], np.int64)
        if events.harm_at(failed, none, np.array([share]), guardrail.margin, ratio) > needed:
            return failures
    return None
