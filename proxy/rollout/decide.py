"""From evidence to a verdict: the whole policy, as rules that are tried in order. The first that speaks decides.

Worked examples (default plan: steps 1 5 25 50 100, hold 5m, false_rollback 1 %, false_promotion 5 %):

=================================================  ==========  ==================
moment                                             verdict     reason
=================================================  ==========  ==================
rolled back, or settled by a person                HOLD        rolled_back, by_person
E(harm) = 101, whatever else is wrong              ROLLBACK    harm
the same of latency alone, and a broken coin       INVALID     srm
a counter went backwards in the last 5 minutes     INVALID     counts_backwards
the coin falls otherwise than the shares say       INVALID     srm
the champion has traffic, the canary has none      INVALID     no_canary_traffic
feedback comes for the canary twice as often       INVALID     feedback_srm
nobody read the counts for a minute                INVALID     stale
the clock stands before the step's beginning       INVALID     clock
E(worse at all) = 25, E(harm) = 3                  HOLD        suspicion
copies: E(disagreement beyond the tolerance) = 21  HOLD        disagreement
4 minutes on the step                              HOLD        hold_time
5 minutes, 49 units                                HOLD        no_traffic
5 minutes, no latency to compare with yet          HOLD        no_reference
5 minutes, the next step could cost 300 errors     HOLD        budget
5 minutes, the next step is safe enough            RAMP        shown
on 50 %, latency not yet shown                     HOLD        not_shown
on 50 %, every critical guardrail shown            PROMOTE     shown
24 hours gone, nothing shown                       HOLD        inconclusive
=================================================  ==========  ==================

Two choices that are not obvious:

* Harm is heard before everything else. A canary that hangs has few completions yet, so
  the coin seems to fall wrongly (SRM) just while clients suffer. Falsely going back to the champion costs a rollout;
  staying costs clients. But while the coin falls wrongly only failures are held against the canary: bets on latency
  also look at who is missing, and take a canary that nobody counts for a slow one.
* The promotion has no exposure rule of its own: it asks for more, that each critical guardrail is shown.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import log

from proxy.model import Inconclusive, Metric
from proxy.rollout import sentences
from proxy.rollout.assemble import Assembly
from proxy.rollout.evidence import Evidence, Grounds, GuardrailGrounds
from proxy.rollout.needs import needs_of, next_cost
from proxy.rollout.plan import Plan
from proxy.rollout.state import ENGINE, Phase, RolloutState, weight
from proxy.rollout.transitions import Action, apply
from proxy.rollout.verdict import Decision, Reason, Verdict

__all__ = ["MIN_UNITS", "SRM", "SUSPICION", "Ruling", "decide", "missing", "reached", "rule", "rule_on"]

MIN_UNITS = 50
"""Canary units without which nothing is raised, whatever the evidence says."""

SRM = log(1000)
"""log e from which on the coin is taken to be broken."""

SUSPICION = log(20)
"""log e of "worse at all" from which on nothing is raised."""

CALM = log(10)
"""log e of "worse at all" above which nothing is promoted."""

_GUARD_BAND = 1e-9
"""A log e that is not above its threshold by this much has not reached it: machines differ in the last bits."""

_UNSOUND = ("counts_backwards", "srm", "no_canary_traffic", "stray_units", "stale", "clock", "feedback_srm")
_OF_TIME = (Reason.CLOCK, Reason.STALE, Reason.COUNTS_BACKWARDS)
_STEPS_ASIDE = (Reason.NOT_SHOWN, Reason.BUDGET, Reason.HOLD_TIME, Reason.SHOWN)
"""What ``on_inconclusive: promote`` overrides; nothing that speaks against the canary."""


@dataclass(frozen=True, slots=True)
class _Judgement:
    verdict: Verdict
    reason: Reason
    action: Action | None = None
    about: tuple[str, ...] = ()
    """Guardrails that it is about."""


@dataclass(frozen=True, slots=True)
class _Moment:
    plan: Plan
    state: RolloutState
    evidence: Grounds
    now_ns: int

    @property
    def is_under_way(self) -> bool:
        return self.state.phase in (Phase.BAKING, Phase.RAMPING, Phase.INCONCLUSIVE)

    @property
    def is_guarded(self) -> bool:
        """Whether harm would still be acted on: on the way, with a holdback, or in the time to switch back."""
        if self.state.phase is not Phase.PROMOTED:
            return self.state.phase is not Phase.ROLLED_BACK
        return self.plan.holdback > 0 or self.now_ns - self.state.promoted_ns < self.plan.switch_back_ns

    @property
    def is_over(self) -> bool:
        return self.is_under_way and self.now_ns - self.state.started_ns >= self.plan.max_duration_ns


@dataclass(frozen=True, slots=True)
class Ruling:
    """A decision without the words for it: what is done, and the reason."""

    verdict: Verdict
    reason: Reason
    action: Action | None
    about: tuple[str, ...]
    """Guardrails that it is about."""
    would: Verdict
    would_reason: Reason
    """The verdict, had nobody paused or settled the rollout."""
    after: RolloutState
    """Where the rollout stands once the action is done."""


def reached(log_e: float, threshold: float) -> bool:
    """Tell whether evidence has reached a threshold; a tie has not."""
    return log_e > threshold + _GUARD_BAND


def missing(plan: Plan, evidence: Grounds) -> tuple[GuardrailGrounds, ...]:
    """Return the critical guardrails that are not yet shown to be good enough for the promotion."""
    enough = log(1 / plan.false_promotion)
    return tuple(g for g in evidence.guardrails if not g.advisory and not reached(g.noninferiority, enough))


def decide(plan: Plan, state: RolloutState, evidence: Evidence, now_ns: int) -> Decision:
    """Return what to do with a rollout now.

    Args:
        plan: what the file asks for.
        state: where the rollout stands.
        evidence: of this state's stretch: :func:`~proxy.rollout.assemble.assemble` with the same state and time.
        now_ns: the engine's clock.
    """
    return _decision(plan, state, evidence, rule(plan, state, evidence, now_ns), now_ns)


def rule(plan: Plan, state: RolloutState, grounds: Grounds, now_ns: int) -> Ruling:
    """Return what :func:`decide` does; arguments as there, but for what is only shown."""
    moment = _Moment(plan, state, grounds, now_ns)
    judged = _judge(moment)
    shown = judged
    if state.paused_by and judged.reason is not Reason.ROLLED_BACK:
        shown = _Judgement(Verdict.HOLD, Reason.PAUSED, about=judged.about)
    elif state.is_settled_by_person:
        shown = _Judgement(Verdict.HOLD, Reason.BY_PERSON, about=judged.about)
    after = state
    if shown.action is not None:
        moved = apply(replace(plan, dry_run=False), state, shown.action, now_ns, ENGINE, shown.reason)
        assert not isinstance(moved, str), moved  # the rules ask for nothing that the law refuses
        after = moved
    return Ruling(
        shown.verdict, shown.reason, shown.action, judged.about, judged.verdict, judged.reason, after
    )


def rule_on(assembly: Assembly) -> Ruling:
    """Return what :func:`decide` does on evidence of which no more is made than it takes.

    An excess share of 1 holds back more than the true one, and nothing else: only where the budget holds the step is
    the true one looked at.
    """
    plan, state, grounds, now_ns = assembly.plan, assembly.state, assembly.grounds, assembly.now_ns
    ruling = rule(plan, state, grounds, now_ns)
    if ruling.would_reason is not Reason.BUDGET:
        return ruling
    return rule(plan, state, replace(grounds, excess_share=assembly.excess_share), now_ns)


def _judge(moment: _Moment) -> _Judgement:
    judged = next(found for rule in _RULES if (found := rule(moment)) is not None)
    if not moment.is_over or judged.verdict in (Verdict.ROLLBACK, Verdict.PROMOTE):
        return judged
    return _concluded(moment, judged)


def _concluded(moment: _Moment, judged: _Judgement) -> _Judgement:
    """Return what becomes of a rollout whose time is over."""
    wish = moment.plan.on_inconclusive
    if judged.reason in _OF_TIME:
        return judged
    if wish is Inconclusive.ROLLBACK:
        return _Judgement(Verdict.ROLLBACK, Reason.INCONCLUSIVE, Action.ROLLBACK, judged.about)
    if moment.state.phase is Phase.INCONCLUSIVE:
        return judged
    can_promote = moment.state.phase is Phase.RAMPING and moment.evidence.canary_units >= MIN_UNITS
    if wish is Inconclusive.PROMOTE and can_promote and judged.reason in _STEPS_ASIDE:
        return _Judgement(Verdict.PROMOTE, Reason.INCONCLUSIVE, Action.PROMOTE, judged.about)
    verdict = judged.verdict if judged.verdict is Verdict.INVALID else Verdict.HOLD
    reason = judged.reason if verdict is Verdict.INVALID else Reason.INCONCLUSIVE
    return _Judgement(verdict, reason, Action.CONCLUDE, judged.about)


# The rules, in order.


def _rolled_back(moment: _Moment) -> _Judgement | None:
    if moment.state.phase is not Phase.ROLLED_BACK:
        return None
    return _Judgement(Verdict.HOLD, Reason.ROLLED_BACK)


def _harmed(moment: _Moment) -> _Judgement | None:
    evidence = moment.evidence
    is_coin_broken = "no_canary_traffic" in evidence.problems or reached(evidence.allocation, SRM)
    harm = evidence.harm_of_events if is_coin_broken else evidence.harm
    if not moment.is_guarded or not reached(harm, log(1 / moment.plan.false_rollback)):
        return None
    about = evidence.blamed or _most(evidence, lambda each: each.harm)
    return _Judgement(Verdict.ROLLBACK, Reason.HARM, Action.ROLLBACK, about)


def _unsound(moment: _Moment) -> _Judgement | None:
    problems = set(moment.evidence.problems)
    if reached(moment.evidence.allocation, SRM):
        problems.add("srm")
    if moment.now_ns < moment.state.since_ns:
        problems.add("clock")
    found = next((each for each in _UNSOUND if each in problems), None)
    return None if found is None else _Judgement(Verdict.INVALID, Reason(found))


def _finished(moment: _Moment) -> _Judgement | None:
    if moment.state.phase is Phase.PROMOTED and not moment.is_guarded:
        return _Judgement(Verdict.HOLD, Reason.DONE)
    return None


def _suspicious(moment: _Moment) -> _Judgement | None:
    if not reached(moment.evidence.suspicion, SUSPICION):
        return None
    return _Judgement(
        Verdict.HOLD, Reason.SUSPICION, about=_most(moment.evidence, lambda each: each.suspicion)
    )


def _disagreeing(moment: _Moment) -> _Judgement | None:
    found = tuple(
        each.name
        for each in moment.evidence.guardrails
        if each.metric is Metric.DISAGREEMENT and not each.advisory and reached(each.suspicion, SUSPICION)
    )
    if not found or not moment.is_under_way:
        return None
    return _Judgement(Verdict.HOLD, Reason.DISAGREEMENT, about=found)


def _promoted(moment: _Moment) -> _Judgement | None:
    if moment.state.phase is not Phase.PROMOTED:
        return None
    return _Judgement(Verdict.HOLD, Reason.GUARDED)


def _inconclusive(moment: _Moment) -> _Judgement | None:
    if moment.state.phase is not Phase.INCONCLUSIVE:
        return None
    return _Judgement(Verdict.HOLD, Reason.INCONCLUSIVE)


def _baking(moment: _Moment) -> _Judgement | None:
    plan, evidence = moment.plan, moment.evidence
    if moment.state.phase is not Phase.BAKING:
        return None
    if reached(evidence.shadow_failed, SUSPICION):
        return _Judgement(Verdict.HOLD, Reason.SHADOW_ERRORS)
    if evidence.held_ns < (plan.bake_ns if plan.ladder else max(plan.bake_ns, plan.hold_ns)):
        return _Judgement(Verdict.HOLD, Reason.BAKE_TIME)
    if plan.ladder:
        return _Judgement(Verdict.RAMP, Reason.SHOWN, Action.RAMP)
    lacking = _not_shown_by_copies(plan, evidence)
    if lacking is None or lacking:
        return _Judgement(Verdict.HOLD, Reason.NOT_SHOWN, about=lacking or ())
    return _Judgement(Verdict.PROMOTE, Reason.SHOWN, Action.PROMOTE)


def _not_shown_by_copies(plan: Plan, evidence: Grounds) -> tuple[str, ...] | None:
    """Return the critical guardrails that copies can speak about and have not shown; None: there is none.

    A switch of everything at once has no coin before it. Copies show whether the canary answers, and answers the same;
    they never show how clients fare with it, so latency and the other metrics wait for the time to switch back.
    """
    enough = log(1 / plan.false_promotion)
    shown = {
        each.name: each.noninferiority if each.metric is Metric.DISAGREEMENT else evidence.shadow_sound
        for each in evidence.guardrails
        if not each.advisory and each.metric in (Metric.DISAGREEMENT, Metric.ERRORS)
    }
    if not shown:
        return None
    return tuple(name for name, log_e in shown.items() if not reached(log_e, enough))


def _ramping(moment: _Moment) -> _Judgement:
    plan, state, evidence = moment.plan, moment.state, moment.evidence
    if evidence.held_ns < plan.hold_ns:
        return _Judgement(Verdict.HOLD, Reason.HOLD_TIME)
    if evidence.canary_units < MIN_UNITS:
        return _Judgement(Verdict.HOLD, Reason.NO_TRAFFIC)
    if not evidence.is_latency_seen and any(each.metric is Metric.LATENCY for each in plan.critical):
        return _Judgement(Verdict.HOLD, Reason.NO_REFERENCE)
    if state.step >= len(plan.ladder) - 1:
        return _promotable(plan, evidence)
    cost = next_cost(plan, state, evidence)
    if plan.excess_errors is not None and not evidence.excess_errors + cost <= plan.excess_errors:
        return _Judgement(Verdict.HOLD, Reason.BUDGET)
    return _Judgement(Verdict.RAMP, Reason.SHOWN, Action.RAMP)


def _promotable(plan: Plan, evidence: Grounds) -> _Judgement:
    lacking = missing(plan, evidence)
    if lacking or not plan.critical or len(evidence.guardrails) != len(plan.guardrails):
        return _Judgement(Verdict.HOLD, Reason.NOT_SHOWN, about=tuple(each.name for each in lacking))
    if reached(evidence.suspicion, CALM):
        return _Judgement(Verdict.HOLD, Reason.SUSPICION, about=_most(evidence, lambda each: each.suspicion))
    return _Judgement(Verdict.PROMOTE, Reason.SHOWN, Action.PROMOTE)


_RULES: tuple[Callable[[_Moment], _Judgement | None], ...] = (
    _rolled_back,
    _harmed,
    _unsound,
    _finished,
    _suspicious,
    _disagreeing,
    _promoted,
    _inconclusive,
    _baking,
    _ramping,
)


def _most(evidence: Grounds, of: Callable[[GuardrailGrounds], float]) -> tuple[str, ...]:
    """Return the critical guardrail with the most evidence."""
    critical = [g for g in evidence.guardrails if not g.advisory and g.metric is not Metric.DISAGREEMENT]
    return (max(critical, key=of).name,) if critical else ()


def _decision(plan: Plan, state: RolloutState, evidence: Evidence, ruling: Ruling, now_ns: int) -> Decision:
    log_e = {"harm": evidence.harm, "suspicion": evidence.suspicion, "allocation": evidence.allocation}
    for each in evidence.guardrails:
        log_e[f"{each.name}.harm"] = each.harm
        log_e[f"{each.name}.suspicion"] = each.suspicion
        log_e[f"{each.name}.noninferiority"] = each.noninferiority
    after = ruling.after
    weight_now, weight_then = weight(plan, state), weight(plan, after)
    said = sentences.Said(ruling.verdict, ruling.reason, ruling.about, weight_now, weight_then)
    return Decision(
        verdict=ruling.verdict,
        reason=ruling.reason,
        action=ruling.action,
        phase=after.phase,
        step=after.step,
        weight=weight_then,
        weight_now=weight_now,
        sentence=sentences.say(plan, state, evidence, said),
        needs=needs_of(plan, state, evidence, ruling.would_reason, now_ns),
        rollout=state.rollout,
        sequence=state.sequence,
        dry_run=plan.dry_run,
        would=ruling.would,
        would_reason=ruling.would_reason,
        log_e=log_e,
        confidence={each.name: (each.low, each.high) for each in evidence.guardrails},
        blamed=evidence.blamed if ruling.would_reason is Reason.HARM else (),
        requests_exposed=evidence.canary_requests,
        units_exposed=evidence.canary_units,
    )
