"""The keys of the unit hashes: made once, kept, private, and replaced without one being lost or made twice."""

import os
import stat
from pathlib import Path
from threading import Barrier, Thread

import pytest

from proxy.unit_keys import (
    FIRST_KEY,
    KEY_BYTES,
    LATER_KEYS,
    HeldKey,
    UnitKeys,
    forget,
    held_keys,
    read_key,
    rotate,
)

HOUR_NS = 3600 * 10**9
NOW_NS = 1_800_000_000 * 10**9
"""2027-01-15T08:00:00Z."""


def load_key(state_dir: Path, configured: str | None) -> bytes:
    return UnitKeys(state_dir, configured).key


def first_made_at(state_dir: Path, wall_ns: int) -> UnitKeys:
    """Return the keys of a state directory whose first key was made at a moment."""
    keys = UnitKeys(state_dir, None)
    os.utime(state_dir / FIRST_KEY, ns=(wall_ns, wall_ns))
    return keys


def test_made_once_and_kept(tmp_path: Path) -> None:
    """The first call makes the key, 0600 in a directory 0700; later calls read the same."""
    state_dir = tmp_path / "state"
    key = load_key(state_dir, None)
    assert len(key) == KEY_BYTES
    assert load_key(state_dir, None) == key
    assert stat.S_IMODE((state_dir / FIRST_KEY).stat().st_mode) == 0o600
    assert stat.S_IMODE(state_dir.stat().st_mode) == 0o700
    assert [path.name for path in state_dir.iterdir()] == [FIRST_KEY]


def test_two_places_two_keys(tmp_path: Path) -> None:
    """Keys are drawn, not derived."""
    assert load_key(tmp_path / "a", None) != load_key(tmp_path / "b", None)


def test_configured(tmp_path: Path) -> None:
    """A configured key is used as it is, no file is made, and it is never replaced."""
    keys = UnitKeys(tmp_path, "the configured key")
    keys.refresh(NOW_NS, HOUR_NS, 0)
    assert keys.key == b"the configured key"
    assert list(tmp_path.iterdir()) == []


def test_no_place_for_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where no file can be, there is still a key, for this process alone, and the log says so."""
    (tmp_path / "taken").write_text("a file")
    assert len(load_key(tmp_path / "taken", None)) == KEY_BYTES
    assert "after a restart" in caplog.text


def test_a_short_file_is_no_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An empty or cut file is not taken for a key, nor overwritten."""
    (tmp_path / FIRST_KEY).write_bytes(b"short")
    assert len(load_key(tmp_path, None)) == KEY_BYTES
    assert (tmp_path / FIRST_KEY).read_bytes() == b"short"
    assert "shorter than 32 bytes" in caplog.text


def test_a_link_is_no_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A key that somebody linked into its place is not used."""
    known = tmp_path / "known"
    known.write_bytes(b"k" * KEY_BYTES)
    (tmp_path / FIRST_KEY).symlink_to(known)
    assert load_key(tmp_path, None) != known.read_bytes()
    assert "no unit key" in caplog.text


def test_a_file_of_another_user_is_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A key that another user made, and knows, is not used."""
    path = tmp_path / FIRST_KEY
    path.write_bytes(b"k" * KEY_BYTES)
    if path.stat().st_uid == 0:
        os.chown(path, 4242, -1)
    monkeypatch.setattr(os, "getuid", lambda: 4243)
    assert load_key(tmp_path, None) != path.read_bytes()
    assert "owned by another user" in caplog.text


def test_a_new_key_by_hand(tmp_path: Path) -> None:
    """A key that is made by hand counts at the next look, in every process and after a restart; the first one stays."""
    keys, other = UnitKeys(tmp_path, None), UnitKeys(tmp_path, None)
    before = keys.key
    made = rotate(tmp_path, NOW_NS)
    assert keys.key == before
    for each in (keys, other):
        each.refresh(NOW_NS, None, None)
    assert keys.key == other.key == read_key(made) == load_key(tmp_path, None) != before
    assert [held.path.name for held in held_keys(tmp_path)] == [FIRST_KEY, "20270115T080000Z.key"]
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(made.path.parent.stat().st_mode) == 0o700
    assert (tmp_path / FIRST_KEY).read_bytes() == before


AGES = {
    "too young": (HOUR_NS - 1, None),
    "just due": (HOUR_NS, HOUR_NS),
    "a little later": (HOUR_NS + 7 * 10**9, HOUR_NS),
    "nobody ran for long": (5 * HOUR_NS + 7 * 10**9, 5 * HOUR_NS),
}


@pytest.mark.parametrize("name", AGES)
def test_a_new_key_by_age(tmp_path: Path, name: str) -> None:
    """A key is replaced when it is due, and by one key, which is named after that moment."""
    age_ns, due_ns = AGES[name]
    keys = first_made_at(tmp_path, NOW_NS)
    before = keys.key
    keys.refresh(NOW_NS + age_ns, HOUR_NS, None)
    keys.refresh(NOW_NS + age_ns, HOUR_NS, None)
    later = [held.began_ns for held in held_keys(tmp_path)[1:]]
    assert later == ([] if due_ns is None else [NOW_NS + due_ns])
    assert (keys.key != before) == (due_ns is not None)


def test_two_observers_make_one_key(tmp_path: Path) -> None:
    """Two processes for which a key is due at the same time, as in an upgrade, come to have the same one."""
    both = [first_made_at(tmp_path, NOW_NS), UnitKeys(tmp_path, None)]
    barrier = Barrier(2)

    def look(keys: UnitKeys, late_ns: int) -> None:
        barrier.wait()
        keys.refresh(NOW_NS + HOUR_NS + late_ns, HOUR_NS, None)

    threads = [Thread(target=look, args=(keys, at * 10**9)) for at, keys in enumerate(both)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert both[0].key == both[1].key
    assert len(held_keys(tmp_path)) == 2


def test_forgotten_by_age(tmp_path: Path) -> None:
    """A replaced key is deleted when it has been kept for long enough; the one in force never is."""
    keys = first_made_at(tmp_path, NOW_NS)
    rotate(tmp_path, NOW_NS + HOUR_NS)
    rotate(tmp_path, NOW_NS + 2 * HOUR_NS)
    keys.refresh(NOW_NS + 3 * HOUR_NS - 1, None, 2 * HOUR_NS)
    assert len(held_keys(tmp_path)) == 3
    keys.refresh(NOW_NS + 3 * HOUR_NS, None, 2 * HOUR_NS)
    assert [held.began_ns for held in held_keys(tmp_path)] == [NOW_NS + HOUR_NS, NOW_NS + 2 * HOUR_NS]
    keys.refresh(NOW_NS + 99 * HOUR_NS, None, 0)
    assert [held.began_ns for held in held_keys(tmp_path)] == [NOW_NS + 2 * HOUR_NS]
    assert UnitKeys(tmp_path, None).key == keys.key


def test_forgotten_by_hand(tmp_path: Path) -> None:
    """What is deleted is told, and a restart after it uses the key in force and makes no other."""
    keys = first_made_at(tmp_path, NOW_NS)
    made = rotate(tmp_path, NOW_NS)
    assert forget(tmp_path, NOW_NS) == [HeldKey(tmp_path / FIRST_KEY, NOW_NS)]
    assert forget(tmp_path, NOW_NS) == []
    keys.refresh(NOW_NS, None, None)
    assert UnitKeys(tmp_path, None).key == keys.key == read_key(made)
    assert not (tmp_path / FIRST_KEY).exists()


def test_what_is_no_key_is_left_alone(tmp_path: Path) -> None:
    """Other files in the directory of keys neither count nor are deleted."""
    keys = UnitKeys(tmp_path, None)
    (tmp_path / LATER_KEYS).mkdir()
    for name in ("20270115T080000Z.key.77", "notes.txt", "99999999T000000Z.key", ".key"):
        (tmp_path / LATER_KEYS / name).write_bytes(b"x" * KEY_BYTES)
    keys.refresh(NOW_NS, None, 0)
    assert [held.path.name for held in held_keys(tmp_path)] == [FIRST_KEY]
    assert len(list((tmp_path / LATER_KEYS).iterdir())) == 4


def test_a_bad_key_does_not_replace_a_good_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A later key that is too short is not used; that is said once."""
    keys = UnitKeys(tmp_path, None)
    before = keys.key
    (tmp_path / LATER_KEYS).mkdir()
    (tmp_path / LATER_KEYS / "20270115T080000Z.key").write_bytes(b"short")
    keys.refresh(NOW_NS, None, None)
    keys.refresh(NOW_NS, None, None)
    assert keys.key == before
    assert caplog.text.count("the one in use stays") == 1


def test_every_key(tmp_path: Path) -> None:
    """The key in force comes first, then all that are kept; a configured one is alone."""
    keys = first_made_at(tmp_path, NOW_NS - HOUR_NS)
    first = keys.key
    rotate(tmp_path, NOW_NS)
    keys.refresh(NOW_NS, None, None)
    assert keys.key != first
    assert list(keys.every()) == [keys.key, first, keys.key]
    (tmp_path / FIRST_KEY).unlink()
    assert first not in keys.every()
    assert list(UnitKeys(tmp_path, "configured").every()) == [b"configured"]
