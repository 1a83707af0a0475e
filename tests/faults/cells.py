"""The nouns of the fault matrix: a cell is one thing that goes wrong at one moment on one side, and what must follow.

Every cell has a route, a model and ports of its own in one running proxy, so that the counters of a cell are its own
although many are played at the same time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.hostile.steps import Drip, Flood, Script, Send, Serve, Step

__all__ = [
    "ASK",
    "ASK_CHUNKED",
    "ASK_HTTP10",
    "BODY_LIMIT",
    "BRIEF_S",
    "CHUNKED",
    "COPY_LIMIT",
    "OK",
    "PATIENT",
    "SERVES",
    "Cell",
    "addressed",
    "request_head",
]

BRIEF_S = 0.6
"""Every timeout that a cell runs into: longer than a busy machine's hiccup, short enough for two hundred cells."""

BODY_LIMIT = 8 << 20
COPY_LIMIT = 64 << 10
PATH = b"/cell/"
PATIENT = {"timeout": "20s", "idle_timeout": "20s"}
"""Settings of a model whose connection is never ended by a timeout: then it was the client's leaving that ended it."""

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
SERVES: Script = (Serve(OK),)
"""A model server that does what it should."""


def request_head(*lines: bytes, version: bytes = b"1.1") -> bytes:
    """Return the head of a request to the cell's route."""
    return b"\r\n".join([b"POST %binfer HTTP/%b" % (PATH, version), b"host: h", *lines, b"", b""])


ASK = request_head(b"content-length: 4") + b"body"
ASK_CHUNKED = request_head(b"transfer-encoding: chunked") + b"4\r\nbody\r\n0\r\n\r\n"
ASK_HTTP10 = request_head(b"content-length: 4", version=b"1.0") + b"body"


@dataclass(frozen=True)
class Cell:
    """One row of the matrix."""

    side: str
    """Who is at fault: ``client``, ``model``, ``challenger`` or ``shadow``."""
    when: str
    what: str
    """What goes wrong; a word of the side's vocabulary, with details behind a colon."""
    answer: str | tuple[str, ...]
    """What the client must get (see :func:`tests.hostile.answers.judge`); ``left`` when it leaves itself. Several where
    a race on the wire decides; ``why`` says which."""
    why: str
    """The rule that makes this the right outcome."""
    client: Script = (Send(ASK),)
    model: Sequence[Script] = (SERVES,)
    address: str = ""
    """Instead of a server that plays ``model``: ``refused`` or ``blackhole``."""
    codes: Mapping[int, int] | tuple[Mapping[int, int], ...] = field(default_factory=lambda: {200: 1})
    """Expected ``modelproxy_requests_total`` of the cell's route."""
    unrouted: Mapping[int, int] = field(default_factory=dict)
    """Expected further counts without a route."""
    faults: Mapping[str, int] | tuple[Mapping[str, int], ...] = field(default_factory=dict)
    """Expected ``modelproxy_upstream_faults_total`` of the model, by kind; several where a race decides."""
    retries: int | tuple[int, ...] = 0
    fallbacks: int = 0
    lines: str | tuple[str, ...] = "kept"
    """What becomes of the connections to the model, in their order: ``kept``, ``left`` (ended by the proxy, at once if
    the client has left) or ``own`` (ended by the model itself)."""
    shadow_counts: Mapping[str, int] = field(default_factory=dict)
    """Expected ``modelproxy_shadow_requests_total`` of the cell's route, by outcome; only those named are looked at."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Of the model."""
    route: Mapping[str, str] = field(default_factory=dict)
    """Settings of the route."""
    methods: int = 1
    """Requests that the client sends."""
    notice_s: float = 0.5
    """A client's leaving must reach the model within this."""
    receive_bytes: int = 0
    """Kernel buffers of the client; 0: as usual."""
    model_receive_bytes: int = 0
    model_reads: bool = True

    @property
    def title(self) -> str:
        """The cell in words."""
        return f"{self.side}, {self.when}: {self.what}"


def addressed(script: Script, name: str) -> Script:
    """Return ``script`` with every request going to the route of the cell called ``name``."""
    return tuple(_addressed_step(step, b"/%b/" % name.encode()) for step in script)


def _addressed_step(step: Step, path: bytes) -> Step:
    changes: dict[str, Any] = {}
    if isinstance(step, Send | Drip):
        changes["data"] = step.data.replace(PATH, path)
    elif isinstance(step, Flood):
        changes["piece"] = step.piece.replace(PATH, path)
    return replace(step, **changes) if changes else step  # type: ignore[type-var]
