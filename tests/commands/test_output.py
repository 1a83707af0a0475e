"""Tables on a terminal: what does not fit is folded between words, and no number is ever in two pieces."""

import sys
from io import StringIO

import pytest
from click import unstyle

from proxy.commands.output import build_console, build_grid

NUMBERS = ("1234567", "13.64%", "0.07407", "2026")


class Terminal(StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [20, 40, 80, 120])
def test_numbers_stay_in_one_piece(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headings and words of texts too, also where the terminal is narrower than they are together."""
    shown = Terminal()
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setenv("COLUMNS", str(columns))
    table = build_grid("name >compared >rate >mean_distance >from standing")
    table.add_row("a value with words", *NUMBERS, "stands out")
    build_console().print(table)
    text = unstyle(shown.getvalue())
    headings = {"name", "compared", "rate", "mean", "distance", "from", "standing"}
    assert {*headings, *NUMBERS, "value", "with", "words", "stands"} <= set(text.split())
    assert (max(map(len, text.splitlines())) <= columns) == (columns >= 80)
