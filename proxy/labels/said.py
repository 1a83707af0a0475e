"""What was predicted as bytes that can be put by, and back: labels and numbers by row, and nothing else of an answer.

Pure. Where bodies must not be written, hashes stand for labels (:func:`disguise`). They are equal where the labels are,
so a label that comes later is held against them like any other; how close a number is nobody can tell by a hash, so
numbers of such routes are not put by.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

import orjson

from proxy.compare.labels import Label
from proxy.compare.values import Predicted

__all__ = ["Hide", "Said", "disguise", "dump_said", "load_said"]

Hide: TypeAlias = Callable[[bytes], str]
"""A keyed hash: at least 15 hex digits."""

Said: TypeAlias = tuple[tuple[str, ...], Predicted]
"""Whom it is counted for, in words, and what both said."""

_DIGITS: Final = 15
"""Of a hash that stands for a number: 60 bits, which JSON and every reader can hold."""


def dump_said(said: Iterable[Said], hide: Hide | None = None) -> bytes | None:
    """Return ``said`` as bytes; None where nothing of it may be written.

    Args:
        said: of one request. Values that are one object are written once.
        hide: hashes stand for labels.

    Raises:
        TypeError: a value is none that JSON has.
    """
    values: list[Sequence[Label]] = []
    places: dict[int, int] = {}

    def place(each: Sequence[Any] | None) -> int:
        if each is None:
            return -1
        if (found := places.get(id(each))) is None:
            found = places[id(each)] = len(values)
            values.append(each if hide is None else [disguise(value, hide) for value in each])
        return found

    sides = [
        (*key, place(predicted.primary), place(predicted.shadow), predicted.is_number)
        for key, predicted in said
        if hide is None or not predicted.is_number
    ]
    return orjson.dumps((values, sides)) if sides else None


def load_said(data: bytes) -> list[Said]:
    """Return what :func:`dump_said` was given; NaN and infinity, which no label is equal or close to, are None.

    Raises:
        ValueError: it is something else.
    """
    try:
        values, sides = orjson.loads(data)
        known = [
            tuple(tuple(value) if isinstance(value, list) else value for value in each) for each in values
        ]
        return [
            (tuple(key), Predicted(_at(known, primary), _at(known, shadow), bool(is_number)))
            for *key, primary, shadow, is_number in sides
        ]
    except (TypeError, ValueError, IndexError) as error:
        raise ValueError(f"no predictions: {error}") from None


def _at(known: Sequence[tuple[Label, ...]], place: int) -> tuple[Label, ...] | None:
    return None if place < 0 else known[place]


def disguise(label: Any, hide: Hide) -> Any:
    """Return what stands for ``label``: of its kind, and equal to what stands for another where both are equal.

    Args:
        label: of a row. hide: see ``Hide``.
    """
    match label:
        case None:
            return None
        case str():
            return hide(b"text " + label.encode(errors="surrogatepass"))
        case tuple():
            return tuple(disguise(each, hide) for each in label)
        case bool() | int() | float():
            # 1, 1.0 and true are one label. A whole number stays one: as a float it might be another.
            number = int(label) if isinstance(label, int) or label.is_integer() else label
            return int(hide(b"number " + repr(number).encode())[:_DIGITS], 16)
        case _:
            return hide(orjson.dumps(label))
