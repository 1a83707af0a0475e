"""Read the proxy's admin address and the model servers' own books over HTTP."""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import orjson

from proxy.clock import monotonic
from proxy.demo.facts import Backend, Claims
from proxy.demo.metrics import parse_claims
from proxy.demo.processes import DemoError

__all__ = ["Admin", "fetch_books", "has_applied"]

POLL_S = 0.05
"""Between two looks at a condition that is waited for."""

TIMEOUT_S = 10.0
"""One request to an admin address or to a model server's books."""

Status = dict[str, Any]


class Admin:
    """The proxy's admin address."""

    def __init__(self, address: str, session: aiohttp.ClientSession) -> None:
        self.url = f"http://{address}"
        self._session = session

    async def is_ready(self) -> bool:
        """Return whether the proxy says it serves."""
        try:
            async with self._session.get(f"{self.url}/readyz", timeout=_timeout()) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def status(self) -> Status | None:
        """Return ``/api/v1/status``, or None when it cannot be had just now."""
        return await self._ask("GET", "/api/v1/status")

    async def rollout(self, route: str) -> Status:
        """Return ``/api/v1/routes/{route}/rollout``; empty when it cannot be had just now."""
        return await self._ask("GET", f"/api/v1/routes/{route}/rollout") or {}

    async def abort(self, route: str, reason: str) -> None:
        """Take the canary of ``route`` off, as a person would.

        Raises:
            DemoError: it was refused.
        """
        if await self._ask("POST", f"/api/v1/routes/{route}/abort", {"reason": reason}) is None:
            raise DemoError(f"{self.url} did not abort the rollout of {route}")

    async def _ask(self, method: str, path: str, document: Status | None = None) -> Status | None:
        try:
            async with self._session.request(
                method, f"{self.url}{path}", json=document, timeout=_timeout()
            ) as response:
                found = orjson.loads(await response.read()) if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError):
            return None
        return found if isinstance(found, dict) else None

    async def claims(self, route: str) -> Claims:
        """Return what ``/metrics`` claims about ``route``.

        Raises:
            DemoError: the page cannot be had or is not in Prometheus' text format.
        """
        try:
            async with self._session.get(f"{self.url}/metrics", timeout=_timeout()) as response:
                text = await response.text()
                if response.status != 200:
                    raise DemoError(f"{self.url}/metrics answered {response.status}")
            return parse_claims(text, route)
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
            raise DemoError(f"cannot read {self.url}/metrics: {error!r}") from error

    async def wait(self, what: str, limit_s: float, condition: Callable[[Status], bool]) -> Status:
        """Return the first status for which ``condition`` holds.

        Raises:
            DemoError: it did not hold within ``limit_s``; the message shows what the status said last.
        """
        deadline, last = monotonic() + limit_s, None
        while monotonic() < deadline:
            last = await self.status()
            if last is not None and condition(last):
                return last
            await asyncio.sleep(POLL_S)
        said = orjson.dumps(last.get("config") if last else None).decode()
        raise DemoError(f"{what} did not happen within {limit_s:g} s; the status last said: {said}")


def has_applied(status: Status, version: int) -> bool:
    """Return whether ``version`` or a later one is in force in every worker that is up."""
    workers = status.get("workers") or []
    return (
        int(status.get("config", {}).get("version", 0)) >= version
        and bool(workers)
        and all(int(worker.get("version") or 0) >= version for worker in workers)
    )


async def fetch_books(session: aiohttp.ClientSession, model: str, url: str, version: str) -> Backend:
    """Return the books of a ``version`` at the model server ``url``, under the ``model`` name of the configuration.

    Raises:
        DemoError: they cannot be had.
    """
    asked = {"version": version}
    try:
        async with session.get(f"{url}/demo/counts", params=asked, timeout=_timeout()) as response:
            counts = orjson.loads(await response.read())
        async with session.get(f"{url}/demo/answers", params=asked, timeout=_timeout()) as response:
            answers = orjson.loads(await response.read())
    except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError) as error:
        raise DemoError(f"cannot read the books of {model} at {url}: {error!r}") from error
    return Backend(
        model=model,
        requests=counts["requests"],
        shadow_requests=counts["shadow_requests"],
        refused=counts["refused"],
        failed=counts["failed"],
        repeated=counts["repeated"],
        forgotten=counts["forgotten"],
        units=counts["units"],
        primary=answers["primary"],
        shadow=answers["shadow"],
    )


def _timeout() -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=TIMEOUT_S)
