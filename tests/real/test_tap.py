"""The tap passes everything on, ends and resets included, and remembers it."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.real.processes import eventually
from tests.real.tap import Tap

GET = b"GET / HTTP/1.1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def tapped() -> Iterator[tuple[Tap, socket.socket, socket.socket]]:
    """A client and a server with a tap between them."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        Tap(port=listener.getsockname()[1]) as tap,
        socket.create_connection(("127.0.0.1", tap.port)) as client,
    ):
        server, _ = listener.accept()
        with server:
            client.settimeout(10)
            server.settimeout(10)
            yield tap, client, server


def test_both_directions_are_kept() -> None:
    """What was said can be taken once; what comes later is a new recording of the same connection."""
    with tapped() as (tap, client, server):
        client.sendall(GET)
        assert server.recv(100) == GET
        server.sendall(OK)
        assert client.recv(100) == OK
        (seen,) = tap.peek()
        (taken,) = tap.take()
        assert seen == taken
        assert (bytes(taken.sent), bytes(taken.received), taken.ended) == (GET, OK, False)
        assert taken.exchanges()[0].response.status == 200
        assert tap.take() == []
        client.sendall(GET)
        assert server.recv(100) == GET
        assert [bytes(each.sent) for each in tap.take()] == [GET]


def test_an_end_is_passed_on() -> None:
    """One side may end while the other goes on."""
    with tapped() as (tap, client, server):
        client.shutdown(socket.SHUT_WR)
        assert server.recv(1) == b""
        server.sendall(OK)
        assert client.recv(100) == OK
        server.close()
        assert client.recv(1) == b""
        eventually(lambda: tap.peek()[0].ended and tap.peek()[0].left, "both ends to be known")


def test_who_goes_is_missed() -> None:
    """A reset of one side ends the other."""
    with tapped() as (_, client, server):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        with suppress(ConnectionResetError):
            assert server.recv(1) == b""


def test_a_new_aim() -> None:
    """Connections opened after a change of aim go to the new target; without one they are closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener, Tap(port=1) as tap:
        with socket.create_connection(("127.0.0.1", tap.port)) as lost:
            lost.settimeout(10)
            assert lost.recv(1) == b""
        tap.aim(listener.getsockname()[1])
        with socket.create_connection(("127.0.0.1", tap.port)) as client:
            server, _ = listener.accept()
            with server:
                client.sendall(b"x")
                assert server.recv(1) == b"x"
