"""Entry of the observer process: ``python -m proxy.observer RUN_DIR ADMIN_FD CONTROL_FD``."""

import faulthandler
import gc
import os
import signal
import socket
import sys
from pathlib import Path

import uvloop

from proxy.lasting import lasting
from proxy.logs import start_logging
from proxy.observer.priority import give_way, give_way_as_session
from proxy.tasks import spawn

__all__ = ["GC_THRESHOLDS", "main"]

GC_THRESHOLDS = (20_000, 20, 100)
"""Frames come and go by the ten thousand and hold no cycles; looking at them every 700 allocations costs a
tenth of the process."""


def main(arguments: list[str]) -> int:
    """Run the observer until it has ended; return the exit code."""
    run_dir, admin_fd, control_fd = arguments
    start_logging("info", "observer")
    # A terminal sends SIGINT to the whole group; the supervisor tells its children when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Writes where every thread stands, to stderr: the last words of a process that hangs.
    faulthandler.register(signal.SIGUSR1)
    # Meant for the supervisor; whoever tells all processes by name must not end this one.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    # Read by numpy when it is imported: it would start a thread for each core, for products of matrices that nobody
    # here multiplies.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with lasting():
        from proxy.observer.observer import Observer
        from proxy.observer.surface import build_admin
    gc.set_threshold(*GC_THRESHOLDS)
    # Before there is any other thread, and after most of the work of starting: workers that start meanwhile wait for
    # this process a moment only.
    give_way()

    async def run() -> None:
        admin = socket.socket(fileno=int(admin_fd))
        admin.setblocking(False)
        spawn(give_way_as_session(), name="give way")
        await Observer(Path(run_dir)).run(admin, int(control_fd), build_admin)

    uvloop.run(run())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
