"""llama.cpp's server with weights drawn for the test."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.real.install import ROOT, interpreter
from tests.real.processes import server

__all__ = ["llamas"]


@contextmanager
def llamas(directory: Path, *weights: tuple[str, ...], mode: str = "") -> Iterator[list[int]]:
    """Run a llama for each seed and, where there is one, share of another draw; give their ports.

    Args:
        directory: for the files of weights.
        weights: seed, and share.
        mode: "embeddings" or "ranks", else they generate.
    """
    with ExitStack() as stack:
        ports = []
        for number, drawn in enumerate(weights):
            model = directory / f"{number}.gguf"
            writer = [str(interpreter("small")), "-m", "tests.real.servers.noise_model"]
            subprocess.run(
                [*writer, str(model), *drawn, *(["ranks"] if mode == "ranks" else [])], cwd=ROOT, check=True
            )
            running = server(
                "small", "tests.real.servers.llama", model, *([mode] if mode else []), ready="/health"
            )
            ports.append(stack.enter_context(running))
        yield ports
