"""Real programs as processes of their own: model servers, client programs, the proxy."""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import orjson
import pytest

from proxy.clock import monotonic, sleep
from tests.real.install import REQUIRED, ROOT, interpreter, is_installed
from tests.real.ports import free_port

__all__ = ["Driver", "driver", "eventually", "needs", "proxy", "server"]

START_S = 60.0
"""A model server imports for seconds on a machine that does other things too."""
PATIENCE_S = 20.0


def needs(environment: str) -> None:
    """Skip the test that asks unless an environment is installed; fail it where that was promised."""
    if is_installed(environment):
        return
    place = interpreter(environment).parent.parent.relative_to(ROOT)
    reason = f"no {place}, or another version: `make {'real' if environment == 'small' else 'real-servers'}` makes it"
    if environment in os.environ.get(REQUIRED, "").split():
        pytest.fail(reason)
    pytest.skip(reason)


def eventually(condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """Wait until ``condition`` gives something true and return it; fail with ``what`` when it takes too long."""
    deadline = monotonic() + patience_s
    while not (value := condition()):
        assert monotonic() < deadline, f"not within {patience_s} s: {what}"
        sleep(0.02)
    return value


def answers(port: int, path: str) -> bool:
    """Tell whether ``GET path`` is answered with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@contextmanager
def _running(
    command: Sequence[str], log: IO[bytes], *, stdin: int = subprocess.DEVNULL, stdout: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a process group of its own, and end the whole group."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        start_new_session=True,
        stdin=stdin,
        stdout=log if stdout is None else stdout,
        stderr=log,
    )
    with process:
        try:
            yield process
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with contextlib.suppress(ProcessLookupError):  # children that outlived it
                os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def server(environment: str, module: str, *arguments: str | Path, ready: str) -> Iterator[int]:
    """Run a model server and give its port once ``GET ready`` is answered with 200.

    Args:
        environment: which environment to run in.
        module: what to run; it takes the port as its first argument.
        arguments: further arguments.
        ready: path that answers 200 when the models are loaded.
    """
    port = free_port()
    with tempfile.TemporaryFile() as log:
        command = [str(interpreter(environment)), "-m", module, str(port), *map(str, arguments)]
        with _running(command, log) as process:

            def is_ready() -> bool:
                if process.poll() is not None:
                    log.seek(0)
                    pytest.fail(f"{module} ended:\n{log.read().decode(errors='replace')[-4000:]}")
                return answers(port, ready)

            eventually(is_ready, f"{module} to be ready", START_S)
            yield port


@contextmanager
def proxy(config: str, directory: Path) -> Iterator[tuple[int, int]]:
    """Run ``modelproxy serve`` on ``config`` and give its two ports, for clients and for admin."""
    file = directory / "modelproxy.yaml"
    file.write_text(config)
    with (directory / "proxy.log").open("wb") as log:
        command = [sys.executable, "-m", "proxy", "serve", str(file)]
        with _running(command, log, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            said = [process.stdout.readline() for _ in range(2)]
            assert all(said), (directory / "proxy.log").read_text()[-4000:]
            listen, admin = (int(line.rsplit(b":", 1)[-1]) for line in said)
            eventually(lambda: answers(admin, "/readyz"), "the proxy to serve")
            yield listen, admin


class Driver:
    """A client program that makes the calls it is told to; see :mod:`tests.real.clients.calling`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin, process.stdout

    def call(self, name: str, url: str, **arguments: Any) -> Any:
        """Make one call and return what the program saw: a value, or the exception it was given."""
        self._in.write(orjson.dumps({"call": name, "url": url, "arguments": arguments}) + b"\n")
        self._in.flush()
        line = self._out.readline()
        assert line, f"the client program ended in {name}"
        return orjson.loads(line)


@contextmanager
def driver(environment: str, module: str) -> Iterator[Driver]:
    """Run a client program."""
    with tempfile.TemporaryFile() as log:
        command = [str(interpreter(environment)), "-m", module]
        with _running(command, log, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            yield Driver(process)
