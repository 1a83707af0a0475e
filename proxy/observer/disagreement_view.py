"""What is shown of disagreements: counts with their confidence, and examples. Pure.

Beside the rate stands the champion's own noise, where it is measured: a model that does not answer twice alike
disagrees with every other one, and the rate alone says nothing then.

How sure
    * The interval of a shadow's rate holds at every moment at once with 95 % confidence, however often one looks: a
      confidence sequence (:func:`proxy.stats.proportion.proportion_sequence`). It takes pairs as independent of each
      other: a unit that sends many requests counts many times.
    * So does the interval of its mean distance, by itself (:func:`proxy.stats.bounded.mean_sequence_of_sums`), widened
      by what distances are rounded to.
    * The intervals of all slices' values together hold with 95 %: the *j*-th value that came has ``1/(j (j+1))`` of the
      5 %, which add up to 1 however many come.
    * A value *stands out* when its rate is shown to be above that of the other values of its slice: an e-value
      (:func:`proxy.stats.proportion.greater`), adjusted with the same weights by Holm's procedure for e-values
      (:func:`proxy.stats.multiple.e_holm`), so that naming even one wrongly has a chance of 5 % at most, ever.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import chain, islice
from typing import Any, Final, TypeAlias

from proxy.control.disagreement_query import Query
from proxy.labels import OUTCOMES, Share, judge, sentence
from proxy.observer.breakdown import COUNTS, FIELDS, TOTAL, UNIT, Cell, Numbers
from proxy.observer.label_store import KnownLabels
from proxy.observer.noise_view import noise_sentence
from proxy.observer.record import timestamp
from proxy.observer.showing import Known, Shown, example_document, example_id
from proxy.routing.hashing import SPACE
from proxy.routing.table import Route, Table
from proxy.stats.bounded import mean_sequence_of_sums
from proxy.stats.multiple import e_holm
from proxy.stats.proportion import greater_each, proportion_sequence

__all__ = ["ALPHA", "counts_document", "disagreement_document"]

ALPHA: Final = 0.05

Noise: TypeAlias = Mapping[str, Any] | None

NO_NOISE: Final[Mapping[tuple[str, str], Noise]] = {}

_AGREE, _DISAGREE, _UNCOMPARABLE, _, _ROWS_DISAGREEING, _MEASURED, _DISTANCE, _SQUARED = range(len(FIELDS))
_LN10: Final = math.log(10)
_NO_LABELS: Final[Mapping[str, Sequence[KnownLabels]]] = {}


def disagreement_document(
    query: Query,
    table: Table,
    known: Mapping[str, Sequence[Known]],
    noise: Mapping[tuple[str, str], Noise] = NO_NOISE,
    labels: Mapping[str, Sequence[KnownLabels]] = _NO_LABELS,
) -> dict[str, Any]:
    """Return the document of the disagreements that ``query`` asks for.

    Args:
        query: names a route, a shadow and a slice that there are, or none.
        table: in force.
        known: by route.
        noise: by route and shadow, see :func:`proxy.observer.noise_view.noise_document`.
        labels: what true answers say, by route.
    """
    return {
        "confidence": 1.0 - ALPHA,
        "routes": [
            _route_document(query, route, known.get(route.name, ()), noise, labels.get(route.name, ()))
            for route in table.routes
            if query.route in ("", route.name) and route.shadows
        ],
    }


def _route_document(
    query: Query,
    route: Route,
    known: Sequence[Known],
    noise: Mapping[tuple[str, str], Noise],
    labels: Sequence[KnownLabels],
) -> dict[str, Any]:
    compare = route.settings.compare
    return {
        "route": route.name,
        "compare_as": compare.as_,
        "distance_is_cost": bool(compare.costs),
        "slices": {name: f"{source.kind}:{source.name}" for name, source in compare.slices.items()},
        "noise_percent": 0.0 if route.noise is None else float(route.noise.percent),
        "examples_percent": 100 * route.shown_limit / SPACE,
        "takes_labels": route.takes_labels,
        "shadows": [
            {
                **counts_document(each.shadow, each.since_wall_ns, each.cells),
                "noise": (found := noise.get((route.name, each.shadow))),
                "noise_sentence": noise_sentence(found),
                "labels": [label_document(one) for one in labels if one.shadow == each.shadow],
                "examples": _examples(query, each),
            }
            for each in known
            if query.shadow in ("", each.shadow)
        ],
    }


def _examples(query: Query, known: Known) -> list[dict[str, Any]]:
    """Return the examples that are asked for, as many as are asked for."""
    # Picked one by one: what is not asked for is not put into words.
    wanted = (
        each for each in (known.extreme if query.sort == "extreme" else known.newest) if _fits(query, each)
    )
    if query.example:
        every = chain(known.newest, known.extreme)
        wanted = (each for each in every if example_id(each) == query.example)
        return [example_document(each) for each in islice(wanted, 1)]
    return [example_document(each) for each in islice(wanted, query.limit)]


def _fits(query: Query, shown: Shown) -> bool:
    if query.reason not in ("", shown.comparison.reason):
        return False
    return query.slice is None or shown.slices.get(query.slice[0]) == query.slice[1]


def counts_document(shadow: str, since_wall_ns: int, cells: Mapping[Cell, Numbers]) -> dict[str, Any]:
    """Return the counts of one shadow, with their confidence.

    Args:
        shadow: name of its model.
        since_wall_ns: when they began.
        cells: in the order in which they came.
    """
    total = cells.get(TOTAL, (0,) * len(FIELDS))
    return {
        "shadow": shadow,
        "since": timestamp(since_wall_ns),
        **_named(total),
        **_rate(total, ALPHA),
        "reasons": _reasons(cells, _DISAGREE),
        "uncomparable_reasons": _reasons(cells, _UNCOMPARABLE),
        "meaning": _meaning(cells.get(Cell("meaning")), ALPHA),
        "slices": _slices(cells),
        "confusion": _confusion(cells),
    }


def label_document(known: KnownLabels) -> dict[str, Any]:
    """Return what true answers say of a shadow beside one variant."""
    counts, judged = known.counts, judge(known.counts)
    return {
        "variant": known.variant,
        "rows": {name: getattr(counts, name) for name in OUTCOMES},
        "units": counts.units,
        "primary": _share(judged.primary),
        "shadow": _share(judged.shadow),
        "differing_units": {"primary_better": counts.won_primary, "shadow_better": counts.won_shadow},
        "log10_e_worse": round(judged.log_e_worse / _LN10, 4),
        "log10_e_better": round(judged.log_e_better / _LN10, 4),
        "shown": judged.is_shown,
        "sentence": sentence(counts),
    }


def _share(share: Share) -> dict[str, Any]:
    return {"right": share.rate, "interval": [share.low, share.high]}


def _named(numbers: Numbers) -> dict[str, int]:
    return {name: numbers[place] for place, name in enumerate(COUNTS)}


def _rate(numbers: Numbers, alpha: float) -> dict[str, Any]:
    compared = numbers[_AGREE] + numbers[_DISAGREE]
    low, high = proportion_sequence(numbers[_DISAGREE], compared, alpha)
    return {
        "rate": numbers[_DISAGREE] / compared if compared else None,
        "interval": [low, high],
        **_distance(numbers, alpha),
    }


def _meaning(numbers: Numbers | None, alpha: float) -> dict[str, Any] | None:
    """Return how far texts are apart in meaning; None where nobody said so."""
    if numbers is None:
        return None
    return {"pairs": numbers[_MEASURED], **_distance(numbers, alpha)}


def _distance(numbers: Numbers, alpha: float) -> dict[str, Any]:
    measured, total = numbers[_MEASURED], numbers[_DISTANCE] / UNIT
    low, high = mean_sequence_of_sums(measured, min(total, measured), numbers[_SQUARED] / UNIT, alpha)
    rounding = 0.5 / UNIT
    return {
        "mean_distance": total / measured if measured else None,
        "distance_interval": [max(0.0, low - rounding), min(1.0, high + rounding)],
    }


def _reasons(cells: Mapping[Cell, Numbers], place: int) -> dict[str, int]:
    """Return how many pairs have each reason, the most frequent first."""
    found = {
        cell.name: numbers[place]
        for cell, numbers in cells.items()
        if cell.part == "reason" and numbers[place]
    }
    return dict(sorted(found.items(), key=lambda each: -each[1]))


def _slices(cells: Mapping[Cell, Numbers]) -> dict[str, list[dict[str, Any]]]:
    """Return the values of each slice: those that stand out, then those with the highest rates that are shown."""
    values = [(cell, numbers) for cell, numbers in cells.items() if cell.part == "slice"]
    weights = [1.0 / (j * (j + 1)) for j in range(1, len(values) + 1)]
    evidence = _evidence(values, weights)
    shown: dict[str, list[dict[str, Any]]] = {}
    for (cell, numbers), weight, log_e in zip(values, weights, evidence, strict=True):
        shown.setdefault(cell.name, []).append(
            {
                "value": cell.value,
                **_named(numbers),
                **_rate(numbers, ALPHA * weight),
                "meaning": _meaning(cells.get(cell._replace(part="meaning")), ALPHA * weight),
                "log10_e": round(log_e / _LN10, 4),
                "stands_out": log_e >= -math.log(ALPHA),
            }
        )
    for each in shown.values():
        # By the low end: one pair of one says nothing, and there may be many such values.
        each.sort(key=lambda value: (not value["stands_out"], -value["interval"][0], -(value["rate"] or 0.0)))
    return shown


def _evidence(values: Sequence[tuple[Cell, Numbers]], weights: Sequence[float]) -> list[float]:
    """Return for each value the adjusted log e-value that it disagrees more than the others of its slice."""
    sums: dict[str, tuple[int, int]] = {}
    for cell, numbers in values:
        disagree, compared = sums.get(cell.name, (0, 0))
        sums[cell.name] = disagree + numbers[_DISAGREE], compared + numbers[_AGREE] + numbers[_DISAGREE]
    if not values:
        return []
    counts = [numbers[_DISAGREE] for _, numbers in values]
    totals = [numbers[_AGREE] + numbers[_DISAGREE] for _, numbers in values]
    rest = [sums[cell.name][0] - count for (cell, _), count in zip(values, counts, strict=True)]
    rest_totals = [sums[cell.name][1] - total for (cell, _), total in zip(values, totals, strict=True)]
    logs = greater_each(counts, totals, rest, rest_totals)
    # Values that have not come yet have the rest of the weight, and the e-value of no data.
    return [float(log) for log in e_holm([*logs, 0.0], [*weights, 1.0 / (len(values) + 1)])][:-1]


def _confusion(cells: Mapping[Cell, Numbers]) -> list[dict[str, Any]]:
    """Return rows by the primary's and the shadow's label, the most frequent first."""
    found = [
        {"label": cell.name, "shadow_label": cell.value, "rows": numbers[_ROWS_DISAGREEING]}
        for cell, numbers in cells.items()
        if cell.part == "labels"
    ]
    return sorted(found, key=lambda each: -int(str(each["rows"])))
