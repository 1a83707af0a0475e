"""An admin address that says what a test wants, and who asks it."""

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp.test_utils import TestClient

from proxy.control.admin import Access, ReloadOutcome
from proxy.control.disagreement_query import Query
from proxy.control.feedback import Parsed, Taken

__all__ = ["TOKEN", "Client", "FakeSurface", "error_of"]

TOKEN = "a-token-that-is-long-enough"

Client = TestClient[Any, Any]


class FakeSurface:
    """Says what the test wants."""

    def __init__(self) -> None:
        self.allowed = Access(loopback=True, token=None)
        self.reason: str | None = None
        self.failure: Exception | None = None
        self.outcome = ReloadOutcome(True, {"result": "published", "version": 2, "problems": []})
        self.reloads: list[str] = []
        self.orders: list[tuple[str, str, str, str]] = []
        self.accepts: list[str] = []
        self.queries: list[Query] = []
        self.batches: list[Parsed] = []
        self.taken = Taken(accepted=1)
        self.arrived = asyncio.Semaphore(0)
        """Released once for each batch of feedback."""
        self.gate = asyncio.Event()
        """While it is clear, feedback waits."""
        self.gate.set()

    def access(self) -> Access:
        return self.allowed

    def unready(self) -> str | None:
        return self.reason

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        self.accepts.append(accept)
        self._maybe_fail()
        return b"modelproxy_observer_up 1.0\n", "text/plain; version=1.0.0; charset=utf-8"

    async def status(self) -> Mapping[str, Any]:
        self._maybe_fail()
        return {"version": "1"}

    async def table(self) -> Mapping[str, Any]:
        self._maybe_fail()
        return {"version": 7}

    async def rollout(self, route: str) -> Mapping[str, Any]:
        self._maybe_fail()
        return {"route": route, "phase": "ramping"}

    async def disagreements(self, query: Query) -> Mapping[str, Any]:
        self.queries.append(query)
        self._maybe_fail()
        return {"confidence": 0.95, "routes": []}

    async def snapshot(self, digest: str) -> bytes:
        self._maybe_fail()
        return b'{"of":"%s"}' % digest.encode()

    async def steer(self, verb: str, route: str, by: str, reason: str) -> ReloadOutcome:
        self.orders.append((verb, route, by, reason))
        self._maybe_fail()
        return self.outcome

    async def reload(self, by: str) -> ReloadOutcome:
        self.reloads.append(by)
        self._maybe_fail()
        return self.outcome

    async def feedback(self, batch: Parsed) -> Taken:
        self._maybe_fail()
        self.batches.append(batch)
        self.arrived.release()
        await self.gate.wait()
        return self.taken

    def _maybe_fail(self) -> None:
        if self.failure is not None:
            raise self.failure


async def error_of(response: Any) -> str:
    document = orjson.loads(await response.read())
    assert response.content_type == "application/json"
    assert isinstance(document["error"], str)
    return str(document["error"])
