"""From records to what is true of all traffic: totals and ratios, with their error.

A record stands for ``1 / inclusion_probability`` requests. Summed so, a sample says without bias what the whole would
say, although disagreements are all there and of the rest only some, and although a budget has left out more in a rush.
To add up records without their weights is to answer another question.

How a record comes to be there
    1. Its *unit* is drawn once, with probability ``p``: all of its requests are in, or none (``log.percent``). A record
       that a rule of ``log.keep`` wants is in whatever its unit drew: ``p = 1``.
    2. The budget draws for each record by itself, with a probability ``q`` that was fixed before.

    So its inclusion probability is ``pi_k = p_k q_k``, and that of two records ``pi_kl`` is ``min(p_k, p_l) q_k q_l``
    for those of one unit, which share their first draw, and ``pi_k pi_l`` for others. A unit's requests resemble each
    other: who takes them for independent believes an error that is too small by the square root of their number.

Formulas
    With ``a_k = y_k / pi_k`` the total is ``sum a_k`` (Horvitz and Thompson 1952). Its variance is estimated without
    bias by ``sum over k, l of (1 - pi_k pi_l / pi_kl) a_k a_l`` (Särndal, Swensson, Wretman 1992, section 2.8), which
    is here, unit by unit::

        sum over pairs of values of p of (1 - max(p, p')) A_p A_p'  +  sum over k of p_k (1 - q_k) a_k^2

    where ``A_p`` is the sum of the unit's ``a_k`` with first probability ``p``. A ratio ``R = Y/X`` is the ratio of two
    such totals (with ``x_k = 1`` the mean of Hájek), its variance that of the total of ``y_k - R x_k``, over ``X^2``
    (Taylor; the same, sections 5.5 to 5.7).

Which error
    :attr:`Estimate.variance` is that of the sample: what a log of all requests would have said is within it, and with
    every request logged it is 0. To judge a *model*, of whose requests even all are only a sample, take
    :attr:`Estimate.model_variance`: the squares of the units' totals (the ultimate clusters of Hansen, Hurwitz and
    Madow 1953), which needs no more than that units are independent of each other.

Few units
    A variance that is estimated from few units, or from some that ask far more than the others, is uncertain itself,
    and too small more often than not. So the interval of a model takes Student's quantile instead of the normal one,
    with as many degrees of freedom as units of equal weight would leave (:attr:`Estimate.size` less one), as Korn and
    Graubard (1998, Survey Methodology 24) widen theirs for the number of clusters.

Many units
    What a sample holds grows with its units: half a KiB each. With a bound, once there are more, units are thrown
    together by a hash into so many groups, and a group counts as one unit (random groups: Wolter 2007, chapter 2): the
    values stay what they are, and so does the expectation of a ratio's variances, since residuals of different units
    are as often above 0 as below. Such an estimate of a variance has an error of its own of ``sqrt(2 / groups)``, 0.8 %
    for 32,768.

Arithmetic is generic: with fractions it is exact, which the tests use.
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, NamedTuple
from zlib import crc32

__all__ = ["Estimate", "Sample", "Weighting", "allow_for_losses", "weighting_of"]


class Weighting(NamedTuple):
    """How one record came to be there."""

    unit: Hashable
    """Equal for the records of one unit of one route, whose first draw was one; else different."""
    first: Any
    """Probability of the unit's draw, in (0, 1]; 1 where a rule wanted the record."""
    second: Any = 1
    """Probability of the record's own draw, in (0, 1]."""


def weighting_of(record: Mapping[str, Any]) -> Weighting:
    """Return how a record, of whatever version, came to be there; one that a rule wanted says 1 for the unit's draw.

    Raises:
        ValueError: its probabilities are none.
    """
    inclusion, second = record["inclusion_probability"], record.get("budget_probability")
    second = 1.0 if second is None else second  # of version 1, or null in a table of several versions
    if not 0 < inclusion <= second <= 1:
        raise ValueError(f"expected 0 < inclusion <= budget probability <= 1, got {inclusion} and {second}")
    unit = record.get("unit")
    # Who has no unit was drawn by the request's id.
    name = ("request", record["request_id"]) if unit is None else ("unit", unit)
    return Weighting((record["route"], *name), inclusion / second, second)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure about all traffic."""

    value: Any
    variance: Any
    """Of the sample: 0 when everything was logged."""
    model_variance: Any
    """Of the sample and of what all traffic is a sample of, units being independent; NaN for a ratio of one unit."""
    size: float
    """As many units of equal weight would tell as much: ``(sum of weights)^2 / sum of their squares`` (Kish 1965)."""
    is_complete: bool
    """Whether no record was left to chance, so that all there was is known."""

    def interval(self, confidence: float = 0.95, *, of_model: bool = False) -> tuple[float, float]:
        """Return the normal interval, ``value ± z sqrt(variance)``.

        Args:
            confidence: in (0, 1).
            of_model: of the model behind the traffic, not only of the traffic that there was.
        """
        variance = float(self.model_variance if of_model else self.variance)
        # An unbiased estimate of a variance may be below 0; no variance is.
        spread = _z(confidence) * max(variance, 0.0) ** 0.5
        return float(self.value) - spread, float(self.value) + spread

    def proportion_interval(self, confidence: float = 0.95, *, of_model: bool = False) -> tuple[float, float]:
        """Return an interval for a proportion, within 0 to 1, and of some width also where none or all have it.

        Wilson's (1927) for as many independent units as would give this variance; where it is 0, for as many as
        :attr:`size` says (Dean and Pagano 2015 compare such intervals). What a complete log says of its own traffic is
        known: that is the value alone. Of the model's variance see *Few units* above.

        Raises:
            ValueError: the value is outside 0 to 1: no proportion.
        """
        share, variance = float(self.value), float(self.model_variance if of_model else self.variance)
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"expected a proportion in 0..1, got {share}")
        if self.is_complete and not of_model:
            return share, share
        spread = share * (1.0 - share)
        number = spread / variance if variance > 0.0 < spread else self.size
        quantile = _t(confidence, self.size - 1.0) if of_model else _z(confidence)
        square = quantile * quantile / number
        middle = (share + square / 2.0) / (1.0 + square)
        reach = (square * (spread + square / 4.0)) ** 0.5 / (1.0 + square)
        return max(0.0, middle - reach), min(1.0, middle + reach)


@dataclass(slots=True)
class _Sums:
    """Weighted sums over records: of y and of x."""

    y: Any = 0
    x: Any = 0


class Sample:
    """Records added up, one by one. What it holds grows with the number of units, not of records.

    Args:
        most_units: at most so many units are told apart, then groups of them; 2 and more. None: all of them.
    """

    __slots__ = ("_is_complete", "_is_grouped", "_most", "_own", "_units", "records")

    def __init__(self, most_units: int | None = None) -> None:
        self._most = most_units
        self._is_grouped = False
        self.records = 0
        """How many there are."""
        self._units: defaultdict[Hashable, dict[Any, _Sums]] = defaultdict(dict)
        """By unit and first probability, of which a unit nearly always has one or two."""
        self._own: list[Any] = [0, 0, 0]
        """Sums of ``p (1 - q)`` times the squares of the records' own: yy, xy, xx."""
        self._is_complete = True

    def add(self, weighting: Weighting, y: Any, x: Any = 1) -> None:
        """Add one record.

        Args:
            weighting: how it came to be there.
            y: what is summed: 1 where something holds and 0 where not, or a number.
            x: what it is put into relation to, by :meth:`ratio`; 1: the number of requests.
        """
        unit, first, second = weighting
        self.records += 1
        if self._is_grouped:
            unit = self._group(unit)
        y, x = y / (first * second), x / (first * second)
        sums = self._units[unit].setdefault(first, _Sums())
        sums.y += y
        sums.x += x
        if first != 1 or second != 1:
            self._is_complete = False
            own, part = self._own, first * (1 - second)
            own[0] += part * y * y
            own[1] += part * x * y
            own[2] += part * x * x
        if self._most is not None and len(self._units) > self._most and not self._is_grouped:
            self._throw_together()

    def _group(self, unit: Hashable) -> int:
        # The same in every process, as Python's own hash is not.
        return crc32(repr(unit).encode()) % (self._most or 1)

    def _throw_together(self) -> None:
        units, self._units, self._is_grouped = self._units, defaultdict(dict), True
        for unit, parts in units.items():
            group = self._units[self._group(unit)]
            for first, part in parts.items():
                sums = group.setdefault(first, _Sums())
                sums.y += part.y
                sums.x += part.x

    def total(self) -> Estimate:
        """Return the sum of y over all traffic; ``model_variance`` takes the number of units for Poisson's.

        Raises:
            ValueError: there were more units than are told apart: the variance of a total needs each of them.
        """
        if self._is_grouped:
            raise ValueError(
                f"expected at most {self._most} units for a total; make the sample without a bound"
            )
        return self._estimate(self._totals().y, ratio=0, below=1, spread=1)

    def ratio(self) -> Estimate:
        """Return the sum of y over that of x: with x = 1 the mean of y over all traffic.

        Raises:
            ValueError: there is nothing to divide by.
        """
        totals, units = self._totals(), len(self._units)
        if not totals.x:
            raise ValueError("expected records to divide by, got none")
        ratio = totals.y / totals.x
        spread = units / (units - 1) if units > 1 else math.nan
        return self._estimate(ratio, ratio=ratio, below=totals.x, spread=spread)

    def _totals(self) -> _Sums:
        parts = [part for unit in self._units.values() for part in unit.values()]
        return _Sums(sum(part.y for part in parts), sum(part.x for part in parts))

    def _estimate(self, value: Any, *, ratio: Any, below: Any, spread: Any) -> Estimate:
        """Return the estimate ``value`` with the variances of the total of ``y - ratio x``, over ``below`` squared."""
        own = self._own
        variance = own[0] - 2 * ratio * own[1] + ratio * ratio * own[2]
        squares: Any = 0
        weight = weights = 0.0
        for unit in self._units.values():
            rests = [(first, part.y - ratio * part.x) for first, part in unit.items()]
            variance += sum(
                (1 - max(first, other)) * rest * its for first, rest in rests for other, its in rests
            )
            squares += sum(rest for _, rest in rests) ** 2
            size = float(sum(part.x for part in unit.values()))
            weight, weights = weight + size, weights + size * size
        scale = below * below
        if scale != 1:  # nothing is lost to a division that is none
            variance, squares = variance / scale, squares / scale
        size = weight * weight / weights if weights else 0.0
        return Estimate(value, variance, squares * spread, size, self._is_complete)


def allow_for_losses(low: float, high: float, lost: float, known: float) -> tuple[float, float]:
    """Return an interval for a proportion that also holds whatever was lost.

    Nobody knows what lost records would have said, and they need not be like the others: they were lost in a rush. So
    at the lower end none of them has it, at the upper one all (Manski's bounds).

    Args:
        low: of the interval from what is there.
        high: of it.
        lost: requests that the lost records would have stood for. Of those that the observer dropped
            ``modelproxy_payload_lost_requests_total`` tells; of all others (what a worker dropped, what went with a
            killed observer, what has failed) at most their number times the largest weight there is.
        known: requests that those that are there stand for: the sum of their weights.

    Raises:
        ValueError: ``lost`` or ``known`` is negative, or both are 0.
    """
    if lost < 0 or known < 0 or not lost + known > 0:
        raise ValueError(f"expected requests, got {known} that are known and {lost} that were lost")
    share = lost / (lost + known)
    return low * (1 - share), high * (1 - share) + share


def _z(confidence: float) -> float:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"expected a confidence in 0..1, got {confidence}")
    return NormalDist().inv_cdf(0.5 + confidence / 2.0)


def _t(confidence: float, freedom: float) -> float:
    """Return Student's quantile by Wallace's (1959) bound on the normal one, turned round.

    Too large by 4 % at two degrees of freedom and 95 %, by 1 % at three and by less from there on. Fewer than two count
    as two: what a single unit says of the others nobody knows.
    """
    freedom = max(freedom, 2.0)
    normal = _z(confidence) * (8.0 * freedom + 3.0) / (8.0 * freedom + 1.0)
    return math.sqrt(freedom * math.expm1(normal * normal / freedom))
