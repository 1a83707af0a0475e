"""Play the scenes: traffic without a pause, and the configuration file edited under it."""

import asyncio
from contextlib import suppress

from proxy.clock import monotonic
from proxy.demo.admin import has_applied
from proxy.demo.facts import Step
from proxy.demo.oip import build_question
from proxy.demo.pulse import TICK_S, Pulse
from proxy.demo.stage import Stage
from proxy.demo.story import ROUTE, SCENES, rounds
from proxy.demo.traffic import Traffic
from proxy.demo.view import Snapshot, View
from proxy.tasks import spawn

__all__ = ["RATE", "Play"]

_CALLER = "demo"
"""What the request ids of this part begin with."""

RATE = 160.0
"""Requests a second. With two shadows 480 predictions a second: about half of two cores, models included."""

RELOAD_S = 15.0
"""A reload may take this long. It takes a fraction of a second; a loaded machine may need more."""

_SEED = 20


class Play:
    """The scenes that a person steers. After ``run``, ``traffic.answers`` and ``steps`` say what happened."""

    def __init__(self, stage: Stage, users: list[str], duration_s: float, view: View) -> None:
        """Prepare ``duration_s`` seconds of traffic by ``users``, shown on ``view``."""
        rows, labels = stage.dataset.held_out_rows, stage.dataset.held_out_labels
        url = f"http://{stage.listen}/v2/models/{ROUTE}/infer"
        bodies = [build_question(row) for row in rows]
        self.traffic = Traffic(url, rounds(users, _SEED), bodies, labels.tolist(), RATE, caller=_CALLER)
        self.steps = [Step(SCENES[0].canary_weight, stage.first_version, 0.0)]
        self.snapshot = Snapshot(
            arms=stage.config.arms(), total_s=duration_s, addresses=stage.addresses, part=ROUTE
        )
        self._stage, self._duration_s, self._view = stage, duration_s, view

    async def run(self) -> None:
        """Play every scene, then stop the traffic and wait for the last answer.

        Raises:
            DemoError: a process ended, or a reload did not take effect in time.
        """
        task = spawn(self.traffic.run(), name="demo traffic")
        pulse = Pulse(self._stage, ROUTE, self.traffic, self._view, self.snapshot)
        until = monotonic()
        try:
            for number, scene in enumerate(SCENES):
                if number:
                    await self._reload(number)
                self.snapshot.scene = number
                self._view.event(f"canary {scene.canary_weight} %: {scene.caption}")
                until += scene.share * self._duration_s
                while monotonic() < until:
                    await pulse.beat(task)
                    await asyncio.sleep(min(TICK_S, max(0.0, until - monotonic())))
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

    def _say_agreement(self) -> None:
        shares = self.snapshot.agreement()
        said = [f"{a.role} {shares[a.variant]:.1%}" for a in self.snapshot.arms if a.variant in shares]
        if said:
            self._view.event(f"agreement with the champion so far: {', '.join(said)}")
