"""The form of a log line."""

import logging
import re
import sys
from collections.abc import Iterator

import pytest

from proxy.logs import LineFormatter, set_level, start_logging


@pytest.fixture(autouse=True)
def _logging_put_back() -> Iterator[None]:
    """The logging of the tests is put back afterwards."""
    root, ours = logging.getLogger(), logging.getLogger("modelproxy")
    before = root.handlers[:], root.level, ours.level
    # Taken away first, so that ``force`` does not close the handlers of the test runner.
    root.handlers[:] = []
    yield
    root.handlers[:], root.level, ours.level = before


def test_one_event_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A line has time in UTC, level, process and message."""
    start_logging("info", "worker-0")
    logging.getLogger("modelproxy").info("table version %d", 3)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info worker-0: table version 3\n", capsys.readouterr().err
    )


def test_the_level_follows_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    """Below the level nothing is written, and a reload may change it."""
    start_logging("warning", "supervisor")
    log = logging.getLogger("modelproxy")
    log.info("one")
    set_level("debug")
    log.debug("two")
    logging.getLogger("library").info("three")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("debug supervisor: two")


def test_a_traceback_follows() -> None:
    """An exception's traceback comes after its line."""
    try:
        raise ValueError("boom")
    except ValueError:
        record = logging.LogRecord("modelproxy", logging.ERROR, "", 0, "failed", None, sys.exc_info())
    text = LineFormatter("observer").format(record)
    first, second, *_ = text.splitlines()
    assert first.endswith("error observer: failed")
    assert second.startswith("    Traceback")
    assert text.endswith("ValueError: boom")


def test_no_line_can_be_forged() -> None:
    """Line breaks and escape sequences in a message or an exception neither begin a line nor reach the terminal."""
    forged = "x\r\n2026-01-31T12:00:00.123Z info supervisor: drained\x1b[2J\x85\u2028y"
    try:
        raise ValueError(forged)
    except ValueError:
        record = logging.LogRecord("modelproxy", logging.ERROR, "", 0, "%s", (forged,), sys.exc_info())
    first, *rest = LineFormatter("observer").format(record).splitlines()
    assert "error observer: x" in first
    assert all(line.startswith("    ") for line in rest)
    assert not any(c in line for line in (first, *rest) for c in "\x1b\r\x85\u2028")
