"""llama.cpp's server with weights drawn for the test."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.real.install import ROOT, interpreter
from tests.real.processes import server

__all__ = ["llamas"]


@contextmanager
def llamas(directory: Path, *weights: tuple[str, ...], mode: tuple[str, ...] = ()) -> Iterator[list[int]]:
    """Run a llama for each seed and, where there is one, share of another draw; give their ports."""
    with ExitStack() as stack:
        ports = []
        for number, drawn in enumerate(weights):
            model = directory / f"{number}.gguf"
            writer = [str(interpreter("small")), "-m", "tests.real.servers.noise_model"]
            subprocess.run([*writer, str(model), *drawn], cwd=ROOT, check=True)
            running = server("small", "tests.real.servers.llama", model, *mode, ready="/health")
            ports.append(stack.enter_context(running))
        yield ports
