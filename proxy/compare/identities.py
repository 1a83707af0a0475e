"""What of a document speaks of the call or the server, and not of what was asked: ids, times, who answered.

Every answer has its own. Named so that they can mean nothing else (``request_id``, ``latency_ms``), they are left out
whatever they hold; a plain ``id`` only where both look as if made up for the call, since it may also be what was
recommended. They are looked for at the top of a document, under ``meta`` and the like, and in its rows. A document of
nothing else is compared as it is: then ``latency_ms`` is what was predicted.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from proxy.compare.values import Json

__all__ = ["find_identities"]


def _spelled(*names: str) -> frozenset[str]:
    """Return names as people spell them: ``request_id``, ``request-id``, ``requestid``, ``requestId``, …"""
    found: set[str] = set()
    for name in names:
        words = name.split()
        capitals = [word.capitalize() for word in words]
        found |= {"_".join(words), "-".join(words), "".join(words), words[0] + "".join(capitals[1:])}
        found |= {
            "".join(capitals),
            words[0] + "".join(word.upper() if word == "id" else word.capitalize() for word in words[1:]),
        }
    return frozenset(found)


_IDS: Final = _spelled(
    *(
        "call id",
        "correlation id",
        "detection id",
        "generation id",
        "inference id",
        "invocation id",
        "prediction id",
    ),
    *("puid", "req id", "request id", "response id", "span id", "trace id", "transaction id", "x request id"),
)
_ABOUT: Final = _spelled(
    *("created", "created at", "datetime", "request time", "server time", "time stamp", "timestamp"),
    *(
        "compute time",
        "elapsed",
        "elapsed ms",
        "elapsed time",
        "execution time",
        "execution time ms",
        "inference ms",
    ),
    *("inference time", "inference time ms", "latency", "latency ms", "process time", "process time ms"),
    *(
        "processing time",
        "processing time ms",
        "response time",
        "response time ms",
        "time taken",
        "took",
        "took ms",
    ),
    *("eval duration", "load duration", "prompt eval duration", "timing", "timings", "total duration"),
    *("container id", "hostname", "pod name", "worker id", "request path"),
    *(
        "deployed model id",
        "model display name",
        "model id",
        "model name",
        "model version",
        "model version id",
    ),
    *("billed units", "usage metadata"),
)
_ANY: Final = _IDS | _ABOUT
_ENVELOPES: Final = ("meta", "metadata", "_meta", "meta_info")
_ROWS: Final = ("data", "detections", "items", "objects", "outputs", "predictions", "results")

_NESTED: Final = frozenset({*_ENVELOPES, *_ROWS})

_MADE_UP: Final = re.compile(
    r"(?:.*[-_:.])?(?:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[0-9A-Za-z]{12,})",
    re.IGNORECASE | re.DOTALL,
)
"""A UUID, or at least twelve letters and digits, perhaps behind a word: ``chatcmpl-9f3b2c7d1e0a``."""
_ID_LIMIT: Final = 128
"""Characters of an id; what is longer is none."""


def find_identities(document: Json, other: Json) -> tuple[str, ...]:
    """Return JSON pointers to what is left out when two documents are compared; ``*`` stands for every row.

    Args:
        document: the primary's.
        other: the shadow's.
    """
    if type(document) is list:
        return tuple(_of_rows(document, other, ""))
    if type(document) is not dict:
        return ()
    found = list(_of_object(document, other, ""))
    if document.keys().isdisjoint(_NESTED):
        return tuple(found) if len(found) < len(document) else ()
    for name in _ROWS:
        if type(document.get(name)) is list:
            found += _of_rows(document[name], other.get(name) if type(other) is dict else None, f"/{name}")
    rest = document.keys() - {pointer[1:] for pointer in found} - set(_ENVELOPES)
    if not rest:
        return ()
    for name in _ENVELOPES:
        if name in document:
            found += _of_object(document[name], other.get(name) if type(other) is dict else None, f"/{name}")
    return tuple(found)


def _of_object(document: Json, other: Json, place: str) -> Iterator[str]:
    if type(document) is not dict:
        return
    names = document.keys() & _ANY
    if "id" in document and _are_made_up(document, other, "id"):
        names |= {"id"} | (document.keys() & {"model"})
    yield from _pointers(place, names)


def _of_rows(rows: list[Json], others: Json, place: str) -> Iterator[str]:
    """Look at the first row alone: those of one answer are alike."""
    first = rows[0] if rows else None
    if type(first) is not dict:
        return
    names = first.keys() & _IDS
    if "id" in first and type(others) is list and others and _are_made_up(first, others[0], "id"):
        names |= {"id"}
    if first.keys() - names:
        yield from _pointers(f"{place}/*", names)


def _pointers(place: str, names: Iterable[str]) -> Iterator[str]:
    return (f"{place}/{name}" for name in sorted(names))


def _are_made_up(document: dict[str, Json], other: Json, name: str) -> bool:
    values = document[name], other.get(name) if type(other) is dict else None
    return all(
        type(value) is str and len(value) <= _ID_LIMIT and _MADE_UP.fullmatch(value) is not None
        for value in values
    )
