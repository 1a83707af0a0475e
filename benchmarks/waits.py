"""``python -m benchmarks.waits``: how long a worker waits for its core beside an observer that never rests.

Linux as root, with ``perf``. What clients see is hidden on a machine with other work: everybody waits then. Here the
scheduler itself tells (``perf sched``) when the worker was woken, when it ran, and who had its core meanwhile; waits
behind programs that are not the proxy's are left out. So two states of the source can be compared on a busy machine.
"""

import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click

from benchmarks.backends import Backends
from benchmarks.cell import Running, drive
from benchmarks.cells import CELLS, OBSERVING
from benchmarks.contenders import Entrant
from benchmarks.measure import hot_process, stop
from benchmarks.tools import Tools

__all__ = ["Switch", "Waits", "main", "parse", "waits_of"]

LEAD_S = 1.0
"""Of the load, before anything is recorded."""

BRIEF_US = 20.0
"""Somebody else may have the core so long in a wait that is ours."""

SWITCH = re.compile(r"prev_pid=(\d+) .*prev_state=(\S+) .*next_pid=(\d+)")
WAKE_UP = re.compile(r"pid=(\d+) ")
LINE = re.compile(r"\s*\[(\d+)\]\s+([\d.]+):\s+sched:(\w+):\s+(.*)")


@dataclass(frozen=True, slots=True)
class Switch:
    """A line of the scheduler's story: somebody is woken (``ran`` is 0), or the core goes from one to the next."""

    at_us: float
    next: int
    ran: int = 0
    is_ready: bool = False
    """Whether who ran would have gone on."""


@dataclass(slots=True)
class Waits:
    """Microseconds between being able to run and running."""

    ours: list[float] = field(default_factory=list)
    others: int = 0
    """Waits in which a program that is not ours had the core."""

    def percentile(self, part: float) -> float:
        """Return the value at ``part`` (0 to 1); 0 of none."""
        values = sorted(self.ours)
        return values[min(len(values) - 1, int(part * len(values)))] if values else 0.0


def parse(lines: Iterable[str], core: int) -> Iterator[Switch]:
    """Yield what ``perf script`` tells of ``core``, and of wake-ups wherever they came from."""
    for line in lines:
        found = LINE.match(line)
        if found is None:
            continue
        at_us, facts = float(found[2]) * 1e6, found[4]
        if found[3] == "sched_wakeup" and (woken := WAKE_UP.search(facts)):
            yield Switch(at_us, int(woken[1]))
        elif found[3] == "sched_switch" and int(found[1]) == core and (change := SWITCH.search(facts)):
            yield Switch(at_us, int(change[3]), int(change[1]) or -1, change[2].startswith("R"))


def waits_of(worker: int, ours: frozenset[int], story: Iterable[Switch]) -> Waits:
    """Return how long ``worker`` waited, where only threads among ``ours`` had its core meanwhile."""
    waits, since_us, last_us, running = Waits(), 0.0, 0.0, 0
    foreign_us = 0.0
    for step in story:
        if not step.ran:
            if step.next == worker and not since_us and running != worker:
                since_us = last_us = step.at_us
                foreign_us = 0.0
            continue
        if since_us:
            if step.ran > 0 and step.ran not in ours:
                foreign_us += step.at_us - last_us
            last_us = step.at_us
            if step.next == worker:
                if foreign_us > BRIEF_US:
                    waits.others += 1
                else:
                    waits.ours.append(step.at_us - since_us)
                since_us = 0.0
        elif step.ran == worker and step.is_ready:
            since_us = last_us = step.at_us
            foreign_us = 0.0
        running = step.next
    return waits


def threads_of(pids: Iterable[int]) -> frozenset[int]:
    """Return the ids of all threads of processes."""
    return frozenset(int(entry.name) for pid in pids for entry in Path(f"/proc/{pid}/task").iterdir())


def record(path: Path, seconds: float) -> None:
    """Let the scheduler's story be written to ``path`` after :data:`LEAD_S`."""
    time.sleep(LEAD_S)
    events = ("-e", "sched:sched_switch", "-e", "sched:sched_wakeup")
    argv = ["perf", "record", "-q", "-a", *events, "-o", str(path), "--", "sleep", str(seconds)]
    subprocess.run(argv, check=True, stderr=subprocess.DEVNULL)


def measure(entrant: Entrant, backends: Backends, tools: Tools, seconds: float) -> Waits:
    """Start ``entrant`` of the cell about busy observers, and return how long its worker waited."""
    cell = next(cell for cell in CELLS if cell.name == OBSERVING)
    with tempfile.TemporaryDirectory() as folder:
        running = Running(cell, entrant, backends, tools, Path(folder))
        assert running.process is not None, "it is no direct road"
        try:
            running.wait()
            path = Path(folder) / "perf.data"
            recorder = threading.Thread(target=record, args=(path, seconds))
            recorder.start()
            drive(running, cell.loads[0], seconds + LEAD_S)
            recorder.join()
            argv = ["perf", "script", "-i", str(path), "-F", "cpu,time,event,trace"]
            told = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
            story = parse(told.splitlines(), int(running.core))
            return waits_of(hot_process(running.pids), threads_of(running.pids), story)
        finally:
            stop(running.process)


@click.command()
@click.option("--seconds", type=float, default=3.0, show_default=True)
@click.option("--rounds", type=int, default=2, show_default=True)
def main(seconds: float, rounds: int) -> None:
    """Print the worker's waits with an idle and with a saturated observer, in turns."""
    cell = next(cell for cell in CELLS if cell.name == OBSERVING)
    tools = Tools()
    with tempfile.TemporaryDirectory() as folder:
        backends = Backends(tools, Path(folder))
        try:
            for entrant in cell.entrants * rounds:
                waits = measure(entrant, backends, tools, seconds)
                parts = " ".join(f"{waits.percentile(part):8.0f}" for part in (0.5, 0.9, 0.99, 0.999))
                click.echo(
                    f"{entrant.name:34} {parts} µs (50, 90, 99, 99.9 %) of {len(waits.ours)}; ", nl=False
                )
                click.echo(f"{waits.others} more behind other programs")
        finally:
            backends.stop()


if __name__ == "__main__":
    main()
