"""The observer's counters: one outcome per frame, also over kills and unknown versions."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.exchange import Flag
from proxy.model import Fault
from proxy.observer.blocks import Blocks
from proxy.routing.table import Table
from proxy.tally import Key, block_path, read_slots
from tests.observer.exchanges import primary_part, shadow_part, table_of

TABLE = table_of()


def counts(run_dir: Path, worker: int = 0, table: Table = TABLE) -> Counter[Key]:
    path = block_path(run_dir, f"o{worker}", table.version)
    return table.observer_layout.counts(read_slots(path, table.observer_layout.size))


def outcome(run_dir: Path, field: str, shadow: str = "wine-v4", variant: str = "v1") -> int:
    return counts(run_dir)["comparison", field, "wine", variant, shadow]


def test_admit_makes_the_files(tmp_path: Path) -> None:
    """With a table come the blocks of every worker, private."""
    blocks = Blocks(tmp_path)
    blocks.admit(TABLE, [0, 1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o0-1.tally", "o1-1.tally"]
    assert (tmp_path / "o0-1.tally").stat().st_mode & 0o777 == 0o600
    blocks.close()


def test_admit_is_all_or_nothing(tmp_path: Path) -> None:
    """Where a block cannot be made, the table is not taken in."""
    blocks = Blocks(tmp_path / "missing")
    with pytest.raises(OSError, match="missing"):
        blocks.admit(TABLE, [0])
    assert blocks.tables == {}


def test_comparisons(tmp_path: Path) -> None:
    """Each outcome is counted under the variant and the shadow of the part, distances with bucket and sum."""
    blocks = Blocks(tmp_path)
    blocks.admit(TABLE, [0])
    blocks.count_comparison(shadow_part(), "agree", 0.0, 0)
    blocks.count_comparison(shadow_part(shadow=1, variant=1), "disagree", 0.25, 9)
    blocks.count_comparison(shadow_part(), "uncomparable")
    assert counts(tmp_path) == {
        ("comparison", "agree", "wine", "v1", "wine-v4"): 1,
        ("comparison", "distance_0", "wine", "v1", "wine-v4"): 1,
        ("comparison", "disagree", "wine", "v2", "wine-v5"): 1,
        ("comparison", "distance_9", "wine", "v2", "wine-v5"): 1,
        ("comparison", "distance_sum_millionths", "wine", "v2", "wine-v5"): 250_000,
        ("comparison", "uncomparable", "wine", "v1", "wine-v4"): 1,
    }
    blocks.close()


def test_dropping_counts_only_what_has_an_outcome(tmp_path: Path) -> None:
    """Answered shadow parts and recorded primaries are dropped; failed shadows and other primaries are no loss."""
    blocks = Blocks(tmp_path)
    blocks.admit(TABLE, [0])
    blocks.drop_frame(shadow_part())
    blocks.drop_frame(shadow_part(fault=Fault.TIMEOUT))
    blocks.drop_frame(primary_part())
    blocks.drop_frame(primary_part(flags=Flag.MIRRORED | Flag.SHOWN | Flag.OFFERED))
    blocks.drop_frame(primary_part(flags=Flag.ERRORS))
    assert counts(tmp_path) == {
        ("comparison", "dropped", "wine", "v1", "wine-v4"): 1,
        ("sink", "dropped", "wine"): 2,
    }
    blocks.close()


def test_counts_outlive_the_process(tmp_path: Path) -> None:
    """A successor goes on where its predecessor stopped."""
    for _ in range(2):
        blocks = Blocks(tmp_path)
        blocks.admit(TABLE, [0])
        blocks.count_comparison(shadow_part(), "agree")
    assert outcome(tmp_path, "agree") == 2


def test_reconcile(tmp_path: Path) -> None:
    """What was handed over and has no outcome is dropped, under the champion; a second hello adds nothing."""
    blocks = Blocks(tmp_path)
    blocks.admit(TABLE, [0])
    blocks.count_comparison(shadow_part(variant=1), "agree")
    blocks.count_sink(0, 1, 0, "written")
    shipped = {"1\nshadow\nwine\nwine-v4": 10, "1\nshadow\nwine\nwine-v5": 0, "1\npayload\nwine": 4}
    assert blocks.reconcile(0, shipped) == 12
    assert blocks.reconcile(0, shipped) == 0
    assert outcome(tmp_path, "dropped", variant="v1") == 9
    assert outcome(tmp_path, "agree", variant="v2") == 1
    assert counts(tmp_path)["sink", "dropped", "wine"] == 3
    blocks.close()


def test_records_that_no_worker_knows_of(tmp_path: Path) -> None:
    """What a rule chose here does not stand in for a frame that was lost; what a kill left without an end gets one."""
    blocks = Blocks(tmp_path)
    blocks.admit(TABLE, [0])
    for outcome_of_chosen in ("written", "thinned", "written"):
        blocks.count_sink(0, 1, 0, "chosen")
        blocks.count_sink(0, 1, 0, outcome_of_chosen)
    blocks.count_sink(0, 1, 0, "rule_failed")
    blocks.count_sink(0, 1, 0, "written")
    assert blocks.reconcile(0, {"1\npayload\nwine": 1}) == 0
    assert blocks.reconcile(0, {"1\npayload\nwine": 3}) == 2
    blocks.count_sink(0, 1, 0, "chosen")
    blocks.expect_sink(0, 1, 0)
    assert blocks.reconcile(0, {"1\npayload\nwine": 3}) == 0
    blocks.close()
    successor = Blocks(tmp_path)  # it has nothing in hand
    successor.admit(TABLE, [0])
    assert successor.reconcile(0, {"1\npayload\nwine": 3}) == 1
    found = counts(tmp_path)
    ended = sum(found["sink", name, "wine"] for name in ("written", "dropped", "failed", "thinned"))
    assert ended == 3 + found["sink", "chosen", "wine"]
    successor.close()


def test_a_record_on_its_way_is_not_lost(tmp_path: Path) -> None:
    """A record that waits for the disk while its worker says hello keeps its own outcome."""
    blocks = Blocks(tmp_path)
    blocks.admit(TABLE, [0])
    blocks.expect_sink(0, 1, 0)
    blocks.expect_sink(0, 1, 0)
    assert blocks.reconcile(0, {"1\npayload\nwine": 5}) == 3
    blocks.settle_sink(0, 1, 0, "written")
    blocks.settle_sink(0, 1, 0, "failed")
    assert counts(tmp_path) == {
        ("sink", "written", "wine"): 1,
        ("sink", "failed", "wine"): 1,
        ("sink", "dropped", "wine"): 3,
    }
    blocks.close()


def test_reconcile_skips_what_no_table_has(tmp_path: Path) -> None:
    """Routes and shadows that the version has not are nobody's loss."""
    blocks = Blocks(tmp_path)
    blocks.admit(TABLE, [0])
    shipped = {"1\nshadow\nwine\nother": 3, "1\nshadow\nother\nwine-v4": 3, "1\npayload\nother": 3}
    assert blocks.reconcile(0, shipped) == 0
    blocks.close()


def test_a_version_that_is_not_known_yet(tmp_path: Path) -> None:
    """Frames and hellos of a coming version are accounted for when it comes, in their order."""
    later = table_of(version=2)
    blocks = Blocks(tmp_path)
    blocks.admit(TABLE, [0])
    blocks.drop_frame(shadow_part(version=2))
    blocks.drop_frame(shadow_part(version=2))
    # 2 of the 5 came before the hello, so 3 are lost; then come 2 more.
    assert blocks.reconcile(0, {"2\nshadow\nwine\nwine-v4": 5}) == 0
    blocks.drop_frame(shadow_part(version=2))
    blocks.drop_frame(primary_part(version=2))
    blocks.admit(later, [0])
    assert counts(tmp_path, table=later) == {
        ("comparison", "dropped", "wine", "v1", "wine-v4"): 6,
        ("sink", "dropped", "wine"): 1,
    }
    assert blocks.strays == 0
    blocks.close()


def test_frames_that_no_table_explains(tmp_path: Path) -> None:
    """Wrong indexes and retired versions are counted as strays, and touch nothing else."""
    blocks = Blocks(tmp_path)
    blocks.admit(table_of(version=3), [0])
    blocks.drop_frame(shadow_part(version=3, shadow=9))
    blocks.drop_frame(shadow_part(version=3, route=9))
    blocks.drop_frame(primary_part(version=3, route=9))
    blocks.count_comparison(shadow_part(version=2), "agree")
    blocks.drop_frame(shadow_part(version=2))
    assert blocks.strays == 5
    assert counts(tmp_path, table=table_of(version=3)) == {}
    blocks.close()


def test_a_retired_version_is_not_waited_for(tmp_path: Path) -> None:
    """A version that is over never comes again, also when an older one is still live."""
    blocks = Blocks(tmp_path)
    blocks.admit(TABLE, [0])
    blocks.admit(table_of(version=2), [0])
    blocks.retire([2])
    blocks.drop_frame(shadow_part(version=2))
    assert blocks.strays == 1
    blocks.close()


def test_versions_waited_for_are_bounded(tmp_path: Path) -> None:
    """A worker that invents versions fills no memory."""
    blocks = Blocks(tmp_path)
    for version in range(2, 1000):
        blocks.drop_frame(shadow_part(version=version))
    assert blocks.strays > 900
    blocks.close()


def test_retire_forgets_and_keeps_the_files(tmp_path: Path) -> None:
    """A retired version is forgotten; its file is the supervisor's to fold."""
    blocks = Blocks(tmp_path)
    blocks.admit(TABLE, [0])
    blocks.retire([1])
    assert blocks.tables == {}
    assert (tmp_path / "o0-1.tally").exists()


def test_a_worker_nobody_announced_gets_its_block(tmp_path: Path) -> None:
    """A worker that was not known when the table came is counted all the same."""
    blocks = Blocks(tmp_path)
    blocks.admit(TABLE, [])
    blocks.count_comparison(shadow_part(worker=7), "agree")
    assert counts(tmp_path, worker=7)["comparison", "agree", "wine", "v1", "wine-v4"] == 1
    blocks.close()


def test_a_block_that_cannot_be_made_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where a late worker's block has no place, its frames are strays, and the log says why."""
    blocks = Blocks(tmp_path)
    blocks.admit(TABLE, [])
    block_path(tmp_path, "o7", 1).mkdir()
    blocks.count_comparison(shadow_part(worker=7), "agree")
    assert blocks.reconcile(7, {"1\nshadow\nwine\nwine-v4": 1, "1\npayload\nwine": 1}) == 0
    assert blocks.strays == 1
    assert caplog.text.count("cannot count for worker 7") == 1
    blocks.close()


STEPS = st.lists(st.sampled_from(["ship", "arrive", "hello", "kill observer"]), max_size=20)


@given(STEPS)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_sums_agree_after_any_history(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    """Whatever is lost and whoever is killed: after a hello, outcomes equal what was handed over."""
    run_dir = tmp_path_factory.mktemp("run")
    blocks = Blocks(run_dir)
    blocks.admit(TABLE, [0])
    shipped = in_pipe = 0
    for step in [*steps, "hello"]:
        if step == "ship":
            shipped += 1
            in_pipe += 1
        elif step == "arrive" and in_pipe:
            in_pipe -= 1
            blocks.count_comparison(shadow_part(variant=shipped % 2), "agree")
        elif step == "hello":
            in_pipe = 0  # a new connection: what was in the old one is gone
            blocks.reconcile(0, {"1\nshadow\nwine\nwine-v4": shipped})
        elif step == "kill observer":
            in_pipe = 0
            blocks = Blocks(run_dir)
            blocks.admit(TABLE, [0])
    total = sum(n for (kind, field, *_), n in counts(run_dir).items() if kind == "comparison")
    assert total == shipped
    blocks.close()


def test_feedback(tmp_path: Path) -> None:
    """Items are counted by route and outcome; of a route or a version that is not known they are not."""
    blocks = Blocks(tmp_path)
    blocks.admit(TABLE, [0])
    blocks.count_feedback(TABLE.version, "wine", "accepted", 7)
    blocks.count_feedback(TABLE.version, "wine", "refused", 2)
    blocks.count_feedback(TABLE.version, "cider", "accepted", 5)
    blocks.count_feedback(TABLE.version + 1, "wine", "accepted", 5)
    assert counts(tmp_path) == {("feedback", "accepted", "wine"): 7, ("feedback", "refused", "wine"): 2}
    blocks.close()
