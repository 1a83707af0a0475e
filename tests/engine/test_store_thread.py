"""The thread that owns the evidence file: order, refusals, pauses, and a file that goes bad while it is open."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.engine.store import FILE_NAME, Batch, Store, StoreError, open_store
from proxy.engine.store_thread import MAX_WAITING, StoreThread

WAIT_S = 20.0


@pytest.fixture
async def thread(tmp_path: Path) -> AsyncIterator[StoreThread]:
    thread = StoreThread(tmp_path)
    yield thread
    await thread.close(WAIT_S)


def files(directory: Path) -> list[Path]:
    return list(directory.iterdir())


def note(engine_ns: int) -> Batch:
    return Batch("r1", "wine", "v3", engine_ns)


async def test_in_order(thread: StoreThread) -> None:
    """What is asked for is done in order, and the results come back."""
    writing = thread.submit(lambda store: store.write([note(5)]))
    assert await thread.call(Store.engine_ns, WAIT_S) == 5
    assert writing.done()
    assert (thread.failures, thread.problem, thread.generation) == (0, "", 1)


async def test_the_loop_goes_on(thread: StoreThread) -> None:
    """While the disk is slow the loop runs, a patience is kept, and what was asked for is done later."""
    release, done = threading.Event(), threading.Event()

    def wait(_: Store) -> None:
        release.wait(WAIT_S)
        done.set()

    with pytest.raises(StoreError, match=r"longer than 0\.01 s"):
        await thread.call(wait, 0.01)
    release.set()
    assert await thread.call(Store.engine_ns, WAIT_S) == 0
    assert done.is_set()


async def test_bounded(thread: StoreThread) -> None:
    """More than may wait is refused at once, and counted."""
    release = threading.Event()
    jobs = [thread.submit(lambda _: release.wait(WAIT_S)) for _ in range(MAX_WAITING)]
    with pytest.raises(StoreError, match="too slow"):
        await thread.submit(Store.engine_ns)
    assert thread.failures == 1
    release.set()
    await asyncio.gather(*jobs)
    assert await thread.submit(Store.engine_ns) == 0


async def test_errors_reach_who_asked(thread: StoreThread, caplog: pytest.LogCaptureFixture) -> None:
    """An error of the disk is a StoreError, counted and logged once; the next thing that is written ends it."""

    def fail(_: Store) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    for _ in range(3):
        with pytest.raises(StoreError, match="disk is full"):
            await thread.call(fail, WAIT_S)
    assert (thread.failures, caplog.text.count("disk is full")) == (3, 1)
    assert "disk is full" in thread.problem
    await thread.call(Store.engine_ns, WAIT_S)
    assert "disk is full" in thread.problem, "a full disk can still be read"
    await thread.call(lambda store: store.write([note(5)]), WAIT_S)
    assert thread.problem == ""


async def test_a_place_that_cannot_be(tmp_path: Path) -> None:
    """What cannot be opened is not tried for every request."""
    opened: list[Path] = []

    def open_(directory: Path, wall_ns: int) -> Store:
        opened.append(directory)
        return open_store(directory, wall_ns)

    (tmp_path / "file").write_text("")
    thread = StoreThread(tmp_path / "file" / "below", open_)
    for _ in range(5):
        with pytest.raises(StoreError, match="cannot keep evidence"):
            await thread.call(Store.engine_ns, WAIT_S)
    assert len(opened) == 1
    await thread.close(WAIT_S)


async def test_a_file_that_goes_bad(
    thread: StoreThread, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file found damaged while it is open is moved aside; the next request finds a new one, and a new generation."""
    await thread.call(lambda store: store.write([note(5)]), WAIT_S)

    def find_damage(store: Store) -> None:
        store.close()
        store.path.write_bytes(b"not a database" * 1000)
        for suffix in ("-wal", "-shm"):
            store.path.with_name(store.path.name + suffix).unlink(missing_ok=True)
        sqlite3.connect(store.path).execute("SELECT * FROM sqlite_master")

    with pytest.raises(StoreError, match="not a database"):
        await thread.call(find_damage, WAIT_S)
    assert await thread.call(Store.engine_ns, WAIT_S) == 0
    assert thread.generation == 2
    assert any("damaged" in path.name for path in files(tmp_path))
    assert "evidence begins anew" in caplog.text


async def test_a_file_that_was_deleted(thread: StoreThread, tmp_path: Path) -> None:
    """A file that somebody deletes is made again."""
    await thread.call(lambda store: store.write([note(5)]), WAIT_S)
    for path in files(tmp_path):
        path.unlink()
    assert await thread.call(Store.engine_ns, WAIT_S) == 0
    assert thread.generation == 2
    assert (tmp_path / FILE_NAME).exists()


async def test_the_end(tmp_path: Path) -> None:
    """What waits is done before the end, which does not wait for ever; afterwards nothing is taken."""
    thread = StoreThread(tmp_path)
    thread.submit(lambda store: store.write([note(5)]))
    assert await thread.close(WAIT_S)
    assert open_store(tmp_path, 0).engine_ns() == 5
    with pytest.raises(StoreError, match="closed"):
        await thread.submit(Store.engine_ns)
    assert (thread.failures, thread.problem) == (0, ""), "nobody expected more of it"
    slow, release = StoreThread(tmp_path), threading.Event()
    slow.submit(lambda _: release.wait(WAIT_S))
    assert not await slow.close(0.01)
    release.set()
    assert await StoreThread(tmp_path).close(0.01)
