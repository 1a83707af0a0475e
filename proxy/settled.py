"""Settings for a process that has nothing to judge: the values under their names, without the rules.

The supervisor has read the file and refused what is wrong with it. What is left the others only look up. So
:func:`settle` writes the values down, and :func:`read_settled` makes objects of them that have the same attributes:
who reads settings (``compile_table``, the hot path, a rollout's plan) cannot tell. Neither workers nor the observer
need pydantic and YAML for it, which are 14 MiB and a tenth of a second; and a worker never learns what is not for it
to know.

Rules
    * A property of a section is a value here. Methods are not there.
    * Sections of equal values are equal and have the same hash, as those of :mod:`proxy.settings` are: by them a new
      table finds the connections of the one before.
    * Both ends must mean the same by the names: see ``SHAPE``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import orjson

from proxy.errors import ConfigError, Problem
from proxy.model import Announced, Failure, Inconclusive, Metric, Role

if TYPE_CHECKING:
    from proxy.settings import Settings

__all__ = ["SHAPE", "WITHHELD", "Secret", "Settled", "names_of", "read_settled", "settle"]

SHAPE = "eba42f49a37befde"
"""Digest of the names of all settings, which ``tests/test_settled.py`` compares with what they are. It goes with the
values: a program that was put in the place of the one that sent them may know others."""

WITHHELD = frozenset(
    {"admin", "admin_token", "embedder", "observer", "payload_dir", "payload_log", "public", "webhooks"}
)
"""What of the whole no worker gets: it is what meets the world, and has no use for them."""

_KIND = ""
"""Key of an object's kind. No name of the file is empty."""


class Settled:
    """One section. Its attributes are those of the section that it was made of, and do not change.

    Args:
        kind: name of the section's class.
        values: the attributes.
    """

    def __init__(self, kind: str, values: Mapping[str, Any]) -> None:
        self.__dict__.update(values)
        self.__dict__[_KIND] = kind

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"settings do not change: {name}")

    def __eq__(self, other: object) -> bool:
        return self.__dict__ == other.__dict__ if isinstance(other, Settled) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(map(_hashable, self.__dict__.values())))

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items() if name)
        return f"{self.__dict__[_KIND]}({values})"


def _hashable(value: Any) -> Any:
    """Return what is hashed for ``value``: of a mapping its items in any order."""
    if not isinstance(value, dict):
        return value
    return frozenset((name, _hashable(inner)) for name, inner in value.items())


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret, which shows itself to nobody who does not ask for it by name."""

    _value: str = field(repr=False)

    def get_secret_value(self) -> str:
        """Return what it says."""
        return self._value


_SCALARS: tuple[type, ...] = (Decimal, Path, Announced, Failure, Inconclusive, Metric, Role)
"""Kinds of values that JSON has no form of, and that can be made of their text."""

_MADE: Mapping[str, Callable[[str], Any]] = {
    **{kind.__name__: kind for kind in (*_SCALARS, Secret)},
    "bytes": lambda text: text.encode("latin-1"),
}


def settle(settings: "Settings", withheld: frozenset[str] = frozenset()) -> bytes:
    """Return the values of ``settings`` **with their secrets**, but for those of the whole that are ``withheld``."""
    return orjson.dumps({"shape": SHAPE, "settings": _plain(settings, withheld)})


def read_settled(data: bytes | str) -> "Settings":
    """Return the settings that :func:`settle` wrote.

    Raises:
        ConfigError: the data is not what ``settle`` writes that knows the same settings.
    """
    try:
        document = orjson.loads(data)
        if document["shape"] != SHAPE:
            raise ValueError("of another shape")
        return cast("Settings", _alive(document["settings"]))
    except (ValueError, KeyError, TypeError, ArithmeticError):
        problem = Problem("settings", 0, 0, "", "other data", "settings written by the same version")
        raise ConfigError((problem,)) from None


def names_of(section: Any) -> tuple[str, ...]:
    """Return the names of what a section's class has: its fields, then its properties."""
    named = [field.name for field in fields(section)] if is_dataclass(section) else section.model_fields
    return (*named, *(name for name, value in vars(section).items() if isinstance(value, property)))


def _plain(value: Any, withheld: frozenset[str] = frozenset()) -> Any:
    """Return ``value`` as JSON can hold it."""
    kind = type(value)
    if is_dataclass(kind) or hasattr(kind, "model_fields"):
        names = [name for name in names_of(kind) if name not in withheld]
        return {_KIND: kind.__name__, **{name: _plain(getattr(value, name)) for name in names}}
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, bytes):
        return {_KIND: "bytes", "value": value.decode("latin-1")}
    if hasattr(value, "get_secret_value"):
        return {_KIND: "Secret", "value": value.get_secret_value()}
    scalar = next((each for each in _SCALARS if isinstance(value, each)), None)
    return value if scalar is None else {_KIND: scalar.__name__, "value": str(value)}


def _alive(value: Any) -> Any:
    """Return what :func:`_plain` was given."""
    if isinstance(value, list):
        return tuple(map(_alive, value))
    if not isinstance(value, dict):
        return value
    kind = value.pop(_KIND, None)
    if kind in _MADE:
        return _MADE[kind](value["value"])
    inner = {name: _alive(each) for name, each in value.items()}
    return inner if kind is None else Settled(kind, inner)
