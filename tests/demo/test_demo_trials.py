"""Trials are read from the admin address, and find their lines of the journal."""

import pytest

from proxy.demo.story import RELEASES
from proxy.demo.trials import Counted, read_epochs, read_trial
from tests.demo.trial_world import BROKEN, FIXED, TRIALS, build_books

BOOKS = build_books("parcels-v4", {}, [], 0, 0)


def arm(name: str, share: float, requests: int, failed: int = 0) -> dict[str, object]:
    """One variant of a stretch, as the admin address has it."""
    return {"name": name, "share": share, "requests": requests, "units": requests, "errors_requests": failed}


def test_a_trial_is_read() -> None:
    """Stretches are added up; one without the build is another's."""
    epochs = [
        {"variants": [arm("v1", 0.95, 50), arm("v4", 0.05, 5, 2)]},
        {"variants": [arm("v1", 1.0, 9), arm("v4", 0.0, 1)]},
        {"variants": [arm("v1", 1.0, 9)]},
    ]
    evidence = {
        "epochs": epochs,
        "shadow": {"compared": 8, "disagreed": 3},
        "allocation_log10_e": -0.5,
    }
    document = {"rollout": "ab", "phase": "rolled_back", "evidence": evidence}
    trial = read_trial(RELEASES[1], document, BOOKS, 2.5, 7.5)
    assert (trial.rollout, trial.phase, trial.seconds, trial.ended_s) == ("ab", "rolled_back", 2.5, 7.5)
    assert trial.canary == Counted(6, 6, 2)
    assert [epoch.canary_share for epoch in trial.epochs] == [0.05, 0.0]
    assert (trial.compared, trial.disagreed, trial.allocation) == (8, 3, -0.5)


def test_a_proxy_that_says_nothing_has_no_evidence() -> None:
    """An admin address that does not answer is a trial of nothing."""
    assert read_epochs(RELEASES[1], {}) == []
    assert read_trial(RELEASES[1], {}, BOOKS, 0.0, 0.0).phase == ""


def test_lines_belong_to_rollouts() -> None:
    """The journal's lines are found by rollout and event."""
    assert [line.verdict for line in TRIALS.steered(TRIALS.trial(FIXED.variant), "decision")] == [
        *["ramp"] * 3,
        "promote",
    ]
    assert TRIALS.steered(TRIALS.trial(BROKEN.variant), "verb") == []
    with pytest.raises(KeyError):
        TRIALS.trial("v9")
