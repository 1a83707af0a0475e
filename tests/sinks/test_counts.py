"""Counts of a sink in the run directory."""

from pathlib import Path

from proxy.sinks.counts import SinkCounts, level
from proxy.tally import sink_path


def test_they_outlive_their_process(tmp_path: Path) -> None:
    """They stand in a file of the sink's name; after closing they can still be read."""
    counts = SinkCounts(tmp_path, "kafka.eu")
    counts.taken()
    counts.settled(1, 0)
    assert sink_path(tmp_path, "kafka.eu").stat().st_mode & 0o777 == 0o600
    counts.close()
    assert counts.show() == {"taken": 1, "written": 1, "dropped": 0, "failed": 0}
    assert SinkCounts(tmp_path, "kafka.eu").show() == counts.show()


def test_what_a_killed_process_had_in_hand_has_failed(tmp_path: Path) -> None:
    """What was taken and not settled is counted as failed by the next process, once."""
    counts = SinkCounts(tmp_path, "here")
    for _ in range(5):
        counts.taken()
    counts.dropped()
    counts.settled(2, 1)
    expected = {"taken": 5, "written": 2, "dropped": 1, "failed": 3}
    assert SinkCounts(tmp_path, "here").show() == expected
    assert SinkCounts(tmp_path, "here").show() == expected
    assert SinkCounts(tmp_path, "there").show() == dict.fromkeys(expected, 0)


def test_a_process_killed_between_two_sinks(tmp_path: Path) -> None:
    """A record that one sink was offered and another was not yet has failed in the other: their totals agree again."""
    names = ("first", "second", "third")
    first, second, third = (SinkCounts(tmp_path, name) for name in names)
    for each in (first, first, second, third):
        each.taken()
        each.settled(1, 0)
    third.dropped()
    for _ in range(2):
        level([SinkCounts(tmp_path, name) for name in names])
        assert [SinkCounts(tmp_path, name).show() for name in names] == [
            {"taken": 2, "written": 2, "dropped": 0, "failed": 0},
            {"taken": 2, "written": 1, "dropped": 0, "failed": 1},
            {"taken": 1, "written": 1, "dropped": 1, "failed": 0},
        ]


def test_without_a_directory_they_are_in_memory() -> None:
    """Without a run directory nothing is kept."""
    counts = SinkCounts()
    counts.taken()
    counts.close()
    assert counts.show()["taken"] == 1
