"""CPU seconds of process trees, and one load run by wrk.

CPU is read from ``/proc/PID/stat`` (user and system time, in ticks of usually 10 ms) before and after a load
run, for the started process and all its descendants. Linux only.
"""

import http.client
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

__all__ = [
    "Cpu",
    "Load",
    "busy_s",
    "children_s",
    "cores",
    "cpu_of",
    "free_ports",
    "hot_process",
    "pinned",
    "run_wrk",
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


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw in one run."""

    requests: int
    duration_s: float
    p50_ms: float
    p99_ms: float
    errors: Mapping[str, int]
    """Only kinds that happened: connect, read, write, timeout (sockets) and status (answers above 399)."""


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


def settle(pids: frozenset[int], limit_s: float = 5.0) -> float:
    """Wait until the tree is idle; return the seconds waited.

    What is left in queues when the load ends was caused by the load, and its CPU time belongs to it.
    """
    began = time.monotonic()
    before = sum(cpu.total_s for cpu in cpu_of(pids).values())
    while time.monotonic() - began < limit_s:
        time.sleep(0.2)
        now = sum(cpu.total_s for cpu in cpu_of(pids).values())
        if now - before <= 0.01:
            break
        before = now
    return time.monotonic() - began


def cores() -> tuple[str, str]:
    """Return the core for the contender and the cores for load and backend, as ``taskset -c`` wants them."""
    usable = sorted(os.sched_getaffinity(0))
    return str(usable[0]), ",".join(map(str, usable[1:] or usable))


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


def run_wrk(
    wrk: str, core: str, port: int, *, seconds: int, connections: int, during: Callable[[], None]
) -> Load:
    """Put load on ``port`` for ``seconds``; call ``during`` once in the middle of it.

    Raises:
        RuntimeError: when wrk fails.
    """
    script = Path(__file__).with_name("post.lua")
    argv = [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), f"http://127.0.0.1:{port}"]
    process = subprocess.Popen(pinned(core, argv), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    time.sleep(seconds / 2)
    during()
    output = process.communicate(timeout=seconds + 30)[0]
    lines = [line for line in output.splitlines() if line.startswith(b"{")]
    if process.returncode != 0 or not lines:
        raise RuntimeError(f"wrk failed: {output.decode(errors='replace').strip()[-200:]}")
    seen = orjson.loads(lines[-1])
    errors = {kind: seen[kind] for kind in ("connect", "read", "write", "timeout", "status") if seen[kind]}
    return Load(
        seen["requests"], seen["duration_us"] / 1e6, seen["p50_us"] / 1e3, seen["p99_us"] / 1e3, errors
    )
