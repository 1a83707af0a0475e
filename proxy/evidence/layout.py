"""What is counted as evidence for and against a variant, and where each number lives.

A block holds one run of ``FIELDS`` integers for each variant of a route, in the order of the route; behind them what
was counted again in the present generation and in the one before (:func:`renewed_place`).

Words
    A *coin* is what was flipped for an assignment: the unit; without one the request id, where the client gave it; else
    the request itself, whose id is ours and never comes again. An *event* is an error, a client error or an abandoned
    request. Bets are exact for one outcome per coin, so the first completion of a coin and its first event of each kind
    are counted apart from the rest. A *generation* is an hour of the engine's clock: in each of them a unit that comes
    back is counted once more, in numbers of that generation alone, so that what begins after everybody was counted
    shows as well.

Rules
    * Every integer is monotone, those of a generation as long as it has its place. Requests and units are not counted:
      they are the sums over ``latency_*`` and ``first_latency_*``, which the reader puts where they belong.
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
    "GENERATIONS",
    "GENERATION_NS",
    "LAST_BUCKET",
    "LATENCY",
    "LAYOUT",
    "OFFSET",
    "RENEWED",
    "RENEWED_EVENTS",
    "RENEWED_FIELDS",
    "RENEWED_LATENCY",
    "REQUESTS",
    "REQUEST_EVENTS",
    "SCALE",
    "SEEN",
    "STAMPS",
    "UNITS",
    "block_size",
    "bucket_of",
    "renewed_place",
    "stamp_of",
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


RENEWED_FIELDS = (
    *(f"renewed_latency_{i}" for i in range(BUCKETS)),
    "renewed_errors",
    "renewed_client_errors",
    "renewed_abandoned",
)
"""Counts of one variant in one epoch and generation, of units alone.

renewed_latency: first completions of a unit in the generation; the others: its first such event in the generation. A
unit that is new counts here too. A request that is its own coin does not: it cannot come again.
"""

RENEWED = len(RENEWED_FIELDS)

RENEWED_LATENCY, RENEWED_EVENTS = 0, BUCKETS
"""First of 400 slots, and of three in the order of ``ERRORS``, ``CLIENT_ERRORS``, ``ABANDONED``."""

GENERATION_NS = 3_600_000_000_000
"""An hour: most users who come at all have come, so that a generation knows about as many units as there are; and what
begins after everybody was counted shows within two. Begins and ends with the hours of the engine's clock, for all
workers of all processes at the same moment."""

GENERATIONS = 2
"""That a block has a place for: a reader has an hour to fetch what was counted in the last."""

LAYOUT = sha256(repr((EVIDENCE_FIELDS, RENEWED_FIELDS, GENERATION_NS, GAMMA)).encode()).hexdigest()[:16]
"""Names what this file says. A program that counts otherwise has epochs of other names, so that neither takes the
other's numbers for its own."""

SEEN = 1
"""Bit of a cell in the map of units: a coin of it has completed. The bit of an event is ``SEEN << (1 + event)``; of one
in the generation that the cell is stamped with, ``SEEN << (4 + event)``. The high byte is the stamp of the generation
in which the cell was last counted."""

STAMPS = 255
"""Stamps take turns; 0 is none."""

CELLS = 1 << 21
"""In the map of units of a rollout, two bytes each."""

CELLS_STANDING = 1 << 19
"""In that of a split by fixed weights: there may be hundreds, and ``/dev/shm`` of a container has 64 MiB."""


def stamp_of(generation: int) -> int:
    """Return what marks a cell that was counted in ``generation``: 1 to 255."""
    return 1 + generation % STAMPS


def block_size(variants: int) -> int:
    """Return how many integers the block of a route with so many variants has."""
    return variants * FIELDS + GENERATIONS * (variants * RENEWED + 2)


def renewed_place(variants: int, generation: int) -> int:
    """Return where ``generation`` is in a block: its number and 1, ``RENEWED`` integers for each variant, the number
    again."""
    return variants * FIELDS + generation % GENERATIONS * (variants * RENEWED + 2)


def bucket_of(duration_ns: int) -> int:
    """Return the bucket of a duration: 0 up to 1 µs, else ``1 + floor(log(µs) / log(1.05))``, at most 399.

    The hot path has this formula in line (:mod:`proxy.dataplane.evidence`), the statistics have their own.
    """
    if duration_ns <= 1000:
        return 0
    return min(int(log(duration_ns) * SCALE + OFFSET), LAST_BUCKET)
