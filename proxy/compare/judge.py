"""The road that the methods share: find what is compared in both answers, row by row, then judge.

Rules
    1. Whether a pair can be compared is a function of the rule and of the primary alone: nothing of the shadow's is
       looked at before what is compared was found in the primary.
    2. What the primary has and the shadow lacks, or has in another number of rows, is a disagreement of the whole.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from proxy.compare.rules import ComparisonRule
from proxy.compare.values import Comparison, Prediction, Undecodable
from proxy.compare.verdicts import disagree_whole, shadow_undecodable, uncomparable

__all__ = ["Found", "Judge"]


class Found(Protocol):
    """What a method compares, as it was found in one answer."""

    @property
    def source(self) -> str:
        """Tensor or pointer it came from; empty: the body as a whole."""

    @property
    def rows(self) -> int:
        """How many rows there are."""


T = TypeVar("T", bound=Found)


@dataclass(frozen=True, slots=True)
class Judge(Generic[T]):
    """How one method compares."""

    method: str
    what: str
    """What it compares, in the plural."""
    missing: str
    """Why an answer without it cannot be compared: a word of ``verdicts``."""
    find: Callable[[ComparisonRule, Prediction, T | None], T | None]
    """Returns what is compared in an answer, None where it has nothing; for a shadow's the third is what was found in
    the primary's, else None."""
    judge: Callable[[ComparisonRule, T, T], Comparison]
    """Compares what was found in the primary with what was found in the shadow, of as many rows."""
    noun: str = "rows"
    """What rows are called; empty: another number of them is for ``judge`` to look at."""
    is_named: bool = False
    """Any key may hold what it compares, so in an answer of no known form it must be the primary's key."""
    refuse: Callable[[T], str | None] | None = None
    """Returns why what was found in a primary cannot be compared: a word of ``verdicts``, None where it can."""

    def compare(
        self, rule: ComparisonRule, primary: Prediction, shadow: Prediction | Undecodable
    ) -> Comparison:
        """Compare two answers, the same one with itself where that is what came."""
        first = self.find(rule, primary, None)
        if first is None:
            return uncomparable(self.missing, self.method)
        if self.refuse is not None and (reason := self.refuse(first)) is not None:
            return uncomparable(reason, self.method)
        if shadow is primary:
            return self.judge(rule, first, first)
        rows = first.rows
        if isinstance(shadow, Undecodable):
            return shadow_undecodable(shadow, self.method, rows, first)
        second = self.find_beside(rule, primary, first, shadow)
        if second is None:
            there = f"{self.what} in {first.source or 'the body'}"
            return disagree_whole("format", self.method, rows, there, f"no {self.what}", first)
        if rows != second.rows and self.noun:
            counts = f"{rows} {self.noun}", f"{second.rows} {self.noun}"
            return disagree_whole("rows", self.method, rows, *counts, first)
        return self.judge(rule, first, second)

    def find_beside(
        self, rule: ComparisonRule, primary: Prediction, first: T, shadow: Prediction
    ) -> T | None:
        """Return what is compared in the shadow's answer, None where it has nothing.

        Args:
            rule: how they are compared.
            primary: the answer in which ``first`` was found.
            first: what is compared in it.
            shadow: the other answer.
        """
        second = self.find(rule, shadow, first)
        if primary.format == shadow.format != "json":  # as nearly always
            return second
        if second is None or not self.is_named or rule.place is not None:
            return second
        return second if _is_in_place(primary, first, shadow, second) else None


_ENVELOPES: Final = frozenset({"oip_v2", "v1"})


def _is_in_place(primary: Prediction, first: Found, shadow: Prediction, second: Found) -> bool:
    """Whether who reads the primary's answer finds in the shadow's what was found there: ``{"error": 1}`` is no label.

    Answers of two protocols are taken for what they mean, one of none beside them is not.
    """
    formats = primary.format, shadow.format
    if formats == ("json", "json"):
        return first.source == second.source
    return "json" not in formats or _ENVELOPES.isdisjoint(formats)
