"""A comparison, row by row: what each answer says of a row, whether it agrees, why not, and how far apart.

What a row's value is

============== ============================== =========== ==============================================
method         label                          number      score
============== ============================== =========== ==============================================
classification the class                                  highest probability of the row, if it has some
probabilities  the class of the highest                   that
regression                                    the number
tensor         the value, if it is a text     the value   (of one output with one value per row)
ranking        the first item
detection                                     boxes
============== ============================== =========== ==============================================

Rows of ``json``, ``exact``, ``text`` and ``embedding`` have none: they are documents, words and vectors. Of several
numbers per row none is told. Labels are words as the confusion table has them, at most 64 characters. The mean of the
rows' distances is that of the comparison, where rows have one; of ``detection`` boxes are its weights.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from math import isfinite
from typing import Any, Final, NamedTuple, TypeAlias

from proxy.compare.classes import Chances, are_comparable, total_variation
from proxy.compare.labels import Labels
from proxy.compare.values import Comparison, Read, Tensor
from proxy.compare.verdicts import word_of

__all__ = ["NOTHING", "JudgedRow", "Value", "judged_rows"]

Value: TypeAlias = tuple[str | None, float | None, float | None]
"""Label, number and score of a row; numbers are finite. May be parts of a body."""

NOTHING: Final[Value] = (None, None, None)


class JudgedRow(NamedTuple):
    """One row of a pair."""

    row: int
    """Index, from 0."""
    reason: str | None
    """Why it disagrees; ``None`` where it agrees."""
    distance: float | None
    """In [0, 1]; ``None`` where the method has none of a row."""
    primary: Value
    shadow: Value


def judged_rows(comparison: Comparison, limit: int) -> list[JudgedRow]:
    """Return the first ``limit`` rows that disagree and, if there is room, the first that agree; ascending in each.

    There are none of a pair that could not be compared, or that differs where no row is.
    """
    read = comparison.read
    if read is None or not limit:
        return []
    if comparison.rows == 1:
        return [_judged(comparison, read, 0)]
    wrong = _wrong(read)
    chosen = list(islice(wrong, limit))
    if len(chosen) < limit:
        differing = set(chosen)
        agreeing = (row for row in range(comparison.rows) if row not in differing)
        chosen += islice(agreeing, limit - len(chosen))
    return [_judged(comparison, read, row) for row in chosen]


def _wrong(read: Read) -> Sequence[int]:
    if read.wrong is not None:
        return read.wrong
    return [row for row, reason in enumerate(read.reasons) if reason is not None]


def _judged(comparison: Comparison, read: Read, row: int) -> JudgedRow:
    first, second, wrong, reasons, distances, unit = read
    reason: str | None = None
    if wrong is None:
        reason = reasons[row]
    elif row in wrong:
        reason = comparison.reason
    distance: float | None = None
    if distances:
        distance = min(1.0, max(0.0, distances[row] / unit))
    elif type(wrong) is range:
        distance = 1.0  # they differ as a whole
    elif type(first) is Labels and first.probabilities is not None:
        distance = _variation(first.probabilities, second, row)
    tell = _VALUES.get(comparison.method)
    if tell is None or first is None:
        return JudgedRow(row, reason, distance, NOTHING, NOTHING)
    primary = tell(first, row)
    if second is first:
        return JudgedRow(row, reason, distance, primary, primary)
    return JudgedRow(row, reason, distance, primary, NOTHING if second is None else tell(second, row))


def _variation(p: Tensor, second: Labels | None, row: int) -> float | None:
    """Return the total variation of a row where both answers have probabilities."""
    q = None if second is None else second.probabilities
    if q is None or not are_comparable(p, q):
        return None
    return 0.0 if p is q else total_variation(_row_of(p, row), _row_of(q, row))


def _row_of(tensor: Tensor, row: int) -> Sequence[Any]:
    return tensor.data[row * tensor.width : (row + 1) * tensor.width]


def _of_labels(labels: Labels, row: int) -> Value:
    chances = labels.probabilities
    score = None if chances is None else _finite(max(_row_of(chances, row)))
    label = labels.values[row]
    return str(label) if type(label) is int else _plain(word_of(label)), None, score


def _of_chances(chances: Chances, row: int) -> Value:
    values = chances.values[row]
    highest = max(values)
    return _plain(word_of(chances.names[values.index(highest)])), None, _finite(highest)


def _of_numbers(tensor: Tensor, row: int) -> Value:
    return (None, _finite(tensor.data[row]), None) if tensor.width == 1 else NOTHING


def _of_outputs(outputs: Any, row: int) -> Value:
    if len(outputs.named) != 1:
        return NOTHING
    (tensor,) = outputs.named.values()
    if tensor.width != 1 or row >= len(tensor.data):
        return NOTHING
    if tensor.kind in ("bytes", "bool"):
        return _plain(word_of(tensor.data[row])), None, None
    return None, _finite(tensor.data[row]), None


def _of_ranking(rankings: Any, row: int) -> Value:
    ranking = rankings.lists[row]
    if not ranking:
        return NOTHING
    first = ranking[0]
    # A boolean stands there beside its type, so as not to equal a number.
    return _plain(word_of(first[1] if type(first) is tuple else first)), None, None


def _of_image(found: Any, row: int) -> Value:
    return None, float(len(found.images[row].corners)), None


def _finite(number: float) -> float | None:
    return float(number) if isfinite(number) else None


def _plain(word: str) -> str:
    """Return a text that UTF-8 has a form of, whatever lone surrogate it has."""
    return word if word.isascii() else word.encode("utf-8", "replace").decode()


_VALUES: Final[Mapping[str, Callable[[Any, int], Value]]] = {
    "classification": _of_labels,
    "probabilities": _of_chances,
    "regression": _of_numbers,
    "tensor": _of_outputs,
    "ranking": _of_ranking,
    "detection": _of_image,
}
