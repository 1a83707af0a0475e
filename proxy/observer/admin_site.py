"""The admin address as a door: opened when told, shut again without cutting off who is inside."""

import asyncio
import socket

from aiohttp import web

from proxy.control.gate import GATE, GatedSite

__all__ = ["AdminSite"]


class AdminSite:
    """One listening socket and the application behind it.

    Args:
        runner: set up; it is cleaned up by :meth:`close`.
        listener: listens already, so that who comes before :meth:`open` waits.
    """

    def __init__(self, runner: web.AppRunner, listener: socket.socket) -> None:
        self._runner = runner
        self._listener = listener
        self._site: GatedSite | None = None
        self._is_shut = False

    @property
    def cut(self) -> int:
        """Connections that the gate of the application has cut."""
        gate = self._runner.app.get(GATE)
        return gate.cut if gate else 0

    async def open(self) -> None:
        """Answer from now on. A second call does nothing, nor does one after :meth:`hush`."""
        if self._site is None and not self._is_shut:
            self._site = GatedSite(self._runner, self._listener)
            await self._site.start()

    async def hush(self, seconds: float) -> None:
        """Take no new connection, end the idle ones, and those under way with their answer or after ``seconds``.

        Whoever else has the socket goes on: it is only our share of it that is closed.
        """
        self._is_shut = True
        if self._site is None:
            self._listener.close()
            return
        await self._site.stop()
        if (server := self._runner.server) is not None:
            await asyncio.sleep(0)  # who was accepted in this turn is inside
            server.pre_shutdown()
            await server.shutdown(seconds)

    async def close(self) -> None:
        """End, answers under way included."""
        self._is_shut = True
        await self._runner.cleanup()
        self._listener.close()
