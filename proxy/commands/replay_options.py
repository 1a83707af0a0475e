"""What the options of ``modelproxy replay`` mean: text in, values out, and for a wrong one a sentence that helps."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import click

__all__ = [
    "DEFAULT_WAIT_NS",
    "Wait",
    "parsed_by",
    "read_changes",
    "read_headers",
    "read_longest_wait",
    "read_moment",
    "read_pattern",
    "read_reference",
    "read_seconds",
    "read_share",
    "read_speed",
    "read_url",
]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
"""A token (RFC 9110 §5.6.2), in lower case."""

_OURS = frozenset(
    {
        "connection",
        "content-length",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-modelproxy-shadow",
        "x-request-id",
    }
)
"""How a message is framed, and what marks it as a copy."""

DEFAULT_WAIT_NS = 60_000_000_000
"""Nobody wants to wait at a replay for the end of a week-end."""


class Wait(NamedTuple):
    """What ``--max-wait`` says."""

    most_ns: int | None
    """None: there is no longest."""


_Callback = Callable[[click.Context, click.Parameter, Any], Any]


def parsed_by(parse: Callable[[str], Any]) -> _Callback:
    """Return a callback that reads an option's text; the ``ValueError`` says what would be right."""

    def read(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Any:
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return read


def read_moment(text: str) -> int:
    """Return nanoseconds since 1970 of a time, or of how long ago."""
    from proxy.clock import wall_ns
    from proxy.records.selection import parse_moment

    return parse_moment(text, wall_ns())


def read_speed(text: str) -> float | None:
    """Return the factor of ``10x``, None for ``max``."""
    from proxy.replay.pacing import parse_speed

    return parse_speed(text)


def read_seconds(text: str) -> float:
    """Return the seconds of a duration above 0."""
    from proxy.durations import parse_duration

    try:
        seconds = parse_duration(text) / 1e9
    except ValueError as error:
        raise ValueError(f"expected {error}, got {text!r}") from None
    if not seconds:
        raise ValueError("expected a duration above 0")
    return seconds


def read_longest_wait(text: str) -> Wait:
    """Return the longest wait between two requests."""
    return Wait(None if text == "none" else int(read_seconds(text) * 1e9))


def read_share(text: str) -> float:
    """Return the share, in 0..1, of a percent."""
    try:
        percent = float(text.strip().removesuffix("%"))
    except ValueError:
        percent = -1.0
    if not 0.0 <= percent <= 100.0:
        raise ValueError(f"expected a percent from 0 to 100, such as 2%, got {text!r}")
    return percent / 100.0


def read_url(text: str) -> str:
    """Return the URL of a model, as the configuration takes it."""
    from proxy.settings.units import parse_backend_url

    try:
        return parse_backend_url(text)
    except ValueError as error:
        raise ValueError(f"expected {error}, got {text!r}") from None


def read_pattern(text: str) -> str:
    """Return the path of a route's ``match``."""
    from proxy.settings.units import parse_path_pattern

    try:
        return parse_path_pattern(text)
    except ValueError as error:
        raise ValueError(f"expected {error}, got {text!r}") from None


def read_reference(text: str) -> str | None:
    """Return the URL of the other model, None for the recorded answers."""
    return None if text == "recorded" else read_url(text)


def read_headers(_ctx: click.Context, _param: click.Parameter, lines: tuple[str, ...]) -> dict[str, str]:
    """Return headers by lower-case name."""
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if not colon or _NAME.fullmatch(name) is None or not value.isprintable():
            raise click.BadParameter(f"expected 'name: value', got {line!r}")
        if name in _OURS:
            raise click.BadParameter(
                f"expected a header that is up to you; {name} is written by replay itself"
            )
        headers[name] = value.strip()
    return headers


def read_changes(method: str | None, rules: tuple[str, ...]) -> dict[str, Any]:
    """Return what ``--as`` and ``--rule`` say, as the section ``compare`` of a file would."""
    from proxy.settings.document import read_document

    changes: dict[str, Any] = {} if method is None else {"as": method}
    for rule in rules:
        key, equals, text = rule.partition("=")
        found = read_document(f"value: {text}", environ={}, source="--rule")
        if not equals or not key.strip() or found.problems:
            raise click.BadParameter(
                f"expected KEY=VALUE such as rtol=1e-3, got {rule!r}", param_hint="'--rule'"
            )
        changes[key.strip()] = found.value["value"]
    return changes
