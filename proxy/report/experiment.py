"""How a rollout would go, before it begins: step by step, for a canary that is as good and for one that is worse.

Evidence is taken to grow evenly: each unit brings its part of what a decision takes at the share it is drawn at. The
budget of errors holds a step as long as the evidence to be expected by then leaves too much open. So the figures are
those of a typical rollout; the 90 of 100 are those of the decision alone, with the same steps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from math import exp, inf, isfinite, log

import numpy as np
from numpy.typing import NDArray

from proxy.report.needed import Model, blocks_s, outright, to_find, to_show
from proxy.rollout.assemble import weights_of
from proxy.rollout.decide import MIN_UNITS, SUSPICION
from proxy.rollout.guardrails import CONFIDENCE
from proxy.rollout.plan import HARM_METRICS, Guardrail, Plan
from proxy.settings import Metric
from proxy.stats import bounded, events

__all__ = [
    "FEW",
    "REFERENCE",
    "Found",
    "Outlook",
    "Shown",
    "Stage",
    "Traffic",
    "foresee",
    "when_shown",
    "with_steps",
]

_Counts = NDArray[np.int64]

REFERENCE = 1_000
"""Answers of the champion that latency is compared with at first."""

FEW = 100
"""So many do once the first step has lasted long enough."""

_NS = 1e9
_BIN_S = 10.0
_HALVINGS = 30
_LONGEST_S = 3.2e9
"""A century: what takes longer never happens."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the route's traffic is, or is taken to be."""

    rate: float
    """Requests per second of the whole route."""
    units: int | None
    """How many units send them; None: every request is one of its own."""
    copies: float
    """Part of the requests that are copied to the canary's model, 0 to 1."""
    model: Model

    def known(self, requests: float, counted: float = 1.0) -> float:
        """Return how many requests count, of so many: of each unit only the first of its kind (see `Amount`)."""
        if self.units is None:
            return requests
        most = self.units / counted
        return most * (1 - exp(-requests / most))


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the way of a canary that is as good."""

    weight: float
    """Percent."""
    seconds: float
    why: str
    """What it waits for longest."""
    canary_requests: float


@dataclass(frozen=True, slots=True)
class Shown:
    """When a canary that is as good is shown to be, in one guardrail."""

    guardrail: Guardrail
    mean_s: float
    late_s: float
    """In 90 of 100 rollouts; both infinite: never."""


@dataclass(frozen=True, slots=True)
class Found:
    """When a bad canary is rolled back for one guardrail, and who has met it by then."""

    guardrail: Guardrail
    mean_s: float
    late_s: float
    weight: float
    """Where it stands then, in percent, on average."""
    canary_requests: float
    canary_late: float
    """In 90 of 100 rollouts at most."""
    canary_units: float
    is_worse: bool
    """False: as bad as asked for is within the margin, so it is not to be found."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is to be expected of a plan."""

    plan: Plan
    traffic: Traffic
    stages: tuple[Stage, ...]
    shown: tuple[Shown, ...]
    """The critical guardrails, the slowest first."""
    found: tuple[Found, ...]
    dead: tuple[tuple[float, int | None], ...]
    """Percent, and after how many failures a canary goes there that answers nothing but errors."""

    @property
    def seconds(self) -> float:
        """How long a canary that is as good takes to be promoted."""
        return sum(each.seconds for each in self.stages)

    @property
    def fits(self) -> bool:
        """Tell whether that is within ``max_duration``."""
        return self.seconds <= self.plan.max_duration_ns / _NS


def with_steps(plan: Plan, steps: Sequence[int]) -> Plan:
    """Return the plan with other steps below the promotion."""
    return replace(plan, steps=tuple(map(Decimal, (*steps, 100))))


def foresee(plan: Plan, traffic: Traffic) -> Outlook:
    """Return how a rollout by this plan would go.

    Raises:
        ValueError: a plan without steps below the promotion: it waits for copies, and there is no way to foresee.
    """
    if not plan.ladder:
        raise ValueError("everything is switched at once: there are no steps to foresee")
    walk = _Walk(plan, traffic)
    held = walk.climb()
    way = [seconds for seconds, _ in held]
    shown = tuple(sorted((walk.shown(each, way) for each in plan.critical), key=lambda each: -each.mean_s))
    last = max([way[-1], *(each.mean_s - sum(way[:-1]) for each in shown)])
    if shown and last > way[-1]:
        held[-1] = (last, shown[0].guardrail.name)
    stages = tuple(
        Stage(float(plan.ladder[i]), seconds, why, seconds * walk.rate * walk.share(i))
        for i, (seconds, why) in enumerate(held)
    )
    weights = weights_of(plan.guardrails)
    bad = [(g, w) for g, w in zip(plan.guardrails, weights, strict=True) if w and g.metric in HARM_METRICS]
    found = tuple(walk.found(each, weight, way) for each, weight in bad)
    return Outlook(plan, traffic, stages, shown, found, _dead(plan, walk, bad))


def when_shown(plan: Plan, traffic: Traffic, name: str) -> float:
    """Return after how many seconds a canary that is as good is shown to be in the guardrail called ``name``."""
    walk = _Walk(plan, traffic)
    guardrail = next(each for each in plan.guardrails if each.name == name)
    return walk.shown(guardrail, [seconds for seconds, _ in walk.climb()]).mean_s


def _dead(
    plan: Plan, walk: "_Walk", bad: list[tuple[Guardrail, float]]
) -> tuple[tuple[float, int | None], ...]:
    errors = next(((g, w) for g, w in bad if g.metric is Metric.ERRORS), None)
    if errors is None:
        return ()
    guardrail, weight = errors
    return tuple(
        (float(each), outright(guardrail, plan, walk.share(i), weight)) for i, each in enumerate(plan.ladder)
    )


class _Walk:
    """A rollout's way up the ladder."""

    def __init__(self, plan: Plan, traffic: Traffic) -> None:
        self.plan = plan
        self.traffic = traffic
        self.rest = float(100 - plan.others)
        self.rate = traffic.rate * self.rest / 100
        """Requests per second of canary and champion together."""
        self.way: list[float] = []

    def share(self, step: int) -> float:
        """Return P(canary | canary or champion) on a step."""
        return float(self.plan.ladder[step]) / self.rest

    # A canary that is as good

    def climb(self) -> list[tuple[float, str]]:
        """Return how long each step lasts, and for what; the last of them may be one that never ends."""
        held: list[tuple[float, str]] = []
        while len(held) < len(self.plan.ladder) and all(isfinite(seconds) for seconds, _ in held):
            held.append(self.hold(len(held)))
        return held

    def hold(self, step: int) -> tuple[float, str]:
        """Return how long a step lasts before the promotion's own evidence counts, and for what."""
        plan = self.plan
        few = MIN_UNITS - sum(s * self.rate * self.share(i) for i, s in enumerate(self.way))
        needs = [(plan.hold_ns / _NS, "hold")]
        needs.append((max(0.0, few) / (self.rate * self.share(step)), f"{MIN_UNITS} units"))
        if not step and any(each.metric is Metric.LATENCY for each in plan.critical):
            needs.append((self._compared(), "reference"))
        if step < len(plan.ladder) - 1 and plan.excess_errors is not None:
            needs.append((self._budgeted(step), "budget"))
        self.way.append(max(needs)[0])
        return max(needs)

    def _compared(self) -> float:
        """Return when the first step has compared latency: of as many units as a step takes, with a reference."""
        bake_s, hold_s = self.plan.bake_ns / _NS, self.plan.hold_ns / _NS
        champion, canary = self.rate * (1 - self.share(0)), self.rate * self.share(0)
        frozen_s = min(REFERENCE / champion, max(FEW / champion, bake_s + hold_s)) + _BIN_S / 2
        compared_s = MIN_UNITS / canary if self.traffic.units is None else min(MIN_UNITS / canary, hold_s)
        return max(0.0, frozen_s - bake_s) + compared_s

    def _budgeted(self, step: int) -> float:
        """Return from when on the next step cannot cost more errors than the budget has."""
        budget = self.plan.excess_errors
        assert budget is not None, "asked for only where there is one"
        following = self.rate * self.share(step + 1) * self.plan.hold_ns / _NS
        limit = budget / following
        if limit >= 1:
            return 0.0
        return _first(lambda seconds: self._rules_out([*self.way, seconds], limit), self.plan.hold_ns / _NS)

    def _rules_out(self, way: list[float], limit: float) -> bool:
        """Tell whether the evidence to be expected rules out that the canary fails so many more of its requests."""
        rate = self.traffic.model.rate(Metric.ERRORS)
        canary, champion, share = self._expected(way, rate)
        if any(each.metric is Metric.ERRORS for each in self.plan.guardrails):
            _, high = events.risk_ratio_sequence(canary[:, 2], champion[:, 2], share, CONFIDENCE)
            if (high - 1) * rate <= limit:
                return True
        log_e = bounded.difference_within(
            canary[:, :2], champion[:, :2], share, (0.0, 1.0), np.zeros(len(way)), limit
        )
        return float(log_e) > log(2 / CONFIDENCE)

    def _expected(self, way: list[float], rate: float) -> tuple[_Counts, _Counts, NDArray[np.float64]]:
        """Return what is counted of errors, a row a step: units without and with one at first, and first ones."""
        arms, share = np.zeros((2, len(way), 3), np.int64), np.zeros(len(way))
        seconds = 0.0
        for i, lasts in enumerate(way):
            share[i] = self.share(i)
            units = self._units(seconds, seconds + lasts)
            first = self._units(seconds, seconds + lasts, rate) * rate
            for arm, part in ((0, share[i]), (1, 1 - share[i])):
                failed = round(units * part * rate)
                arms[arm, i] = round(units * part) - failed, failed, round(first * part)
            seconds += lasts
        return arms[0], arms[1], share

    def _units(self, since: float, until: float, counted: float = 1.0) -> float:
        """Return how many requests of canary and champion count between two moments."""
        before, after = (self.traffic.known(self.traffic.rate * s, counted) for s in (since, until))
        return (after - before) * self.rest / 100

    def shown(self, guardrail: Guardrail, way: list[float]) -> Shown:
        """Return when the guardrail is shown to be as good, on this way; from the last step on it goes on there."""
        if guardrail.metric is Metric.DISAGREEMENT:
            rate = self.traffic.rate * self.traffic.copies
            if rate <= 0:
                return Shown(guardrail, inf, inf)
            amounts = to_show(guardrail, self.plan, self.traffic.model, 0.5)
            mean, late = (min(getattr(each, name) for each in amounts) for name in ("mean", "late"))
            return Shown(guardrail, mean / rate, late / rate)
        # For each way the amounts on every step; the way that is gone first counts.
        ways = list(
            zip(
                *(to_show(guardrail, self.plan, self.traffic.model, self.share(i)) for i in range(len(way))),
                strict=True,
            )
        )
        return Shown(
            guardrail,
            min(
                self._reached([each.mean for each in amounts], amounts[0].counted, way)[0] for amounts in ways
            ),
            min(
                self._reached([each.late for each in amounts], amounts[0].counted, way)[0] for amounts in ways
            ),
        )

    def _reached(self, needed: Sequence[float], counted: float, way: list[float]) -> tuple[float, int]:
        """Return when, and on which step, the parts of what is needed add up to a whole."""
        seconds, part = 0.0, 0.0
        for step, lasts in enumerate(way):
            rest = (1 - part) * needed[step]
            gained = self._units(seconds, seconds + lasts, counted)
            if gained >= rest or step == len(way) - 1:
                return self._until(seconds, rest, counted), step
            part += gained / needed[step]
            seconds += lasts
        return inf, len(way) - 1

    def _until(self, since: float, units: float, counted: float) -> float:
        """Return when so many more requests count."""
        if self._units(since, _LONGEST_S, counted) < units:
            return inf
        return since + _first(lambda seconds: self._units(since, since + seconds, counted) >= units, 1e-3)

    # A bad one

    def found(self, guardrail: Guardrail, weight: float, way: list[float]) -> Found:
        """Return when the canary is rolled back for this guardrail, if it is as bad as the model says."""
        amounts = [
            to_find(guardrail, self.plan, self.traffic.model, self.share(i), weight) for i in range(len(way))
        ]
        counted = amounts[0].counted
        mean_s, step, canary = self._fall(guardrail, weight, way, [each.mean for each in amounts], counted)
        late_s, _, canary_late = self._fall(guardrail, weight, way, [each.late for each in amounts], counted)
        at = float(self.plan.ladder[step])
        most = inf if self.traffic.units is None else self.traffic.units * at / 100
        is_worse = isfinite(amounts[0].mean)
        return Found(guardrail, mean_s, late_s, at, canary, canary_late, min(canary, most), is_worse)

    def _fall(
        self, guardrail: Guardrail, weight: float, way: list[float], needed: Sequence[float], counted: float
    ) -> tuple[float, int, float]:
        """Return when, on which step, and after how many requests of the canary it falls."""
        # Once it looks worse it does not rise any more.
        part = (SUSPICION + log(2 / weight)) / (log(1 / self.plan.false_rollback) + log(4 / weight))
        _, stays = self._reached([each * min(1.0, part) for each in needed], counted, way)
        short = way[: stays + 1]
        seconds, step = self._reached(needed, counted, short)
        seconds = max(seconds, blocks_s(guardrail, self.traffic.model, self.share(step), self.rate))
        return seconds, step, self._canary(seconds, short)

    def _canary(self, seconds: float, way: list[float]) -> float:
        """Return how many requests the canary has had by then; it stays on the last step."""
        total, left = 0.0, seconds
        for step, lasts in enumerate(way):
            here = left if step == len(way) - 1 else min(left, lasts)
            total += here * self.rate * self.share(step)
            left -= here
        return total


def _first(is_true: Callable[[float], bool], start: float) -> float:
    """Return about when something becomes true that stays true; infinity: not within a century."""
    low, high = 0.0, max(start, 1e-3)
    while not is_true(high):
        low, high = high, high * 2
        if high > _LONGEST_S:
            return inf
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_true(middle) else (middle, high)
        if high - low < 5e-3 * high:
            break
    return high
