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

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from proxy.stats.special import Floats

__all__ = ["Counts", "counts_of", "grouped_suffix_sums", "grouped_sums", "shares_of", "suffix_sums", "sums"]

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


def grouped_suffix_sums(counts: Counts, coefficients: Floats, group: NDArray[np.integer]) -> Floats:
    """Return `suffix_sums` of slices that have coefficients in common, which need splitting only once.

    Shapes:
        ``counts: (S, R) int64``, ``coefficients: (G, R, J) float64``, ``group: (S,)``: which coefficients are
        whose. Result ``(S, J) float64``, the same bits as from ``coefficients[group]``.
    """
    limbs = _limbs(counts, coefficients)
    rows = counts.shape[1]
    terms: Counts = np.zeros((3, len(counts), coefficients.shape[2]), np.int64)
    if rows <= _FEW_ROWS:
        for row in range(rows):
            terms += counts[:, row, None] * limbs[:, group, row]
    else:
        # Whole floats whose sums stay below 2^53 are exact in any order, and matrices of floats are fast.
        largest = max(float(limbs.max(initial=0)), -float(limbs.min(initial=0)))
        largest *= float(counts.sum(axis=1).max(initial=0))
        kind = np.float64 if largest < _EXACT_FLOAT else np.int64
        left, right = counts.astype(kind), limbs.astype(kind)
        for number in range(len(coefficients)):
            members = np.flatnonzero(group == number)
            terms[:, members] = left[members] @ right[:, number]
    return _rounded(np.cumsum(terms[:, ::-1], axis=1)[:, ::-1])


def grouped_sums(counts: Counts, coefficients: Floats, group: NDArray[np.integer]) -> Floats:
    """Return the first row of `grouped_suffix_sums`, bit for bit: the sum over all slices; zeros for none."""
    limbs = _limbs(counts, coefficients)
    joined = np.zeros(coefficients.shape[:2], np.int64)
    np.add.at(joined, group, counts)
    factors = limbs.reshape(3, joined.size, coefficients.shape[2])
    return _rounded(joined.reshape(joined.size) @ factors)


def _limbs(counts: Counts, coefficients: Floats) -> Counts:
    """Return coefficients as three integers (3, U, R, J), having made sure that the sums will fit."""
    limbs = np.empty((3, *coefficients.shape))
    scaled = coefficients * _HIGH
    _round(scaled, limbs[0])
    scaled -= limbs[0]
    scaled *= _LIMB
    _round(scaled, limbs[1])
    scaled -= limbs[1]
    scaled *= _LIMB
    _round(scaled, limbs[2])
    largest = max(float(limbs[0].max(initial=0.0)), -float(limbs[0].min(initial=0.0)), _LIMB)
    total = float(counts.sum(dtype=np.float64))
    if not total * largest < _CAPACITY:
        raise ValueError(f"expected fewer than {_CAPACITY / largest:.3g} events in all, got {total:.3g}")
    return limbs.astype(np.int64)


def _round(values: Floats, out: Floats) -> None:
    """Round to whole numbers, half to even, in a third of the time of ``rint``; for values below 2^51."""
    np.add(values, _WHOLE, out=out)
    np.subtract(out, _WHOLE, out=out)


def _rounded(limbs: Counts) -> Floats:
    """Return the floats nearest to sums of limbs; equal sums give equal floats, however they came about."""
    middle = limbs[1] + (limbs[2] >> _LIMB_BITS)
    high = limbs[0] + (middle >> _LIMB_BITS)
    rest = ((middle & _MASK) << _LIMB_BITS) + (limbs[2] & _MASK)
    # Both factors are powers of two: only the addition rounds.
    result: Floats = high * (1.0 / _HIGH) + rest * (1.0 / (_HIGH * _LIMB * _LIMB))
    return result
