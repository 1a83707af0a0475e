"""One look at everything while traffic runs: is it all alive, and what is to be shown."""

from asyncio import Task
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from proxy.clock import monotonic
from proxy.demo.admin import Status
from proxy.demo.processes import DemoError
from proxy.demo.stage import Stage
from proxy.demo.traffic import Traffic
from proxy.demo.view import Snapshot, View

__all__ = ["TICK_S", "Pulse"]

TICK_S = 0.25
"""Between two looks."""

_RATE_OVER = 8
"""Looks over which the shown rate is averaged."""


class Pulse:
    """Looks at the traffic of one route and shows it on ``view``."""

    def __init__(
        self,
        stage: Stage,
        route: str,
        traffic: Traffic,
        view: View,
        snapshot: Snapshot,
        tell: Callable[[Mapping[str, Any]], None] = lambda _: None,
    ) -> None:
        """Prepare to look at ``route``; ``tell`` is given it as the status has it, before the view is."""
        self._tell = tell
        self._stage, self._route, self._traffic, self._view = stage, route, traffic, view
        self._snapshot = snapshot
        self._begun = monotonic()
        self._recent: deque[tuple[float, int]] = deque(maxlen=_RATE_OVER)

    async def beat(self, task: "Task[None]") -> dict[str, Any]:
        """Show the present state; return the route as the status has it, empty when that cannot be had just now.

        Args:
            task: the traffic.

        Raises:
            DemoError: a process ended, or the traffic did.
        """
        self._stage.fleet.check_alive()
        if task.done():
            task.result()
            raise DemoError("the traffic ended before its time")
        now = monotonic()
        self._recent.append((now, len(self._traffic.answers)))
        status = await self._stage.admin.status()
        route = self._refresh(now - self._begun, status)
        self._tell(route)
        self._view.update(self._snapshot)
        return route

    def _refresh(self, elapsed_s: float, status: Status | None) -> dict[str, Any]:
        shot, traffic = self._snapshot, self._traffic
        shot.elapsed_s, shot.scores = elapsed_s, traffic.scores
        shot.requests, shot.failed = len(traffic.answers), traffic.failed
        (first_s, first), (last_s, last) = self._recent[0], self._recent[-1]
        shot.rate = (last - first) / (last_s - first_s) if last_s > first_s else 0.0
        if status is None:
            return {}
        shot.config_version = int(status["config"]["version"])
        route: dict[str, Any] = next((r for r in status["routes"] if r["name"] == self._route), {})
        shot.weights = {v["name"]: float(v["weight"] or 0) for v in route.get("variants", ())}
        shot.shadows = route.get("shadows", ())
        shot.rollout = route.get("rollout")
        return route
