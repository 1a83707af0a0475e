"""A decision in one sentence that someone understands who knows no statistics."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from math import exp, isfinite

from proxy.durations import format_duration
from proxy.model import Metric
from proxy.rollout.evidence import Evidence, GuardrailEvidence
from proxy.rollout.plan import Plan
from proxy.rollout.state import RolloutState
from proxy.rollout.verdict import Reason, Verdict

__all__ = ["Said", "chance", "describe", "say"]

_VERBS = {
    Metric.ERRORS: "failed",
    Metric.CLIENT_ERRORS: "refused, as the client's mistake,",
    Metric.ABANDONED: "was too late for",
    Metric.SLOW: "was slow for",
}


@dataclass(frozen=True, slots=True)
class Said:
    """What was decided, as far as a sentence needs it."""

    verdict: Verdict
    reason: Reason
    about: tuple[str, ...]
    """Guardrails that it is about."""
    weight_now: Decimal
    weight_then: Decimal


@dataclass(frozen=True, slots=True)
class _Scene:
    plan: Plan
    state: RolloutState
    evidence: Evidence
    said: Said

    @property
    def name(self) -> str:
        return self.plan.canary.name

    @property
    def champion(self) -> str:
        return self.plan.champion.name

    @property
    def stays(self) -> str:
        return f"{self.name} stays at {percent(self.said.weight_now)}"


def say(plan: Plan, state: RolloutState, evidence: Evidence, said: Said) -> str:
    """Return the decision as one sentence."""
    sentence = _SENTENCES[said.reason](_Scene(plan, state, evidence, said))
    if plan.dry_run and said.weight_now != said.weight_then:
        sentence = f"dry run, {plan.canary.name} stays at {percent(said.weight_now)}; without it: {sentence}"
    return sentence


def percent(weight: Decimal) -> str:
    """Return a weight as text."""
    return f"{weight.normalize() + 0:f} %"


def chance(log_e: float) -> str:
    """Return how rare evidence like this is in rollouts of a canary that is not worse."""
    if log_e > 20:
        return "fewer than 1 of 100,000,000"
    return f"fewer than 1 of {max(1, int(exp(log_e))):,}"


def describe(guardrail: GuardrailEvidence, plan: Plan) -> str:
    """Return how canary and champion do on one guardrail."""
    canary, champion = plan.canary.name, plan.champion.name
    if guardrail.metric is Metric.DISAGREEMENT:
        share = _share(guardrail.canary_events, guardrail.canary_total)
        if any(each.above_noise for each in plan.guardrails if each.name == guardrail.name):
            itself = _share(guardrail.champion_events, guardrail.champion_total)
            return (
                f"{canary} answered {share} of {guardrail.canary_total:,} copies otherwise than {champion}, which "
                f"answered {itself} of them otherwise when it was asked again"
            )
        return f"{canary} answered {share} of {guardrail.canary_total:,} compared copies otherwise than {champion}"
    hour = "in one hour " if guardrail.is_of_one_hour else ""
    if guardrail.metric is Metric.LATENCY:
        return hour + _latency(guardrail, canary, champion)
    mine = _share(guardrail.canary_events, guardrail.canary_total)
    other = _share(guardrail.champion_events, guardrail.champion_total)
    if guardrail.metric is Metric.FEEDBACK:
        return (
            f"of {guardrail.canary_total:,} units of {canary} that were judged {mine} got a bad answer, of "
            f"{guardrail.champion_total:,} of {champion} {other}"
        )
    return (
        f"{hour}{canary} {_VERBS[guardrail.metric]} {mine} of {guardrail.canary_total:,} units, {champion} {other} of "
        f"{guardrail.champion_total:,}"
    )


def _latency(guardrail: GuardrailEvidence, canary: str, champion: str) -> str:
    if not guardrail.canary_ns or not guardrail.champion_ns:
        return f"nothing is known of the latency of {canary} yet"
    mine, other = guardrail.canary_ns, guardrail.champion_ns
    return (
        f"answers of {canary} take {_ms(mine[0])} (p95 {_ms(mine[1])}, p99 {_ms(mine[2])}), of {champion} "
        f"{_ms(other[0])} (p95 {_ms(other[1])}, p99 {_ms(other[2])})"
    )


def _ms(duration_ns: int) -> str:
    return f"{duration_ns / 1e6:.3g} ms" if duration_ns < 10_000_000_000 else f"{duration_ns / 1e9:.3g} s"


def _share(count: int, total: int) -> str:
    if not total:
        return "none"
    return f"{100 * count / total:.2g} %" if count < total else "100 %"


def _facts(it: _Scene) -> str:
    found = [describe(each, it.plan) for each in it.evidence.guardrails if each.name in it.said.about]
    return "; ".join(found) or "the guardrails together say so"


def _harm(it: _Scene) -> str:
    certain = f"a canary that is not worse shows this in {chance(it.evidence.harm)} rollouts"
    if not it.evidence.is_randomised:
        certain = "compared with the time before the switch, at which other things may have changed too"
    doubt = ""
    if it.evidence.problems or it.evidence.allocation > 6.9:
        doubt = "; the counts have other problems too, see the evidence"
    facts = _facts(it)
    return f"{it.name} is rolled back: {facts}; {certain}{doubt}"


def _ended(it: _Scene) -> str:
    within = f"nothing was decided within {format_duration(it.plan.max_duration_ns)}"
    if it.said.verdict is Verdict.ROLLBACK:
        return f"{it.name} is rolled back, as the plan wants it when {within}"
    if it.said.verdict is Verdict.PROMOTE:
        return f"{it.name} is promoted, as the plan wants it when {within}; it is not shown to be as good"
    return f"{it.name} stays at {percent(it.said.weight_now)} until a person decides: {within}"


def _shown(it: _Scene) -> str:
    if it.said.verdict is Verdict.PROMOTE and not it.plan.ladder:
        return (
            f"{it.name} gets {percent(it.said.weight_then)}: its answers to {it.evidence.shadow_answered:,} copies of "
            f"requests are as good as those of {it.champion}"
        )
    if it.said.verdict is Verdict.PROMOTE:
        return (
            f"{it.name} gets {percent(it.said.weight_then)}: after {it.evidence.canary_units:,} units it is shown to "
            f"be as good as {it.champion} within the margins of every guardrail"
        )
    so_far = f"{it.evidence.canary_units:,} units so far, and nothing speaks against it"
    if it.said.weight_now == 0:
        so_far = "it has waited long enough, and nothing speaks against it"
    return f"{it.name} goes from {percent(it.said.weight_now)} to {percent(it.said.weight_then)}: {so_far}"


def _suspicion(it: _Scene) -> str:
    return f"{it.stays}: it looks worse, if perhaps by less than the margin: {_facts(it)}"


def _disagreement(it: _Scene) -> str:
    above = " above noise" if it.plan.goes_above_noise else ""
    return f"{it.stays}: its answers differ more than tolerated{above}: {_facts(it)}; only labels can tell who is right"


def _not_shown(it: _Scene) -> str:
    names = ", ".join(it.said.about) or "anything"
    return (
        f"{it.stays}: nothing speaks against it, but it is not yet shown to be as good as {it.champion} in {names}"
        f"{_thin_feedback(it)}"
    )


def _thin_feedback(it: _Scene) -> str:
    """Return how much of the feedback is there, where it is what is missing."""
    found = next((each for each in it.evidence.guardrails if each.metric is Metric.FEEDBACK), None)
    if found is None or found.name not in it.said.about:
        return ""
    of_all = (
        f"{it.evidence.canary_units:,} units of {it.name} and {it.evidence.champion_units:,} of {it.champion}"
    )
    if not found.canary_total and not found.champion_total:
        return f"; nobody has said yet whether an answer was good, of {of_all}"
    return f"; feedback has come for {found.canary_total:,} and {found.champion_total:,} of {of_all}"


def _no_canary_traffic(it: _Scene) -> str:
    return (
        f"no verdict: {it.name} should have had about {it.evidence.expected_units:,.0f} units by now and has "
        f"{it.evidence.canary_units:,} while {it.champion} has {it.evidence.champion_units:,}"
    )


def _srm(it: _Scene) -> str:
    return (
        "no verdict: units are not divided as the weights say; a division like this comes up by chance in "
        f"{chance(it.evidence.allocation)} rollouts, so the comparison cannot be trusted"
    )


def _feedback_srm(it: _Scene) -> str:
    found = next((each for each in it.evidence.guardrails if each.metric is Metric.FEEDBACK), None)
    if found is None:
        return f"no verdict on {it.name}: feedback comes for one variant more often than the weights say"
    log_e = dict(found.parts).get("allocation", 0.0)
    return (
        f"no verdict on {it.name}: feedback has come for {found.canary_total:,} of its {it.evidence.canary_units:,} "
        f"units and for {found.champion_total:,} of {it.evidence.champion_units:,} of {it.champion}, which is not as "
        f"the weights say; a division like this comes up by chance in {chance(log_e)} rollouts, so what it says of "
        "their answers cannot be compared"
    )


def _budget(it: _Scene) -> str:
    known = f"{100 * it.evidence.excess_share:.2g} %" if isfinite(it.evidence.excess_share) else "all"
    return (
        f"{it.stays}: it might still fail up to {known} of its requests more than {it.champion}, and on the next step "
        f"that could cost more than the budget of {it.plan.excess_errors} errors"
    )


def _stays(why: str) -> Callable[[_Scene], str]:
    """Return what says that the canary stays where it is, and why."""

    def sentence(it: _Scene) -> str:
        return f"{it.stays}: " + why.format(
            by=it.state.paused_by or it.state.by,
            reason=it.state.reason.removeprefix(f"{it.name} is rolled back: "),
            champion=it.champion,
            units=it.evidence.canary_units,
            hold=format_duration(it.plan.hold_ns),
            bake=format_duration(
                it.plan.bake_ns if it.plan.ladder else max(it.plan.bake_ns, it.plan.hold_ns)
            ),
            failures=it.evidence.shadow_failures,
            copies=it.evidence.shadow_failures + it.evidence.shadow_answered,
        )

    return sentence


def _no_verdict(why: str) -> Callable[[_Scene], str]:
    """Return what says that nothing can be said, and why."""

    def sentence(it: _Scene) -> str:
        return f"no verdict on {it.name}: {why}"

    return sentence


_SENTENCES: dict[Reason, Callable[[_Scene], str]] = {
    Reason.HARM: _harm,
    Reason.INCONCLUSIVE: _ended,
    Reason.SRM: _srm,
    Reason.FEEDBACK_SRM: _feedback_srm,
    Reason.NO_CANARY_TRAFFIC: _no_canary_traffic,
    Reason.COUNTS_BACKWARDS: _no_verdict(
        "counters went backwards a moment ago; what they counted meanwhile is left out, and nothing is raised until "
        "they have been watched for the time of a step"
    ),
    Reason.STRAY_UNITS: _no_verdict("units were counted for a variant that has no share of the traffic"),
    Reason.STALE: _no_verdict("the counts have not been read lately"),
    Reason.CLOCK: _no_verdict("the clock jumped"),
    Reason.SUSPICION: _suspicion,
    Reason.DISAGREEMENT: _disagreement,
    Reason.SHADOW_ERRORS: _stays("it failed {failures:,} of {copies:,} copies of requests"),
    Reason.HOLD_TIME: _stays("each step takes {hold} at least"),
    Reason.BAKE_TIME: _stays("it bakes for {bake} first"),
    Reason.NO_TRAFFIC: _stays("{units:,} units are too few to say anything"),
    Reason.NO_REFERENCE: _stays(
        "its latency cannot be compared yet: that takes some hundred answers of {champion}, and after them some of its "
        "own"
    ),
    Reason.BUDGET: _budget,
    Reason.NOT_SHOWN: _not_shown,
    Reason.SHOWN: _shown,
    Reason.PAUSED: _stays("paused by {by}"),
    Reason.BY_PERSON: _stays("{by} decided so"),
    Reason.GUARDED: _stays("promoted, and still compared"),
    Reason.DONE: _stays("promoted, and nothing is left to decide"),
    Reason.ROLLED_BACK: _stays("it was rolled back: {reason}"),
}
