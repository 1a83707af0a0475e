"""Samples → rows → ``SIMULATION.md``, with the short table that README.md shows."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.simulation.cell import Cell, Row, Samples, Table, Verdict

__all__ = ["Result", "markdown", "rows_of", "short_tables", "tally"]

_TABLES: dict[Table, tuple[str, tuple[str, ...]]] = {
    Table.VALIDITY: (
        """Share of runs in which the evidence ever reached 1/α, at any look; in brackets what the true share is at
most, with confidence 99 % (Clopper & Pearson). The goal is that this limit is below α.""",
        ("α = 5 %", "α = 1 %", "α = 0.1 %"),
    ),
    Table.OTHERS: (
        "What others do with the same counts, and what ours would do where it is not meant for: there is no goal.",
        ("acts",),
    ),
    Table.PROMOTION: (
        "Share of runs in which a canary that is worse by exactly the margin was ever shown to be good enough.",
        ("α = 5 %", "α = 1 %"),
    ),
    Table.COVERAGE: ("Share of runs in which the interval ever left the truth out.", ("left out", "goal")),
    Table.DELAY: (
        """Requests of canary and champion together. The bound is what no rule that errs with probability α can undercut
on average; the ratio is mean to bound. Means are of the runs in which it was found at all.""",
        ("bound", "mean", "median", "90 % within", "found", "ratio", "goal"),
    ),
    Table.FIGURES: ("", ("", "goal")),
    Table.ENGINE: (
        "The plan `rollout: {}` with all its guardrails, judged every 10 or 20 s of virtual time.",
        ("", "goal"),
    ),
}


_PREFACE = """`make simulate`, seed {seed}: {met} goals met, {open} open (neither shown nor ruled out by so many runs),
{missed} missed. The numbers do not depend on the number of processes; another seed gives others. Every rate is that of
runs in which *any* look acted. Where each number comes from: `benchmarks/simulation/`."""


@dataclass(frozen=True, slots=True)
class Result:
    """A cell with what came out."""

    cell: Cell
    samples: Samples


def rows_of(results: Sequence[Result]) -> list[Row]:
    """Return the rows of all claims, in the order of the cells."""
    return [claim.row(each.cell.setting, each.samples) for each in results for claim in each.cell.claims]


def tally(rows: Sequence[Row]) -> dict[Verdict, int]:
    """Return how many goals were met, are open and were missed."""
    return {
        verdict: sum(row.verdict is verdict for row in rows)
        for verdict in (Verdict.MET, Verdict.OPEN, Verdict.MISSED)
    }


def markdown(results: Sequence[Result], seed: int) -> str:
    """Return the whole report."""
    rows = rows_of(results)
    parts = [
        "# Simulation",
        "",
        _PREFACE.format(seed=seed, **{str(verdict): count for verdict, count in tally(rows).items()}),
        "",
        "## In short",
        "",
        *short_tables(results),
        "",
    ]
    for table, (text, heads) in _TABLES.items():
        parts += _section(table, text, heads, [row for row in rows if row.table is table])
    return "\n".join(parts)


def _section(table: Table, text: str, heads: tuple[str, ...], rows: list[Row]) -> list[str]:
    if not rows:
        return []
    judged = any(row.verdict is not Verdict.NONE for row in rows)
    titles = ["setting", "what", "runs", *heads, *(["result"] if judged else [])]
    lines = [f"## {table}", "", *([text, ""] if text else []), _line(titles), _rule(titles)]
    for row in rows:
        cells = [row.setting, row.what, f"{row.runs:,}", *row.values]
        why = f": {row.why}" if row.why and row.verdict is Verdict.MISSED else ""
        lines.append(_line([*cells, *([f"{row.verdict}{why}"] if judged else [])]))
    return [*lines, ""]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(cells: Sequence[str]) -> str:
    return "|" + "---|" * len(cells)


_ERRING = (
    (
        "errors 1 %, looked at 200 times",
        "eight-1 %",
        "z",
        "z test at every look, p < 0.05",
        "errors-1 %",
        "e",
    ),
    ("the same", "thresholds-1 %", "flagger", "success ≥ 99 % of 100, five failed checks", "errors-1 %", "e"),
    ("a ramp, a daily rhythm, a shared incident", "ramp", "pooled", "pooled z, p < 0.01", "ramp", "e"),
    ("heavy-tailed latency", "latency-tests", "rank", "Mann-Whitney at every look, p < 0.05", "latency", "e"),
    ("hosts that differ by 3 %", "pods", "welch", "Welch's t at every look, p < 0.05", "pods", "tiers"),
    ("hosts with noise that lasts", "noise-10 %", "judge", "canary judge on medians", "noise-10 %", "tiers"),
    (
        "users who come back",
        "sticky-0.1",
        "naive_at",
        "requests as if independent, α = 1 %",
        "sticky-0.1",
        "first",
    ),
    ("is traffic split as configured", "split", "chi01", "chi-square at every look, p < 0.01", "split", "e"),
)
"""What README.md shows: a setting, another rule (cell, samples, words), ours (cell, samples) at 1 %."""

_TAKING = (
    ("errors 1 % → 1.5 %, 10 % canary", "harm-0.01-1.5-0.1-0.01-0", "e"),
    ("errors 1 % → 2 %, 10 % canary", "harm-0.01-2-0.1-0.01-0", "e"),
    ("errors 1 % → 20 %, 10 % canary", "harm-0.01-20-0.1-0.01-0", "e"),
    ("latency × 1.2, 10 % canary", "slower-everything", "combined"),
    ("p99 + 20 %, the rest as before, 10 % canary", "slower-tail", "combined"),
    ("a canary that is the same is shown to be within 25 %, equal split", "shown-0.25-0.5", "e"),
    ("traffic is split 9 : 91 instead of 10 : 90", "mismatch-0.1-0.09", "e"),
)
"""What README.md shows of delays: a change, and where it was simulated."""


def short_tables(results: Sequence[Result]) -> list[str]:
    """Return two tables, as far as their cells were simulated: others and ours; how long ours takes."""
    found = {
        (each.cell.name, str(getattr(claim, "of", ""))): claim.row(each.cell.setting, each.samples)
        for each in results
        for claim in each.cell.claims
    }
    titles = ["nothing is wrong with the canary", "what others do", "rolls it back in", "ours, at 1 %"]
    lines = [_line(titles), _rule(titles)]
    for setting, other_cell, other, words, our_cell, ours in _ERRING:
        if (other_cell, other) in found and (our_cell, ours) in found:
            cells = [setting, words, found[other_cell, other].values[0], found[our_cell, ours].values[1]]
            lines.append(_line(cells))
    titles = ["what is found", "no valid rule sooner than", "ours, mean", "in 90 % of runs within"]
    lines += ["", _line(titles), _rule(titles)]
    for change, cell, of in _TAKING:
        if (cell, of) in found:
            bound, mean, _, most, *_ = found[cell, of].values
            lines.append(_line([change, f"{bound} requests", mean, most]))
    return lines
