"""Reports are written by the command that a user has, and what it says when it cannot is kept."""

from pathlib import Path

from proxy.demo.paper import write_paper
from tests.demo.trial_world import TRIALS


async def test_without_evidence_there_is_no_report(tmp_path: Path) -> None:
    """A state directory that holds nothing is no paper, and the reason is told."""
    paper = await write_paper(tmp_path, tmp_path / "state", TRIALS.trials[:1])
    assert (list(paper.paths), paper.verified) == ([], False)
    assert str(tmp_path / "state") in paper.said


async def test_a_rollout_that_never_began_has_no_report(tmp_path: Path) -> None:
    """Nothing is asked for what is not there, and nothing is claimed."""
    paper = await write_paper(tmp_path, tmp_path, [])
    assert (list(paper.paths), paper.verified, paper.said) == ([], True, "")
