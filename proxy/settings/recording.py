"""What of requests and answers is written down, and what is left out of it."""

from typing import Annotated, Literal

from pydantic import ConfigDict

from proxy.settings import grammar
from proxy.settings.fields import Section, setting
from proxy.settings.grammar import size
from proxy.settings.kinds import HeaderName, Percent, Pointer, Salt

__all__ = ["Log", "Redaction"]


class Redaction(Section):
    """What must not be written, and what is written instead. It names either json or header."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": [name], "properties": {name: {"not": {"type": "null"}}}}
                for name in ("json", "header")
            ]
        }
    )

    pointer: Pointer | None = setting(
        None,
        "JSON pointer into bodies; '*' stands for one key or index, '**' for any number of them.",
        alias="json",
    )
    header: HeaderName | None = setting(None, "Name of a request or response header.")
    action: Annotated[Literal["drop", "hash"], grammar.choice(Literal["drop", "hash"])] = setting(
        "drop",
        "drop: leave it out; hash: write a keyed hash (unit_key), so that equal values stay equal.",
    )


class Log(Section):
    """Which requests and answers of a route are written to the payload log."""

    percent: Percent = setting(0, "Percent of the route's units whose requests are logged.")
    body: Annotated[int, size("0B", "1GiB")] = setting(
        "64KiB", "Longest logged body; a longer one is cut and marked truncated."
    )
    headers: tuple[HeaderName, ...] = setting(
        [], "Request and response headers that are logged; all others are not.", max_length=128
    )
    redact: tuple[Redaction, ...] = setting([], "What is left out of records, or hashed.", max_length=256)
    salt: Salt | None = setting(
        None, "Text that is hashed with the unit to pick the percent; null: ROUTE/log."
    )
