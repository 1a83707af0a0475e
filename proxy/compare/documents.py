"""Two JSON documents → where they differ.

Theory of operation: both documents are walked together with an explicit stack, since a body may nest deeper
than Python's own stack allows. A *leaf* is a scalar, an empty list or an empty object; a value that only one
side has counts with all its leaves. The share of differing leaves is the distance of the method ``json``.

Rows are found on the way: the caller names the lists whose elements belong to rows (``predictions``, or the
flat ``data`` of a tensor, so many values each), and every difference below is charged to its row.
"""

from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Final, TypeAlias

import orjson

from proxy.compare.pointers import NO_PATTERNS, Patterns, advance, any_element
from proxy.compare.tolerance import close_mask, is_close
from proxy.compare.values import DIFFERENCE_LIMIT, Difference, Json

__all__ = ["MISSING", "DocumentDifference", "Path", "differ", "render"]

Path: TypeAlias = "tuple[Path, str | int] | None"
"""A place as a chain towards the root, so that a path is only spelt out when it is reported."""

_Visit: TypeAlias = tuple[Path, Any, Any, Patterns, int]

MISSING: Final = object()
"""Stands for the value that one side does not have."""

_NO_ROW: Final = -1
_TEXT_LIMIT: Final = 80
_NUMBERS: Final = frozenset({int, float})


@dataclass(slots=True)
class DocumentDifference:
    """What a walk over two documents found."""

    leaves: int = 0
    differing: int = 0
    rows: set[int] = field(default_factory=set)
    """Rows with a difference in them."""
    differences: list[Difference] = field(default_factory=list)

    @property
    def distance(self) -> float:
        """Share of differing leaves, 0 for documents without any."""
        return self.differing / self.leaves if self.leaves else 0.0


def differ(
    primary: Json,
    shadow: Json,
    *,
    patterns: Patterns = NO_PATTERNS,
    rtol: float = 0.0,
    atol: float = 0.0,
    row_widths: dict[int, int] | None = None,
    has_exact_integers: bool = False,
) -> DocumentDifference:
    """Compare two parsed documents leaf by leaf.

    Numbers are equal within tolerance of the primary's, whether written as integer or float; a boolean is no
    number; object keys have no order.

    Args:
        primary: the reference.
        shadow: the other.
        patterns: what to leave out (`proxy.compare.pointers.compile_patterns`).
        rtol: relative tolerance.
        atol: absolute tolerance.
        row_widths: ``id`` of a list inside ``primary`` → how many of its elements make one row.
        has_exact_integers: two integers are equal or not, whatever the tolerance.
    """
    walk = _Walk(rtol, atol, row_widths or {}, has_exact_integers=has_exact_integers)
    stack: list[_Visit] = [(None, primary, shadow, patterns, _NO_ROW)]
    while stack:
        visit = stack.pop()
        a, b = visit[1], visit[2]
        if type(a) is dict and type(b) is dict and (a or b):
            walk.open_objects(visit, stack)
        elif type(a) is list and type(b) is list and (a or b):
            walk.open_lists(visit, stack)
        else:
            walk.compare_leaf(visit)
    return walk.found


class _Walk:
    """The tolerance and the findings of one walk."""

    __slots__ = ("atol", "found", "has_exact_integers", "row_widths", "rtol")

    def __init__(
        self, rtol: float, atol: float, row_widths: dict[int, int], *, has_exact_integers: bool
    ) -> None:
        self.has_exact_integers = has_exact_integers
        self.rtol = rtol
        self.atol = atol
        self.row_widths = row_widths
        self.found = DocumentDifference()

    def open_objects(self, visit: _Visit, stack: list[_Visit]) -> None:
        path, a, b, patterns, row = visit
        keys = list(a)
        keys += [key for key in b if key not in a]
        # Pushed last to first, so that they are visited, and reported, in document order.
        for key in reversed(keys):
            inner = advance(patterns, key) if patterns else patterns
            if inner is not None:
                stack.append(((path, key), a.get(key, MISSING), b.get(key, MISSING), inner, row))

    def open_lists(self, visit: _Visit, stack: list[_Visit]) -> None:
        path, a, b, patterns, row = visit
        width = self.row_widths.get(id(a), 0) if row == _NO_ROW else 0
        if (
            len(a) == len(b)
            and not (patterns and any_element(patterns))
            and _NUMBERS.issuperset(map(type, a))
            and _NUMBERS.issuperset(map(type, b))
        ):
            self._compare_numbers(visit, width)
            return
        pairs = list(enumerate(zip_longest(a, b, fillvalue=MISSING)))
        for index, (left, right) in reversed(pairs):
            inner = advance(patterns, str(index)) if patterns else patterns
            if inner is not None:
                stack.append(((path, index), left, right, inner, index // width if width else row))

    def compare_leaf(self, visit: _Visit) -> None:
        path, a, b, _, row = visit
        if type(a) is type(b) and a == b:
            self.found.leaves += 1
            return
        equal = False
        if type(a) in _NUMBERS and type(b) in _NUMBERS:
            equal = not self._are_other_integers(a, b) and is_close(b, a, self.rtol, self.atol)
        if equal:
            self.found.leaves += 1
            return
        leaves = max(_count_leaves(a), _count_leaves(b))
        self.found.leaves += leaves
        self._report(path, a, b, row, leaves)

    def _are_other_integers(self, a: Json, b: Json) -> bool:
        return self.has_exact_integers and type(a) is int and type(b) is int and a != b

    def _compare_numbers(self, visit: _Visit, width: int) -> None:
        """Compare two lists of numbers of one length at once."""
        path, a, b, _, row = visit
        self.found.leaves += len(a)
        if a == b:
            return
        for index, equal in enumerate(close_mask(b, a, self.rtol, self.atol)):
            if not equal or self._are_other_integers(a[index], b[index]):
                self._report((path, index), a[index], b[index], index // width if width else row, 1)

    def _report(self, path: Path, a: Json, b: Json, row: int, leaves: int) -> None:
        found = self.found
        found.differing += leaves
        if row != _NO_ROW:
            found.rows.add(row)
        if len(found.differences) < DIFFERENCE_LIMIT:
            found.differences.append(Difference(_spell(path), render(a), render(b)))


def render(value: Json) -> str:
    """Return a short text of a JSON value: scalars as JSON, containers by their size."""
    if value is MISSING:
        return "(missing)"
    if type(value) is dict:
        return f"object of {len(value)}"
    if type(value) is list:
        return f"array of {len(value)}"
    if type(value) is float:
        return repr(value)  # JSON has no text for NaN and the infinities
    if type(value) is str:
        value = value[:_TEXT_LIMIT]
    try:
        return orjson.dumps(value).decode()[:_TEXT_LIMIT]
    except TypeError:  # a lone surrogate has no UTF-8 form
        return ascii(value)[:_TEXT_LIMIT]


def _spell(path: Path) -> str:
    """Write a path as a JSON pointer (RFC 6901)."""
    parts: list[str] = []
    while path is not None:
        path, key = path
        parts.append(str(key).replace("~", "~0").replace("/", "~1"))
    return "".join(f"/{part}" for part in reversed(parts))


def _count_leaves(value: Json) -> int:
    """Count the leaves of one value; the missing one has none."""
    if value is MISSING:
        return 0
    count = 0
    stack = [value]
    while stack:
        top = stack.pop()
        if type(top) is dict and top:
            stack.extend(top.values())
        elif type(top) is list and top:
            stack.extend(top)
        else:
            count += 1
    return count
