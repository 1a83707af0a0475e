"""Header fields out of raw heads, as the observer needs them: a few names, seldom, from heads that were
parsed before.

A worker has read and judged these heads already; what reaches here is well formed or harmless. So there is no
error to report: a field that cannot be found is absent.
"""

import re
from functools import lru_cache
from typing import Final, TypeAlias

__all__ = [
    "ContentFields",
    "accept_field",
    "answer_fields",
    "content_fields",
    "fields",
    "first_fields",
    "request_fields",
    "request_line",
]

# A start line is no field: before its first colon, if it has one, stands a blank or a slash.
_FIELD: Final = re.compile(rb"(?:\A|\n)([^\s:/]+):[ \t]*([^\r\n]*)")
_CONTENT_FIELD: Final = re.compile(
    rb"(?:\A|\n)(content-type|content-encoding|inference-header-content-length):[ \t]*([^\r\n]*)",
    re.IGNORECASE,
)
_ACCEPT: Final = re.compile(rb"\naccept:[ \t]*([^\r\n]*)", re.IGNORECASE)
_MAX_REMEMBERED_BYTES: Final = 2048
"""Header lines of inference answers have some hundred bytes; a thousand of longer ones would be too much to keep."""

ContentFields: TypeAlias = tuple[bytes | None, bytes | None, int | None]
"""Content type, content encoding and inference header length."""


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


def accept_field(head: bytes) -> bytes:
    """Return the value of ``accept`` in a request head; of several lines as one list (RFC 9110 §5.3)."""
    return b", ".join(value.rstrip(b" \t") for value in _ACCEPT.findall(head))


def content_fields(head: bytes) -> ContentFields:
    """Return what a head, or the header lines alone, say about the body that follows."""
    found: dict[bytes, bytes] = {}
    for name, value in _CONTENT_FIELD.findall(head):
        found.setdefault(name.lower(), value.rstrip(b" \t"))
    length = found.get(b"inference-header-content-length", b"")
    return (
        found.get(b"content-type"),
        found.get(b"content-encoding"),
        int(length) if length.isdigit() and len(length) < 10 else None,
    )


_last: Final = lru_cache(maxsize=1)(content_fields)


def request_fields(head: bytes) -> ContentFields:
    """Return :func:`content_fields` of a request's head; asked again of the same one, it is not read again."""
    return _last(head)


def answer_fields(lines: bytes) -> ContentFields:
    """Return :func:`content_fields` of a model's header lines.

    They are remembered: a server repeats them for as long as the date in them stands, and many write none.
    """
    return _remembered(lines) if len(lines) <= _MAX_REMEMBERED_BYTES else content_fields(lines)


_remembered: Final = lru_cache(maxsize=1024)(content_fields)
