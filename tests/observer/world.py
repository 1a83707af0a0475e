"""A run directory with counters in it, as workers and observer leave it, and the source that shows it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from proxy.control.label_items import LabelItem
from proxy.engine.feedback import BusyError
from proxy.engine.feedback_store import Told
from proxy.model import DURATION_BOUNDS_NS
from proxy.observer.label_store import KnownLabels
from proxy.observer.labelling import LabelTold
from proxy.observer.showing import Known
from proxy.routing.table import Table, compile_table
from proxy.settings import parse
from proxy.settled import read_settled, settle
from proxy.tally import Layout, block_path, fold, open_block

__all__ = ["CONFIG", "World", "as_slots", "delivered"]

CONFIG = """
listen: 127.0.0.1:8080
admin: 127.0.0.1:9090
models:
  wine-v1: {url: "http://127.0.0.1:9001"}
  wine-v2: {url: ["http://127.0.0.1:9002", "http://127.0.0.1:9012"], health: {}}
  wine-v3: {url: "http://127.0.0.1:9003/v2/models/wine-v3"}
  wine-v4: {url: "http://127.0.0.1:9100"}
routes:
  - name: wine
    match: {path: "/v2/models/wine/*"}
    unit: ["header:x-user-id", "cookie:uid"]
    variants:
      - {name: v1, model: wine-v1, role: champion}
      - {name: v2, model: wine-v2, role: challenger, weight: 10}
      - {name: v3, model: wine-v3, role: canary, weight: 5}
    shadows:
      - {model: wine-v4, percent: 50}
    log: {percent: 5}
"""


def delivered(name: str, **counts: int) -> Mapping[str, Any]:
    """Return what a sink that fails says of itself."""
    counts = {"taken": counts["written"] + counts["failed"], **counts}
    return {
        "name": name,
        "kind": "jsonl",
        "counts": counts,
        "queue_bytes": 512,
        "failing": True,
        "problem": "No space left",
    }


class World:
    """Implements :class:`proxy.observer.source.Source`; tests write the counts."""

    def __init__(self, run_dir: Path, text: str = CONFIG) -> None:
        self.run_dir = run_dir
        self.tables: dict[int, Table] = {}
        self.current: Table | None = None
        self.fleet: dict[str, Any] = {}
        self.said: list[tuple[dict[str, Any], dict[str, int]]] = []
        self.busy = ""
        self.reply: Mapping[str, Any] | OSError = {"ok": True, "document": {"version": 1}}
        self.requests: list[tuple[str, str]] = []
        self.facts: list[Mapping[str, Any]] = []
        self.delivered: list[Mapping[str, Any]] = []
        self.judgements: dict[str, Mapping[str, Any]] = {}
        self.fields: dict[str, Mapping[str, Sequence[int]]] = {}
        self.evidences: dict[str, Mapping[str, Any]] = {}
        self.snapshots: dict[str, bytes] = {}
        self.known: dict[str, Sequence[Known]] = {}
        self.labelled: dict[str, Sequence[KnownLabels]] = {}
        self.labels_said: list[tuple[dict[str, Any], dict[str, int]]] = []
        self._last = 0
        self.publish(text)

    def gauges(self) -> Mapping[str, float]:
        return {"queue_bytes": 512.0, "pending_pairs": 2.0, "broken_streams_total": 1.0}

    def disagreements(self, route: str) -> Sequence[Known]:
        return self.known.get(route, ())

    def labels(self, route: str) -> Sequence[KnownLabels]:
        return self.labelled.get(route, ())

    async def take_labels(
        self, items: Mapping[str, Sequence[LabelItem]], refused: Mapping[str, int]
    ) -> Mapping[str, LabelTold]:
        self.labels_said.append((dict(items), dict(refused)))
        return {route: LabelTold({"accepted": len(said)}) for route, said in items.items()}

    def noise_fields(self, stretch: str) -> Mapping[str, Sequence[int]]:
        return self.fields.get(stretch, {})

    def sinks(self) -> Sequence[Mapping[str, Any]]:
        return self.delivered

    def judgement(self, route: str) -> Mapping[str, Any] | None:
        return self.judgements.get(route)

    async def evidence(self, route: str) -> Mapping[str, Any] | None:
        return self.evidences.get(route)

    async def snapshot(self, digest: str) -> bytes | None:
        return self.snapshots.get(digest)

    async def feedback(
        self, items: Mapping[str, Sequence[tuple[int, bool]]], refused: Mapping[str, int]
    ) -> Mapping[str, Told]:
        self.said.append((dict(items), dict(refused)))
        if self.busy:
            raise BusyError(self.busy)
        return {route: Told(len(said)) for route, said in items.items()}

    async def request(self, verb: str, by: str, facts: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        self.requests.append((verb, by))
        self.facts.append(facts or {})
        if isinstance(self.reply, OSError):
            raise self.reply
        return self.reply

    def publish(self, text: str = CONFIG) -> Table:
        """Put the next version in force on every worker."""
        self._last += 1
        settings = read_settled(settle(parse(text, environ={}, source="test.yaml")))
        table = compile_table(settings, self._last, f"digest-{self._last}")
        self.tables[table.version] = table
        self.current = table
        config = {
            "version": table.version,
            "digest": table.digest,
            "path": "test.yaml",
            "loaded_wall_ns": 1_700_000_000_500_000_000,
            "last_reload_successful": True,
            "last_error": [],
            "reloads_total": table.version - 1,
            "reloads_refused_total": 0,
            "journal_failures_total": 0,
            "rollout_book_failures_total": 6,
            "rollout_stale_decisions_total": 7,
            "upgrades_total": 4,
            "upgrades_refused_total": 5,
            "remnants": 2,
            "remnants_dropped_total": 6,
            "earlier_pids": [7, 8],
            "certificates": {
                "expiries": {"": 1_800_000_000, "wine-v1": 1_900_000_000},
                "problems": ["tls.key: found another key"],
                "reloads_total": 5,
                "reloads_refused_total": 2,
            },
        }
        workers = [
            {"index": i, "pid": 100 + i, "up": True, "version": table.version, "restarts": i, "hangs": 2 * i}
            for i in (0, 1)
        ]
        self.fleet = {
            "config": config,
            "workers": workers,
            "observer_restarts": 3,
            "observer_hangs": 1,
            "started_wall_ns": 1,
        }
        return table

    def retire(self, version: int) -> None:
        """Let the observer forget a version."""
        del self.tables[version]

    def fold(self, table: Table) -> None:
        """Let the supervisor fold a version into the base."""
        fold(self.run_dir, table.version, {"w": table.layout, "o": table.observer_layout})

    def count(self, kind: str, *labels: str, writer: str = "w0", version: int = 0, **fields: int) -> None:
        """Add ``fields`` to a section of ``writer``; version 0 is the table in force."""
        self.add((kind, *labels), fields, writer=writer, version=version)

    def add(
        self,
        section_name: tuple[str, ...],
        fields: Mapping[str, int],
        *,
        writer: str = "w0",
        version: int = 0,
    ) -> None:
        """Do what :meth:`count` does, for fields whose names are no identifiers."""
        assert self.current is not None
        table = self.tables[version] if version else self.current
        layout: Layout = table.layout if writer[0] == "w" else table.observer_layout
        section = layout.section(*section_name)
        block = open_block(block_path(self.run_dir, writer, table.version), layout.size)
        try:
            for name, number in fields.items():
                block.slots[section.slot(name)] += number
        finally:
            block.close()

    def serve(self, variant: str = "v1", number: int = 1, *, writer: str = "w0", version: int = 0) -> None:
        """Count ``number`` requests of 3 ms that were answered with 200."""
        labels = ("wine", variant, f"wine-{variant}")
        fields = {"started": number, "code_200": number}
        for name in ("duration", "ttfb"):
            fields |= {f"{name}_{as_slots(3_000_000)}": number, f"{name}_sum_ns": 3_000_000 * number}
        self.count("variant", *labels, writer=writer, version=version, **fields)


def as_slots(duration_ns: int) -> int:
    """Return the histogram slot that a worker counts this duration in."""
    return next(
        (slot for slot, bound in enumerate(DURATION_BOUNDS_NS) if duration_ns <= bound),
        len(DURATION_BOUNDS_NS),
    )
