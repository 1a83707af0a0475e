"""Results → tables for a terminal and for ``RESULTS.md``: the goals, then one table for each cell and load."""

import datetime
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from statistics import median

from benchmarks.cells import CELLS, Cell, Kind, Load, Plan, Ref
from benchmarks.contenders import Entrant
from benchmarks.goals import Reached, Results, judge, ratios, spread
from benchmarks.open_loop import TURN_S
from benchmarks.tools import cpu_model

__all__ = ["LEGEND", "Sheet", "goals_sheet", "markdown", "noise", "pairs_sheet", "sheets", "text"]

QUIET = 0.05
"""Cores that the rest of the machine may keep busy before the report says so."""

PUNCTUAL_MS = 0.3
"""How late the generator may be (99 %) before the report says so."""

SATURATED = 0.9
"""Share of its cores that an entrant must use for its requests/s to be its own limit."""

COLUMNS: Mapping[Kind, Sequence[tuple[str, str, int]]] = {
    Kind.CLOSED: (
        ("CPU µs/request", "tree_us", 1),
        ("of which user", "user_us", 1),
        ("hot process", "hot_us", 1),
        ("requests/s", "per_s", 0),
        ("share of its cores", "share", 2),
        ("peak MiB", "peak_mib", 0),
        ("mirrored", "mirrored", 2),
        ("compared", "compared", 2),
    ),
    Kind.OPEN: (
        ("p50 ms", "p50_ms", 3),
        ("p99 ms", "p99_ms", 3),
        ("p99.9 ms", "p999_ms", 3),
        ("added p50 ms", "added_p50_ms", 3),
        ("added p99 ms", "added_p99_ms", 3),
        ("CPU µs/request", "tree_us", 1),
        ("beside the hot process, cores", "beside", 2),
        ("mirrored", "mirrored", 2),
        ("compared", "compared", 2),
        ("generator late, p99 ms", "lag_ms", 3),
    ),
    Kind.STREAMS: (
        ("CPU µs/event", "tree_us", 1),
        ("of which user", "user_us", 1),
        ("events/s", "per_s", 0),
        ("events a read", "per_read", 2),
        ("p50 ms", "p50_ms", 3),
        ("p99 ms", "p99_ms", 3),
        ("added p50 ms", "added_p50_ms", 3),
        ("added p99 ms", "added_p99_ms", 3),
        ("peak MiB", "peak_mib", 0),
        ("generator late, p99 ms", "lag_ms", 3),
    ),
    Kind.IDLE: (
        ("KiB a connection", "idle_kib", 2),
        ("hot process at rest, MiB", "rest_mib", 1),
        ("all processes at rest, MiB", "tree_mib", 1),
    ),
}
"""Heading, figure, digits. A column that nobody has a figure for is left out."""

LEGEND = """\
CPU is user and system time of all processes of an entrant, for each request that was answered; the *hot process* is
the one that holds the clients' connections. Median of the rounds (least–most); the column *modelproxy ÷ it* is taken
within a round, in CPU of all processes. Entrants take turns, each round starts one further. Requests/s come from a
saturating load; where an entrant used less than 0.9 of its cores, load and models were the limit, and the figure is
marked ≥. Who is behind with streams passes several events on at once, which is cheaper and later: *events a read*
above 1 says so. Latencies at a fixed rate count from the moment a request was due; *added* is what is left after
subtracting the same without a proxy in the same round. Rounds are blocks of turns there: each has a part of all of the
time, CPU is that of all of it, and where a goal divides two 99 % each is that of all requests together. How late the
generator itself was stands beside them: latencies below that are its own. A pair is a client's answer and a copy's,
from the bytes of the worker's pipe to the counts (`python -m benchmarks.micro_observer`); *logged*: and a record with
both bodies in a file. What is more than a core does waits in bounded queues, and is dropped and counted beyond them,
whatever its size.
"""


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def goals_sheet(results: Results) -> Sheet:
    """Return the table of goals."""
    return Sheet("Goals", ("goal", "limit", "measured", ""), [goal_row(each) for each in judge(results)])


def goal_row(each: Reached) -> Sequence[str]:
    """Return one goal."""
    word = {True: "reached", False: "**not reached**", None: "not measured"}[each.is_reached]
    return (each.text, each.limit, each.measured, word)


def sheets(results: Results) -> list[Sheet]:
    """Return a table for each cell and load that was run."""
    made = []
    for cell in CELLS:
        for load in cell.loads:
            taking = [each for each in cell.entrants if (cell.name, load.name, each.name) in results]
            if taking:
                made.append(sheet(cell, load, taking, results))
    return made


def sheet(cell: Cell, load: Load, taking: Sequence[Entrant], results: Results) -> Sheet:
    """Return the table of one load."""
    columns = [
        column
        for column in COLUMNS[load.kind]
        if any(values(results, cell, load, entrant, column[1]) for entrant in taking)
    ]
    headings = ["", *(heading for heading, _, _ in columns)]
    reference = next((each for each in taking if each.program.name == "modelproxy"), None)
    is_compared = reference is not None and load.kind is not Kind.IDLE and len(taking) > 1
    if is_compared:
        headings.append(f"{reference.name} ÷ it" if reference else "")
    rows = []
    for entrant in taking:
        cells = [
            shown(figure, values(results, cell, load, entrant, figure), digits, results, cell, load, entrant)
            for _, figure, digits in columns
        ]
        if is_compared and reference:
            ours, theirs = (Ref(cell.name, load.name, each.name, "tree_us") for each in (reference, entrant))
            cells.append(spread(ratios(results, ours, theirs), 2) if entrant != reference else "1")
        rows.append([entrant.name, *cells, remark(results, cell, load, entrant)])
    return Sheet(f"{cell.name}: {load.name}", [*headings, "does less"], rows)


def values(results: Results, cell: Cell, load: Load, entrant: Entrant, figure: str) -> list[float]:
    """Return one figure of all valid rounds."""
    entries = results.get((cell.name, load.name, entrant.name), ())
    return [entry[figure] for entry in entries if not isinstance(entry, str) and figure in entry]


def shown(
    figure: str,
    found: Sequence[float],
    digits: int,
    results: Results,
    cell: Cell,
    load: Load,
    entrant: Entrant,
) -> str:
    """Return a figure as the table shows it."""
    if figure == "per_s" and found and load.kind is Kind.CLOSED:
        shares = values(results, cell, load, entrant, "share")
        return f"{'≥ ' if median(shares) < SATURATED else ''}{median(found):,.0f}"
    if figure in ("share", "mirrored", "compared", "per_s", "peak_mib") and found:
        return f"{median(found):,.{digits}f}"
    return spread(found, digits)


def remark(results: Results, cell: Cell, load: Load, entrant: Entrant) -> str:
    """Return what the entrant does less, and which rounds are missing."""
    entries = results.get((cell.name, load.name, entrant.name), ())
    problems = [entry for entry in entries if isinstance(entry, str)]
    if not problems:
        return entrant.less
    return f"{entrant.less} ({len(problems)} of {len(entries)} rounds: {problems[0]})"


def noise(results: Results) -> list[str]:
    """Return a sentence when other programs were busy or the generator was late, nothing when all was well."""
    said = []
    foreign = list(every(results, "foreign"))
    if foreign and median(foreign) > QUIET:
        said.append(
            f"NOISY: other programs kept {spread(foreign, 2)} cores busy meanwhile; repeat on a quiet machine"
        )
    late = list(every(results, "lag_ms"))
    if late and median(late) > PUNCTUAL_MS:
        said.append(
            f"LATE: the generators were {spread(late, 2)} ms late (99 %): latencies below that are their own"
        )
    return said


def every(results: Results, figure: str) -> Iterable[float]:
    """Return a figure of all valid entries."""
    return (
        entry[figure]
        for entries in results.values()
        for entry in entries
        if not isinstance(entry, str) and figure in entry
    )


def machine(versions: Mapping[str, str], plan: Plan, took_s: float, calmed: Sequence[str]) -> list[str]:
    """Return where, when and with what this was measured."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("uvloop", "httptools", "aiohttp"))
    programs = ", ".join(f"{name} {number}" for name, number in versions.items())
    rounds = "several rounds" if plan.most_rounds is None else f"at most {plan.most_rounds} rounds"
    method = (
        f"{rounds} of {plan.seconds:g} s, one entrant right after another; an entrant has one core of its own, load "
        "and models have the rest; the cell of two workers has two, shared where there are no more; at fixed rates "
        f"entrants take turns of {TURN_S:g} s, and who is not asked is stopped"
    )
    last = (
        [f"kernel threads that ran only when nobody else wanted a core: {', '.join(calmed)}"]
        if calmed
        else []
    )
    return [
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, in {took_s / 60:.0f} minutes",
        f"{cpu_model()}, {os.cpu_count()} cores, Linux {platform.release()}",
        f"{programs}, {libraries}",
        method,
        *last,
    ]


def text(sheet: Sheet) -> str:
    """Return a table as Markdown."""
    lines = [f"## {sheet.title}", "", "| " + " | ".join(sheet.columns) + " |"]
    lines.append("|---|" + "---:|" * (len(sheet.columns) - 2) + "---|")
    lines += ["| " + " | ".join(row) + " |" for row in sheet.rows]
    return "\n".join(lines) + "\n"


def pairs_sheet(micros: Mapping[str, float]) -> Sheet:
    """Return the table of what the observer does with a compared pair, from microseconds by name."""
    rows = [(name, f"{each:.1f}", f"{1e6 / each:,.0f}") for name, each in micros.items()]
    return Sheet("the observer on a core of its own", ("", "CPU µs/pair", "pairs/s"), rows)


def markdown(
    results: Results,
    versions: Mapping[str, str],
    plan: Plan,
    took_s: float,
    micros: Mapping[str, float],
    calmed: Sequence[str] = (),
) -> str:
    """Return ``RESULTS.md``; ``micros`` as of :func:`pairs_sheet`, ``calmed`` as of :func:`~benchmarks.calm.calm`."""
    top = [
        "# modelproxy next to its peers",
        "",
        f"Written by `make bench{'-quick' if plan.is_quick else ''}`.",
        "",
    ]
    top += [f"- {line}" for line in machine(versions, plan, took_s, calmed) + noise(results)]
    tables = [text(each) for each in (goals_sheet(results), *sheets(results), pairs_sheet(micros))]
    return "\n".join([*top, "", *tables, LEGEND])
