"""Header fields out of raw heads, as the observer needs them: a few names, seldom, from heads that were
parsed before.

A worker has read and judged these heads already; what reaches here is well formed or harmless. So there is no
error to report: a field that cannot be found is absent.
"""

from collections.abc import Iterator
from typing import Final

__all__ = ["answer_fields", "fields", "first_field", "request_line"]

_ANSWER_FIELDS: Final = (b"content-type", b"content-encoding", b"inference-header-content-length")


def request_line(head: bytes) -> tuple[bytes, bytes]:
    """Return method and target of a request head, empty where there is none."""
    line = head.partition(b"\r\n")[0].split(b" ")
    return (line[0], line[1]) if len(line) == 3 else (b"", b"")


def fields(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield each field of a head in order: lower-case name, value without surrounding blanks.

    A start line yields nothing: what stands before its first colon, if it has one, holds a blank or a slash
    and is no name.
    """
    for line in head.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon and name and b" " not in name and b"/" not in name:
            yield name.lower(), value.strip(b" \t")


def first_field(head: bytes, name: bytes) -> bytes | None:
    """Return the first value of the field called ``name`` (lower-case), None if it is absent."""
    return next((value for found, value in fields(head) if found == name), None)


def answer_fields(head: bytes) -> tuple[bytes | None, bytes | None, int | None]:
    """Return content type, content encoding and inference header length of a response head."""
    found: dict[bytes, bytes] = {}
    for name, value in fields(head):
        if name in _ANSWER_FIELDS and name not in found:
            found[name] = value
    length = found.get(b"inference-header-content-length", b"")
    return (
        found.get(b"content-type"),
        found.get(b"content-encoding"),
        int(length) if length.isdigit() and len(length) < 10 else None,
    )
