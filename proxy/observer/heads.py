"""Header fields out of raw heads, as the observer needs them: a few names, seldom, from heads that were
parsed before.

A worker has read and judged these heads already; what reaches here is well formed or harmless. So there is no
error to report: a field that cannot be found is absent.
"""

import re
from typing import Final

__all__ = ["answer_fields", "fields", "first_fields", "request_line"]

# A start line is no field: before its first colon, if it has one, stands a blank or a slash.
_FIELD: Final = re.compile(rb"(?:\A|\n)([^\s:/]+):[ \t]*([^\r\n]*)")


def request_line(head: bytes) -> tuple[bytes, bytes]:
    """Return method and target of a request head, empty where there is none."""
    line = head.partition(b"\r\n")[0].split(b" ")
    return (line[0], line[1]) if len(line) == 3 else (b"", b"")


def fields(head: bytes) -> list[tuple[bytes, bytes]]:
    """Return each field of a head in order: lower-case name, value without surrounding blanks."""
    return [(name.lower(), value.rstrip(b" \t")) for name, value in _FIELD.findall(head)]


def first_fields(head: bytes) -> dict[bytes, bytes]:
    """Return the first value of each field by its lower-case name."""
    return dict(reversed(fields(head)))


def answer_fields(head: bytes) -> tuple[bytes | None, bytes | None, int | None]:
    """Return content type, content encoding and inference header length of a response head."""
    found = first_fields(head)
    length = found.get(b"inference-header-content-length", b"")
    return (
        found.get(b"content-type"),
        found.get(b"content-encoding"),
        int(length) if length.isdigit() and len(length) < 10 else None,
    )
