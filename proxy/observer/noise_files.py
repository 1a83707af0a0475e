"""In which fields answers differ, in files that a kill takes nothing from: names and counts, mapped into memory.

A stretch of evidence has one file in the run directory, preallocated, with a row for each field there may be. It is
counted in place, as in :mod:`proxy.tally`: who dies leaves the counts to its successor, exactly.

In an upgrade the program before goes on counting in its own file until its last exchange is judged. A hard link to that
file is taken and read beside ours, so its last counts are not lost either. What it had from the program before *it* is
final by then, and becomes the start of ours.

Layout of a row, 64-bit integers of this machine: three counts, one more than the bytes of the name (that of the whole
answer is empty), the name in UTF-8. A row with 0 there is free; the last one is that of ``(other)``.
"""

import os
from pathlib import Path
from typing import Final

from proxy.noise.fields import MAX_FIELDS, OTHER, FieldCounts, Row
from proxy.tally import EARLIER, Block, open_block

__all__ = ["FieldFile", "open_fields", "path_of"]

_NAME_BYTES: Final = 800
"""A field's name has 200 characters at most."""

_COUNTS: Final = 3
_NAME: Final = _COUNTS + 1
_ROW: Final = _NAME + _NAME_BYTES // 8
_SIZE: Final = _ROW * (MAX_FIELDS + 1)


def path_of(run_dir: Path, stretch: str, *, is_earlier: bool = False) -> Path:
    """Return the file of a stretch: ours, or the link to the one of the program before an upgrade."""
    return run_dir / (f"noise-{stretch}.earlier" if is_earlier else f"noise-{stretch}.fields")


class FieldFile:
    """The counts of one stretch, kept in a file.

    Args:
        path: of the file, which is made if it is not there.

    Raises:
        OSError: no space, no permission.
        ValueError: it holds something else.
    """

    def __init__(self, path: Path) -> None:
        self._block: Block = open_block(path, _SIZE)
        self._slots = self._block.slots
        self._views: list[memoryview[int]] = []
        try:
            rows = {name: self._row(number) for name, number in self._names().items()}
        except ValueError:
            self.close()
            raise
        self._used = sum(name != OTHER for name in rows)
        self.counts = FieldCounts(rows, self._make_row)

    def _names(self) -> dict[str, int]:
        """Return the number of each field's row."""
        found: dict[str, int] = {}
        for number in range(MAX_FIELDS + 1):
            size = self._slots[number * _ROW + _COUNTS]
            if size > _NAME_BYTES + 1:
                raise ValueError("a field's name is too long")
            if size:
                at = number * _ROW + _NAME
                name = self._slots[at : at + _NAME_BYTES // 8].tobytes()[: size - 1].decode()
                found[name] = number
        return found

    def document(self) -> dict[str, list[int]]:
        """Return the counts by field as they are in the file: another process may have found fields since."""
        return {
            name: self._slots[at * _ROW : at * _ROW + _COUNTS].tolist() for name, at in self._names().items()
        }

    def _row(self, number: int) -> "memoryview[int]":
        view = self._slots[number * _ROW : number * _ROW + _COUNTS]
        self._views.append(view)
        return view

    def _make_row(self, path: str) -> Row:
        number = MAX_FIELDS
        if path != OTHER:
            number, self._used = self._used, self._used + 1
        at, name = number * _ROW + _NAME, path.encode()
        self._slots[at : at + _NAME_BYTES // 8] = memoryview(name.ljust(_NAME_BYTES, b"\0")).cast("Q")
        # Last: only now is the row there for whoever opens the file.
        self._slots[number * _ROW + _COUNTS] = len(name) + 1
        return self._row(number)

    def close(self) -> None:
        """Unmap. The file stays; nothing may be counted any more."""
        for view in self._views:
            view.release()
        self._block.close()


def open_fields(run_dir: Path, stretch: str) -> tuple[FieldFile, FieldFile | None]:
    """Return the counts of a stretch: ours, and those that the program before an upgrade may still add to.

    Raises:
        OSError: no space, no permission.
        ValueError: a file holds something else.
    """
    own, linked = path_of(run_dir, stretch), path_of(run_dir, stretch, is_earlier=True)
    if not own.exists():
        _begin(own, linked, run_dir / EARLIER, stretch)
    return FieldFile(own), FieldFile(linked) if linked.exists() else None


def _begin(own: Path, linked: Path, earlier: Path, stretch: str) -> None:
    """Make our file, from what is final in the program before; whoever finds it finds all of that."""
    finals = [path_of(earlier, stretch, is_earlier=True)]
    try:
        os.link(path_of(earlier, stretch), linked)
    except (FileNotFoundError, FileExistsError):
        pass
    except OSError:  # another file system: what is counted there from now on is lost
        finals.append(path_of(earlier, stretch))
    fresh = own.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    made = FieldFile(fresh)
    for path in finals:
        if path.exists():
            before = FieldFile(path)
            made.counts.add(before.counts.document())
            before.close()
    made.close()
    fresh.replace(own)
