"""Feedback on the disk: an item counts once, whatever is sent again and whoever is killed when."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.engine import feedback_store
from proxy.engine.feedback_store import FILE_NAME, KEPT_NS, FeedbackStore, Group, Told, open_feedback
from proxy.evidence.layout import FIELDS
from proxy.evidence.ring import ENTRIES, id_hash, open_ring
from proxy.rollout.feedback import Row

EPOCH, LATER, OTHER = "00000000000000a1", "ffffffffffffffa2", "00000000000000b1"
ROLLOUT = "0123456789abcdef"
CANARY, CHAMPION = 1, 0
DAY_NS = 86_400_000_000_000


class World:
    """Rings of two workers, and the file."""

    def __init__(self, folder: Path) -> None:
        self.run_dir = folder / "run"
        self.state_dir = folder / "state"
        self.run_dir.mkdir()
        self.rings = [open_ring(self.run_dir, worker) for worker in range(2)]
        self.store = open_feedback(self.state_dir, 0)
        self.number = 0

    def asked(
        self, name: str, variant: int = CANARY, *, unit: int = 0, epoch: str = EPOCH, own: bool = False
    ) -> None:
        """Note a request; each has a unit of its own unless one is given."""
        self.number += 1
        place = variant * FIELDS
        bucket = unit or (1 << 63) + self.number
        self.rings[self.number % 2].put(name.encode(), int(epoch, 16), place, bucket, int(own))

    def drain(self, now_ns: int = 0) -> tuple[int, int, int]:
        return self.store.drain({"run-1": self.run_dir}, now_ns)

    def say(self, *said: tuple[str, bool], segment_ns: int = 7, rollout: str = ROLLOUT) -> Told:
        items = [(id_hash(name.encode()), good) for name, good in said]
        (told,) = self.store.take([Group(rollout, (EPOCH, LATER), segment_ns, items)], 0)
        return told

    def rows(self) -> tuple[Row, ...]:
        return self.store.rows(ROLLOUT)

    def reopen(self) -> None:
        self.store.close()
        self.store = open_feedback(self.state_dir, 0)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_an_item_counts_once(world: World) -> None:
    """The first word on a request counts, for its variant and epoch; whatever follows is a duplicate."""
    world.asked("one")
    world.asked("two", CHAMPION, epoch=LATER)
    assert world.drain() == (2, 0, 0)
    assert world.say(("one", False), ("two", True), ("one", True)) == Told(2, 1)
    assert world.say(("one", False), segment_ns=9) == Told(0, 1)
    expected = {Row(EPOCH, 7, CANARY, 1, 1, 1, 1, 1), Row(LATER, 7, CHAMPION, 1, 0, 1, 0, 0)}
    assert set(world.rows()) == expected
    world.reopen()
    assert world.say(("two", False)) == Told(0, 1)
    assert len(world.rows()) == 2


def test_a_unit_counts_by_its_first_words(world: World) -> None:
    """Of one unit the first judged answer and the first bad one are evidence, whichever request they are about."""
    for name in ("one", "two", "three", "four"):
        world.asked(name, unit=42)
    world.drain()
    world.say(("one", True))
    world.say(("two", False), segment_ns=8)
    world.say(("three", False), ("four", True), segment_ns=9)
    assert world.rows() == (
        Row(EPOCH, 7, CANARY, 1, 0, 1, 0, 0),
        Row(EPOCH, 8, CANARY, 1, 1, 0, 0, 1),
        Row(EPOCH, 9, CANARY, 2, 1, 0, 0, 0),
    )


def test_own_coins_need_no_mark(world: World) -> None:
    """A request that is its own coin is a unit of its own, whatever its bucket."""
    for name in ("one", "two"):
        world.asked(name, unit=42, own=True)
    world.drain()
    world.say(("one", False), ("two", False))
    assert world.rows() == (Row(EPOCH, 7, CANARY, 2, 2, 2, 2, 2),)
    assert world.store._db.execute("SELECT count(*) FROM units").fetchone() == (0,)


def test_unknown_requests(world: World) -> None:
    """What no ring had, or another rollout's, is unknown; it may be known later."""
    world.asked("other", epoch=OTHER)
    world.drain()
    assert world.say(("other", True), ("early", True)) == Told(0, 0, 2, (0, 1))
    world.asked("early")
    world.drain()
    assert world.say(("early", True)) == Told(1)


def test_an_id_that_comes_again(world: World) -> None:
    """Of requests with one id in one epoch the first is meant; of those in several the latest."""
    world.asked("same", CHAMPION)
    world.asked("same", CANARY)
    world.drain()
    world.asked("same", CANARY, epoch=LATER)
    world.drain()
    world.say(("same", True), ("same", True))
    assert world.rows() == (Row(LATER, 7, CANARY, 1, 0, 1, 0, 0),)
    world.asked("same", CANARY, epoch=LATER)
    world.drain()
    assert world.say(("same", True)) == Told(0, 1)


def test_rings_are_read_where_they_were_left(world: World) -> None:
    """After a restart nothing is read twice, and what was written over is counted as missed."""
    world.asked("one")
    assert world.drain() == (1, 0, 0)
    world.reopen()
    assert world.drain() == (0, 0, 0)
    for number in range(ENTRIES + 10):
        world.rings[0].put(b"%d" % number, int(EPOCH, 16), 0, number, 1)
    entered, missed, forgotten = world.drain()
    assert (entered, forgotten) == (ENTRIES - 1, 0)
    assert missed == 11


def test_old_requests_are_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """After seven days a request is unknown, and of too many the oldest go first and are counted."""
    world.asked("old")
    world.drain(1)
    world.asked("new")
    assert world.drain(KEPT_NS + 2) == (1, 0, 0)
    assert world.say(("old", True), ("new", True)) == Told(1, 0, 1, (0,))
    monkeypatch.setattr(feedback_store, "KEPT_REQUESTS", 3)
    for number in range(4):
        world.asked(f"more-{number}")
    assert world.drain(KEPT_NS + 3) == (4, 0, 2)
    assert world.say(("more-0", True)).unknown == 1
    assert world.say(*((f"more-{number}", True) for number in range(1, 4))).accepted == 3


def test_prune(world: World) -> None:
    """What was said about a rollout stays for a week after the last word, and as long as it is under way."""
    world.asked("one", unit=1)
    world.drain()
    world.say(("one", True))
    world.store.prune([ROLLOUT], ["run-1"], 30 * DAY_NS)
    world.store.prune([], ["run-1"], DAY_NS)
    assert world.rows()
    world.store.prune([], [], 30 * DAY_NS)
    assert not world.rows()
    left = (
        "SELECT (SELECT count(*) FROM units) + (SELECT count(*) FROM rings) + (SELECT count(*) FROM rollouts)"
    )
    assert world.store._db.execute(left).fetchone() == (0,)


def test_a_full_disk_takes_nothing_half(world: World) -> None:
    """What the disk refuses is taken back as a whole: the same counts when it is sent again."""
    names = [f"r-{number}" for number in range(2000)]
    for name in names:
        world.asked(name)
    world.drain()
    (pages,) = world.store._db.execute("PRAGMA page_count").fetchone()
    world.store._db.execute(f"PRAGMA max_page_count = {pages}")
    said = [(name, False) for name in names]
    with pytest.raises(sqlite3.OperationalError, match="full"):
        world.say(*said)
    assert world.rows() == ()
    world.store._db.execute("PRAGMA max_page_count = 100000")
    assert world.say(*said) == Told(2000)
    assert sum(row.bad_units for row in world.rows()) == 2000


def test_damage(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A damaged file is moved aside, and feedback begins anew."""
    world.asked("one")
    world.drain()
    world.store.close()
    (world.state_dir / FILE_NAME).write_bytes(b"nonsense" * 1000)
    world.store = open_feedback(world.state_dir, 5_000_000_000)
    assert (world.state_dir / f"{FILE_NAME}.damaged-5").exists()
    assert "feedback begins anew" in caplog.text
    assert world.rows() == ()
    assert (world.state_dir / FILE_NAME).stat().st_mode & 0o777 == 0o600


@settings(deadline=None, max_examples=40)
@given(
    requests=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 1), st.booleans()), max_size=20),
    batches=st.lists(st.lists(st.tuples(st.integers(0, 25), st.booleans()), max_size=8), max_size=8),
)
def test_counts_are_those_of_a_simple_book(
    requests: list[tuple[int, int, bool]], batches: list[list[tuple[int, bool]]], tmp_path_factory: Any
) -> None:
    """Law: whatever is said in whatever batches, the counts are those of a book that looks at everything at once."""
    world = World(tmp_path_factory.mktemp("world"))
    for number, (unit, variant, own) in enumerate(requests):
        world.asked(f"r-{number}", variant, unit=unit + 1, own=own)
    world.drain()
    told: set[int] = set()
    units: set[int] = set()
    bad_units: set[int] = set()
    expected: Counter[tuple[int, str]] = Counter()
    for batch in batches:
        outcome: Counter[str] = Counter()
        for number, good in batch:
            if number >= len(requests) or number in told:
                outcome["unknown" if number >= len(requests) else "duplicate"] += 1
                continue
            outcome["accepted"] += 1
            told.add(number)
            unit, variant, own = requests[number]
            key = -number - 1 if own else unit
            expected[variant, "judged"] += 1
            expected[variant, "bad"] += not good
            expected[variant, "units"] += key not in units
            expected[variant, "first_bad"] += key not in units and not good
            expected[variant, "bad_units"] += not good and key not in bad_units
            units.add(key)
            if not good:
                bad_units.add(key)
        found = world.say(*((f"r-{number}", good) for number, good in batch))
        assert found[:3] == (outcome["accepted"], outcome["duplicate"], outcome["unknown"])
    for row in world.rows():
        for name, number in zip(Row._fields[3:], row[3:], strict=True):
            assert number == expected.pop((row.variant, name), 0)
    assert not any(expected.values())
    world.store.close()


_TAKER = """
import sys
from pathlib import Path
from proxy.engine.feedback_store import Group, open_feedback
from proxy.evidence.ring import id_hash

run_dir, state_dir = map(Path, sys.argv[1:3])
store = open_feedback(state_dir, 0)
store.drain({"run-1": run_dir}, 0)
for first in range(0, 4000, 50):
    items = [(id_hash(b"r-%d" % number), number % 3 > 0) for number in range(first, first + 50)]
    told = store.take([Group("0123456789abcdef", ("00000000000000a1",), 7, items)], 0)
    print(told[0].accepted + told[0].duplicate, flush=True)
"""


def test_killed_in_between(world: World) -> None:
    """A taker that is killed at any moment, time and again, neither loses what it acknowledged nor counts it twice."""
    world.store.close()
    for number in range(4000):
        world.asked(f"r-{number}", unit=number % 1000 + 1)
    command = [sys.executable, "-c", _TAKER, str(world.run_dir), str(world.state_dir)]
    acknowledged = 0
    for lines in (1, 17, 40, 63):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as taker:
            assert taker.stdout is not None
            for _ in range(lines):
                assert taker.stdout.readline() == b"50\n"
            os.kill(taker.pid, signal.SIGKILL)
        world.store = FeedbackStore(world.state_dir / FILE_NAME)
        judged = sum(row.judged for row in world.rows())
        assert judged % 50 == 0
        assert judged >= max(acknowledged, lines * 50)
        acknowledged = judged
        world.store.close()
    assert subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.split() == [b"50"] * 80
    world.store = open_feedback(world.state_dir, 0)
    (row,) = world.rows()
    assert (row.judged, row.bad, row.units) == (4000, 1334, 1000)
