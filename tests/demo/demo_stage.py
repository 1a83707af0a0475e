"""A stage without processes: a proxy that answers each request as one variant, and an admin address with a script."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from proxy.demo.facts import Backend
from proxy.demo.models import Dataset
from proxy.demo.processes import Fleet
from proxy.demo.stage import Stage
from proxy.demo.story import Release
from proxy.demo.view import Snapshot

__all__ = ["FakeStage", "FakeView", "Script", "rollout_document"]


def rollout_document(release: Release, phase: str, **changes: Any) -> dict[str, Any]:
    """Return the rollout of ``release`` as the status has it."""
    weight = {"baking": 0.0, "ramping": 5.0, "promoted": 100.0, "rolled_back": 0.0}[phase]
    return {
        "variant": release.variant,
        "rollout": f"id-{release.variant}",
        "phase": phase,
        "step": 0,
        "steps": [5.0, 25.0, 50.0],
        "weight": weight,
        "promoted_weight": 100.0,
        "seconds_in_step": 1.0,
        "by": "engine",
        "reason": f"{release.variant} is {phase}",
        "judgement": {
            "verdict": "hold",
            "reason": "hold_time",
            "sentence": "each step takes 2s",
            "requests_exposed": 7,
            "log_e": {
                "harm": 2.302585,
                "errors.noninferiority": 0.0,
                "latency.noninferiority": 6.907755,
                "disagreement.suspicion": 1.151293,
            },
        },
        **changes,
    }


class FakeView:
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.shown: list[tuple[str, int]] = []
        """Part and requests of each snapshot."""

    def event(self, text: str) -> None:
        """Keep it."""
        self.events.append(text)

    def update(self, snapshot: Snapshot) -> None:
        """Keep what tells snapshots apart."""
        self.shown.append((snapshot.part, snapshot.requests))

    def close(self) -> None:
        """Nothing to give back."""


Script = Mapping[str, Sequence[dict[str, Any] | None]]
"""The rollouts that the status shows after an edit, by the variant it brought; the last one stays."""


class FakeAdmin:
    """Goes through a script, one status each time it is asked; an abort is a rollback from then on."""

    url = "http://admin"

    def __init__(self, script: Script) -> None:
        self.aborted: list[str] = []
        self._script = script
        self._coming: Iterator[dict[str, Any] | None] = iter(script.get("", ()))
        self._rollout: dict[str, Any] | None = None

    def edit(self, variant: str) -> None:
        """Go on with what follows an edit."""
        self._coming = iter(self._script.get(variant, ()))

    async def status(self) -> dict[str, Any]:
        """Return the next of the script; the last one stays."""
        self._rollout = next(self._coming, self._rollout)
        if self._rollout and self._rollout["variant"] in self.aborted:
            self._rollout = self._rollout | {"phase": "rolled_back", "by": "a person", "reason": "by hand"}
        variants = [{"name": "v1", "weight": 100}]
        route = {"name": "parcels", "variants": variants, "shadows": [], "rollout": self._rollout}
        return {"config": {"version": 3}, "workers": [{"version": 3}], "routes": [route]}

    async def rollout(self, route: str) -> dict[str, Any]:
        """Return what is true of every canary here: nobody met it."""
        assert route == "parcels"
        assert self._rollout is not None
        arms = [
            {"name": name, "share": share, "requests": 0, "units": 0, "errors_requests": 0}
            for name, share in ((self._rollout["variant"], 0.0), ("v1", 1.0))
        ]
        evidence = {"epochs": [{"epoch": "e", "variants": arms}], "shadow": {"compared": 4, "disagreed": 3}}
        return self._rollout | {"evidence": evidence}

    async def abort(self, route: str, reason: str) -> None:
        """Take the canary off."""
        assert (route, bool(reason)) == ("parcels", True)
        assert self._rollout is not None
        self.aborted.append(self._rollout["variant"])


class FakeConfig:
    """Keeps what would have been written."""

    def __init__(self, admin: FakeAdmin) -> None:
        self.written: list[tuple[int, str]] = []
        self._admin = admin

    def write(self, canary_weight: int, release: Release | None = None) -> None:
        """Keep it."""
        variant = release.variant if release else ""
        self.written.append((canary_weight, variant))
        self._admin.edit(variant)


class FakeStage:
    """What plays need of a stage; ``stage`` is the same for type checkers.

    Args:
        listen: ``host:port`` of a server that answers in the proxy's place.
        script: what the status shows.
    """

    def __init__(self, listen: str, script: Script) -> None:
        self.listen = listen
        self.admin = FakeAdmin(script)
        self.config = FakeConfig(self.admin)
        self.fleet = Fleet(Path())
        self.addresses: dict[str, str] = {}
        self.dataset = Dataset(
            np.zeros((1, 64)), np.zeros(1, np.int64), np.zeros((4, 64)), np.ones(4, np.int64)
        )

    @property
    def stage(self) -> Stage:
        """Itself."""
        return cast("Stage", self)

    async def books(self, model: str) -> Backend:
        """Return the books of a model that nobody asked."""
        return Backend(model, 0, 5, 0, 0, 0, 0, {}, {}, {})
