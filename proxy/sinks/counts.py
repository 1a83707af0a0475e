"""What became of the records of one sink: four integers in the run directory, which outlive the observer.

They are a block like those of :mod:`proxy.tally`, mapped, and each slot has one writer: ``taken`` and ``dropped`` the
event loop, the others the sink's thread. A killed observer leaves records that were taken and whose end nobody saw; its
successor finds the difference and counts them as failed. It may have been killed between one sink and the next, too:
sinks that were not offered a record that another was count it as failed. So every record has one outcome in each sink.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from proxy.tally import SINK_FIELDS, open_block, sink_path

__all__ = ["SinkCounts", "level"]

_TAKEN, _WRITTEN, _DROPPED, _FAILED = map(SINK_FIELDS.index, ("taken", "written", "dropped", "failed"))


class SinkCounts:
    """Counts of one sink.

    Args:
        run_dir: where they are kept; None: in this object alone.
        name: of the sink.

    Raises:
        OSError: no space.
    """

    def __init__(self, run_dir: Path | None = None, name: str = "") -> None:
        self._block = None if run_dir is None else open_block(sink_path(run_dir, name), len(SINK_FIELDS))
        self._slots = [0] * len(SINK_FIELDS) if self._block is None else self._block.slots
        slots = self._slots
        # What an observer that was killed had in hand.
        slots[_FAILED] += slots[_TAKEN] - slots[_WRITTEN] - slots[_FAILED]

    def taken(self) -> None:
        """Count a record that was queued."""
        self._slots[_TAKEN] += 1

    @property
    def offered(self) -> int:
        """Records that came, taken or not."""
        return self._slots[_TAKEN] + self._slots[_DROPPED]

    def missed(self, records: int) -> None:
        """Count records that should have come. Not while the sink's thread runs."""
        self._slots[_TAKEN] += records
        self._slots[_FAILED] += records

    def dropped(self) -> None:
        """Count a record that found no room."""
        self._slots[_DROPPED] += 1

    def settled(self, written: int, failed: int) -> None:
        """Count records that have come to an end."""
        self._slots[_WRITTEN] += written
        self._slots[_FAILED] += failed

    def show(self) -> Mapping[str, int]:
        """Return the counts by name."""
        return dict(zip(SINK_FIELDS, self._slots[: len(SINK_FIELDS)], strict=True))

    def close(self) -> None:
        """Unmap. The file stays."""
        self._slots = list(self._slots[: len(SINK_FIELDS)])
        if self._block is not None:
            self._block.close()


def level(counts: Sequence[SinkCounts]) -> None:
    """Count what a killed process had offered to some of its sinks, and not yet to the others. At the start.

    Args:
        counts: of sinks that are offered the same records, always.
    """
    most = max(each.offered for each in counts)
    for each in counts:
        each.missed(most - each.offered)
