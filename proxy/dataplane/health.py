"""Active health checks: is a server ready, apart from what becomes of requests?

Each worker asks each server itself, over a connection of its own that is closed afterwards, so that a check also
tells whether the server still accepts. Checks are no traffic: no route, variant or record knows of them.

A server counts as healthy until a check says otherwise, but the very first check decides alone: a proxy that starts
in front of a dead server does not have to learn it three times.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from httptools import HttpParserError, HttpResponseParser

from proxy import __version__
from proxy.dataplane.contexts import BackendTls
from proxy.dataplane.endpoint_counts import EndpointCounts
from proxy.identifiers import random_bits
from proxy.routing.table import Endpoint
from proxy.tasks import spawn

if TYPE_CHECKING:
    from proxy.settings import Health

__all__ = ["HealthState", "HealthWatch", "check_request", "jittered_s", "read_status"]

MAX_HEAD_BYTES = 64 * 1024
"""A longer head of an answer has failed the check."""

_JITTER = 0.1
"""Share of the interval by which a pause may be shorter or longer, so that workers and replicas do not ask at once."""

_log = logging.getLogger("modelproxy.health")


class HealthState:
    """Passed and failed checks in, healthy or not out. Pure."""

    __slots__ = ("_in_a_row", "_needed", "is_healthy")

    def __init__(self, settings: "Health", is_healthy: bool = True) -> None:
        self.is_healthy = is_healthy
        self._needed = {True: settings.healthy_after, False: settings.unhealthy_after}
        # The first check decides alone: as many as are needed but one have spoken against what is believed.
        self._in_a_row = self._needed[not is_healthy] - 1

    def on_check(self, passed: bool) -> bool:
        """Take up a check; return whether ``is_healthy`` has changed by it."""
        if passed == self.is_healthy:
            self._in_a_row = 0
            return False
        self._in_a_row += 1
        if self._in_a_row < self._needed[passed]:
            return False
        self.is_healthy = passed
        self._in_a_row = 0
        return True


class HealthWatch:
    """Asks one server again and again.

    Args:
        model: the model's name, for the log.
        endpoint: the server.
        settings: what to ask, how often, and what it means.
        counts: where checks are counted.
        is_healthy: what is believed until the first check.
    """

    def __init__(
        self,
        model: str,
        endpoint: Endpoint,
        settings: "Health",
        counts: EndpointCounts,
        is_healthy: bool = True,
    ) -> None:
        self.settings = settings
        self.listeners: list[Callable[[bool], None]] = []
        """Who is told when the server's health changes."""
        self.secured: BackendTls | None = None
        """How checks are secured; None: they are not."""
        self._model = model
        self._address = endpoint.host, endpoint.port
        self._request = check_request(settings.path, endpoint.host_header)
        self._counts = counts
        self._state = HealthState(settings, is_healthy)
        self._task: asyncio.Task[None] | None = None

    @property
    def is_healthy(self) -> bool:
        """What is believed now."""
        return self._state.is_healthy

    def start(self) -> None:
        """Begin to ask; the first time within a tenth of the interval."""
        self._task = spawn(self._run(), name="health checks")

    def stop(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def on_result(self, failure: str) -> None:
        """Take up a check: ``failure`` says what was wrong, and is empty when nothing was."""
        passed = not failure
        self._counts.on_check(passed)
        if not self._state.on_check(passed):
            return
        self._counts.set_unhealthy(not passed)
        if passed:
            _log.info("model %s: %s is healthy again", self._model, self._counts.url)
        else:
            _log.warning("model %s: %s is unhealthy: %s", self._model, self._counts.url, failure)
        for tell in self.listeners:
            tell(passed)

    async def _run(self) -> None:
        await asyncio.sleep(self.settings.interval / 1e9 * _JITTER * random_bits(2) / 65_536)
        while True:
            self.on_result(await self.check())
            await asyncio.sleep(jittered_s(self.settings.interval, random_bits(2)))

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        secured, (host, port) = self.secured, self._address
        if secured is None:
            return await asyncio.open_connection(host, port, limit=MAX_HEAD_BYTES)
        name = secured.server_name(host)
        return await asyncio.open_connection(
            host, port, limit=MAX_HEAD_BYTES, ssl=secured.context, server_hostname=name
        )

    async def check(self) -> str:
        """Ask once; return what was wrong, or nothing."""
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(self.settings.timeout / 1e9):
                reader, writer = await self._open()
                writer.write(self._request)
                status = 0
                while status < 200:  # 1xx answers come before the one that counts
                    status = read_status(await reader.readuntil(b"\r\n\r\n"))
        except TimeoutError:
            return "no answer in time"
        except asyncio.IncompleteReadError:
            return "it closed the connection without an answer"
        except (HttpParserError, asyncio.LimitOverrunError):
            return "its answer is not HTTP"
        except (OSError, ValueError) as error:  # ValueError: a name that cannot be encoded
            return f"no connection ({getattr(error, 'strerror', '') or type(error).__name__})"
        finally:
            if writer is not None:
                writer.close()
        return "" if status < 300 else f"it answered {status}"


def check_request(path: str, host_header: bytes) -> bytes:
    """Return the bytes of a check."""
    lines = (
        b"GET %b HTTP/1.1" % path.encode(),
        b"host: %b" % host_header,
        b"user-agent: modelproxy/%b (health check)" % __version__.encode(),
        b"accept: */*",
        b"connection: close",
    )
    return b"\r\n".join((*lines, b"", b""))


def read_status(head: bytes) -> int:
    """Return the status of a response head.

    Raises:
        HttpParserError: it is none.
    """
    parser = HttpResponseParser(object())
    parser.feed_data(head)
    status: int = parser.get_status_code()
    return status


def jittered_s(interval_ns: int, draw: int) -> float:
    """Return a pause in seconds: the interval, up to a tenth shorter or longer.

    Args:
        interval_ns: what it is on average.
        draw: a random number below 65536.
    """
    return interval_ns / 1e9 * (1 + _JITTER * (2 * draw / 65_536 - 1))
