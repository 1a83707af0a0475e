"""Make the environments that real servers and clients run in, each with the versions pinned beside this file.

They are kept apart from the project's own: model servers pin old libraries. ``python -m tests.real.install small``.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["PINS", "REQUIRED", "interpreter", "is_installed"]

ROOT = Path(__file__).resolve().parent.parent.parent
PLACE = ROOT / ".venv-real"
PINS = {
    "small": "constraints.txt",
    "mlserver": "constraints-mlserver.txt",
    "kserve": "constraints-kserve.txt",
    "mlflow": "constraints-mlflow.txt",
}
"""Environment → file with the version of every package in it."""
REQUIRED = "MODELPROXY_REAL"
"""Environment variable: names the environments whose absence is an error, not a reason to skip."""

VERSIONS = ((3, 11), (3, 12))
"""NVIDIA's Triton package has no wheel for newer ones."""


def interpreter(name: str) -> Path:
    """Return the Python of an environment, whether it is there or not."""
    return PLACE / name / "bin" / "python"


def is_installed(name: str) -> bool:
    """Tell whether an environment is complete and has the versions that are pinned now."""
    stamp = PLACE / name / "pins.txt"
    return stamp.exists() and stamp.read_bytes() == _pins(name).read_bytes()


def _pins(name: str) -> Path:
    return Path(__file__).with_name(PINS[name])


def _base_interpreter() -> str:
    candidates = [sys.executable, *(shutil.which(f"python{a}.{b}") or "" for a, b in VERSIONS)]
    question = "import sys, venv, ensurepip; print(*sys.version_info[:2])"
    for candidate in filter(None, candidates):
        said = subprocess.run([candidate, "-c", question], capture_output=True, text=True, check=False)
        if said.returncode == 0 and tuple(map(int, said.stdout.split())) in VERSIONS:
            return candidate
    raise SystemExit("python3.11 or python3.12 with its venv module is needed for the real servers")


def install(name: str) -> None:
    """Make an environment, unless it is complete."""
    if is_installed(name):
        return
    place = PLACE / name
    shutil.rmtree(place, ignore_errors=True)
    print(f"installing real servers and clients into {place.relative_to(ROOT)}", flush=True)  # noqa: T201
    subprocess.run([_base_interpreter(), "-m", "venv", place], check=True)
    pip = [str(interpreter(name)), "-m", "pip"]
    # The pins are the whole closure; what the caller has set for the project's own must not narrow it.
    environment = {key: value for key, value in os.environ.items() if not key.endswith("_CONSTRAINT")}
    environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    pinned = ["install", "--quiet", "--no-deps", "-r", str(_pins(name))]
    subprocess.run([*pip, *pinned], check=True, env=environment)
    subprocess.run([*pip, "check", "--quiet"], check=True, env=environment)
    shutil.copyfile(_pins(name), place / "pins.txt")


if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        install(wanted)
