"""Variants with fixed weights: both directions, no decision."""

from typing import Any

import numpy as np
import pytest

from proxy.report.documents import Rollout
from proxy.report.facts import gather
from proxy.report.pages import Bullets, Heading, Table
from proxy.report.split import compare, split_blocks, split_headline

READ_NS = 1_763_700_000_000_000_000


def variant(
    name: str, share: float, units: int, errors: int, bucket: int = 200, **changes: Any
) -> dict[str, Any]:
    spread = [bucket - 5, bucket, bucket + 5]
    counted = [units // 4, units // 2, units // 4]
    return {
        "name": name, "share": share, "units": units, "requests": units, "errors": errors,
        "latency": [spread, counted], **changes,
    }  # fmt: skip


def document(*epochs: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    rows = [
        {"epoch": str(i), "first_ns": READ_NS - 10**12, "variants": each} for i, each in enumerate(epochs)
    ]
    return {"rollout": "r", "champion": "v1", "read_ns": READ_NS, "epochs": rows, **changes}


WORSE = [variant("v1", 0.9, 90_000, 900), variant("v2", 0.1, 10_000, 300, bucket=210)]
SAME = [variant("v1", 0.9, 90_000, 900), variant("v2", 0.1, 10_000, 100)]


def test_one_that_is_worse() -> None:
    """More errors and longer answers are said, with limits, and the lack of a decision."""
    facts = gather("wine", document(WORSE), {})
    said = split_headline(facts)
    assert "After 10,000 requests it is certain that v2 fails more often than v1 (" in said
    assert "is slower than v1" in said
    assert said.endswith("Weights are fixed: nothing was decided.")
    errors, *_ = compare(facts.document, "v2").differences
    assert errors.side == 1
    assert errors.best == pytest.approx(3.0)
    assert errors.low < 3 < errors.high
    assert errors.more > 20 > 0 > errors.less


def test_both_directions() -> None:
    """Seen from the other side the same counts say the opposite."""
    swapped = document(WORSE, champion="v2")
    mine = compare(Rollout.read(document(WORSE)), "v2").differences
    other = compare(Rollout.read(swapped), "v1").differences
    for a, b in zip(mine, other, strict=True):
        assert a.side == -b.side
        if not a.metric.startswith("latency"):
            assert a.more == pytest.approx(b.less, abs=1e-6)
            assert a.low == pytest.approx(1 / b.high if np.isfinite(b.high) else 0, rel=1e-6)
    assert "fails less often than v2" in split_headline(gather("wine", swapped, {}))


def test_the_same() -> None:
    """Without a difference none is claimed."""
    facts = gather("wine", document(SAME), {})
    assert "no difference between v2 and v1 is certain" in split_headline(facts)
    text = str(split_blocks(facts))
    assert "none stands out" in text
    assert "no telling" in text


def test_epochs_are_not_pooled() -> None:
    """A change of weights during an incident makes nobody worse."""
    incident = [variant("v1", 0.5, 10_000, 1000), variant("v2", 0.5, 10_000, 1000)]
    calm = [variant("v1", 0.99, 99_000, 99), variant("v2", 0.01, 1_000, 1)]
    errors, *_ = compare(Rollout.read(document(incident, calm)), "v2").differences
    assert errors.side == 0
    assert errors.best == pytest.approx(1.0, rel=0.01)


def test_the_tables() -> None:
    """Each variant has its table, every metric a row, and those that stand out are named together."""
    three = [*WORSE, variant("v4", 0.0, 0, 0)]
    blocks = split_blocks(gather("wine", document(three), {}))
    tables = [each for each in blocks if isinstance(each, Table)]
    assert [each.columns[1] for each in tables] == ["v2", "v4"]
    assert [row[0] for row in tables[0].rows] == [
        "errors", "client_errors", "abandoned", "latency p50", "latency p95", "latency p99",
    ]  # fmt: skip
    assert [row[0] for row in tables[1].rows] == ["errors", "client_errors", "abandoned"]
    bullets = next(each for each in blocks if isinstance(each, Bullets)).items
    assert "v2, errors" in bullets[0]
    assert any(each.startswith("v4 met fewer than 1,000 units") for each in bullets)
    assert blocks[0] == Heading("The evidence")


def test_beside_a_rollout() -> None:
    """In the report of a rollout the other variants have a part of their own, without the canary."""
    epoch = [*WORSE, variant("v3", 0.05, 500, 5)]
    blocks = split_blocks(gather("wine", document(epoch, variant="v3"), {}))
    assert blocks[0] == Heading("Other variants of this route")
    assert sum(isinstance(each, Table) for each in blocks) == 1
    assert split_blocks(gather("wine", document([WORSE[0]]), {})) == []


def test_nothing_counted() -> None:
    """Before any epoch nothing is compared, and histograms that no program wrote do no harm."""
    assert split_headline(gather("wine", document(), {})) == "Nothing was counted yet beside v1."
    odd = [variant("v1", 0.9, 10, 1), variant("v2", 0.1, 10, 1, latency=[[-1, 9999], [5, 5]])]
    text = str(split_blocks(gather("wine", document(odd), {})))
    assert "Nothing is known of the latency" in text
