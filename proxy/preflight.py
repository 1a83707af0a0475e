"""``python -m proxy.preflight FORMAT CONFIG``: can this program take over with this configuration?

Run from the program on disk by the one that is about to be replaced by it. Exit code 0: it can; else each line on
stderr is a reason. It imports everything that will run, so that a half-installed version is found out here, where it
harms nobody.
"""

import importlib
import sys
from pathlib import Path

__all__ = ["check", "main"]

_PROGRAM = (
    "proxy.supervisor",
    "proxy.dataplane.__main__",
    "proxy.dataplane.worker",
    "proxy.observer.__main__",
    "proxy.observer.observer",
    "proxy.observer.surface",
)
"""The entries, and what they import only when they run."""


def check(handover_format: str, config: Path) -> tuple[str, ...]:
    """Return why this program cannot take over, one line each.

    Args:
        handover_format: of the document that the running program would hand over.
        config: the file it would serve.
    """
    from proxy.errors import ConfigError
    from proxy.handover import FORMAT
    from proxy.settings import load_with_source

    if handover_format != str(FORMAT):
        return (f"this version takes over from format {FORMAT}, the running program has {handover_format}",)
    for module in _PROGRAM:
        importlib.import_module(module)
    try:
        load_with_source(config)
    except ConfigError as error:
        return tuple(str(problem) for problem in error.problems)
    return ()


def main(arguments: list[str]) -> int:
    """Check and print; return the exit code."""
    handover_format, config = arguments
    problems = check(handover_format, Path(config))
    for problem in problems:
        print(problem, file=sys.stderr)  # noqa: T201 - read by the running program
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
