"""CPU seconds and memory of process trees.

CPU is read from ``/proc/PID/stat`` (user and system time, in ticks of usually 10 ms) before and after a load
run, for the started process and all its descendants. Linux only.
"""

import http.client
import os
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "Cpu",
    "busy_s",
    "children_s",
    "cores",
    "cpu_of",
    "free_ports",
    "hot_process",
    "peak_mib",
    "pinned",
    "resident_mib",
    "settle",
    "stop",
    "tree",
    "wait_until",
]

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU time since a process started, in seconds."""

    user_s: float
    system_s: float

    @property
    def total_s(self) -> float:
        """User and system time together."""
        return self.user_s + self.system_s


def stat_fields(pid: int) -> list[str]:
    """Return the fields of ``/proc/PID/stat`` from the third on: state, parent, … (proc(5))."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def tree(root: int) -> frozenset[int]:
    """Return the ids of ``root`` and of all processes below it."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            try:
                children.setdefault(int(stat_fields(int(entry.name))[1]), []).append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                continue  # ended between the listing and the reading
    found, ahead = set(), [root]
    while ahead:
        pid = ahead.pop()
        found.add(pid)
        ahead.extend(children.get(pid, ()))
    return frozenset(found)


def cpu_of(pids: frozenset[int]) -> dict[int, Cpu]:
    """Return the CPU time of each process, all its threads included.

    Raises:
        FileNotFoundError: when one of them has ended.
    """
    times = {}
    for pid in pids:
        fields = stat_fields(pid)
        times[pid] = Cpu(int(fields[11]) * TICK_S, int(fields[12]) * TICK_S)
    return times


def busy_s() -> float:
    """Return the CPU seconds that all processes of the machine have used since it started (proc(5), /proc/stat)."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(
        int, (PROC / "stat").read_text().splitlines()[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) * TICK_S


def children_s() -> float:
    """Return the CPU seconds of this process and of its children that have ended, wrk among them."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def hot_process(pids: frozenset[int]) -> int:
    """Return the process that holds the most sockets: while load runs, the one on the clients' way."""

    def sockets(pid: int) -> int:
        count = 0
        for link in (PROC / str(pid) / "fd").iterdir():
            try:
                count += link.readlink().name.startswith("socket:")
            except FileNotFoundError:
                continue  # closed between the listing and the reading
        return count

    return max(sorted(pids), key=sockets)


def settle(pids: frozenset[int], limit_s: float = 20.0) -> float:
    """Wait until the tree is idle; return the seconds waited.

    What is left in queues when the load ends was caused by the load, and its CPU time belongs to it.
    """
    began = time.monotonic()
    before = sum(cpu.total_s for cpu in cpu_of(pids).values())
    while time.monotonic() - began < limit_s:
        time.sleep(0.2)
        now = sum(cpu.total_s for cpu in cpu_of(pids).values())
        if now - before <= 0.02:
            break
        before = now
    return time.monotonic() - began


def cores(wanted: int = 1) -> tuple[str, str, bool]:
    """Return the cores for an entrant, as ``taskset -c`` wants them, those for load, and whether they are apart.

    Load keeps a core at least; an entrant that wants all the others and has too few shares them with it.
    """
    usable = sorted(os.sched_getaffinity(0))
    rest = usable[wanted:] or usable[1:] or usable
    return ",".join(map(str, usable[:wanted])), ",".join(map(str, rest)), len(usable) > wanted


def pinned(core: str, argv: list[str]) -> list[str]:
    """Return ``argv`` bound to ``core``; children inherit it."""
    return ["taskset", "-c", core, *argv]


def free_ports(count: int) -> list[int]:
    """Return ports that were free a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    for listening in sockets:
        listening.bind(("127.0.0.1", 0))
    ports: list[int] = [listening.getsockname()[1] for listening in sockets]
    for listening in sockets:
        listening.close()
    return ports


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], limit_s: float = 20.0) -> None:
    """Wait until ``ready`` holds.

    Raises:
        RuntimeError: when ``process`` ends first or the time is over.
    """
    began = time.monotonic()
    while process.poll() is None and time.monotonic() - began < limit_s:
        try:
            if ready():
                return
        except (OSError, http.client.HTTPException):
            pass  # not listening yet
        time.sleep(0.05)
    raise RuntimeError("ended at start" if process.poll() is not None else f"not ready after {limit_s:.0f} s")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started here; kill what is left of its tree after ten seconds."""
    if process.poll() is not None:
        return
    pids = tree(process.pid)
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        for pid in sorted(pids):
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue
        process.wait(10)


def peak_mib(pids: frozenset[int]) -> float:
    """Return the most memory that the processes have held, in MiB, each at its own peak (proc(5), VmHWM)."""
    return sum(status_kib(pid, "VmHWM") for pid in pids) / 1024


def resident_mib(pids: frozenset[int]) -> float:
    """Return the memory that the processes hold now, in MiB."""
    return sum(status_kib(pid, "VmRSS") for pid in pids) / 1024


def status_kib(pid: int, name: str) -> int:
    """Return a line of ``/proc/PID/status`` in KiB."""
    for line in (PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0
