"""``python -m tests.audit``: ask for known vulnerabilities of every pinned version.

Exit codes: 0 every version was looked up and has none, 1 some have, 3 some could not be looked up, so nothing is known
of them. ``pip-audit`` itself ends with 0 in that last case, also when there is no network at all.

Its own packages live in an environment beside ours: what is audited is what users install, nothing else.
"""

import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

__all__ = ["CLEAN", "UNKNOWN", "VULNERABLE", "judge"]

CLEAN, VULNERABLE, UNKNOWN = 0, 1, 3

PIP_AUDIT = "pip-audit==2.10.1"
ROOT = Path(__file__).parents[2]
PLACE = ROOT / ".venv" / "audit"
TIMEOUT_S = 300


def main() -> int:
    """Audit ``constraints.txt`` and say what came out; return the exit code."""
    program = PLACE / "bin" / "pip-audit"
    if not program.exists():
        venv.create(PLACE, with_pip=True)
        pip = [
            str(PLACE / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            PIP_AUDIT,
        ]
        if subprocess.run(pip, check=False).returncode:
            sys.stderr.write(f"not audited: {PIP_AUDIT} could not be installed\n")
            return UNKNOWN
    command = [
        str(program),
        "-r",
        "constraints.txt",
        "--no-deps",
        "--disable-pip",
        "--progress-spinner",
        "off",
    ]
    done = subprocess.run(
        [*command, "--timeout", "15", "-f", "json"],
        cwd=ROOT,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    try:
        report = orjson.loads(done.stdout)
    except orjson.JSONDecodeError:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        sys.stderr.write(
            f"not audited: no advisory database was reached ({lines[-1] if lines else 'no answer'})\n"
        )
        return UNKNOWN
    code, sentences = judge(report)
    sys.stderr.write("".join(f"{sentence}\n" for sentence in sentences))
    return code


def judge(report: Mapping[str, Any]) -> tuple[int, list[str]]:
    """Return exit code and sentences for a report of ``pip-audit -f json``."""
    packages = report["dependencies"]
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    sentences = [
        f"{package['name']} {package['version']}: {found['id']}, mended in "
        f"{', '.join(found['fix_versions']) or 'no version yet'}"
        for package in packages
        for found in package.get("vulns", ())
    ]
    if sentences:
        return VULNERABLE, sentences
    if unknown or not packages:
        few = ", ".join(unknown[:5]) + (", …" if len(unknown) > 5 else "")
        sentence = (
            f"not audited: no advisories could be had for {len(unknown)} of {len(packages)} packages ({few})"
        )
        return UNKNOWN, [sentence]
    return CLEAN, [f"{len(packages)} pinned versions, no known vulnerability"]


if __name__ == "__main__":
    sys.exit(main())
