"""Asks the oracles, which live in a process and an environment of their own."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.oracles.install import REQUIRED, interpreter, is_installed

Ask = Callable[..., Any]


@pytest.fixture(scope="session")
def ask() -> Iterator[Ask]:
    """Return a function that asks the oracles a question, by name and arguments; skip where they are absent."""
    if not is_installed():
        reason = "no .venv-oracles, or another version: `make oracles` makes it"
        if os.environ.get(REQUIRED):
            pytest.fail(reason)
        pytest.skip(reason)
    command = [str(interpreter()), str(Path(__file__).with_name("answers.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        put, got = process.stdin, process.stdout

        def asked(name: str, *arguments: Any) -> Any:
            put.write(orjson.dumps([name, *arguments], option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")
            put.flush()
            line = got.readline()
            assert line, f"{name} has no answer: {arguments}"
            return orjson.loads(line)

        yield asked
        put.close()
