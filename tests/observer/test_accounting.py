"""Accounts: outcomes add up, histograms say no more than their buckets know."""

from bisect import bisect_left
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import DURATION_BOUNDS_NS, Fault
from proxy.observer.accounting import (
    Comparisons,
    Histogram,
    Payloads,
    build_accounts,
    merge,
    wanted_slots,
)
from proxy.tally import Key
from tests.observer.world import World

BOUNDS = (10, 20, 50, 100)

QUANTILES: list[tuple[str, tuple[int, ...], float, float | None]] = [
    ("nothing observed", (0, 0, 0, 0, 0), 0.5, None),
    ("first bucket begins at zero", (4, 0, 0, 0, 0), 0.5, 5.0),
    ("linear inside a bucket", (0, 4, 0, 0, 0), 0.25, 12.5),
    ("end of a bucket", (5, 5, 0, 0, 0), 0.5, 10.0),
    ("empty buckets are passed over", (1, 0, 0, 1, 0), 0.75, 75.0),
    ("beyond the last bound", (0, 0, 0, 0, 3), 0.5, 100),
    ("mostly beyond the last bound", (1, 0, 0, 0, 9), 0.99, 100),
    ("the lowest", (0, 2, 0, 0, 0), 0.0, 10.0),
    ("the highest", (0, 2, 0, 0, 0), 1.0, 20.0),
]

durations = st.integers(min_value=0, max_value=300_000_000_000)


def histogram_of(values: list[int], bounds: tuple[int, ...] = DURATION_BOUNDS_NS) -> Histogram:
    counts = [0] * (len(bounds) + 1)
    for value in values:
        counts[bisect_left(bounds, value)] += 1
    return Histogram(bounds, tuple(counts), sum(values))


@pytest.mark.parametrize(
    ("counts", "q", "expected"), [c[1:] for c in QUANTILES], ids=[c[0] for c in QUANTILES]
)
def test_quantile(counts: tuple[int, ...], q: float, expected: float | None) -> None:
    """A quantile lies inside its bucket, at the place that even spreading gives it."""
    assert expected == Histogram(BOUNDS, counts, 0).quantile(q)


@given(st.lists(durations, min_size=1, max_size=50), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_quantile_is_in_the_bucket_of_the_true_one(values: list[int], q: float) -> None:
    """The estimate and the sample's own quantile fall into the same bucket."""
    true = int(np.quantile(values, q, method="inverted_cdf"))
    slot = bisect_left(DURATION_BOUNDS_NS, true)
    estimate = histogram_of(values).quantile(q)
    assert estimate is not None
    if slot == len(DURATION_BOUNDS_NS):
        assert DURATION_BOUNDS_NS[-1] == estimate
    else:
        low = DURATION_BOUNDS_NS[slot - 1] if slot else 0
        assert low - 1e-3 <= estimate <= DURATION_BOUNDS_NS[slot] + 1e-3


@given(st.lists(durations, max_size=50))
def test_cumulative_counts_what_is_at_or_below(values: list[int]) -> None:
    """A cumulative count is the number of values at or below the bound, whichever bounds are shown."""
    shown = (1_000_000, 10_000_000, 100_000_000_000)
    counts = histogram_of(values).cumulative(wanted_slots(DURATION_BOUNDS_NS, shown))
    assert [*(sum(v <= bound for v in values) for bound in shown), len(values)] == counts


def test_mean() -> None:
    """The mean is the sum over the count, and unknown without observations."""
    assert Histogram(BOUNDS, (1, 1, 0, 0, 0), 24).mean == 12
    assert Histogram(BOUNDS, (0, 0, 0, 0, 0), 0).mean is None


def test_a_bound_that_is_none_is_refused() -> None:
    """A bound between two bounds has no exact count, so it is refused."""
    with pytest.raises(ValueError, match="expected one of the 4 bounds, got 30"):
        wanted_slots(BOUNDS, (10, 30))
    with pytest.raises(ValueError, match="got 200"):
        wanted_slots(BOUNDS, (200,))


counts = st.dictionaries(
    st.sampled_from(["agree", "disagree", "uncomparable", "dropped"]).map(
        lambda name: ("comparison", name, "r", "v", "m")
    ),
    st.integers(min_value=0, max_value=1000),
)


@given(st.lists(counts, max_size=4))
def test_accounts_of_a_sum_are_the_sum_of_accounts(parts: list[dict[Key, int]]) -> None:
    """It makes no difference whether versions are added up before or after they are understood."""
    whole = build_accounts(merge(parts)).shadows.get(("r", "m"))
    each = [build_accounts(part).shadows.get(("r", "m")) for part in parts]
    summed = sum((account.comparisons for account in each if account), Comparisons())
    assert summed == (whole.comparisons if whole else Comparisons())


def variant_counts(**fields: int) -> Counter[Key]:
    return Counter({("variant", name, "wine", "v1", "wine-v1"): number for name, number in fields.items()})


def test_variant() -> None:
    """What started is answered, lost or in flight; errors are 5xx and losses, not clients that left."""
    fields: dict[str, Any] = {
        "started": 20,
        "lost": 2,
        "retries": 3,
        "code_200": 9,
        "code_404": 1,
        "code_499": 1,
        "code_500": 1,
        "code_504": 2,
        "code_0": 1,
    }
    account = build_accounts(variant_counts(**fields)).variants["wine", "v1", "wine-v1"]
    assert account.codes == {0: 1, 200: 9, 404: 1, 499: 1, 500: 1, 504: 2}
    assert (account.requests, account.errors, account.in_flight, account.retries) == (15, 5, 3, 3)


def test_in_flight_is_never_negative() -> None:
    """A finish that is read before its start does not make a negative gauge."""
    account = build_accounts(variant_counts(started=1, code_200=2)).variants["wine", "v1", "wine-v1"]
    assert account.in_flight == 0


def test_lost_requests_are_a_fault_of_their_model_once() -> None:
    """What was lost with a worker is a fault of the model that had it, whatever the model's own slot says."""
    counted = variant_counts(lost=2)
    counted[("model", "fault_lost", "wine-v1")] = 2
    counted[("model", "fault_reset", "wine-v1")] = 4
    faults = build_accounts(counted).faults
    assert faults["wine-v1", "lost"] == 2
    assert faults["wine-v1", "reset"] == 4
    assert faults["wine-v1", "connect"] == 0


def test_servers_that_are_out() -> None:
    """What lasts is what began or was carried over and has not ended; ejections are those that began."""
    server = ("wine-v2", "http://h")
    counted: dict[Key, int] = {
        ("endpoint", field, *server): number
        for field, number in {
            "unhealthy": 5,
            "unhealthy_carried": 2,
            "healthy_again": 6,
            "ejected": 3,
            "ejected_carried": 1,
            "readmitted": 4,
            "check_passed": 9,
            "asked_unhealthy": 8,
        }.items()
    }
    account = build_accounts(counted).endpoints[server]
    assert (account.unhealthy, account.ejected, account.ejections) == (1, 0, 3)
    assert (account.checks, account.asked_unhealthy) == ({"passed": 9, "failed": 0}, 8)
    assert not account.is_up
    counted["endpoint", "healthy_again", *server] = 99
    assert build_accounts(counted).endpoints[server].is_up


def test_shadow_outcomes_add_up(tmp_path: Path) -> None:
    """Every eligible request ends in one outcome, over both writers."""
    world = World(tmp_path)
    fields = {
        "eligible": 23,
        "sent": 19,
        "dropped_in_flight": 3,
        "dropped_bytes": 1,
        "answered": 17,
        "failed": 2,
        "shipped": 12,
        "not_compared": 3,
        "comparison_dropped": 2,
    }
    world.add(("shadow", "wine", "wine-v4"), fields)
    world.count(
        "comparison", "wine", "v1", "wine-v4", writer="o0", agree=5, disagree=1, distance_0=5, distance_3=1
    )
    world.count("comparison", "wine", "v2", "wine-v4", writer="o1", disagree=2, uncomparable=3, dropped=1)
    world.count(
        "comparison", "wine", "v2", "wine-v4", writer="o1", distance_11=2, distance_sum_millionths=1_900_000
    )
    shadow = accounts_of(world).shadows["wine", "wine-v4"]
    outcomes = shadow.outcomes
    assert outcomes["eligible"] == outcomes["sent"] + outcomes["dropped"]
    assert outcomes["sent"] == outcomes["answered"] + outcomes["failed"]
    assert (
        outcomes["answered"]
        == outcomes["compared"] + outcomes["uncomparable"] + outcomes["comparison_dropped"]
    )
    assert (outcomes["uncomparable"], outcomes["comparison_dropped"]) == (6, 3)
    assert shadow.by_variant["v1"] == Comparisons(5, 1, 0, 0)
    assert shadow.by_variant["v3"] == Comparisons()
    assert shadow.comparisons.disagreement_rate == 3 / 8
    assert (shadow.distance.count, shadow.distance.total) == (8, 1.9)


def test_payloads_add_up(tmp_path: Path) -> None:
    """A sampled exchange is written, dropped by either side, or failed."""
    world = World(tmp_path)
    world.count("payload", "wine", sampled=10, shipped=8, dropped=2)
    world.count("sink", "wine", writer="o0", written=5, dropped=1, failed=2)
    assert Payloads(10, 5, 3, 2) == accounts_of(world).payloads["wine"]


def test_payloads_that_the_observer_chose_and_thinned(tmp_path: Path) -> None:
    """What it chose is sampled too; what the budget left out has an outcome of its own."""
    world = World(tmp_path)
    world.count("payload", "wine", sampled=10, shipped=8, dropped=2)
    world.count(
        "sink",
        "wine",
        writer="o0",
        written=5,
        dropped=1,
        failed=2,
        thinned=4,
        chosen=4,
        rule_failed=7,
        lost_thousandths=2500,
    )
    payloads = accounts_of(world).payloads["wine"]
    assert payloads == Payloads(14, 5, 3, 2, 4, 7, 2.5)
    assert payloads.sampled == payloads.written + payloads.dropped + payloads.failed + payloads.thinned


def test_everything_a_table_names_is_there_from_the_start(tmp_path: Path) -> None:
    """Without any traffic every account of the table is present and zero."""
    world = World(tmp_path)
    accounts = build_accounts({}, world.current)
    assert {"v1", "v2", "v3"} == {variant for _, variant, _ in accounts.variants}
    assert accounts.units == {
        ("wine", "header:x-user-id"): 0,
        ("wine", "cookie:uid"): 0,
        ("wine", "missing"): 0,
    }
    assert {0} == set(accounts.faults.values())
    assert len(accounts.faults) == 4 * (len(Fault) - 1)
    assert accounts.shadows["wine", "wine-v4"].comparisons.disagreement_rate is None
    assert Payloads() == accounts.payloads["wine"]
    assert accounts.unrouted == {}


def accounts_of(world: World) -> Any:
    from proxy.tally import read_all

    layouts = {v: {"w": t.layout, "o": t.observer_layout} for v, t in world.tables.items()}
    return build_accounts(merge(read_all(world.run_dir, layouts).values()), world.current)
