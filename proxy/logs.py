"""How every process of the proxy writes its log: one line an event, UTC, on stderr."""

import logging
import sys
from datetime import UTC, datetime

from proxy.printable import indented

__all__ = ["LineFormatter", "set_level", "start_logging"]

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class LineFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.123Z info worker-0: message``; further lines, as of a traceback, are set in.

    Nothing that a client, a model or a file wrote can begin a line, or reach the terminal as more than text.
    """

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of ``record``."""
        when = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        level = record.levelname.lower()
        text = record.getMessage()
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        return f"{when}.{int(record.msecs):03d}Z {level} {self._process}: {indented(text)}"


def start_logging(level: str, process: str) -> None:
    """Send the log of this process to stderr.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``; applies to the proxy's own lines, libraries
        start at warning. process: name in every line, for example ``supervisor`` or ``worker-0``.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(process))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    set_level(level)


def set_level(level: str) -> None:
    """Change the level of the proxy's own lines, as a reload may."""
    logging.getLogger("modelproxy").setLevel(_LEVELS[level])
