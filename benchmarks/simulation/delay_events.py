"""How many requests until harm, or the absence of it, is known from errors: event by event, so at every request."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.simulation.cell import Cell, Claim, Delay, Figure, Floats, Samples
from benchmarks.simulation.looks import (
    allocation_by_look,
    bets_by_look,
    exceeds_by_look,
    first_reached,
    harm_by_look,
    noninferiority_by_look,
)
from benchmarks.simulation.traffic import errors_by_look
from proxy.stats import planning
from proxy.stats.histogram import Counts

__all__ = ["CELLS"]

Generator = np.random.Generator
Evidence = Callable[[Counts, Counts, Floats], Floats]

_FIRST_EVENTS = 128
_MOST_EVENTS = 1 << 17


def until(
    rng: Generator, p0: float, p1: float, share: float, alpha: float, evidence: tuple[Evidence, ...]
) -> list[float]:
    """Return requests until each kind of evidence reaches 1/alpha, on the same traffic.

    Only events change the evidence, so time goes from event to event: the gaps are geometric, and an event is the
    canary's with probability share p1 / rate.
    """
    rate = share * p1 + (1.0 - share) * p0
    size, mine, requests = _FIRST_EVENTS, np.zeros(0, np.int64), np.zeros(0)
    while True:
        more = size - len(mine)
        mine = np.concatenate([mine, rng.random(more) < share * p1 / rate]).astype(np.int64)
        gaps = rng.geometric(rate, more).astype(np.float64)
        gaps[0] += requests[-1] if len(requests) else 0.0
        requests = np.concatenate([requests, np.cumsum(gaps)])
        shares = np.full(size, share)
        found = [first_reached(each(mine, 1 - mine, shares), requests, alpha) for each in evidence]
        if np.isfinite(found).all() or size >= _MOST_EVENTS:
            return found
        size *= 2


def harmful(
    rng: Generator,
    runs: int,
    p0: float,
    p1: float,
    share: float,
    alpha: float,
    margin: float = 0.0,
    spike: float | None = None,
) -> Samples:
    """Draw a canary that fails more often, judged by ours and by a bettor who knows how much more."""
    known = np.array([np.log(p1 / p0 / (1.0 + margin))])
    kinds: tuple[Evidence, ...] = (
        lambda one, other, pi: harm_by_look(one, other, pi, margin, expected_ratio=spike),
        lambda one, other, pi: bets_by_look(one, other, pi, known, margin)[:, 0],
    )
    found = np.array([until(rng, p0, p1, share, alpha, kinds) for _ in range(runs)])
    return {"e": found[:, 0], "known": found[:, 1]}


def harmless(
    rng: Generator, runs: int, p0: float, p1: float, share: float, alpha: float, margin: float
) -> Samples:
    """Draw a canary that is good enough, until that is shown."""
    kinds: tuple[Evidence, ...] = (lambda one, other, pi: noninferiority_by_look(one, other, pi, margin),)
    return {"e": np.array([until(rng, p0, p1, share, alpha, kinds)[0] for _ in range(runs)])}


def one_of_eight(rng: Generator, runs: int) -> Samples:
    """Draw eight metrics of which the errors double; the others have the rest of the weight in equal parts."""
    looks, size, weights = 600, 200, np.log([0.3, *[0.1] * 7])
    share, requests = np.full(looks, 0.1), _requests(looks, size)
    samples = {name: np.empty(runs) for name in ("weighted", "alone")}
    for run in range(runs):
        logs = []
        for number in range(8):
            p1 = 0.02 if number == 0 else 0.01
            logs.append(harm_by_look(*errors_by_look(rng, np.full(looks, size), 0.1, 0.01, p1), share, 0.0))
        all_of_them = (np.stack(logs, axis=1) + weights).max(axis=1)
        samples["weighted"][run] = first_reached(all_of_them, requests, 0.01)
        samples["alone"][run] = first_reached(logs[0], requests, 0.01)
    return samples


def mismatch(rng: Generator, runs: int, share: float, actual: float) -> Samples:
    """Draw units of which the canary gets another share than it should, until that is known; alpha 0.1 %."""
    shares, taken = np.array([share, 1.0 - share]), np.empty(runs)
    least = np.log(1000.0) / _divergence(actual, share)
    size, looks = max(1, int(least / 300)), 1500
    for run in range(runs):
        mine = rng.binomial(size, actual, looks)
        units = np.cumsum(np.stack([mine, size - mine], axis=1), axis=0)
        requests = units.sum(axis=1).astype(np.float64)
        taken[run] = first_reached(allocation_by_look(units, shares), requests, 0.001)
    return {"e": taken}


def beyond(rng: Generator, runs: int, alpha: float) -> Samples:
    """Draw copies of which 4 % disagree where 2 % are tolerated."""
    total, taken = np.arange(1, 6001), np.empty(runs)
    for run in range(runs):
        count = np.cumsum(rng.random(6000) < 0.04, dtype=np.int64)
        taken[run] = first_reached(exceeds_by_look(count, total, 0.02), total.astype(np.float64), alpha)
    return {"e": taken}


def _requests(looks: int, size: int) -> Floats:
    """Return how many requests each look has seen."""
    return np.arange(1, looks + 1, dtype=np.float64) * size


def _divergence(p: float, q: float) -> float:
    return p * math.log(p / q) + (1.0 - p) * math.log((1.0 - p) / (1.0 - q))


def _ratio_of_means(one: Floats, other: Floats) -> float:
    return float(one.mean() / other.mean())


def _predicted(plan: planning.Plan) -> tuple[Claim, ...]:
    """Return the claims that a plan made beforehand holds."""

    def mean(taken: Floats) -> float:
        return abs(plan.mean / float(taken.mean()) - 1.0) * 100.0

    def late(taken: Floats) -> float:
        return (1.0 - plan.at_power / float(np.quantile(taken, 0.9))) * 100.0

    return (
        Figure(("e",), "predicted mean, off by", mean, most=10.0, unit=" %"),
        Figure(("e",), "predicted 90th percentile, too low by", late, most=5.0, unit=" %"),
    )


_FEW_FAILURES = (
    "who knows how much worse takes 1.32 times the bound already: errors alone have four fifths of what such a canary "
    "shows, and of the four failures that it takes each is worth up to 20, of which what is beyond 100 is lost"
)


def _harm_cell(
    p0: float, ratio: float, share: float, *, alpha: float = 0.01, margin: float = 0.0, runs: int = 1000
) -> Cell:
    p1 = min(p0 * ratio, 1.0)
    plan = planning.plan_harm(p0, p1, share, margin=margin, alpha=alpha)
    what = f"errors, margin {margin:.0%}, α = {alpha:.0%}".replace("%", " %")
    claims: list[Claim] = [Delay("e", what, plan.bound, 1.5, _FEW_FAILURES if p1 > 0.1 else "")]
    if margin == 0.0:
        claims.append(Delay("known", "the same, knowing how much worse", plan.bound))
        claims.append(Figure(("e", "known"), "mean, against knowing", _ratio_of_means, most=1.3))
    if share == 0.1 and p0 == 0.01 and ratio <= 5:
        claims.extend(_predicted(plan))
    setting = f"errors {100 * p0:g} % → {100 * p1:g} %, {100 * share:g} % canary"
    draw = partial(harmful, p0=p0, p1=p1, share=share, alpha=alpha, margin=margin)
    return Cell(f"harm-{p0:g}-{ratio:g}-{share:g}-{alpha:g}-{margin:g}", setting, runs, draw, tuple(claims))


def _expected_cell(ratio: float) -> Cell:
    bound = planning.plan_harm(0.01, 0.01 * ratio, 0.1, margin=0.0).bound
    return Cell(
        f"expected-{ratio:g}",
        f"errors 1 % → {ratio:g} %, 10 % canary",
        2000,
        partial(harmful, p0=0.01, p1=0.01 * ratio, share=0.1, alpha=0.01, spike=ratio),
        (Delay("e", "errors, half of the money on that ratio", bound, 1.25),),
    )


def _shown_cell(margin: float, share: float) -> Cell:
    plan = planning.plan_noninferiority(0.01, 0.01, share, margin=margin)
    return Cell(
        f"shown-{margin:g}-{share:g}",
        f"errors 1 %, a canary that is the same, {100 * share:g} % canary",
        2000,
        partial(harmless, p0=0.01, p1=0.01, share=share, alpha=0.05, margin=margin),
        (
            Delay("e", f"shown to be within {100 * margin:g} %, α = 5 %", plan.bound, 1.4),
            *_predicted(plan),
        ),
    )


def _mismatch_cell(share: float, actual: float) -> Cell:
    return Cell(
        f"mismatch-{share:g}-{actual:g}",
        f"units, {100 * share:g} % → {100 * actual:g} %",
        2000,
        partial(mismatch, share=share, actual=actual),
        (Delay("e", "sample ratio mismatch, α = 0.1 %", np.log(1000.0) / _divergence(actual, share), 1.3),),
    )


CELLS = (
    _harm_cell(0.01, 1.25, 0.01, runs=500),
    *(_harm_cell(0.01, ratio, 0.01) for ratio in (1.5, 2, 3, 5, 20)),
    *(_harm_cell(0.01, ratio, share) for share in (0.1, 0.5) for ratio in (1.25, 1.5, 2, 3, 5, 20)),
    *(_harm_cell(0.001, ratio, 0.1) for ratio in (2, 5, 20)),
    *(_harm_cell(0.05, ratio, 0.1) for ratio in (1.25, 2, 5)),
    _harm_cell(0.01, 2, 0.1, alpha=0.05),
    _harm_cell(0.01, 2, 0.1, margin=0.1),
    _harm_cell(0.01, 20, 0.1, margin=0.1),
    *(_expected_cell(ratio) for ratio in (1.5, 2.0, 3.0)),
    *(_shown_cell(margin, share) for margin, share in ((0.25, 0.5), (0.5, 0.5), (0.5, 0.1), (1.0, 0.1))),
    *(
        _mismatch_cell(share, actual)
        for share, actual in ((0.1, 0.095), (0.1, 0.09), (0.1, 0.08), (0.5, 0.475))
    ),
    Cell(
        "one-of-eight",
        "errors 1 % → 2 %, 10 % canary, seven other metrics that do not change",
        2000,
        one_of_eight,
        (
            Delay("weighted", "errors with weight 0.3 of eight metrics"),
            Delay("alone", "errors alone"),
            Figure(("weighted", "alone"), "mean, against errors alone", _ratio_of_means, most=1.25),
        ),
    ),
    *(
        Cell(
            f"beyond-{alpha:g}",
            "copies, 4 % disagree where 2 % are tolerated",
            2000,
            partial(beyond, alpha=alpha),
            (Delay("e", f"disagreement, α = {100 * alpha:g} %", -np.log(alpha) / _divergence(0.04, 0.02)),),
        )
        for alpha in (0.01, 0.05)
    ),
)
