"""The histogram's bounds cover every distance; a prediction says whether it is JSON."""

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
