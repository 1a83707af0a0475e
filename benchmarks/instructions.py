"""``python -m benchmarks.instructions``: how many instructions a request costs, which a busy machine does not change.

Theory of operation
    callgrind executes :mod:`benchmarks.counted` and counts every instruction of the process. Each stage runs N requests
    and then 2N; the difference divided by N is a request's, and start-up, warming up and the marks cancel. What is not
    the program's is held still: no address randomisation, hash seed 0, an empty environment, all compiled before.
    Two counts of one source differ by less than 0.5 %, whatever else the machine does; seconds differ by 20.

The record
    ``INSTRUCTIONS.json`` keeps one record for each build: another Python, compiler or library takes another number of
    instructions for the same source, so a figure is only held against the record of the same build. Without one the
    figures are printed and nothing is judged; so is a stage that was accepted on another build and not counted on this
    one. A rise of more than 5 % fails until it is accepted with a reason, which stands in the record; accepting on one
    build scales the records of the others: a source moves them all about alike.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import orjson

from benchmarks.counted import COUNTED, MARK, PARTS_EACH, REQUESTS

__all__ = ["ALLOWED", "Build", "accepted", "judged", "main", "per_request"]

RECORD = Path(__file__).with_name("INSTRUCTIONS.json")
ROOT = Path(__file__).resolve().parent.parent

ALLOWED = 0.05
"""The rise, as a fraction, that passes without a word: less than a tenth of a microsecond in ten."""

LIBRARIES = ("httptools", "mmh3", "uvloop")
"""Compiled ones that the road calls, and the one that could replace its loop."""

Build = Mapping[str, str]
Figures = Mapping[str, int]
Records = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What to say, and whether the check fails."""

    lines: tuple[str, ...]
    is_failure: bool


def this_build(valgrind: str) -> Build:
    """Return what decides, beside the source, how many instructions a request takes."""
    said = subprocess.run([valgrind, "--version"], capture_output=True, text=True, check=True).stdout
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "compiler": platform.python_compiler(),
        "interpreter": hashlib.sha256(interpreter().read_bytes()).hexdigest()[:12],
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()),
        "vectors": vectors(),
        "valgrind": said.strip().removeprefix("valgrind-"),
        **{name: version(name) for name in LIBRARIES},
    }


def interpreter() -> Path:
    """Return the file that holds the interpreter's code: the program, or the library that it is linked with."""
    names = [sysconfig.get_config_var(name) for name in ("LIBDIR", "INSTSONAME")]
    library = Path(*names) if all(names) and sysconfig.get_config_var("Py_ENABLE_SHARED") else None
    program = Path(sys.executable).resolve()
    # Debian's is configured with a shared library and linked without.
    return library if library and library.exists() and program.stat().st_size < 2**20 else program


def vectors() -> str:
    """Return what valgrind passes on of that by which the C library chooses how it copies."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return " ".join(name for name in ("avx2", "erms") if re.search(rf"\b{name}\b", flags))


def count(valgrind: str) -> Figures:
    """Run the script under callgrind and return each stage's instructions per request.

    Raises:
        click.ClickException: when it fails.
    """
    quiet = {"PATH": os.defpath, "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
    script = [sys.executable, "-m", "benchmarks.counted"]
    # Once without counting: what it imports is compiled and in the cache, and a mistake is told in its own words.
    subprocess.run(script, cwd=ROOT, env=quiet, check=True)
    with tempfile.TemporaryDirectory(prefix="instructions-") as directory:
        callgrind = [valgrind, "--tool=callgrind", f"--dump-before={MARK}"]
        callgrind += [f"--callgrind-out-file={directory}/part"]
        fixed = ["setarch", "-R"] if shutil.which("setarch") else []
        done = subprocess.run(
            [*fixed, *callgrind, *script], cwd=ROOT, env=quiet, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise click.ClickException(f"callgrind failed: {done.stderr.strip()[-500:]}")
        written = [Path(directory, f"part.{number + 1}") for number in range(PARTS_EACH * len(COUNTED))]
        missing = [path.name for path in written if not path.exists()]
        if missing:
            raise click.ClickException(
                f"callgrind did not write {', '.join(missing)}: it saw no call of {MARK}"
            )
        return per_request([total(path.read_text()) for path in written])


def total(part: str) -> int:
    """Return the instructions of one part that callgrind wrote.

    Raises:
        ValueError: when it names no sum.
    """
    found = re.search(r"^summary: (\d+)", part, re.M)
    if found is None:
        raise ValueError("expected a line 'summary: N' in what callgrind wrote")
    return int(found[1])


def per_request(parts: Sequence[int]) -> Figures:
    """Return instructions per request of each stage, from the instructions of all parts in order."""
    figures = {}
    for number, name in enumerate(COUNTED):
        once, twice = parts[PARTS_EACH * number + 1 : PARTS_EACH * (number + 1)]
        figures[name] = round((twice - once) / REQUESTS)
    return figures


def judged(build: Build, figures: Figures, records: Records) -> Judgement:
    """Hold ``figures`` against the record of the same build."""
    record = next((each for each in records if each["build"] == build), None)
    if record is None:
        lines = [f"{name}: {figure:,} instructions a request" for name, figure in figures.items()]
        known = "; ".join(differing(build, each["build"]) for each in records) or "there is none yet"
        lines.append(f"not judged: no record of this build ({known}). To add one: {command('why')}")
        return Judgement(tuple(lines), False)
    lines, risen, fallen = [], [], []
    elsewhere = {name for each in records for name in each["instructions"]}
    for name, figure in figures.items():
        before = record["instructions"].get(name)
        if before is None:
            lines.append(f"{name}: {figure:,} instructions a request, not in the record of this build")
            # Accepted elsewhere it is no news, and whoever accepted it there could not count it here.
            risen += [] if name in elsewhere else [f"{name} (new)"]
            continue
        change = figure / before - 1
        lines.append(
            f"{name}: {figure:,} instructions a request, {change:+.1%} against the record ({before:,})"
        )
        risen += [f"{name} by {change:.1%}"] if change > ALLOWED else []
        fallen += [name] if change < -ALLOWED else []
    if risen:
        lines.append(
            f"the hot path costs more: {', '.join(risen)}, allowed is {ALLOWED:.0%}. Make it cheaper, or accept it: "
            + command("what the instructions buy")
        )
    elif fallen:
        lines.append(
            f"cheaper than the record: {', '.join(fallen)}. Keep the gain: {command('what was saved')}"
        )
    return Judgement(tuple(lines), bool(risen))


def command(reason: str) -> str:
    """Return how figures are accepted."""
    return f'python -m benchmarks.instructions --accept "{reason}"'


def differing(build: Build, other: Build) -> str:
    """Return in what ``other`` is another build."""
    keys = [key for key in build if build[key] != other.get(key)]
    return "a record has " + ", ".join(f"{key} {other.get(key, 'unnamed')}" for key in keys)


def accepted(build: Build, figures: Figures, reason: str, records: Records) -> list[dict[str, Any]]:
    """Return the records with ``figures`` for this build; those of other builds move by the same factor."""
    old: Figures = next((each["instructions"] for each in records if each["build"] == build), {})
    changed = []
    for record in records:
        if record["build"] == build:
            continue
        scaled = {
            name: round(before * (figures[name] / old[name] if name in figures and name in old else 1))
            for name, before in record["instructions"].items()
        }
        moved = scaled != record["instructions"]
        why = f"{reason} (scaled from {build['python']})" if moved else record["reason"]
        changed.append({**record, "instructions": scaled, "reason": why})
    changed.append({"build": dict(build), "instructions": dict(figures), "reason": reason})
    return sorted(changed, key=lambda record: (record["build"]["python"], record["build"]["interpreter"]))


@click.command()
@click.option("--accept", "reason", help="Write the figures into the record, with this reason for them.")
def main(reason: str | None) -> None:
    """Count the instructions of a request and hold them against the record."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        click.echo(
            "skipped: instructions of the hot path (valgrind is missing; Debian: apt-get install valgrind)"
        )
        return
    build, figures = this_build(valgrind), count(valgrind)
    records = orjson.loads(RECORD.read_bytes()) if RECORD.exists() else []
    if reason is not None:
        pretty = orjson.dumps(accepted(build, figures, reason, records), option=orjson.OPT_INDENT_2)
        RECORD.write_bytes(pretty + b"\n")
        records = orjson.loads(pretty)
    judgement = judged(build, figures, records)
    click.echo("\n".join(judgement.lines))
    sys.exit(judgement.is_failure)


if __name__ == "__main__":
    main()
