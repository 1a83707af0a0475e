"""The listening sockets, the sentences when they cannot be had, and their end."""

import os
import socket
import sys
from collections.abc import Callable

import pytest

from proxy import listening
from proxy.clock import monotonic
from proxy.listening import BindError, bind, turn_away, url
from proxy.settings import parse_address

PATIENCE_S = 10.0

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such filter")


def test_port_zero_takes_a_free_one() -> None:
    """The URL names the real port, and a client can connect before anybody accepts."""
    with bind(parse_address("127.0.0.1:0"), "listen") as listener:
        port = listener.getsockname()[1]
        assert port > 0
        assert url(listener) == f"http://127.0.0.1:{port}"
        assert url(listener, "https") == f"https://127.0.0.1:{port}"
        socket.create_connection(("127.0.0.1", port), timeout=5).close()


def test_ipv6() -> None:
    """An IPv6 address stands in brackets."""
    with bind(parse_address("[::1]:0"), "listen") as listener:
        assert url(listener).startswith("http://[::1]:")


def test_the_ipv6_wildcard_takes_ipv4_too() -> None:
    """``[::]`` means every address."""
    with bind(parse_address("[::]:0"), "listen") as listener:
        socket.create_connection(("127.0.0.1", listener.getsockname()[1]), timeout=5).close()


def test_an_address_in_use_is_one_sentence() -> None:
    """The sentence names the setting, the address and what to do."""
    with bind(parse_address("127.0.0.1:0"), "listen") as listener:
        port = listener.getsockname()[1]
        with pytest.raises(BindError) as caught:
            bind(parse_address(f"127.0.0.1:{port}"), "admin")
    assert str(caught.value) == (
        f"admin: cannot listen on 127.0.0.1:{port}: address already in use; "
        "another process listens there; stop it, or change the address"
    )


def test_an_address_of_another_machine() -> None:
    """An address that this machine does not have is said to be so."""
    with pytest.raises(BindError, match=r"listen: cannot listen on 192\.0\.2\.1:0.*no such address"):
        bind(parse_address("192.0.2.1:0"), "listen")


def test_an_unknown_name() -> None:
    """A name that cannot be found is an error of the same kind."""
    with pytest.raises(BindError, match="admin: cannot find the address"):
        bind(parse_address("no-such-host.invalid:80"), "admin")


def connect(listener: socket.socket) -> socket.socket:
    """Return a client whose handshake is complete."""
    client = socket.socket(listener.family)
    client.settimeout(PATIENCE_S)
    client.connect(listener.getsockname())
    return client


def knock(listener: socket.socket) -> socket.socket:
    """Return a client that has sent its first packet; the answer, if any, comes at once on the same machine."""
    client = socket.socket(listener.family)
    client.setblocking(False)
    client.connect_ex(listener.getsockname())
    return client


def accept(listener: socket.socket) -> socket.socket:
    """Return the connection that waits longest."""
    accepted, _ = listener.accept()
    accepted.settimeout(PATIENCE_S)
    return accepted


@only_linux
@pytest.mark.parametrize(
    ("address", "host"), [("127.0.0.1:0", ""), ("[::1]:0", ""), ("[::]:0", "127.0.0.1")], ids=str
)
async def test_who_is_connected_is_accepted_and_nobody_else(
    monkeypatch: pytest.MonkeyPatch, address: str, host: str
) -> None:
    """Before: in the queue, with its request. After: not in the queue, and not refused as long as it is open."""
    monkeypatch.setattr(listening, "SETTLE_S", 0)
    with bind(parse_address(address), "listen") as listener:
        where = (host, listener.getsockname()[1]) if host else listener.getsockname()
        early = socket.create_connection(where[:2], timeout=PATIENCE_S)
        early.sendall(b"request")
        await turn_away(listener.fileno())
        with pytest.raises(TimeoutError):
            socket.create_connection(where[:2], timeout=0.05)
        with early, accept(listener) as accepted:
            assert accepted.recv(100) == b"request"
            accepted.sendall(b"answer")
            assert early.recv(100) == b"answer"
        with pytest.raises(BlockingIOError):
            listener.accept()


@only_linux
async def test_a_handshake_under_way_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last packet of the three comes after the filter: the connection is made, and works in both directions."""
    monkeypatch.setattr(listening, "SETTLE_S", 0)
    with bind(parse_address("127.0.0.1:0"), "listen") as listener:
        # The system then takes the third packet only with data in it.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, int(PATIENCE_S))
        with connect(listener) as client:
            with pytest.raises(BlockingIOError):
                listener.accept()
            await turn_away(listener.fileno())
            client.sendall(b"request")
            with accept(listener) as accepted:
                assert accepted.recv(100) == b"request"
                accepted.sendall(b"answer")
                assert client.recv(100) == b"answer"
                client.close()
                assert accepted.recv(100) == b""


@only_linux
async def test_who_comes_late_is_refused_when_it_tries_again() -> None:
    """Not reset after it had been let in: it never was, and its next try finds nobody."""
    with bind(parse_address("127.0.0.1:0"), "listen") as listener:
        began = monotonic()
        await turn_away(listener.fileno())
        assert monotonic() - began >= listening.SETTLE_S
        late = knock(listener)
        where = listener.getsockname()
    with late:
        late.settimeout(PATIENCE_S)
        with pytest.raises(ConnectionRefusedError):
            _wait_connected(late)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(where, timeout=PATIENCE_S)


def _wait_connected(client: socket.socket) -> None:
    """Wait for what becomes of a client that has knocked."""
    client.recv(1)


@only_linux
async def test_it_counts_for_everybody_who_shares_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said twice, through any copy, it is the same."""
    monkeypatch.setattr(listening, "SETTLE_S", 0)
    with bind(parse_address("127.0.0.1:0"), "listen") as listener, listener.dup() as copy:
        await turn_away(copy.fileno())
        await turn_away(listener.fileno())
        with knock(listener), pytest.raises(BlockingIOError):
            copy.accept()


def _elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")


def _forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "_NO_SYN", ())  # the system refuses it as it would refuse any


@pytest.mark.parametrize("without", [_elsewhere, _forbidden])
async def test_without_the_filter_nothing_changes(
    monkeypatch: pytest.MonkeyPatch, without: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """Another system, or one that does not allow it: it goes on without, does not wait, and clients are let in."""
    monkeypatch.setattr(listening, "SETTLE_S", 3600)
    without(monkeypatch)
    with bind(parse_address("127.0.0.1:0"), "listen") as listener:
        await turn_away(listener.fileno())
        with connect(listener) as client, accept(listener) as accepted:
            client.sendall(b"request")
            assert accepted.recv(100) == b"request"


async def test_a_descriptor_that_is_no_socket_stays_open() -> None:
    """What cannot be filtered is left alone."""
    ends = os.pipe()
    for end in ends:
        await turn_away(end)
        os.close(end)
