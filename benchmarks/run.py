"""``python -m benchmarks.run``: every cell, in rounds; tables, and ``RESULTS.md``."""

import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import click
import orjson
from rich.console import Console
from rich.markdown import Markdown

from benchmarks.backends import Backends
from benchmarks.calm import calm
from benchmarks.cell import Running, attempt, attempt_in_turns, begin
from benchmarks.cells import CELLS, Cell, Kind, Load, Plan
from benchmarks.contenders import Entrant
from benchmarks.goals import Figures, Key, derive
from benchmarks.measure import cores, pinned
from benchmarks.report import goals_sheet, markdown, noise, pairs_sheet, sheets, text
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


class Benchmark:
    """One run of the benchmark: who is measured, and what was found."""

    def __init__(self, only: Sequence[str], tools: Tools, plan: Plan, backends: Backends) -> None:
        self.only, self.tools, self.plan, self.backends = only, tools, plan, backends
        self.results: dict[Key, list[Figures | str]] = {}

    def together(self, cell: Cell) -> None:
        """Start all entrants of a cell and put each load on them in turns, one right after the other.

        A ratio is then one of neighbours: who shares a machine with others sees it change its speed within a minute.
        Who waits for its turn uses some thousandths of the core.
        """
        entrants, loads = taking_part(cell, self.plan, self.only)
        with ExitStack() as stack:
            started = [(each, begin(cell, each, self.backends, self.tools, stack)) for each in entrants]
            for load in loads:
                if load.kind is Kind.OPEN:
                    self.in_turns(cell, load, started)
                    continue
                rounds = self.plan.rounds(cell, load)
                for turn in range(rounds):
                    for entrant, running in turned(started, turn):
                        began = time.monotonic()
                        entry = attempt(running, load, self.plan)
                        self.note(cell, load, entrant, entry, f"{turn + 1}/{rounds}", began)

    def in_turns(self, cell: Cell, load: Load, started: Sequence[tuple[Entrant, Running | str]]) -> None:
        """Put a fixed rate on all entrants, in turns so short that none has a better time than another."""
        began = time.monotonic()
        found = attempt_in_turns([running for _, running in started], load, self.plan)
        for (entrant, _), blocks in zip(started, found, strict=True):
            for place, entry in enumerate(blocks, 1):
                self.note(cell, load, entrant, entry, f"{place}/{len(blocks)}", began)

    def apart(self, cell: Cell) -> None:
        """Measure each entrant of a cell once, with no other one there."""
        entrants, loads = taking_part(cell, self.plan, self.only)
        for entrant in entrants:
            began = time.monotonic()
            with ExitStack() as stack:
                running = begin(cell, entrant, self.backends, self.tools, stack)
                for load in loads:
                    entry = attempt(running, load, self.plan)
                    self.note(cell, load, entrant, entry, "1/1", began)

    def note(
        self, cell: Cell, load: Load, entrant: Entrant, entry: Figures | str, turn: str, began: float
    ) -> None:
        """Keep what was found and say it."""
        self.results.setdefault((cell.name, load.name, entrant.name), []).append(entry)
        where = f"{cell.name}: {load.name}: {entrant.name}"
        click.echo(f"{turn} {time.monotonic() - began:4.1f} s  {where}: {sentence(entry)}", err=True)


T = TypeVar("T")


def turned(entrants: Sequence[T], turn: int) -> list[T]:
    """Return them in the order of a round: each begins one further."""
    first = turn % max(1, len(entrants))
    return [*entrants[first:], *entrants[:first]]


def run_rounds(
    cells: Sequence[Cell], only: Sequence[str], tools: Tools, plan: Plan
) -> dict[Key, list[Figures | str]]:
    """Measure everybody."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        backends = Backends(tools, Path(name))
        try:
            run = Benchmark(only, tools, plan, backends)
            for cell in cells:
                if cell.is_paired:
                    run.together(cell)
                else:
                    run.apart(cell)
        finally:
            backends.stop()
    return run.results


def cost_of_pairs() -> dict[str, float]:
    """Return what each kind of pair costs an observer that has a core of its own, in microseconds.

    Raises:
        subprocess.CalledProcessError: some pairs were not compared, or not written.
    """
    click.echo("the observer on a core of its own", err=True)
    argv = pinned(cores()[0], [sys.executable, "-m", "benchmarks.micro_observer", "--json"])
    done = subprocess.run(
        argv, cwd=Path(__file__).resolve().parent.parent, stdout=subprocess.PIPE, check=True
    )
    found: dict[str, float] = orjson.loads(done.stdout)
    return found


def sentence(entry: Figures | str) -> str:
    """Return an entry in a few words."""
    if isinstance(entry, str):
        return entry
    named = {"tree_us": "µs", "p99_ms": "ms (99 %)", "idle_kib": "KiB a connection"}
    return ", ".join(f"{entry[figure]:.2f} {unit}" for figure, unit in named.items() if figure in entry)


@click.command()
@click.option("--quick", is_flag=True, help="Fewer entrants, one round of two seconds.")
@click.option(
    "--seconds",
    type=click.FloatRange(1, 600),
    help="Length of one measurement (2; quick: 1).",
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 100),
    help="How often everybody is measured, at most (as each load says, mostly 5; quick: 2).",
)
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
    plan = Plan(seconds or (1.0 if quick else 2.0), rounds or (2 if quick else None), quick)
    WORK.mkdir(exist_ok=True)
    tools = Tools.install() if install else Tools()
    missing = [name for name in ("wrk", "nginx", "taskset") if name not in tools]
    if missing:
        raise click.ClickException(
            f"load and models need {', '.join(missing)}: apt-get install wrk nginx util-linux"
        )
    began = time.monotonic()
    is_whole = not (quick or parts or only)
    with calm() as calmed:
        results = derive(run_rounds(cells, only, tools, plan))
        micros = cost_of_pairs() if is_whole else {}
    for each in (*sheets(results), *([pairs_sheet(micros)] if micros else []), goals_sheet(results)):
        Console(width=None if sys.stdout.isatty() else 200).print(Markdown(text(each)))
    click.echo("\n".join(noise(results)))
    if is_whole or out:
        path = out or RESULTS
        whole = markdown(results, tools.versions(), plan, time.monotonic() - began, micros, calmed)
        path.write_text(whole, encoding="utf-8")
        click.echo(f"written to {path}")


if __name__ == "__main__":
    main()
