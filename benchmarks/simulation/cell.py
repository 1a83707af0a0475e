"""A cell of the simulation: a setting, a way to draw runs of it, and claims about what comes out."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulation.binomial import lower_limit, upper_limit

__all__ = [
    "Alarms",
    "Cell",
    "Claim",
    "Delay",
    "Draw",
    "Errs",
    "Figure",
    "Floats",
    "Kept",
    "Row",
    "Samples",
    "Share",
    "Table",
    "Verdict",
]

Floats: TypeAlias = NDArray[np.float64]
Samples: TypeAlias = dict[str, Floats]
"""What came out, by name: one number for each run. Of evidence: the greatest log e of all looks."""

Draw: TypeAlias = Callable[[np.random.Generator, int], Samples]
"""Draws that many runs."""

CERTAIN = 2.6
"""Standard errors within which a mean is taken to be."""


class Table(StrEnum):
    """The tables of the report, by title."""

    VALIDITY = "Nothing is wrong: how often ours acts all the same"
    OTHERS = "The same traffic: how often others act"
    PROMOTION = "At the margin: how often a canary that is just too bad is promoted"
    COVERAGE = "Confidence sequences: how often one ever leaves the truth out"
    DELAY = "How many requests it takes"
    FIGURES = "Other figures"
    ENGINE = "Whole rollouts"


class Verdict(StrEnum):
    """What a row says of its goal."""

    MET = "met"
    OPEN = "open"
    """Neither shown nor ruled out by this many runs."""
    MISSED = "missed"
    NONE = ""
    """There is no goal."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table."""

    table: Table
    setting: str
    what: str
    runs: int
    values: tuple[str, ...]
    verdict: Verdict
    why: str = ""
    """Of a goal that is missed."""


class Claim(Protocol):
    """Something that is said about samples."""

    def row(self, setting: str, samples: Samples) -> Row:
        """Return the line of a table that says how it turned out."""
        ...


@dataclass(frozen=True, slots=True)
class Cell:
    """A setting with its claims."""

    name: str
    """Unique; what ``--only`` looks for."""
    setting: str
    runs: int
    """In the full simulation."""
    draw: Draw
    claims: tuple[Claim, ...]


def percent(share: float) -> str:
    """Return a share as a percentage with two or three digits that mean something."""
    value = 100.0 * share
    return f"{value:.3f} %" if value < 0.1 else f"{value:.2f} %" if value < 10 else f"{value:.1f} %"


def at_most(hits: int, runs: int, goal: float) -> Verdict:
    """Judge "the probability is at most ``goal``" with 99 % confidence either way."""
    if upper_limit(hits, runs) <= goal:
        return Verdict.MET
    return Verdict.MISSED if lower_limit(hits, runs) > goal else Verdict.OPEN


def worst(verdicts: list[Verdict]) -> Verdict:
    """Return the worst of several verdicts."""
    order = [Verdict.NONE, Verdict.MET, Verdict.OPEN, Verdict.MISSED]
    return max(verdicts, key=order.index)


@dataclass(frozen=True, slots=True)
class Errs:
    """An e-process reaches 1/alpha with a probability of at most alpha, for each of several alphas."""

    of: str
    what: str
    alphas: tuple[float, ...] = (0.05, 0.01, 0.001)
    table: Table = Table.VALIDITY

    def row(self, setting: str, samples: Samples) -> Row:
        """Return how often the log e reached each threshold."""
        values, verdicts = [], []
        runs = len(samples[self.of])
        shown = (0.05, 0.01, 0.001) if self.table is Table.VALIDITY else (0.05, 0.01)
        for alpha in shown:
            if alpha not in self.alphas:
                values.append("")
                continue
            hits = int((samples[self.of] >= -math.log(alpha)).sum())
            values.append(f"{percent(hits / runs)} (≤ {percent(upper_limit(hits, runs))})")
            verdicts.append(at_most(hits, runs, alpha))
        return Row(self.table, setting, self.what, runs, tuple(values), worst(verdicts))


@dataclass(frozen=True, slots=True)
class Alarms:
    """How often another rule acts: there is no goal. Samples are 1 where it did."""

    of: str
    what: str
    table: Table = Table.OTHERS

    def row(self, setting: str, samples: Samples) -> Row:
        """Return the share of runs."""
        found = samples[self.of]
        return Row(self.table, setting, self.what, len(found), (percent(float(found.mean())),), Verdict.NONE)


@dataclass(frozen=True, slots=True)
class Share:
    """The share of runs in which something happened (samples of 1) is at most, or at least, so much."""

    of: str
    what: str
    most: float | None = None
    least: float | None = None
    table: Table = Table.ENGINE

    def row(self, setting: str, samples: Samples) -> Row:
        """Return the share with its limit of 99 %; without a goal, the share alone."""
        found = samples[self.of]
        hits, runs = int((found > 0).sum()), len(found)
        text, goal, verdict = percent(hits / runs), "", Verdict.NONE
        if self.most is not None:
            text += f" (≤ {percent(upper_limit(hits, runs))})"
            goal, verdict = f"≤ {percent(self.most)}", at_most(hits, runs, self.most)
        elif self.least is not None:
            text += f" (≥ {percent(lower_limit(hits, runs))})"
            goal, verdict = f"≥ {percent(self.least)}", at_most(runs - hits, runs, 1.0 - self.least)
        return Row(self.table, setting, self.what, runs, (text, goal), verdict)


@dataclass(frozen=True, slots=True)
class Kept:
    """A confidence sequence leaves the truth out, at any look, with a probability of at most alpha."""

    of: str
    what: str
    alpha: float = 0.05

    def row(self, setting: str, samples: Samples) -> Row:
        """Return the share of runs in which it did."""
        found = samples[self.of]
        hits, runs = int((found > 0).sum()), len(found)
        text = f"{percent(hits / runs)} (≤ {percent(upper_limit(hits, runs))})"
        goal = f"≤ {percent(self.alpha)}"
        return Row(Table.COVERAGE, setting, self.what, runs, (text, goal), at_most(hits, runs, self.alpha))


def amount(value: float) -> str:
    """Return a number of requests."""
    if not math.isfinite(value):
        return "never"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


@dataclass(frozen=True, slots=True)
class Delay:
    """Requests until a decision (infinite: not in this run), next to what no valid rule can undercut."""

    of: str
    what: str
    bound: float | None = None
    goal: float | None = None
    """Mean over bound at most."""
    why: str = ""
    """Why it cannot be met, if that is known."""

    def row(self, setting: str, samples: Samples) -> Row:
        """Return bound, mean, median, the 90th percentile and the ratio of mean to bound."""
        taken = samples[self.of]
        found = taken[np.isfinite(taken)]
        mean = float(found.mean()) if len(found) else math.inf
        half, most = (float(np.quantile(taken, q, method="higher")) for q in (0.5, 0.9))
        ratio, goal, verdict = "", "", Verdict.NONE
        if self.bound is not None:
            ratio = f"{mean / self.bound:.2f}"
            if self.goal is not None:
                goal = f"≤ {self.goal}"
                verdict = self._judged(mean / self.bound, found, len(taken))
        share = percent(len(found) / len(taken))
        bound = "" if self.bound is None else amount(self.bound)
        values = (bound, amount(mean), amount(half), amount(most), share, ratio, goal)
        return Row(Table.DELAY, setting, self.what, len(taken), values, verdict, self.why)

    def _judged(self, ratio: float, found: Floats, runs: int) -> Verdict:
        assert self.goal is not None
        assert self.bound is not None
        if len(found) < 0.95 * runs:
            return Verdict.MISSED
        if ratio <= self.goal:
            return Verdict.MET
        error = float(found.std()) / self.bound / math.sqrt(len(found))
        return Verdict.MISSED if ratio - CERTAIN * error > self.goal else Verdict.OPEN


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that is made of samples, with what it may be at most or at least."""

    of: tuple[str, ...]
    what: str
    made: Callable[..., float]
    """From the samples named in ``of``, in their order."""
    most: float | None = None
    least: float | None = None
    unit: str = ""
    table: Table = Table.FIGURES
    why: str = ""
    """Why it cannot be met, if that is known."""

    def row(self, setting: str, samples: Samples) -> Row:
        """Return the number."""
        arrays = [samples[name] for name in self.of]
        value = self.made(*arrays)
        goals, met = [], True
        for sign, goal in (("≤", self.most), ("≥", self.least)):
            if goal is not None:
                goals.append(f"{sign} {goal:g}{self.unit}")
                met = met and (value <= goal if sign == "≤" else value >= goal)
        verdict = Verdict.NONE if not goals else Verdict.MET if met else Verdict.MISSED
        text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
        values = text + self.unit, ", ".join(goals)
        return Row(self.table, setting, self.what, len(arrays[0]), values, verdict, self.why)
