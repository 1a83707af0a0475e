"""What becomes of a value that must not be written: left out, hashed, masked, or its end kept.

Pure. ``hash`` is a keyed hash: equal values stay equal, and nobody without the key can try values until one fits.
"""

import hmac
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import orjson

__all__ = [
    "HASH_LENGTH",
    "MASK",
    "Action",
    "Treatment",
    "key_id",
    "keyed_hash",
    "stronger",
    "treat_text",
    "treat_value",
]

Action: TypeAlias = Literal["drop", "hash", "mask", "keep_last"]

HASH_LENGTH: Final = 32
"""Hex digits of a keyed hash that are kept: 128 bits, no two units ever clash."""

MASK: Final = "***"
"""What stands for a text that was there."""

_STRENGTH: Final[dict[Action, int]] = {"keep_last": 0, "hash": 1, "mask": 2, "drop": 3}


class Treatment(NamedTuple):
    """An action and what it needs to know."""

    action: Action
    keep: int = 4
    """Characters at the end that ``keep_last`` keeps."""


def stronger(one: Treatment, other: Treatment | None) -> Treatment:
    """Return which of two treatments of the same thing leaves less of it."""
    return one if other is None or _STRENGTH[one.action] >= _STRENGTH[other.action] else other


def keyed_hash(key: bytes, value: bytes) -> str:
    """Return the first ``HASH_LENGTH`` hex digits of HMAC-SHA256 (RFC 2104) of ``value``."""
    hashed = _keyed(key).copy()
    hashed.update(value)
    return hashed.hexdigest()[:HASH_LENGTH]


def key_id(key: bytes) -> str:
    """Return what names ``key`` in records: 8 hex digits of a hash of it, too few to tell anything of the key."""
    return sha256(b"modelproxy unit key\n" + key).hexdigest()[:8]


# To copy what has taken the key in takes a third of the time of taking it in; there is one key, seldom two.
@lru_cache(maxsize=4)
def _keyed(key: bytes) -> hmac.HMAC:
    return hmac.new(key, digestmod="sha256")


def treat_text(treatment: Treatment, key: bytes, text: str) -> str | None:
    """Return what may be written of ``text``; None: nothing.

    ``keep_last`` keeps nothing of a text that is shorter than twice what is to be kept: the end would be most of it.
    """
    action, keep = treatment
    if action == "drop":
        return None
    if action == "hash":
        # A text of JSON may hold a lone surrogate, which has no UTF-8 form.
        return keyed_hash(key, text.encode("utf-8", "surrogatepass"))
    if action == "keep_last" and len(text) >= 2 * keep:
        return MASK + text[-keep:]
    return MASK


def treat_value(treatment: Treatment, key: bytes, value: Any) -> Any:
    """Return what may be written of a JSON value; None: nothing.

    ``hash`` makes one text of any value, and that of equal values is equal whatever the order of their keys. ``mask``
    keeps types, keys and lengths of lists: a reader that expects a number finds one (0). ``keep_last`` makes texts of
    numbers, and of lists and objects it treats each element.

    Raises:
        RecursionError: the value is nested deeper than Python follows.
        TypeError: a value to be hashed has no JSON form.
    """
    if treatment.action == "drop":
        return None
    if isinstance(value, str):
        return treat_text(treatment, key, value)
    if treatment.action == "hash":
        return keyed_hash(key, orjson.dumps(value, option=orjson.OPT_SORT_KEYS))
    if treatment.action == "keep_last":
        return _each(value, lambda leaf: _keep_last(treatment, key, leaf))
    return _each(value, _masked)


def _each(value: Any, treat: Callable[[Any], Any]) -> Any:
    """Return ``value`` with every leaf treated."""
    if isinstance(value, dict):
        return {name: _each(inner, treat) for name, inner in value.items()}
    if isinstance(value, list):
        return [_each(inner, treat) for inner in value]
    return treat(value)


def _masked(leaf: Any) -> Any:
    if isinstance(leaf, str):
        return MASK
    return type(leaf)() if isinstance(leaf, bool | int | float) else None


def _keep_last(treatment: Treatment, key: bytes, leaf: Any) -> Any:
    if isinstance(leaf, bool) or leaf is None:
        return _masked(leaf)
    return treat_text(treatment, key, leaf if isinstance(leaf, str) else orjson.dumps(leaf).decode())
