"""The nouns that several rooms share: roles, faults, outcomes, and the bounds of the histograms."""

from enum import IntEnum, StrEnum

__all__ = [
    "DISAGREEMENT_REASONS",
    "DROPS",
    "DURATION_BOUNDS_NS",
    "FAILURE_FAULTS",
    "FAULT_SENTENCES",
    "FAULT_STATUS",
    "Announced",
    "Drop",
    "Failure",
    "Fault",
    "HandshakeFailure",
    "Inconclusive",
    "Metric",
    "Role",
]


class Role(StrEnum):
    """What a variant is for."""

    CHAMPION = "champion"
    """The current model; gets what the others do not claim, and every doubtful request."""
    CHALLENGER = "challenger"
    """An alternative under comparison (A/B); keeps its weight until a person changes it."""
    CANARY = "canary"
    """The next champion on trial; its weight ramps up, or back to 0."""


class Metric(StrEnum):
    """What a guardrail watches."""

    ERRORS = "errors"
    """Requests that the variant failed: 5xx, or no whole answer."""
    CLIENT_ERRORS = "client_errors"
    """Requests that the variant answered with 400 to 498."""
    ABANDONED = "abandoned"
    """Requests whose client left before the answer began."""
    LATENCY = "latency"
    """How long answers take: the whole distribution."""
    SLOW = "slow"
    """Requests that take longer than a threshold."""
    DISAGREEMENT = "disagreement"
    """Copies of requests that the canary answers otherwise than the champion."""
    FEEDBACK = "feedback"
    """Answers that somebody called bad, of those that somebody judged."""


class Inconclusive(StrEnum):
    """What becomes of a rollout that has shown nothing within its time."""

    HOLD = "hold"
    ROLLBACK = "rollback"
    PROMOTE = "promote"


class Announced(StrEnum):
    """A verdict that a webhook may be told of."""

    RAMP = "ramp"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    INVALID = "invalid"
    HOLD = "hold"


class Fault(IntEnum):
    """How an upstream failed a request. A value, not an exception: the data plane raises nothing."""

    NONE = 0
    CONNECT = 1
    """Refused, unreachable, name not found."""
    CONNECT_TIMEOUT = 2
    """No connection within ``connect_timeout``."""
    OVERFLOW = 3
    """All connections busy and the wait queue full (``max_connections``, ``max_pending``)."""
    TIMEOUT = 4
    """No response head within ``timeout``."""
    IDLE_TIMEOUT = 5
    """The response body stood still for ``idle_timeout``."""
    RESET = 6
    """Closed or reset before the response was complete."""
    PROTOCOL = 7
    """Not HTTP, or HTTP that two parsers could read differently."""
    LOST = 8
    """The worker died with the request in flight; counted when its successor starts."""
    STATUS = 9
    """Answered with a status that the route's ``retry`` or ``fallback`` names; the client saw another answer."""
    REQUEST_TIMEOUT = 10
    """Not done within the route's ``timeout``, retries and fallback included."""
    PENDING_TIMEOUT = 11
    """All connections busy for ``pending_timeout``."""
    UNHEALTHY = 12
    """No server of the model passes its health checks; nothing was sent."""
    TLS = 13
    """No secure connection: the handshake failed, or the server refused our certificate behind it (RFC 8446 §4.4.2.4:
    its verdict comes after our first data)."""

    OVERLOAD = 14
    """The model has as many requests under way as it answers without making them wait (``adaptive_concurrency``)."""

    @property
    def label(self) -> str:
        """The value of the metric label ``kind`` and of the record's ``fault``."""
        return self.name.lower()


FAULT_STATUS: dict[Fault, int] = {
    Fault.CONNECT: 502,
    Fault.CONNECT_TIMEOUT: 504,
    Fault.OVERFLOW: 503,
    Fault.TIMEOUT: 504,
    Fault.IDLE_TIMEOUT: 504,
    Fault.RESET: 502,
    Fault.PROTOCOL: 502,
    Fault.REQUEST_TIMEOUT: 504,
    Fault.TLS: 502,
    Fault.PENDING_TIMEOUT: 503,
    Fault.UNHEALTHY: 503,
    Fault.OVERLOAD: 503,
}
"""What the client is answered when the fault comes before the first byte of the response."""

FAULT_SENTENCES: dict[Fault, str] = {
    Fault.CONNECT: "the model server could not be reached",
    Fault.CONNECT_TIMEOUT: "the model server did not accept a connection in time",
    Fault.OVERFLOW: "all connections to the model server are busy; try again later",
    Fault.TIMEOUT: "the model server did not answer in time",
    Fault.IDLE_TIMEOUT: "the model server stopped in the middle of its answer",
    Fault.RESET: "the model server closed the connection before it answered",
    Fault.PROTOCOL: "the model server's answer is not valid HTTP",
    Fault.REQUEST_TIMEOUT: "the request took longer than its route allows",
    Fault.TLS: "no secure connection to the model server: the TLS handshake failed; the proxy's log says why",
    Fault.PENDING_TIMEOUT: "all connections to the model server have been busy for too long; try again later",
    Fault.UNHEALTHY: "no server of the model is healthy; try again later",
    Fault.OVERLOAD: "the model server has as many requests as it can work on; try again later",
}
"""What the client is told then."""


class Failure(StrEnum):
    """What ``retry`` and ``fallback`` of a route may name, besides status codes."""

    CONNECT_FAILURE = "connect-failure"
    """No connection: nothing was sent, so sending it again is safe for every model."""
    OVERFLOW = "overflow"
    """The proxy has no room for another request to this model."""
    TIMEOUT = "timeout"
    """No response head in time."""
    RESET = "reset"
    """Closed, or not HTTP, before the response head was complete."""


FAILURE_FAULTS: dict[Failure, frozenset[Fault]] = {
    Failure.CONNECT_FAILURE: frozenset({Fault.CONNECT, Fault.CONNECT_TIMEOUT, Fault.UNHEALTHY, Fault.TLS}),
    Failure.OVERFLOW: frozenset({Fault.OVERFLOW, Fault.PENDING_TIMEOUT, Fault.OVERLOAD}),
    Failure.TIMEOUT: frozenset({Fault.TIMEOUT}),
    Failure.RESET: frozenset({Fault.RESET, Fault.PROTOCOL}),
}
"""The faults that each failure stands for."""


class HandshakeFailure(IntEnum):
    """Why a client's TLS handshake came to nothing."""

    CERTIFICATE = 0
    """The client's certificate is missing, or none that ``tls.client_ca`` vouches for."""
    REFUSED = 1
    """The client refused ours: it sent an alert."""
    PROTOCOL = 2
    """No version or cipher suite in common, or not TLS."""
    PLAIN_HTTP = 3
    """HTTP without TLS; answered 400."""
    CLOSED = 4
    """The client left in the middle."""
    TIMEOUT = 5
    """Not done within ``timeouts.client_head``."""
    OVERFLOW = 6
    """More connections than ``limits.connections``: closed before it began."""

    @property
    def label(self) -> str:
        """The value of the metric label ``reason``."""
        return self.name.lower()


class Drop(IntEnum):
    """Why an eligible shadow request was not sent."""

    IN_FLIGHT = 0
    """``max_in_flight`` requests of this shadow are under way, or keep their place for a while."""
    BYTES = 1
    """``max_bytes`` of request bodies of this shadow are under way."""
    TOO_LARGE = 2
    """The request body is larger than the side copy (``limits.copy``)."""
    DRAINING = 3
    """The worker is shutting down."""
    OVERLOAD = 4
    """The worker has more than three quarters of ``limits.in_flight`` requests under way: copies are shed first."""
    UNREACHABLE = 5
    """No connection could be opened a moment ago, and none is there."""

    @property
    def label(self) -> str:
        """The reason as it is shown in ``status``."""
        return self.name.lower()


DROPS = tuple(Drop)

DISAGREEMENT_REASONS = (
    "status",
    "format",
    "rows",
    "names",
    "datatype",
    "shape",
    "label_type",
    "refusal",
    "schema",
    "tool_calls",
    "not_finite",
    "top",
    "label",
    "boxes",
    "threshold",
    "fields",
    "bytes",
    "finish_reason",
    "overlap",
    "length",
    "text",
    "tolerance",
    "other",
)
"""Why two answers disagree: the vocabulary of :mod:`proxy.compare`, and last what it does not know yet."""

_DECADE = (100, 125, 160, 200, 250, 315, 400, 500, 630, 750)

DURATION_BOUNDS_NS: tuple[int, ...] = (
    *(step * scale * 1_000 for scale in (1, 10, 100, 1_000, 10_000, 100_000) for step in _DECADE),
    100_000_000_000,
)
"""Upper bounds (inclusive, nanoseconds) of the duration histograms: 100 µs to 100 s, ten a decade.

Finer than what is exposed: percentiles in ``status`` come from all 61, ``/metrics`` shows a subset.
"""
