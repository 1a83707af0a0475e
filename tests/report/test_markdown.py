"""Reports as Markdown: aligned, and nothing in it means more than itself."""

import pytest

from proxy.report.markdown import escape, render_markdown
from proxy.report.pages import Bullets, Command, Figure, Heading, Page, Paragraph, Table

HOSTILE = [
    ("a|b", "a\\|b"),
    ("<script>", "\\<script\\>"),
    ("[x](javascript:1)", "\\[x\\](javascript:1)"),
    ("`code` *bold* _it_", "\\`code\\` \\*bold\\* \\_it\\_"),
    ("client_errors", "client_errors"),
    ("# no heading", "\\# no heading"),
    ("- no list", "\\- no list"),
    ("1. no list", "1\\. no list"),
    ("line\nbreak", "line\\\\nbreak"),
    ("\x1b[31m", "\\\\x1b\\[31m"),
    ("&lt;", "\\&lt;"),
]


@pytest.mark.parametrize(("text", "expected"), HOSTILE)
def test_escape(text: str, expected: str) -> None:
    """Names and reasons stay text on one line."""
    assert escape(text) == expected


def test_render() -> None:
    """Each block has its form, and columns are aligned."""
    table = Table(("=name", ">number"), (("a|b", "1"), ("c", "22")))
    page = Page(
        "T",
        [
            Heading("H"),
            Paragraph("lead", lead=True),
            Paragraph("plain"),
            Bullets(("x", "y")),
            Command("modelproxy a\nmodelproxy b"),
            table,
            Figure("F", "what", "<svg/>", table),
        ],
    )
    rows = "| name | number |\n| ---- | -----: |\n| a\\|b |      1 |\n| c    |     22 |"
    expected = ["# T", "## H", "**lead**", "plain", "- x\n- y", "    modelproxy a\n    modelproxy b", rows]
    assert render_markdown(page) == "\n\n".join([*expected, "**F.** what", rows]) + "\n"
