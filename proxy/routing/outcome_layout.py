"""Where the observer's counts of one table version lie, beside those of the worker (:mod:`proxy.tally`)."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from proxy.routing.outcome_fields import (
    COMPARISON_FIELDS,
    DISTANCE_SLOTS,
    FEEDBACK_FIELDS,
    LABEL_FIELDS,
    LABEL_ROW_FIELDS,
    PACE_FIELDS,
    REASON_FIELDS,
    SINK_FIELDS,
    TRIPLE_FIELDS,
)
from proxy.tally import Layout

if TYPE_CHECKING:
    from proxy.routing.table import Route

__all__ = ["outcome_layout"]


def outcome_layout(routes: "Iterable[Route]") -> Layout:
    """Return where the counts of ``routes`` are: a pure function of the table, as that of the worker's."""
    distance = (*(f"distance_{i}" for i in range(DISTANCE_SLOTS)), "distance_sum_millionths")
    parts: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = []
    for route in routes:
        parts.append(("sink", (route.name,), SINK_FIELDS))
        parts.append(("feedback", (route.name,), FEEDBACK_FIELDS))
        parts.append(("label", (route.name,), LABEL_FIELDS))
        if route.takes_labels:
            parts += [
                ("label_rows", (route.name, v.name, s.model.name), LABEL_ROW_FIELDS)
                for v in route.variants
                for s in route.shadows
            ]
        parts += [
            (
                "comparison",
                (route.name, v.name, s.model.name),
                (*COMPARISON_FIELDS, *distance, *REASON_FIELDS),
            )
            for v in route.variants
            for s in route.shadows
        ]
        if route.noise is not None:
            champion = (route.name, route.champion.name, route.noise.model.name)
            parts.append(("noise_comparison", champion, (*COMPARISON_FIELDS, *distance, *REASON_FIELDS)))
            parts += [("triple", (route.name, s.model.name, s.stretch), TRIPLE_FIELDS) for s in route.shadows]
        parts += [("pace", (route.name, v.name, v.model.name), PACE_FIELDS) for v in route.variants]
        parts += [("pace", (route.name, "", s.model.name), PACE_FIELDS) for s in route.shadows]
    return Layout.of(parts)
