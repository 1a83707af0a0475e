"""What is shown beside what decides: right where it can be checked, and without a say."""

from dataclasses import fields
from math import inf, log

import numpy as np
import pytest

from proxy.rollout.evidence import GuardrailGrounds
from proxy.rollout.guardrails import Stretch, weigh
from proxy.rollout.showing import at_each_quantile, events_to_harm, judge, ratio_of_events, show
from proxy.rollout.slices import BUCKETS, ERRORS, UNITS, no_slices
from tests.rollout.world import MINUTE, START, Behaviour, World, guardrail, plan

ENOUGH = log(20)


def served(bins: int, errors: float = 0.0) -> Stretch:
    same = Behaviour(errors=errors)
    world = World(plan(steps=(50, 100)), rate=1000, canary=same, champion=same)
    world.serve(bins)
    return Stretch(world.slices(), START)


@pytest.mark.parametrize("metric", ["errors", "latency", "slow", "disagreement"])
@pytest.mark.parametrize("bins", [0, 3])
def test_what_decides_stays_as_it_is(metric: str, bins: int) -> None:
    """What is shown is added, and nothing of the grounds is touched."""
    stretch = served(bins, errors=0.02) if bins else Stretch(no_slices(), START)
    grounds = weigh([guardrail(metric)], stretch)[0]
    shown = show(guardrail(metric), grounds, stretch, ENOUGH)
    for each in fields(GuardrailGrounds):
        assert getattr(shown, each.name) == getattr(grounds, each.name)


def test_what_is_missing_is_told() -> None:
    """A number of requests while it is not shown, 0 once it is."""
    some = judge(guardrail("errors"), served(1, errors=0.02), ENOUGH)
    assert some.requests_to_show is None or some.requests_to_show > 0
    assert judge(guardrail("errors"), served(6), ENOUGH).requests_to_show == 0


def test_events_are_counted_per_unit() -> None:
    """Totals are coins, events are those of them whose first completion was one."""
    stretch = served(3, errors=0.02)
    found = judge(guardrail("errors"), stretch, ENOUGH)
    assert found.canary_total == int(stretch.bins.canary[:, UNITS].sum())
    assert found.champion_events == int(stretch.bins.champion[:, ERRORS].sum())


def test_the_ratio_of_events() -> None:
    """Around 1 for two alike; everything where there was no event."""
    low, high = ratio_of_events(guardrail("errors"), served(6, errors=0.05))
    assert 0.5 < low < 1 < high < 2
    assert ratio_of_events(guardrail("errors"), served(1)) == (0.0, inf)


def test_events_in_a_row() -> None:
    """The first number that is enough; None where so many never are."""
    stretch, errors = served(3), guardrail("errors")
    harm = weigh([errors], stretch)[0].harm
    more = events_to_harm(errors, harm, stretch, lambda log_e: log_e, log(100))
    assert more is not None
    assert 5 < more < 20
    assert events_to_harm(errors, harm, stretch, lambda log_e: min(log_e, 1.0), log(100)) is None


def test_quantiles_for_display() -> None:
    """Of nothing there are none."""
    assert at_each_quantile(np.zeros(BUCKETS, np.int64)) == ()
    one = np.zeros(BUCKETS, np.int64)
    one[200] = 5
    assert all(MINUTE > each > 0 for each in at_each_quantile(one))
