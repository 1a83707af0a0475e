"""Which parts of an answer differ above noise: a bet for each place, and a bound on the share of wrong names.

Rules
    * A field is a path of :class:`~proxy.compare.values.Difference` with ``*`` for each index of a list: what differs
      in row 3 and in row 7 differs in the same field.
    * There are :data:`MAX_FIELDS` fields, in the order in which they first differ, and one for all others. Whether a
      path gets a field depends on the past and on both answers alike, never on which of the two it differs in; so the
      bet of :mod:`proxy.noise.triples` is fair for each.
    * Fields are named by e-BH at :data:`FALSE_DISCOVERIES`. It is told of as many fields as there may ever be: a number
      that grew with the differences would lower the threshold by what is put to the test.
    * A comparison tells of its first differences only; that cut is made alike in both answers.
"""

from collections.abc import Callable, Mapping, MutableSequence, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from proxy.compare.values import Comparison
from proxy.privacy.detectors import DETECTORS, find
from proxy.stats import multiple, paired

__all__ = [
    "FALSE_DISCOVERIES",
    "MAX_FIELDS",
    "OTHER",
    "Field",
    "FieldCounts",
    "Row",
    "field_of",
    "judge_fields",
]

MAX_FIELDS: Final = 64
"""Of one route and candidate."""

FALSE_DISCOVERIES: Final = 0.05
"""The expected share of fields that do not differ above noise, among those that are named."""

OTHER: Final = "(other)"
"""Name of the field of all paths that have none of their own. JSON pointers begin with a slash."""

_LONGEST: Final = 200
"""Characters of a field's name."""

Row: TypeAlias = "MutableSequence[int] | memoryview[int]"
"""Of one field: triples in which the candidate alone differs, the champion alone, both."""


class Field(NamedTuple):
    """What is known of one field."""

    path: str
    candidate: int
    """Triples in which only the candidate's answer differs from the client's in this field."""
    champion: int
    """Triples in which only the champion's second answer does."""
    both: int
    is_above_noise: bool
    """Named by e-BH."""


@lru_cache(maxsize=4096)
def field_of(path: str) -> str:
    """Return the field of a path: indexes become ``*``. An object's key of digits is taken for an index.

    A path in which a person or a secret is detected is :data:`OTHER`: a field is shown and kept.
    """
    if any(find(detector, path) for detector in DETECTORS):
        return OTHER
    parts = path.encode("utf-8", "replace").decode().split("/")  # a lone surrogate has no UTF-8 form
    return "/".join("*" if part.isascii() and part.isdecimal() else part for part in parts)[:_LONGEST]


class FieldCounts:
    """Counts of triples by field, for one stretch.

    Args:
        rows: what is there already: by field the candidate alone, the champion alone, both. They are counted in place.
        make_row: returns the row of a new field, three zeros. There are ``MAX_FIELDS + 1`` at most.
    """

    def __init__(
        self, rows: Mapping[str, Row] | None = None, make_row: Callable[[str], Row] | None = None
    ) -> None:
        self._rows: dict[str, Row] = dict(rows or {})
        self._make_row = make_row or _zeros

    def observe(self, candidate: Comparison, second: Comparison) -> None:
        """Count a triple; see :func:`proxy.noise.triples.outcomes`. Nothing without two judgements."""
        if "uncomparable" in (candidate.result, second.result):
            return
        mine = {field_of(difference.path) for difference in candidate.differences}
        others = {field_of(difference.path) for difference in second.differences}
        # Sorted, and of both: which path gets the last field must not depend on whose it is.
        named = {path: self._named(path) for path in sorted(mine | others)}
        mine, others = {named[path] for path in mine}, {named[path] for path in others}
        for place, names in enumerate((mine - others, others - mine, mine & others)):
            for name in names:
                self._rows[name][place] += 1

    def add(self, counts: Mapping[str, Sequence[int]]) -> None:
        """Count in what was counted elsewhere, by field as :meth:`document` returns it."""
        for path, numbers in counts.items():
            row = self._rows[self._named(path)]
            for place, number in enumerate(numbers):
                row[place] += number

    def document(self) -> dict[str, list[int]]:
        """Return the counts by field: the candidate alone, the champion alone, both."""
        return {path: list(row) for path, row in self._rows.items()}

    def _named(self, path: str) -> str:
        """Return the field that ``path`` is counted in, which has a row then: its own, where there is room for it."""
        if path not in self._rows and len(self._rows) - (OTHER in self._rows) >= MAX_FIELDS:
            path = OTHER
        if path not in self._rows:
            self._rows[path] = self._make_row(path)
        return path


def _zeros(_path: str) -> Row:
    return [0, 0, 0]


def judge_fields(counts: Mapping[str, Sequence[int]], tolerance: float = 0.0) -> list[Field]:
    """Return what is known of each field, those above noise first, then by how often only the candidate differs.

    Args:
        counts: of :meth:`FieldCounts.document`.
        tolerance: as in :func:`proxy.noise.verdict.judge`.

    Source: e-BH, see :func:`proxy.stats.multiple.e_bh`: at one moment, any dependence between fields.
    """
    logs = np.zeros(MAX_FIELDS + 1)  # an e-value of 1 for each field that there is not yet
    for i, (mine, others, _) in enumerate(counts.values()):
        logs[i] = paired.triples(mine, others, tolerance)
    named = multiple.e_bh(logs, FALSE_DISCOVERIES)
    fields = [
        Field(path, mine, others, both, bool(named[i]))
        for i, (path, (mine, others, both)) in enumerate(counts.items())
    ]
    return sorted(fields, key=lambda each: (not each.is_above_noise, -each.candidate, each.path))
