"""A whole report, part by part: the decision, what happened, the evidence, plots, what was not tested, how to check."""

from proxy.report.caveats import caveats
from proxy.report.evidence_part import evidence, since_promotion
from proxy.report.facts import Facts
from proxy.report.figures import figures
from proxy.report.headline import headline
from proxy.report.pages import Block, Page, Paragraph
from proxy.report.split import split_blocks, split_headline
from proxy.report.story import reproducing, timeline
from proxy.report.words import when

__all__ = ["compile_report"]


def compile_report(facts: Facts, version: str, command: str) -> Page:
    """Return the report about a rollout, or about a split by fixed weights.

    Args:
        facts: what is known.
        version: the program's.
        command: what checks the decisions; empty: there are none.
    """
    as_of = Paragraph(f"Route {facts.route}, as counted until {when(facts.document.read_ns)}.")
    if not facts.canary:
        title = f"Comparison on route {facts.route}"
        blocks: list[Block] = [Paragraph(split_headline(facts), lead=True), as_of, *split_blocks(facts)]
        return Page(title, [*blocks, *reproducing(facts, version, "")])
    blocks = [
        Paragraph(headline(facts), lead=True),
        as_of,
        *timeline(facts),
        *evidence(facts),
        *since_promotion(facts),
        *split_blocks(facts),
        *figures(facts),
        *caveats(facts),
        *reproducing(facts, version, command),
    ]
    return Page(f"Rollout of {facts.canary} on route {facts.route}", blocks)
