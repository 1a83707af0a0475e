"""``python -m tests.soak``: run it, print what was found, exit with 1 if anything did not hold."""

import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from tests.soak.books import End, Entry
from tests.soak.run import Outcome, soak

__all__ = ["main"]

ROWS = 40


def percentiles(values: Iterable[float]) -> str:
    """Return median, 99th percentile and maximum, in the unit of ``values``."""
    numbers = np.fromiter(values, dtype=float)
    if not len(numbers):
        return "–"
    return " / ".join(f"{x:.1f}" for x in (*np.percentile(numbers, [50, 99]), numbers.max()))


def figures(outcome: Outcome) -> Table:
    """Return the figures: what happened, how often, how long it took."""
    books = outcome.books
    whole = Counter(e.order.kind.value for e in books.entries if e.end is End.WHOLE)
    other = Counter(e.order.kind.value for e in books.entries if e.end is not End.WHOLE)
    table = Table("figure", "value", title="figures", title_justify="left")
    kills = Counter(kill.worker for kill in books.kills)
    lost = sum(kill.open_counts["lost"] for kill in books.kills)
    for name, value in (
        ("requests", f"{len(books.entries)} in {outcome.seconds:.0f} s"),
        ("answered whole", dict(whole.most_common())),
        ("other ends, as ordered or excused", dict(other.most_common())),
        ("workers killed", f"{dict(sorted(kills.items()))}, with {lost} requests under way"),
        ("observers killed", books.observer_kills),
        ("upgrades, s", ", ".join(f"{(end - begin) / 1e9:.1f}" for begin, end in books.upgrades) or "–"),
        ("model servers restarted", dict(Counter(down.model for down in books.downs))),
        ("reloads / refused", f"{books.reloads} / {books.refused}"),
        ("reload to every worker, s (median / p99 / max)", percentiles(outcome.reload_s)),
        ("small request, ms", percentiles(_took_ms(books.entries, "small"))),
        ("event of a stream, ms", percentiles(d / 1e6 for e in books.entries for d in e.event_delays_ns)),
        ("client left to model told, ms", percentiles(_cancelled_ms(outcome))),
        ("sent again", outcome.counts.total("modelproxy_upstream_retries_total")),
        ("answered by the champion instead", outcome.counts.total("modelproxy_fallbacks_total")),
        ("memory at the end, MiB", {s.role: round(s.rss_bytes / 2**20) for s in outcome.samples[-4:]}),
    ):
        table.add_row(name, str(value))
    return table


def _took_ms(entries: Iterable[Entry], kind: str) -> Iterable[float]:
    return ((e.ended_ns - e.began_ns) / 1e6 for e in entries if e.order.kind == kind and e.end is End.WHOLE)


def _cancelled_ms(outcome: Outcome) -> Iterable[float]:
    left = {e.order.identity: e.ended_ns for e in outcome.books.entries if e.end is End.LEFT}
    return (
        (attempt.ended_ns - left[attempt.identity]) / 1e6
        for attempt in outcome.books.attempts.values()
        if attempt.outcome == "G" and not attempt.is_copy and attempt.identity in left
    )


def verdict(outcome: Outcome) -> Table:
    """Return every check."""
    table = Table("check", "expected", "got", "", title="checks", title_justify="left")
    for check in outcome.checks:
        table.add_row(check.name, check.expected, check.got, "ok" if check.holds else "[red]VIOLATED")
    return table


@click.command()
@click.option("--seconds", type=click.FloatRange(10, 86_400), default=600.0, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the mix of requests.")
@click.option("--keep", type=click.Path(path_type=Path), help="Directory for books and logs; else removed.")
def main(seconds: float, seed: int, keep: Path | None) -> None:
    """Soak the proxy and compare everybody's books."""
    if sys.platform != "linux":
        raise click.ClickException("processes are watched through /proc: run this on Linux")
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        directory = keep or Path(name)
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise click.ClickException(f"{directory} is not empty: books of two runs cannot be told apart")
        outcome = asyncio.run(soak(seconds, seed, directory))
    console = Console(width=None if sys.stdout.isatty() else 170)
    console.print(figures(outcome))
    console.print(verdict(outcome))
    for check in outcome.checks:
        for example in () if check.holds else check.examples:
            console.print(f"{check.name}: {example}", markup=False, highlight=False)
    if not outcome.holds:
        sys.exit(1)


if __name__ == "__main__":
    main()
