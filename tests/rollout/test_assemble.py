"""Evidence of a whole rollout: stretches, the strongest guardrail, and what is wrong with the counts."""

from dataclasses import replace
from decimal import Decimal
from math import exp, log
from typing import Any

import numpy as np
import pytest

from proxy.rollout.assemble import assemble, weights_of
from proxy.rollout.decide import decide
from proxy.rollout.evidence import Evidence
from proxy.rollout.plan import Guardrail
from proxy.rollout.slices import (
    BIN_NS,
    ERRORS,
    FIRST_LATENCY,
    REQUEST_ERRORS,
    REQUESTS,
    UNITS,
    Health,
    ShadowEvidence,
    no_slices,
)
from proxy.rollout.state import Phase
from proxy.rollout.verdict import Reason, Verdict
from proxy.stats.allocation import mismatch
from tests.rollout.world import MINUTE, SECOND, START, Behaviour, World, guardrail, plan, state


def guardrails(*metrics: str, **changes: Any) -> tuple[Guardrail, ...]:
    return tuple(guardrail(metric, **changes) for metric in metrics)


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ("errors client_errors latency", [1 / 3, 1 / 3, 1 / 3]),
        ("errors latency client_errors abandoned", [0.3, 0.3, 0.2, 0.2]),
        ("errors", [1.0]),
        ("errors slow slow slow slow", [3 / 7, 1 / 7, 1 / 7, 1 / 7, 1 / 7]),
        ("latency disagreement", [1.0, 0.0]),
        ("disagreement", [0.0]),
    ],
)
def test_weights_of_guardrails(metrics: str, expected: list[float]) -> None:
    """Errors and latency most; no other more than they; what rolls nothing back has none."""
    assert weights_of(guardrails(*metrics.split())) == pytest.approx(expected)


def test_advice_has_no_weight() -> None:
    """Its weight goes to the others."""
    some = (guardrail("errors"), guardrail("latency", advisory=True), guardrail("abandoned"))
    assert weights_of(some) == pytest.approx([0.5, 0.0, 0.5])
    assert weights_of(guardrails("errors", "latency", advisory=True)) == (0.0, 0.0)


def world(bins: int = 12, step: int = 3, **changes: Any) -> World:
    made = World(plan(), rate=1000, **changes)
    made.state = replace(made.state, step=step)
    made.serve(bins)
    return made


def of(made: World, **changes: Any) -> Evidence:
    return assemble(made.plan, made.state, replace(made.slices(), **changes), made.now_ns)


def test_the_whole_is_the_strongest_of_its_parts() -> None:
    """E = max of w E, and who fails alone is blamed."""
    made = world(canary=Behaviour(errors=0.05), champion=Behaviour(errors=0.01))
    found = of(made)
    greatest = max(
        exp(g.harm) * w for g, w in zip(found.guardrails, weights_of(made.plan.guardrails), strict=True)
    )
    assert exp(found.harm) == pytest.approx(greatest)
    assert found.blamed == ("errors",)
    assert found.suspicion > log(20)


def test_latency_is_seen_once_it_was_compared() -> None:
    """Slices without a reference compare nothing; 50 coins of the canary after it do, or as much time as a step has."""
    made = world(bins=60, step=0)
    reference = np.full(60, -1, np.int64)
    assert not of(made, reference=reference).is_latency_seen
    reference[-2:] = 0
    assert not of(made, reference=reference).is_latency_seen  # about 1 % of 2,000
    reference[-20:] = 0
    assert of(made, reference=reference).is_latency_seen
    # Users who were all counted before it: only time can tell.
    known = np.array(made.slices().canary)
    known[20:, FIRST_LATENCY:] = 0
    for own_coins, first, seen in ((False, 30, True), (False, 31, False), (True, 30, False)):
        reference[:] = -1
        reference[first:] = 0
        made.own_coins = own_coins
        assert of(made, reference=reference, canary=known).is_latency_seen is seen


def test_the_counts_are_told() -> None:
    """Exposure, rate, and what the canary should have had."""
    made = world(bins=60)
    found = of(made)
    assert found.canary_requests == found.canary_units
    assert found.canary_requests + found.champion_requests == pytest.approx(60_000, rel=0.03)
    assert found.request_rate == pytest.approx(100, rel=0.1)
    assert found.expected_units == pytest.approx(found.canary_units, rel=0.05)
    assert 0 < found.excess_share < 0.01
    assert found.excess_errors == 0


def test_excess_errors_are_counted() -> None:
    """What the canary failed beyond what the champion would have with its traffic."""
    found = of(world(bins=30, canary=Behaviour(errors=0.1), champion=Behaviour(errors=0.02)))
    assert found.excess_errors == pytest.approx(0.08 * found.canary_requests, rel=0.15)


def test_a_quiet_hour_does_not_hide_the_rate() -> None:
    """The next step is costed at what the whole stretch had, if that was more."""
    made = world(bins=60)
    made.rate = 10
    made.serve(40)
    assert of(made).request_rate > 50


def test_the_open_bin_is_counted_as_long_as_it_is() -> None:
    """A second after it began it is a second long."""
    made = world(bins=1)
    found = assemble(made.plan, made.state, made.slices(), START + SECOND)
    assert found.request_rate == pytest.approx(1000, rel=0.1)


@pytest.mark.parametrize(
    ("since", "away", "held"),
    [(0, 0, 120), (60, 0, 60), (0, 100, 20), (0, 500, 0), (500, 0, 0), (0, -50, 120)],
)
def test_time_held_is_time_watched(since: int, away: int, held: int) -> None:
    """Not what passed before the step, nor while nobody looked; never below nothing."""
    made = world(bins=12)
    made.state = replace(made.state, since_ns=START + since * SECOND)
    health = Health(read_ns=made.now_ns, away_ns=away * SECOND)
    assert of(made, health=health).held_ns == held * SECOND


# The counts themselves


def judged(made: World, **changes: Any) -> tuple[Verdict, Reason]:
    decision = decide(made.plan, made.state, of(made, **changes), made.now_ns)
    return decision.verdict, decision.reason


PROMOTABLE = world(bins=60)


def test_a_sound_world_is_promoted() -> None:
    """What the broken ones below are compared with."""
    assert judged(PROMOTABLE) == (Verdict.PROMOTE, Reason.SHOWN)


def health(**changes: Any) -> Health:
    return replace(PROMOTABLE.slices().health, **changes)


def negative() -> np.ndarray[Any, np.dtype[np.int64]]:
    counts = PROMOTABLE.slices().canary.copy()
    counts[3, ERRORS] = -1
    return counts


def nobody() -> np.ndarray[Any, np.dtype[np.int64]]:
    return PROMOTABLE.slices().canary * 0


def allocated(units: tuple[int, ...], shares: tuple[float, ...] = (0.5, 0.5)) -> Any:
    return (replace(PROMOTABLE.slices().allocations[0], shares=shares, units=units, requests=units),)


BROKEN: dict[str, tuple[dict[str, Any], Reason]] = {
    "a counter fell": ({"health": health(fell_ns=PROMOTABLE.now_ns - 299 * SECOND)}, Reason.COUNTS_BACKWARDS),
    "a count below nothing": ({"canary": negative()}, Reason.COUNTS_BACKWARDS),
    "copies below nothing": ({"shadow": ShadowEvidence(compared=-1)}, Reason.COUNTS_BACKWARDS),
    "no reading": ({"health": health(read_ns=PROMOTABLE.now_ns - 31 * SECOND)}, Reason.STALE),
    "a clock that jumped": ({"health": health(clock_jumped=True)}, Reason.CLOCK),
    "no canary": ({"canary": nobody(), "allocations": ()}, Reason.NO_CANARY_TRAFFIC),
    "a wrong division": ({"allocations": allocated((29_000, 31_000))}, Reason.SRM),
    "units of nobody": ({"allocations": allocated((1, 5), (0.0, 1.0))}, Reason.STRAY_UNITS),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_counts_are_invalid_and_never_a_promotion(name: str) -> None:
    """Each with its own reason."""
    changes, reason = BROKEN[name]
    assert judged(PROMOTABLE, **changes) == (Verdict.INVALID, reason)


def test_a_fall_is_forgiven_after_a_step() -> None:
    """It was then watched for as long as any step; with steps of no length, for a minute."""
    long_ago = health(fell_ns=PROMOTABLE.now_ns - 300 * SECOND)
    assert judged(PROMOTABLE, health=long_ago) == (Verdict.PROMOTE, Reason.SHOWN)
    hurried = replace(PROMOTABLE.plan, hold_ns=0)
    for ago, problems in ((59, ("counts_backwards",)), (60, ())):
        slices = replace(PROMOTABLE.slices(), health=health(fell_ns=PROMOTABLE.now_ns - ago * SECOND))
        assert assemble(hurried, PROMOTABLE.state, slices, PROMOTABLE.now_ns).problems == problems


def test_harm_is_heard_while_a_counter_is_distrusted() -> None:
    """What was counted before the fall and since is sound."""
    made = world(canary=Behaviour(errors=0.2))
    fallen = health(fell_ns=made.now_ns, read_ns=made.now_ns)
    assert judged(made, health=fallen) == (Verdict.ROLLBACK, Reason.HARM)


def test_a_canary_without_traffic_and_a_champion_without_is_thin() -> None:
    """Nothing is wrong with a quiet night."""
    made = World(plan(), rate=10)
    made.serve(60)
    assert judged(made) in [(Verdict.HOLD, Reason.NO_TRAFFIC), (Verdict.HOLD, Reason.BUDGET)]
    quiet = World(plan(), rate=0)
    quiet.serve(60)
    assert judged(quiet) == (Verdict.HOLD, Reason.NO_TRAFFIC)


def test_nothing_counted_yet() -> None:
    """The first second of a rollout is a HOLD."""
    begun = state(plan())
    found = assemble(plan(), begun, no_slices(Health(read_ns=START)), START + SECOND)
    assert decide(plan(), begun, found, START + SECOND).reason is Reason.HOLD_TIME
    assert exp(found.harm) == pytest.approx(max(weights_of(plan().guardrails)))


def test_the_coin_is_tested_per_epoch() -> None:
    """Evidence of epochs is multiplied, a variant without a share is left out, requests are averaged in where coins."""
    rows = (*allocated((60, 40, 0), (0.5, 0.5, 0.0)), *allocated((5, 95), (0.1, 0.9)))
    parts = mismatch([60, 40], [0.5, 0.5]) + mismatch([5, 95], [0.1, 0.9])
    mixed = tuple(replace(each, requests=tuple(2 * u for u in each.units)) for each in rows)
    double = mismatch([120, 80], [0.5, 0.5]) + mismatch([10, 190], [0.1, 0.9])
    assert of(PROMOTABLE, allocations=mixed, health=health(own_coins=False)).allocation == pytest.approx(
        parts
    )
    both = of(PROMOTABLE, allocations=mixed).allocation
    assert exp(both) == pytest.approx((exp(parts) + exp(double)) / 2)
    assert of(PROMOTABLE, allocations=allocated((9,), (1.0,))).allocation == 0.0


def test_a_canary_that_hangs_is_rolled_back_for_what_it_fails() -> None:
    """Its missing completions break the coin; the failures that arrive roll it back all the same."""
    made = world(bins=6, canary=Behaviour(errors=1.0))
    slices = made.slices()
    few = slices.canary // 10
    units = (int(few[:, UNITS].sum()), int(slices.champion[:, UNITS].sum()))
    late = {"canary": few, "allocations": (replace(slices.allocations[0], units=units, requests=units),)}
    assert of(made, **late).allocation > log(1000)
    assert judged(made, **late) == (Verdict.ROLLBACK, Reason.HARM)


# After the promotion


def promoted(canary: Behaviour, **changes: Any) -> World:
    made = World(plan(**changes), rate=1000, canary=canary, champion=Behaviour(errors=0.01))
    made.state = replace(made.state, step=3)
    made.serve(30)
    made.state = replace(made.state, phase=Phase.PROMOTED, promoted_ns=made.now_ns, since_ns=made.now_ns)
    made.canary = replace(canary, errors=canary.errors)
    made.serve(60)
    return made


def test_a_holdback_is_what_the_promoted_are_compared_with() -> None:
    """Only what came after the promotion counts; harm means that the new one is worse."""
    made = promoted(Behaviour(errors=0.05), holdback=Decimal(5))
    found = of(made)
    assert found.is_randomised
    assert found.canary_requests == pytest.approx(0.95 * 60_000, rel=0.02)
    assert judged(made) == (Verdict.ROLLBACK, Reason.HARM)
    assert judged(promoted(Behaviour(errors=0.01), holdback=Decimal(5))) == (Verdict.HOLD, Reason.GUARDED)
    assert judged(promoted(Behaviour(errors=0.001), holdback=Decimal(5))) == (Verdict.HOLD, Reason.GUARDED)


def test_without_a_holdback_it_is_compared_with_the_past() -> None:
    """As long as it can be switched back; afterwards it is done."""
    made = promoted(Behaviour(errors=0.05), switch_back_ns=20 * MINUTE)
    assert not of(made).is_randomised
    assert judged(made) == (Verdict.ROLLBACK, Reason.HARM)
    assert judged(promoted(Behaviour(errors=0.01), switch_back_ns=20 * MINUTE)) == (
        Verdict.HOLD,
        Reason.GUARDED,
    )
    assert judged(promoted(Behaviour(errors=0.05), switch_back_ns=5 * MINUTE)) == (Verdict.HOLD, Reason.DONE)


def test_what_cannot_be_switched_back_is_not_compared_with_the_past() -> None:
    """Not even shown, and no reason to roll back when the file asks for a holdback later."""
    made = promoted(Behaviour(errors=0.05), switch_back_ns=5 * MINUTE)
    found = of(made)
    assert found.harm < 0.0
    assert [each.harm for each in found.guardrails] == [0.0] * 3
    made.plan = replace(made.plan, holdback=Decimal(2))
    assert judged(made) == (Verdict.HOLD, Reason.GUARDED)


# Copies


@pytest.mark.parametrize(
    ("answered", "failed", "failing", "sound"),
    [(2000, 2, False, True), (1000, 100, True, False), (10, 0, False, False), (0, 0, False, False)],
)
def test_copies_are_judged_while_baking(answered: int, failed: int, failing: bool, sound: bool) -> None:
    """Their failures against the tolerance of errors; on the way they say nothing."""
    baked = plan(steps=(Decimal(100),))
    slices = no_slices(Health(read_ns=START), ShadowEvidence(answered, failed))
    found = assemble(baked, state(baked), slices, START)
    assert (found.shadow_failed > log(20), found.shadow_sound > log(20)) == (failing, sound)
    ramping = assemble(plan(), state(plan()), slices, START)
    assert (ramping.shadow_failed, ramping.shadow_sound) == (0.0, 0.0)


# What would change it


def test_how_many_failures_would_roll_back() -> None:
    """As many as are said, and not one less."""
    made = world(bins=3, step=1)
    found = of(made)
    more = found.guardrails[0].events_to_harm
    assert more is not None
    for count, verdict in ((more, Verdict.ROLLBACK), (more - 1, Verdict.HOLD)):
        canary = made.slices().canary.copy()
        canary[-1, ERRORS] += count
        assert judged(made, canary=canary)[0] is verdict


def test_merged_slices_say_the_same() -> None:
    """Two bins of one epoch between two starts are one, bit for bit in every bet; blocks alone may differ."""
    made = World(
        plan(guardrails=guardrails("errors", "client_errors")), rate=500, canary=Behaviour(errors=0.02)
    )
    made.state = replace(made.state, step=2)
    made.serve(40)
    apart = made.slices()
    rows = np.array([0, 0, *range(2, 40)])
    first = np.arange(0, 40, 1)[[0, *range(2, 40)]]
    joined = [np.stack([arm[rows == row].sum(axis=0) if row else arm[:2].sum(axis=0) for row in first])
              for arm in (apart.canary, apart.champion)]  # fmt: skip
    merged = replace(
        apart.only(first),
        canary=joined[0],
        champion=joined[1],
        span_ns=np.array([2 * BIN_NS] + [BIN_NS] * 38),
    )
    one, two = (assemble(made.plan, made.state, each, made.now_ns) for each in (apart, merged))
    assert [g.harm for g in one.guardrails] == [g.harm for g in two.guardrails]
    assert [g.noninferiority for g in one.guardrails] == [g.noninferiority for g in two.guardrails]
    assert one.harm == two.harm
    assert one.excess_share == two.excess_share
    assert one.canary_requests == int(merged.canary[:, REQUESTS].sum())
    assert int(apart.canary[:, UNITS].sum()) == two.canary_units
    assert int(apart.canary[:, REQUEST_ERRORS].sum()) > 0
