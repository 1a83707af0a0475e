"""Entry of a worker process: ``python -m proxy.dataplane INDEX RUN_DIR LISTEN_FD CONTROL_FD``."""

import faulthandler
import gc
import signal
import socket
import sys
from pathlib import Path

import uvloop

from proxy.dataplane.memory import keep_freed_memory
from proxy.lasting import lasting
from proxy.logs import start_logging

__all__ = ["main"]

GC_ALLOCATIONS = 20_000
"""Containers allocated (less those freed) between two collections of the youngest; Python's default is 700."""


def main(arguments: list[str]) -> int:
    """Run a worker until it has drained; return the exit code."""
    index, run_dir, listen_fd, control_fd = arguments
    start_logging("info", f"worker-{index}")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Writes where every thread stands, to stderr: the last words of a process that hangs.
    faulthandler.register(signal.SIGUSR1)
    # Meant for the supervisor; whoever tells all processes by name must not end this one.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    keep_freed_memory()
    with lasting():
        from proxy.dataplane.worker import Worker
    # A request makes no cycles: what it leaves is freed by its last reference. Look for the rest seldom.
    gc.set_threshold(GC_ALLOCATIONS)

    async def run() -> None:
        listener = socket.socket(fileno=int(listen_fd))
        listener.setblocking(False)
        worker = Worker(int(index), Path(run_dir), listener)
        worker.loop.add_signal_handler(signal.SIGTERM, worker.drain)
        await worker.run(int(control_fd))

    uvloop.run(run())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
