"""Freed memory that is kept for the next large body."""

import ctypes
import os
import platform
import subprocess
import sys

import pytest

from proxy.dataplane.memory import CHOSEN, keep_freed_memory

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is another")

FAULTS = """
import resource, sys
from proxy.dataplane.memory import keep_freed_memory
print(keep_freed_memory())
def pass_bodies(count):
    for _ in range(count):
        pieces = [bytes(range(256)) * 1024 for _ in range(4)]
        body = b"".join(pieces)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
pass_bodies(3)
before = pass_bodies(0)
print(pass_bodies(100) - before)
"""


def run(**environ: str) -> list[str]:
    clean = {name: value for name, value in os.environ.items() if name not in (*CHOSEN, "GLIBC_TUNABLES")}
    argv = [sys.executable, "-c", FAULTS]
    return subprocess.run(
        argv, capture_output=True, text=True, check=True, env=clean | environ
    ).stdout.split()


@needs_glibc
def test_large_bodies_come_from_memory_that_is_there() -> None:
    """A hundred bodies of 1 MiB in four pieces fault in less than the pages of one."""
    is_kept, faults = run()
    assert is_kept == "True"
    assert int(faults) < 256


@needs_glibc
@pytest.mark.parametrize(
    ("name", "value", "is_kept"),
    [
        ("MALLOC_TRIM_THRESHOLD_", "131072", "False"),
        ("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=131072", "False"),
        ("MALLOC_ARENA_MAX", "2", "True"),
        ("GLIBC_TUNABLES", "glibc.pthread.rseq=1", "True"),
    ],
)
def test_who_has_chosen_is_not_overruled(name: str, value: str, is_kept: str) -> None:
    """Variables that tell the C library what to keep hold; others mean nothing here."""
    assert run(**{name: value})[0] == is_kept


def test_another_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ``mallopt`` there is nothing to say, as with musl and on macOS."""
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: object())
    for name in (*CHOSEN, "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    assert not keep_freed_memory()
