"""A record → the request to send again, and the answer to hold the new one against; or why that cannot be. Pure.

Rules
    * What is sent is what was sent, or nothing is: a request whose record lacks a part of it (its query, the end of its
      body, what was redacted) would ask the model something else, and the answer would be held against the wrong one.
    * The same holds for the recorded answer where that is the reference.
    * What was left out is counted by reason; ``despite`` lets a person decide otherwise, per reason, where there is
      something to send at all.
    * What goes along: method, path, body, ``content-type``, ``accept``, the length of the JSON before binary tensors.
      Never credentials (they are not in the log), never the unit.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from proxy.compare import Answer
from proxy.records.record import Content, Record

__all__ = ["DESPITE", "REASONS", "Call", "prepare", "read_reference"]

REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "unknown_route": "no route of the configuration has the record's name",
        "tunnel": "the connection became a tunnel; there is no request and answer",
        "method": "the method is none that can be sent",
        "path": "the path cannot be sent, or not as it came",
        "path_redacted": "something in the path was redacted",
        "path_unmatched": "the URL's path replaces what the route (or --match) matched, which this path does not",
        "query": "the request had a query, which is never written",
        "request_truncated": "the request's body is longer than log.body (or limits.copy)",
        "request_redacted": "something in the request's body was redacted",
        "request_missing": "the request's body was left out (log.content)",
        "request_binary": "the record is of schema 1, which does not tell what a binary request body is",
        "request_assembled": "the request came in pieces, and the record holds what they add up to",
        "answer_truncated": "the recorded answer is longer than log.body (or limits.copy), or was cut",
        "answer_redacted": "something in the recorded answer was redacted",
        "answer_missing": "the recorded answer was left out (log.content)",
        "answer_binary": "the record is of schema 1, which does not tell what a binary answer is",
    }
)
"""Why a record is not replayed."""

DESPITE: Final = ("query", "redacted")
"""What a person may choose to replay all the same: without the query; with what is left of a redacted body or path."""

MAX_ID_LENGTH: Final = 200

_METHOD: Final = re.compile(r"[A-Z]{1,32}")
_PATH: Final = re.compile(r"/[!-~]*")
"""Printable ASCII: what a request target may be made of (RFC 9112 section 3.2), a query aside. ``*`` cannot be sent."""
_ID: Final = re.compile(r"[!-~]+")
_FIELD_VALUE: Final = re.compile(r"[\t -~]*")


@dataclass(frozen=True, slots=True)
class Call:
    """A request, ready to be sent again."""

    request_id: str
    """``replay-`` and the recorded one, so that the model's own log can tell them apart and join them."""
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def prepare(record: Record, despite: Collection[str] = (), kept_headers: Collection[str] = ()) -> Call | str:
    """Return what to send for ``record``, or the reason (a key of :data:`REASONS`) why it cannot be sent.

    Args:
        record: what was asked.
        despite: members of :data:`DESPITE` that are no obstacle.
        kept_headers: lower-case names of logged headers that go along as they stand in the record.
    """
    request = record.request
    if record.response.status == 101 or request.method == "CONNECT":
        return "tunnel"
    if _METHOD.fullmatch(request.method) is None:
        return "method"
    if _PATH.fullmatch(request.path) is None or "?" in request.path or "#" in request.path:
        return "path"
    if request.path_redacted and "redacted" not in despite:
        return "path_redacted"
    if request.has_query and "query" not in despite:
        return "query"
    obstacle = _obstacle(record.schema, request.content, despite)
    if obstacle is not None:
        return f"request_{obstacle}"
    if request.content.assembled:
        return "request_assembled"
    return Call(
        request_id=_derived_id(record.request_id),
        method=request.method,
        path=request.path,
        headers=tuple(_headers(record, kept_headers)),
        body=request.content.body or b"",
    )


def read_reference(record: Record, despite: Collection[str] = ()) -> Answer | str:
    """Return the recorded answer as a comparison takes it, or the reason why there is nothing to compare with."""
    content = record.response.content
    obstacle = _obstacle(record.schema, content, despite)
    if obstacle is not None:
        return f"answer_{obstacle}"
    return Answer(
        record.response.status,
        _bytes(content.content_type),
        _bytes(content.content_encoding),
        content.body or b"",
        inference_header_length=content.inference_header_length,
        is_assembled=content.assembled,
    )


def _obstacle(schema: int, content: Content, despite: Collection[str]) -> str | None:
    """Return what keeps a body from being used as it was, None if nothing does."""
    if content.body is None:
        return "redacted" if content.redacted else "missing"
    if content.truncated:
        return "truncated"
    if content.redacted and "redacted" not in despite:
        return "redacted"
    # Version 1 tells neither how long the JSON before binary tensors is, nor that a body is still compressed.
    return "binary" if schema == 1 and content.encoding == "base64" else None


def _derived_id(request_id: str) -> str:
    """Return an id that a header can carry: what is not plain is left out (the record keeps it)."""
    plain = "".join(_ID.findall(request_id))[:MAX_ID_LENGTH]
    return f"replay-{plain}"


def _headers(record: Record, kept: Collection[str]) -> list[tuple[str, str]]:
    content = record.request.content
    length = content.inference_header_length
    named = [
        ("content-type", content.content_type),
        ("content-encoding", content.content_encoding),
        ("accept", record.request.accept or "*/*"),
        ("inference-header-content-length", None if length is None else str(length)),
    ]
    names = {name for name, _ in named}
    named += [(name, value) for name, value in content.headers.items() if name in kept and name not in names]
    return [
        (name, value)
        for name, value in named
        if value is not None and _FIELD_VALUE.fullmatch(value) is not None
    ]


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()
