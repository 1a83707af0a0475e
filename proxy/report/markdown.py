"""Reports as Markdown that also reads well as it is: GitHub's dialect, columns aligned."""

import re

from proxy.printable import printable
from proxy.report.pages import Block, Bullets, Command, Figure, Heading, Page, Paragraph, Table

__all__ = ["escape", "render_markdown"]

_SPECIAL = re.compile(r"[\\`*\[\]<>|]|(?<!\w)_|_(?!\w)|&(?=#?\w+;)|~(?=~)")
_OPENING = re.compile(r"^(\s*)([#+=-]|\d+(?=[.)]))")


def render_markdown(page: Page) -> str:
    """Return the page as Markdown, with a line break at its end."""
    parts = [f"# {escape(page.title)}", *map(_block, page.blocks)]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Return text that means itself in Markdown, on one line."""
    escaped = _SPECIAL.sub(lambda found: "\\" + found[0], printable(text))
    return _OPENING.sub(_harmless, escaped)


def _harmless(found: "re.Match[str]") -> str:
    """Keep what opens a line from being a heading, a list or a rule."""
    return found[0] + "\\" if found[2].isdigit() else f"{found[1]}\\{found[2]}"


def _block(block: Block) -> str:
    match block:
        case Heading(text):
            return f"## {escape(text)}"
        case Paragraph(text, lead):
            return f"**{escape(text)}**" if lead else escape(text)
        case Bullets(items):
            return "\n".join(f"- {escape(item)}" for item in items)
        case Command(text):
            return "\n".join(f"    {printable(line)}" for line in text.split("\n"))
        case Table():
            return _table(block)
        case Figure(title, caption, _, table):
            return f"**{escape(title)}.** {escape(caption)}\n\n{_table(table)}"


def _table(table: Table) -> str:
    is_number = [column.startswith(">") for column in table.columns]
    head = [_cell(column.lstrip(">=")) for column in table.columns]
    rows = [[_cell(cell) for cell in row] for row in table.rows]
    widths = [max(3, *(len(row[i]) for row in (head, *rows))) for i in range(len(head))]
    rule = ["-" * (width - number) + ":" * number for width, number in zip(widths, is_number, strict=True)]
    return "\n".join(_row(cells, widths, is_number) for cells in (head, rule, *rows))


def _row(cells: list[str], widths: list[int], is_number: list[bool]) -> str:
    padded = [
        cell.rjust(width) if number else cell.ljust(width)
        for cell, width, number in zip(cells, widths, is_number, strict=True)
    ]
    return f"| {' | '.join(padded)} |"


def _cell(text: str) -> str:
    return _SPECIAL.sub(lambda found: "\\" + found[0], printable(text))
