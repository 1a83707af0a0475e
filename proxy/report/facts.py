"""What is known about a rollout, and which of it decides: a report is written from this and nothing else.

Of a rollout that is over the evidence counts that decided it, as it was then; it is made again from the snapshot of the
decision. Of one under way that of now counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from math import inf, log
from typing import Any

from proxy.report.documents import DocumentError, Line, Point, Rollout, Said
from proxy.report.ratio import estimate
from proxy.rollout import record
from proxy.rollout.assemble import assemble
from proxy.rollout.evidence import Evidence, GuardrailEvidence
from proxy.rollout.feedback import as_events
from proxy.rollout.guardrails import event_counts
from proxy.rollout.plan import EVENT_METRICS, Guardrail, Plan
from proxy.rollout.slices import Slices
from proxy.rollout.state import Phase, RolloutState
from proxy.settings import Metric

__all__ = ["Facts", "Judged", "deciding_digest", "gather"]

_LN10 = log(10)
_SECOND_NS = 1_000_000_000
_JUST_BEFORE_S = 60


@dataclass(frozen=True, slots=True)
class Judged:
    """Evidence as of one moment."""

    plan: Plan
    state: RolloutState
    """As it was then: before the decision, if it is that of one."""
    evidence: Evidence
    now_ns: int
    slices: Slices | None = None
    """What it was made from; None: only the evidence itself was told."""

    def ratio(self, guardrail: GuardrailEvidence) -> float | None:
        """Return how many times the champion's figure the canary's is, as best one can tell; None: no telling."""
        if guardrail.metric is Metric.LATENCY:
            mine, other = guardrail.canary_ns, guardrail.champion_ns
            return mine[0] / other[0] if mine and other and other[0] else None
        planned = next((each for each in self.plan.guardrails if each.name == guardrail.name), None)
        if planned is None or guardrail.metric is Metric.DISAGREEMENT:
            return None
        found = self._event_ratio(planned) if self.slices is not None else None
        if (
            found is None
            and guardrail.champion_events
            and guardrail.canary_total
            and guardrail.champion_total
        ):
            own = guardrail.canary_events / guardrail.canary_total
            found = own / (guardrail.champion_events / guardrail.champion_total)
            # Over several steps the totals do not compare; an estimate outside the interval is none.
            found = min(max(found, guardrail.low), guardrail.high)
        return found

    def _event_ratio(self, guardrail: Guardrail) -> float | None:
        assert self.slices is not None
        own = self.slices
        if guardrail.metric is Metric.FEEDBACK and (said := own.feedback) is not None:
            own, guardrail = said, as_events(guardrail, said)
        if guardrail.metric not in (*EVENT_METRICS, Metric.SLOW):
            return None
        if self.state.phase is Phase.PROMOTED:
            own = own.since(self.state.promoted_ns)
        return estimate(event_counts(guardrail, own.canary), event_counts(guardrail, own.champion), own.share)


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything about one rollout, or one split by fixed weights."""

    route: str
    document: Rollout
    plan: Plan | None
    """None: a split by fixed weights, or nobody has judged it yet."""
    state: RolloutState | None
    then: Judged | None
    """What decided; under way, what is judged now."""
    now: Judged | None
    """What is judged now."""
    deciding: Said | None
    """The decision that ended it; None: it is under way, or a person ended it."""

    @property
    def canary(self) -> str:
        """Name of the variant on trial."""
        return self.document.variant

    @property
    def champion(self) -> str:
        """Name of the variant that it is compared with."""
        return self.document.champion

    @property
    def said(self) -> tuple[Said, ...]:
        """Decisions of this rollout, oldest first."""
        return tuple(each for each in self.document.decisions if each.rollout == self.document.rollout)

    @property
    def last_said(self) -> Said | None:
        """The latest of them."""
        return self.said[-1] if self.said else None

    @property
    def points(self) -> tuple[Point, ...]:
        """Moments of the plots, oldest first."""
        return self.document.points

    @property
    def history(self) -> tuple[Line, ...]:
        """Lines of the journal that belong to this rollout, or name none and are from its time."""
        begun_ns = self.state.started_ns if self.state is not None else 0
        return tuple(
            each
            for each in self.document.history
            if each.rollout == self.document.rollout or (not each.rollout and _is_since(each.ts, begun_ns))
        )


def _is_since(ts: str, begun_ns: int) -> bool:
    try:
        moment = datetime.fromisoformat(ts.replace("Z", "+00:00"))
    except ValueError:
        return True
    # The file that begins a rollout is journalled just before its evidence begins.
    return moment.timestamp() >= begun_ns // _SECOND_NS - _JUST_BEFORE_S


def deciding_digest(document: Mapping[str, Any]) -> str:
    """Return the digest of the snapshot that a report about ``document`` needs; empty: none.

    Raises:
        DocumentError: it is no evidence of a rollout.
    """
    read = Rollout.read(document)
    said = _deciding(_state(read), read)
    return said.evidence if said is not None else ""


def gather(route: str, document: Mapping[str, Any], snapshots: Mapping[str, bytes]) -> Facts:
    """Return the facts about one rollout.

    Args:
        route: its name.
        document: the evidence, as the admin address shows it.
        snapshots: by digest; of them only the deciding one is used.

    Raises:
        DocumentError: it is no evidence of a rollout.
    """
    read = Rollout.read(document)
    state = _state(read)
    now = _judged_now(read, state)
    deciding = _deciding(state, read)
    then = now
    if deciding is not None and (data := snapshots.get(deciding.evidence)) is not None:
        then = _judged_then(data) or now
    plan = now.plan if now is not None else None if then is None else then.plan
    return Facts(route, read, plan, state, then, now, _ending(state, deciding))


def _state(read: Rollout) -> RolloutState | None:
    if read.state is None:
        return None
    try:
        return RolloutState.from_document(read.state)
    except ValueError as error:
        raise DocumentError(f"{error}: another version of the program wrote it") from error


def _plan(read: Rollout) -> Plan | None:
    if read.plan is None:
        return None
    try:
        return Plan.from_document(read.plan)
    except ValueError as error:
        raise DocumentError(f"{error}: another version of the program wrote it") from error


def _deciding(state: RolloutState | None, read: Rollout) -> Said | None:
    """Return the decision whose evidence counts; None where that of now does."""
    own = [each for each in read.decisions if each.rollout == read.rollout]
    if state is None:
        return own[-1] if own else None
    if state.phase is Phase.PROMOTED:
        before = [each for each in own if each.engine_ns <= state.promoted_ns]
        promoted = [each for each in before if each.decision.action == "promote"]
        chosen = before if state.is_settled_by_person else promoted or before
        return chosen[-1] if chosen else None
    if state.phase is Phase.ROLLED_BACK and not state.is_settled_by_person:
        fell = [each for each in own if each.decision.action == "rollback"]
        return fell[-1] if fell else None
    return None


def _ending(state: RolloutState | None, said: Said | None) -> Said | None:
    if state is None or said is None or state.is_settled_by_person or not said.moves:
        return None
    return said


def _judged_then(data: bytes) -> Judged | None:
    try:
        plan, state, slices, now_ns = record.read(data)
        return Judged(plan, state, assemble(plan, state, slices, now_ns), now_ns, slices)
    except ValueError:
        return None  # of another engine: what it said is in the decision


def _judged_now(read: Rollout, state: RolloutState | None) -> Judged | None:
    plan = _plan(read)
    if plan is None or state is None:
        return None
    evidence = Evidence(
        guardrails=tuple(map(_guardrail, read.guardrails)),
        harm=read.harm_log10_e * _LN10,
        allocation=read.allocation_log10_e * _LN10,
        problems=read.problems,
        canary_units=read.canary_units,
        champion_units=read.champion_units,
        canary_requests=read.canary_requests,
        champion_requests=read.champion_requests,
        request_rate=read.request_rate,
        excess_errors=read.excess_errors,
        shadow_answered=read.shadow.get("answered", 0),
        shadow_failures=read.shadow.get("failed", 0),
    )
    return Judged(plan, state, evidence, read.judged_ns)


_LOG_ES = ("harm", "suspicion", "noninferiority")


def _guardrail(document: Mapping[str, Any]) -> GuardrailEvidence:
    values = {each.name: document[each.name] for each in fields(GuardrailEvidence) if each.name in document}
    try:
        for name in _LOG_ES:
            values[name] = -inf if values.get(name) is None else float(values[name])
        values["high"] = inf if values.get("high") is None else float(values["high"])
        values["metric"] = Metric(values["metric"])
        values["parts"] = tuple((str(name), value) for name, value in dict(values.get("parts", ())).items())
        for name in ("canary_ns", "champion_ns"):
            values[name] = tuple(values.get(name, ()))
        return GuardrailEvidence(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise DocumentError(f"expected a guardrail's evidence: {error}") from error
