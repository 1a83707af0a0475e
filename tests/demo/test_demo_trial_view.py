"""The page and the lines show where a rollout stands and what its evidence lacks."""

import io

import pytest
from rich.console import Console

from proxy.demo.story import RELEASES, Release
from proxy.demo.trial_view import describe_rollout, gauges, render_rollout
from tests.demo.demo_stage import rollout_document

SKEWED, BROKEN, FIXED = RELEASES


def test_on_the_way_harm_and_every_guardrail_are_shown() -> None:
    """Natural logs become powers of ten; what has reached its threshold is full."""
    harm, errors, latency = gauges(rollout_document(FIXED, "ramping"))
    assert (harm.name, harm.is_bad) == ("harm", True)
    assert [harm.log10_e, harm.share] == pytest.approx([1.0, 0.5])
    assert (errors.name, errors.share) == ("errors as good", 0.0)
    assert [latency.log10_e, latency.share] == pytest.approx([3.0, 1.0])


def test_while_it_bakes_copies_alone_count() -> None:
    """Nothing that needs clients is shown before there are any."""
    (differs,) = gauges(rollout_document(SKEWED, "baking"))
    assert differs.name == "differs"
    assert differs.log10_e == pytest.approx(0.5)


@pytest.mark.parametrize("phase", ["promoted", "rolled_back"])
def test_what_is_over_has_nothing_to_wait_for(phase: str) -> None:
    """No evidence moves it any more."""
    assert gauges(rollout_document(FIXED, phase)) == []


def test_a_rollout_that_was_not_judged_yet() -> None:
    """Evidence that is not known is none, not an error."""
    rollout = rollout_document(FIXED, "ramping", judgement=None)
    assert describe_rollout(rollout) == "v5 ramping at 5 %; log10 e: harm 0.0/2.0"
    unknown = rollout_document(FIXED, "ramping", judgement={"log_e": {"harm": None}})
    assert describe_rollout(unknown) == describe_rollout(rollout)


ON_ITS_WAY = (
    "v5 ramping at 5 %, met by 7; log10 e: harm 1.0/2.0, errors as good 0.0/1.3, latency as good 3.0/1.3"
)
LINES = [
    (FIXED, "ramping", ON_ITS_WAY),
    (SKEWED, "baking", "v3 baking at 0 %; log10 e: differs 0.5/1.3"),
    (BROKEN, "rolled_back", "v4 rolled back at 0 %"),
]  # fmt: skip


@pytest.mark.parametrize(("release", "phase", "line"), LINES, ids=[line[1] for line in LINES])
def test_a_line_says_it_all(release: Release, phase: str, line: str) -> None:
    """One line holds phase, weight, and evidence beside its threshold."""
    assert describe_rollout(rollout_document(release, phase)) == line


def test_the_page_shows_the_ladder_and_the_verdict() -> None:
    """Every step, the caption, the evidence and the sentence are on the page."""
    console = Console(file=io.StringIO(), width=110, force_terminal=False)
    console.print(render_rollout(rollout_document(FIXED, "ramping"), "v5 raises nothing"))
    assert isinstance(console.file, io.StringIO)
    page = console.file.getvalue()
    for shown in (
        "0 % ▸ 5 % ▸ 25 % ▸ 50 % ▸ 100 %",
        "v5 raises nothing",
        "1,000",
        "100 rolls it back",
        "HOLD",
    ):
        assert shown in page
