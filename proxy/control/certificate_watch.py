"""Watches the certificate files of the table in force, and hands over what they say whenever it can be used.

Level-triggered, and by content alone: every two seconds each file is read again, whatever it is: a file, one put in
place of another, a symbolic link behind which a volume is swapped. What has changed and is good is taken at once.
What has changed and is not good may be half of a change, say a certificate whose key is not there yet: it is refused,
counted and logged only when it still says the same at the next look. The last good files stay in use meanwhile, also
in workers that are started.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from proxy.certificates import Inspection, inspect, named_files, read_files
from proxy.clock import wall_ns
from proxy.control.release import Release
from proxy.settings import Source

__all__ = ["CertificateWatch"]

LOOK_EVERY_S = 2.0
"""Longest time until a changed file is seen."""

_log = logging.getLogger("modelproxy.tls")

Found = Mapping[str, str | OSError]


class CertificateWatch:
    """Keeps the certificates that are in use.

    Args:
        on_files: called with the text of all files when it has changed and is good.
        on_change: called after whatever :meth:`status` shows has changed.
    """

    def __init__(self, on_files: Callable[[Mapping[str, str]], None], on_change: Callable[[], None]) -> None:
        self._on_files = on_files
        self._on_change = on_change
        self._release: Release | None = None
        self._in_use = Inspection({}, (), (), {})
        self._seen: dict[str, str] = {}
        """What was found at the last look."""
        self._rejected: dict[str, str] = {}
        """What was found when it was refused."""
        self._problems: tuple[str, ...] = ()
        self._reloads = self._refused = 0

    def adopt(self, release: Release) -> None:
        """Watch the files of ``release`` from now on.

        They have been read for it, unless it has the very settings of the one before, as when a rollout has moved:
        then what is in use stays so, and is the release's too, whatever was renewed while it was under way.
        """
        before, self._release = self._release, release
        if release is before:
            return
        if before is not None and release.settings is before.settings:
            release.certificates = self._in_use
            return
        self._in_use = release.certificates
        self._seen = dict(release.certificates.files)
        self._rejected, self._problems = {}, ()

    def status(self) -> dict[str, Any] | None:
        """Return the state of the files as JSON values; None when the table in force needs none."""
        if not self._in_use.files:
            return None
        return {
            "expiries": self._in_use.expiries,
            "problems": list(self._problems),
            "reloads_total": self._reloads,
            "reloads_refused_total": self._refused,
        }

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self.look()
            except Exception:
                # The watch must outlive a bug, or no later certificate would be seen.
                _log.exception("the look at the certificate files failed")

    async def look(self) -> None:
        """Read the files, and take them up if they have changed and are good. The disk is waited for in a thread."""
        release = self._release
        if release is None or not (paths := named_files(release.settings)):
            return
        found = await asyncio.to_thread(read_files, paths)
        if release is not self._release:
            return  # a publish came first; it has read them itself
        marks = {path: text if isinstance(text, str) else f"error: {text}" for path, text in found.items()}
        stood_still, self._seen = marks == self._seen, marks
        if marks == self._in_use.files:
            self._clear()
        elif marks != self._rejected:
            self._judge(release, found, stood_still)

    def _judge(self, release: Release, found: Found, stood_still: bool) -> None:
        inspection = inspect(release.settings, found, Source("settings"), now_s=wall_ns() / 1e9)
        if not inspection.problems:
            self._take(inspection)
        elif stood_still:
            self._rejected = self._seen
            self._problems = tuple(map(str, inspection.problems))
            self._refused += 1
            for problem in self._problems:
                _log.error("certificates not taken, the last good ones stay in use: %s", problem)
            self._on_change()

    def _take(self, inspection: Inspection) -> None:
        self._in_use = inspection
        if self._release is not None:
            # A release that is made of this one would bring the old ones back to the workers otherwise.
            self._release.certificates = inspection
        self._rejected, self._problems = {}, ()
        self._reloads += 1
        self._on_files(inspection.files)
        _log.info("new certificates are in use")
        for warning in inspection.warnings:
            _log.warning("%s", warning)
        self._on_change()

    def _clear(self) -> None:
        if self._problems:
            self._rejected, self._problems = {}, ()
            _log.info("the certificate files are again what is in use")
            self._on_change()
