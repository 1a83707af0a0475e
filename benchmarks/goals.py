"""Readings → figures derived from them, and the table of goals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from benchmarks.cells import CELLS, GOALS, SMALL_64, WORKERS, Goal, Kind, Ref

__all__ = ["Figures", "Reached", "Results", "derive", "judge", "ratios", "spread"]

Figures = Mapping[str, float]
Key = tuple[str, str, str]
"""Cell, load, entrant."""

Results = Mapping[Key, Sequence[Figures | str]]
"""One entry for each round: what was measured, or why nothing was."""

DIRECT = "no proxy"
AIOHTTP_LIMIT = 0.20
WORKERS_LEAST, WORKERS_MOST = 1.8, 1.05
LATE_MS = 1.0
"""A generator that was this late (99 %) has a part in the 99 % that it measured."""

SMALLEST_MS = 0.001
"""What is added is a difference of two measurements and may be less than nothing."""


@dataclass(frozen=True, slots=True)
class Reached:
    """One row of the table of goals."""

    text: str
    limit: str
    measured: str
    is_reached: bool | None
    """None: not measured."""


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Return ``median (least–most)``."""
    if not values:
        return "—"
    if min(values) == max(values):
        return f"{values[0]:,.{digits}f}"
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def derive(results: Results) -> Results:
    """Return the results with what the proxies add to latencies, where the load was also put on no proxy."""
    derived = {}
    for (cell, load, entrant), entries in results.items():
        plain = results.get((cell, load, DIRECT), ())
        made: list[Figures | str] = []
        for turn, entry in enumerate(entries):
            base = plain[turn] if turn < len(plain) else ""
            if isinstance(entry, str) or isinstance(base, str) or entrant == DIRECT:
                made.append(entry)
                continue
            added = {
                f"added_{name}": max(SMALLEST_MS, entry[name] - base[name])
                for name in ("p50_ms", "p99_ms", "p999_ms")
                if name in entry and name in base
            }
            made.append({**entry, **added})
        derived[cell, load, entrant] = made
    return derived


def figures(results: Results, ref: Ref) -> list[float | None]:
    """Return the figure of each round; None where it was not measured."""
    entries = results.get((ref.cell, ref.load, ref.entrant), ())
    return [None if isinstance(entry, str) else entry.get(ref.figure) for entry in entries]


def ratios(results: Results, ours: Ref, theirs: Ref | None) -> list[float]:
    """Return ours ÷ theirs (or ours) for each round in which both were measured."""
    mine = figures(results, ours)
    if theirs is None:
        return [value for value in mine if value is not None]
    pairs = zip(mine, figures(results, theirs), strict=False)
    return [a / b for a, b in pairs if a is not None and b]


def judge(results: Results) -> list[Reached]:
    """Return a row for each goal."""
    rows = [reached(results, goal) for goal in GOALS]
    return [*rows, against_aiohttp(results), with_two_workers(results)]


def reached(results: Results, goal: Goal) -> Reached:
    """Hold one goal against what was measured; where the generator was late, say so."""
    made = row(
        goal.text,
        goal.limit,
        ratios(results, goal.ours, goal.theirs),
        goal.unit,
        is_least=goal.is_least,
        whole=of_whole(results, goal),
    )
    lags = [lag for lag in figures(results, replace(goal.ours, figure="lag_ms")) if lag is not None]
    if made.is_reached is None or not goal.ours.figure.endswith("p99_ms") or median(lags or [0]) <= LATE_MS:
        return made
    return replace(made, measured=f"{made.measured}; generator {median(lags):.1f} ms late")


def of_whole(results: Results, goal: Goal) -> float | None:
    """Return a ratio of 99 % over all requests, where it is known; a block has too few beyond them to be steady."""
    if goal.theirs is None or goal.ours.figure != "p99_ms":
        return None
    found = ratios(
        results, replace(goal.ours, figure="all_p99_ms"), replace(goal.theirs, figure="all_p99_ms")
    )
    return found[0] if found else None


def row(
    text: str,
    limit: float,
    measured: Sequence[float],
    unit: str = "",
    *,
    is_least: bool = False,
    whole: float | None = None,
) -> Reached:
    """Return one row: the median of the rounds, or the figure of the ``whole`` where there is one, and their range."""
    sign = "≥" if is_least else "≤"
    shown = f"{sign} {limit:g}{' ' + unit if unit else ''}"
    if not measured:
        return Reached(text, shown, "—", None)
    digits = 3 if limit < 0.1 else 2
    value = median(measured) if whole is None else whole
    is_good = value >= limit if is_least else value <= limit
    said = spread(measured, digits)
    if whole is not None:
        said = f"{whole:,.{digits}f} ({min(measured):,.{digits}f}–{max(measured):,.{digits}f})"
    return Reached(text, shown, said, is_good)


def against_aiohttp(results: Results) -> Reached:
    """Return the row for every cell and load in which both took part; the worst one counts."""
    found: list[tuple[float, list[float], str]] = []
    for cell, load in cells_and_loads():
        ours, theirs = (Ref(cell, load, name, "tree_us") for name in ("modelproxy", "aiohttp"))
        if measured := ratios(results, ours, theirs):
            found.append((median(measured), measured, f"{cell}, {load}"))
    text = "any cell: whole tree / aiohttp"
    if not found:
        return row(text, AIOHTTP_LIMIT, ())
    found.sort(reverse=True)
    good = sum(worst <= AIOHTTP_LIMIT for worst, _, _ in found)
    return row(f"{text} ({good} of {len(found)} reach it; worst: {found[0][2]})", AIOHTTP_LIMIT, found[0][1])


def cells_and_loads() -> Iterable[tuple[str, str]]:
    """Return all cells and loads that measure CPU."""
    return [(cell.name, load.name) for cell in CELLS for load in cell.loads if load.kind is not Kind.IDLE]


def with_two_workers(results: Results) -> Reached:
    """Return the row for two workers: more requests where load has cores of its own, else the same CPU for each."""
    has_spare = any(figures(results, of_workers("modelproxy", 2, "spare")))
    figure = "per_s" if has_spare else "tree_us"
    ours, haproxys = (
        ratios(results, of_workers(name, 2, figure), of_workers(name, 1, figure))
        for name in ("modelproxy", "HAProxy")
    )
    if has_spare:
        made = row("2 workers / 1 worker: requests/s", WORKERS_LEAST, ours, is_least=True)
    else:
        text = "2 workers / 1 worker: CPU per request (load shares their two cores)"
        made = row(text, WORKERS_MOST, ours)
    if not haproxys:
        return made
    return replace(made, measured=f"{made.measured}; HAProxy with 2 threads {spread(haproxys, 2)}")


def of_workers(program: str, workers: int, figure: str) -> Ref:
    """Return a figure of a program with so many workers; HAProxy's are threads."""
    return Ref(WORKERS, SMALL_64.name, f"{program}, {workers} worker{'s' * (workers > 1)}", figure)
