"""One entrant of one cell: started, checked, put under a load, measured and ended."""

import http.client
import os
import re
import ssl
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.backends import Backends, fetch
from benchmarks.cells import Cell, Kind, Load, Models, Plan
from benchmarks.contenders import Entrant, start_command
from benchmarks.idle_connections import open_all
from benchmarks.loads import Seen, closed, in_turns, streams
from benchmarks.measure import (
    busy_s,
    children_s,
    cores,
    cpu_of,
    free_ports,
    hot_process,
    peak_mib,
    pinned,
    resident_mib,
    settle,
    stop,
    tree,
    wait_until,
)
from benchmarks.open_loop import TURN_S
from benchmarks.payloads import ANSWERS, SMALL, Payload
from benchmarks.tools import Tools
from tests.certificate_world import Authority

__all__ = ["CellError", "Running", "attempt", "attempt_in_turns", "begin", "drive"]

ROOT = Path(__file__).resolve().parent.parent
CHECKED_USERS = 300
MIRRORED = ("mirror", "mirror and compare", "everything")
"""Flavours whose copies are counted by the models."""

TRUSTING = ssl._create_unverified_context()  # noqa: S323 # our own certificate, our own loopback


class CellError(Exception):
    """The cell says nothing about its entrant; the message says why."""


PROBLEMS = (CellError, RuntimeError, OSError, http.client.HTTPException, subprocess.SubprocessError)
"""What keeps an entrant from taking part, and is no reason to end the run."""


class Running:
    """An entrant that has been started."""

    def __init__(
        self, cell: Cell, entrant: Entrant, backends: Backends, tools: Tools, directory: Path
    ) -> None:
        self.cell, self.entrant, self.backends, self.tools, self.directory = (
            cell,
            entrant,
            backends,
            tools,
            directory,
        )
        self.ports = dict(zip(("listen", "admin"), free_ports(2), strict=True)) | dict(
            backends.ports(cell.models)
        )
        self.core, self.load_core, self.is_apart = cores(entrant.cores)
        self.process: subprocess.Popen[bytes] | None = None
        self.warmed: set[str] = set()
        """Loads that it was put under."""
        self.port = self.ports["v1"]
        write_certificate(directory)
        if entrant.program.tool:
            self.port = self.ports["listen"]
            command = pinned(self.core, start_command(entrant, tools, directory, self.ports))
            environ = {**os.environ, **entrant.program.environ}
            with (directory / "output").open("wb") as output:
                self.process = subprocess.Popen(
                    command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output
                )

    def told(self, problem: Exception) -> str:
        """Return why it takes no part, with the last that it said itself."""
        output = self.directory / "output"
        said = output.read_text(errors="replace").strip().splitlines()[-1:] if output.exists() else []
        return "invalid: " + " ".join(": ".join([str(problem), *said]).split())[:200]

    @property
    def is_secured(self) -> bool:
        """Whether clients speak TLS."""
        return self.entrant.flavour == "TLS"

    @property
    def pids(self) -> frozenset[int]:
        """Its processes."""
        return tree(self.process.pid) if self.process else frozenset()

    def wait(self) -> None:
        """Wait until it serves, and check that it does its work.

        Raises:
            CellError: when it does not.
        """
        if self.process:
            wait_until(self.answers, self.process, 60.0)
        if self.cell.models is Models.SMALL:
            if self.entrant.flavour == "chat":
                self.ask(self.cell.loads[0].payload, 1)
            elif self.process:
                check_split(self)
        elif self.cell.models is Models.LARGE:
            for load in self.cell.loads:
                if len(self.ask(load.payload, 1)) < len(load.payload.body):
                    raise CellError(f"{load.name}: a short answer")

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection to it."""
        if self.is_secured:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=TRUSTING)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def answers(self) -> bool:
        """Tell whether it speaks HTTP and has read its configuration: some answer 404 before."""
        connection = self.connect()
        try:
            connection.request("GET", "/idle")
            status = connection.getresponse().status
        finally:
            connection.close()
        return status != 404 or self.entrant.flavour == "chat"

    def ask(self, payload: Payload, user: int, connection: http.client.HTTPConnection | None = None) -> bytes:
        """Send one request of one user and return the answer.

        Raises:
            CellError: when the status is not 200.
        """
        line = connection or self.connect()
        headers = {"content-type": payload.content_type, "x-user-id": f"user-{user}"}
        line.request("POST", payload.path, body=payload.body, headers=headers)
        response = line.getresponse()
        body = response.read()
        if connection is None:
            line.close()
        if response.status != 200:
            raise CellError(f"answered {response.status}: {body[:80].decode(errors='replace')}")
        return body

    def compared(self) -> float:
        """Return how many comparisons modelproxy has counted."""
        if self.entrant.program.name != "modelproxy" or self.entrant.fills["mirrors"] == "[]":
            return 0.0
        pattern = r"^modelproxy_comparisons_total\{[^}]*\} (\S+)"
        said = fetch(self.ports["admin"], "/metrics").decode()
        return sum(float(value) for value in re.findall(pattern, said, re.M))


def write_certificate(directory: Path) -> None:
    """Write a certificate of our own in the three forms that the programs want."""
    identity = Authority().issue("localhost", "127.0.0.1")
    identity.write(directory, "server")
    (directory / "both.pem").write_text(identity.certificate + identity.key)


def check_split(running: Running) -> None:
    """Make sure that users are spread over all three variants, stay there, and get the answers unchanged.

    Raises:
        CellError: when they are not.
    """
    line = running.connect()
    try:
        first = [running.ask(SMALL, user, line).decode() for user in range(CHECKED_USERS)]
        second = [running.ask(SMALL, user, line).decode() for user in range(CHECKED_USERS)]
    finally:
        line.close()
    if set(first) != set(ANSWERS[:3]):
        raise CellError(f"expected answers of three variants, got {Counter(first)}")
    if running.entrant.program.is_sticky and first != second:
        raise CellError("users do not stay with their variant")


def begin(
    cell: Cell, entrant: Entrant, backends: Backends, tools: Tools, stack: ExitStack
) -> "Running | str":
    """Start an entrant, which is ended with ``stack``; return it, or why it cannot take part."""
    if entrant.program.tool not in tools:
        return f"not installed: {entrant.program.tool}"
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
    running = Running(cell, entrant, backends, tools, directory)
    if running.process:
        stack.callback(stop, running.process)
    try:
        running.wait()
    except PROBLEMS as problem:
        return running.told(problem)
    return running


def attempt(running: "Running | str", load: Load, plan: Plan) -> Mapping[str, float] | str:
    """Put one load on an entrant; return what was measured, or why nothing was."""
    if isinstance(running, str):
        return running
    try:
        return put_under(running, load, plan)
    except CellError as reason:
        return f"invalid: {reason}"
    except PROBLEMS as problem:
        return running.told(problem)


def put_under(running: Running, load: Load, plan: Plan) -> Mapping[str, float]:
    """Put one load on it and return what was measured."""
    if load.kind is Kind.IDLE:
        return rest(running, load)
    if load.kind is Kind.CLOSED and load.name not in running.warmed:
        # Before the first round only: who has served once is not cold when its turn comes again.
        drive(running, load, 1.0)
        settle(running.pids)
        running.warmed.add(load.name)
    pids = running.pids
    watch = Watch(running, pids)
    seen = drive(running, load, plan.seconds, watch)
    return seen.figures | watch.conclude(seen, plan.seconds)


def drive(running: Running, load: Load, seconds: float, watch: "Watch | None" = None) -> Seen:
    """Run one load; let ``watch`` look at it."""
    core, directory = running.load_core, running.directory
    if load.kind is Kind.CLOSED:
        url = f"http{'s' if running.is_secured else ''}://127.0.0.1:{running.port}"
        middle = watch.find_hot if watch else lambda: None
        return closed(running.tools["wrk"], core, url, load, directory, seconds, middle=middle)
    begin = watch.begin if watch else lambda: None
    if load.kind is Kind.STREAMS:
        models = [running.ports[name] for name in ("v1", "v2", "v3")]
        return streams(core, running.port, load, seconds, models, begin=begin)
    turns = max(1, round(seconds / TURN_S))
    ((seen, _),) = in_turns(core, [(running.port, ())], load, directory, turns, 1, begin=begin)
    return seen


def attempt_in_turns(
    started: "Sequence[Running | str]", load: Load, plan: Plan
) -> list[list[Mapping[str, float] | str]]:
    """Put a fixed rate on all entrants in turns; return of each what was measured, by block, or why nothing was."""
    running = [each for each in started if not isinstance(each, str)]
    measured: Iterator[list[Mapping[str, float] | str]] = iter(())
    if running:
        try:
            measured = iter(_put_under_in_turns(running, load, plan))
        except PROBLEMS as problem:
            measured = iter([[f"invalid: {problem}"]] * len(running))
    return [[each] if isinstance(each, str) else next(measured) for each in started]


def _put_under_in_turns(
    running: Sequence[Running], load: Load, plan: Plan
) -> list[list[Mapping[str, float] | str]]:
    turns, blocks = plan.turns(load)
    watches = [Watch(each, each.pids) for each in running]

    def find_hot() -> None:
        for watch in watches:
            watch.find_hot()

    core, directory = running[0].load_core, running[0].directory
    targets = [(each.port, watch.pids) for each, watch in zip(running, watches, strict=True)]
    found = in_turns(core, targets, load, directory, turns, blocks, begin=find_hot)
    made: list[list[Mapping[str, float] | str]] = []
    for watch, (whole, parts) in zip(watches, found, strict=True):
        try:
            spent = watch.conclude(whole, turns * TURN_S)
        except PROBLEMS as problem:
            made.append([watch.running.told(problem)])
            continue
        # CPU is known of all turns together, and so is the figure that takes the most requests to be steady.
        spent["all_p99_ms"] = whole.figures["p99_ms"]
        spent.pop("foreign")  # the others had their turns meanwhile
        made.append([part.figures | spent for part in parts])
    return made


class Watch:
    """Reads CPU and counts before and after a load."""

    def __init__(self, running: Running, pids: frozenset[int]) -> None:
        self.running, self.pids = running, pids
        self.hot = 0
        self.begin()

    def begin(self) -> None:
        """Count from here."""
        # What the asking costs is over before CPU is read.
        self.compared, self.sent = self.running.compared(), self.running.backends.requests()
        self.before = cpu_of(self.pids)
        self.began, self.others = time.monotonic(), self.foreign_s()
        if self.pids:
            self.find_hot()

    def find_hot(self) -> None:
        """Look which process holds the clients' connections now."""
        if self.pids:
            self.hot = hot_process(self.pids)

    def foreign_s(self) -> float:
        """Return the CPU seconds of everything but models, entrant and what this program has started and awaited."""
        own = sum(cpu.total_s for cpu in cpu_of(self.pids).values())
        return busy_s() - children_s() - self.running.backends.cpu_s() - own

    def conclude(self, seen: Seen, seconds: float) -> dict[str, float]:
        """Wait until what the load has caused is done, and return what was used.

        Raises:
            CellError: when there were errors, or its processes are not the same any more.
        """
        if self.pids:
            settle(self.pids)
        if seen.errors:
            raise CellError(seen.errors)
        if self.running.pids != self.pids:
            raise CellError("a process ended or started during the run")
        return self.figures(seen, seconds)

    def figures(self, seen: Seen, seconds: float) -> dict[str, float]:
        """Return what was used since the beginning."""
        took_s = time.monotonic() - self.began
        others = max(0.0, self.foreign_s() - self.others) / took_s
        if not self.pids or not seen.requests:
            return {"foreign": others}
        after = cpu_of(self.pids)
        spent = {pid: after[pid].total_s - self.before[pid].total_s for pid in self.pids}
        user_s = sum(after[pid].user_s - self.before[pid].user_s for pid in self.pids)
        per_request = 1e6 / seen.requests
        found = {
            "tree_us": sum(spent.values()) * per_request,
            "user_us": user_s * per_request,
            "hot_us": spent[self.hot] * per_request,
            "beside": (sum(spent.values()) - spent[self.hot]) / seconds,
            "share": min(1.0, sum(spent.values()) / seconds / self.running.entrant.cores),
            "peak_mib": peak_mib(self.pids),
            "spare": float(self.running.is_apart and self.running.entrant.cores > 1),
            "foreign": others,
        }
        if self.running.cell.models is Models.SMALL and self.running.entrant.flavour in MIRRORED:
            found["mirrored"] = (self.running.backends.requests() - self.sent - 1) / seen.requests - 1
        if compared := self.running.compared() - self.compared:
            found["compared"] = compared / seen.requests
        return found


def rest(running: Running, load: Load) -> Mapping[str, float]:
    """Open connections that say nothing; return what memory they take, beside what it holds without them."""
    holders = open_all(running.port, 256)
    try:
        time.sleep(1)
        pids = running.pids
        before, resting = resident_mib(pids), resident_mib(frozenset({hot_process(pids)}))
        holders += open_all(running.port, load.connections)
        time.sleep(2)  # until what the rush needed is given back
        held = resident_mib(pids) - before
    finally:
        for holder in holders:
            holder.kill()
            holder.wait()
    return {"idle_kib": held * 1024 / load.connections, "rest_mib": resting, "tree_mib": before}
