"""A piece of wire that remembers: passes bytes on as they come, and keeps them for whoever wants to compare."""

import contextlib
import socket
import struct
import threading
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType

from tests.real.messages import Exchange, exchanges

__all__ = ["Recording", "Tap"]

_PIECE = 1 << 16
_RESET = struct.pack("ii", 1, 0)


@dataclass
class Recording:
    """What went over one connection since the tap was last emptied."""

    order: int
    """Connections are numbered by the moment of their first byte."""
    sent: bytearray = field(default_factory=bytearray)
    received: bytearray = field(default_factory=bytearray)
    ended: bool = False
    """The server has closed its side."""
    left: bool = False
    """The client has closed its side."""

    def exchanges(self) -> list[Exchange]:
        """Return the recorded requests with their answers; see :func:`tests.real.messages.exchanges`."""
        return exchanges(bytes(self.sent), bytes(self.received), ended=self.ended, left=self.left)


class Tap:
    """Listens on a free port of the loopback and passes on to where it is aimed."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.target = (host, port)
        self._lock = threading.Lock()
        self._order = count()
        self._links: list[_Link] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def aim(self, port: int) -> None:
        """Pass connections opened from now on to this port of the loopback."""
        self.target = ("127.0.0.1", port)

    def take(self) -> list[Recording]:
        """Return what was recorded since the last call, and begin anew."""
        with self._lock:
            taken = [link.recording for link in self._links if link.recording.sent or link.recording.received]
            for link in self._links:
                link.recording = Recording(-1, ended=link.recording.ended, left=link.recording.left)
            self._links = [link for link in self._links if not link.recording.ended]
        return sorted(taken, key=lambda recording: recording.order)

    def peek(self) -> list[Recording]:
        """Return copies of what was recorded since the last :meth:`take`."""
        with self._lock:
            return [
                Recording(r.order, bytearray(r.sent), bytearray(r.received), r.ended, r.left)
                for link in self._links
                if (r := link.recording).sent or r.received
            ]

    def close(self) -> None:
        """Stop listening and cut what is open."""
        self._listener.close()
        with self._lock:
            links = list(self._links)
        for link in links:
            link.cut()

    def __enter__(self) -> "Tap":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            try:
                server = socket.create_connection(self.target, timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            link = _Link(client, server)
            with self._lock:
                self._links.append(link)
            threading.Thread(target=self._pass, args=(link, client, server), daemon=True).start()
            threading.Thread(target=self._pass, args=(link, server, client), daemon=True).start()

    def _pass(self, link: "_Link", source: socket.socket, target: socket.socket) -> None:
        """Carry one direction to its end. What arrives is recorded before it is passed on."""
        from_client = source is link.client
        try:
            while data := source.recv(_PIECE):
                with self._lock:
                    recording = link.recording
                    if recording.order < 0:
                        recording.order = next(self._order)
                    (recording.sent if from_client else recording.received).extend(data)
                target.sendall(data)
            self._end(link, from_client)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            self._end(link, from_client)
            link.cut()
        with self._lock:
            link.leave()

    def _end(self, link: "_Link", from_client: bool) -> None:
        with self._lock:
            if from_client:
                link.recording.left = True
            else:
                link.recording.ended = True


class _Link:
    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.recording = Recording(-1)
        self._left = 0
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def cut(self) -> None:
        """Reset both ends."""
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.shutdown(socket.SHUT_RDWR)

    def leave(self) -> None:
        """Close both ends when both directions have ended; called once by each."""
        self._left += 1
        if self._left == 2:
            self.client.close()
            self.server.close()
