"""Whole rollouts over virtual time: traffic, slices, ``Assembly``, ``rule_on``, ``apply``; a bin of 10 s at a time."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from benchmarks.simulation.cell import Floats
from benchmarks.simulation.traffic import LAW, histograms, reference
from proxy.rollout.assemble import Assembly
from proxy.rollout.decide import Ruling, rule_on
from proxy.rollout.plan import Plan, plan_of
from proxy.rollout.slices import (
    BIN_NS,
    BUCKETS,
    ERRORS,
    FIELDS,
    FIRST_EVENTS,
    FIRST_LATENCY,
    LATENCY,
    REQUEST_ERRORS,
    REQUESTS,
    UNITS,
    Allocation,
    Health,
    Slices,
)
from proxy.rollout.state import ENGINE, Phase, RolloutState, weight
from proxy.rollout.transitions import apply, begin
from proxy.settings import parse
from proxy.stats.histogram import Counts

__all__ = ["Behaviour", "Rollout", "default_plan"]

START_NS = 1_000_000 * 1_000_000_000
"""When rollouts begin, on the engine's clock."""

CONFIG = """
models:
  wine-v1: {url: "http://127.0.0.1:9001"}
  wine-v3: {url: "http://127.0.0.1:9003"}
routes:
  - name: wine
    match: {path: "/*"}
    variants:
      - {name: v1, model: wine-v1, role: champion}
      - {name: v3, model: wine-v3, role: canary, rollout: {}}
"""


@cache
def default_plan() -> Plan:
    """Return the plan of ``rollout: {}``."""
    settings = parse(CONFIG, environ={})
    plan = plan_of(settings, settings.routes[0])
    assert plan is not None
    return plan


Series = Callable[[int], float]
"""A number for each bin."""


def _always(value: float) -> Series:
    return lambda _: value


@dataclass(frozen=True)
class Behaviour:
    """How an arm answers, bin by bin."""

    errors: Series = field(default_factory=lambda: _always(0.01))
    client_errors: Series = field(default_factory=lambda: _always(0.02))
    factor: Series = field(default_factory=lambda: _always(1.0))
    """On all durations."""


@dataclass
class Rollout:
    """One rollout. Every request is a coin of its own, as without a unit."""

    rng: np.random.Generator
    canary: Behaviour
    champion: Behaviour
    plan: Plan = field(default_factory=default_plan)
    requests: int = 1000
    """Per bin of 10 s."""
    most_bins: int = 400

    def __post_init__(self) -> None:
        self.state = begin(self.plan, "0123456789abcdef", START_NS)
        self.bins = 0
        self.rulings: list[Ruling] = []
        self.arms = np.zeros((2, self.most_bins, FIELDS), np.int64)
        self.share = np.zeros(self.most_bins)
        self.reference = reference(self.rng, LAW.probabilities())

    @property
    def now_ns(self) -> int:
        """The engine's clock, after the bins that have passed."""
        return START_NS + self.bins * BIN_NS

    @property
    def exposed(self) -> int:
        """Requests that the canary has answered."""
        return int(self.arms[0, : self.bins, REQUESTS].sum())

    @property
    def failed(self) -> int:
        """Requests that the canary has failed."""
        return int(self.arms[0, : self.bins, REQUEST_ERRORS].sum())

    def serve(self) -> None:
        """Let one bin pass."""
        number, self.bins = self.bins, self.bins + 1
        share = self.share[number] = float(weight(self.plan, self.state)) / 100
        total = int(self.rng.poisson(self.requests))
        mine = int(self.rng.binomial(total, share))
        for counts, behaviour, asked in (
            (self.arms[0, number], self.canary, mine),
            (self.arms[1, number], self.champion, total - mine),
        ):
            _answer(self.rng, counts, behaviour, number, asked)

    def decide(self) -> Ruling:
        """Judge the moment, and let the law do what was decided."""
        ruling = rule_on(Assembly(self.plan, self.state, self.slices(), self.now_ns))
        self.rulings.append(ruling)
        if ruling.action is not None:
            after = apply(self.plan, self.state, ruling.action, self.now_ns, ENGINE, str(ruling.reason))
            assert isinstance(after, RolloutState), after
            self.state = after
        return ruling

    def run(self, every: int = 1) -> Phase:
        """Let time pass, decide after each ``every`` bins, until it is promoted or rolled back or time is over."""
        while self.bins < self.most_bins and self.state.phase is Phase.RAMPING:
            self.serve()
            if self.bins % every == 0:
                self.decide()
        return self.state.phase

    def slices(self) -> Slices:
        """Return what was counted."""
        count = self.bins
        share = self.share[:count]
        epochs = tuple(f"{each:.4f}" for each in share.tolist())
        canary, champion = self.arms[0, :count], self.arms[1, :count]
        return Slices(
            epochs=epochs,
            start_ns=START_NS + np.arange(count, dtype=np.int64) * BIN_NS,
            span_ns=np.full(count, BIN_NS, np.int64),
            share=share,
            canary=canary,
            champion=champion,
            reference=np.zeros(count, np.int64),
            references=(self.reference,),
            allocations=_allocations(share, canary, champion),
            health=Health(read_ns=self.now_ns, own_coins=True),
        )


def _answer(
    rng: np.random.Generator, counts: Counts, behaviour: Behaviour, number: int, requests: int
) -> None:
    errors = int(rng.binomial(requests, behaviour.errors(number)))
    client_errors = int(rng.binomial(requests - errors, behaviour.client_errors(number)))
    counts[[REQUESTS, UNITS]] = requests
    for first in (REQUEST_ERRORS, FIRST_EVENTS, ERRORS):
        counts[first], counts[first + 1] = errors, client_errors
    found = histograms(rng, [requests], _law(round(behaviour.factor(number), 3)))[0]
    counts[LATENCY : LATENCY + BUCKETS] = found
    counts[FIRST_LATENCY : FIRST_LATENCY + BUCKETS] = found


@cache
def _law(factor: float) -> Floats:
    return LAW.probabilities(factor)


def _allocations(share: Floats, canary: Counts, champion: Counts) -> tuple[Allocation, ...]:
    found = []
    for each in dict.fromkeys(share.tolist()):
        rows = share == each
        units = int(canary[rows, UNITS].sum()), int(champion[rows, UNITS].sum())
        found.append(Allocation(f"{each:.4f}", ("v3", "v1"), (each, 1.0 - each), units, units))
    return tuple(found)


def with_errors(rate: float, client_errors: float = 0.02) -> Behaviour:
    """Return an arm that fails so many requests, always."""
    return replace(Behaviour(), errors=_always(rate), client_errors=_always(client_errors))


def slower_by(factor: float) -> Behaviour:
    """Return an arm whose durations are multiplied by a factor, always."""
    return replace(Behaviour(), factor=_always(factor))
