"""Which files must go."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.sinks.locks import hold
from proxy.sinks.retention import AgeClock, Found, begun_ns, prune, stamp_of, surplus

SECOND_NS = 1_000_000_000
NOW_NS = 1_760_000_000 * SECOND_NS


def name_at(second: int, number: int = 0) -> str:
    return f"payloads-{stamp_of(NOW_NS + second * SECOND_NS)}-{number:03d}.jsonl"


def found(second: int, size: int) -> Found:
    return Found(name_at(second), size, NOW_NS + second * SECOND_NS)


@given(st.integers(0, 4_000_000_000))
def test_names_tell_their_time(second: int) -> None:
    """What a stamp says is the second it was made of."""
    assert begun_ns(f"payloads-{stamp_of(second * SECOND_NS + 5)}-000.jsonl.zst") == second * SECOND_NS


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="other systems cannot change the time zone")
def test_names_say_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the clock on the wall is another one, a name says the same time."""
    monkeypatch.setenv("TZ", "XYZ-9")
    time.tzset()
    try:
        assert stamp_of(NOW_NS) == "20251009T085320"
        assert begun_ns(name_at(0)) == NOW_NS
    finally:
        monkeypatch.undo()
        time.tzset()


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
    files = [found(second, 100) for second in reversed(seconds)]
    assert surplus(files, room, NOW_NS + oldest * SECOND_NS) == {name_at(second) for second in gone}


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 200)), unique_by=lambda f: f[0]),
    st.integers(0, 2000),
)
def test_what_stays_fits_and_no_more_than_needed_goes(files: list[tuple[int, int]], room: int) -> None:
    """Those that stay fit into the room, and with the newest that went they would not; they are the newest."""
    named = {name_at(second): size for second, size in files}
    gone = surplus([found(second, size) for second, size in files], room, 0)
    stay = named.keys() - gone
    assert sum(named[name] for name in stay) <= room
    if gone:
        assert max(gone) < min(stay, default="q")
        assert sum(named[name] for name in stay) + named[max(gone)] > room


def test_files_of_one_second_go_by_their_number() -> None:
    """Whatever their directories are called."""
    files = [Found(f"/{route}/{name_at(0, number)}", 100, NOW_NS) for route, number in (("a", 1), ("b", 0))]
    assert surplus(files, 100, 0) == {files[1].path}


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """Routes have directories of their own, in which files of one moment have one name: each counts, each goes."""
    paths = [tmp_path / route / name_at(second) for route in "abc" for second in (1, 2)]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 10)
    assert prune(paths, 35, NOW_NS) == [paths[0], paths[2], paths[4]]
    assert len(prune(paths, 1000, NOW_NS + 5 * SECOND_NS, 2 * SECOND_NS)) == 3


def test_what_others_put_there_stays(tmp_path: Path) -> None:
    """A name that says no time is none of ours, and a directory is no file: they stay and count for nothing."""
    theirs = [tmp_path / "payloads-export.jsonl", tmp_path / "payloads-2026.jsonl", tmp_path / name_at(1)]
    for path in theirs[:2]:
        path.write_bytes(b"x" * 100)
    theirs[2].mkdir()
    ours = tmp_path / name_at(2)
    ours.write_bytes(b"x" * 10)
    assert prune([*theirs, ours], 10, NOW_NS) == []
    assert prune([*theirs, ours], 9, NOW_NS) == [ours]
    assert all(path.exists() for path in theirs)


def test_prune_leaves_what_is_being_written(tmp_path: Path) -> None:
    """A file that somebody holds stays, also when it is too old."""
    paths = [tmp_path / name_at(second) for second in range(3)]
    for path in paths:
        path.write_bytes(b"x" * 10)
    fd = os.open(paths[0], os.O_WRONLY)
    hold(fd)
    assert prune([*paths, tmp_path / name_at(9)], 0, NOW_NS) == paths[1:]
    assert [path.exists() for path in paths] == [True, False, False]
    os.close(fd)


HOUR = 3600
YEAR = 365 * 24 * HOUR

WRONG: dict[str, tuple[int, int, list[int], list[int]]] = {
    # Seconds after now that the name says, and the time in the file system; when it is there, when it is gone.
    "a name of the future": (10 * YEAR, -HOUR, [0, 22 * HOUR], [24 * HOUR]),
    "a name of 1970": (-1_759_999_999, -HOUR, [0, 22 * HOUR], [24 * HOUR]),
    "both of the future": (10 * YEAR, 10 * YEAR, [0, 23 * HOUR], [25 * HOUR]),
    "both of 1970": (-1_759_999_999, -1_759_999_000, [0, 23 * HOUR], [25 * HOUR]),
    "a copy of an old one": (-25 * HOUR, 0, [], [0]),
    "a clock that is a little ahead": (30, -20 * HOUR, [0, 23 * HOUR], [25 * HOUR]),
}


@pytest.mark.parametrize("name", WRONG)
def test_files_of_a_clock_that_was_wrong(name: str, tmp_path: Path) -> None:
    """Kept for as long as others, a day here, from their last write or from when they were found."""
    named, written, there, gone = WRONG[name]
    path = tmp_path / name_at(named)
    path.write_bytes(b"x")
    os.utime(path, ns=(0, NOW_NS + written * SECOND_NS))
    for second in there:
        assert prune([path], 100, NOW_NS + second * SECOND_NS, 24 * HOUR * SECOND_NS) == []
    for second in gone:
        assert prune([path], 100, NOW_NS + second * SECOND_NS, 24 * HOUR * SECOND_NS) == [path]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """What it leads to is somebody else's: its time stays, and the link goes."""
    theirs, link = tmp_path / "theirs", tmp_path / name_at(10 * YEAR)
    theirs.write_bytes(b"x" * 1000)
    os.utime(theirs, ns=(0, 7 * SECOND_NS))
    link.symlink_to(theirs)
    os.utime(link, ns=(0, NOW_NS + 10 * YEAR * SECOND_NS), follow_symlinks=False)
    assert prune([link], 1000, NOW_NS) == []
    assert (theirs.lstat().st_mtime_ns, link.lstat().st_mtime_ns) == (7 * SECOND_NS, NOW_NS)
    assert prune([link], 0, NOW_NS) == [link]
    assert theirs.exists()


def test_a_clock_that_nobody_has_set_deletes_nothing(tmp_path: Path) -> None:
    """In 1970 every file is one of the future; it stays as it is, for when the clock is right."""
    path = tmp_path / name_at(0)
    path.write_bytes(b"x")
    os.utime(path, ns=(0, NOW_NS))
    assert prune([path], 100, 5 * SECOND_NS, HOUR * SECOND_NS) == []
    assert path.lstat().st_mtime_ns == NOW_NS
    assert prune([path], 100, NOW_NS + 2 * HOUR * SECOND_NS, HOUR * SECOND_NS) == [path]


def test_for_want_of_room_the_one_written_first_goes(tmp_path: Path) -> None:
    """A file that a clock named for the future is no newer for it."""
    wrong, right = tmp_path / name_at(10 * YEAR), tmp_path / name_at(0)
    for path, written in ((wrong, -HOUR), (right, 0)):
        path.write_bytes(b"x" * 10)
        os.utime(path, ns=(0, NOW_NS + written * SECOND_NS))
    assert prune([wrong, right], 15, NOW_NS) == [wrong]


def test_a_jump_ahead_is_believed_after_an_hour() -> None:
    """Until then time goes on as before, and a clock that is set right again has deleted nothing."""
    steady = 0
    clock = AgeClock(lambda: steady * SECOND_NS)

    def at(second: int, ahead: int) -> int:
        nonlocal steady
        steady = second
        return (clock.now_ns(NOW_NS + (second + ahead) * SECOND_NS) - NOW_NS) // SECOND_NS

    assert [at(0, 0), at(60, 0), at(120, 5)] == [0, 60, 125]
    assert [at(180, YEAR), at(3000, YEAR)] == [185, 3005]
    assert [at(3060, 0), at(3120, YEAR)] == [3060, 3120]  # right again, and wrong again
    assert [at(3120 + HOUR - 1, YEAR), at(3120 + HOUR, YEAR)] == [3120 + HOUR - 1, 3120 + HOUR + YEAR]
    assert at(8000, 0) == 8000  # behind is believed at once: it deletes less


STARTS: dict[str, tuple[int, list[int]]] = {
    # Seconds from the last moment that files tell of to the start; hours after which the file of that moment is gone.
    "years ahead": (YEAR, [1]),
    "two days of silence": (48 * HOUR, [1]),
    "at once": (0, [24]),
    "behind": (-HOUR, [25]),
}


@pytest.mark.parametrize("name", STARTS)
def test_the_first_word_of_a_clock_is_not_believed_either(name: str, tmp_path: Path) -> None:
    """What files tell is the time before the start; a clock that is ahead of it is believed after an hour."""
    ahead, gone = STARTS[name]
    path = tmp_path / name_at(0)
    path.write_bytes(b"x")
    os.utime(path, ns=(0, NOW_NS))
    steady = 0
    clock = AgeClock(lambda: steady * SECOND_NS)
    deleted = []
    for minute in range(0, 26 * 60, 20):
        steady = minute * 60
        now_ns = NOW_NS + (ahead + steady) * SECOND_NS
        if prune([path], 100, now_ns, 24 * HOUR * SECOND_NS - SECOND_NS, clock):
            deleted.append(minute // 60)
    assert deleted == gone
