"""What commands share on the way out: settings or their problems, JSON, tables."""

import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy.printable import printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table

    from proxy.settings import Settings

__all__ = [
    "CONFIG",
    "as_json_option",
    "build_console",
    "build_grid",
    "fail",
    "json_text",
    "load_settings",
    "print_json",
]

CONFIG = click.Path(dir_okay=False, path_type=Path)
"""A configuration file. Whether it exists is said by the command (exit 1), not by the parser (exit 2)."""

PLAIN_WIDTH = 200
"""Columns of a table that goes to a file or a pipe: nothing is cut off for a screen that is not there."""

_UNBOUNDED = 10_000

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def fail(sentence: str) -> "click.exceptions.Exit":
    """Print ``sentence`` on standard error; raise the result to end with exit code 1.

    What is quoted in it, such as the answer of some server, cannot reach the terminal as more than text.
    """
    click.echo("\n".join(map(printable, sentence.split("\n"))), err=True)
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
    """Print ``document`` as :func:`json_text` has it, in UTF-8 whatever the locale says."""
    click.echo(json_text(document).encode())


def json_text(document: Any) -> str:
    """Return ``document`` as indented JSON.

    What is not printable is escaped, of which JSON asks only for a part: a terminal obeys U+009B as well.
    """
    import orjson

    text = orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()
    return "".join(c if c.isprintable() or c == "\n" else _json_escape(c) for c in text)


def _json_escape(character: str) -> str:
    """Return ``character`` as JSON escapes it: one UTF-16 unit, or two (RFC 8259 §7)."""
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def build_console() -> "Console":
    """Return a console on standard output: colours only on a terminal (and not with NO_COLOR)."""
    from rich.console import Console

    class Plain(Console):
        def print(self, *objects: Any, crop: bool = False, **options: Any) -> None:
            """Print, and cut nothing off at the right."""
            super().print(*objects, crop=crop, **options)

        def on_broken_pipe(self) -> None:
            """Leave to the command what its exit code is."""
            raise

    # What a locale has no letter for is no reason to show nothing.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    return Plain(file=sys.stdout, width=width, markup=False, highlight=False, emoji=False)


def build_grid(columns: str) -> "Table":
    """Return an empty table. ``columns`` are separated by blanks; one that begins with ``>`` is a number.

    Where it is wider than the terminal, texts are folded between words. What is left is for the terminal to wrap: a
    number in two pieces would be read as another one.
    """
    from rich import box
    from rich.table import Table

    class Grid(Table):
        def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
            least = self.__rich_measure__(console, options.update(width=_UNBOUNDED)).minimum
            yield from super().__rich_console__(console, options.update(width=max(options.max_width, least)))

    table = Grid(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns.split():
        number, header = column.startswith(">"), column.lstrip(">").replace("_", " ")
        if number:
            table.add_column(header, justify="right", no_wrap=True, min_width=len(header))
        else:
            table.add_column(header, overflow="fold", min_width=max(map(len, header.split())))
    return table
