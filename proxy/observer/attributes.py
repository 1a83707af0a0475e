"""The value that an exchange has in each declared slice: attributes of its request, as far as they may be shown.

Pure. What the records of the route may not hold is not in a slice's value either: a redacted header or field is hashed
or absent here as it is there, and what the unit may come from is always hashed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from proxy.compare import DECODED_CAP_BYTES
from proxy.compare.content import decode_content, media_type, parse_json
from proxy.compare.values import Undecodable
from proxy.exchange import Details, Primary
from proxy.observer.breakdown import NONE, OTHER, as_value
from proxy.observer.heads import fields, request_fields
from proxy.observer.record import RecordRule
from proxy.privacy.actions import keyed_hash
from proxy.routing.table import Route
from proxy.routing.units import UnitReader, compile_reader

__all__ = ["SliceReader", "compile_slices", "read_slices"]

_HASH_SHOWN: Final = 12
"""Hex digits of a hash that names a slice's value: enough to tell fifty of them apart."""


@dataclass(frozen=True, slots=True)
class SliceReader:
    """One declared slice."""

    name: str
    reader: UnitReader
    is_unit: bool
    """The unit may come from there."""
    hides_cookies: bool
    """The route's records hold no cookies as they are, whether or not the unit may come from one."""


def compile_slices(route: Route) -> tuple[SliceReader, ...]:
    """Return the readers of the slices that ``route`` declares."""
    units = {reader.text for reader in route.readers}
    readers = [
        (name, compile_reader(source.kind, source.name))
        for name, source in route.settings.compare.slices.items()
    ]
    hides_cookies = any((entry.header or "").lower() == "cookie" for entry in route.settings.log.redact)
    return tuple(SliceReader(name, reader, reader.text in units, hides_cookies) for name, reader in readers)


def read_slices(readers: tuple[SliceReader, ...], rule: RecordRule, primary: Primary) -> Mapping[str, str]:
    """Return the value of each slice; none at all where the request did not come along.

    Args:
        readers: of the route, in the version of the exchange.
        rule: what may be written of the route.
        primary: the exchange.
    """
    details = primary.details
    if details is None:
        return {}
    lines = fields(details.request_head)
    names, values = [name for name, _ in lines], [value for _, value in lines]
    document: Any = None
    if any(each.reader.needs_body for each in readers):
        document = _document(rule, details)
    found = {}
    for each in readers:
        reader = each.reader
        if reader.needs_body:
            text = _scalar(document, reader.pointer)
        else:
            raw = reader.from_head(names, values, details.target, b"")
            text = None if raw is None else _allowed(rule, each, raw.decode("utf-8", "replace"))
        if text and each.is_unit:
            text = keyed_hash(rule.redactor.key, text.encode())[:_HASH_SHOWN]
        found[each.name] = _named(text) if text else NONE
    return found


def _named(text: str) -> str:
    """Return the name of a value; a client's own word for what has a meaning here is in quotes."""
    value = as_value(text)
    return f'"{value}"' if value in (NONE, OTHER) else value


def _allowed(rule: RecordRule, each: SliceReader, text: str) -> str | None:
    """Return what may be shown of a value out of the head."""
    if each.reader.kind == "header":
        return rule.redactor.redact_header(each.reader.key.decode("latin-1"), text)
    if each.reader.kind == "cookie" and each.hides_cookies:
        return rule.redactor.redact_header("cookie", text)
    return rule.redactor.redact_text(text)


def _document(rule: RecordRule, details: Details) -> Any:
    """Return the request's JSON without what must not be shown; None where it is no JSON."""
    kind, coding, length = request_fields(details.request_head)
    body: bytes | Undecodable = details.request_body
    if coding is not None:
        body = decode_content(details.request_body, coding.lower(), DECODED_CAP_BYTES)
    if isinstance(body, Undecodable):
        return None
    document = parse_json(body[:length], media_type(kind)[1])
    if isinstance(document, Undecodable):
        return None
    try:
        return rule.redactor.redact_document(document)[0]
    except (RecursionError, TypeError):
        return None


def _scalar(document: Any, pointer: tuple[str, ...]) -> str | None:
    """Return the text, number or boolean at a pointer."""
    value = document
    for step in pointer:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and len(step) < 10 and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    if isinstance(value, str):
        return value
    return orjson.dumps(value).decode() if isinstance(value, bool | int | float) else None
