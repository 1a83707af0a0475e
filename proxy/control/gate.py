"""Who is inside at the admin address: so many connections, each for so long.

aiohttp waits for ever for a head that does not end, for a body that does not come and for a client that does not read,
and takes as many of them as the process may have files. Then nobody could read ``/healthz`` any more, and who started
this process would end it. So a connection is cut when its last request head is :data:`PATIENCE_S` old, and the one
that has waited longest makes room for a new one.
"""

import asyncio
import logging
from typing import cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

__all__ = ["GATE", "KEEP_ALIVE_S", "MOST", "PATIENCE_S", "Gate", "GatedSite", "build_runner"]

MOST = 256
"""Connections at a time. Probes, scrapers and people need a dozen."""

PATIENCE_S = 60.0
"""From a connection's opening, or from its latest request head, to the end of the answer. The slowest verb waits 30 s
for the supervisor."""

KEEP_ALIVE_S = 45.0
"""An idle connection is closed after this long: before it would be cut."""


class Gate:
    """The connections that are open, the one whose latest head is oldest first.

    Args:
        most: how many there may be.
        patience_s: how long each may last after its latest head.
    """

    def __init__(self, most: int = MOST, patience_s: float = PATIENCE_S) -> None:
        self.cut = 0
        """Connections that took too long, or made room."""
        self._most = most
        self._patience_s = patience_s
        self._heads: dict[asyncio.BaseTransport, float] = {}
        """When the latest head of each was complete, by the loop's clock."""
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, transport: asyncio.BaseTransport) -> None:
        """Let a new connection in; the one that has waited longest goes if there are too many."""
        if len(self._heads) >= self._most:
            self._cut(next(iter(self._heads)))
        loop = asyncio.get_running_loop()
        self._heads[transport] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self._patience_s, self._look)

    def on_head(self, transport: asyncio.BaseTransport | None) -> None:
        """Give a connection whose request head is complete its time anew."""
        if transport is not None and self._heads.pop(transport, None) is not None:
            self._heads[transport] = asyncio.get_running_loop().time()

    def leave(self, transport: asyncio.BaseTransport | None) -> None:
        """Forget a connection that is gone."""
        if transport is not None:
            self._heads.pop(transport, None)

    def _cut(self, transport: asyncio.BaseTransport) -> None:
        self.cut += 1
        del self._heads[transport]
        cast(asyncio.Transport, transport).abort()

    def _look(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        while self._heads:
            transport, since = next(iter(self._heads.items()))
            left = since + self._patience_s - loop.time()
            if left > 0:
                self._timer = loop.call_later(left, self._look)
                return
            self._cut(transport)


GATE: web.AppKey[Gate] = web.AppKey("gate")
"""Where an application keeps its gate; its middleware tells it of heads."""


class GatedSite(web.SockSite):
    """A listening socket whose connections pass the gate of the application."""

    async def start(self) -> None:
        """Accept connections."""
        await web.BaseSite.start(self)
        runner = cast(web.AppRunner, self._runner)
        server, gate = runner.server, runner.app.get(GATE) or Gate()
        assert server is not None, "the runner is set up"
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Door(gate, server()), sock=self._sock, backlog=self._backlog
        )


class _Door(asyncio.Protocol):
    """A protocol that tells the gate of coming and going, and otherwise is the one inside."""

    def __init__(self, gate: Gate, inside: asyncio.Protocol) -> None:
        self._gate = gate
        self._transport: asyncio.BaseTransport | None = None
        self._inside = inside
        self.data_received = inside.data_received  # type: ignore[method-assign]
        self.eof_received = inside.eof_received  # type: ignore[method-assign]
        self.pause_writing = inside.pause_writing  # type: ignore[method-assign]
        self.resume_writing = inside.resume_writing  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._gate.enter(transport)
        self._inside.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._gate.leave(self._transport)
        self._inside.connection_lost(exc)


class _NoJunk(logging.Filter):
    """Leaves out what aiohttp logs of a request that is not HTTP: a traceback for each, with the client's bytes in it.

    The client has its 400; whoever reaches the address could fill a disk.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_NO_JUNK = _NoJunk()


def build_runner(app: web.Application, shutdown_timeout_s: float) -> web.AppRunner:
    """Return the runner of ``app``, for a :class:`GatedSite`.

    Bodies are taken as they come: no verb needs a compressed one, and one that was refused would be decompressed to its
    end all the same.
    """
    logger = logging.getLogger("modelproxy.admin")
    logger.addFilter(_NO_JUNK)
    return web.AppRunner(
        app,
        access_log=None,
        logger=logger,
        auto_decompress=False,
        keepalive_timeout=KEEP_ALIVE_S,
        shutdown_timeout=shutdown_timeout_s,
    )
