"""Counts of triples → what they say: how much more the candidate differs than the champion does from itself.

Rules
    * Two bets, each with half of the money: on which of the two answers is the odd one, and on which is the farther
      one. The second sees differences within the tolerance, and finds free text that never is the same twice. Each
      triple reveals both coins at once, so both are e-processes of the claim of :mod:`proxy.noise.triples` in one
      filtration, and so is their mean. It may be looked at after every request, for ever.
    * A tolerance m allows the candidate to be the odd one, and the farther one, 1 + m times as often as the champion:
      a coin of (1 + m)/(2 + m) in place of one half.
    * The excess is P(C differs from P) - P(S differs from P): a difference of paired rates, of which triples that
      differ twice or not at all say nothing but how many there are.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import exp, log
from typing import Final

import numpy as np

from proxy.noise.triples import Triples
from proxy.stats import bounded, mixtures, paired

__all__ = ["ALPHA", "CONFIDENCE", "NOT_MEASURED", "Judgement", "judge", "sentence"]

ALPHA: Final = 0.01
"""A candidate that differs no more than the champion is ever said to differ more with this probability at most."""

CONFIDENCE: Final = 0.05
"""One less the level of the interval that is shown: it holds the excess at all times with 95 %."""

NOT_MEASURED: Final = (
    "the champion's own noise is not measured, so how much of this is its own is not known; "
    "compare: {noise: 5} asks the champion a second time for 5 % of the copies"
)
"""What is said of a shadow's disagreement without ``compare.noise``."""

_VALUES: Final = (0.0, 0.5, 1.0)
"""The champion alone differs, neither or both do, the candidate alone does: the excess is twice their mean, less 1."""

_HALF_EACH: Final = np.ones(2)

_AS_OFTEN: Final = 0.1
"""Rates that differ by no more than this part of the noise are said to be the same."""

_RAREST: Final = 1e6
"""More than this is not said of any chance: something else that nobody thought of is likelier."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What triples say. Rates and the excess are fractions; the latter in -1..1."""

    triples: int
    candidate_rate: float
    """How often the candidate differs from the client's answer: the raw disagreement."""
    noise_rate: float
    """How often the champion's second answer does."""
    excess: float
    low: float
    high: float
    """The excess lies between low and high at all times with 95 %, as long as it is constant."""
    log_e: float
    """Natural logarithm of the e-value against "no more than the champion, and the tolerance"."""
    tolerance: float
    """How much more often than the champion the candidate may be the odd one, as a fraction."""
    farther: int
    """Triples in which the candidate's answer is farther from the client's than the champion's second one."""
    nearer: int

    @property
    def is_more(self) -> bool:
        """Whether it is shown that the candidate differs more, at :data:`ALPHA`."""
        return self.log_e >= -log(ALPHA)


@lru_cache(maxsize=512)
def judge(counts: Triples, tolerance: float = 0.0) -> Judgement:
    """Return what ``counts`` say.

    Model: as in :mod:`proxy.noise.triples` for the e-value; for the interval a constant excess, whatever else changes.
    Range: without triples rates and excess are 0, the interval is -1..1 and log e is 0.

    Args:
        counts: of one stretch: the same models, the same rule.
        tolerance: how much more often than the champion a candidate may be the odd one, as a fraction of 0 or more.

    Source: Ville's inequality; the bets are those of :func:`proxy.stats.paired.triples`, the interval that of
        :func:`proxy.stats.bounded.mean_sequence`.
    """
    total = counts.total
    logs = (
        paired.triples(counts.candidate, counts.champion, tolerance),
        paired.triples(counts.candidate_farther, counts.champion_farther, tolerance),
    )
    low, high = bounded.mean_sequence(
        (counts.champion, counts.same + counts.both, counts.candidate), _VALUES, CONFIDENCE
    )
    return Judgement(
        triples=total,
        candidate_rate=(counts.candidate + counts.both) / total if total else 0.0,
        noise_rate=(counts.champion + counts.both) / total if total else 0.0,
        excess=(counts.candidate - counts.champion) / total if total else 0.0,
        low=2.0 * low - 1.0,
        high=2.0 * high - 1.0,
        log_e=mixtures.average(logs, _HALF_EACH),
        tolerance=tolerance,
        farther=counts.candidate_farther,
        nearer=counts.champion_farther,
    )


def sentence(judged: Judgement) -> str:
    """Return the judgement in words. It begins with a figure: whose answers these are goes before it."""
    if not judged.triples:
        return "no answer could be set beside a second one of the champion yet"
    found = f"{_percent(judged.candidate_rate)} of answers differ, and the champion {_itself(judged)}: "
    if not judged.is_more:
        more = "more than is tolerated" if judged.tolerance else "a difference"
        return f"{found}no evidence of {more}, {_percent(max(judged.high, 0.0))} above noise at most"
    once_in = _rounded(min(exp(min(judged.log_e, 30.0)), _RAREST))
    how_sure = f"by chance once in {once_in} at most"
    if judged.low > 0.0:
        return f"{found}it differs more, by {_percent(judged.low)} at least ({how_sure})"
    if judged.farther > judged.nearer:
        share = _percent(judged.farther / (judged.farther + judged.nearer))
        return f"{found}but {share} of those that differ in distance are farther away than it ({how_sure})"
    return f"{found}it differs more ({how_sure})"


def _itself(judged: Judgement) -> str:
    if not judged.noise_rate:
        return "never differs from itself"
    rate = _percent(judged.noise_rate)
    is_alike = abs(judged.excess) <= _AS_OFTEN * judged.noise_rate
    return f"differs from itself {f'as often ({rate})' if is_alike else f'in {rate}'}"


def _percent(rate: float) -> str:
    return f"{100 * rate:.3g} %"


def _rounded(number: float) -> str:
    return f"{float(f'{number:.2g}'):,.0f}"
