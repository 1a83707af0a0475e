"""Labels in the payload log: lines beside the records of inferences, of a kind of their own.

``{"schema", "kind": "label", "ts", "request_id", "route", "labels"}``: the true answer of each row of the request
with this id, null where it is not known, and when it was accepted. Several lines may speak of one request: of each row
the first that is not null counts. ``redacted`` and ``unit_key_id`` are there where hashes stand for the labels.

As a table (:data:`LABEL_COLUMNS`) a line is a row for each label in it.

Records of inferences have no ``kind``, or another: who reads one kind passes over the others. That holds for lines and
for tables.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from proxy.records.columns import Column

__all__ = ["KIND", "KIND_COLUMN", "LABEL_COLUMNS", "is_other_kind", "label_rows"]

KIND: Final = "label"

KIND_COLUMN: Final = "kind"
"""What tells a line, and a row of a table, from those of inferences, which have none."""

LABEL_COLUMNS: Final = (
    Column("schema", "integer", ("schema",), "version of the table of records that was in force"),
    Column(KIND_COLUMN, "text", (KIND_COLUMN,), f"`{KIND}`"),
    Column("ts", "time", ("ts",), "when the label was accepted"),
    Column("request_id", "text", ("request_id",), "`x-request-id` of the request"),
    Column("route", "text", ("route",), "name of the route"),
    Column("row", "integer", ("row",), "index in the batch, from 0"),
    Column(
        "label",
        "text",
        ("label",),
        "the true answer: text as it is, anything else as its JSON; of several of one row the first counts",
    ),
    Column("redacted", "boolean", ("redacted",), "true: a hash stands for the label"),
    Column("unit_key_id", "text", ("unit_key_id",), "names the key of that hash"),
)
"""Of a row for each label."""


def is_other_kind(document: Mapping[str, Any]) -> bool:
    """Tell whether a line is of another kind than the record of an inference."""
    return document.get(KIND_COLUMN) is not None


def label_rows(line: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what a line with labels says as rows of :data:`LABEL_COLUMNS`; a row that got none has none.

    Raises:
        KeyError: it has no labels.
    """
    common = {column.name: line.get(column.name) for column in LABEL_COLUMNS}
    return [
        {**common, "row": row, "label": label if isinstance(label, str) else orjson.dumps(label).decode()}
        for row, label in enumerate(line["labels"])
        if label is not None
    ]
