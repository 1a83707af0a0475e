"""What must not be written: fields of JSON bodies and headers, dropped or replaced by a keyed hash.

Pure. Rules
    * A pointer (RFC 6901) names a value; ``*`` stands for every key or index of one level, ``**`` for any
      number of levels.
    * ``drop`` takes a member out of its object. In a list it leaves null, so that the other elements keep
      their places.
    * ``hash`` replaces the value, whatever its type, by :func:`keyed_hash` of its text (of its JSON if it
      is no text): equal values stay equal, and a user id in a body has the hash that the record's ``unit``
      has.
    * A body that must be redacted is always written anew from what was parsed. The original text may hold a
      key twice, and the parser's choice is not the reader's.
"""

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

import orjson

from proxy.compare.pointers import parse_pointer

__all__ = ["HASH_LENGTH", "Action", "Redactor", "keyed_hash"]

Action: TypeAlias = Literal["drop", "hash"]

HASH_LENGTH: Final = 32
"""Hex digits of a keyed hash that are kept: 128 bits, no two units ever clash."""


def keyed_hash(key: bytes, value: bytes) -> str:
    """Return the first ``HASH_LENGTH`` hex digits of HMAC-SHA256 (RFC 2104) of ``value``."""
    hashed = _keyed(key).copy()
    hashed.update(value)
    return hashed.hexdigest()[:HASH_LENGTH]


# To copy what has taken the key in takes a third of the time of taking it in; there is one key.
@lru_cache(maxsize=4)
def _keyed(key: bytes) -> hmac.HMAC:
    return hmac.new(key, digestmod="sha256")


@dataclass(frozen=True, slots=True)
class Redactor:
    """The compiled ``log.redact`` of a route."""

    key: bytes = field(repr=False)
    pointers: tuple[tuple[tuple[str, ...], Action], ...] = ()
    headers: Mapping[str, Action] = field(default_factory=dict)
    """By lower-case name."""

    @classmethod
    def of(
        cls, key: bytes, json: Iterable[tuple[str, Action]], headers: Iterable[tuple[str, Action]]
    ) -> "Redactor":
        """Return the redactor for pointers and header names with their actions.

        A header named twice is dropped if either entry says so.
        """
        by_name: dict[str, Action] = {}
        for name, action in headers:
            by_name[name.lower()] = "drop" if "drop" in (action, by_name.get(name.lower())) else action
        # Drops first: what is dropped need not be hashed, and a hash must not hide a pointer below it.
        ordered = sorted(
            ((parse_pointer(pointer), action) for pointer, action in json), key=lambda rule: rule[1]
        )
        return cls(key, tuple(ordered), by_name)

    def redact_document(self, document: Any) -> Any:
        """Return ``document`` without what must not be written. The argument is used up.

        Raises:
            RecursionError: a ``**`` met a document nested deeper than Python follows.
            TypeError: a value to be hashed has no JSON form.
        """
        for segments, action in self.pointers:
            if not segments:
                document = self._replaced(document, action)
            else:
                self._walk(document, segments, 0, action)
        return document

    def redact_header(self, name: str, value: str) -> str | None:
        """Return what may be written of a header, None if nothing may."""
        action = self.headers.get(name)
        if action is None:
            return value
        return self._replaced(value, action)

    def _walk(self, value: Any, segments: tuple[str, ...], at: int, action: Action) -> None:
        segment, is_last = segments[at], at + 1 == len(segments)
        if segment == "**":
            self._walk_deep(value, segments, at, action)
            return
        for step in _steps(value, segment):
            if is_last:
                self._replace(value, step, action)
            else:
                self._walk(value[step], segments, at + 1, action)

    def _walk_deep(self, value: Any, segments: tuple[str, ...], at: int, action: Action) -> None:
        if at + 1 == len(segments):  # a closing ** takes everything below
            for step in _steps(value, "*"):
                self._replace(value, step, action)
            return
        self._walk(value, segments, at + 1, action)
        for step in _steps(value, "*"):
            self._walk_deep(value[step], segments, at, action)

    def _replace(self, parent: Any, step: str | int, action: Action) -> None:
        if action == "drop" and isinstance(parent, dict):
            del parent[step]
        else:
            parent[step] = self._replaced(parent[step], action)

    def _replaced(self, value: Any, action: Action) -> str | None:
        if action == "drop":
            return None
        text = value.encode() if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        return keyed_hash(self.key, text)


def _steps(value: Any, segment: str) -> list[str] | list[int]:
    """Return the keys or indexes of ``value`` that ``segment`` names."""
    if isinstance(value, dict):
        return list(value) if segment == "*" else [segment] if segment in value else []
    if isinstance(value, list):
        if segment == "*":
            return list(range(len(value)))
        if segment.isdecimal() and len(segment) < 10 and int(segment) < len(value):
            return [int(segment)]
    return []
