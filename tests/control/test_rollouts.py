"""The rollouts in memory and in the book: nothing that was taken off comes back, whatever the disk does."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.control import rollouts as rollouts_module
from proxy.control.book import Book, Content, Entry
from proxy.control.rollouts import Rollouts, fresh_id
from proxy.rollout.state import Phase
from tests.control.rollout_world import entry_of, settings_of

SETTINGS = settings_of()
RAMPING = entry_of(SETTINGS)
OFF = Entry(replace(RAMPING.state, phase=Phase.ROLLED_BACK, sequence=2), RAMPING.plan)


class Disk(Book):
    """A book on a disk that can be full, read-only, or hang."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir)
        self.is_full = False
        self.is_read_only = False
        self.gate = threading.Event()
        self.gate.set()

    def write(self, content: Content) -> None:
        """Write, if the disk lets it."""
        self.gate.wait(20)
        if self.is_full or self.is_read_only:
            raise OSError(28, "No space left on device")
        super().write(content)

    def outdate(self) -> None:
        """Rename, if the disk lets it."""
        if self.is_read_only:
            raise OSError(30, "Read-only file system")
        super().outdate()


@pytest.fixture(name="disk")
def fixture_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """A disk, and little patience with it."""
    monkeypatch.setattr(rollouts_module, "RETRY_S", 0.01)
    monkeypatch.setattr(rollouts_module, "BOOK_PATIENCE_S", 0.2)
    monkeypatch.setattr(rollouts_module, "FALL_PATIENCE_S", 0.1)
    return Disk(tmp_path / "state")


@pytest.fixture(name="rollouts")
async def fixture_rollouts(disk: Disk) -> AsyncIterator[Rollouts]:
    """Rollouts over the disk."""
    rollouts = Rollouts(disk)
    yield rollouts
    disk.gate.set()
    rollouts.close()


async def until_written(rollouts: Rollouts) -> None:
    """Wait until the book is written again."""
    async with asyncio.timeout(10):
        while not rollouts.describe()["book_is_written"]:  # noqa: ASYNC110 - nobody else waits for it
            await asyncio.sleep(0.01)


async def test_what_is_written_is_known_after_a_restart(rollouts: Rollouts, disk: Disk) -> None:
    """Entries and the clock go on."""
    assert await rollouts.write({"wine": OFF})
    again = Rollouts(disk)
    assert (again.entries, again.warning) == ({"wine": OFF}, "")
    assert again.clock == rollouts.clock
    again.close()


async def test_a_restart_remembers_what_the_file_dropped(rollouts: Rollouts, disk: Disk) -> None:
    """Dropped, restarted, and brought back by the file: the canary that was rolled back stays off."""
    rollouts.adopt({"wine": OFF}, SETTINGS)
    assert await rollouts.write({})
    again = Rollouts(disk)
    assert again.entries == {}
    matched = again.match(SETTINGS)
    assert matched.entries["wine"].state.phase is Phase.ROLLED_BACK
    assert matched.entries["wine"].state.rollout == OFF.state.rollout
    again.adopt(matched.entries, SETTINGS)
    assert again.ended == ()
    again.close()


async def test_without_a_rollout_there_is_no_book(rollouts: Rollouts, disk: Disk) -> None:
    """Who has no rollouts gets no file, and no failure on a full disk."""
    disk.is_full = True
    assert await rollouts.write({})
    assert not disk.exists()
    disk.is_full = False
    await rollouts.write({"wine": RAMPING})
    assert await rollouts.write({})
    assert Rollouts(disk).entries == {}


async def test_a_full_disk_is_counted_and_tried_again(rollouts: Rollouts, disk: Disk) -> None:
    """The book is what is in memory as soon as the disk takes it."""
    await rollouts.write({"wine": RAMPING})
    disk.is_full = True
    assert not await rollouts.write({"wine": OFF})
    assert rollouts.failures == 1
    assert disk.read().content.entries == {"wine": RAMPING}
    rollouts.adopt({"wine": OFF}, SETTINGS)
    disk.is_full = False
    await until_written(rollouts)
    assert disk.read().content.entries == {"wine": OFF}


async def test_what_fell_does_not_come_back(rollouts: Rollouts, disk: Disk) -> None:
    """Where the disk takes no new book when a canary is taken off, a restart does not believe the old one."""
    await rollouts.write({"wine": RAMPING})
    disk.is_full = True
    assert not await rollouts.write({"wine": OFF}, falls=True)
    rollouts.adopt({"wine": OFF}, SETTINGS)
    restarted = Rollouts(disk)
    state = restarted.match(SETTINGS).entries["wine"].state
    assert (state.phase, bool(restarted.warning)) == (Phase.ROLLED_BACK, True)
    restarted.close()
    disk.is_full = False
    await until_written(rollouts)
    assert Rollouts(disk).entries == {"wine": OFF}


async def test_a_disk_on_which_nothing_can_be_done(
    rollouts: Rollouts, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    """The fall is not held up, and the log says what a restart would do."""
    await rollouts.write({"wine": RAMPING})
    disk.is_read_only = True
    assert not await rollouts.write({"wine": OFF}, falls=True)
    assert "a canary that was taken off comes back" in caplog.text


async def test_a_disk_that_hangs(rollouts: Rollouts, disk: Disk) -> None:
    """Nobody waits for it for long; what it writes late is what is wanted last."""
    await rollouts.write({"wine": RAMPING})
    disk.gate.clear()
    further = Entry(replace(RAMPING.state, step=1, sequence=2), RAMPING.plan)
    assert not await rollouts.write({"wine": further})
    assert not await rollouts.write({"wine": OFF}, falls=True)
    rollouts.adopt({"wine": OFF}, SETTINGS)
    assert disk.read().content.entries == {"wine": RAMPING}
    disk.gate.set()
    await until_written(rollouts)
    assert (disk.read().content.entries, disk.read().warning) == ({"wine": OFF}, "")


async def test_counts_go_on_in_an_upgrade_alone(rollouts: Rollouts, disk: Disk) -> None:
    """They begin at 0 with the proxy, like every other counter, and not with a new program."""
    rollouts.adopt({"wine": RAMPING}, SETTINGS)
    for verdict in ("ramp", "hold", "hold"):
        rollouts.count("wine", verdict)
    rollouts.stale = 4
    assert await rollouts.flush()
    assert Rollouts(disk, counts_go_on=True).describe()["decisions"] == {"wine": {"ramp": 1, "hold": 2}}
    assert (Rollouts(disk, counts_go_on=True).stale, Rollouts(disk).stale) == (4, 0)
    assert Rollouts(disk).describe()["decisions"] == {}


async def test_labels_are_routes_of_the_file(rollouts: Rollouts) -> None:
    """A route that is gone is counted no more, so that names do not pile up."""
    rollouts.count("wine", "ramp")
    rollouts.count("gone", "ramp")
    rollouts.adopt({}, SETTINGS)
    assert rollouts.totals() == {"wine": {"ramp": 1}}


async def test_what_was_unknown_is_so_only_once(rollouts: Rollouts, disk: Disk) -> None:
    """After the first publish a rollout that comes later is new, and begins."""
    disk.path.parent.mkdir()
    disk.path.write_bytes(b"junk")
    damaged = Rollouts(disk)
    assert len(damaged.match(SETTINGS).alarms) == 2
    damaged.adopt({}, SETTINGS)
    assert damaged.match(SETTINGS).alarms == ()
    damaged.close()


def test_ids() -> None:
    """An id is 16 hex digits, and no two are the same."""
    ids = {fresh_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(each) == 16 and int(each, 16) >= 0 for each in ids)
