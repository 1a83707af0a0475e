"""What a request under way consists of, laid out so that it is found fast."""

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

from proxy.dataplane.evidence import UNIT_COIN
from proxy.dataplane.life import QUEUED
from proxy.dataplane.overload import AdaptiveLimit
from proxy.dataplane.upstream import UpstreamConnection
from proxy.model import Fault
from proxy.routing.table import Route, Shadow, Table, Variant
from proxy.wire.head import RequestHead

if TYPE_CHECKING:
    from proxy.dataplane.client import ClientConnection
    from proxy.dataplane.pool import Pool
    from proxy.dataplane.worker import Worker

__all__ = ["RequestState"]


class RequestState:
    """What is known of one request. :class:`~proxy.dataplane.inflight.InFlight` is what happens to it.

    HOT: what nearly every request sets or reads has a slot, and what few touch is a default of the class. Without slots
    CPython lays out all instances by the names that the first thirty set; of a worker whose first requests were
    otherwise than the rest, each later one has a dictionary of its own: 6 % of a mirrored request
    (``benchmarks/NOTES.md``).

    Args:
        client: who asks.
        head: what is asked.
        request_id: the client's, where it was cut from the head.
        body: the whole of it, where the request is all there; None: it is still to come.
    """

    __slots__ = (
        "__dict__",
        "bucket",
        "client",
        "coin",
        "connection",
        "copy",
        "fault",
        "flags",
        "head",
        "head_sent",
        "held",
        "keep_alive",
        "limit",
        "number",
        "out",
        "replay",
        "request_bytes",
        "request_done",
        "request_head",
        "request_id",
        "response_bytes",
        "response_copy",
        "response_head",
        "response_lines",
        "route",
        "serving",
        "shadows",
        "shadows_sent",
        "started_ns",
        "state",
        "status",
        "table",
        "ttfb_ns",
        "unit",
        "unit_source",
        "variant",
        "worker",
    )

    # Request
    replay_rest: list[bytes] | None = None
    """What was written after ``replay``."""
    trailers: list[bytes] | None = None
    is_id_ours = False
    """The client gave no request id."""
    framing_line = b""
    may_upgrade = False
    """It asks for another protocol, in a way that can be followed."""
    upgrade = b""
    """The protocol that the model is asked for."""
    # Assignment
    block = b""
    """The header lines that a model gets, where they are not simply the client's and ours."""
    endpoint: "Pool | None" = None
    """The server chosen last, of a model with several."""
    retries = 0
    stale_retry = False
    # Copies
    traceparent = b""
    span_id = 0
    # Response
    chunked_out = False
    response_trailers: list[bytes] | None = None
    read_ns = 0
    """When the latest piece of the answer came."""
    arrivals: "array[int] | None" = None
    """When each piece came, of an answer that is copied and has no length: see ``arrivals``."""
    response_out: list[bytes] | None = None
    """Response bytes to be written to the client at the end of this read."""
    is_cut = False
    """The answer ended before it was whole."""

    def __init__(
        self,
        client: "ClientConnection",
        head: RequestHead,
        request_id: bytes = b"",
        body: bytes | None = None,
    ) -> None:
        # What is only declared here is assigned when the request begins, or gets its variant.
        # Request
        self.client = client
        self.worker: Worker = client.worker
        self.head: RequestHead = head
        self.keep_alive = head.keep_alive
        self.state = QUEUED
        self.started_ns: int
        self.request_id = request_id
        """The client's or a fresh one."""
        self.held: list[bytes] | None
        """Pieces of the body that came before it was known where they go."""
        if body is None:
            self.request_done = False
            self.request_bytes = 0
            self.held = None
        else:
            self.request_done = True
            self.request_bytes = head.length
            self.held = [body] if body else None
        self.out: list[bytes] | None = None
        """Request bytes to be written upstream at the end of this read."""
        self.replay: bytes | None = None
        """The first bytes that were written; None: nothing was, empty: they are not at hand any more."""
        # Assignment
        self.table: Table
        self.route: Route
        self.variant: Variant
        """The assigned one, to its end."""
        self.serving: Variant
        """The one that is asked now: the assigned one, or after a fallback the champion."""
        self.unit: bytes
        self.unit_source: int
        self.bucket: int
        self.coin = UNIT_COIN
        """What it counts as; see :mod:`~proxy.dataplane.evidence`."""
        self.connection: UpstreamConnection | None = None
        self.limit: AdaptiveLimit | None = None
        """What counts it, if its model has such a limit."""
        # Copies
        self.flags = 0
        self.copy: list[bytes] | None = None
        """The request's body, for copies and for the observer."""
        self.request_head: bytes
        """As the model got it; only with ``copy``."""
        self.number: int
        """Of the exchange; only with ``response_copy``."""
        self.shadows: Sequence[Shadow] | None = None
        self.shadows_sent = 0
        # Response
        self.status = 0
        self.ttfb_ns = 0
        self.head_sent = False
        self.response_bytes = 0
        """Of the body; of one that comes in pieces only if it is copied."""
        self.response_head: bytes
        """Like the next only with ``response_copy``; set where somebody is told of it."""
        self.response_lines: bytes
        """The model's header lines, as they are forwarded."""
        self.response_copy: list[bytes] | None = None
        """The answer's body, for the observer."""
        self.fault = Fault.NONE
