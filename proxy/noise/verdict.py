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

__all__ = ["ALPHA", "CONFIDENCE", "Judgement", "judge", "sentence"]

ALPHA: Final = 0.01
"""A candidate that differs no more than the champion is ever said to differ more with this probability at most."""

CONFIDENCE: Final = 0.05
"""One less the level of the interval that is shown: it holds the excess at all times with 95 %."""

_VALUES: Final = (0.0, 0.5, 1.0)
"""The champion alone differs, neither or both do, the candidate alone does: the excess is twice their mean, less 1."""

_HALF_EACH: Final = np.ones(2)

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
    )


def sentence(judged: Judgement) -> str:
    """Return the judgement in words."""
    if not judged.triples:
        return "nothing was asked twice yet"
    rates = f"{_percent(judged.candidate_rate)} against {_percent(judged.noise_rate)}"
    if not judged.is_more:
        return f"no more than noise so far ({rates}): at most {_percent(max(judged.high, 0.0))} above it"
    once_in = min(exp(min(judged.log_e, 30.0)), _RAREST)
    how_sure = f"by chance once in {_rounded(once_in)} at most"
    least = f", at least {_percent(judged.low)}" if judged.low > 0.0 else ""
    return f"disagrees more than the champion with itself ({rates}{least} above it; {how_sure})"


def _percent(rate: float) -> str:
    return f"{100 * rate:.3g} %"


def _rounded(number: float) -> str:
    return f"{float(f'{number:.2g}'):,.0f}"
