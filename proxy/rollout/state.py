"""Where a rollout stands: a small value that only :mod:`~proxy.rollout.transitions` makes anew.

Everything else about a rollout is counted (the evidence) or said by the file (the plan). The state is what must not be
lost: it decides the weight.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from enum import StrEnum
from typing import Any

from proxy.rollout.plan import Plan

__all__ = ["ENGINE", "Phase", "RolloutState", "weight"]

ENGINE = "engine"
"""Who acted, where it was no person."""


class Phase(StrEnum):
    """What a rollout is doing."""

    BAKING = "baking"
    """At weight 0: only copies of requests show what the canary does."""
    RAMPING = "ramping"
    """On one of the steps."""
    PROMOTED = "promoted"
    """It has everything but the holdback."""
    ROLLED_BACK = "rolled_back"
    """At weight 0 until it is another model, or a person starts it again."""
    INCONCLUSIVE = "inconclusive"
    """Its time is over and nothing was shown: it stays where it is until a person decides. Harm still rolls it back."""


@dataclass(frozen=True, slots=True)
class RolloutState:
    """One rollout at one moment. Times are of the engine's clock, in nanoseconds."""

    route: str
    variant: str
    rollout: str
    """16 hex digits, new for each start of the evidence."""
    phase: Phase
    step: int
    """Index into the plan's ladder; -1: before the first step, at weight 0."""
    since_ns: int
    """When this phase and step began."""
    started_ns: int
    """When this rollout began: its evidence, and the time that ``max_duration`` bounds."""
    promoted_ns: int
    """When it was promoted, which begins another stretch of evidence; 0: it is not."""
    paused_by: str
    """The person whose word stops the engine; empty: nobody's."""
    by: str
    """Who brought it into this phase: ``engine``, or a person. What a person settled, the engine leaves alone."""
    reason: str
    """Why, as a word or a sentence."""
    sequence: int
    """Grows with every change: an action on an older state is refused."""
    plan_digest: str
    """Of the plan that it was last matched with."""
    paused_reason: str = ""
    """What the person gave as the reason for the pause; empty: it is not paused, or no reason was given."""

    @property
    def is_terminal(self) -> bool:
        """Tell whether no evidence moves it any more: the engine never raises it from here."""
        return self.phase is Phase.ROLLED_BACK or self.is_settled_by_person

    @property
    def is_settled_by_person(self) -> bool:
        """Tell whether a person promoted it or rolled it back."""
        return self.by != ENGINE and self.phase in (Phase.PROMOTED, Phase.ROLLED_BACK)

    @property
    def evidence_since_ns(self) -> int:
        """When the stretch of evidence began that decides now."""
        return self.promoted_ns if self.phase is Phase.PROMOTED else self.started_ns

    def document(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {**asdict(self), "phase": str(self.phase)}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "RolloutState":
        """Return the state that :meth:`document` wrote.

        Raises:
            ValueError: a value is missing, or of another kind.
        """
        values: dict[str, Any] = {}
        for each in fields(cls):
            value = document.get(each.name, "" if each.default == "" else None)
            if type(value) is not (int if each.type is int else str):
                raise ValueError(f"expected {each.name} of a rollout's state, got {value!r}")
            values[each.name] = value
        values["phase"] = Phase(values["phase"])
        return cls(**values)


def weight(plan: Plan, state: RolloutState) -> Decimal:
    """Return the percent of the route's units that the canary has in this state.

    ======================  =========================================
    phase                   weight
    ======================  =========================================
    baking, rolled_back     0
    ramping, inconclusive   its step of the ladder (0 before the first)
    promoted                100 - holdback - the other variants' weights
    ======================  =========================================
    """
    if state.phase in (Phase.BAKING, Phase.ROLLED_BACK):
        return Decimal(0)
    if state.phase is Phase.PROMOTED:
        return plan.most
    if state.step < 0 or not plan.ladder:
        return Decimal(0)
    return plan.ladder[min(state.step, len(plan.ladder) - 1)]
