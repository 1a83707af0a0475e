"""A SQLite file that is ours alone: opened, checked, and replaced when it is broken.

Rules
    * A write is one transaction of a write-ahead log: a kill at any moment leaves what the last whole one left.
    * The file is the user's alone (0600), and so are the log beside it, whose mode SQLite takes from it.
    * A damaged file is moved aside and a new one begun. A file of a newer program is left alone and refused.

Everything here blocks, and belongs to one thread at a time.
"""

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar, Final, TypeVar

from proxy.clock import monotonic, sleep
from proxy.errors import ProxyError
from proxy.private import make_private_directory, open_private

__all__ = ["SqliteFile", "StoreError", "is_damage", "open_file"]

F = TypeVar("F", bound="SqliteFile")

_BUSY_S: Final = 2.0
"""How long another writer is waited for."""
_RETRY_S: Final = 0.005
_PAGE_BYTES: Final = 4096
_MAX_PAGES: Final = (1 << 30) // _PAGE_BYTES
"""The file is 1 GiB at most."""

_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_log = logging.getLogger("modelproxy")


class StoreError(ProxyError):
    """The file cannot be used; the sentence says what to do."""


def open_file(path: Path, make: Callable[[Path], F], wall_ns: int, what: str) -> F:
    """Open the file, or make it; a damaged one is moved aside first.

    Args:
        path: its directory is made, with mode 0700, where it is missing.
        make: opens it.
        wall_ns: names the file that is moved aside.
        what: what is in it, in a word.

    Raises:
        StoreError: it cannot be opened, or a newer program wrote it.
    """
    try:
        make_private_directory(path.parent)
        try:
            return make(path)
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            _move_aside(path, wall_ns, error, what)
            return make(path)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{path}: cannot keep {what}: {error}") from error


def is_damage(error: BaseException) -> bool:
    """Tell whether the file itself is broken, so that no later attempt can succeed."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _DAMAGE


def _move_aside(path: Path, wall_ns: int, error: sqlite3.Error, what: str) -> None:
    aside = path.with_name(f"{path.name}.damaged-{wall_ns // 1_000_000_000}")
    path.replace(aside)
    for suffix in ("-wal", "-shm"):
        # The log of another file would be replayed into the new one.
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).replace(aside.with_name(aside.name + suffix))
    _log.warning("%s is damaged (%s): moved to %s, %s begins anew", path, error, aside.name, what)


class SqliteFile:
    """The open file; a subclass says what is in it.

    Args:
        path: where it is.
    """

    tables: ClassVar[str]
    """Statements that make what is in it, with ``;`` between them."""
    schema: ClassVar[int]
    """Number of what they make; grows with each change."""
    application_id: ClassVar[int]
    """Names the kind of file."""
    synchronous: ClassVar[str] = "NORMAL"
    """``NORMAL``: a loss of power may take the newest transactions, never the file; ``FULL``: what was written is on
    the disk."""

    cache_kib: ClassVar[int] = 2048
    """Memory for pages, in KiB."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # SQLite would follow a link that somebody put here, and make the file with the mode of the day.
        fd = open_private(path, os.O_RDWR | os.O_CREAT)
        self._inode = os.fstat(fd).st_ino
        os.close(fd)
        self._db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            self._begin_log()
            self._db.execute(f"PRAGMA synchronous = {self.synchronous}")
            self._db.execute(f"PRAGMA max_page_count = {_MAX_PAGES}")
            self._db.execute(f"PRAGMA cache_size = -{self.cache_kib}")
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _begin_log(self) -> None:
        """Let writes go to a write-ahead log; two programs may make the file at the same moment."""
        patience_s = monotonic() + _BUSY_S
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                # Whoever holds a shared lock and wants more is told at once, however long he would wait.
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or monotonic() > patience_s:
                    raise
                sleep(_RETRY_S)
            else:
                return

    def _check_schema(self) -> int:
        (schema,) = self._db.execute("PRAGMA user_version").fetchone()
        if schema > self.schema:
            raise StoreError(
                f"{self.path}: its schema is {schema}, and this program knows {self.schema} at most; "
                "run the program that wrote it, or move the file away to begin anew"
            )
        return int(schema)

    def _prepare(self) -> None:
        db = self._db
        schema = self._check_schema()
        if schema == 0:
            with self._transaction():
                # Asked again inside: another observer may have been faster.
                if db.execute("PRAGMA user_version").fetchone() == (0,):
                    for statement in filter(str.strip, self.tables.split(";")):
                        db.execute(statement)
                    db.execute(f"PRAGMA application_id = {self.application_id}")
                    db.execute(f"PRAGMA user_version = {self.schema}")
        elif db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            error = sqlite3.DatabaseError("the check of its pages failed")
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # a full disk may have rolled it back already
                self._db.execute("ROLLBACK")
            raise

    def is_in_place(self) -> bool:
        """Tell whether the file still has its name: what is written to a deleted one is gone with the process."""
        try:
            return self.path.stat().st_ino == self._inode
        except OSError:
            return False

    @property
    def changes(self) -> int:
        """How many rows were written here since it was opened."""
        return self._db.total_changes

    def others(self) -> int:
        """Return a number that is another one once somebody else has written into the file."""
        (version,) = self._db.execute("PRAGMA data_version").fetchone()
        return int(version)

    def close(self) -> None:
        """Close; what was written stays."""
        self._db.close()
