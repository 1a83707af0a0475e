"""The histogram's bounds cover every distance; a prediction says whether it is JSON."""

import orjson

from proxy.compare import Answer, ComparisonRule, compare
from proxy.compare.values import DISTANCE_BOUNDS, Prediction


def test_bounds_are_sorted_and_span_every_distance() -> None:
    """Twelve strictly rising bounds from 0 to 1: agreement has its own bucket, nothing falls above."""
    assert list(DISTANCE_BOUNDS) == sorted(set(DISTANCE_BOUNDS))
    assert (DISTANCE_BOUNDS[0], DISTANCE_BOUNDS[-1], len(DISTANCE_BOUNDS)) == (0.0, 1.0, 12)


def test_text_and_bytes_are_not_json() -> None:
    """Only parsed answers count as JSON."""
    assert Prediction("v1", {}).is_json
    assert not Prediction("text", "x").is_json
    assert not Prediction("bytes", b"x").is_json


def test_differences_can_be_written() -> None:
    """A key or a text that UTF-8 has no form of is shown with a mark in its place; all others stay as they are."""
    body = b'{"a\\ud800": "\\udfff%d", "b": NaN, "\xc3\xa9": %d}'
    first, second = (Answer(200, b"application/json", None, body % (n, n)) for n in (1, 2))
    found = compare(ComparisonRule("json"), first, second)
    assert [difference.path for difference in found.differences] == ["/a\ufffd", "/é"]
    assert orjson.loads(orjson.dumps(found.differences))[0]["path"] == "/a\ufffd"
