"""What a report is made of, before it is Markdown or HTML: blocks of plain text.

Texts hold names and reasons that others wrote. Here they are only text; the two writers escape all of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Block", "Bullets", "Command", "Figure", "Heading", "Page", "Paragraph", "Table"]


@dataclass(frozen=True, slots=True)
class Heading:
    """The title of a part."""

    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A few sentences."""

    text: str
    lead: bool = False
    """It is the one to read if only one is read."""


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Command:
    """What to type."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under titles. A title that begins with ``>`` heads numbers, with ``=`` what stays on one line."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"expected {len(self.columns)} cells in each row")


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot, and the same in words and numbers for those who do not see it."""

    title: str
    caption: str
    svg: str
    table: Table


Block = Heading | Paragraph | Bullets | Command | Table | Figure


@dataclass(frozen=True, slots=True)
class Page:
    """A whole report."""

    title: str
    blocks: Sequence[Block]
