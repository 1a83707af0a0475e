"""The words of a decision: verdicts, reasons, and the decision itself as a value that can be written down."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from math import isfinite
from typing import Any

import orjson

from proxy.rollout.state import Phase
from proxy.rollout.transitions import Action

__all__ = ["Decision", "Need", "Reason", "Verdict", "canonical", "rounded"]


class Verdict(StrEnum):
    """What the engine makes of a moment, from worst to best news."""

    ROLLBACK = "rollback"
    INVALID = "invalid"
    """The counts cannot be trusted: nothing is concluded from them."""
    HOLD = "hold"
    RAMP = "ramp"
    PROMOTE = "promote"


class Reason(StrEnum):
    """Why, in one stable word."""

    HARM = "harm"
    """A critical guardrail is broken."""
    INCONCLUSIVE = "inconclusive"
    """max_duration is over."""
    SRM = "srm"
    """The coin does not fall as the shares say."""
    FEEDBACK_SRM = "feedback_srm"
    """Feedback comes for one variant more often than its share says."""
    NO_CANARY_TRAFFIC = "no_canary_traffic"
    """The champion has traffic and the canary, which should, has none."""
    COUNTS_BACKWARDS = "counts_backwards"
    STRAY_UNITS = "stray_units"
    """Units counted for a variant that has no share."""
    STALE = "stale"
    """Nobody has read the counts lately."""
    CLOCK = "clock"
    """The clock jumped, or stands before the beginning of the step."""
    SUSPICION = "suspicion"
    """Worse than the champion, though perhaps within the margin."""
    DISAGREEMENT = "disagreement"
    """The canary answers otherwise than the tolerance allows."""
    SHADOW_ERRORS = "shadow_errors"
    """The canary fails copies of requests."""
    HOLD_TIME = "hold_time"
    BAKE_TIME = "bake_time"
    NO_TRAFFIC = "no_traffic"
    """Too few units to say anything."""
    NO_REFERENCE = "no_reference"
    """Latency is a guardrail, and cannot be compared yet."""
    BUDGET = "budget"
    """The next step could cost more errors than the budget has."""
    NOT_SHOWN = "not_shown"
    """Not yet shown to be as good as the champion."""
    SHOWN = "shown"
    """Shown to be as good as the champion; or, on the way, safe enough for the next step."""
    PAUSED = "paused"
    BY_PERSON = "by_person"
    """A person promoted it or rolled it back."""
    GUARDED = "guarded"
    """Promoted, and still judged."""
    DONE = "done"
    """Nothing is left to decide."""
    ROLLED_BACK = "rolled_back"


@dataclass(frozen=True, slots=True)
class Need:
    """What evidence would change the verdict."""

    name: str
    """A stable word, or a guardrail's name."""
    amount: float | None
    """How much of it; None: no telling."""
    unit: str
    """``requests``, ``units``, ``errors``, ``seconds``, ``copies`` or empty."""
    sentence: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with a rollout now, and everything that speaks for it."""

    verdict: Verdict
    reason: Reason
    action: Action | None
    """What :func:`~proxy.rollout.transitions.apply` is to be asked for; None: nothing changes."""
    phase: Phase
    step: int
    weight: Decimal
    """Phase, step and weight after the action."""
    weight_now: Decimal
    sentence: str
    """For people who know no statistics."""
    needs: tuple[Need, ...]
    rollout: str
    sequence: int
    """Of the state that was judged: an action on a later one is refused."""
    dry_run: bool
    would: Verdict
    would_reason: Reason
    """The verdict, had nobody paused or settled the rollout."""
    log_e: Mapping[str, float]
    """``harm``, ``allocation``, and per guardrail ``NAME.harm``, ``NAME.suspicion``, ``NAME.noninferiority``."""
    confidence: Mapping[str, tuple[float, float]]
    blamed: tuple[str, ...]
    requests_exposed: int
    units_exposed: int

    def document(self) -> dict[str, Any]:
        """Return the decision as plain values; floats rounded to 1e-9, None for what is infinite."""
        document = {
            "verdict": str(self.verdict),
            "reason": str(self.reason),
            "action": None if self.action is None else str(self.action),
            "phase": str(self.phase),
            "step": self.step,
            "weight": str(self.weight),
            "weight_now": str(self.weight_now),
            "sentence": self.sentence,
            "needs": [
                {"name": n.name, "amount": n.amount, "unit": n.unit, "sentence": n.sentence}
                for n in self.needs
            ],
            "rollout": self.rollout,
            "sequence": self.sequence,
            "dry_run": self.dry_run,
            "would": str(self.would),
            "would_reason": str(self.would_reason),
            "log_e": dict(self.log_e),
            "confidence": {name: list(bounds) for name, bounds in self.confidence.items()},
            "blamed": list(self.blamed),
            "requests_exposed": self.requests_exposed,
            "units_exposed": self.units_exposed,
        }
        plain: dict[str, Any] = rounded(document)
        return plain

    def changed_from(self, earlier: "Decision | None") -> bool:
        """Tell whether this says something else than an earlier decision: worth a line in the journal."""
        return earlier is None or self._gist != earlier._gist

    @property
    def _gist(self) -> tuple[object, ...]:
        return (self.verdict, self.reason, self.would, self.would_reason, self.rollout, self.phase, self.step)


def rounded(value: Any) -> Any:
    """Return plain values with every float rounded to 1e-9, and None for those that are infinite or no number."""
    if isinstance(value, float):
        return round(value, 9) + 0.0 if isfinite(value) else None
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    return value


def canonical(document: Any) -> bytes:
    """Return the one way to write plain values: JSON with sorted keys, no spaces."""
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
