"""Hostile bytes: everything that the table and the corpus send, and what comes of it when single bytes go astray."""

from functools import cache

from hypothesis import strategies as st

from tests.conformance.corpus import corpus_rows, with_host
from tests.conformance.rows import ROOMS
from tests.conformance.stage import CLOSE, CUT

__all__ = ["hostile_requests", "hostile_responses", "mutations"]

SPLICES = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b"\x00", b"\x0b", b"\xff", b":", b",", b";", b"0", b"#",
    b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"content-length:44\r\n", b"Content-Length : 3\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: xchunked\r\n", b"Transfer-Encoding:\x0bchunked\r\n",
    b"Transfer-Encoding: chunked, identity\r\n", b"Transfer-Encoding\t: chunked\r\n", b"X: y\r\n Content-Length: 9\r\n",
    b"Connection: close\r\n", b"Connection: content-length\r\n", b"Connection: transfer-encoding\r\n",
    b"Upgrade: x\r\n", b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"Expect: 100-continue\r\n", b"Host: evil\r\n",
    b"0\r\n\r\n", b"3\r\nabc\r\n", b"1;\n\r\nX\r\n", b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsplit",
)  # fmt: skip
"""What is put between two bytes."""


@cache
def hostile_requests() -> tuple[bytes, ...]:
    """Return what clients send, each message once."""
    sent = [case.sent for cases in ROOMS.values() for case in cases]
    found = [b"".join(piece for piece in pieces if piece not in (CLOSE, CUT)) for pieces in sent]
    found += [with_host(row.raw) for row in corpus_rows() if row.kind == "request"]
    return tuple(dict.fromkeys(found))


@cache
def hostile_responses() -> tuple[bytes, ...]:
    """Return what model servers answer, each message once."""
    scripts = [script for cases in ROOMS.values() for case in cases for script in case.scripts]
    found = [b"".join(piece for piece in script.at_end if piece not in (CLOSE, CUT)) for script in scripts]
    found += [row.raw for row in corpus_rows() if row.kind == "response"]
    return tuple(dict.fromkeys(raw for raw in found if 0 < len(raw) < 5000))


@st.composite
def mutations(draw: st.DrawFn, messages: tuple[bytes, ...]) -> bytes:
    """Return one of ``messages`` in which bytes were replaced, left out or put in, a few times."""
    raw = draw(st.sampled_from(messages))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(raw)))
        length = draw(st.integers(0, 3))
        put = draw(st.sampled_from(SPLICES) | st.binary(max_size=2))
        raw = raw[:at] + put + raw[at + length :]
    return raw
