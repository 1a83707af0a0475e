"""``modelproxy query``: SQL over payload records, by DuckDB.

The query can read the records and nothing else: no other file, no network, no extension that is not built in, and it
must be a single ``SELECT``. That is held by DuckDB's own settings, which are locked before the query is looked at.
"""

from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Final, TypeVar

import click

from proxy.commands.output import as_json_option, build_console, fail, print_json
from proxy.commands.query_output import Take, first_page, show_page, unlike, write_csv, write_json
from proxy.plural import count
from proxy.printable import printable

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["find_logs", "query"]

LINES = (".jsonl", ".jsonl.gz", ".jsonl.zst")
PARQUET = ".parquet"
_PATTERN = frozenset("*?")
SHOWN_ROWS = 100


@click.command()
@click.argument("sql", required=False)
@click.option(
    "--log",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Directory or file of records, JSON lines or Parquet; may be repeated. Default: modelproxy-state/payloads.",
)
@click.option("--columns", is_flag=True, help="Show what the views have, and read nothing.")
@as_json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV (RFC 4180).")
@click.option(
    "--limit", type=click.IntRange(0), help=f"Rows of a table at most. Default: {SHOWN_ROWS}; 0: all."
)
def query(
    sql: str | None, log: tuple[Path, ...], columns: bool, as_json: bool, as_csv: bool, limit: int | None
) -> None:
    """Ask payload records a question in SQL: the view 'records' has a row for each, 'rows' one for each row of a batch
    that was compared, 'labels' one for each row that a true answer came for.

    weight says for how many requests a record stands. Needs: pip install 'modelproxy[query]'. Exit code 1 if there are
    no records, or SQL is refused.

    \b
    Examples:
      modelproxy query "select variant, count(*) from records group by 1" --log /var/lib/modelproxy/payloads
      modelproxy query "select * from records where status >= 500" --json
      modelproxy query "select primary_label, shadow_label, count(*) from rows group by all"
      modelproxy query --columns
    """
    if as_json and as_csv:
        raise click.UsageError("--json or --csv, not both.")
    if columns:
        _show_columns(as_json)
        return
    if sql is None:
        raise click.UsageError(
            "Missing argument 'SQL', such as \"select variant, count(*) from records group by 1\"."
        )
    places = log or (Path("modelproxy-state/payloads"),)
    if as_json or as_csv:
        # Not to the screen: a question begins anew where a file turns out to be broken.
        with SpooledTemporaryFile(_IN_MEMORY) as written:
            _, unreadable = _ask(sql, places, partial(write_json if as_json else write_csv, written))
            written.seek(0)
            while chunk := written.read(_CHUNK):
                click.echo(chunk, nl=False)
    else:
        most = SHOWN_ROWS if limit is None else limit
        page, unreadable = _ask(sql, places, partial(first_page, most))
        show_page(page)
    if unreadable:
        click.echo(f"{count(unreadable, 'line')} could not be read: left out", err=True)


_CHUNK: Final = 1 << 20
_IN_MEMORY: Final = 16 << 20
_T = TypeVar("_T")


def find_logs(places: Sequence[Path]) -> tuple[list[str], list[str]]:
    """Return the files of lines and the Parquet files at and below ``places``, sorted.

    Raises:
        click.exceptions.Exit: with code 1, after one sentence that says why.
    """
    found: list[Path] = []
    for place in places:
        if not place.exists():
            raise fail(f"{place}: no such file or directory; --log says where the records are")
        below = sorted(place.rglob("*")) if place.is_dir() else [place]
        # What begins with a dot is not whole yet.
        found += [
            path
            for path in below
            if path.name.endswith((*LINES, PARQUET)) and not path.name.startswith(".") and path.is_file()
        ]
    if (pattern := next((path for path in found if _PATTERN & set(str(path.resolve()))), None)) is not None:
        raise fail(f"{pattern}: DuckDB takes * and ? in a name for a pattern; rename it")
    names = list(dict.fromkeys(str(path.resolve()) for path in found))
    return [name for name in names if name.endswith(LINES)], [
        name for name in names if name.endswith(PARQUET)
    ]


def _ask(sql: str, places: Sequence[Path], take: Take[_T]) -> tuple[_T, int]:
    """Return what ``take`` makes of the rows, and how many lines could not be read."""
    try:
        import_module("duckdb")
    except ImportError:
        raise fail("queries need DuckDB: pip install 'modelproxy[query]'") from None
    lines, parquet = find_logs(places)
    named = ", ".join(map(str, places))
    if lines and parquet:
        raise fail(
            f"{named}: both JSON lines and Parquet files, perhaps of the same records; "
            "name the directory of one kind by --log"
        )
    if not lines and not parquet:
        raise fail(f"{named}: no records there; expected files that end in {', '.join((*LINES, PARQUET))}")
    try:
        return _answer(sql, lines, parquet, take)
    except _FilesError as error:
        # DuckDB gives a whole question up for one broken file. Which one it is costs reading, so only now.
        broken = {path: why for path in (*lines, *parquet) if (why := _damage(path)) is not None}
        if not broken:
            raise fail(str(error)) from None
    for path, why in broken.items():
        click.echo(f"{printable(path)}: {why}; the file is left out", err=True)
    lines, parquet = ([path for path in paths if path not in broken] for paths in (lines, parquet))
    if not lines and not parquet:
        raise fail(f"{named}: no records that can be read")
    try:
        return _answer(sql, lines, parquet, take)
    except _FilesError as error:
        raise fail(str(error)) from None


class _FilesError(Exception):
    """DuckDB could not read the files; the text is its own."""


def _answer(sql: str, lines: Sequence[str], parquet: Sequence[str], take: Take[_T]) -> tuple[_T, int]:
    """Return what ``take`` makes of what ``sql`` gives over these files, and how many lines could not be read.

    Raises:
        _FilesError: one of them cannot be read.
        click.exceptions.Exit: ``sql`` is refused.
    """
    import duckdb

    from proxy.records.table import unreadable_lines

    try:
        connection, survey = _connect(lines, parquet)
    except duckdb.Error as error:
        # What comes behind is a statement of ours.
        raise _FilesError(str(error).partition("\n\nLINE ")[0]) from None
    try:
        kinds = [statement.type for statement in connection.extract_statements(sql)]
        if kinds != [duckdb.StatementType.SELECT]:
            raise fail("one SELECT is taken, and nothing else: records are only read")
        connection.sql(sql)  # only understood, not run: who wrote it wrongly does not wait for the survey
        connection.execute(survey)
        ((unreadable,),) = connection.execute(unreadable_lines()).fetchall()
        cursor = connection.execute(sql)
        names = unlike([column[0] for column in cursor.description or ()])
        # DuckDB computes while it is read from: what is wrong with a file may be found out behind the first million.
        return take(names, iter(lambda: cursor.fetchmany(_BATCH), [])), unreadable
    except (duckdb.IOException, duckdb.InvalidInputException) as error:
        raise _FilesError(str(error)) from None
    except duckdb.Error as error:
        raise fail(str(error)) from None
    except RuntimeError as error:
        if _INTERRUPTED not in str(error):
            raise
        raise KeyboardInterrupt from None


_INTERRUPTED = "Query interrupted"
"""So DuckDB says that it saw Ctrl-C."""


_BATCH: Final = 10_000


def _damage(path: str) -> str | None:
    """Return why no question can be asked of a file; None where it is not to blame."""
    import duckdb

    from proxy.records.files import LineFile

    if path.endswith(PARQUET):
        try:
            columns = (
                duckdb.connect(":memory:").execute("SELECT name FROM parquet_schema(?)", [path]).fetchall()
            )
        except duckdb.Error:
            return "damaged Parquet"
        return None if ("request_id",) in columns else "no payload records"
    file = LineFile(Path(path))
    for _ in file.lines():
        pass
    if file.problem is None and path.endswith(".gz") and file.is_unfinished:
        return "damaged gzip"
    return file.problem


def _connect(lines: Sequence[str], parquet: Sequence[str]) -> "tuple[DuckDBPyConnection, str]":
    """Return a connection that can read these files and no other, and whose settings are locked; and the survey, which
    comes before a question."""
    import duckdb

    from proxy.records.table import (
        parquet_scan,
        quoted,
        survey_of_lines,
        survey_of_parquet,
        view_of_lines,
        view_of_parquet,
    )

    connection = duckdb.connect(
        ":memory:",
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "python_enable_replacements": "false",
            "temp_directory": "",
        },
    )
    allowed = ", ".join(map(quoted, (*lines, *parquet)))
    connection.execute(f"SET allowed_paths = [{allowed}]")
    # Times of records are UTC. Whoever compares them with now() does not mean that of this machine's zone.
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    if lines:
        connection.execute(view_of_lines(lines))
        return connection, survey_of_lines(lines)
    # No value comes into it but names of files, and those as literals.
    described = connection.execute(f"DESCRIBE SELECT * FROM {parquet_scan(parquet)}").fetchall()  # noqa: S608
    present = {row[0] for row in described}
    connection.execute(view_of_parquet(parquet, present))
    return connection, survey_of_parquet(parquet, present)


def _show_columns(as_json: bool) -> None:
    from proxy.commands.output import build_grid
    from proxy.records.columns import COLUMNS, LISTS, ROWS
    from proxy.records.label import LABEL_COLUMNS
    from proxy.records.table import COLUMN_TYPES, LABEL_TYPES, LABELS, ROW_TYPES, VIEW, VIEW_OF_ROWS

    meanings = {column.name: column.meaning for column in (*LISTS[ROWS], *COLUMNS)}
    meanings |= {"shadows": "what each shadow answered, and how that compares"}
    meanings |= {"rows": "the rows that were compared; the view rows has a line for each"}
    meanings |= {"weight": "for how many requests the record stands: 1 / inclusion_probability"}
    rows = [
        {"view": view, "name": name, "type": kind, "meaning": meanings[name]}
        for view, types in ((VIEW, COLUMN_TYPES), (VIEW_OF_ROWS, ROW_TYPES))
        for name, kind in types.items()
    ]
    meanings = {column.name: column.meaning for column in LABEL_COLUMNS}
    rows += [
        {"view": LABELS, "name": name, "type": kind, "meaning": meanings[name]}
        for name, kind in LABEL_TYPES.items()
    ]
    if as_json:
        print_json(rows)
        return
    table = build_grid("column type meaning")
    for row in rows:
        if row["view"] == VIEW:
            table.add_row(row["name"], row["type"], row["meaning"])
    build_console().print(table)
    click.echo(f"\nThe view {VIEW_OF_ROWS} has these, but for lists, and:\n")
    table = build_grid("column type meaning")
    for column in LISTS[ROWS]:
        table.add_row(column.name, ROW_TYPES[column.name], column.meaning)
    build_console().print(table)
    click.echo(f"\nThe view {LABELS} has:\n")
    table = build_grid("column type meaning")
    for row in rows:
        if row["view"] == LABELS:
            table.add_row(row["name"], row["type"], row["meaning"])
    build_console().print(table)
