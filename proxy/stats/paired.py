"""Bets on pairs: both models saw the same request, and only where they differ is there anything to learn.

Each of these is `events` with a coin whose probability the pairing itself fixes.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from proxy.stats.bounded import above
from proxy.stats.events import harm, noninferiority, risk_ratio_sequence
from proxy.stats.exact import Counts, counts_of

__all__ = [
    "auc_pairs",
    "auc_worse",
    "excess_exceeds",
    "excess_within",
    "losses",
    "losses_within",
    "odds_sequence",
    "triples",
]


def losses(worse: int, better: int, margin: float = 0.0) -> float:
    """Return the log e-value against "the challenger loses a pair at most (1 + margin) times as often as it wins".

    The sequential form of McNemar's test: pairs in which both are right or both wrong carry no information.

    Model: given the past and that the pair is discordant, the odds that the challenger is the worse one are
    at most 1 + margin. Labels may come at any time that does not depend on which model was right.
    Shapes: numbers: pairs in which the challenger did worse, and in which it did better.
    Range, errors: as in `events.harm`. No discordant pairs: exactly 0.

    Source: `events.harm` with the coin 1/2.
    Checked against: full enumeration, |E - 1| <= 1e-12.
    """
    return harm(*_one(worse, better), margin)


def losses_within(worse: int, better: int, margin: float) -> float:
    """Return the log e-value against "the challenger loses at least (1 + margin) times as often as it wins".

    Large values are evidence that it is not worse by the margin. Model, shapes and range as in `losses`.
    """
    return noninferiority(*_one(worse, better), margin)


def odds_sequence(worse: int, better: int, alpha: float) -> tuple[float, float]:
    """Return an interval for the odds (lost to won pairs), valid at every moment at once: (0, inf) for none."""
    return risk_ratio_sequence(*_one(worse, better), alpha)


def triples(candidate_odd: int, second_odd: int, tolerance: float = 0.0) -> float:
    """Return the log e-value against "the candidate differs from the champion no more than the champion from itself".

    Each triple is one request answered by the champion twice and by the candidate once. Of interest are the
    triples in which exactly one of candidate and second champion answer differs from the first champion
    answer: without a change either is the odd one with probability 1/2, whatever the noise.

    Model: given the past, the request and the first answer, the odds that the candidate is the odd one are
    at most 1 + tolerance: its probability is at most ``(1 + m) / (2 + m)``. No level of noise enters.
    Shapes: numbers: triples in which the candidate was the odd one, and in which the second champion was.
    Range, errors: as in `losses`.

    Source: `events.harm` with the coin 1/2; a margin on the odds is the coin ``(1 + m) / (2 + m)``.
    Checked against: `events.harm` without margin at that coin.
    """
    return harm(*_one(candidate_odd, second_odd), tolerance)


def excess_exceeds(candidate_odd: int, second_odd: int, total: int, limit: float) -> float:
    """Return the log e-value against "the candidate differs in at most a share ``limit`` more triples".

    Of each triple (see `triples`) the value is 1 where the candidate is the odd one, -1 where the second champion
    answer is, else 0; its mean is how much more often the candidate differs from the first answer.

    Model: given the past, that mean is at most ``limit``. Where candidate and second answer could change places it is
    0, whatever the noise, so this holds at every limit.
    Shapes: numbers; ``candidate_odd + second_odd <= total``; ``limit`` in 0..1.
    Range: finite; no triples: exactly 0.

    Raises:
        ValueError: numbers outside their range.

    Source: as `bounded.mean_sequence`, one side; see there.
    Checked against: full enumeration of E[e] at the limit, |E - 1| <= 1e-12.
    """
    counts, levels = _signs(candidate_odd, second_odd, total, limit)
    return above(counts, levels, 0.5 * (1.0 + limit)) if total else 0.0


def excess_within(candidate_odd: int, second_odd: int, total: int, limit: float) -> float:
    """Return the log e-value against "the candidate differs in at least a share ``limit`` more triples".

    Large values are evidence that it differs by less than the limit above noise. Model, shapes, range and errors as in
    `excess_exceeds`, with the null on the other side.
    """
    counts, levels = _signs(candidate_odd, second_odd, total, limit)
    return above(counts, 1.0 - levels, 0.5 * (1.0 - min(limit, _MOST_LIMIT))) if total else 0.0


_MOST_LIMIT = 1.0 - 1e-9
"""What has a mean of 1 has one of more than this."""


def _signs(
    candidate_odd: int, second_odd: int, total: int, limit: float
) -> tuple[Counts, NDArray[np.float64]]:
    """Return how many triples have each value, and the values, moved from -1..1 to 0..1."""
    if not 0.0 <= limit <= 1.0:
        raise ValueError(f"expected a limit in 0..1, got {limit}")
    counts = counts_of([second_odd, total - candidate_odd - second_odd, candidate_odd])
    return counts, np.array([0.0, 0.5, 1.0])


def auc_pairs(
    champion_positive: ArrayLike,
    champion_negative: ArrayLike,
    challenger_positive: ArrayLike,
    challenger_negative: ArrayLike,
) -> tuple[int, int]:
    """Return how many pairs of labels only the challenger, and only the champion, put in the wrong order.

    Each positive label is paired with the next negative one that is not in a pair yet, in the order in which
    they came, so every label is used once. A pair is in order where the positive label's score is greater;
    a tie is not.

    Shapes: scores of the two models for the i-th pair, ``(n,)`` each.
    Range: both counts together are at most n; add those of disjoint sets of pairs.

    Raises:
        ValueError: arrays of other lengths, or scores that are NaN.
    """
    arrays = [
        np.asarray(each, np.float64)
        for each in (champion_positive, champion_negative, challenger_positive, challenger_negative)
    ]
    if len({each.shape for each in arrays}) != 1 or arrays[0].ndim != 1:
        raise ValueError(f"expected four arrays of one length, got {[each.shape for each in arrays]}")
    if any(np.isnan(each).any() for each in arrays):
        raise ValueError("expected scores that are numbers, got NaN")
    champion_right, challenger_right = arrays[0] > arrays[1], arrays[2] > arrays[3]
    worse = int((champion_right & ~challenger_right).sum())
    return worse, int((challenger_right & ~champion_right).sum())


def auc_worse(worse: int, better: int) -> float:
    """Return the log e-value against "the challenger's AUC is at least the champion's", from `auc_pairs`.

    AUC is the probability that a pair is in order, so its difference is that of the discordant pairs.

    Model: pairs are drawn independently; scores without ties (a tie counts as out of order).
    Range, errors: as in `losses`.
    """
    return losses(worse, better)


def _one(first: int, second: int) -> tuple[Counts, Counts, ArrayLike]:
    return counts_of([first]), counts_of([second]), [0.5]
