"""A decision that can be decided again: everything that it was made from, as bytes, and the same bytes every time.

A snapshot is JSON with sorted keys. Counts are integers and stand there without their zeros; floats (shares) are
written as their shortest text, which reads back as the same float. So :func:`recompute` gives the decision of the day,
byte for byte, as long as the program decides the same way; ``engine`` says which way that is.

Engines
    2: the decisions of all plans but those below.
    3: a guardrail on disagreement is about what is above the champion's own noise. Every other plan is still decided,
       and written, as by engine 2: a program that knows only that one makes such decisions again.
"""

from dataclasses import asdict
from hashlib import sha256
from typing import Any

import numpy as np
import orjson

from proxy.rollout.assemble import assemble
from proxy.rollout.decide import decide
from proxy.rollout.plan import Plan
from proxy.rollout.slices import (
    BUCKETS,
    FIELDS,
    RENEWED_FIELDS,
    Allocation,
    Counts,
    Health,
    Renewals,
    ShadowEvidence,
    Slices,
)
from proxy.rollout.state import RolloutState
from proxy.rollout.verdict import Decision, canonical
from proxy.stats.latency import Reference

__all__ = ["ENGINES", "ENGINE_VERSION", "decision_bytes", "digest", "read", "recompute", "snapshot"]

ENGINE_VERSION = 3
"""Grows with each change that lets the same counts give another decision."""

ENGINES = (2, ENGINE_VERSION)
"""Whose decisions this program makes again."""

_NOISE = ("triples", "candidate_odd", "champion_odd", "both_odd")
"""What only engine 3 knows of copies."""


def snapshot(plan: Plan, state: RolloutState, slices: Slices, now_ns: int) -> bytes:
    """Return everything that a decision is made from."""
    return canonical(
        {
            "engine": 3 if plan.goes_above_noise else 2,
            "plan": plan.document(),
            "state": state.document(),
            "now_ns": now_ns,
            "slices": _slices_document(slices, has_noise=plan.goes_above_noise),
        }
    )


def digest(data: bytes) -> str:
    """Return the SHA-256 of a snapshot in hex: the evidence digest of the journal."""
    return sha256(data).hexdigest()


def decision_bytes(decision: Decision) -> bytes:
    """Return a decision as the journal has it, floats rounded to 1e-9."""
    return canonical(decision.document())


def recompute(data: bytes) -> bytes:
    """Return :func:`decision_bytes` of the decision that a snapshot leads to.

    Raises:
        ValueError: it is no snapshot, or one of another engine.
    """
    plan, state, slices, now_ns = read(data)
    return decision_bytes(decide(plan, state, assemble(plan, state, slices, now_ns), now_ns))


def read(data: bytes) -> tuple[Plan, RolloutState, Slices, int]:
    """Return what :func:`snapshot` was given.

    Raises:
        ValueError: it is no snapshot, or one of another engine.
    """
    document = orjson.loads(data)
    if not isinstance(document, dict) or document.get("engine") not in ENGINES:
        raise ValueError(f"expected a snapshot of engine {' or '.join(map(str, ENGINES))}")
    try:
        return (
            Plan.from_document(document["plan"]),
            RolloutState.from_document(document["state"]),
            _slices(document["slices"]),
            int(document["now_ns"]),
        )
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"expected a whole snapshot: {error!r}") from error


def _slices_document(slices: Slices, *, has_noise: bool) -> dict[str, Any]:
    said = (
        {}
        if slices.feedback is None
        else {"feedback": _slices_document(slices.feedback, has_noise=has_noise)}
    )
    return {
        **said,
        "epochs": list(slices.epochs),
        "start_ns": slices.start_ns.tolist(),
        "span_ns": slices.span_ns.tolist(),
        "share": slices.share.tolist(),
        "canary": [_sparse(row) for row in slices.canary],
        "champion": [_sparse(row) for row in slices.champion],
        "reference": slices.reference.tolist(),
        "references": [_sparse(each.counts) for each in slices.references],
        "allocations": [asdict(each) for each in slices.allocations],
        "shadow": {
            name: number for name, number in asdict(slices.shadow).items() if has_noise or name not in _NOISE
        },
        "health": asdict(slices.health),
        "renewals": _renewals_document(slices.renewals),
    }


def _renewals_document(renewals: Renewals) -> dict[str, Any]:
    return {
        "epochs": list(renewals.epochs),
        "generation": renewals.generation.tolist(),
        "share": renewals.share.tolist(),
        "canary": [_sparse(row) for row in renewals.canary],
        "champion": [_sparse(row) for row in renewals.champion],
        "reference": renewals.reference.tolist(),
        "references": [_sparse(each.counts) for each in renewals.references],
        "period_ns": renewals.period_ns,
    }


def _sparse(counts: Counts) -> list[list[int]]:
    """Return the columns that are not zero, and what they hold."""
    columns = np.flatnonzero(counts)
    return [columns.tolist(), counts[columns].tolist()]


def _slices(document: dict[str, Any]) -> Slices:
    return Slices(
        epochs=tuple(document["epochs"]),
        start_ns=np.array(document["start_ns"], np.int64),
        span_ns=np.array(document["span_ns"], np.int64),
        share=np.array(document["share"], np.float64),
        canary=_dense(document["canary"], FIELDS),
        champion=_dense(document["champion"], FIELDS),
        reference=np.array(document["reference"], np.int64),
        references=tuple(Reference(each) for each in _dense(document["references"], BUCKETS)),
        allocations=tuple(
            Allocation(
                each["epoch"],
                tuple(each["variants"]),
                tuple(each["shares"]),
                tuple(each["units"]),
                tuple(each["requests"]),
            )
            for each in document["allocations"]
        ),
        shadow=ShadowEvidence(**document["shadow"]),
        health=Health(**document["health"]),
        renewals=_renewals(document["renewals"]),
        feedback=_slices(document["feedback"]) if "feedback" in document else None,
    )


def _renewals(document: dict[str, Any]) -> Renewals:
    return Renewals(
        epochs=tuple(document["epochs"]),
        generation=np.array(document["generation"], np.int64),
        share=np.array(document["share"], np.float64),
        canary=_dense(document["canary"], RENEWED_FIELDS),
        champion=_dense(document["champion"], RENEWED_FIELDS),
        reference=np.array(document["reference"], np.int64),
        references=tuple(Reference(each) for each in _dense(document["references"], BUCKETS)),
        period_ns=int(document["period_ns"]),
    )


def _dense(rows: list[list[list[int]]], width: int) -> Counts:
    counts = np.zeros((len(rows), width), np.int64)
    for row, (columns, values) in zip(counts, rows, strict=True):
        row[columns] = values
    return counts
