"""A publisher with a fleet that keeps what it is told, and documents to publish."""

import asyncio
from pathlib import Path
from typing import Any

import orjson

from proxy.control.book import Book
from proxy.control.journal import Journal
from proxy.control.publisher import Publisher
from proxy.control.release import Outcome, Release
from proxy.control.rollouts import Rollouts

__all__ = ["BROKEN", "GOOD", "MOVED", "RAISED", "FakeFleet", "Publishing"]

GOOD = b"""
listen: 127.0.0.1:8080
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
RAISED = GOOD.replace(b"weight: 5", b"weight: 20")
BROKEN = GOOD.replace(b"weight: 5", b"weight: 120").replace(b"model: m1", b"model: m9")
MOVED = GOOD.replace(b":8080", b":8081")


class FakeFleet:
    """Keeps what it is told; refuses or waits when a test says so."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.refusals: tuple[str, ...] = ()
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def prepare(self, release: Release) -> tuple[str, ...]:
        """Wait for the gate, then answer."""
        self.calls.append(("prepare", release.version))
        self.asked.set()
        await self.gate.wait()
        return self.refusals

    def commit(self, release: Release) -> None:
        """Keep the call."""
        self.calls.append(("commit", release.version))

    def abandon(self, release: Release) -> None:
        """Keep the call."""
        self.calls.append(("abandon", release.version))


class Publishing:
    """A publisher over a fake fleet and a real journal."""

    def __init__(
        self, state_dir: Path, last_version: int = 0, fleet: FakeFleet | None = None, book: Book | None = None
    ) -> None:
        self.fleet = fleet or FakeFleet()
        self.journal = Journal(state_dir)
        self.rollouts = Rollouts(book or Book(state_dir))
        self.pushes = 0
        self.publisher = Publisher(
            source="a.yaml",
            fleet=self.fleet,
            journal=self.journal,
            rollouts=self.rollouts,
            last_version=last_version,
            environ={},
            on_change=self._on_change,
        )

    def _on_change(self) -> None:
        self.pushes += 1

    async def publish(self, content: bytes, by: str = "file") -> Outcome:
        """Publish ``content``."""
        return await self.publisher.publish(content, by=by, why="the file changed")

    def lines(self) -> list[dict[str, Any]]:
        """Return the journal's entries."""
        return [orjson.loads(line) for line in self.journal.path.read_bytes().splitlines()]
