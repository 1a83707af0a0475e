"""The file of lines: private, whole, and what breaks it is told once."""

from pathlib import Path

import click
import pytest

from proxy.commands.replay_lines import LinesFile


def test_lines(tmp_path: Path) -> None:
    """What was there is replaced."""
    path = tmp_path / "out"
    path.write_bytes(b"before, and longer than what comes")
    lines = LinesFile(path)
    assert lines.is_wanted
    lines.write(b"one\n")
    lines.write(b"two\n")
    lines.close()
    assert (path.read_bytes(), lines.problem) == (b"one\ntwo\n", "")


def test_none(tmp_path: Path) -> None:
    """Without a path nothing is wanted; one that cannot be opened is refused."""
    lines = LinesFile(None)
    lines.write(b"one\n")
    lines.close()
    assert (lines.is_wanted, lines.problem) == (False, "")
    with pytest.raises(click.exceptions.Exit):
        LinesFile(tmp_path / "no" / "out")


@pytest.mark.parametrize("count", [1, 10_000])
def test_a_full_disk(count: int) -> None:
    """It is told once, while writing or when what waits is written at the end; nothing is written after it."""
    told: list[str] = []
    lines = LinesFile(Path("/dev/full"))
    lines.on_problem = lambda: told.append(lines.problem)
    for _ in range(count):
        lines.write(b"x" * 100)
    lines.close()
    assert told == ["/dev/full: no space left on device; later lines are lost"]
    assert not lines.is_wanted
