"""A body that has something to redact → the body that may be written.

Pure. A body is read by what it is, redacted as values, and written anew: the original may hold a key twice, or write a
letter as an escape, and the parser's choice is not the reader's. What cannot be read, as far as the rules need it, may
not be written at all.

=============== ======================================================================================================
JSON            as a document, whatever type it was sent as
binary tensors  the JSON in front as a document, with the values of the tensors in it (Open Inference Protocol, binary
                extension); a tensor with nothing to redact stays binary
NDJSON          line by line, but for what comes in pieces of a text
event streams   event by event; with detectors, which would not see what is spread over events, as what a generating
                model answered, put together, and not at all where it cannot be
CSV             cell by cell, columns by the names in its first line
plain text      by detectors alone: rules that name a place need places
=============== ======================================================================================================
"""

import csv
import re
from collections.abc import Iterator
from io import StringIO
from typing import Final, NamedTuple

import orjson

from proxy.compare.content import media_type, parse_json
from proxy.compare.decode import cutter_of, decode_plain
from proxy.compare.tensors import binary_tensor
from proxy.compare.values import Json, Undecodable
from proxy.privacy.actions import treat_text
from proxy.privacy.redact import Redactor

__all__ = ["RedactedBody", "redact_body"]

_PLAIN: Final = frozenset({b"", b"text/plain", b"text/markdown"})
"""Types of texts that are what they look like: no markup, no escapes that would hide an address."""

_STREAM_BEGINS: Final = ("data:", "event:", ":", "id:", "retry:")
"""A stream of events that is sent as plain text is none the less one."""
_EVENT_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LAST_EVENT: Final = "[DONE]"
"""How a stream of OpenAI's dialect ends: the one event that is no JSON."""


class RedactedBody(NamedTuple):
    """A body as it may be written."""

    body: bytes
    is_changed: bool
    """Whether something is not there any more. If not, it says what the original says, in other words perhaps."""
    header_length: int | None = None
    """Bytes of JSON before binary tensors, where there are some."""


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
        if kind == b"text/event-stream":
            return _redact_events(redactor, plain)
        if cutter_of(kind) is not None:
            return _redact_lines(redactor, content_type, plain)
        if kind == b"text/csv":
            return _redact_csv(redactor, plain)
        document = parse_json(plain, charset)
        if not isinstance(document, Undecodable):
            document, is_changed = redactor.redact_document(document)
            return RedactedBody(orjson.dumps(document), is_changed)
        if kind in _PLAIN and not redactor.concerns_places:
            return _redact_plain(redactor, plain)
    # orjson.JSONEncodeError is a TypeError; a text in a list of numbers that a hostile rule meets may be one too.
    except (RecursionError, TypeError, ValueError, csv.Error):
        return None
    return None


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


def _redact_lines(redactor: Redactor, content_type: bytes | None, plain: bytes) -> RedactedBody | None:
    if redactor.detectors:
        read = decode_plain(plain, content_type)
        if isinstance(read, Undecodable) or read.completion is not None:
            return None  # a text in pieces, as in a stream of events
    lines, has_changed = [], False
    for line in plain.split(b"\n"):
        if not line.strip():
            continue
        document = parse_json(line)
        if isinstance(document, Undecodable):
            return None
        document, is_changed = redactor.redact_document(document)
        has_changed |= is_changed
        lines.append(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE))
    return RedactedBody(b"".join(lines), has_changed)


def _redact_events(redactor: Redactor, plain: bytes) -> RedactedBody | None:
    """Redact what each event says; comments, ids and what else a reader of the answer does not see are left out."""
    if redactor.detectors:
        return None  # they would not see what is spread over events
    written, has_changed = [], False
    for name, said in _events(plain.decode("utf-8-sig")):
        if said != _LAST_EVENT:
            document = parse_json(said.encode())
            if isinstance(document, Undecodable):
                return None
            document, is_changed = redactor.redact_document(document)
            has_changed |= is_changed
            said = orjson.dumps(document).decode()
        written.append(f"event: {name}\ndata: {said}\n\n" if name else f"data: {said}\n\n")
    return RedactedBody("".join(written).encode(), has_changed)


def _events(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and data of each event of a stream (WHATWG HTML section 9.2.6), also of one that was not ended."""
    name, said = "", list[str]()
    for line in (*_LINE_END.split(text), ""):
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line and said:
            yield name, "\n".join(said)
            name, said = "", []
        elif key == "data":
            said.append(value)
        elif key == "event":
            name = value if _EVENT_NAME.fullmatch(value) else ""


_LINE_END: Final = re.compile(r"\r\n|\n|\r")


def _redact_csv(redactor: Redactor, plain: bytes) -> RedactedBody | None:
    if redactor.pointers:
        return None  # a table has no pointers: what was meant cannot be told
    rows = list(csv.reader(StringIO(plain.decode(), newline=""), strict=True))
    is_changed = False
    if redactor.tensors and rows:
        found = _redact_columns(redactor, rows)
        if found is None:
            return None
        is_changed = found
    scrubbed, has_found = Redactor(redactor.key, detectors=redactor.detectors).redact_document(rows)
    text = StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(scrubbed)
    return RedactedBody(text.getvalue().encode(), is_changed or has_found)


def _redact_columns(redactor: Redactor, rows: list[list[str]]) -> bool | None:
    """Treat the named columns; tell whether there were any, None if that cannot be told."""
    names = rows[0]
    if any(map(_is_number, names)):
        return None  # no header
    if any(name != cell and name in cell for name in redactor.tensors for cell in names):
        return None  # perhaps another separator
    treated = [(at, redactor.tensors[name]) for at, name in enumerate(names) if name in redactor.tensors]
    for row in rows[1:]:
        for at, treatment in treated:
            if at < len(row):
                row[at] = treat_text(treatment, redactor.key, row[at]) or ""
    return bool(treated)


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
