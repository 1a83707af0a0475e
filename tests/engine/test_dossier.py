"""Dossiers: what is frozen when, what was watched, and the slices that decisions are made from."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from proxy.engine.dossier import ENOUGH, FEW, GRACE_NS, Dossier, Reading, epoch_of
from proxy.engine.ledger import BIN_NS, MAX_SLICES, Counts, Epoch, Ledger
from proxy.engine.store import KEPT_POINTS, Loaded, ShadowCounts, Watch
from proxy.evidence.layout import FIELDS, FIRST_LATENCY, RENEWED, REQUESTS, UNITS
from proxy.rollout.slices import starts_ns
from proxy.rollout.state import Phase, RolloutState
from proxy.routing.experiment import Arm, Experiment

QUARTER = 1 << 62
SECOND = 1_000_000_000
STATE = RolloutState(
    route="wine", variant="v3", rollout="ab" * 8, phase=Phase.RAMPING, step=0, since_ns=0, started_ns=0, promoted_ns=0,
    paused_by="", by="engine", reason="", sequence=1, plan_digest="",
)  # fmt: skip


def epoch(name: str = "e1", canary: int = QUARTER, first_ns: int = 0) -> Epoch:
    return Epoch(name, ("v1", "v2", "v3"), (4 * QUARTER - canary - 7, 7, canary), first_ns)


def counts(champion: int, canary: int, units: int | None = None) -> Counts:
    made = np.zeros((3, FIELDS), np.int64)
    for row, number in ((0, champion), (2, canary)):
        made[row, REQUESTS] = number
        made[row, UNITS] = number if units is None else units
        made[row, FIRST_LATENCY + 200] = number
    return made


def dossier(*epochs: Epoch) -> Dossier:
    made = Dossier("ab" * 8, "wine", "v3", "v1")
    for info in epochs or (epoch(),):
        made.ledger.admit(info)
    return made


def read(made: Dossier, at_s: float, champion: int, canary: int, name: str = "e1", **more: Any) -> None:
    made.take([Reading("run", name, counts(champion, canary, **more))], {}, round(at_s * SECOND), STATE)


def test_the_epoch_of_a_table() -> None:
    """An epoch has the experiment's names and widths."""
    experiment = Experiment(
        "r", "e", (Arm("v1", ("u",), 5, is_champion=True), Arm("v3", ("w",), 3)), is_tried=True
    )
    assert epoch_of(experiment, 9) == Epoch("e", ("v1", "v3"), (5, 3), 9, "v1")


def test_slices() -> None:
    """Slices have the share among the two, their time, and of all variants the allocation."""
    made = dossier(epoch(first_ns=3 * SECOND))
    read(made, 4, 30, 10)
    read(made, 12, 60, 20)
    slices = made.slices("v3")
    assert slices.epochs == ("e1", "e1")
    assert slices.start_ns.tolist() == [3 * SECOND, 10 * SECOND]
    assert slices.span_ns.tolist() == [7 * SECOND, 10 * SECOND]
    assert slices.share.tolist() == [QUARTER / (4 * QUARTER - 7)] * 2
    assert slices.champion[:, REQUESTS].tolist() == [30, 30]
    assert slices.canary[:, REQUESTS].tolist() == [10, 10]
    (allocation,) = slices.allocations
    assert (allocation.variants, allocation.units) == (("v1", "v2", "v3"), (60, 0, 20))
    assert sum(allocation.shares) == pytest.approx(1)
    assert slices.health.read_ns == 12 * SECOND


def test_other_variants_have_slices_too() -> None:
    """Each variant can be compared with the champion; one that an epoch does not have has no slice of it."""
    made = dossier(epoch(), Epoch("e2", ("v1", "v3"), (QUARTER, QUARTER), BIN_NS))
    read(made, 4, 30, 10)
    made.take([Reading("run", "e2", counts(5, 5)[[0, 2]])], {}, 15 * SECOND, STATE)
    assert made.slices("v2").epochs == ("e1",)
    assert made.slices("v3").epochs == ("e1", "e2")
    assert made.slices("v9").epochs == ()


def test_own_coins() -> None:
    """Requests are their own coins when each was a unit's first."""
    made = dossier()
    assert not made.slices("v3").health.own_coins
    read(made, 1, 30, 10)
    assert made.slices("v3").health.own_coins
    made = dossier()
    read(made, 2, 31, 10, units=5)
    assert not made.slices("v3").health.own_coins


# References


def test_the_first_reference() -> None:
    """It is frozen at 1000 answers, at 100 once the time to hold is over, and holds from the next bin on."""
    made = dossier()
    read(made, 1, FEW - 1, 0)
    assert not made.freeze("e1", 1 * SECOND, is_held=True)
    read(made, 2, ENOUGH - 1, 0)
    assert not made.freeze("e1", 2 * SECOND, is_held=False)
    assert made.freeze("e1", 3 * SECOND, is_held=True)
    assert [each.from_bin for each in made.ledger.references] == [1]
    read(made, 12, ENOUGH, 10)
    slices = made.slices("v3")
    assert slices.reference.tolist() == [-1, 0]
    assert int(slices.references[0].counts.sum()) == ENOUGH - 1
    assert made.slices("v3").references[0] is slices.references[0]


def test_later_references() -> None:
    """Another one is frozen when there are enough answers at last, when an epoch begins, and when they have doubled."""
    made = dossier(epoch(), epoch("e2", QUARTER // 2))
    read(made, 1, FEW, 0)
    assert made.freeze("e1", 1 * SECOND, is_held=True)
    assert not made.freeze("e1", 11 * SECOND, is_held=True)
    read(made, 21, ENOUGH, 0)
    assert made.freeze("e1", 21 * SECOND, is_held=True)
    read(made, 31, ENOUGH + 1, 0)
    assert not made.freeze("e1", 31 * SECOND, is_held=True)
    assert made.freeze("e2", 41 * SECOND, is_held=True)
    read(made, 51, 2 * ENOUGH + 2, 0)
    assert made.freeze("e2", 51 * SECOND, is_held=True)
    assert not made.freeze("e2", 61 * SECOND, is_held=True)
    assert [each.from_bin for each in made.ledger.references] == [1, 3, 5, 6]


def _answers(latencies: Mapping[int, int]) -> Counts:
    made = counts(0, 0)
    for bucket, number in latencies.items():
        made[0, FIRST_LATENCY + bucket] = number
    return made


@pytest.mark.parametrize("is_restarted", [False, True], ids=["one life", "another process"])
def test_a_bad_minute_does_not_stay_the_reference(is_restarted: bool) -> None:
    """The next reference is of the answers since the last one, also when another process froze that."""
    made = dossier()
    made.take([Reading("run", "e1", _answers({300: ENOUGH}))], {}, 1 * SECOND, STATE)
    assert made.freeze("e1", 1 * SECOND, is_held=True)
    made.take([Reading("run", "e1", _answers({300: ENOUGH, 200: ENOUGH - 1}))], {}, 12 * SECOND, STATE)
    assert not made.freeze("e1", 12 * SECOND, is_held=True)
    made.take([Reading("run", "e1", _answers({300: ENOUGH, 200: ENOUGH}))], {}, 25 * SECOND, STATE)
    if is_restarted:
        made, before = dossier(), made
        made.ledger.join(before.ledger)
    assert made.freeze("e1", 25 * SECOND, is_held=True)
    last = made.ledger.references[-1].counts
    assert (int(last[300]), int(last[200])) == (0, ENOUGH)


def test_a_reference_of_few_is_soon_replaced() -> None:
    """One that was taken because it was time is followed by one of enough answers, however many came before."""
    made = dossier()
    read(made, 1, FEW, 0)
    assert made.freeze("e1", 1 * SECOND, is_held=True)
    read(made, 9, 5 * ENOUGH, 0)
    assert not made.freeze("e1", 9 * SECOND, is_held=True)
    read(made, 19, 6 * ENOUGH - 1, 0)
    assert not made.freeze("e1", 19 * SECOND, is_held=True)
    read(made, 29, 6 * ENOUGH, 0)
    assert made.freeze("e1", 29 * SECOND, is_held=True)
    assert [int(each.counts.sum()) for each in made.ledger.references] == [FEW, ENOUGH]


def test_an_epoch_that_begins_too_soon_has_its_reference_later() -> None:
    """Where the last reference does not hold yet when the epoch begins, the one that is due then is only late."""
    made = dossier(epoch(), epoch("e2", QUARTER // 2))
    read(made, 1, ENOUGH, 0)
    assert made.freeze("e1", 1 * SECOND, is_held=True)
    assert not made.freeze("e2", 6 * SECOND, is_held=True)
    read(made, 11, ENOUGH + 5, 0)
    assert made.freeze("e2", 11 * SECOND, is_held=True)
    read(made, 31, ENOUGH + 9, 0)
    assert not made.freeze("e2", 31 * SECOND, is_held=True)


def test_few_new_answers_are_no_reference_by_themselves() -> None:
    """A step that begins soon after the last reference is judged by all that is known."""
    made = dossier(epoch(), epoch("e2", QUARTER // 2))
    read(made, 1, ENOUGH, 0)
    assert made.freeze("e1", 1 * SECOND, is_held=True)
    read(made, 11, ENOUGH + FEW, 0)
    assert not made.freeze("e1", 11 * SECOND, is_held=True)
    assert made.freeze("e2", 12 * SECOND, is_held=True)
    assert int(made.ledger.references[-1].counts.sum()) == ENOUGH + FEW


def test_references_are_few() -> None:
    """A billion answers in one epoch make some twenty."""
    made = dossier()
    for doubling in range(21):
        for step in range(4):
            at_s = 10 * (4 * doubling + step) + 1
            read(made, at_s, ENOUGH * (4 + step) * 2**doubling // 4, 0)
            made.freeze("e1", at_s * SECOND, is_held=True)
    assert len(made.ledger.references) == 21


def test_a_reference_is_never_of_what_it_judges() -> None:
    """Every slice begins after its reference was frozen, however the readings fall."""
    made = dossier()
    frozen: dict[int, int] = {}
    for second in range(0, 300, 3):
        read(made, second, second * 100, second)
        before = len(made.ledger.references)
        if made.freeze("e1", second * SECOND, is_held=second > 60):
            frozen[before] = second * SECOND
    slices = made.slices("v3")
    for start_ns, index in zip(slices.start_ns.tolist(), slices.reference.tolist(), strict=True):
        assert index < 0 or frozen[index] <= start_ns
    assert sorted(slices.reference.tolist()) == slices.reference.tolist()


def test_slices_never_reach_over_a_start() -> None:
    """Joined slices keep apart what late regressions are looked for from, and there are few enough of them."""
    made = dossier()
    for number in range(2_000):
        read(made, number * 10, 10 + number, number)
    slices = made.slices("v3")
    assert len(slices.epochs) <= MAX_SLICES
    for start in starts_ns(0):
        crossing = (slices.start_ns < start) & (slices.start_ns + slices.span_ns > start)
        assert not crossing.any()


# How it was watched


def test_away() -> None:
    """A long pause of reading is no time held; short ones are nothing; another step begins at none."""
    made = dossier()
    read(made, 1, 1, 1)
    read(made, 1 + GRACE_NS / SECOND, 2, 1)
    assert made.watch == Watch(0, 0, 0)
    read(made, 60, 3, 1)
    assert made.watch.away_ns == 54 * SECOND
    made.take([], {}, 61 * SECOND, replace(STATE, since_ns=60 * SECOND))
    assert made.watch == Watch(60 * SECOND, 0, 0)
    assert made.slices("v3").health.away_ns == 0


def test_away_before_a_restart() -> None:
    """What was away before a restart still counts, and so does the time of the restart."""
    made = dossier()
    made.take_stored(Loaded(watch=Watch(0, 7 * SECOND, 2), last_ns=10 * SECOND))
    assert made.is_loaded
    read(made, 110, 1, 1)
    assert made.watch == Watch(0, 107 * SECOND, 2)
    assert made.slices("v3").health.fell_ns == 2


def test_backwards() -> None:
    """A reading below an earlier one of the same source takes nothing away; at the second in a row it goes on there."""
    made = dossier()
    read(made, 1, 100, 10)
    read(made, 2, 99, 11)
    assert made.watch.fell_ns == 0
    read(made, 3, 100, 11)
    read(made, 4, 50, 5)
    read(made, 5, 50, 6)
    assert made.watch.fell_ns == 5 * SECOND
    assert made.slices("v3").champion[:, REQUESTS].sum() == 100
    read(made, 6, 54, 7)
    assert made.slices("v3").champion[:, REQUESTS].sum() == 104
    assert made.slices("v3").canary[:, REQUESTS].sum() == 12
    made.take([Reading("next", "e1", counts(5, 5))], {}, 7 * SECOND, STATE)
    assert made.watch.fell_ns == 5 * SECOND


def test_the_hour_of_a_fall_is_left_out() -> None:
    """What came back in it is not counted on, of that source; the next hour is."""
    made = dossier()

    def come_back(at_s: float, champion: int, generation: int, back: int) -> None:
        renewed = {generation: np.full((3, RENEWED), back, np.int64)}
        made.take([Reading("run", "e1", counts(champion, 10), renewed)], {}, round(at_s * SECOND), STATE)

    come_back(1, 100, 0, 4)
    come_back(2, 0, 0, 0)
    come_back(3, 0, 0, 0)
    come_back(4, 50, 0, 9)
    assert made.slices("v3").renewals.champion[:, 0].tolist() == [4]
    come_back(3601, 60, 1, 2)
    assert made.slices("v3").renewals.champion[:, 0].tolist() == [4, 2]


def test_copies_add_up() -> None:
    """Counts of copies are added over sources and versions, each by its highest reading."""
    made = dossier()
    made.take_shadows({("run", 1): ShadowCounts(5, 1, 4, 2), ("run", 2): ShadowCounts(1, 1, 1, 1)})
    made.take_shadows({("run", 1): ShadowCounts(4, 2, 4, 2), ("old", 1): ShadowCounts(10, 0, 0, 0)})
    shadow = made.slices("v3").shadow
    assert (shadow.answered, shadow.failed, shadow.compared, shadow.disagreed) == (16, 3, 5, 3)
    made.take_shadows({("run", 3): ShadowCounts(triples=9, candidate_odd=3, champion_odd=2, both_odd=1)})
    shadow = made.slices("v3").shadow
    assert (shadow.triples, shadow.candidate_odd, shadow.champion_odd, shadow.both_odd) == (9, 3, 2, 1)


# To the disk


def test_what_the_disk_gets() -> None:
    """A batch has what is new, once; what was refused comes again; a disk that has nothing gets everything."""
    made = dossier()
    read(made, 1, 100, 10)
    made.add_point(1 * SECOND, b"{}")
    first = made.take_batch("run", 1 * SECOND)
    assert (len(first.changes.rows), list(first.points)) == (1, [0])
    assert not made.take_batch("run", 2 * SECOND).changes
    made.put_back(first)
    again = made.take_batch("run", 3 * SECOND)
    assert (again.changes.rows.keys(), again.points) == (first.changes.rows.keys(), first.points)
    made.forget_disk()
    assert len(made.take_batch("run", 4 * SECOND).changes.rows) == 1
    assert not made.is_stored


def test_the_point_that_moved_the_rollout_stays() -> None:
    """What comes later in its bin does not hide it; in the next bin the last one stays again."""
    made = dossier()
    made.add_point(1 * SECOND, b"before")
    made.add_point(2 * SECOND, b"decided", has_moved=True)
    made.add_point(3 * SECOND, b"after")
    made.add_point(BIN_NS, b"next")
    made.add_point(BIN_NS + 1, b"last")
    assert made.points == {0: b"decided", 1: b"last"}


def test_points_of_a_long_rollout() -> None:
    """However long it goes on, its points stay few, with the first, the last and what lies between."""
    made, far = dossier(), 3 * KEPT_POINTS
    for at in range(far):
        made.add_point(at * BIN_NS, b"%d" % at)
    kept = sorted(made.points)
    assert len(kept) <= KEPT_POINTS
    assert (kept[0], kept[-1]) == (0, far - 1)
    assert max(after - before for before, after in pairwise(kept)) <= 8
    assert made.take_batch("run", far * BIN_NS).points == made.points


def test_loading_over_what_is_there() -> None:
    """What was stored is merged with what was read before the disk answered."""
    stored = dossier()
    read(stored, 1, 100, 10)
    read(stored, 11, 200, 20)
    made = dossier(epoch(first_ns=20 * SECOND))
    read(made, 25, 300, 30)
    fresh = Ledger(FIELDS)
    fresh.join(stored.ledger)
    made.ledger.join(fresh)
    assert made.slices("v3").champion[:, REQUESTS].tolist() == [100, 100, 100]
    empty = dossier(epoch("e9"))
    empty.ledger.join(stored.ledger)
    assert set(empty.ledger.epochs) == {"e1", "e9"}
    assert list(empty.ledger.take_changes().epochs) == ["e9"]
