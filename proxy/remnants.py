"""What supervisors of ours that were killed have left behind: it is kept until its evidence is stored, then removed.

While we have a remnant nobody else removes it; should we be killed too, the next one has both. Our observer reads it
and lets it go (:mod:`proxy.evidence.remnants`). There are never more than :data:`MAX_REMNANTS`: where supervisors die
faster than anything can be stored, the oldest is dropped with what is in it, and counted.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from proxy.clock import monotonic
from proxy.evidence.blocks import has_evidence
from proxy.evidence.remnants import follow_remnant, has_observer, has_workers, remnants
from proxy.rundir import RunDirectory, left_behind, remove_run_directory, take_over, unlock

__all__ = ["MAX_REMNANTS", "Remnants", "claim_remnants"]

MAX_REMNANTS = 8

LOOK_S = 1.0
"""How often it is looked for what was let go."""

OBSERVER_S = 60.0
"""An earlier observer that is alive still may take so long to read counts that only it understands."""

_log = logging.getLogger("modelproxy")


class Remnants:
    """Those that we have. Made by :func:`claim_remnants`."""

    def __init__(self, run_dir: Path) -> None:
        self.dropped = 0
        """How many were removed with evidence that nobody had stored."""
        self._run_dir = run_dir
        self._held: dict[str, RunDirectory] = {}
        self._let_go_s: dict[str, float] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._held)

    async def run(self, on_change: Callable[[], None]) -> None:
        """Remove what was let go, and tell of it, until nothing is left."""
        while before := len(self):
            self.look()
            if len(self) != before:
                on_change()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Remove what was let go."""
        wanted, now_s = remnants(self._run_dir), monotonic()
        for name in self._held.keys() - wanted:
            since_s = self._let_go_s.setdefault(name, now_s)
            if not has_observer(self._held[name].path) or now_s - since_s >= OBSERVER_S:
                remove_run_directory(self._held.pop(name))
                _log.info("took over the evidence of a supervisor that was killed; removed %s", name)

    def take(self, directory: RunDirectory) -> None:
        """Take care of a directory whose supervisor is dead."""
        path = directory.path
        if not has_evidence(path):
            # Who still works there counts nothing that we could need, and is waited for by whoever starts next.
            end = unlock if has_workers(path) else remove_run_directory
            end(directory)
        elif len(self._held) >= MAX_REMNANTS:
            self.dropped += 1
            _log.error(
                "dropped the evidence in %s: %d supervisors were killed before anything was stored",
                path,
                MAX_REMNANTS + 1,
            )
            remove_run_directory(directory)
        else:
            self._follow(directory)

    def _follow(self, directory: RunDirectory) -> None:
        try:
            follow_remnant(self._run_dir, directory.path)
        except OSError as error:
            _log.error("cannot follow %s, it stays for the next start: %s", directory.path, error.strerror)
            unlock(directory)
        else:
            self._held[directory.path.name] = directory

    def close(self) -> None:
        """Leave what is left to the next supervisor."""
        self.look()
        for directory in self._held.values():
            unlock(directory)
        self._held.clear()


@contextlib.contextmanager
def claim_remnants(run_dir: Path, owner: str, parents: tuple[Path, ...] = ()) -> Iterator[Remnants]:
    """Take what supervisors of ``owner`` have left, and make it a source of evidence of ``run_dir``.

    Args:
        run_dir: ours.
        owner: see :func:`proxy.rundir.owner_of`; with an empty one nothing is found.
        parents: where to look, by default wherever run directories are made.
    """
    found = Remnants(run_dir)
    for path in left_behind(owner, parents):
        with contextlib.suppress(OSError):
            if (directory := take_over(path)) is not None:
                found.take(directory)
    try:
        yield found
    finally:
        found.close()
