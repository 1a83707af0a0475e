"""Feedback as evidence: bets on who was called bad, and nothing where feedback prefers a variant."""

from dataclasses import replace
from decimal import Decimal
from itertools import product
from math import exp, log, prod

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.rollout import record
from proxy.rollout.assemble import assemble
from proxy.rollout.decide import decide
from proxy.rollout.evidence import Evidence
from proxy.rollout.feedback import Arms, Row, borders_ns, feedback_slices, is_skewed, segment_of, skew
from proxy.rollout.plan import Plan
from proxy.rollout.slices import (
    ERRORS,
    FIRST_EVENTS,
    REQUEST_ERRORS,
    REQUESTS,
    UNITS,
    Slices,
    no_slices,
    starts_ns,
)
from proxy.rollout.state import Phase
from proxy.rollout.verdict import Decision, Reason, Verdict
from proxy.settings import Metric
from tests.rollout.world import MINUTE, START, World, guardrail, plan, state

V1, V3 = 0, 1
EPOCHS = {
    "a": Arms(("v1", "v3"), (0.9, 0.1), 0.1),
    "b": Arms(("v1", "v3"), (0.5, 0.5), 0.5),
    "after": Arms(("v1", "v3"), (0.0, 1.0), 1.0),
}
FEEDBACK = guardrail("feedback")
PLAN = plan(guardrails=(FEEDBACK,), steps=(Decimal(50),), excess_errors=None)
BORDERS = borders_ns(START, 0)


def row(epoch: str, variant: int, good: int, bad: int, segment: int = 0) -> Row:
    """Return what was said about units with one request each."""
    return Row(epoch, BORDERS[segment], variant, good + bad, bad, good + bad, bad, bad)


def said(*rows: Row, borders: tuple[int, ...] = BORDERS) -> Slices:
    return feedback_slices(rows, EPOCHS, "v3", "v1", borders)


def found(of: Plan, *rows: Row) -> Evidence:
    """Return what comes of feedback alone, on the last step, with a thousand units each served."""
    world = World(of, rate=1000)
    world.state = state(of, step=0)
    world.serve(2)
    return assemble(of, world.state, replace(world.slices(), feedback=said(*rows)), world.now_ns)


def judged(of: Plan, *rows: Row) -> Decision:
    evidence = replace(found(of, *rows), held_ns=of.hold_ns, canary_units=1000, champion_units=1000)
    return decide(of, state(of, step=0), evidence, START + 30 * MINUTE)


# Slices


def test_columns() -> None:
    """Each number is where the bets look for it, for the variant that it is about."""
    slices = said(Row("a", BORDERS[0], V3, 9, 5, 4, 3, 2), Row("a", BORDERS[0], V1, 1, 0, 1, 0, 0))
    assert slices.epochs == ("a",)
    columns = [REQUESTS, REQUEST_ERRORS, UNITS, FIRST_EVENTS, ERRORS]
    assert slices.canary[0, columns].tolist() == [9, 5, 4, 3, 2]
    assert slices.champion[0, columns].tolist() == [1, 0, 1, 0, 0]
    assert slices.canary.sum() == 23
    assert slices.share.tolist() == [0.1]


def test_late_feedback_stays_with_its_epoch() -> None:
    """What arrives on the next step about a request of the step before has that one's share, and its own time."""
    slices = said(row("b", V3, 1, 0, segment=2), row("a", V3, 1, 1, segment=2), row("a", V1, 3, 0))
    assert slices.epochs == ("a", "a", "b")
    assert slices.start_ns.tolist() == [BORDERS[0], BORDERS[2], BORDERS[2]]
    assert slices.share.tolist() == [0.1, 0.1, 0.5]
    assert (slices.start_ns + slices.span_ns).tolist() == [BORDERS[1], BORDERS[3], BORDERS[3]]


def test_other_epochs_and_variants_are_left_out() -> None:
    """Of an epoch that nobody knows, or a variant that is neither, nothing is compared."""
    three = {"a": Arms(("v1", "v3", "v2"), (0.5, 0.3, 0.2), 0.375)}
    rows = (row("a", 2, 5, 5), row("zzz", V3, 9, 9), row("a", 7, 1, 1))
    slices = feedback_slices(rows, three, "v3", "v1", BORDERS)
    assert not slices.canary.any()
    assert not slices.champion.any()
    assert slices.allocations[0].units == (0, 0, 10)


def test_segments() -> None:
    """A segment begins at a moment that evidence is counted from; what seems to be earlier is in the first."""
    assert segment_of(START, 0, START - 5) == START
    assert segment_of(START, 0, START + 1) == START
    later = starts_ns(START)[3]
    assert segment_of(START, 0, later) == later
    promoted = later + 17
    assert segment_of(START, promoted, promoted) == promoted
    assert segment_of(START, 0, promoted) == later


@given(st.integers(0, 10**15), st.integers(0, 10**15), st.integers(0, 10**15))
def test_a_segment_lies_between_neighbouring_borders(started: int, after: int, elapsed: int) -> None:
    """Law: every moment from the beginning on is in exactly one segment, whatever was promoted when."""
    promoted, now = started + after, started + elapsed
    borders = borders_ns(started, promoted)
    begun = segment_of(started, promoted, now)
    following = [border for border in borders if border > begun]
    assert begun in borders
    assert begun <= now < min(following, default=now + 1)


def test_a_promotion_parts_what_arrived_before() -> None:
    """The stretch after a promotion has what arrived since, also about requests of before."""
    of = plan(guardrails=(FEEDBACK,), holdback=Decimal(2))
    promoted = BORDERS[5] + MINUTE
    borders = borders_ns(START, promoted)
    rows = (
        Row("a", BORDERS[5], V3, 5, 5, 5, 5, 5),
        Row("a", promoted, V3, 2, 2, 2, 2, 2),
        Row("b", promoted, V1, 3, 0, 3, 0, 0),
    )
    at = state(of, phase=Phase.PROMOTED, promoted_ns=promoted)
    world = World(of)
    world.state = state(of, step=0)
    world.serve()
    world.state, world.now_ns = at, promoted
    world.serve()
    slices = replace(world.slices(), feedback=said(*rows, borders=borders))
    evidence = assemble(of, at, slices, world.now_ns)
    shown = next(each for each in evidence.guardrails if each.metric is Metric.FEEDBACK)
    assert (shown.canary_total, shown.champion_total) == (2, 3)


def test_everything_switched_at_once() -> None:
    """Without a coin after the promotion the canary's answers are compared with what was said of the champion's."""
    of = plan(guardrails=(FEEDBACK,), switch_back_ns=60 * MINUTE)
    promoted = BORDERS[5] + MINUTE
    borders = borders_ns(START, promoted)
    before = Row("a", BORDERS[5], V1, 1000, 100, 1000, 100, 100)
    early = Row("a", BORDERS[5], V3, 500, 0, 500, 0, 0)
    at = state(of, phase=Phase.PROMOTED, promoted_ns=promoted)
    for bad, is_harm in ((110, False), (400, True)):
        after = Row("after", promoted, V3, 1000, bad, 1000, bad, bad)
        slices = replace(no_slices(), feedback=said(before, early, after, borders=borders))
        evidence = assemble(of, at, slices, promoted + MINUTE)
        (shown,) = evidence.guardrails
        assert (shown.metric, shown.canary_events, shown.champion_events) == (Metric.FEEDBACK, bad, 100)
        assert (shown.canary_total, shown.champion_total) == (1000, 1000)
        assert (evidence.harm > log(100)) is is_harm


# Bets


def test_without_feedback_nothing_is_shown() -> None:
    """No feedback is no evidence, in either direction: it holds, and says so."""
    evidence = found(PLAN)
    (shown,) = evidence.guardrails
    assert (shown.harm, shown.suspicion, shown.noninferiority) == (0.0, 0.0, 0.0)
    decision = judged(PLAN)
    assert (decision.verdict, decision.reason) == (Verdict.HOLD, Reason.NOT_SHOWN)
    assert "nobody has said yet" in decision.sentence
    assert decision.needs[0].name == "feedback"
    nothing = assemble(PLAN, state(PLAN), no_slices(), START)
    assert nothing.guardrails[0].noninferiority == 0.0


def test_twice_as_many_bad_answers_roll_back() -> None:
    """Forty bad answers in a hundred, where the champion has twenty, are harm once there are enough of them."""
    assert judged(PLAN, row("b", V3, 60, 40), row("b", V1, 80, 20)).verdict is not Verdict.ROLLBACK
    decision = judged(PLAN, row("b", V3, 300, 200), row("b", V1, 400, 100))
    assert (decision.verdict, decision.reason, decision.blamed) == (
        Verdict.ROLLBACK,
        Reason.HARM,
        ("feedback",),
    )


def test_as_few_bad_answers_promote() -> None:
    """A canary that is called bad as seldom is promoted, once that is shown."""
    decision = judged(PLAN, row("b", V3, 4000, 1000), row("b", V1, 4000, 1000))
    assert (decision.verdict, decision.reason) == (Verdict.PROMOTE, Reason.SHOWN)


@pytest.mark.parametrize("variant", [V1, V3])
@pytest.mark.parametrize("bad", [0, 400])
def test_feedback_that_prefers_a_variant_says_nothing(variant: int, bad: int) -> None:
    """Where it comes for one variant alone there is no verdict, whatever it says: neither harm nor promotion."""
    evidence = found(PLAN, row("b", variant, 400 - bad, bad))
    (shown,) = evidence.guardrails
    assert (shown.harm, shown.suspicion, shown.noninferiority) == (0.0, 0.0, 0.0)
    assert evidence.problems == ("feedback_srm",)
    decision = judged(PLAN, row("b", variant, 400 - bad, bad))
    assert (decision.verdict, decision.reason) == (Verdict.INVALID, Reason.FEEDBACK_SRM)


def test_other_harm_is_heard_all_the_same() -> None:
    """A canary that fails requests goes, whoever judges its answers."""
    of = plan(guardrails=(guardrail("errors"), FEEDBACK), steps=(Decimal(50),))
    evidence = replace(found(of, row("b", V3, 400, 0)), harm=log(200), blamed=("errors",))
    assert decide(of, state(of, step=0), evidence, START + MINUTE).verdict is Verdict.ROLLBACK


def test_advice_invalidates_nothing() -> None:
    """An advisory guardrail is silent where feedback prefers a variant, and the rest goes on."""
    of = plan(guardrails=(guardrail("errors"), replace(FEEDBACK, advisory=True)))
    assert found(of, row("b", V3, 400, 0)).problems == ()


def test_the_division_is_judged_epoch_by_epoch() -> None:
    """A tenth of feedback on a tenth of the units, then half of it on half: as the shares say, though not in sum."""
    fair = said(row("a", V3, 100, 0), row("a", V1, 900, 0), row("b", V3, 500, 0, 1), row("b", V1, 500, 0, 1))
    assert skew(fair) < 0
    assert not is_skewed(skew(fair))
    unfair = said(row("a", V3, 500, 0), row("a", V1, 500, 0))
    assert is_skewed(skew(unfair))
    assert skew(said(row("after", V3, 500, 100))) == 0.0


def test_only_bad_answers_show_no_tolerance() -> None:
    """Where only bad answers are reported a difference of shares is nothing: it does not promote."""
    of = plan(guardrails=(replace(FEEDBACK, tolerance=0.05),), steps=(Decimal(50),), excess_errors=None)
    rows = (row("b", V3, 0, 1030), row("b", V1, 0, 970))
    assert found(of, *rows).guardrails[0].noninferiority == found(PLAN, *rows).guardrails[0].noninferiority
    rows = (row("b", V3, 5000, 20), row("b", V1, 5000, 20))
    assert found(of, *rows).guardrails[0].noninferiority > found(PLAN, *rows).guardrails[0].noninferiority


def test_nobody_wins_by_chance() -> None:
    """Law of the bet: over all that three judged units can be and do, the mean of the e-value is 1 at most where the
    canary is called bad more often by just the margin, and far more where it is called bad always.
    """

    def mean(bad: tuple[float, float]) -> float:
        total = 0.0
        # Champion good, champion bad, canary good, canary bad.
        kinds = {
            (arm, is_bad): 0.5 * (p if is_bad else 1 - p) for arm, p in enumerate(bad) for is_bad in (0, 1)
        }
        for units in product(kinds, repeat=3):
            counts = [[units.count((arm, is_bad)) for is_bad in (0, 1)] for arm in (V1, V3)]
            evidence = found(PLAN, row("b", V3, *counts[V3]), row("b", V1, *counts[V1]))
            total += exp(evidence.guardrails[0].harm) * prod(kinds[each] for each in units)
        return total

    assert 0.3 < mean((0.4, 0.4 * 1.1)) <= 1 + 1e-9
    assert mean((0.01, 0.99)) > 1.2


@pytest.mark.long
def test_false_rollbacks() -> None:
    """Of canaries that are called bad as often, at most a few in a hundred are ever rolled back, however often one
    looks and however thin the feedback is.
    """
    generator, rolled = np.random.default_rng(7), 0
    for _ in range(60):
        counts = np.zeros((2, 2), np.int64)
        for _ in range(25):
            given_ = generator.binomial(40, 0.3)
            canary = generator.binomial(given_, 0.5)
            bad = generator.binomial([canary, given_ - canary], 0.2)
            counts += np.stack([[canary, given_ - canary] - bad, bad])
            (good3, good1), (bad3, bad1) = counts.tolist()
            evidence = found(PLAN, row("b", V3, good3, bad3), row("b", V1, good1, bad1))
            if evidence.harm > log(100):
                rolled += 1
                break
    assert rolled <= 2


# Written down


def test_a_decision_on_feedback_is_made_again_with_the_same_bytes() -> None:
    """The snapshot has what was said; without it there is no such key."""
    world = World(PLAN)
    world.state = state(PLAN, step=0)
    world.serve(3)
    rows = (row("b", V3, 300, 200), row("b", V1, 400, 100), row("a", V1, 5, 1, segment=3))
    slices = replace(world.slices(), feedback=said(*rows))
    now = START + 30 * MINUTE
    data = record.snapshot(PLAN, world.state, slices, now)
    decision = decide(PLAN, world.state, assemble(PLAN, world.state, slices, now), now)
    assert record.recompute(data) == record.decision_bytes(decision)
    again = record.read(data)[2]
    assert again.feedback is not None
    assert record.snapshot(PLAN, world.state, again, now) == data
    assert "feedback" in orjson.loads(data)["slices"]
    assert "feedback" not in orjson.loads(record.snapshot(PLAN, world.state, world.slices(), now))["slices"]
