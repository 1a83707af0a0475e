"""``python -m benchmarks.run``: every contender in turn, in rounds; a table, and ``RESULTS.md``."""

import platform
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console

from benchmarks.cell import Backend, CellError, Plan, Sample, measure
from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.report import markdown, rich_table
from benchmarks.tools import WORK, Tools

__all__ = ["main"]

RESULTS = Path(__file__).with_name("RESULTS.md")


def chosen(only: tuple[str, ...]) -> list[Contender]:
    """Return the contenders whose name contains one of ``only``, ignoring case; all for none.

    Raises:
        click.BadParameter: when there is no such contender.
    """
    for part in only:
        if not any(part.lower() in contender.name.lower() for contender in CONTENDERS):
            names = ", ".join(contender.name for contender in CONTENDERS)
            raise click.BadParameter(f"no contender is called {part!r}; there are: {names}")
    return [
        contender
        for contender in CONTENDERS
        if not only or any(part.lower() in contender.name.lower() for part in only)
    ]


def run_rounds(taking_part: list[Contender], tools: Tools, plan: Plan) -> dict[str, list[Sample | str]]:
    """Measure everybody once in each round; each round starts one contender further."""
    results: dict[str, list[Sample | str]] = {contender.name: [] for contender in taking_part}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        backend = Backend(tools, Path(name))
        try:
            for turn in range(plan.rounds):
                first = turn % len(taking_part)
                for contender in taking_part[first:] + taking_part[:first]:
                    entry = one(contender, tools, backend, plan)
                    results[contender.name].append(entry)
                    said = entry if isinstance(entry, str) else f"{entry.tree_us:.1f} µs"
                    click.echo(f"round {turn + 1}/{plan.rounds}  {contender.name}: {said}", err=True)
        finally:
            backend.stop()
    return results


def one(contender: Contender, tools: Tools, backend: Backend, plan: Plan) -> Sample | str:
    """Return what one cell measured, or why it did not."""
    if contender.tool not in tools:
        return f"not installed: {contender.tool}"
    try:
        return measure(contender, tools, backend, plan)
    except CellError as reason:
        return f"invalid: {reason}"


@click.command()
@click.option("--quick", is_flag=True, help="Two rounds of two seconds; writes no file.")
@click.option("--seconds", type=click.IntRange(1, 600), help="Length of one measurement (5; quick: 2).")
@click.option("--rounds", type=click.IntRange(1, 100), help="How often everybody is measured (5; quick: 2).")
@click.option("--connections", type=click.IntRange(1, 4096), default=64, show_default=True)
@click.option("--only", multiple=True, help="Part of a contender's name; may be repeated; writes no file.")
@click.option(
    "--install/--no-install", default=True, show_default=True, help="Install the peers that are missing."
)
def main(
    quick: bool,
    seconds: int | None,
    rounds: int | None,
    connections: int,
    only: tuple[str, ...],
    install: bool,
) -> None:
    """Measure what a request costs in CPU time, for modelproxy and its peers."""
    if platform.system() != "Linux":
        raise click.ClickException("CPU times are read from /proc: run this on Linux")
    taking_part = chosen(only)
    plan = Plan(seconds or (2 if quick else 5), rounds or (2 if quick else 5), connections)
    WORK.mkdir(exist_ok=True)
    tools = Tools.install() if install else Tools()
    missing = [name for name in ("wrk", "nginx", "taskset") if name not in tools]
    if missing:
        raise click.ClickException(
            f"load and backend need {', '.join(missing)}: apt-get install wrk nginx util-linux"
        )
    results = run_rounds(taking_part, tools, plan)
    Console(width=None if sys.stdout.isatty() else 200).print(rich_table(results))
    if not quick and not only:
        RESULTS.write_text(markdown(results, tools, plan), encoding="utf-8")
        click.echo(f"written to {RESULTS}")


if __name__ == "__main__":
    main()
