"""Two connections after a switch of protocols: bytes are passed on as they come, and nobody looks into them.

Each direction ends alone: the end of one side is told to the other, which may go on sending (RFC 9110 §7.8 leaves that
to the protocol). A side that is lost takes the other with it, after what was on its way, or by a reset when it was
itself reset. A tunnel in which nothing moves for ``timeouts.tunnel`` is cut.

The bytes are counted as they pass, so that a tunnel that is open for days can be seen at work.
"""

import asyncio
from typing import TYPE_CHECKING

from proxy.clock import monotonic_ns
from proxy.wire.response import build_interim, forwarded_block
from proxy.wire.upgrade import upgrade_lines

if TYPE_CHECKING:
    from proxy.dataplane.client import ClientConnection
    from proxy.dataplane.inflight import InFlight
    from proxy.dataplane.upstream import UpstreamConnection

__all__ = ["open_tunnel"]


def open_tunnel(flight: "InFlight", connection: "UpstreamConnection", rest: bytes) -> None:
    """Tell the client that the model consents, and join the two connections from now on.

    Args:
        flight: the request that asked.
        connection: whose model consented; no other request will have it.
        rest: what the model has sent behind its head.
    """
    client = flight.client
    block = forwarded_block(101, connection.names, connection.values, connection.lines)
    block += upgrade_lines(connection.upgraded_to)
    block += b"x-request-id: %b\r\n" % flight.request_id + flight.serving.header_line
    flight.response_head = build_interim(101, connection.reason, block)
    client.write(flight.response_head)
    client.flush_writes()
    early = client.become_tunnel()
    slots, variant = flight.table.slots, flight.variant
    near = _End(client, slots, variant.slot_tunnel_received, flight)
    far = _End(connection, slots, variant.slot_tunnel_sent, flight)
    near.other, far.other = far, near
    for end in (near, far):
        end.start(client.worker.loop, client.worker.table.settings.timeouts.tunnel)
    if early:
        near.data_received(early)
    if rest:
        far.data_received(rest)


class _End(asyncio.Protocol):
    """One side: the protocol of its transport, in place of the connection that it was.

    Args:
        connection: that connection; it is told when the transport is gone.
        slots: the tally.
        slot: counts the bytes that come from here.
        flight: the request that asked.
    """

    __slots__ = (
        "_connection",
        "_flight",
        "_idle_ns",
        "_loop",
        "_moved_ns",
        "_slot",
        "_slots",
        "_timer",
        "is_lost",
        "is_silent",
        "other",
        "transport",
    )

    def __init__(
        self,
        connection: "ClientConnection | UpstreamConnection",
        slots: memoryview,
        slot: int,
        flight: "InFlight",
    ) -> None:
        self._connection = connection
        self._slots = slots
        self._slot = slot
        self._flight = flight
        self._timer: asyncio.TimerHandle | None = None
        self.transport = connection.transport
        self.other: _End
        self.is_silent = False
        """It has said that it sends nothing more."""
        self.is_lost = False

    def start(self, loop: asyncio.AbstractEventLoop, idle_ns: int) -> None:
        """Take the transport over."""
        self._loop, self._idle_ns, self._moved_ns = loop, idle_ns, monotonic_ns()
        if self._connection.timer is not None:
            self._connection.timer.cancel()
        self._arm(self._moved_ns)
        self.transport.set_protocol(self)
        self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self._moved_ns = monotonic_ns()
        self._slots[self._slot] += len(data)
        self.other.transport.write(data)

    def eof_received(self) -> bool:
        self.is_silent = True
        other = self.other
        if other.is_silent or other.is_lost or not other.transport.can_write_eof():
            return False
        other.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if not self.other.is_lost:
            self._moved_ns = monotonic_ns()
            self.other.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True
        if self._timer is not None:
            self._timer.cancel()
        other = self.other
        if other.is_lost:
            self._flight.on_tunnel_end()
        elif error is not None:
            other.cut()
        else:
            other.transport.close()
        self._connection.connection_lost(error)

    # The side that waits longest cuts both

    def _arm(self, now_ns: int) -> None:
        due_ns = self._moved_ns + self._idle_ns
        self._timer = self._loop.call_later(max(due_ns - now_ns, 1_000_000) / 1e9, self._on_timer)

    def _on_timer(self) -> None:
        now_ns = monotonic_ns()
        last_ns = max(self._moved_ns, self.other._moved_ns)
        if now_ns - last_ns < self._idle_ns:
            self._moved_ns = last_ns
            self._arm(now_ns)
            return
        self.cut()
        self.other.cut()

    def cut(self) -> None:
        """Close at once, so that the peer can tell it from an end."""
        if not self.is_lost:
            self._connection.reset()
