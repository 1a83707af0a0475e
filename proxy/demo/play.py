"""Play the scenes: traffic without a pause, and the configuration file edited under it."""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any

from proxy.clock import monotonic
from proxy.demo.admin import Status, has_applied
from proxy.demo.facts import Step
from proxy.demo.oip import build_question
from proxy.demo.processes import DemoError
from proxy.demo.stage import Stage
from proxy.demo.story import ROUTE, SCENES
from proxy.demo.traffic import Traffic
from proxy.demo.view import Snapshot, View
from proxy.tasks import spawn

__all__ = ["RATE", "Play"]

RATE = 160.0
"""Requests a second. With two shadows 480 predictions a second: about half of two cores, models included."""

RELOAD_S = 15.0
"""A reload may take this long. It takes a fraction of a second; a loaded machine may need more."""

_TICK_S = 0.25
_RATE_OVER = 8
"""Ticks over which the shown rate is averaged."""


class Play:
    """The scenes of one run. After ``run``, ``traffic.answers`` and ``steps`` say what happened."""

    def __init__(self, stage: Stage, users: list[str], duration_s: float, view: View) -> None:
        """Prepare ``duration_s`` seconds of traffic by ``users``, shown on ``view``."""
        rows, labels = stage.dataset.held_out_rows, stage.dataset.held_out_labels
        url = f"http://{stage.listen}/v2/models/digits/infer"
        self.traffic = Traffic(url, users, [build_question(row) for row in rows], labels.tolist(), RATE)
        self.steps = [Step(SCENES[0].canary_weight, stage.first_version, 0.0)]
        self.snapshot = Snapshot(
            arms=stage.config.arms(),
            total_s=duration_s,
            addresses={
                "clients": f"http://{stage.listen}",
                "admin": stage.admin.url,
                "files": str(stage.folder),
            },
        )
        self._stage, self._duration_s, self._view = stage, duration_s, view
        self._recent: deque[tuple[float, int]] = deque(maxlen=_RATE_OVER)

    async def run(self) -> None:
        """Play every scene, then stop the traffic and wait for the last answer.

        Raises:
            DemoError: a process ended, or a reload did not take effect in time.
        """
        task = spawn(self.traffic.run(), name="demo traffic")
        begun = until = monotonic()
        try:
            for number, scene in enumerate(SCENES):
                if number:
                    await self._reload(number)
                self.snapshot.scene = number
                self._view.event(f"canary {scene.canary_weight} %: {scene.caption}")
                until += scene.share * self._duration_s
                await self._watch(task, begun, until)
                self._say_agreement()
        finally:
            self.traffic.stop()
            with suppress(asyncio.CancelledError):
                await task
        self.snapshot.scene = len(SCENES)

    async def _reload(self, number: int) -> None:
        weight, version = SCENES[number].canary_weight, self.steps[-1].config_version + 1
        # From here on an answer may come from the new version; from `earliest` on it must.
        self.traffic.latest = number
        written = monotonic()
        self._stage.config.write(weight)
        status = await self._stage.admin.wait(
            f"the reload to canary {weight} %", RELOAD_S, lambda status: has_applied(status, version)
        )
        self.traffic.earliest = number
        applied_ms = (monotonic() - written) * 1000
        self.steps.append(Step(weight, int(status["config"]["version"]), applied_ms))
        self._view.event(f"the file was edited; {applied_ms:.0f} ms later every worker uses it")

    async def _watch(self, task: "asyncio.Task[None]", begun: float, until: float) -> None:
        while (now := monotonic()) < until:
            self._stage.fleet.check_alive()
            if task.done():
                task.result()
                raise DemoError("the traffic ended before its time")
            self._recent.append((now, len(self.traffic.answers)))
            self._refresh(now - begun, await self._stage.admin.status())
            self._view.update(self.snapshot)
            await asyncio.sleep(min(_TICK_S, max(0.0, until - monotonic())))

    def _refresh(self, elapsed_s: float, status: Status | None) -> None:
        shot, traffic = self.snapshot, self.traffic
        shot.elapsed_s, shot.scores = elapsed_s, traffic.scores
        shot.requests, shot.failed = len(traffic.answers), traffic.failed
        (first_s, first), (last_s, last) = self._recent[0], self._recent[-1]
        shot.rate = (last - first) / (last_s - first_s) if last_s > first_s else 0.0
        if status is None:
            return
        shot.config_version = int(status["config"]["version"])
        route: dict[str, Any] = next((r for r in status["routes"] if r["name"] == ROUTE), {})
        shot.weights = {v["name"]: float(v["weight"] or 0) for v in route.get("variants", ())}
        shot.shadows = route.get("shadows", ())

    def _say_agreement(self) -> None:
        shares = self.snapshot.agreement()
        said = [f"{a.role} {shares[a.variant]:.1%}" for a in self.snapshot.arms if a.variant in shares]
        if said:
            self._view.event(f"agreement with the champion so far: {', '.join(said)}")
