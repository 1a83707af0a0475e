"""The document as the rules look at it: any value may be of any kind, or not be there."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from proxy.errors import Problem
from proxy.settings.document import Document, Path
from proxy.settings.units import parse_name

__all__ = ["View", "as_text"]


@dataclass(frozen=True, slots=True)
class View:
    """A value of the document that may be anything, asked for what it should be."""

    document: Document
    path: Path
    value: Any

    def has(self, key: str) -> bool:
        """Tell whether there is something other than null under ``key``."""
        return isinstance(self.value, dict) and self.value.get(key) is not None

    def at(self, key: str) -> "View":
        """Return what stands under ``key``; its value is None where that is nothing."""
        value = self.value.get(key) if isinstance(self.value, dict) else None
        return View(self.document, (*self.path, key), value)

    def items(self, key: str) -> "list[View]":
        """Return the mappings of the list under ``key``."""
        inner = self.at(key)
        items = inner.value if isinstance(inner.value, list) else []
        return [View(self.document, (*inner.path, i), v) for i, v in enumerate(items) if isinstance(v, dict)]

    def keys(self, key: str) -> list[str]:
        """Return the keys of the mapping under ``key``."""
        inner = self.at(key).value
        return list(inner) if isinstance(inner, dict) else []

    def read(self, key: str, parse: Callable[[Any], Any]) -> Any:
        """Return the value under ``key`` as ``parse`` reads it, or None when absent or not readable."""
        value = self.at(key).value
        try:
            return None if value is None else parse(value)
        except (ValueError, TypeError):
            return None

    def name(self, key: str) -> str | None:
        """Return the name under ``key``, or None when it is none."""
        value = self.read(key, as_text(parse_name))
        return value if isinstance(value, str) else None

    def each(self, key: str) -> "list[tuple[int, Any]]":
        """Return the entries of the list under ``key``, whatever they are, with their positions."""
        value = self.at(key).value
        return list(enumerate(value)) if isinstance(value, list) else []

    def problem(self, key: str | None, expected: str, found: str | None = None) -> Problem:
        """Return a problem with what stands under ``key``; None: with this value as a whole."""
        path = self.path if key is None else (*self.path, key)
        return self.document.source.problem(path, expected, found)


def as_text(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Return ``parse`` for what must be text; anything else reads as None."""
    return lambda value: parse(str(value)) if isinstance(value, str) else None
