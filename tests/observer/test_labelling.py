"""Labels in the observer: what is remembered, what becomes of each, and what a full disk or a reload does to it."""

import asyncio
import sqlite3
import threading
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from proxy.control.label_items import LabelItem
from proxy.engine.feedback import BusyError
from proxy.engine.sqlite_file import StoreError
from proxy.engine.store_thread import FileThread
from proxy.exchange import Flag
from proxy.labels import LabelCounts
from proxy.observer import labelling as labelling_module
from proxy.observer import predictions as predictions_module
from proxy.observer.blocks import Blocks
from proxy.observer.label_store import FILE_NAME, LabelStore, open_labels
from proxy.observer.labelling import Labelling, LabelTold
from proxy.observer.outcomes import Outcomes
from proxy.observer.pairing import Pair
from proxy.observer.predictions import NOTHING_HIDDEN, Hiding
from proxy.privacy.actions import keyed_hash
from proxy.tally import read_all
from tests.observer.exchanges import BASE_CONFIG, agreeing, primary_part, shadow_part, table_of
from tests.observer.test_disagreements import KEY, NoSink, NoTracer

LABELLED = BASE_CONFIG.replace("as: classification", "as: classification, labels: 1h")
START_WALL_NS = 1_760_000_000_000_000_000
HOUR_NS = 3_600_000_000_000
BATCH = b'{"outputs":[{"name":"label","datatype":"INT64","shape":[3],"data":%b}]}'


class Bench:
    """Labelling behind the outcomes that an observer has."""

    def __init__(
        self, directory: Path, text: str = LABELLED, shelf: Any = None, hiding: Hiding = NOTHING_HIDDEN
    ) -> None:
        self.directory = directory
        self.now_ns = 0
        self.kept: list[tuple[int, str, LabelItem]] = []
        self.blocks = Blocks(directory)
        self.labelling = Labelling(
            directory,
            self.blocks,
            lambda *what: self.kept.append(what),
            shelf,
            lambda: self.now_ns,
            lambda: START_WALL_NS + self.now_ns,
            lambda *_: hiding,
            lambda _: hiding.hide,
        )
        self.outcomes = Outcomes(self.blocks, NoSink(), NoTracer(), KEY, rememberer=self.labelling)
        self.last = 0
        self.publish(text)

    def publish(self, text: str) -> None:
        """Put another version in force."""
        self.last += 1
        table = table_of(text, self.last)
        self.blocks.admit(table, [0])
        self.outcomes.admit(table)
        self.labelling.admit(table)
        self.labelling.commit(table.version)

    def pair(self, name: str, shadow: int | bytes = 2, primary: int | bytes = 1, **changes: Any) -> None:
        """Settle one request whose answers say these labels, or these lists of them."""
        bodies = [agreeing(each) if isinstance(each, int) else BATCH % each for each in (primary, shadow)]
        first = {"version": self.last, "flags": Flag.MIRRORED, "request_id": name.encode(), **changes}
        part = shadow_part(version=first["version"], response_body=bodies[1])
        self.outcomes.settle(Pair(0, primary_part(response_body=bodies[0], **first), {0: part}))

    async def say(self, *said: tuple[str, Any]) -> LabelTold:
        """Post labels, by the id of the request."""
        items = [
            LabelItem(number, "wine", name, labels if isinstance(labels, tuple) else (labels,))
            for number, (name, labels) in enumerate(said, 1)
        ]
        return (await self.labelling.take({"wine": items}))["wine"]

    def counts(self, variant: str = "v1") -> LabelCounts:
        known = [each for each in self.labelling.known("wine") if each.variant == variant]
        return known[0].counts if known else LabelCounts()

    def counted(self, kind: str) -> dict[str, int]:
        """Return what the blocks say, by outcome."""
        layouts = {table.version: {"o": table.observer_layout} for table in self.blocks.tables.values()}
        found: dict[str, int] = {}
        for counts in read_all(self.directory, layouts).values():
            for (section, outcome, *_), number in counts.items():
                if section == kind:
                    found[outcome] = found.get(outcome, 0) + number
        return found

    async def close(self) -> None:
        assert await self.labelling.close(5.0)
        self.blocks.close()


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_who_was_right(bench: Bench) -> None:
    """A label says who was right; it is counted, shown and kept."""
    bench.pair("a", shadow=2, unit=b"u1")
    bench.pair("b", shadow=1, unit=b"u2")
    told = await bench.say(("a", 1), ("b", 1))
    assert (told.counts, told.problems) == ({"accepted": 2}, [])
    assert bench.counts() == LabelCounts(
        both_right=1, only_primary=1, first_both_right=1, first_only_primary=1, won_primary=1
    )
    assert bench.counted("label") == {"accepted": 2}
    assert bench.counted("label_rows") == {"both_right": 1, "only_primary": 1}
    assert [(version, route, item.request_id) for version, route, item in bench.kept] == [
        (1, "wine", "a"),
        (1, "wine", "b"),
    ]
    await bench.close()


async def test_a_batch_row_by_row(bench: Bench) -> None:
    """Each row counts once, by its first label, also within one post."""
    bench.pair("a", primary=b"[1,2,3]", shadow=b"[1,9,9]")
    told = await bench.say(("a", (1, None, None)), ("a", (5, 2, None)), ("a", (1, 2, None)))
    assert told.counts == {"accepted": 2, "duplicate": 1}
    assert bench.counts()[:4] == (1, 1, 0, 0)
    told = await bench.say(("a", (None, None, 9)), ("a", (None, None, 3)))
    assert told.counts == {"accepted": 1, "duplicate": 1}
    assert bench.counts()[:4] == (1, 1, 1, 0)
    assert (bench.counts().won_primary, bench.counts().won_shadow) == (1, 0)
    told = await bench.say(("a", (1, None, None)), ("a", (None, 2, 9)))
    assert told.counts == {"duplicate": 2}
    await bench.close()


async def test_what_is_not_taken(bench: Bench) -> None:
    """Unknown, late, of other rows, of another kind: each is counted by its reason and says it."""
    bench.pair("a")
    bench.pair("old")
    told = await bench.say(("never", 1), ("a", (1, 2)), ("a", "red"))
    assert told.counts == {"unknown": 1, "mismatch": 2}
    assert [number for number, _ in told.problems] == [1, 2, 3]
    assert "had this x-request-id" in told.problems[0][1]
    assert told.problems[1][1].endswith("null where it is not known: 1, got 2")
    assert "of this kind" in told.problems[2][1]
    bench.now_ns = HOUR_NS + 1
    told = await bench.say(("old", 1))
    assert told.counts == {"late": 1}
    assert "too late" in told.problems[0][1]
    bench.labelling.refuse({"wine": 3, "beer": 1})
    assert bench.counted("label") == {"unknown": 1, "mismatch": 2, "late": 1, "refused": 3}
    assert bench.counts() == LabelCounts()
    assert bench.kept == []
    await bench.close()


async def test_variants_are_apart(bench: Bench) -> None:
    """Rows are counted for the variant that answered the client."""
    bench.pair("a", variant=1, served_by=1)
    bench.outcomes.settle(Pair(0, None, {}))
    await bench.say(("a", 1))
    assert bench.counts("v2") == LabelCounts()  # the shadow's part says variant 0: it is no pair
    part = shadow_part(version=1, variant=1, response_body=agreeing(2))
    primary = primary_part(version=1, variant=1, served_by=1, request_id=b"b", flags=Flag.MIRRORED)
    bench.outcomes.settle(Pair(0, primary, {0: part}))
    await bench.say(("b", 1))
    assert bench.counts("v2").only_primary == 1
    assert bench.counts("v1") == LabelCounts()
    await bench.close()


@pytest.mark.parametrize("changes", [{"flags": Flag.MIRRORED | Flag.CLIENT_LEFT}, {"served_by": 1}])
async def test_what_is_not_compared(bench: Bench, changes: dict[str, Any]) -> None:
    """Where there was nothing to compare nothing is remembered."""
    bench.pair("a", **changes)
    assert (await bench.say(("a", 1))).counts == {"unknown": 1}
    assert bench.labelling.remembered == 0
    await bench.close()


async def test_an_answer_that_is_none_is_wrong(bench: Bench) -> None:
    """A shadow that answers an error is wrong where the client's answer is right."""
    part = shadow_part(version=1, status=500, response_body=b"no")
    bench.outcomes.settle(Pair(0, primary_part(version=1, request_id=b"a", flags=Flag.MIRRORED), {0: part}))
    await bench.say(("a", 1))
    assert bench.counts().only_primary == 1
    await bench.close()


async def test_a_reload(bench: Bench) -> None:
    """Another duration goes on; another rule begins anew, and what was remembered for the one before is late."""
    bench.pair("a")
    bench.pair("b")
    bench.publish(LABELLED.replace("1h", "2h"))
    bench.now_ns = HOUR_NS + 1
    assert (await bench.say(("a", 1))).counts == {"accepted": 1}
    bench.publish(LABELLED.replace("labels: 1h", "labels: 1h, at: label"))
    assert (await bench.say(("b", 1))).counts == {"late": 1}
    assert bench.counts() == LabelCounts()
    bench.pair("c")
    await bench.say(("c", 2))
    assert bench.counts().only_shadow == 1
    bench.pair("of a version before", version=1)
    assert bench.labelling.remembered == 2
    bench.publish(BASE_CONFIG)
    assert (bench.labelling.remembered, bench.labelling.known("wine")) == (0, [])
    bench.labelling.retire([1])
    await bench.close()


async def test_nobody_asked(tmp_path: Path) -> None:
    """Without the key nothing is remembered, and no file is made."""
    bench = Bench(tmp_path, BASE_CONFIG)
    bench.pair("a")
    assert bench.labelling.remembered == 0
    await bench.close()
    assert not (tmp_path / FILE_NAME).exists()


async def test_a_restart(tmp_path: Path) -> None:
    """Counts stay, who has bet, what was predicted, and which rows have their label."""
    first = Bench(tmp_path)
    first.pair("a", unit=b"u")
    await first.say(("a", 1))
    first.pair("b", unit=b"u")
    await first.close()
    second = Bench(tmp_path)
    assert (await second.say(("a", 1), ("b", 1), ("b", 2), ("c", 1))).counts == {
        "duplicate": 2,
        "accepted": 1,
        "unknown": 1,
    }
    assert second.labelling.remembered == 0
    assert second.counts() == LabelCounts(only_primary=2, first_only_primary=1, won_primary=1)
    await second.close()
    third = Bench(tmp_path)
    await third.labelling.shelf.call(lambda _: None, 5.0)
    await asyncio.sleep(0)
    assert third.counts() == second.counts()
    await third.close()


async def test_a_restart_of_what_is_hidden(tmp_path: Path) -> None:
    """Labels are held against the hashes that stand for what was predicted: right, wrong, of another kind."""
    hiding = Hiding("ab12", partial(keyed_hash, KEY))
    first = Bench(tmp_path, hiding=hiding)
    first.pair("a", shadow=2, primary=1)
    first.pair("b", primary=b"[1,2,3]", shadow=b"[1,9,9]")
    await first.close()
    second = Bench(tmp_path, hiding=hiding)
    told = await second.say(("a", "red"), ("a", 1.0), ("b", (1, 9, None)), ("b", (1, 2)))
    assert told.counts == {"mismatch": 2, "accepted": 2}
    assert second.counts()[:4] == (1, 1, 1, 0)
    assert [item.labels for _, _, item in second.kept] == [(1.0,), (1, 9, None)]
    await second.close()


async def test_what_the_disk_has_is_late_too(tmp_path: Path) -> None:
    """After a restart as before: what is too old, or of other models, is late; what was labelled is a duplicate row by
    row."""
    first = Bench(tmp_path)
    first.pair("old")
    first.now_ns = HOUR_NS // 2
    first.pair("b", primary=b"[1,2,3]", shadow=b"[1,9,9]")
    await first.say(("b", (1, None, None)))
    await first.close()
    second = Bench(tmp_path)
    second.now_ns = HOUR_NS + 1_000_000
    assert (await second.say(("old", 1))).counts == {"late": 1}
    told = await second.say(("b", (5, None, None)), ("b", (5, 9, None)), ("b", (None, None, 9)))
    assert told.counts == {"duplicate": 1, "accepted": 2}
    assert second.counts()[:4] == (1, 0, 2, 0)
    await second.close()
    third = Bench(tmp_path, LABELLED.replace("labels: 1h", "labels: 1h, at: label"))
    third.now_ns = HOUR_NS + 1_000_000
    assert (await third.say(("b", (1, 2, 3)))).counts == {"late": 1}
    third.publish(BASE_CONFIG)
    third.publish(LABELLED)
    assert (await third.say(("b", (1, 2, 3)))).counts == {"unknown": 1}
    await third.close()


async def test_an_id_that_comes_again(tmp_path: Path) -> None:
    """The later request is labelled for itself, whatever came for the earlier one, in memory and on the disk."""
    first = Bench(tmp_path)
    for primary in (1, 2):
        first.pair("a", primary=primary)
        assert (await first.say(("a", 1), ("a", 1))).counts == {"accepted": 1, "duplicate": 1}
    first.pair("a", primary=3)
    await first.close()
    second = Bench(tmp_path)
    assert (await second.say(("a", 3), ("a", 3))).counts == {"accepted": 1, "duplicate": 1}
    assert second.counts().rows == 3
    await second.close()


async def test_two_observers(tmp_path: Path) -> None:
    """While one takes over from another, each finds what the other remembers, and no row counts twice."""
    first, second = Bench(tmp_path), Bench(tmp_path)
    first.pair("a")
    second.pair("b")
    first.labelling.predictions.save()
    await first.labelling.shelf.call(lambda _: None, 10.0)
    assert (await second.say(("a", 1), ("b", 1))).counts == {"accepted": 2}
    assert (await first.say(("a", 1), ("b", 1))).counts == {"duplicate": 2}
    assert second.counts().rows == 2
    await first.close()
    await second.close()


async def test_rows_of_a_batch_at_two_observers(tmp_path: Path) -> None:
    """Which rows of a batch the other one has labels for is known; the rest still count, once."""
    first, second = Bench(tmp_path), Bench(tmp_path)
    first.pair("a", primary=b"[1,2,3]", shadow=b"[1,9,9]")
    first.labelling.predictions.save()
    await first.labelling.shelf.call(lambda _: None, 10.0)
    assert (await second.say(("a", (None, 2, None)))).counts == {"accepted": 1}
    assert (await first.say(("a", (None, 2, None)))).counts == {"duplicate": 1}
    assert (await first.say(("a", (1, 2, None)))).counts == {"accepted": 1}
    assert (first.counts().rows, first.counts()[:4]) == (2, (1, 1, 0, 0))
    await first.close()
    await second.close()


async def test_no_row_counts_twice_of_what_is_in_memory_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not put by, because too much waits for the disk, is marked in memory."""
    monkeypatch.setattr(predictions_module, "MAX_WAITING", 0)
    bench = Bench(tmp_path)
    bench.pair("a")
    assert (await bench.say(("a", 1))).counts == {"accepted": 1}
    assert (await bench.say(("a", 1))).counts == {"duplicate": 1}
    assert bench.counts().rows == 1
    await bench.close()


async def test_labels_that_the_one_before_still_took(tmp_path: Path) -> None:
    """Who takes over shows them at once, not only when the next label comes; what is not in force it does not show."""
    first, second = Bench(tmp_path), Bench(tmp_path)
    first.pair("a")
    await first.say(("a", 1))
    assert second.counts().rows == 0
    second.labelling.look_again()
    await second.labelling.shelf.call(lambda _: None, 10.0)
    assert second.counts() == first.counts()
    second.publish(LABELLED.replace("labels: 1h", "labels: 1h, costs: {1: {2: 0.5}}"))
    first.pair("b")
    await first.say(("b", 1))
    second.labelling.look_again()
    await second.labelling.shelf.call(lambda _: None, 10.0)
    assert second.labelling.known("wine") == []
    await first.close()
    await second.close()


async def test_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bytes of all routes the oldest leaves the memory; the disk still has it. What is on no disk is
    forgotten, and counted."""
    monkeypatch.setattr(labelling_module, "REMEMBERED_BYTES", 2000)
    bench = Bench(tmp_path)
    for name in "abcd":
        bench.pair(name)
    assert bench.labelling.remembered_bytes <= 2000
    assert (bench.labelling.remembered, bench.labelling.forgotten) == (2, 0)
    assert (await bench.say(("a", 1), ("d", 1))).counts == {"accepted": 2}
    monkeypatch.setattr(predictions_module, "MAX_WAITING", 0)
    for name in "efgh":
        bench.pair(name)
    assert (bench.labelling.forgotten, bench.labelling.predictions.unsaved) == (2, 4)
    assert (await bench.say(("e", 1), ("h", 1))).counts == {"late": 1, "accepted": 1}
    bench.publish(BASE_CONFIG)
    assert bench.labelling.forgotten == 2
    await bench.close()


class Stuck:
    """A disk that waits, or refuses."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.fails = False

    def open(self, directory: Path, wall_ns: int) -> LabelStore:
        stuck = self

        class Slow(LabelStore):
            def take(self, *what: Any) -> Any:
                stuck.goes_on.wait(10)
                if stuck.fails:
                    raise StoreError("the disk is full")
                return super().take(*what)

        open_labels(directory, wall_ns).close()
        return Slow(directory / FILE_NAME)


async def test_a_full_disk(tmp_path: Path) -> None:
    """Nothing is taken, and the same may be said again when there is room."""
    stuck = Stuck()
    bench = Bench(tmp_path, shelf=FileThread(tmp_path, stuck.open, "labels"))
    bench.pair("a")
    stuck.fails = True
    with pytest.raises(BusyError, match="no label was taken: the disk is full"):
        await bench.say(("a", 1))
    assert (bench.counts(), bench.kept) == (LabelCounts(), [])
    stuck.fails = False
    assert (await bench.say(("a", 1))).counts == {"accepted": 1}
    assert bench.counted("label") == {"accepted": 1, "refused": 1}
    await bench.close()


async def test_a_disk_that_cannot_be_read_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was counted before is shown as soon as the disk tells it, whether or not another label comes."""
    monkeypatch.setattr("proxy.engine.store_thread.REOPEN_NS", 0)
    monkeypatch.setattr(labelling_module, "AGAIN_S", 0.001)
    before = Bench(tmp_path)
    before.pair("a")
    await before.say(("a", 1))
    await before.close()
    refusals = iter(range(3))

    def open_late(directory: Path, wall_ns: int) -> LabelStore:
        if next(refusals, None) is not None:
            raise StoreError("the disk is full")
        return open_labels(directory, wall_ns)

    bench = Bench(tmp_path, shelf=FileThread(tmp_path, open_late, "labels"))
    async with asyncio.timeout(10):
        while not bench.counts().rows:  # noqa: ASYNC110 - nobody signals that counts were read
            await asyncio.sleep(0.001)
    assert bench.counts() == before.counts()
    await bench.close()


async def test_a_slow_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits too long is told so; what the disk still takes counts once, and is a duplicate then."""
    stuck = Stuck()
    bench = Bench(tmp_path, shelf=FileThread(tmp_path, stuck.open, "labels"))
    bench.pair("a")
    bench.pair("b")
    stuck.goes_on.clear()
    await bench.labelling.shelf.call(lambda _: None, 10.0)
    monkeypatch.setattr(labelling_module, "TAKE_PATIENCE_S", 0.5)  # to be asked what it has, it goes on
    with pytest.raises(BusyError, match="a duplicate then"):
        await bench.say(("a", 1))
    with pytest.raises(BusyError, match="a duplicate then"):
        await bench.say(("b", 1))
    both = [asyncio.ensure_future(bench.say(("b", 1))) for _ in range(2)]
    done = await asyncio.gather(*both, return_exceptions=True)
    assert [type(each) for each in done] == [BusyError, BusyError]
    monkeypatch.setattr(labelling_module, "TAKE_PATIENCE_S", 10.0)
    stuck.goes_on.set()
    assert (await bench.say(("a", 1), ("b", 1))).counts == {"duplicate": 1, "accepted": 1}
    assert bench.counts().only_primary == 2
    assert len(bench.kept) == 2
    await bench.close()


async def test_several_at_once(bench: Bench) -> None:
    """Who says the same at the same time is counted once."""
    for number in range(200):
        bench.pair(f"r{number}")
    said = [(f"r{number}", 1) for number in range(200)]
    told = await asyncio.gather(*(bench.say(*said) for _ in range(3)))
    assert sum(each.counts.get("accepted", 0) for each in told) == 200
    assert sum(each.counts.get("duplicate", 0) for each in told) == 400
    assert bench.counts().rows == 200
    await bench.close()


def _units(directory: Path) -> set[int]:
    with closing(sqlite3.connect(directory / FILE_NAME)) as file:
        return {unit for (unit,) in file.execute("SELECT unit FROM units")}


async def test_units_are_there_by_a_keyed_hash(bench: Bench) -> None:
    """The file names no unit to who has no key; under a new key the same unit is another one."""
    for name, key in (("a", KEY), ("b", KEY), ("c", b"another key")):
        bench.outcomes.rekey(key)
        bench.pair(name, shadow=2, unit=b"u1")
        await bench.say((name, 1))
    await bench.close()
    expected = [int(keyed_hash(key, b"wine\nu1")[:16], 16) for key in (KEY, b"another key")]
    assert _units(bench.directory) == {number - (number >> 63 << 64) for number in expected}
    assert bench.counts().won_primary == 2
