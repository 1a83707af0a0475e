"""Commands whose output goes nowhere: they end with the exit code that is theirs, and without a trace."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.serving import answering
from tests.records.lines import line_of


def run(stdout: int, *arguments: str) -> tuple[int, str]:
    """Run a command; return its exit code and what it said on standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "proxy", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stderr.decode()


@pytest.fixture(name="closed")
def fixture_closed() -> int:
    """A pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


FULL = "standard output: no space left on device; what was to be printed is lost\n"


@pytest.mark.parametrize("arguments", [["schema"], ["--help"], ["query", "--columns"]], ids=" ".join)
def test_any_command(arguments: list[str], closed: int) -> None:
    """Into a pipe that was closed: quietly; onto a full disk: one sentence. Both are exit code 1."""
    try:
        assert run(closed, *arguments) == (1, "")
    finally:
        os.close(closed)
    with Path("/dev/full").open("wb") as full:
        assert run(full.fileno(), *arguments) == (1, FULL)


CLOSED = {
    "nothing in": ("<&-", 0),
    "nothing out": (">&-", 1),
    "no errors": ("2>&-", 0),
    "nothing at all": ("<&- >&- 2>&-", 1),
}
"""What a shell closes, and the exit code of a command that only prints."""


@pytest.mark.parametrize("name", CLOSED)
def test_streams_that_were_closed_before(name: str, tmp_path: Path) -> None:
    """No trace, and nothing that is printed goes into a file that the command opens; the exit code is its own."""
    (tmp_path / "payloads.jsonl").write_bytes(line_of() * 3)
    out = tmp_path / "out.jsonl"
    redirection, code = CLOSED[name]
    shell = ["sh", "-c", f'"$@" {redirection}', "sh", sys.executable, "-m", "proxy"]

    def end(*arguments: str) -> tuple[int, bytes]:
        done = subprocess.run([*shell, *arguments], capture_output=True, check=False, timeout=60)
        return done.returncode, done.stderr

    with answering(200, b'{"a":2}') as model:
        arguments = ["replay", "--log", str(tmp_path), "--to", model.url, "--out", str(out)]
        assert end(*arguments, "--fail-over", "100%") == (0, b"")
        assert end(*arguments, "--fail-over", "1%") == (1, b"")
    assert [line[:6] for line in out.read_bytes().splitlines()] == [b'{"ts":'] * 3
    assert end("schema") == (code, b"")


def test_a_character_set_that_lacks_something(tmp_path: Path) -> None:
    """What cannot be written as it is does not keep the rest from being written."""
    (tmp_path / "payloads.jsonl").write_bytes(line_of())
    with answering(200, b'{"a":2}') as model:
        done = subprocess.run(
            [sys.executable, "-m", "proxy", "replay", "--log", str(tmp_path), "--to", model.url],
            capture_output=True,
            check=False,
            env=os.environ | {"PYTHONIOENCODING": "ascii"},
        )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"/a: 1 ? 2" in done.stdout


GATES = {"passed": ("100%", 0), "over": ("1%", 1)}


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["page", "json"])
def test_a_replay_whose_report_nobody_reads(name: str, form: list[str], tmp_path: Path, closed: int) -> None:
    """Its exit code is the verdict, as if the report had been read; on a full disk the report is lost, which fails."""
    limit, code = GATES[name]
    (tmp_path / "payloads.jsonl").write_bytes(line_of() * 3)
    with answering(200, b'{"a":2}') as model, Path("/dev/full").open("wb") as full:
        arguments = ["replay", "--log", str(tmp_path), "--to", model.url, "--fail-over", limit, *form]
        assert run(closed, *arguments) == (code, "")
        if name == "passed":
            assert run(full.fileno(), *arguments) == (1, FULL)
    os.close(closed)
