"""When two numbers are the same, and how far apart they are when not."""

import math
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np

__all__ = [
    "close_mask",
    "compare_numbers",
    "exceeds",
    "is_close",
    "largest_difference",
    "relative_distance",
    "relative_distances",
    "scaled_distances",
]

_Vector: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"

_VECTOR_LENGTH: Final = 64
"""From here on numpy's fixed cost (about 15 µs) is less than a Python loop: benchmarks/micro_compare.py."""


_EXACT: Final = 2.0**53
"""From here on, integers that differ may be one float."""

_ROUNDING: Final = 1e-12
"""What sums and differences of a few numbers in [0, 1] may be off by."""


def exceeds(distance: float, tolerance: float) -> bool:
    """Whether a distance in [0, 1] is beyond ``tolerance``; at the tolerance it is not, however it was rounded.

    >>> exceeds(1.0 - 0.7, 0.3), exceeds(0.31, 0.3)
    (False, True)
    """
    return distance > tolerance + _ROUNDING


def is_close(value: float, reference: float, rtol: float, atol: float) -> bool:
    """Return ``|value - reference| <= atol + rtol * max(|value|, |reference|)``; symmetric.

    That is what ``numpy.isclose`` says in either direction. NaN equals NaN, an infinity equals itself only. Integers
    are compared exactly before tolerance.
    """
    if value == reference:
        return True
    difference = abs(value - reference)
    if difference <= atol + rtol * max(abs(value), abs(reference)):
        return math.isfinite(value) and math.isfinite(reference)
    return value != value and reference != reference


def close_mask(values: Sequence[float], references: Sequence[float], rtol: float, atol: float) -> list[bool]:
    """Return `is_close` for each pair of two sequences of one length."""
    if len(values) < _VECTOR_LENGTH or (rtol == 0 and atol == 0):
        return [
            is_close(value, reference, rtol, atol)
            for value, reference in zip(values, references, strict=True)
        ]
    left, right = np.array(values, np.float64), np.array(references, np.float64)
    return _close(values, references, left, right, rtol, atol)


def _close(
    values: Sequence[float],
    references: Sequence[float],
    left: _Vector,
    right: _Vector,
    rtol: float,
    atol: float,
) -> list[bool]:
    # np.isclose does the same in three times the time.
    with np.errstate(over="ignore", invalid="ignore"):
        magnitude = np.maximum(np.abs(left), np.abs(right))
        mask = np.abs(left - right) <= atol + rtol * magnitude
    mask |= (left == right) | (np.isnan(left) & np.isnan(right))
    close: list[bool] = mask.tolist()
    is_large = magnitude >= _EXACT  # an infinity too, from which everything is within a relative tolerance
    for at in np.flatnonzero(is_large).tolist() if is_large.any() else ():
        close[at] = is_close(values[at], references[at], rtol, atol)
    return close


def relative_distance(a: float, b: float, atol: float = 0.0) -> float:
    """Return ``|a - b| / max(|a|, |b|)``, at most 1; symmetric; 0 where ``|a - b| <= atol``.

    For small changes this reads as the relative change; values of opposite sign are at distance 1, and so is
    anything not finite from anything it does not equal. NaN equals NaN. Without ``atol`` the noise around
    zero would be as far apart as numbers can be.
    """
    if a == b:
        return 0.0
    difference = abs(a - b)
    if difference <= atol:
        return 0.0
    scale = max(abs(a), abs(b))
    # max() of 0 and NaN is 0: neither bound is idle.
    ratio = difference / scale if 0 < scale < math.inf else math.nan
    if ratio <= 1.0:
        return ratio
    return 0.0 if a != a and b != b else 1.0


def relative_distances(values: Sequence[float], references: Sequence[float], atol: float = 0.0) -> float:
    """Return the mean `relative_distance` of two sequences of one length, 0 for empty ones."""
    if not values:
        return 0.0
    if len(values) < _VECTOR_LENGTH:
        pairs = zip(values, references, strict=True)
        return math.fsum([relative_distance(a, b, atol) for a, b in pairs]) / len(values)
    return _mean_distance(np.array(values, np.float64), np.array(references, np.float64), atol)


def _mean_distance(a: _Vector, b: _Vector, atol: float) -> float:
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        difference = np.abs(a - b)
        ratio = difference / np.maximum(np.abs(a), np.abs(b))
    ratio = np.where(np.isfinite(a) & np.isfinite(b), np.minimum(ratio, 1.0), 1.0)
    ratio[(a == b) | (difference <= atol) | (np.isnan(a) & np.isnan(b))] = 0.0
    return float(np.mean(ratio))


def scaled_distances(values: Sequence[float], references: Sequence[float], scale: float) -> float:
    """Return the mean of min(1, |a - b| / scale) of two sequences of one length, 0 for empty ones.

    What is not finite is at distance 1 from anything it does not equal; NaN equals NaN.
    """
    if not values:
        return 0.0
    return _mean_scaled(np.array(values, np.float64), np.array(references, np.float64), scale)


def _mean_scaled(a: _Vector, b: _Vector, scale: float) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        ratio = np.abs(a - b) / scale
    ratio = np.where(np.isfinite(a) & np.isfinite(b), np.minimum(ratio, 1.0), 1.0)
    ratio[(a == b) | (np.isnan(a) & np.isnan(b))] = 0.0
    return float(np.mean(ratio))


def largest_difference(values: Sequence[float], references: Sequence[float]) -> float:
    """Return the largest |a - b| where both are finite, 0 where there is none; symmetric."""
    if len(values) < _VECTOR_LENGTH:
        found = [abs(a - b) for a, b in zip(values, references, strict=True)]
        return max((difference for difference in found if difference < math.inf), default=0.0)
    return _largest(np.array(values, np.float64), np.array(references, np.float64))


def _largest(a: _Vector, b: _Vector) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        difference = np.abs(a - b)
    return float(np.max(difference, initial=0.0, where=np.isfinite(difference)))


def compare_numbers(
    values: Sequence[float],
    references: Sequence[float],
    rtol: float,
    atol: float,
    scale: float | None = None,
) -> tuple[list[bool], float, float]:
    """Return `close_mask`, the mean distance and `largest_difference` of two sequences of one length.

    The distance is of `scaled_distances` where there is a ``scale``, else of `relative_distances`.
    """
    if len(values) < _VECTOR_LENGTH:
        return (
            close_mask(values, references, rtol, atol),
            relative_distances(values, references, atol)
            if scale is None
            else scaled_distances(values, references, scale),
            largest_difference(values, references),
        )
    left, right = np.array(values, np.float64), np.array(references, np.float64)
    mask = _close(values, references, left, right, rtol, atol)
    distance = _mean_distance(left, right, atol) if scale is None else _mean_scaled(left, right, scale)
    return mask, distance, _largest(left, right)
