"""Evidence from users who come back: it finds what began late, and errs no more often than the whole was to."""

from dataclasses import replace
from itertools import product
from math import comb, exp, inf, log

import numpy as np
import pytest

from proxy.rollout import record
from proxy.rollout.assemble import assemble
from proxy.rollout.decide import decide
from proxy.rollout.evidence import GuardrailGrounds
from proxy.rollout.guardrails import Stretch, weigh
from proxy.rollout.renewal import EVER, Hours, money_of
from proxy.rollout.slices import (
    BUCKETS,
    RENEWED_EVENTS,
    RENEWED_FIELDS,
    Renewals,
    Slices,
    no_slices,
)
from proxy.rollout.state import Phase
from proxy.rollout.verdict import Verdict
from proxy.stats.latency import Reference
from tests.rollout.returning import BEGIN, HOUR, Returning
from tests.rollout.world import START, World, guardrail, plan

ERRORS = guardrail("errors")
FIRST = BEGIN // HOUR
REFERENCE = Reference(np.array([10, 50, 30, 10] + [0] * (BUCKETS - 4)))


def renewals(
    rows: list[tuple[int, float, list[int], list[int]]], columns: list[int], *, references: bool = True
) -> Renewals:
    """Return what was counted in hours: number, share, and counts of both arms in some columns."""
    arms = np.zeros((2, len(rows), RENEWED_FIELDS), np.int64)
    for row, (_, _, *counts) in enumerate(rows):
        for arm in (0, 1):
            arms[arm, row, columns] = counts[arm]
    return Renewals(
        epochs=tuple(f"e{share}" for _, share, _, _ in rows),
        generation=np.array([FIRST + number for number, _, _, _ in rows], np.int64),
        share=np.array([share for _, share, _, _ in rows]),
        canary=arms[0],
        champion=arms[1],
        reference=np.zeros(len(rows), np.int64) if references else np.full(len(rows), -1, np.int64),
        references=(REFERENCE,) if references else (),
        period_ns=HOUR,
    )


def log_e(found: Renewals, of: str = "errors", margin: float = 0.1, *, is_later: bool = False) -> float:
    """Return what the hours say of harm alone: their money and nothing of first times."""
    asked = guardrail(of, margin=margin)
    nothing = GuardrailGrounds(asked.name, asked.metric, asked.advisory, harm=-inf, suspicion=-inf)
    stretch = Stretch(replace(no_slices(), renewals=found), BEGIN)
    return Hours(stretch, is_later=is_later).strengthen([asked], [nothing])[0].harm


# The money


def test_the_money_is_spent_once() -> None:
    """All hours there can ever be have what first times leave, each some of it, and the first day the most."""
    money = money_of(np.arange(1, 200_000))
    assert (money > 0).all()
    assert (np.diff(money) <= 0).all()
    assert 0.99 * (1 - EVER) < money.sum() < 1 - EVER
    assert money[:24].sum() == pytest.approx(0.75 * (1 - EVER))
    assert money_of(np.array([-3, 0])).tolist() == [0.0, 0.0]


def test_the_hour_in_which_it_begins_has_none() -> None:
    """Its units are first times; in a later stretch nobody is, and the hour has the first part."""
    first, second = (renewals([(number, 0.5, [30], [0])], [RENEWED_EVENTS]) for number in (0, 1))
    assert log_e(first) == -inf
    assert log_e(second) > 0
    assert log_e(first, is_later=True) == log_e(second)


# Validity


@pytest.mark.parametrize("of", ["errors", "latency"])
@pytest.mark.parametrize("shares", [(0.25, 0.25), (0.1, 0.5)])
def test_an_hour_is_an_e_value(of: str, shares: tuple[float, float]) -> None:
    """Over every way in which coins can fall, at the margin, its mean is its money; an hour may have two epochs."""
    columns, totals = ([RENEWED_EVENTS], (3, 4)) if of == "errors" else ([1], (3, 4))
    margin = 0.1 if of == "errors" else 0.0
    mean = 0.0
    for falls in product(*(range(total + 1) for total in totals)):
        chance, rows = 1.0, []
        for share, total, k in zip(shares, totals, falls, strict=True):
            p = share * (1 + margin) / (1 + share * margin)
            chance *= comb(total, k) * p**k * (1 - p) ** (total - k)
            rows.append((2, share, [k], [total - k]))
        mean += chance * exp(log_e(renewals(rows, columns), of, margin))
    money = float(money_of(np.array([2]))[0])
    if of == "errors":
        assert mean == pytest.approx(money, abs=1e-9)
    else:
        assert 0 < mean <= money  # the wide margin, and half of the money for the guard


def test_hours_of_the_same_users_may_not_be_multiplied() -> None:
    """Where each user does what they did the hour before, the greatest errs in alpha at most; a product in more."""
    share, users, hours = 0.2, 12, 6
    crossed = dict.fromkeys((0.5, 0.1, 0.01, 0.001), 0.0)
    product_mean = 0.0
    for k in range(users + 1):
        p = share * 1.1 / (1 + share * 0.1)
        chance = comb(users, k) * p**k * (1 - p) ** (users - k)
        rows = [(number, share, [k], [users - k]) for number in range(1, hours + 1)]
        one = log_e(renewals(rows[:1], [RENEWED_EVENTS])) - log(float(money_of(np.array([1]))[0]))
        product_mean += chance * exp(2 * one)
        found = max(log_e(renewals(rows[: n + 1], [RENEWED_EVENTS])) for n in range(hours))
        for alpha in crossed:
            crossed[alpha] += chance * (found >= log(1 / alpha))
    assert all(rate <= alpha for alpha, rate in crossed.items())
    assert product_mean > 3


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["fixed", "good"])
def test_nothing_is_wrong_and_little_is_rolled_back(mode: str) -> None:
    """With users slow or prone to errors for good, at the margin itself, suspicion grows as often as it may at most.

    Weights are fixed, or grow when what is known looks good: then earlier hours chose the weights of later ones.
    """
    of = plan(guardrails=(guardrail("errors", margin=0.0), guardrail("latency", margin=0.0)))
    runs, alarms = 20, 0
    for seed in range(runs):
        world = Returning(of, users=500, share=0.2 if mode == "fixed" else 0.05, seed=seed, pieces=2)
        ladder, highest = [0.25, 0.5], -inf
        for hour in range(5):
            found = [each.grounds.suspicion for each in world.hour()]
            highest = max(highest, *found)
            if mode == "good" and hour % 2 and ladder and found[-1] < -0.5:
                world.ramp(ladder.pop(0))
        alarms += highest >= log(10)
    assert alarms <= 5  # of 20, where each may with 10 %: more has a chance of 1 %


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", ["fixed", "good", "bad"])
def test_an_hour_reaches_no_level_too_often(mode: str) -> None:
    """Of each hour by itself, without its part of the money: it reaches x in one of x rollouts at most, at any look.

    Users are slow or prone to errors for good, nothing is wrong with the canary, and the margin is 0. Weights are
    fixed, or grow when the last hour looked good, or when it looked bad: whoever chooses them has seen the coins.
    """
    asked = (guardrail("errors", margin=0.0), guardrail("latency", margin=0.0))
    nothing = [GuardrailGrounds(g.name, g.metric, advisory=False, harm=-inf, suspicion=-inf) for g in asked]
    runs, hours = 150, 6
    highest = np.full((runs, hours, 2), -inf)
    for run in range(runs):
        world = Returning(plan(guardrails=asked), users=400, share=0.2 if mode == "fixed" else 0.1, seed=run)
        ladder = [0.25, 0.5]
        for hour in range(hours):
            for look in world.hour():
                again = look.slices.renewals
                present = again.only(np.flatnonzero(again.generation == FIRST + hour))
                stretch = Stretch(replace(look.slices, renewals=present), BEGIN)
                found = Hours(stretch).strengthen(asked, nothing)
                log_es = np.array([each.suspicion for each in found])
                if hour:
                    log_es -= np.log(money_of(np.array([hour])))
                highest[run, hour] = np.maximum(highest[run, hour], log_es)
            if mode != "fixed" and hour % 2 and ladder and (mode == "bad") == bool(log_es.max() > 0):
                world.ramp(ladder.pop(0))
    for level in (2, 5, 10, 20):
        reached = (highest[:, 1:] >= log(level)).sum(axis=0)
        allowed = runs / level
        assert (reached <= allowed + 3 * (allowed * (1 - 1 / level)) ** 0.5).all(), level


# Power


@pytest.mark.parametrize(
    ("what", "hours"), [({"slower": 2.0}, 1), ({"failing": 0.15}, 1)], ids=["latency", "errors"]
)
def test_what_begins_late_is_found(what: dict[str, float], hours: int) -> None:
    """After three hours all of 2,000 users were counted; then a canary of 10 % changes, and goes within the hour."""
    of = plan()
    world = Returning(of, slow=0.3, pieces=4, seed=3)
    for _ in range(3):
        assert max(each.grounds.harm for each in world.hour()) < log(1 / of.false_rollback)
    for name, value in what.items():
        setattr(world, name, value)
    looks = [each for _ in range(hours) for each in world.hour()]
    assert max(each.grounds.harm for each in looks) > log(1 / of.false_rollback)
    last = looks[-1]
    decision = decide(of, world.state(), last.evidence, world.now_ns)
    assert decision.verdict is Verdict.ROLLBACK
    parts = {each.name: dict(each.parts) for each in last.evidence.guardrails}
    name = "latency" if "slower" in what else "errors"
    assert parts[name]["hours"] > parts[name]["first_times"]
    told = next(each for each in last.evidence.guardrails if each.name == name)
    assert told.is_of_one_hour
    assert 100 < told.canary_total < 250
    if name == "latency":
        assert told.canary_ns[0] > 1.6 * told.champion_ns[0]
    else:
        assert told.canary_events / told.canary_total > 0.1 > 3 * told.champion_events / told.champion_total
    assert "in one hour " in decision.sentence


def test_the_same_without_hours_is_not_found() -> None:
    """First times alone say nothing of it: this is what the hours are for."""
    of = plan()
    world = Returning(of, slow=0.3, pieces=4, seed=3)
    for _ in range(3):
        world.hour()
    world.slower = 2.0
    world.hour()
    alone = assemble(of, world.state(), replace(world.slices(), renewals=Renewals()), world.now_ns)
    assert alone.harm < log(1 / of.false_rollback)


# What else there is to know


def test_without_units_all_is_as_ever() -> None:
    """A route without units has no hours, and not a bit of its evidence is another."""
    world = World(plan())
    world.serve(5)
    stretch = Stretch(world.slices(), START)
    found = weigh(world.plan.guardrails, stretch)
    assert Hours(stretch).strengthen(world.plan.guardrails, found) == found


def test_first_times_have_less_money_beside_hours() -> None:
    """As soon as a unit is counted, the evidence of first times is worth its part."""
    found = GuardrailGrounds(ERRORS.name, ERRORS.metric, advisory=False, harm=3.0, suspicion=2.0)
    again = renewals([(0, 0.5, [1], [1])], [RENEWED_EVENTS])
    hours = Hours(Stretch(replace(no_slices(), renewals=again), BEGIN))
    (joined,) = hours.strengthen([ERRORS], [found])
    assert joined.harm == pytest.approx(3.0 + log(EVER))
    assert joined.suspicion == pytest.approx(2.0 + log(EVER))
    assert hours.log_ever == log(EVER)


def test_a_slow_threshold_and_copies() -> None:
    """What is slow is counted from the hour's durations; copies have no coin, and stay as they are."""
    slow = renewals([(1, 0.5, [40], [0])], [BUCKETS - 1])
    assert log_e(slow, "slow") > 5
    assert log_e(renewals([(1, 0.5, [40], [0])], [0]), "slow") < 0
    assert log_e(slow, "disagreement") == -inf


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_no_coin_no_bet(share: float) -> None:
    """An hour in which all is one variant's says nothing."""
    assert log_e(renewals([(1, share, [40], [40])], [RENEWED_EVENTS])) == -inf


def test_without_scores_nothing_of_latency() -> None:
    """An hour before which too little was known has no bets on latency."""
    found = renewals([(1, 0.5, [400], [400])], [BUCKETS - 1], references=False)
    assert log_e(found, "latency") == pytest.approx(log(float(money_of(np.array([1]))[0])) - log(2))


def test_hours_of_an_earlier_stretch_are_left_out() -> None:
    """After the promotion an hour counts whose epoch began then, and each later hour of any."""
    rows = [(1, 0.1, [1], [1]), (2, 0.1, [1], [1]), (2, 0.9, [1], [1]), (3, 0.1, [1], [1])]
    again = renewals(rows, [RENEWED_EVENTS])
    world = Returning(plan(), users=50)
    world.hour()
    beginning = (FIRST + 2) * HOUR + HOUR // 2
    slices = replace(world.slices(), epochs=("e0.1",) * 4, renewals=again)
    assert slices.since(beginning).renewals.epochs == ("e0.9", "e0.1")


def test_rows_in_disorder_are_refused() -> None:
    """What would be mixed up silently is no value."""
    rows = [(2, 0.5, [1], [1]), (1, 0.5, [1], [1])]
    with pytest.raises(ValueError, match="in their order"):
        renewals(rows, [RENEWED_EVENTS])
    with pytest.raises(ValueError, match="columns"):
        replace(renewals(rows[:1], [RENEWED_EVENTS]), canary=np.zeros((1, 3), np.int64))
    with pytest.raises(ValueError, match="shares"):
        replace(renewals(rows[:1], [RENEWED_EVENTS]), share=np.zeros(2))


@pytest.mark.parametrize("seed", range(5))
def test_a_snapshot_has_the_hours(seed: int) -> None:
    """Written down, read and decided again, the decision is the same byte for byte, and so is the snapshot."""
    of = plan()
    world = Returning(of, users=300, seed=seed, pieces=2, slower=3.0 if seed % 2 else 1.0)
    for _ in range(3):
        world.hour()
    state = world.state()
    if seed == 4:
        state = replace(state, phase=Phase.PROMOTED, promoted_ns=world.now_ns - HOUR)
    slices: Slices = world.slices()
    written = record.snapshot(of, state, slices, world.now_ns)
    decision = decide(of, state, assemble(of, state, slices, world.now_ns), world.now_ns)
    assert record.recompute(written) == record.decision_bytes(decision)
    assert record.snapshot(*record.read(written)) == written
    assert record.read(written)[2].renewals.period_ns == HOUR
