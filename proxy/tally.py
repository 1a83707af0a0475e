"""Shared counters: what every worker counts for every request, and nobody can lose.

Theory of operation
    A *block* is a file of unsigned 64-bit integers in the run directory, mapped into memory. Each writer
    (worker *i*, or the observer on behalf of worker *i*) has one block per table version, so each integer has
    exactly one writer and no lock. A count is one ``block[slot] += 1`` on a ``memoryview`` (44 ns).
    Readers map the same file and add up.

    * A writer that dies leaves its integers in the page cache; its successor maps the same file and goes on.
      Counts therefore never go backwards and nothing is double: there is one integer, not a message about it.
    * Counts are keyed by table version, so that numbers from different weights are never pooled.
    * A version that no request can reach any more is *folded* into ``base.json`` and its files deleted, so a
      thousand reloads cost the same memory as one (:func:`fold`).

Rule
    Every slot is monotone. Gauges are differences of slots (in flight = started - finished - lost).

Warning
    :class:`Layout` is a pure function of the table: every process computes it alone and must get the same
    numbers. A change of the layout is a change of the program. The run directory outlives its program only in an
    upgrade: then the layouts are left beside the blocks (:func:`leave_layouts`), and what follows reads them by name.
"""

import mmap
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from proxy.model import DROPS, DURATION_BOUNDS_NS, Fault, HandshakeFailure

__all__ = [
    "CODES",
    "HISTOGRAM_FIELDS",
    "Block",
    "Key",
    "Layout",
    "Section",
    "block_path",
    "fold",
    "fold_earlier",
    "follow",
    "leave_layouts",
    "open_block",
    "read_all",
    "read_slots",
]

CODES = 600
"""Slots for status codes: index is the code; whatever a backend sends outside 100-599 is counted at 0."""

Key = tuple[str, ...]
"""A count's name without the version: ``(kind, field, *labels)``."""


@dataclass(frozen=True, slots=True)
class Section:
    """A run of slots with the same labels: slot ``base + offset(field)`` counts ``field``."""

    kind: str
    labels: tuple[str, ...]
    base: int
    fields: tuple[str, ...]

    def slot(self, field: str) -> int:
        """Return the slot of ``field``."""
        return self.base + self.fields.index(field)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each count of one table version lives."""

    sections: tuple[Section, ...]
    size: int
    """Number of slots."""
    _index: Mapping[Key, Section] = field(repr=False, compare=False)
    """Section by (kind, *labels): a table with hundreds of routes asks for thousands."""

    @classmethod
    def of(cls, parts: Iterable[tuple[str, tuple[str, ...], tuple[str, ...]]]) -> "Layout":
        """Lay ``(kind, labels, fields)`` one after the other."""
        sections, base = [], 0
        for kind, labels, fields in parts:
            sections.append(Section(kind, labels, base, fields))
            base += len(fields)
        return cls(tuple(sections), base, {(s.kind, *s.labels): s for s in sections})

    def section(self, kind: str, *labels: str) -> Section:
        """Return the section of ``kind`` with exactly ``labels``; KeyError if there is none."""
        return self._index[(kind, *labels)]

    def counts(self, values: Iterable[int]) -> "Counter[Key]":
        """Name the ``values`` of a block (length ``size``); zeros are left out."""
        named: Counter[Key] = Counter()
        numbers = list(values)
        for section in self.sections:
            for offset, name in enumerate(section.fields):
                if number := numbers[section.base + offset]:
                    named[(section.kind, name, *section.labels)] += number
        return named


HISTOGRAM_FIELDS = tuple(str(i) for i in range(len(DURATION_BOUNDS_NS) + 1))

CODE_FIELDS = tuple(f"code_{code}" for code in range(CODES))

VARIANT_FIELDS = (
    "started",
    "lost",
    "retries",
    "fallbacks",
    *CODE_FIELDS,
    *(f"whole_{i}" for i in HISTOGRAM_FIELDS),
    "whole_sum_ns",
    *(f"duration_{i}" for i in HISTOGRAM_FIELDS),
    "duration_sum_ns",
    *(f"ttfb_{i}" for i in HISTOGRAM_FIELDS),
    "ttfb_sum_ns",
    *(f"gap_{i}" for i in HISTOGRAM_FIELDS),
    "gap_sum_ns",
    "tunnel_received_bytes",
    "tunnel_sent_bytes",
)
"""Counts of one (route, variant, model). ``code_499``: the client left before the answer began; ``whole``: durations of
answers that came in one read, so that the time to their first byte is the same; ``duration`` and ``ttfb``: of all
others; ``gap``: time between two reads of one answer."""

UNROUTED_FIELDS = CODE_FIELDS
"""Requests that no variant was assigned to: bad heads, unknown routes."""

MODEL_FIELDS = (
    *(f"fault_{fault.label}" for fault in Fault if fault is not Fault.NONE),
    "limit_raised",
    "limit_lowered",
)
"""Counts of one model, as the primary (not as a shadow). The adaptive limit is raised less lowered; like connections it
is carried over by a reload."""

ENDPOINT_FIELDS = (
    "unhealthy",
    "unhealthy_carried",
    "healthy_again",
    "ejected",
    "ejected_carried",
    "readmitted",
    "check_passed",
    "check_failed",
    "asked_unhealthy",
)
"""Counts of one server of a model that is watched. Out for its health = unhealthy + unhealthy_carried - healthy_again;
ejected likewise. A reload ends what lasts under the old version and carries it over to the new one, so that each
version is settled alone."""

SHADOW_FIELDS = (
    "eligible",
    "sent",
    *(f"dropped_{drop.label}" for drop in DROPS),
    "answered",
    "failed",
    "shipped",
    "not_compared",
    "comparison_dropped",
)
"""Counts of one (route, shadow model) in the worker. eligible = sent + dropped; sent = answered + failed;
answered = shipped + not_compared + comparison_dropped once nothing is in flight."""

PAYLOAD_FIELDS = ("sampled", "shipped", "dropped")
"""Counts of one route's payload log in the worker: sampled = shipped + dropped."""

WORKER_FIELDS = (
    "connections_opened",
    "connections_carried",
    "connections_closed",
    "exchanges_dropped",
    "evidence_failures",
    *(f"handshake_{failure.label}" for failure in HandshakeFailure),
)
"""Counts of the worker itself. A reload closes the open connections under the old version and carries them over to the
new one: open = opened + carried - closed, for each version alone, so that any may be folded or settled."""


OBSERVER_FIELDS = (
    "broken_streams",
    "stray_frames",
    "lost_frames",
    "expired_pairs",
    "evicted_pairs",
    "errors",
    "spans_exported",
    "spans_failed",
    "spans_dropped",
    "admin_cut",
    "tick_failures",
    "store_failures",
    "webhooks_delivered",
    "webhooks_failed",
    "webhooks_dropped",
    "feedback_missed",
    "feedback_forgotten",
    "feedback_failures",
    "disagreement_failures",
    "label_failures",
    "labels_forgotten",
    "predictions_saved",
    "predictions_unsaved",
    "meanings_asked",
    "meanings_answered",
    "meanings_failed",
    "meanings_dropped",
    "meanings_withheld",
)
"""What the observer counts about itself, in the file ``OBSERVER_COUNTERS``."""

OBSERVER_COUNTERS = "observer.counters"

SINK_FIELDS = ("taken", "written", "dropped", "failed")
"""Records of one sink of the payload log, in a file of its own (:func:`sink_path`): taken = written + failed once
nothing waits for it; dropped: no room."""


def block_path(run_dir: Path, writer: str, version: int) -> Path:
    """Return the file of ``writer`` (``w0``: worker 0; ``o0``: the observer for it) and table ``version``."""
    return run_dir / f"{writer}-{version}.tally"


def sink_path(run_dir: Path, name: str) -> Path:
    """Return the file of the counts of a sink of the payload log. Names have no character that a pattern could mean."""
    return run_dir / f"{_SINK_PREFIX}{name}{_SINK_SUFFIX}"


class Block:
    """The counters of one writer for one table version.

    ``slots`` is a writable ``memoryview`` of unsigned 64-bit integers. The hot path indexes it directly.
    """

    __slots__ = ("_map", "slots")

    def __init__(self, mapped: mmap.mmap) -> None:
        self._map = mapped
        self.slots = memoryview(mapped).cast("Q")

    def close(self) -> None:
        """Unmap. The file stays."""
        self.slots.release()
        self._map.close()


def open_block(path: Path, size: int) -> Block:
    """Map the file at ``path`` with ``size`` slots, creating it with zeros (mode 0600) if it is not there.

    Raises:
        OSError: no space, no permission.
    """
    path.touch(mode=0o600)
    length = max(size, 1) * 8
    with path.open("r+b", buffering=0) as file:
        present = path.stat().st_size
        if present < length:
            _reserve(file.fileno(), present, length)
        return Block(mmap.mmap(file.fileno(), length))


def _reserve(fd: int, present: int, length: int) -> None:
    """Make the file ``length`` bytes long and own the space.

    Not ``truncate``: it leaves a hole, and a count into a hole on a full disk is a SIGBUS that kills the
    writer.
    """
    if sys.platform != "darwin":
        os.posix_fallocate(fd, 0, length)
    else:
        while present < length:
            present += os.pwrite(fd, bytes(length - present), present)


def read_all(run_dir: Path, layouts: Mapping[int, Mapping[str, Layout]]) -> "dict[int, Counter[Key]]":
    """Add up every block of the run directory, by table version; version 0 holds what was folded, and what the
    program before an upgrade has counted.

    Args:
        run_dir: the run directory.
        layouts: for each version, the layout by kind of writer: ``w`` and ``o``.

    A fold that happens while this reads is noticed (the folded list changed) and the read starts again, so a
    total never goes backwards.
    """
    while True:
        base = _read_base(run_dir)
        totals: dict[int, Counter[Key]] = {0: base.counts}
        for version, by_writer in layouts.items():
            if version not in base.folded:
                totals[version] = _read_version(run_dir, version, by_writer)
        earlier = _earlier(run_dir)
        if earlier is not None and earlier.name not in base.earlier:
            totals[0] = base.counts + _read_by_name(earlier)
        if _read_base(run_dir).names == base.names:
            return totals


def fold(run_dir: Path, version: int, layouts: Mapping[str, Layout]) -> None:
    """Add the blocks of ``version`` to ``base.json`` (replaced atomically), then delete their files.

    The caller must know that no writer can touch the version any more.

    Raises:
        OSError: the base could not be written; nothing was deleted.
    """
    base = _read_base(run_dir)
    if version not in base.folded:
        counts = base.counts + _read_version(run_dir, version, layouts)
        _write_base(run_dir, _Base(base.folded | {version}, base.earlier, counts))
    # Also when it was folded before: a crash between base and deletion leaves files that nobody reads.
    for path in run_dir.glob(f"*-{version}.tally"):
        path.unlink(missing_ok=True)


EARLIER = "earlier"
"""In a run directory: a link to that of the program before an upgrade, whose processes still count there."""

_LAYOUTS = "layouts.json"
_SINK_PREFIX, _SINK_SUFFIX = "sink-", ".counters"


def leave_layouts(run_dir: Path, layouts: Mapping[int, Mapping[str, Layout]]) -> None:
    """Write beside the blocks how to read them, for a program that lays them out differently.

    Raises:
        OSError: no space.
    """
    fields: dict[tuple[str, ...], int] = {}
    files = []
    for version, by_writer in layouts.items():
        for writer, layout in by_writer.items():
            rows = [
                [section.kind, section.labels, fields.setdefault(section.fields, len(fields))]
                for section in layout.sections
            ]
            files.append([version, f"{writer}[0-9]*-{version}.tally", rows])
    files.append([0, OBSERVER_COUNTERS, [["observer", (), fields.setdefault(OBSERVER_FIELDS, len(fields))]]])
    for path in sorted(run_dir.glob(f"{_SINK_PREFIX}*{_SINK_SUFFIX}")):
        name = path.name.removeprefix(_SINK_PREFIX).removesuffix(_SINK_SUFFIX)
        files.append([0, path.name, [["delivery", (name,), fields.setdefault(SINK_FIELDS, len(fields))]]])
    fresh = run_dir / f"{_LAYOUTS}.new"
    fresh.write_bytes(orjson.dumps({"fields": list(fields), "files": files}))
    fresh.replace(run_dir / _LAYOUTS)


def follow(run_dir: Path, earlier: Path) -> None:
    """Make the counts of ``earlier``, with its layouts left there, part of those of ``run_dir``."""
    (run_dir / EARLIER).symlink_to(earlier)


def fold_earlier(run_dir: Path, settle: "Callable[[Counter[Key]], Counter[Key]]") -> None:
    """Add the counts of the program before to ``base.json``; then they are read there alone.

    The caller must know that no writer of that program runs any more.

    Args:
        run_dir: the run directory that :func:`follow` was called for.
        settle: returns the counts with everything ended that was under way.

    Raises:
        OSError: the base could not be written; nothing has changed.
    """
    earlier = _earlier(run_dir)
    if earlier is None:
        return
    base = _read_base(run_dir)
    if earlier.name not in base.earlier:
        counts = base.counts + settle(_read_by_name(earlier))
        _write_base(run_dir, _Base(base.folded, base.earlier | {earlier.name}, counts))
    (run_dir / EARLIER).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Base:
    folded: frozenset[int]
    earlier: frozenset[str]
    """Names of run directories whose counts are in this base."""
    counts: "Counter[Key]"

    @property
    def names(self) -> tuple[frozenset[int], frozenset[str]]:
        return self.folded, self.earlier


def _read_base(run_dir: Path) -> _Base:
    try:
        document = orjson.loads((run_dir / "base.json").read_bytes())
    except FileNotFoundError:
        return _Base(frozenset(), frozenset(), Counter())
    counts: Counter[Key] = Counter({tuple(row[:-1]): row[-1] for row in document["counts"]})
    return _Base(frozenset(document["folded"]), frozenset(document.get("earlier", ())), counts)


def _write_base(run_dir: Path, base: _Base) -> None:
    document = {
        "folded": sorted(base.folded),
        "counts": [[*key, number] for key, number in sorted(base.counts.items())],
        "earlier": sorted(base.earlier),
    }
    fresh = run_dir / "base.json.new"
    fresh.write_bytes(orjson.dumps(document))
    fresh.replace(run_dir / "base.json")


def _earlier(run_dir: Path) -> Path | None:
    try:
        return (run_dir / EARLIER).readlink()
    except OSError:
        return None


def _read_by_name(run_dir: Path) -> "Counter[Key]":
    base = _read_base(run_dir)
    total = base.counts
    try:
        document = orjson.loads((run_dir / _LAYOUTS).read_bytes())
    except FileNotFoundError:
        return total  # it is being removed: it was folded meanwhile
    fields = [tuple(names) for names in document["fields"]]
    for version, pattern, rows in document["files"]:
        layout = Layout.of((kind, tuple(labels), fields[index]) for kind, labels, index in rows)
        if version not in base.folded:
            for path in sorted(run_dir.glob(pattern)):
                total += layout.counts(read_slots(path, layout.size))
    return total


def _read_version(run_dir: Path, version: int, layouts: Mapping[str, Layout]) -> "Counter[Key]":
    total: Counter[Key] = Counter()
    for writer, layout in layouts.items():
        for path in sorted(run_dir.glob(f"{writer}[0-9]*-{version}.tally")):
            total += layout.counts(read_slots(path, layout.size))
    return total


def read_slots(path: Path, size: int) -> list[int]:
    """Return the first ``size`` integers of a block; zeros where the file is gone or still growing."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return [0] * size
    values = memoryview(data[: len(data) // 8 * 8]).cast("Q").tolist()[:size]
    return values + [0] * (size - len(values))
