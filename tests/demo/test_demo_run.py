"""The whole demo as a user starts it: real processes, real sockets, and nothing left behind."""

import asyncio
import os
import re
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import orjson
import pytest

from proxy.demo.models import has_sklearn
from proxy.demo.run import INTERRUPTED, main

ROOT = Path(__file__).resolve().parents[2]

needs_sklearn = pytest.mark.skipif(not has_sklearn(), reason="scikit-learn is not installed")


class Run:
    """One ``modelproxy demo`` in a process of its own."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.said = ""

    async def wait_said(self, text: str) -> None:
        """Return when ``text`` was printed on standard error."""
        assert self.process.stderr is not None
        while text not in self.said:
            line = await self.process.stderr.readline()
            assert line, f"ended before saying {text!r}:\n{self.said}"
            self.said += line.decode()

    async def end(self) -> tuple[int, bytes]:
        """Return exit code and standard output."""
        out, err = await self.process.communicate()
        self.said += err.decode()
        assert self.process.returncode is not None
        return self.process.returncode, out

    def left_behind(self) -> list[int]:
        """Return the ports named so far on which something still listens."""
        ports = {int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+)", self.said)}
        return [port for port in ports if is_listening(port)]


def is_listening(port: int) -> bool:
    """Tell whether something accepts connections on ``port``."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Run]:
    """A quick run, ended at the latest when the test is."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "proxy", "demo", "--quick", "--plain", "--json"),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path), "COLUMNS": "200"},
        stdout=PIPE,
        stderr=PIPE,
    )
    yield Run(process)
    with suppress(ProcessLookupError):
        process.terminate()
    await process.wait()


@pytest.mark.slow
@pytest.mark.long
@needs_sklearn
async def test_the_demo_holds_what_it_claims(run: Run) -> None:
    """Exit code 0, every check true, more than a thousand requests without a failure, and nothing left behind."""
    code, out = await run.end()
    assert code == 0, run.said
    document = orjson.loads(out)
    assert [check["name"] for check in document["checks"] if not check["ok"]] == []
    assert document["requests"] > 1000
    skewed, broken, fixed = document["rollouts"]["builds"]
    assert (skewed["requests"], skewed["weights"]) == (0, [0])
    assert (broken["by"], broken["phase"], broken["weights"]) == ("engine", "rolled_back", [5, 0])
    assert (fixed["by"], fixed["phase"], fixed["weights"]) == ("engine", "promoted", [0, 5, 25, 50, 100])
    assert document["rollouts"]["failed"] == 0
    assert [each["passed"] for each in document["rollouts"]["rehearsals"]] == [False, True]
    assert [report.rpartition("-")[2] for report in document["rollouts"]["reports"]] == [
        "v3.html",
        "v4.html",
        "v5.html",
    ]
    assert (document["ok"], document["failed"], document["users"]) == (True, 0, 400)
    assert [reload["canary_weight"] for reload in document["reloads"]] == [5, 20, 0]
    assert document["log"]["lines"] > 0
    assert run.left_behind() == []


@pytest.mark.long
@pytest.mark.slow
@needs_sklearn
async def test_ctrl_c_ends_everything(run: Run) -> None:
    """Interrupted under traffic the demo says so, exits as shells expect, and ends all it started."""
    await run.wait_said("canary 5 %")
    assert len(run.left_behind()) == 7
    run.process.send_signal(signal.SIGINT)
    code, out = await run.end()
    assert (code, out) == (INTERRUPTED, b"")
    assert "interrupted" in run.said
    assert run.left_behind() == []


@pytest.mark.slow
@pytest.mark.long
@needs_sklearn
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the model's process in /proc")
async def test_a_model_that_dies_ends_the_demo(run: Run) -> None:
    """When a process ends that nobody asked to, the demo names it and ends the others."""
    await run.wait_said("canary 5 %")
    victim = next(pid for pid, name in children(run.process.pid) if name.endswith("skewed"))
    os.kill(victim, signal.SIGKILL)
    code, _ = await run.end()
    assert code == 1
    assert "model-skewed ended with exit code -9" in run.said
    assert run.left_behind() == []


def children(parent: int) -> list[tuple[int, str]]:
    """Return process id and command line of each child of ``parent``."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                found.append((int(folder.name), (folder / "cmdline").read_bytes().decode().strip("\0")))
    return found


def test_without_scikit_learn_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing extra is one sentence with the command that installs it, and exit code 1."""
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert main(plain=True) == 1
    assert "pip install 'modelproxy[demo]'" in capsys.readouterr().out
