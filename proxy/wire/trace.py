"""W3C Trace Context: what is passed on, what is replaced, and whether a request is traced."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from proxy.wire.request import first_value

__all__ = ["TraceContext", "parse_traceparent", "read_context"]

_TRACEPARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
_MEMBER = re.compile(rb"([a-z0-9][a-z0-9_\-*/@]{0,255})=[ -+\--<>-~]{0,255}[!-+\--<>-~]")
_MAX_MEMBERS = 32
_MAX_COMMAS = 256
"""Empty members are allowed and not counted; more of them than this are no list that a tracer wrote. Looked at one by
one, those of a long field would take a quarter of a second."""
_EXACT_LENGTH = 55
_KNOWN_FLAGS = 0x03
"""Sampled (bit 0) and, since Level 2, random trace id (bit 1)."""


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The trace context of one request. Empty bytes and 0 mean: there is none."""

    traceparent: bytes = b""
    """As it goes upstream."""
    tracestate: bytes = b""
    trace_id: bytes = b""
    """32 hex digits."""
    span_id: int = 0
    """Id of the span of ours that is the parent upstream; 0 when the context is passed on unchanged."""
    sampled: bool = False
    """The exchange becomes spans."""

    def child(self, fresh_trace_id: int, span_id: int, limit: int) -> "TraceContext":
        """Return the context with a span of ours as the parent, in a new trace if there was none.

        A request of a valid trace that is not traced here is passed on unchanged: a parent that nobody exports would
        cut the trace in two. When it is traced, the caller's flags are kept and *sampled* is set; those that version
        00 does not define are cleared (W3C Trace Context §3.2.2.5).

        Args:
            fresh_trace_id: 128 random bits, used when there is no valid trace id.
            span_id: 64 random bits.
            limit: traced when the low 64 bits of the trace id are below it (the same in every service that
                samples by trace id; W3C Trace Context Level 2 §2.2.3 puts the randomness there).
        """
        trace_id = self.trace_id or b"%032x" % fresh_trace_id
        sampled = int(trace_id[16:], 16) < limit
        if self.trace_id and not sampled:
            return self
        flags = int(self.traceparent[53:55] or b"00", 16) & _KNOWN_FLAGS | sampled
        return TraceContext(
            b"00-%b-%016x-%02x" % (trace_id, span_id, flags), self.tracestate, trace_id, span_id, sampled
        )

    def lines(self) -> bytes:
        """Return the header lines for the upstream."""
        if not self.traceparent:
            return b""
        state = b"tracestate: %b\r\n" % self.tracestate if self.tracestate else b""
        return b"traceparent: %b\r\n%b" % (self.traceparent, state)


def parse_traceparent(value: bytes) -> bytes:
    """Return the trace id (32 hex digits) of a valid ``traceparent``, else empty bytes.

    W3C Trace Context §3.2: version ``00`` has exactly 55 characters; a later version may be longer; ``ff``, an all-zero
    trace id or parent id are invalid.
    """
    match = _TRACEPARENT.fullmatch(value)
    if match is None or (value[:2] == b"00" and len(value) != _EXACT_LENGTH):
        return b""
    return match[1]


def read_context(names: Sequence[bytes], values: Sequence[bytes]) -> TraceContext:
    """Return the trace context of a request.

    W3C Trace Context §3.2.1, §3.3.1: several ``traceparent`` fields or an invalid one count as none, and then
    ``tracestate`` is not passed on either; several ``tracestate`` fields are one list.
    """
    if names.count(b"traceparent") != 1:
        return TraceContext()
    traceparent = first_value(names, values, b"traceparent")
    trace_id = parse_traceparent(traceparent)
    if not trace_id:
        return TraceContext()
    states = [value for name, value in zip(names, values, strict=True) if name == b"tracestate" and value]
    return TraceContext(traceparent, _tracestate(b",".join(states)), trace_id)


def _tracestate(value: bytes) -> bytes:
    """Return ``value``, or empty bytes when it is no list of at most 32 members with different keys.

    W3C Trace Context §3.3.1, §3.3.1.1 (Level 2 for the keys): what cannot be parsed is discarded, the trace goes on.
    """
    if value.count(b",") > _MAX_COMMAS:
        return b""
    members = [member for part in value.split(b",") if (member := part.strip(b" \t"))]
    matches = [_MEMBER.fullmatch(member) for member in members]
    keys = {match[1] for match in matches if match is not None}
    return value if len(keys) == len(members) <= _MAX_MEMBERS else b""
