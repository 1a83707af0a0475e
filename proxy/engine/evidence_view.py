"""What a route is judged by, as the admin address shows it and reports are written from. Pure.

It is bounded: some 250 points of the plots and the latencies of the last 32 epochs, a MiB at most beside the history.
Reports from the state directory have all there is.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import log
from typing import Any

import numpy as np
import orjson

from proxy.engine.dossier import Dossier
from proxy.engine.judging import Judgement
from proxy.engine.ledger import Counts, Epoch
from proxy.engine.store import Recorded, ShadowCounts
from proxy.evidence.layout import BUCKETS, EVENTS, FIRST_LATENCY, REQUEST_EVENTS, REQUESTS, UNITS
from proxy.rollout.evidence import GuardrailEvidence
from proxy.rollout.verdict import rounded
from proxy.routing.hashing import SPACE
from proxy.stats.histogram import quantile_ns

__all__ = ["SHOWN_DECISIONS", "SHOWN_EPOCHS", "SHOWN_POINTS", "Seen", "evidence_document"]

SHOWN_DECISIONS = 50
"""So many of the last verdicts are shown."""

SHOWN_POINTS = 256
"""So many moments of the plots, spread evenly, the first and the last among them."""

SHOWN_EPOCHS = 32
"""Of so many epochs, the last ones, the histograms of latency are told; of earlier ones only counts."""

_LN10 = log(10)
_QUANTILES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}


@dataclass(frozen=True, slots=True)
class Seen:
    """A dossier as it was at one moment: nothing changes it, so that it can be put into words beside the loop."""

    names: tuple[str, str, str]
    """The id, the variant on trial, the champion."""
    facts: Mapping[str, Any]
    """What is told as it is."""
    shadows: tuple[ShadowCounts, ...]
    epochs: tuple[tuple[Epoch, Counts], ...]
    """With what each has counted altogether."""
    points: tuple[bytes, ...]
    is_whole: bool

    @classmethod
    def of(cls, dossier: Dossier, *, is_whole: bool = False) -> "Seen":
        """Return what is in ``dossier`` now.

        Args:
            dossier: everything that was counted.
            is_whole: leave out no points and no latencies.
        """
        ledger = dossier.ledger
        totals, bins = ledger.totals(), sorted(dossier.points)
        if not is_whole and len(bins) > SHOWN_POINTS:
            rows = np.linspace(0, len(bins) - 1, SHOWN_POINTS).astype(int)
            bins = [bins[row] for row in rows.tolist()]
        facts = {
            "read_ns": dossier.read_ns,
            "kept": dossier.is_loaded and dossier.is_stored,
            "watch": dossier.watch._asdict(),
            "slices": len(ledger.slices()),
            "references": [each.from_bin for each in ledger.references],
        }
        return cls(
            (dossier.rollout, dossier.variant, dossier.champion),
            facts,
            tuple(dossier.shadows.values()),
            tuple((info, totals[name]) for name, info in ledger.epochs.items()),
            tuple(dossier.points[at] for at in bins),
            is_whole,
        )


def evidence_document(
    seen: Seen, judgement: Judgement | None, decisions: Sequence[Recorded], problem: str
) -> dict[str, Any]:
    """Return the evidence of one rollout, or of one split by fixed weights, as JSON values.

    It takes some ten milliseconds, which are not the loop's.

    Args:
        seen: everything that was counted.
        judgement: what was made of it last; None: nothing, which is usual without a rollout.
        decisions: the last verdicts, oldest first.
        problem: why it is not on the disk; empty: it is.
    """
    rollout, variant, champion = seen.names
    document: dict[str, Any] = {
        "rollout": rollout,
        "variant": variant,
        "champion": champion,
        **seen.facts,
        "problem": problem,
        "shadow": _shadow(seen.shadows),
        "epochs": _epochs(seen),
        "points": [orjson.loads(each) for each in seen.points],
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


def _epochs(seen: Seen) -> list[dict[str, Any]]:
    first = 0 if seen.is_whole else len(seen.epochs) - SHOWN_EPOCHS
    return [
        {
            "epoch": info.epoch,
            "first_ns": info.first_ns,
            "variants": [
                {"name": variant, "share": width / SPACE, **_counted(counts, has_latency=number >= first)}
                for variant, width, counts in zip(info.variants, info.widths, total, strict=True)
            ],
        }
        for number, (info, total) in enumerate(seen.epochs)
    ]


def _counted(counts: Counts, *, has_latency: bool) -> dict[str, Any]:
    latency = counts[FIRST_LATENCY : FIRST_LATENCY + BUCKETS]
    filled = np.flatnonzero(latency) if has_latency else np.zeros(0, np.int64)
    names = ("errors", "client_errors", "abandoned")
    return {
        "requests": int(counts[REQUESTS]),
        "units": int(counts[UNITS]),
        **{f"{name}_requests": int(counts[REQUEST_EVENTS + i]) for i, name in enumerate(names)},
        **{name: int(counts[EVENTS + i]) for i, name in enumerate(names)},
        **{name: quantile_ns(latency, q) / 1e6 for name, q in _QUANTILES.items()},
        "latency": [filled.tolist(), latency[filled].tolist()],
    }


def _shadow(shadows: Iterable[ShadowCounts]) -> dict[str, int]:
    columns: Iterable[int] = map(sum, zip(*shadows, strict=True))
    return dict(zip(ShadowCounts._fields, columns, strict=False))


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
