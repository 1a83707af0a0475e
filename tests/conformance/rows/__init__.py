"""The rows of the conformance table, written from the RFCs."""

from tests.conformance.case import Case
from tests.conformance.rows import connections, fields, forwarding, framing, responses, start_lines

__all__ = ["ROOMS"]

ROOMS: dict[str, tuple[Case, ...]] = {
    "Request line and Host": start_lines.ROWS,
    "Field lines": fields.ROWS,
    "Where a request body ends": framing.ROWS,
    "What becomes of a request": forwarding.ROWS,
    "How long connections live": connections.ROWS,
    "What becomes of an answer": responses.ROWS,
}
"""Title → rows."""
