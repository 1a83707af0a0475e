"""What a replay has found, as a document and as a verdict. Pure; every figure of the page is in the document.

Shares
    A record stands for ``1 / inclusion_probability`` requests, so shares are weighted (:mod:`proxy.records.weights`),
    and their intervals are of the model, not of this log alone: requests of one unit resemble each other and count
    together. Counts are of what was sent, unweighted.

The limit of a build (``--fail-over``)
    Held against the limit is the share of requests that went wrong: the answers disagree, or the new model gave none.
    By default the share itself decides, so that the same log and the same model always give the same verdict; the
    document says as well whether the interval excludes the limit. ``confident`` asks for more before a build fails:
    the whole interval over the limit. Where nothing was compared the build fails: a gate that saw nothing says nothing.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import orjson

from proxy.compare import Comparison
from proxy.records.reading import Reading
from proxy.records.record import rfc3339_of
from proxy.records.weights import Sample
from proxy.replay.judging import MEANINGS, Outcome
from proxy.replay.pacing import Schedule
from proxy.replay.results import Example, Group, Results
from proxy.stats.histogram import Counts, quantile_ns

__all__ = ["CONFIDENCE", "Limit", "Verdict", "build_document", "build_line", "judge_limit", "share_of"]

CONFIDENCE: Final = 0.95
"""Of each interval by itself."""

Verdict: TypeAlias = Literal["passed", "over", "doubtful", "nothing compared"]

_ROUNDING: Final = 1e-9
"""Weights are added up in the order in which answers come: a share at the limit must not be over it by the last digit.
"""

_QUANTILES: Final = (0.5, 0.9, 0.95, 0.99)
_Document: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Limit:
    """What a build is held against."""

    share: float
    """Of requests that go wrong, in 0..1."""
    is_confident: bool = False
    """Fail only where the whole interval is over it."""


def share_of(sample: Sample) -> _Document | None:
    """Return a weighted share and its interval; None where there is nothing to have a share of."""
    if not sample.records:
        return None
    estimate = sample.ratio()
    low, high = estimate.proportion_interval(CONFIDENCE, of_model=True)
    return {"share": float(estimate.value), "low": low, "high": high}


def _mean_of(sample: Sample) -> _Document | None:
    """Return a weighted mean of what is in 0..1 and its interval; None where there is nothing to have a mean of."""
    share = share_of(sample)
    return None if share is None else {"mean": share.pop("share"), **share}


def judge_limit(limit: Limit, results: Results) -> tuple[Verdict, _Document | None]:
    """Return whether a build passes, and the share that was held against the limit."""
    wrong = share_of(results.wrong)
    if wrong is None or not results.total().compared:
        return "nothing compared", wrong
    most = limit.share + _ROUNDING
    if wrong["share"] <= most:
        return "passed", wrong
    if limit.is_confident and wrong["low"] <= most:
        return "doubtful", wrong
    return "over", wrong


def build_document(
    results: Results, reading: Reading, limit: Limit | None, schedule: Schedule | None = None
) -> _Document:
    """Return everything that was found. See the README for each field."""
    total = results.total()
    document: _Document = {
        "log": {
            "files": reading.files,
            "records": reading.records,
            "skipped": reading.skipped,
            "repeated": reading.repeated,
            "damaged": reading.damaged,
            "unfinished": reading.unfinished,
            "problems": list(reading.problems),
        },
        "not_replayed": _counts(results.refused),
        **_group(total),
        "abandoned": results.abandoned,
        "disagreement": share_of(results.disagreeing),
        "mean_distance": _mean_of(results.distance),
        "limit": None,
        "latency": _latency(results),
        "waits": None if schedule is None else _waits(schedule),
        "late_ms": {**_quantiles(results.late), "max": round(results.most_late_ns / 1e6, 3)},
        "confusion": [
            {"reference": reference, "new": new, "rows": rows}
            for (reference, new), rows in results.confusion.most_common()
        ],
        "scores": {
            name: {
                "mean": score.total / score.count,
                "min": score.least,
                "max": score.most,
                "count": score.count,
            }
            for name, score in sorted(results.scores.items())
        },
        "meanings": {name: results.meanings[name] for name in MEANINGS},
        "groups": [
            {"route": route, "variant": variant, **_group(group)}
            for (route, variant), group in sorted(results.groups.items())
        ],
        "examples": [_example(example) for example in results.examples()],
    }
    if limit is not None:
        verdict, wrong = judge_limit(limit, results)
        document["limit"] = {
            "share": limit.share,
            "confident": limit.is_confident,
            "verdict": verdict,
            "wrong": wrong,
        }
    return document


def _waits(schedule: Schedule) -> _Document:
    return {
        "shortened": schedule.waits_shortened,
        "left_out_s": round(schedule.left_out_ns / 1e9, 3),
        "clock_set_back": schedule.set_back,
    }


def _group(group: Group) -> _Document:
    return {
        "sent": group.sent,
        "answered": group.answered,
        "asked_again": group.asked_again,
        "failed": _counts(group.failed),
        "reference_failed": _counts(group.reference_failed),
        "compared": group.compared,
        "agree": group.agree,
        "disagree": group.disagree,
        "uncomparable": _counts(group.uncomparable),
        "rows": group.rows,
        "rows_disagreeing": group.rows_disagreeing,
        "methods": _counts(group.methods),
        "reasons": [
            {"method": method, "reason": reason, "count": count}
            for (method, reason), count in group.reasons.most_common()
        ],
    }


def _counts(counter: Counter[str]) -> dict[str, int]:
    return dict(sorted(counter.items()))


def _latency(results: Results) -> _Document:
    new, reference = _quantiles(results.latencies.new), _quantiles(results.latencies.reference)
    return {
        "new_ms": new,
        "reference_ms": reference,
        "ratio": {
            name: round(new[name] / before, 3) if before else None for name, before in reference.items()
        },
    }


def _quantiles(counts: Counts) -> dict[str, float]:
    if not counts.sum():
        return {}
    return {f"p{q * 100:g}": round(quantile_ns(counts, q) / 1e6, 3) for q in _QUANTILES}


def _example(example: Example) -> _Document:
    comparison = example.comparison
    return {
        "ts": rfc3339_of(example.ts_wall_ns),
        "request_id": example.request_id,
        "route": example.route,
        "variant": example.variant,
        "path": example.path,
        "status": example.status,
        "new_status": example.new_status,
        "method": comparison.method,
        "reason": comparison.reason,
        "distance": comparison.distance,
        "rows": comparison.rows,
        "rows_disagreeing": comparison.rows_disagreeing,
        **_differences(comparison, shows_values=example.shows_values),
    }


def build_line(outcome: Outcome, *, shows_values: bool) -> bytes:
    """Return what came of one request as a line of JSON."""
    record, new, comparison = outcome.record, outcome.new, outcome.comparison
    document: _Document = {
        "ts": rfc3339_of(record.ts_wall_ns),
        "request_id": record.request_id,
        "route": record.route,
        "variant": record.variant,
        "inclusion_probability": record.inclusion_probability,
        "status": None if new.answer is None else new.answer.status,
        "fault": new.fault,
        "duration_ms": round(new.duration_ns / 1e6, 3),
        "reference_status": _reference_status(outcome),
        "reference_fault": None if outcome.reference is None else outcome.reference.fault,
        "late_ms": round(outcome.late_ns / 1e6, 3),
        "comparison": None,
    }
    if comparison is not None:
        document["comparison"] = {
            "result": comparison.result,
            "distance": comparison.distance,
            "reason": comparison.reason,
            "method": comparison.method,
            "rows": comparison.rows,
            "rows_disagreeing": comparison.rows_disagreeing,
            "scores": dict(comparison.scores),
            **_differences(comparison, shows_values=shows_values),
        }
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def _reference_status(outcome: Outcome) -> int | None:
    if outcome.reference is None:
        return outcome.record.response.status
    return None if outcome.reference.answer is None else outcome.reference.answer.status


def _differences(comparison: Comparison, *, shows_values: bool) -> _Document:
    """Return where the answers part; only in how many places where the name of a place may be secret itself."""
    if not shows_values:
        return {"differences": [], "differences_hidden": len(comparison.differences)}
    return {
        "differences": [
            {"path": each.path, "reference": each.primary, "new": each.shadow}
            for each in comparison.differences
        ]
    }
