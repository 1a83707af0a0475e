"""Durations as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.durations import format_duration, parse_duration

MS, S, M, H = 10**6, 10**9, 60 * 10**9, 3600 * 10**9


@pytest.mark.parametrize(
    ("text", "duration_ns"),
    [
        ("0s", 0),
        ("250ms", 250 * MS),
        ("5s", 5 * S),
        ("1m30s", 90 * S),
        ("1h", H),
        ("1.5h", 90 * M),
        ("0.000001ms", 1),
        ("1h2m3s4ms", H + 2 * M + 3 * S + 4 * MS),
        ("75s", 75 * S),
    ],
)
def test_reads(text: str, duration_ns: int) -> None:
    """A duration is a sum of numbers with"""
    assert duration_ns == parse_duration(text)


@pytest.mark.parametrize(
    "text",
    ["", "s", "5 s", "5S", "-5s", "5s5s", "5ms1s", "5s ", "5d", "0.0000001ms", "٥s", "1e3s", "inf"],
)
def test_refuses(text: str) -> None:
    """What is no sum of larger to smaller units is refused with an example of one."""
    with pytest.raises(ValueError, match="such as 5s, 250ms or 1m30s"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["5", "-5", "0.5", "0"])
def test_bare_number(text: str) -> None:
    """A number without a unit is answered with how to write it."""
    with pytest.raises(ValueError, match=f"write {text}s or {text}ms, not {text}"):
        parse_duration(text)


@given(st.integers(0, 2**60))
def test_round_trip(duration_ns: int) -> None:
    """What is written reads back exactly."""
    assert duration_ns == parse_duration(format_duration(duration_ns))


@pytest.mark.parametrize(
    ("duration_ns", "text"), [(0, "0s"), (90 * S, "1m30s"), (1_500_000, "1.5ms"), (H + 1, "1h0.000001ms")]
)
def test_writes(duration_ns: int, text: str) -> None:
    """The written form names only the units that are not zero."""
    assert text == format_duration(duration_ns)


@given(st.text(max_size=40))
def test_any_text(text: str) -> None:
    """What is no duration is refused, and nothing else happens."""
    said = "a duration"
    try:
        assert parse_duration(text) >= 0
    except ValueError as error:
        said = str(error)
    assert "a duration" in said
