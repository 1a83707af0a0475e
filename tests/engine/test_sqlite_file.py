"""Files of SQLite: what is broken is moved aside, what is newer is left alone, what fails is taken back."""

import sqlite3
from pathlib import Path
from threading import Timer

import pytest

from proxy.engine.sqlite_file import SqliteFile, StoreError, is_damage, open_file


class Book(SqliteFile):
    """A file with one table."""

    tables = "CREATE TABLE words (word TEXT PRIMARY KEY); CREATE INDEX by_word ON words (word)"
    schema = 3
    application_id = 42

    def write(self, *words: str) -> None:
        with self._transaction():
            self._db.executemany("INSERT INTO words VALUES (?)", [(word,) for word in words])

    def words(self) -> list[str]:
        return [word for (word,) in self._db.execute("SELECT word FROM words ORDER BY word")]


def open_book(path: Path) -> Book:
    return open_file(path, Book, 7_000_000_000, "words")


def test_it_is_kept(tmp_path: Path) -> None:
    """What was written is there after a reopening; the file is the user's alone, of its kind and schema."""
    path = tmp_path / "state" / "book.sqlite"
    book = open_book(path)
    book.write("a", "b")
    assert book.changes == 2
    book.close()
    book = open_book(path)
    assert book.words() == ["a", "b"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert book._db.execute("PRAGMA application_id").fetchone() == (42,)
    assert book._db.execute("PRAGMA user_version").fetchone() == (3,)
    assert book._db.execute("PRAGMA synchronous").fetchone() == (1,)
    book.close()


def test_all_or_nothing(tmp_path: Path) -> None:
    """A transaction that fails leaves nothing behind."""
    book = open_book(tmp_path / "book.sqlite")
    book.write("a")
    with pytest.raises(sqlite3.IntegrityError):
        book.write("b", "a")
    assert book.words() == ["a"]
    book.write("b")
    book.close()


def test_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A damaged file is moved aside with its log, and a new one begun."""
    path = tmp_path / "book.sqlite"
    path.write_bytes(b"no database" * 1000)
    path.with_name("book.sqlite-wal").write_bytes(b"log")
    book = open_book(path)
    assert book.words() == []
    assert path.with_name("book.sqlite.damaged-7").read_bytes().startswith(b"no database")
    assert "words begins anew" in caplog.text
    book.close()


def test_a_newer_file(tmp_path: Path) -> None:
    """The file of a newer program is refused with what to do, and left as it is."""
    path = tmp_path / "book.sqlite"
    open_book(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 4")
    with pytest.raises(StoreError, match="its schema is 4, and this program knows 3 at most"):
        open_book(path)


def test_it_cannot_be_opened(tmp_path: Path) -> None:
    """What is no file is an error with its path, no damage."""
    (tmp_path / "book.sqlite").mkdir()
    with pytest.raises(StoreError, match="cannot keep words"):
        open_book(tmp_path / "book.sqlite")
    assert not is_damage(OSError())


def test_another_program_makes_it_at_the_same_moment(tmp_path: Path) -> None:
    """Who holds it for a moment is waited for, also before there is a write-ahead log."""
    path = tmp_path / "book"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = Timer(0.05, other.execute, ("COMMIT",))
    release.start()
    book = open_book(path)
    book.close()
    release.join()
    other.close()


def test_others(tmp_path: Path) -> None:
    """Whoever else writes is noticed; and a file that is deleted is not in its place."""
    path = tmp_path / "book.sqlite"
    one, two = open_book(path), open_book(path)
    before = one.others()
    one.write("a")
    assert one.others() == before
    two.write("b")
    assert one.others() != before
    assert one.is_in_place()
    path.unlink()
    assert not one.is_in_place()
    one.close()
    two.close()
