"""What the settings' classes are built from: the base class, and a field with its meaning and its reload.

A default is written as the file would write it (``"30s"``), is read in the same way, and is shown so by the
JSON Schema.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

__all__ = [
    "NEXT_CONNECTION",
    "NEXT_REQUEST",
    "NOW",
    "RELOAD",
    "REQUIRED",
    "RESTART",
    "Section",
    "reload_of",
    "section",
    "setting",
]

RELOAD = "x-reload"
"""Key of a field's schema that says when a changed value takes effect: one of the four below."""
NOW = "now"
NEXT_REQUEST = "next request"
NEXT_CONNECTION = "next connection"
RESTART = "restart"

REQUIRED: Any = ...
"""In place of a default: the file must say it."""


class Section(BaseModel):
    """A mapping of the file: immutable, and a key that it does not know is a problem."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, protected_namespaces=())


def setting(default: Any, meaning: str, reload: str = NEXT_REQUEST, **more: Any) -> Any:
    """Return a field.

    Args:
        default: as the file would say it, or ``REQUIRED``.
        meaning: what it does and what the peer sees; ends with a full stop.
        reload: when a changed value takes effect.
        more: further arguments of :func:`pydantic.Field`.
    """
    extra: JsonDict = {RELOAD: reload}
    return Field(default, description=meaning, json_schema_extra=extra, validate_default=True, **more)


def section(meaning: str) -> Any:
    """Return a field that holds a mapping with a default for each of its keys."""
    return Field(default={}, description=meaning, validate_default=True)


def reload_of(field: FieldInfo) -> str | None:
    """Return when a changed value of ``field`` takes effect; None for a mapping, whose fields each say it."""
    extra = field.json_schema_extra
    word = extra.get(RELOAD) if isinstance(extra, dict) else None
    return word if isinstance(word, str) else None
