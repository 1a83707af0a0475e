"""SIGUSR2: the program on disk takes the place of the running one, and no request is refused or broken by it.

The course of it, in the program before:

1. *preflight*: the program on disk is asked whether it can take over with the configuration on disk
   (:mod:`proxy.preflight`). If not, nothing happens, and the reasons are logged and journalled;
2. *rest*: no table half way to a process, no message half sent;
3. *exchange*: layouts are left beside the counters, and the supervisor replaces itself in place
   (:mod:`proxy.handover`). Workers and observer go on meanwhile.

In the program after:

4. it starts its own workers and observer beside the earlier ones, on the same sockets, and tries again until they
   serve: until then the earlier ones do (:mod:`proxy.earlier`);
5. *succession*: the earlier observer falls silent and ours answers; the earlier workers take no new connection, finish
   and end; then the earlier observer; then their counts are added to the base, and their
   evidence is kept beside ours.

At every moment somebody accepts on both sockets, and every count is found exactly once.
"""

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from proxy.clock import monotonic
from proxy.earlier import Earlier
from proxy.evidence.blocks import adopt
from proxy.fleet import Fleet
from proxy.handover import FORMAT
from proxy.retirement import settle
from proxy.rundir import RunDirectory, remove_run_directory
from proxy.tally import fold_earlier

__all__ = ["preflight", "succeed"]

PREFLIGHT_S = 60.0
"""The program on disk may take so long to look at itself."""

OBSERVER_S = 15.0
"""Our observer may take so long; then the workers are exchanged without it."""

COMPLAIN_S = 60.0
"""So often it is said that our workers are not complete yet."""

FOLD_AGAIN_S = 5.0

_LOOK_S = 0.05
_MAX_LINES = 20

_log = logging.getLogger("modelproxy")


async def preflight(config_path: Path, seconds: float = PREFLIGHT_S) -> tuple[str, ...]:
    """Return why the program on disk cannot take over with ``config_path``, one line each; empty when it can."""
    command = (sys.executable, "-m", "proxy.preflight", str(FORMAT), str(config_path))
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        return (f"cannot start {sys.executable}: {error.strerror}",)
    try:
        async with asyncio.timeout(seconds):
            _, errors = await process.communicate()
    except TimeoutError:
        return (f"the program on disk does not answer within {seconds:g} s",)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode == 0:
        return ()
    lines = errors.decode(errors="replace").splitlines()[-_MAX_LINES:]
    return tuple(lines) or (f"the program on disk ended with exit code {process.returncode}",)


async def succeed(
    earlier: Earlier,
    fleet: Fleet,
    run: tuple[RunDirectory, RunDirectory],
    patience_s: tuple[float, float],
    listen: int,
    on_change: Callable[[], None],
) -> None:
    """Take over from ``earlier`` once ``fleet`` serves.

    Args:
        earlier: the processes of the program before.
        fleet: ours.
        run: its run directory and ours; its counts are added to ours, then it is removed.
        patience_s: how long the earlier ones may take to finish, and how much longer until they are killed.
        listen: descriptor of our listening socket, which may be theirs too.
        on_change: called when the earlier processes have ended.
    """
    theirs, ours = run
    await _until(lambda: fleet.is_complete, "the new workers are not complete; those before go on")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(OBSERVER_S):
            await _until(lambda: fleet.observer.is_up)
    if fleet.observer.is_up:
        await earlier.hush()
    else:
        _log.error(
            "the new observer is not there within %g s; the workers are exchanged without it", OBSERVER_S
        )
    fleet.open_admin()
    await earlier.leave(listen)
    await earlier.drain(*patience_s)
    on_change()
    while True:
        try:
            adopt(ours.path, theirs.path)
            fold_earlier(ours.path, settle)
        except OSError as error:
            fleet.count_fold_failure(f"the counts of the program before: {error.strerror}")
            await asyncio.sleep(FOLD_AGAIN_S)
        else:
            remove_run_directory(theirs)
            return


async def _until(condition: Callable[[], bool], complaint: str = "") -> None:
    complain_s = monotonic() + COMPLAIN_S
    while not condition():
        if complaint and monotonic() > complain_s:
            _log.error("upgrade: %s", complaint)
            complain_s += COMPLAIN_S
        await asyncio.sleep(_LOOK_S)
