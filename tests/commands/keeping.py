"""A state directory with rollouts that are over, as a proxy leaves it."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson

from proxy.engine.ledger import BIN_NS, Epoch, Ledger, Reference
from proxy.engine.store import FILE_NAME, Batch, Verdict, open_store
from proxy.rollout import record
from proxy.rollout.slices import FIELDS
from proxy.rollout.verdict import canonical
from proxy.routing.hashing import SPACE
from tests.report.told import Told

__all__ = ["keep"]


def keep(state_dir: Path, *all_told: Told, tamper: bool = False) -> None:
    """Store these rollouts, each with an id of its own, in place of what is there.

    Args:
        state_dir: where. all_told: the rollouts, oldest first.
        tamper: change a byte of the last snapshot after it was named.
    """
    for name in (FILE_NAME, "journal.jsonl"):
        (state_dir / name).unlink(missing_ok=True)
    store = open_store(state_dir, 0)
    lines = []
    for number, told in enumerate(all_told):
        rollout = str(number) * 16
        store.write([_batch(told, rollout)])
        names = {}
        for each in told.decisions:
            snapshot = _renamed(told.snapshots[each["evidence"]], rollout)
            names[each["evidence"]] = digest = record.digest(snapshot)
            if tamper and each is told.decisions[-1]:
                snapshot = snapshot.replace(b'"now_ns":1', b'"now_ns":2')
            store.record(_verdict(each, rollout, digest, snapshot))
        lines += [
            {**line, "rollout": rollout, "evidence": names.get(line.get("evidence", ""), "")}
            for line in told.history
        ]
    store.close()
    (state_dir / "journal.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))


def _renamed(snapshot: bytes, rollout: str) -> bytes:
    document = orjson.loads(snapshot)
    document["state"]["rollout"] = rollout
    return canonical(document)


def _verdict(each: dict[str, Any], rollout: str, digest: str, snapshot: bytes) -> Verdict:
    decision = {**each["decision"], "rollout": rollout}
    return Verdict(
        rollout,
        "wine",
        decision["sequence"],
        each["engine_ns"],
        decision["verdict"],
        each["moves"],
        digest,
        canonical(decision),
        snapshot,
    )


def _batch(told: Told, rollout: str) -> Batch:
    slices, world = told.world.slices(), told.world
    ledger = Ledger(FIELDS)
    totals: dict[str, Any] = {}
    for row, name in enumerate(slices.epochs):
        if name not in totals:
            width = round(float(slices.share[row]) * SPACE)
            begin = int(slices.start_ns[row])
            ledger.admit(Epoch(rollout[:8] + name, ("v3", "v1"), (width, SPACE - width), begin))
            totals[name] = np.zeros((2, FIELDS), np.int64)
        totals[name] = totals[name] + np.stack([slices.canary[row], slices.champion[row]])
        ledger.merge("run", rollout[:8] + name, int(slices.start_ns[row]) // BIN_NS, totals[name])
    ledger.freeze(Reference(0, slices.references[0].counts.copy()))
    points = {each["now_ns"] // BIN_NS: orjson.dumps(each) for each in told.points}
    return Batch(rollout, "wine", "v3", world.now_ns, ledger.take_changes(), points=points)
