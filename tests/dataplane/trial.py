"""A road whose requests are evidence: a route with two variants, and what was counted of them."""

from pathlib import Path

import pytest

from proxy.dataplane.evidence import Experiments
from proxy.evidence.counts import read
from proxy.evidence.layout import (
    EVIDENCE_FIELDS,
)
from proxy.routing.experiment import Experiment
from proxy.routing.table import Table
from tests.dataplane.road import Road, build_table, request
from tests.fakes import FakeTransport

__all__ = ["CONFIG", "FALLING", "GOOD", "PATH", "RETRIED", "ROLLOUT", "V1", "V2", "Trial"]

CONFIG = """
limits: {body: 1KiB, copy: 1KiB}
timeouts: {client_body: 2s}
trusted: [192.0.2.0/24]
models:
  one: {url: "http://127.0.0.1:9001"}
  two: {url: "http://127.0.0.1:9002", timeout: 5s}
routes:
  - name: wine
    match: {path: "/v2/models/wine/*"}
    unit: [header:x-user-id]
    timeout: 20s
    retry: []
    fallback: []
    variants:
      - {name: v1, model: one, role: champion}
      - {name: v2, model: two, role: canary, weight: 50}
  - name: alone
    match: {path: "/alone"}
    variants: [{name: v1, model: one, role: champion}]
"""
V1, V2 = 0, 1
PATH = "/v2/models/wine/infer"
RETRIED = CONFIG.replace("    retry: []\n", "    retry: [503]\n")
FALLING = CONFIG.replace("    fallback: []\n", "    fallback: [connect-failure]\n")
ROLLOUT = CONFIG.replace("weight: 50", "rollout: {}")


class Trial(Road):
    """A road whose worker counts evidence in real files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, run_dir: Path, text: str = CONFIG) -> None:
        super().__init__(monkeypatch, text)
        self.run_dir = run_dir
        self.experiments = Experiments(run_dir, 0)
        assert self.experiments.attach(self.table) == 0

    def reload(self, text: str) -> Table:
        """Publish another configuration; return the table before."""
        before, table = self.table, build_table(text, self.table.version + 1)
        self.experiments.attach(table)
        self.pools.attach(table)
        self.table = self.worker.table = table
        return before

    @property
    def experiment(self) -> Experiment:
        experiment = self.table.routes[0].experiment
        assert experiment is not None
        return experiment

    def user(self, variant: int = V2, number: int = 0) -> str:
        """Return the ``number``-th unit of a variant."""
        route = self.table.routes[0]
        units = (f"user-{i}" for i in range(10_000))
        owned = [u for u in units if route.assign(route.bucket(u.encode())).index == variant]
        return owned[number]

    def ask(self, user: str = "", variant: int = V2, **headers: str) -> FakeTransport:
        """Send a request of ``user``; return the model's end."""
        headers["X_User_Id"] = user or self.user(variant)
        self.feed(request(PATH, b"", "POST", **headers))
        return self.model()

    def model(self) -> FakeTransport:
        """Return the model's end of the request that is under way."""
        if self.wanted:
            return self.connect()
        return next(t for t in self.upstreams if not t.lost and t.protocol.sink is not None)  # type: ignore[attr-defined]

    def evidence(self, variant: int = V2, epoch: str = "") -> dict[str, int]:
        """Return what was counted, without the durations."""
        row = read(self.run_dir, epoch or self.experiment.epoch, 2)[variant]
        return {
            name: int(n) for name, n in zip(EVIDENCE_FIELDS, row, strict=True) if n and "latency" not in name
        }


GOOD = {"requests": 1, "units": 1}
