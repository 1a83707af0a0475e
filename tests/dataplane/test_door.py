"""The door for clients: who shakes hands holds a place and a time, and whatever becomes of it is counted."""

import ssl
from typing import Any, cast

import pytest

from proxy.certificates import client_context, server_context
from proxy.dataplane.client import ClientConnection
from proxy.dataplane.door import Door
from proxy.model import HandshakeFailure
from proxy.settings import ModelTls, Tls
from tests.certificate_world import Authority
from tests.dataplane.road import LIMITS, Road, read_answers, request
from tests.dataplane.test_tls import Peer
from tests.fakes import FakeTransport

AUTHORITY = Authority()
SERVER, CLIENT = AUTHORITY.issue("localhost"), AUTHORITY.issue("client")
STRANGER = Authority("stranger")
FILES = {
    "ca": AUTHORITY.pem,
    "cert": SERVER.certificate,
    "key": SERVER.key,
    "client": CLIENT.certificate,
    "client_key": CLIENT.key,
    "stranger": STRANGER.pem,
}
ONE_WAY = {"certificate": "cert", "key": "key"}
THEIRS = ModelTls.model_validate({"ca": "ca"})


class Porch:
    """A door, and callers in front of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **tls: str) -> None:
        self.road = Road(monkeypatch, LIMITS)
        self.road.leave()
        self.emptied = 0
        self.door = Door(cast("Any", self.road.worker), self._on_empty)
        if tls:
            self.door.context = server_context(Tls.model_validate(tls), FILES)

    def _on_empty(self) -> None:
        self.emptied += 1

    def call(self) -> FakeTransport:
        """Open a connection."""
        protocol = self.door.open()
        transport = FakeTransport(cast("Any", protocol), ("192.0.2.9", 40_000))
        self.road.clients.append(transport)
        self.road.settle()
        return transport

    def shake(self, transport: FakeTransport, peer: Peer) -> None:
        """Let ``peer`` and the connection shake hands, as far as they get."""
        for _ in range(4):
            done = peer.shake()
            if wire := peer.outgoing.read():
                self.send(transport, wire)
            if not transport.writes:
                break
            peer.incoming.write(transport.take())
            if done:
                break

    def send(self, transport: FakeTransport, data: bytes) -> None:
        """Send bytes."""
        if not transport.closed:
            transport.protocol.data_received(data)
        self.road.settle()

    def failures(self) -> dict[str, int]:
        """Return what was counted of handshakes that failed."""
        counts = {f.label: self.road.count("worker", f"handshake_{f.label}") for f in HandshakeFailure}
        return {label: number for label, number in counts.items() if number}


def test_without_a_certificate_it_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain connections go straight to a client's protocol, and say http to the model."""
    protocol = Porch(monkeypatch).door.open()
    assert type(protocol) is ClientConnection
    assert protocol.scheme == b"http"


def test_a_secured_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the handshake a connection is a connection like any other; the model is told that it was https."""
    porch = Porch(monkeypatch, **ONE_WAY)
    transport, peer = porch.call(), Peer(client_context(THEIRS, FILES))
    assert porch.door.shaking == 1
    porch.shake(transport, peer)
    assert porch.door.shaking == 0
    assert porch.road.worker.connected == 1
    porch.send(transport, peer.send(request(body=b"[1]")))
    upstream = porch.road.connect()
    assert b"\r\nx-forwarded-for: 192.0.2.9\r\nx-forwarded-proto: https\r\n" in upstream.take()
    porch.road.answer(upstream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    (answer,) = read_answers(peer.read(transport.take()))
    assert (answer.status, answer.body) == (200, b"ok")
    assert porch.failures() == {}
    assert porch.emptied == 1


def test_a_special_request_says_https_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is with heads that are rebuilt line by line."""
    porch = Porch(monkeypatch, **ONE_WAY)
    transport, peer = porch.call(), Peer(client_context(THEIRS, FILES))
    porch.shake(transport, peer)
    porch.send(transport, peer.send(request(te="trailers", connection="te")))
    assert b"\r\nx-forwarded-proto: https\r\n" in porch.road.connect().take()


def test_plain_http_is_answered_in_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who forgot the s is told so, in words that can be read."""
    porch = Porch(monkeypatch, **ONE_WAY)
    transport = porch.call()
    porch.send(transport, request())
    (answer,) = read_answers(transport.take())
    assert answer.status == 400
    assert b"speaks HTTPS" in answer.body
    assert transport.lost
    assert porch.failures() == {"plain_http": 1}
    assert porch.road.count("unrouted", "code_400") == 1
    assert porch.road.worker.connected == 0


def old_client() -> Peer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return Peer(context)


def limited_client(version: ssl.TLSVersion) -> Peer:
    context = client_context(THEIRS, FILES)
    context.maximum_version = version
    return Peer(context)


CASES = {
    "TLS 1.1": (ONE_WAY, old_client, "protocol"),
    "TLS 1.2 under a floor of 1.3": (
        {**ONE_WAY, "min_version": "1.3"},
        lambda: limited_client(ssl.TLSVersion.TLSv1_2),
        "protocol",
    ),
    "a client that does not trust us": (
        ONE_WAY,
        lambda: Peer(client_context(ModelTls.model_validate({"ca": "stranger"}), FILES)),
        "refused",
    ),
    "no certificate": (
        {**ONE_WAY, "client_ca": "ca"},
        lambda: Peer(client_context(THEIRS, FILES)),
        "certificate",
    ),
    "a stranger's certificate": (
        {**ONE_WAY, "client_ca": "stranger"},
        lambda: Peer(
            client_context(
                ModelTls.model_validate({"ca": "ca", "certificate": "client", "key": "client_key"}), FILES
            )
        ),
        "certificate",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_who_is_turned_away(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is refused in the handshake, counted with its reason, and never becomes a connection."""
    tls, peer_of, reason = CASES[case]
    porch = Porch(monkeypatch, **tls)
    transport, peer = porch.call(), peer_of()
    try:
        porch.shake(transport, peer)
    except ssl.SSLError:
        porch.send(transport, peer.outgoing.read())  # its alert
    assert porch.failures() == {reason: 1}
    assert transport.lost
    assert porch.road.worker.connected == 0
    assert porch.door.shaking == 0


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_who_proves_who_it_is_comes_in(version: ssl.TLSVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client with a certificate of the authority is served, in both versions."""
    porch = Porch(monkeypatch, **ONE_WAY, client_ca="ca")
    context = client_context(
        ModelTls.model_validate({"ca": "ca", "certificate": "client", "key": "client_key"}), FILES
    )
    context.maximum_version = version
    transport, peer = porch.call(), Peer(context)
    porch.shake(transport, peer)
    assert porch.failures() == {}
    assert porch.road.worker.connected == 1
    assert peer.tls.version() == {ssl.TLSVersion.TLSv1_2: "TLSv1.2"}.get(version, "TLSv1.3")


@pytest.mark.parametrize("flight", [b"", b"\x16\x03\x01\x02"], ids=["silent", "slow"])
def test_a_handshake_has_its_time(flight: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is not done within timeouts.client_head is cut off, however little it sends meanwhile."""
    porch = Porch(monkeypatch, **ONE_WAY)
    transport = porch.call()
    if flight:
        porch.send(transport, flight)
    porch.road.wait(9.9)
    assert not transport.closed
    porch.road.wait(0.2)
    assert transport.aborted
    assert porch.failures() == {"timeout": 1}
    assert porch.door.shaking == 0


def test_who_leaves_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handshake that is broken off is counted, once, and its place is free again."""
    porch = Porch(monkeypatch, **ONE_WAY)
    transport = porch.call()
    porch.road.leave(transport)
    porch.road.wait(20)
    assert porch.failures() == {"closed": 1}
    assert porch.door.shaking == 0


def test_handshakes_hold_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections in a handshake count against limits.connections: one more is closed before it costs anything."""
    porch = Porch(monkeypatch, **ONE_WAY)
    first, second = porch.call(), porch.call()
    third = porch.call()
    assert (first.closed, second.closed, third.closed) == (False, False, True)
    assert porch.failures() == {"overflow": 1}
    porch.road.leave(first)
    assert not porch.call().closed
