"""What evidence would change a verdict: how many more requests, how many more failures, how much more time.

Estimates for people, made from what was seen so far. No decision rests on them but on :func:`next_cost`.
"""

from math import ceil, inf, isfinite, log

from proxy.plural import count
from proxy.rollout.evidence import Evidence, Grounds, GuardrailEvidence
from proxy.rollout.plan import HARM_METRICS, Plan
from proxy.rollout.state import Phase, RolloutState
from proxy.rollout.verdict import Need, Reason

__all__ = ["needs_of", "next_cost"]

_SECOND_NS = 1_000_000_000


def next_cost(plan: Plan, state: RolloutState, evidence: Grounds) -> float:
    """Return how many requests the next step could cost beyond what the champion would fail, with 95 % confidence.

    It is the greatest excess share that the evidence allows, times the requests that the canary would get on the next
    step in one ``hold`` at the rate that was seen. Infinite: there is no telling.
    """
    following = state.step + 1
    if following >= len(plan.ladder):
        return 0.0
    rest = float(100 - plan.others)
    requests = evidence.request_rate * float(plan.ladder[following]) / rest * plan.hold_ns / _SECOND_NS
    return evidence.excess_share * requests if requests > 0 else 0.0


def needs_of(
    plan: Plan, state: RolloutState, evidence: Evidence, reason: Reason, now_ns: int
) -> tuple[Need, ...]:
    """Return what would change the verdict that was given for a reason, nearest first."""
    needs: list[Need] = []
    if reason in (Reason.HOLD_TIME, Reason.BAKE_TIME):
        needs.append(_time(plan, state, evidence))
    if reason is Reason.NO_TRAFFIC:
        needs.append(_traffic(evidence))
    if reason is Reason.NO_REFERENCE:
        what = (
            f"answers of {plan.champion.name} to compare latency with, and 50 units of the canary after them"
        )
        needs.append(Need("reference", None, "requests", what))
    if reason is Reason.BUDGET:
        needs.append(_budget(plan, state, evidence))
    if reason is Reason.NOT_SHOWN and state.phase is Phase.BAKING:
        needs += _copies(plan, evidence)
    elif state.phase in (Phase.BAKING, Phase.RAMPING) and reason is not Reason.HARM:
        needs += _noninferiority(plan, evidence)
    if state.phase is not Phase.ROLLED_BACK and reason not in (Reason.HARM, Reason.DONE):
        needs += _harm(evidence)
    if reason is Reason.GUARDED and not plan.holdback:
        left = max(0, plan.switch_back_ns - max(0, now_ns - state.promoted_ns))
        needs.append(Need("switch_back", left / _SECOND_NS, "seconds", f"guarded for {_seconds(left)} more"))
    return tuple(needs)


def _time(plan: Plan, state: RolloutState, evidence: Evidence) -> Need:
    whole = plan.hold_ns
    if state.phase is Phase.BAKING:
        whole = plan.bake_ns if plan.ladder else max(plan.bake_ns, plan.hold_ns)
    left = max(0, whole - evidence.held_ns)
    return Need("time", left / _SECOND_NS, "seconds", f"{_seconds(left)} more on this step")


def _traffic(evidence: Evidence) -> Need:
    least = 50
    more = max(1, least - evidence.canary_units)
    return Need("units", more, "units", f"{count(more, 'unit')} more for the canary: at least {least}")


def _budget(plan: Plan, state: RolloutState, evidence: Evidence) -> Need:
    left = (plan.excess_errors or 0) - evidence.excess_errors
    cost = next_cost(plan, state, evidence)
    if left <= 0:
        spent = f"the budget of {plan.excess_errors} errors is spent; a person can promote or abort"
        return Need("budget", None, "errors", spent)
    if not isfinite(cost) or not evidence.canary_units:
        return Need("budget", None, "units", "any traffic on the canary")
    # What is not known of a share falls about as one over the units that were seen.
    more = ceil(evidence.canary_units * max(0.0, cost / left - 1))
    return Need(
        "budget",
        more,
        "units",
        f"about {count(more, 'unit')} more of the canary without excess errors, until the next step can cost "
        f"{left:.0f} errors at most (now {cost:.0f})",
    )


def _copies(plan: Plan, evidence: Evidence) -> list[Need]:
    if not plan.has_shadow:
        nothing = (
            f"copies: no shadow of this route has the model {plan.canary.model}; add one, give steps below 100, or "
            "promote by hand"
        )
        return [Need("copies", None, "copies", nothing)]
    enough = log(1 / plan.false_promotion)
    needs = []
    if evidence.shadow_sound <= enough and any(g.metric == "errors" for g in plan.critical):
        needs.append(
            Need("errors", None, "copies", "more copies that the canary answers without an error of its own")
        )
    needs += [
        Need(g.name, None, "copies", "more compared copies with few enough disagreements")
        for g in evidence.guardrails
        if not g.advisory and g.metric == "disagreement" and g.noninferiority <= enough
    ]
    return needs


def _noninferiority(plan: Plan, evidence: Evidence) -> list[Need]:
    enough = log(1 / plan.false_promotion)
    lacking = [g for g in evidence.guardrails if not g.advisory and g.noninferiority <= enough]
    return [_to_show(each, evidence) for each in sorted(lacking, key=_amount, reverse=True)]


def _amount(guardrail: GuardrailEvidence) -> float:
    return inf if guardrail.requests_to_show is None else guardrail.requests_to_show


def _to_show(guardrail: GuardrailEvidence, evidence: Evidence) -> Need:
    what = "copies" if guardrail.metric == "disagreement" else "requests"
    more = guardrail.requests_to_show
    if guardrail.metric == "feedback":
        return _to_judge(guardrail)
    if more is None:
        sentence = f"more {what} for {guardrail.name} than can be told from what was seen so far"
        return Need(guardrail.name, None, what, sentence)
    sentence = f"about {count(more, what[:-1] if what == 'requests' else 'copy')} more for {guardrail.name}"
    if what == "requests" and evidence.request_rate > 0:
        sentence += f", {_seconds(int(more / evidence.request_rate * _SECOND_NS))} at the present rate"
    return Need(guardrail.name, more, what, sentence)


def _to_judge(guardrail: GuardrailEvidence) -> Need:
    more = guardrail.requests_to_show
    amount = "more answers than can be told yet" if more is None else f"about {count(more, 'answer')} more"
    so_far = guardrail.canary_total + guardrail.champion_total
    sentence = f"feedback on {amount}, by POST /api/v1/feedback; so far {count(so_far, 'unit')} were judged"
    return Need(guardrail.name, more, "judged answers", sentence)


def _harm(evidence: Evidence) -> list[Need]:
    return [
        Need(
            f"{each.name}.rollback",
            each.events_to_harm,
            "units",
            f"about {count(each.events_to_harm, 'unit')} in a row with {each.name} on the canary roll it back",
        )
        for each in evidence.guardrails
        if each.events_to_harm is not None and not each.advisory and each.metric in HARM_METRICS
    ]


def _seconds(duration_ns: int) -> str:
    seconds = -(-duration_ns // _SECOND_NS)
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{-(-seconds // 60)} min"
    return f"{-(-seconds // 3600)} h"
