"""The likeliest ratio of two rates."""

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.report.ratio import estimate


def of(*rows: tuple[int, int, float]) -> float | None:
    canary, champion, share = zip(*rows, strict=True)
    return estimate(np.array(canary, np.int64), np.array(champion, np.int64), np.array(share))


@given(st.integers(1, 10_000), st.integers(1, 10_000), st.floats(0.001, 0.999))
def test_one_slice(canary: int, champion: int, share: float) -> None:
    """In one slice it is the ratio of the rates."""
    assert of((canary, champion, share)) == pytest.approx(canary / champion * (1 - share) / share, rel=1e-6)


def test_a_ramp_is_not_pooled() -> None:
    """An incident in an hour of little weight makes the canary no better, nor worse, than it is."""
    assert of((10, 990, 0.01), (50, 50, 0.5)) == pytest.approx(1.0)
    assert of((20, 990, 0.01), (100, 50, 0.5)) == pytest.approx(2.0, rel=0.01)


def test_edges() -> None:
    """Without events, or without a coin, there is no telling; with events of one alone it is an end."""
    assert of((0, 0, 0.5)) is None
    assert of((5, 5, 0.0), (5, 5, 1.0)) is None
    assert of((5, 0, 0.5)) == inf
    assert of((0, 5, 0.5)) == 0.0
