"""``python -m benchmarks.run``: every cell, in rounds; tables, and ``RESULTS.md``."""

import platform
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.markdown import Markdown

from benchmarks.backends import Backends
from benchmarks.cell import measure
from benchmarks.cells import CELLS, Cell, Load, Plan
from benchmarks.contenders import Entrant
from benchmarks.goals import Figures, Key, derive
from benchmarks.report import goals_sheet, markdown, noise, sheets, text
from benchmarks.tools import WORK, Tools

__all__ = ["main"]

RESULTS = Path(__file__).with_name("RESULTS.md")


def chosen(parts: Sequence[str], cells: Sequence[Cell] = CELLS) -> list[Cell]:
    """Return the cells whose name contains one of ``parts``, ignoring case; all for none.

    Raises:
        click.BadParameter: when there is no such cell.
    """
    for part in parts:
        if not any(part.lower() in cell.name.lower() for cell in cells):
            raise click.BadParameter(
                f"no cell is called {part!r}; there are: {'; '.join(c.name for c in cells)}"
            )
    return [cell for cell in cells if not parts or any(part.lower() in cell.name.lower() for part in parts)]


def taking_part(cell: Cell, plan: Plan, only: Sequence[str]) -> tuple[list[Entrant], list[Load]]:
    """Return who takes part in a cell and under which loads: all, or those of a quick run, or those asked for."""
    entrants, loads = list(cell.entrants), list(cell.loads)
    if plan.is_quick:
        entrants = [entrant for entrant in entrants if entrant.name in cell.quick]
        loads = [load for load in loads if cell.quick_loads is None or load.name in cell.quick_loads]
    if only:
        entrants = [each for each in entrants if any(part.lower() in each.name.lower() for part in only)]
    return entrants, loads


def run_rounds(
    cells: Sequence[Cell], only: Sequence[str], tools: Tools, plan: Plan
) -> dict[Key, list[Figures | str]]:
    """Measure everybody once in each round; each round starts one further."""
    results: dict[Key, list[Figures | str]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        backends = Backends(tools, Path(name))
        try:
            for turn in range(plan.rounds):
                for cell in cells:
                    if turn >= (cell.rounds or plan.rounds):
                        continue
                    entrants, loads = taking_part(cell, plan, only)
                    first = turn % max(1, len(entrants))
                    for entrant in entrants[first:] + entrants[:first]:
                        began = time.monotonic()
                        found = measure(cell, entrant, loads, backends, tools, plan)
                        took_s = time.monotonic() - began
                        for load in loads:
                            results.setdefault((cell.name, load.name, entrant.name), []).append(
                                found[load.name]
                            )
                            said = sentence(found[load.name])
                            where = f"{cell.name}: {load.name}: {entrant.name}"
                            click.echo(f"{turn + 1}/{plan.rounds} {took_s:4.1f} s  {where}: {said}", err=True)
        finally:
            backends.stop()
    return results


def sentence(entry: Figures | str) -> str:
    """Return an entry in a few words."""
    if isinstance(entry, str):
        return entry
    named = {"tree_us": "µs", "p99_ms": "ms (99 %)", "idle_kib": "KiB a connection"}
    return ", ".join(f"{entry[figure]:.2f} {unit}" for figure, unit in named.items() if figure in entry)


@click.command()
@click.option("--quick", is_flag=True, help="Fewer entrants, one round of two seconds.")
@click.option("--seconds", type=click.FloatRange(1, 600), help="Length of one measurement (3; quick: 2).")
@click.option("--rounds", type=click.IntRange(1, 100), help="How often everybody is measured (3; quick: 1).")
@click.option(
    "--cell", "parts", multiple=True, help="Part of a cell's name; may be repeated; writes no file."
)
@click.option("--only", multiple=True, help="Part of an entrant's name; may be repeated; writes no file.")
@click.option(
    "--install/--no-install", default=True, show_default=True, help="Install the peers that are missing."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Where to write (RESULTS.md beside this file; quick: nowhere).",
)
def main(
    quick: bool,
    seconds: float | None,
    rounds: int | None,
    parts: tuple[str, ...],
    only: tuple[str, ...],
    install: bool,
    out: Path | None,
) -> None:
    """Measure modelproxy next to its peers: CPU, requests per second, latency, memory."""
    if platform.system() != "Linux":
        raise click.ClickException("CPU times are read from /proc: run this on Linux")
    # Ended from outside, it ends what it has started.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))
    cells = chosen(parts)
    plan = Plan(seconds or (2.0 if quick else 3.0), rounds or (1 if quick else 3), quick)
    WORK.mkdir(exist_ok=True)
    tools = Tools.install() if install else Tools()
    missing = [name for name in ("wrk", "nginx", "taskset") if name not in tools]
    if missing:
        raise click.ClickException(
            f"load and models need {', '.join(missing)}: apt-get install wrk nginx util-linux"
        )
    began = time.monotonic()
    results = derive(run_rounds(cells, only, tools, plan))
    for each in (*sheets(results), goals_sheet(results)):
        Console(width=None if sys.stdout.isatty() else 200).print(Markdown(text(each)))
    click.echo("\n".join(noise(results)))
    if not (quick or parts or only) or out:
        path = out or RESULTS
        path.write_text(markdown(results, tools.versions(), plan, time.monotonic() - began), encoding="utf-8")
        click.echo(f"written to {path}")


if __name__ == "__main__":
    main()
