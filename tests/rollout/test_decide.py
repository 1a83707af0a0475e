"""The policy, case by case: one world, one verdict."""

from dataclasses import replace
from decimal import Decimal
from math import log
from typing import Any

import pytest

from proxy.rollout.assemble import Assembly
from proxy.rollout.decide import MIN_UNITS, SRM, decide, reached, rule, rule_on
from proxy.rollout.evidence import Evidence
from proxy.rollout.plan import Plan
from proxy.rollout.slices import no_slices
from proxy.rollout.state import Phase, RolloutState
from proxy.rollout.transitions import Action
from proxy.rollout.verdict import Decision, Reason, Verdict
from proxy.settings import Inconclusive
from tests.rollout.world import MINUTE, START, evidence, guardrail, plan, shown, state

NOW = START + 10 * MINUTE
DAY = 24 * 60 * MINUTE
PLAN = plan()
LAST = 3


def judged(found: Evidence, of: Plan = PLAN, now_ns: int = NOW, **stands: Any) -> Decision:
    return decide(of, state(of, **stands), found, now_ns)


def with_guardrail(found: Evidence, name: str, **changes: Any) -> Evidence:
    return replace(
        found,
        guardrails=tuple(replace(g, **changes) if g.name == name else g for g in found.guardrails),
    )


COPIES = plan(guardrails=(*plan().guardrails, guardrail("disagreement")))
ADVISED = plan(guardrails=(*plan().guardrails, guardrail("disagreement", advisory=True)))

EVENTS = plan(guardrails=(guardrail("errors"), guardrail("latency", advisory=True)))

CASES: dict[str, tuple[Evidence, Plan, dict[str, Any], Verdict, Reason]] = {
    "nothing known": (Evidence(), PLAN, {}, Verdict.HOLD, Reason.HOLD_TIME),
    "not long enough": (evidence(PLAN, held_ns=5 * MINUTE - 1), PLAN, {}, Verdict.HOLD, Reason.HOLD_TIME),
    "long enough": (evidence(PLAN), PLAN, {}, Verdict.RAMP, Reason.SHOWN),
    "too few units": (evidence(PLAN, canary_units=49), PLAN, {}, Verdict.HOLD, Reason.NO_TRAFFIC),
    "just enough units": (evidence(PLAN, canary_units=50), PLAN, {}, Verdict.RAMP, Reason.SHOWN),
    "no latency to compare with": (
        evidence(PLAN, is_latency_seen=False), PLAN, {}, Verdict.HOLD, Reason.NO_REFERENCE,
    ),
    "no latency to compare with, on the last step": (
        shown(PLAN, is_latency_seen=False), PLAN, {"step": LAST}, Verdict.HOLD, Reason.NO_REFERENCE,
    ),
    "no latency, and nobody asks for it": (
        evidence(EVENTS, is_latency_seen=False), EVENTS, {}, Verdict.RAMP, Reason.SHOWN,
    ),
    "nothing known of the cost": (evidence(PLAN, excess_share=1.0), PLAN, {}, Verdict.HOLD, Reason.BUDGET),
    # 100/s at 5 % for 300 s is 1500 requests; 6.6 % of them are 99, 6.7 % are 100.5.
    "within the budget": (evidence(PLAN, excess_share=0.066), PLAN, {}, Verdict.RAMP, Reason.SHOWN),
    "over the budget": (evidence(PLAN, excess_share=0.067), PLAN, {}, Verdict.HOLD, Reason.BUDGET),
    "budget spent before": (
        evidence(PLAN, excess_share=0.066, excess_errors=2.0), PLAN, {}, Verdict.HOLD, Reason.BUDGET,
    ),
    "no budget": (
        evidence(plan(excess_errors=None)), plan(excess_errors=None), {}, Verdict.RAMP, Reason.SHOWN,
    ),
    "harm": (evidence(PLAN, harm=log(101)), PLAN, {}, Verdict.ROLLBACK, Reason.HARM),
    "harm on a tie": (evidence(PLAN, harm=log(100) + 0.9e-9), PLAN, {}, Verdict.RAMP, Reason.SHOWN),
    "harm just past a tie": (evidence(PLAN, harm=log(100) + 1.1e-9), PLAN, {}, Verdict.ROLLBACK, Reason.HARM),
    "harm before its first minute": (Evidence(harm=9.0), PLAN, {}, Verdict.ROLLBACK, Reason.HARM),
    "slow with a broken coin": (
        evidence(PLAN, harm=9.0, allocation=50.0), PLAN, {}, Verdict.INVALID, Reason.SRM,
    ),
    "slow, and nobody there": (
        evidence(PLAN, harm=9.0, problems=("no_canary_traffic",)), PLAN, {}, Verdict.INVALID,
        Reason.NO_CANARY_TRAFFIC,
    ),
    "harm with a broken coin": (
        evidence(PLAN, harm=9.0, harm_of_events=8.0, allocation=50.0), PLAN, {}, Verdict.ROLLBACK, Reason.HARM,
    ),
    "feedback for one variant": (
        shown(PLAN, problems=("feedback_srm",)), PLAN, {"step": LAST}, Verdict.INVALID, Reason.FEEDBACK_SRM,
    ),
    "harm with a jumping clock": (
        evidence(PLAN, harm=9.0, problems=("clock",)), PLAN, {}, Verdict.ROLLBACK, Reason.HARM,
    ),
    "harm of counts that fell": (
        evidence(PLAN, harm=9.0, problems=("counts_backwards",)), PLAN, {}, Verdict.ROLLBACK, Reason.HARM,
    ),
    "a broken coin": (evidence(PLAN, allocation=SRM + 0.1), PLAN, {}, Verdict.INVALID, Reason.SRM),
    "a coin on the edge": (evidence(PLAN, allocation=SRM), PLAN, {}, Verdict.RAMP, Reason.SHOWN),
    "suspicion": (evidence(PLAN, suspicion=log(20.1)), PLAN, {}, Verdict.HOLD, Reason.SUSPICION),
    "suspicion before promotion": (
        shown(PLAN, suspicion=log(10.1)), PLAN, {"step": LAST}, Verdict.HOLD, Reason.SUSPICION,
    ),
    "little suspicion": (shown(PLAN, suspicion=log(9.9)), PLAN, {"step": LAST}, Verdict.PROMOTE, Reason.SHOWN),
    "disagreement": (
        with_guardrail(evidence(COPIES), "disagreement", suspicion=3.1), COPIES, {}, Verdict.HOLD,
        Reason.DISAGREEMENT,
    ),
    "disagreement as advice": (
        with_guardrail(evidence(ADVISED), "disagreement", suspicion=99.0), ADVISED, {}, Verdict.RAMP, Reason.SHOWN,
    ),
    "all shown, on the way": (shown(PLAN), PLAN, {"step": 2}, Verdict.RAMP, Reason.SHOWN),
    "all shown, at the end": (shown(PLAN), PLAN, {"step": LAST}, Verdict.PROMOTE, Reason.SHOWN),
    "promotion before its time": (
        shown(PLAN, held_ns=MINUTE), PLAN, {"step": LAST}, Verdict.HOLD, Reason.HOLD_TIME,
    ),
    "promotion of a handful": (
        shown(PLAN, canary_units=49), PLAN, {"step": LAST}, Verdict.HOLD, Reason.NO_TRAFFIC,
    ),
    "latency not shown": (
        with_guardrail(shown(PLAN), "latency", noninferiority=log(20)), PLAN, {"step": LAST}, Verdict.HOLD,
        Reason.NOT_SHOWN,
    ),
    "advice not shown": (
        with_guardrail(shown(ADVISED), "disagreement", noninferiority=0.0), ADVISED, {"step": LAST},
        Verdict.PROMOTE, Reason.SHOWN,
    ),
    "disagreement not shown": (
        with_guardrail(shown(COPIES), "disagreement", noninferiority=0.0), COPIES, {"step": LAST}, Verdict.HOLD,
        Reason.NOT_SHOWN,
    ),
    "evidence without guardrails": (
        replace(evidence(PLAN), guardrails=()), PLAN, {"step": LAST}, Verdict.HOLD, Reason.NOT_SHOWN,
    ),
    "paused": (evidence(PLAN), PLAN, {"paused_by": "anna"}, Verdict.HOLD, Reason.PAUSED),
    "paused, harm": (evidence(PLAN, harm=9.0), PLAN, {"paused_by": "anna"}, Verdict.HOLD, Reason.PAUSED),
    "rolled back": (
        evidence(PLAN, harm=9.0), PLAN, {"phase": Phase.ROLLED_BACK}, Verdict.HOLD, Reason.ROLLED_BACK,
    ),
    "aborted": (
        evidence(PLAN), PLAN, {"phase": Phase.ROLLED_BACK, "by": "anna"}, Verdict.HOLD, Reason.BY_PERSON,
    ),
    "promoted by a person, harm": (
        evidence(PLAN, harm=9.0), plan(holdback=Decimal(2)), {"phase": Phase.PROMOTED, "by": "anna"}, Verdict.HOLD,
        Reason.BY_PERSON,
    ),
    "promoted": (evidence(PLAN, harm=9.0), PLAN, {"phase": Phase.PROMOTED}, Verdict.HOLD, Reason.DONE),
    "promoted with a holdback": (
        evidence(PLAN), plan(holdback=Decimal(2)), {"phase": Phase.PROMOTED}, Verdict.HOLD, Reason.GUARDED,
    ),
    "promoted with a holdback, harm": (
        evidence(PLAN, harm=9.0), plan(holdback=Decimal(2)), {"phase": Phase.PROMOTED}, Verdict.ROLLBACK,
        Reason.HARM,
    ),
    "in the time to switch back": (
        evidence(PLAN, harm=9.0), plan(switch_back_ns=MINUTE),
        {"phase": Phase.PROMOTED, "promoted_ns": NOW - MINUTE + 1}, Verdict.ROLLBACK, Reason.HARM,
    ),
    "after the time to switch back": (
        evidence(PLAN, harm=9.0), plan(switch_back_ns=MINUTE),
        {"phase": Phase.PROMOTED, "promoted_ns": NOW - MINUTE}, Verdict.HOLD, Reason.DONE,
    ),
    "inconclusive": (shown(PLAN), PLAN, {"phase": Phase.INCONCLUSIVE}, Verdict.HOLD, Reason.INCONCLUSIVE),
    "inconclusive, harm": (
        shown(PLAN, harm=9.0), PLAN, {"phase": Phase.INCONCLUSIVE}, Verdict.ROLLBACK, Reason.HARM,
    ),
    "inconclusive, suspicion": (
        shown(PLAN, suspicion=9.0), PLAN, {"phase": Phase.INCONCLUSIVE}, Verdict.HOLD, Reason.SUSPICION,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_verdicts(name: str) -> None:
    """Each world has one verdict and one reason."""
    found, of, stands, verdict, reason = CASES[name]
    decision = judged(found, of, **stands)
    assert (verdict, reason) == (decision.verdict, decision.reason)
    actions = {Verdict.RAMP: Action.RAMP, Verdict.PROMOTE: Action.PROMOTE, Verdict.ROLLBACK: Action.ROLLBACK}
    assert decision.action is actions.get(verdict)
    assert decision.sentence
    assert "v3" in decision.sentence or "no verdict" in decision.sentence


@pytest.mark.parametrize("over", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_the_budget_is_looked_at_only_where_it_holds(name: str, over: bool) -> None:
    """To know nothing of the excess changes no ruling, for then it is looked at."""
    found, of, stands, *_ = CASES[name]
    wishes = Inconclusive if over else [of.on_inconclusive]
    for wish in wishes:
        plan_ = replace(of, on_inconclusive=wish, max_duration_ns=MINUTE if over else of.max_duration_ns)
        assembly = Assembly(plan_, state(plan_, **stands), no_slices(), NOW)
        vars(assembly).update(grounds=replace(found, excess_share=1.0), excess_share=found.excess_share)
        assert rule_on(assembly) == rule(plan_, assembly.state, found, NOW)


PROBLEMS = ("counts_backwards", "no_canary_traffic", "stray_units", "stale", "clock", "feedback_srm")


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("step", range(4))
def test_a_problem_with_the_counts_is_never_a_promotion(problem: str, step: int) -> None:
    """Whatever else is shown, the verdict is INVALID with the problem's name, and nothing moves."""
    decision = judged(shown(PLAN, problems=(problem,)), step=step)
    assert (decision.verdict, decision.reason, decision.action) == (Verdict.INVALID, problem, None)
    assert decision.weight == decision.weight_now


def test_a_clock_before_the_step_is_a_problem() -> None:
    """Time that runs backwards holds nothing and promotes nothing."""
    decision = judged(shown(PLAN), step=LAST, since_ns=NOW + 1)
    assert (decision.verdict, decision.reason) == (Verdict.INVALID, Reason.CLOCK)


@pytest.mark.parametrize("problem", ["clock", "stale", "counts_backwards"])
@pytest.mark.parametrize("wish", Inconclusive)
def test_a_clock_that_leaps_ends_no_rollout(problem: str, wish: Inconclusive) -> None:
    """The end of max_duration is not believed while time itself is in doubt."""
    of = plan(on_inconclusive=wish)
    decision = judged(shown(of, problems=(problem,)), of, START + 2 * DAY)
    assert (decision.verdict, decision.action) == (Verdict.INVALID, None)


OVER: dict[str, tuple[Inconclusive, Evidence, Verdict, Action | None, Reason]] = {
    "hold": (Inconclusive.HOLD, evidence(PLAN), Verdict.HOLD, Action.CONCLUDE, Reason.INCONCLUSIVE),
    "rollback": (
        Inconclusive.ROLLBACK, evidence(PLAN), Verdict.ROLLBACK, Action.ROLLBACK, Reason.INCONCLUSIVE,
    ),
    "promote": (Inconclusive.PROMOTE, evidence(PLAN), Verdict.PROMOTE, Action.PROMOTE, Reason.INCONCLUSIVE),
    "promote, nothing served": (
        Inconclusive.PROMOTE, evidence(PLAN, canary_units=49), Verdict.HOLD, Action.CONCLUDE, Reason.INCONCLUSIVE,
    ),
    "promote, suspicion": (
        Inconclusive.PROMOTE, evidence(PLAN, suspicion=4.0), Verdict.HOLD, Action.CONCLUDE, Reason.INCONCLUSIVE,
    ),
    "promote, broken coin": (
        Inconclusive.PROMOTE, evidence(PLAN, allocation=9.0), Verdict.INVALID, Action.CONCLUDE, Reason.SRM,
    ),
    "rollback, broken coin": (
        Inconclusive.ROLLBACK, evidence(PLAN, allocation=9.0), Verdict.ROLLBACK, Action.ROLLBACK,
        Reason.INCONCLUSIVE,
    ),
    "harm": (Inconclusive.PROMOTE, evidence(PLAN, harm=9.0), Verdict.ROLLBACK, Action.ROLLBACK, Reason.HARM),
}  # fmt: skip


@pytest.mark.parametrize("name", OVER)
@pytest.mark.parametrize("step", [0, LAST])
def test_the_end_of_max_duration(name: str, step: int) -> None:
    """The plan's wish is done, but a promotion only where nothing speaks against the canary."""
    wish, found, verdict, action, reason = OVER[name]
    of = plan(on_inconclusive=wish)
    decision = judged(found, of, START + DAY, step=step)
    assert (verdict, action, reason) == (decision.verdict, decision.action, decision.reason)
    assert judged(found, of, START + DAY - 1, step=step).reason is not Reason.INCONCLUSIVE


def test_what_is_shown_in_the_last_moment_is_promoted() -> None:
    """A verdict that is reached counts more than the time that is over."""
    of = plan(on_inconclusive=Inconclusive.ROLLBACK)
    assert judged(shown(of), of, START + DAY, step=LAST).verdict is Verdict.PROMOTE


def test_an_ended_rollout_follows_an_edited_wish() -> None:
    """on_inconclusive may be edited when the time is over already."""
    of = plan(on_inconclusive=Inconclusive.ROLLBACK)
    ended = judged(evidence(of), of, START + DAY, phase=Phase.INCONCLUSIVE)
    assert ended.verdict is Verdict.ROLLBACK


BLUE_GREEN = plan(
    steps=(Decimal(100),), bake_ns=MINUTE, guardrails=(guardrail("errors"), guardrail("disagreement"))
)


@pytest.mark.parametrize(
    ("of", "changes", "verdict", "reason"),
    [
        (plan(bake_ns=MINUTE), {"held_ns": MINUTE - 1}, Verdict.HOLD, Reason.BAKE_TIME),
        (plan(bake_ns=MINUTE), {"held_ns": MINUTE}, Verdict.RAMP, Reason.SHOWN),
        (plan(bake_ns=MINUTE), {"shadow_failed": 3.1}, Verdict.HOLD, Reason.SHADOW_ERRORS),
        (BLUE_GREEN, {"shadow_sound": 3.1, "held_ns": 4 * MINUTE}, Verdict.HOLD, Reason.BAKE_TIME),
        (BLUE_GREEN, {"shadow_sound": 2.9}, Verdict.HOLD, Reason.NOT_SHOWN),
        (BLUE_GREEN, {"shadow_sound": 3.1}, Verdict.PROMOTE, Reason.SHOWN),
        (BLUE_GREEN, {"shadow_sound": 3.1, "shadow_failed": 3.1}, Verdict.HOLD, Reason.SHADOW_ERRORS),
        (
            plan(steps=(Decimal(100),), guardrails=(guardrail("latency"),)),
            {"shadow_sound": 3.1},
            Verdict.HOLD,
            Reason.NOT_SHOWN,
        ),
    ],
)
def test_a_bake_is_judged_by_copies(
    of: Plan, changes: dict[str, Any], verdict: Verdict, reason: Reason
) -> None:
    """A bake before steps needs time; a switch of everything needs copies that were answered, and agreed."""
    decision = judged(shown(of, **changes), of)
    assert (verdict, reason) == (decision.verdict, decision.reason)


def test_disagreement_must_be_shown_before_a_switch_of_everything() -> None:
    """Copies that were answered without errors are not enough where a guardrail asks whether they agree."""
    found = with_guardrail(shown(BLUE_GREEN, shadow_sound=9.0), "disagreement", noninferiority=0.0)
    decision = judged(found, BLUE_GREEN)
    assert decision.reason is Reason.NOT_SHOWN
    assert "disagreement" in decision.sentence


@pytest.mark.parametrize("stands", [{"paused_by": "anna"}, {"phase": Phase.PROMOTED, "by": "anna"}])
def test_what_a_person_stopped_is_still_judged(stands: dict[str, Any]) -> None:
    """The verdict is HOLD; what it would have been is said beside it."""
    of = plan(holdback=Decimal(2))
    decision = judged(evidence(of, harm=9.0), of, **stands)
    assert (decision.verdict, decision.action) == (Verdict.HOLD, None)
    assert (decision.would, decision.would_reason) == (Verdict.ROLLBACK, Reason.HARM)


def test_a_dry_run_says_what_it_would_do() -> None:
    """Verdict and action are as if it were real; the decision says that it is not."""
    of = plan(dry_run=True)
    decision = judged(evidence(of), of)
    assert (decision.verdict, decision.action, decision.dry_run) == (Verdict.RAMP, Action.RAMP, True)
    assert "dry run" in decision.sentence


def test_a_decision_says_where_it_leads() -> None:
    """Weights and step before and after, and the sequence it is for."""
    decision = judged(evidence(PLAN), step=1, sequence=9)
    assert (int(decision.weight_now), int(decision.weight), decision.step, decision.sequence) == (5, 25, 2, 9)
    rolled_back = judged(evidence(PLAN, harm=9.0), step=1)
    assert (int(rolled_back.weight_now), int(rolled_back.weight), rolled_back.phase) == (
        5,
        0,
        Phase.ROLLED_BACK,
    )
    assert judged(shown(PLAN), step=LAST).weight == 100


def test_whom_a_rollback_blames() -> None:
    """Those that fail on their own; where none does, the one with the most evidence."""
    alone = judged(evidence(PLAN, harm=9.0, blamed=("latency",)))
    assert alone.blamed == ("latency",)
    found = with_guardrail(
        evidence(PLAN, harm=9.0), "client_errors", harm=4.0, canary_total=10, canary_events=7
    )
    together = judged(found)
    assert together.blamed == ()
    assert "mistake" in together.sentence


def test_a_tie_is_not_reached() -> None:
    """Within the guard band nothing is decided."""
    assert not reached(3.0, 3.0)
    assert not reached(3.0 + 1e-9, 3.0)
    assert reached(3.0 + 2e-9, 3.0)


def test_every_reason_has_a_case() -> None:
    """No word of the policy is untested here."""
    by_problem = {
        Reason.COUNTS_BACKWARDS,
        Reason.NO_CANARY_TRAFFIC,
        Reason.STRAY_UNITS,
        Reason.STALE,
        Reason.CLOCK,
    }
    baked = {Reason.BAKE_TIME, Reason.SHADOW_ERRORS}
    assert {case[4] for case in CASES.values()} | by_problem | baked == set(Reason)
    assert MIN_UNITS == 50


def test_states_are_not_changed() -> None:
    """Deciding is pure: the same question has the same answer."""
    before: RolloutState = state(PLAN)
    assert decide(PLAN, before, evidence(PLAN), NOW) == decide(PLAN, before, evidence(PLAN), NOW)
    assert before == state(PLAN)
