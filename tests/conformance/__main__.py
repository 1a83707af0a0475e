"""Print the conformance table: ``python -m tests.conformance``. Exit code 1 when a row has no explanation."""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.conformance.case import Verdict, play
from tests.conformance.rows import ROOMS
from tests.conformance.stage import open_stage

__all__ = ["main", "table_of"]

COLUMNS = ("case", "source", "expected", "got", "verdict")


def main() -> int:
    """Play every case against a running proxy and print what came of each."""
    console = Console(width=None if sys.stdout.isatty() else 200)
    wrong = rows = chosen = 0
    with tempfile.TemporaryDirectory() as directory, open_stage(Path(directory)) as stage:
        for title, cases in ROOMS.items():
            verdicts = [play(stage, case) for case in cases]
            table, differing = table_of(title, verdicts)
            console.print(table, "\n")
            rows += len(cases)
            wrong += differing
            chosen += sum(bool(case.note) for case in cases)
    print(f"{rows} rows: {rows - wrong} as expected, {wrong} not; {chosen} are choices, and explained.")
    return 1 if wrong else 0


def table_of(title: str, verdicts: Sequence[Verdict]) -> tuple[Table, int]:
    """Return the table of ``verdicts``, and how many are not as expected."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, overflow="fold")
    for verdict in verdicts:
        table.add_row(*_row(verdict), style="" if verdict.is_right else "red")
    return table, sum(not verdict.is_right for verdict in verdicts)


def _row(verdict: Verdict) -> Iterator[str]:
    case = verdict.case
    yield ascii(case.name)[1:-1]
    yield case.source
    yield str(case.expected)
    yield verdict.got
    if not verdict.is_right:
        yield "WRONG: " + "; ".join(verdict.differences)
    else:
        yield f"ok: {case.note}" if case.note else "ok"


if __name__ == "__main__":
    sys.exit(main())
