"""How many records a route may have in a second, and which of them are left out when there are more.

Pure: time and the number that is drawn are arguments.

Rules
    * The probability with which a record is kept is fixed before the record is seen: by what was offered and kept in
      the slices of time before its own. So ``sum of y/q over the kept`` has the expectation ``sum of y over the
      offered``, whatever comes, bursts included: given the past, each kept record counts 1/q with probability q (a
      martingale). Whatever the rule below is, it cannot bias an estimate; it can only be better or worse at keeping
      near the budget.
    * It is never 0: what could not have been kept, nobody can estimate.
    * Beyond the hard cap a record is lost, and is said to be, with the 1/q that it stood for: how much is missing is
      known without bias, but not what it would have said (:func:`proxy.records.weights.allow_for_losses`). A burst
      that comes out of nothing meets the probability 1 in its first slice, so that each lost record stands for itself
      alone. It may use up no more of a second than leaves a budget for the slices behind it: there a record stands
      for many, and the draws would have to keep several times what they are meant to for one to be lost
      (``tests/records/test_budget.py``).

Theory of operation
    Time is cut into slices of 0.1 s. When one begins, the load to expect is the last second's mean, or the last
    slice's where that is more beyond doubt. What may be kept is a slice's part of the budget, and a tenth of the
    credit: what was left of the budget lately, a second's and five records at most, or, negative, was kept beyond it.
    So a route that stays below its budget is never thinned by the noise of small numbers, and one that exceeds it pays
    back. ``q`` is the one over the other.
"""

from collections import deque
from typing import Final, Literal, NamedTuple, TypeAlias

__all__ = ["SLICE_NS", "SPACE", "Admission", "Budget", "hard_cap"]

SPACE: Final = 1 << 64
"""A drawn number is uniform in ``[0, SPACE)``."""

SLICE_NS: Final = 100_000_000
_SLICES: Final = 10
"""Slices of a second."""

_SPARE: Final = 5
"""Records that may be kept on top of a second's, out of what was not needed before: a few are noise."""

_LEAST: Final = 0.5
"""However large the debt: this part of the budget is still spent, so that no probability gets close to 0."""

Outcome: TypeAlias = Literal["kept", "thinned", "over"]


class Admission(NamedTuple):
    """What becomes of one record that was offered."""

    outcome: Outcome
    """``thinned``: left out by the draw; ``over``: lost to the hard cap."""
    probability: float
    """With which the draw keeps it: above 0 to 1, exact."""


class _Slice(NamedTuple):
    offered: int
    kept: int


def hard_cap(per_second: int) -> int:
    """Return the most records in any second, whatever the draw says: three times the budget and twenty.

    What is planned is twice the budget and five at most, where a load sets in: a second's budget, and the credit. The
    rest is for the spread of the draws, which of small budgets is large. One slice may have all but a budget of it.
    """
    return 3 * per_second + 20


class Budget:
    """The budget of one route.

    Args:
        per_second: records to keep, 1 and more.

    Raises:
        ValueError: ``per_second`` is less than 1.
    """

    __slots__ = (
        "_cap",
        "_credit",
        "_kept",
        "_last",
        "_limit",
        "_now",
        "_offered",
        "_reserve",
        "_share",
        "_slice_cap",
    )

    def __init__(self, per_second: int) -> None:
        if per_second < 1:
            raise ValueError(f"expected a budget of at least 1, got {per_second}")
        self._cap = hard_cap(per_second)
        self._slice_cap = self._cap - per_second
        self._share = per_second / _SLICES
        self._last: deque[_Slice] = deque(maxlen=_SLICES)
        """The slices before this one, oldest first."""
        self._reserve = float(per_second + _SPARE)
        self._credit = self._reserve
        self._now: int | None = None
        """Number of the slice that is under way."""
        self._offered = self._kept = 0
        self._limit = SPACE
        """Drawn below it, a record is kept."""

    @property
    def probability(self) -> float:
        """With which a record is kept in the slice under way."""
        return self._limit / SPACE

    def admit(self, now_ns: int, draw: int) -> Admission:
        """Decide about one record.

        Args:
            now_ns: monotonic; an earlier time than the last counts as that.
            draw: uniform in ``[0, SPACE)``, and independent of the record.
        """
        self._turn(now_ns // SLICE_NS)
        self._offered += 1
        probability = self._limit / SPACE
        if draw >= self._limit:
            return Admission("thinned", probability)
        kept_before = sum(each.kept for each in list(self._last)[1 - _SLICES :])
        if self._kept >= self._slice_cap or self._kept + kept_before >= self._cap:
            return Admission("over", probability)
        self._kept += 1
        return Admission("kept", probability)

    def _turn(self, number: int) -> None:
        """Begin the slice with this number, and fix the probability of what comes in it."""
        if self._now is None:
            self._now = number
        behind = number - self._now
        if behind <= 0:
            return
        self._end(_Slice(self._offered, self._kept))
        for _ in range(min(behind - 1, 2 * _SLICES)):  # that many empty ones forget everything
            self._end(_Slice(0, 0))
        self._now, self._offered, self._kept = number, 0, 0
        self._limit = self._chosen()

    def _end(self, ended: _Slice) -> None:
        self._last.append(ended)
        credit = self._credit + self._share - ended.kept
        self._credit = max(-self._reserve, min(self._reserve, credit))

    def _chosen(self) -> int:
        last, mean = self._last[-1].offered, sum(each.offered for each in self._last) / _SLICES
        # Of one slice what is more than noise (two standard deviations of a Poisson count).
        expected = max(mean, last - 2.0 * last**0.5)
        allowed = max(_LEAST * self._share, self._share + self._credit / _SLICES)
        # A float below 1 times 2^64 is exact or loses less than one part in 2^53 of itself; what is kept with
        # the limit is what is told of it.
        return SPACE if expected <= allowed else int(allowed / expected * SPACE)
