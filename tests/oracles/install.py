"""Make the environment that other people's statistics run in, with the versions pinned beside this file.

It is kept apart from the project's own: gbstats needs an old numpy. ``python -m tests.oracles.install``.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["REQUIRED", "interpreter", "is_installed"]

ROOT = Path(__file__).resolve().parent.parent.parent
PLACE = ROOT / ".venv-oracles"
PINS = Path(__file__).with_name("constraints.txt")
REQUIRED = "MODELPROXY_ORACLES"
"""Environment variable: where it is set, the absence of the environment is an error, not a reason to skip."""

VERSION = (3, 11)
"""pandas 1.5.3, which gbstats pins, has no wheel for newer ones."""


def interpreter() -> Path:
    """Return the Python of the environment, whether it is there or not."""
    return PLACE / "bin" / "python"


def is_installed() -> bool:
    """Tell whether the environment is complete and has the versions that are pinned now."""
    stamp = PLACE / "pins.txt"
    return stamp.exists() and stamp.read_bytes() == PINS.read_bytes()


def _base_interpreter() -> str:
    question = "import sys, venv, ensurepip; print(*sys.version_info[:2])"
    for candidate in filter(None, (sys.executable, shutil.which("python3.11"))):
        said = subprocess.run([candidate, "-c", question], capture_output=True, text=True, check=False)
        if said.returncode == 0 and tuple(map(int, said.stdout.split())) == VERSION:
            return candidate
    raise SystemExit("python3.11 with its venv module is needed for the oracles")


def install() -> None:
    """Make the environment, unless it is complete."""
    if is_installed():
        return
    shutil.rmtree(PLACE, ignore_errors=True)
    print(f"installing oracles into {PLACE.relative_to(ROOT)}", flush=True)  # noqa: T201
    subprocess.run([_base_interpreter(), "-m", "venv", PLACE], check=True)
    pip = [str(interpreter()), "-m", "pip"]
    # The pins are the whole closure; what the caller has set for the project's own must not narrow it.
    environment = {key: value for key, value in os.environ.items() if not key.endswith("_CONSTRAINT")}
    environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "-r", str(PINS)], check=True, env=environment)
    shutil.copyfile(PINS, PLACE / "pins.txt")


if __name__ == "__main__":
    install()
