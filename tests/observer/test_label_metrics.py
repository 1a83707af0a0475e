"""What labels say, in metrics."""

from math import log
from pathlib import Path

import pytest

from proxy.labels import LabelCounts, judge
from proxy.observer.label_store import KnownLabels
from tests.observer.test_metrics import scrape, value
from tests.observer.world import CONFIG, World

LABELLED = CONFIG.replace("    shadows:", "    compare: {labels: 1h}\n    shadows:")


def test_series(tmp_path: Path) -> None:
    """Items by outcome, rows by who was right, and evidence in both directions."""
    assert LABELLED != CONFIG
    world = World(tmp_path, LABELLED)
    world.count("label", "wine", writer="o0", accepted=5, late=1)
    world.count("label_rows", "wine", "v1", "wine-v4", writer="o0", only_primary=4)
    counts = LabelCounts(won_primary=30)
    world.labelled = {"wine": [KnownLabels("wine-v4", "v1", counts)]}
    series = scrape(world)
    assert value(series, "labels_total", route="wine", outcome="accepted") == 5
    assert value(series, "labels_total", route="wine", outcome="mismatch") == 0
    place = {"route": "wine", "variant": "v1", "model": "wine-v4"}
    assert value(series, "labelled_rows_total", **place, outcome="only_primary") == 4
    assert value(series, "labelled_rows_total", **place, outcome="only_shadow") == 0
    worse = value(series, "label_evidence", **place, shadow_is="worse")
    assert worse == pytest.approx(judge(counts).log_e_worse / log(10))
    assert value(series, "label_evidence", **place, shadow_is="better") < 0 < 2 < worse


def test_who_never_asked(tmp_path: Path) -> None:
    """A route without labels has no series until somebody posts some."""
    world = World(tmp_path)
    assert not any("label" in name for name, _ in scrape(world))
    world.count("label", "wine", writer="o0", refused=2)
    assert value(scrape(world), "labels_total", route="wine", outcome="refused") == 2
