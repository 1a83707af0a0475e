"""A body that has something to redact → the body that may be written.

Pure. A body is read by what it is, redacted as values, and written anew: the original may hold a key twice, or write a
letter as an escape, and the parser's choice is not the reader's. What cannot be read, as far as the rules need it, may
not be written at all.

=============== ======================================================================================================
JSON            as a document, whatever type it was sent as
binary tensors  the JSON in front as a document, with the values of the tensors in it (Open Inference Protocol, binary
                extension); a tensor with nothing to redact stays binary
event streams,  what a generating model answered, put together; lines of other things line by line, other events one by
NDJSON          one, and not at all where something may be spread over them (:mod:`proxy.privacy.pieces`)
CSV             cell by cell; columns by the names in its first line, which pointers name too: ``/*/name``,
                ``/**/name``, and ``/*/3`` by their place
plain text      by detectors alone: rules that name a place need places
=============== ======================================================================================================
"""

import csv
import re
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Final, NamedTuple

import orjson

from proxy.compare.content import media_type, parse_json
from proxy.compare.decode import cutter_of, unsaid_cutter_of
from proxy.compare.streams import parse_piece
from proxy.compare.tensors import binary_tensor
from proxy.compare.values import Json, Undecodable
from proxy.privacy.actions import Treatment, stronger, treat_text
from proxy.privacy.pieces import is_spread, redact_list, redact_pieces
from proxy.privacy.redact import RedactedBody, Redactor

__all__ = ["RedactedBody", "redact_body"]

_PLAIN: Final = frozenset({b"", b"text/plain", b"text/markdown"})
"""Types of texts that are what they look like: no markup, no escapes that would hide an address."""

_STREAM_BEGINS: Final = ("data:", "event:", ":", "id:", "retry:")
"""A stream of events that is sent as plain text is none the less one."""


def redact_body(
    redactor: Redactor, content_type: bytes | None, header_length: int | None, plain: bytes
) -> RedactedBody | None:
    """Return what may be written of a whole body whose content-encoding is undone; None: nothing.

    Never raises, whatever the bytes.

    Args:
        redactor: what must not be written.
        content_type: header value, or None.
        header_length: value of ``Inference-Header-Content-Length``, or None.
        plain: the body.
    """
    kind, charset = media_type(content_type)
    try:
        if header_length is not None and header_length != len(plain):
            return _redact_binary(redactor, plain, header_length)
        cut = cutter_of(kind)
        if cut is not None:
            return _as_told(plain, redact_pieces(redactor, plain, cut))
        if kind == b"text/csv":
            return _redact_csv(redactor, plain)
        document = parse_json(plain, charset)
        if not isinstance(document, Undecodable):
            return _as_told(plain, _redact_json(redactor, document))
        cut = unsaid_cutter_of(kind, plain)
        first = None if cut is None else next(cut(plain), None)
        if cut is not None and first is not None and not isinstance(parse_piece(first.data), Undecodable):
            return _as_told(plain, redact_pieces(redactor, plain, cut))
        if kind in _PLAIN and not redactor.concerns_places:
            return _redact_plain(redactor, plain)
    # orjson.JSONEncodeError is a TypeError; a text in a list of numbers that a hostile rule meets may be one too.
    except (RecursionError, TypeError, ValueError, csv.Error):
        return None
    return None


def _as_told(plain: bytes, written: RedactedBody | None) -> RedactedBody | None:
    """Return a body of JSON as it was written anew: of one with NaN or Infinity something is not there any more."""
    if written is not None and (b"NaN" in plain or b"Infinity" in plain) and _NO_NUMBER.search(plain):
        return written._replace(is_changed=True)
    return written


_NO_NUMBER: Final = re.compile(rb"(?:^|[\[,:])[ \t\r\n]*+-?(?:NaN|Infinity)[ \t\r\n]*+(?:[],}]|$)")
"""As a value, not as letters of a picture in base64."""


def _redact_json(redactor: Redactor, document: Json) -> RedactedBody | None:
    if isinstance(document, list):
        return redact_list(redactor, document)
    document, is_changed = redactor.redact_document(document)
    if is_spread(redactor, document):
        return None
    return RedactedBody(orjson.dumps(document), is_changed)


def _redact_binary(redactor: Redactor, plain: bytes, header_length: int) -> RedactedBody | None:
    document = parse_json(plain[:header_length]) if 0 < header_length <= len(plain) else None
    if not isinstance(document, dict):
        return None
    opened = _open_tensors(document, plain[header_length:])
    if opened is None:
        return None
    document, is_changed = redactor.redact_document(document)
    tail = b"".join(_close(document, tensor) for tensor in opened)
    head = orjson.dumps(document)
    return RedactedBody(head + tail, is_changed, len(head))


class _Opened(NamedTuple):
    """A binary tensor whose values were put into the document, and where they came from."""

    member: str
    place: int
    """Index among the tensors of that member."""
    data: list[Json]
    raw: bytes


def _open_tensors(document: dict[str, Json], tail: bytes) -> list[_Opened] | None:
    """Put the values of binary tensors into the document; None if they do not fit."""
    opened, at = [], 0
    for member in ("inputs", "outputs"):
        tensors = document.get(member)
        for place, tensor in enumerate(tensors if isinstance(tensors, list) else ()):
            parameters = tensor.get("parameters") if isinstance(tensor, dict) else None
            size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
            if parameters is None or size is None:
                continue
            raw = tail[at : at + size] if type(size) is int and size >= 0 else b""
            read = binary_tensor(tensor, raw) if len(raw) == size else None
            if read is None:
                return None
            at += size
            tensor["data"] = list(read.data)  # of its own: rules change it in place
            del parameters["binary_data_size"]
            opened.append(_Opened(member, place, read.data, raw))
    return opened if at == len(tail) else None


def _close(document: Json, opened: _Opened) -> bytes:
    """Return the values of a tensor in which nothing was redacted, and take them out of the document again."""
    tensors = document.get(opened.member) if isinstance(document, dict) else None
    tensor = tensors[opened.place] if isinstance(tensors, list) and opened.place < len(tensors) else None
    if not isinstance(tensor, dict) or tensor.get("data") != opened.data:
        return b""
    del tensor["data"]
    parameters = tensor.get("parameters")
    tensor["parameters"] = {
        **(parameters if isinstance(parameters, dict) else {}),
        "binary_data_size": len(opened.raw),
    }
    return opened.raw


def _redact_csv(redactor: Redactor, plain: bytes) -> RedactedBody | None:
    named = _columns_of(redactor)
    if named is None:
        return None
    rows = list(csv.reader(StringIO(plain.decode(), newline=""), strict=True))
    is_changed = False
    if named and rows:
        found = _redact_columns(redactor.key, named, rows)
        if found is None:
            return None
        is_changed = found
    scrubbed, has_found = Redactor(redactor.key, detectors=redactor.detectors).redact_document(rows)
    text = StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(scrubbed)
    return RedactedBody(text.getvalue().encode(), is_changed or has_found)


def _columns_of(redactor: Redactor) -> dict[str | int, Treatment] | None:
    """Return the columns that the rules name, by name or place; None where a pointer names none: of a table it cannot
    be told what it means."""
    columns: dict[str | int, Treatment] = dict(redactor.tensors.items())
    for segments, treatment in redactor.pointers:
        if len(segments) != 2 or segments[0] not in ("*", "**") or segments[1] in ("*", "**"):
            return None
        name = int(segments[1]) if _PLACE.fullmatch(segments[1]) else segments[1]
        columns[name] = stronger(treatment, columns.get(name))
    return columns


def _redact_columns(key: bytes, columns: Mapping[str | int, Treatment], rows: list[list[str]]) -> bool | None:
    """Treat the columns; tell whether there were any, None if that cannot be told."""
    rows = [row for row in rows if row]  # blank lines, which no reader takes for a header
    header, names = rows[0] if rows else [], {name for name in columns if isinstance(name, str)}
    if names and any(map(_is_number, header)):
        return None  # no header
    if any(name != cell and name in cell for name in names for cell in header):
        return None  # perhaps another separator
    if names and (names.isdisjoint(header) and not _is_header(rows)):
        return None  # perhaps no header
    if names and any(len(row) > len(header) for row in rows):
        return None  # the header of other columns
    if any(isinstance(at, int) and at >= len(header) for at in columns):
        return None  # the same
    treated = [(at, columns[name], 1) for at, name in enumerate(header) if name in names]
    # Whether there is a header cannot be told where columns go by their place: what may be one is treated too.
    treated += [(at, treatment, 0) for at, treatment in columns.items() if isinstance(at, int)]
    has_found = False
    for at, treatment, first in treated:
        for row in rows[first:]:
            if at < len(row):
                row[at] = treat_text(treatment, key, row[at]) or ""
                has_found = True
    return has_found


def _is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Tell whether the first row surely names columns: there are numbers below a word, and it has none itself."""
    return any(
        _WORD.fullmatch(column[0]) and len(column) > 1 and all(map(_is_number, column[1:]))
        for column in zip(*rows, strict=False)
    )


_WORD: Final = re.compile(r"(?!(?i:na|none|null|missing)$)[^\W\d][\w .-]*")
_PLACE: Final = re.compile(r"0|[1-9][0-9]{0,5}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _redact_plain(redactor: Redactor, plain: bytes) -> RedactedBody | None:
    text = plain.decode()
    if "\0" in text or text.startswith(_STREAM_BEGINS):
        return None
    shown, is_changed = redactor.redact_document(text)
    return RedactedBody(shown.encode(), is_changed)
