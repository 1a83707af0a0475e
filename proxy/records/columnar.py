"""Parquet files of records, read back into the records that they were made of.

The columns are flat and the record is a tree (:mod:`proxy.records.columns`): each value goes back to its place. Where a
column is null the record has nothing, so what a record says by not having a field comes back as such. Rows of another
kind than inferences, such as labels, say so.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson

from proxy.records.columns import COLUMNS, LISTS, SHADOWS, Column
from proxy.records.files import LogError
from proxy.records.label import KIND_COLUMN
from proxy.records.record import Damaged, Record, read_document

__all__ = ["ColumnFile", "document_of"]

_BATCH_ROWS: Final = 256
"""Rows made into records at a time: at most some tens of megabytes, a row has a few bodies of ``log.body``."""

_ROUTE: Final = "route="


@dataclass(slots=True)
class ColumnFile:
    """One Parquet file, read row by row. Its attributes are those of :class:`proxy.records.files.LineFile`."""

    path: Path
    problem: str | None = None
    is_unfinished: bool = False
    """Never: a file has its name only when it is whole."""
    overlong: list[int] = field(default_factory=list)
    """None: columns have no lines."""
    read_bytes: int = 0

    def records(self) -> Iterator[tuple[int, int, Record | Damaged]]:
        """Yield each row's number, from 1, its size, and its record or why it is none.

        Raises:
            LogError: the library that reads Parquet is missing.
        """
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError:
            raise LogError(
                f"{self.path}: reading Parquet needs PyArrow: pip install 'modelproxy[parquet]'"
            ) from None
        try:
            size = self.path.stat().st_size
            with pq.ParquetFile(self.path) as file:
                rows, number = file.metadata.num_rows, 0
                for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                    for row in batch.to_pylist():
                        number += 1
                        document = document_of(row, self._route())
                        yield number, _size(document), read_document(document)
                    self.read_bytes = size * number // max(rows, 1)
        except (OSError, pa.ArrowException) as error:
            is_system = isinstance(error, OSError) and error.strerror is not None
            self.problem = error.strerror.lower() if is_system else "damaged Parquet"  # type: ignore[union-attr]

    def _route(self) -> str | None:
        """Return what stands in the path: the name of the route is in no column."""
        named = [part for part in self.path.parts if part.startswith(_ROUTE)]
        return named[-1].removeprefix(_ROUTE) if named else None


def document_of(row: Mapping[str, Any], route: str | None) -> dict[str, Any]:
    """Return the record that a row of the table was made of.

    Args:
        row: values by the names of their columns.
        route: that the record is of, if the row does not say it.
    """
    document: dict[str, Any] = {} if route is None else {"route": route}
    if row.get(KIND_COLUMN) is not None:
        document[KIND_COLUMN] = row[KIND_COLUMN]
    for column in COLUMNS:
        _put(document, column, row.get(column.name))
    for name, columns in LISTS.items():
        if row.get(name) is not None or name == SHADOWS:
            document[name] = [_entry(columns, each) for each in row.get(name) or ()]
    return document


def _entry(columns: Sequence[Column], values: Mapping[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    for column in columns:
        _put(entry, column, values.get(column.name))
    return entry


def _put(document: dict[str, Any], column: Column, value: Any) -> None:
    if value is None:
        return
    *outer, name = column.path
    for step in outer:
        document = document.setdefault(step, {})
    if column.kind == "object" and isinstance(value, str):
        # Files of others may hold anything; what is no JSON is then no object, and said to be damaged.
        with suppress(orjson.JSONDecodeError):
            value = orjson.loads(value)
    elif column.kind.startswith("map of "):
        with suppress(TypeError, ValueError):
            value = dict(value)
    document[name] = value.isoformat() if isinstance(value, datetime) else value


def _size(document: Mapping[str, Any]) -> int:
    messages = (document.get("request"), document.get("response"), *document[SHADOWS])
    return sum(len(each.get("body") or "") for each in messages if each is not None)
