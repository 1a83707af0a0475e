"""``modelproxy plan``: who moves, before anything is applied."""

import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy.commands.output import (
    CONFIG,
    as_json_option,
    build_console,
    build_grid,
    fail,
    load_settings,
    print_json,
)
from proxy.printable import printable

if TYPE_CHECKING:
    from rich.console import Console

    from proxy.routing.plan import Move, Plan, RoutePlan, UnitCount

__all__ = ["plan", "show_percent"]


@click.command()
@click.argument("old", type=CONFIG)
@click.argument("new", type=CONFIG)
@click.option(
    "--units",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Units, one a line; - for stdin.",
)
@as_json_option
def plan(old: Path, new: Path, units: Path | None, as_json: bool) -> None:
    """Say who moves when NEW replaces OLD: the share of units between each pair of variants.

    The shares are exact, not sampled. With --units they are also counted for the units of a file, and the
    first that move are named. Nothing is applied.

    \b
    Example:
      modelproxy plan running.yaml changed.yaml --units user-ids.txt
    """
    from proxy.routing.plan import compile_plan, count_units
    from proxy.routing.table import compile_table

    before, after = compile_table(load_settings(old), 1), compile_table(load_settings(new), 2)
    change = compile_plan(before, after)
    counts = count_units(before, after, _read_units(units)) if units else {}
    if as_json:
        print_json(_document(change, counts))
    else:
        _show(change, counts)


def show_percent(part: Fraction) -> str:
    """Return a share (0 to 1) as a percent with at most three decimals; what is not zero never reads as zero."""
    percent = float(part * 100)
    if 0 < percent < 0.001:
        return "<0.001 %"
    return f"{percent:.3f}".rstrip("0").rstrip(".") + " %"


def _read_units(path: Path) -> Iterator[bytes]:
    """Yield the lines that are not empty, with a progress bar where somebody can see it."""
    try:
        if str(path) == "-":
            yield from _lines(sys.stdin.buffer)
        elif sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import open as open_with_progress

            console = Console(stderr=True)
            with open_with_progress(path, "rb", description="units", transient=True, console=console) as file:
                yield from _lines(file)
        else:
            with path.open("rb") as file:
                yield from _lines(file)
    except OSError as error:
        raise fail(f"{path}: {error.strerror}") from None


def _lines(file: Any) -> Iterator[bytes]:
    for line in file:
        if unit := line.strip(b"\r\n"):
            yield unit


def _document(change: "Plan", counts: "dict[str, UnitCount]") -> dict[str, Any]:
    return {
        "moves": not change.is_quiet,
        "routes": [_route_document(route, counts.get(route.route)) for route in change.routes],
        "added": list(change.added),
        "removed": list(change.removed),
    }


def _route_document(route: "RoutePlan", count: "UnitCount | None") -> dict[str, Any]:
    document: dict[str, Any] = {
        "route": route.route,
        "redrawn": route.redrawn,
        "moved": _share_document(route.moved),
        "moves": [
            {"from": move.source, "to": move.target, **_share_document(move.share)} for move in route.moves
        ],
        "notes": list(route.notes),
        "warnings": list(route.warnings),
    }
    if count is not None:
        document["units"] = {
            "total": count.total,
            "moved": sum(count.moved.values()),
            "moves": [
                {"from": source, "to": target, "units": number}
                for (source, target), number in count.moved.most_common()
            ],
            "first": [{"unit": unit, "from": source, "to": target} for unit, source, target in count.first],
        }
    return document


def _share_document(part: Fraction) -> dict[str, Any]:
    """Return a share as a percent (nearest float) and as the exact fraction, which no JSON number can hold."""
    return {"percent": float(part * 100), "exact": str(part)}


def _show(change: "Plan", counts: "dict[str, UnitCount]") -> None:
    console = build_console()
    for name in change.added:
        click.echo(f"route {name}: added; its units were not assigned before")
    for name in change.removed:
        click.echo(f"route {name}: removed; its requests go to another route that takes them, or get a 404")
    for route in change.routes:
        _show_route(console, route, counts.get(route.route))
    if change.is_quiet:
        click.echo("nobody moves")


def _show_route(console: "Console", route: "RoutePlan", count: "UnitCount | None") -> None:
    if route.redrawn:
        click.echo(f"route {route.route}: {route.redrawn}")
    if route.moves:
        console.print(
            f"route {route.route}: {show_percent(route.moved)} of units move", style="bold", soft_wrap=True
        )
        console.print(_moves_table(route.moves, count))
    for note in route.notes:
        click.echo(f"route {route.route}: {note}")
    for warning in route.warnings:
        click.echo(f"warning: route {route.route}: {warning}", err=True)
    if count is not None:
        moved = sum(count.moved.values())
        click.echo(f"route {route.route}: {moved} of {count.total} given units move")
        for unit, source, target in count.first:
            click.echo(f"  {printable(unit)}: {source} → {target}")
        if moved > len(count.first):
            click.echo(f"  … and {moved - len(count.first)} more")


def _moves_table(moves: "tuple[Move, ...]", count: "UnitCount | None") -> Any:
    table = build_grid("from to >share" + (" >units" if count else ""))
    for move in moves:
        row = [move.source, move.target, show_percent(move.share)]
        if count:
            row.append(str(count.moved[move.source, move.target]))
        table.add_row(*row)
    return table
