"""JSON pointers (RFC 6901), with `*` for one segment and, in patterns, `**` for any number of them."""

from functools import lru_cache
from typing import Final, TypeAlias

from proxy.compare.values import Json

__all__ = [
    "NO_PATTERNS",
    "Patterns",
    "advance",
    "any_element",
    "compile_patterns",
    "parse_pointer",
    "resolve",
    "start_of",
]

Segments: TypeAlias = tuple[str, ...]
Patterns: TypeAlias = tuple[Segments, ...]
"""What is left to match of every pattern that is still alive at some place in a document."""

NO_PATTERNS: Final[Patterns] = ()


def parse_pointer(pointer: str) -> Segments:
    """Split a pointer into unescaped segments: ``~1`` is ``/`` and ``~0`` is ``~``."""
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])


@lru_cache(maxsize=256)
def compile_patterns(pointers: tuple[str, ...]) -> Patterns:
    """Return the patterns as they stand at the root of a document. Cached: rules come from the config."""
    alive: dict[Segments, None] = {}
    for pointer in pointers:
        _add_closure(parse_pointer(pointer), alive)
    return tuple(alive)


def start_of(segments: Segments) -> Patterns:
    """Return one pattern as it stands at the root of a document."""
    alive: dict[Segments, None] = {}
    _add_closure(segments, alive)
    return tuple(alive)


def advance(patterns: Patterns, key: str) -> Patterns | None:
    """Step into ``key``; ``None`` when a pattern matches there, so that the whole value is to be ignored."""
    alive: dict[Segments, None] = {}
    for pattern in patterns:
        head, rest = pattern[0], pattern[1:]
        if head == "**":
            _add_closure(pattern, alive)
            if not rest:  # a closing ** takes everything below
                return None
        elif head in ("*", key):
            if not rest:
                return None
            _add_closure(rest, alive)
    return tuple(alive)


def any_element(patterns: Patterns) -> bool:
    """Whether a pattern may match an element of the list at hand: ``advance`` may be ``None`` for an index."""
    return any(
        len(pattern) == 1 and (pattern[0] in ("*", "**") or pattern[0].isdecimal()) for pattern in patterns
    )


def _add_closure(pattern: Segments, alive: dict[Segments, None]) -> None:
    """Add ``pattern`` and what it is when each leading ``**`` matches nothing; a closing ``**`` stays."""
    while pattern and pattern[0] == "**" and len(pattern) > 1:
        alive[pattern] = None
        pattern = pattern[1:]
    alive[pattern] = None


def resolve(document: Json, pointer: str) -> Json:
    """Return what ``pointer`` points at, ``KeyError`` if nothing.

    ``*`` gives a list with what is found in each element of a list (or value of an object, in order).

    Raises:
        KeyError: a segment names nothing.
    """
    return _resolve(document, parse_pointer(pointer))


def _resolve(value: Json, segments: Segments) -> Json:
    for at, segment in enumerate(segments):
        if segment == "*":
            if type(value) is dict:
                value = list(value.values())
            elif type(value) is not list:
                raise KeyError(segment)
            return [_resolve(element, segments[at + 1 :]) for element in value]
        if type(value) is dict:
            value = value[segment]
        elif type(value) is list and segment.isdecimal() and len(segment) < 10 and int(segment) < len(value):
            value = value[int(segment)]
        else:
            raise KeyError(segment)
    return value
