"""What is counted as evidence for and against a variant, and where each number lives.

A block holds one run of ``FIELDS`` integers for each variant of a route, in the order of the route.

Words
    A *coin* is what was flipped for an assignment: the unit; without one the request id, where the client gave it; else
    the request itself, whose id is ours and never comes again. An *event* is an error, a client error or an abandoned
    request. Bets are exact for one outcome per coin, so the first completion of a coin and its first event of each kind
    are counted apart from the rest.

Rules
    * Every integer is monotone. Requests and units are not counted: they are the sums over ``latency_*`` and
      ``first_latency_*``, which the reader puts where they belong.
    * A completion is at most one kind of event: an error, if there was one, else abandoned or a client error.
"""

from hashlib import sha256
from math import log

__all__ = [
    "ABANDONED",
    "BUCKETS",
    "CELLS",
    "CELLS_STANDING",
    "CLIENT_ERRORS",
    "ERRORS",
    "EVENTS",
    "EVIDENCE_FIELDS",
    "FIELDS",
    "FIRST_EVENTS",
    "FIRST_LATENCY",
    "GAMMA",
    "LAST_BUCKET",
    "LATENCY",
    "LAYOUT",
    "OFFSET",
    "REQUESTS",
    "REQUEST_EVENTS",
    "SCALE",
    "SEEN",
    "UNITS",
    "bucket_of",
]

GAMMA = 1.05
"""Ratio of neighbouring bucket edges: what is shown as a quantile is right within 2.5 %."""

BUCKETS = 400
"""Of durations: 0 is everything up to 1 µs, 399 everything above 271 s."""

LAST_BUCKET = BUCKETS - 1

SCALE = 1 / log(GAMMA)
OFFSET = 1 - log(1000) * SCALE
"""The bucket of a duration of more than 1 µs is ``int(log(ns) * SCALE + OFFSET)``, at most ``LAST_BUCKET``."""

EVIDENCE_FIELDS = (
    "requests",
    "units",
    "error_requests",
    "client_error_requests",
    "abandoned_requests",
    "first_errors",
    "first_client_errors",
    "first_abandoned",
    "errors",
    "client_errors",
    "abandoned",
    *(f"latency_{i}" for i in range(BUCKETS)),
    *(f"first_latency_{i}" for i in range(BUCKETS)),
)
"""Counts of one variant in one epoch.

requests: completions that the coin decided (neither forced nor sent to the champion for want of a unit); units: first
completions of a coin; ``*_requests``: completions that were such an event; ``first_*``: first completions that were;
errors, client_errors, abandoned: first such event of a coin, whether or not at its first completion; latency: from the
head read to the answer written, of all completions; first_latency: of first completions.

error: a status of 500 or more, or a fault of the variant, also where the champion answered in its place; client_error:
another status of 400 or more that the model chose; abandoned: the client left before the answer began.
"""

FIELDS = len(EVIDENCE_FIELDS)

REQUESTS, UNITS = 0, 1
REQUEST_EVENTS, FIRST_EVENTS, EVENTS = 2, 5, 8
"""First of three slots each, in the order of ``ERRORS``, ``CLIENT_ERRORS``, ``ABANDONED``."""

ERRORS, CLIENT_ERRORS, ABANDONED = 0, 1, 2

LATENCY = EVIDENCE_FIELDS.index("latency_0")
FIRST_LATENCY = EVIDENCE_FIELDS.index("first_latency_0")


LAYOUT = sha256(repr((EVIDENCE_FIELDS, GAMMA)).encode()).hexdigest()[:16]
"""Names what this file says. A program that counts otherwise has epochs of other names, so that neither takes the
other's numbers for its own."""

SEEN = 1
"""Bit of a cell in the map of units: a coin of it has completed. The bit of an event is ``SEEN << (1 + event)``."""

CELLS = 1 << 22
"""In the map of units of a rollout, one byte each."""

CELLS_STANDING = 1 << 20
"""In that of a split by fixed weights: there may be hundreds, and ``/dev/shm`` of a container has 64 MiB."""


def bucket_of(duration_ns: int) -> int:
    """Return the bucket of a duration: 0 up to 1 µs, else ``1 + floor(log(µs) / log(1.05))``, at most 399.

    The hot path has this formula in line (:mod:`proxy.dataplane.evidence`), the statistics have their own.
    """
    if duration_ns <= 1000:
        return 0
    return min(int(log(duration_ns) * SCALE + OFFSET), LAST_BUCKET)
