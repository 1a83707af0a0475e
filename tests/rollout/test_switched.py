"""After a switch of everything: the canary now against the champion before."""

from dataclasses import replace
from math import log

import pytest

from proxy.rollout.slices import Slices
from proxy.rollout.state import Phase
from proxy.rollout.switched import judge_switched
from tests.rollout.world import Behaviour, World, guardrail, plan

ALPHA = 0.01


def switched(champion: Behaviour, canary: Behaviour, bins: int = 12) -> tuple[Slices, Slices]:
    """Return slices before and after a switch."""
    world = World(plan(steps=(100,)), rate=1000, champion=champion, canary=canary)
    world.serve(30)
    world.state = replace(world.state, phase=Phase.PROMOTED, promoted_ns=world.now_ns)
    world.serve(bins)
    slices = world.slices()
    return slices.before(world.state.promoted_ns), slices.since(world.state.promoted_ns)


WORSE = {
    "errors": (Behaviour(errors=0.01), Behaviour(errors=0.03)),
    "client_errors": (Behaviour(client_errors=0.02), Behaviour(client_errors=0.06)),
    "latency": (Behaviour(median_ms=20), Behaviour(median_ms=50)),
    "slow": (Behaviour(median_ms=300, sigma=0.4), Behaviour(median_ms=450, sigma=0.4)),
}


@pytest.mark.parametrize("metric", WORSE)
def test_what_is_much_worse_shows(metric: str) -> None:
    """Two minutes of traffic are enough."""
    before, after = switched(*WORSE[metric])
    assert judge_switched(guardrail(metric), before, after, ALPHA).harm > log(100)


@pytest.mark.parametrize("metric", WORSE)
def test_what_is_the_same_does_not(metric: str) -> None:
    """Nor does what is worse by less than half."""
    same = WORSE[metric][0]
    worse = replace(
        same, errors=same.errors * 1.2, client_errors=same.client_errors * 1.2, median_ms=same.median_ms * 1.2
    )
    for now in (same, worse) if metric != "slow" else (same,):
        before, after = switched(same, now, bins=60)
        found = judge_switched(guardrail(metric), before, after, ALPHA)
        assert found.harm < log(20)
        assert found.noninferiority == 0.0


@pytest.mark.parametrize("metric", ["errors", "latency", "slow", "disagreement"])
def test_nothing_to_compare_with_is_no_evidence(metric: str) -> None:
    """Without the champion's past, or without traffic since, nothing is said."""
    before, after = switched(Behaviour(), Behaviour(errors=1.0, median_ms=5000))
    nothing = before.before(0)
    assert judge_switched(guardrail(metric), nothing, after, ALPHA).harm == 0.0
    assert judge_switched(guardrail(metric), before, nothing, ALPHA).harm == 0.0


def test_a_margin_above_the_wide_one_counts() -> None:
    """Three times the errors is no harm where the plan allows them."""
    before, after = switched(*WORSE["errors"])
    assert judge_switched(guardrail("errors", margin=3.0), before, after, ALPHA).harm < 0


def test_a_champion_that_failed_everything_cannot_be_worse() -> None:
    """No share above all is left to exceed."""
    before, after = switched(Behaviour(errors=0.9), Behaviour(errors=1.0))
    assert judge_switched(guardrail("errors"), before, after, ALPHA).harm == 0.0
