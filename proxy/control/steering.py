"""What is asked of a rollout: read, judged by the law, and written down. Pure.

Verbs
    ``promote`` ``abort`` ``pause`` ``resume``: a person's word. It acts on the rollout as it is when its turn comes.
    ``decide``: what the engine decided, from a state that it names (``rollout``, ``sequence``): on another state it is
    refused. The observer asks again each second until it sees the state it asked for, so that nothing is lost when
    somebody dies in between; what is under way or done already is not done twice.
    ``note``: the engine judged otherwise than before and nothing moves: a line in the journal.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from proxy.control.book import Entry
from proxy.printable import printable
from proxy.rollout.plan import Plan
from proxy.rollout.state import ENGINE, Phase, RolloutState, weight
from proxy.rollout.transitions import Action, apply

__all__ = ["REASON_MAX", "STEERING", "VERDICTS", "Order", "Stale", "Step", "note_facts", "read_order", "take"]

STEERING = frozenset({"promote", "abort", "pause", "resume", "decide", "note"})
"""Every verb about a rollout."""

VERDICTS = ("hold", "invalid", "ramp", "promote", "rollback")
"""What the engine can decide."""

REASON_MAX = 500
"""So many characters of a reason are kept."""

_DECISION_MAX_BYTES = 64 * 1024
"""A longer decision is journalled without its figures; the evidence is in the store."""

_FIGURES = ("log_e", "confidence", "needs", "blamed")

_JOURNALLED = (
    "verdict", "reason", "action", "sentence", "would", "would_reason", "evidence", "log_e", "confidence", "blamed",
    "requests_exposed", "units_exposed", "needs", "dry_run",
)  # fmt: skip

_SAID = {
    Action.RAMP: "the next step",
    Action.PROMOTE: "promoted",
    Action.ROLLBACK: "rolled back",
    Action.CONCLUDE: "its time is over, and nothing is shown: it stays until a person decides",
    Action.ABORT: "aborted",
    Action.PAUSE: "paused",
    Action.RESUME: "resumed",
}

_FALLING = frozenset({Action.ROLLBACK, Action.ABORT})


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody wants of a rollout."""

    verb: str
    route: str
    by: str
    reason: str
    decision: Mapping[str, Any] = field(default_factory=dict)
    """The engine's; empty for a person's word."""

    @property
    def key(self) -> tuple[str, ...]:
        """Equal for two requests of the engine that mean the same."""
        named = (str(self.decision.get(name)) for name in ("rollout", "sequence", "action"))
        return (self.verb, self.route, *named)

    @property
    def verdict(self) -> str:
        """What the engine decided, as a metric's label."""
        verdict = str(self.decision.get("verdict"))
        return verdict if verdict in VERDICTS else "other"

    @property
    def is_engine(self) -> bool:
        """Tell whether no person asks."""
        return self.verb in ("decide", "note")


@dataclass(frozen=True, slots=True)
class Stale:
    """The order is about a state that is over."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Step:
    """What an order does."""

    action: Action
    entry: Entry
    """Afterwards."""
    sentence: str
    """For people: what happens, and from which to which weight."""
    facts: Mapping[str, Any]
    """For the journal."""
    falls: bool
    """It takes the canary off, or its weight falls: it takes effect whatever the disk says."""
    rises: bool
    """The engine gives the canary more: a restart must not forget it."""
    is_urgent: bool
    """It holds from now on, also when a process cannot hold the table at the moment."""


def read_order(message: Mapping[str, Any]) -> Order | str:
    """Return the order in a message of the link, or the sentence that refuses it."""
    verb, route = message.get("verb"), message.get("route")
    if str(verb) not in STEERING or not isinstance(route, str):
        return f"expected one of {', '.join(sorted(STEERING))} and a route, got {verb!r} and {route!r}"
    decision = message.get("decision") or {}
    if str(verb) not in ("decide", "note"):
        by = printable(str(message.get("by") or "admin"))
        return Order(str(verb), route, "a person" if by == ENGINE else by, _reason(message.get("reason")))
    if not isinstance(decision, Mapping) or not {"rollout", "sequence", "verdict"} <= decision.keys():
        return f"{verb}: expected a decision with rollout, sequence and verdict"
    reason = decision.get("sentence") or decision.get("reason") or decision["verdict"]
    return Order(str(verb), route, ENGINE, _reason(reason), decision)


def take(order: Order, entry: Entry, plan: Plan, now_ns: int, fresh: str) -> Step | Stale | str:
    """Return what ``order`` does to the rollout of its route, or the sentence that refuses it.

    Args:
        order: not a note.
        entry: where the rollout stands.
        plan: what the file asks for.
        now_ns: the engine's clock.
        fresh: an id that no rollout had, for one that starts again.
    """
    state = entry.state
    if order.is_engine and (stale := _staleness(order.decision, state)):
        return Stale(stale)
    try:
        action = Action(order.decision.get("action") or order.verb)
    except ValueError:
        return f"expected an action that moves a rollout, got {order.decision.get('action')!r}"
    reason = order.reason or ("" if action is Action.PAUSE else f"{action} was asked for")
    after = apply(plan, state, action, now_ns, order.by, reason, rollout=fresh)
    if isinstance(after, str):
        return f"{state.variant}: {after}"
    old, new = weight(plan, state), weight(plan, after)
    moved = f"{old} % → {new} %" if old != new else f"stays at {new} %"
    return Step(
        action=action,
        entry=Entry(after, plan.document()),
        sentence=f"{after.variant}: {_SAID[action]}, {moved} ({_where(plan, after)})",
        facts={**_facts(order, after), "from_weight": float(old), "to_weight": float(new)},
        falls=action in _FALLING or new < old,
        is_urgent=action in _FALLING or action is Action.PAUSE,
        rises=order.is_engine and new > old,
    )


def note_facts(order: Order, state: RolloutState, plan: Plan) -> dict[str, Any] | Stale:
    """Return what the journal says of a note."""
    if stale := _staleness(order.decision, state):
        return Stale(stale)
    return {**_facts(order, state), "weight": float(weight(plan, state))}


def _staleness(decision: Mapping[str, Any], state: RolloutState) -> str:
    if decision["rollout"] != state.rollout:
        return f"decided about rollout {decision['rollout']}, and it is {state.rollout} by now"
    if decision["sequence"] != state.sequence:
        return f"decided from state {decision['sequence']}, and it is {state.sequence} by now"
    return ""


def _facts(order: Order, state: RolloutState) -> dict[str, Any]:
    decision = {name: order.decision[name] for name in _JOURNALLED if name in order.decision}
    if len(orjson.dumps(decision)) > _DECISION_MAX_BYTES:
        decision = {name: value for name, value in decision.items() if name not in _FIGURES}
        decision["is_cut"] = True
    said = decision if order.is_engine else {"verdict": order.verb, "reason": order.reason}
    return {
        "route": order.route,
        "variant": state.variant,
        "rollout": state.rollout,
        "phase": str(state.phase),
        "sequence": state.sequence,
        **said,
    }


def _where(plan: Plan, state: RolloutState) -> str:
    words = str(state.phase).replace("_", " ")
    if state.phase is Phase.RAMPING:
        words += f", step {state.step + 1} of {len(plan.ladder)}"
    return f"{words}, paused by {state.paused_by}" if state.paused_by else words


def _reason(value: Any) -> str:
    text = printable(value) if isinstance(value, str) else ""
    return text if len(text) <= REASON_MAX else text[: REASON_MAX - 1] + "…"
