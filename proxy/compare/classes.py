"""Classes and their probabilities: the methods ``classification`` and ``probabilities``.

A row of ``classification`` agrees when both label it alike. A row of ``probabilities`` agrees when both have the
same class at the highest probability, are on the same side of the rule's ``threshold`` where it has one, and their
total variation ½ Σ|p - q| is within ``tolerance``. A probability that stands alone in its row is that of class 1.
Of two classes the threshold is the second's, of several everyone's.
"""

from collections.abc import Sequence
from math import fsum, log2, sqrt
from typing import Final, NamedTuple

from proxy.compare.judge import Judge
from proxy.compare.labels import (
    Label,
    Labels,
    find_labels,
    is_distribution,
    label_family,
    render_label,
    select_tensor,
)
from proxy.compare.rules import ComparisonRule
from proxy.compare.tolerance import exceeds
from proxy.compare.values import (
    DIFFERENCE_LIMIT,
    Comparison,
    Difference,
    Prediction,
    Read,
    Scores,
    Tensor,
)
from proxy.compare.verdicts import (
    by_rows,
    confusion_of,
    disagree_whole,
    label_word,
    path_of,
    scores_of,
)
from proxy.methods import class_word

__all__ = [
    "CLASSES",
    "PROBABILITIES",
    "Chances",
    "are_comparable",
    "find_chances",
    "jensen_shannon",
    "total_variation",
]

TOLERANCE: Final = 0.05
"""Total variation that still agrees where the rule names none."""


def _judge_labels(rule: ComparisonRule, first: Labels, second: Labels) -> Comparison:
    """Compare the label of every row; the distance is what mistakes cost on average where the rule says so, else that
    of the probabilities where both answers have them."""
    rows = len(first.values)
    confusion = confusion_of(first.values, second.values)
    # Most rows agree, and then there is nothing to look for.
    flipped = () if first.values == second.values else _flipped(first.values, second.values)
    if flipped:
        families = label_family(first.values), label_family(second.values)
        if {"text", "number"} == set(families):
            whole = disagree_whole("label_type", "classification", rows, *families)
            return whole._replace(read=Read(first, second, range(rows)))
    scores: Scores = ()
    costs: Sequence[float] = ()
    if rule.costs:
        costs = _costs(rule, first, second, flipped)
        distance = fsum(costs) / rows if flipped else 0.0
        scores = (("cost", distance),)
    else:
        distance = len(flipped) / rows if flipped else 0.0
        if first.probabilities is not None and second.probabilities is not None:
            variation = _mean_variation(first.probabilities, second.probabilities)
            distance = distance if variation is None else variation
    read = Read(first, second, flipped, (), costs)
    if not flipped:
        return Comparison("agree", distance, None, "classification", rows, 0, (), confusion, scores, read)
    differences = _label_differences(first, second, flipped)
    return Comparison(
        "disagree",
        distance,
        "label",
        "classification",
        rows,
        len(flipped),
        differences,
        confusion,
        scores,
        read,
    )


CLASSES: Final = Judge("classification", "labels", "no_label", find_labels, _judge_labels, is_named=True)


def _costs(rule: ComparisonRule, first: Labels, second: Labels, flipped: Sequence[int]) -> Sequence[float]:
    """Return what each row costs, by the rule's ``costs``: those with another label by the pair, others nothing."""
    costs = [0.0] * len(first.values)
    for row in flipped:
        label, other = (class_word(label_word(side.values[row])) for side in (first, second))
        costs[row] = rule.cost_of.get((label, other), 1.0)
    return costs


def _flipped(values: Sequence[Label], others: Sequence[Label]) -> Sequence[int]:
    """Return the rows with another label. NaN is the same label as NaN."""
    return [
        row
        for row, (a, b) in enumerate(zip(values, others, strict=True))
        if a != b and not (a != a and b != b)
    ]


def _label_differences(first: Labels, second: Labels, flipped: Sequence[int]) -> tuple[Difference, ...]:
    prefix = path_of(first.source)
    return tuple(
        Difference(f"{prefix}/{row}", render_label(first.values[row]), render_label(second.values[row]))
        for row in flipped[:DIFFERENCE_LIMIT]
    )


def _mean_variation(first: Tensor, second: Tensor) -> float | None:
    """Return the mean over rows of half the L1 distance; ``None`` unless both sum over the same classes."""
    if not are_comparable(first, second):
        return None
    if first is second:
        return 0.0
    total: float = sum([abs(a - b) for a, b in zip(first.data, second.data, strict=True)])
    return min(1.0, 0.5 * total / first.rows)


def are_comparable(first: Tensor, second: Tensor) -> bool:
    """Whether the probabilities of two answers are over the same rows and classes."""
    return first.width == second.width and first.rows == second.rows and first.classes == second.classes


class Chances(NamedTuple):
    """Probabilities of every row, and how they were written."""

    source: str
    values: list[list[float]]
    names: Sequence[Label]
    """Of the classes; their numbers where the answer does not name them."""

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.values)


def _judge_chances(rule: ComparisonRule, first: Chances, second: Chances) -> Comparison:
    """Compare the distribution of every row; the distance is the mean total variation."""
    if list(first.names) != list(second.names):
        whole = disagree_whole("shape", "probabilities", first.rows, _classes(first), _classes(second))
        return whole._replace(read=Read(first, second, range(first.rows)))
    tolerance = TOLERANCE if rule.tolerance is None else rule.tolerance
    reasons: list[str | None] = []
    differences: list[Difference] = []
    variations: list[float] = []
    divergences: list[float] = []
    for row, (p, q) in enumerate(zip(first.values, second.values, strict=True)):
        variations.append(total_variation(p, q))
        divergences.append(jensen_shannon(p, q))
        reasons.append(_why(p, q, variations[-1], rule.threshold, tolerance))
        if reasons[-1] is not None and len(differences) < DIFFERENCE_LIMIT:
            differences.append(Difference(f"{path_of(first.source)}/{row}", _spell(p), _spell(q)))
    rows = len(reasons)
    labels = [[side.names[row.index(max(row))] for row in side.values] for side in (first, second)]
    scores = (
        scores_of(
            (
                ("total_variation_max", max(variations)),
                ("jensen_shannon", sum(divergences) / rows),
            )
        )
        if rows
        else ()
    )
    return by_rows(
        "probabilities",
        reasons,
        sum(variations) / rows if rows else 0.0,
        differences,
        scores,
        confusion_of(*labels),
        Read(first, second, distances=variations),
    )


def _why(
    p: Sequence[float], q: Sequence[float], variation: float, threshold: float | None, tolerance: float
) -> str | None:
    """Return the gravest way in which two rows part, ``None`` if in none."""
    if p.index(max(p)) != q.index(max(q)):
        return "label"
    if threshold is not None:
        decisive = slice(1, 2) if len(p) == 2 else slice(None)
        if any((a >= threshold) != (b >= threshold) for a, b in zip(p[decisive], q[decisive], strict=True)):
            return "threshold"
    return "tolerance" if exceeds(variation, tolerance) else None


def total_variation(p: Sequence[float], q: Sequence[float]) -> float:
    """Return ½ Σ|p - q| of two distributions over the same classes, in [0, 1]; symmetric."""
    return min(1.0, 0.5 * sum([abs(a - b) for a, b in zip(p, q, strict=True)]))


def jensen_shannon(p: Sequence[float], q: Sequence[float]) -> float:
    """Return the Jensen-Shannon distance, in [0, 1]: the root of the divergence in bits (Endres and Schindelin,
    "A new metric for probability distributions", IEEE Trans. Inf. Theory 49(7), 2003).

    Both are normalised first, as they are written with few digits.
    """
    total_p, total_q = sum(p), sum(q)
    divergence = 0.0
    for a, b in zip(p, q, strict=True):
        a, b = a / total_p, b / total_q
        middle = (a + b) / 2.0
        if a > 0.0:
            divergence += a * log2(a / middle)
        if b > 0.0:
            divergence += b * log2(b / middle)
    return sqrt(min(1.0, max(0.0, divergence / 2.0)))


def find_chances(
    rule: ComparisonRule, prediction: Prediction, beside: Chances | None = None
) -> Chances | None:
    """Return the probabilities of every row.

    The rule's place alone counts if there is one. Else the output the primary's came from, one with a distribution
    in each row, one that holds a single probability per row.
    """
    if rule.place is not None:
        tensor = select_tensor(prediction, rule.place)
        return None if tensor is None else _chances_of(tensor)
    hint = None if beside is None else beside.source
    tensors = sorted(
        # Some write probabilities that are all 0 and 1 as integers.
        (
            tensor._replace(kind="float") if tensor.name == hint and tensor.kind == "int" else tensor
            for tensor in prediction.tensors
        ),
        key=lambda tensor: (tensor.name != hint, not is_distribution(tensor), tensor.kind != "float"),
    )
    found = (_chances_of(tensor) for tensor in tensors)
    return next((chances for chances in found if chances is not None), None)


def _chances_of(tensor: Tensor) -> Chances | None:
    width, data = tensor.width, tensor.data
    if is_distribution(tensor):
        rows = [data[at : at + width] for at in range(0, len(data), width)]
        return Chances(tensor.name, rows, tensor.classes or range(width))
    if tensor.kind in ("float", "int") and width == 1 and all(0.0 <= value <= 1.0 for value in data):
        return Chances(tensor.name, [[1.0 - value, value] for value in data], range(2))
    return None


def _classes(chances: Chances) -> str:
    named = not isinstance(chances.names, range)
    return f"classes {_spell(chances.names)}" if named else f"{len(chances.names)} classes"


def _spell(values: Sequence[Label]) -> str:
    return render_label(tuple(values))


PROBABILITIES: Final = Judge(
    "probabilities", "probabilities", "no_probabilities", find_chances, _judge_chances, is_named=True
)
