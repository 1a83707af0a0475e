"""The whole report."""

from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

from proxy.report.compile import compile_report
from proxy.report.facts import gather
from proxy.report.html import render_html
from proxy.report.markdown import render_markdown
from proxy.report.pages import Figure, Heading, Page, Paragraph
from proxy.rollout.plan import Arm
from proxy.rollout.transitions import Action
from tests.report.reading import read
from tests.report.test_split import WORSE, document
from tests.report.told import Told, bad_rollout, good_rollout, tell
from tests.rollout.world import plan

EVIL = "</text><script>alert(1)</script>|`*\"'&\n# x"


def page_of(told: Told, **changes: Any) -> Page:
    return compile_report(
        gather("wine", {**told.document(), **changes}, told.snapshots), "1.2.3", "modelproxy report wine"
    )


def test_its_parts() -> None:
    """The decision stands first, then what happened, the evidence, plots, gaps, and how to check it."""
    page = page_of(bad_rollout())
    assert isinstance(page.blocks[0], Paragraph)
    assert page.blocks[0].lead
    assert [each.text for each in page.blocks if isinstance(each, Heading)] == [
        "What happened when",
        "The evidence",
        "Over time",
        "What was not tested",
        "How to read this",
        "Checking this report",
    ]


def test_markdown_and_html_say_the_same() -> None:
    """Every sentence of the one is in the other."""
    page = page_of(good_rollout())
    shown, markdown = read(render_html(page)).text, render_markdown(page)
    for block in page.blocks:
        if isinstance(block, Heading | Paragraph):
            assert " ".join(block.text.split()) in shown
            assert block.text.split("(")[0] in markdown
    assert markdown.count("\n# ") == 0
    assert markdown.startswith("# Rollout of v3 on route wine\n")


def test_hostile_names_and_reasons() -> None:
    """Names of variants and routes, reasons of people: none can put a tag, a script or a heading into a report."""
    evil = replace(plan(), canary=Arm(EVIL, "m", ("http://x",)), champion=Arm(EVIL + "1", "m", ("http://x",)))
    told = tell(evil, rate=500)
    told.run(2)
    told.move(Action.ABORT, EVIL, EVIL)
    facts = gather(EVIL, {**told.document(), "problem": EVIL, "kept": False}, told.snapshots)
    page = compile_report(facts, "1.2.3", f"modelproxy report '{EVIL}'")
    plain = tell(plan(), rate=500)
    plain.run(2)
    plain.move(Action.ABORT, "anna", "reason")
    tame = compile_report(
        gather("wine", {**plain.document(), "problem": "p", "kept": False}, plain.snapshots),
        "1.2.3",
        "modelproxy report",
    )
    html, other = read(render_html(page)), read(render_html(tame))
    assert set(html.tags) == set(other.tags)
    assert "script" not in html.tags
    assert {name for name, _ in html.attributes} == {name for name, _ in other.attributes}
    for figure in page.blocks:
        if isinstance(figure, Figure):
            ElementTree.fromstring(figure.svg)  # noqa: S314 - our own
    markdown = render_markdown(page)
    assert "<script>" not in "".join(
        line for line in markdown.split("\n") if not line.startswith("    modelproxy")
    )
    headings = [line for line in markdown.split("\n") if line.startswith("#")]
    assert len(headings) == len([line for line in render_markdown(tame).split("\n") if line.startswith("#")])


def test_a_split() -> None:
    """A route of fixed weights has a comparison, and no decision, plot or command."""
    page = compile_report(gather("wine", document(WORSE), {}), "1.2.3", "modelproxy report wine")
    assert page.title == "Comparison on route wine"
    text = render_markdown(page)
    assert "fails more often than v1" in text
    assert "rolled back" not in text
    assert "modelproxy report" not in text
    read(render_html(page))
