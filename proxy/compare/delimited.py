"""CSV → rows, as inference servers write it (SageMaker's and MLflow's ``invocations``; RFC 4180).

There is a header where the content type says so (``header=present``, RFC 4180 section 3), and where the first line has
no number in a column that holds nothing else below. A field is a number only if all of its column are; an empty one
among numbers is missing (``None``). One line is one row, also where a server means a line of one value per row: nothing
tells the two apart.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from typing import Final

from proxy.compare.tensors import tensor_of, tensors_of_columns, tensors_of_rows
from proxy.compare.values import Json, Tensor, Undecodable

__all__ = ["FIELD_LIMIT", "read_delimited", "tensors_of_delimited"]

FIELD_LIMIT: Final = 500_000
"""Fields of one body; more are ``decoded_too_large``. A field of two bytes takes a hundred while it is read."""

_NUMBER: Final = re.compile(
    r"\s*[+-]?(?:\d{1,400}(?:\.\d*)?(?:[eE][+-]?\d{1,9})?|\.\d+(?:[eE][+-]?\d{1,9})?|nan|inf|infinity)\s*",
    re.ASCII | re.IGNORECASE,
)
"""What Python's ``float`` takes, without its underscores and foreign digits."""
_INTEGER: Final = re.compile(r"\s*[+-]?\d{1,18}\s*", re.ASCII)

_Rows = list[list[str]]


def read_delimited(text: str, header: bytes = b"") -> list[Json] | Undecodable | None:
    """Return the rows of a CSV document: objects where it has a header, else lists.

    ``None`` when it is no CSV (a quote that does not end, a field over 128 KiB).

    Args:
        text: the document; blank lines are left out.
        header: ``present`` or ``absent`` where the content type says so.
    """
    rows: _Rows = []
    fields = 0
    try:
        for row in csv.reader(_lines(text), strict=True):
            if row:
                fields += len(row)
                if fields > FIELD_LIMIT:
                    return Undecodable("decoded_too_large")
                rows.append(row)
    except csv.Error:
        return None
    if not rows:
        return []
    if any(len(row) != len(rows[0]) for row in rows):
        return [list(row) for row in rows]
    names = rows[0] if _has_header(rows, header) else None
    columns = [_column(column) for column in zip(*rows[1:] if names else rows, strict=True)]
    if names is None:
        return [list(row) for row in zip(*columns, strict=True)]
    if len(set(names)) != len(names):
        return [names, *(list(row) for row in zip(*columns, strict=True))]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def tensors_of_delimited(rows: Sequence[Json]) -> tuple[Tensor, ...]:
    """Return rows as tensors: one per name, one of all where they are like numbers, else one per column."""
    found = tensors_of_rows(rows, "predictions")
    if found or not rows or type(rows[0]) is not list or any(len(row) != len(rows[0]) for row in rows):
        return found
    if len(rows[0]) == 1:
        tensor = tensor_of([row[0] for row in rows], "predictions")
        return () if tensor is None else (tensor,)
    return tensors_of_columns({str(at): list(column) for at, column in enumerate(zip(*rows, strict=True))})


def _lines(text: str) -> Iterator[str]:
    """Yield lines with their ends, so that a quoted field may hold some."""
    at = 0
    while at < len(text):
        end = text.find("\n", at) + 1 or len(text)
        yield text[at:end]
        at = end


def _has_header(rows: _Rows, said: bytes) -> bool:
    if said in (b"present", b"absent"):
        return said == b"present"
    first, *rest = rows
    if not rest or any(_NUMBER.fullmatch(field) for field in first):
        return False
    # A name may be missing: pandas gives its index none.
    return any(
        name and any(column) and all(not field or _NUMBER.fullmatch(field) for field in column)
        for name, column in zip(first, zip(*rest, strict=True), strict=True)
    )


def _column(fields: Sequence[str]) -> list[Json]:
    """Return the values of one column: integers, numbers, or the texts as they are."""
    if not any(fields):
        return list(fields)
    if all(map(_INTEGER.fullmatch, fields)):
        return [int(field) for field in fields]
    if all(not field or _NUMBER.fullmatch(field) for field in fields):
        return [float(field) if field else None for field in fields]
    return list(fields)
