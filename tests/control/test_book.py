"""The book of rollouts on disk: what was written is read again; what is damaged is unknown, never guessed."""

import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.control.book import Book, Content, Ended
from proxy.control.engine_clock import EngineClock
from tests.control.rollout_world import START_NS, entry_of, settings_of


def content() -> Content:
    """Two rollouts and everything else."""
    settings = settings_of()
    entries = {name: entry_of(settings, name) for name in ("wine", "beer")}
    decisions = {"wine": {"ramp": 2, "hold": 7}}
    ended = (Ended(entries["beer"], START_NS + 7),)
    return Content(entries, decisions, EngineClock(-5, "a-boot"), START_NS + 9, ended, 3, 4)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Everything comes back as it was."""
    Book(tmp_path / "state").write(content())
    reading = Book(tmp_path / "state").read()
    assert (reading.content, reading.unknown, reading.warning) == (content(), frozenset(), "")


def test_a_damaged_memory_is_only_that(tmp_path: Path) -> None:
    """An ended rollout that cannot be read is left out and logged; the others and everything else count."""
    book = Book(tmp_path)
    book.write(content())
    document = orjson.loads(book.path.read_bytes())
    for damaged in ([{}, 5, *document["ended"]], [*document["ended"], {"state": {"route": "wine"}}]):
        book.path.write_bytes(orjson.dumps({**document, "ended": damaged}))
        assert book.read().content == content()
    others: tuple[object, ...] = (None, {}, "none")
    for other in others:
        book.path.write_bytes(orjson.dumps({**document, "ended": other}))
        assert book.read().content == replace(content(), ended=())


def test_the_first_start_knows_that_there_is_nothing(tmp_path: Path) -> None:
    """No book is no damage: there was no rollout."""
    reading = Book(tmp_path / "state").read()
    assert (reading.content.entries, reading.unknown, reading.warning) == ({}, frozenset(), "")
    assert not Book(tmp_path / "state").exists()


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    """The directory is 0700 and the file 0600, whatever the umask, and nothing else is left."""
    before = os.umask(0)
    try:
        book = Book(tmp_path / "state")
        book.write(content())
        book.write(content())
    finally:
        os.umask(before)
    assert stat.S_IMODE(book.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(book.path.parent.stat().st_mode) == 0o700
    assert list(book.path.parent.iterdir()) == [book.path]


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    """What somebody else put there is neither believed nor written to."""
    other = tmp_path / "other"
    other.write_bytes(b"{}")
    book = Book(tmp_path)
    book.path.symlink_to(other)
    assert book.read().unknown is None
    book.write(content())
    assert (other.read_bytes(), book.path.is_symlink()) == (b"{}", False)


DAMAGES: list[tuple[str, bytes]] = [
    ("empty", b""),
    ("torn", b'{"format": 1, "rollouts": {"wine": {"st'),
    ("zeros", b"\0" * 4096),
    ("no object", b"[]"),
    ("another's", b"{}"),
    ("of a later format", b'{"format": 2, "rollouts": {}}'),
    ("without rollouts", b'{"format": 1}'),
    ("rollouts of no kind", b'{"format": 1, "rollouts": 5}'),
]


@pytest.mark.parametrize("data", [case[1] for case in DAMAGES], ids=[case[0] for case in DAMAGES])
def test_a_damaged_book_says_nothing(tmp_path: Path, data: bytes) -> None:
    """What is no book makes every rollout unknown, and is said; no start fails."""
    book = Book(tmp_path)
    book.path.write_bytes(data)
    reading = book.read()
    assert (reading.content.entries, reading.unknown) == ({}, None)
    assert str(book.path) in reading.warning


def test_a_book_that_cannot_be_opened_says_nothing(tmp_path: Path) -> None:
    """Something else that has its name makes every rollout unknown."""
    book = Book(tmp_path)
    book.path.mkdir()
    assert book.read().unknown is None


ENTRIES: list[tuple[str, Any]] = [
    ("not there", None),
    ("no object", 5),
    ("no state", {"plan": {}}),
    ("no plan", {"state": {}}),
    ("a phase that is none", {"state": {"phase": "flying"}}),
    ("another route's", {"state": {"route": "beer"}}),
    ("a number that is a text", {"state": {"step": "1"}}),
]


@pytest.mark.parametrize("damage", [case[1] for case in ENTRIES], ids=[case[0] for case in ENTRIES])
def test_one_damaged_entry_is_one_unknown_rollout(tmp_path: Path, damage: Any) -> None:
    """The others are what they were."""
    book = Book(tmp_path)
    book.write(content())
    document = orjson.loads(book.path.read_bytes())
    entry = document["rollouts"]["wine"]
    if isinstance(damage, dict) and "state" in damage and "plan" not in damage and damage["state"]:
        damage = {**entry, "state": {**entry["state"], **damage["state"]}}
    document["rollouts"]["wine"] = damage
    book.path.write_bytes(orjson.dumps(document))
    reading = book.read()
    assert reading.unknown == frozenset({"wine"})
    assert "wine" in reading.warning
    assert list(reading.content.entries) == ["beer"]


@pytest.mark.parametrize("name", ["decisions", "clock", "now_ns", "stale", "failures"])
@pytest.mark.parametrize("value", [None, 5.5, "x", [1], {"wine": 5}])
def test_counts_and_clock_may_be_missing(tmp_path: Path, name: str, value: Any) -> None:
    """What is not where a rollout stands costs no rollout."""
    book = Book(tmp_path)
    book.write(content())
    document = orjson.loads(book.path.read_bytes())
    document[name] = value
    book.path.write_bytes(orjson.dumps(document))
    reading = book.read()
    assert (set(reading.content.entries), reading.unknown) == ({"wine", "beer"}, frozenset())


def test_a_full_disk_leaves_the_book_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails half way is no write, and leaves nothing lying."""
    book = Book(tmp_path)
    book.write(content())
    before = book.path.read_bytes()

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        book.write(replace(content(), entries={}))
    monkeypatch.undo()
    assert book.path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [book.path]


def test_an_outdated_book_is_not_believed(tmp_path: Path) -> None:
    """Until another is written, a start knows that it does not know."""
    book = Book(tmp_path)
    book.write(content())
    book.outdate()
    assert book.exists()
    assert (book.read().unknown, "could not be written" in book.read().warning) == (None, True)
    book.write(content())
    assert book.read().unknown == frozenset()
    assert not book.outdated_path.exists()


def test_no_book_can_be_outdated_too(tmp_path: Path) -> None:
    """A rollout that never was written down is unknown as well."""
    book = Book(tmp_path)
    book.outdate()
    book.outdate()
    assert book.read().unknown is None
