"""The file of ``modelproxy replay --out``: a line for each request, for as long as it can be written."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from proxy.commands.output import fail
from proxy.private import open_private

__all__ = ["LinesFile"]


class LinesFile:
    """Lines on their way to a file of this user alone.

    What breaks writing is kept, not raised: what was found out so far is worth a report.

    Args:
        path: of the file, which is replaced; None: nothing is written.

    Raises:
        click.exceptions.Exit: it cannot be opened.
    """

    def __init__(self, path: Path | None) -> None:
        self.problem = ""
        """Why not every line is in the file; empty: each is."""
        self.on_problem: Callable[[], None] = lambda: None
        """Called when there is one."""
        self._path = path
        self._file: BinaryIO | None = None
        if path is None:
            return
        try:
            self._file = os.fdopen(open_private(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb")
        except OSError as error:
            raise fail(f"{path}: {(error.strerror or 'cannot be written').lower()}") from None

    @property
    def is_wanted(self) -> bool:
        """Whether lines are written."""
        return self._file is not None and not self.problem

    def write(self, line: bytes) -> None:
        """Write ``line``; after the first that could not be written none is."""
        if self._file is None or self.problem:
            return
        try:
            self._file.write(line)
        except OSError as error:
            self._break(error)

    def close(self) -> None:
        """Write what waits."""
        if self._file is None:
            return
        try:
            self._file.close()
        except OSError as error:
            self._break(error)

    def _break(self, error: OSError) -> None:
        if not self.problem:
            self.problem = f"{self._path}: {(error.strerror or str(error)).lower()}; later lines are lost"
            self.on_problem()
