"""The evidence file opened to be read alone: by a report, beside a proxy that runs or of one that is gone."""

import sqlite3
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from proxy.engine.store import FILE_NAME, Store, StoreError

__all__ = ["Archive", "Stored", "open_archive"]

_BUSY_S = 2.0


class Stored(NamedTuple):
    """A rollout that is kept."""

    rollout: str
    route: str
    variant: str
    """Empty where several are compared without a rollout."""
    first_ns: int
    last_ns: int
    """When it was written first and last, on the engine's clock."""


def open_archive(directory: Path) -> "Archive":
    """Open the evidence in ``directory`` for reading; its file is neither made nor changed.

    Raises:
        StoreError: there is none, or it is not one that this program can read.
    """
    path = directory / FILE_NAME
    if not path.is_file():
        raise StoreError(f"{path}: there is no evidence here; expected the state_dir of a proxy")
    try:
        return Archive(path)
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot be read: {error}") from error


class Archive(Store):
    """A store that is only read. See :func:`open_archive`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._inode = path.stat().st_ino
        place = f"file:{quote(str(path.absolute()))}?mode=ro"
        try:
            self._connect(place)
        except sqlite3.OperationalError:
            # Where nothing can be written, the log's index cannot be made. Without a log nothing is missed.
            if path.with_name(f"{path.name}-wal").exists():
                raise
            self._connect(f"{place}&immutable=1")

    def _connect(self, place: str) -> None:
        self._db = sqlite3.connect(place, uri=True, timeout=_BUSY_S, isolation_level=None)
        try:
            self._check_schema()
            self._db.execute("SELECT count(*) FROM rollouts").fetchone()
        except BaseException:
            self._db.close()
            raise

    def rollouts(self) -> list[Stored]:
        """Return every rollout and split that is kept, the one that began last at the end."""
        rows = self._db.execute(
            "SELECT rollout, route, variant, first_ns, last_ns FROM rollouts ORDER BY first_ns, rollout"
        )
        return [Stored(*row) for row in rows]
