"""Play the releases: each build is put into the file once, and what moves it from then on is what it shows."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from proxy.clock import monotonic
from proxy.demo.admin import has_applied
from proxy.demo.facts import Arm, Backend
from proxy.demo.oip import build_question
from proxy.demo.processes import DemoError
from proxy.demo.pulse import TICK_S, Pulse
from proxy.demo.stage import Stage
from proxy.demo.story import (
    BAKE_S,
    CHAMPION,
    COPIES,
    RELEASES,
    ROLLOUT_ROUTE,
    SCENES,
    Release,
    crowd,
    user_names,
)
from proxy.demo.traffic import Traffic
from proxy.demo.trials import Trial, read_epochs, read_trial
from proxy.demo.view import Snapshot, View
from proxy.tasks import spawn

__all__ = ["RATE", "REGULARS", "Releases"]

_CALLER = "parcels"
"""What the request ids of this part begin with."""

RATE = 260.0
"""Requests a second, two thirds of them by visitors that come once. With a copy of every fifth it is half of two
cores, models included."""

CONCURRENCY = 16
"""Few, so that a machine that is busy with other things slows the visitors down instead of making a queue in front of
the champion, which would speak for any canary."""

REGULARS = 300
"""Visitors that return: each about every three seconds."""

LIMIT_S = 120.0
"""A rollout that has not ended by then is left as it is, for the checks to say so. They take 3 to 20 s; where a machine
becomes slow and quick again the last may take a minute, for evidence is what it waits for."""

_SHOW_S = 1.5
"""So long the end of each is watched."""

_SETTLE_S = 10.0

Rollout = Mapping[str, Any]


class Releases:
    """The builds of one run. After ``run``, ``traffic.answers`` and ``trials`` say what happened."""

    def __init__(self, stage: Stage, view: View) -> None:
        rows, labels = stage.dataset.held_out_rows, stage.dataset.held_out_labels
        url = f"http://{stage.listen}/v2/models/{ROLLOUT_ROUTE}/infer"
        bodies = [build_question(row) for row in rows]
        visitors = crowd(user_names(REGULARS))
        self.traffic = Traffic(
            url, visitors, bodies, labels.tolist(), RATE, caller=_CALLER, concurrency=CONCURRENCY
        )
        self.trials: list[Trial] = []
        self.snapshot = Snapshot(addresses=stage.addresses, arms=(CHAMPION,), part=ROLLOUT_ROUTE)
        self._stage, self._view = stage, view
        self._pulse = Pulse(stage, ROLLOUT_ROUTE, self.traffic, view, self.snapshot, self._tell)
        self._told = ""
        self._said: set[tuple[str, int]] = set()

    async def run(self) -> None:
        """Play every release, then stop the traffic and wait for the last answer.

        Raises:
            DemoError: a process ended.
        """
        task = spawn(self.traffic.run(), name="traffic of the releases")
        try:
            for number, release in enumerate(RELEASES):
                is_last = number == len(RELEASES) - 1
                self.trials.append(await self._play(release, task, is_last=is_last))
        finally:
            await self._stop(task)

    async def _stop(self, task: "asyncio.Task[None]") -> None:
        self.traffic.stop()
        with suppress(asyncio.CancelledError):
            await task

    async def _play(self, release: Release, task: "asyncio.Task[None]", *, is_last: bool) -> Trial:
        self.snapshot.arms = (CHAMPION, Arm(release.variant, "canary", release.model))
        self.snapshot.caption = release.caption
        self._view.event(f"{ROLLOUT_ROUTE}: {release.caption}")
        begun = monotonic()
        self._stage.config.write(SCENES[-1].canary_weight, release)
        if release.bakes and release.phase == "rolled_back":
            await self._until(task, release, _is_held)
            self._view.event(f"the bake is over, and the operator takes {release.variant} out for good")
            with suppress(DemoError):  # it is over already: the checks say so
                await self._stage.admin.abort(ROLLOUT_ROUTE, "it reads otherwise than v1")
        await self._until(task, release, lambda rollout: rollout["phase"] == release.phase)
        seconds, ended_s = monotonic() - begun, self.traffic.now_s
        shown = monotonic() + _SHOW_S
        while monotonic() < shown:
            await self._look(task)
        if is_last:
            # Its evidence comes to rest only when nobody asks any more.
            await self._stop(task)
        evidence, books = await self._settle(release)
        return read_trial(release, evidence, books, seconds, ended_s)

    async def _until(
        self, task: "asyncio.Task[None]", release: Release, condition: Callable[[Rollout], bool]
    ) -> None:
        """Wait until ``condition`` holds of the rollout in every worker, or it is over, or ``LIMIT_S`` at most."""
        deadline = monotonic() + LIMIT_S
        while monotonic() < deadline:
            rollout = (await self._look(task)).get("rollout") or {}
            is_over = rollout.get("phase") in ("rolled_back", "promoted")
            if rollout.get("variant") == release.variant and (is_over or condition(rollout)):
                status = await self._stage.admin.status() or {}
                if has_applied(status, int(status.get("config", {}).get("version", 0))):
                    return
        self._view.event(f"{release.variant} is still not {release.phase} after {LIMIT_S:g} s")

    async def _look(self, task: "asyncio.Task[None]") -> dict[str, Any]:
        route = await self._pulse.beat(task)
        await asyncio.sleep(TICK_S)
        return route

    def _tell(self, route: Mapping[str, Any]) -> None:
        """Say what has moved, and once why it stands still although its copies could say more."""
        rollout = route.get("rollout")
        if not rollout:
            return
        weight = f"{rollout['variant']} {rollout['weight']:g} %"
        if rollout["rollout"] != self._told:
            self._told, self._said = rollout["rollout"], {(rollout["phase"], rollout["step"])}
            copies = f", and copies of {COPIES} % of the requests" if rollout["phase"] == "baking" else ""
            self._view.event(f"{weight}: the rollout begins{copies}")
        elif (where := (rollout["phase"], rollout["step"])) not in self._said:
            self._said.add(where)
            whose = "" if rollout["by"] == "engine" else f", by {rollout['by']}"
            self._view.event(f"{weight}{whose}: {rollout['reason']}")
        judgement = rollout.get("judgement") or {}
        if judgement.get("reason") == "disagreement" and ("held", 0) not in self._said:
            self._said.add(("held", 0))
            self._view.event(str(judgement["sentence"]))

    async def _settle(self, release: Release) -> tuple[Rollout, Backend]:
        """Return the evidence, once it holds all that the model server has seen of clients, and that server's books."""
        deadline = monotonic() + _SETTLE_S
        while True:
            books = await self._stage.books(release.model)
            document = await self._stage.admin.rollout(ROLLOUT_ROUTE)
            counted = sum(epoch.canary.requests for epoch in read_epochs(release, document))
            if counted == books.requests or monotonic() > deadline:
                return document, books
            await asyncio.sleep(TICK_S)


def _is_held(rollout: Rollout) -> bool:
    """Return whether what copies show keeps the canary at 0 %, though its bake is over."""
    judgement = rollout.get("judgement") or {}
    return judgement.get("reason") == "disagreement" and rollout["seconds_in_step"] > BAKE_S + 1
