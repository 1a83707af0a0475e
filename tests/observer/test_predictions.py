"""Predictions behind the loop's back: put by in a moment, found by another process, hidden where they must be."""

import asyncio
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from proxy.compare.values import Predicted
from proxy.engine.sqlite_file import StoreError
from proxy.engine.store_thread import FileThread
from proxy.labels import Hide, Remembered, Side, disguise
from proxy.observer import predictions as predictions_module
from proxy.observer.breakdown_store import StretchKey
from proxy.observer.label_store import FILE_NAME, LabelKey, LabelStore, open_labels
from proxy.observer.predictions import NOTHING_HIDDEN, Hiding, HidingOf, Predictions
from proxy.privacy.actions import keyed_hash
from tests.observer.test_labelling import START_WALL_NS
from tests.observer.test_observer import until

KEY = LabelKey(StretchKey("wine", "v4", "00"), "v1")
HASH: Hide = partial(keyed_hash, b"k" * 32)
HIDDEN = Hiding("ab12", HASH)


def entry(*labels: Any, is_number: bool = False) -> Remembered[LabelKey]:
    return Remembered(5_000_000, "v1", -7, (Side(KEY, Predicted(labels, labels, is_number)),))


class Bench:
    """Predictions, and the thread of their file."""

    def __init__(
        self, directory: Path, hiding_of: HidingOf = lambda *_: NOTHING_HIDDEN, shelf: Any = None
    ) -> None:
        self.keys = {"ab12": HASH}
        self.shelf = shelf or FileThread(directory, open_labels, "labels")
        self.book = Predictions(
            self.shelf, hiding_of, lambda name: self.keys.get(name), lambda: 6_000_000, lambda: START_WALL_NS
        )

    async def close(self) -> None:
        self.book.close()
        assert await self.shelf.close(10.0)


async def test_another_process_finds_it(tmp_path: Path) -> None:
    """Everything that a label needs comes back, and when it was."""
    first = Bench(tmp_path)
    first.book.note(1, "wine", 2**63 + 5, entry("red", None))
    await first.close()
    second = Bench(tmp_path)
    found = await second.book.find([2**63 + 5, 6], 10.0)
    assert list(found) == [2**63 + 5]
    stored, at_ms, hide = found[2**63 + 5]
    assert (stored.variant, stored.unit, stored.sides) == ("v1", -7, entry("red", None).sides)
    assert (at_ms, hide, bytes(stored.labelled)) == (START_WALL_NS // 1_000_000 - 1, None, b"")
    assert (first.book.saved, first.book.unsaved) == (1, 0)
    await second.close()


async def test_in_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to ask: what was noted is put by soon, all of it at once."""
    monkeypatch.setattr(predictions_module, "SAVE_S", 0.0)
    bench = Bench(tmp_path)
    for name in range(100):
        bench.book.note(1, "wine", name, entry(1))
    await until(lambda: bench.book.saved == 100)
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    await bench.close()


async def test_what_must_not_be_written(tmp_path: Path) -> None:
    """Hashes stand for labels, and it can be told which key they are under; numbers, and what no rule speaks of, are
    not put by."""
    bench = Bench(tmp_path, lambda version, _: HIDDEN if version == 1 else None)
    bench.book.note(1, "wine", 1, entry("malignant", 7654321))
    bench.book.note(1, "wine", 2, entry(0.7654321, is_number=True))
    bench.book.note(2, "wine", 3, entry("malignant"))
    found = await bench.book.find([1, 2, 3], 10.0)
    assert list(found) == [1]
    assert found[1].hide is HASH
    ((_, predicted),) = found[1].entry.sides
    assert predicted.primary == (HASH(b"text malignant"), disguise(7654321, HASH))
    assert (bench.book.saved, bench.book.unsaved) == (1, 2)
    bench.keys.clear()
    assert await bench.book.find([1], 10.0) == {}
    await bench.close()
    for path in (tmp_path / FILE_NAME).parent.glob("*"):
        data = path.read_bytes()
        assert b"malignant" not in data
        assert b"7654321" not in data


async def test_a_number_that_json_has_not(tmp_path: Path) -> None:
    """It costs itself alone."""
    bench = Bench(tmp_path)
    bench.book.note(1, "wine", 1, entry(2**70))
    bench.book.note(1, "wine", 2, entry(1))
    assert list(await bench.book.find([1, 2], 10.0)) == [2]
    assert (bench.book.saved, bench.book.unsaved) == (1, 1)
    await bench.close()


async def test_a_disk_that_refuses(tmp_path: Path) -> None:
    """What was noted is counted, and is taken for not put by."""

    class Full(LabelStore):
        def add(self, rows: Any) -> None:
            raise StoreError("the disk is full")

    bench = Bench(tmp_path, shelf=FileThread(tmp_path, lambda d, _: Full(d / FILE_NAME), "labels"))
    noted = entry(1)
    bench.book.note(1, "wine", 1, noted)
    assert await bench.book.find([1], 10.0) == {}
    assert (bench.book.saved, bench.book.unsaved, noted.is_saved) == (0, 1, False)
    assert bench.shelf.problem
    await bench.close()


async def test_a_disk_that_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One batch at a time is before it; what there is no room for meanwhile is counted, and nobody waits."""
    monkeypatch.setattr(predictions_module, "SAVE_S", 0.0)
    monkeypatch.setattr(predictions_module, "MAX_WAITING", 3)
    bench = Bench(tmp_path)
    goes_on = threading.Event()
    bench.shelf.submit(lambda _: goes_on.wait(10))
    bench.book.note(1, "wine", 0, entry(1))
    for _ in range(20):
        await asyncio.sleep(0)
    for name in range(1, 6):
        bench.book.note(1, "wine", name, entry(1))
        await asyncio.sleep(0.001)
    assert (bench.book.saved, bench.book.unsaved) == (0, 2)
    goes_on.set()
    assert sorted(await bench.book.find(range(6), 10.0)) == [0, 1, 2, 3]
    assert (bench.book.saved, bench.book.unsaved) == (4, 2)
    await bench.close()


async def test_what_is_too_old_goes(tmp_path: Path) -> None:
    """How long each route's are kept is looked after at once and later; what went for want of room is counted."""
    bench = Bench(tmp_path)
    for name in range(4):
        bench.book.note(1, "wine", name, entry(1))
    bench.book.save()
    bench.book.keep({"wine": 60_000_000_000})
    assert len(await bench.book.find(range(4), 10.0)) == 4
    bench.book.keep({"wine": 0})
    assert await bench.book.find(range(4), 10.0) == {}
    assert bench.book.forgotten == 0
    await bench.close()
