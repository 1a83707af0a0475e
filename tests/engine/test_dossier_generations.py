"""What dossiers make of generations: rows for the bets, and scores that know nothing of the coins."""

from pathlib import Path

import numpy as np
import pytest

from proxy.engine.dossier import ENOUGH, FEW, Dossier, Reading
from proxy.engine.ledger import Counts, Epoch, Ledger, bin_of_generation
from proxy.engine.store import open_store
from proxy.evidence.layout import (
    BUCKETS,
    FIELDS,
    GENERATION_NS,
    RENEWED,
    RENEWED_EVENTS,
    RENEWED_FIELDS,
    RENEWED_LATENCY,
)
from proxy.rollout import slices as slices_module
from proxy.rollout.slices import Renewals
from proxy.settings import Metric
from tests.engine.test_dossier import QUARTER, STATE, counts, dossier, epoch

NOW = 500_000
"""A generation."""


def again(champion: int, canary: int, bucket: int = 200) -> Counts:
    """Return what units of three variants showed in one generation; the second is neither."""
    made = np.zeros((3, RENEWED), np.int64)
    made[:, RENEWED_LATENCY + bucket] = champion, 7_000, canary
    made[:, RENEWED_EVENTS] = champion // 10, 0, canary // 10
    return made


def read(
    made: Dossier, generation: int, found: dict[int, Counts], name: str = "e1", source: str = "run"
) -> None:
    readings = [Reading(source, name, counts(1, 1), found)]
    made.take(readings, {}, generation * GENERATION_NS + 1, STATE)


def test_the_rows_are_those_of_canary_and_champion() -> None:
    """A row for each epoch and generation, with the share of its epoch, in order."""
    made = dossier(epoch("e1"), epoch("e2", 2 * QUARTER, 5))
    read(made, NOW, {NOW: again(30, 10)})
    read(made, NOW + 1, {NOW: again(40, 12), NOW + 1: again(3, 1)})
    read(made, NOW + 1, {NOW + 1: again(5, 5)}, "e2")
    read(made, NOW + 1, {NOW + 1: again(100, 0)}, "e2", source="other")
    found = made.slices("v3").renewals
    assert found.epochs == ("e1", "e1", "e2")
    assert found.generation.tolist() == [NOW, NOW + 1, NOW + 1]
    assert found.canary[:, 200].tolist() == [12, 1, 5]
    assert found.champion[:, 200].tolist() == [40, 3, 105]
    assert found.canary[:, RENEWED_EVENTS].tolist() == [1, 0, 0]
    assert found.share.tolist() == pytest.approx([0.25, 0.25, 0.5], abs=1e-9)
    assert found.period_ns == GENERATION_NS


def test_news_are_judged() -> None:
    """What came back in a generation is news, once."""
    made = dossier()
    read(made, NOW, {NOW: again(30, 10)})
    before = made.news
    read(made, NOW, {NOW: again(30, 10)})
    assert made.news == before
    read(made, NOW, {NOW: again(30, 11)})
    assert made.news == before + 1


def test_scores_are_frozen_before_the_generation() -> None:
    """From what canary and champion showed together in earlier ones, the last that are enough; and never again."""
    made = dossier()
    read(made, NOW, {NOW: again(FEW - 2, 1)})
    read(made, NOW + 1, {NOW: again(FEW - 2, 1), NOW + 1: again(5_000, 100)})
    assert made.slices("v3").renewals.reference.tolist() == [-1, -1]
    read(made, NOW + 1, {NOW: again(FEW - 2, 2)})
    assert made.slices("v3").renewals.reference.tolist() == [-1, 0]
    read(made, NOW + 1, {NOW: again(ENOUGH - 10, 9, 150)})
    read(made, NOW + 2, {NOW + 2: again(1, 1)})
    found = made.slices("v3").renewals
    assert found.reference.tolist() == [-1, 0, 1]
    assert found.references[0].counts.sum() == FEW
    assert found.references[1].counts.sum() == found.references[1].counts[200] == 5_100


def test_scores_reach_back_until_they_are_enough() -> None:
    """Generations of few users are put together."""
    made = dossier()
    for number in range(4):
        read(made, NOW + number, {NOW + number: again(ENOUGH // 2 - 10, 10)})
    (*_, reference) = made.slices("v3").renewals.references
    assert reference.counts.sum() == ENOUGH


def test_a_split_by_weights_has_none() -> None:
    """Nobody judges it."""
    made = Dossier("ab" * 8, "wine", "", "v1")
    made.ledger.admit(epoch())
    read(made, NOW, {NOW: again(30, 10)})
    assert made.slices("v3").renewals.epochs == ()


def test_a_restart_knows_them(tmp_path: Path) -> None:
    """The disk brings back rows and scores, and a later observer goes on from there."""
    made = dossier()
    read(made, NOW, {NOW: again(ENOUGH, 10)})
    read(made, NOW + 1, {NOW + 1: again(30, 10)})
    store = open_store(tmp_path, 1)
    store.write([made.take_batch("run", 1)])
    fresh, ledger = dossier(), Ledger(FIELDS)
    stored = store.load("ab" * 8, ledger)
    store.close()
    fresh.ledger.join(ledger)
    fresh.take_stored(stored)
    before, after = made.slices("v3").renewals, fresh.slices("v3").renewals
    for name in ("generation", "share", "canary", "champion", "reference"):
        assert (getattr(before, name) == getattr(after, name)).all(), name
    assert [each.counts.tolist() for each in before.references] == [
        each.counts.tolist() for each in after.references
    ]
    read(fresh, NOW + 1, {NOW + 1: again(30, 10)})
    assert not fresh.ledger.renewed()[NOW + 1, "e1"][0, 200] > 30
    assert fresh.ledger.generation_references.keys() == {NOW + 1}


def test_the_columns_are_those_of_the_workers() -> None:
    """What is counted in a column is what is read from it."""
    assert slices_module.RENEWED_FIELDS == RENEWED == len(RENEWED_FIELDS)
    assert slices_module.RENEWED_EVENTS == RENEWED_EVENTS == RENEWED_LATENCY + BUCKETS
    assert Renewals().period_ns == GENERATION_NS
    events = [each.removeprefix("renewed_") for each in RENEWED_FIELDS[RENEWED_EVENTS:]]
    assert events == [Metric.ERRORS, Metric.CLIENT_ERRORS, Metric.ABANDONED]


def test_an_epoch_of_others_has_no_rows() -> None:
    """Where the canary is not, nothing is compared."""
    made = dossier()
    made.ledger.admit(Epoch("other", ("v1", "v2"), (5, 5), 0))
    made.ledger.merge("run", "other", bin_of_generation(NOW), again(1, 1)[:2])
    assert made.slices("v3").renewals.epochs == ()
