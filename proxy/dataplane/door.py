"""Where clients come in: directly, or by a TLS handshake.

A connection that shakes hands is nobody's request yet, but it costs: a slot of ``limits.connections``, and no more than
``timeouts.client_head``. Whatever becomes of it is counted: as an open connection, or as a failed handshake with its
reason.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from proxy.dataplane.client import ClientConnection
from proxy.dataplane.tls import TlsConnection
from proxy.model import HandshakeFailure
from proxy.tally import WORKER_FIELDS
from proxy.wire.response import build_reply

if TYPE_CHECKING:
    from proxy.dataplane.worker import Worker

__all__ = ["Door"]

_LETTERS = range(0x41, 0x5B)
"""How a method begins. A TLS record begins with its type, which is below (RFC 8446 §5.1)."""

_FIRST = WORKER_FIELDS.index(f"handshake_{HandshakeFailure(0).label}")

_ABOUT_CERTIFICATES = frozenset({"PEER_DID_NOT_RETURN_A_CERTIFICATE", "CERTIFICATE_VERIFY_FAILED"})


class Door:
    """Makes a protocol for each connection that is accepted.

    Args:
        worker: whose connections they are.
        on_empty: called when no handshake is under way any more.
    """

    def __init__(self, worker: "Worker", on_empty: Callable[[], None]) -> None:
        self.context: ssl.SSLContext | None = None
        """For connections from now on; None: they are not secured."""
        self._worker = worker
        self._on_empty = on_empty
        self._shaking: dict[TlsConnection, asyncio.TimerHandle] = {}

    @property
    def shaking(self) -> int:
        """How many connections are in the middle of a handshake."""
        return len(self._shaking)

    def open(self) -> asyncio.Protocol:
        """Return the protocol of a connection that has just been accepted."""
        worker, context = self._worker, self.context
        if context is None:
            return ClientConnection(worker)
        return _Caller(self, ClientConnection(worker, b"https"), context)

    def on_called(self, caller: TlsConnection) -> bool:
        """Count a connection whose handshake begins; False: there are too many."""
        worker = self._worker
        settings = worker.table.settings
        if worker.connections + len(self._shaking) >= settings.limits.connections:
            return False
        seconds = settings.timeouts.client_head / 1e9
        self._shaking[caller] = worker.loop.call_later(seconds, self._on_late, caller)
        return True

    def on_ended(self, caller: TlsConnection, error: Exception | None) -> None:
        """Forget a handshake that is over, and count it if it failed."""
        timer = self._shaking.pop(caller, None)
        if timer is None:
            return
        timer.cancel()
        if error is not None:
            self.count(_failure(error))
        if not self._shaking:
            # Later: a handshake that went well becomes a connection only now.
            self._worker.loop.call_soon(self._on_empty)

    def on_plain(self, caller: TlsConnection) -> bytes:
        """Return what to say to somebody who does not speak TLS."""
        worker = self._worker
        worker.table.slots[worker.table.slot_unrouted + 400] += 1
        self.on_ended(caller, _PlainError())
        sentence = "this port speaks HTTPS; plain HTTP was sent to it"
        return build_reply(400, sentence, worker.ids.fresh(), date=worker.date_line)

    def count(self, failure: HandshakeFailure) -> None:
        """Count a handshake that failed."""
        table = self._worker.table
        table.slots[table.slot_worker + _FIRST + failure] += 1

    def _on_late(self, caller: TlsConnection) -> None:
        self.on_ended(caller, TimeoutError())
        caller.abort()


class _PlainError(Exception):
    """Not TLS."""


def _failure(error: Exception) -> HandshakeFailure:
    if isinstance(error, _PlainError):
        return HandshakeFailure.PLAIN_HTTP
    if isinstance(error, TimeoutError):
        return HandshakeFailure.TIMEOUT
    if not isinstance(error, ssl.SSLError):
        return HandshakeFailure.CLOSED
    reason = getattr(error, "reason", None) or ""
    if reason in _ABOUT_CERTIFICATES:
        return HandshakeFailure.CERTIFICATE
    return HandshakeFailure.REFUSED if "_ALERT_" in reason else HandshakeFailure.PROTOCOL


class _Caller(TlsConnection):
    """A connection from a client that has to shake hands."""

    __slots__ = ("_door", "_has_spoken")

    def __init__(self, door: Door, inner: ClientConnection, context: ssl.SSLContext) -> None:
        super().__init__(inner, context, door.on_ended, server_side=True)
        self._door = door
        self._has_spoken = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._door.on_called(self):
            super().connection_made(transport)
        else:
            self._raw = transport  # type: ignore[assignment] # uvloop's do not inherit from asyncio's
            self._door.count(HandshakeFailure.OVERFLOW)
            self.abort()

    def data_received(self, data: bytes) -> None:
        if not self._has_spoken:
            self._has_spoken = True
            if data[0] in _LETTERS:
                self._is_cut = True
                self._raw.write(self._door.on_plain(self))
                self._raw.close()
                return
        super().data_received(data)
