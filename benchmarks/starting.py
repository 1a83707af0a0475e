"""``python -m benchmarks.starting``: what it costs to start, and what each process holds when there is nothing to do.

Starts a proxy with one route and two variants, again and again, and reads from /proc what each of its processes has
used of a CPU by the time ``/readyz`` answers 200 for the first time, and what it holds of memory a second later. Of
several starts the cheapest counts: the others were disturbed. Linux only.

CPU time is read in nanoseconds (``/proc/PID/schedstat``), all threads of a process included. ``resident`` counts
pages that processes share in each of them, ``proportional`` divides them (proc(5), ``smaps_rollup``).
"""

import http.client
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.measure import free_ports, stop, tree, wait_until

__all__ = ["main"]

CONFIG = """
listen: 127.0.0.1:{listen}
admin: 127.0.0.1:{admin}
state_dir: {directory}/state
workers: {workers}
log_level: error
models:
  one: {{url: "http://127.0.0.1:{model}"}}
  two: {{url: "http://127.0.0.1:{model}"}}
routes:
  - name: r
    match: {{path: "/*"}}
    unit: [header:x-user-id]
    shadows: [{{model: two, percent: 100}}]
    variants:
      - {{name: v1, model: one, role: champion}}
      - {{name: v2, model: two, role: canary, weight: 5}}
"""

REST_S = 1.0
"""From ready to at rest."""

SUPERVISOR = "supervisor"
NAMES = {b"proxy.dataplane": "worker", b"proxy.observer": "observer"}
"""By the module that a process runs."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process of a start."""

    name: str
    cpu_s: float
    """User and system time until the proxy was ready."""
    resident_mib: float
    proportional_mib: float


def name_of(pid: int) -> str:
    """Return which process of a proxy ``pid`` is."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return next((NAMES[word] for word in words if word in NAMES), SUPERVISOR)


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of all threads of a process, to the nanosecond."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def memory_mib(pid: int) -> tuple[float, float]:
    """Return what a process holds: resident, and with its part alone of what is shared."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return kib["Rss"] / 1024, kib["Pss"] / 1024


def is_ready(port: int) -> bool:
    """Tell whether the proxy says that it serves.

    Raises:
        OSError: nobody listens there.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    finally:
        connection.close()


def start(workers: int) -> tuple[float, list[Process]]:
    """Start a proxy; return the seconds until it was ready, and its processes, the supervisor first."""
    listen, admin, model = free_ports(3)
    with tempfile.TemporaryDirectory(prefix="starting-") as directory:
        path = Path(directory) / "modelproxy.yaml"
        values = {"listen": listen, "admin": admin, "model": model, "workers": workers}
        path.write_text(CONFIG.format(directory=directory, **values))
        command = [sys.executable, "-m", "proxy", "serve", str(path)]
        began = time.monotonic()
        proxy = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            wait_until(lambda: is_ready(admin), proxy)
            took_s = time.monotonic() - began
            used = {pid: cpu_s(pid) for pid in tree(proxy.pid)}
            time.sleep(REST_S)
            found = [Process(name_of(pid), cpu, *memory_mib(pid)) for pid, cpu in sorted(used.items())]
        finally:
            stop(proxy)
    return took_s, sorted(found, key=lambda process: process.name != SUPERVISOR)


@click.command()
@click.option("--starts", type=click.IntRange(1, 1000), default=10, show_default=True, help="How often.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Of the proxy.")
def main(starts: int, workers: int) -> None:
    """Measure what a start costs, and what the processes hold at rest."""
    if sys.platform != "linux":
        raise click.ClickException("CPU time is read from /proc: run this on Linux")
    runs = [start(workers) for _ in range(starts)]
    took_s, processes = min(runs, key=lambda run: sum(process.cpu_s for process in run[1]))
    print(f"{'':<12} {'CPU ms':>8} {'resident MiB':>14} {'proportional MiB':>18}")
    whole = Process(
        "together",
        sum(process.cpu_s for process in processes),
        sum(process.resident_mib for process in processes),
        sum(process.proportional_mib for process in processes),
    )
    for each in (*processes, whole):
        print(
            f"{each.name:<12} {each.cpu_s * 1e3:>8.0f} {each.resident_mib:>14.1f} {each.proportional_mib:>18.1f}"
        )
    print(f"ready after {took_s * 1e3:.0f} ms, the cheapest of {starts} starts")


if __name__ == "__main__":
    main()
