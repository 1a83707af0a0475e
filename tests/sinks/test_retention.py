"""Which files must go."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.sinks.locks import hold
from proxy.sinks.retention import begun_ns, prune, stamp_of, surplus

SECOND_NS = 1_000_000_000
NOW_NS = 1_760_000_000 * SECOND_NS


def name_at(second: int, number: int = 0) -> str:
    return f"payloads-{stamp_of(NOW_NS + second * SECOND_NS)}-{number:03d}.jsonl"


@given(st.integers(0, 4_000_000_000))
def test_names_tell_their_time(second: int) -> None:
    """What a stamp says is the second it was made of."""
    assert begun_ns(f"payloads-{stamp_of(second * SECOND_NS + 5)}-000.jsonl.zst") == second * SECOND_NS


@pytest.mark.parametrize(
    "name", ["payloads-x", "notes.jsonl", "payloads-20259999T000000-000.jsonl", "payloads-", ""]
)
def test_other_names_have_none(name: str) -> None:
    """A name that no writer gave says no time."""
    assert begun_ns(name) is None


CASES: dict[str, tuple[list[int], int, int, list[int]]] = {
    "all fit": ([0, 1, 2], 300, -1, []),
    "the oldest goes": ([0, 1, 2], 299, -1, [0]),
    "as many as must": ([0, 1, 2], 100, -1, [0, 1]),
    "all": ([0, 1, 2], 0, -1, [0, 1, 2]),
    "too old, though there is room": ([0, 1, 2], 1000, 2, [0, 1]),
    "begun at the limit stays": ([0, 1], 1000, 1, [0]),
}


@pytest.mark.parametrize(("seconds", "room", "oldest", "gone"), CASES.values(), ids=CASES.keys())
def test_surplus(seconds: list[int], room: int, oldest: int, gone: list[int]) -> None:
    """The oldest go for want of room, the too old in any case; each file here has 100 bytes."""
    files = [(name_at(second), 100) for second in reversed(seconds)]
    assert surplus(files, room, NOW_NS + oldest * SECOND_NS) == {name_at(second) for second in gone}


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 200)), unique_by=lambda f: f[0]),
    st.integers(0, 2000),
)
def test_what_stays_fits_and_no_more_than_needed_goes(files: list[tuple[int, int]], room: int) -> None:
    """Those that stay fit into the room, and with the newest that went they would not; they are the newest."""
    named = {name_at(second): size for second, size in files}
    gone = surplus(list(named.items()), room, 0)
    stay = named.keys() - gone
    assert sum(named[name] for name in stay) <= room
    if gone:
        assert max(gone) < min(stay, default="q")
        assert sum(named[name] for name in stay) + named[max(gone)] > room


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """Routes have directories of their own, in which files of one moment have one name: each counts, each goes."""
    paths = [tmp_path / route / name_at(second) for route in "abc" for second in (1, 2)]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 10)
    assert prune(paths, 35, 0) == [paths[0], paths[2], paths[4]]
    assert len(prune(paths, 1000, NOW_NS + 3 * SECOND_NS)) == 3


def test_what_others_put_there_stays(tmp_path: Path) -> None:
    """A name that says no time is none of ours, and a directory is no file: they stay and count for nothing."""
    theirs = [tmp_path / "payloads-export.jsonl", tmp_path / "payloads-2026.jsonl", tmp_path / name_at(1)]
    for path in theirs[:2]:
        path.write_bytes(b"x" * 100)
    theirs[2].mkdir()
    ours = tmp_path / name_at(2)
    ours.write_bytes(b"x" * 10)
    assert prune([*theirs, ours], 10, 0) == []
    assert prune([*theirs, ours], 9, 0) == [ours]
    assert all(path.exists() for path in theirs)


def test_prune_leaves_what_is_being_written(tmp_path: Path) -> None:
    """A file that somebody holds stays, also when it is too old."""
    paths = [tmp_path / name_at(second) for second in range(3)]
    for path in paths:
        path.write_bytes(b"x" * 10)
    fd = os.open(paths[0], os.O_WRONLY)
    hold(fd)
    assert prune([*paths, tmp_path / name_at(9)], 0, 0) == paths[1:]
    assert [path.exists() for path in paths] == [True, False, False]
    os.close(fd)
