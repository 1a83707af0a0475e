"""How a command ends when it is not let: interrupted, or with nowhere to write its report."""

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import click

__all__ = ["INTERRUPTED", "end_without_output", "interruptible", "is_of_output", "reporting", "say"]

INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM, as shells have it: 128 + SIGINT."""

_UNWRITABLE: Final = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


@contextmanager
def interruptible(report: str) -> Iterator[None]:
    """End with :data:`INTERRUPTED` and a sentence where Ctrl-C or SIGTERM comes, and with no trace.

    An event loop within may take both signals for itself, as long as it runs.

    Args:
        report: the sentence.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        say(report)
        raise click.exceptions.Exit(INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def reporting() -> Iterator[None]:
    """Write a report to standard output, down to its last byte.

    Whoever has closed the other end has read enough of it, so that is no error: what was to be found out was found out.
    Any other failure (a full disk) is one, and ends with a sentence and exit code 1.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _silence()
    except OSError as error:
        raise click.exceptions.Exit(end_without_output(error)) from None


def is_of_output(error: OSError) -> bool:
    """Tell whether ``error`` is one of writing to what is open already."""
    return error.errno in _UNWRITABLE and error.filename is None


def end_without_output(error: OSError) -> int:
    """Say why standard output takes nothing more, and return the exit code.

    Without a word where the other end is closed: whoever reads has left.
    """
    _silence()
    if not isinstance(error, BrokenPipeError):
        say(f"standard output: {(error.strerror or str(error)).lower()}; what was to be printed is lost")
    return 1


def say(sentence: str) -> None:
    """Write ``sentence`` to standard error; where nobody reads it, nothing happens."""
    with suppress(OSError):
        click.echo(sentence, err=True)


def _silence() -> None:
    """Let everything more that is written to standard output go nowhere, what is buffered too."""
    with suppress(OSError, ValueError):  # it is no file, in tests
        number = sys.stdout.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nowhere, number)
        os.close(nowhere)
