"""What commands share on the way out: settings or their problems, JSON, tables."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from proxy.settings import Settings

__all__ = ["CONFIG", "as_json_option", "build_console", "build_grid", "fail", "load_settings", "print_json"]

CONFIG = click.Path(dir_okay=False, path_type=Path)
"""A configuration file. Whether it exists is said by the command (exit 1), not by the parser (exit 2)."""

PLAIN_WIDTH = 200
"""Columns of a table that goes to a file or a pipe: nothing is cut off for a screen that is not there."""

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def fail(sentence: str) -> "click.exceptions.Exit":
    """Print ``sentence`` on standard error; raise the result to end with exit code 1."""
    click.echo(sentence, err=True)
    return click.exceptions.Exit(1)


def load_settings(path: Path) -> "Settings":
    """Return the settings of the file, or print every problem and end with exit code 1."""
    from proxy.errors import ConfigError
    from proxy.settings import load

    try:
        return load(path)
    except ConfigError as error:
        raise fail(str(error)) from None


def print_json(document: Any) -> None:
    """Print ``document`` as indented JSON, in UTF-8 whatever the locale says."""
    import orjson

    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))


def build_console() -> "Console":
    """Return a console on standard output: colours only on a terminal (and not with NO_COLOR)."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    return Console(file=sys.stdout, width=width, markup=False, highlight=False, emoji=False)


def build_grid(columns: str) -> "Table":
    """Return an empty table. ``columns`` are separated by blanks; one that begins with ``>`` is a number."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns.split():
        number = column.startswith(">")
        table.add_column(
            column.lstrip(">").replace("_", " "), justify="right" if number else "left", overflow="fold"
        )
    return table
