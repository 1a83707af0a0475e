"""Whole rollouts: whatever happens in whatever order, the law holds; and the stories that people know."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from proxy.rollout.decide import MIN_UNITS, decide
from proxy.rollout.evidence import Evidence, GuardrailEvidence
from proxy.rollout.plan import Plan
from proxy.rollout.state import ENGINE, Phase, RolloutState, weight
from proxy.rollout.transitions import Action, Effect, apply, begin, reconcile
from proxy.rollout.verdict import Reason, Verdict
from proxy.settings import Inconclusive, Metric
from tests.rollout.world import MINUTE, SECOND, START, Behaviour, World, guardrail, plan

logs = st.sampled_from([-5.0, 0.0, 1.0, 2.9, 3.1, 4.0, 5.0, 8.0])
plans = st.builds(
    plan,
    steps=st.sampled_from([(1, 5, 25, 50, 100), (10, 100), (100,), (20, 40)]).map(
        lambda steps: tuple(map(Decimal, steps))
    ),
    bake_ns=st.sampled_from([0, MINUTE]),
    hold_ns=st.sampled_from([MINUTE, 5 * MINUTE]),
    guardrails=st.sampled_from([plan().guardrails, (guardrail("errors"), guardrail("disagreement"))]),
    on_inconclusive=st.sampled_from(Inconclusive),
    max_duration_ns=st.sampled_from([30 * MINUTE, 24 * 60 * MINUTE]),
    dry_run=st.booleans(),
    holdback=st.sampled_from([Decimal(0), Decimal(5)]),
    switch_back_ns=st.sampled_from([0, 5 * MINUTE]),
    excess_errors=st.sampled_from([None, 100]),
    false_rollback=st.sampled_from([0.01, 0.05]),
    salt=st.sampled_from(["wine", "beer"]),
)


@st.composite
def evidences(draw: st.DrawFn, of: Plan) -> Evidence:
    """Return any evidence at all."""
    return Evidence(
        guardrails=tuple(
            GuardrailEvidence(g.name, g.metric, g.advisory, draw(logs), draw(logs), draw(logs))
            for g in of.guardrails
        ),
        harm=draw(logs),
        harm_of_events=draw(logs),
        suspicion=draw(logs),
        allocation=draw(logs),
        problems=draw(
            st.sampled_from([(), (), (), ("clock",), ("stale",), ("counts_backwards",), ("stray_units",)])
        ),
        held_ns=draw(st.sampled_from([0, MINUTE, 10 * MINUTE])),
        canary_units=draw(st.sampled_from([0, 49, 50, 5000])),
        is_latency_seen=draw(st.sampled_from([True, True, False])),
        request_rate=draw(st.sampled_from([0.0, 10.0, 1000.0])),
        excess_share=draw(st.sampled_from([0.0, 0.01, 1.0])),
        excess_errors=draw(st.sampled_from([0.0, 99.0, 200.0])),
        shadow_failed=draw(logs),
        shadow_sound=draw(logs),
    )


class Rollouts(RuleBasedStateMachine):
    """Ticks of the engine, words of persons, edits of the file, and a clock that goes any way."""

    @initialize(of=plans)
    def start(self, of: Plan) -> None:
        self.plan = of
        self.now_ns = START
        self.ids = 1
        self.state = begin(of, self.fresh(), self.now_ns)
        self.allowed = weight(of, self.state)
        """The most that was allowed by a RAMP, a PROMOTE or a person."""

    def fresh(self) -> str:
        self.ids += 1
        return f"{self.ids:016x}"

    def become(self, after: RolloutState, may_rise: bool) -> None:
        assert after.sequence > self.state.sequence
        now, then = weight(self.plan, self.state), weight(self.plan, after)
        assert may_rise or then <= now
        self.state = after

    @rule(seconds=st.sampled_from([-3600, -1, 1, 60, 600, 86_400]))
    def time_passes(self, seconds: int) -> None:
        """Or runs backwards."""
        self.now_ns += seconds * SECOND

    @rule(data=st.data())
    def tick(self, data: st.DataObject) -> None:
        """The engine judges, and the law does what it asks for."""
        found = data.draw(evidences(self.plan))
        decision = decide(self.plan, self.state, found, self.now_ns)
        raises = decision.verdict in (Verdict.RAMP, Verdict.PROMOTE)
        assert decision.sequence == self.state.sequence
        assert decision.weight <= decision.weight_now or raises
        assert (decision.action is not None) or decision.weight == decision.weight_now
        if raises:
            self.check_raise(found)
        if decision.action is None:
            return
        after = apply(self.plan, self.state, decision.action, self.now_ns, ENGINE, decision.reason)
        if self.plan.dry_run:
            assert isinstance(after, str)
            return
        assert isinstance(after, RolloutState)
        assert (after.phase, weight(self.plan, after)) == (decision.phase, decision.weight)
        self.become(after, may_rise=raises)

    def check_raise(self, found: Evidence) -> None:
        """Nothing is raised on bad counts, on a clock that is early, or, past the bake, on thin data."""
        assert not found.problems
        assert self.now_ns >= self.state.since_ns
        assert not self.state.paused_by
        assert not self.state.is_settled_by_person
        assert found.canary_units >= MIN_UNITS or self.state.phase is Phase.BAKING
        is_timed = any(each.metric is Metric.LATENCY for each in self.plan.critical)
        assert found.is_latency_seen or not is_timed or self.state.phase is Phase.BAKING
        assert found.harm < 4.6 and found.suspicion < 3  # noqa: PT018 - one statement of the law

    @rule(action=st.sampled_from([Action.PROMOTE, Action.ABORT, Action.PAUSE, Action.RESUME]))
    def a_person_speaks(self, action: Action) -> None:
        """It is done at once, or refused with a sentence."""
        after = apply(self.plan, self.state, action, self.now_ns, "anna", "", rollout=self.fresh())
        if isinstance(after, RolloutState):
            self.become(after, may_rise=action in (Action.PROMOTE, Action.RESUME))

    @rule(new=plans, other=st.booleans())
    def the_file_is_edited(self, new: Plan, other: bool) -> None:
        """A canary on its way is never shown to more clients by an edit, but for the first step of a new start."""
        if other:
            new = replace(new, canary=replace(new.canary, urls=(f"http://{self.ids}",)))
        before = self.state
        was = weight(self.plan, before)
        found = reconcile(self.plan, new, before, self.now_ns, self.fresh())
        assert found.state is not None
        assert found.state.sequence >= before.sequence
        self.plan, self.state = new, found.state
        if found.effect is Effect.RESTARTS:
            assert self.state.step <= 0
        elif before.phase is not Phase.PROMOTED:
            assert weight(new, self.state) <= was
        assert (self.state.rollout != before.rollout) == (
            found.effect in (Effect.RESTARTS, Effect.JUDGED_ANEW)
        )

    @invariant()
    def a_rolled_back_canary_has_no_traffic(self) -> None:
        """Nobody is left on it."""
        if self.state.phase is Phase.ROLLED_BACK:
            assert weight(self.plan, self.state) == 0

    @invariant()
    def the_state_can_be_written_down(self) -> None:
        """At every moment."""
        assert RolloutState.from_document(self.state.document()) == self.state


Rollouts.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestRollouts = pytest.mark.slow(Rollouts.TestCase)


@settings(max_examples=150, deadline=None)
@given(
    data=st.data(),
    of=plans,
    phase=st.sampled_from(Phase),
    step=st.integers(-1, 6),
    since=st.sampled_from([0, MINUTE]),
)
def test_every_state_can_be_judged(
    data: st.DataObject, of: Plan, phase: Phase, step: int, since: int
) -> None:
    """Also one that no transition leads to, as a book edited by hand may hold: it is never an exception."""
    odd = replace(begin(of, "0" * 16, START), phase=phase, step=step, since_ns=START + since)
    decision = decide(
        of, odd, data.draw(evidences(of)), START + data.draw(st.sampled_from([0, 10, 10**5])) * SECOND
    )
    assert 0 <= decision.weight <= 100


# Stories


def test_a_good_canary_is_promoted_step_by_step() -> None:
    """One step after another, each held for five minutes, then everything."""
    world = World(plan(), rate=1000, every=2)
    world.run(400, until=Phase.PROMOTED)
    raised = [each for each in world.decisions if each.action is not None]
    assert [int(each.weight) for each in raised] == [5, 25, 50, 100]
    assert [each.verdict for each in raised] == [Verdict.RAMP] * 3 + [Verdict.PROMOTE]


@pytest.mark.parametrize("step", [1, 5, 10])
def test_a_dead_canary_is_gone_after_three_failures(step: int) -> None:
    """At up to 10 % of the traffic, judged after each single answer."""
    world = World(plan(steps=(Decimal(step), Decimal(100))), rate=5, canary=Behaviour(errors=1.0))
    world.run(5000, until=Phase.ROLLED_BACK)
    last = world.decisions[-1]
    assert last.reason is Reason.HARM
    before = [each.units_exposed for each in world.decisions if each.verdict is not Verdict.ROLLBACK]
    assert max(before, default=0) <= 3
    assert last.units_exposed <= 3 + 2  # the bin of the deciding answer may hold others


@pytest.mark.parametrize(
    ("canary", "verdict"),
    [
        (Behaviour(errors=0.05), Reason.HARM),
        (Behaviour(errors=0.01, client_errors=0.2), Reason.HARM),
        (Behaviour(errors=0.01, median_ms=60), Reason.HARM),
    ],
)
def test_a_worse_canary_is_rolled_back_on_a_small_step(canary: Behaviour, verdict: Reason) -> None:
    """It never gets beyond a quarter of the traffic."""
    world = World(plan(), rate=1000, canary=canary, champion=Behaviour(errors=0.01))
    world.run(400, until=Phase.ROLLED_BACK)
    assert world.state.phase is Phase.ROLLED_BACK
    assert world.decisions[-1].reason is verdict
    assert max(each.weight_now for each in world.decisions) <= 5


@pytest.mark.slow
@pytest.mark.long
def test_a_canary_that_is_the_same_survives_every_look() -> None:
    """With a shared incident and swinging hosts it is never rolled back; the plan only ever asks for more."""
    same = Behaviour(errors=0.01, client_errors=0.02)
    world = World(plan(max_duration_ns=10**15), rate=300, canary=same, champion=same)
    swing = world.generator.standard_normal(500)
    world.noise = lambda bin_: float(1 + 0.03 * swing[bin_])
    for number in range(500):
        incident = replace(same, errors=0.3) if 250 <= number < 270 else same
        world.canary = world.champion = incident
        world.serve()
        decision = world.decide()
        assert decision.would is not Verdict.ROLLBACK
        assert decision.would is not Verdict.INVALID
        if world.state.phase is Phase.PROMOTED:
            world.state = replace(world.state, phase=Phase.RAMPING, step=3, by=ENGINE)


WORLDS: dict[str, Callable[[], World]] = {
    "no traffic": lambda: World(plan(), rate=0),
    "a trickle": lambda: World(plan(), rate=1),
    "a canary that always differs": lambda: _differing(),
    "nobody promoted it": lambda: World(plan(guardrails=(guardrail("latency", advisory=True),)), rate=1000),
    "margins of zero, noisy hosts": lambda: _noisy(),
}


def _differing() -> World:
    from proxy.rollout.slices import ShadowEvidence

    world = World(plan(guardrails=(guardrail("errors"), guardrail("disagreement"))), rate=1000)
    world.shadow = ShadowEvidence(5000, 0, 5000, 900)
    return world


def _noisy() -> World:
    zero = tuple(guardrail(each, margin=0.0) for each in ("errors", "client_errors", "latency"))
    world = World(plan(guardrails=zero), rate=1000, every=5)
    swing = world.generator.standard_normal(200)
    world.noise = lambda bin_: float(np.exp(0.1 * swing[bin_]))
    return world


@pytest.mark.parametrize("name", WORLDS)
def test_bad_worlds_are_held(name: str) -> None:
    """Each is a HOLD with its reason for as long as it lasts, never a promotion."""
    world = WORLDS[name]()
    world.run(150)
    assert world.state.phase is not Phase.PROMOTED
    assert {each.verdict for each in world.decisions} <= {Verdict.HOLD, Verdict.RAMP}
    assert world.decisions[-1].reason in {
        Reason.NO_TRAFFIC, Reason.DISAGREEMENT, Reason.NOT_SHOWN, Reason.SUSPICION, Reason.BUDGET,
    }  # fmt: skip


def test_a_switch_of_everything_and_back() -> None:
    """Copies show that it answers; clients show that it is worse; it is switched back within a minute."""
    from proxy.rollout.slices import ShadowEvidence

    of = plan(steps=(Decimal(100),), switch_back_ns=60 * MINUTE, has_shadow=True)
    world = World(of, rate=1000, champion=Behaviour(errors=0.01), canary=Behaviour(errors=0.2))
    world.shadow = ShadowEvidence(4000, 3, 4000, 10)
    promotion = world.run(60, until=Phase.PROMOTED)
    assert (promotion.verdict, int(promotion.weight)) == (Verdict.PROMOTE, 100)
    back = world.run(6, until=Phase.ROLLED_BACK)
    assert (back.verdict, int(back.weight)) == (Verdict.ROLLBACK, 0)
    assert "before the switch" in back.sentence


def test_a_paused_rollout_goes_on_where_it_stood() -> None:
    """What the engine would have done is said all along, and done after resume."""
    world = World(plan(), rate=1000)
    paused: Any = apply(world.plan, world.state, Action.PAUSE, world.now_ns, "anna", "")
    world.state = paused
    held = world.run(40)
    assert (held.verdict, held.reason, held.would) == (Verdict.HOLD, Reason.PAUSED, Verdict.RAMP)
    resumed: Any = apply(world.plan, world.state, Action.RESUME, world.now_ns, "anna", "")
    world.state = resumed
    assert world.decide().verdict is Verdict.RAMP
