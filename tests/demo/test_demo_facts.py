"""Quantiles of a histogram and the accounts of a shadow."""

from dataclasses import replace

import pytest

from proxy.demo.facts import Claims, Histogram, ShadowClaim

INF = float("inf")

QUANTILES: list[tuple[str, Histogram, float, float | None]] = [
    ("empty", Histogram(), 0.5, None),
    ("no observation", Histogram((1.0, INF), (0, 0)), 0.5, None),
    ("middle of the first bucket", Histogram((1.0, INF), (10, 10)), 0.5, 0.5),
    ("border of two buckets", Histogram((1.0, 2.0, INF), (5, 10, 10)), 0.5, 1.0),
    ("linear inside a bucket", Histogram((1.0, 2.0, INF), (5, 10, 10)), 0.75, 1.5),
    ("empty buckets are passed", Histogram((1.0, 2.0, 4.0, INF), (0, 0, 4, 4)), 0.5, 3.0),
    ("beyond the last bound", Histogram((1.0, INF), (1, 100)), 0.99, 1.0),
]


@pytest.mark.parametrize(
    ("histogram", "q", "expected"), [c[1:] for c in QUANTILES], ids=[c[0] for c in QUANTILES]
)
def test_quantile(histogram: Histogram, q: float, expected: float | None) -> None:
    """A quantile is linear inside its bucket and never beyond the last finite bound."""
    assert histogram.quantile(q) == expected


def test_settled_when_every_request_and_every_shadow_is_accounted() -> None:
    """Nothing is settled while a request is uncounted or a shadow answer neither compared nor given up."""
    done = {"eligible": 3, "sent": 2, "dropped": 1, "answered": 2, "compared": 1, "uncomparable": 1}
    claims = Claims(
        requests={("v1", "m1", "200"): 3},
        shadows={"m4": ShadowClaim(done, {})},
        payload={"sampled": 2, "written": 1, "dropped": 1},
    )
    assert claims.is_settled(3, 2)
    assert not claims.is_settled(4, 2)
    assert not claims.is_settled(3, 3)
    waiting = replace(claims, shadows={"m4": ShadowClaim(done | {"compared": 0}, {})})
    assert not waiting.is_settled(3, 2)
    assert waiting.shadows["m4"].under_way() == 1
