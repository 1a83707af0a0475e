"""What the run ends with about the rollouts: one row for each build."""

from dataclasses import asdict, dataclass
from itertools import groupby
from math import log
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from proxy.demo.story import CHAMPION
from proxy.demo.trials import Steered, Trial, Trials

__all__ = ["TrialRow", "build_trials", "print_trials", "trial_rows"]

_LN10 = log(10)


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One build and what became of it."""

    variant: str
    weights: tuple[float, ...]
    """Every weight it had, percent, in order."""
    phase: str
    by: str
    """Who brought it there: ``engine``, or a person."""
    seconds: float
    requests: int
    """Of clients, by its server's own count."""
    users: int
    failed: int
    """Of these requests, on which it raised."""
    copies: int
    log10_e: float | None
    """Evidence of harm when it was decided; None: a person decided."""
    said: str
    """How it ended, for people."""


def trial_rows(facts: Trials) -> list[TrialRow]:
    """Return one row for each build, in the order of the story."""
    return [_row(facts, trial) for trial in facts.trials]


def _row(facts: Trials, trial: Trial) -> TrialRow:
    moves = [each for event in ("decision", "verb") for each in facts.steered(trial, event)]
    moves.sort(key=lambda each: each.version)
    weights = [moves[0].from_weight or 0.0] if moves else [0.0]
    weights += [each.to_weight or 0.0 for each in moves]
    last = moves[-1] if moves else None
    is_engine = last is not None and last.event == "decision"
    rehearsed = sum(each.sent for each in facts.rehearsals if each.variant == trial.release.variant)
    return TrialRow(
        variant=trial.release.variant,
        weights=tuple(weight for weight, _ in groupby(weights)),
        phase=trial.phase,
        by="engine" if is_engine else "a person" if last else "nobody",
        seconds=trial.seconds,
        requests=trial.met.requests,
        users=len(trial.met.units),
        failed=trial.met.failed,
        copies=trial.met.shadow_requests - rehearsed,
        log10_e=last.harm / _LN10 if is_engine and last is not None else None,
        said=_said(trial, last),
    )


def _said(trial: Trial, last: Steered | None) -> str:
    if last is None:
        return trial.phase.replace("_", " ") or "never began"
    if last.event == "verb":
        share = trial.disagreed / max(1, trial.compared)
        return f"held: {share:.0%} of its copies differ; aborted"
    if last.verdict == "rollback":
        return f"rolled back by itself: e = {10 ** (last.harm / _LN10):,.0f}"
    return "promoted by itself" if last.verdict == "promote" else "on its way"


def print_trials(console: Console, facts: Trials) -> None:
    """Print the rows, and what they mean for the clients."""
    table = Table(
        title="[bold]Rollouts[/] [dim]nobody steered[/]",
        title_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    table.add_column("build", no_wrap=True)
    table.add_column("weights", no_wrap=True)
    for title in ("seconds", "requests\nit got", "users who\nmet it", "it\nfailed", "copies"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("how it ended", no_wrap=True)
    rows = trial_rows(facts)
    for row in rows:
        numbers = (f"{row.requests:,}", f"{row.users:,}", f"{row.failed:,}", f"{row.copies:,}")
        weights = "→".join(f"{weight:g}" for weight in row.weights) + " %"
        table.add_row(row.variant, weights, f"{row.seconds:.1f}", *numbers, row.said)
    console.print(table)
    for rehearsal in facts.rehearsals:
        console.print(rehearsal.sentence(), highlight=False)
    seen = sum(bool(answer.error) for answer in facts.answers)
    failed = sum(row.failed for row in rows)
    console.print(
        f"{seen} of {len(facts.answers):,} requests failed for their clients. The {failed} that a canary failed were "
        f"answered by {CHAMPION.variant}\nin its place, and counted against the canary all the same.",
        highlight=False,
    )


def build_trials(facts: Trials) -> dict[str, Any]:
    """Return the rollouts, ready for JSON."""
    return {
        "requests": len(facts.answers),
        "failed": sum(bool(answer.error) for answer in facts.answers),
        "builds": [asdict(row) for row in trial_rows(facts)],
        "rehearsals": [
            {
                "variant": each.variant,
                "passed": each.has_passed,
                "sent": each.sent,
                "agree": each.agree,
                "disagree": each.disagree,
            }
            for each in facts.rehearsals
        ],
        "reports": list(facts.paper.paths) if facts.paper else [],
    }
