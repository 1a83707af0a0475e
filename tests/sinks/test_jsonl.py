"""Files of JSON lines: a full disk loses what it refuses and no more; frames are whole."""

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from proxy.sinks.jsonl import JsonlWriter
from proxy.sinks.retention import AgeClock, stamp_of
from proxy.sinks.rolling import FileLimits, RollingFile
from proxy.sinks.sink import Entry, Result

NOW_NS = 1_760_000_000_000_000_000
HOUR_NS = 3_600_000_000_000


class Disk:
    """A disk that can be full, and a clock."""

    def __init__(self) -> None:
        self.error = 0
        self.now_ns = NOW_NS

    def write(self, fd: int, data: bytes | memoryview) -> int:
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        return os.write(fd, data)


def limits_of(directory: Path, **changes: Any) -> FileLimits:
    plain: dict[str, Any] = {"roll_size": 1 << 20, "roll_every_ns": HOUR_NS, "keep_size": 1 << 30}
    return FileLimits(directory, **plain | changes)


def writer_of(disk: Disk, limits: FileLimits, **options: bool) -> JsonlWriter:
    return JsonlWriter(
        limits,
        make_file=lambda each: RollingFile(each, disk.write, AgeClock(lambda: disk.now_ns)),
        clock_ns=lambda: disk.now_ns,
        **options,
    )


def entries(*numbers: int) -> list[Entry]:
    return [Entry(b'{"n":%d}\n' % number, (0, 1, number)) for number in numbers]


def decompressed(path: Path) -> bytes:
    return zstd.decompress(path.read_bytes())


def test_lines(tmp_path: Path) -> None:
    """Records are appended as they are."""
    writer = writer_of(Disk(), limits_of(tmp_path))
    assert writer.write(entries(1, 2)) == Result([(0, 1, 1), (0, 1, 2)], [])
    assert writer.write(entries(3)) == Result([(0, 1, 3)], [])
    writer.close()
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() == b'{"n":1}\n{"n":2}\n{"n":3}\n'


def test_frames(tmp_path: Path) -> None:
    """With compression each batch is a frame of its own, and the file can be read while it is written."""
    writer = writer_of(Disk(), limits_of(tmp_path, suffix=".jsonl.zst"), is_compressed=True)
    writer.write(entries(*range(1000)))
    (path,) = tmp_path.iterdir()
    assert path.name == "payloads-20251009T085320-000.jsonl.zst"
    assert path.stat().st_size < 4000
    first = path.stat().st_size
    writer.write(entries(1000))
    assert decompressed(path) == b"".join(entry.line for entry in entries(*range(1001)))
    info = zstd.get_frame_info(path.read_bytes()[first:])
    assert info.decompressed_size == len(entries(1000)[0].line)
    writer.close()


def test_a_torn_frame_is_the_last(tmp_path: Path) -> None:
    """Of a file that was cut in the middle of its last frame, as a kill may leave it, all frames before can be read."""
    writer = writer_of(Disk(), limits_of(tmp_path, suffix=".jsonl.zst"), is_compressed=True)
    writer.write(entries(1))
    writer.write(entries(2))
    (path,) = tmp_path.iterdir()
    torn = path.read_bytes()[:-3]
    first = zstd.ZstdDecompressor()
    assert first.decompress(torn) == entries(1)[0].line
    second = zstd.ZstdDecompressor()
    second.decompress(first.unused_data)
    assert not second.eof
    writer.close()


@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_full_disk(tmp_path: Path, is_compressed: bool) -> None:
    """What the disk refuses has failed at once; when there is room, writing goes on in the same file."""
    disk = Disk()
    suffix = ".jsonl.zst" if is_compressed else ".jsonl"
    writer = writer_of(disk, limits_of(tmp_path, suffix=suffix), is_compressed=is_compressed)
    writer.write(entries(1))
    disk.error = errno.ENOSPC
    refused = writer.write(entries(2, 3))
    assert refused.failed == [(0, 1, 2), (0, 1, 3)]
    assert "No space left" in refused.problem
    assert not refused.again
    disk.error = 0
    assert writer.write(entries(4)).written == [(0, 1, 4)]
    (path,) = tmp_path.iterdir()
    expected = b"".join(entry.line for entry in entries(1, 4))
    assert (decompressed(path) if is_compressed else path.read_bytes()) == expected
    writer.close()


def test_new_limits_take_effect_with_the_next_write(tmp_path: Path) -> None:
    """After a reload the next records go where the new limits say."""
    writer = writer_of(Disk(), limits_of(tmp_path / "one"))
    writer.write(entries(1))
    writer.limits = limits_of(tmp_path / "two")
    writer.write(entries(2))
    writer.close()
    assert [next((tmp_path / name).iterdir()).read_bytes() for name in ("one", "two")] == [
        b'{"n":1}\n',
        b'{"n":2}\n',
    ]


def test_age(tmp_path: Path) -> None:
    """Idle or not, files that were begun longer ago than ``keep_age`` go, by their names; the open one stays."""
    disk = Disk()
    writer = writer_of(disk, limits_of(tmp_path, keep_age_ns=24 * HOUR_NS))
    for hours in (50, 25, 23):
        name = f"payloads-{stamp_of(NOW_NS - hours * HOUR_NS)}-000.jsonl"
        (tmp_path / name).write_bytes(b"{}\n")
        os.utime(tmp_path / name, ns=(0, NOW_NS))
    writer.tick()
    assert len(list(tmp_path.iterdir())) == 1
    writer.write(entries(1))
    disk.now_ns += 2 * HOUR_NS
    writer.tick()
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() == b'{"n":1}\n'
    writer.close()


def test_a_clock_that_was_wrong_before_the_first_file(tmp_path: Path) -> None:
    """A process that begins years ahead deletes nothing for an hour, whatever else is changed meanwhile."""
    disk = Disk()
    old = tmp_path / f"payloads-{stamp_of(NOW_NS - HOUR_NS)}-000.jsonl"
    old.write_bytes(b"{}\n")
    os.utime(old, ns=(0, NOW_NS))
    wrong_ns = 10 * 365 * 24 * HOUR_NS
    steady_ns = 0
    limits = limits_of(tmp_path, keep_age_ns=24 * HOUR_NS)
    disk.now_ns = NOW_NS + wrong_ns
    writer = JsonlWriter(
        limits,
        make_file=lambda each: RollingFile(each, disk.write, AgeClock(lambda: steady_ns)),
        clock_ns=lambda: disk.now_ns,
    )
    writer.write(entries(1))
    writer.limits = replace(limits, roll_size=1 << 19)
    for minutes in range(0, 60, 20):
        steady_ns = minutes * HOUR_NS // 60
        disk.now_ns = NOW_NS + wrong_ns + steady_ns
        writer.tick()
    assert old.exists()
    steady_ns = HOUR_NS
    disk.now_ns = NOW_NS + wrong_ns + steady_ns
    writer.tick()
    assert not old.exists()
    writer.close()


def test_without_a_directory_a_tick_does_nothing(tmp_path: Path) -> None:
    """Before the first record there is nothing to delete, and nothing is made."""
    writer = writer_of(Disk(), limits_of(tmp_path / "none", keep_age_ns=HOUR_NS))
    assert writer.tick() == Result()
    assert not (tmp_path / "none").exists()
