"""Who plays the models for the whole run, and on which ports."""

import http.client
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.cells import Models
from benchmarks.contenders import BACKEND, Entrant, start_command
from benchmarks.measure import cores, cpu_of, free_ports, pinned, stop, tree, wait_until
from benchmarks.tools import Tools

__all__ = ["Backends", "fetch"]

ROOT = Path(__file__).resolve().parent.parent
VARIANTS = ("v1", "v2", "v3", "shadow")


class Backends:
    """nginx for small answers, ``large_models`` for the others, and ports for streams, which come with their load."""

    def __init__(self, tools: Tools, directory: Path) -> None:
        names = [*VARIANTS, "count"]
        self.small = dict(zip(names, free_ports(len(names)), strict=True))
        names = [*VARIANTS, "slow", "flood", "dead"]
        self.large = dict(zip(names, free_ports(len(names)), strict=True))
        self.streams = dict(zip(VARIANTS, free_ports(len(VARIANTS)), strict=True))
        core = cores()[1]
        self.processes: list[subprocess.Popen[bytes]] = []
        quiet = subprocess.DEVNULL
        roles = zip(
            ("v1", "v2", "v3", "shadow", "slow", "flood"), ("1", "2", "3", "4", "slow", "flood"), strict=True
        )
        words = [word for name, role in roles for word in (str(self.large[name]), role)]
        nginx = start_command(Entrant(BACKEND), tools, directory, self.small)
        for command in (nginx, [sys.executable, "-m", "benchmarks.large_models", *words]):
            process = subprocess.Popen(pinned(core, command), cwd=ROOT, stdin=quiet, stderr=quiet)
            self.processes.append(process)
        try:
            wait_until(lambda: self.requests() > 0, self.processes[0])
            wait_until(lambda: bool(fetch(self.large["v1"], "/")), self.processes[1])
        except RuntimeError:
            self.stop()
            raise

    def ports(self, models: Models) -> Mapping[str, int]:
        """Return the ports that an entrant's configuration names."""
        chosen = {Models.SMALL: self.small, Models.LARGE: self.large, Models.STREAMS: self.streams}[models]
        return {**{name: self.large[name] for name in ("slow", "flood", "dead")}, **chosen}

    def requests(self) -> int:
        """Return how many requests all ports of nginx have answered."""
        numbers = re.findall(r"\d+", fetch(self.small["count"], "/").decode())
        return int(numbers[3])  # active connections; accepted, handled, requests

    def cpu_s(self) -> float:
        """Return the CPU seconds they have used."""
        return sum(cpu.total_s for process in self.processes for cpu in cpu_of(tree(process.pid)).values())

    def stop(self) -> None:
        """End them."""
        for process in self.processes:
            stop(process)


def fetch(port: int, path: str) -> bytes:
    """Return the body of a GET."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()
