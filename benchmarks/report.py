"""Samples → the table, the targets, and ``RESULTS.md``."""

import datetime
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from statistics import median

from rich.table import Table

from benchmarks.cell import Plan, Sample
from benchmarks.contenders import ANSWERS, CONTENDERS, MIRRORED, SPLIT, Contender
from benchmarks.tools import Tools, cpu_model

__all__ = ["Results", "markdown", "noise", "rich_table"]

Results = Mapping[str, Sequence[Sample | str]]
"""By contender, one entry for each round: what was measured, or why nothing was."""

COLUMNS = (
    "contender",
    "CPU µs/request",
    "of which user",
    "on the way",
    "× HAProxy",
    "× Envoy",
    "requests/s",
    "p50 ms",
    "p99 ms",
    "mirrored",
    "does less",
)
REQUEST_BYTES = 103
"""What ``post.lua`` sends."""

QUIET = 0.05
"""Cores that the rest of the machine may keep busy before the table says so."""

LEGEND = """\
CPU is user and system time of all processes of a contender, for each request that was answered; *on the way* is
the one process that clients' bytes pass through. Median of the rounds (least–most). Ratios are taken within a
round, in *CPU µs/request*, against the row of the same kind (split, or mirrored). Requests/s, p50 and p99 come
from a saturated core and only say which contender saturates later. *Mirrored* is what the shadow received for
each request, and how many of its answers were compared.
"""
ENVOY = {SPLIT: "Envoy", MIRRORED: "Envoy, request_mirror_policies"}
HAPROXY = {SPLIT: "HAProxy"}


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Return ``median (least–most)``."""
    if not values:
        return "—"
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def ratios(
    results: Results, name: str, reference: str | None, of: Callable[[Sample], float] = lambda s: s.tree_us
) -> list[float]:
    """Return ``of`` a contender ÷ the reference's CPU, for each round in which both were measured."""
    if reference is None:
        return []
    pairs = zip(results.get(name, ()), results.get(reference, ()), strict=False)
    return [of(a) / b.tree_us for a, b in pairs if isinstance(a, Sample) and isinstance(b, Sample)]


def row(contender: Contender, results: Results) -> list[str]:
    """Return one line of the table."""
    entries = results.get(contender.name, ())
    samples = [entry for entry in entries if isinstance(entry, Sample)]
    problems = [entry for entry in entries if isinstance(entry, str)]
    if not samples:
        reason = problems[0] if problems else "not run"
        return [contender.name, reason, *[""] * (len(COLUMNS) - 3), contender.less]
    less = contender.less
    if problems:
        less += f" ({len(problems)} of {len(entries)} rounds invalid: {problems[0]})"
    mirrored = "—"
    if contender.kind == MIRRORED:
        mirrored = f"{median(sample.mirrored for sample in samples):.0%}"
        if contender.compares:
            mirrored += f", compared {median(sample.compared for sample in samples):.0%}"
    return [
        contender.name,
        spread([sample.tree_us for sample in samples]),
        spread([sample.user_us for sample in samples]),
        spread([sample.hot_us for sample in samples]),
        spread(ratios(results, contender.name, HAPROXY.get(contender.kind)), 2),
        spread(ratios(results, contender.name, ENVOY[contender.kind]), 2),
        f"{median(sample.requests_per_s for sample in samples):,.0f}",
        f"{median(sample.p50_ms for sample in samples):.2f}",
        f"{median(sample.p99_ms for sample in samples):.2f}",
        mirrored,
        less,
    ]


def targets(results: Results) -> list[str]:
    """Return what was aimed at and what was measured, one sentence each."""
    mirrored = "modelproxy, mirrored and compared"
    aims = (
        (1.6, "split, all processes, against HAProxy", ratios(results, "modelproxy", "HAProxy")),
        (0.8, "split, all processes, against Envoy", ratios(results, "modelproxy", "Envoy")),
        (
            0.7,
            "mirrored, the worker alone, against Envoy's mirror",
            ratios(results, mirrored, ENVOY[MIRRORED], lambda sample: sample.hot_us),
        ),
    )
    lines = []
    for limit, what, measured in aims:
        verdict = "not measured" if not measured else "reached" if median(measured) <= limit else "missed"
        lines.append(f"{what}: at most {limit} ×, measured {spread(measured, 2)} — {verdict}")
    return lines


def noise(results: Results) -> list[str]:
    """Return a sentence when other programs were busy meanwhile, nothing when the machine was quiet."""
    foreign = [
        entry.foreign for entries in results.values() for entry in entries if isinstance(entry, Sample)
    ]
    if not foreign or median(foreign) <= QUIET:
        return []
    return [
        f"NOISY: other programs kept {spread(foreign, 2)} cores busy meanwhile; repeat on a quiet machine"
    ]


def shown(results: Results) -> list[Contender]:
    """Return the contenders that took part, in the table's order."""
    return [contender for contender in CONTENDERS if contender.name in results]


def machine(tools: Tools, plan: Plan) -> list[str]:
    """Return where, when and with what this was measured."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("uvloop", "httptools", "aiohttp"))
    programs = ", ".join(f"{name} {number}" for name, number in tools.versions().items())
    method = (
        f"{plan.rounds} rounds of {plan.seconds} s for each, {plan.connections} connections kept alive; "
        "the contender has one core, wrk and the backend share the rest; "
        f"requests of {REQUEST_BYTES} bytes, answers of {len(ANSWERS[0])} bytes"
    )
    return [
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
        f"{cpu_model()}, {os.cpu_count()} cores, Linux {platform.release()}",
        f"{programs}, {libraries}",
        method,
    ]


def rich_table(results: Results) -> Table:
    """Return the table for a terminal."""
    table = Table(caption="\n".join(targets(results) + noise(results)), caption_justify="left")
    for index, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if index in (0, len(COLUMNS) - 1) else "right")
    kind = SPLIT
    for contender in shown(results):
        if contender.kind != kind:
            table.add_section()
            kind = contender.kind
        table.add_row(*row(contender, results))
    return table


def markdown(results: Results, tools: Tools, plan: Plan) -> str:
    """Return ``RESULTS.md``."""
    lines = ["# CPU per request, next to the peers", "", "Written by `make bench`.", ""]
    lines += [f"- {line}" for line in machine(tools, plan) + noise(results)]
    lines += ["", "| " + " | ".join(COLUMNS) + " |"]
    lines += ["|---|" + "---:|" * (len(COLUMNS) - 2) + "---|"]
    lines += ["| " + " | ".join(row(contender, results)) + " |" for contender in shown(results)]
    lines += ["", LEGEND, "Targets:", ""]
    lines += [f"- {line}" for line in targets(results)]
    return "\n".join(lines) + "\n"
