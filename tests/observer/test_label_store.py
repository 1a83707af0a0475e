"""Counts of labelled rows on the disk."""

import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pytest

from proxy.labels import LabelCounts, Outcome, judge
from proxy.observer.breakdown_store import StretchKey
from proxy.observer.label_store import FILE_NAME, LabelKey, Labelled, LabelStore, open_labels

STRETCH = StretchKey("wine", "v4", "00")
KEY = LabelKey(STRETCH, "v1")
OTHER = LabelKey(StretchKey("wine", "v5", "00"), "v1")


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    return open_labels(tmp_path, 0)


def rows(unit: int, *outcomes: Outcome, key: LabelKey = KEY) -> Labelled:
    return Labelled(key, unit, outcomes)


def test_rows_and_units(store: LabelStore) -> None:
    """Each row is counted; a unit counts by its first row, and by its first in which one is better."""
    store.take([rows(1, "both_right", "only_primary", "only_shadow", "both_wrong")])
    store.take([rows(1, "only_shadow"), rows(2, "only_shadow")])
    found = store.counts()[KEY]
    assert found[:4] == (1, 1, 3, 1)
    assert (found.first_both_right, found.first_only_shadow, found.units) == (1, 1, 2)
    assert (found.won_primary, found.won_shadow) == (1, 1)


def test_numbers(store: LabelStore) -> None:
    """The closer one is better; nobody is right."""
    found = store.take([rows(1, "as_close", "shadow_closer", "primary_closer")])[KEY]
    assert (found.primary_closer, found.shadow_closer, found.as_close) == (1, 1, 1)
    assert (found.units, found.won_primary, found.won_shadow) == (0, 0, 1)


def test_cells_are_apart(store: LabelStore) -> None:
    """A unit counts once for each shadow and variant."""
    again = LabelKey(STRETCH, "v2")
    told = store.take(
        [rows(1, "only_primary"), rows(1, "only_primary", key=OTHER), rows(1, "only_shadow", key=again)]
    )
    assert [each.won_primary for each in told.values()] == [1, 1, 0]
    assert set(told) == {KEY, OTHER, again} == set(store.counts())


def test_a_restart(tmp_path: Path) -> None:
    """Counts stay, and which units have counted."""
    first = open_labels(tmp_path, 0)
    first.take([rows(-5, "only_primary")])
    first.close()
    second = open_labels(tmp_path, 0)
    found = second.take([rows(-5, "only_primary"), rows(2**62, "both_right")])[KEY]
    assert (found.only_primary, found.won_primary, found.units) == (2, 1, 2)
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_other_models(store: LabelStore) -> None:
    """What was counted for models that are not in force is forgotten, units included."""
    store.take([rows(1, "only_primary"), rows(1, "only_primary", key=OTHER)])
    store.keep_only({STRETCH})
    assert set(store.counts()) == {KEY}
    found = store.take([rows(1, "only_primary", key=OTHER)])[OTHER]
    assert (found.only_primary, found.won_primary) == (1, 1)


def test_all_or_nothing(store: LabelStore) -> None:
    """A batch of which one row cannot be counted changes nothing."""
    bad: Sequence[Outcome] = ("nonsense",)  # type: ignore[assignment]
    with pytest.raises(KeyError):
        store.take([rows(1, "only_primary"), Labelled(KEY, 2, bad)])
    assert store.counts() == {}


def test_units_that_repeat_themselves_are_one_coin(store: LabelStore) -> None:
    """Over all outcomes of four units that are as lucky in each of their rows, the mean e-value is 1; rows taken one by
    one would make it more than 10."""
    mean = naive = 0.0
    for n, coins in enumerate(product((0, 1), repeat=4)):
        key = LabelKey(STRETCH, f"world {n}")
        sides: list[Outcome] = ["only_primary" if coin else "only_shadow" for coin in coins]
        batches = [rows(unit, "both_wrong", *[side] * (5 + unit), key=key) for unit, side in enumerate(sides)]
        found = store.take([*batches, *batches])[key]
        assert found.only_primary + found.only_shadow == 2 * (5 + 6 + 7 + 8)
        mean += math.exp(judge(found).log_e_worse) / 16
        by_row = LabelCounts(won_primary=found.only_primary, won_shadow=found.only_shadow)
        naive += math.exp(judge(by_row).log_e_worse) / 16
    assert mean == pytest.approx(1.0, abs=1e-12)
    assert naive > 10.0
