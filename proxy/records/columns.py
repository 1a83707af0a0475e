"""The columns of records as a table: the same in Parquet files and for ``modelproxy query``, whatever the files are.

A record is a tree; a table is flat. The columns follow from :data:`proxy.records.schema.FIELDS`: a new field is a new
column. A record that does not have a field (an older one, one without a trace) has null there. Columns are added, never
renamed or given another type, so that today's query can be asked of yesterday's files.

Names
    What stands at the root keeps its name. ``request`` and ``response`` are put before theirs (``request_size``), but
    for what only one of them can have: ``method``, ``path``, ``status``, ``ttfb_ms``, ``duration_ms``,
    ``prompt_tokens``, ``completion_tokens``, ``pace_…``. The shadows are a list in one column, what ``comparison`` says
    of one stands beside the rest; so are the rows that were compared.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from proxy.records.schema import Field, leaves

__all__ = ["COLUMNS", "LISTS", "ROWS", "SHADOWS", "SHADOW_COLUMNS", "Column", "value_at"]

SHADOWS: Final = "shadows"
ROWS: Final = "rows"
"""Names of columns that are lists; see ``LISTS``."""

_SPARED: Final = {
    "request": frozenset({"method", "path"}),
    "response": frozenset({"status", "ttfb_ms", "duration_ms", "prompt_tokens", "completion_tokens"}),
}
"""What needs no prefix."""

_SILENT: Final = frozenset({"comparison"})
"""Objects whose name is no prefix."""


class Column(NamedTuple):
    """One column."""

    name: str
    kind: str
    """Kind of the field: ``text``, ``integer`` and ``number`` (64 bits), ``boolean``, ``list of text``, ``map of
    numbers`` and ``map of text``, ``object`` (as text that is JSON), or ``time`` (UTC, microseconds)."""
    path: tuple[str, ...]
    """Keys from the root of the record, or of the shadow, to the value."""
    meaning: str


def _column(field: Field, path: str) -> Column:
    steps = tuple(path.split("."))
    name = "_".join(step for step in steps if step not in _SILENT)
    outer, _, inner = path.partition(".")
    if inner in _SPARED.get(outer, ()) or inner.startswith("pace."):
        name = inner.replace(".", "_") if outer in _SPARED else name
    kind = "time" if path == "ts" else field.plain_kind
    return Column(name, kind, steps, field.meaning)


def _columns() -> tuple[tuple[Column, ...], dict[str, tuple[Column, ...]]]:
    own: list[Column] = []
    lists: dict[str, list[Column]] = {SHADOWS: [], ROWS: []}
    for field in leaves():
        outer, is_entry, inner = field.path.partition("[].")
        if is_entry:
            lists[outer].append(_column(field, inner))
        else:
            own.append(_column(field, field.path))
    return tuple(own), {name: tuple(columns) for name, columns in lists.items()}


COLUMNS, LISTS = _columns()
"""Of a record, but for those that are lists; and what each entry of these has, by the name of the list. In the order of
the record."""

SHADOW_COLUMNS: Final = LISTS[SHADOWS]


def value_at(path: tuple[str, ...]) -> Callable[[Mapping[str, Any]], Any]:
    """Return what takes the value at ``path`` out of a record; None where there is nothing."""
    if len(path) == 1:
        return partial(_member, path[0])
    return partial(_inner, path)


def _member(key: str, record: Mapping[str, Any]) -> Any:
    return record.get(key)


def _inner(path: tuple[str, ...], record: Mapping[str, Any]) -> Any:
    value: Any = record
    for key in path:
        value = value.get(key)
        if value is None:
            return None
    return value
