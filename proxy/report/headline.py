"""The report in one sentence that somebody understands who has never heard of a confidence interval."""

from collections.abc import Callable
from math import isfinite, log

from proxy.plural import count
from proxy.report.facts import Facts, Judged
from proxy.report.standing import DOES, Standing, standing
from proxy.report.words import duration, joined, latency, percent, rarity, times
from proxy.rollout.evidence import GuardrailEvidence
from proxy.rollout.state import ENGINE, Phase, RolloutState, weight
from proxy.settings import Metric

__all__ = ["comparison", "headline"]

_SECOND_NS = 1_000_000_000


def headline(facts: Facts) -> str:
    """Return the decision, or how things stand, as one sentence."""
    state, then = facts.state, facts.then
    if state is None or then is None:
        return f"Nothing has been decided about {facts.canary} yet: nobody has judged it so far."
    sentence = _HEADLINES[state.phase](facts, state, then)
    if then.plan.dry_run:
        sentence += " This is a dry run: the engine moves no weight."
    if state.paused_by and state.phase is not Phase.ROLLED_BACK:
        why = f" ({state.paused_reason})" if state.paused_reason else ""
        sentence += f" {state.paused_by} has paused it{why}: the engine moves nothing until it is resumed."
    return sentence


def comparison(judged: Judged, guardrail: GuardrailEvidence) -> str:
    """Return how the canary differs on one guardrail, as a clause: ``it failed 3.1 times as often as v1, …``."""
    champion = judged.plan.champion.name
    best, low = judged.ratio(guardrail), guardrail.low
    least = f", at least {times(low)}" if low > 1 else ""
    if guardrail.metric is Metric.LATENCY:
        mine, other = guardrail.canary_ns, guardrail.champion_ns
        if best is None or not isfinite(best):
            return f"its answers took longer than those of {champion}"
        if best < 1.05:
            slowest = f"the slowest of its answers took longer (p99 {latency(mine[-1])} instead of {latency(other[-1])}"
            return f"{slowest} with {champion})"
        middle = f"half of them {latency(mine[0])} or longer instead of {latency(other[0])}"
        return f"its answers took {times(best)} as long as those of {champion} ({middle}){least}"
    does = DOES[guardrail.metric]
    if best is None:
        return f"it {does} more often than {champion}"
    if not isfinite(best) or not guardrail.champion_events:
        own = f"{guardrail.canary_events:,} times in {guardrail.canary_total:,}"
        return f"it {does} {own}, and {champion} {guardrail.champion_events:,} times in {guardrail.champion_total:,}"
    return f"it {does} {times(best)} as often as {champion}{least}"


def _worst(judged: Judged) -> list[GuardrailEvidence]:
    """Return the guardrails that a rollback is about, the strongest evidence first."""
    blamed = [each for each in judged.evidence.guardrails if each.name in judged.evidence.blamed]
    if not blamed:
        blamed = [each for each in judged.evidence.guardrails if standing(judged, each) is Standing.WORSE]
    if not blamed:
        decisive = [
            g for g in judged.evidence.guardrails if not g.advisory and g.metric is not Metric.DISAGREEMENT
        ]
        blamed = sorted(decisive, key=lambda each: each.harm)[-1:]
    return sorted(blamed, key=lambda each: -each.harm)


def _rolled_back(facts: Facts, state: RolloutState, then: Judged) -> str:
    name, exposed = facts.canary, count(_exposed(facts, then), "request")
    if state.by != ENGINE:
        why = f" ({state.reason})" if state.reason else ""
        return f"{name} was taken back by {state.by}{why}, after {exposed}; the evidence by then: {_so_far(then)}."
    at = percent(float(_weight_then(facts, then)) / 100)
    lead = f"{name} was rolled back at {at} after {exposed}"
    if facts.deciding is not None and facts.deciding.decision.reason == "inconclusive":
        within = duration(then.plan.max_duration_ns / _SECOND_NS)
        return f"{lead}: nothing was decided within {within}, and the plan says to go back then."
    worst = _worst(then)
    if not worst:
        return f"{lead}: {_end(state.reason)}"
    said = f"{lead}: {comparison(then, worst[0])}"
    if len(worst) > 1:
        said += f" (worse too: {joined([each.name for each in worst[1:]])})"
    if not then.evidence.is_randomised:
        return f"{said}, compared with the time before everything was switched."
    harm = max(then.evidence.harm, log(1 / then.plan.false_rollback))
    return f"{said}; had it been as good, evidence like this would come up in {rarity(harm)}."


def _promoted(facts: Facts, state: RolloutState, then: Judged) -> str:
    name, champion = facts.canary, facts.champion
    to = percent(float(then.plan.most) / 100)
    exposed = count(_exposed(facts, then), "request")
    took = duration(max(0, state.promoted_ns - state.started_ns) / _SECOND_NS)
    if state.by != ENGINE:
        why = f" ({state.reason})" if state.reason else ""
        lead = f"{name} was promoted to {to} by {state.by}{why}, after {exposed}"
        return f"{lead}; the evidence by then: {_so_far(then)}."
    lead = f"{name} was promoted to {to} after {exposed} in {took}"
    if facts.deciding is not None and facts.deciding.decision.reason == "inconclusive":
        wish = "its time was over and the plan says to promote then"
        return f"{lead}: {wish}; it is not shown to be as good as {champion}."
    if not then.plan.ladder:
        copies = count(then.evidence.shadow_answered, "copy")
        return f"{lead}: its answers to {copies} of requests were as good as those of {champion}."
    names = joined([each.name for each in then.evidence.guardrails if not each.advisory])
    risk = rarity(log(1 / then.plan.false_promotion))
    return (
        f"{lead}: it is shown to be as good as {champion}, within the margins, on {names}; a canary that is worse by "
        f"a margin gets so far in {risk}."
    )


def _ramping(facts: Facts, state: RolloutState, then: Judged) -> str:
    plan = then.plan
    step = f"step {state.step + 1} of {len(plan.ladder)}"
    held = duration(max(0, facts.document.read_ns - state.since_ns) / _SECOND_NS)
    at = percent(float(weight(plan, state)) / 100)
    return f"{facts.canary} is at {at}, {step}, for {held}: {_so_far(then)}.{_engine(facts)}"


def _baking(facts: Facts, state: RolloutState, then: Judged) -> str:  # noqa: ARG001 - as its siblings
    held = duration(max(0, facts.document.read_ns - state.since_ns) / _SECOND_NS)
    return f"{facts.canary} has no traffic yet and has baked for {held}, judged by copies of requests.{_engine(facts)}"


def _inconclusive(facts: Facts, state: RolloutState, then: Judged) -> str:
    within = duration(then.plan.max_duration_ns / _SECOND_NS)
    at = percent(float(weight(then.plan, state)) / 100)
    return (
        f"Nothing was decided about {facts.canary} within {within}: it stays at {at} until a person decides; "
        f"{_so_far(then)}."
    )


def _so_far(judged: Judged) -> str:
    """Return the verdicts on all guardrails as a clause."""
    by_standing: dict[Standing, list[str]] = {}
    for each in judged.evidence.guardrails:
        by_standing.setdefault(standing(judged, each), []).append(each.name)
    parts = [f"{found} in {joined(by_standing[found])}" for found in Standing if found in by_standing]
    return ", ".join(parts) or "nothing is known"


def _engine(facts: Facts) -> str:
    said = facts.last_said
    return (
        f" The engine: {_end(said.decision.sentence)}" if said is not None and said.decision.sentence else ""
    )


def _end(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _exposed(facts: Facts, then: Judged) -> int:
    if facts.deciding is not None:
        return facts.deciding.decision.requests_exposed
    return then.evidence.canary_requests


def _weight_then(facts: Facts, then: Judged) -> float:
    return (
        facts.deciding.decision.weight_now
        if facts.deciding is not None
        else float(weight(then.plan, then.state))
    )


_HEADLINES: dict[Phase, Callable[[Facts, RolloutState, Judged], str]] = {
    Phase.BAKING: _baking,
    Phase.RAMPING: _ramping,
    Phase.PROMOTED: _promoted,
    Phase.ROLLED_BACK: _rolled_back,
    Phase.INCONCLUSIVE: _inconclusive,
}
