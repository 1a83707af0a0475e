"""The TLS layer without a socket: a transport that keeps what is written, and a peer in memory."""

import asyncio
import ssl
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.certificates import client_context, server_context
from proxy.dataplane.tls import HandshakeCutError, TlsConnection
from proxy.settings import ModelTls, Tls
from tests.certificate_world import Authority
from tests.fakes import FakeTransport

AUTHORITY = Authority()
SERVER = AUTHORITY.issue("localhost")
FILES = {"ca": AUTHORITY.pem, "cert": SERVER.certificate, "key": SERVER.key}
OURS = server_context(Tls.model_validate({"certificate": "cert", "key": "key"}), FILES)
THEIRS = client_context(ModelTls.model_validate({"ca": "ca"}), FILES)


class Recorder(asyncio.Protocol):
    """The secured protocol: keeps what it is told."""

    def __init__(self, keeps_open: bool = False) -> None:
        self.events: list[Any] = []
        self.keeps_open = keeps_open
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        self.events.append(data)

    def eof_received(self) -> bool:
        self.events.append("eof")
        return self.keeps_open

    def connection_lost(self, error: Exception | None) -> None:
        self.events.append(("lost", type(error)))

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    def taken(self) -> list[Any]:
        """Return what happened since the last call."""
        events, self.events = self.events, []
        return events


class Peer:
    """The other end: plain OpenSSL over two buffers."""

    def __init__(self, context: ssl.SSLContext = THEIRS, *, server_side: bool = False) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.name = None if server_side else "localhost"
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, server_side=server_side, server_hostname=self.name
        )

    def shake(self) -> bool:
        """Go on with the handshake; tell whether it is over."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def send(self, data: bytes) -> bytes:
        """Return ``data`` as it goes over the wire."""
        self.tls.write(data)
        return self.outgoing.read()

    def say_end(self) -> bytes:
        """Return the alert that says that nothing more comes."""
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self.outgoing.read()

    def read(self, wire: bytes) -> bytes:
        """Return what ``wire`` says; raises ``SSLZeroReturnError`` behind the end."""
        self.incoming.write(wire)
        pieces: list[bytes] = []
        while True:
            try:
                piece = self.tls.read(65536)
            except ssl.SSLWantReadError:
                return b"".join(pieces)
            if not piece:
                return b"".join([*pieces, b"<end>"])
            pieces.append(piece)


class Scene:
    """A secured protocol, its socket and the peer."""

    def __init__(self, *, server_side: bool = True, keeps_open: bool = False) -> None:
        self.inner = Recorder(keeps_open)
        self.ended: list[Exception | None] = []
        self.peer = Peer() if server_side else Peer(OURS, server_side=True)
        self.layer = TlsConnection(
            self.inner,
            OURS if server_side else THEIRS,
            lambda _, error: self.ended.append(error),
            server_side=server_side,
            server_name=None if server_side else "localhost",
        )
        self.raw = FakeTransport(self.layer)

    def shake(self) -> "Scene":
        """Finish the handshake."""
        while not (self.peer.shake() and not self.peer.outgoing.pending):
            if wire := self.peer.outgoing.read():
                self.layer.data_received(wire)
            self.peer.incoming.write(self.raw.take())
        self.peer.read(self.raw.take())
        assert self.ended == [None]
        assert self.inner.taken() == ["made"]
        return self


@pytest.fixture(name="scene", params=[True, False], ids=["server", "client"])
def fixture_scene(request: pytest.FixtureRequest) -> Scene:
    """An open connection, with us on either side."""
    return Scene(server_side=request.param).shake()


def test_bytes_pass_both_ways(scene: Scene) -> None:
    """What either side writes is what the other reads, of any size."""
    scene.layer.data_received(scene.peer.send(b"ping"))
    assert scene.inner.taken() == [b"ping"]
    large = bytes(range(256)) * 1000
    scene.layer.write(large)
    assert scene.peer.read(scene.raw.take()) == large
    scene.layer.data_received(scene.peer.send(large))
    assert scene.inner.taken() == [large]


@given(cuts=st.lists(st.integers(0, 40_000), max_size=8))
def test_any_cut_gives_the_same_bytes(cuts: list[int]) -> None:
    """However the socket cuts what comes, the protocol gets the same bytes, and nothing is left behind."""
    scene = Scene().shake()
    data = bytes(range(251)) * 150
    wire = scene.peer.send(data) + scene.peer.send(b"tail")
    places = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    for begin, end in pairwise(places):
        if begin < end:
            scene.layer.data_received(wire[begin:end])
    assert b"".join(scene.inner.taken()) == data + b"tail"


def test_data_behind_the_handshake_is_not_lost() -> None:
    """A client may send its request in the same segment as the end of its handshake."""
    scene = Scene()
    scene.peer.shake()
    scene.layer.data_received(scene.peer.outgoing.read())
    scene.peer.incoming.write(scene.raw.take())
    assert scene.peer.shake()
    scene.layer.data_received(scene.peer.outgoing.read() + scene.peer.send(b"GET"))
    assert scene.inner.taken() == ["made", b"GET"]


@pytest.mark.parametrize("error", [None, OSError("reset")])
def test_the_end_is_told_apart_from_a_cut(scene: Scene, error: Exception | None) -> None:
    """Behind close_notify the connection ends without an error, however its socket ends, and we answer it."""
    scene.layer.data_received(scene.peer.send(b"all") + scene.peer.say_end())
    assert scene.inner.taken() == [b"all", "eof"]
    assert scene.raw.closed
    assert not scene.raw.aborted
    with pytest.raises(ssl.SSLZeroReturnError):
        scene.peer.read(scene.raw.take())
    scene.raw.lose(error)
    assert scene.inner.taken() == [("lost", type(None))]


@pytest.mark.parametrize("error", [None, OSError("reset")])
def test_a_cut_is_told(scene: Scene, error: Exception | None) -> None:
    """Without close_notify the end of the socket is an error, also when it looked peaceful."""
    scene.layer.data_received(scene.peer.send(b"some"))
    assert scene.layer.eof_received() is False
    scene.raw.lose(error)
    assert scene.inner.taken() == [b"some", ("lost", type(error or ConnectionResetError()))]


def test_close_says_so(scene: Scene) -> None:
    """Closing sends what was written, then close_notify, then closes the socket, waiting for nobody."""
    scene.layer.write(b"bye")
    scene.layer.close()
    assert scene.raw.closed
    assert not scene.raw.aborted
    assert scene.peer.read(scene.raw.take()) == b"bye<end>"
    scene.layer.write(b"late")
    assert scene.raw.take() == b""
    scene.raw.lose()
    assert scene.inner.taken() == [("lost", type(None))]


def test_abort_does_not(scene: Scene) -> None:
    """Aborting leaves the peer without close_notify, so that it can tell that something is missing."""
    scene.layer.write(b"so far")
    scene.layer.abort()
    assert scene.raw.aborted
    assert scene.peer.read(scene.raw.take()) == b"so far"
    scene.raw.lose()
    assert scene.inner.taken() == [("lost", type(None))]


def test_one_direction_ends_alone(scene: Scene) -> None:
    """Behind our end the peer's data still comes; nothing more goes out."""
    scene.layer.write_eof()
    assert scene.raw.eof_written
    assert scene.peer.read(scene.raw.take()) == b"<end>"
    scene.layer.write(b"too late")
    scene.layer.write_eof()
    scene.layer.data_received(scene.peer.send(b"still here"))
    assert scene.inner.taken() == [b"still here"]
    scene.layer.data_received(b"\x17\x03\x03\x00\x13" + bytes(19))  # the alert would come behind our end
    assert scene.raw.closed
    assert scene.raw.take() == b""


def test_the_other_direction_too() -> None:
    """Behind the peer's end we can go on writing, if the protocol wants to."""
    scene = Scene(keeps_open=True).shake()
    scene.layer.data_received(scene.peer.say_end())
    assert scene.inner.taken() == ["eof"]
    assert scene.layer.eof_received() is True
    assert not scene.raw.closed
    scene.layer.write(b"more")
    assert scene.raw.take()
    scene.layer.close()
    scene.raw.lose()
    assert scene.inner.taken() == [("lost", type(None))]


def test_back_pressure_is_the_socket_s(scene: Scene) -> None:
    """What slows the socket slows the protocol, and the other way round."""
    scene.raw.stall(100_000)
    assert scene.inner.taken() == ["pause"]
    assert scene.layer.get_write_buffer_size() == 100_000
    scene.raw.take_up()
    assert scene.inner.taken() == ["resume"]
    scene.layer.pause_reading()
    assert not scene.raw.is_reading()
    scene.layer.resume_reading()
    assert scene.layer.is_reading()


def test_a_broken_record_ends_the_connection(scene: Scene) -> None:
    """Bytes that do not decrypt are never handed over: an alert goes out and the protocol learns why."""
    wire = bytearray(scene.peer.send(b"secret"))
    wire[-1] ^= 1
    scene.layer.data_received(bytes(wire))
    scene.layer.data_received(scene.peer.send(b"behind it"))
    scene.layer.write(b"nothing more")
    assert scene.inner.taken() == []
    assert scene.raw.closed
    scene.raw.lose()
    ((lost, kind),) = scene.inner.taken()
    assert lost == "lost"
    assert issubclass(kind, ssl.SSLError)
    with pytest.raises(ssl.SSLError, match="bad record mac"):
        scene.peer.read(scene.raw.take())


def test_what_is_not_tls_fails_the_handshake() -> None:
    """The protocol never hears of it; who waits for the handshake does, once."""
    scene = Scene()
    scene.layer.data_received(b"\x00\x01\x02 certainly not TLS")
    assert scene.raw.closed
    scene.raw.lose()
    assert scene.inner.taken() == []
    assert [type(error) for error in scene.ended] == [ssl.SSLError]


@pytest.mark.parametrize("flights", [0, 1])
def test_a_peer_that_leaves_in_the_middle(flights: int) -> None:
    """An unfinished handshake ends with its own kind of error."""
    scene = Scene()
    if flights:
        scene.peer.shake()
        scene.layer.data_received(scene.peer.outgoing.read())
    assert scene.layer.eof_received() is False
    scene.raw.lose()
    assert scene.inner.taken() == []
    assert [type(error) for error in scene.ended] == [HandshakeCutError]


def test_whoever_is_told_may_decline() -> None:
    """A connection that is aborted at the end of its handshake never reaches the protocol."""
    scene = Scene()
    scene.ended = cast("Any", Declining(scene))
    scene.peer.shake()
    scene.layer.data_received(scene.peer.outgoing.read())
    scene.peer.incoming.write(scene.raw.take())
    scene.peer.shake()
    scene.layer.data_received(scene.peer.outgoing.read() + scene.peer.send(b"GET"))
    scene.raw.lose()
    assert scene.inner.taken() == []


class Declining:
    """Aborts what it is told of."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def append(self, _: Exception | None) -> None:
        self._scene.layer.abort()


def test_what_is_known_of_the_connection(scene: Scene) -> None:
    """The socket's transport answers, and the TLS object can be asked for."""
    assert scene.layer.get_extra_info("peername") == ("192.0.2.7", 50_000)
    assert scene.layer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
    assert scene.layer.get_extra_info("nothing", 7) == 7
    assert scene.layer.get_protocol() is scene.inner
    other = Recorder()
    scene.layer.set_protocol(other)
    scene.layer.data_received(scene.peer.send(b"hello"))
    assert other.taken() == [b"hello"]


@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=5), st.booleans())
def test_no_bytes_break_a_handshake_otherwise_than_by_failing_it(pieces: list[bytes], begins: bool) -> None:
    """Whatever comes, the handshake fails or waits for more: nothing is raised and nothing is handed over."""
    scene = Scene()
    if begins:
        scene.peer.shake()
        scene.layer.data_received(scene.peer.outgoing.read())
    for piece in pieces:
        scene.layer.data_received(piece)
    scene.raw.lose()
    assert scene.inner.taken() == []
    assert len(scene.ended) == 1
    assert isinstance(scene.ended[0], Exception)


@given(st.integers(0, 3000), st.integers(1, 255))
def test_a_changed_byte_is_never_handed_over(place: int, change: int) -> None:
    """Of bytes that were changed on the way only whole records in front of the change arrive."""
    scene = Scene().shake()
    pieces = [bytes([i]) * 300 for i in range(8)]
    wire = bytearray(b"".join(map(scene.peer.send, pieces)))
    wire[place % len(wire)] ^= change
    scene.layer.data_received(bytes(wire))
    scene.raw.lose()
    *got, (lost, _) = scene.inner.taken()
    assert lost == "lost"
    assert b"".join(pieces).startswith(b"".join(got))
    assert len(b"".join(got)) % 300 == 0
    assert b"".join(got) != b"".join(pieces)
