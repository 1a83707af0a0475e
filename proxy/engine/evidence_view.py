"""What a route is judged by, as the admin address shows it and reports are written from. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from math import log
from typing import Any

import numpy as np
import orjson

from proxy.engine.dossier import Dossier
from proxy.engine.judging import Judgement
from proxy.engine.ledger import Counts
from proxy.engine.store import Recorded
from proxy.evidence.layout import BUCKETS, EVENTS, FIRST_LATENCY, REQUEST_EVENTS, REQUESTS, UNITS
from proxy.rollout.evidence import GuardrailEvidence
from proxy.rollout.verdict import rounded
from proxy.routing.hashing import SPACE
from proxy.stats.histogram import quantile_ns

__all__ = ["SHOWN_DECISIONS", "evidence_document"]

SHOWN_DECISIONS = 50
"""So many of the last verdicts are shown."""

_LN10 = log(10)
_QUANTILES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}


def evidence_document(
    dossier: Dossier, judgement: Judgement | None, decisions: Sequence[Recorded], problem: str
) -> dict[str, Any]:
    """Return the evidence of one rollout, or of one split by fixed weights, as JSON values.

    Args:
        dossier: everything that was counted.
        judgement: what was made of it last; None: nothing, which is usual without a rollout.
        decisions: the last verdicts, oldest first.
        problem: why it is not on the disk; empty: it is.
    """
    slices = dossier.ledger.slices()
    document: dict[str, Any] = {
        "rollout": dossier.rollout,
        "variant": dossier.variant,
        "champion": dossier.champion,
        "read_ns": dossier.read_ns,
        "kept": dossier.is_loaded and dossier.is_stored,
        "problem": problem,
        "watch": dossier.watch._asdict(),
        "shadow": _shadow(dossier),
        "slices": len(slices),
        "references": [each.from_bin for each in dossier.ledger.references],
        "epochs": _epochs(dossier),
        "points": [orjson.loads(dossier.points[at]) for at in sorted(dossier.points)],
        "decisions": [_decision(each) for each in decisions],
    }
    if judgement is not None:
        evidence = judgement.evidence
        document |= {
            "plan": judgement.plan.document(),
            "state": judgement.state.document(),
            "judged_ns": judgement.now_ns,
            "harm_log10_e": evidence.harm / _LN10,
            "allocation_log10_e": evidence.allocation / _LN10,
            "problems": list(evidence.problems),
            "held_ns": evidence.held_ns,
            "canary_units": evidence.canary_units,
            "champion_units": evidence.champion_units,
            "canary_requests": evidence.canary_requests,
            "champion_requests": evidence.champion_requests,
            "request_rate": evidence.request_rate,
            "excess_errors": evidence.excess_errors,
            "guardrails": [_guardrail(each) for each in evidence.guardrails],
        }
    plain: dict[str, Any] = rounded(document)
    return plain


def _guardrail(guardrail: GuardrailEvidence) -> dict[str, Any]:
    return {
        **asdict(guardrail),
        "metric": str(guardrail.metric),
        "harm_log10_e": guardrail.harm / _LN10,
        "suspicion_log10_e": guardrail.suspicion / _LN10,
        "noninferiority_log10_e": guardrail.noninferiority / _LN10,
        "parts": dict(guardrail.parts),
    }


def _epochs(dossier: Dossier) -> list[dict[str, Any]]:
    totals = dossier.ledger.totals()
    return [
        {
            "epoch": name,
            "first_ns": info.first_ns,
            "variants": [
                {"name": variant, "share": width / SPACE, **_counted(counts)}
                for variant, width, counts in zip(info.variants, info.widths, totals[name], strict=True)
            ],
        }
        for name, info in dossier.ledger.epochs.items()
    ]


def _counted(counts: Counts) -> dict[str, Any]:
    latency = counts[FIRST_LATENCY : FIRST_LATENCY + BUCKETS]
    filled = np.flatnonzero(latency)
    names = ("errors", "client_errors", "abandoned")
    return {
        "requests": int(counts[REQUESTS]),
        "units": int(counts[UNITS]),
        **{f"{name}_requests": int(counts[REQUEST_EVENTS + i]) for i, name in enumerate(names)},
        **{name: int(counts[EVENTS + i]) for i, name in enumerate(names)},
        **{name: quantile_ns(latency, q) / 1e6 for name, q in _QUANTILES.items()},
        "latency": [filled.tolist(), latency[filled].tolist()],
    }


def _shadow(dossier: Dossier) -> dict[str, int]:
    columns: Iterable[int] = map(sum, zip(*dossier.shadows.values(), strict=True))
    return dict(zip(("answered", "failed", "compared", "disagreed"), columns, strict=False))


def _decision(recorded: Recorded) -> dict[str, Any]:
    verdict = recorded.verdict
    return {
        "number": recorded.number,
        "rollout": verdict.rollout,
        "engine_ns": verdict.engine_ns,
        "moves": verdict.moves,
        "evidence": verdict.digest,
        "decision": orjson.loads(verdict.document),
    }
