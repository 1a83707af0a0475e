"""What the journal tells about one route: who moved its rollout, when and why. Reads; never writes."""

import os
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from proxy.private import open_private

__all__ = ["MOST_BYTES", "MOST_LINES", "read_history"]

MOST_LINES = 500
"""So many of the last lines are told."""

MOST_BYTES = 1024 * 1024
"""And no more than this: a line has a few KiB, 64 at most."""

_STEERED = frozenset({"decision", "verb", "note"})


def read_history(state_dir: Path, route: str, limit: int = MOST_LINES) -> list[dict[str, Any]]:
    """Return the last lines of the journal that are about ``route``, oldest first; blocks on the disk.

    Of a publish only the changes that name the route are told. A file that is missing or cannot be read tells nothing,
    nor does a line that is none.
    """
    found: deque[tuple[int, dict[str, Any]]] = deque()
    size = 0
    needle = orjson.dumps(route)[1:-1]
    for name in ("journal.1.jsonl", "journal.jsonl"):
        for data in _lines(state_dir / name):
            # Most lines are about other routes: they are told apart without reading them as JSON.
            if needle in data and (line := _about(data, route)) is not None:
                found.append((len(orjson.dumps(line)), line))
                size += found[-1][0]
                while len(found) > limit or size > MOST_BYTES:
                    size -= found.popleft()[0]
    return [line for _, line in found]


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with os.fdopen(open_private(path, os.O_RDONLY), "rb") as file:
            yield from file
    except OSError:
        return


def _about(data: bytes, route: str) -> dict[str, Any] | None:
    try:
        line = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(line, Mapping) or not isinstance(line.get("ts"), str):
        return None
    if line.get("event") in _STEERED:
        return dict(line) if line.get("route") == route else None
    if line.get("event") != "publish":
        return None
    place = f"routes[{route}]"
    changes = [each for each in line.get("changes") or () if isinstance(each, str) and each.startswith(place)]
    return {**line, "changes": changes} if changes else None
