"""The file watch: every content that stays is seen, however the file was changed."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.control.watch import FileWatch, read_file
from proxy.tasks import spawn

PATIENCE_S = 20.0


class Seen:
    """What the watch handed over, to be waited for."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | str] = asyncio.Queue()

    async def __call__(self, content: bytes | str) -> None:
        await self.queue.put(content)

    async def next(self) -> bytes | str:
        """Wait for the next content."""
        return await asyncio.wait_for(self.queue.get(), PATIENCE_S)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that says ``one``."""
    path = tmp_path / "config.yaml"
    path.write_bytes(b"one")
    return path


@asynccontextmanager
async def watching(path: Path, *, look_every_s: float) -> AsyncIterator[Seen]:
    """Watch ``path``."""
    seen = Seen()
    watch = FileWatch(path, read_bytes(path), seen, look_every_s=look_every_s, settle_s=0.002)
    task = spawn(watch.run(), name="watch under test")
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.wait((task,))


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file that is there."""
    content = read_file(path)
    assert isinstance(content, bytes)
    return content


def write(path: Path, *pieces: bytes) -> None:
    """Write the file in place, piece by piece."""
    with path.open("wb", buffering=0) as file:
        for piece in pieces:
            file.write(piece)


def remove(path: Path) -> None:
    """Remove the file."""
    path.unlink()


def put_in_place(path: Path, content: bytes) -> None:
    """Replace the file as an editor does: write beside it, rename over it."""
    fresh = path.with_name(".config.yaml.swp")
    fresh.write_bytes(content)
    fresh.replace(path)


async def test_a_rename_over_the_file_is_seen(path: Path) -> None:
    """An editor's atomic rename is one change."""
    async with watching(path, look_every_s=0.01) as seen:
        put_in_place(path, b"two")
        assert await seen.next() == b"two"
        assert seen.queue.empty()


async def test_writing_in_place_is_seen_whole(path: Path) -> None:
    """A file that is written piece by piece is handed over once it stands still."""
    async with watching(path, look_every_s=0.01) as seen:
        write(path, *[b"piece "] * 20)
        assert (await seen.next()) == b"piece " * 20


async def test_a_swapped_link_is_seen(tmp_path: Path) -> None:
    """A ConfigMap volume changes a link beside the file's link, never the file."""
    for name, content in (("..a", b"one"), ("..b", b"two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_bytes(content)
    (tmp_path / "..data").symlink_to("..a")
    path = tmp_path / "config.yaml"
    path.symlink_to("..data/config.yaml")
    async with watching(path, look_every_s=0.01) as seen:
        (tmp_path / "..data_tmp").symlink_to("..b")
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")
        assert await seen.next() == b"two"


async def test_a_vanished_file_is_told_once_and_its_return_too(path: Path) -> None:
    """Removing the file is a sentence; the same content again afterwards is a change."""
    async with watching(path, look_every_s=0.01) as seen:
        remove(path)
        gone = await seen.next()
        assert isinstance(gone, str)
        assert "No such file" in gone
        put_in_place(path, b"one")
        assert await seen.next() == b"one"
        assert seen.queue.empty()


async def test_touching_the_file_is_no_change(path: Path) -> None:
    """New times and other files in the directory are not told."""
    seen = Seen()
    watch = FileWatch(path, b"one", seen, settle_s=0)
    os.utime(path, (1, 1))
    path.with_name("other.yaml").write_text("x")
    assert not await watch.look()
    put_in_place(path, b"one")
    assert not await watch.look()
    write(path, b"two")
    assert await watch.look()
    assert not await watch.look()
    assert await seen.next() == b"two"


async def test_a_change_that_is_taken_back_while_it_settles_is_no_change(path: Path) -> None:
    """What reads as before once it stands still is not told."""
    watch = FileWatch(path, b"one", Seen(), settle_s=0.001)
    write(path)
    looking = spawn(watch.look(), name="look")
    await asyncio.sleep(0)
    write(path, b"one")
    assert not await looking


@pytest.mark.slow
async def test_notices_come_without_a_look(path: Path) -> None:
    """With the looks an hour apart a change is seen all the same."""
    async with watching(path, look_every_s=3600) as seen:
        for attempt in range(1000):
            put_in_place(path, b"two %d" % attempt)
            try:
                # The first writes may come before the notices are on.
                content = await asyncio.wait_for(seen.queue.get(), 0.3)
            except TimeoutError:
                continue
            assert isinstance(content, bytes)
            assert content.startswith(b"two")
            return


async def test_without_notices_the_looks_remain(tmp_path: Path) -> None:
    """A directory that cannot be watched is looked at."""
    path = tmp_path / "gone" / "config.yaml"
    seen = Seen()
    watch = FileWatch(path, b"one", seen, look_every_s=0.01, settle_s=0.001)
    task = spawn(watch.run(), name="watch under test")
    assert isinstance(await seen.next(), str)
    path.parent.mkdir()
    path.write_bytes(b"two")
    assert await seen.next() == b"two"
    task.cancel()
    await asyncio.wait((task,))


def test_an_unreadable_file_is_a_sentence(tmp_path: Path) -> None:
    """The sentence names the file and the reason."""
    sentence = read_file(tmp_path)
    assert isinstance(sentence, str)
    assert str(tmp_path) in sentence
    assert "directory" in sentence


def test_a_file_without_an_end_is_a_sentence() -> None:
    """No more is read than any configuration can have."""
    assert read_file(Path("/dev/zero")) == (
        "/dev/zero: cannot read the configuration file: larger than 4194304 bytes"
    )
