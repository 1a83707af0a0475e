"""A supervisor over stand-in processes, as its tests run it: started, told, watched, put away."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy import clock

__all__ = [
    "PATIENCE_S",
    "REPOSITORY",
    "STAND_IN",
    "Proxy",
    "is_turned_away",
    "only_linux",
    "put_away",
    "wait_for",
]

STAND_IN = Path(__file__).with_name("stand_in.py")
REPOSITORY = STAND_IN.parent.parent
PATIENCE_S = 30.0

CONFIG = """
listen: 127.0.0.1:0
admin: 127.0.0.1:0
workers: WORKERS
state_dir: STATE
timeouts: {drain: 1s}
models:
  m1: {url: "http://127.0.0.1:9001"}
  m2: {url: "http://127.0.0.1:9002"}
routes:
  - name: wine
    match: {path: "/*"}
    variants:
      - {name: v1, model: m1, role: champion}
      - {name: v2, model: m2, role: canary, weight: 5}
"""


class Proxy:
    """A supervisor over stand-ins, in a directory of its own."""

    def __init__(self, box: Path, workers: int = 1) -> None:
        self.box = box
        self.text = CONFIG.replace("WORKERS", str(workers)).replace("STATE", str(box / "state"))
        self.process: subprocess.Popen[str]
        self.url: dict[str, str] = {}
        self.write(self.text)

    def write(self, text: str) -> None:
        """Put the configuration in place as an editor does."""
        fresh = self.box / "config.new"
        fresh.write_text(text)
        fresh.replace(self.box / "config.yaml")

    def weigh(self, weight: int) -> None:
        """Give the canary another weight."""
        self.write(self.text.replace("weight: 5", f"weight: {weight}"))

    def tell(self, kind: str, word: str, *, on: bool = True) -> None:
        """Change how a stand-in behaves."""
        path = self.box / f"{kind}.{word}"
        if on:
            path.touch()
        else:
            path.unlink()

    def launch(self) -> None:
        """Start the supervisor."""
        with (self.box / "stderr").open("w") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, str(STAND_IN), "supervise", str(self.box)],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            )

    def start(self) -> None:
        """Start the supervisor and wait for its two lines."""
        self.launch()
        assert self.process.stdout is not None
        for what in ("listening", "admin"):
            words = self.process.stdout.readline().split()
            assert words[:3] == ["modelproxy", what, "on"], self.stderr()
            self.url[what] = words[3]

    def end(self) -> int:
        """Wait for the end of the supervisor; return the exit code."""
        code = self.process.wait(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def stop(self) -> int:
        """Drain the supervisor; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.end()

    def stderr(self) -> str:
        """Return what was logged."""
        return (self.box / "stderr").read_text()

    def log(self, kind: str) -> list[str]:
        """Return what the stand-ins in one slot noted."""
        path = self.box / f"{kind}.log"
        return path.read_text().splitlines() if path.exists() else []

    def pid(self, kind: str) -> int:
        """Return the process id of the newest stand-in of one slot, when there is one."""
        wait_for(lambda: any(line.startswith("start") for line in self.log(kind)))
        return int([line for line in self.log(kind) if line.startswith("start")][-1].split()[1])

    def fleet(self) -> dict[str, Any]:
        """Return the newest description the observer was given."""
        try:
            return dict(orjson.loads((self.box / "fleet.json").read_bytes()))
        except FileNotFoundError:
            return {}

    def journal(self) -> list[dict[str, Any]]:
        """Return the journal's entries."""
        path = self.box / "state" / "journal.jsonl"
        return [orjson.loads(line) for line in path.read_bytes().splitlines()]

    def wait_for_version(self, version: int) -> None:
        """Wait until the observer is told that every worker runs ``version``."""
        wait_for(lambda: {w["version"] for w in self.fleet().get("workers", ())} == {version})

    def wait_for_note(self, kind: str, note: str) -> None:
        """Wait until a stand-in has noted ``note``."""
        wait_for(lambda: note in self.log(kind))

    def ask(self) -> tuple[int, int]:
        """Connect as a client; return the process that answered and its table version."""
        host, port = self.url["listening"].removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as client:
            answer = client.makefile().readline().split()
        return int(answer[0]), int(answer[1])


def wait_for(condition: Callable[[], object]) -> None:
    """Return once ``condition`` holds."""
    deadline = clock.monotonic() + PATIENCE_S
    while not condition():
        assert clock.monotonic() < deadline, "the condition never held"
        clock.sleep(0.01)


def put_away(proxy: Proxy) -> Iterator[Proxy]:
    """Yield ``proxy``, which is not started; whatever happens, nothing of it stays."""
    yield proxy
    if hasattr(proxy, "process") and proxy.process.poll() is None:
        proxy.process.kill()
        proxy.end()


only_linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot turn clients away")
"""For tests that wait while nobody is let in."""


def is_turned_away(url: str) -> bool:
    """Tell whether a new client is neither let in nor refused, for now."""
    host, port = url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=0.1).close()
    except TimeoutError:
        return True
    return False
