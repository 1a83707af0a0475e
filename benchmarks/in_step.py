"""``python -m benchmarks.in_step``: what an event of a stream costs a proxy that is never late.

At a fixed rate who is late reads several events at once, and looks cheap for it. Here ``AT_ONCE`` events are sent, each
on another stream, and the next when all of them have been read: everybody reads every event by itself. That makes no
latencies, and a busy machine only makes it slower: processor time is all that is counted.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks.backends import Backends
from benchmarks.cell import Running
from benchmarks.cells import CELLS, SSE, STREAMS
from benchmarks.contenders import Entrant
from benchmarks.measure import cpu_of, stop
from benchmarks.streams import Run, event_chunk
from benchmarks.tools import Tools

__all__ = ["AT_ONCE", "main", "take_turns"]

AT_ONCE = 32
PATIENCE_S = 10.0
WARMING = 5000
"""Events before those that are counted."""

CELL = next(cell for cell in CELLS if cell.name == SSE)


def take_turns(run: Run, events: int) -> None:
    """Send ``events`` on the streams of ``run``, no more at once than ``AT_ONCE``, and read them.

    Raises:
        TimeoutError: when an event does not arrive.
    """
    lines = run.model.streams
    end = run.sent + events
    while run.sent < end:
        for _ in range(min(AT_ONCE, end - run.sent)):
            lines[run.sent % len(lines)].send(event_chunk(time.monotonic_ns()))
            run.sent += 1
        patience_s = time.monotonic() + PATIENCE_S
        while run.read < run.sent:
            run.take(0.01)
            if time.monotonic() > patience_s:
                raise TimeoutError(f"expected {run.sent} events, got {run.read}")


def measure(entrant: Entrant, tools: Tools, events: int) -> tuple[float, float, float]:
    """Return processor time of all processes, µs an event, the part of it in user mode, and events a read."""
    with tempfile.TemporaryDirectory() as own, tempfile.TemporaryDirectory() as theirs:
        backends = Backends(tools, Path(theirs))
        running = Running(CELL, entrant, backends, tools, Path(own))
        try:
            running.wait()
            models = [running.ports[name] for name in ("v1", "v2", "v3")]
            run = Run(models, running.port, STREAMS.connections)
            run.open()
            take_turns(run, WARMING)
            pids, reads = running.pids, run.reads
            before = cpu_of(pids)
            take_turns(run, events)
            after = cpu_of(pids)
            run.close()
        finally:
            if running.process:
                stop(running.process)
            backends.stop()
    total = sum(after[pid].total_s - before[pid].total_s for pid in pids) * 1e6 / events
    user = sum(after[pid].user_s - before[pid].user_s for pid in pids) * 1e6 / events
    return total, user, events / (run.reads - reads)


@click.command()
@click.argument("names", nargs=-1)
@click.option("--events", type=int, default=50_000, show_default=True)
@click.option("--rounds", type=int, default=3, show_default=True)
def main(names: Sequence[str], events: int, rounds: int) -> None:
    """Compare the entrants called NAMES (modelproxy and Envoy) in turns; they must be installed (make bench)."""
    tools = Tools()
    wanted = names or ("modelproxy", "Envoy")
    entrants = [each for each in CELL.entrants if each.name in wanted and each.program.tool in tools]
    for number in range(rounds):
        for entrant in entrants[number % len(entrants) :] + entrants[: number % len(entrants)]:
            total, user, per_read = measure(entrant, tools, events)
            click.echo(
                f"{entrant.name}: {total:.1f} µs an event, {user:.1f} of it user, {per_read:.2f} events a read"
            )


if __name__ == "__main__":
    main()
