"""Counts of labelled rows → who is right how often, and whether one of the two is better.

Pure. Rules
    * *Rows* are counted as they come. What is concluded goes by *units*: a unit sends many requests, a request has many
      rows, and they resemble each other. So a unit counts once for how often each is right, by the first of its rows
      that was labelled, and once for which is better, by the first of them in which one is.
    * How often each is right has an interval that holds at every moment at once with 95 %. It is about the rows that
      get labels: who labels disagreements alone learns which is better, not how good either is.
    * Which is better: a sequential form of McNemar's test (:func:`proxy.stats.paired.losses`). The claim that is put to
      the test in each direction: *given the past, and that one of the two is better at a unit's first such row, it is
      the primary (the shadow) with a probability of one half at most*. It is a fair bet for each unit, whatever the
      rates are and however they drift. Units must not follow each other's luck, and labels come at times that do not
      depend on which model was right. Which rows get labels may depend on whether the two differ, not on who said what.
    * Each direction is ever said wrongly with 1 % at most.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import exp, log
from typing import Final, Literal, NamedTuple

from proxy.labels.outcomes import OUTCOMES
from proxy.stats import paired
from proxy.stats.proportion import proportion_sequence

__all__ = ["ALPHA", "CONFIDENCE", "COUNT_FIELDS", "LabelCounts", "Share", "Verdict", "judge", "sentence"]

ALPHA: Final = 0.01
CONFIDENCE: Final = 0.05
"""One less the level of the intervals that are shown."""

_RAREST: Final = 1e6
"""More than this is not said of any chance."""


class LabelCounts(NamedTuple):
    """What was counted of one shadow beside one variant."""

    both_right: int = 0
    only_primary: int = 0
    only_shadow: int = 0
    both_wrong: int = 0
    primary_closer: int = 0
    shadow_closer: int = 0
    as_close: int = 0
    """Rows, up to here; each is in one of these."""
    first_both_right: int = 0
    first_only_primary: int = 0
    first_only_shadow: int = 0
    first_both_wrong: int = 0
    """Units, by their first row that got a label."""
    won_primary: int = 0
    won_shadow: int = 0
    """Units, by who was better at their first row in which one was."""

    @property
    def rows(self) -> int:
        """Labelled rows."""
        return sum(self[: len(OUTCOMES)])

    @property
    def units(self) -> int:
        """Units of which a row was called right or wrong."""
        return (
            self.first_both_right + self.first_only_primary + self.first_only_shadow + self.first_both_wrong
        )

    def plus(self, other: "LabelCounts") -> "LabelCounts":
        """Return the sum."""
        return LabelCounts(*map(int.__add__, self, other))


COUNT_FIELDS: Final = LabelCounts._fields


class Share(NamedTuple):
    """How often somebody is right, as fractions."""

    rate: float | None
    """Of units, by their first row; None: of none is known."""
    low: float
    high: float
    """The rate lies between low and high at all times with 95 %, as long as it is constant."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What labels say."""

    primary: Share
    shadow: Share
    log_e_worse: float
    """Natural logarithm of the e-value against "the shadow is the worse one at most half of the time"."""
    log_e_better: float
    odds: tuple[float, float]
    """How often the shadow is the worse one to how often the better, an interval as above."""

    @property
    def is_shown(self) -> Literal["worse", "better"] | None:
        """What is shown of the shadow, at :data:`ALPHA`; None: nothing yet."""
        if self.log_e_worse >= -log(ALPHA):
            return "worse"
        return "better" if self.log_e_better >= -log(ALPHA) else None


@lru_cache(maxsize=512)
def judge(counts: LabelCounts) -> Verdict:
    """Return what ``counts`` say. Without labels rates are None, intervals are everything and both log e are 0."""
    lost, won = counts.won_primary, counts.won_shadow
    return Verdict(
        _share(counts.first_both_right + counts.first_only_primary, counts.units),
        _share(counts.first_both_right + counts.first_only_shadow, counts.units),
        paired.losses(lost, won),
        paired.losses(won, lost),
        paired.odds_sequence(lost, won, CONFIDENCE),
    )


def sentence(counts: LabelCounts) -> str:
    """Return in words who is better."""
    judged = judge(counts)
    lost, won = counts.won_primary, counts.won_shadow
    if not counts.rows:
        return "no row was labelled yet"
    if not lost + won:
        return "no difference in what was labelled so far"
    score = f"worse at {lost} and better at {won} of {lost + won} units at which they differ"
    if (shown := judged.is_shown) is None:
        return f"not shown to be better or worse: {score}"
    once_in = min(exp(min(max(judged.log_e_worse, judged.log_e_better), 30.0)), _RAREST)
    return f"{shown}: {score} (by chance once in {float(f'{once_in:.2g}'):,.0f} at most)"


def _share(count: int, total: int) -> Share:
    return Share(count / total if total else None, *proportion_sequence(count, total, CONFIDENCE))
