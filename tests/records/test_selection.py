"""Which records are wanted."""

import pytest

from proxy.records.record import Record, parse_record
from proxy.records.selection import EVERY_RECORD, Selection, parse_moment
from tests.records.lines import line_of


def record(**changes: object) -> Record:
    found = parse_record(line_of(**changes))  # type: ignore[arg-type]  # any field
    assert isinstance(found, Record)
    return found


RECORD = record(ts="2026-11-21T04:00:00Z")
T = RECORD.ts_wall_ns

CASES = {
    "all": (EVERY_RECORD, True),
    "its route": (Selection(routes={"wine", "beer"}), True),
    "another route": (Selection(routes={"beer"}), False),
    "its variant": (Selection(variants={"v1"}), True),
    "another variant": (Selection(variants={"v2"}), False),
    "since then": (Selection(since_wall_ns=T), True),
    "since later": (Selection(since_wall_ns=T + 1), False),
    "until then": (Selection(until_wall_ns=T), False),
    "until later": (Selection(until_wall_ns=T + 1), True),
    "one of two does not hold": (Selection(routes={"wine"}, variants={"v2"}), False),
}


@pytest.mark.parametrize("name", CASES)
def test_selection(name: str) -> None:
    """A record is wanted that meets everything."""
    selection, expected = CASES[name]
    assert selection.takes(RECORD) is expected


def test_moments() -> None:
    """A time, a day, or how long ago."""
    now = 10_000_000_000_000
    assert parse_moment("2h", now) == now - 7_200_000_000_000
    assert parse_moment("7d", now * 100) == now * 100 - 7 * 86_400_000_000_000
    assert parse_moment("1970-01-01T00:00:02Z", now) == 2_000_000_000
    assert parse_moment("1970-01-02", now) == 86_400_000_000_000


@pytest.mark.parametrize("text", ["", "yesterday", "2 hours", "7w", "-2h"])
def test_no_moment(text: str) -> None:
    """Anything else is refused with what would be right."""
    with pytest.raises(ValueError, match="how long ago such as 2h or 7d"):
        parse_moment(text, 0)
