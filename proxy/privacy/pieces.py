"""A body that comes piece by piece → what may be written of it: streams of events, lines of JSON.

Pure. What a generating model answers in pieces is put together first, into the answer that the same service gives in
one piece, and redacted as that: a secret may be cut anywhere, pointers name what they name in every other answer, and
of what else stands in a stream (comments, ids, events that are not understood, the same text once more) nothing is
written. A stream that cannot be put together, for it is broken, cut or holds an error, is not written at all.

Other pieces are documents that stand for themselves. Lines are written line by line, as long as no text is found that
goes on from line to line. Events may be of a service that is not known; detectors would not see what is spread over
them, so with detectors they are not written.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeAlias

import orjson

from proxy.compare.completions import read_completion
from proxy.compare.content import parse_json
from proxy.compare.events import Piece, read_events
from proxy.compare.streams import (
    DONE,
    Assembled,
    assemble,
    assemble_list,
    begins_answer,
    parse_piece,
)
from proxy.compare.values import Json, Undecodable
from proxy.privacy.redact import RedactedBody, Redactor

__all__ = ["is_spread", "redact_list", "redact_pieces"]

_EVENT_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LINE_END: Final = re.compile(r"\r\n|\n|\r")


def redact_pieces(
    redactor: Redactor, plain: bytes, cut: Callable[[bytes], Iterator[Piece]]
) -> RedactedBody | None:
    """Return what may be written of a body that ``cut`` cuts into pieces; None: nothing.

    Raises:
        RecursionError: a document is nested deeper than Python follows.
        TypeError: a value has no JSON form.
        ValueError: the body is no text.
    """
    assembled = assemble(cut(plain))
    if isinstance(assembled, Undecodable):
        return None
    if assembled is not None:
        return _redact_assembled(
            redactor, assembled.document, lambda others: _assembled_of(others, cut(plain))
        )
    return _redact_events(redactor, plain) if cut is read_events else _redact_lines(redactor, plain)


def redact_list(redactor: Redactor, documents: list[Json]) -> RedactedBody | None:
    """Return what may be written of a list of documents, which may be the pieces of an answer; None: nothing.

    Raises:
        RecursionError: a document is nested deeper than Python follows.
        TypeError: a value has no JSON form.
    """
    assembled = assemble_list(documents)
    if isinstance(assembled, Undecodable):
        return None
    if assembled is not None:
        return _redact_assembled(redactor, assembled.document, lambda others: _list_of(others, documents))
    document, is_changed = redactor.redact_document(documents)
    return None if is_spread(redactor, document) else RedactedBody(orjson.dumps(document), is_changed)


_Again: TypeAlias = tuple[Assembled | Undecodable | None, bool]
"""An answer that was put together once more of redacted pieces, and whether anything in them was redacted."""


def _redact_assembled(
    redactor: Redactor, document: Json, again: Callable[[Redactor], _Again]
) -> RedactedBody | None:
    """Redact an answer that was put together; ``again`` does that with pieces in which a rule may name a place."""
    others, is_other = redactor.names_nothing_in(document), False
    if others.concerns_places:
        assembled, is_other = again(others)
        if isinstance(assembled, Assembled):
            document = assembled.document
        elif is_other:
            return None  # what was left of the pieces is no answer
    document, is_changed = redactor.redact_document(document)
    if is_spread(redactor, document):
        return None
    return RedactedBody(orjson.dumps(document), is_changed or is_other, is_assembled=True)


def _assembled_of(redactor: Redactor, pieces: Iterable[Piece]) -> _Again:
    written, has_changed = [], False
    for data, end in pieces:
        if data.strip() == DONE:
            written.append(Piece(DONE, end))
            break
        document, is_changed = redactor.redact_document(parse_piece(data))
        has_changed |= is_changed
        written.append(Piece(orjson.dumps(document) if is_changed else data, end))
    return (assemble(written) if has_changed else None), has_changed


def _list_of(redactor: Redactor, documents: list[Json]) -> _Again:
    redacted = [redactor.redact_document(document) for document in documents]
    has_changed = any(is_changed for _, is_changed in redacted)
    return (assemble_list([document for document, _ in redacted]) if has_changed else None), has_changed


def _redact_lines(redactor: Redactor, plain: bytes) -> RedactedBody | None:
    documents, has_changed = [], False
    for line in plain.split(b"\n"):
        if not line.strip():
            continue
        document = parse_json(line)
        if isinstance(document, Undecodable) or (redactor.detectors and begins_answer(document)):
            return None  # the latter: a text in pieces, of which the first is not known
        document, is_changed = redactor.redact_document(document)
        has_changed |= is_changed
        documents.append(document)
    if is_spread(redactor, documents):
        return None
    lines = [orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE) for document in documents]
    return RedactedBody(b"".join(lines), has_changed)


def is_spread(redactor: Redactor, document: Json) -> bool:
    """Tell whether texts of a redacted document spell, one behind the other, what the detectors look for: those of one
    completion, and of a list those that stand at the same place in each of its values."""
    if not redactor.detectors:
        return False
    texts: dict[tuple[str | int, ...], list[str]] = {}
    completion = read_completion(document)
    for choice in () if completion is None else completion.choices:
        texts[(choice.index,)] = [choice.text]
    for each in document if isinstance(document, list) else ():
        _gather(each, (), texts)
    return any(redactor.is_shared((), found) for found in texts.values())


def _gather(value: Json, place: tuple[str | int, ...], texts: dict[tuple[str | int, ...], list[str]]) -> None:
    if isinstance(value, str):
        texts.setdefault(place, []).append(value)
    elif isinstance(value, dict):
        for name, inner in value.items():
            _gather(inner, (*place, name), texts)
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            if isinstance(inner, str | dict | list):
                _gather(inner, (*place, at), texts)


def _redact_events(redactor: Redactor, plain: bytes) -> RedactedBody | None:
    """Redact what each event says; comments, ids and what else a reader of the answer does not see are left out."""
    if redactor.detectors:
        return None
    written, has_changed = [], False
    for name, said in _events(plain.decode("utf-8-sig")):
        if said.strip() != DONE.decode():
            document = parse_json(said.encode())
            if isinstance(document, Undecodable):
                return None
            document, is_changed = redactor.redact_document(document)
            has_changed |= is_changed
            said = orjson.dumps(document).decode()
        written.append(f"event: {name}\ndata: {said}\n\n" if name else f"data: {said}\n\n")
    if not written and plain.lstrip()[:1] in (b"{", b"["):
        return None  # a document, whatever it was sent as
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
