"""Print the conformance table: ``python -m tests.conformance``. Exit code 1 when a row has no explanation."""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.conformance.case import Verdict, play
from tests.conformance.corpus import corpus_rows, play_row
from tests.conformance.rows import ROOMS
from tests.conformance.stage import open_stage
from tests.wire.referee import CORPUS

__all__ = ["main", "table_of"]

COLUMNS = ("case", "source", "expected", "got", "verdict")


def main() -> int:
    """Play every case against a running proxy and print what came of each."""
    console = Console(width=None if sys.stdout.isatty() else 200)
    every: list[Verdict] = []
    with tempfile.TemporaryDirectory() as directory, open_stage(Path(directory)) as stage:
        rooms = {title: [play(stage, case) for case in cases] for title, cases in ROOMS.items()}
        rooms["llhttp's own messages"] = [play_row(stage, row) for row in corpus_rows()]
    for title, verdicts in rooms.items():
        console.print(table_of(title, verdicts), "\n")
        every += verdicts
    if not rooms["llhttp's own messages"]:
        print(f"(not played: {CORPUS} is not here)")
    wrong = sum(not verdict.is_right for verdict in every)
    chosen = sum(bool(verdict.note) for verdict in every)
    print(
        f"{len(every)} rows: {len(every) - wrong} as expected, {wrong} not; {chosen} are choices, and explained."
    )
    return 1 if wrong else 0


def table_of(title: str, verdicts: Sequence[Verdict]) -> Table:
    """Return the table of ``verdicts``."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, overflow="fold")
    for verdict in verdicts:
        table.add_row(*_row(verdict), style="" if verdict.is_right else "red")
    return table


def _row(verdict: Verdict) -> Iterator[str]:
    yield ascii(verdict.name)[1:-1]
    yield verdict.source
    yield verdict.expected
    yield verdict.got
    if not verdict.is_right:
        yield "WRONG: " + "; ".join(verdict.differences)
    else:
        yield f"ok: {verdict.note}" if verdict.note else "ok"


if __name__ == "__main__":
    sys.exit(main())
