"""Text that may be shown: on a terminal, or as a line of a log.

What a client, a model server, a file or another program wrote can hold line breaks that forge a line of the log, and
escape sequences that a terminal obeys. So such text is written with every character that is not printable as a
backslash and its code, as Python would write it.
"""

from typing import Any

__all__ = ["indented", "printable", "printable_document"]


def printable(text: str) -> str:
    r"""Return ``text`` on one line, with control, format and line-breaking characters written as escapes.

    >>> printable("a\r\nb\x1b[31m")
    'a\\r\\nb\\x1b[31m'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def indented(text: str) -> str:
    """Return ``text`` with its line breaks kept, every further line set in, and the rest as :func:`printable` has it.

    So a line that begins at the margin is always one that the writer began.
    """
    return "\n    ".join(printable(line) for line in text.split("\n"))


def printable_document(value: Any) -> Any:
    """Return a document of JSON with every text in it, names too, as :func:`printable` has it."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [printable_document(each) for each in value]
    if isinstance(value, dict):
        return {printable(key): printable_document(each) for key, each in value.items()}
    return value
