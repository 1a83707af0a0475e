"""Sums of counts times logarithms that do not depend on the order of adding.

Rules:
    Evidence is a sum over slices and outcomes of ``count × log factor``. Counts are integers, so merging them
    is exact; the log factors are not, and adding floats in another order gives other last digits. A decision
    must not depend on the order in which shards reported, nor on how slices were coarsened.

Theory of operation:
    A coefficient below 2^22 is split into three integers, ``hi 2^-18 + mid 2^-39 + lo 2^-60``. A count times
    an integer is an integer, and a sum of integers is one number whatever the order. Only the end result is
    rounded to a float, from a unique form. What is lost is below 2^-61 per count: less than what a float64
    coefficient above 0.001 has lost already. Opposing terms that nearly cancel do so before any rounding.

Warning:
    The three integers must fit: counts must add up to less than 2^41 (2.2 × 10^12), and their sum times the
    largest coefficient to less than 2^44. More is refused, never wrapped.
"""

import math
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from proxy.stats.special import Floats

__all__ = [
    "Counts",
    "Split",
    "counts_of",
    "grouped_suffix_sums",
    "grouped_sums",
    "shares_of",
    "split",
    "suffix_sums",
    "sums",
]

Counts: TypeAlias = NDArray[np.int64]
"""An array of int64 of any shape, never negative."""

_LIMB_BITS: Final = 21
_MASK: Final = (1 << _LIMB_BITS) - 1
_LIMB: Final = 2.0**_LIMB_BITS
_HIGH: Final = 2.0**18
_CAPACITY: Final = 2.0**62

_FEW_ROWS: Final = 4
"""Up to here a column at a time is faster than a group at a time."""
_EXACT_FLOAT: Final = 2.0**53
_WHOLE: Final = 1.5 * 2.0**52
"""Floats around this number are whole: adding it drops the fraction."""


def counts_of(values: ArrayLike) -> Counts:
    """Return integer counts as int64.

    Raises:
        TypeError: the values are not integers.
        ValueError: a count is negative.
    """
    array = np.asarray(values)
    if array.size == 0:
        return np.zeros(array.shape, np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"expected integer counts, got {array.dtype}")
    counts = array.astype(np.int64, copy=False)
    if counts.min() < 0:
        raise ValueError(f"expected counts of at least 0, got {counts.min()}")
    return counts


def shares_of(values: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    """Return shares of the canary that can be bet on, and where they can: strictly between 0 and 1.

    Where there is no coin (share 0 or 1) the share that is returned is 1/2; callers give it no evidence.

    Raises:
        ValueError: a share outside 0..1, or NaN.
    """
    shares = np.asarray(values, np.float64)
    if not ((shares >= 0.0) & (shares <= 1.0)).all():
        raise ValueError(f"expected shares in 0..1, got {shares[~((shares >= 0.0) & (shares <= 1.0))][0]}")
    coin = (shares > 0.0) & (shares < 1.0)
    return np.where(coin, shares, 0.5), coin


@dataclass(frozen=True, slots=True)
class Split:
    """Coefficients as integers, ready to be multiplied by counts."""

    limbs: Counts
    """(3, G, R, J): multiples of 2^-18, 2^-39 and 2^-60."""
    largest: float
    """The largest limb there is, or may be."""


def split(coefficients: Floats) -> Split:
    """Return coefficients (G, R, J) as integers: for callers that use the same ones more than once.

    Raises:
        ValueError: a coefficient that is not finite.
    """
    if not np.isfinite(coefficients).all():
        raise ValueError("expected finite coefficients")
    limbs = np.empty((3, *coefficients.shape))
    scaled = coefficients * _HIGH
    np.rint(scaled, out=limbs[0])
    scaled -= limbs[0]
    scaled *= _LIMB
    np.rint(scaled, out=limbs[1])
    scaled -= limbs[1]
    scaled *= _LIMB
    np.rint(scaled, out=limbs[2])
    largest = max(float(limbs[0].max(initial=0.0)), -float(limbs[0].min(initial=0.0)), _LIMB)
    if not largest < _CAPACITY:
        raise ValueError(f"expected coefficients below {_CAPACITY / _HIGH:.3g}, got {largest / _HIGH:.3g}")
    return Split(limbs.astype(np.int64), largest)


def suffix_sums(counts: Counts, coefficients: Floats) -> Floats:
    """Return for each slice the sum over it and all later ones of counts times coefficients.

    Shapes:
        ``counts: (S, R) int64``, ``coefficients: (S, R, J) float64``, result ``(S, J) float64``.

    Raises:
        ValueError: the sums could exceed what the integers hold; see the top of this file.
    """
    return grouped_suffix_sums(counts, coefficients, np.arange(len(counts)))


def sums(counts: Counts, coefficients: Floats) -> Floats:
    """Return the first row of `suffix_sums`, bit for bit: the sum over all slices; zeros for no slices."""
    return grouped_sums(counts, coefficients, np.arange(len(counts)))


def grouped_suffix_sums(counts: Counts, coefficients: Floats | Split, group: NDArray[np.integer]) -> Floats:
    """Return `suffix_sums` of slices that have coefficients in common, which need splitting only once.

    Shapes:
        ``counts: (..., S, R) int64``, ``coefficients: (G, R, J) float64``, ``group: (S,)``: which coefficients are
        whose. Result ``(..., S, J) float64``, the same bits as from ``coefficients[group]``. Axes before the slices are
        sums of their own, which one call makes together.
    """
    limbs = _fitting(counts, coefficients)
    groups, rows, bets = limbs.shape[1:]
    limbs = limbs.reshape(3, *(1,) * (counts.ndim - 2), groups, rows, bets)
    terms: Counts = np.zeros((3, *counts.shape[:-1], bets), np.int64)
    if rows <= _FEW_ROWS:
        for row in range(rows):
            terms += counts[..., row, None] * limbs[..., group, row, :]
    else:
        for number in range(groups):
            members = np.flatnonzero(group == number)
            terms[..., members, :] = counts[..., members, :] @ limbs[..., number, :, :]
    return _rounded(np.cumsum(terms[..., ::-1, :], axis=-2)[..., ::-1, :])


def grouped_sums(counts: Counts, coefficients: Floats | Split, group: NDArray[np.integer]) -> Floats:
    """Return the first row of `grouped_suffix_sums`, bit for bit: the sum over all slices; zeros for none.

    Shapes: as there, ``counts: (..., S, R)``; the result is ``(..., J)``.
    """
    limbs = _fitting(counts, coefficients)
    groups, rows, bets = limbs.shape[1:]
    before = counts.shape[:-2]
    joined = np.zeros((groups, *before, rows), np.int64)
    np.add.at(joined, group, np.moveaxis(counts, -2, 0))
    joined = np.moveaxis(joined, 0, -2)
    added: Counts = joined.reshape(math.prod(before), groups * rows) @ limbs.reshape(3, groups * rows, bets)
    return _rounded(added.reshape(3, *before, bets))


def _fitting(counts: Counts, coefficients: Floats | Split) -> Counts:
    """Return the limbs of coefficients, having made sure that the sums will fit."""
    parts = coefficients if isinstance(coefficients, Split) else split(coefficients)
    total = float(counts.sum(axis=(-2, -1), dtype=np.float64).max(initial=0.0))
    if not total * parts.largest < _CAPACITY:
        raise ValueError(
            f"expected fewer than {_CAPACITY / parts.largest:.3g} events in all, got {total:.3g}"
        )
    return parts.limbs


def _rounded(limbs: Counts) -> Floats:
    """Return the floats nearest to sums of limbs; equal sums give equal floats, however they came about."""
    middle = limbs[1] + (limbs[2] >> _LIMB_BITS)
    high = limbs[0] + (middle >> _LIMB_BITS)
    rest = ((middle & _MASK) << _LIMB_BITS) + (limbs[2] & _MASK)
    # Both factors are powers of two: only the addition rounds.
    result: Floats = high * (1.0 / _HIGH) + rest * (1.0 / (_HIGH * _LIMB * _LIMB))
    return result
