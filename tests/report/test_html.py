"""Reports as one HTML file: well formed, by itself, and closed to what somebody wrote into it."""

import re
from base64 import b64encode
from hashlib import sha256

from proxy.report.html import STYLE, render_html
from proxy.report.pages import Block, Bullets, Command, Figure, Heading, Page, Paragraph, Table
from tests.report.reading import read

EVIL = "</style><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\x00"


def page_of(text: str) -> str:
    table = Table((f"={text}", f">{text}"), ((text, text),))
    blocks: list[Block] = [
        Heading(text),
        Paragraph(text),
        Paragraph(text, lead=True),
        Bullets((text,)),
        Command(text),
        table,
        Figure(text, text, "<svg></svg>", table),
    ]
    return render_html(Page(text, blocks))


def test_hostile_text_is_text() -> None:
    """Whatever a name or reason holds, the page has the same tags and attributes, and shows it."""
    plain, evil = read(page_of("plain")), read(page_of(EVIL))
    assert plain.tags == evil.tags
    assert plain.attributes == evil.attributes
    assert evil.text.count("<script>alert(1)</script>") == plain.text.count("plain")
    assert "script" not in evil.tags


def test_it_needs_nothing_else() -> None:
    """No network, no script, no style but its own, which its policy names by digest."""
    html = page_of("plain")
    assert not re.search(r"(src|href)=|url\(|@import|<link|style=", html)
    policy = dict(read(html).attributes)["content"]
    policies = [value for name, value in read(html).attributes if name == "content"]
    digest = b64encode(
        sha256(re.findall(r"<style>(.*?)</style>", html, re.DOTALL)[0].encode()).digest()
    ).decode()
    assert policies[0] is not None
    assert f"style-src 'sha256-{digest}'" in policies[0]
    assert policies[0].startswith("default-src 'none'")
    assert policy is not None


def test_light_and_dark() -> None:
    """Every colour of the plots has a value for both."""
    light, _, dark = STYLE.partition("prefers-color-scheme: dark")
    names = set(re.findall(r"var\((--\w+)\)", STYLE))
    assert names
    assert all(f"{name}:" in light and f"{name}:" in dark for name in names)
