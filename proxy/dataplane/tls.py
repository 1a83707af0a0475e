"""TLS between a socket and a protocol: to the socket's transport it is the protocol, to the protocol the transport.

Theory of operation
    OpenSSL works on two buffers in memory. What the socket brings goes into one; what can be decrypted comes out at
    once, all of it, and is handed over in one piece. What the protocol writes is encrypted at once into the other and
    goes to the socket's transport. So nothing is held here: back-pressure is the socket's, in both directions, and
    the protocol cannot tell that it is not connected to the socket itself.

    The protocol is *connected* when the handshake is over, and not before. ``ended`` is told how that went: once, with
    None or with the error.

The end of a connection
    TLS says when all was said (``close_notify``, RFC 8446 §6.1), and TCP's own end without it is somebody's cut: the
    protocol is told so (``connection_lost`` with an error). Our side says it in :meth:`close` and :meth:`write_eof` and
    waits for no answer; :meth:`abort` leaves it out, so that the peer knows that something is missing. Each direction
    ends alone, as with TCP.

Rationale. *Question:* why not the event loop's own TLS? *What it lacks:* a protocol behind it cannot know whether the
peer ended or was cut, so a body that reaches to the end of the connection can lose its tail unnoticed; it cannot end
one direction; an end waits up to 30 s for the peer's; a handshake that fails, or hangs, is seen by nobody and counts
against no limit; each connection has a buffer of 256 KiB. What it costs per request: ``python -m benchmarks.tls``.
"""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

__all__ = ["HandshakeCutError", "TlsConnection"]

_RECORD_BYTES = 16 * 1024
"""Most that one record holds (RFC 8446 §5.1), and so the most that one read of OpenSSL returns."""

Ended = Callable[["TlsConnection", Exception | None], None]
"""Called at the end of the handshake, before the protocol is connected; with the error, if it failed."""


class HandshakeCutError(ConnectionError):
    """The peer closed or reset the connection before the handshake was over."""


class TlsConnection(asyncio.Protocol, asyncio.Transport):
    """One secured connection.

    Args:
        inner: the protocol to be secured.
        context: made for this side, see :mod:`proxy.certificates`.
        ended: see :data:`Ended`.
        server_side: whether the peer is the client.
        server_name: for the client's side: the name to be told and verified.
    """

    __slots__ = (
        "_ended",
        "_incoming",
        "_inner",
        "_is_cut",
        "_is_ended",
        "_is_open",
        "_is_peer_done",
        "_is_shut",
        "_outgoing",
        "_pending",
        "_raw",
        "_read",
        "_tls",
        "_write",
        "_write_paused",
        "broken",
    )

    def __init__(
        self,
        inner: asyncio.Protocol,
        context: ssl.SSLContext,
        ended: Ended,
        *,
        server_side: bool,
        server_name: str | None = None,
    ) -> None:
        super().__init__()
        self._inner = inner
        self._ended: Ended | None = ended
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_name
        )
        self._read, self._write, self._pending = self._tls.read, self._tls.write, self._tls.pending
        self._raw: asyncio.Transport
        self._is_open = False
        """The handshake is over and the protocol is connected."""
        self._is_ended = False
        """We have said that nothing more is sent."""
        self._is_peer_done = False
        """The peer has said that nothing more comes."""
        self._is_shut = False
        """The socket's own writing side is shut: to answer a key update now would raise."""
        self._is_cut = False
        """We have cut the connection, or it is broken."""
        self.broken: ssl.SSLError | None = None
        """Why it is broken."""
        self._write_paused = False

    # The socket's side: asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = cast(asyncio.Transport, transport)  # uvloop's do not inherit from asyncio's
        self._shake_hands()

    def data_received(self, data: bytes) -> None:
        if self._is_cut or self._is_peer_done:
            return
        self._incoming.write(data)
        if self._is_open or self._shake_hands():
            self._decrypt()

    def eof_received(self) -> bool:
        # The socket's own end is what close_notify had announced, or a cut: connection_lost tells which.
        return self._is_peer_done and not self._is_ended

    def connection_lost(self, error: Exception | None) -> None:
        if not self._is_open:
            self._finish_handshake(HandshakeCutError("the peer left in the middle of the handshake"))
            return
        self._is_open = False
        if self._is_peer_done:
            error = None  # what it had to say has been handed over
        elif self.broken is not None:
            error = self.broken
        elif error is None and not (self._is_ended or self._is_cut):
            error = ConnectionResetError("the connection ended without close_notify")
        self._inner.connection_lost(error)

    def pause_writing(self) -> None:
        self._write_paused = True
        if self._is_open:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._is_open:
            self._inner.resume_writing()

    # Handshake

    def _shake_hands(self) -> bool:
        """Go on with the handshake; True: it is over, and there may be data behind it."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except (ssl.SSLError, ssl.CertificateError) as error:
            self._flush()  # the alert, which tells the peer why
            self._is_cut = True
            self._raw.close()
            self._finish_handshake(error)
            return False
        self._flush()
        self._finish_handshake(None)
        if self._raw.is_closing():
            return False  # whoever was told does not want it
        self._is_open = True
        self._inner.connection_made(self)
        if self._write_paused:
            self._inner.pause_writing()
        return True

    def _finish_handshake(self, error: Exception | None) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(self, error)

    # Records

    def _decrypt(self) -> None:
        """Hand over what can be decrypted of what has come."""
        # HOT: to ask how much is left is cheaper than to read until OpenSSL raises; saves 2 µs.
        incoming, read = self._incoming, self._read
        pieces: list[bytes] = []
        try:
            while incoming.pending or self._pending():
                piece = read(_RECORD_BYTES)
                if not piece:
                    self._is_peer_done = True
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._is_peer_done = True
        except ssl.SSLError as error:
            self.broken = error
        if self._outgoing.pending:
            self._flush()  # an alert, or the answer to a key update
        if pieces:
            self._inner.data_received(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if self.broken is not None:
            self._end_broken()
        elif self._is_peer_done and not self._is_cut and not self._inner.eof_received():
            self.close()

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data and not self._is_shut and not self._raw.is_closing():
            self._raw.write(data)

    def _end_broken(self) -> None:
        """End a connection on which nothing can be read or written any more; the alert is on its way."""
        self._is_cut = True
        self._raw.close()

    # The protocol's side: asyncio.Transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send ``data``."""
        if not data or self._is_ended or self._is_cut or self._raw.is_closing():
            return
        try:
            self._write(data)
        except ssl.SSLError as error:
            self.broken = error
            self._end_broken()
            return
        self._raw.write(self._outgoing.read())

    def write_eof(self) -> None:
        """Say that nothing more is sent; what comes is still handed over."""
        self._end()
        if not self._is_shut and not self._raw.is_closing():
            self._is_shut = True
            self._raw.write_eof()

    def can_write_eof(self) -> bool:
        """Tell that one direction can end alone."""
        return True

    def close(self) -> None:
        """Send what was written, say that this was all, and close; the peer's answer is not waited for."""
        self._end()
        self._raw.close()

    def abort(self) -> None:
        """Close at once. The peer can tell that it was a cut."""
        self._is_cut = True
        self._raw.abort()

    def _end(self) -> None:
        if self._is_ended or self._is_cut or not self._is_open:
            return
        self._is_ended = True
        with suppress(ssl.SSLError):  # it sends ours, and would like to wait for the peer's
            self._tls.unwrap()
        self._flush()

    def is_closing(self) -> bool:
        """Tell whether the connection is closed or about to be."""
        return self._raw.is_closing()

    def pause_reading(self) -> None:
        """Take nothing more from the socket."""
        if not self._raw.is_closing():
            self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Go on taking."""
        if not self._raw.is_closing():
            self._raw.resume_reading()

    def is_reading(self) -> bool:
        """Tell whether the socket is read."""
        return self._raw.is_reading()

    def get_write_buffer_size(self) -> int:
        """Return how many encrypted bytes wait for the socket."""
        return self._raw.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the socket's transport knows, and ``ssl_object``."""
        return self._tls if name == "ssl_object" else self._raw.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand what comes to another protocol from now on."""
        self._inner = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the secured protocol."""
        return self._inner
