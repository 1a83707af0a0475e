"""Records and labels as tables of Arrow, and in which directory the file of each belongs.

Records and labels have files of their own, with columns of their own. Those of labels lie in ``_labels``: who opens the
sink's directory as a data set (Arrow, Spark, Hive) gets the records, since names that begin so are passed over there,
and the labels as another data set out of that directory.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson
import pyarrow as pa

from proxy import __version__
from proxy.records.columns import COLUMNS, LISTS, SHADOWS, Column, value_at
from proxy.records.label import KIND, KIND_COLUMN, LABEL_COLUMNS, label_rows
from proxy.records.schema import SCHEMA_VERSION

__all__ = [
    "LABELS",
    "LABEL_SCHEMA",
    "PARTITIONS",
    "SCHEMA",
    "Shape",
    "label_table_of",
    "partition_of",
    "shape_of",
    "table_of",
]

_KINDS: Final[Mapping[str, pa.DataType]] = {
    "text": pa.string(),
    "object": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "time": pa.timestamp("us", tz="UTC"),
    "list of text": pa.list_(pa.string()),
    "map of numbers": pa.map_(pa.string(), pa.float64()),
    "map of text": pa.map_(pa.string(), pa.string()),
}

_IN_PATH: Final = "route"
_METADATA: Final = {"modelproxy.version": __version__, "modelproxy.schema": str(SCHEMA_VERSION)}

LABELS: Final = "_labels"
"""Directory of the labels' partitions."""

_BELOW: Final = "route=*/date=*/hour=*"
PARTITIONS: Final = (_BELOW, f"{LABELS}/{_BELOW}")
"""Where files may be, as patterns."""


def _field(column: Column) -> pa.Field:
    return pa.field(column.name, _KINDS[column.kind], metadata={"meaning": column.meaning})


_OWN: Final = [column for column in COLUMNS if column.name != _IN_PATH]
_OF_LABELS: Final = [column for column in LABEL_COLUMNS if column.name != _IN_PATH]

SCHEMA: Final = pa.schema(
    [
        *map(_field, _OWN),
        *(
            pa.field(name, pa.list_(pa.struct([_field(column) for column in columns])))
            for name, columns in LISTS.items()
        ),
    ],
    metadata=_METADATA,
)
"""Of every file of records."""

LABEL_SCHEMA: Final = pa.schema(list(map(_field, _OF_LABELS)), metadata=_METADATA)
"""Of every file of labels."""

_GETTERS: Final = [(column, value_at(column.path)) for column in _OWN]
_LIST_GETTERS: Final = {
    name: [(column, value_at(column.path)) for column in columns] for name, columns in LISTS.items()
}


class Shape(NamedTuple):
    """What the files of one kind hold."""

    schema: pa.Schema
    table_of: Callable[[Sequence[Mapping[str, Any]]], pa.Table]


def table_of(records: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return ``records`` as a table of ``SCHEMA``.

    Raises:
        pyarrow.ArrowException: a value is not of its column's kind.
        TypeError, ValueError, OverflowError: the same.
    """
    arrays = [
        pa.array([_plain(column.kind, get(record)) for record in records], _KINDS[column.kind])
        for column, get in _GETTERS
    ]
    arrays += [
        pa.array([_entries(name, record) for record in records], SCHEMA.field(name).type) for name in LISTS
    ]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def label_table_of(lines: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return lines with labels as a table of ``LABEL_SCHEMA``: a row for each label.

    Raises:
        pyarrow.ArrowException: a value is not of its column's kind.
        TypeError, ValueError, KeyError: the same.
    """
    rows = [row for line in lines for row in label_rows(line)]
    arrays = [
        pa.array([_plain(column.kind, row[column.name]) for row in rows], _KINDS[column.kind])
        for column in _OF_LABELS
    ]
    return pa.Table.from_arrays(arrays, schema=LABEL_SCHEMA)


_SHAPES: Final[Mapping[str | None, Shape]] = {
    None: Shape(SCHEMA, table_of),
    KIND: Shape(LABEL_SCHEMA, label_table_of),
}


def shape_of(line: Mapping[str, Any]) -> Shape:
    """Return what the file of a record, or of a label, holds.

    Raises:
        KeyError: it is of no kind that there are files for.
    """
    return _SHAPES[line.get(KIND_COLUMN)]


def partition_of(line: Mapping[str, Any]) -> str:
    """Return the directory of the file of a record, or of a label: names of routes have no character that a path could
    mean."""
    ts = line["ts"]
    outer = f"{LABELS}/" if line.get(KIND_COLUMN) == KIND else ""
    return f"{outer}route={line['route']}/date={ts[:10]}/hour={ts[11:13]}"


def _entries(name: str, record: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the entries of a list of ``LISTS`` as its column holds them.

    Raises:
        KeyError: the record has no shadows, not even none.
    """
    entries = record[name] if name == SHADOWS else record.get(name)
    if entries is None:
        return None
    getters = _LIST_GETTERS[name]
    return [{column.name: _plain(column.kind, get(entry)) for column, get in getters} for entry in entries]


def _plain(kind: str, value: Any) -> Any:
    """Return ``value`` as its column holds it."""
    if kind == "object":
        return None if value is None else orjson.dumps(value).decode()
    if kind.startswith("map of "):
        return None if value is None else list(value.items())
    return datetime.fromisoformat(value) if kind == "time" else value
