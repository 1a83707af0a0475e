"""Rankings: the method ``ranking``.

A row is a list of items, best first. It agrees when both begin alike and the first ``k`` of both hold the same items,
but for the share that ``tolerance`` allows. The distance is 1 - RBO. Of a list of ``{"index", "relevance_score"}``, as
Cohere, Jina, vLLM and text-embeddings-inference rerank, the scores give the order and the numbers are the items.
"""

from collections.abc import Hashable, Sequence
from typing import Final, NamedTuple, TypeAlias

from proxy.compare.documents import render
from proxy.compare.judge import Judge
from proxy.compare.places import nested, select_value, whole
from proxy.compare.rules import ComparisonRule
from proxy.compare.tolerance import exceeds
from proxy.compare.values import (
    DIFFERENCE_LIMIT,
    Comparison,
    Difference,
    Json,
    Prediction,
    Read,
)
from proxy.compare.verdicts import by_rows, path_of, scores_of

__all__ = ["RANKED_NAMES", "RANKINGS", "RANKING_LIMIT", "find_reranked", "overlap_at", "rank_biased_overlap"]

PERSISTENCE: Final = 0.9
"""Chance to look at one more place, as Webber, Moffat and Zobel have it in their examples: the first ten places
have 86 % of the weight."""

DEPTH: Final = 10
"""Places of the overlap where the rule names none."""

RANKING_LIMIT: Final = 1000
"""Places of a ranking that are looked at. What is beyond weighs less than 1e-45 (`PERSISTENCE` to that power)."""

Ranking: TypeAlias = list[Hashable]

_SCALARS: Final = frozenset({str, int, float, bool, type(None)})


class _Rankings(NamedTuple):
    """A ranking for each row."""

    source: str
    lists: Sequence[Ranking]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.lists)


def _judge_rankings(rule: ComparisonRule, first: _Rankings, second: _Rankings) -> Comparison:
    """Compare the ranking of every row."""
    depth = DEPTH if rule.k is None else rule.k
    tolerance = rule.tolerance or 0.0
    reasons: list[str | None] = []
    differences: list[Difference] = []
    overlaps: list[float] = []
    distances: list[float] = []
    for row, (a, b) in enumerate(zip(first.lists, second.lists, strict=True)):
        overlaps.append(overlap_at(a, b, depth))
        distances.append(1.0 - rank_biased_overlap(a, b))
        if a[:1] != b[:1]:
            reasons.append("top")
        else:
            reasons.append("overlap" if exceeds(1.0 - overlaps[-1], tolerance) else None)
        if reasons[-1] is not None and len(differences) < DIFFERENCE_LIMIT:
            differences.append(Difference(f"{path_of(first.source)}/{row}", _spell(a), _spell(b)))
    rows = len(reasons)
    scores = scores_of([("overlap_at_k", sum(overlaps) / rows)]) if rows else ()
    distance = sum(distances) / rows if rows else 0.0
    read = Read(first, second, distances=distances)
    return by_rows("ranking", reasons, distance, differences, scores, read=read)


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


def _find_rankings(
    rule: ComparisonRule, prediction: Prediction, _beside: _Rankings | None = None
) -> _Rankings | None:
    """Return the ranking of every row: at the rule's place, else the rows themselves, else the first tensor
    that holds a list per row, but none of floats."""
    if rule.place is not None:
        return _rankings_of(rule.place, select_value(prediction, rule.place))
    if (reranked := find_reranked(prediction)) is not None:
        return _Rankings("ranking", [reranked])
    if (found := _rankings_of("ranking", whole(prediction))) is not None:
        return found
    lists = (tensor for tensor in prediction.tensors if tensor.kind != "float" and len(tensor.shape) > 1)
    tensor = next(lists, None)
    return None if tensor is None else _rankings_of("ranking", nested(tensor))


def find_reranked(prediction: Prediction) -> Ranking | None:
    """Return the numbers of what was ranked, the best first; ``None`` if the answer is no such list."""
    document = prediction.document
    if prediction.format in ("csv", "ndjson"):
        return None
    if type(document) is dict:
        document = next((document[name] for name in RANKED_NAMES if document.get(name)), None)
    if type(document) is not list or not document or type(document[0]) is not dict:
        return None
    score = next((name for name in _RERANK_SCORES if name in document[0]), None)
    if score is None:
        return None
    allowed = {"index", "document", "text", "meta_info", score}  # the last but one is SGLang's
    if any(
        type(row) is not dict
        or not row.keys() <= allowed
        or type(row.get("index")) is not int
        or type(row.get(score)) not in (int, float)
        for row in document
    ):
        return None
    ranked = sorted(document, key=lambda row: -row[score])
    return list(dict.fromkeys(row["index"] for row in ranked[:RANKING_LIMIT]))


RANKED_NAMES: Final = ("results", "data")
"""Members that hold what was ranked."""

_RERANK_SCORES: Final = ("relevance_score", "score")


def _rankings_of(source: str, value: Json | None) -> _Rankings | None:
    """Read a list of items as one ranking, a list of lists as one per row."""
    if type(value) is not list:
        return None
    lists = value if value and all(type(part) is list for part in value) else [value]
    rankings = [_ranking_of(part) for part in lists]
    if None in rankings:
        return None
    return _Rankings(source, [ranking for ranking in rankings if ranking is not None])


def _ranking_of(items: list[Json]) -> Ranking | None:
    """Return the items without repetitions, at most `RANKING_LIMIT`; ``None`` unless they are scalars."""
    if not _SCALARS.issuperset(map(type, items)):
        return None
    # A boolean equals a number in Python, and is none in JSON.
    keyed = [(type(item), item) if type(item) is bool else item for item in items[:RANKING_LIMIT]]
    return list(dict.fromkeys(keyed))


def _spell(ranking: Ranking) -> str:
    return f"[{', '.join(map(render, ranking[:16]))}]"


RANKINGS: Final = Judge("ranking", "rankings", "no_ranking", _find_rankings, _judge_rankings)
