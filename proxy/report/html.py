"""Reports as one HTML file that needs nothing else: no network, no script, light and dark as the reader has it.

The page brings its own content security policy, under which its one style sheet works, by its digest, and nothing
else does: what somebody managed to write into it would not run (CSP Level 3, section 2.3.1).
"""

from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from html import escape
from typing import Final

from proxy.printable import printable
from proxy.report.pages import Block, Bullets, Command, Figure, Heading, Page, Paragraph, Table

__all__ = ["POLICY", "STYLE", "render_html"]

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #5c6370; --rule: #d9dce1; --paper: #ffffff; --shade: #f4f5f7;
  --c0: #0060a8; --c1: #c2410c; --c2: #00795c; --c3: #8a3a86; --c4: #7a6200; --c5: #3f4753; --alarm: #b42318; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --soft: #a2a9b4; --rule: #3a3f47; --paper: #16181c; --shade: #20242a;
    --c0: #6cb4f5; --c1: #ff9d5c; --c2: #4cd0a8; --c3: #e29add; --c4: #e3c94f; --c5: #bcc4d0; --alarm: #ff8a7d; } }
body { margin: 0 auto; padding: 2rem 1rem 4rem; max-width: 760px; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 1rem; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; }
p { margin: .6rem 0; }
p.lead { font-size: 1.15rem; line-height: 1.5; padding: .9rem 1.1rem; margin: 1rem 0;
  background: var(--shade); border-left: 4px solid var(--c0); }
ul { padding-left: 1.2rem; } li { margin: .3rem 0; }
pre { background: var(--shade); padding: .7rem .9rem; overflow-x: auto; font-size: .86rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .86rem; margin: .8rem 0; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem .35rem 0; border-bottom: 1px solid var(--rule);
  overflow-wrap: normal; }
th { color: var(--soft); font-weight: 600; }
.tight { white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 1.6rem 0; } figcaption { font-size: .86rem; color: var(--soft); margin-bottom: .3rem; }
figcaption b { color: var(--ink); }
details { font-size: .86rem; color: var(--soft); } summary { cursor: pointer; }
svg { display: block; width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg text { fill: var(--ink); } svg .tick { fill: var(--soft); }
svg .mark { fill: var(--alarm); paint-order: stroke; stroke: var(--paper); stroke-width: 4px; }
svg path { fill: none; } .axis { stroke: var(--soft); } .grid { stroke: var(--rule); }
.threshold { stroke: var(--alarm); stroke-dasharray: 6 4; } .line { stroke-width: 2; stroke-linejoin: round; }
.s0 { stroke: var(--c0); } .s1 { stroke: var(--c1); stroke-dasharray: 7 3; }
.s2 { stroke: var(--c2); stroke-dasharray: 2 3; } .s3 { stroke: var(--c3); stroke-dasharray: 9 3 2 3; }
.s4 { stroke: var(--c4); stroke-dasharray: 4 4; } .s5 { stroke: var(--c5); stroke-dasharray: 12 4; }
svg .band { opacity: .3; stroke: none; } svg .b0 { fill: var(--c0); } svg .b1 { fill: var(--c1); }
svg .b2 { fill: var(--c2); } svg .b3 { fill: var(--c3); } svg .b4 { fill: var(--c4); } svg .b5 { fill: var(--c5); }
@media print { body { max-width: none; padding: 0; } figure, tr { break-inside: avoid; } }
"""

POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'"
)


def render_html(page: Page) -> str:
    """Return the page as a whole HTML document."""
    title = _text(page.title)
    body = "\n".join(part for block in page.blocks for part in _block(block))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{body}\n</body>\n</html>\n"
    )


def _text(text: str) -> str:
    return escape(printable(text))


def _block(block: Block) -> Iterator[str]:
    match block:
        case Heading(text):
            yield f"<h2>{_text(text)}</h2>"
        case Paragraph(text, lead):
            kind = ' class="lead"' if lead else ""
            yield f"<p{kind}>{_text(text)}</p>"
        case Bullets(items):
            yield f"<ul>{''.join(f'<li>{_text(item)}</li>' for item in items)}</ul>"
        case Command(text):
            yield f"<pre>{chr(10).join(map(_text, text.split(chr(10))))}</pre>"
        case Table():
            yield from _table(block)
        case Figure(title, caption, svg, table):
            yield f"<figure><figcaption><b>{_text(title)}.</b> {_text(caption)}</figcaption>{svg}"
            yield "<details><summary>The same as numbers</summary>"
            yield from _table(table)
            yield "</details></figure>"


_KINDS = {">": ' class="number"', "=": ' class="tight"'}


def _table(table: Table) -> Iterator[str]:
    kinds = [_KINDS.get(column[:1], "") for column in table.columns]
    head = "".join(
        f'<th scope="col"{kind}>{_text(column.lstrip(">="))}</th>'
        for column, kind in zip(table.columns, kinds, strict=True)
    )
    yield f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>'
    for row in table.rows:
        cells = "".join(f"<td{kind}>{_text(cell)}</td>" for cell, kind in zip(row, kinds, strict=True))
        yield f"<tr>{cells}</tr>"
    yield "</tbody></table></div>"
