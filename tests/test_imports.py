"""What a process does not need it does not import: that is memory for each of them, and time for each start."""

import subprocess
import sys

import pytest

STARTED = {
    "a worker": (
        "import proxy.dataplane.__main__, proxy.dataplane.worker",
        {"proxy.dataplane", "proxy.routing", "proxy.wire", "httptools", "uvloop"},
        # It gets values: it judges no file, counts into memory, and shows nothing.
        {
            "aiohttp", "click", "cryptography", "multiprocessing", "numpy", "opentelemetry", "prometheus_client",
            "proxy.compare", "proxy.control", "proxy.engine", "proxy.observer", "proxy.rollout", "proxy.settings",
            "proxy.stats", "proxy.supervisor", "pydantic", "rich", "sqlite3", "watchfiles", "yaml",
        },
    ),
    "the supervisor": (
        "import proxy.commands.serve, proxy.supervisor",
        {"proxy.control", "proxy.settings", "watchfiles"},
        # It reads no evidence, serves no page and carries no traffic. Certificates it reads when there are some.
        {
            "aiohttp", "cryptography", "httptools", "numpy", "opentelemetry", "prometheus_client", "proxy.compare",
            "proxy.dataplane", "proxy.engine", "proxy.observer", "proxy.stats", "rich", "sqlite3",
        },
    ),
    "the observer": (
        "import proxy.observer.__main__, proxy.observer.observer, proxy.observer.surface",
        {"aiohttp", "numpy", "proxy.engine", "sqlite3"},
        # Spans leave where a collector is named. The rest is for who has a terminal, a file to watch or clients.
        {
            "click", "cryptography", "httptools", "multiprocessing", "opentelemetry", "proxy.dataplane",
            "proxy.settings", "proxy.supervisor", "pydantic", "rich", "watchfiles", "yaml",
        },
    ),
    "modelproxy --help": (
        "from proxy.cli import main; main(['--help'], standalone_mode=False)",
        {"click", "proxy.cli"},
        {"aiohttp", "asyncio", "numpy", "proxy.commands", "proxy.settings", "pydantic", "rich", "uvloop", "yaml"},
    ),
    "modelproxy validate": (
        "from proxy.cli import main; main(['validate', 'config/modelproxy.yaml'], standalone_mode=False)",
        {"click", "proxy.settings", "pydantic", "yaml"},
        {"aiohttp", "asyncio", "cryptography", "numpy", "proxy.supervisor", "rich", "uvloop", "watchfiles"},
    ),
}  # fmt: skip
"""Who starts → how, some of what it imports, and what it does not."""


@pytest.mark.slow
@pytest.mark.parametrize("who", STARTED)
def test_nothing_that_is_not_needed(who: str) -> None:
    """A fresh interpreter has imported what it must, and nothing of what it need not."""
    program, needed, needless = STARTED[who]
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys; print('imported:', *sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = set(done.stdout.partition("imported:")[2].split())
    assert needed <= imported
    assert needless & imported == set()
