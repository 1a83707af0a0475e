"""Variants with fixed weights beside the champion: what differs, in both directions, and no decision.

Each comparison is of the units that went to the variant or to the champion. Epochs (stretches of constant weights) are
not pooled by the bets; quantiles of latency are of all that was counted, whatever the hour.
"""

from dataclasses import dataclass
from math import inf, isfinite, log

import numpy as np

from proxy.plural import count
from proxy.report.documents import Epoch, Rollout, Variant
from proxy.report.facts import Facts
from proxy.report.pages import Block, Bullets, Heading, Paragraph, Table
from proxy.report.ratio import estimate
from proxy.report.words import amount, duration, e_value, joined, latency, percent, times
from proxy.stats import events, histogram, multiple, quantiles

__all__ = ["Comparison", "Difference", "compare", "split_blocks", "split_headline"]

_ALPHA = 0.05
_FALSE_DISCOVERIES = 0.1
_EVENTS = ("errors", "client_errors", "abandoned")
_QUANTILES = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
_SECOND_NS = 1_000_000_000

_DOES = {
    "errors": ("fails more often", "fails less often"),
    "client_errors": ("refuses more requests, as mistakes of the client,", "refuses fewer requests"),
    "abandoned": ("loses more clients that would not wait", "loses fewer clients that would not wait"),
    "latency": ("is slower", "is faster"),
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of a variant, compared with the champion's."""

    metric: str
    mine: str
    other: str
    best: float | None
    """How many times the champion's figure, as best one can tell; None: no telling."""
    low: float
    high: float
    """95 % limits of that."""
    more: float
    """log e against "the variant has no more of it"; of latency against "both have the same median"."""
    less: float
    """log e against "the variant has no less of it"; the same for latency."""

    @property
    def side(self) -> int:
        """1: the variant has more of it, with certainty; -1: less; 0: no telling."""
        return 1 if self.low > 1 else -1 if self.high < 1 else 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """One variant beside the champion."""

    variant: str
    units: int
    champion_units: int
    requests: int
    differences: tuple[Difference, ...]


def compare(document: Rollout, variant: str) -> Comparison:
    """Return how a variant compares with the champion, over every epoch that both have been in."""
    pairs = _pairs(document, variant)
    mine, other = [own for own, _ in pairs], [champion for _, champion in pairs]
    share = np.array([own.share / (own.share + champion.share) for own, champion in pairs])
    differences = [_event(metric, mine, other, share) for metric in _EVENTS]
    differences += _latencies(mine, other)
    return Comparison(
        variant,
        sum(each.units for each in mine),
        sum(each.units for each in other),
        sum(each.requests for each in mine),
        tuple(differences),
    )


def _pairs(document: Rollout, variant: str) -> list[tuple[Variant, Variant]]:
    pairs = []
    for epoch in document.epochs:
        own, champion = _named(epoch, variant), _named(epoch, document.champion)
        if own is not None and champion is not None and own.share > 0 and champion.share > 0:
            pairs.append((own, champion))
    return pairs


def _named(epoch: Epoch, name: str) -> Variant | None:
    return next((each for each in epoch.variants if each.name == name), None)


def _event(
    metric: str, mine: list[Variant], other: list[Variant], share: "np.typing.NDArray[np.float64]"
) -> Difference:
    own, champion = (np.array([getattr(each, metric) for each in arm], np.int64) for arm in (mine, other))
    low, high = events.risk_ratio_sequence(own, champion, share, _ALPHA)
    return Difference(
        metric,
        _rate(int(own.sum()), sum(each.units for each in mine)),
        _rate(int(champion.sum()), sum(each.units for each in other)),
        estimate(own, champion, share),
        low,
        high,
        events.harm(own, champion, share, 0.0),
        events.harm(champion, own, 1 - share, 0.0),
    )


def _rate(events_: int, units: int) -> str:
    return f"{events_:,} of {units:,} ({percent(events_ / units)})" if units else "nothing yet"


def _latencies(mine: list[Variant], other: list[Variant]) -> list[Difference]:
    own, champion = _histogram(mine), _histogram(other)
    if not own.any() or not champion.any():
        return []
    found = []
    for q, name in _QUANTILES:
        low, high = quantiles.quantile_ratio_sequence(own, champion, q, _ALPHA)
        values = histogram.quantile_ns(own, q), histogram.quantile_ns(champion, q)
        differ = quantiles.quantiles_differ(own, champion, q)
        best = values[0] / values[1]
        found.append(
            Difference(
                f"latency {name}", latency(values[0]), latency(values[1]), best, low, high, differ, differ
            )
        )
    return found


def _histogram(arm: list[Variant]) -> "np.typing.NDArray[np.int64]":
    counts = np.zeros(histogram.BUCKETS, np.int64)
    for each in arm:
        buckets, numbers = each.latency
        known = [(b, n) for b, n in zip(buckets, numbers, strict=False) if 0 <= b < len(counts) and n > 0]
        for bucket, number in known:
            counts[bucket] += number
    return counts


def split_headline(facts: Facts) -> str:
    """Return how the variants compare, as a sentence or two."""
    found = [compare(facts.document, name) for name in _others(facts.document)]
    if not found:
        return f"Nothing was counted yet beside {facts.champion}."
    return (
        " ".join(_said(each, facts.champion) for each in found) + " Weights are fixed: nothing was decided."
    )


def _said(comparison: Comparison, champion: str) -> str:
    certain = [each for each in comparison.differences if each.side and each.metric != "latency p99"]
    lead = f"After {count(comparison.requests, 'request')}"
    if not certain:
        return f"{lead} no difference between {comparison.variant} and {champion} is certain."
    clauses: dict[str, str] = {}
    for each in certain:
        does = _DOES[each.metric.split()[0]][each.side < 0]
        limits = (
            f"{amount(each.low)} to {times(each.high)}"
            if isfinite(each.high)
            else f"{times(each.low)} at least"
        )
        clauses.setdefault(does, f"{does} than {champion} ({limits} its {each.metric.replace('_', ' ')})")
    return f"{lead} it is certain that {comparison.variant} {joined(list(clauses.values()))}."


def _others(document: Rollout) -> list[str]:
    """Return the variants without a rollout, but the champion, in the order of the table."""
    names = (each.name for epoch in document.epochs for each in epoch.variants)
    return [name for name in dict.fromkeys(names) if name not in (document.champion, document.variant)]


def split_blocks(facts: Facts) -> list[Block]:
    """Return the part about the variants with fixed weights; nothing where there are none."""
    found = [compare(facts.document, name) for name in _others(facts.document)]
    if not found:
        return []
    title = "Other variants of this route" if facts.canary else "The evidence"
    blocks: list[Block] = [Heading(title), Paragraph(_explained(facts))]
    for each in found:
        blocks += _table(each, facts.champion)
    blocks.append(Bullets((_named_together(found), *_caveats(facts, found))))
    return blocks


def _explained(facts: Facts) -> str:
    seconds = (
        max(0, facts.document.read_ns - min(each.first_ns for each in facts.document.epochs)) / _SECOND_NS
    )
    return (
        f"Counted over {duration(seconds)}. Limits hold the true ratio in 95 of 100 experiments, however often one "
        f"looks: above 1 the variant has more of it than {facts.champion}, below 1 less; with 1 between them there is "
        "no telling yet."
    )


def _table(comparison: Comparison, champion: str) -> list[Block]:
    rows = tuple(
        (
            each.metric,
            each.mine,
            each.other,
            _limits(each),
            e_value(each.more),
            e_value(each.less),
            {1: "more", -1: "less", 0: "no telling"}[each.side],
        )
        for each in comparison.differences
    )
    columns = (
        "=metric", comparison.variant, champion, "ratio (95 % limits)", ">e-value: more", ">e-value: less", "so",
    )  # fmt: skip
    lead = (
        f"{comparison.variant}: {count(comparison.units, 'unit')} beside {count(comparison.champion_units, 'unit')} of "
        f"{champion}."
    )
    return [Paragraph(lead), Table(columns, rows)]


def _limits(difference: Difference) -> str:
    low, high = difference.low, difference.high
    if low <= 0 and high == inf:
        return "not known"
    limits = f"{amount(low)} to {amount(high)}" if isfinite(high) else f"{amount(low)} at least"
    best = difference.best
    return f"{amount(best)} ({limits})" if best is not None and isfinite(best) else limits


def _named_together(found: list[Comparison]) -> str:
    """Say which differences stand when all of them are looked at together (e-BH)."""
    every = [
        (each.variant, d) for each in found for d in each.differences if not d.metric.startswith("latency p9")
    ]
    # The average of both directions is evidence against "no difference".
    logs = [float(np.logaddexp(d.more, d.less)) - log(2) for _, d in every]
    named = multiple.e_bh(logs, _FALSE_DISCOVERIES)
    texts = [
        f"{variant}, {d.metric}" for (variant, d), is_named in zip(every, named, strict=True) if is_named
    ]
    if not texts:
        return "Of all figures together none stands out (e-BH, 10 % false discoveries)."
    return (
        "Looking at so many figures at once, these differ, of which one in ten may be wrong on average (e-BH): "
        f"{joined(texts)}."
    )


def _caveats(facts: Facts, found: list[Comparison]) -> list[str]:
    items = [
        "Which answers are right was not tested: that takes labels.",
        "Machines are not dealt out by lot: a difference in latency may be that of the servers.",
    ]
    few = [each.variant for each in found if each.units < 1000]
    if few:
        items.append(f"{joined(few)} met fewer than 1,000 units: what is rare or small does not show yet.")
    if not any(d.metric.startswith("latency") for each in found for d in each.differences):
        items.append(f"Nothing is known of the latency of {facts.champion} or of the others.")
    return items
