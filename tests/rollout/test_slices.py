"""The form of the counts, and the moments from which evidence is counted."""

from dataclasses import replace

import numpy as np
import pytest

from proxy.evidence import layout
from proxy.rollout import slices as form
from proxy.rollout.slices import BIN_NS, PLANNED_STARTS, Slices, added, no_slices, starts_ns
from tests.rollout.world import MINUTE, START, World, plan


def test_columns_are_those_that_workers_count() -> None:
    """Each named column is where the workers' layout has it."""
    names = layout.EVIDENCE_FIELDS
    assert len(names) == form.FIELDS
    assert [names[column] for column in (form.REQUESTS, form.UNITS)] == ["requests", "units"]
    events = ("errors", "client_errors", "abandoned")
    assert names[form.FIRST_EVENTS : form.FIRST_EVENTS + 3] == tuple(f"first_{each}" for each in events)
    assert names[form.ERRORS : form.ERRORS + 3] == events
    assert names[form.REQUEST_ERRORS] == "error_requests"
    assert names[form.LATENCY] == "latency_0"
    assert names[form.FIRST_LATENCY] == "first_latency_0"
    assert layout.BUCKETS == form.BUCKETS


@pytest.mark.parametrize("beginning", [START, START + 1, START - 1, 0])
def test_starts_are_ends_of_bins(beginning: int) -> None:
    """All but the first, ascending, the first a minute later, the last after more than a month."""
    starts = starts_ns(beginning)
    assert len(starts) == PLANNED_STARTS
    assert starts[0] == beginning
    assert list(starts) == sorted(starts)
    assert all(start % BIN_NS == 0 for start in starts[1:])
    assert MINUTE <= starts[1] - beginning < MINUTE + BIN_NS
    assert starts[-1] - beginning > 30 * 24 * 60 * MINUTE


def world(bins: int) -> Slices:
    made = World(plan(), rate=20)
    made.serve(bins)
    return made.slices()


def test_wrong_shapes_are_refused() -> None:
    """A slice without its counts is a mistake of the caller."""
    with pytest.raises(ValueError, match="expected an array of shape"):
        replace(world(2), canary=np.zeros((1, form.FIELDS), np.int64))
    with pytest.raises(ValueError, match="expected an array of shape"):
        replace(world(2), share=np.zeros(3))


def test_nothing_is_no_slices() -> None:
    """Before the first bin there is nothing, and that is a value."""
    assert no_slices().epochs == ()
    assert no_slices().since(5) is not None


def test_slices_since_a_promotion_are_those_of_its_epochs() -> None:
    """The bin in which an epoch began counts for it; epochs that were over do not, nor do their allocations."""
    counted = world(4)
    epochs = ("a", "a", "a", "b")
    starts = np.array([START, START + BIN_NS, START + 2 * BIN_NS, START + 2 * BIN_NS])
    both = replace(
        counted,
        epochs=epochs,
        start_ns=starts,
        allocations=tuple(replace(counted.allocations[0], epoch=each) for each in "ab"),
    )
    later = both.since(START + 2 * BIN_NS + 5)
    assert later.epochs == ("b",)
    assert [each.epoch for each in later.allocations] == ["b"]
    assert both.since(START) is both
    assert both.before(START + 2 * BIN_NS).epochs == ("a", "a")


def test_sums_of_rows() -> None:
    """Each from its first row up to its end, whatever lies between them."""
    counts = np.arange(24, dtype=np.int64).reshape(6, 4)
    sums = added(counts, np.array([0, 2, 5]), np.array([2, 3, 6]))
    assert sums.tolist() == [(counts[0] + counts[1]).tolist(), counts[2].tolist(), counts[5].tolist()]
    assert counts[0].tolist() == [0, 1, 2, 3]
