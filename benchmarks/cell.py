"""One cell: one contender, started, checked, loaded, measured and ended."""

import http.client
import re
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import ANSWERS, BACKEND, Contender, start_command
from benchmarks.measure import (
    Load,
    busy_s,
    children_s,
    cores,
    cpu_of,
    free_ports,
    hot_process,
    pinned,
    run_wrk,
    settle,
    stop,
    tree,
    wait_until,
)
from benchmarks.tools import Tools

__all__ = ["Backend", "CellError", "Plan", "Sample", "measure"]

ROOT = Path(__file__).resolve().parent.parent
PATH = "/v2/models/wine/infer"
CHECKED_USERS = 300


class CellError(Exception):
    """The cell says nothing about its contender; the message says why."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how hard."""

    seconds: int
    rounds: int
    connections: int


@dataclass(frozen=True, slots=True)
class Sample:
    """What one cell measured; CPU in microseconds for each request that wrk saw answered."""

    tree_us: float
    user_us: float
    hot_us: float
    """Of the process on the clients' way alone."""
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    mirrored: float
    """Requests that the shadow got, for each request of a client."""
    compared: float
    """Answers of the shadow that were compared, for each request of a client."""
    foreign: float
    """Cores that processes outside the benchmark kept busy meanwhile; above a few hundredths the figures are noisy."""


class Backend:
    """The nginx that plays all models, for the whole run."""

    def __init__(self, tools: Tools, directory: Path) -> None:
        names = ("v1", "v2", "v3", "shadow", "count")
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        command = start_command(BACKEND, tools, directory, self.ports)
        self._process = subprocess.Popen(
            pinned(cores()[1], command), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(lambda: self.requests() > 0, self._process)

    def requests(self) -> int:
        """Return how many requests all its ports have answered."""
        numbers = re.findall(r"\d+", fetch(self.ports["count"], "/").decode())
        return int(numbers[3])  # active connections; accepted, handled, requests

    def cpu_s(self) -> float:
        """Return the CPU seconds it has used."""
        return sum(cpu.total_s for cpu in cpu_of(tree(self._process.pid)).values())

    def stop(self) -> None:
        """End it."""
        stop(self._process)


def fetch(port: int, path: str) -> bytes:
    """Return the body of a GET."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


def infer(connection: http.client.HTTPConnection, user: int) -> str:
    """Send one request of one user and return the answer.

    Raises:
        CellError: when the status is not 200.
    """
    headers = {"content-type": "application/json", "x-user-id": f"user-{user}"}
    connection.request("POST", PATH, body=b'{"inputs":[]}', headers=headers)
    response = connection.getresponse()
    body = response.read().decode()
    if response.status != 200:
        raise CellError(f"answered {response.status}: {body[:80]}")
    return body


def check_split(port: int) -> None:
    """Make sure that users are spread over all three variants, stay there, and get the answers unchanged.

    Raises:
        CellError: when they are not.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        first = [infer(connection, user) for user in range(CHECKED_USERS)]
        second = [infer(connection, user) for user in range(CHECKED_USERS)]
    finally:
        connection.close()
    if set(first) != set(ANSWERS[:3]):
        raise CellError(f"expected answers of three variants, got {Counter(first)}")
    if first != second:
        raise CellError("users do not stay with their variant")


def compared(port: int) -> float:
    """Return how many comparisons modelproxy has counted."""
    pattern = r"^modelproxy_comparisons_total\{[^}]*\} (\S+)"
    return sum(float(value) for value in re.findall(pattern, fetch(port, "/metrics").decode(), re.M))


def measure(contender: Contender, tools: Tools, backend: Backend, plan: Plan) -> Sample:
    """Start the contender, measure it under load and end it.

    Raises:
        CellError: when it did not start, answered wrongly, or lost connections or requests.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        listen, admin = free_ports(2)
        ports = {**backend.ports, "listen": listen, "admin": admin}
        command = pinned(cores()[0], start_command(contender, tools, directory, ports))
        with (directory / "output").open("wb") as output:
            process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            wait_until(lambda: http_answers(listen), process)
            check_split(listen)
            return load(contender, tools, backend, plan, process.pid, ports)
        except (RuntimeError, OSError, http.client.HTTPException) as problem:
            said = (directory / "output").read_text(errors="replace").strip().splitlines()
            raise CellError(" ".join(": ".join([str(problem), *said[-1:]]).split())[:160]) from problem
        finally:
            stop(process)


def http_answers(port: int) -> bool:
    """Tell whether anything speaks HTTP on ``port``."""
    fetch(port, PATH)
    return True


def load(
    contender: Contender, tools: Tools, backend: Backend, plan: Plan, pid: int, ports: dict[str, int]
) -> Sample:
    """Warm up, then measure one run."""

    def drive(seconds: int) -> tuple[Load, int]:
        hot: list[int] = []
        run = run_wrk(
            tools["wrk"],
            cores()[1],
            ports["listen"],
            seconds=seconds,
            connections=plan.connections,
            during=lambda: hot.append(hot_process(tree(pid))),
        )
        settle(tree(pid))
        return run, hot[0]

    drive(1)
    pids = tree(pid)
    began, others_before = time.monotonic(), busy_s() - children_s() - backend.cpu_s()
    before, sent_before = cpu_of(pids), backend.requests()
    compared_before = compared(ports["admin"]) if contender.compares else 0.0
    run, hot = drive(plan.seconds)
    compared_now = compared(ports["admin"]) if contender.compares else 0.0
    sent = backend.requests() - sent_before - 1  # the count itself
    if tree(pid) != pids:
        raise CellError("a process ended or started during the run")
    if run.errors:
        raise CellError(", ".join(f"{count} {kind} errors" for kind, count in run.errors.items()))
    after = cpu_of(pids)
    others_s = busy_s() - children_s() - backend.cpu_s() - others_before
    spent = {process: after[process].total_s - before[process].total_s for process in pids}
    user_s = sum(after[process].user_s - before[process].user_s for process in pids)
    return Sample(
        tree_us=sum(spent.values()) / run.requests * 1e6,
        user_us=user_s / run.requests * 1e6,
        hot_us=spent[hot] / run.requests * 1e6,
        requests_per_s=run.requests / run.duration_s,
        p50_ms=run.p50_ms,
        p99_ms=run.p99_ms,
        mirrored=sent / run.requests - 1,
        compared=(compared_now - compared_before) / run.requests,
        foreign=max(0.0, others_s - sum(spent.values())) / (time.monotonic() - began),
    )
