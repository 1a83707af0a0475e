"""``python -m benchmarks.simulation``: every cell, a table, and ``SIMULATION.md``."""

import sys
from dataclasses import replace
from pathlib import Path

import click

from benchmarks.simulation.cell import Cell, Row, Samples, Table, Verdict
from benchmarks.simulation.cells import CELLS, cell
from benchmarks.simulation.report import Result, markdown, rows_of, tally
from benchmarks.simulation.run import simulate

__all__ = ["main"]

RESULTS = Path(__file__).parent.with_name("SIMULATION.md")

GUARANTEED = (Table.VALIDITY, Table.PROMOTION, Table.COVERAGE)
"""A goal that is missed here is a promise broken; elsewhere it is a figure that could be better."""


def chosen(only: tuple[str, ...], runs: int | None) -> list[Cell]:
    """Return the cells whose name contains one of ``only`` (all for none), with at most ``runs`` runs.

    Raises:
        click.BadParameter: when there is no such cell.
    """
    for part in only:
        if not any(part in each.name for each in CELLS):
            raise click.BadParameter(
                f"no cell is called {part!r}; there are: {', '.join(each.name for each in CELLS)}"
            )
    found = [each for each in CELLS if not only or any(part in each.name for part in only)]
    return [replace(each, runs=min(each.runs, runs or each.runs)) for each in found]


def show(row: Row) -> None:
    """Print one line."""
    values = "  ".join(value for value in row.values if value)
    print(f"  {row.verdict or '·':<7}{row.what}: {values}", flush=True)


@click.command()
@click.option("--runs", type=click.IntRange(min=1), help="At most so many runs of each cell.")
@click.option("--seed", type=int, default=20_240_601, show_default=True, help="Of all random numbers.")
@click.option("--only", multiple=True, help="Only cells whose name contains this (may be repeated).")
@click.option("--jobs", type=click.IntRange(min=1), default=2, show_default=True, help="Processes.")
@click.option("--output", type=click.Path(path_type=Path), help="Where to write the report.")
def main(runs: int | None, seed: int, only: tuple[str, ...], jobs: int, output: Path | None) -> None:
    """Simulate traffic through the functions that decide, and say how often they err and how long they take.

    Without --runs and --only the report goes to benchmarks/SIMULATION.md. Exit code 1: a guarantee is broken.
    """
    cells = chosen(only, runs)
    samples: dict[str, Samples] = {}
    for number, (each, found) in enumerate(simulate(cells, cell, seed, jobs), 1):
        samples[each.name] = found
        print(f"{number}/{len(cells)} {each.name}: {each.setting} ({each.runs:,} runs)", flush=True)
        for claim in each.claims:
            show(claim.row(each.setting, found))
    results = [Result(each, samples[each.name]) for each in cells]
    rows = rows_of(results)
    print(", ".join(f"{count} {verdict}" for verdict, count in tally(rows).items()))
    if output is None and not only and runs is None:
        output = RESULTS
    if output is not None:
        output.write_text(markdown(results, seed), encoding="utf-8")
    sys.exit(any(row.verdict is Verdict.MISSED and row.table in GUARANTEED for row in rows))


if __name__ == "__main__":
    main()
