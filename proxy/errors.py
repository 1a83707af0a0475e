"""The error tree: what may go wrong, and who is to be told.

::

    ProxyError
    ├── ConfigError          the file is wrong; the last good table stays
    ├── WireError            the peer broke HTTP; it gets ``status_hint`` and the connection ends
    │   ├── BadHead              400
    │   ├── HeadTooLarge         431
    │   ├── BadFraming           400
    │   ├── UnsupportedFeature   501
    │   └── LastStop             200: nothing is broken, but the request goes no further
    └── StateError           a bug of ours: a step that the life cycle does not allow

Trouble with an upstream is no exception but a value, ``proxy.model.Fault``.
"""

from dataclasses import dataclass

from proxy.printable import printable

__all__ = [
    "BadFraming",
    "BadHead",
    "ConfigError",
    "HeadTooLarge",
    "LastStop",
    "Problem",
    "ProxyError",
    "StateError",
    "UnsupportedFeature",
    "WireError",
]


class ProxyError(Exception):
    """Anything this program raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend in a configuration file. ``str()`` is the line an operator reads.

    >>> str(Problem("a.yaml", 23, 15, "routes[0].variants[1].weight", "120", "a percent from 0 to 100"))
    'a.yaml:23:15: routes[0].variants[1].weight: found 120, expected a percent from 0 to 100'
    """

    file: str
    """Name of the document as the caller gave it."""
    line: int
    """1 and up; 0 when the place is not known."""
    column: int
    """1 and up; 0 when the place is not known."""
    path: str
    """YAML path, such as ``routes[0].variants[1].weight``; empty for the document as a whole."""
    found: str
    """What is there; never a secret, nor what came out of an environment variable."""
    expected: str
    """What would be right."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        subject = f"{place}: {self.path}" if self.path else place
        # Names of the file stand in all of these, and it may hold escape sequences for a terminal.
        return printable(f"{subject}: found {self.found}, expected {self.expected}")


class ConfigError(ProxyError):
    """A configuration was refused. It holds every problem, not just the first."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class WireError(ProxyError):
    """A peer sent something that is not HTTP as this proxy accepts it."""

    status_hint = 400
    """The status that tells the peer so (RFC 9110 §15)."""

    def __init__(self, message: str, status_hint: int | None = None) -> None:
        super().__init__(message)
        if status_hint is not None:
            self.status_hint = status_hint


class BadHead(WireError):  # noqa: N818 - named for what the peer did
    """The start line or a header line is malformed."""


class HeadTooLarge(WireError):  # noqa: N818 - named for what the peer did
    """The head is longer than ``limits.head`` or has more lines than ``limits.headers``."""

    status_hint = 431


class BadFraming(WireError):  # noqa: N818 - named for what the peer did
    """The length of the body is missing, malformed or said twice (RFC 9112 §6)."""


class UnsupportedFeature(WireError):  # noqa: N818 - named for what the peer did
    """Valid HTTP that this proxy does not implement."""

    status_hint = 501


class LastStop(WireError):  # noqa: N818 - named for what we are
    """Valid HTTP that the client wants answered by us and not forwarded (RFC 9110 §7.6.2)."""

    status_hint = 200


class StateError(ProxyError):
    """A transition that the life cycle does not allow. Always a bug of ours."""
