"""Rolling files: names, modes, sizes, ages, budgets; every line in them is whole, whatever the disk does."""

import errno
import os
import stat
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.sinks import retention
from proxy.sinks.locks import hold
from proxy.sinks.retention import AgeClock
from proxy.sinks.rolling import FileLimits, RollingFile

HOUR_NS = 3_600_000_000_000
NOW_NS = 1_760_000_000_000_000_000


def limits_of(directory: Path, roll_size: int = 1000, keep_size: int = 10_000) -> FileLimits:
    return FileLimits(directory, roll_size, HOUR_NS, keep_size)


def line_of(number: int, size: int = 20) -> bytes:
    return b'{"n":%d,"pad":"%b"}\n' % (number, b"x" * max(0, size - 17))


def files_in(directory: Path) -> list[Path]:
    return sorted(directory.glob("payloads-*.jsonl"))


def numbers_in(directory: Path) -> list[int]:
    return [
        orjson.loads(line)["n"] for path in files_in(directory) for line in path.read_bytes().splitlines()
    ]


class Disk:
    """A disk with room for so many bytes; writes what fits, then refuses."""

    def __init__(self, room: int, code: int = errno.ENOSPC) -> None:
        self.room = room
        self.code = code

    def write(self, fd: int, data: bytes | memoryview) -> int:
        if self.room <= 0:
            raise OSError(self.code, os.strerror(self.code))
        count = os.write(fd, data[: self.room])
        self.room -= count
        return count


def test_name_and_modes(tmp_path: Path) -> None:
    """The file is named by UTC time and number, 0600, in a directory that is made 0700 with the first line."""
    directory = tmp_path / "a" / "b"
    file = RollingFile(limits_of(directory))
    assert not directory.exists()
    assert file.append([line_of(1)], NOW_NS) == (1, None)
    (path,) = files_in(directory)
    assert path.name == "payloads-20251009T085320-000.jsonl"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == stat.S_IMODE(directory.parent.stat().st_mode) == 0o700
    assert file.path == path


def test_an_existing_file_is_never_touched(tmp_path: Path) -> None:
    """Two processes that start within a second write two files."""
    first, second = RollingFile(limits_of(tmp_path)), RollingFile(limits_of(tmp_path))
    first.append([line_of(1)], NOW_NS)
    second.append([line_of(2)], NOW_NS)
    first.append([line_of(3)], NOW_NS)
    assert [path.name[-9:] for path in files_in(tmp_path)] == ["000.jsonl", "001.jsonl"]
    assert numbers_in(tmp_path) == [1, 3, 2]


def test_rolls_by_size(tmp_path: Path) -> None:
    """A file never grows beyond ``roll_size``, but for a single line that is longer."""
    file = RollingFile(limits_of(tmp_path, roll_size=100))
    lines = [line_of(number, 40) for number in range(5)] + [line_of(5, 300), line_of(6, 40)]
    assert file.append(lines, NOW_NS) == (7, None)
    assert [path.stat().st_size for path in files_in(tmp_path)] == [80, 80, 40, 300, 40]
    assert numbers_in(tmp_path) == list(range(7))


def test_rolls_by_age(tmp_path: Path) -> None:
    """A file as old as ``roll_every`` is closed, by the next line or by looking."""
    file = RollingFile(limits_of(tmp_path))
    file.append([line_of(1)], NOW_NS)
    file.append([line_of(2)], NOW_NS + HOUR_NS - 1)
    assert len(files_in(tmp_path)) == 1
    file.append([line_of(3)], NOW_NS + HOUR_NS)
    assert len(files_in(tmp_path)) == 2
    file.roll(NOW_NS + 2 * HOUR_NS)
    assert file.path is None


def test_keeps_the_budget(tmp_path: Path) -> None:
    """All files together stay within ``keep_size``; the oldest are deleted; other files are left alone."""
    (tmp_path / "notes.jsonl").write_text("mine")
    file = RollingFile(limits_of(tmp_path, roll_size=100, keep_size=350))
    for number in range(20):
        file.append([line_of(number, 60)], NOW_NS + number)
        assert sum(path.stat().st_size for path in files_in(tmp_path)) <= 350
    assert numbers_in(tmp_path) == [15, 16, 17, 18, 19]
    assert (tmp_path / "notes.jsonl").exists()


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    """What did not fit is cut off to the last whole line, and the file goes on when there is room."""
    disk = Disk(50)
    file = RollingFile(limits_of(tmp_path), disk.write)
    count, error = file.append([line_of(number) for number in range(4)], NOW_NS)
    assert (count, error is not None and error.errno) == (2, errno.ENOSPC)
    assert numbers_in(tmp_path) == [0, 1]
    assert file.append([line_of(4)], NOW_NS)[0] == 0
    disk.room = 1000
    assert file.append([line_of(5)], NOW_NS) == (1, None)
    assert numbers_in(tmp_path) == [0, 1, 5]
    assert len(files_in(tmp_path)) == 1


def test_another_error_begins_a_new_file(tmp_path: Path) -> None:
    """After an input/output error the file is left, whole lines only, and a fresh one is begun."""
    disk = Disk(30, errno.EIO)
    file = RollingFile(limits_of(tmp_path), disk.write)
    assert file.append([line_of(0), line_of(1)], NOW_NS)[0] == 1
    disk.room = 1000
    assert file.append([line_of(2)], NOW_NS) == (1, None)
    assert len(files_in(tmp_path)) == 2
    assert numbers_in(tmp_path) == [0, 2]


def test_a_full_disk_makes_no_empty_files(tmp_path: Path) -> None:
    """However often a write fails, at most one file is there, and none is left empty."""
    disk = Disk(0, errno.EIO)
    file = RollingFile(limits_of(tmp_path), disk.write)
    for _ in range(5):
        assert file.append([line_of(0)], NOW_NS)[0] == 0
    assert files_in(tmp_path) == []


def test_a_vanished_directory_is_made_again(tmp_path: Path) -> None:
    """When directory and file are deleted, the next line goes into new ones."""
    directory = tmp_path / "payloads"
    file = RollingFile(limits_of(directory))
    file.append([line_of(1)], NOW_NS)
    for path in files_in(directory):
        path.unlink()
    directory.rmdir()
    assert file.append([line_of(2)], NOW_NS) == (1, None)
    assert numbers_in(directory) == [2]


def test_a_path_that_cannot_be_made(tmp_path: Path) -> None:
    """Where a directory cannot be, nothing is written and the error says so."""
    (tmp_path / "taken").write_text("a file")
    file = RollingFile(limits_of(tmp_path / "taken"))
    count, error = file.append([line_of(1)], NOW_NS)
    assert count == 0
    assert isinstance(error, OSError)


@pytest.mark.slow
def test_a_real_limit_on_file_size(tmp_path: Path) -> None:
    """A write that the kernel cuts in the middle of a line leaves whole lines only."""
    import subprocess
    import sys

    script = f"""
import resource, sys
from pathlib import Path
from proxy.sinks.locks import hold
from proxy.sinks.rolling import FileLimits, RollingFile
resource.setrlimit(resource.RLIMIT_FSIZE, (130, 130))
file = RollingFile(FileLimits(Path({str(tmp_path)!r}), 1000, 10**18, 10**6))
lines = [b'{{"n":%d,"pad":"xxxxxxxxx"}}\\n' % n for n in range(9)]
done = 0
while done < 9:
    count, error = file.append(lines[done:], {NOW_NS} + done * 10**9)
    assert count and (error is None) == (done + count == 9), (count, error)
    done += count
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    assert numbers_in(tmp_path) == list(range(9))
    assert len(files_in(tmp_path)) > 1


@given(
    st.lists(st.tuples(st.integers(20, 60), st.integers(0, 80)), min_size=1, max_size=30),
    st.sampled_from([errno.ENOSPC, errno.EIO, errno.EDQUOT]),
)
def test_every_line_is_whole(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int]], code: int
) -> None:
    """Whatever fits when, the files hold exactly the lines that were said to be written, whole and in order."""
    directory = tmp_path_factory.mktemp("payloads")
    disk = Disk(0, code)
    file = RollingFile(limits_of(directory, roll_size=150, keep_size=1 << 20), disk.write)
    written: list[int] = []
    for number, (size, room) in enumerate(steps):
        disk.room = room
        lines = [line_of(3 * number + i, size) for i in range(3)]
        count, error = file.append(lines, NOW_NS + number * 1_000_000_000)
        assert (count == 3) == (error is None)
        written += [3 * number + i for i in range(count)]
    file.close()
    assert numbers_in(directory) == written


def test_a_file_that_vanishes_while_it_is_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process prunes the same directory: what it has removed costs no record."""
    first = RollingFile(limits_of(tmp_path, roll_size=100, keep_size=350))
    first.append([line_of(1, 90)], NOW_NS)
    first.close()
    glob = Path.glob

    def glob_then_remove(self: Path, pattern: str) -> list[Path]:
        found = list(glob(self, pattern))
        for path in found:
            path.unlink()
        return found

    second = RollingFile(limits_of(tmp_path, roll_size=100, keep_size=350))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "glob", glob_then_remove)
        assert second.append([line_of(2)], NOW_NS) == (1, None)
    second.close()
    assert numbers_in(tmp_path) == [2]


HALF_LINES = {
    "half a line": (b'{"n":1}\n{"n":', b'{"n":1}\n'),
    "only half a line": (b'{"n":', b""),
    "long half a line": (b'{"n":1}\n' + b"x" * 200_000, b'{"n":1}\n'),
    "whole": (b'{"n":1}\n{"n":2}\n', b'{"n":1}\n{"n":2}\n'),
    "empty": (b"", b""),
}


@pytest.mark.parametrize(("left", "mended"), HALF_LINES.values(), ids=HALF_LINES.keys())
def test_half_a_line_of_a_killed_process_is_cut_off(tmp_path: Path, left: bytes, mended: bytes) -> None:
    """Before the first file is begun, the one written last is cut to whole lines, whatever its name; others are not."""
    older, newest = (
        tmp_path / "payloads-20990101T000000-000.jsonl",
        tmp_path / "payloads-20210101T000000-000.jsonl",
    )
    older.write_bytes(b"half")
    os.utime(older, (1e9, 1e9))
    newest.write_bytes(left)
    RollingFile(limits_of(tmp_path)).append([line_of(1)], NOW_NS)
    assert (older.read_bytes(), newest.read_bytes()) == (b"half", mended)


def test_a_file_of_another_name_is_left_alone(tmp_path: Path) -> None:
    """What somebody else keeps in the directory is neither cut to whole lines nor deleted for its size."""
    theirs = tmp_path / "payloads-export.jsonl"
    theirs.write_bytes(b"their last line has no end" * 100)
    file = RollingFile(limits_of(tmp_path, roll_size=100, keep_size=200))
    assert file.append([line_of(1)], NOW_NS) == (1, None)
    assert len(theirs.read_bytes()) == 2600


def test_a_clock_that_is_set_back(tmp_path: Path) -> None:
    """A file is not kept open until the clock gets to where it was begun."""
    file = RollingFile(limits_of(tmp_path))
    file.append([line_of(1)], NOW_NS)
    file.append([line_of(2)], NOW_NS - 2 * HOUR_NS)
    file.append([line_of(3)], NOW_NS - HOUR_NS)
    file.close()
    assert len(list(tmp_path.iterdir())) == 3
    assert sorted(numbers_in(tmp_path)) == [1, 2, 3]


def test_the_open_file_stays_where_there_are_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems have none: who writes knows all the same what he is writing."""
    monkeypatch.setattr(retention, "is_held", lambda _path: False)
    limits = replace(
        limits_of(tmp_path, roll_size=100, keep_size=100), keep_age_ns=HOUR_NS, roll_every_ns=9 * HOUR_NS
    )
    file = RollingFile(limits, age_clock=AgeClock(lambda: 0 if file.path is None else 3 * HOUR_NS))
    file.append([line_of(1, 90)], NOW_NS)
    file.prune(NOW_NS + 3 * HOUR_NS)
    assert numbers_in(tmp_path) == [1]
    file.close()


def test_what_another_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    """The file of a process that lives may end with half a line for a moment; it is neither cut nor deleted."""
    newest = tmp_path / "payloads-20210101T000000-000.jsonl"
    newest.write_bytes(b'{"n":')
    fd = os.open(newest, os.O_WRONLY)
    hold(fd)
    RollingFile(limits_of(tmp_path, roll_size=100, keep_size=100)).append([line_of(1)], NOW_NS)
    assert newest.read_bytes() == b'{"n":'
    os.close(fd)
