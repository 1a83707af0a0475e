"""Files of lines: found, undone, cut; whatever they hold."""

import gzip
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.records.files import LineFile, LogError, find_files
from tests.compare.bodies import zstd


def write(path: Path, data: bytes) -> LineFile:
    path.write_bytes(data)
    return LineFile(path)


def lines_of(file: LineFile) -> list[bytes]:
    return [line for _, line in file.lines()]


def test_whole_lines_only(tmp_path: Path) -> None:
    """What follows the last line break is being written: it is no line yet, and nothing is broken."""
    file = write(tmp_path / "a.jsonl", b"one\n\ntwo\nthr")
    assert list(file.lines()) == [(1, b"one"), (2, b""), (3, b"two")]
    assert (file.is_unfinished, file.problem, file.read_bytes) == (True, None, 12)
    file = write(tmp_path / "b.jsonl", b"one\n")
    assert (lines_of(file), file.is_unfinished) == ([b"one"], False)
    file = write(tmp_path / "c.jsonl", b"")
    assert (lines_of(file), file.is_unfinished) == ([], False)


def test_lines_longer_than_a_piece(tmp_path: Path) -> None:
    """A line may be longer than what is read at once, and end anywhere in it."""
    lines = [b"a" * (3 << 20), b"b", b"c" * ((1 << 20) - 3), b"d" * (1 << 20), b""]
    file = write(tmp_path / "a.jsonl", b"".join(line + b"\n" for line in lines))
    assert lines_of(file) == lines


@pytest.mark.parametrize("tail", [b"\n", b""])
def test_a_line_that_is_too_long(tmp_path: Path, tail: bytes) -> None:
    """A line over the limit is passed over and named; it is never held."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"one\n" + b"x" * (3 << 20) + b"\ntwo\n" + b"y" * (3 << 20) + tail)
    file = LineFile(path, max_line_bytes=1 << 20)
    assert lines_of(file) == [b"one", b"two"]
    assert (file.overlong, file.is_unfinished) == (([2, 4], False) if tail else ([2], True))


def test_gzip(tmp_path: Path) -> None:
    """Several members are one text; one that is cut gives its whole lines, and is unfinished."""
    data = gzip.compress(b"one\ntw") + gzip.compress(b"o\nthree\n" + b"x" * 5000)
    file = write(tmp_path / "a.jsonl.gz", data)
    assert lines_of(file) == [b"one", b"two", b"three"]
    file = write(tmp_path / "b.jsonl.gz", gzip.compress(b"one\n") + gzip.compress(b"two\n" * 5000)[:-9])
    assert lines_of(file)[:2] == [b"one", b"two"]
    assert (file.is_unfinished, file.problem) == (True, None)


def test_damaged_gzip(tmp_path: Path) -> None:
    """What is before the damage is read, and the damage is told."""
    file = write(tmp_path / "a.jsonl.gz", gzip.compress(b"one\n") + b"not gzip at all")
    assert lines_of(file) == [b"one"]
    assert file.problem == "damaged gzip"


def test_a_gzip_bomb_is_read_piece_by_piece(tmp_path: Path) -> None:
    """A small file that becomes 256 MiB without a line break is passed over, held nowhere."""
    zeros = gzip.compress(b"\0" * (16 << 20))
    file = write(tmp_path / "a.jsonl.gz", zeros * 16 + gzip.compress(b"\none\n"))
    file.max_line_bytes = 1 << 20
    assert (lines_of(file), file.overlong) == ([b"one"], [1])


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A file that is gone by the time it is read has a problem and no lines."""
    file = LineFile(tmp_path / "gone.jsonl")
    assert (lines_of(file), file.problem) == ([], "no such file or directory")


@given(
    st.lists(st.binary(max_size=50).map(lambda b: b.replace(b"\n", b"")), max_size=20), st.binary(max_size=9)
)
def test_lines_come_back(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], tail: bytes) -> None:
    """Any lines that were written, compressed or not, come back as they were."""
    tail = tail.replace(b"\n", b"")
    data = b"".join(line + b"\n" for line in lines) + tail
    folder = tmp_path_factory.mktemp("lines")
    for name, stored in (("a.jsonl", data), ("a.jsonl.gz", gzip.compress(data))):
        file = write(folder / name, stored)
        assert lines_of(file) == lines
        assert file.is_unfinished is bool(tail)
        assert file.read_bytes == len(stored)


def test_finding(tmp_path: Path) -> None:
    """A directory stands for the logs in and below it, a file for itself whatever its name."""
    (tmp_path / "b").mkdir()
    for name in (
        "payloads-2.jsonl",
        "payloads-1.jsonl",
        "b/x.jsonl.gz",
        "b/y.jsonl.zst",
        "notes.txt",
        "c.json",
    ):
        (tmp_path / name).touch()
    found = [str(path.relative_to(tmp_path)) for path in find_files([tmp_path, tmp_path / "notes.txt"])]
    assert found == ["b/x.jsonl.gz", "b/y.jsonl.zst", "payloads-1.jsonl", "payloads-2.jsonl", "notes.txt"]


def test_one_file_by_two_names(tmp_path: Path) -> None:
    """A file that is named twice is read once, where it stands first."""
    path, other = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    for each in (path, other):
        each.touch()
    (tmp_path / "c.jsonl").symlink_to(path)
    assert find_files([other, tmp_path, tmp_path / ".." / tmp_path.name / "a.jsonl"]) == [other, path]


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    """What can be read once is refused where it is named, and left out where it is found: reading it would wait."""
    os.mkfifo(tmp_path / "p.jsonl")
    with pytest.raises(LogError, match="write it to one first"):
        find_files([tmp_path / "p.jsonl"])
    (tmp_path / "a.jsonl").touch()
    assert find_files([tmp_path]) == [tmp_path / "a.jsonl"]


def test_nothing_to_find(tmp_path: Path) -> None:
    """A place that is not there, and one without a log, are refused with what was expected."""
    with pytest.raises(LogError, match="no such file or directory"):
        find_files([tmp_path / "gone"])
    (tmp_path / "notes.txt").touch()
    with pytest.raises(LogError, match=r"no payload log there; expected files that end in \.jsonl"):
        find_files([tmp_path])


def test_zstd(tmp_path: Path) -> None:
    """A frame for each batch, as the log is written: whole frames are read, one that is cut is not there yet."""
    frames = [
        zstd.compress(b"one\ntwo\n"),
        zstd.compress(b"three\n" * 100_000),
        zstd.compress(b"x\n"),
    ]
    file = write(tmp_path / "a.jsonl.zst", b"".join(frames))
    assert lines_of(file) == [b"one", b"two", *[b"three"] * 100_000, b"x"]
    assert (file.is_unfinished, file.problem) == (False, None)
    assert file.read_bytes == (tmp_path / "a.jsonl.zst").stat().st_size
    for cut in (1, 5, len(frames[2]) - 1):
        file = write(tmp_path / "b.jsonl.zst", frames[0] + frames[2][:cut])
        assert lines_of(file) == [b"one", b"two"]
        assert (file.problem, file.is_unfinished) == (None, True)


def test_damaged_zstd(tmp_path: Path) -> None:
    """What is before the damage is read, and the damage is told."""
    file = write(tmp_path / "a.jsonl.zst", zstd.compress(b"one\n") + b"not zstd at all" * 100)
    assert lines_of(file) == [b"one"]
    assert file.problem == "damaged zstd"


def test_a_zstd_bomb_is_read_piece_by_piece(tmp_path: Path) -> None:
    """A frame of a few hundred bytes that becomes 64 MiB comes out a piece at a time."""
    file = write(tmp_path / "a.jsonl.zst", zstd.compress(b"\0" * (64 << 20) + b"\none\n"))
    file.max_line_bytes = 1 << 20
    assert (lines_of(file), file.overlong) == ([b"one"], [1])
    assert max(map(len, LineFile(file.path)._chunks())) <= 1 << 20
