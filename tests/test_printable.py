"""Text that may be shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.printable import indented, printable, printable_document

SHOWN = {
    "plain": ("wine-v1 – 5 %", "wine-v1 – 5 %"),
    "empty": ("", ""),
    "line breaks": ("a\r\nb", "a\\r\\nb"),
    "other line breaks": ("a\x0b\x0c\x85\u2028b", "a\\x0b\\x0c\\x85\\u2028b"),
    "colour": ("\x1b[31mred", "\\x1b[31mred"),
    "window title": ("\x1b]0;x\x07", "\\x1b]0;x\\x07"),
    "8-bit control sequence": ("\x9b2J", "\\x9b2J"),
    "reversed text": ("a\u202eb", "a\\u202eb"),
    "half a character": ("\udc9b", "\\udc9b"),
    "tab": ("a\tb", "a\\tb"),
}


@pytest.mark.parametrize("name", SHOWN)
def test_what_is_not_printable_is_spelt_out(name: str) -> None:
    """Printable characters stay, all others become their escape."""
    text, expected = SHOWN[name]
    assert expected == printable(text)


@given(st.text(st.characters()))
def test_one_line_that_any_stream_takes(text: str) -> None:
    """Whatever the text, what is shown is one printable line that UTF-8 can encode."""
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1
    shown.encode()


@given(st.text(st.characters()))
def test_further_lines_are_set_in(text: str) -> None:
    """Only the first line begins at the margin."""
    first, *rest = indented(text).splitlines() or [""]
    assert first.isprintable()
    assert all(line.startswith("    ") for line in rest)


def test_a_document() -> None:
    """Every text is spelt out, however deep, and everything else stays."""
    document = {"a\x1b": ["b\n", 1, None, {"c": "\x9b2J"}], "d": 0.5, "e": True}
    assert printable_document(document) == {
        "a\\x1b": ["b\\n", 1, None, {"c": "\\x9b2J"}],
        "d": 0.5,
        "e": True,
    }
