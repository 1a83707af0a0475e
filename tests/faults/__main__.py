"""Plays the fault matrix and prints it: ``python -m tests.faults [--only TEXT]``; exit code 1 if a row is wrong."""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.faults.all_cells import CELLS
from tests.faults.matrix import Run, play_all

__all__ = ["main"]


def _print(run: Run) -> None:
    console = Console(width=None if sys.stdout.isatty() else 220)
    table = Table("side", "when", "what", "expected (client | model's connections)", "got", "verdict")
    for outcome in run.outcomes:
        cell = outcome.cell
        cells = (cell.side, cell.when, cell.what, outcome.expected, outcome.got, outcome.verdict)
        table.add_row(*map(escape, cells), style="red" if outcome.problems else None)
    console.print(table)
    wrong = sum(bool(outcome.problems) for outcome in run.outcomes)
    for problem in run.problems:
        console.print(f"[red]the whole: {escape(problem)}[/red]")
    console.print(f"{len(run.outcomes)} cells in {run.took_s:.1f} s, {wrong} not as expected")


def main() -> int:
    """Play, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", default="", help="play the cells whose title contains this")
    chosen = parser.parse_args().only
    cells = [cell for cell in CELLS if chosen in cell.title]
    with tempfile.TemporaryDirectory() as directory:
        run = asyncio.run(play_all(Path(directory), cells))
    _print(run)
    return 1 if run.problems or any(outcome.problems for outcome in run.outcomes) else 0


if __name__ == "__main__":
    raise SystemExit(main())
