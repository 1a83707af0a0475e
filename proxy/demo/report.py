"""What the run ends with: one table per question, the checks, and what to try next."""

import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy.demo.checks import Check, joined_agreement
from proxy.demo.facts import Facts
from proxy.demo.models import ROLES
from proxy.demo.story import ROLLOUT_ROUTE
from proxy.demo.trial_report import build_trials, print_trials
from proxy.demo.trials import Trials

__all__ = [
    "Places",
    "ShadowRow",
    "VariantRow",
    "build_document",
    "print_report",
    "shadow_rows",
    "variant_rows",
]

QUANTILES = (0.5, 0.95, 0.99)

_SERVED_BY = {"canary": "skewed"}
"""Who plays a variant's role, where that has another name."""

POOR_AGREEMENT = 0.85
"""Below this share the agreement of a variant with the champion is shown in red."""


@dataclass(frozen=True, slots=True)
class VariantRow:
    """One variant over the whole run."""

    variant: str
    role: str
    model: str
    family: str
    requests: int
    failed: int
    proxy_ms: tuple[float | None, ...]
    """p50, p95, p99 in milliseconds from the proxy's histogram: request read to answer written."""
    client_ms: tuple[float | None, ...]
    """p50, p95, p99 in milliseconds as the clients measured them."""
    right: float | None
    """Share of answers with the digit that the scan shows, 0..1."""
    agreement: float | None
    """Share of answers that are the champion's to the same request, 0..1."""
    compared: int
    """How many answers ``agreement`` rests on."""


@dataclass(frozen=True, slots=True)
class ShadowRow:
    """One shadow over the whole run, as the proxy counted it."""

    model: str
    family: str
    eligible: int
    sent: int
    dropped: int
    answered: int
    failed: int
    compared: int
    agreement: float | None
    """Share of compared answers that agree with what the client received, 0..1."""
    mean_distance: float | None
    """0: the same probabilities; 1: nothing in common."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are after the run."""

    folder: Path
    config: Path
    versions: Sequence[Path]
    log: Path
    state: Path
    listen: str
    """``host:port`` of the proxy."""
    admin: str
    """URL of the proxy's admin address."""


def _rank(sorted_s: Sequence[float], q: float) -> float | None:
    """Return the nearest-rank quantile in milliseconds."""
    if not sorted_s:
        return None
    return sorted_s[min(len(sorted_s) - 1, int(q * len(sorted_s)))] * 1000


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def variant_rows(facts: Facts) -> list[VariantRow]:
    """Return one row per variant, in the order of the file."""
    agreement = joined_agreement(facts, facts.arm("champion").model)
    rows = []
    for arm in facts.arms:
        answers = [answer for answer in facts.answers if answer.variant == arm.variant]
        latencies = sorted(answer.latency_s for answer in answers)
        histogram = facts.claims.durations.get(arm.variant)
        seconds = [histogram.quantile(q) if histogram else None for q in QUANTILES]
        counts = agreement[arm.variant]
        rows.append(
            VariantRow(
                variant=arm.variant,
                role=arm.role,
                model=arm.model,
                family=ROLES[_SERVED_BY.get(arm.role, arm.role)].family,
                requests=len(answers),
                failed=sum(bool(answer.error) for answer in answers),
                proxy_ms=tuple(None if s is None else s * 1000 for s in seconds),
                client_ms=tuple(_rank(latencies, q) for q in QUANTILES),
                right=_ratio(sum(a.label == facts.truth[a.row] for a in answers), len(answers)),
                agreement=_ratio(counts["agree"], counts.total()),
                compared=counts.total(),
            )
        )
    return rows


def shadow_rows(facts: Facts) -> list[ShadowRow]:
    """Return one row per shadow, in the order of the file."""
    champion = facts.arm("champion").model
    rows = []
    for model in facts.shadow_models:
        claim = facts.claims.shadow(model)
        compared = claim.result("agree") + claim.result("disagree")
        rows.append(
            ShadowRow(
                model=model,
                family="the champion a second time" if model == champion else ROLES["shadow"].family,
                eligible=claim.outcome("eligible"),
                sent=claim.outcome("sent"),
                dropped=claim.outcome("dropped"),
                answered=claim.outcome("answered"),
                failed=claim.outcome("failed"),
                compared=compared,
                agreement=_ratio(claim.result("agree"), compared),
                mean_distance=claim.mean_distance,
            )
        )
    return rows


def build_document(facts: Facts, trials: Trials, checks: Sequence[Check], places: Places) -> dict[str, Any]:
    """Return the whole result, ready for JSON."""
    steps = facts.steps
    return {
        "ok": all(check.ok for check in checks),
        "requests": len(facts.answers),
        "failed": sum(bool(answer.error) for answer in facts.answers),
        "users": len({answer.user for answer in facts.answers}),
        "reloads": [asdict(step) for step in steps],
        "variants": [asdict(row) for row in variant_rows(facts)],
        "shadows": [asdict(row) for row in shadow_rows(facts)],
        "rollouts": build_trials(trials),
        "log": {"path": str(places.log), "lines": len(facts.log)},
        "folder": str(places.folder),
        "checks": [asdict(check) for check in checks],
    }


def print_report(
    console: Console, facts: Facts, trials: Trials, checks: Sequence[Check], places: Places, *, kept: bool
) -> None:
    """Print tables, checks, and the commands to try next: about a screen, if all is well."""
    console.print()
    console.print(_variant_table(facts))
    console.print()
    console.print(_shadow_table(facts))
    console.print()
    _print_moves(console, facts)
    print_trials(console, trials)
    console.print()
    _print_checks(console, checks)
    _print_next(console, facts, trials, places, kept=kept)


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _table(title: str, note: str) -> Table:
    return Table(
        title=f"[bold]{title}[/] [dim]{note}[/]",
        title_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )


def _variant_table(facts: Facts) -> Table:
    table = _table("Variants", "latency in ms: p50/p95/p99")
    table.add_column("variant", no_wrap=True)
    for title in (
        "requests",
        "failed",
        "proxy's\nhistogram",
        "clients\nmeasured",
        "right",
        "agrees with\nchampion",
    ):
        table.add_column(title, justify="right", no_wrap=True)
    for row in variant_rows(facts):
        poor = row.agreement is not None and row.agreement < POOR_AGREEMENT
        table.add_row(
            f"{row.variant} {row.role}",
            f"{row.requests:,}",
            str(row.failed),
            "/".join(_number(ms, ".1f") for ms in row.proxy_ms),
            "/".join(_number(ms, ".1f") for ms in row.client_ms),
            _number(row.right, ".1%"),
            Text(_number(row.agreement, ".1%"), style="bold red" if poor else ""),
        )
    return table


def _shadow_table(facts: Facts) -> Table:
    table = _table("Shadows", "no client ever sees their answers")
    table.add_column("model", no_wrap=True)
    for title in ("eligible", "sent", "dropped", "answered", "failed", "compared", "agree", "distance"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in shadow_rows(facts):
        counts = (row.eligible, row.sent, row.dropped, row.answered, row.failed, row.compared)
        table.add_row(
            row.model,
            *(f"{count:,}" for count in counts),
            _number(row.agreement, ".1%"),
            _number(row.mean_distance, ".3f"),
        )
    return table


def _print_moves(console: Console, facts: Facts) -> None:
    for i, step in enumerate(facts.steps[1:], 1):
        before, after = facts.expected[i - 1], facts.expected[i]
        moves = Counter(f"{before[user]} → {after[user]}" for user in before if before[user] != after[user])
        said = ", ".join(f"{count} users {move}" for move, count in sorted(moves.items())) or "nobody moved"
        console.print(
            f"Reload {i}: canary {facts.steps[i - 1].canary_weight:g} % → {step.canary_weight:g} % in "
            f"{step.applied_ms:.0f} ms, config version {step.config_version}. Of {len(before)} users {said}.",
            highlight=False,
            soft_wrap=True,
        )
    console.print()


def _print_checks(console: Console, checks: Sequence[Check]) -> None:
    passed = sum(check.ok for check in checks)
    style = "bold green" if passed == len(checks) else "bold red"
    console.print(
        f"[{style}]{passed} of {len(checks)} checks hold[/] (clients, proxy and models counted apart)"
    )
    # A screen holds no forty sentences; --json has them all.
    good = " · ".join(check.name for check in checks if check.ok)
    console.print(Text.assemble(("✓ ", "green"), good), highlight=False)
    for check in checks:
        if not check.ok:
            console.print(f"[bold red]✗[/] {check.name}: {check.sentence}", highlight=False)
            console.print(
                f"      expected {check.expected}\n      got      {check.got}", highlight=False, markup=False
            )


def _program() -> str:
    """Return how the reader can call what is running now."""
    if shutil.which("modelproxy"):
        return "modelproxy"
    called = Path(sys.argv[0])
    return str(called) if called.name == "modelproxy" else f"{sys.executable} -m proxy"


def _print_next(console: Console, facts: Facts, trials: Trials, places: Places, *, kept: bool) -> None:
    program, user = _program(), facts.answers[0].user if facts.answers else "user-001"
    running = [
        f"{program} status {ROLLOUT_ROUTE} --admin {places.admin}",
        f"{program} promote {ROLLOUT_ROUTE} --admin {places.admin}    # or abort, pause, resume",
        f"curl -i http://{places.listen}/v2/models/digits/infer -H 'x-user-id: me' -d @{places.folder}/question.json",
    ]
    lines = [
        f"{program} report {ROLLOUT_ROUTE} --state-dir {places.state}",
        f"{program} plan {places.versions[0]} {places.versions[1]}",
        f"{program} explain {places.config} --path /v2/models/digits/infer --header 'x-user-id: {user}'",
        *(
            running
            if kept
            else [f"{program} demo --keep    # and leave it running, to use status, promote and curl"]
        ),
    ]
    console.print()
    for path in trials.paper.paths if trials.paper else ():
        console.print(f"Written up in {path}", highlight=False, soft_wrap=True)
    console.print(f"The log ({len(facts.log):,} lines) is in {places.log}", highlight=False, soft_wrap=True)
    console.print("Try next:")
    for line in lines:
        console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
