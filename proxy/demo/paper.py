"""Have ``modelproxy report`` write up each rollout, and compute every decision again."""

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from proxy.demo.processes import environment
from proxy.demo.story import ROLLOUT_ROUTE
from proxy.demo.trials import Paper, Trial

__all__ = ["write_paper"]

LIMIT_S = 60.0
"""One report may take this long. It takes about half a second."""


async def write_paper(folder: Path, state_folder: Path, trials: Sequence[Trial]) -> Paper:
    """Write a page of HTML for each of ``trials`` into ``folder`` and verify their decisions.

    The proxy need not run: all is read from its state.
    """
    asked = [(trial, folder / f"report-{trial.release.variant}.html") for trial in trials if trial.rollout]
    commands = [
        ["report", ROLLOUT_ROUTE, "--state-dir", str(state_folder), "--rollout", trial.rollout, *what]
        for trial, path in asked
        for what in (("--html", str(path)), ("--verify",))
    ]
    outcomes = await asyncio.gather(*(_run(command, folder) for command in commands))
    failures = [said for code, said in outcomes if code]
    written = [str(path) for _, path in asked if path.is_file()]
    is_whole = len(written) == len(trials)
    return Paper(written if is_whole else (), is_whole and not failures, "; ".join(failures)[:500])


async def _run(command: list[str], folder: Path) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "proxy", *command, cwd=folder, stdout=PIPE, stderr=STDOUT, env=environment()
    )
    try:
        async with asyncio.timeout(LIMIT_S):
            out, _ = await process.communicate()
    except TimeoutError:
        return 1, f"{' '.join(command)} took more than {LIMIT_S:g} s"
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return process.returncode or 0, out.decode(errors="replace").strip()
