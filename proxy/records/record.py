"""A payload record as it is read: every version of it, whatever wrote it, in one shape.

Pure and total: any bytes give a :class:`Record` or a :class:`Damaged` with a reason, never an exception.

Rules
    * Version 1 has no ``schema``; every later line says its version first. A version that this program does not
      know is refused: what a field means may have changed, and half understood is misunderstood.
    * What is not known within a known version is kept: :attr:`Record.document` is the whole line.
    * A body is bytes again, as it stands in the record: cut where it was cut, without what was redacted.
"""

import binascii
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

import orjson

from proxy.records.label import is_other_kind
from proxy.records.schema import SCHEMA_VERSION

__all__ = [
    "Content",
    "Damaged",
    "OtherKind",
    "Record",
    "Request",
    "Response",
    "ShadowAnswer",
    "parse_record",
    "read_document",
    "rfc3339_of",
    "wall_ns_of",
]

Document: TypeAlias = Mapping[str, Any]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_LONGEST_MS: Final = 1e11
"""Three years."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """Why a line is no record."""

    reason: str


@dataclass(frozen=True, slots=True)
class OtherKind(Damaged):
    """A whole line that is not of an inference, such as a label."""


@dataclass(frozen=True, slots=True)
class Content:
    """A body, and what its message said about it."""

    content_type: str | None
    content_encoding: str | None
    """What ``body`` is still coded with: only where the proxy could not undo it. Else None."""
    inference_header_length: int | None
    """Bytes of JSON before binary tensors (Open Inference Protocol, binary tensor extension)."""
    size: int
    """Bytes of the whole body as it was sent."""
    body: bytes | None
    """None: it was left out."""
    encoding: str | None
    """``text`` or ``base64``, as it stands in the record; None: it was left out."""
    truncated: bool
    """``body`` is only the head of what was sent, or of what was to be sent."""
    redacted: bool
    """``body`` is not what was sent: something in it was dropped or replaced, or all of it left out."""
    assembled: bool
    """``body`` is as JSON what the pieces of a stream add up to; ``content_type`` is that of the stream."""
    headers: Mapping[str, str]
    """Those that ``log.headers`` names, lower-case names, as they were written: some are hashed."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked."""

    method: str
    path: str
    """Without the query, which is never written."""
    path_redacted: bool
    """``path`` is not what was asked: something in it was replaced."""
    has_query: bool
    """There was a query. False in version 1, which does not tell."""
    accept: str | None
    """The client's ``accept``; None for any (RFC 9110 section 12.5.1)."""
    content: Content


@dataclass(frozen=True, slots=True)
class Response:
    """What the client was answered."""

    status: int
    ttfb_ms: float | None
    duration_ms: float
    content: Content


@dataclass(frozen=True, slots=True)
class ShadowAnswer:
    """What a shadow answered, and what came of comparing."""

    model: str
    status: int | None
    fault: str | None
    duration_ms: float
    content: Content
    comparison: Document | None
    """``result``, ``distance``, ``reason`` and what later versions add; None when it was not compared."""


@dataclass(frozen=True, slots=True)
class Record:
    """One logged inference."""

    schema: int
    ts_wall_ns: int
    """When the request came, nanoseconds since 1970 (the record has microseconds)."""
    request_id: str
    route: str
    table_version: int
    unit: str | None
    """Keyed hash of the unit; None when there was none."""
    variant: str
    """The assigned one."""
    role: str
    model: str
    served_by: str
    """The variant that answered."""
    probability: float | None
    """Of this assignment; None when it was forced."""
    inclusion_probability: float
    """Of this record, in (0, 1]."""
    request: Request
    response: Response
    fault: str | None
    shadows: tuple[ShadowAnswer, ...]
    document: Document = field(repr=False)
    """The whole line, with what this program does not know."""


class _WrongError(ValueError):
    """A field that is missing, or not of its type."""


def parse_record(line: bytes) -> Record | Damaged:
    """Return the record that a line of a payload log holds, or why there is none."""
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        return Damaged("no JSON")
    return read_document(document)


def read_document(document: Any) -> Record | Damaged:
    """Return the record that a document is, or why it is none."""
    if type(document) is not dict:
        return Damaged("no JSON object")
    schema = document.get("schema", 1)
    if type(schema) is not int or schema < 1:
        return Damaged("schema is no version")
    if schema > SCHEMA_VERSION:
        return Damaged(f"schema {schema} is newer than this program, which reads up to {SCHEMA_VERSION}")
    if is_other_kind(document):
        return OtherKind("of another kind")
    try:
        return _read(schema, document)
    except _WrongError as error:
        return Damaged(str(error))


def wall_ns_of(text: str) -> int:
    """Return the nanoseconds since 1970 of an RFC 3339 time; one without offset is in UTC.

    Raises:
        ValueError: it is none.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment.astimezone(UTC) - _EPOCH) // _MICROSECOND * 1000


def rfc3339_of(wall_ns: int) -> str:
    """Return the RFC 3339 time, UTC with microseconds, of nanoseconds since 1970."""
    return (_EPOCH + wall_ns // 1000 * _MICROSECOND).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _read(schema: int, document: Document) -> Record:
    return Record(
        schema=schema,
        ts_wall_ns=_moment(document),
        request_id=_text(document, "request_id"),
        route=_text(document, "route"),
        table_version=_whole(document, "table_version"),
        unit=_maybe_text(document, "unit"),
        variant=_text(document, "variant"),
        role=_text(document, "role"),
        model=_text(document, "model"),
        served_by=_text(document, "served_by"),
        probability=_maybe_number(document, "probability"),
        inclusion_probability=_inclusion(document),
        request=_request(_object(document, "request")),
        response=_response(_object(document, "response")),
        fault=_maybe_text(document, "fault"),
        shadows=tuple(_shadow(entry) for entry in _list(document, "shadows")),
        document=document,
    )


def _request(document: Document) -> Request:
    return Request(
        _text(document, "method"),
        _text(document, "path"),
        document.get("path_redacted") is True,
        document.get("has_query") is True,
        _maybe_text(document, "accept"),
        _content(document),
    )


def _response(document: Document) -> Response:
    return Response(
        _whole(document, "status"),
        _maybe_number(document, "ttfb_ms"),
        _duration(document, "duration_ms"),
        _content(document),
    )


def _shadow(document: Any) -> ShadowAnswer:
    if type(document) is not dict:
        raise _WrongError("shadows holds no objects")
    comparison = document.get("comparison")
    if comparison is not None and type(comparison) is not dict:
        raise _WrongError("comparison is no object")
    return ShadowAnswer(
        _text(document, "model"),
        None if document.get("status") is None else _whole(document, "status"),
        _maybe_text(document, "fault"),
        _duration(document, "duration_ms"),
        _content(document),
        comparison,
    )


def _content(document: Document) -> Content:
    text, encoding = _maybe_text(document, "body"), _maybe_text(document, "encoding")
    headers = document.get("headers", {})
    if type(headers) is not dict:
        raise _WrongError("headers is no object")
    if not all(type(value) is str for value in headers.values()):
        raise _WrongError("headers holds no texts")
    length = document.get("inference_header_length")
    return Content(
        content_type=_maybe_text(document, "content_type"),
        content_encoding=_maybe_text(document, "content_encoding"),
        inference_header_length=None if length is None else _whole(document, "inference_header_length"),
        size=_whole(document, "size"),
        body=None if text is None else _body(text, encoding),
        encoding=encoding,
        truncated=document.get("truncated") is True,
        redacted=document.get("redacted", False) is not False,
        assembled=document.get("assembled") is True,
        headers=headers,
    )


def _body(text: str, encoding: str | None) -> bytes:
    if encoding == "text":
        return text.encode()
    if encoding != "base64":
        raise _WrongError("encoding is neither text nor base64")
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):  # the latter for what is not ASCII
        raise _WrongError("body is no base64") from None


def _moment(document: Document) -> int:
    try:
        return wall_ns_of(_text(document, "ts"))
    except _WrongError:
        raise
    except (ValueError, OverflowError):
        raise _WrongError("ts is no time") from None


def _text(document: Document, key: str) -> str:
    value = document.get(key)
    if type(value) is not str:
        raise _WrongError(f"{key} is no text")
    return value


def _maybe_text(document: Document, key: str) -> str | None:
    return None if document.get(key) is None else _text(document, key)


def _whole(document: Document, key: str) -> int:
    value = document.get(key)
    if type(value) is not int or value < 0:
        raise _WrongError(f"{key} is no whole number")
    return value


def _number(document: Document, key: str) -> float:
    value = document.get(key)
    if type(value) not in (int, float):
        raise _WrongError(f"{key} is no number")
    return float(value)  # type: ignore[arg-type]  # one of the two


def _duration(document: Document, key: str) -> float:
    value = _number(document, key)
    if not 0.0 <= value <= _LONGEST_MS:
        raise _WrongError(f"{key} is no duration")
    return value


def _maybe_number(document: Document, key: str) -> float | None:
    return None if document.get(key) is None else _number(document, key)


def _share(document: Document, key: str) -> float:
    value = _number(document, key)
    if not 0.0 < value <= 1.0:
        raise _WrongError(f"{key} is not in (0, 1]")
    return value


def _inclusion(document: Document) -> float:
    value = _share(document, "inclusion_probability")
    if "budget_probability" in document and _share(document, "budget_probability") < value:
        raise _WrongError("budget_probability is below inclusion_probability")
    return value


def _object(document: Document, key: str) -> Document:
    value = document.get(key)
    if type(value) is not dict:
        raise _WrongError(f"{key} is no object")
    return value


def _list(document: Document, key: str) -> list[Any]:
    value = document.get(key)
    if type(value) is not list:
        raise _WrongError(f"{key} is no list")
    return value
