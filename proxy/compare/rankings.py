"""Rankings: the method ``ranking``.

A row is a list of items, best first. It agrees when both begin alike and the first ``k`` of both hold the same items,
but for the share that ``tolerance`` allows. The distance is 1 - RBO.
"""

from collections.abc import Hashable, Sequence
from typing import Final, TypeAlias

from proxy.compare.documents import render
from proxy.compare.places import nested, select_value, whole
from proxy.compare.rules import ComparisonRule
from proxy.compare.values import DIFFERENCE_LIMIT, Comparison, Difference, Json, Prediction, Undecodable
from proxy.compare.verdicts import (
    by_rows,
    disagree_whole,
    path_of,
    scores_of,
    shadow_undecodable,
    uncomparable,
)

__all__ = ["RANKING_LIMIT", "compare_rankings", "overlap_at", "rank_biased_overlap"]

PERSISTENCE: Final = 0.9
"""Chance to look at one more place, as Webber, Moffat and Zobel have it in their examples: the first ten places
have 86 % of the weight."""

DEPTH: Final = 10
"""Places of the overlap where the rule names none."""

RANKING_LIMIT: Final = 1000
"""Places of a ranking that are looked at. What is beyond weighs less than 1e-45 (`PERSISTENCE` to that power)."""

Ranking: TypeAlias = list[Hashable]

_SCALARS: Final = frozenset({str, int, float, bool, type(None)})


def compare_rankings(
    rule: ComparisonRule, primary: Prediction, shadow: Prediction | Undecodable
) -> Comparison:
    """Compare the ranking of every row."""
    method = "ranking"
    first = _find_rankings(primary, rule.place)
    if first is None:
        return uncomparable("no_ranking", method)
    rows = len(first)
    if isinstance(shadow, Undecodable):
        return shadow_undecodable(shadow, method, rows)
    second = first if shadow is primary else _find_rankings(shadow, rule.place)
    if second is None:
        return disagree_whole("format", method, rows, "a ranking", "no ranking")
    if rows != len(second):
        return disagree_whole("rows", method, rows, f"{rows} rows", f"{len(second)} rows")
    return _judge_rankings(rule, first, second)


def _judge_rankings(rule: ComparisonRule, first: list[Ranking], second: list[Ranking]) -> Comparison:
    depth = DEPTH if rule.k is None else rule.k
    tolerance = rule.tolerance or 0.0
    reasons: list[str | None] = []
    differences: list[Difference] = []
    overlaps: list[float] = []
    distance = 0.0
    for row, (a, b) in enumerate(zip(first, second, strict=True)):
        overlaps.append(overlap_at(a, b, depth))
        distance += 1.0 - rank_biased_overlap(a, b)
        if a[:1] != b[:1]:
            reasons.append("top")
        else:
            reasons.append("overlap" if 1.0 - overlaps[-1] > tolerance else None)
        if reasons[-1] is not None and len(differences) < DIFFERENCE_LIMIT:
            prefix = path_of(rule.place or "ranking")
            differences.append(Difference(f"{prefix}/{row}", _spell(a), _spell(b)))
    rows = len(reasons)
    scores = scores_of([("overlap_at_k", sum(overlaps) / rows)]) if rows else ()
    return by_rows("ranking", reasons, distance / rows if rows else 0.0, differences, scores)


def overlap_at(first: Sequence[Hashable], second: Sequence[Hashable], depth: int) -> float:
    """Return the share of the first ``depth`` items that both rankings have among theirs, in [0, 1]; symmetric.

    Where both are shorter, the longer one's length is the depth. Two empty rankings overlap wholly.
    """
    depth = min(depth, max(len(first), len(second)))
    if not depth:
        return 1.0
    return len(set(first[:depth]) & set(second[:depth])) / depth


def rank_biased_overlap(
    first: Sequence[Hashable], second: Sequence[Hashable], persistence: float = PERSISTENCE
) -> float:
    """Return RBO_ext of two rankings without repeated items, in [0, 1]; symmetric.

    Webber, Moffat and Zobel, "A similarity measure for indefinite rankings", ACM TOIS 28(4), 2010, equation 32:
    the agreement at each depth, weighted geometrically, extrapolated beyond the end of either. Two empty rankings
    are alike, an empty one has nothing in common with another.
    """
    short, long = sorted((first, second), key=len)
    shorter, longer = len(short), len(long)
    if not shorter:
        return float(not longer)
    seen_short: set[Hashable] = set()
    seen_long: set[Hashable] = set()
    common = common_in_both = 0
    total, weight = 0.0, 1.0
    for depth in range(1, longer + 1):
        item = long[depth - 1]
        seen_long.add(item)
        common += item in seen_short
        if depth <= shorter:
            other = short[depth - 1]
            seen_short.add(other)
            common += other in seen_long
            common_in_both = common
        weight *= persistence
        total += weight * common / depth
        if depth > shorter:
            total += weight * common_in_both * (depth - shorter) / (shorter * depth)
    extrapolated = (common - common_in_both) / longer + common_in_both / shorter
    found = (1.0 - persistence) / persistence * total + extrapolated * weight
    return min(1.0, max(0.0, found))


def _find_rankings(prediction: Prediction, place: str | None) -> list[Ranking] | None:
    """Return the ranking of every row: at the rule's place, else the rows themselves, else the first tensor
    that holds a list per row, but none of floats."""
    if place is not None:
        return _rankings_of(select_value(prediction, place))
    if (found := _rankings_of(whole(prediction))) is not None:
        return found
    lists = (tensor for tensor in prediction.tensors if tensor.kind != "float" and len(tensor.shape) > 1)
    tensor = next(lists, None)
    return None if tensor is None else _rankings_of(nested(tensor))


def _rankings_of(value: Json | None) -> list[Ranking] | None:
    """Read a list of items as one ranking, a list of lists as one per row."""
    if type(value) is not list:
        return None
    if value and all(type(part) is list for part in value):
        rankings = [_ranking_of(part) for part in value]
        return None if None in rankings else [ranking for ranking in rankings if ranking is not None]
    only = _ranking_of(value)
    return None if only is None else [only]


def _ranking_of(items: list[Json]) -> Ranking | None:
    """Return the items without repetitions, at most `RANKING_LIMIT`; ``None`` unless they are scalars."""
    if not _SCALARS.issuperset(map(type, items)):
        return None
    # A boolean equals a number in Python, and is none in JSON.
    keyed = [(type(item), item) if type(item) is bool else item for item in items[:RANKING_LIMIT]]
    return list(dict.fromkeys(keyed))


def _spell(ranking: Ranking) -> str:
    return f"[{', '.join(map(render, ranking[:16]))}]"
