"""What a query found, for people and for other programs: never more in memory than is shown, or a batch of rows."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import count
from typing import IO, Any, Final, NamedTuple, TypeAlias, TypeVar
from uuid import UUID

import click
import orjson

from proxy.commands.output import build_console, json_text
from proxy.printable import printable

__all__ = ["Page", "Take", "first_page", "show_page", "unlike", "write_csv", "write_json"]

SHOWN_CHARACTERS: Final = 200
"""Of a value in a table for people."""

COUNTED_ROWS: Final = 1_000_000
"""So many are counted behind those that are shown."""

_LEAST_WIDTH: Final = 6
"""A column that is narrower cannot be read."""

_Row: TypeAlias = tuple[Any, ...]
_Batches: TypeAlias = Iterator[list[_Row]]
_T = TypeVar("_T")
Take: TypeAlias = Callable[[Sequence[str], _Batches], _T]
"""What is made of the names of columns, and of the rows, which come in batches."""


class Page(NamedTuple):
    """What of a result is shown."""

    names: Sequence[str]
    rows: list[_Row]
    total: int
    """All rows, those that are not shown too, as far as they were counted."""


def unlike(names: Sequence[str]) -> list[str]:
    """Return ``names`` with numbers at those that were there before: in an object a second one would be the first."""
    found: dict[str, None] = {}
    for name in names:
        fresh = (
            name
            if name not in found
            else next(n for n in (f"{name}_{i}" for i in count(1)) if n not in found)
        )
        found[fresh] = None
    return list(found)


def first_page(most: int, names: Sequence[str], batches: _Batches) -> Page:
    """Return the first ``most`` rows; 0: all."""
    rows: list[_Row] = []
    total = 0
    for batch in batches:
        total += len(batch)
        rows += batch[: most - len(rows)] if most else batch
        if most and total > COUNTED_ROWS:
            break
    return Page(names, rows, total)


def write_json(written: IO[bytes], names: Sequence[str], batches: _Batches) -> None:
    """Write a list of objects as JSON, from the beginning of the file."""
    _empty(written)
    before = b"[\n"
    for batch in batches:
        rows = [dict(zip(names, map(_plain, row), strict=True)) for row in batch]
        written.write(before + json_text(rows).encode()[2:-2])
        before = b",\n"
    written.write(b"[]\n" if before == b"[\n" else b"\n]\n")


def write_csv(written: IO[bytes], names: Sequence[str], batches: _Batches) -> None:
    """Write a table as CSV (RFC 4180), from the beginning of the file."""
    _empty(written)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(names)
    for batch in batches:
        writer.writerows([[_csv_cell(value) for value in row] for row in batch])
        written.write(text.getvalue().encode())
        text.seek(0)
        text.truncate()
    written.write(text.getvalue().encode())


def _empty(written: IO[bytes]) -> None:
    """Forget what was written before a file turned out to be broken."""
    written.seek(0)
    written.truncate()


def show_page(page: Page) -> None:
    """Print a page as a table; rows of more columns than the screen has room for one below the other."""
    console = build_console()
    if len(page.names) * (_LEAST_WIDTH + 1) > console.width:
        _show_below(page)
    else:
        _show_table(page)
    if len(page.rows) < page.total:
        more = "more than " if page.total > COUNTED_ROWS else ""
        total = COUNTED_ROWS if more else page.total
        click.echo(f"{len(page.rows)} of {more}{total} rows; --limit 0 shows all", err=True)


def _show_table(page: Page) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for position, name in enumerate(page.names):
        is_number = bool(page.rows) and all(
            isinstance(row[position], int | float | Decimal | None) for row in page.rows
        )
        table.add_column(printable(name), justify="right" if is_number else "left", overflow="fold")
    for row in page.rows:
        table.add_row(*map(_cell, row))
    build_console().print(table)


def _show_below(page: Page) -> None:
    """Print a line for each value that there is."""
    width = max(map(len, page.names))
    if not page.rows:
        click.echo(f"no rows of {', '.join(map(printable, page.names))}")
    for number, row in enumerate(page.rows, 1):
        click.echo(f"{'' if number == 1 else chr(10)}row {number}")
        for name, value in zip(page.names, row, strict=True):
            if value is not None:
                click.echo(f"  {printable(name):{width}}  {_cell(value)}")


def _cell(value: Any) -> str:
    text = "" if value is None else printable(str(_plain(value)))
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _csv_cell(value: Any) -> Any:
    plain = _plain(value)
    if plain is None:
        return ""
    if isinstance(plain, bool | dict | list):
        return orjson.dumps(plain).decode()
    return plain


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON can hold it."""
    match value:
        case None | bool() | float() | str():
            return value
        case int():
            return value if -(1 << 63) <= value < 1 << 64 else str(value)
        case Decimal():
            return float(value)
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta() | UUID():
            return str(value)
        case bytes():
            return value.hex()
        case dict():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case _:
            return str(value)
