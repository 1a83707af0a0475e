"""The payload record: one joined line per logged inference.

Pure: a pair, its comparisons and a rule → a document. The fields are those of the table in
:mod:`proxy.records.schema`, no others. Some appear only where there is something to say: ``withheld`` and what stands
for it on a body of free text (:mod:`proxy.privacy.content`), ``headers`` where
``log.headers`` names some, ``redacted`` on a body of which something, or all of it, was not written,
``content_encoding`` on one that could not be decoded, ``inference_header_length`` on one with binary tensors,
``accept`` on a request that takes not everything, ``has_query`` on one that had a query, ``pace`` on an answer that was
streamed as it was generated, ``slices`` where some are declared, ``noise`` where the champion was asked a second time.

What is never in a record: the raw unit, the client's address, the query of the request, headers nobody
asked for, and the original of a body that has something to redact. Such a body is read, redacted and
written anew (:mod:`proxy.privacy.bodies`); if that cannot be done (it was cut, has an unknown form or coding) it is
left out whole.
"""

import base64
import codecs
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import orjson

from proxy.compare import DECODED_CAP_BYTES, Comparison
from proxy.compare.content import decode_content
from proxy.compare.pace import Pace
from proxy.compare.values import Undecodable, Usage
from proxy.errors import StateError
from proxy.exchange import MISSING_UNIT, Details, Flag, Primary, ShadowPart
from proxy.model import Fault
from proxy.observer.heads import (
    ContentFields,
    accept_field,
    answer_fields,
    content_fields,
    fields,
    first_fields,
    request_fields,
    request_line,
)
from proxy.observer.pacing import ANSWER, pace_document
from proxy.observer.record_comparisons import (
    add_rows,
    comparison_document,
    noise_document,
)
from proxy.privacy.actions import MASK, Treatment, key_id, keyed_hash
from proxy.privacy.bodies import redact_body
from proxy.privacy.content import (
    answer_speaks,
    may_speak,
    request_speaks,
    said_in_answer,
    said_in_request,
)
from proxy.privacy.redact import Redactor, Rule, Target
from proxy.records.keep import SAMPLED, KeepRule, Kept, compile_keep_rule
from proxy.records.schema import SCHEMA_VERSION
from proxy.routing.hashing import SPACE
from proxy.routing.table import MISSING, Route

if TYPE_CHECKING:
    from proxy.settings import Redaction

__all__ = [
    "RecordRule",
    "answer_document",
    "build_line",
    "build_record",
    "compile_record_rule",
    "inclusion_of",
    "is_cut_short",
    "kept_fields",
    "masked_id",
    "masked_method",
    "masked_path",
    "request_document",
    "shown_id",
    "timestamp",
    "withholds_content",
]

_SECOND_NS: Final = 1_000_000_000
_CUT_SHORT: Final = Flag.RESPONSE_TRUNCATED | Flag.CLIENT_LEFT | Flag.CUT
_Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RecordRule:
    """The compiled ``log`` of a route."""

    body_cap: int
    """Bytes of a body, as it is written, that are kept."""
    headers: frozenset[bytes]
    """Lower-case names of the headers that are kept."""
    redactor: Redactor
    content: bool | Literal["auto"]
    """Whether bodies are written; auto: all but free text."""
    key_id: str
    """Names the key of every hash."""
    keep: KeepRule = field(default_factory=KeepRule)
    rows: int = 0
    """Most compared rows of a record."""


def compile_record_rule(route: Route, key: bytes) -> RecordRule:
    """Return the rule of ``route``; ``key`` is the key of every hash in its records.

    A header that the unit may come from is hashed even where nobody said so: the raw unit is never written. But for
    the request's id, by which a record is found.
    """
    log = route.settings.log
    names = [
        reader.key.decode() if reader.kind == "header" else "cookie"
        for reader in route.readers
        if reader.kind in ("header", "cookie")
    ]
    names = [name for name in names if name != _ID_HEADER]
    rules = [Rule("header", name, Treatment("hash")) for name in names]
    redactor = Redactor.of(key, [*map(_compile_redaction, log.redact), *rules])
    headers = frozenset(name.lower().encode() for name in log.headers)
    keep = compile_keep_rule(disagreement=log.keeps_disagreement, when=log.keeps_when)
    return RecordRule(log.body, headers, redactor, log.content, key_id(key), keep, log.rows)


def _compile_redaction(entry: "Redaction") -> Rule:
    named: tuple[tuple[Target, str | None], ...] = (
        ("json", entry.pointer),
        ("tensor", entry.tensor),
        ("header", entry.header),
        ("detect", entry.detect),
    )
    # Settings are checked: one of them is named.
    target, name = next((target, name) for target, name in named if name is not None)
    return Rule(target, name, Treatment(entry.action or ("mask" if entry.detect else "drop"), entry.keep))


def build_record(
    rule: RecordRule,
    route: Route,
    primary: Primary,
    shadows: Mapping[int, ShadowPart],
    comparisons: Mapping[int, Comparison],
    kept: Kept = SAMPLED,
    *,
    paces: Mapping[int, Pace] = MappingProxyType({}),
    slices: Mapping[str, str] = MappingProxyType({}),
) -> _Document:
    """Return the record of one exchange.

    Args:
        rule: of the route, in the version of the exchange.
        route: of the exchange.
        primary: request and answer.
        shadows: the shadow parts that came, by index; behind them the champion's, if it was asked a second time.
        comparisons: what came out, by index of the shadow; none for a part that was not compared.
        kept: why there is a record.
        paces: how fast streamed answers were generated, by index of the shadow; the client's by `ANSWER`.
        slices: the exchange's value in each declared slice.

    Raises:
        StateError: the exchange was not to be logged: it has no details.
    """
    details = primary.details
    if details is None:
        raise StateError("expected the details of a logged exchange, got none")
    variant = route.variants[primary.variant]
    is_missing = details.unit_source == MISSING_UNIT
    withheld = withholds_content(rule, primary, shadows.values())
    tells_fields = not (withheld or rule.redactor.concerns_bodies)
    response = _response(rule, primary, details, withheld=withheld)
    if ANSWER in paces:
        response["pace"] = pace_document(paces[ANSWER])
    copies = {}
    for index in sorted(shadows):
        if index < len(route.shadows):
            compared = comparison_document(comparisons.get(index), tells_fields=tells_fields)
            copy = copies[index] = _shadow(rule, route, shadows[index], compared, withheld=withheld)
            if index in paces:
                copy["pace"] = pace_document(paces[index])
    record = {
        "schema": SCHEMA_VERSION,
        "ts": timestamp(primary.started_wall_ns),
        "request_id": shown_id(rule, primary.request_id),
        "route": route.name,
        "table_version": primary.version,
        "config_version": primary.version,
        "unit": keyed_hash(rule.redactor.key, primary.unit) if primary.unit else None,
        "unit_key_id": rule.key_id,
        "unit_source": MISSING if is_missing else route.readers[details.unit_source].text,
        "variant": variant.name,
        "role": variant.role.value,
        "model": variant.model.name,
        "served_by": route.variants[primary.served_by].name,
        "probability": _probability(route, primary, details),
        **kept_fields(route, kept),
        "request": request_document(rule, primary, details, withheld=withheld),
        "response": response,
        "fault": Fault(details.fault).label if details.fault else None,
        **_trace(primary, details),
        "shadows": list(copies.values()),
    }
    if rule.rows and comparisons:
        add_rows(record, copies, comparisons, rule.rows, rule.redactor.key, is_hidden=not rule.body_cap)
    if route.noise is not None and (again := shadows.get(route.noise.index)) is not None:
        record["noise"] = noise_document(again, comparisons.get(again.shadow), tells_fields=tells_fields)
    if slices:
        record["slices"] = dict(slices)
    return record


def _trace(primary: Primary, details: Details) -> _Document:
    """Return the ids by which spans of this request are found, where it has some."""
    if not primary.flags & Flag.TRACED:
        return {}
    # What the model saw: version, trace id, the id of the call to it as its parent, flags. The worker wrote or checked
    # it.
    parts = _text(first_fields(details.request_head).get(b"traceparent", b"")).split("-")
    if len(parts) < 4:
        return {}
    return {"trace_id": parts[1], "span_id": f"{details.span_id:016x}" if details.span_id else parts[2]}


def inclusion_of(route: Route, kept: Kept) -> float:
    """Return how likely a record was, above 0 to 1."""
    return kept.inclusion(route.log_limit / SPACE)


def kept_fields(route: Route, kept: Kept) -> _Document:
    """Return the fields of a record that say why it is there, and how likely that was."""
    return {
        "inclusion_probability": inclusion_of(route, kept),
        "kept_by": list(kept.reasons),
        "budget_probability": kept.budget,
    }


_OBEYED: Final = re.compile(rb"\x7f|\xc2[\x80-\x9f]")
"""What JSON lets stand in a text and a terminal obeys: DEL, and the 8-bit control characters (U+009B begins a
sequence as ESC [ does). In JSON these bytes stand nowhere but in texts."""


def build_line(record: _Document) -> bytes:
    """Return ``record`` as a line of JSON that can be looked at on a terminal, whatever a body holds.

    Raises:
        TypeError: it cannot be written as JSON.
    """
    line = orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    if b"\x7f" not in line and b"\xc2" not in line:
        return line  # two searches in C; the pattern takes half a millisecond for a body of 64 KiB
    return _OBEYED.sub(lambda found: b"\\u00%02x" % found[0][-1], line)


def _probability(route: Route, primary: Primary, details: Details) -> float | None:
    """Return how likely this assignment was; None when nothing was drawn (the client forced the variant)."""
    if primary.flags & Flag.FORCED:
        return None
    if details.unit_source == MISSING_UNIT and route.missing_champion:
        return 1.0
    return route.variants[primary.variant].probability


def withholds_content(rule: RecordRule, primary: Primary, parts: Iterable[ShadowPart]) -> bool:
    """Tell whether the bodies of an exchange may not be written, because they are free text.

    It is decided for all of them together: what was asked in free text may stand in any answer, also in an error's.
    Only what succeeded tells of what kind the exchange is, and of bodies none of which can be read nothing is written.
    """
    if rule.content != "auto":
        return not rule.content
    verdicts = []
    if (details := primary.details) is not None:
        content, is_cut = request_fields(details.request_head), primary.flags & Flag.REQUEST_TRUNCATED != 0
        verdicts.append(_speaks(request_speaks, content, details.request_body, is_cut=is_cut))
    answers = [(primary.status, primary.response_lines, primary.response_body, is_cut_short(primary))]
    answers += [(part.status, part.response_lines, part.response_body, _is_cut(part)) for part in parts]
    for status, lines, body, is_cut in answers:
        if 200 <= status < 300:
            verdicts.append(_speaks(answer_speaks, answer_fields(lines), body, is_cut=is_cut))
    if True in verdicts:
        return True
    asked = b"" if details is None else details.request_body
    return False not in verdicts and any((asked, *(body for _, _, body, _ in answers)))


def _speaks(
    judge: Callable[[bytes | None, int | None, bytes], bool | None],
    content: ContentFields,
    body: bytes,
    *,
    is_cut: bool,
) -> bool | None:
    """Tell whether a body is free text; None: it cannot be told."""
    kind, coding, header_length = content
    plain = _undone(coding, body, is_cut=is_cut)
    if not is_cut and not isinstance(plain, Undecodable):
        return judge(kind, header_length, plain)
    # Of what is cut the head may tell, of what cannot be decoded its type.
    piece = b"" if isinstance(plain, Undecodable) else plain
    return True if may_speak(kind, piece) else None


def _undone(coding: bytes | None, body: bytes, *, is_cut: bool) -> bytes | Undecodable:
    """Return a body without its content-encoding."""
    if coding is None:
        return body
    return Undecodable("truncated") if is_cut else decode_content(body, coding.lower(), DECODED_CAP_BYTES)


def request_document(rule: RecordRule, primary: Primary, details: Details, *, withheld: bool) -> _Document:
    """Return what may be written of a request; of one whose content is ``withheld``, what it was about."""
    head, content = details.request_head, request_fields(details.request_head)
    path = _text(_path(details.target))
    shown = rule.redactor.redact_path(path)
    document: _Document = {
        "method": rule.redactor.redact_text(_text(request_line(head)[0])),  # any word may be one
        "path": shown,
        **({} if shown == path else _PATH_REDACTED),
        "content_type": _content_type(rule, content),
        "size": details.request_bytes,
        **_body(
            rule,
            content,
            details.request_body,
            is_cut=bool(primary.flags & Flag.REQUEST_TRUNCATED),
            said=_said_in_request if withheld else None,
        ),
        **_asked(rule, details),
    }
    return document | _headers(rule, head)


_PATH_REDACTED: Final[_Document] = {"path_redacted": True}
_HAS_QUERY: Final[_Document] = {"has_query": True}
_ANYTHING: Final = frozenset({b"", b"*/*"})
"""RFC 9110 §12.5.1: without ``accept`` a client takes anything."""


def _asked(rule: RecordRule, details: Details) -> _Document:
    """Return what else decides the answer, where there is any: whoever replays the request has to know."""
    asked: _Document = _HAS_QUERY if b"?" in details.target else {}
    accept = accept_field(details.request_head)
    shown = None if accept in _ANYTHING else rule.redactor.redact_header("accept", _text(accept))
    return asked if shown is None else {**asked, "accept": shown}


def _response(rule: RecordRule, primary: Primary, details: Details, *, withheld: bool) -> _Document:
    head, content = details.response_head, content_fields(details.response_head)
    body, is_cut = primary.response_body, is_cut_short(primary)
    withheld = withheld or _is_note(rule, primary.status, content, body, is_cut=is_cut)
    document: _Document = {
        "status": primary.status,
        "content_type": _content_type(rule, content),
        "size": details.response_bytes,
        **_body(rule, content, body, is_cut=is_cut, said=said_in_answer if withheld else None),
        "ttfb_ms": _milliseconds(details.ttfb_ns) if details.ttfb_ns else None,
        "duration_ms": _milliseconds(details.duration_ns),
    }
    return document | _headers(rule, head)


def answer_document(
    rule: RecordRule, status: int, lines: bytes, body: bytes, size: int, *, is_cut: bool, withheld: bool
) -> _Document:
    """Return what may be written of an answer, the client's or a shadow's, by its header lines and its body's copy.

    Args:
        rule: of the route.
        status: of the answer.
        lines: its header lines, as the model sent them.
        body: the copy.
        size: of the whole body.
        is_cut: the copy is not the whole body.
        withheld: the content of the exchange is not to be written.
    """
    content = answer_fields(lines)
    withheld = withheld or _is_note(rule, status, content, body, is_cut=is_cut)
    return {
        "status": status,
        "content_type": _content_type(rule, content),
        "size": size,
        **_body(rule, content, body, is_cut=is_cut, said=said_in_answer if withheld else None),
    }


def _content_type(rule: RecordRule, content: ContentFields) -> str | None:
    """Return what a message says of its body: a client may write anything there."""
    return None if content[0] is None else rule.redactor.redact_header("content-type", _text(content[0]))


def is_cut_short(primary: Primary) -> bool:
    """Tell whether the copy of the answer is not the whole answer, whoever cut it."""
    return primary.flags & _CUT_SHORT != 0


def _is_cut(part: ShadowPart) -> bool:
    return part.flags & Flag.RESPONSE_TRUNCATED != 0 or part.fault != 0


def _is_note(rule: RecordRule, status: int, content: ContentFields, body: bytes, *, is_cut: bool) -> bool:
    """Tell whether the answer of a failure is free text, where those of success are not."""
    if rule.content != "auto" or 200 <= status < 300:
        return False
    return _speaks(answer_speaks, content, body, is_cut=is_cut) is True


def _shadow(
    rule: RecordRule, route: Route, part: ShadowPart, compared: _Document | None, *, withheld: bool
) -> _Document:
    content, is_cut = answer_fields(part.response_lines), _is_cut(part)
    withheld = withheld or _is_note(rule, part.status, content, part.response_body, is_cut=is_cut)
    return {
        "model": route.shadows[part.shadow].model.name,
        "status": part.status or None,
        "fault": Fault(part.fault).label if part.fault else None,
        "duration_ms": _milliseconds(part.duration_ns),
        "content_type": _content_type(rule, content),
        "size": part.response_bytes,
        **_body(rule, content, part.response_body, is_cut=is_cut, said=said_in_answer if withheld else None),
        "comparison": compared,
    }


_Said: TypeAlias = Callable[[bytes | None, bytes], tuple[bytes, Usage | None]]


def _said_in_request(content_type: bytes | None, plain: bytes) -> tuple[bytes, Usage | None]:
    return said_in_request(content_type, plain), None


def _body(
    rule: RecordRule, content: ContentFields, body: bytes, *, is_cut: bool, said: _Said | None
) -> _Document:
    """Return ``body``, ``encoding`` and ``truncated`` for a body as it was sent, and what it takes to read it: the
    ``content_encoding`` that could not be undone, the ``inference_header_length`` before binary tensors.

    Args:
        rule: of the route.
        content: what the message's head says about it.
        body: the copy.
        is_cut: the copy is not the whole body.
        said: what the body says, where it is not to be written itself; else None.
    """
    coding = content[1]
    plain = _undone(coding, body, is_cut=is_cut)
    told: _Document
    if not body:
        # Nothing at all is no gzip: who reads the record must find what the comparison found.
        told = {"content_encoding": _text(coding)} if coding and isinstance(plain, Undecodable) else {}
        return {"body": "", "encoding": "text", "truncated": is_cut, **told}
    told = {} if content[2] is None else {"inference_header_length": content[2]}
    if said is not None:
        whole = None if is_cut or isinstance(plain, Undecodable) else said(content[0], plain)
        return {"body": None, "encoding": None, "truncated": is_cut, "withheld": True, **_traces(rule, whole)}
    if rule.redactor.concerns_bodies:
        redacted = None
        if not is_cut and not isinstance(plain, Undecodable):
            redacted = redact_body(rule.redactor, content[0], content[2], plain)
        if redacted is None:
            return {"body": None, "encoding": None, "truncated": is_cut, "redacted": True}
        plain = redacted.body
        told = {} if redacted.header_length is None else {"inference_header_length": redacted.header_length}
        if redacted.is_changed:
            told["redacted"] = True
        if redacted.is_assembled:
            told["assembled"] = True
    is_raw = isinstance(plain, Undecodable)
    if is_raw and coding is not None:
        told["content_encoding"] = rule.redactor.redact_text(_text(coding))
    shown = body if isinstance(plain, Undecodable) else plain
    is_cut = is_cut or len(shown) > rule.body_cap
    shown = shown[: rule.body_cap]
    text = None if is_raw else _utf8(shown, is_cut=is_cut)
    if text is not None:
        return {"body": text, "encoding": "text", "truncated": is_cut, **told}
    return {"body": base64.b64encode(shown).decode(), "encoding": "base64", "truncated": is_cut, **told}


def _traces(rule: RecordRule, said: tuple[bytes, Usage | None] | None) -> _Document:
    """Return what is kept of what is not written."""
    if said is None:
        return {}
    traces: _Document = {"content_hash": keyed_hash(rule.redactor.key, said[0])}
    for name, count in zip(Usage._fields, said[1] or (), strict=False):
        if count is not None:
            traces[name] = count
    return traces


def _utf8(data: bytes, *, is_cut: bool) -> str | None:
    """Return ``data`` as text, without the part of a character that a cut has left; None if it is no
    UTF-8."""
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(data) if is_cut else data.decode()
    except UnicodeDecodeError:
        return None


def _headers(rule: RecordRule, head: bytes) -> _Document:
    if not rule.headers:
        return {}
    kept: dict[str, str] = {}
    for name, value in fields(head):
        if name in rule.headers:
            shown = rule.redactor.redact_header(name.decode("latin-1"), _text(value))
            if shown is not None:
                key = name.decode("latin-1")
                # RFC 9110 §5.3: several lines of one field are one list.
                kept[key] = f"{kept[key]}, {shown}" if key in kept else shown
    return {"headers": kept}


_ID_HEADER: Final = "x-request-id"


def shown_id(rule: RecordRule, request_id: bytes) -> str:
    """Return the id of a request, which a client may choose, without what must not be written of it."""
    shown = rule.redactor.redact_header(_ID_HEADER, _text(request_id))
    return MASK if shown is None else shown


def _masking(route: Route) -> Redactor | None:
    """Return what masks in spans what the detectors of the route's records find, and an id that those do not hold;
    None where there is neither."""
    rules = map(_compile_redaction, route.settings.log.redact)
    found = [
        rule._replace(treatment=Treatment("mask"))
        for rule in rules
        if rule.target == "detect" or (rule.target == "header" and rule.name.lower() == _ID_HEADER)
    ]
    return Redactor.of(b"", found) if found else None


def masked_path(route: Route, target: bytes) -> str:
    """Return the path of a request as spans tell it."""
    path, redactor = _text(_path(target)), _masking(route)
    return path if redactor is None else redactor.redact_path(path)


def masked_id(route: Route, request_id: bytes) -> str:
    """Return the id of a request as spans tell it."""
    text, redactor = _text(request_id), _masking(route)
    return text if redactor is None else redactor.redact_header(_ID_HEADER, text) or MASK


def masked_method(route: Route, method: bytes) -> str:
    """Return the method of a request as spans tell it."""
    text, redactor = _text(method), _masking(route)
    return text if redactor is None else redactor.redact_text(text)


def _path(target: bytes) -> bytes:
    """Return the path of a request target: no query, it may hold the unit or a secret."""
    path = target.partition(b"?")[0].partition(b"#")[0]
    if not path.startswith(b"/") and b"://" in path:
        path = b"/" + path.partition(b"://")[2].partition(b"/")[2]
    return path


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _milliseconds(duration_ns: int) -> float:
    return round(duration_ns / 1e6, 3)


def timestamp(wall_ns: int) -> str:
    """Return RFC 3339, UTC, microseconds."""
    seconds, rest = divmod(wall_ns, _SECOND_NS)
    return f"{_second(seconds)}.{rest // 1000:06d}Z"


@lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
