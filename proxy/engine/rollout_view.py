"""Where a rollout stands, as the admin address shows it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from proxy.clock import monotonic_ns
from proxy.rollout.plan import plan_of
from proxy.rollout.state import RolloutState, weight

if TYPE_CHECKING:
    from proxy.settings import Route, Settings

__all__ = ["rollout_document"]

_NS = 1e9


def rollout_document(
    settings: "Settings", route: "Route", fleet: Mapping[str, Any], judgement: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """Return the rollout of ``route`` as JSON values; None when it has none, or nobody has told yet where it stands.

    Args:
        settings: in force.
        route: one of theirs.
        fleet: the supervisor's last ``fleet`` message.
        judgement: what the engine thought last.
    """
    told = fleet.get("rollouts") or {}
    plan = plan_of(settings, route)
    document = next((each for each in told.get("states", ()) if each.get("route") == route.name), None)
    if plan is None or document is None:
        return None
    try:
        state = RolloutState.from_document(document)
    except ValueError:
        return None
    now_ns = monotonic_ns() + int(told.get("clock_offset_ns", 0))
    return {
        "route": state.route,
        "variant": state.variant,
        "rollout": state.rollout,
        "phase": str(state.phase),
        "step": max(0, state.step),
        "steps": [float(step) for step in plan.ladder],
        "weight": float(weight(plan, state)),
        "promoted_weight": float(plan.most),
        "seconds_in_step": max(0.0, round((now_ns - state.since_ns) / _NS, 3)),
        "seconds_since_start": max(0.0, round((now_ns - state.started_ns) / _NS, 3)),
        "paused_by": state.paused_by,
        "paused_reason": state.paused_reason,
        "by": state.by,
        "reason": state.reason,
        "dry_run": plan.dry_run,
        "sequence": state.sequence,
        "judgement": None if judgement is None else dict(judgement),
    }
