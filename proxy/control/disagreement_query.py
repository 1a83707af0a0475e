"""What ``GET /api/v1/disagreements`` may be asked: its query, read strictly."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, cast

from proxy.model import DISAGREEMENT_REASONS
from proxy.printable import printable

__all__ = ["DEFAULT_LIMIT", "MAX_LIMIT", "PARAMETERS", "SORTS", "Query", "parse_query"]

PARAMETERS: Final = ("route", "shadow", "reason", "slice", "sort", "limit", "example")
SORTS: Final = ("newest", "extreme")
DEFAULT_LIMIT: Final = 10
MAX_LIMIT: Final = 100
"""Examples of each shadow. No more are kept."""

_SHOWN_CHARACTERS: Final = 100


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for; empty: whatever there is."""

    route: str = ""
    shadow: str = ""
    """Name of its model."""
    reason: str = ""
    slice: tuple[str, str] | None = None
    """Name and value."""
    sort: Literal["newest", "extreme"] = "newest"
    limit: int = DEFAULT_LIMIT
    """Examples of each shadow."""
    example: str = ""
    """Id of the one that is asked for."""


def parse_query(pairs: Iterable[tuple[str, str]]) -> Query:
    """Return the query.

    Args:
        pairs: names and values, decoded.

    Raises:
        ValueError: something in it cannot be meant; the sentence says what to write.
    """
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in PARAMETERS:
            raise ValueError(f"no parameter is called {_shown(name)}; there are: {', '.join(PARAMETERS)}")
        if name in given:
            raise ValueError(f"{name}: expected once")
        if not value:
            raise ValueError(f"{name}: expected a value, or leave it out")
        given[name] = value
    sort = given.get("sort", "newest")
    if sort not in SORTS:
        raise ValueError(f"sort: expected {' or '.join(SORTS)}, got {_shown(sort)}")
    reason = given.get("reason", "")
    if reason and reason not in DISAGREEMENT_REASONS:
        known = ", ".join(DISAGREEMENT_REASONS)
        raise ValueError(f"no reason is called {_shown(reason)}; there are: {known}")
    return Query(
        route=given.get("route", ""),
        shadow=given.get("shadow", ""),
        reason=reason,
        slice=_slice(given["slice"]) if "slice" in given else None,
        sort=cast("Literal['newest', 'extreme']", sort),
        limit=_limit(given["limit"]) if "limit" in given else DEFAULT_LIMIT,
        example=given.get("example", ""),
    )


def _slice(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not (name and colon and value):
        raise ValueError(f"slice: expected NAME:VALUE such as tier:gold, got {_shown(text)}")
    return name, value


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 5 and int(text) <= MAX_LIMIT):
        raise ValueError(f"limit: expected a number from 0 to {MAX_LIMIT}, got {_shown(text)}")
    return int(text)


def _shown(text: str) -> str:
    return printable(text[:_SHOWN_CHARACTERS])
