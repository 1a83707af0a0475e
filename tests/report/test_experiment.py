"""How a rollout would go: against rollouts that went, and against what cannot be."""

from dataclasses import replace
from decimal import Decimal
from math import inf, isfinite
from typing import Any

import pytest

from proxy.engine import dossier
from proxy.report.experiment import FEW, REFERENCE, Outlook, Traffic, foresee, with_steps
from proxy.report.needed import Model
from proxy.rollout.state import Phase
from proxy.settings import Metric
from tests.rollout.world import MINUTE, Behaviour, World, guardrail, plan

MODEL = Model(((Metric.ERRORS, 0.01), (Metric.CLIENT_ERRORS, 0.02)), 0.3, 0.01, 2.0, 0.0)
TRAFFIC = Traffic(200.0, None, 0.0, MODEL)


def outlook(**changes: Any) -> Outlook:
    return foresee(plan(**changes), TRAFFIC)


def test_a_rollout_goes_about_so() -> None:
    """A simulated canary that is as good is promoted within a third of what was foreseen."""
    good = Behaviour(errors=0.01, client_errors=0.02)
    world = World(plan(), rate=2000, canary=good, champion=good, every=3)
    world.run(600, Phase.PROMOTED)
    assert world.state.phase is Phase.PROMOTED
    took = (world.now_ns - world.state.started_ns) / 1e9
    assert outlook().seconds == pytest.approx(took, rel=0.33)


def test_a_bad_one_falls_about_so() -> None:
    """Simulated canaries that fail twice as often have had about as many requests as foreseen when they fall."""
    found = next(each for each in outlook().found if each.guardrail.name == "errors")
    good, bad = Behaviour(errors=0.01, client_errors=0.02), Behaviour(errors=0.02, client_errors=0.02)
    exposed = []
    for seed in range(4):
        world = World(plan(), rate=2000, canary=bad, champion=good, seed=seed, every=3)
        exposed.append(world.run(600, Phase.ROLLED_BACK).requests_exposed)
        assert world.state.phase is Phase.ROLLED_BACK
    assert found.canary_requests / 2 < sum(exposed) / len(exposed) < found.canary_late
    assert found.mean_s < found.late_s


def test_the_steps() -> None:
    """No step is shorter than hold, and the last one lasts until the slowest guardrail is shown."""
    found = outlook()
    assert [each.weight for each in found.stages] == [1, 5, 25, 50]
    assert all(each.seconds >= 300 for each in found.stages)
    assert found.fits
    slow = foresee(plan(), replace(TRAFFIC, rate=3.0))
    assert slow.stages[-1].why == slow.shown[0].guardrail.name
    assert slow.seconds == pytest.approx(slow.shown[0].mean_s, rel=0.01)
    assert slow.stages[0].why == "reference"
    events = foresee(plan(guardrails=(guardrail("errors"),)), replace(TRAFFIC, rate=3.0))
    assert events.stages[0].why == "50 units"


@pytest.mark.parametrize(
    ("rate", "units", "bake", "seconds"),
    [
        # 50 of the canary at 1 %, after 1,000 answers of the champion or, sooner, 100 of them and the time to hold.
        (100.0, None, 0, 1000 / 99 + 5 + 50),
        (10.0, None, 0, 1000 / 9.9 + 5 + 500),
        (0.5, None, 0, 300 + 5 + 10_000),
        # In a bake nobody waits for it; who comes back is waited for as long as a step lasts.
        (10.0, None, 30 * MINUTE, 500),
        (0.5, 500, 0, 300 + 5 + 300),
    ],
)
def test_latency_has_to_be_compared_first(rate: float, units: int | None, bake: int, seconds: float) -> None:
    """The first step lasts until there is something to compare latency with, and was something compared."""
    assert (FEW, REFERENCE) == (dossier.FEW, dossier.ENOUGH)
    traffic = replace(TRAFFIC, rate=rate, units=units)
    found = foresee(plan(excess_errors=None, bake_ns=bake), traffic).stages[0]
    least = max(300.0, 50 / (rate / 100))
    assert found.seconds == pytest.approx(max(seconds, least))


def test_a_budget_holds_a_step() -> None:
    """The smaller the budget, the longer the steps; without one they last as long as hold."""
    tight, loose, none = (outlook(excess_errors=each).seconds for each in (30, 100, None))
    assert tight > loose > none
    assert {each.why for each in outlook(excess_errors=None).stages} == {"hold"}


def test_more_traffic_is_never_slower() -> None:
    """Twice the traffic finds and shows everything no later."""
    slow, fast = (foresee(plan(excess_errors=None), replace(TRAFFIC, rate=rate)) for rate in (50.0, 100.0))
    assert fast.seconds <= slow.seconds
    for a, b in zip(slow.found, fast.found, strict=True):
        assert b.mean_s <= a.mean_s


def test_users_run_out() -> None:
    """Where few users come again and again, what only their first requests show is never shown."""
    few = foresee(plan(excess_errors=None), replace(TRAFFIC, rate=3.0, units=300))
    shown = {each.guardrail.name: each.mean_s for each in few.shown}
    assert shown["latency"] == inf
    many = foresee(plan(excess_errors=None), replace(TRAFFIC, rate=3.0, units=3_000_000))
    endless = foresee(plan(excess_errors=None), replace(TRAFFIC, rate=3.0))
    assert many.seconds == pytest.approx(endless.seconds, rel=0.1)
    assert TRAFFIC.known(1000) == 1000
    assert replace(TRAFFIC, units=1000).known(1e9) == pytest.approx(1000)
    assert all(each.canary_units <= 300 for each in few.found)


def test_other_variants_leave_less() -> None:
    """Variants with weights of their own take requests from the comparison."""
    alone, beside = foresee(plan(), TRAFFIC), foresee(plan(others=Decimal(40)), TRAFFIC)
    assert len(beside.stages) == len(alone.stages)
    assert beside.stages[0].canary_requests == pytest.approx(200 * 300 * 0.01)


def test_disagreement_needs_copies() -> None:
    """Without copies it is never shown; with them it takes as long as they take to come."""
    of = plan(guardrails=(guardrail("errors"), guardrail("disagreement")))
    without, all_of_them = foresee(of, TRAFFIC), foresee(of, replace(TRAFFIC, copies=1.0))
    assert not isfinite(without.seconds)
    assert isfinite(all_of_them.seconds)
    assert {each.guardrail.name for each in without.found} == {"errors"}


def test_disagreement_above_noise_is_foreseen() -> None:
    """A noisy champion keeps nobody waiting for ever where it is asked twice; the oftener, the less."""
    traffic = replace(TRAFFIC, copies=1.0, model=replace(TRAFFIC.model, disagreement=0.4))
    waits = [
        foresee(plan(guardrails=(guardrail("errors"), guardrail("disagreement", asked_twice=twice))), traffic)
        for twice in (0.0, 0.01, 0.5)
    ]
    assert [isfinite(each.seconds) for each in waits] == [False, True, True]
    shown = [next(s.mean_s for s in each.shown if s.guardrail.name == "disagreement") for each in waits]
    assert shown[0] > shown[1] > shown[2]


def test_a_dead_canary_and_other_steps() -> None:
    """On each step it is said how many failures it takes; steps can be changed."""
    found = foresee(with_steps(plan(), (10, 50)), TRAFFIC)
    assert [weight for weight, _ in found.dead] == [10, 50]
    assert all(failures for _, failures in found.dead)
    assert foresee(plan(guardrails=(guardrail("latency"),)), TRAFFIC).dead == ()


def test_everything_at_once() -> None:
    """A switch of everything at once has no steps to foresee."""
    with pytest.raises(ValueError, match="no steps to foresee"):
        foresee(plan(steps=(Decimal(100),), hold_ns=MINUTE), TRAFFIC)
