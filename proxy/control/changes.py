"""What differs between two configuration documents, in sentences a person reads in the journal. Pure.

::

    routes[wine].variants[v3].weight: 5 → 20
    routes[wine].shadows[wine-v4]: added
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import orjson

__all__ = ["MAX_CHANGES", "describe_changes"]

MAX_CHANGES = 100
"""More sentences than this are replaced by one that counts them."""

_MAX_VALUE = 120

_NAMES = ("name", "model", "metric")
"""What tells the entries of a list apart, in this order; without one they are told apart by place."""


def describe_changes(old: Any, new: Any) -> tuple[str, ...]:
    """Return one sentence for each difference between two public documents (JSON values, secrets masked).

    A secret that changed from one value to another gives no sentence, because both look the same.
    """
    found = list(islice(_differences("", old, new), MAX_CHANGES + 1))
    if len(found) > MAX_CHANGES:
        found[MAX_CHANGES:] = [f"and more than {MAX_CHANGES} changes in all"]
    return tuple(found)


def _differences(path: str, old: Any, new: Any) -> Iterator[str]:
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _in_mapping(path, old, new, dotted=True)
    elif isinstance(old, list) and isinstance(new, list) and (field := _name_field(old, new)):
        before = {str(entry[field]): entry for entry in old}
        after = {str(entry[field]): entry for entry in new}
        yield from _in_mapping(path, before, after, dotted=False)
        kept = [name for name in before if name in after]
        if kept != (order := [name for name in after if name in before]):
            yield f"{path}: order {', '.join(kept)} → {', '.join(order)}"
    else:
        yield f"{path}: {_text(old)} → {_text(new)}"


def _in_mapping(path: str, old: dict[str, Any], new: dict[str, Any], *, dotted: bool) -> Iterator[str]:
    for name in {**old, **new}:
        inner = (f"{path}.{name}" if path else name) if dotted else f"{path}[{name}]"
        if name not in new:
            yield f"{inner}: removed"
        elif name not in old:
            yield f"{inner}: added"
        else:
            yield from _differences(inner, old[name], new[name])


def _name_field(old: list[Any], new: list[Any]) -> str | None:
    for field in _NAMES:
        if all(_has_unique(entries, field) for entries in (old, new)):
            return field
    return None


def _has_unique(entries: list[Any], field: str) -> bool:
    if not all(isinstance(entry, dict) and isinstance(entry.get(field), str) for entry in entries):
        return False
    return len({entry[field] for entry in entries}) == len(entries)


def _text(value: Any) -> str:
    if value is None:
        return "none"
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= _MAX_VALUE else f"{text[:_MAX_VALUE]}…"
