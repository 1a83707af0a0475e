"""A route under a rollout, bin by bin: traffic by a seeded generator, decisions by the engine, moves by the law."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import numpy as np

from proxy.rollout.assemble import assemble
from proxy.rollout.decide import decide
from proxy.rollout.evidence import Evidence, GuardrailEvidence
from proxy.rollout.plan import Arm, Guardrail, Plan
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
    Counts,
    Health,
    ShadowEvidence,
    Slices,
    no_slices,
)
from proxy.rollout.state import ENGINE, Phase, RolloutState, weight
from proxy.rollout.transitions import apply, begin
from proxy.rollout.verdict import Decision
from proxy.settings import Inconclusive, Metric
from proxy.stats.latency import Reference

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
START = 1_000_000 * SECOND
"""When the rollouts of these tests begin: a multiple of a bin."""

ROLLOUT = "0123456789abcdef"


def guardrail(metric: str, **changes: Any) -> Guardrail:
    """Return a guardrail as the file has it by default."""
    tolerance = {"latency": None, "disagreement": 0.02, "feedback": None}.get(metric, 0.01)
    threshold = 500_000_000 if metric == "slow" else None
    plain = Guardrail(metric, Metric(metric), 0.1, 0.25, tolerance, threshold, advisory=False)
    return replace(plain, **changes)


def plan(**changes: Any) -> Plan:
    """Return the plan of ``rollout: {}``."""
    plain = Plan(
        route="wine",
        salt="wine",
        units=("header:x-user-id",),
        missing_unit="random",
        canary=Arm("v3", "wine-v3", ("http://127.0.0.1:9003",)),
        champion=Arm("v1", "wine-v1", ("http://127.0.0.1:9001",)),
        others=Decimal(0),
        has_shadow=False,
        steps=tuple(map(Decimal, (1, 5, 25, 50, 100))),
        hold_ns=5 * MINUTE,
        bake_ns=0,
        guardrails=(guardrail("errors"), guardrail("client_errors"), guardrail("latency")),
        false_rollback=0.01,
        false_promotion=0.05,
        excess_errors=100,
        on_inconclusive=Inconclusive.HOLD,
        max_duration_ns=24 * 60 * MINUTE,
        dry_run=False,
        holdback=Decimal(0),
        switch_back_ns=0,
    )
    return replace(plain, **changes)


def state(of: Plan, **changes: Any) -> RolloutState:
    """Return the state of a rollout that began at ``START``."""
    return replace(begin(of, ROLLOUT, START), **changes)


def evidence(of: Plan, **changes: Any) -> Evidence:
    """Return evidence that lets the next step be taken: long held, many units, nothing suspicious, nothing shown."""
    plain = Evidence(
        guardrails=tuple(GuardrailEvidence(g.name, g.metric, g.advisory) for g in of.guardrails),
        held_ns=of.hold_ns,
        canary_units=1000,
        champion_units=99_000,
        canary_requests=1000,
        champion_requests=99_000,
        expected_units=1000.0,
        request_rate=100.0,
        excess_share=0.0001,
    )
    return replace(plain, **changes)


def shown(of: Plan, **changes: Any) -> Evidence:
    """Return evidence that every guardrail is good enough for the promotion."""
    plain = evidence(of, **changes)
    return replace(plain, guardrails=tuple(replace(each, noninferiority=3.1) for each in plain.guardrails))


@dataclass(frozen=True)
class Behaviour:
    """How an arm answers; errors and latencies are drawn for each request."""

    errors: float = 0.0
    client_errors: float = 0.0
    median_ms: float = 20.0
    sigma: float = 0.3


@dataclass
class World:
    """One rollout; every request is a coin of its own."""

    plan: Plan
    rate: int = 1000
    """Requests per bin of 10 s, of the whole route."""
    canary: Behaviour = field(default_factory=Behaviour)
    champion: Behaviour = field(default_factory=Behaviour)
    seed: int = 1
    every: int = 1
    """Decide after so many bins."""
    noise: Callable[[int], float] = lambda bin_: 1.0
    """Factor on the canary's latencies in each bin."""

    def __post_init__(self) -> None:
        self.generator = np.random.default_rng(self.seed)
        self.state = begin(self.plan, ROLLOUT, START)
        self.now_ns = START
        self.shadow = ShadowEvidence()
        self.own_coins = True
        self.decisions: list[Decision] = []
        self._epochs: list[str] = []
        self._starts: list[int] = []
        self._shares: list[float] = []
        self._counts = np.zeros((2, 64, FIELDS), np.int64)
        before = np.zeros(FIELDS, np.int64)
        _answer(before, self.champion, 20_000, self.generator)
        self.reference = Reference(before[FIRST_LATENCY:])

    @property
    def share(self) -> float:
        """P(canary) now."""
        return float(weight(self.plan, self.state)) / 100

    def serve(self, bins: int = 1) -> None:
        """Let time and traffic pass."""
        for _ in range(bins):
            share, bin_ = self.share, len(self._epochs)
            if bin_ == self._counts.shape[1]:
                self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)], axis=1)
            canary, champion = self._counts[0, bin_], self._counts[1, bin_]
            requests = int(self.generator.poisson(self.rate))
            mine = int(self.generator.binomial(requests, share))
            _answer(canary, self.canary, mine, self.generator, self.noise(bin_))
            _answer(champion, self.champion, requests - mine, self.generator)
            self._epochs.append(f"{share:.4f}")
            self._starts.append(self.now_ns)
            self._shares.append(share)
            self.now_ns += BIN_NS

    def slices(self) -> Slices:
        """Return what was counted."""
        health = Health(read_ns=self.now_ns, own_coins=self.own_coins)
        count = len(self._epochs)
        if not count:
            return no_slices(health, self.shadow)
        canary, champion = self._counts[:, :count]
        allocations = []
        for epoch in dict.fromkeys(self._epochs):
            rows = np.array([each == epoch for each in self._epochs])
            share = self._shares[self._epochs.index(epoch)]
            units, requests = (
                (int(canary[rows, column].sum()), int(champion[rows, column].sum()))
                for column in (UNITS, REQUESTS)
            )
            allocations.append(Allocation(epoch, ("v3", "v1"), (share, 1 - share), units, requests))
        return Slices(
            epochs=tuple(self._epochs),
            start_ns=np.array(self._starts, np.int64),
            span_ns=np.full(count, BIN_NS, np.int64),
            share=np.array(self._shares, np.float64),
            canary=canary,
            champion=champion,
            reference=np.zeros(count, np.int64),
            references=(self.reference,),
            allocations=tuple(allocations),
            shadow=self.shadow,
            health=health,
        )

    def decide(self) -> Decision:
        """Judge the moment, and let the law do what was decided."""
        found = assemble(self.plan, self.state, self.slices(), self.now_ns)
        decision = decide(self.plan, self.state, found, self.now_ns)
        self.decisions.append(decision)
        if decision.action is not None:
            after = apply(self.plan, self.state, decision.action, self.now_ns, ENGINE, decision.sentence)
            if isinstance(after, RolloutState):
                self.state = after
        return decision

    def run(self, bins: int, until: Phase | None = None) -> Decision:
        """Let time pass and decide after each ``every`` bins, up to a phase."""
        for number in range(bins):
            self.serve()
            if (number + 1) % self.every == 0:
                self.decide()
            if self.state.phase is until:
                break
        return self.decisions[-1]


def _answer(
    counts: Counts, behaviour: Behaviour, requests: int, generator: np.random.Generator, factor: float = 1.0
) -> None:
    """Count the answers of one arm in one bin; every request is a coin's first completion."""
    errors = int(generator.binomial(requests, behaviour.errors))
    client_errors = int(generator.binomial(requests - errors, behaviour.client_errors))
    counts[[REQUESTS, UNITS]] += requests
    for first in (REQUEST_ERRORS, FIRST_EVENTS, ERRORS):
        counts[first] += errors
        counts[first + 1] += client_errors
    took_us = (
        behaviour.median_ms * 1000 * factor * np.exp(behaviour.sigma * generator.standard_normal(requests))
    )
    buckets = np.clip(1 + np.floor(np.log(np.maximum(took_us, 1.0)) / np.log(1.05)), 0, BUCKETS - 1)
    found = np.bincount(buckets.astype(int), minlength=BUCKETS)
    counts[LATENCY : LATENCY + BUCKETS] += found
    counts[FIRST_LATENCY : FIRST_LATENCY + BUCKETS] += found
