"""One judgement of one rollout: from slices to what is shown, journalled and kept. Pure.

What follows of a moment is known at once. The words, intervals and forecasts that go with it take longer to make than
that: they are made once somebody asks, by the same counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import log
from typing import Any

import orjson

from proxy.rollout import record
from proxy.rollout.assemble import Assembly
from proxy.rollout.decide import Ruling, decide, rule_on
from proxy.rollout.evidence import Evidence
from proxy.rollout.plan import Plan
from proxy.rollout.slices import Slices
from proxy.rollout.state import RolloutState
from proxy.rollout.transitions import Action
from proxy.rollout.verdict import Decision, Verdict, rounded

__all__ = ["Judgement", "gist", "gist_of_bytes", "held_back", "judge", "point"]

_LN10 = log(10)
_GIST = ("verdict", "reason", "would", "would_reason", "rollout", "phase", "step")


@dataclass(frozen=True)
class Judgement:
    """What was made of a moment, with everything it was made from."""

    plan: Plan
    state: RolloutState
    slices: Slices
    now_ns: int
    assembly: Assembly
    ruling: Ruling

    @property
    def action(self) -> Action | None:
        """What is to be done."""
        return self.ruling.action

    @property
    def moves(self) -> bool:
        """Tell whether the supervisor is to be asked for something."""
        return self.ruling.action is not None and not self.plan.dry_run

    @property
    def falls(self) -> bool:
        """Tell whether it takes the canary off."""
        return self.ruling.verdict is Verdict.ROLLBACK

    @property
    def gist(self) -> tuple[object, ...]:
        """What :func:`gist` makes of the document."""
        ruling = self.ruling
        words = (ruling.verdict, ruling.reason, ruling.would, ruling.would_reason)
        return (*map(str, words), self.state.rollout, str(ruling.after.phase), ruling.after.step)

    @property
    def evidence(self) -> Evidence:
        """All that is known of the moment."""
        return self.assembly.evidence

    @cached_property
    def decision(self) -> Decision:
        """The ruling, with the words for it."""
        return decide(self.plan, self.state, self.evidence, self.now_ns)

    @cached_property
    def document(self) -> dict[str, Any]:
        """The decision as JSON values."""
        return self.decision.document()

    @cached_property
    def decision_bytes(self) -> bytes:
        """The decision as it is computed again from the snapshot."""
        return record.decision_bytes(self.decision)

    @cached_property
    def snapshot(self) -> bytes:
        """Everything it was made from."""
        return record.snapshot(self.plan, self.state, self.slices, self.now_ns)

    @cached_property
    def digest(self) -> str:
        """Of the snapshot."""
        return record.digest(self.snapshot)


def judge(plan: Plan, state: RolloutState, slices: Slices, now_ns: int) -> Judgement:
    """Return what is to be made of ``slices`` at ``now_ns``."""
    assembly = Assembly(plan, state, slices, now_ns)
    return Judgement(plan, state, slices, now_ns, assembly, rule_on(assembly))


def held_back(reason: str, sentence: str) -> dict[str, Any]:
    """Return what is shown in place of a judgement that could not be made, or could not be acted on."""
    return {"verdict": str(Verdict.HOLD), "reason": reason, "action": None, "sentence": sentence}


def gist(document: Mapping[str, Any]) -> tuple[object, ...]:
    """Return what makes a judgement another one: worth a line in the journal."""
    return tuple(document.get(name) for name in _GIST)


def gist_of_bytes(data: bytes) -> tuple[object, ...] | None:
    """Return :func:`gist` of a stored decision; None when it is none."""
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return gist(document) if isinstance(document, dict) else None


def point(judgement: Judgement) -> bytes:
    """Return a point of the plots: weight, evidence as powers of ten, and intervals, at one moment."""
    decision, evidence = judgement.decision, judgement.evidence
    document = {
        "now_ns": judgement.now_ns,
        "phase": str(judgement.state.phase),
        "weight": float(decision.weight_now),
        "verdict": str(decision.verdict),
        "reason": str(decision.reason),
        "harm": evidence.harm / _LN10,
        "allocation": evidence.allocation / _LN10,
        "canary_requests": evidence.canary_requests,
        "champion_requests": evidence.champion_requests,
        "guardrails": {
            each.name: {
                "harm": each.harm / _LN10,
                "suspicion": each.suspicion / _LN10,
                "noninferiority": each.noninferiority / _LN10,
                "low": each.low,
                "high": each.high,
                **({"canary_ns": each.canary_ns, "champion_ns": each.champion_ns} if each.canary_ns else {}),
            }
            for each in evidence.guardrails
        },
    }
    return orjson.dumps(rounded(document))
